//! The record's way into the lake.

use std::time::Duration;

use bytes::Bytes;
use cloud::object_store::{GetObject, GetOutcome, PutCondition, PutObject, PutOutcome};
use domain::{PredictionRecord, lake};
use lambda_runtime::tracing::error;

use crate::ProxyError;

/// Puts the record into the lake, and returns the record that stands there: an earlier one where the caller sends a
/// request again. Where the store does not answer in time, the record goes to the log as the last resort.
pub(crate) async fn archive<S: GetObject + PutObject>(
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
