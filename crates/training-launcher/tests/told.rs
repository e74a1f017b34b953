//! What is told of versions that come to no good: jobs that SageMaker never takes, and models that do not answer with numbers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{collections::BTreeSet, fmt::Write as _, sync::Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use cloud::{
    events::MemoryBus,
    memory::MemoryStore,
    object_store::{GetObject, ListObjects, PutCondition, PutObject},
    sagemaker_control::{CallSageMaker, ControlError},
};
use domain::{Arm, FeatureSpecSource, Limits, PointerMove, Release, ReleasePointer, lake};
use serde_json::{Value, json};
use support::{BUCKET, NoLogs, model, now, pointer_event, prepared, put_in_use, schedule_event};
use training::{
    JobPlace, KnownVersion, MODEL_OFFERED, MODEL_REFUSED, Means, TRAINING_FAILED, VersionState, list_versions,
};
use training_launcher::{Config, handle};

/// The held-out row that a model may answer otherwise.
const ODD_ROW: usize = 7;

/// A SageMaker whose jobs end at once.
struct SageMaker {
    store: MemoryStore,
    jobs: Mutex<BTreeSet<String>>,
    takes_jobs: bool,
    /// What models answer for one row, and which version alone where only one does.
    odd: Mutex<Option<(&'static str, Option<String>)>>,
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
            "CreateTransformJob" => {
                let version = input["ModelName"].as_str().unwrap();
                let odd = self.odd.lock().unwrap().clone();
                let odd =
                    odd.filter(|(_, only)| only.as_ref().is_none_or(|only| only == version)).map(|(says, _)| says);
                let output = key(&input["TransformOutput"]["S3OutputPath"]);
                let mut row = 0;
                for file in self
                    .store
                    .list_objects(&key(&input["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]))
                    .await
                    .unwrap()
                {
                    let object = self.store.get_object(&file.key, None).await.unwrap().found().unwrap();
                    let mut answers = String::new();
                    for line in std::str::from_utf8(&object.bytes).unwrap().lines() {
                        // The feature is twice the distance; the ride takes three times as much.
                        match odd.filter(|_| row == ODD_ROW) {
                            Some(odd) => writeln!(answers, "{odd}").unwrap(),
                            None => writeln!(answers, "{}", line.parse::<f64>().unwrap() * 1.5).unwrap(),
                        }
                        row += 1;
                    }
                    let key = format!("{output}{}.out", file.key.rsplit('/').next().unwrap());
                    self.store.put_object(&key, Bytes::from(answers), PutCondition::Always).await.unwrap();
                }
                Ok(json!({}))
            }
            "DescribeTransformJob" => Ok(json!({"TransformJobStatus": "Completed"})),
            "CreateModelPackage" => Ok(json!({"ModelPackageArn": "arn:package"})),
            "CreateModel" | "CreateModelPackageGroup" => Ok(json!({})),
            other => panic!("{other} is not expected"),
        }
    }
}

/// The function with what is around it, and a first dataset version in use.
struct Stage {
    sagemaker: SageMaker,
    bus: MemoryBus,
    config: Config,
    prepared: support::Prepared,
}

impl Stage {
    async fn new(takes_jobs: bool) -> Self {
        let (store, prepared) = (MemoryStore::new(), prepared().await);
        for (key, bytes) in &prepared.objects {
            store.put_object(key, bytes.clone(), PutCondition::Always).await.unwrap();
        }
        put_in_use(&store, &prepared.versions[0]).await;
        let place = JobPlace { bucket: BUCKET.to_owned(), role_arn: "arn:role".to_owned() };
        let sagemaker = SageMaker { store, jobs: Mutex::default(), takes_jobs, odd: Mutex::default() };
        Self { sagemaker, bus: MemoryBus::default(), config: Config { place, default_model: model() }, prepared }
    }

    async fn event(&self, event: &Value) -> Value {
        let Self { sagemaker, bus, config, .. } = self;
        let means = Means { sagemaker, logs: &NoLogs, events: bus, place: &config.place };
        let answer = handle(&sagemaker.store, means, config, event, now(), None).await.unwrap();
        serde_json::to_value(answer).unwrap()
    }

    /// From the pointer's move to the gate's verdict.
    async fn train(&self) -> Vec<KnownVersion> {
        self.event(&pointer_event()).await;
        for _ in 0..3 {
            self.event(&schedule_event()).await;
        }
        list_versions(&self.sagemaker.store, &model()).await.unwrap()
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

#[tokio::test]
async fn a_model_that_does_not_answer_a_row_with_a_number_is_not_offered() {
    for odd in ["nan", "NaN", "inf", "-inf", "1e999"] {
        let stage = Stage::new(true).await;
        *stage.sagemaker.odd.lock().unwrap() = Some((odd, None));
        let versions = stage.train().await;
        assert_eq!(versions.len(), 2);
        for version in &versions {
            let verdict = version.verdict.as_ref().unwrap();
            assert!(!verdict.offered, "{odd}: {verdict:?}");
            let refusal = verdict.refusals().next().unwrap();
            assert_eq!(refusal.check, "predictions");
            let said = format!("{}: 1 of ", version.version);
            assert!(refusal.detail.starts_with(&said), "{odd}: {}", refusal.detail);
        }
        assert_eq!((stage.told(MODEL_OFFERED).len(), stage.told(MODEL_REFUSED).len()), (0, 2));
    }
    let stage = Stage::new(true).await;
    assert!(stage.train().await.iter().all(|version| version.verdict.as_ref().unwrap().offered));
}

#[tokio::test]
async fn a_champion_that_does_not_answer_a_row_does_not_keep_a_better_model_back() {
    let stage = Stage::new(true).await;
    let champion = stage.train().await.remove(0);
    let store = &stage.sagemaker.store;
    let arm = Arm {
        name: "control".to_owned(),
        endpoint: "e".to_owned(),
        variant: "v".to_owned(),
        model_version: champion.version.clone(),
    };
    let spec: FeatureSpecSource = champion.order.unwrap().lineage.spec;
    let limits = Limits { max_candidates: 9, default_deadline_ms: 100 };
    let release = serde_json::to_vec(&Release::new(model(), now(), spec, vec![arm], limits)).unwrap();
    let release_id: domain::ReleaseId = domain::digest::sha256_hex(&release).parse().unwrap();
    store.put_object(&lake::release(&model(), &release_id), release.into(), PutCondition::Always).await.unwrap();
    let how = PointerMove::Publish;
    let pointer = ReleasePointer { release_id, previous: None, moved_at: now(), how, author: None, reason: None };
    let pointer = serde_json::to_vec(&pointer).unwrap();
    store.put_object(&lake::release_pointer(&model()), pointer.into(), PutCondition::Always).await.unwrap();

    *stage.sagemaker.odd.lock().unwrap() = Some(("nan", Some(champion.version.clone())));
    put_in_use(store, &stage.prepared.versions[1]).await;
    let versions = stage.train().await;
    assert_eq!(versions.len(), 4);
    for version in versions {
        let verdict = version.verdict.unwrap();
        assert!(verdict.offered, "{verdict:?}");
        if let training::Reference::Champion(reference) = &verdict.reference {
            let compared = verdict.comparison.unwrap().all.unwrap().rows;
            assert_eq!((reference, compared), (&champion.version, 1_300 / 10 - 1));
        }
    }
}
