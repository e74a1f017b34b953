//! What is told of versions that come to no good: jobs that SageMaker never takes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{collections::BTreeSet, sync::Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use cloud::{
    events::MemoryBus,
    memory::MemoryStore,
    object_store::{PutCondition, PutObject},
    sagemaker_control::{CallSageMaker, ControlError},
};
use serde_json::{Value, json};
use support::{BUCKET, NoLogs, model, now, pointer_event, prepared, put_in_use, schedule_event};
use training::{JobPlace, Means, TRAINING_FAILED, VersionState, list_versions};
use training_launcher::{Config, handle};

/// A SageMaker whose jobs end at once.
struct SageMaker {
    store: MemoryStore,
    jobs: Mutex<BTreeSet<String>>,
    takes_jobs: bool,
}

#[async_trait]
impl CallSageMaker for SageMaker {
    async fn call_sagemaker(&self, operation: &'static str, input: &Value) -> Result<Value, ControlError> {
        let refused = |message: &str| {
            let kind = "ValidationException".to_owned();
            Err(ControlError::Refused { operation, kind, message: message.to_owned() })
        };
        let key = |uri: &Value| uri.as_str().unwrap().strip_prefix(&format!("s3://{BUCKET}/")).unwrap().to_owned();
        let name = input["TrainingJobName"].as_str().unwrap_or_default();
        match operation {
            "CreateTrainingJob" if !self.takes_jobs => refused("the image is no image"),
            "CreateTrainingJob" => {
                self.jobs.lock().unwrap().insert(name.to_owned());
                let artefact = format!("{}{name}/output/model.tar.gz", key(&input["OutputDataConfig"]["S3OutputPath"]));
                self.store.put_object(&artefact, Bytes::from(name.to_owned()), PutCondition::Always).await.unwrap();
                Ok(json!({}))
            }
            "DescribeTrainingJob" if !self.jobs.lock().unwrap().contains(name) => {
                refused("Requested resource not found.")
            }
            "DescribeTrainingJob" => {
                let artefact = format!("s3://{BUCKET}/models/{}/{name}/output/model.tar.gz", model());
                Ok(json!({"TrainingJobStatus": "Completed", "ModelArtifacts": {"S3ModelArtifacts": artefact}}))
            }
            other => panic!("{other} is not expected"),
        }
    }
}

/// The function with what is around it, and a first dataset version in use.
struct Stage {
    sagemaker: SageMaker,
    bus: MemoryBus,
    config: Config,
}

impl Stage {
    async fn new(takes_jobs: bool) -> Self {
        let (store, prepared) = (MemoryStore::new(), prepared().await);
        for (key, bytes) in &prepared.objects {
            store.put_object(key, bytes.clone(), PutCondition::Always).await.unwrap();
        }
        put_in_use(&store, &prepared.versions[0]).await;
        let place = JobPlace { bucket: BUCKET.to_owned(), role_arn: "arn:role".to_owned() };
        let sagemaker = SageMaker { store, jobs: Mutex::default(), takes_jobs };
        Self { sagemaker, bus: MemoryBus::default(), config: Config { place, default_model: model() } }
    }

    async fn event(&self, event: &Value) -> Value {
        let Self { sagemaker, bus, config, .. } = self;
        let means = Means { sagemaker, logs: &NoLogs, events: bus, place: &config.place };
        let answer = handle(&sagemaker.store, means, config, event, now(), None).await.unwrap();
        serde_json::to_value(answer).unwrap()
    }

    fn told(&self, what: &str) -> Vec<Value> {
        let events = self.bus.events().into_iter().filter(|event| event.detail_type == what);
        events.map(|event| event.detail).collect()
    }
}

#[tokio::test]
async fn a_job_that_sagemaker_never_takes_is_told() {
    let stage = Stage::new(false).await;
    let answer = stage.event(&pointer_event()).await;
    let told = stage.told(TRAINING_FAILED);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0]["reason"], "the image is no image");
    assert_eq!(answer["launched"][0]["failed"].as_array().map(Vec::len), Some(2), "{answer}");
    for version in list_versions(&stage.sagemaker.store, &model()).await.unwrap() {
        assert_eq!(version.state, VersionState::Failed);
        assert!(told.iter().any(|event| event["model_version"] == version.version.as_str()));
    }
    // It stays told: neither the schedule nor the same event again begins anew.
    stage.event(&schedule_event()).await;
    stage.event(&pointer_event()).await;
    assert_eq!(stage.told(TRAINING_FAILED).len(), 2);
}

#[tokio::test]
async fn an_order_whose_job_was_never_asked_for_is_told_where_it_is_refused() {
    let mut stage = Stage::new(true).await;
    stage.event(&pointer_event()).await;
    // Whoever ordered died before the job was created.
    stage.sagemaker.jobs.lock().unwrap().clear();
    stage.sagemaker.takes_jobs = false;
    stage.event(&schedule_event()).await;
    assert_eq!(stage.told(TRAINING_FAILED).len(), 2);
    stage.event(&schedule_event()).await;
    assert_eq!(stage.told(TRAINING_FAILED).len(), 2);
}
