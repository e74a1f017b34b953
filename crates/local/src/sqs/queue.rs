//! A standard queue: visibility timeout, receive count, redrive.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::{hash::md5_hex, template::QueueSpec};

/// A message as its receivers see it.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) body: Arc<str>,
    pub(crate) md5: String,
    pub(crate) sent_ms: i64,
    pub(crate) first_received_ms: i64,
    pub(crate) receive_count: u32,
    /// Good for one receive.
    pub(crate) receipt: String,
}

#[derive(Debug, Default)]
struct State {
    visible: VecDeque<Message>,
    delayed: Vec<(Instant, Message)>,
    /// By receipt.
    in_flight: BTreeMap<String, (Instant, Message)>,
    /// Nothing that is delayed or in flight becomes visible before this: until then nobody need look through them.
    next_due: Option<Instant>,
}

impl State {
    fn due_at(&mut self, until: Instant) {
        self.next_due = Some(self.next_due.map_or(until, |next| next.min(until)));
    }

    /// All that has been hidden long enough, delayed ones first.
    fn take_due(&mut self, now: Instant) -> Vec<Message> {
        if self.next_due.is_none_or(|next| next > now) {
            return Vec::new();
        }
        let mut due = Vec::new();
        let delayed = std::mem::take(&mut self.delayed);
        let (expired, delayed): (Vec<_>, Vec<_>) = delayed.into_iter().partition(|(until, _)| *until <= now);
        self.delayed = delayed;
        due.extend(expired.into_iter().map(|(_, message)| message));
        let expired = self.in_flight.extract_if(.., |_, (until, _)| *until <= now);
        due.extend(expired.map(|(_, (_, message))| message));
        let hidden = self.in_flight.values().map(|(until, _)| *until);
        self.next_due = hidden.chain(self.delayed.iter().map(|(until, _)| *until)).min();
        due
    }
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) spec: QueueSpec,
    pub(crate) arn: String,
    dead_letters: Option<(Arc<Queue>, u32)>,
    state: Mutex<State>,
    arrived: Notify,
}

/// How much there is in a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Depth {
    pub(crate) visible: usize,
    pub(crate) in_flight: usize,
    pub(crate) delayed: usize,
}

/// All queues, by name.
#[derive(Debug, Default)]
pub(crate) struct Queues(pub(crate) BTreeMap<String, Arc<Queue>>);

impl Queues {
    pub(crate) fn new(specs: &[QueueSpec], region: &str, account_id: &str) -> Self {
        let mut queues = Self::default();
        for spec in specs {
            queues.add(spec, specs, region, account_id, 0);
        }
        queues
    }

    /// Dead-letter queues first. Two queues that are each other's would never end.
    fn add(
        &mut self,
        spec: &QueueSpec,
        specs: &[QueueSpec],
        region: &str,
        account_id: &str,
        depth: usize,
    ) -> Option<Arc<Queue>> {
        if let Some(queue) = self.0.get(&spec.name) {
            return Some(queue.clone());
        }
        if depth > specs.len() {
            return None;
        }
        let dead_letters = spec.redrive.as_ref().and_then(|(name, most)| {
            let target = specs.iter().find(|spec| &spec.name == name)?;
            Some((self.add(target, specs, region, account_id, depth + 1)?, *most))
        });
        let queue = Arc::new(Queue {
            arn: format!("arn:aws:sqs:{region}:{account_id}:{}", spec.name),
            spec: spec.clone(),
            dead_letters,
            state: Mutex::default(),
            arrived: Notify::new(),
        });
        self.0.insert(spec.name.clone(), queue.clone());
        Some(queue)
    }
}

impl Queue {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a message in; gives its id.
    pub(crate) fn send(&self, body: impl Into<Arc<str>>, delay: Option<Duration>) -> String {
        let body = body.into();
        let message = Message {
            id: uuid::Uuid::now_v7().to_string(),
            md5: md5_hex(body.as_bytes()),
            body,
            sent_ms: now_ms(),
            first_received_ms: 0,
            receive_count: 0,
            receipt: String::new(),
        };
        let id = message.id.clone();
        self.put(message, delay.unwrap_or(self.spec.delay));
        id
    }

    fn put(&self, message: Message, delay: Duration) {
        self.with(|state| {
            if delay.is_zero() {
                state.visible.push_back(message);
            } else {
                let until = Instant::now() + delay;
                state.delayed.push((until, message));
                state.due_at(until);
            }
        });
        self.arrived.notify_waiters();
        self.arrived.notify_one();
    }

    /// Up to `most` messages, hidden from others for the visibility timeout.
    pub(crate) fn receive(&self, most: usize, visibility: Option<Duration>) -> Vec<Message> {
        self.wake_up();
        let until = Instant::now() + visibility.unwrap_or(self.spec.visibility_timeout);
        self.with(|state| {
            let count = most.min(state.visible.len());
            let mut received = Vec::with_capacity(count);
            for mut message in state.visible.drain(..count) {
                message.receive_count += 1;
                message.receipt = uuid::Uuid::now_v7().to_string();
                if message.first_received_ms == 0 {
                    message.first_received_ms = now_ms();
                }
                received.push(message);
            }
            for message in &received {
                state.in_flight.insert(message.receipt.clone(), (until, message.clone()));
                state.due_at(until);
            }
            received
        })
    }

    /// Makes visible what has been hidden long enough, or moves it to the dead letters.
    fn wake_up(&self) {
        let now = Instant::now();
        let dead = self.with(|state| {
            let mut dead = Vec::new();
            for message in state.take_due(now) {
                match &self.dead_letters {
                    Some((queue, most)) if message.receive_count >= *most => dead.push((queue.clone(), message)),
                    _ => state.visible.push_back(message),
                }
            }
            dead
        });
        for (queue, message) in dead {
            queue.put(message, Duration::ZERO);
        }
    }

    /// Removes a received message for good; false if the receipt is not good any more.
    pub(crate) fn delete(&self, receipt: &str) -> bool {
        self.with(|state| state.in_flight.remove(receipt)).is_some()
    }

    /// Hides a received message for `visibility` from now.
    pub(crate) fn change_visibility(&self, receipt: &str, visibility: Duration) -> bool {
        let hidden_until = Instant::now() + visibility;
        let known = self.with(|state| {
            let known = state.in_flight.get_mut(receipt).map(|(until, _)| *until = hidden_until).is_some();
            if known {
                state.due_at(hidden_until);
            }
            known
        });
        if known {
            if visibility.is_zero() {
                self.wake_up();
            }
            self.arrived.notify_one();
        }
        known
    }

    /// Waits until there may be something to receive.
    pub(crate) async fn wait(&self) {
        loop {
            let arrived = self.arrived.notified();
            self.wake_up();
            let (ready, due) = self.with(|state| (!state.visible.is_empty(), state.next_due));
            if ready {
                return;
            }
            match due {
                Some(due) => tokio::select! {
                    () = arrived => {}
                    () = sleep_until(due) => {}
                },
                None => arrived.await,
            }
        }
    }

    pub(crate) fn depth(&self) -> Depth {
        self.with(|state| Depth {
            visible: state.visible.len(),
            in_flight: state.in_flight.len(),
            delayed: state.delayed.len(),
        })
    }

    /// Takes all messages out.
    pub(crate) fn purge(&self) {
        self.with(|state| *state = State::default());
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, redrive: Option<(&str, u32)>) -> QueueSpec {
        QueueSpec {
            logical_id: name.to_owned(),
            name: name.to_owned(),
            visibility_timeout: Duration::from_millis(50),
            redrive: redrive.map(|(name, most)| (name.to_owned(), most)),
            delay: Duration::ZERO,
        }
    }

    #[tokio::test]
    async fn a_message_comes_back_and_ends_as_a_dead_letter() {
        let queues = Queues::new(&[spec("q", Some(("dead", 2))), spec("dead", None)], "us-east-1", "000000000000");
        let (queue, dead) = (&queues.0["q"], &queues.0["dead"]);
        queue.send("one", None);
        let first = queue.receive(10, None);
        assert_eq!((first.len(), first[0].receive_count), (1, 1));
        assert!(queue.receive(10, None).is_empty());
        tokio::time::timeout(Duration::from_secs(5), queue.wait()).await.unwrap();
        let second = queue.receive(10, None);
        assert_eq!((second[0].receive_count, &second[0].id), (2, &first[0].id));
        assert!(!queue.delete(&first[0].receipt), "an old receipt is void");
        assert_eq!(dead.depth(), Depth::default());
        assert!(queue.change_visibility(&second[0].receipt, Duration::ZERO));
        assert_eq!(queue.depth(), Depth::default());
        assert_eq!(dead.depth().visible, 1);
    }

    #[tokio::test]
    async fn a_deleted_message_stays_away() {
        let queues = Queues::new(&[spec("q", None)], "us-east-1", "000000000000");
        let queue = &queues.0["q"];
        queue.send("one", Some(Duration::from_millis(30)));
        assert!(queue.receive(1, None).is_empty());
        queue.wait().await;
        let message = queue.receive(1, None).remove(0);
        assert!(queue.delete(&message.receipt));
        tokio::time::sleep(Duration::from_millis(80)).await;
        assert!(queue.receive(1, None).is_empty());
    }

    #[tokio::test]
    async fn what_is_due_later_comes_though_an_earlier_one_is_gone() {
        let queues = Queues::new(&[spec("q", None)], "us-east-1", "000000000000");
        let queue = &queues.0["q"];
        queue.send("soon", Some(Duration::from_millis(20)));
        queue.send("later", Some(Duration::from_millis(60)));
        let mut got = Vec::new();
        while got.len() < 2 {
            tokio::time::timeout(Duration::from_secs(5), queue.wait()).await.unwrap();
            for message in queue.receive(1, None) {
                assert!(queue.delete(&message.receipt));
                got.push(message.body.to_string());
            }
        }
        assert_eq!(got, ["soon", "later"]);
        assert_eq!(queue.depth(), Depth::default());
    }
}
