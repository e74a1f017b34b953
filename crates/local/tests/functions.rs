//! Functions with the real `lambda_runtime`, behind the API, the Invoke API, S3 and SQS.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use aws_sdk_s3::primitives::ByteStream;
use local::{FunctionLauncher, LocalCloud, LocalError, StaticRoute};
use serde_json::{Value, json};

const TEMPLATE: &str = r#"
Globals:
  Function: {Timeout: 10, MemorySize: 256}
Resources:
  Api: {Type: AWS::Serverless::HttpApi}
  Lake:
    Type: AWS::S3::Bucket
    Properties:
      BucketName: lake
      NotificationConfiguration:
        EventBridgeConfiguration: {EventBridgeEnabled: true}
        QueueConfigurations:
          - Event: s3:ObjectCreated:*
            Queue: !GetAtt Landed.Arn
            Filter: {S3Key: {Rules: [{Name: prefix, Value: landing/}]}}
  Landed:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: landed
      VisibilityTimeout: 60
      RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 2}
  Dead: {Type: AWS::SQS::Queue, Properties: {QueueName: dead}}
  GivenUp: {Type: AWS::SQS::Queue, Properties: {QueueName: given-up}}
  Web:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: web
      DeadLetterQueue: {Type: SQS, TargetArn: !GetAtt GivenUp.Arn}
      Environment: {Variables: {LAKE: !Ref Lake}}
      Events:
        One: {Type: HttpApi, Properties: {Method: POST, Path: "/v1/{name}/things"}}
        Fail: {Type: HttpApi, Properties: {Method: GET, Path: /fail}}
        Plain: {Type: HttpApi, Properties: {Method: GET, Path: /plain}}
        Tick: {Type: Schedule, Properties: {Schedule: rate(5 minutes)}}
  Archiver:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: archiver
      Events:
        Landed:
          Type: SQS
          Properties:
            Queue: !GetAtt Landed.Arn
            BatchSize: 50
            MaximumBatchingWindowInSeconds: 1
            FunctionResponseTypes: [ReportBatchItemFailures]
  Watcher:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: watcher
      Events:
        Seen:
          Type: EventBridgeRule
          Properties:
            Pattern: {source: [aws.s3], detail: {object: {key: [{prefix: watched/}]}}}
  Moody: {Type: AWS::Serverless::Function, Properties: {FunctionName: moody, Timeout: 1}}
  Single: {Type: AWS::Serverless::Function, Properties: {FunctionName: single, ReservedConcurrentExecutions: 1}}
  Extended: {Type: AWS::Serverless::Function, Properties: {FunctionName: extended, ReservedConcurrentExecutions: 1}}
  Broken: {Type: AWS::Serverless::Function, Properties: {FunctionName: broken}}
"#;

async fn start(root: &tempfile::TempDir) -> LocalCloud {
    let mut options = common::options(TEMPLATE, root);
    options.batching_window_limit = Some(Duration::from_millis(100));
    options.queue_retry_delay = Some(Duration::from_millis(20));
    options.async_retry_delay = Duration::from_millis(10);
    options.static_routes =
        vec![StaticRoute { path_prefix: "/report".to_owned(), bucket: None, key_prefix: "reports/".to_owned() }];
    LocalCloud::start(options).await.unwrap()
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_reaches_its_function_and_comes_back() {
    let root = tempfile::tempdir().unwrap();
    let cloud = start(&root).await;
    let (http, api) = (client(), cloud.api_url());
    let answer = http.post(format!("{api}/v1/a%20b/things?q=1&q=2")).header("X-A", "1").body("{\"n\":1}");
    let answer = answer.header("content-type", "application/json").send().await.unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.headers()["set-cookie"], "a=1");
    assert!(answer.headers().contains_key("apigw-requestid"));
    let event: Value = answer.json().await.unwrap();
    assert_eq!(event["routeKey"], "POST /v1/{name}/things");
    assert_eq!(event["pathParameters"]["name"], "a b");
    assert_eq!(event["queryStringParameters"]["q"], "1,2");
    assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("{\"n\":1}"), &json!(false)));
    assert_eq!(event["headers"]["x-a"], "1");
    let status = async |path: &str| {
        let answer = http.get(format!("{api}{path}")).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    assert_eq!(status("/plain").await, (200, json!({ "shortcut": true })));
    assert_eq!(status("/fail").await, (500, json!({ "message": "Internal Server Error" })));
    assert_eq!(status("/v1/x/things").await, (404, json!({ "message": "Not Found" })));
    let large = http.post(format!("{api}/v1/x/things")).body(vec![b'x'; 11 << 20]).send().await.unwrap();
    assert_eq!(large.status(), 413);
    // Many at once, over a few instances.
    let calls = (0..40).map(|index| {
        let call = http.post(format!("{api}/v1/{index}/things")).body(format!("body {index}"));
        async move { call.send().await.unwrap().json::<Value>().await.unwrap() }
    });
    for (index, event) in futures::future::join_all(calls).await.into_iter().enumerate() {
        assert_eq!(event["body"], format!("body {index}"));
    }
    let web = cloud.statistics().functions["web"];
    assert_eq!((web.invocations, web.errors, web.in_flight), (43, 1, 0));
    assert!((1..=4).contains(&web.instances_started), "{web:?}");
    // Reports are served from the lake.
    let s3 = common::s3(&cloud);
    let page = ByteStream::from_static(b"<h1>hour</h1>");
    s3.put_object().bucket("lake").key("reports/m/index.html").body(page).send().await.unwrap();
    let redirect = http.get(format!("{api}/report/m")).send().await.unwrap();
    assert_eq!((redirect.status().as_u16(), &redirect.headers()["location"]), (302, &"/report/m/".parse().unwrap()));
    let page = http.get(format!("{api}/report/m/")).send().await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert_eq!(page.text().await.unwrap(), "<h1>hour</h1>");
    assert_eq!(http.get(format!("{api}/report/none/")).send().await.unwrap().status(), 404);
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_finds_what_lambda_gives_it() {
    let root = tempfile::tempdir().unwrap();
    let cloud = start(&root).await;
    let first = cloud.invoke("web", &json!({ "n": 1 })).await.unwrap();
    let second = cloud.invoke("web", &json!({ "n": 2 })).await.unwrap();
    assert_eq!((&first["pid"], &second["event"]["n"]), (&second["pid"], &json!(2)), "a warm instance is used again");
    assert_ne!(first["request_id"], second["request_id"]);
    assert_eq!(first["arn"], "arn:aws:lambda:us-east-1:000000000000:function:web");
    assert!(first["trace_id"].as_str().unwrap().starts_with("Root=1-"));
    let left_ms = first["deadline_ms"].as_i64().unwrap() - jiff::Timestamp::now().as_millisecond();
    assert!((8_000..=10_000).contains(&left_ms), "{left_ms}");
    let environment = &first["environment"];
    for (name, value) in [
        ("AWS_LAMBDA_FUNCTION_NAME", "web"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/web"),
        ("AWS_REGION", "us-east-1"),
        ("LAKE", "lake"),
        ("AWS_ENDPOINT_URL_S3", &cloud.s3_url()),
        ("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", &cloud.sagemaker_runtime_url()),
    ] {
        assert_eq!(environment[name], value, "{name}");
    }
    assert_eq!(environment.get("CARGO"), None, "nothing of the host leaks in");
    let tick = cloud.run_schedule("web", None).await.unwrap();
    assert_eq!(tick["event"]["detail-type"], "Scheduled Event");
    assert_eq!(tick["event"]["resources"][0], "arn:aws:events:us-east-1:000000000000:rule/mannen-web-Tick");
    assert_eq!(cloud.run_schedule("web", Some("Tock")).await.unwrap_err().reason(), "unknown_name");
    assert_eq!(cloud.invoke("nobody", &json!({})).await.unwrap_err().reason(), "unknown_name");
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_timeouts_and_crashes_are_lambdas() {
    let root = tempfile::tempdir().unwrap();
    let cloud = start(&root).await;
    let error = async |function: &str, event: Value| match cloud.invoke(function, &event).await.unwrap_err() {
        LocalError::Function { error_type, message, .. } => (error_type, message),
        other => panic!("{other}"),
    };
    let before = cloud.invoke("moody", &json!({})).await.unwrap();
    let (_, message) = error("moody", json!({ "do": "error" })).await;
    assert_eq!(message, "as asked");
    assert_eq!(cloud.invoke("moody", &json!({})).await.unwrap()["pid"], before["pid"], "an error ends no process");
    let (kind, message) = error("moody", json!({ "do": "exit" })).await;
    assert_eq!(kind, "Runtime.ExitError");
    assert!(message.ends_with("Error: Runtime exited with error: exit status 3"), "{message}");
    let fresh = cloud.invoke("moody", &json!({})).await.unwrap();
    assert_ne!(fresh["pid"], before["pid"]);
    let (kind, message) = error("moody", json!({ "do": "sleep", "ms": 5_000 })).await;
    assert_eq!(kind, "Sandbox.Timedout");
    assert!(message.ends_with("Task timed out after 1.00 seconds"), "{message}");
    assert!(!common::runs(fresh["pid"].as_u64().unwrap() as u32), "the timed-out process is gone");
    assert!(cloud.invoke("moody", &json!({})).await.is_ok());
    let (kind, _) = error("web", json!({ "do": "large" })).await;
    assert_eq!(kind, "Function.ResponseSizeTooLarge");
    let (kind, message) = error("broken", json!({})).await;
    assert_eq!(kind, "Runtime.ExitError");
    assert!(message.contains("exit status 7"), "{message}");
    let log = std::fs::read_to_string(root.path().join("logs/moody.log")).unwrap();
    assert!(log.contains("Task timed out after 1.00 seconds"), "{log}");
    let moody = cloud.statistics().functions["moody"];
    assert_eq!((moody.invocations, moody.errors, moody.instances_started), (7, 3, 3));
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invoke_api_retries_and_throttles() {
    let root = tempfile::tempdir().unwrap();
    let cloud = start(&root).await;
    let http = client();
    let post = |function: &str, kind: &str, body: Value| {
        let url = format!("{}/2015-03-31/functions/{function}/invocations", cloud.lambda_url());
        http.post(url).header("X-Amz-Invocation-Type", kind).body(body.to_string()).send()
    };
    let answer = post("web", "RequestResponse", json!({ "n": 1 })).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-amz-executed-version"]),
        (200, &"$LATEST".parse().unwrap())
    );
    assert_eq!(answer.json::<Value>().await.unwrap()["event"]["n"], 1);
    let failed = post("web", "RequestResponse", json!({ "do": "error" })).await.unwrap();
    assert_eq!(
        (failed.status().as_u16(), &failed.headers()["x-amz-function-error"]),
        (200, &"Unhandled".parse().unwrap())
    );
    let none = post("nobody", "RequestResponse", json!({})).await.unwrap();
    assert_eq!(
        (none.status().as_u16(), &none.headers()["x-amzn-errortype"]),
        (404, &"ResourceNotFoundException".parse().unwrap())
    );
    assert_eq!(post("web", "Event", json!({ "do": "error" })).await.unwrap().status(), 202);
    cloud.wait_until_idle(Duration::from_secs(10)).await.unwrap();
    let web = cloud.statistics().functions["web"];
    assert_eq!((web.invocations, web.errors, web.discarded), (5, 4, 1), "one event is tried three times");
    let given_up = &cloud.statistics().queues["given-up"];
    assert!(given_up.dead_letters && given_up.visible == 1, "{given_up:?}");
    let slow = post("single", "RequestResponse", json!({ "do": "sleep", "ms": 500 }));
    let slow = tokio::spawn(slow);
    while cloud.statistics().functions["single"].in_flight == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let throttled = post("single", "RequestResponse", json!({})).await.unwrap();
    assert_eq!(
        (throttled.status().as_u16(), &throttled.headers()["x-amzn-errortype"]),
        (429, &"TooManyRequestsException".parse().unwrap())
    );
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    assert_eq!(cloud.statistics().functions["single"].throttles, 1);
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_become_batches_and_bad_ones_dead_letters() {
    let root = tempfile::tempdir().unwrap();
    let cloud = start(&root).await;
    let s3 = common::s3(&cloud);
    for index in 0..30 {
        let key = if index == 7 { "landing/bad one+.json".to_owned() } else { format!("landing/{index}.json") };
        s3.put_object().bucket("lake").key(key).body(ByteStream::from_static(b"{}")).send().await.unwrap();
    }
    s3.put_object().bucket("lake").key("other/x.json").body(ByteStream::from_static(b"{}")).send().await.unwrap();
    s3.put_object().bucket("lake").key("watched/x.json").body(ByteStream::from_static(b"{}")).send().await.unwrap();
    cloud.wait_until_idle(Duration::from_secs(10)).await.unwrap();
    let statistics = cloud.statistics();
    let (landed, dead) = (statistics.queues["landed"], statistics.queues["dead"]);
    assert_eq!((landed.visible, landed.in_flight), (0, 0));
    assert_eq!((dead.visible, dead.dead_letters), (1, true));
    let archiver = statistics.functions["archiver"];
    assert_eq!(archiver.errors, 0, "a partial failure is no error of the function");
    assert!(archiver.invocations <= 15, "messages come in batches: {archiver:?}");
    assert_eq!(statistics.functions["watcher"].invocations, 1);
    let log = std::fs::read_to_string(root.path().join("logs/archiver.log")).unwrap();
    assert_eq!(log.matches("ObjectCreated:Put landing/bad+one%2B.json").count(), 2, "{log}");
    assert_eq!(log.matches("ObjectCreated:Put landing/").count(), 31, "{log}");
    // The dead letter is there for SQS clients.
    let body = json!({ "QueueUrl": format!("{}/000000000000/dead", cloud.sqs_url()) });
    let received =
        client().post(cloud.sqs_url()).header("X-Amz-Target", "AmazonSQS.ReceiveMessage").body(body.to_string());
    let received: Value = received.send().await.unwrap().json().await.unwrap();
    assert!(received["Messages"][0]["Body"].as_str().unwrap().contains("landing/bad+one%2B.json"));
    // A message that is no notification makes the function fail: the whole batch is tried again, then given up.
    cloud.send_message("landed", "nonsense").unwrap();
    cloud.wait_until_idle(Duration::from_secs(10)).await.unwrap();
    let statistics = cloud.statistics();
    assert_eq!(statistics.functions["archiver"].errors, 2);
    assert_eq!(statistics.queues["dead"].visible, 1, "and the first one is hidden by its receiver");
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_waits_for_its_extensions() {
    let root = tempfile::tempdir().unwrap();
    let cloud = start(&root).await;
    let first = cloud.invoke("extended", &json!({})).await.unwrap();
    // The extension still works: with one instance at most the next event finds none.
    assert_eq!(cloud.invoke("extended", &json!({})).await.unwrap_err().reason(), "throttled");
    tokio::time::sleep(Duration::from_millis(400)).await;
    let second = cloud.invoke("extended", &json!({})).await.unwrap();
    assert_eq!(first["pid"], second["pid"]);
    tokio::time::sleep(Duration::from_millis(400)).await;
    let log = std::fs::read_to_string(root.path().join("logs/extended.log")).unwrap();
    assert!(log.contains(&format!("extension saw INVOKE {}", second["request_id"].as_str().unwrap())), "{log}");
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_bootstraps_and_an_external_extension() {
    use std::os::unix::fs::PermissionsExt as _;

    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("build");
    for (path, arguments) in [("web/bootstrap", "function web"), ("web/extensions/outer", "external")] {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\nexec {} {arguments}\n", common::programs().display())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut options = common::options(TEMPLATE, &root);
    options.launcher = FunctionLauncher::Directory(folder.clone());
    let cloud = LocalCloud::start(options).await.unwrap();
    let answer = cloud.invoke("web", &json!({})).await.unwrap();
    assert_eq!(answer["environment"]["LAMBDA_TASK_ROOT"], folder.join("web").display().to_string());
    cloud.invoke("web", &json!({})).await.unwrap();
    let missing = cloud.invoke("moody", &json!({})).await.unwrap_err();
    assert_eq!(missing.reason(), "function_error");
    cloud.shutdown().await;
    let log = std::fs::read_to_string(root.path().join("logs/web.log")).unwrap();
    assert!(log.contains("outer saw INVOKE") && log.contains("outer saw SHUTDOWN"), "{log}");
}

/// A pair of segments that wait for an acknowledgement would cost 40 ms each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warm_call_does_not_wait_for_the_network() {
    let root = tempfile::tempdir().unwrap();
    let cloud = start(&root).await;
    let (http, url) = (client(), format!("{}/plain", cloud.api_url()));
    let mut times = Vec::new();
    for _ in 0..100 {
        let begun = Instant::now();
        assert_eq!(http.get(&url).send().await.unwrap().text().await.unwrap(), "{\"shortcut\":true}");
        times.push(begun.elapsed());
    }
    times.sort();
    println!("warm call through the API: median {:?}, 90 % {:?}", times[50], times[90]);
    assert!(times[50] < Duration::from_millis(20), "{:?}", times[50]);
    assert_eq!(cloud.statistics().functions["web"].instances_started, 1);
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_child_outlives_its_parent() {
    let root = tempfile::tempdir().unwrap();
    let cloud = start(&root).await;
    cloud.invoke("web", &json!({})).await.unwrap();
    let ids = cloud.process_ids();
    assert!(ids.iter().all(|id| common::runs(*id)) && !ids.is_empty());
    cloud.shutdown().await;
    assert!(!ids.iter().any(|id| common::runs(*id)), "shutdown leaves none");

    let host = Command::new(common::programs()).arg("host").arg(root.path()).stdout(Stdio::piped()).spawn();
    let mut host = host.unwrap();
    let mut line = String::new();
    BufReader::new(host.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ids: Vec<u32> = serde_json::from_str(&line).unwrap();
    assert!(ids.iter().all(|id| common::runs(*id)) && !ids.is_empty());
    host.kill().unwrap();
    host.wait().unwrap();
    let begun = Instant::now();
    while ids.iter().any(|id| common::runs(*id)) {
        assert!(begun.elapsed() < Duration::from_secs(5), "children outlive a parent that was killed: {ids:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
