//! Script mode: a Python program trains and serves, with the real SDKs. Skips, with a word, where Python or xgboost is missing.
//! `MANNEN_PYTHON` names another Python than the first in `PATH`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_sagemaker::{
    Client,
    types::{
        AlgorithmSpecification, Channel, ContainerDefinition, DataSource, OutputDataConfig, ProductionVariant,
        ResourceConfig, S3DataSource, S3DataType, StoppingCondition, TrainingInputMode, TrainingInstanceType,
        TrainingJobStatus,
    },
};
use aws_sdk_sagemakerruntime::primitives::Blob;
use flate2::{Compression, write::GzEncoder};
use local::{LocalCloud, LocalError, ModelContainer, ModelContainerOptions};

const TEMPLATE: &str = "Resources:\n  B: {Type: AWS::S3::Bucket, Properties: {BucketName: lake}}\n";
const ROLE: &str = "arn:aws:iam::000000000000:role/sagemaker";
const IMAGE: &str = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.0-5";
const PROGRAM: &str = "SAGEMAKER_PROGRAM";

fn python() -> PathBuf {
    std::env::var_os("MANNEN_PYTHON").map_or_else(|| "python3".into(), PathBuf::from)
}

/// Whether Python is there and can import `modules`; says so where not.
fn can_import(modules: &str) -> bool {
    let imported = Command::new(python()).args(["-c", &format!("import {modules}")]).output();
    let good = imported.is_ok_and(|output| output.status.success());
    if !good {
        eprintln!("skipped: {} with {modules} is not here", python().display());
    }
    good
}

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *content).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

struct Setting {
    cloud: LocalCloud,
    s3: aws_sdk_s3::Client,
    control: Client,
    _root: tempfile::TempDir,
}

impl Setting {
    async fn start(python: PathBuf) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut options = common::options(TEMPLATE, &root);
        options.python = python;
        let cloud = LocalCloud::start(options).await.unwrap();
        let config = common::sdk_config(&cloud);
        let control = aws_sdk_sagemaker::config::Builder::from(&config).endpoint_url(cloud.sagemaker_url()).build();
        Self { s3: common::s3(&cloud), control: Client::from_conf(control), cloud, _root: root }
    }

    async fn put(&self, key: &str, body: Vec<u8>) {
        self.s3.put_object().bucket("lake").key(key).body(ByteStream::from(body)).send().await.unwrap();
    }

    /// Trains with the code at `code/it.tar.gz`: status, artefact, failure reason.
    async fn train(&self, name: &str, hyperparameters: &[(&str, &str)]) -> (TrainingJobStatus, String, String) {
        let all =
            [("sagemaker_program", "\"train.py\""), ("sagemaker_submit_directory", "\"s3://lake/code/it.tar.gz\"")];
        let all = all.iter().chain(hyperparameters).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let channel = |name: &str| {
            let uri = format!("s3://lake/data/{name}/");
            let source = S3DataSource::builder().s3_data_type(S3DataType::S3Prefix).s3_uri(uri).build();
            let source = DataSource::builder().s3_data_source(source).build();
            Channel::builder().channel_name(name).data_source(source).build()
        };
        let algorithm = AlgorithmSpecification::builder().training_image(IMAGE);
        let resources = ResourceConfig::builder().instance_type(TrainingInstanceType::MlM5Large).instance_count(1);
        let create = self.control.create_training_job().training_job_name(name).role_arn(ROLE);
        create
            .algorithm_specification(algorithm.training_input_mode(TrainingInputMode::File).build())
            .set_hyper_parameters(Some(all.collect::<HashMap<_, _>>()))
            .set_input_data_config(Some(vec![channel("train"), channel("validation")]))
            .output_data_config(OutputDataConfig::builder().s3_output_path("s3://lake/models/").build())
            .resource_config(resources.volume_size_in_gb(1).build())
            .stopping_condition(StoppingCondition::builder().max_runtime_in_seconds(300).build())
            .send()
            .await
            .unwrap();
        loop {
            let job = self.control.describe_training_job().training_job_name(name).send().await.unwrap();
            let status = job.training_job_status().unwrap().clone();
            if matches!(status, TrainingJobStatus::Completed | TrainingJobStatus::Failed) {
                let artefact = job.model_artifacts().and_then(|all| all.s3_model_artifacts()).unwrap_or_default();
                return (status, artefact.to_owned(), job.failure_reason().unwrap_or_default().to_owned());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Serves the artefact by the code at `code/it.tar.gz` and asks for rows in CSV.
    async fn ask(&self, artefact: &str, rows: &str) -> String {
        let container = ContainerDefinition::builder()
            .image(IMAGE)
            .model_data_url(artefact)
            .environment(PROGRAM, "train.py")
            .environment("SAGEMAKER_SUBMIT_DIRECTORY", "s3://lake/code/it.tar.gz")
            .build();
        let create = self.control.create_model().model_name("m").execution_role_arn(ROLE);
        create.primary_container(container).send().await.unwrap();
        let variant = ProductionVariant::builder().variant_name("v").model_name("m").initial_instance_count(1).build();
        let create = self.control.create_endpoint_config().endpoint_config_name("c").production_variants(variant);
        create.send().await.unwrap();
        self.control.create_endpoint().endpoint_name("e").endpoint_config_name("c").send().await.unwrap();
        loop {
            let endpoint = self.control.describe_endpoint().endpoint_name("e").send().await.unwrap();
            match endpoint.endpoint_status().unwrap().as_str() {
                "InService" => break,
                "Failed" => panic!("{:?}", endpoint.failure_reason()),
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        let config = common::sdk_config(&self.cloud);
        let runtime = aws_sdk_sagemakerruntime::config::Builder::from(&config);
        let runtime = runtime.endpoint_url(self.cloud.sagemaker_runtime_url()).build();
        let ask = aws_sdk_sagemakerruntime::Client::from_conf(runtime).invoke_endpoint().endpoint_name("e");
        let ask =
            ask.content_type("text/csv").accept("text/csv").body(Blob::new(rows.as_bytes())).send().await.unwrap();
        String::from_utf8(ask.body.unwrap().into_inner()).unwrap()
    }
}

/// The label is twice the first feature and a little of the second, which is missing every third time.
fn rows(from: usize, count: usize) -> String {
    let mut text = String::new();
    for row in from..from + count {
        let (x, y) = ((row * 37 % 100) as f64, (row * 11 % 7) as f64);
        let gap = if row % 3 == 0 { String::new() } else { y.to_string() };
        writeln!(text, "{},{x},{gap}", 100.0 + 20.0 * x + y).unwrap();
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_xgboost_example_trains_and_serves() {
    if !can_import("xgboost, numpy") {
        return;
    }
    let setting = Setting::start(python()).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/pickup-eta-xgboost/code/train.py");
    let code = archive(&[("train.py", &std::fs::read(script).unwrap())]);
    setting.put("code/it.tar.gz", code.clone()).await;
    setting.put("data/train/a.csv", rows(0, 600).into()).await;
    setting.put("data/validation/a.csv", rows(600, 200).into()).await;
    let hyperparameters = [("target_transform", "sqrt"), ("num_round", "120"), ("max_depth", "4"), ("seed", "7")];
    let (status, artefact, reason) = setting.train("xgb", &hyperparameters).await;
    assert_eq!((status, reason.as_str()), (TrainingJobStatus::Completed, ""));
    // 100 + 20 * 50 + 3, and with the second feature missing.
    let asked = "50,3\n50,\n10,3\n";
    let answer = setting.ask(&artefact, asked).await;
    let numbers: Vec<f64> = answer.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers.len(), 3);
    for (number, expected) in numbers.iter().zip([1_103.0, 1_103.0, 303.0]) {
        assert!((number - expected).abs() < 60.0, "{numbers:?}");
    }

    // The artefact alone, without a cloud around it, says the same bits.
    let key = artefact.strip_prefix("s3://lake/").unwrap();
    let model = setting.s3.get_object().bucket("lake").key(key).send().await.unwrap();
    let model = model.body.collect().await.unwrap().to_vec();
    let folder = tempfile::tempdir().unwrap();
    let options = ModelContainerOptions {
        images: BTreeMap::new(),
        child_wrapper: None,
        python: python(),
        folder: folder.path().to_owned(),
        start_timeout: Duration::from_mins(1),
    };
    let environment = BTreeMap::from([(PROGRAM.to_owned(), "train.py".to_owned())]);
    let container = ModelContainer::start(options, IMAGE, environment, model, Some(code)).await.unwrap();
    let (kind, body) = container.invoke("text/csv", "text/csv", asked.as_bytes().to_vec()).await.unwrap();
    assert_eq!((kind.as_deref(), String::from_utf8(body).unwrap()), (Some("text/csv"), answer));
    let error = container.invoke("image/png", "text/csv", b"1".to_vec()).await.unwrap_err();
    assert!(error.to_string().contains("'image/png' is not supported"), "{error}");
    container.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_fails_says_why() {
    if !can_import("sys") {
        return;
    }
    let setting = Setting::start(python()).await;
    setting.put("data/train/a.csv", rows(0, 2).into()).await;
    setting.put("data/validation/a.csv", rows(0, 2).into()).await;
    let script = "import json, os, sys\nassert sys.argv[1:] == ['--depth', '7'], sys.argv\nassert os.environ['SM_HP_DEPTH'] == \
                  '7'\nassert os.listdir(os.environ['SM_CHANNEL_TRAIN']) == ['a.csv']\nimport no_such_module\n";
    setting.put("code/it.tar.gz", archive(&[("train.py", script.as_bytes())])).await;
    let (status, _, reason) = setting.train("fails", &[("depth", "7")]).await;
    assert_eq!(status, TrainingJobStatus::Failed);
    assert!(reason.contains("No module named 'no_such_module'") && reason.contains("install what"), "{reason}");

    setting.put("code/it.tar.gz", archive(&[("other.py", b"")])).await;
    let (_, _, reason) = setting.train("absent", &[]).await;
    assert!(reason.contains("s3://lake/code/it.tar.gz has no train.py, which sagemaker_program names"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_python_it_says_so() {
    let setting = Setting::start("no-such-python".into()).await;
    setting.put("data/train/a.csv", rows(0, 2).into()).await;
    setting.put("data/validation/a.csv", rows(0, 2).into()).await;
    setting.put("code/it.tar.gz", archive(&[("train.py", b"")])).await;
    let (status, _, reason) = setting.train("no-python", &[]).await;
    assert_eq!(status, TrainingJobStatus::Failed);
    assert!(reason.contains("script mode needs Python, and there is no no-such-python: install it"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_image_that_is_no_script_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options = ModelContainerOptions {
        images: BTreeMap::from([("known:1".to_owned(), vec!["true".to_owned()])]),
        child_wrapper: None,
        python: python(),
        folder: folder.path().to_owned(),
        start_timeout: Duration::from_secs(5),
    };
    let refused = ModelContainer::start(options, "other:1", BTreeMap::new(), archive(&[("x", b"y")]), None).await;
    let Err(LocalError::Container { why, .. }) = refused else { panic!("it was started") };
    assert!(why.contains("known are: known:1") && why.contains("SAGEMAKER_PROGRAM"), "{why}");
}
