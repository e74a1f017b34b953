//! Segments to hour files.

use std::{collections::BTreeMap, time::Instant};

use archive::{ArchiveError, MergedFile, PredictionRows, Record, merge_into_file};
use bytes::Bytes;
use cloud::object_store::{ListedObject, ObjectStore, PutCondition, PutOutcome};
use domain::{
    InferenceRecord, OutcomeEvent, ShadowRecord,
    lake::{self, Partition, Table},
};
use futures::{StreamExt, stream};
use serde::Serialize;

use crate::{ArchiverError, Failure, archive_batch::CONCURRENCY};

/// Hours merged at once. An hour file is merged as a stream, so that what counts in memory is its bytes.
const PARTITIONS_AT_ONCE: usize = 4;
/// How much is merged into an hour file at once: a backlog is worked off round by round, each durable by itself.
const SEGMENTS_PER_ROUND: usize = 500;
const BYTES_PER_ROUND: u64 = 32 * 1024 * 1024;
/// How often a merge is begun anew since another writer was faster.
const MAX_TRIES: usize = 10;

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct CompactionSummary {
    /// Hours that had segments and are merged now.
    pub partitions: usize,
    /// Segments merged and deleted.
    pub segments: usize,
    /// Records and events of those hour files, after it.
    pub records: u64,
    /// Records and events that the hour files did not hold before.
    pub added: u64,
    /// Records and events of segments that were left out, since they were known already.
    pub duplicates: u64,
    /// Hour files that were written.
    pub rewritten: usize,
    /// Merges begun anew since another writer was faster.
    pub conflicts: usize,
    /// Segments left for the next run, since time was up.
    pub postponed: usize,
    /// Segments or hours that failed. Nothing of them is lost: their segments stay.
    pub failed: usize,
}

impl CompactionSummary {
    fn add(&mut self, other: Self) {
        self.partitions += other.partitions;
        self.segments += other.segments;
        self.records += other.records;
        self.added += other.added;
        self.duplicates += other.duplicates;
        self.rewritten += other.rewritten;
        self.conflicts += other.conflicts;
        self.postponed += other.postponed;
        self.failed += other.failed;
    }
}

/// A compaction's summary, and what failed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CompactionOutcome {
    /// Counts.
    pub summary: CompactionSummary,
    /// What failed: a segment's key or an hour file's, with why.
    pub failures: BTreeMap<String, Failure>,
}

/// The rows of some segments of one hour.
trait SegmentRows: Default + Send + Sync {
    /// Adds a segment's rows; none of them where it fails. Returns how many.
    fn push_segment(&mut self, bytes: Bytes) -> Result<u64, ArchiveError>;

    /// The union of these rows and a file.
    fn union(&self, existing: Option<&Bytes>) -> Result<MergedFile, ArchiveError>;
}

impl SegmentRows for PredictionRows {
    fn push_segment(&mut self, bytes: Bytes) -> Result<u64, ArchiveError> {
        self.push_file(bytes).map(|rows| rows as u64)
    }

    fn union(&self, existing: Option<&Bytes>) -> Result<MergedFile, ArchiveError> {
        self.merge_into_file(existing)
    }
}

impl<R: Record> SegmentRows for Vec<R> {
    fn push_segment(&mut self, bytes: Bytes) -> Result<u64, ArchiveError> {
        let records = R::read(bytes)?;
        let count = records.len() as u64;
        self.extend(records);
        Ok(count)
    }

    fn union(&self, existing: Option<&Bytes>) -> Result<MergedFile, ArchiveError> {
        merge_into_file(existing, self)
    }
}

/// Merges all segments into their hour files, hour by hour. An hour file is replaced only if it is still the one that
/// was read, and segments are deleted only after that, so two compactions at once lose nothing: the slower one begins
/// anew. A segment that cannot be read is left where it is and does not keep the others from being merged.
///
/// No new round begins after `stop_at`.
///
/// # Errors
/// The segments cannot be listed.
pub async fn compact<S: ObjectStore + ?Sized>(
    store: &S,
    stop_at: Option<Instant>,
) -> Result<CompactionOutcome, ArchiverError> {
    let mut outcome = CompactionOutcome::default();
    let mut partitions: BTreeMap<Partition, Vec<ListedObject>> = BTreeMap::new();
    for segment in store.list_objects(lake::SEGMENTS).await? {
        match lake::segment_partition(&segment.key) {
            Ok(partition) => partitions.entry(partition).or_default().push(segment),
            Err(error) => outcome.fail(segment.key, &ArchiverError::ForeignKey(error)),
        }
    }
    let hours = partitions.into_iter().map(async |(partition, segments)| match &partition.table {
        Table::Predictions(_) => hour::<PredictionRows, S>(store, &partition, segments, stop_at).await,
        Table::Shadows(_) => hour::<Vec<ShadowRecord>, S>(store, &partition, segments, stop_at).await,
        Table::Outcomes => hour::<Vec<OutcomeEvent>, S>(store, &partition, segments, stop_at).await,
        Table::Inferences(_) => hour::<Vec<InferenceRecord>, S>(store, &partition, segments, stop_at).await,
    });
    let mut hours = stream::iter(hours).buffered(PARTITIONS_AT_ONCE);
    while let Some(CompactionOutcome { summary, failures }) = hours.next().await {
        outcome.summary.add(summary);
        outcome.failures.extend(failures);
    }
    outcome.summary.failed = outcome.failures.len();
    Ok(outcome)
}

impl CompactionOutcome {
    fn fail(&mut self, key: String, error: &ArchiverError) {
        tracing::error!(key, reason = error.reason(), detail = %error, "compaction failed");
        self.failures.insert(key, Failure::from(error));
    }
}

/// All segments of one hour, round by round.
async fn hour<R: SegmentRows, S: ObjectStore + ?Sized>(
    store: &S,
    partition: &Partition,
    segments: Vec<ListedObject>,
    stop_at: Option<Instant>,
) -> CompactionOutcome {
    let mut outcome = CompactionOutcome::default();
    let mut segments = segments.as_slice();
    while !segments.is_empty() {
        if stop_at.is_some_and(|stop_at| Instant::now() >= stop_at) {
            outcome.summary.postponed += segments.len();
            break;
        }
        let (round, rest) = segments.split_at(round_length(segments));
        segments = rest;
        if let Err(error) = merge_round::<R, S>(store, partition, round, &mut outcome).await {
            outcome.fail(lake::hour_file(partition), &error);
            return outcome;
        }
    }
    outcome.summary.partitions = usize::from(outcome.summary.segments > 0);
    outcome
}

fn round_length(segments: &[ListedObject]) -> usize {
    let mut bytes = 0;
    let fits = segments.iter().take(SEGMENTS_PER_ROUND).take_while(|segment| {
        bytes += segment.size_bytes;
        bytes <= BYTES_PER_ROUND
    });
    fits.count().max(1)
}

/// One round: reads segments, merges them into the hour file by compare-and-swap, then deletes them.
async fn merge_round<R: SegmentRows, S: ObjectStore + ?Sized>(
    store: &S,
    partition: &Partition,
    segments: &[ListedObject],
    outcome: &mut CompactionOutcome,
) -> Result<(), ArchiverError> {
    let reads = segments.iter().map(async |segment| (&segment.key, store.get_object(&segment.key, None).await));
    let mut reads = stream::iter(reads).buffered(CONCURRENCY);
    let (mut merged_keys, mut rows, mut in_segments) = (Vec::new(), R::default(), 0);
    while let Some((key, read)) = reads.next().await {
        // Where it is not there, another compaction has merged and deleted it.
        let pushed = match read {
            Ok(read) => match read.found() {
                Some(object) => rows
                    .push_segment(object.bytes)
                    .map_err(|source| ArchiverError::Archive { key: key.to_owned(), source }),
                None => continue,
            },
            Err(error) => Err(error.into()),
        };
        match pushed {
            Ok(count) => {
                merged_keys.push(key);
                in_segments += count;
            }
            Err(error) => outcome.fail(key.clone(), &error),
        }
    }
    if merged_keys.is_empty() {
        return Ok(());
    }
    let merged = replace_hour_file(store, partition, &rows, &mut outcome.summary).await?;
    outcome.summary.added += merged.added;
    outcome.summary.duplicates += in_segments - merged.added;
    outcome.summary.records = merged.records;
    let deletions = merged_keys.into_iter().map(|key| store.delete_object(key));
    let mut deletions = stream::iter(deletions).buffered(CONCURRENCY);
    while let Some(deleted) = deletions.next().await {
        deleted?;
        outcome.summary.segments += 1;
    }
    Ok(())
}

/// The hour file with `additions`, durable.
async fn replace_hour_file<R: SegmentRows, S: ObjectStore + ?Sized>(
    store: &S,
    partition: &Partition,
    additions: &R,
    summary: &mut CompactionSummary,
) -> Result<MergedFile, ArchiverError> {
    let key = lake::hour_file(partition);
    for _ in 0..MAX_TRIES {
        let existing = store.get_object(&key, None).await?.found();
        let merged = additions
            .union(existing.as_ref().map(|object| &object.bytes))
            .map_err(|source| ArchiverError::Archive { key: key.clone(), source })?;
        let condition = match existing {
            Some(object) if object.bytes == merged.bytes => return Ok(merged),
            Some(object) => PutCondition::IfMatch(object.etag),
            None => PutCondition::IfAbsent,
        };
        match store.put_object(&key, merged.bytes.clone(), condition).await? {
            PutOutcome::Stored(_) => {
                summary.rewritten += 1;
                return Ok(merged);
            }
            PutOutcome::PreconditionFailed => summary.conflicts += 1,
        }
    }
    Err(ArchiverError::Contended(key))
}
