//! What a function costs besides what it asks of others: starts a program as Lambda would, hands it requests one by one and
//! measures from the event's way out to the answer's way in, minus the time in which S3 and the endpoint had the turn.
//!
//! ```text
//! request_overhead [--tls] [--requests 2000] [--starts 11] [--candidates 1,20,200] -- PROGRAM ARGUMENTS…
//! request_overhead in-memory CANDIDATES REQUESTS
//! ```
//!
//! With `--tls`, S3 and the endpoint are behind TLS, as they are on AWS: their certificate is made here, and the program trusts it
//! besides the system's roots (`SSL_CERT_FILE`, `AWS_CA_BUNDLE`). The Runtime API never has it.
//!
//! The second form answers requests within this process, store and endpoint in memory, and prints nothing of its own (the
//! proxy prints its metrics): for counting instructions and allocations of the proxy's own code.
//!
//! Any program that speaks the Runtime API will do; `benches/request_peers.py` runs this for ours and for a handler in
//! Python, in turn. S3 and the endpoint live in this process: they answer at once and check no signature. One JSON object
//! a line is printed, the start first and then one per number of candidates.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt::Write,
    process::{Child, Command, ExitCode, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use bytes::Bytes;
use cloud::{
    config::Environment,
    endpoint::{Answer, Invocation as Asked, InvokeEndpoint, InvokeError},
    http::HttpEvent,
    object_store::{ETag, GetObject, GetOutcome, Object, PutCondition, PutObject, PutOutcome, StoreError},
    release_cache::ReleaseCache,
};
use domain::{Arm, ExperimentPlan, FeatureSpecSource, Limits, Release, ReleasePointer, lake};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use prediction_proxy::{Config, Invocation, Proxy, answer, preparing};
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::mpsc,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
};

const BUCKET: &str = "lake";
const SPEC: &str = include_str!("../../../models/pickup-eta/features.toml");
const CANDIDATES: &str = "1,20,200";
/// How long a program may take to ask for its first event, or to answer one.
const PATIENCE: Duration = Duration::from_secs(30);
/// Roots of the system, where it has them in one file.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What the program has done, told to the one that drives it.
enum Told {
    /// It asks for an event.
    Asks(Instant),
    /// It has answered; the answer had arrived at this moment.
    Answers(Instant, Bytes),
    /// It reports an error.
    Fails(String),
}

/// Runtime API, S3 and SageMaker's runtime in one.
struct Outside {
    told: mpsc::UnboundedSender<Told>,
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<Bytes>>,
    handed_out: Mutex<Option<Instant>>,
    objects: Mutex<HashMap<String, Bytes>>,
    /// The time in which S3 or the endpoint had the turn, of the event under way.
    away: Mutex<Duration>,
    puts: Mutex<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Outside {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let arrived = Instant::now();
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        if path.ends_with("/runtime/invocation/next") {
            return Ok(self.next_event(arrived).await);
        }
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let now = Instant::now();
        if path.contains("/runtime/invocation/") && path.ends_with("/response") {
            _ = self.told.send(Told::Answers(now, body));
            return Ok(with(202, Bytes::new()));
        }
        if path.contains("/runtime/") {
            _ = self.told.send(Told::Fails(String::from_utf8_lossy(&body).into_owned()));
            return Ok(with(202, Bytes::new()));
        }
        let response = if path.starts_with("/endpoints/") {
            invoked(&head.headers, &body)
        } else {
            self.object(&head.method, path.trim_start_matches('/').trim_start_matches("lake/"), body)
        };
        *lock(&self.away) += arrived.elapsed();
        Ok(response)
    }

    async fn next_event(&self, arrived: Instant) -> Response<Full<Bytes>> {
        _ = self.told.send(Told::Asks(arrived));
        let Some(event) = self.events.lock().await.recv().await else { return with(500, Bytes::new()) };
        let deadline = SystemTime::now() + Duration::from_secs(10);
        let deadline_ms = deadline.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut response = with(200, event);
        for (name, value) in [
            ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned()),
            ("lambda-runtime-deadline-ms", deadline_ms.to_string()),
            ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:000000000000:function:bench".to_owned()),
            (
                "lambda-runtime-trace-id",
                "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0".to_owned(),
            ),
            ("content-type", "application/json".to_owned()),
        ] {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        }
        *lock(&self.handed_out) = Some(Instant::now());
        response
    }

    fn object(&self, method: &Method, key: &str, body: Bytes) -> Response<Full<Bytes>> {
        let mut objects = lock(&self.objects);
        if method == Method::PUT {
            *lock(&self.puts) += 1;
            // Kept once: what is measured is the function.
            objects.entry("last".to_owned()).and_modify(|last| *last = body.clone()).or_insert(body);
            return tagged(with(200, Bytes::new()));
        }
        match objects.get(key) {
            Some(object) => tagged(with(200, object.clone())),
            None => with(404, Bytes::from_static(b"<Error><Code>NoSuchKey</Code></Error>")),
        }
    }
}

fn with(status: u16, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    response
}

fn tagged(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    response.headers_mut().insert("etag", hyper::header::HeaderValue::from_static("\"0\""));
    response
}

/// As many numbers as there are rows.
fn numbers_for(rows: &[u8]) -> Bytes {
    let count = rows.split(|&byte| byte == b'\n').filter(|row| !row.is_empty()).count();
    let mut body = String::new();
    for row in 0..count {
        _ = writeln!(body, "{}.5", 200 + row);
    }
    body.into()
}

fn invoked(headers: &hyper::HeaderMap, rows: &[u8]) -> Response<Full<Bytes>> {
    let mut response = with(200, numbers_for(rows));
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("text/csv"));
    if let Some(variant) = headers.get("x-amzn-sagemaker-target-variant") {
        response.headers_mut().insert("x-amzn-invoked-production-variant", variant.clone());
    }
    response
}

/// The released reference model, with two arms of one endpoint.
fn objects() -> Result<HashMap<String, Bytes>, Failure> {
    let arm = |name: &str, variant: &str| Arm {
        name: name.to_owned(),
        endpoint: "pickup-eta".to_owned(),
        variant: variant.to_owned(),
        model_version: "1".to_owned(),
    };
    let hash = features::Plan::compile("features.toml", SPEC)?.hash().to_owned();
    let release = Release {
        experiment: Some(ExperimentPlan::new("deeper-trees", vec![0.5, 0.5])),
        ..Release::new(
            "pickup-eta".parse()?,
            "2026-01-01T00:00:00Z".parse()?,
            FeatureSpecSource { hash, toml: SPEC.to_owned() },
            vec![arm("control", "shallow"), arm("treatment", "deep")],
            Limits { max_candidates: 1_000, default_deadline_ms: 5_000 },
        )
    };
    let pointer = ReleasePointer::new(release.id()?, None, release.created_at);
    Ok(HashMap::from([
        (lake::release(&release.model, &pointer.release_id), release.to_bytes().into()),
        (lake::release_pointer(&release.model), serde_json::to_vec(&pointer)?.into()),
    ]))
}

/// An event of API Gateway with a request of `candidates` cars.
fn event(candidates: usize, number: usize) -> Bytes {
    let cars: Vec<_> = (0..candidates)
        .map(|car| {
            let offset = car as f64 * 1e-4;
            let inputs = json!({"car_lat": 40.7579 + offset, "car_lon": -73.9855 - offset, "car_zone": car % 263 + 1});
            json!({"candidate_id": format!("car-{car}"), "inputs": inputs})
        })
        .collect();
    let body = json!({
        "unit_id": format!("rider-{number}"),
        "requested_at": "2026-06-01T22:24:30Z",
        "inputs": {"rider_lat": 40.7505, "rider_lon": -73.9934, "rider_zone": 186, "rain_mm": 2.5, "temperature_c": 22.0},
        "candidates": cars,
    });
    let event = json!({
        "version": "2.0", "routeKey": "POST /v1/predictions", "rawPath": "/v1/predictions", "rawQueryString": "",
        "headers": {"content-type": "application/json", "user-agent": "taxi-app/4.2", "x-forwarded-for": "203.0.113.7"},
        "requestContext": {
            "accountId": "000000000000", "apiId": "abc123", "stage": "$default", "routeKey": "POST /v1/predictions",
            "requestId": "JKJaXmPLvHcESHA=", "time": "01/Jun/2026:22:24:30 +0000", "timeEpoch": 1_780_352_670_000_i64,
            "http": {"method": "POST", "path": "/v1/predictions", "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7",
                     "userAgent": "taxi-app/4.2"},
        },
        "body": body.to_string(),
        "isBase64Encoded": false,
    });
    event.to_string().into()
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, outside: Arc<Outside>) {
    let service = service_fn(move |request| Arc::clone(&outside).answer(request));
    _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// A program under way; it is killed when this is dropped.
struct Running {
    child: Child,
    outside: Arc<Outside>,
    told: mpsc::UnboundedReceiver<Told>,
    hand: mpsc::UnboundedSender<Bytes>,
    started: Instant,
    servers: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        self.servers.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Running {
    async fn start(command: &[String], tls: Option<&Certificate>) -> Result<Self, Failure> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let ((tell, told), (hand, events)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let outside = Arc::new(Outside {
            told: tell,
            events: tokio::sync::Mutex::new(events),
            handed_out: Mutex::default(),
            objects: Mutex::new(objects()?),
            away: Mutex::default(),
            puts: Mutex::default(),
        });
        let plain = Arc::clone(&outside);
        let mut servers = vec![tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream, Arc::clone(&plain)));
            }
        })];
        let mut url = format!("http://{address}");
        if let Some(certificate) = tls {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            url = format!("https://{}", listener.local_addr()?);
            let (acceptor, outside) = (certificate.acceptor.clone(), Arc::clone(&outside));
            servers.push(tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    _ = stream.set_nodelay(true);
                    let (acceptor, outside) = (acceptor.clone(), Arc::clone(&outside));
                    tokio::spawn(async move {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            serve(stream, outside).await;
                        }
                    });
                }
            }));
        }
        let (program, arguments) = command.split_first().ok_or("no program")?;
        let started = Instant::now();
        let child = Command::new(program)
            .args(arguments)
            .env_remove("RUST_LOG")
            .envs([
                ("AWS_LAMBDA_RUNTIME_API", address.to_string()),
                ("AWS_LAMBDA_FUNCTION_NAME", "bench".to_owned()),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512".to_owned()),
                ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
                ("AWS_REGION", "us-east-1".to_owned()),
                ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
                ("AWS_ACCESS_KEY_ID", "AKIALOCAL00000000000".to_owned()),
                ("AWS_SECRET_ACCESS_KEY", "of-no-value".to_owned()),
                ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
                ("AWS_ENDPOINT_URL_S3", url.clone()),
                ("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", url),
                ("LAKE_BUCKET", BUCKET.to_owned()),
                ("DEFAULT_MODEL", "pickup-eta".to_owned()),
                ("MAX_ID_SKEW_S", "0".to_owned()),
            ])
            .envs(tls.iter().flat_map(|tls| ["SSL_CERT_FILE", "AWS_CA_BUNDLE"].map(|name| (name, tls.roots.path()))))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()?;
        Ok(Self { child, outside, told, hand, started, servers })
    }

    async fn told(&mut self) -> Result<Told, Failure> {
        let told = tokio::time::timeout(PATIENCE, self.told.recv()).await.map_err(|_| "the program does not answer")?;
        match told.ok_or("the program is gone")? {
            Told::Fails(why) => Err(why.into()),
            told => Ok(told),
        }
    }

    /// Until it asks for an event.
    async fn asks(&mut self) -> Result<Instant, Failure> {
        loop {
            if let Told::Asks(at) = self.told().await? {
                return Ok(at);
            }
        }
    }

    /// One event: what the function took, without the time in which others had the turn.
    async fn answer(&mut self, event: Bytes, candidates: usize) -> Result<Duration, Failure> {
        *lock(&self.outside.away) = Duration::ZERO;
        let puts = *lock(&self.outside.puts);
        self.hand.send(event)?;
        let Told::Answers(at, body) = self.told().await? else { return Err("it asks before it answers".into()) };
        let (away, handed_out) = (*lock(&self.outside.away), *lock(&self.outside.handed_out));
        let took = at.duration_since(handed_out.ok_or("no event was handed out")?).saturating_sub(away);
        self.asks().await?;
        // What does not do the work must not win.
        let answer: serde_json::Value = serde_json::from_slice(&body)?;
        let content: serde_json::Value = serde_json::from_str(answer["body"].as_str().unwrap_or_default())?;
        let values = content["predictions"].as_array().map_or(0, Vec::len);
        if answer["statusCode"] != 200 || values != candidates || content["tier"] != "endpoint" {
            return Err(format!("not the answer that was asked for: {}", String::from_utf8_lossy(&body)).into());
        }
        if *lock(&self.outside.puts) != puts + 1 {
            return Err("the record was not put once".into());
        }
        Ok(took)
    }

    /// What its threads have had of the processors, seconds: the first figure of Linux's `schedstat`, in nanoseconds.
    fn processor_s(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).into_iter().flatten().flatten();
        let of = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("schedstat")).ok();
        let ns = |text: String| text.split(' ').next().and_then(|number| number.parse::<f64>().ok());
        tasks.filter_map(of).filter_map(ns).sum::<f64>() / 1e9
    }

    /// Its resident memory in KiB, and the highest that it was.
    fn memory_kib(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        (field("VmRSS:"), field("VmHWM:"))
    }
}

/// A certificate for this process's TLS, and the file of roots that a program must have to trust it.
struct Certificate {
    acceptor: TlsAcceptor,
    roots: NamedTempFile,
}

impl Certificate {
    fn new() -> Result<Self, Failure> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![made.cert.der().clone()], key)?;
        let roots = NamedTempFile::new()?;
        let system = std::fs::read_to_string(SYSTEM_ROOTS).unwrap_or_default();
        std::fs::write(roots.path(), format!("{system}{}", made.cert.pem()))?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), roots })
    }
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() as f64 * share) as usize).min(sorted.len() - 1)]
}

async fn measure(
    requests: usize,
    starts: usize,
    loads: &[usize],
    tls: bool,
    command: &[String],
) -> Result<(), Failure> {
    let certificate = if tls { Some(Certificate::new()?) } else { None };
    let certificate = certificate.as_ref();
    let mut cold = Vec::new();
    for _ in 0..starts.max(1) {
        let mut running = Running::start(command, certificate).await?;
        let at = running.asks().await?;
        cold.push(at.duration_since(running.started).as_secs_f64() * 1e3);
    }
    cold.sort_by(f64::total_cmp);
    let mut running = Running::start(command, certificate).await?;
    running.asks().await?;
    let first = running.answer(event(1, 0), 1).await?;
    println!(
        "{}",
        json!({"cold_start_ms": quantile(&cold, 0.5), "cold_start_min_ms": cold[0], "starts": cold.len(),
               "first_request_ms": first.as_secs_f64() * 1e3})
    );
    for &candidates in loads {
        let mut took = Vec::with_capacity(requests);
        let mut before_s = 0.0;
        for number in 0..requests + requests / 10 {
            if number == requests / 10 {
                before_s = running.processor_s();
            }
            let one = running.answer(event(candidates, number), candidates).await?;
            // The first tenth warms up.
            if number >= requests / 10 {
                took.push(one.as_secs_f64() * 1e6);
            }
        }
        let processor_us = (running.processor_s() - before_s) / took.len() as f64 * 1e6;
        took.sort_by(f64::total_cmp);
        println!(
            "{}",
            json!({"candidates": candidates, "requests": took.len(), "p50_us": quantile(&took, 0.5),
                   "p99_us": quantile(&took, 0.99), "processor_us": processor_us})
        );
    }
    let (resident_kib, highest_kib) = running.memory_kib();
    println!("{}", json!({"resident_kib": resident_kib, "highest_kib": highest_kib}));
    Ok(())
}

/// An endpoint that answers at once.
struct AtOnce;

#[async_trait]
impl InvokeEndpoint for AtOnce {
    async fn invoke_endpoint(&self, asked: Asked) -> Result<Answer, InvokeError> {
        let content_type = Some("text/csv".to_owned());
        Ok(Answer { invoked_variant: Some(asked.variant), content_type, body: numbers_for(&asked.body) })
    }
}

/// What was released; what is put there is only counted as stored.
#[derive(Clone)]
struct Released(Arc<HashMap<String, Bytes>>);

#[async_trait]
impl GetObject for Released {
    async fn get_object(&self, key: &str, _if_none_match: Option<&ETag>) -> Result<GetOutcome, StoreError> {
        let found = self.0.get(key).cloned();
        Ok(found.map_or(GetOutcome::Missing, |bytes| GetOutcome::Found(Object { bytes, etag: ETag(String::new()) })))
    }
}

#[async_trait]
impl PutObject for Released {
    async fn put_object(&self, _: &str, bytes: Bytes, _: PutCondition) -> Result<PutOutcome, StoreError> {
        std::hint::black_box(bytes);
        Ok(PutOutcome::Stored(ETag(String::new())))
    }
}

/// From an event's bytes to its answer's, `requests` times.
async fn in_memory(candidates: usize, requests: usize) -> Result<(), Failure> {
    let table =
        [("LAKE_BUCKET", BUCKET), ("DEFAULT_MODEL", "pickup-eta"), ("MAX_ID_SKEW_S", "0"), ("RELEASE_TTL_S", "3600")];
    let config = Config::from_environment(&Environment::of_table(&table))?;
    let lake = Released(Arc::new(objects()?));
    let releases = ReleaseCache::new(lake, Duration::from_secs(config.release_ttl_s), preparing(&config));
    let proxy = Proxy { releases, endpoint: Arc::new(AtOnce), health: Arc::default(), config };
    let event = event(candidates, 0);
    for _ in 0..requests {
        let event: HttpEvent = serde_json::from_slice(&event)?;
        let answered = answer(&proxy, &event, &Invocation::begin(SystemTime::now() + PATIENCE, None)).await;
        if answered.status_code != 200 {
            return Err(serde_json::to_string(&answered)?.into());
        }
        std::hint::black_box(serde_json::to_vec(&answered)?);
    }
    Ok(())
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: request_overhead [--tls] [--requests N] [--starts N] [--candidates N,N…] -- PROGRAM [ARGUMENTS…]\n       \
         request_overhead in-memory CANDIDATES REQUESTS"
    );
    ExitCode::from(2)
}

fn number<N: std::str::FromStr>(value: Option<&str>) -> Option<N> {
    value.and_then(|value| value.parse().ok())
}

async fn run(arguments: &[String]) -> Option<Result<(), Failure>> {
    let mut words = arguments.iter().map(String::as_str);
    let (mut requests, mut starts, mut loads, mut tls) = (2_000, 11, CANDIDATES, false);
    while let Some(word) = words.next() {
        match word {
            "in-memory" => return Some(in_memory(number(words.next())?, number(words.next())?).await),
            "--tls" => tls = true,
            "--requests" => requests = number(words.next())?,
            "--starts" => starts = number(words.next())?,
            "--candidates" => loads = words.next()?,
            "--" => break,
            _ => return None,
        }
    }
    let loads = loads.split(',').map(|load| number(Some(load))).collect::<Option<Vec<usize>>>()?;
    let command: Vec<String> = words.map(str::to_owned).collect();
    Some(measure(requests, starts, &loads, tls, &command).await)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments).await {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        None => usage(),
    }
}
