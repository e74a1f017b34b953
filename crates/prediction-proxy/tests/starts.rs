//! The deployed program's start, as the Runtime API sees it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn start(runtime: &TcpListener, lake: &TcpListener) -> Killed {
    let program = Command::new(env!("CARGO_BIN_EXE_prediction-proxy"))
        .envs([
            ("AWS_LAMBDA_RUNTIME_API", runtime.local_addr().unwrap().to_string().as_str()),
            ("AWS_LAMBDA_MAX_CONCURRENCY", "4"),
            ("AWS_LAMBDA_FUNCTION_NAME", "prediction-proxy"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_ENDPOINT_URL_S3", &format!("http://{}", lake.local_addr().unwrap())),
            ("LAKE_BUCKET", "lake"),
            ("DEFAULT_MODEL", "pickup-eta"),
            // Without an extension, which this runtime does not know.
            ("DEFERRED_WORK", "true"),
        ])
        .stdout(Stdio::null())
        .spawn();
    Killed(program.unwrap())
}

/// The next connection, and how its request begins.
fn asked(listener: &TcpListener) -> (TcpStream, String) {
    let (mut connection, _) = listener.accept().unwrap();
    let mut head = [0; 4096];
    let read = connection.read(&mut head).unwrap();
    (connection, String::from_utf8_lossy(&head[..read]).into_owned())
}

fn asks_for_an_event(runtime: &TcpListener) -> TcpStream {
    let (connection, head) = asked(runtime);
    assert!(head.starts_with("GET /2018-06-01/runtime/invocation/next"), "{head}");
    connection
}

/// On Lambda managed instances. Besides: a lake that does not answer holds no start up for long.
#[test]
fn asks_for_as_many_events_at_once_as_it_is_told() {
    let (runtime, lake) = (listener(), listener());
    let _killed = start(&runtime, &lake);
    // None is answered, so each question is a connection of its own.
    let waiting: Vec<_> = (0..4).map(|_| asks_for_an_event(&runtime)).collect();
    assert_eq!(waiting.len(), 4);
}

#[test]
fn reads_the_release_in_force_before_it_asks_for_an_event() {
    let (runtime, lake) = (listener(), listener());
    let _killed = start(&runtime, &lake);
    let (mut connection, head) = asked(&lake);
    assert!(head.starts_with("GET /lake/") && head.contains("pickup-eta"), "{head}");
    runtime.set_nonblocking(true).unwrap();
    assert_eq!(runtime.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "it asks before it has read");
    runtime.set_nonblocking(false).unwrap();
    // There is none: a request will be told so, the start goes on.
    connection.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").unwrap();
    asks_for_an_event(&runtime);
}
