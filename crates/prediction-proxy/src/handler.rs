use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use cloud::{
    endpoint::InvokeEndpoint,
    http::{HttpAnswer, HttpEvent},
    object_store::{GetObject, PutObject},
    release_cache::{ActiveRelease, ReleaseCache},
};
use domain::{
    ArchiveMode, Arm, ArmAssignment, CandidateRecord, PredictionRecord, Problem, Promise, Tier, Timings,
    truncate_to_micros,
};
use features::{LookupTable, Transformer};
use jiff::Timestamp;
use lambda_runtime::tracing::info;

use crate::{
    Config, Deferred, ProxyError,
    arm_assignment::assigned_arm,
    endpoints::{EndpointHealth, EndpointRows, Question, ask_tiers},
    metrics, openapi,
    personal_data::protect,
    record_archive::{Archived, archive, archive_late, settle},
    request::{PredictionAnswer, ResolvedRequest},
    shadows::{ShadowQuestion, Shadows},
};

/// Kept back from the invocation's own deadline, for the response's way out.
const INVOCATION_RESERVE: Duration = Duration::from_millis(50);
/// Of the answer's time, this share (in percent) is kept back from the endpoints, for writing the record.
const ARCHIVE_SHARE_PERCENT: u32 = 20;
/// Where that share would be short, the record gets this much, or half of the time.
const ARCHIVE_FAIR: Duration = Duration::from_millis(30);
/// The record gets at least this much, even where everything else has used up the time: half of what an answer may be late.
const ARCHIVE_LEAST: Duration = Duration::from_millis(5);
/// How long a release is waited for, where the caller leaves that much time.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(2);

/// What a warm function keeps.
pub struct Proxy<S, E> {
    /// The releases in force, read from the lake. Records are put into the same store.
    pub releases: ReleaseCache<S, Transformer, LookupTable>,
    /// The endpoints.
    pub endpoint: Arc<E>,
    /// What is known of them.
    pub health: Arc<EndpointHealth>,
    /// The environment.
    pub config: Config,
}

/// One invocation: its clock readings and its randomness.
#[derive(Debug)]
pub struct Invocation {
    /// When it arrived, on the clock of durations.
    pub began: Instant,
    /// When it arrived, UTC.
    pub now: Timestamp,
    /// When Lambda ends it, on the clock of durations.
    pub ends: Instant,
    /// Random bits for an id.
    pub random: [u8; 10],
    /// Random bits for the pauses before retries.
    pub seed: u64,
    /// Where work goes that is done after the answer has left, where that is possible.
    pub deferred: Option<Deferred>,
}

impl Invocation {
    /// An invocation that arrives now, with Lambda's deadline.
    pub fn begin(deadline: SystemTime, deferred: Option<Deferred>) -> Self {
        let began = Instant::now();
        let remaining = deadline.duration_since(SystemTime::now()).unwrap_or_default();
        let mut random = [0; 10];
        let uuid = uuid::Uuid::new_v4();
        // The bytes of a UUIDv4 that hold nothing but randomness.
        let (head, tail) = random.split_at_mut(6);
        head.copy_from_slice(&uuid.as_bytes()[..6]);
        tail.copy_from_slice(&uuid.as_bytes()[9..13]);
        // Pauses need not be secret: the id's own bits do, without another call for randomness.
        let (_, seed) = uuid.as_u64_pair();
        Self { began, now: Timestamp::now(), ends: began + remaining, random, seed, deferred }
    }
}

/// Answers one event. Never fails: what is wrong with a request is told as a problem document.
pub async fn answer<S, E>(proxy: &Proxy<S, E>, event: &HttpEvent, invocation: &Invocation) -> HttpAnswer
where
    S: GetObject + PutObject + Clone + 'static,
    E: InvokeEndpoint + 'static,
{
    if openapi::is_asked_for(event) {
        return openapi::answer(&proxy.releases, &proxy.config, event).await;
    }
    match predict(proxy, event, invocation).await {
        Ok(answer) => HttpAnswer::json(200, serde_json::to_string(&answer).unwrap_or_default()),
        Err(failure) => {
            info!(reason = failure.reason(), %failure, "refused");
            println!("{}", metrics::of_refusal(failure.reason(), invocation.now));
            let retry = matches!(&failure, ProxyError::Release(_));
            let answer = HttpAnswer::from(Problem::from(failure));
            if retry && answer.status_code == 503 { answer.with_header("retry-after", "1") } else { answer }
        }
    }
}

async fn predict<S, E>(
    proxy: &Proxy<S, E>,
    event: &HttpEvent,
    invocation: &Invocation,
) -> Result<PredictionAnswer, ProxyError>
where
    S: GetObject + PutObject + Clone + 'static,
    E: InvokeEndpoint + 'static,
{
    let mut resolved = ResolvedRequest::read(event, &proxy.config, invocation.now, invocation.random)?;
    // A release that is known already must not cost the deadline where S3 hangs.
    let deadline = resolved.deadline_ms.map_or(DEFAULT_PATIENCE, |ms| Duration::from_millis(u64::from(ms)));
    let active = proxy.releases.get(&resolved.model, deadline.min(DEFAULT_PATIENCE) / 2).await?;
    let problems = resolved.request.problems(active.release.limits.max_candidates);
    if !problems.is_empty() {
        return Err(ProxyError::Fields(problems));
    }
    let transform_began = Instant::now();
    let request = &resolved.request;
    let (rows, transformed) =
        active.prepared.transform(resolved.requested_at, &request.inputs, &request.candidates, |features| {
            let transformed: Vec<(Vec<Option<f64>>, f64)> = (0..request.candidates.len())
                .map(|row| (features.row(row).collect(), features.fallback()[row]))
                .collect();
            (EndpointRows::of(features, &active.release.calling), transformed)
        })?;
    let transform_us = micros_since(transform_began);

    let budget =
        Duration::from_millis(u64::from(resolved.deadline_ms.unwrap_or(active.release.limits.default_deadline_ms)));
    let invocation_ends = invocation.ends.checked_sub(INVOCATION_RESERVE).unwrap_or(invocation.began);
    let answer_by = (invocation.began + budget).min(invocation_ends);
    let (arm, assignment) =
        assigned_arm(&active.release, &resolved).map_err(|problem| ProxyError::Fields(vec![problem]))?;
    // Of the raw inputs: what is archived may be hidden.
    let correction = active.release.correction.as_ref();
    let factor = correction.map(|correction| correction.factor(&request.inputs, resolved.requested_at));
    let mut record = unanswered_record(&mut resolved, &active, arm, assignment, transformed);
    // Here, so that neither lake nor log ever sees what is to be hidden.
    protect(&mut record, active.prepared.plan(), proxy.config.personal_data_key.as_ref());
    let endpoint_began = Instant::now();
    let whole = answer_by.saturating_duration_since(invocation.began);
    let endpoint_by = answer_by.checked_sub(archive_share(whole)).unwrap_or(answer_by);
    let shadows = (!active.release.shadows.is_empty()).then(|| {
        let (active, rows) = (Arc::clone(&active), rows.clone());
        let (began, now, seed) = (invocation.began, invocation.now, invocation.seed);
        let question = ShadowQuestion { active, rows, factor, endpoint_by, ends: invocation_ends, began, now, seed };
        Shadows::begin(proxy, &record, question)
    });
    let question = Question::new(record.prediction_id, &rows, &active.release.calling, invocation.seed);
    let arms = (arm, active.release.second.as_ref());
    let asked = ask_tiers(&*proxy.endpoint, &proxy.health, arms, &question, endpoint_by).await;
    asked.tell(&mut record, factor, |prediction| active.prepared.plan().bounded(prediction));
    promise(&active, &mut record);
    record.timings =
        Timings { transform_us, endpoint_us: micros_since(endpoint_began), total_us: micros_since(invocation.began) };
    record.answered_at = truncate_to_micros(invocation.now + invocation.began.elapsed());

    let archive_time = answer_by.saturating_duration_since(Instant::now()).max(ARCHIVE_LEAST);
    let unit = &active.prepared.plan().prediction().unit;
    let store = proxy.releases.store();
    let left = || invocation_ends.saturating_duration_since(Instant::now());
    let record = match &invocation.deferred {
        // A caller's own id may be that of an earlier request, whose answer only the store knows.
        Some(deferred) if active.release.archive == ArchiveMode::AfterResponse && !resolved.caller_id => {
            deferred.push(archive_late(store.clone(), record.clone(), false, left(), invocation.now));
            record
        }
        deferred => {
            let Archived { record, lost } = archive(store, record, resolved.caller_id, archive_time).await?;
            match (lost, deferred) {
                (Some(_), Some(deferred)) => {
                    let (store, record) = (store.clone(), record.clone());
                    deferred.push(archive_late(store, record, resolved.caller_id, left(), invocation.now));
                }
                (lost, _) => settle(&record, lost, invocation.now),
            }
            record
        }
    };
    if let Some(shadows) = shadows {
        shadows.leave(invocation.deferred.as_ref());
    }
    Ok(PredictionAnswer::of_record(&record, unit))
}

/// How much of `whole` is kept back for the record.
fn archive_share(whole: Duration) -> Duration {
    (whole * ARCHIVE_SHARE_PERCENT / 100).max(ARCHIVE_FAIR.min(whole / 2))
}

/// The record before an endpoint was asked: the fallback's. Takes the request's inputs and candidates, since copies of them would be
/// most of what a request allocates. `transformed`: features and fallback of each candidate.
fn unanswered_record(
    resolved: &mut ResolvedRequest,
    active: &ActiveRelease<Transformer>,
    arm: &Arm,
    assignment: ArmAssignment,
    transformed: Vec<(Vec<Option<f64>>, f64)>,
) -> PredictionRecord {
    let release = &active.release;
    let candidates = std::mem::take(&mut resolved.request.candidates)
        .into_iter()
        .zip(transformed)
        .map(|(candidate, (features, fallback))| CandidateRecord {
            candidate_id: candidate.candidate_id,
            inputs: candidate.inputs,
            features,
            prediction: fallback,
            fallback,
            uncorrected: None,
            last_shown: candidate.last_shown,
            shown: None,
            lower: None,
            upper: None,
        })
        .collect();
    PredictionRecord {
        prediction_id: resolved.prediction_id,
        model: resolved.model.clone(),
        release_id: active.id.clone(),
        spec_hash: release.spec.hash.clone(),
        unit_id: resolved.request.unit_id.clone(),
        ride_id: resolved.request.ride_id.clone(),
        requested_at: resolved.requested_at,
        answered_at: resolved.requested_at,
        assignment,
        tier: Tier::Fallback,
        tier_reason: None,
        endpoint: arm.endpoint.clone(),
        variant: arm.variant.clone(),
        model_version: arm.model_version.clone(),
        inputs: std::mem::take(&mut resolved.request.inputs),
        candidates,
        timings: Timings::default(),
    }
}

/// What is shown and the interval, where the release has a promise. Whichever tier answered: a rider is always shown
/// something, and the calibrated margins are the best that is known; the figures by tier say how well they hold.
fn promise(active: &ActiveRelease<Transformer>, record: &mut PredictionRecord) {
    let Some(policy) = &active.release.promise else { return };
    let plan = active.prepared.plan();
    for candidate in &mut record.candidates {
        let prediction = candidate.prediction;
        let bounded = |value: f64| plan.bounded(value).unwrap_or(prediction);
        let Promise { lower, upper, shown } = policy.promise(prediction, candidate.last_shown, bounded);
        (candidate.lower, candidate.upper, candidate.shown) = (Some(lower), Some(upper), Some(shown));
    }
}

fn micros_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
}
