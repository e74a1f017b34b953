//! The record's way into the lake.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cloud::object_store::{GetObject, GetOutcome, Object, PutCondition, PutObject, PutOutcome, StoreError};
use domain::{PredictionId, PredictionRecord, ShadowRecord, lake};
use futures::future::BoxFuture;
use jiff::Timestamp;
use lambda_runtime::tracing::{error, warn};

use crate::{ProxyError, metrics};

/// A try gets at least this much of the time that is left.
const LEAST_TRY: Duration = Duration::from_millis(20);
/// The longest pause before the first retry; it doubles from try to try.
const FIRST_PAUSE: Duration = Duration::from_millis(4);

/// A record after the store was asked to keep it.
pub(crate) struct Archived {
    /// The record that stands in the lake.
    pub(crate) record: PredictionRecord,
    /// Why it does not stand there.
    pub(crate) lost: Option<&'static str>,
}

/// Puts the record into the lake, and returns the record that stands there: an earlier one where the caller sends a
/// request again. Where the store does not answer in time, the reason is told.
pub(crate) async fn archive<S: GetObject + PutObject>(
    store: &S,
    record: PredictionRecord,
    caller_id: bool,
    time: Duration,
) -> Result<Archived, ProxyError> {
    let kept = |record| Archived { record, lost: None };
    let key = lake::landing_prediction(&record.model, record.prediction_id);
    let Ok(mut line) = serde_json::to_vec(&record) else { return Ok(kept(record)) };
    line.push(b'\n');
    let condition = if caller_id { PutCondition::IfAbsent } else { PutCondition::Always };
    match put_within(store, &key, Bytes::from(line), condition, record.prediction_id, time).await {
        Ok(None) => Ok(kept(record)),
        Ok(Some(earlier)) => match serde_json::from_slice::<PredictionRecord>(&earlier.bytes) {
            Ok(earlier) if is_same_request(&earlier, &record) => Ok(kept(earlier)),
            Ok(_) => Err(ProxyError::IdReused(record.prediction_id)),
            // What lies there is no record of ours; the archiver will put it into quarantine.
            Err(_) => Ok(Archived { record, lost: Some("landing_occupied") }),
        },
        Err(reason) => Ok(Archived { record, lost: Some(reason) }),
    }
}

/// Puts the record after its answer has left, and settles it.
pub(crate) fn archive_late<S: GetObject + PutObject + 'static>(
    store: S,
    record: PredictionRecord,
    caller_id: bool,
    time: Duration,
    now: Timestamp,
) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        match archive(&store, record.clone(), caller_id, time).await {
            Ok(Archived { record, lost }) => settle(&record, lost, now),
            // The earlier request under this id is the one that the archive keeps.
            Err(failure) => settle(&record, Some(failure.reason()), now),
        }
    })
}

/// Tells the metrics, and the log where it has the only copy: the last resort. The record is a line by itself, as it would have
/// landed, so that lines picked out of the log are a file to put below `landing/`.
pub(crate) fn settle(record: &PredictionRecord, lost: Option<&str>, now: Timestamp) {
    if let Some(reason) = lost {
        let id = record.prediction_id;
        error!(reason, prediction_id = %id, "the record could not be archived; its line in this log is the only copy");
        println!("{}", serde_json::to_string(record).unwrap_or_default());
    }
    println!("{}", metrics::of_record(record, lost.is_some(), now));
}

/// Puts a shadow's record; returns whether the lake has it. The first one of an id stays, as the prediction's does: another request
/// under the same id is refused only after its shadows were asked. What the store does not take goes to the log.
pub(crate) async fn archive_shadow<S: GetObject + PutObject>(store: &S, record: &ShadowRecord, time: Duration) -> bool {
    let key = lake::landing_shadow(&record.model, record.prediction_id, &record.arm);
    let mut line = serde_json::to_vec(record).unwrap_or_default();
    line.push(b'\n');
    let put = put_within(store, &key, Bytes::from(line), PutCondition::IfAbsent, record.prediction_id, time);
    let Err(reason) = put.await else { return true };
    let id = record.prediction_id;
    error!(reason, prediction_id = %id, "the shadow could not be archived; its line in this log is the only copy");
    println!("{}", serde_json::to_string(record).unwrap_or_default());
    false
}

/// Puts `line`, again where the store is unavailable or hangs, until `time` is over: the object that was there before, or
/// none; else the reason code of the last failure.
///
/// A try that was given up may have been stored all the same: the next one then meets the very same record.
async fn put_within<S: GetObject + PutObject>(
    store: &S,
    key: &str,
    line: Bytes,
    condition: PutCondition,
    id: PredictionId,
    time: Duration,
) -> Result<Option<Object>, &'static str> {
    let ends = Instant::now() + time;
    let mut reason = "archive_timeout";
    for tries in 0_u32.. {
        let left = ends.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let put = async {
            match store.put_object(key, line.clone(), condition.clone()).await? {
                PutOutcome::Stored(_) => Ok(None),
                PutOutcome::PreconditionFailed => store.get_object(key, None).await.map(GetOutcome::found),
            }
        };
        // Half of what is left, so that one connection that hangs leaves time for another.
        match tokio::time::timeout((left / 2).max(LEAST_TRY).min(left), put).await {
            Ok(Ok(earlier)) => return Ok(earlier),
            Ok(Err(failure @ StoreError::Refused { .. })) => return Err(failure.reason()),
            Ok(Err(failure)) => reason = failure.reason(),
            Err(_) => reason = "archive_timeout",
        }
        warn!(prediction_id = %id, reason, tries = tries + 1, "the record was not put");
        let pause = FIRST_PAUSE * 2_u32.pow(tries.min(6));
        let left = ends.saturating_duration_since(Instant::now());
        tokio::time::sleep((pause * jitter_percent(id, tries) / 100).min(left / 2)).await;
    }
    Err(reason)
}

/// 0–99, different from request to request, so that retries do not come all at once.
fn jitter_percent(id: PredictionId, tries: u32) -> u32 {
    let text = id.to_string();
    text.bytes().rev().skip(tries as usize).take(4).fold(0, |sum, byte| sum * 31 + u32::from(byte)) % 100
}

fn is_same_request(a: &PredictionRecord, b: &PredictionRecord) -> bool {
    let candidates = |record: &PredictionRecord| -> Vec<_> {
        record.candidates.iter().map(|candidate| (candidate.candidate_id.clone(), candidate.inputs.clone())).collect()
    };
    a.unit_id == b.unit_id
        && a.ride_id == b.ride_id
        && a.requested_at == b.requested_at
        && a.inputs == b.inputs
        && candidates(a) == candidates(b)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use cloud::{memory::MemoryStore, object_store::ETag};

    use super::*;
    use crate::samples::record;

    enum Fault {
        /// Before anything was written.
        Unavailable,
        /// After it was written: the answer is lost.
        AnswerLost,
        Hangs,
        Refused,
    }

    /// A store whose first puts go wrong.
    struct Faulty {
        store: MemoryStore,
        faults: Vec<Fault>,
        puts: AtomicU32,
    }

    #[async_trait]
    impl GetObject for Faulty {
        async fn get_object(&self, key: &str, if_none_match: Option<&ETag>) -> Result<GetOutcome, StoreError> {
            self.store.get_object(key, if_none_match).await
        }
    }

    #[async_trait]
    impl PutObject for Faulty {
        async fn put_object(&self, key: &str, bytes: Bytes, condition: PutCondition) -> Result<PutOutcome, StoreError> {
            let index = self.puts.fetch_add(1, Ordering::Relaxed) as usize;
            let (key_of_error, detail) = (key.to_owned(), "as told".to_owned());
            match self.faults.get(index) {
                None => return self.store.put_object(key, bytes, condition).await,
                Some(Fault::Unavailable) => {}
                Some(Fault::AnswerLost) => _ = self.store.put_object(key, bytes, condition).await?,
                Some(Fault::Hangs) => std::future::pending().await,
                Some(Fault::Refused) => {
                    return Err(StoreError::Refused { verb: "put", key: key_of_error, detail });
                }
            }
            Err(StoreError::Unavailable { verb: "put", key: key_of_error, detail })
        }
    }

    /// Puts a record, within 200 ms: whether it was lost, and how many puts there were.
    async fn archived(faults: Vec<Fault>, caller_id: bool) -> (bool, u32) {
        let store = Faulty { store: MemoryStore::new(), faults, puts: AtomicU32::new(0) };
        let began = Instant::now();
        let time = Duration::from_millis(200);
        let Archived { record: kept, lost } = archive(&store, record(), caller_id, time).await.unwrap();
        assert!(began.elapsed() < time + Duration::from_millis(50), "{:?}", began.elapsed());
        assert_eq!(kept, record());
        let landed = store.store.contents();
        assert_eq!(landed.len(), usize::from(lost.is_none()));
        (lost.is_some(), store.puts.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn what_may_pass_is_tried_again_and_is_one_record() {
        for caller_id in [false, true] {
            assert_eq!(archived(vec![], caller_id).await, (false, 1));
            assert_eq!(archived(vec![Fault::Unavailable, Fault::Unavailable], caller_id).await, (false, 3));
            assert_eq!(archived(vec![Fault::AnswerLost], caller_id).await, (false, 2));
            assert_eq!(archived(vec![Fault::Hangs], caller_id).await, (false, 2));
        }
    }

    #[tokio::test]
    async fn what_stays_wrong_is_told_within_the_time() {
        assert_eq!(archived(vec![Fault::Refused], false).await, (true, 1));
        let always = |fault: fn() -> Fault| (0..1000).map(|_| fault()).collect::<Vec<_>>();
        let (is_lost, puts) = archived(always(|| Fault::Unavailable), true).await;
        assert!(is_lost && puts > 2, "{puts}");
        assert!(archived(always(|| Fault::Hangs), true).await.0);
    }
}
