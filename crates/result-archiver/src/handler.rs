use std::time::Instant;

use archive::BadLine;
use cloud::object_store::{ListedObject, ObjectStore};
use domain::digest::sha256_hex;
use serde_json::{Value, json};
use tracing::{error, info};

use crate::{
    ArchiveSummary, ArchiverError, BatchOutcome, CompactionSummary, Config, LandingObject, S3Key, Trigger,
    archive_batch,
    archive_batch::quarantine,
    compact,
    event::{Delivery, Message, parse_event},
};

/// Landing objects of one sweep that are archived together.
const SWEEP_BATCH: usize = 500;

/// Handles one event, and answers with a summary, or (for SQS) with the messages that failed.
///
/// # Errors
/// The event is unknown, or a part of what it asks for failed: Lambda then repeats it. Messages of SQS never fail as a
/// whole.
pub async fn handle<S: ObjectStore + ?Sized>(
    store: &S,
    config: &Config,
    event: &Value,
    stop_at: Option<Instant>,
) -> Result<Value, ArchiverError> {
    let result = match parse_event(event, &config.lake_bucket) {
        Ok(Trigger::Landed(deliveries)) => landed(store, config, deliveries).await,
        Ok(Trigger::Messages(messages)) => from_queue(store, config, messages).await,
        Ok(Trigger::Compact) => compaction(store, stop_at).await,
        Ok(Trigger::Sweep { prefix }) => sweep(store, config, &prefix, stop_at).await,
        Err(error) => Err(error),
    };
    if let Err(error) = &result {
        error!(reason = error.reason(), detail = %error, "event failed");
    }
    result
}

async fn landed<S: ObjectStore + ?Sized>(
    store: &S,
    config: &Config,
    deliveries: Vec<Delivery>,
) -> Result<Value, ArchiverError> {
    let (objects, foreign): (Vec<_>, Vec<_>) = deliveries.into_iter().partition(Result::is_ok);
    let outcome = archive(store, config, objects.into_iter().flatten()).await;
    if let Some(Err(error)) = foreign.into_iter().next() {
        return Err(error);
    }
    answer(&outcome)
}

/// Each message by itself. One that can never succeed (not JSON, not an S3 event, another bucket or prefix) is
/// quarantined and acknowledged: it names nothing that another try could archive. One whose object failed is handed
/// back to the queue, and after the queue's last try to the dead-letter queue.
async fn from_queue<S: ObjectStore + ?Sized>(
    store: &S,
    config: &Config,
    messages: Vec<Message>,
) -> Result<Value, ArchiverError> {
    let objects = messages.iter().flat_map(|message| message.deliveries.iter().flatten().cloned());
    let outcome = archive(store, config, objects).await;
    let mut failed = Vec::new();
    for message in messages {
        let mut objects = message.deliveries.iter().flatten();
        let mut failure = objects.find_map(|object| outcome.failures.get(&object.key)).cloned();
        if let Some(error) = message.deliveries.iter().find_map(|delivery| delivery.as_ref().err()) {
            error!(message_id = message.id, reason = error.reason(), detail = %error, "message quarantined");
            if let Err(error) = quarantine_message(store, &message.body, error).await {
                failure.get_or_insert_with(|| (&error).into());
            }
        }
        if let Some(failure) = failure {
            // An empty identifier would make SQS repeat the whole batch without saying why.
            if message.id.is_empty() {
                let count = outcome.failures.len().max(1);
                let (reason, detail) = (failure.reason, failure.detail);
                return Err(ArchiverError::Partial { count, first: "message without id".to_owned(), reason, detail });
            }
            failed.push(json!({"itemIdentifier": message.id}));
        }
    }
    Ok(json!({"batchItemFailures": failed}))
}

async fn quarantine_message<S: ObjectStore + ?Sized>(
    store: &S,
    body: &str,
    error: &ArchiverError,
) -> Result<(), ArchiverError> {
    let original = body.as_bytes().to_vec();
    let line = BadLine { offset: 0, reason: error.reason(), detail: error.to_string(), original };
    quarantine(store, &format!("messages/{}", sha256_hex(body.as_bytes())), &[line]).await
}

async fn compaction<S: ObjectStore + ?Sized>(store: &S, stop_at: Option<Instant>) -> Result<Value, ArchiverError> {
    let outcome = compact(store, stop_at).await?;
    let CompactionSummary { partitions, segments, records, added, duplicates, rewritten, conflicts, postponed, failed } =
        outcome.summary;
    info!(partitions, segments, records, added, duplicates, rewritten, conflicts, postponed, failed, "compacted");
    ArchiverError::of_failures(outcome.failures.iter().map(|(key, failure)| (key.as_str(), failure)))?;
    Ok(json!({"compacted": outcome.summary}))
}

async fn sweep<S: ObjectStore + ?Sized>(
    store: &S,
    config: &Config,
    prefix: &str,
    stop_at: Option<Instant>,
) -> Result<Value, ArchiverError> {
    let listed = store.list_objects(prefix).await?;
    let sized = |ListedObject { key, size_bytes, .. }| LandingObject {
        key: S3Key::from_plain(key),
        size_bytes: Some(size_bytes),
    };
    let objects: Vec<LandingObject> = listed.into_iter().map(sized).collect();
    let mut total = BatchOutcome::default();
    let mut postponed = objects.len();
    for batch in objects.chunks(SWEEP_BATCH) {
        if stop_at.is_some_and(|stop_at| Instant::now() >= stop_at) {
            break;
        }
        postponed -= batch.len();
        let BatchOutcome { summary, failures } = archive(store, config, batch.iter().cloned()).await;
        total.summary.add(summary);
        total.failures.extend(failures);
    }
    let mut answer = answer(&total)?;
    answer["postponed"] = postponed.into();
    Ok(answer)
}

async fn archive<S: ObjectStore + ?Sized>(
    store: &S,
    config: &Config,
    objects: impl Iterator<Item = LandingObject>,
) -> BatchOutcome {
    let outcome = archive_batch(store, objects, config.decode_limits()).await;
    let ArchiveSummary { objects, missing, records, duplicates, quarantined, segments, moved, kept, failed } =
        outcome.summary;
    info!(objects, missing, records, duplicates, quarantined, segments, moved, kept, failed, "archived");
    outcome
}

fn answer(outcome: &BatchOutcome) -> Result<Value, ArchiverError> {
    ArchiverError::of_failures(outcome.failures.iter().map(|(key, failure)| (key.as_str(), failure)))?;
    Ok(json!({"archived": outcome.summary}))
}

impl ArchiveSummary {
    fn add(&mut self, other: Self) {
        self.objects += other.objects;
        self.missing += other.missing;
        self.records += other.records;
        self.duplicates += other.duplicates;
        self.quarantined += other.quarantined;
        self.segments += other.segments;
        self.moved += other.moved;
        self.kept += other.kept;
        self.failed += other.failed;
    }
}
