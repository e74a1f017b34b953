//! Bugs on purpose, between the real functions and the store or the queue, so that no production code knows of them.
//!
//! Each is what a plausible mistake in a function would do to the calls that it makes: a delete too early, an error that
//! is not looked at, a condition that is left out. Those of the queue's receiver act in `history.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use archive::{read_outcomes, read_predictions, write_outcomes, write_predictions};
use async_trait::async_trait;
use bytes::Bytes;
use cloud::object_store::{
    DeleteObject, ETag, GetObject, GetOutcome, ListObjects, ListedObject, Object, PutCondition, PutObject, PutOutcome,
    StoreError,
};
use domain::{Hour, ModelName, OutcomeEvent, PredictionId, PredictionRecord, lake};
use evaluation::HourEvaluation;
use futures::poll;
use jiff::Timestamp;
use serde_json::Value;

use crate::network::Connection;

macro_rules! mutants {
    ($($name:ident: $text:literal,)*) => {
        /// A bug.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Mutant {
            $(#[doc = $text] $name,)*
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// In words.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

mutants! {
    // The archiver.
    DeletesLandingOnRead: "a landing object is deleted when it is read, before a segment is durable",
    ForgetsFailedSegment: "a segment that could not be written is taken for written",
    DoesNotWaitForSegment: "a segment's write is begun, not awaited",
    OneSegmentPerHour: "a segment's key is its hour, not its content",
    OverwritesSegmentOfHour: "a segment's key is its hour, and the last one stays",
    SegmentKeyOfFirstId: "a segment's key is its first record, not its content",
    UnreadableIsMissing: "a landing object that could not be read is taken for archived before",
    ForgetsFailedDelete: "a landing object that could not be deleted is forgotten",
    ForgetsQuarantine: "bad lines are dropped",
    HourOfArrival: "a segment's hour is the clock's, not the id's",
    FirstHourOnly: "of a batch over two hours only the first is written",
    DeletesKeptObjects: "landing objects are deleted though a part of them cannot be read",
    // The queue's receiver.
    IgnoresPartialFailures: "a batch is acknowledged though some of it failed",
    ReportsFirstFailureOnly: "of several failed messages only the first is handed back",
    AcknowledgesOnReceive: "messages are acknowledged before they are worked on",
    SkipsSeenMessages: "a message whose id was seen before is skipped",
    KeysNotDecoded: "keys are taken as the notification writes them",
    // The compactor.
    NoIfMatch: "an hour file is replaced whatever it has become",
    NoIfNoneMatch: "a first hour file is written though there is one by now",
    ConflictIsSuccess: "412 on an hour file is taken for written",
    RetriesWithFreshTag: "after 412 the same bytes are put with the new tag",
    DeletesSegmentOnRead: "a segment is deleted when it is read, before the hour file is durable",
    ForgetsFailedHourFile: "an hour file that could not be written is taken for written",
    DoesNotWaitForHourFile: "an hour file's write is begun, not awaited",
    DeletesWholePrefix: "all segments of the hour are deleted, also those that came meanwhile",
    NoDeDuplication: "records are appended to the hour file without de-duplication",
    LastArrivalWins: "between two answers of one id the last to arrive wins",
    LatestOutcomeOnly: "of a prediction's outcome events only the last to arrive is kept",
    StartsAnewWhereUnreadable: "an hour file that could not be read is written anew",
    ReplacesHourFile: "an hour file is written from the segments alone",
    // The intake.
    AcknowledgesFailedWrites: "an outcome that could not be stored is acknowledged",
    OneOutcomePerPrediction: "an outcome's key is its prediction, not its content",
    FirstOutcomeOnly: "of a request's outcomes only the first is stored",
    // The evaluator.
    EvaluatesOnce: "an hour is evaluated once and for all",
    ForgetsLateOutcomes: "an hour is not evaluated again for outcomes that came later",
    AddsToEarlierEvaluation: "an hour's new evaluation is added to the one before",
    ReadsOnce: "an hour's file is read once and for all, with the tag that it has by now",
}

/// Whose calls they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Intake,
    Archiver,
    Compactor,
    Evaluator,
}

/// What a mutant remembers from process to process, as a cache would.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    messages: BTreeSet<String>,
    files: BTreeMap<String, Bytes>,
}

impl Memory {
    /// Those of `ids` that were seen before. All are, from now on.
    pub(crate) fn see(&mut self, ids: &[String]) -> Vec<String> {
        ids.iter().filter(|id| !self.messages.insert((*id).clone())).cloned().collect()
    }
}

/// A process's store, with a bug in between.
#[derive(Debug)]
pub(crate) struct MutantStore {
    store: Connection,
    role: Role,
    mutant: Option<Mutant>,
    memory: Arc<Mutex<Memory>>,
    /// What this process has read and written, by key.
    read: Mutex<Vec<(String, Bytes)>>,
    written: Mutex<BTreeSet<String>>,
    started_at: Timestamp,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const STORED: fn() -> PutOutcome = || PutOutcome::Stored(ETag(String::new()));

fn folder(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl MutantStore {
    pub(crate) fn new(
        store: Connection,
        role: Role,
        mutant: Option<Mutant>,
        memory: Arc<Mutex<Memory>>,
        started_at: Timestamp,
    ) -> Self {
        Self { store, role, mutant, memory, read: Mutex::default(), written: Mutex::default(), started_at }
    }

    /// The bug, where it is one of this process's calls of `key`.
    fn bug(&self, role: Role, key: &str, below: &str) -> Option<Mutant> {
        self.mutant.filter(|_| self.role == role && key.starts_with(below))
    }

    async fn begin_put(&self, key: &str, bytes: Bytes, condition: PutCondition) -> PutOutcome {
        let mut put = self.store.put_object(key, bytes, condition);
        // Sent, and dropped.
        _ = poll!(&mut put);
        STORED()
    }

    async fn put_segment(&self, key: &str, bytes: Bytes, bug: Mutant) -> Option<Result<PutOutcome, StoreError>> {
        let partition = lake::segment_partition(key).ok()?;
        let other_key = |name: &str| lake::segment(&partition, name);
        let put = async |key: &str, condition| Some(self.store.put_object(key, bytes.clone(), condition).await);
        match bug {
            Mutant::ForgetsFailedSegment => {
                _ = self.store.put_object(key, bytes, PutCondition::IfAbsent).await;
                Some(Ok(STORED()))
            }
            Mutant::DoesNotWaitForSegment => Some(Ok(self.begin_put(key, bytes, PutCondition::IfAbsent).await)),
            Mutant::OneSegmentPerHour => put(&other_key("hour"), PutCondition::IfAbsent).await,
            Mutant::OverwritesSegmentOfHour => put(&other_key("hour"), PutCondition::Always).await,
            Mutant::SegmentKeyOfFirstId => {
                let first = first_id(&bytes)?;
                put(&other_key(&first.to_string()), PutCondition::IfAbsent).await
            }
            Mutant::HourOfArrival => {
                let other = lake::Partition { hour: Hour::of(self.started_at), ..partition.clone() };
                let name = key.rsplit('/').next()?.trim_end_matches(".parquet");
                put(&lake::segment(&other, name), PutCondition::IfAbsent).await
            }
            Mutant::FirstHourOnly => {
                let mut written = locked(&self.written);
                written.insert(folder(key).to_owned());
                let is_first = written.len() == 1;
                drop(written);
                if is_first { None } else { Some(Ok(STORED())) }
            }
            _ => None,
        }
    }

    async fn put_hour_file(
        &self,
        key: &str,
        bytes: &Bytes,
        condition: &PutCondition,
        bug: Mutant,
    ) -> Option<Result<PutOutcome, StoreError>> {
        let always = async |bytes: Bytes| Some(self.store.put_object(key, bytes, PutCondition::Always).await);
        let as_it_is = async |bytes: Bytes| self.store.put_object(key, bytes, condition.clone()).await;
        match bug {
            Mutant::NoIfMatch if matches!(condition, PutCondition::IfMatch(_)) => always(bytes.clone()).await,
            Mutant::NoIfNoneMatch if *condition == PutCondition::IfAbsent => always(bytes.clone()).await,
            Mutant::StartsAnewWhereUnreadable | Mutant::ReplacesHourFile => always(bytes.clone()).await,
            Mutant::ConflictIsSuccess => Some(as_it_is(bytes.clone()).await.map(|_| STORED())),
            Mutant::ForgetsFailedHourFile => Some(Ok(as_it_is(bytes.clone()).await.unwrap_or_else(|_| STORED()))),
            Mutant::DoesNotWaitForHourFile => Some(Ok(self.begin_put(key, bytes.clone(), condition.clone()).await)),
            Mutant::RetriesWithFreshTag => match as_it_is(bytes.clone()).await {
                Ok(PutOutcome::PreconditionFailed) => match self.store.get_object(key, None).await {
                    Ok(GetOutcome::Found(Object { etag, .. })) => {
                        Some(self.store.put_object(key, bytes.clone(), PutCondition::IfMatch(etag)).await)
                    }
                    _ => Some(Ok(PutOutcome::PreconditionFailed)),
                },
                other => Some(other),
            },
            Mutant::NoDeDuplication | Mutant::LastArrivalWins | Mutant::LatestOutcomeOnly => {
                Some(as_it_is(self.merged_wrongly(key, bug)?).await)
            }
            _ => None,
        }
    }

    /// The hour file of all that this process has read for it: the hour file first, then the segments.
    fn merged_wrongly(&self, key: &str, bug: Mutant) -> Option<Bytes> {
        let read = locked(&self.read);
        let hour_file = read.iter().rev().find(|(name, _)| name == key);
        let mine = |name: &str| lake::segment_partition(name).is_ok_and(|partition| lake::hour_file(&partition) == key);
        let files = hour_file.into_iter().chain(read.iter().filter(|(name, _)| mine(name)));
        let files: Vec<Bytes> = files.map(|(_, bytes)| bytes.clone()).collect();
        let of_predictions = key.starts_with("archive/predictions/");
        match (bug, of_predictions) {
            (Mutant::NoDeDuplication, true) => {
                let records: Vec<PredictionRecord> = all(&files, read_predictions)?;
                write_predictions(&records).ok()
            }
            (Mutant::NoDeDuplication, false) => write_outcomes(&all(&files, read_outcomes)?).ok(),
            (Mutant::LastArrivalWins, true) => {
                let records = all(&files, read_predictions)?;
                let by_id: BTreeMap<_, _> = records.into_iter().map(|record| (record.prediction_id, record)).collect();
                write_predictions(&by_id.into_values().collect::<Vec<_>>()).ok()
            }
            (Mutant::LatestOutcomeOnly, false) => {
                let events: Vec<OutcomeEvent> = all(&files, read_outcomes)?;
                let by_id: BTreeMap<_, _> = events.into_iter().map(|event| (event.prediction_id, event)).collect();
                write_outcomes(&by_id.into_values().collect::<Vec<_>>()).ok()
            }
            _ => None,
        }
    }

    async fn put_landing_outcome(
        &self,
        key: &str,
        bytes: &Bytes,
        bug: Mutant,
    ) -> Option<Result<PutOutcome, StoreError>> {
        match bug {
            Mutant::AcknowledgesFailedWrites => {
                _ = self.store.put_object(key, bytes.clone(), PutCondition::Always).await;
                Some(Ok(STORED()))
            }
            Mutant::OneOutcomePerPrediction => {
                let event: OutcomeEvent = serde_json::from_slice(bytes).ok()?;
                let key = lake::landing_outcome(event.prediction_id, "the-only-one");
                Some(self.store.put_object(&key, bytes.clone(), PutCondition::Always).await)
            }
            Mutant::FirstOutcomeOnly => {
                let mut written = locked(&self.written);
                let is_first = written.is_empty();
                written.insert(key.to_owned());
                drop(written);
                if is_first { None } else { Some(Ok(STORED())) }
            }
            _ => None,
        }
    }

    /// What the hour's last evaluation was made from: the tags of its predictions and outcomes.
    async fn tags_evaluated(&self, hour: Hour) -> Option<[Value; 2]> {
        let model: ModelName = "pickup-eta".parse().ok()?;
        let kept = self.store.get_object(&lake::evaluation(&model, hour), None).await.ok()?.found()?;
        let kept: Value = serde_json::from_slice(&kept.bytes).ok()?;
        Some([kept["predictions_etag"].clone(), kept["outcomes_etag"].clone()])
    }

    async fn evaluation_on_top(&self, key: &str, bytes: &Bytes) -> Option<Bytes> {
        let before = self.store.get_object(key, None).await.ok()?.found()?;
        let mut kept: Value = serde_json::from_slice(bytes).ok()?;
        let before: Value = serde_json::from_slice(&before.bytes).ok()?;
        let mut sum: HourEvaluation = serde_json::from_value(kept["evaluation"].clone()).ok()?;
        sum.merge(&serde_json::from_value(before["evaluation"].clone()).ok()?).ok()?;
        kept["evaluation"] = serde_json::to_value(&sum).ok()?;
        serde_json::to_vec(&kept).ok().map(Bytes::from)
    }
}

fn all<R>(files: &[Bytes], read: fn(Bytes) -> Result<Vec<R>, archive::ArchiveError>) -> Option<Vec<R>> {
    let read: Result<Vec<Vec<R>>, _> = files.iter().map(|bytes| read(bytes.clone())).collect();
    read.ok().map(|sets| sets.into_iter().flatten().collect())
}

fn first_id(segment: &Bytes) -> Option<PredictionId> {
    let of_predictions =
        read_predictions(segment.clone()).ok().and_then(|records| Some(records.first()?.prediction_id));
    of_predictions.or_else(|| Some(read_outcomes(segment.clone()).ok()?.first()?.prediction_id))
}

#[async_trait]
impl GetObject for MutantStore {
    async fn get_object(&self, key: &str, if_none_match: Option<&ETag>) -> Result<GetOutcome, StoreError> {
        let archiver = self.bug(Role::Archiver, key, lake::LANDING);
        let segments = self.bug(Role::Compactor, key, lake::SEGMENTS);
        let hour_file = self.bug(Role::Compactor, key, "archive/");
        if hour_file == Some(Mutant::ReplacesHourFile) {
            return Ok(GetOutcome::Missing);
        }
        let got = self.store.get_object(key, if_none_match).await;
        if archiver == Some(Mutant::UnreadableIsMissing) || hour_file == Some(Mutant::StartsAnewWhereUnreadable) {
            return Ok(got.unwrap_or(GetOutcome::Missing));
        }
        let Ok(GetOutcome::Found(object)) = got else { return got };
        if archiver == Some(Mutant::DeletesLandingOnRead) || segments == Some(Mutant::DeletesSegmentOnRead) {
            _ = self.store.delete_object(key).await;
        }
        if self.role == Role::Compactor {
            locked(&self.read).push((key.to_owned(), object.bytes.clone()));
        }
        if archiver == Some(Mutant::DeletesKeptObjects) {
            locked(&self.written).insert(key.to_owned());
        }
        if self.bug(Role::Evaluator, key, "archive/") == Some(Mutant::ReadsOnce) {
            let mut memory = locked(&self.memory);
            let bytes = memory.files.entry(key.to_owned()).or_insert_with(|| object.bytes.clone()).clone();
            return Ok(GetOutcome::Found(Object { bytes, etag: object.etag }));
        }
        Ok(GetOutcome::Found(object))
    }
}

#[async_trait]
impl PutObject for MutantStore {
    async fn put_object(&self, key: &str, bytes: Bytes, condition: PutCondition) -> Result<PutOutcome, StoreError> {
        if let Some(bug) = self.bug(Role::Archiver, key, lake::SEGMENTS)
            && let Some(done) = self.put_segment(key, bytes.clone(), bug).await
        {
            return done;
        }
        if let Some(bug) = self.bug(Role::Compactor, key, "archive/")
            && let Some(done) = self.put_hour_file(key, &bytes, &condition, bug).await
        {
            return done;
        }
        if let Some(bug) = self.bug(Role::Intake, key, lake::LANDING)
            && let Some(done) = self.put_landing_outcome(key, &bytes, bug).await
        {
            return done;
        }
        let quarantine = self.bug(Role::Archiver, key, lake::QUARANTINE);
        if quarantine == Some(Mutant::ForgetsQuarantine) {
            return Ok(STORED());
        }
        if quarantine == Some(Mutant::DeletesKeptObjects) {
            // Its bad lines are safe, so it looks done.
            let put = self.store.put_object(key, bytes, condition).await;
            let read = std::mem::take(&mut *locked(&self.written));
            for landing in read {
                _ = self.store.delete_object(&landing).await;
            }
            return put;
        }
        if self.bug(Role::Evaluator, key, "evaluations/") == Some(Mutant::AddsToEarlierEvaluation) {
            let bytes = self.evaluation_on_top(key, &bytes).await.unwrap_or(bytes);
            return self.store.put_object(key, bytes, condition).await;
        }
        self.store.put_object(key, bytes, condition).await
    }
}

#[async_trait]
impl DeleteObject for MutantStore {
    async fn delete_object(&self, key: &str) -> Result<(), StoreError> {
        let deleted = self.store.delete_object(key).await;
        if self.bug(Role::Archiver, key, lake::LANDING) == Some(Mutant::ForgetsFailedDelete) {
            return Ok(());
        }
        if self.bug(Role::Compactor, key, lake::SEGMENTS) == Some(Mutant::DeletesWholePrefix) {
            for object in self.store.list_objects(folder(key)).await? {
                self.store.delete_object(&object.key).await?;
            }
        }
        deleted
    }
}

#[async_trait]
impl ListObjects for MutantStore {
    async fn list_objects(&self, prefix: &str) -> Result<Vec<ListedObject>, StoreError> {
        let listed = self.store.list_objects(prefix).await?;
        let Some(bug @ (Mutant::EvaluatesOnce | Mutant::ForgetsLateOutcomes)) =
            self.bug(Role::Evaluator, prefix, "archive/")
        else {
            return Ok(listed);
        };
        // Lists what the last evaluation was made from, so that nothing seems to have changed since.
        let mut stale = Vec::new();
        for object in listed {
            let of_outcomes = object.key.starts_with("archive/outcomes/");
            let hour = lake::hour_of_hour_file(&object.key);
            let tags = match hour {
                Some(hour) if bug == Mutant::EvaluatesOnce || of_outcomes => self.tags_evaluated(hour).await,
                _ => None,
            };
            match tags.map(|[predictions, outcomes]| if of_outcomes { outcomes } else { predictions }) {
                None => stale.push(object),
                Some(Value::String(tag)) => stale.push(ListedObject { etag: ETag(tag), ..object }),
                Some(_) => {}
            }
        }
        Ok(stale)
    }
}
