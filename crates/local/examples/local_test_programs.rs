//! What the tests of this crate start as children: functions (with the real `lambda_runtime`), a model and training
//! container, and the wrapper that ties a child's life to its parent's.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{path::PathBuf, time::Duration};

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::{get, post},
};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["local-child", ..] => panic!("{}", local::run_child(std::env::args_os().skip(2))),
        ["host", root] => run(host((*root).into())),
        ["function", "extended"] => run(async {
            extension().await;
            lambda_runtime::run(service_fn(handle)).await.unwrap();
        }),
        ["external"] => run(outer_extension()),
        ["function", "broken"] => std::process::exit(7),
        ["function", _] => run(async { lambda_runtime::run(service_fn(handle)).await.unwrap() }),
        ["image", "serve"] => run(serve()),
        ["image", "train"] => train(),
        other => panic!("unknown arguments {other:?}"),
    }
}

fn run(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work);
}

/// One handler for all functions: does what the event says.
async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let (event, context) = event.into_parts();
    if let Some(records) = event["Records"].as_array() {
        return Ok(batch(records));
    }
    if event["requestContext"].is_object() {
        if event["rawPath"] == "/fail" {
            return Err("as asked".into());
        }
        if event["rawPath"] == "/plain" {
            return Ok(json!({ "shortcut": true }));
        }
        let body = event.to_string();
        return Ok(json!({
            "statusCode": 201, "headers": { "content-type": "application/json", "x-id": context.request_id },
            "cookies": ["a=1"], "body": body,
        }));
    }
    match event["do"].as_str() {
        Some("sleep") => tokio::time::sleep(Duration::from_millis(event["ms"].as_u64().unwrap())).await,
        Some("exit") => std::process::exit(3),
        Some("error") => return Err("as asked".into()),
        Some("large") => return Ok("x".repeat(7 << 20).into()),
        _ => {}
    }
    Ok(json!({
        "event": event, "pid": std::process::id(), "request_id": context.request_id, "deadline_ms": context.deadline,
        "arn": context.invoked_function_arn, "trace_id": context.xray_trace_id,
        "environment": std::env::vars().collect::<std::collections::BTreeMap<_, _>>(),
    }))
}

/// Messages whose objects have `bad` in their keys fail.
fn batch(records: &[Value]) -> Value {
    println!("batch of {}", records.len());
    let mut failures = Vec::new();
    for record in records {
        let notification: Value = serde_json::from_str(record["body"].as_str().unwrap()).unwrap();
        let s3 = &notification["Records"][0];
        println!("{} {}", s3["eventName"].as_str().unwrap(), s3["s3"]["object"]["key"].as_str().unwrap());
        if s3["s3"]["object"]["key"].as_str().unwrap().contains("bad") {
            failures.push(json!({ "itemIdentifier": record["messageId"] }));
        }
    }
    json!({ "batchItemFailures": failures })
}

/// An internal extension that follows invocations.
async fn extension() {
    let base = format!("http://{}/2020-01-01/extension", std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let register = |events: Value| {
        let request = client.post(format!("{base}/register")).header("Lambda-Extension-Name", "inner");
        request.json(&json!({ "events": events })).send()
    };
    // What Lambda refuses to internal extensions is refused here.
    assert_eq!(register(json!(["INVOKE", "SHUTDOWN"])).await.unwrap().status(), 403);
    let registered = register(json!(["INVOKE"])).await.unwrap();
    let id = registered.headers()["lambda-extension-identifier"].to_str().unwrap().to_owned();
    assert_eq!(registered.json::<Value>().await.unwrap()["functionName"], "extended");
    tokio::spawn(async move {
        loop {
            let next = client.get(format!("{base}/event/next")).header("Lambda-Extension-Identifier", &id);
            let event: Value = next.send().await.unwrap().json().await.unwrap();
            // Work after the answer: the instance is not free before it is done.
            tokio::time::sleep(Duration::from_millis(50)).await;
            println!("extension saw {} {}", event["eventType"].as_str().unwrap(), event["requestId"].as_str().unwrap());
        }
    });
}

/// An external extension, named as its program in `extensions/` is.
async fn outer_extension() {
    let base = format!("http://{}/2020-01-01/extension", std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let register = client.post(format!("{base}/register")).header("Lambda-Extension-Name", "outer");
    let registered = register.json(&json!({ "events": ["INVOKE", "SHUTDOWN"] })).send().await.unwrap();
    let id = registered.headers()["lambda-extension-identifier"].to_str().unwrap().to_owned();
    loop {
        let next = client.get(format!("{base}/event/next")).header("Lambda-Extension-Identifier", &id);
        let event: Value = next.send().await.unwrap().json().await.unwrap();
        println!("outer saw {}", event["eventType"].as_str().unwrap());
        if event["eventType"] == "SHUTDOWN" {
            return;
        }
    }
}

fn base() -> PathBuf {
    std::env::var("SAGEMAKER_BASE_DIR").unwrap().into()
}

/// Answers with the model's content and what it was asked.
async fn serve() {
    let model = std::fs::read_to_string(base().join("model/model.txt")).unwrap();
    let answer = move |headers: HeaderMap, body: String| {
        let model = model.clone();
        async move {
            match body.as_str() {
                "fail" => return (StatusCode::INTERNAL_SERVER_ERROR, "model is ill").into_response(),
                "die" => std::process::exit(1),
                "slow" => {
                    std::fs::write(base().join("asked"), "").unwrap();
                    tokio::time::sleep(Duration::from_secs(2)).await;
                }
                _ => {}
            }
            let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned();
            let text = format!(
                "{}|{body}|{}|{}|{}",
                model.trim(),
                header("x-amzn-sagemaker-inference-id"),
                header("x-amzn-sagemaker-custom-attributes"),
                header("authorization"),
            );
            ([("content-type", "text/csv"), ("x-amzn-sagemaker-custom-attributes", "from=container")], text)
                .into_response()
        }
    };
    let router = Router::new().route("/ping", get(|| async { "" })).route("/invocations", post(answer));
    let port: u16 = std::env::var("SAGEMAKER_BIND_TO_PORT").unwrap().parse().unwrap();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    axum::serve(listener, router).await.unwrap();
}

/// "Trains": writes hyperparameter, data and configuration into the model.
fn train() {
    let read = |path: &str| std::fs::read_to_string(base().join(path)).unwrap();
    let parameters: Value = serde_json::from_str(&read("input/config/hyperparameters.json")).unwrap();
    let channels: Value = serde_json::from_str(&read("input/config/inputdataconfig.json")).unwrap();
    if parameters["sleep"] == "yes" {
        std::thread::sleep(Duration::from_mins(1));
    }
    if parameters["fail"] == "yes" {
        std::fs::write(base().join("output/failure"), "the data is all zeros").unwrap();
        std::process::exit(1);
    }
    let mut files = Vec::new();
    for channel in channels.as_object().unwrap().keys() {
        for entry in std::fs::read_dir(base().join("input/data").join(channel)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            files.push(format!("{channel}/{name}={}", std::fs::read_to_string(entry.path()).unwrap().trim()));
        }
    }
    files.sort();
    let text = format!("depth={} {}", parameters["depth"].as_str().unwrap(), files.join(" "));
    std::fs::write(base().join("model/model.txt"), text).unwrap();
}

/// A local cloud in a process of its own, to be killed: prints its children's process ids and waits.
async fn host(root: PathBuf) {
    let me = std::env::current_exe().unwrap();
    let template =
        "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties: {FunctionName: f, Timeout: 60}\n";
    let launcher = local::FunctionLauncher::ReExecute { program: me.clone(), args: vec!["function".to_owned()] };
    let mut options = local::Options::new(template, root, launcher);
    options.child_wrapper = Some(vec![me.display().to_string(), "local-child".to_owned()]);
    let cloud = local::LocalCloud::start(options).await.unwrap();
    cloud.invoke("f", &json!({})).await.unwrap();
    println!("{}", json!(cloud.process_ids()));
    cloud.invoke("f", &json!({ "do": "sleep", "ms": 50_000 })).await.unwrap();
}
