//! One history: who runs when, which call happens next, what goes wrong.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::Bytes;
use cloud::{
    http::{HttpEvent, RequestContext, RequestLine},
    memory::MemoryStore,
    object_store::{PutCondition, PutObject, PutOutcome},
};
use domain::{OutcomeEvent, lake};
use evaluator::{EvaluationSummary, EvaluatorEvent, evaluate};
use outcome_intake::answer;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use result_archiver::handle;
use serde_json::{Value, json};

use crate::{
    Error,
    faults::{Counts, Fault, Faults},
    mutants::{Memory, Mutant, MutantStore, Role},
    network::{Answer, Connection, Network, Request, Waiting},
    queue::{Message, Queue, acknowledged, sqs_event},
    workload::{Landing, Outcomes, Workload, hours, moment},
};

const BUCKET: &str = "lake";
const MINUTE_MS: i64 = 60_000;
/// Receivers of the queue at once.
const ARCHIVERS: usize = 3;
/// Messages of one batch.
const BATCH: usize = 6;
/// The most virtual time between two batches.
const BATCHING_WINDOW_MS: i64 = 5 * MINUTE_MS;
/// No history needs that many calls.
const MAX_STEPS: usize = 50_000;
/// When the last evaluation is made, in virtual time.
const END_MS: i64 = 48 * 60 * MINUTE_MS;

/// How a history goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing goes wrong; calls happen in the order in which they were sent; all is compacted once, at the end.
    FaultFree,
    /// Everything goes wrong, by the seed.
    Faulty,
    /// One process dies, nothing else goes wrong.
    OneCrash(Crash),
}

/// A process's death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crash {
    /// The process: the how many-th that was started.
    pub process: u64,
    /// It is polled that often, then dropped.
    pub polls: u32,
    /// What becomes of the calls that it has in flight.
    pub calls: CallsInFlight,
}

/// What becomes of a dead process's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallsInFlight {
    /// They never reach the store.
    Lost,
    /// They are carried out at once.
    Done,
    /// They reach the store after others have gone on.
    Late,
}

/// A history's end.
#[derive(Debug)]
pub struct End {
    /// All objects of the lake.
    pub contents: Vec<(String, Bytes)>,
    /// What the last evaluation says.
    pub evaluation: EvaluationSummary,
    /// What went wrong.
    pub counts: Counts,
    /// How often each process was polled.
    pub polls: Vec<u32>,
}

#[derive(Debug, Clone)]
enum Work {
    Land(Landing),
    Report(Outcomes),
    Archive(Vec<Message>),
    Compact,
    Sweep,
    Evaluate,
    /// Of an object by its key and length.
    Notify(String, usize),
}

enum Done {
    /// A client's request, and whether it was told that its data is durable.
    Client(bool),
    Batch(Option<Value>),
    Scheduled,
    Evaluated(Option<Box<EvaluationSummary>>),
}

struct Process {
    number: u64,
    work: Work,
    future: Pin<Box<dyn Future<Output = Done>>>,
    polls: u32,
    dies_after: Option<(u32, Option<CallsInFlight>)>,
}

pub(crate) struct History {
    mode: Mode,
    mutant: Option<Mutant>,
    workload: Workload,
    lake: MemoryStore,
    network: Network,
    queue: Queue,
    /// What is to happen, by virtual time.
    agenda: BTreeMap<(i64, u64), Work>,
    running: Vec<Process>,
    /// Calls of the dead, and when they arrive.
    late: BTreeMap<u64, i64>,
    now_ms: i64,
    next_batch_ms: i64,
    next: u64,
    polls: Vec<u32>,
    faults: Faults,
    order: ChaCha8Rng,
    memory: Arc<Mutex<Memory>>,
    evaluation: Option<EvaluationSummary>,
    /// All is quiet: the last compaction and evaluation.
    finishing: bool,
}

fn stream(seed: u64, number: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(number);
    random
}

/// The key as an S3 notification writes it.
fn form_encoded(key: &str) -> String {
    const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');
    utf8_percent_encode(key, ENCODED).to_string().replace("%20", "+")
}

fn notification(key: &str, bytes: usize) -> String {
    json!({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": BUCKET}, "object": {"key": form_encoded(key), "size": bytes}}}]})
    .to_string()
}

impl History {
    pub(crate) fn new(seed: u64, mode: Mode, small: bool, mutant: Option<Mutant>) -> Result<Self, Error> {
        let workload = Workload::new(stream(seed, 0), small)?;
        let mut faults = match mode {
            Mode::Faulty => Faults::new(stream(seed, 1)),
            Mode::FaultFree | Mode::OneCrash(_) => Faults::none(stream(seed, 1)),
        };
        if mode == Mode::Faulty {
            faults.count_many(Fault::ClockSkew, workload.skewed);
        }
        let mut history = Self {
            mode,
            mutant,
            workload,
            lake: MemoryStore::new(),
            network: Network::default(),
            queue: Queue::default(),
            agenda: BTreeMap::new(),
            running: Vec::new(),
            late: BTreeMap::new(),
            now_ms: 0,
            next_batch_ms: 0,
            next: 0,
            polls: Vec::new(),
            faults,
            order: stream(seed, 2),
            memory: Arc::default(),
            evaluation: None,
            finishing: false,
        };
        history.fill_agenda(small);
        Ok(history)
    }

    fn fill_agenda(&mut self, small: bool) {
        for landing in self.workload.landings.clone() {
            self.plan(landing.at_ms, Work::Land(landing));
        }
        for outcomes in self.workload.outcomes.clone() {
            self.plan(outcomes.at_ms, Work::Report(outcomes));
        }
        self.queue.send("{\"Service\": \"Amazon S3\", \"Event\": \"s3:TestEvent\"}".to_owned(), 0);
        if self.mode == Mode::FaultFree {
            return;
        }
        let ends_ms = self.workload.ends_ms + 5 * MINUTE_MS;
        let (compactions, evaluations) = if small { (2, 1) } else { (self.order.random_range(2..=5), 2) };
        for _ in 0..compactions {
            let at_ms = self.order.random_range(0..ends_ms);
            self.plan(at_ms, Work::Compact);
            // Two at once: the schedule and a person.
            if self.order.random_bool(0.4) {
                self.plan(at_ms, Work::Compact);
                self.faults.count(Fault::Overlap);
            }
        }
        for _ in 0..evaluations {
            let at_ms = self.order.random_range(0..ends_ms);
            self.plan(at_ms, Work::Evaluate);
        }
        if self.order.random_bool(0.2) {
            let at_ms = self.order.random_range(0..ends_ms);
            self.plan(at_ms, Work::Sweep);
        }
    }

    fn plan(&mut self, at_ms: i64, work: Work) {
        self.next += 1;
        self.agenda.insert((at_ms, self.next), work);
    }

    /// Runs it to its end: faults until the workload is over, then without, until the queue and all clients are done;
    /// then one compaction, and the evaluation.
    pub(crate) fn run(mut self) -> Result<End, Error> {
        let faults_end_ms = self.workload.ends_ms + 10 * MINUTE_MS;
        for _ in 0..MAX_STEPS {
            if !self.faults.are_over() && self.now_ms > faults_end_ms {
                self.faults.stop();
            }
            self.start_what_is_due();
            if self.carry_out_a_call()? {
                continue;
            }
            if let Some(stuck) = self.running.first() {
                return Err(Error::new(format!("{:?} waits for nothing", stuck.work)));
            }
            let next_entry_ms = self.agenda.keys().next().map(|key| key.0);
            let queue_waits = self.mode == Mode::FaultFree && next_entry_ms.is_some();
            let visible_ms = self.queue.next_visible_ms().filter(|_| !queue_waits);
            let next = [next_entry_ms, visible_ms.map(|visible_ms| visible_ms.max(self.next_batch_ms))];
            if let Some(next_ms) = next.into_iter().flatten().chain(self.late.values().copied()).min() {
                self.now_ms = self.now_ms.max(next_ms);
                continue;
            }
            if self.queue.redrive(self.now_ms) > 0 {
                continue;
            }
            self.faults.stop();
            return self.finish();
        }
        Err(Error::new(format!("no end after {MAX_STEPS} steps")))
    }

    fn finish(mut self) -> Result<End, Error> {
        (self.finishing, self.evaluation) = (true, None);
        // Again where the one crash of a sweep hits the last steps themselves.
        for last in [Work::Compact, Work::Compact, Work::Evaluate, Work::Evaluate] {
            self.start(last);
            while self.carry_out_a_call()? || !self.late.is_empty() {
                self.now_ms = self.late.values().copied().max().unwrap_or_default().max(self.now_ms);
            }
        }
        let evaluation = self.evaluation.take().ok_or_else(|| Error::new("the last evaluation failed"))?;
        Ok(End { contents: self.lake.contents(), evaluation, counts: self.faults.counts, polls: self.polls })
    }

    fn start_what_is_due(&mut self) {
        while let Some(entry) = self.agenda.first_entry() {
            if entry.key().0 > self.now_ms {
                break;
            }
            match entry.remove() {
                Work::Notify(key, bytes) => self.queue.send(notification(&key, bytes), self.now_ms),
                work => self.start(work),
            }
        }
        let archivers = self.running.iter().filter(|process| matches!(process.work, Work::Archive(_))).count();
        if archivers >= ARCHIVERS || !self.queue.has_visible(self.now_ms) || self.now_ms < self.next_batch_ms {
            return;
        }
        let messages = if self.mode == Mode::FaultFree {
            // All at once, when all has landed.
            if !self.agenda.is_empty() || !self.running.is_empty() {
                return;
            }
            self.queue.receive(usize::MAX, self.now_ms, None, &mut self.faults)
        } else {
            self.next_batch_ms = self.now_ms + self.order.random_range(0..BATCHING_WINDOW_MS);
            self.queue.receive(BATCH, self.now_ms, Some(&mut self.order), &mut self.faults)
        };
        if messages.is_empty() {
            return;
        }
        let ids: Vec<String> = messages.iter().map(|message| message.id.clone()).collect();
        match self.mutant {
            Some(Mutant::AcknowledgesOnReceive) => self.queue.delete(&ids, self.now_ms, &mut self.faults),
            Some(Mutant::SkipsSeenMessages) => {
                let seen = self.memory.lock().map(|mut memory| memory.see(&ids)).unwrap_or_default();
                if seen.len() == ids.len() {
                    self.queue.delete(&seen, self.now_ms, &mut self.faults);
                    return;
                }
            }
            _ => {}
        }
        self.start(Work::Archive(messages));
    }

    fn start(&mut self, work: Work) {
        let number = self.polls.len() as u64;
        self.polls.push(0);
        let dies_after = match self.mode {
            Mode::OneCrash(crash) if crash.process == number => Some((crash.polls, Some(crash.calls))),
            Mode::Faulty if self.faults.kills() => Some((self.faults.draw(24) as u32, None)),
            _ => None,
        };
        let future = self.future_of(&work, number);
        let mut process = Process { number, work, future, polls: 0, dies_after };
        if !self.poll(&mut process) {
            self.running.push(process);
        }
    }

    fn future_of(&mut self, work: &Work, process: u64) -> Pin<Box<dyn Future<Output = Done>>> {
        let connection = Connection { network: self.network.clone(), process };
        let (mutant, memory, now_ms) = (self.mutant, self.memory.clone(), self.now_ms);
        let store = move |role| MutantStore::new(connection, role, mutant, memory, moment(now_ms));
        let config = result_archiver::Config { lake_bucket: BUCKET.to_owned(), memory_mb: 1024 };
        match work.clone() {
            Work::Land(Landing { key, bytes, if_absent, .. }) => {
                let condition = if if_absent { PutCondition::IfAbsent } else { PutCondition::Always };
                let store = store(Role::Client);
                Box::pin(async move { Done::Client(store.put_object(&key, bytes.into(), condition).await.is_ok()) })
            }
            Work::Report(Outcomes { events, .. }) => {
                let (store, request) = (store(Role::Intake), outcomes_request(&events));
                Box::pin(async move { Done::Client(answer(&store, &request).await.status_code == 202) })
            }
            Work::Archive(messages) => {
                let mut event = sqs_event(&messages);
                if mutant == Some(Mutant::KeysNotDecoded) {
                    let text = event.to_string().replace('%', "%25").replace('+', "%2B");
                    event = serde_json::from_str(&text).unwrap_or_default();
                }
                let store = store(Role::Archiver);
                Box::pin(async move { Done::Batch(handle(&store, &config, &event, None).await.ok()) })
            }
            Work::Compact | Work::Sweep => {
                let sweep = matches!(work, Work::Sweep);
                let (role, event) = if sweep {
                    (Role::Archiver, json!({"archive": {}}))
                } else {
                    (Role::Compactor, json!({"compact": {}}))
                };
                let store = store(role);
                let out_of_time = self.faults.strikes(Fault::OutOfTime).then(Instant::now);
                Box::pin(async move {
                    // What failed is tried again by the next run.
                    _ = handle(&store, &config, &event, out_of_time).await;
                    Done::Scheduled
                })
            }
            Work::Evaluate => {
                let skew_ms = if self.faults.strikes(Fault::ClockSkew) { self.faults.draw(20 * MINUTE_MS) } else { 0 };
                let last = self.finishing;
                let now = moment(if last { END_MS } else { now_ms - skew_ms });
                let [from, until] = hours();
                let event = EvaluatorEvent {
                    model: Some(self.workload.model.clone()),
                    from: last.then_some(from),
                    until: last.then_some(until),
                    act: false,
                };
                let config = evaluator::Config {
                    lake_bucket: BUCKET.to_owned(),
                    default_model: self.workload.model.clone(),
                    lookback_hours: 72,
                };
                let store = store(Role::Evaluator);
                Box::pin(
                    async move { Done::Evaluated(evaluate(&store, &config, &event, now).await.ok().map(Box::new)) },
                )
            }
            Work::Notify(..) => Box::pin(async { Done::Scheduled }),
        }
    }

    /// Polls a process; whether it is over, done or dead.
    fn poll(&mut self, process: &mut Process) -> bool {
        if let Some((polls, calls)) = process.dies_after
            && process.polls >= polls
        {
            self.bury(process, calls);
            return true;
        }
        process.polls += 1;
        self.polls[process.number as usize] = process.polls;
        match process.future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => false,
            Poll::Ready(done) => {
                let work = process.work.clone();
                self.take(work, done);
                true
            }
        }
    }

    /// The process dies where it stands. What it had sent may still arrive.
    fn bury(&mut self, process: &mut Process, calls: Option<CallsInFlight>) {
        process.future = Box::pin(std::future::pending());
        self.faults.count(Fault::Crash);
        self.settle_abandoned(Some(process.number), calls);
        match process.work.clone() {
            // What had no answer is sent again.
            work @ (Work::Land(_) | Work::Report(_)) => self.again(work),
            Work::Archive(_) => self.faults.count(Fault::WholeBatch),
            _ => {}
        }
    }

    /// Decides what becomes of calls whose callers are gone.
    fn settle_abandoned(&mut self, of: Option<u64>, fate: Option<CallsInFlight>) {
        for Waiting { call, process, abandoned } in self.network.waiting() {
            if !abandoned || of.is_some_and(|of| of != process) || self.late.contains_key(&call) {
                continue;
            }
            let drawn = [CallsInFlight::Lost, CallsInFlight::Done, CallsInFlight::Late];
            let fate = fate.unwrap_or_else(|| {
                if self.faults.are_over() { CallsInFlight::Done } else { drawn[self.faults.draw(3) as usize] }
            });
            let is_write = self.network.request(call).is_some_and(|request| request.is_write());
            match fate {
                CallsInFlight::Lost => {
                    self.network.lose(call);
                    self.faults.count(Fault::CallLost);
                }
                CallsInFlight::Done => {
                    self.happen(call, false);
                    self.faults.count(Fault::CallDone);
                }
                CallsInFlight::Late if is_write => {
                    let delay_ms = 1_000 + self.faults.draw(15 * MINUTE_MS);
                    self.late.insert(call, self.now_ms + delay_ms);
                    self.faults.count(Fault::CallLate);
                }
                CallsInFlight::Late => self.network.lose(call),
            }
        }
    }

    fn again(&mut self, work: Work) {
        let delay_ms = 1_000 + self.faults.draw(MINUTE_MS);
        self.plan(self.now_ms + delay_ms, work);
    }

    /// A process's end, told to whoever started it.
    fn take(&mut self, work: Work, done: Done) {
        match (work, done) {
            (Work::Land(Landing { key, if_absent, sent_again: Some(bytes), .. }), Done::Client(true)) => {
                self.faults.count(Fault::SentAgain);
                let landing = Landing { at_ms: self.now_ms, key, bytes, if_absent, sent_again: None };
                self.again(Work::Land(landing));
            }
            (Work::Land(_) | Work::Report(_), Done::Client(true)) => {}
            (work @ (Work::Land(_) | Work::Report(_)), _) => self.again(work),
            (Work::Archive(messages), Done::Batch(Some(answer))) => {
                let answer = self.mutated(answer);
                let done = acknowledged(&messages, &answer);
                if !done.is_empty() && done.len() < messages.len() {
                    self.faults.count(Fault::PartialBatch);
                } else if done.is_empty() {
                    self.faults.count(Fault::WholeBatch);
                }
                self.queue.delete(&done, self.now_ms, &mut self.faults);
            }
            (Work::Archive(_), _) => self.faults.count(Fault::WholeBatch),
            (Work::Evaluate, Done::Evaluated(summary)) => self.evaluation = summary.map(|summary| *summary),
            _ => {}
        }
    }

    fn mutated(&self, mut answer: Value) -> Value {
        match self.mutant {
            Some(Mutant::IgnoresPartialFailures) => json!({"batchItemFailures": []}),
            Some(Mutant::ReportsFirstFailureOnly) => {
                if let Some(failures) = answer["batchItemFailures"].as_array_mut() {
                    failures.truncate(1);
                }
                answer
            }
            _ => answer,
        }
    }

    /// Lets one call happen, and its process go on. `false`: there is none.
    fn carry_out_a_call(&mut self) -> Result<bool, Error> {
        self.settle_abandoned(None, None);
        let waiting: Vec<Waiting> = self
            .network
            .waiting()
            .into_iter()
            .filter(|waiting| self.late.get(&waiting.call).is_none_or(|&due_ms| due_ms <= self.now_ms))
            .collect();
        if waiting.is_empty() {
            return Ok(false);
        }
        let chosen = if self.mode == Mode::FaultFree { 0 } else { self.order.random_range(0..waiting.len()) };
        let Waiting { call, process, .. } = waiting[chosen];
        self.now_ms += if self.mode == Mode::FaultFree { 5 } else { self.order.random_range(1..60) };
        let is_late = self.late.remove(&call).is_some();
        self.happen(call, !is_late);
        if let Some(index) = self.running.iter().position(|running| running.number == process) {
            let mut process = self.running.swap_remove(index);
            if !self.poll(&mut process) {
                self.running.push(process);
            }
        } else if !is_late {
            return Err(Error::new(format!("call {call} is of no process")));
        }
        Ok(true)
    }

    fn happen(&mut self, call: u64, faults: bool) {
        let Some(request) = self.network.request(call) else { return };
        let reply = if faults { self.with_faults(&request) } else { self.without_faults(&request) };
        self.network.reply(call, reply);
    }

    fn with_faults(&mut self, request: &Request) -> Result<Answer, cloud::object_store::StoreError> {
        for (fault, detail) in [
            (Fault::Internal, "500 InternalError"),
            (Fault::Unavailable, "503 ServiceUnavailable"),
            (Fault::Throttled, "503 SlowDown"),
        ] {
            if self.faults.strikes(fault) {
                return Err(request.unavailable(detail));
            }
        }
        if request.is_conditional_put() && self.faults.strikes(Fault::Conflict) {
            return Err(request.unavailable("409 ConditionalRequestConflict"));
        }
        let reply = self.without_faults(request);
        if self.faults.strikes(Fault::LostResponse) {
            return Err(request.unavailable("timed out"));
        }
        if self.faults.strikes(Fault::RepeatedByClient) {
            return self.without_faults(request);
        }
        reply
    }

    /// The store does it, and notifies.
    fn without_faults(&mut self, request: &Request) -> Result<Answer, cloud::object_store::StoreError> {
        let reply = request.carry_out(&self.lake);
        if let (Request::Put { key, bytes, .. }, Ok(Answer::Put(outcome))) = (request, &reply) {
            match outcome {
                PutOutcome::PreconditionFailed => self.faults.count(Fault::Precondition),
                PutOutcome::Stored(_) if key.starts_with(lake::LANDING) => self.notify(key, bytes.len()),
                PutOutcome::Stored(_) => {}
            }
        }
        reply
    }

    fn notify(&mut self, key: &str, bytes: usize) {
        let copies = 1 + usize::from(self.faults.strikes(Fault::NotifiedTwice));
        for _ in 0..copies {
            let mut delay_ms = 500;
            if self.faults.strikes(Fault::Delayed) {
                delay_ms += self.faults.draw(20 * MINUTE_MS);
            }
            self.plan(self.now_ms + delay_ms, Work::Notify(key.to_owned(), bytes));
        }
    }
}

fn outcomes_request(events: &[OutcomeEvent]) -> HttpEvent {
    HttpEvent {
        raw_path: "/v1/outcomes".to_owned(),
        raw_query_string: String::new(),
        headers: BTreeMap::from([("content-type".to_owned(), "application/json".to_owned())]),
        body: Some(json!({"outcomes": events}).to_string()),
        is_base64_encoded: false,
        request_context: RequestContext {
            request_id: "request".to_owned(),
            http: RequestLine { method: "POST".to_owned() },
        },
    }
}
