//! The repository's own template, and what is told of wrong ones.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeMap, time::Duration};

use local::template::{Setting, Target, Template};

#[test]
fn the_repositorys_template_is_understood() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/template.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let setting =
        Setting { parameters: BTreeMap::from([("MaxIdSkewSeconds".to_owned(), "0".to_owned())]), ..Setting::default() };
    let template = Template::parse(&text, &setting).unwrap();
    // What is not emulated is told, and it is nothing that a laptop misses.
    let lifecycle = "Resources.Lake.Properties.LifecycleConfiguration: the property is not emulated";
    let versions = lifecycle.replace("Lifecycle", "Versioning");
    assert_eq!(template.warnings, [&versions, lifecycle]);
    assert!(template.routes.iter().all(|route| route.signed), "{:?}", template.routes);
    let bucket = &template.buckets[0].name;
    assert_eq!(bucket, "mannen-lake-000000000000");
    let function = |name: &str| template.functions.iter().find(|function| function.name == name).unwrap();
    let proxy = function("prediction-proxy");
    assert_eq!((proxy.timeout, proxy.memory_mib), (Duration::from_secs(10), 512));
    assert_eq!(proxy.binary, "prediction-proxy");
    assert_eq!(proxy.environment["LAKE_BUCKET"], *bucket);
    assert_eq!(proxy.environment["MAX_ID_SKEW_S"], "0");
    assert_eq!(proxy.environment["RELEASE_TTL_S"], "5");
    assert_eq!(proxy.log_format, "JSON");
    assert_eq!(function("result-archiver").timeout, Duration::from_mins(1));
    let routes = template.routes.iter().filter(|route| route.function == "prediction-proxy");
    let mut routes: Vec<_> = routes.map(|route| (route.method.as_deref(), route.path.as_deref())).collect();
    routes.sort_unstable();
    assert_eq!(routes, [(Some("GET"), Some("/openapi.json")), (Some("POST"), Some("/v1/predictions"))]);
    let queue = template.queues.iter().find(|queue| queue.redrive.is_some()).unwrap();
    assert_eq!(queue.visibility_timeout, Duration::from_mins(6));
    let notification = &template.notifications[0];
    assert_eq!((&notification.bucket, notification.prefix.as_str()), (bucket, "landing/"));
    assert_eq!(notification.target, Target::Queue(queue.name.clone()));
    let mapping = template.queue_mappings.iter().find(|mapping| mapping.function == "result-archiver").unwrap();
    assert_eq!((&mapping.queue, mapping.function.as_str()), (&queue.name, "result-archiver"));
    assert!(mapping.partial_failures);
    assert_eq!(mapping.window, Duration::from_secs(2));
    assert!(template.schedules.iter().any(|schedule| schedule.function == "evaluator"));
}

fn parse(text: &str) -> Result<Template, String> {
    Template::parse(text, &Setting::default()).map_err(|error| error.to_string())
}

#[test]
fn errors_name_resource_property_and_what_is_expected() {
    for (text, parts) in [
        (
            "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties: {Timeout: soon}",
            ["Resources.F.Properties.Timeout", "from 1 to 900"],
        ),
        (
            "Resources:\n  B:\n    Type: AWS::S3::Bucket\n    Properties: {BucketName: !Ref Nobody}",
            ["BucketName", "Nobody"],
        ),
        (
            "Resources:\n  A:\n    Type: AWS::S3::Bucket\n    Properties: {BucketName: !Ref B}\n  B:\n    Type: AWS::S3::Bucket\n    Properties: {BucketName: !Ref A}",
            ["ring", "references that end"],
        ),
        (
            "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties:\n      Events:\n        E: {Type: SQS, Properties: {Queue: 'arn:aws:sqs:x:1:other'}}",
            ["Resources.F.Properties.Events.E.Properties.Queue", "ARN of a queue of this template"],
        ),
        (
            "Parameters: {P: {Type: Number}}\nResources:\n  B: {Type: AWS::S3::Bucket}",
            ["Parameters.P", "a value from the caller"],
        ),
        (
            "Resources:\n  Q: {Type: AWS::SQS::Queue}\n  F:\n    Type: AWS::Serverless::Function\n    Properties:\n      Timeout: 60\n      Events:\n        E: {Type: SQS, Properties: {Queue: !GetAtt Q.Arn}}",
            ["Resources.Q.Properties.VisibilityTimeout", "at least 60"],
        ),
        ("Resources: {}", ["Resources", "at least one"]),
    ] {
        let error = parse(text).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{error} should tell {part}");
        }
    }
}

#[test]
fn what_is_not_emulated_is_a_warning() {
    let template = parse(
        "Resources:\n  T: {Type: AWS::SNS::Topic}\n  P: {Type: AWS::SQS::QueuePolicy}\n  F:\n    Type: AWS::Serverless::Function\n    Properties:\n      VpcConfig: {}\n      Events:\n        K: {Type: Kinesis, Properties: {Stream: s}}\n        C: {Type: Schedule, Properties: {Schedule: cron(0 0 L * ? *)}}",
    )
    .unwrap();
    let all = template.warnings.join("\n");
    for part in ["Resources.T: the type AWS::SNS::Topic", "VpcConfig", "Kinesis", "cron(0 0 L * ? *)"] {
        assert!(all.contains(part), "{all} should tell {part}");
    }
    assert_eq!(template.warnings.len(), 4, "permissions are passed over: {all}");
}

#[test]
fn intrinsic_functions_and_conditions() {
    let template = parse(
        r#"
Parameters:
  Stage: {Type: String, Default: dev, AllowedValues: [dev, live]}
Mappings:
  Sizes: {dev: {Memory: 256}, live: {Memory: 1024}}
Conditions:
  IsLive: !Equals [!Ref Stage, live]
Globals:
  Function: {Timeout: 7, Environment: {Variables: {A: global, B: global}}}
Resources:
  Only: {Type: AWS::S3::Bucket, Condition: IsLive}
  Q: {Type: AWS::SQS::Queue, Properties: {QueueName: jobs}}
  F:
    Type: AWS::Serverless::Function
    Properties:
      MemorySize: !FindInMap [Sizes, !Ref Stage, Memory]
      ReservedConcurrentExecutions: "2"
      Environment:
        Variables:
          B: !If [IsLive, x, !Join ["-", [own, !Ref "AWS::Region"]]]
          C: !Sub ["${Q.Arn} ${X} ${!kept}", {X: !Select [1, !Split [",", "a,b"]]}]
          D: !Ref Q
          E: !If [IsLive, x, !Ref "AWS::NoValue"]
      Events:
        Any: {Type: HttpApi}
        Rule: {Type: EventBridgeRule, Properties: {Pattern: {source: [aws.s3]}}}
"#,
    )
    .unwrap();
    assert!(template.buckets.is_empty());
    let function = &template.functions[0];
    assert_eq!((function.name.as_str(), function.memory_mib, function.timeout.as_secs()), ("mannen-F", 256, 7));
    assert_eq!(function.reserved_concurrency, Some(2));
    assert_eq!(
        function.environment,
        BTreeMap::from(
            [
                ("A", "global"),
                ("B", "own-us-east-1"),
                ("C", "arn:aws:sqs:us-east-1:000000000000:jobs b ${kept}"),
                ("D", "https://sqs.us-east-1.amazonaws.com/000000000000/jobs"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
        )
    );
    assert_eq!(template.routes[0].path, None);
    assert_eq!(template.rules.len(), 1);
}
