//! The real SDKs against the local SageMaker: training, model, endpoint, invocations.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{collections::HashMap, time::Duration};

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_sagemaker::{
    Client,
    error::ProvideErrorMetadata,
    types::{
        AlgorithmSpecification, Channel, ContainerDefinition, DataSource, EndpointStatus, OutputDataConfig,
        ProductionVariant, ResourceConfig, S3DataSource, S3DataType, StoppingCondition, TrainingInputMode,
        TrainingInstanceType, TrainingJobStatus,
    },
};
use aws_sdk_sagemakerruntime::{Client as Runtime, error::SdkError, primitives::Blob};
use local::LocalCloud;
use serde_json::json;

const TEMPLATE: &str = "Resources:\n  B: {Type: AWS::S3::Bucket, Properties: {BucketName: lake}}\n";
const ROLE: &str = "arn:aws:iam::000000000000:role/sagemaker";

fn clients(cloud: &LocalCloud) -> (aws_sdk_s3::Client, Client, Runtime) {
    let config = common::sdk_config(cloud);
    let control = aws_sdk_sagemaker::config::Builder::from(&config).endpoint_url(cloud.sagemaker_url()).build();
    let runtime = aws_sdk_sagemakerruntime::config::Builder::from(&config)
        .endpoint_url(cloud.sagemaker_runtime_url())
        .retry_config(aws_sdk_sagemakerruntime::config::retry::RetryConfig::disabled())
        .build();
    (common::s3(cloud), Client::from_conf(control), Runtime::from_conf(runtime))
}

fn channel(name: &str, kind: S3DataType, uri: &str) -> Channel {
    let source = S3DataSource::builder().s3_data_type(kind).s3_uri(uri).build();
    let source = DataSource::builder().s3_data_source(source).build();
    Channel::builder().channel_name(name).data_source(source).build()
}

async fn train(
    control: &Client,
    name: &str,
    parameters: &[(&str, &str)],
    channels: Vec<Channel>,
    seconds: i32,
) -> Result<(), String> {
    let parameters: HashMap<String, String> =
        parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let algorithm = AlgorithmSpecification::builder()
        .training_image("image:1")
        .training_input_mode(TrainingInputMode::File)
        .build();
    let resources = ResourceConfig::builder()
        .instance_type(TrainingInstanceType::MlM5Large)
        .instance_count(1)
        .volume_size_in_gb(1)
        .build();
    let created = control
        .create_training_job()
        .training_job_name(name)
        .role_arn(ROLE)
        .algorithm_specification(algorithm)
        .set_hyper_parameters(Some(parameters))
        .set_input_data_config(Some(channels))
        .output_data_config(OutputDataConfig::builder().s3_output_path("s3://lake/models/").build())
        .resource_config(resources)
        .stopping_condition(StoppingCondition::builder().max_runtime_in_seconds(seconds).build())
        .send()
        .await;
    created.map(|_| ()).map_err(|error| error.code().unwrap_or("none").to_owned())
}

/// Waits for a training's end: status, artifacts, failure reason.
async fn ended(control: &Client, name: &str) -> (TrainingJobStatus, String, String) {
    loop {
        let job = control.describe_training_job().training_job_name(name).send().await.unwrap();
        let status = job.training_job_status().unwrap().clone();
        if matches!(status, TrainingJobStatus::Completed | TrainingJobStatus::Failed | TrainingJobStatus::Stopped) {
            let artifacts =
                job.model_artifacts().and_then(|artifacts| artifacts.s3_model_artifacts()).unwrap_or_default();
            return (status, artifacts.to_owned(), job.failure_reason().unwrap_or_default().to_owned());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn create_model(control: &Client, name: &str, data: &str) {
    let container = ContainerDefinition::builder().image("image:1").model_data_url(data).build();
    control.create_model().model_name(name).execution_role_arn(ROLE).primary_container(container).send().await.unwrap();
}

async fn create_config(control: &Client, name: &str, variants: &[(&str, &str, f32)]) {
    let variants = variants.iter().map(|(variant, model, weight)| {
        let variant = ProductionVariant::builder().variant_name(*variant).model_name(*model);
        variant.initial_variant_weight(*weight).initial_instance_count(1).build()
    });
    let create = control.create_endpoint_config().endpoint_config_name(name);
    create.set_production_variants(Some(variants.collect())).send().await.unwrap();
}

async fn settled(control: &Client, name: &str) -> (EndpointStatus, String, String) {
    loop {
        let endpoint = control.describe_endpoint().endpoint_name(name).send().await.unwrap();
        let status = endpoint.endpoint_status().unwrap().clone();
        if !matches!(status, EndpointStatus::Creating | EndpointStatus::Updating) {
            let config = endpoint.endpoint_config_name().unwrap_or_default().to_owned();
            return (status, config, endpoint.failure_reason().unwrap_or_default().to_owned());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_data_to_predictions() {
    let root = tempfile::tempdir().unwrap();
    let cloud = LocalCloud::start(common::options(TEMPLATE, &root)).await.unwrap();
    let (s3, control, runtime) = clients(&cloud);
    let manifest = json!([{ "prefix": "s3://lake/data/" }, "valid/v.csv"]).to_string();
    for (key, body) in [
        ("data/train/a.csv", "1"),
        ("data/train/b.csv", "2"),
        ("data/valid/v.csv", "3"),
        ("data/manifest.json", &manifest),
    ] {
        s3.put_object().bucket("lake").key(key).body(ByteStream::from(body.as_bytes().to_vec())).send().await.unwrap();
    }
    let train_channel = || channel("train", S3DataType::S3Prefix, "s3://lake/data/train/");
    let both = vec![train_channel(), channel("flat", S3DataType::ManifestFile, "s3://lake/data/manifest.json")];
    // A manifest's name keeps its folder; this container reads flat folders only, so it fails and says why.
    train(&control, "nested", &[("depth", "1")], both, 60).await.unwrap();
    let (status, _, reason) = ended(&control, "nested").await;
    assert_eq!(status, TrainingJobStatus::Failed);
    assert!(reason.starts_with("AlgorithmError"), "{reason}");
    train(&control, "good-1", &[("depth", "6")], vec![train_channel()], 60).await.unwrap();
    assert_eq!(train(&control, "good-1", &[], vec![], 60).await.unwrap_err(), "ResourceInUse");
    let (status, artifacts, reason) = ended(&control, "good-1").await;
    assert_eq!((status, reason.as_str()), (TrainingJobStatus::Completed, ""));
    assert_eq!(artifacts, "s3://lake/models/good-1/output/model.tar.gz");
    train(&control, "good-2", &[("depth", "7")], vec![train_channel()], 60).await.unwrap();
    let (_, artifacts_2, _) = ended(&control, "good-2").await;
    train(&control, "bad", &[("fail", "yes")], vec![], 60).await.unwrap();
    let (status, _, reason) = ended(&control, "bad").await;
    assert_eq!((status, reason.as_str()), (TrainingJobStatus::Failed, "AlgorithmError: the data is all zeros"));
    train(&control, "no-data", &[], vec![channel("train", S3DataType::S3Prefix, "s3://lake/nothing/")], 60)
        .await
        .unwrap();
    assert!(ended(&control, "no-data").await.2.contains("No S3 objects found"));
    train(&control, "slow", &[("sleep", "yes")], vec![], 1).await.unwrap();
    assert_eq!(ended(&control, "slow").await.0, TrainingJobStatus::Stopped);

    create_model(&control, "m1", &artifacts).await;
    create_model(&control, "m2", &artifacts_2).await;
    create_config(&control, "c1", &[("a", "m1", 3.0), ("b", "m2", 1.0)]).await;
    control.create_endpoint().endpoint_name("eta").endpoint_config_name("c1").send().await.unwrap();
    assert_eq!(settled(&control, "eta").await.0, EndpointStatus::InService);
    let invoke = |body: &'static str| runtime.invoke_endpoint().endpoint_name("eta").body(Blob::new(body));
    let answer =
        invoke("1,2").target_variant("b").inference_id("id-1").custom_attributes("x=1").content_type("text/csv");
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.invoked_production_variant(), Some("b"));
    assert_eq!((answer.content_type(), answer.custom_attributes()), (Some("text/csv"), Some("from=container")));
    let text = String::from_utf8(answer.body.unwrap().into_inner()).unwrap();
    assert_eq!(
        text, "depth=7 train/a.csv=1 train/b.csv=2|1,2|id-1|x=1|-",
        "the signature does not reach the container"
    );
    let mut of_a = 0;
    for _ in 0..40 {
        of_a += usize::from(invoke("1").send().await.unwrap().invoked_production_variant() == Some("a"));
    }
    assert!((28..=32).contains(&of_a), "weights 3 to 1: {of_a} of 40");

    // Errors are SageMaker's.
    let error = invoke("fail").target_variant("a").send().await.unwrap_err();
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 424);
    let SdkError::ServiceError(service) = error else { panic!("{error}") };
    let aws_sdk_sagemakerruntime::operation::invoke_endpoint::InvokeEndpointError::ModelError(model) = service.err()
    else {
        panic!("{service:?}")
    };
    assert_eq!((model.original_status_code(), model.original_message()), (Some(500), Some("model is ill")));
    let code =
        async |request: aws_sdk_sagemakerruntime::operation::invoke_endpoint::builders::InvokeEndpointFluentBuilder| {
            let error = request.send().await.unwrap_err();
            (error.raw_response().unwrap().status().as_u16(), error.code().unwrap_or("none").to_owned())
        };
    assert_eq!(code(invoke("1").endpoint_name("nobody")).await, (400, "ValidationError".to_owned()));
    assert_eq!(code(invoke("1").target_variant("z")).await, (400, "ValidationError".to_owned()));
    assert_eq!(code(invoke("1").body(Blob::new(vec![b'x'; 6_291_457]))).await, (400, "ValidationError".to_owned()));
    // An endpoint has the faults that it is told.
    let control_route = format!("{}/_faults/eta/a", cloud.sagemaker_runtime_url());
    let told = reqwest::Client::builder().no_proxy().build().unwrap();
    for (fault, status, expected) in [
        ("model-error", 424, "ModelError"),
        ("model-not-ready", 429, "ModelNotReadyException"),
        ("internal-failure", 500, "InternalFailure"),
        ("service-unavailable", 503, "ServiceUnavailable"),
        ("internal-dependency", 530, "InternalDependencyException"),
        ("throttled", 400, "ThrottlingException"),
    ] {
        let answer = told.put(&control_route).body(json!({ "fault": fault }).to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{fault}");
        assert_eq!(code(invoke("1").target_variant("a")).await, (status, expected.to_owned()));
        invoke("1").target_variant("b").send().await.unwrap();
    }
    told.put(&control_route).body(r#"{"fault":"reset"}"#).send().await.unwrap();
    let error = invoke("1").target_variant("a").send().await.unwrap_err();
    assert!(matches!(&error, SdkError::DispatchFailure(_)), "{error:?}");
    assert_eq!(told.put(&control_route).body(r#"{"fault":"tired"}"#).send().await.unwrap().status(), 400);
    told.delete(&control_route).send().await.unwrap();
    invoke("1").target_variant("a").send().await.unwrap();

    // A container that dies is started anew.
    assert_eq!(code(invoke("die").target_variant("a")).await.0, 424);
    let mut codes = Vec::new();
    while let Err(error) = invoke("1").target_variant("a").send().await {
        codes.push(error.code().unwrap_or("none").to_owned());
        assert!(codes.len() < 500, "{codes:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(codes.contains(&"ServiceUnavailable".to_owned()), "{codes:?}");

    // An update: the old variants serve until the new ones do, and answer what they were asked before.
    create_config(&control, "c2", &[("only", "m2", 1.0)]).await;
    let under_way = tokio::spawn(invoke("slow").target_variant("a").send());
    let containers = root.path().join("sagemaker/endpoints");
    let is_asked = || std::fs::read_dir(&containers).unwrap().any(|one| one.unwrap().path().join("asked").exists());
    while !is_asked() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    control.update_endpoint().endpoint_name("eta").endpoint_config_name("c2").send().await.unwrap();
    while control.describe_endpoint().endpoint_name("eta").send().await.unwrap().endpoint_status()
        == Some(&EndpointStatus::Updating)
    {
        invoke("1").send().await.unwrap();
    }
    assert_eq!(settled(&control, "eta").await.1, "c2");
    assert_eq!(invoke("1").send().await.unwrap().invoked_production_variant(), Some("only"));
    assert_eq!(under_way.await.unwrap().unwrap().invoked_production_variant(), Some("a"));
    // A model that cannot start: the endpoint stays as it was.
    s3.put_object().bucket("lake").key("rubbish").body(ByteStream::from_static(b"no tar")).send().await.unwrap();
    create_model(&control, "m3", "s3://lake/rubbish").await;
    create_config(&control, "c3", &[("only", "m3", 1.0)]).await;
    control.update_endpoint().endpoint_name("eta").endpoint_config_name("c3").send().await.unwrap();
    let (status, config, reason) = settled(&control, "eta").await;
    assert_eq!((status, config.as_str()), (EndpointStatus::InService, "c2"));
    assert!(reason.contains("no tar.gz"), "{reason}");
    control.create_endpoint().endpoint_name("never").endpoint_config_name("c3").send().await.unwrap();
    assert_eq!(settled(&control, "never").await.0, EndpointStatus::Failed);
    assert_eq!(code(invoke("1").endpoint_name("never")).await, (429, "ModelNotReadyException".to_owned()));

    control.delete_endpoint().endpoint_name("eta").send().await.unwrap();
    let error = control.describe_endpoint().endpoint_name("eta").send().await.unwrap_err();
    assert_eq!(error.code(), Some("ValidationException"));
    assert!(error.message().unwrap().starts_with("Could not find endpoint"));
    for config in ["c1", "c2"] {
        control.delete_endpoint_config().endpoint_config_name(config).send().await.unwrap();
    }
    control.delete_model().model_name("m1").send().await.unwrap();
    let error = control.list_actions().send().await.unwrap_err();
    assert_eq!(error.code(), Some("UnknownOperationException"));
    let error = control.create_model().model_name("m4").execution_role_arn(ROLE);
    let unknown = ContainerDefinition::builder().image("image:2").build();
    let error = error.primary_container(unknown).send().await.unwrap_err();
    assert!(error.message().unwrap().contains("image:1"), "the message says which images are known");
    let ids = cloud.process_ids();
    cloud.shutdown().await;
    assert!(!ids.iter().any(|id| common::runs(*id)));
}
