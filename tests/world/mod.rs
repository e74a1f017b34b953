//! A local cloud with the reference model behind an endpoint of two variants, for tests that need the real functions.

use std::{collections::BTreeMap, path::Path, time::Duration};

use aws_config::SdkConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use cloud::{
    object_store::{PutCondition, PutObject},
    s3::S3Bucket,
    sagemaker::SageMakerRuntime,
    sagemaker_control::SageMakerControl,
};
use domain::{Arm, FeatureSpecSource, Limits, ModelName, Release, ReleaseId};
use features::Plan;
use jiff::Timestamp;
use local::{FunctionLauncher, LocalCloud, Options};
use releases::{Endpoints, MoveOrder, ServableRelease};
use serde_json::{Value, json};

const MANNEN: &str = env!("CARGO_BIN_EXE_mannen");
const IMAGE: &str = "reference:1";
pub(crate) const ENDPOINT: &str = "pickup-eta";

pub(crate) fn model() -> ModelName {
    ENDPOINT.parse().unwrap()
}

/// Two specs whose features differ in every row.
pub(crate) fn spec(shift_m: u32) -> String {
    format!(
        "name = \"pickup-eta\"\n[prediction]\nunit = \"s\"\nmin = 0\nmax = 100000\n[inputs]\nlat = {{ type = \"float\", min = 40, \
         max = 41 }}\ncar_lat = {{ type = \"float\", scope = \"candidate\", min = 40, max = 41 }}\n[features]\ndistance_m = \
         \"ABS(car_lat - lat) * 111000 + {shift_m}\"\n[model]\noutputs = [\"distance_m\", \"lat\"]\n[fallback]\nexpression = \
         \"distance_m / 3\"\ndefault = 1\n"
    )
}

pub(crate) fn release(shift_m: u32, variant: &str) -> Release {
    let toml = spec(shift_m);
    let hash = Plan::compile("spec", &toml).unwrap().hash().to_owned();
    let arm = Arm {
        name: format!("only-{variant}"),
        endpoint: ENDPOINT.to_owned(),
        variant: variant.to_owned(),
        model_version: format!("eta-{variant}"),
    };
    Release::new(
        model(),
        "2026-01-01T00:00:00Z".parse().unwrap(),
        FeatureSpecSource { hash, toml },
        vec![arm],
        // A busy machine must not turn this into a test of the fallback alone.
        Limits { max_candidates: 10, default_deadline_ms: 5_000 },
    )
}

pub(crate) struct World {
    /// For who needs another client; not every test does.
    #[allow(dead_code)]
    pub(crate) aws: SdkConfig,
    pub(crate) cloud: LocalCloud,
    pub(crate) lake: S3Bucket,
    pub(crate) control: SageMakerControl,
    pub(crate) runtime: SageMakerRuntime,
    pub(crate) http: reqwest::Client,
}

impl World {
    /// `schedules`: whether they fire by themselves.
    pub(crate) async fn start(root: &Path, schedules: bool) -> Self {
        Self::start_with(root, schedules, |_| {}).await
    }

    /// With options that a test changes.
    pub(crate) async fn start_with(root: &Path, schedules: bool, change: impl FnOnce(&mut Options)) -> Self {
        let own = |role: &str| vec![MANNEN.to_owned(), role.to_owned()];
        let launcher = FunctionLauncher::ReExecute { program: MANNEN.into(), args: vec!["__function".to_owned()] };
        let mut options = Options::new(include_str!("../../infra/template.yaml"), root, launcher);
        options.child_wrapper = Some(own("__child"));
        options.images = BTreeMap::from([(IMAGE.to_owned(), own("__model"))]);
        options.parameters = BTreeMap::from([
            ("MaxIdSkewSeconds".to_owned(), "0".to_owned()),
            // Every request looks at the pointer: the most swaps that can meet a request.
            ("ReleaseTtlSeconds".to_owned(), "0".to_owned()),
            // Where S3 fails, what is left is the log at once, and not a later try.
            ("DeferredWork".to_owned(), "false".to_owned()),
        ]);
        options.schedules_enabled = schedules;
        options.queue_retry_delay = Some(Duration::from_secs(1));
        change(&mut options);
        let cloud = LocalCloud::start(options).await.unwrap();
        let environment = cloud.environment();
        let credentials = Credentials::new(
            environment["AWS_ACCESS_KEY_ID"].clone(),
            environment["AWS_SECRET_ACCESS_KEY"].clone(),
            None,
            None,
            "test",
        );
        let aws = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(environment["AWS_REGION"].clone()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        let s3 = aws_sdk_s3::config::Builder::from(&aws).endpoint_url(cloud.s3_url()).force_path_style(true).build();
        let runtime = aws.clone().into_builder().endpoint_url(cloud.sagemaker_runtime_url()).build();
        Self {
            lake: S3Bucket::new(aws_sdk_s3::Client::from_conf(s3), cloud.bucket_names().remove(0)),
            control: SageMakerControl::new(&aws, Some(cloud.sagemaker_url())),
            runtime: SageMakerRuntime::new(&runtime),
            aws,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            cloud,
        }
    }

    /// An endpoint with two variants that answer differently.
    pub(crate) async fn deploy(&self) {
        let row = |row: i32| format!("{},{},40.{}\n", 60 + row % 97 + row * 3, row * 200, row % 10);
        let rows = (0..600).map(row).collect::<Vec<_>>().concat();
        self.lake.put_object("training/train.csv", rows.into(), PutCondition::Always).await.unwrap();
        let bucket = self.lake.name();
        let mut variants = Vec::new();
        for (variant, max_depth) in [("shallow", "1"), ("deep", "6")] {
            let job = format!("eta-{variant}");
            self.call("CreateTrainingJob", &json!({
                "TrainingJobName": job, "RoleArn": "arn:aws:iam::000000000000:role/test",
                "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
                "HyperParameters": {"max_depth": max_depth, "num_round": "20"},
                "InputDataConfig": [{"ChannelName": "train", "ContentType": "text/csv", "DataSource": {"S3DataSource": {
                    "S3DataType": "S3Prefix", "S3DataDistributionType": "FullyReplicated",
                    "S3Uri": format!("s3://{bucket}/training/"),
                }}}],
                "OutputDataConfig": {"S3OutputPath": format!("s3://{bucket}/models/")},
                "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
                "StoppingCondition": {"MaxRuntimeInSeconds": 600},
            }))
            .await;
            let described =
                self.until("DescribeTrainingJob", &json!({"TrainingJobName": job}), "TrainingJobStatus").await;
            assert_eq!(described["TrainingJobStatus"], "Completed", "{described}");
            let artefact = &described["ModelArtifacts"]["S3ModelArtifacts"];
            self.call(
                "CreateModel",
                &json!({
                    "ModelName": job, "ExecutionRoleArn": "arn:aws:iam::000000000000:role/test",
                    "PrimaryContainer": {"Image": IMAGE, "ModelDataUrl": artefact},
                }),
            )
            .await;
            variants.push(json!({
                "VariantName": variant, "ModelName": job, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1,
                "InitialVariantWeight": 1.0,
            }));
        }
        self.call("CreateEndpointConfig", &json!({"EndpointConfigName": "both", "ProductionVariants": variants})).await;
        self.call("CreateEndpoint", &json!({"EndpointName": ENDPOINT, "EndpointConfigName": "both"})).await;
        let described = self.until("DescribeEndpoint", &json!({"EndpointName": ENDPOINT}), "EndpointStatus").await;
        assert_eq!(described["EndpointStatus"], "InService", "{described}");
    }

    pub(crate) async fn call(&self, operation: &'static str, input: &Value) -> Value {
        self.control.call(operation, input).await.unwrap()
    }

    /// The description once its status is final.
    pub(crate) async fn until(&self, operation: &'static str, input: &Value, status: &str) -> Value {
        loop {
            let described = self.call(operation, input).await;
            if ["Completed", "Failed", "Stopped", "InService"].iter().any(|end| described[status] == *end) {
                return described;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn servable(&self, release: Release) -> ServableRelease {
        let endpoints = Endpoints { describe: &self.control, invoke: &self.runtime };
        releases::check(endpoints, release, releases::PinnedTables::new(), Timestamp::now())
            .await
            .unwrap()
            .servable()
            .unwrap()
    }

    pub(crate) async fn publish(&self, release: &ServableRelease) -> Result<ReleaseId, releases::ReleasesError> {
        let order = MoveOrder { author: None, reason: None, now: Timestamp::now(), expect: None };
        Ok(releases::publish(&self.lake, release, &order).await?.pointer.release_id)
    }
}
