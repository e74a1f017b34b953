//! A standard queue of SQS: at least once, in no order, with a visibility timeout and a dead-letter queue.

use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::faults::{Fault, Faults};

/// As in `infra/template.yaml`.
const VISIBILITY_MS: i64 = 360_000;
/// As in `infra/template.yaml`.
const MAX_RECEIVES: u32 = 5;

/// A message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) body: String,
    number: u64,
    visible_at_ms: i64,
    receives: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    messages: Vec<Message>,
    dead: Vec<Message>,
    next: u64,
    /// The youngest message that was received so far.
    youngest: u64,
}

impl Queue {
    pub(crate) fn send(&mut self, body: String, now_ms: i64) {
        self.next += 1;
        let number = self.next;
        let id = format!("message-{number:04}");
        self.messages.push(Message { id, body, number, visible_at_ms: now_ms, receives: 0 });
    }

    pub(crate) fn has_visible(&self, now_ms: i64) -> bool {
        self.messages.iter().any(|message| message.visible_at_ms <= now_ms)
    }

    /// When the next message comes into sight.
    pub(crate) fn next_visible_ms(&self) -> Option<i64> {
        self.messages.iter().map(|message| message.visible_at_ms).min()
    }

    /// What an operator does once the cause is mended: all dead letters go back.
    pub(crate) fn redrive(&mut self, now_ms: i64) -> usize {
        let dead = std::mem::take(&mut self.dead);
        let count = dead.len();
        self.messages.extend(dead.into_iter().map(|message| Message { visible_at_ms: now_ms, receives: 0, ..message }));
        count
    }

    /// Up to `most` visible messages, in any order.
    pub(crate) fn receive(
        &mut self,
        most: usize,
        now_ms: i64,
        order: Option<&mut ChaCha8Rng>,
        faults: &mut Faults,
    ) -> Vec<Message> {
        let (over, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.messages)
            .into_iter()
            .partition(|message| message.visible_at_ms <= now_ms && message.receives >= MAX_RECEIVES);
        faults.count_many(Fault::DeadLettered, over.len() as u64);
        self.dead.extend(over);
        self.messages = kept;
        let mut visible: Vec<usize> =
            (0..self.messages.len()).filter(|&index| self.messages[index].visible_at_ms <= now_ms).collect();
        if let Some(order) = order {
            visible.shuffle(order);
            visible.truncate(order.random_range(1..=most));
        }
        let mut received = Vec::new();
        for index in visible.into_iter().take(most) {
            let message = &mut self.messages[index];
            message.receives += 1;
            // Where it strikes, another receiver gets the message while this one works on it.
            let stays = faults.strikes(Fault::DeliveredTwice);
            message.visible_at_ms = if stays { now_ms } else { now_ms + VISIBILITY_MS };
            if message.number < self.youngest {
                faults.count(Fault::Reordered);
            }
            self.youngest = self.youngest.max(message.number);
            received.push(message.clone());
        }
        received
    }

    pub(crate) fn delete(&mut self, ids: &[String], now_ms: i64, faults: &mut Faults) {
        for id in ids {
            let Some(index) = self.messages.iter().position(|message| message.id == *id) else { continue };
            if faults.strikes(Fault::DeliveredAfterDelete) {
                self.messages[index].visible_at_ms = now_ms + 30_000;
            } else {
                self.messages.remove(index);
            }
        }
    }
}

/// The event that Lambda gets for a batch.
pub(crate) fn sqs_event(messages: &[Message]) -> Value {
    let records: Vec<Value> = messages
        .iter()
        .map(|message| {
            json!({"messageId": message.id, "receiptHandle": message.id, "body": message.body, "eventSource": "aws:sqs"})
        })
        .collect();
    json!({"Records": records})
}

/// Which messages of a batch are done, as Lambda reads `ReportBatchItemFailures`: none where an identifier is empty or
/// of no message.
pub(crate) fn acknowledged(messages: &[Message], answer: &Value) -> Vec<String> {
    let Some(failures) = answer["batchItemFailures"].as_array() else {
        return messages.iter().map(|message| message.id.clone()).collect();
    };
    let failed: Vec<&str> = failures.iter().map(|item| item["itemIdentifier"].as_str().unwrap_or_default()).collect();
    if failed.iter().any(|id| !messages.iter().any(|message| message.id == *id)) {
        return Vec::new();
    }
    messages.iter().map(|message| message.id.clone()).filter(|id| !failed.contains(&id.as_str())).collect()
}
