//! The deployed program on Lambda managed instances: as many invocations at once as it is told to have.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::Read,
    net::TcpListener,
    process::{Child, Command, Stdio},
};

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[test]
fn asks_for_as_many_events_at_once_as_it_is_told() {
    let runtime = TcpListener::bind("127.0.0.1:0").unwrap();
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
            ("LAKE_BUCKET", "lake"),
            ("DEFAULT_MODEL", "pickup-eta"),
            // Without an extension, which this runtime does not know.
            ("DEFERRED_WORK", "true"),
        ])
        .stdout(Stdio::null())
        .spawn();
    let _killed = Killed(program.unwrap());
    // None is answered, so each question is a connection of its own.
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let (mut connection, _) = runtime.accept().unwrap();
            let mut head = [0; 64];
            let read = connection.read(&mut head).unwrap();
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            assert!(head.starts_with("GET /2018-06-01/runtime/invocation/next"), "{head}");
            connection
        })
        .collect();
    assert_eq!(waiting.len(), 4);
}
