//! What an attacker would try, against the real functions in the local cloud: nobody who has not signed gets in, nothing that is
//! sent breaks a function, leaves its place, writes a line of the log or a header of its own, or makes a function call elsewhere.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[allow(dead_code)] // Of the world only a part is needed here.
mod world;

use std::{
    fs,
    io::Read as _,
    path::Path,
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4::SigningParams,
};
use cloud::object_store::{GetObject, ListObjects, PutCondition, PutObject};
use domain::{Release, ReleasePointer, lake};
use local::StaticRoute;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use world::{World, model, release};

const PERSONAL_DATA_KEY: &str = "a-key-of-personal-data-that-nobody-may-read";
const IDLE: Duration = Duration::from_mins(2);

async fn world(root: &Path, check_signatures: bool) -> World {
    World::start_with(root, false, |options| {
        options.check_signatures = check_signatures;
        options.parameters.insert("PersonalDataKey".to_owned(), PERSONAL_DATA_KEY.to_owned());
        let reports =
            StaticRoute { path_prefix: "/reports".to_owned(), bucket: None, key_prefix: "reports/".to_owned() };
        options.static_routes = vec![reports];
    })
    .await
}

fn request() -> Value {
    json!({
        "requested_at": "2026-01-31T07:08:09Z", "deadline_ms": 20_000, "inputs": {"lat": 40.5},
        "candidates": [{"candidate_id": "car-1", "inputs": {"car_lat": 40.25}}],
    })
}

fn outcome(candidate: &str) -> Value {
    json!({
        "prediction_id": "019c13ec-9e00-7000-8000-00000000000a", "candidate_id": candidate,
        "observed_at": "2026-01-31T12:09:30Z", "arrived_at": "2026-01-31T12:09:28Z",
    })
}

impl World {
    async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let response =
            self.http.post(format!("{}{path}", self.cloud.api_url())).header("content-type", "application/json");
        let response = response.body(body).send().await.unwrap();
        let status = response.status().as_u16();
        assert!(response.headers().keys().all(|name| !name.as_str().contains("evil")), "{response:?}");
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{status} {error}: {text}")))
    }

    /// Puts a release in force by hand, past every check.
    async fn force(&self, release: &Release) {
        let id = release.id().unwrap();
        let document = lake::release(&model(), &id);
        self.lake.put_object(&document, release.to_bytes().into(), PutCondition::Always).await.unwrap();
        let pointer = serde_json::to_vec(&ReleasePointer::new(id, None, release.created_at)).unwrap();
        self.lake.put_object(&lake::release_pointer(&model()), pointer.into(), PutCondition::Always).await.unwrap();
    }

    async fn land(&self, key: &str, body: impl Into<bytes::Bytes>) {
        self.lake.put_object(key, body.into(), PutCondition::Always).await.unwrap();
    }

    async fn keys(&self, prefix: &str) -> Vec<String> {
        self.lake.list_objects(prefix).await.unwrap().into_iter().map(|object| object.key).collect()
    }

    fn no_function_failed(&self) {
        let statistics = self.cloud.statistics();
        for (name, function) in &statistics.functions {
            assert_eq!((function.errors, function.discarded), (0, 0), "{name}: {function:?}");
        }
        for (name, queue) in &statistics.queues {
            assert!(!queue.dead_letters || queue.visible == 0, "{name}: {queue:?}");
        }
    }
}

/// Every file below the cloud's logs.
fn logs(root: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(root.join("logs")).unwrap() {
        text.push_str(&String::from_utf8_lossy(&fs::read(entry.unwrap().path()).unwrap_or_default()));
    }
    assert!(!text.is_empty());
    text
}

fn no_secret_in_the_logs(root: &Path, world: &World, more: &[&str]) {
    let logs = logs(root);
    let secret = &world.cloud.environment()["AWS_SECRET_ACCESS_KEY"];
    for secret in [secret.as_str(), PERSONAL_DATA_KEY, "AWS4-HMAC-SHA256"].iter().chain(more) {
        assert!(!logs.contains(secret), "the logs tell {secret}");
    }
}

/// Headers that sign a POST, with any of what is signed changed.
fn signed(world: &World, secret: &str, path: &str, body: &[u8], time: SystemTime) -> Vec<(String, String)> {
    let environment = world.cloud.environment();
    let identity = Credentials::new(environment["AWS_ACCESS_KEY_ID"].clone(), secret, None, None, "test").into();
    let params = SigningParams::builder()
        .identity(&identity)
        .region(&environment["AWS_REGION"])
        .name("execute-api")
        .time(time)
        .settings(SigningSettings::default())
        .build()
        .unwrap();
    let url = format!("{}{path}", world.cloud.api_url());
    let headers = [("content-type", "application/json")].into_iter();
    let request = SignableRequest::new("POST", url, headers, SignableBody::Bytes(body)).unwrap();
    let (instructions, _) = sign(request, &params.into()).unwrap().into_parts();
    instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_signed_is_not_let_in() {
    let root = tempfile::tempdir().unwrap();
    let world = world(root.path(), true).await;
    world.force(&release(0, "deep")).await;
    let path = "/v1/predictions";
    let body = request().to_string();
    let send = async |path: &str, headers: Vec<(String, String)>, body: String| {
        let mut request = world.http.post(format!("{}{path}", world.cloud.api_url()));
        request = request.header("content-type", "application/json").body(body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let now = SystemTime::now();
    let secret = world.cloud.environment()["AWS_SECRET_ACCESS_KEY"].clone();
    let good = signed(&world, &secret, path, body.as_bytes(), now);
    let hour = Duration::from_hours(1);
    let with = |name: &str, value: &str| {
        let replaced = good.iter().map(|(n, v)| (n.clone(), if n == name { value.to_owned() } else { v.clone() }));
        replaced.collect::<Vec<_>>()
    };
    let forged = [
        ("nothing", path, vec![], body.clone()),
        ("another's secret", path, signed(&world, "guessed", path, body.as_bytes(), now), body.clone()),
        ("another body", path, good.clone(), body.replace("40.5", "40.6")),
        ("another path", "/v1/outcomes", good.clone(), body.clone()),
        ("an hour ago", path, signed(&world, &secret, path, body.as_bytes(), now - hour), body.clone()),
        ("in an hour", path, signed(&world, &secret, path, body.as_bytes(), now + hour), body.clone()),
        ("another time", path, with("x-amz-date", "20260101T000000Z"), body.clone()),
        ("a bearer", path, with("authorization", "Bearer x"), body.clone()),
        ("an empty header", path, with("authorization", ""), body.clone()),
    ];
    for (what, path, headers, body) in forged {
        assert_eq!(send(path, headers, body).await, (403, "{\"message\":\"Forbidden\"}".to_owned()), "{what}");
    }
    let read = world.http.get(format!("{}/openapi.json", world.cloud.api_url())).send().await.unwrap();
    assert_eq!(read.status().as_u16(), 403);
    let reached: u64 = world.cloud.statistics().functions.values().map(|function| function.invocations).sum();
    assert_eq!(reached, 0, "no function was asked");
    let signature = good.iter().find(|(name, _)| name == "authorization").unwrap().1.clone();
    let (status, answer) = send(path, good, body).await;
    assert_eq!(status, 200, "{answer}");
    no_secret_in_the_logs(root.path(), &world, &[signature.rsplit('=').next().unwrap()]);
    world.cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_keys_and_paths_stay_where_they_belong() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("cloud");
    let world = world(&folder, false).await;
    world.force(&release(0, "deep")).await;
    fs::write(root.path().join("secret.txt"), "beside the cloud").unwrap();

    // Written by hand: clients tidy paths up.
    let address = world.cloud.api_url().trim_start_matches("http://").to_owned();
    let up = "../".repeat(12);
    for path in [
        format!("/reports/{up}etc/passwd"),
        format!("/reports/{up}etc/passwd/"),
        "/reports/../../../secret.txt".to_owned(),
        "/reports/%2e%2e/%2e%2e/%2e%2e/secret.txt".to_owned(),
        "/reports/..%2f..%2f..%2fsecret.txt".to_owned(),
        "/reports//etc/passwd.txt".to_owned(),
        "/reports/%00.txt".to_owned(),
        "/reports/..\\..\\secret.txt".to_owned(),
        "/v1/predictions/../../reports/x.txt".to_owned(),
    ] {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        // 302: to the same with a slash at its end, which is the next.
        let refused = ["HTTP/1.1 302", "HTTP/1.1 400", "HTTP/1.1 404"].iter().any(|status| answer.starts_with(status));
        assert!(refused, "{path}: {answer}");
        assert!(!answer.contains("root:") && !answer.contains("beside the cloud"), "{path}: {answer}");
    }

    // What becomes a part of a key.
    for name in ["../../releases", "a/b", "", ".", "..", "a\u{0}b", "a b", "A", &"m".repeat(300)] {
        let mut request = request();
        request["model"] = json!(name);
        let (status, problem) = world.post("/v1/predictions", request.to_string()).await;
        assert_eq!(status, 422, "{name:?}: {problem}");
    }
    for id in
        ["../../x", "not-a-uuid", "019c13ec-9e00-4000-8000-00000000000a", "019c13ec-9e00-7000-8000-00000000000a/../x"]
    {
        let mut request = request();
        request["prediction_id"] = json!(id);
        assert_eq!(world.post("/v1/predictions", request.to_string()).await.0, 422, "{id}");
    }
    let mut odd = request();
    odd["unit_id"] = json!("../../../unit");
    odd["candidates"][0]["candidate_id"] = json!("../../etc/passwd");
    let (status, answer) = world.post("/v1/predictions", odd.to_string()).await;
    assert_eq!((status, &answer["predictions"][0]["candidate_id"]), (200, &json!("../../etc/passwd")), "{answer}");

    // Objects under every kind of name.
    let names = [
        "../../../../escaped",
        "..",
        "a b+c",
        "%2e%2e%2f",
        "née ☃",
        "a\tb",
        "x/../y",
        "//double",
        "'; DROP TABLE x; --",
        "<script>alert(1)</script>",
        "$(reboot)",
        "=cmd()",
        "con",
        "a\\b",
    ];
    for (index, name) in names.iter().enumerate() {
        world.land(&format!("landing/outcomes/{name}"), format!("{}\n", outcome(&format!("car-{index}")))).await;
    }
    world.cloud.wait_until_idle(IDLE).await.unwrap();
    world.cloud.run_schedule("result-archiver", None).await.unwrap();
    assert_eq!(world.keys("landing/outcomes/").await, Vec::<String>::new(), "all were taken");
    let files = world.keys("archive/outcomes/").await;
    assert_eq!(files, ["archive/outcomes/dt=2026-01-31/hour=12/part-00.parquet"]);
    let hour = world.lake.get_object(&files[0], None).await.unwrap().found().unwrap();
    assert_eq!(archive::read_outcomes(hour.bytes).unwrap().len(), names.len());
    let mut beside: Vec<_> = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    beside.sort();
    assert_eq!(beside, ["cloud", "secret.txt"], "nothing was written beside the cloud");
    world.no_function_failed();
    no_secret_in_the_logs(&folder, &world, &[]);
    world.cloud.shutdown().await;
}

/// More than the archiver takes of one object, in a few hundred kilobytes.
fn gzip_bomb() -> Vec<u8> {
    let mut member = Vec::new();
    let mut zeros = flate2::read::GzEncoder::new(std::io::repeat(0).take(8 << 20), flate2::Compression::fast());
    zeros.read_to_end(&mut member).unwrap();
    member.repeat(40)
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_are_kept_apart() {
    let root = tempfile::tempdir().unwrap();
    let world = world(root.path(), false).await;
    world.force(&release(0, "deep")).await;
    let gzip = gzip_bomb();
    let zstd = zstd::stream::encode_all(std::io::repeat(0).take(320 << 20), 1).unwrap();
    let zip = b"PK\x03\x04\x14\x00\x08\x00\x08\x00bomb".to_vec();
    // An API that unpacked what it is sent would be one's own bomb: it does not.
    for (encoding, body) in [("gzip", &gzip[..gzip.len() / 40]), ("zstd", &zstd[..]), ("deflate", &zip[..])] {
        for path in ["/v1/predictions", "/v1/features", "/v1/outcomes"] {
            let request = world.http.post(format!("{}{path}", world.cloud.api_url()));
            let request = request.header("content-type", "application/json").header("content-encoding", encoding);
            let status = request.body(body.to_vec()).send().await.unwrap().status().as_u16();
            assert!((400..500).contains(&status), "{encoding} {path}: {status}");
        }
    }
    for (name, body) in [("gzip.gz", gzip), ("zstd.zst", zstd), ("zip.zip", zip)] {
        world.land(&format!("landing/outcomes/{name}"), body).await;
    }
    world.land("landing/outcomes/good.jsonl", format!("{}\n", outcome("car-1"))).await;
    world.cloud.wait_until_idle(IDLE).await.unwrap();
    world.cloud.run_schedule("result-archiver", None).await.unwrap();
    assert_eq!(world.keys("archive/outcomes/").await.len(), 1, "the good one is archived");
    for name in ["gzip.gz", "zstd.zst", "zip.zip"] {
        let told = world.keys(&format!("quarantine/landing/outcomes/{name}")).await;
        assert!(!told.is_empty(), "{name}: {:?}", world.keys("quarantine/").await);
    }
    world.no_function_failed();
    world.cloud.shutdown().await;
}

/// Documents that are small to send and costly, or wrong, to take.
fn hostile_json() -> Vec<(&'static str, String)> {
    let deep = 100_000;
    let digits = "9".repeat(100_000);
    let wrap = |inner: &str| request().to_string().replace("40.5", inner);
    vec![
        ("deep arrays", "[".repeat(deep)),
        ("deep closed arrays", format!("{}{}", "[".repeat(deep), "]".repeat(deep))),
        ("deep objects", "{\"a\":".repeat(deep)),
        ("a deep input", wrap(&format!("{}{}", "[".repeat(deep), "]".repeat(deep)))),
        ("an infinite input", wrap("1e400")),
        ("minus infinity", wrap("-1e400")),
        ("a huge input", wrap("1e308")),
        ("many digits", wrap(&digits)),
        ("many decimals", wrap(&format!("0.{digits}e100000"))),
        ("NaN", wrap("NaN")),
        ("a long text", wrap(&format!("\"{}\"", "x".repeat(1 << 20)))),
        ("a lone surrogate", wrap("\"\\ud800\"")),
        ("no UTF-8 in sight", wrap("\"\u{fffd}\u{0}\"")),
        ("a huge deadline", request().to_string().replace("20000", "18446744073709551616")),
        ("a negative deadline", request().to_string().replace("20000", "-1")),
        ("a deadline with decimals", request().to_string().replace("20000", "1e-400")),
        ("a time long ago", request().to_string().replace("2026-01-31T07:08:09Z", "-009999-01-01T00:00:00Z")),
        ("a time of never", request().to_string().replace("2026-01-31T07:08:09Z", "9999-12-31T23:59:60Z")),
        ("twice the same key", request().to_string().replacen('{', "{\"inputs\":{\"lat\":40.1},", 1)),
        ("a hundred thousand keys", {
            let keys: Vec<String> = (0..100_000).map(|index| format!("\"k{index}\":1")).collect();
            format!("{{{}}}", keys.join(","))
        }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_and_huge_documents_are_refused_and_break_nothing() {
    let root = tempfile::tempdir().unwrap();
    let world = world(root.path(), false).await;
    world.force(&release(0, "deep")).await;
    for (what, body) in hostile_json() {
        for path in ["/v1/predictions", "/v1/features", "/v1/outcomes"] {
            let (status, problem) = world.post(path, body.clone()).await;
            assert!((400..500).contains(&status), "{what} {path}: {status} {problem}");
            assert!(problem["reason"].is_string(), "{what} {path}: {problem}");
            assert!(problem.to_string().len() < 100_000, "{what} {path}: it is not said back whole");
        }
    }
    // The same as lines of a file, and a file of nothing but them.
    let lines: String = hostile_json().into_iter().map(|(_, body)| body.replace('\n', " ") + "\n").collect();
    let file = format!("{}\n{lines}{}\n", outcome("car-1"), outcome("car-2"));
    world.land("landing/outcomes/hostile.jsonl", file).await;
    world.land("landing/predictions/pickup-eta/hostile.jsonl", lines).await;
    world.cloud.wait_until_idle(IDLE).await.unwrap();
    world.cloud.run_schedule("result-archiver", None).await.unwrap();
    assert_eq!(world.keys("archive/outcomes/").await.len(), 1);
    let quarantined = world.keys("quarantine/landing/outcomes/hostile.jsonl").await.len();
    assert_eq!(quarantined, hostile_json().len(), "each bad line by itself");
    let (status, answer) = world.post("/v1/predictions", request().to_string()).await;
    assert_eq!(status, 200, "{answer}");
    world.no_function_failed();
    world.cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_write_no_header_and_no_line_of_the_log() {
    let root = tempfile::tempdir().unwrap();
    let world = world(root.path(), false).await;
    // Names of arm, variant and version are the release's: one that was made by hand, past every check.
    let line = "x\r\nX-Evil: 1\r\n\r\n{\"_aws\":{\"Timestamp\":1},\"evil\":1}\n\u{1b}[2J";
    let mut hostile = release(0, "deep");
    hostile.arms[0].name = line.to_owned();
    hostile.arms[0].variant = line.to_owned();
    hostile.arms[0].model_version = line.to_owned();
    world.force(&hostile).await;
    let mut request = request();
    request["unit_id"] = json!(line);
    request["ride_id"] = json!(line);
    request["candidates"][0]["candidate_id"] = json!(line);
    let (status, answer) = world.post("/v1/predictions", request.to_string()).await;
    assert!(status == 200 || status == 422, "{answer}");
    // Where such names are taken, the answer is a document, and they are texts in it.
    assert!(status == 422 || answer["predictions"][0]["candidate_id"] == line, "{answer}");
    for field in ["model", "requested_at", "no_such_field"] {
        let mut request = world_request(field, line);
        let (status, problem) = world.post("/v1/predictions", request.take().to_string()).await;
        assert_eq!(status, 422, "{field}: {problem}");
    }
    for path in ["/v1/outcomes", "/v1/features"] {
        let mut outcome = outcome(line);
        outcome["metrics"] = json!({line: 1});
        assert!(world.post(path, outcome.to_string()).await.0 < 500);
    }
    let api = world.cloud.api_url();
    for (name, value) in [
        ("x-mannen-arm", "deep\u{ff}"),
        ("x-mannen-arm", "{\"evil\":1}"),
        ("x-deadline-ms", "1;evil"),
        ("x-amzn-trace-id", "Root=1;evil=1"),
        ("user-agent", "{\"evil\":1}"),
        ("x-forwarded-for", "{\"evil\":1}"),
    ] {
        let value = reqwest::header::HeaderValue::from_bytes(value.as_bytes()).unwrap();
        let request =
            world.http.post(format!("{api}/v1/predictions")).header(name, value).json(&world_request("x", "y"));
        assert!(request.send().await.unwrap().status().as_u16() < 500, "{name}");
    }
    world.cloud.wait_until_idle(IDLE).await.unwrap();
    for line in logs(root.path()).lines() {
        assert!(!line.contains('\u{1b}'), "a terminal's codes: {line:?}");
        if let Ok(Value::Object(line)) = serde_json::from_str::<Value>(line) {
            assert!(!line.contains_key("evil"), "a line of the caller's own: {line:?}");
        }
        assert!(!line.starts_with("X-Evil"), "{line}");
    }
    no_secret_in_the_logs(root.path(), &world, &[]);
    world.cloud.shutdown().await;
}

fn world_request(field: &str, value: &str) -> Value {
    let mut request = request();
    request[field] = json!(value);
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_in_a_document_makes_a_function_call_elsewhere() {
    let root = tempfile::tempdir().unwrap();
    let world = world(root.path(), false).await;
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = trap.local_addr().unwrap();
    let endpoints = [
        format!("http://{address}/"),
        format!("//{address}/x"),
        format!("x@{address}"),
        format!("../../{address}"),
        format!("a/invocations?x=http://{address}#"),
        "../_faults".to_owned(),
        "169.254.169.254/latest/meta-data".to_owned(),
    ];
    for (index, endpoint) in endpoints.iter().enumerate() {
        let mut hostile = release(index as u32 + 1, "deep");
        hostile.arms[0].endpoint.clone_from(endpoint);
        // By the front door it does not come in.
        let report = releases::check(
            releases::Endpoints { describe: &world.control, invoke: &world.runtime },
            hostile.clone(),
            releases::PinnedTables::new(),
            jiff::Timestamp::now(),
        )
        .await
        .unwrap();
        assert!(report.servable().is_err(), "{endpoint} passes the checks");
        // Put by hand, it is the name of an endpoint that is not there.
        world.force(&hostile).await;
        let (status, answer) = world.post("/v1/predictions", request().to_string()).await;
        assert_eq!((status, answer["tier"].as_str()), (200, Some("fallback")), "{endpoint}: {answer}");
    }
    // Addresses in what SageMaker would have recorded are recorded, and no more.
    let notification = json!({
        "awsRegion": "us-east-1", "eventTime": "2026-01-31T07:08:09Z", "receivedTime": "2026-01-31T07:08:09Z",
        "invocationStatus": "Completed", "inferenceId": "019c13ec-9e00-7000-8000-00000000000a", "eventVersion": "1.0",
        "eventSource": "aws:sagemaker", "eventName": "InferenceResult",
        "requestParameters": {"endpointName": "e", "inputLocation": format!("http://{address}/in")},
        "responseParameters": {"contentType": "text/csv", "outputLocation": format!("http://{address}/out")},
    });
    world.land("landing/async-inference/pickup-eta/one.json", format!("{notification}\n")).await;
    world.cloud.wait_until_idle(IDLE).await.unwrap();
    assert_eq!(world.keys("landing/").await.iter().filter(|key| key.contains("async")).count(), 0);
    let nobody = tokio::time::timeout(Duration::from_millis(500), trap.accept()).await;
    assert!(nobody.is_err(), "somebody came: {nobody:?}");
    world.no_function_failed();
    no_secret_in_the_logs(root.path(), &world, &[]);
    world.cloud.shutdown().await;
}
