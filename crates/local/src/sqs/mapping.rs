//! Event source mapping: batches of a queue's messages to a function.
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>

use std::{collections::HashSet, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::queue::{Message, Queue};
use crate::{
    lambda::{Extras, Function, Outcome},
    template::QueueMappingSpec,
};

/// One mapping and how failures are handled here.
pub(crate) struct Mapping {
    pub(crate) spec: QueueMappingSpec,
    pub(crate) queue: Arc<Queue>,
    pub(crate) function: Arc<Function>,
    pub(crate) region: String,
    /// When failed messages become visible; `None`: when the visibility timeout has passed.
    pub(crate) retry_delay: Option<Duration>,
}

/// A batch is closed before its event outgrows Lambda's 6 MB.
const LARGEST_BATCH: usize = 5 * 1024 * 1024;
/// What an event says of a message besides its body, about.
const ENVELOPE: usize = 700;

/// Polls until it is aborted.
pub(crate) async fn run(mapping: Mapping) {
    let most = mapping.spec.max_concurrency.unwrap_or(usize::MAX).min(mapping.function.cap()).max(1);
    let permits = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
    let mapping = Arc::new(mapping);
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        mapping.queue.wait().await;
        let batch = gather(&mapping).await;
        if batch.is_empty() {
            continue;
        }
        let mapping = mapping.clone();
        tokio::spawn(async move {
            process(&mapping, batch).await;
            drop(permit);
        });
    }
}

/// Takes messages until the batch is full, or the window has passed since the first.
async fn gather(mapping: &Mapping) -> Vec<Message> {
    let mut batch: Vec<Message> = Vec::new();
    let mut bytes = 0;
    let mut closes = None;
    loop {
        while batch.len() < mapping.spec.batch_size && bytes < LARGEST_BATCH {
            let Some(message) = mapping.queue.receive(1, None).pop() else { break };
            bytes += message.body.len() + message.body.matches(['"', '\\', '\n']).count() + ENVELOPE;
            batch.push(message);
        }
        let closes = *closes.get_or_insert_with(|| Instant::now() + mapping.spec.window);
        let full = batch.len() >= mapping.spec.batch_size || bytes >= LARGEST_BATCH;
        if full || timeout_at(closes, mapping.queue.wait()).await.is_err() {
            return batch;
        }
    }
}

async fn process(mapping: &Mapping, batch: Vec<Message>) {
    let event = event(mapping, &batch).to_string();
    let outcome = mapping.function.invoke(event.into(), Extras::default()).await;
    let failed = match outcome {
        Outcome::Answer(answer) if mapping.spec.partial_failures => match failed_items(&answer, &batch) {
            Ok(failed) => failed,
            Err(problem) => {
                tracing::warn!(function = mapping.spec.function, problem, "the whole batch counts as failed");
                batch.iter().map(|message| message.id.clone()).collect()
            }
        },
        Outcome::Answer(_) => HashSet::new(),
        Outcome::Failure { .. } | Outcome::Throttled => batch.iter().map(|message| message.id.clone()).collect(),
    };
    for message in batch {
        if !failed.contains(&message.id) {
            mapping.queue.delete(&message.receipt);
        } else if let Some(delay) = mapping.retry_delay {
            mapping.queue.change_visibility(&message.receipt, delay);
        }
    }
}

/// Which messages failed. What Lambda cannot understand fails the whole batch: an answer that is no JSON, an identifier
/// that is empty, missing or unknown. No list at all is full success.
fn failed_items(answer: &[u8], batch: &[Message]) -> Result<HashSet<String>, &'static str> {
    if answer.is_empty() {
        return Ok(HashSet::new());
    }
    let answer: Value = serde_json::from_slice(answer).map_err(|_| "the answer is not JSON")?;
    let failures = match answer.get("batchItemFailures") {
        None | Some(Value::Null) => return Ok(HashSet::new()),
        Some(Value::Array(failures)) => failures,
        Some(_) => return Err("batchItemFailures is no list"),
    };
    let mut failed = HashSet::new();
    for failure in failures {
        match failure.get("itemIdentifier").and_then(Value::as_str) {
            Some(id) if batch.iter().any(|message| message.id == id) => failed.insert(id.to_owned()),
            Some("") => return Err("an itemIdentifier is empty"),
            Some(_) => return Err("an itemIdentifier names no message of the batch"),
            None => return Err("an itemIdentifier is missing"),
        };
    }
    Ok(failed)
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>
fn event(mapping: &Mapping, batch: &[Message]) -> Value {
    let records = batch.iter().map(|message| {
        json!({
            "messageId": message.id,
            "receiptHandle": message.receipt,
            "body": &*message.body,
            "attributes": {
                "ApproximateReceiveCount": message.receive_count.to_string(),
                "SentTimestamp": message.sent_ms.to_string(),
                "SenderId": "AIDALOCAL00000000000",
                "ApproximateFirstReceiveTimestamp": message.first_received_ms.to_string(),
            },
            "messageAttributes": {},
            "md5OfBody": message.md5,
            "eventSource": "aws:sqs",
            "eventSourceARN": mapping.queue.arn,
            "awsRegion": mapping.region,
        })
    });
    json!({ "Records": records.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_lambda_reads_them() {
        let message = |id: &str| Message {
            id: id.to_owned(),
            body: "".into(),
            md5: String::new(),
            sent_ms: 0,
            first_received_ms: 0,
            receive_count: 1,
            receipt: String::new(),
        };
        let batch = [message("a"), message("b")];
        let failed = |answer: &str| failed_items(answer.as_bytes(), &batch).map(|failed| failed.len());
        for success in ["", "null", "{}", r#"{"batchItemFailures":null}"#, r#"{"batchItemFailures":[]}"#] {
            assert_eq!(failed(success), Ok(0), "{success}");
        }
        assert_eq!(failed(r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#), Ok(1));
        for bad in [
            "nonsense",
            r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":"c"}]}"#,
            r#"{"batchItemFailures":[{}]}"#,
            r#"{"batchItemFailures":{}}"#,
        ] {
            assert!(failed(bad).is_err(), "{bad}");
        }
    }
}
