//! Landing objects to segments.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
};

use archive::{
    ArchiveError, BadLine, DecodeLimits, Landed, PredictionRows, Record, Rows, decode_source, merge,
    write_prediction_rows,
};
use bytes::Bytes;
use cloud::object_store::{LimitedOutcome, ObjectStore, PutCondition};
use domain::{
    DomainError, Hour, InferenceRecord, OutcomeEvent, ShadowRecord,
    digest::sha256_hex,
    lake::{self, Partition, Table},
};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use crate::{
    ArchiverError, Failure, LandingObject, S3Key,
    bodies::{Room, fetch},
};

/// Calls of the object store in flight at once.
pub(crate) const CONCURRENCY: usize = 16;

/// What a batch did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ArchiveSummary {
    /// Landing objects read.
    pub objects: usize,
    /// Landing objects that were not there: an earlier delivery has archived them.
    pub missing: usize,
    /// Records and events archived.
    pub records: usize,
    /// Records and events left out, since the batch had them more than once.
    pub duplicates: usize,
    /// Bad lines quarantined.
    pub quarantined: usize,
    /// Segments written, or found written already.
    pub segments: usize,
    /// Landing objects moved to quarantine, since their key names no table.
    pub moved: usize,
    /// Landing objects kept, since a part of them could not be read.
    pub kept: usize,
    /// Landing objects that failed: they are still there.
    pub failed: usize,
}

/// A batch's summary, and what failed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BatchOutcome {
    /// Counts.
    pub summary: ArchiveSummary,
    /// The landing objects that failed, with why. All others are safe in segments, in quarantine, or gone before.
    pub failures: BTreeMap<S3Key, Failure>,
}

/// Archives landing objects: reads and decodes each, quarantines its bad lines, writes one segment per hour and table
/// for all of them, and only then deletes them. An object below `landing/` whose key names no table is moved to
/// quarantine. An object that cannot be read or whose rows cannot be stored fails
/// alone and stays.
///
/// Landing objects are write-once: a prediction's key is its id and an outcome's is its content. Where a retried
/// request rewrites an object between the read and the delete, the answer that was read is archived and the later one
/// of the same id is dropped: what the merge would have done with both.
///
/// In memory are at once: bodies of up to `limits.max_decompressed_bytes` together, one of them decoded, and a batch of up
/// to as much. An object whose body is longer by itself is not taken: it is told in quarantine, and stays.
pub async fn archive_batch<S: ObjectStore + ?Sized>(
    store: &S,
    objects: impl IntoIterator<Item = impl Into<LandingObject>>,
    limits: DecodeLimits,
) -> BatchOutcome {
    let mut sizes: BTreeMap<S3Key, Option<u64>> = BTreeMap::new();
    for LandingObject { key, size_bytes } in objects.into_iter().map(Into::into) {
        let size = sizes.entry(key).or_default();
        *size = (*size).max(size_bytes);
    }
    let limit = limits.max_decompressed_bytes;
    let room = Room::new(limit);
    // Room is given in order, and what was given first is handed back first: none waits for one behind it.
    let fetched = stream::iter(sizes)
        .then(async |(key, size)| (key, room.take(size).await))
        .map(|(key, held)| fetch(store, key, limit, held))
        .buffered(CONCURRENCY);
    let mut fetched = pin!(fetched);
    let mut outcome = BatchOutcome::default();
    let mut batch = Batch::default();
    while let Some((key, body, held)) = fetched.next().await {
        let found = match body {
            Ok(body) => take_in(store, &key, body, limits).await,
            Err(error) => Err(error.into()),
        };
        drop(held);
        match found {
            Ok(Found::Missing) => outcome.summary.missing += 1,
            Ok(Found::Moved) => outcome.summary.moved += 1,
            Ok(Found::TooLarge) => outcome.kept(&key, 1),
            Ok(Found::Landed(table, landed)) => {
                if batch.bytes > 0 && batch.bytes + landed.bytes_read > limit {
                    std::mem::take(&mut batch).settle(store, &mut outcome).await;
                }
                batch.add(key, &table, landed);
            }
            Err(error) => outcome.fail(key, Failure::from(&error)),
        }
    }
    batch.settle(store, &mut outcome).await;
    outcome.summary.failed = outcome.failures.len();
    outcome
}

/// What became of a landing object at once.
enum Found {
    /// It is not there.
    Missing,
    /// Its key names no table: it lies in quarantine now.
    Moved,
    /// It is larger than may be taken: it stays, and quarantine tells so.
    TooLarge,
    /// Decoded, its bad lines in quarantine.
    Landed(Table, Landed),
}

async fn take_in<S: ObjectStore + ?Sized>(
    store: &S,
    key: &S3Key,
    body: LimitedOutcome,
    limits: DecodeLimits,
) -> Result<Found, ArchiverError> {
    let object = match body {
        LimitedOutcome::Found(object) => object,
        LimitedOutcome::Missing => return Ok(Found::Missing),
        LimitedOutcome::TooLarge { size_bytes } => {
            let limit = limits.max_decompressed_bytes;
            let detail = format!("the object has {size_bytes} bytes, over {limit}; split it and land the parts");
            let notice = BadLine { offset: 0, reason: "too_large", detail, original: Vec::new() };
            quarantine(store, key.as_str(), &[notice]).await?;
            return Ok(Found::TooLarge);
        }
    };
    match lake::landing_source(key.as_str()) {
        Ok(source) => {
            let landed = decode_source(&source, &object.bytes, limits);
            quarantine(store, key.as_str(), &landed.bad).await?;
            Ok(Found::Landed(source.table(), landed))
        }
        Err(error) if key.as_str().starts_with(lake::LANDING) => {
            move_to_quarantine(store, key.as_str(), object.bytes, &error).await?;
            Ok(Found::Moved)
        }
        Err(error) => Err(error.into()),
    }
}

/// An object that no table is known for would lie in the landing area for ever, unseen. An empty one (a console's folder
/// marker) is only deleted.
async fn move_to_quarantine<S: ObjectStore + ?Sized>(
    store: &S,
    key: &str,
    bytes: Bytes,
    error: &DomainError,
) -> Result<(), ArchiverError> {
    if !bytes.is_empty() {
        let place = lake::quarantined_object(key, &sha256_hex(&bytes));
        let detail = format!("{error}; the object lies at `{place}` now");
        store.put_object(&place, bytes, PutCondition::Always).await?;
        quarantine(store, key, &[BadLine { offset: 0, reason: error.reason(), detail, original: Vec::new() }]).await?;
    }
    store.delete_object(key).await?;
    Ok(())
}

/// Stores bad lines. The same line is the same object, so that repeating it changes nothing.
pub(crate) async fn quarantine<S: ObjectStore + ?Sized>(
    store: &S,
    source_key: &str,
    bad: &[BadLine],
) -> Result<(), ArchiverError> {
    let puts = bad.iter().map(async |line| {
        let BadLine { offset, reason, detail, .. } = line;
        tracing::warn!(key = source_key, offset, reason, detail, "bad line quarantined");
        let document = Bytes::from(line.to_document(source_key));
        store.put_object(&lake::quarantine(source_key, *offset), document, PutCondition::Always).await
    });
    stream::iter(puts).buffered(CONCURRENCY).try_for_each(async |_| Ok(())).await?;
    Ok(())
}

/// Decoded objects, by where their rows go.
#[derive(Default)]
struct Batch {
    bytes: u64,
    objects: Vec<Fetched>,
    predictions: BTreeMap<Table, PendingPredictions>,
    shadows: BTreeMap<Partition, Pending<ShadowRecord>>,
    outcomes: BTreeMap<Partition, Pending<OutcomeEvent>>,
    inferences: BTreeMap<Partition, Pending<InferenceRecord>>,
}

struct Fetched {
    key: S3Key,
    complete: bool,
    quarantined: usize,
    failure: Option<Failure>,
}

/// The predictions of one model, and for each the object (position in the batch) that it comes from.
#[derive(Default)]
struct PendingPredictions {
    rows: PredictionRows,
    sources: Vec<usize>,
}

/// A segment to be written.
struct Segment {
    partition: Partition,
    bytes: Result<Bytes, ArchiveError>,
    /// The objects that its rows come from.
    sources: BTreeSet<usize>,
    records: usize,
    duplicates: usize,
}

/// The rows of one segment, and the objects (positions in the batch) that they come from.
struct Pending<R> {
    rows: Vec<R>,
    sources: BTreeSet<usize>,
}

impl Batch {
    fn add(&mut self, key: S3Key, table: &Table, landed: Landed) {
        let Landed { rows, bad, complete, bytes_read } = landed;
        let source = self.objects.len();
        self.bytes += bytes_read;
        match rows {
            Rows::Predictions(rows) => {
                let pending = self.predictions.entry(table.clone()).or_default();
                pending.sources.resize(pending.sources.len() + rows.len(), source);
                pending.rows.append(&rows);
            }
            Rows::Shadows(records) => sort_in(&mut self.shadows, source, table, records),
            Rows::Outcomes(events) => sort_in(&mut self.outcomes, source, table, events),
            Rows::Inferences(records) => sort_in(&mut self.inferences, source, table, records),
        }
        self.objects.push(Fetched { key, complete, quarantined: bad.len(), failure: None });
    }

    /// Makes the batch durable, then deletes its objects.
    async fn settle<S: ObjectStore + ?Sized>(mut self, store: &S, outcome: &mut BatchOutcome) {
        let predictions = std::mem::take(&mut self.predictions);
        let shadows = std::mem::take(&mut self.shadows);
        let outcomes = std::mem::take(&mut self.outcomes);
        let inferences = std::mem::take(&mut self.inferences);
        let summary = &mut outcome.summary;
        let of_predictions = predictions.into_iter().flat_map(|(table, pending)| pending.segments(&table));
        self.write_segments(store, of_predictions, summary).await;
        self.write_segments(store, shadows.into_iter().map(segment_of), summary).await;
        self.write_segments(store, outcomes.into_iter().map(segment_of), summary).await;
        self.write_segments(store, inferences.into_iter().map(segment_of), summary).await;
        let deletions = self.objects.into_iter().map(async |mut object| {
            if object.failure.is_none() && object.complete {
                let deleted = store.delete_object(object.key.as_str()).await;
                object.failure = deleted.err().map(|error| Failure::from(&ArchiverError::from(error)));
            }
            object
        });
        let mut deletions = stream::iter(deletions).buffered(CONCURRENCY);
        while let Some(object) = deletions.next().await {
            if object.complete {
                outcome.summary.objects += 1;
                outcome.summary.quarantined += object.quarantined;
            } else {
                outcome.kept(&object.key, object.quarantined);
            }
            if let Some(failure) = object.failure {
                outcome.fail(object.key, failure);
            }
        }
    }

    async fn write_segments<S: ObjectStore + ?Sized>(
        &mut self,
        store: &S,
        segments: impl Iterator<Item = Segment>,
        summary: &mut ArchiveSummary,
    ) {
        let writes = segments.map(async |segment| {
            let Segment { partition, bytes, sources, records, duplicates } = segment;
            (write_segment(store, &partition, bytes).await, sources, records, duplicates)
        });
        let mut writes = stream::iter(writes).buffered(CONCURRENCY);
        while let Some((written, sources, count, duplicates)) = writes.next().await {
            match written {
                Ok(()) => {
                    summary.segments += 1;
                    summary.records += count;
                    summary.duplicates += duplicates;
                }
                Err(error) => {
                    for source in sources {
                        self.objects[source].failure.get_or_insert_with(|| Failure::from(&error));
                    }
                }
            }
        }
    }
}

impl PendingPredictions {
    /// One segment per hour.
    fn segments(self, table: &Table) -> Vec<Segment> {
        let Self { rows, sources } = self;
        // What an hour's segment is of, with its duplicates.
        let mut by_hour: BTreeMap<Hour, (usize, BTreeSet<usize>)> = BTreeMap::new();
        for (position, source) in sources.into_iter().enumerate() {
            let (count, objects) = by_hour.entry(rows.hour(position)).or_default();
            *count += 1;
            objects.insert(source);
        }
        let order = rows.sorted();
        let segments = by_hour.into_iter().map(|(hour, (count, sources))| {
            let partition = Partition { table: table.clone(), hour };
            // Ids begin with their time, so the rows of an hour follow each other.
            let begin = order.partition_point(|&position| rows.hour(position) < hour);
            let end = order.partition_point(|&position| rows.hour(position) <= hour);
            let bytes = write_prediction_rows(&rows, &order[begin..end]);
            Segment { partition, bytes, sources, records: end - begin, duplicates: count - (end - begin) }
        });
        segments.collect()
    }
}

fn segment_of<R: Record>((partition, Pending { rows, sources }): (Partition, Pending<R>)) -> Segment {
    let before = rows.len();
    let merged = merge([rows]);
    let (records, duplicates) = (merged.len(), before - merged.len());
    Segment { partition, bytes: R::write_sorted(merged.into_iter().map(Ok)), sources, records, duplicates }
}

fn sort_in<R: Record>(partitions: &mut BTreeMap<Partition, Pending<R>>, source: usize, table: &Table, rows: Vec<R>) {
    for row in rows {
        let partition = Partition { table: table.clone(), hour: row.hour() };
        let pending =
            partitions.entry(partition).or_insert_with(|| Pending { rows: Vec::new(), sources: BTreeSet::new() });
        pending.rows.push(row);
        pending.sources.insert(source);
    }
}

async fn write_segment<S: ObjectStore + ?Sized>(
    store: &S,
    partition: &Partition,
    bytes: Result<Bytes, ArchiveError>,
) -> Result<(), ArchiverError> {
    let bytes = bytes.map_err(|source| ArchiverError::Archive { key: lake::segment_prefix(partition), source })?;
    let key = lake::segment(partition, &sha256_hex(&bytes));
    // Where it is there already, an earlier try has written the same bytes. Should a compaction delete that one in this
    // very moment, then because the hour file holds it.
    store.put_object(&key, bytes, PutCondition::IfAbsent).await?;
    Ok(())
}

impl BatchOutcome {
    fn kept(&mut self, key: &S3Key, quarantined: usize) {
        tracing::error!(%key, "landing object kept: it, or a part of it, cannot be read (see quarantine/)");
        self.summary.objects += 1;
        self.summary.quarantined += quarantined;
        self.summary.kept += 1;
    }

    fn fail(&mut self, key: S3Key, failure: Failure) {
        tracing::error!(%key, reason = failure.reason, detail = failure.detail, "landing object failed");
        self.failures.insert(key, failure);
    }
}
