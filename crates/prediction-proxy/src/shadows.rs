//! Shadow arms: asked beside the arm that answers, recorded, never answered.

use std::{sync::Arc, time::Instant};

use cloud::{
    endpoint::InvokeEndpoint,
    object_store::{GetObject, PutObject},
    release_cache::ActiveRelease,
};
use domain::{Arm, PredictionRecord, ShadowCandidate, ShadowRecord, truncate_to_micros};
use features::Transformer;
use jiff::Timestamp;
use lambda_runtime::tracing::info;
use tokio::task::JoinSet;

use crate::{
    Deferred, Proxy,
    endpoints::{EndpointRows, Question, ask_arm},
    metrics,
    record_archive::archive_shadow,
};

/// The shadow arms that are being asked for one request. Dropped, they are given up.
pub(crate) struct Shadows {
    tasks: JoinSet<()>,
    model: domain::ModelName,
    now: Timestamp,
}

/// What all shadows of one request share.
pub(crate) struct ShadowQuestion {
    pub(crate) active: Arc<ActiveRelease<Transformer>>,
    pub(crate) rows: EndpointRows,
    /// The release's correction: a shadow is told as it would have answered.
    pub(crate) factor: Option<f64>,
    /// The time that the arm's own endpoint has: what comes later would have been a fallback.
    pub(crate) endpoint_by: Instant,
    /// When Lambda ends the invocation.
    pub(crate) ends: Instant,
    /// When the request arrived, on the clock of durations and in UTC.
    pub(crate) began: Instant,
    pub(crate) now: Timestamp,
    /// For the pauses before retries.
    pub(crate) seed: u64,
}

impl Shadows {
    /// Begins to ask every shadow of the release, each as a task of its own, so that the arm that answers waits for none.
    pub(crate) fn begin<S, E>(proxy: &Proxy<S, E>, record: &PredictionRecord, question: ShadowQuestion) -> Self
    where
        S: GetObject + PutObject + Clone + 'static,
        E: InvokeEndpoint + 'static,
    {
        let (model, now) = (record.model.clone(), question.now);
        let mut tasks = JoinSet::new();
        let question = Arc::new(question);
        for (arm, number) in question.active.release.shadows.iter().zip(1..) {
            let unasked = unasked(record, arm);
            let (store, endpoint) = (proxy.releases.store().clone(), Arc::clone(&proxy.endpoint));
            let (health, arm, question) = (Arc::clone(&proxy.health), arm.clone(), Arc::clone(&question));
            // Each pauses at its own times.
            let seed = question.seed.wrapping_add(number);
            tasks.spawn(async move {
                let began = Instant::now();
                let calling = &question.active.release.calling;
                let asked = Question::new(unasked.prediction_id, &question.rows, calling, seed);
                let predictions = ask_arm(&*endpoint, &health, &arm, &asked, question.endpoint_by).await;
                let predictions = predictions.map_err(|failure| failure.reason);
                let endpoint_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                let record = told(unasked, &question, predictions, endpoint_us);
                let time = question.ends.saturating_duration_since(Instant::now());
                let is_kept = archive_shadow(&store, &record, time).await;
                println!("{}", metrics::of_shadow(&record, !is_kept, question.now));
            });
        }
        Self { tasks, model, now }
    }

    /// The answer is about to leave. Shadows that are not done go on after it where that is possible, and else are given up:
    /// the answer waits for none.
    pub(crate) fn leave(mut self, deferred: Option<&Deferred>) {
        while self.tasks.try_join_next().is_some() {}
        if self.tasks.is_empty() {
            return;
        }
        if let Some(deferred) = deferred {
            deferred.push(Box::pin(async move { while self.tasks.join_next().await.is_some() {} }));
        } else {
            info!(shadows = self.tasks.len(), "given up, since the answer leaves and DEFERRED_WORK is not set");
            println!("{}", metrics::of_dropped_shadows(&self.model, self.tasks.len(), self.now));
        }
    }
}

/// The record before the shadow was asked.
fn unasked(record: &PredictionRecord, arm: &Arm) -> ShadowRecord {
    let candidate = |candidate: &domain::CandidateRecord| ShadowCandidate {
        candidate_id: candidate.candidate_id.clone(),
        prediction: None,
    };
    ShadowRecord {
        prediction_id: record.prediction_id,
        model: record.model.clone(),
        release_id: record.release_id.clone(),
        arm: arm.name.clone(),
        endpoint: arm.endpoint.clone(),
        variant: arm.variant.clone(),
        model_version: arm.model_version.clone(),
        answered_at: record.answered_at,
        reason: None,
        endpoint_us: 0,
        candidates: record.candidates.iter().map(candidate).collect(),
    }
}

fn told(
    mut record: ShadowRecord,
    question: &ShadowQuestion,
    predictions: Result<Vec<f64>, &'static str>,
    endpoint_us: u64,
) -> ShadowRecord {
    record.answered_at = truncate_to_micros(question.now + question.began.elapsed());
    record.endpoint_us = endpoint_us;
    match predictions {
        Ok(predictions) => {
            for (candidate, prediction) in record.candidates.iter_mut().zip(predictions) {
                let bounded = |value: f64| question.active.prepared.plan().bounded(value);
                let said = bounded(prediction);
                candidate.prediction = said.zip(question.factor).and_then(|(said, by)| bounded(said * by)).or(said);
            }
        }
        Err(reason) => record.reason = Some(reason.to_owned()),
    }
    record
}
