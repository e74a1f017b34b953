use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use cloud::{
    endpoint::{InvokeEndpoint, InvokeError},
    http::{HttpAnswer, HttpEvent},
    object_store::{GetObject, GetOutcome, PutCondition, PutObject, PutOutcome},
    release_cache::{ActiveRelease, ReleaseCache},
};
use domain::{ArmAssignment, CandidateRecord, PredictionRecord, Problem, Tier, Timings, lake, truncate_to_micros};
use experiments::assign;
use features::Transformer;
use jiff::Timestamp;
use lambda_runtime::tracing::{error, info, warn};

use crate::{Config, ProxyError, endpoint_rows, request::PredictionAnswer, request::ResolvedRequest};

/// Kept back from the invocation's own deadline, for the response's way out.
const INVOCATION_RESERVE: Duration = Duration::from_millis(50);
/// Of the answer's time, this share (in percent) is kept back from the endpoint, for writing the record.
const ARCHIVE_SHARE_PERCENT: u32 = 20;
/// How long a release is waited for, where the caller leaves that much time.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(2);
/// The record gets at least this much, even where the endpoint has used up the time.
const ARCHIVE_LEAST: Duration = Duration::from_millis(30);

/// What a warm function keeps.
pub struct Proxy<S, E> {
    /// The releases in force, read from the lake. Records are put into the same store.
    pub releases: ReleaseCache<S, Transformer>,
    /// The endpoints.
    pub endpoint: E,
    /// The environment.
    pub config: Config,
}

/// One invocation: its clock readings and its randomness.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// When it arrived, on the clock of durations.
    pub began: Instant,
    /// When it arrived, UTC.
    pub now: Timestamp,
    /// When Lambda ends it, on the clock of durations.
    pub ends: Instant,
    /// Random bits for an id.
    pub random: [u8; 10],
}

impl Invocation {
    /// An invocation that arrives now, with Lambda's deadline.
    pub fn begin(deadline: SystemTime) -> Self {
        let began = Instant::now();
        let remaining = deadline.duration_since(SystemTime::now()).unwrap_or_default();
        let mut random = [0; 10];
        let uuid = uuid::Uuid::new_v4();
        // The bytes of a UUIDv4 that hold nothing but randomness.
        let (head, tail) = random.split_at_mut(6);
        head.copy_from_slice(&uuid.as_bytes()[..6]);
        tail.copy_from_slice(&uuid.as_bytes()[9..13]);
        Self { began, now: Timestamp::now(), ends: began + remaining, random }
    }
}

/// Answers one event. Never fails: what is wrong with a request is told as a problem document.
pub async fn answer<S, E>(proxy: &Proxy<S, E>, event: &HttpEvent, invocation: &Invocation) -> HttpAnswer
where
    S: GetObject + PutObject,
    E: InvokeEndpoint,
{
    match predict(proxy, event, invocation).await {
        Ok(answer) => HttpAnswer::json(200, serde_json::to_string(&answer).unwrap_or_default()),
        Err(failure) => {
            info!(reason = failure.reason(), %failure, "refused");
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
    S: GetObject + PutObject,
    E: InvokeEndpoint,
{
    let resolved = ResolvedRequest::read(event, &proxy.config, invocation.now, invocation.random)?;
    // A release that is known already must not cost the deadline where S3 hangs; one that is not is waited for longer.
    let deadline = resolved.deadline_ms.map_or(DEFAULT_PATIENCE, |ms| Duration::from_millis(u64::from(ms)));
    let active = proxy.releases.get(&resolved.model, deadline.min(DEFAULT_PATIENCE) / 2).await?;
    let problems = resolved.request.problems(active.release.limits.max_candidates);
    if !problems.is_empty() {
        return Err(ProxyError::Fields(problems));
    }
    let transform_began = Instant::now();
    let request = &resolved.request;
    let (rows, candidates) =
        active.prepared.transform(resolved.requested_at, &request.inputs, &request.candidates, |features| {
            let candidates: Vec<CandidateRecord> = request
                .candidates
                .iter()
                .enumerate()
                .map(|(row, candidate)| CandidateRecord {
                    candidate_id: candidate.candidate_id.clone(),
                    inputs: candidate.inputs.clone(),
                    features: features.row(row).collect(),
                    prediction: features.fallback()[row],
                    fallback: features.fallback()[row],
                })
                .collect();
            (endpoint_rows::to_csv(features), candidates)
        })?;
    let transform_us = micros_since(transform_began);

    let budget =
        Duration::from_millis(u64::from(resolved.deadline_ms.unwrap_or(active.release.limits.default_deadline_ms)));
    let invocation_ends = invocation.ends.checked_sub(INVOCATION_RESERVE).unwrap_or(invocation.began);
    let answer_by = (invocation.began + budget).min(invocation_ends);
    let mut record = unanswered_record(&resolved, &active, candidates);
    let endpoint_began = Instant::now();
    let whole = answer_by.saturating_duration_since(invocation.began);
    let endpoint_by = answer_by.checked_sub(whole * ARCHIVE_SHARE_PERCENT / 100).unwrap_or(answer_by);
    let timeout = endpoint_by.saturating_duration_since(endpoint_began);
    match ask_endpoint(proxy, &record, rows, timeout).await {
        Ok((variant, predictions)) => {
            let plan = active.prepared.plan();
            for (candidate, prediction) in record.candidates.iter_mut().zip(predictions) {
                candidate.prediction = plan.bounded(prediction).unwrap_or(candidate.fallback);
            }
            record.tier = Tier::Endpoint;
            record.variant = variant;
        }
        Err(reason) => record.tier_reason = Some(reason.to_owned()),
    }
    record.timings =
        Timings { transform_us, endpoint_us: micros_since(endpoint_began), total_us: micros_since(invocation.began) };
    record.answered_at = truncate_to_micros(invocation.now + invocation.began.elapsed());

    let archive_time = answer_by.saturating_duration_since(Instant::now()).max(ARCHIVE_LEAST);
    let unit = &active.prepared.plan().prediction().unit;
    let record = archive(proxy.releases.store(), record, resolved.caller_id, archive_time).await?;
    info!(
        prediction_id = %record.prediction_id,
        candidates = record.candidates.len(),
        arm = record.assignment.arm,
        tier = record.tier.as_str(),
        tier_reason = record.tier_reason,
        total_us = record.timings.total_us,
        endpoint_us = record.timings.endpoint_us,
        "answered"
    );
    Ok(PredictionAnswer::of_record(&record, unit))
}

/// The record before an endpoint was asked: the fallback's.
fn unanswered_record(
    resolved: &ResolvedRequest,
    active: &ActiveRelease<Transformer>,
    candidates: Vec<CandidateRecord>,
) -> PredictionRecord {
    let release = &active.release;
    let assigned = release.experiment.as_ref().and_then(|experiment| {
        // Without a unit each request is one: its id is as random as any.
        let prediction_id = resolved.prediction_id.to_string();
        let unit = resolved.request.unit_id.as_ref().map_or(prediction_id.as_str(), |unit| unit.as_str());
        assign(experiment, unit).map(|assignment| (experiment, assignment))
    });
    let (experiment_id, arm_index, probability) = match assigned {
        Some((experiment, assignment)) => (Some(experiment.id.clone()), assignment.arm_index, assignment.probability),
        None => (None, 0, 1.0),
    };
    let arm = &release.arms[arm_index];
    PredictionRecord {
        prediction_id: resolved.prediction_id,
        model: resolved.model.clone(),
        release_id: active.id.clone(),
        spec_hash: release.spec.hash.clone(),
        unit_id: resolved.request.unit_id.clone(),
        requested_at: resolved.requested_at,
        answered_at: resolved.requested_at,
        assignment: ArmAssignment { experiment_id, arm: arm.name.clone(), probability },
        tier: Tier::Fallback,
        tier_reason: None,
        endpoint: arm.endpoint.clone(),
        variant: arm.variant.clone(),
        model_version: arm.model_version.clone(),
        inputs: resolved.request.inputs.clone(),
        candidates,
        timings: Timings::default(),
    }
}

/// Asks the record's endpoint for all its candidates at once: the variant that answered and its predictions, or the
/// reason why there are none.
async fn ask_endpoint<S, E: InvokeEndpoint>(
    proxy: &Proxy<S, E>,
    record: &PredictionRecord,
    rows: String,
    timeout: Duration,
) -> Result<(String, Vec<f64>), &'static str> {
    if timeout.is_zero() {
        return Err("deadline_too_short");
    }
    let invocation = cloud::endpoint::Invocation {
        endpoint: record.endpoint.clone(),
        variant: record.variant.clone(),
        inference_id: record.prediction_id.to_string(),
        content_type: "text/csv",
        accept: "text/csv",
        body: Bytes::from(rows),
        timeout,
    };
    let answer = proxy.endpoint.invoke_endpoint(invocation).await.map_err(|InvokeError { kind, detail }| {
        warn!(prediction_id = %record.prediction_id, reason = kind.reason(), detail, "the endpoint did not answer");
        kind.reason()
    })?;
    let variant = answer.invoked_variant.unwrap_or_else(|| record.variant.clone());
    if variant != record.variant {
        warn!(prediction_id = %record.prediction_id, asked = record.variant, variant, "another variant answered");
        return Err("endpoint_other_variant");
    }
    match endpoint_rows::from_csv(&answer.body, record.candidates.len()) {
        Some(predictions) => Ok((variant, predictions)),
        None => {
            let shown = String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)]).into_owned();
            warn!(prediction_id = %record.prediction_id, body = shown, "the endpoint's answer cannot be read");
            Err("endpoint_garbage")
        }
    }
}

/// Puts the record into the lake, and returns the record that stands there: an earlier one where the caller sends a
/// request again. Where the store does not answer in time, the record goes to the log as the last resort.
async fn archive<S: GetObject + PutObject>(
    store: &S,
    record: PredictionRecord,
    caller_id: bool,
    time: Duration,
) -> Result<PredictionRecord, ProxyError> {
    let key = lake::landing_prediction(&record.model, record.prediction_id);
    let Ok(mut line) = serde_json::to_vec(&record) else { return Ok(record) };
    line.push(b'\n');
    let condition = if caller_id { PutCondition::IfAbsent } else { PutCondition::Always };
    let put = async {
        match store.put_object(&key, Bytes::from(line), condition).await? {
            PutOutcome::Stored(_) => Ok(None),
            PutOutcome::PreconditionFailed => store.get_object(&key, None).await.map(GetOutcome::found),
        }
    };
    match tokio::time::timeout(time, put).await {
        Ok(Ok(None)) => Ok(record),
        Ok(Ok(Some(earlier))) => match serde_json::from_slice::<PredictionRecord>(&earlier.bytes) {
            Ok(earlier) if is_same_request(&earlier, &record) => Ok(earlier),
            Ok(_) => Err(ProxyError::IdReused(record.prediction_id)),
            // What lies there is no record of ours; the archiver will put it into quarantine.
            Err(_) => Ok(lose_to_log(record, "landing_occupied")),
        },
        Ok(Err(failure)) => Ok(lose_to_log(record, failure.reason())),
        Err(_) => Ok(lose_to_log(record, "archive_timeout")),
    }
}

fn is_same_request(a: &PredictionRecord, b: &PredictionRecord) -> bool {
    let candidates = |record: &PredictionRecord| -> Vec<_> {
        record.candidates.iter().map(|candidate| (candidate.candidate_id.clone(), candidate.inputs.clone())).collect()
    };
    a.unit_id == b.unit_id && a.requested_at == b.requested_at && a.inputs == b.inputs && candidates(a) == candidates(b)
}

fn lose_to_log(record: PredictionRecord, reason: &str) -> PredictionRecord {
    let line = serde_json::to_string(&record).unwrap_or_default();
    error!(reason, record = line, "the record could not be archived; this line is its only copy");
    record
}

fn micros_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
}
