use std::collections::BTreeMap;

use archive::{FOOTER_BYTES, QuarantinedLine, footer_rows};
use bytes::Bytes;
use cloud::object_store::{GetObject, GetRange, ListObjects, ListedObject, RangeOutcome};
use domain::{
    Hour,
    lake::{LANDING, QUARANTINE, QUARANTINED_OBJECTS, SEGMENTS},
};
use futures::{StreamExt, stream};
use serde::Serialize;

use super::hour_files;
use crate::{ArchiverError, archive_batch::CONCURRENCY};

/// Objects that wait for the archiver or the compactor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct LandingStats {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One table's hour files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableStats {
    /// `predictions/<model>`, `outcomes` or `inferences/<model>`.
    pub table: String,
    /// Hour files.
    pub hours: u64,
    /// Rows, as their footers say: candidates, events.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// The first hour.
    pub first: Hour,
    /// The last one.
    pub last: Hour,
    /// Hours that begin later than now: ids of callers, or machines, whose clock is ahead.
    pub hours_ahead: u64,
}

/// What lies where.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ArchiveStats {
    /// Landing objects by kind (`predictions`, `data-capture`, …).
    pub landing: BTreeMap<String, LandingStats>,
    /// Segments that are not compacted yet.
    pub segments: LandingStats,
    /// Hour files.
    pub tables: Vec<TableStats>,
    /// Quarantined lines and messages by reason code.
    pub quarantine: BTreeMap<String, u64>,
    /// Landed objects that no table was known for.
    pub quarantined_objects: u64,
}

/// Counts objects, and the hour files' rows from their footers. `now` tells which hours lie ahead.
///
/// # Errors
/// The store does not answer, or an hour file has no footer.
pub async fn archive_stats<S>(store: &S, now: Hour) -> Result<ArchiveStats, ArchiverError>
where
    S: GetObject + GetRange + ListObjects + ?Sized,
{
    let mut stats = ArchiveStats::default();
    let add = |stats: &mut LandingStats, object: &ListedObject| {
        stats.objects += 1;
        stats.bytes += object.size_bytes;
    };
    for object in store.list_objects(LANDING).await? {
        let kind = object.key.strip_prefix(LANDING).and_then(|below| below.split('/').next()).unwrap_or_default();
        add(stats.landing.entry(kind.to_owned()).or_default(), &object);
    }
    for object in store.list_objects(SEGMENTS).await? {
        add(&mut stats.segments, &object);
    }
    let files = hour_files(store).await?;
    let reads = files.into_iter().map(async |(partition, object)| {
        let rows = rows(store, &object).await;
        (partition, object, rows)
    });
    let mut reads = stream::iter(reads).buffered(CONCURRENCY);
    let mut tables: BTreeMap<String, TableStats> = BTreeMap::new();
    while let Some((partition, object, rows)) = reads.next().await {
        let (table, hour) = (partition.table.to_string(), partition.hour);
        let entry = tables.entry(table.clone()).or_insert(TableStats {
            table,
            hours: 0,
            rows: 0,
            bytes: 0,
            first: hour,
            last: hour,
            hours_ahead: 0,
        });
        entry.hours += 1;
        entry.rows += rows?;
        entry.bytes += object.size_bytes;
        entry.first = entry.first.min(hour);
        entry.last = entry.last.max(hour);
        entry.hours_ahead += u64::from(hour > now);
    }
    stats.tables = tables.into_values().collect();
    let (objects, lines): (Vec<_>, Vec<_>) = store
        .list_objects(QUARANTINE)
        .await?
        .into_iter()
        .partition(|object| object.key.starts_with(QUARANTINED_OBJECTS));
    stats.quarantined_objects = objects.len() as u64;
    let reads = lines.iter().map(async |object| store.get_object(&object.key, None).await);
    let mut reads = stream::iter(reads).buffered(CONCURRENCY);
    while let Some(read) = reads.next().await {
        let Some(object) = read?.found() else { continue };
        let reason = QuarantinedLine::from_document(&object.bytes).map_or("unknown".to_owned(), |line| line.reason);
        *stats.quarantine.entry(reason).or_default() += 1;
    }
    Ok(stats)
}

/// The rows of an hour file, from its last bytes.
async fn rows<S: GetObject + GetRange + ?Sized>(store: &S, object: &ListedObject) -> Result<u64, ArchiverError> {
    let unreadable = |source| ArchiverError::Archive { key: object.key.clone(), source };
    let begin = object.size_bytes.saturating_sub(FOOTER_BYTES);
    let tail = match store.get_range(&object.key, begin..object.size_bytes, &object.etag).await? {
        RangeOutcome::Found(tail) => tail,
        // Compacted in this moment.
        RangeOutcome::Changed | RangeOutcome::Missing => Bytes::new(),
    };
    if let Ok(Some(rows)) = footer_rows(&tail, object.size_bytes) {
        return Ok(rows);
    }
    let Some(found) = store.get_object(&object.key, None).await?.found() else { return Ok(0) };
    let size_bytes = found.bytes.len() as u64;
    Ok(footer_rows(&found.bytes, size_bytes).map_err(unreadable)?.unwrap_or_default())
}
