//! `serve`, over HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use common::{FEATURES, Job, csv};
use reference_model::{MAX_REQUEST_BYTES, Model, serve_on};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot};

/// A trained model behind a server in this process.
struct Server {
    _job: Job,
    model: Arc<Model>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    fn start() -> Self {
        Self::of(Job::small())
    }

    fn of(job: Job) -> Self {
        job.train().0.unwrap();
        let model = Arc::new(Model::load(&job.folders.model()).unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::clone(&model);
        let thread = thread::spawn(move || {
            runtime.block_on(serve_on(listener, served, async { _ = stopped.await })).unwrap();
        });
        Self { _job: job, model, address, stop: Some(stop), thread: Some(thread) }
    }

    fn post(&self, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        request(self.address, "POST /invocations", headers, body)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
        self.thread.take().map(thread::JoinHandle::join);
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    content_type: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// One request on a connection of its own.
fn request(address: SocketAddr, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut head =
        format!("{target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    stream.write_all((head + "\r\n").as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    answer(stream)
}

fn answer(mut stream: TcpStream) -> Answer {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let content_type = head.lines().find_map(|line| line.strip_prefix("content-type: "));
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        content_type: content_type.unwrap_or_default().to_owned(),
        body: body.to_owned(),
    }
}

/// Rows without their labels, as CSV and as numbers.
fn asked(rows: usize) -> (String, Vec<Vec<Option<f64>>>) {
    let csv: Vec<String> = csv(9, rows).lines().map(|line| line.split_once(',').unwrap().1.to_owned()).collect();
    let numbers = csv.iter().map(|line| line.split(',').map(|cell| cell.parse().ok()).collect()).collect();
    (csv.join("\n"), numbers)
}

#[test]
fn every_content_type_gets_the_same_bits() {
    let server = Server::start();
    assert_eq!(request(server.address, "GET /ping", &[], b"").status, 200);

    let (csv, rows) = asked(50);
    let expected: Vec<f64> = rows
        .iter()
        .map(|row| server.model.predict_row(&row.iter().map(|value| value.unwrap_or(f64::NAN)).collect::<Vec<_>>()))
        .collect();
    let json_rows = json!({"instances": rows}).to_string();
    let json_objects = json!({"instances": rows.iter().map(|row| json!({"features": row})).collect::<Vec<_>>()});
    let lines: String = rows.iter().map(|row| json!({"features": row}).to_string() + "\n").collect();
    for (content_type, body) in [
        ("text/csv", csv),
        ("application/json", json_rows),
        ("application/json; charset=utf-8", json_objects.to_string()),
        ("application/jsonlines", lines),
    ] {
        for accept in [None, Some("text/csv"), Some("application/json"), Some("application/jsonlines")] {
            let mut headers = vec![("Content-Type", content_type)];
            headers.extend(accept.map(|accept| ("Accept", accept)));
            let answer = server.post(&headers, body.as_bytes());
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.content_type, accept.unwrap_or(content_type.split(';').next().unwrap()));
            let predictions: Vec<f64> = match answer.content_type.as_str() {
                "text/csv" => answer.body.lines().map(|line| line.parse().unwrap()).collect(),
                "application/json" => serde_json::from_value(answer.json()["predictions"].clone()).unwrap(),
                _ => {
                    let prediction = |line| serde_json::from_str::<Value>(line).unwrap()["prediction"].as_f64();
                    answer.body.lines().map(|line| prediction(line).unwrap()).collect()
                }
            };
            let bits = |numbers: &[f64]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<u64>>();
            assert_eq!(bits(&predictions), bits(&expected), "{content_type} to {accept:?}");
        }
    }
}

#[test]
fn bad_requests_are_told_what_to_do() {
    let server = Server::start();
    let row = ["1"; FEATURES].join(",");
    let csv = ("Content-Type", "text/csv");
    let json = ("Content-Type", "application/json");
    for (headers, body, status, reason, detail) in [
        (vec![csv], format!("{row}\n1,2"), 400, "wrong_width", "row 2 has 2 features, the model takes 8"),
        (vec![csv], row.replacen('1', "x", 2), 400, "not_a_number", "row 1, column 1: `x` is not a finite number"),
        (vec![csv], String::new(), 400, "no_rows", "the body has no row"),
        (vec![json], "{\"instances\": [[1,".to_owned(), 400, "invalid_body", "EOF while parsing"),
        (vec![json], row.clone(), 400, "invalid_body", "an object with `instances`"),
        (vec![csv, ("Accept", "image/png")], row.clone(), 406, "not_acceptable", "`image/png`"),
        (vec![("Content-Type", "application/x-npy")], row.clone(), 415, "unsupported_media_type", "send text/csv"),
        (vec![], row, 415, "unsupported_media_type", "send text/csv"),
    ] {
        let answer = server.post(&headers, body.as_bytes());
        assert_eq!((answer.status, answer.content_type.as_str()), (status, "application/problem+json"), "{answer:?}");
        let problem = answer.json();
        assert_eq!((&problem["reason"], &problem["status"]), (&json!(reason), &json!(status)));
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
    }
    assert_eq!(request(server.address, "GET /", &[], b"").json()["reason"], "not_found");
    assert_eq!(request(server.address, "GET /invocations", &[], b"").status, 405);
}

#[test]
fn six_mebibytes_are_taken_and_a_byte_more_is_not() {
    let server = Server::start();
    let line = ["0"; FEATURES].join(",") + "\n";
    let mut body = line.repeat(MAX_REQUEST_BYTES / line.len()).into_bytes();
    // Spaces around a number have no meaning.
    let fill = MAX_REQUEST_BYTES - body.len();
    body.splice(0..0, vec![b' '; fill]);
    let headers = [("Content-Type", "text/csv")];
    let answer = server.post(&headers, &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body.lines().count(), MAX_REQUEST_BYTES / line.len());
    // The answer must also reach a client that has much left to write.
    for excess in [1, 4 * MAX_REQUEST_BYTES] {
        let answer = server.post(&headers, &[vec![b' '; excess], body.clone()].concat());
        assert_eq!((answer.status, answer.json()["reason"].as_str()), (413, Some("body_too_large")));
    }
}

/// The program itself.
fn program(job: &Job, command: &str) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_reference-model"));
    program.arg(command).env("SAGEMAKER_BASE_DIR", job.base.path()).env("SAGEMAKER_BIND_TO_PORT", "0");
    program.stdout(Stdio::piped()).stderr(Stdio::piped());
    program
}

/// Starts `serve` and reads from its first line where it listens.
fn serving(job: &Job) -> (Child, SocketAddr) {
    let mut child = program(job, "serve").spawn().unwrap();
    let mut line = Vec::new();
    let output = child.stdout.as_mut().unwrap();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        output.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    let line = String::from_utf8(line).unwrap();
    let address = line.strip_prefix("listening on http://").unwrap().split(' ').next().unwrap();
    let port = address.parse::<SocketAddr>().unwrap().port();
    (child, SocketAddr::from(([127, 0, 0, 1], port)))
}

fn terminate(child: &Child) {
    kill_process(Pid::from_child(child), Signal::TERM).unwrap();
}

#[test]
fn the_program_trains_serves_and_stops() {
    let job = Job::small();
    let trained = program(&job, "train").output().unwrap();
    assert!(trained.status.success(), "{trained:?}");
    let log = String::from_utf8(trained.stdout).unwrap();
    assert!(log.contains("2 trees: train:rmse=") && log.contains("validation:mae="), "{log}");

    let (mut child, address) = serving(&job);
    let (csv, rows) = asked(3);
    let whole = request(address, "POST /invocations", &[("Content-Type", "text/csv")], csv.as_bytes());
    assert_eq!((whole.status, whole.body.lines().count()), (200, rows.len()));

    // A request that began before the signal is finished after it; a connection that is idle keeps nothing waiting.
    let _idle = TcpStream::connect(address).unwrap();
    let mut begun = TcpStream::connect(address).unwrap();
    let head = "POST /invocations HTTP/1.1\r\nHost: test\r\nContent-Type: text/csv\r\n";
    let (first, rest) = csv.as_bytes().split_at(10);
    begun.write_all(format!("{head}Content-Length: {}\r\n\r\n", csv.len()).as_bytes()).unwrap();
    begun.write_all(first).unwrap();
    thread::sleep(Duration::from_millis(100));
    terminate(&child);
    let signalled = Instant::now();
    thread::sleep(Duration::from_millis(100));
    begun.write_all(rest).unwrap();
    assert_eq!(answer(begun).status, 200);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(signalled.elapsed() < Duration::from_secs(1), "{:?}", signalled.elapsed());
}

#[test]
fn a_request_that_never_ends_does_not_keep_the_program() {
    let job = Job::small();
    job.train().0.unwrap();
    let (mut child, address) = serving(&job);
    let mut stuck = TcpStream::connect(address).unwrap();
    stuck.write_all(b"POST /invocations HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\n1").unwrap();
    thread::sleep(Duration::from_millis(100));
    terminate(&child);
    let signalled = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(signalled.elapsed() < Duration::from_secs(1), "{:?}", signalled.elapsed());
}

#[test]
fn the_program_fails_with_code_1_and_says_why() {
    let job = Job::new(&json!({"num_round": "many"}), &[("train", "1,2\n")]);
    let trained = program(&job, "train").output().unwrap();
    assert_eq!(trained.status.code(), Some(1));
    let message = "invalid_hyperparameter: hyperparameter `num_round`: `many` is not a whole number";
    assert!(String::from_utf8(trained.stderr).unwrap().starts_with(message));
    assert!(std::fs::read_to_string(job.folders.failure()).unwrap().starts_with(message));

    let served = program(&job, "serve").output().unwrap();
    assert_eq!(served.status.code(), Some(1));
    let message = String::from_utf8(served.stderr).unwrap();
    assert!(message.starts_with("file_error: cannot read ") && message.contains("metadata.json"), "{message}");
    assert_eq!(program(&job, "fly").output().unwrap().status.code(), Some(2));
}

#[test]
fn quantiles_are_answered_where_they_are_asked_for() {
    let hyperparameters = json!({"num_round": "10", "quantiles": "0.1,0.9"});
    let server = Server::of(Job::new(&hyperparameters, &[("train", &csv(1, 400))]));
    let row = csv(9, 1);
    let row = row.split_once(',').unwrap().1;
    let asked = ("X-Amzn-SageMaker-Custom-Attributes", "trace=7; quantiles");
    let plain = server.post(&[("Content-Type", "text/csv")], row.as_bytes());
    let answer = server.post(&[("Content-Type", "text/csv"), asked], row.as_bytes());
    let numbers: Vec<f64> = answer.body.trim().split(',').map(|number| number.parse().unwrap()).collect();
    assert_eq!(numbers.len(), 3);
    assert_eq!(plain.body.trim(), answer.body.split(',').next().unwrap());
    assert!(numbers[1] <= numbers[2], "{numbers:?}");
    let answer =
        server.post(&[("Content-Type", "text/csv"), ("Accept", "application/json"), asked], row.as_bytes()).json();
    assert_eq!(answer["predictions"], json!([numbers[0]]));
    assert_eq!(answer["quantiles"], json!({"0.1": [numbers[1]], "0.9": [numbers[2]]}));

    let none = Server::start().post(&[("Content-Type", "text/csv"), asked], row.as_bytes());
    assert_eq!((none.status, &none.json()["reason"]), (400, &json!("no_quantiles")));
}
