use std::collections::BTreeSet;

use cloud::object_store::{DeleteObject, GetObject, ListObjects};
use domain::{
    Hour, Release, ReleaseId, ReleasePointer,
    lake::{self, EVALUATIONS, Partition, QUARANTINE, RELEASES, Table},
};
use futures::{StreamExt, stream};
use serde::Serialize;

use super::hour_files;
use crate::{ArchiverError, archive_batch::CONCURRENCY};

/// How long things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Hour files and their evaluations, in hours of event time; for ever where absent.
    pub archive_hours: Option<u32>,
    /// Quarantined lines, in hours of the event time in their landing key; for ever where absent.
    pub quarantine_hours: Option<u32>,
}

/// What may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GcPolicy {
    /// The hour that is now.
    pub now: Hour,
    /// Nothing younger goes, whatever it is: it may be in the making.
    pub min_age_hours: u32,
    /// How long things are kept.
    pub retention: Retention,
    /// Tells what would go, and changes nothing.
    pub dry_run: bool,
}

impl GcPolicy {
    fn is_over(&self, hour: Hour, kept: Option<u32>) -> bool {
        let Some(kept) = kept else { return false };
        hour < self.now.plus(-i64::from(kept.max(self.min_age_hours)))
    }
}

/// Something that may go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Garbage {
    /// The object.
    pub key: String,
    /// Its bytes.
    pub bytes: u64,
    /// `retention`, or `unreachable`.
    pub reason: &'static str,
}

/// What a collection found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct GcReport {
    /// What went, or would go.
    pub garbage: Vec<Garbage>,
    /// Its bytes.
    pub bytes: u64,
    /// Release documents that stay, since a pointer or a kept record names them.
    pub releases_kept: u64,
    /// Release documents that stay, since they cannot be read or are too young.
    pub releases_spared: u64,
    /// Whether nothing was changed.
    pub dry_run: bool,
}

/// Collects what no retention keeps, and release documents that neither a pointer nor a kept record names. Roots are the
/// pointers in force and every record in hour files that stay, in segments and in the landing area.
///
/// # Errors
/// The store does not answer, or a file that may name releases cannot be read: then nothing was deleted.
pub async fn collect_garbage<S>(store: &S, policy: &GcPolicy) -> Result<GcReport, ArchiverError>
where
    S: GetObject + ListObjects + DeleteObject + ?Sized,
{
    let mut report = GcReport { dry_run: policy.dry_run, ..GcReport::default() };
    let retention = policy.retention;
    let mut kept = Vec::new();
    for (partition, object) in hour_files(store).await? {
        if policy.is_over(partition.hour, retention.archive_hours) {
            report.add(object.key, object.size_bytes, "retention");
        } else {
            kept.push(partition);
        }
    }
    for (prefix, hours) in [(EVALUATIONS, retention.archive_hours), (QUARANTINE, retention.quarantine_hours)] {
        for object in store.list_objects(prefix).await? {
            // Without an hour in its key its age is not known: it stays.
            if lake::hour_in_path(&object.key).is_some_and(|hour| policy.is_over(hour, hours)) {
                report.add(object.key, object.size_bytes, "retention");
            }
        }
    }
    releases(store, policy, &kept, &mut report).await?;
    if !policy.dry_run {
        let deletions = report.garbage.iter().map(|garbage| store.delete_object(&garbage.key));
        let mut deletions = stream::iter(deletions).buffered(CONCURRENCY);
        while let Some(deleted) = deletions.next().await {
            deleted?;
        }
    }
    Ok(report)
}

impl GcReport {
    fn add(&mut self, key: String, bytes: u64, reason: &'static str) {
        self.bytes += bytes;
        self.garbage.push(Garbage { key, bytes, reason });
    }
}

/// Marks and sweeps the release documents.
async fn releases<S>(
    store: &S,
    policy: &GcPolicy,
    kept: &[Partition],
    report: &mut GcReport,
) -> Result<(), ArchiverError>
where
    S: GetObject + ListObjects + ?Sized,
{
    // Listed before the roots are read: a release that is published meanwhile is not among them.
    let listed = store.list_objects(RELEASES).await?;
    let documents: Vec<_> = listed.iter().filter(|object| lake::release_id_of(&object.key).is_some()).collect();
    if documents.is_empty() {
        return Ok(());
    }
    let mut reachable: BTreeSet<ReleaseId> = named_by_records(store, kept).await?;
    for object in &listed {
        if lake::release_id_of(&object.key).is_none()
            && let Some(pointer) = store.get_object(&object.key, None).await?.found()
        {
            let pointer: ReleasePointer = serde_json::from_slice(&pointer.bytes)
                .map_err(|error| ArchiverError::Pointer { key: object.key.clone(), detail: error.to_string() })?;
            // The one before too: it is what a rollback goes to.
            reachable.extend([Some(pointer.release_id), pointer.previous].into_iter().flatten());
        }
    }
    for object in documents {
        let Some(id) = lake::release_id_of(&object.key) else { continue };
        if reachable.contains(&id) {
            report.releases_kept += 1;
            continue;
        }
        let document = store.get_object(&object.key, None).await?.found();
        let release = document.and_then(|document| serde_json::from_slice::<Release>(&document.bytes).ok());
        let is_old = |release: &Release| policy.is_over(Hour::of(release.created_at), Some(policy.min_age_hours));
        if release.as_ref().is_some_and(is_old) {
            report.add(object.key.clone(), object.size_bytes, "unreachable");
        } else {
            report.releases_spared += 1;
        }
    }
    Ok(())
}

/// The releases that records name, wherever these lie.
async fn named_by_records<S>(store: &S, kept: &[Partition]) -> Result<BTreeSet<ReleaseId>, ArchiverError>
where
    S: GetObject + ListObjects + ?Sized,
{
    let mut named = BTreeSet::new();
    for object in store.list_objects(lake::LANDING).await? {
        let Ok(source) = lake::landing_source(&object.key) else { continue };
        let Some(found) = store.get_object(&object.key, None).await?.found() else { continue };
        let landed = archive::decode_source(&source, &found.bytes, archive::DecodeLimits::default());
        if let archive::Rows::Predictions(rows) = landed.rows {
            let texts: BTreeSet<&str> = rows.release_ids().collect();
            named.extend(texts.into_iter().filter_map(|text| text.parse::<ReleaseId>().ok()));
        }
    }
    let mut files = Vec::new();
    for segment in store.list_objects(lake::SEGMENTS).await? {
        if lake::segment_partition(&segment.key).is_ok_and(|partition| matches!(partition.table, Table::Predictions(_)))
        {
            files.push(segment.key);
        }
    }
    let predictions = kept.iter().filter(|partition| matches!(partition.table, Table::Predictions(_)));
    files.extend(predictions.map(lake::hour_file));
    for key in files {
        let Some(object) = store.get_object(&key, None).await?.found() else { continue };
        let read = archive::read_release_ids(object.bytes);
        named.extend(read.map_err(|source| ArchiverError::Archive { key, source })?);
    }
    Ok(named)
}
