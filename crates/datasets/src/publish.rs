//! A version becomes visible: by its manifest, put once. Then it is put in use, and what it was made of goes.

use cloud::object_store::{DeleteObject, ETag, GetObject, ListObjects, PutCondition, PutObject, PutOutcome};
use domain::{ModelName, lake};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{
    DatasetStore, DatasetsError,
    manifest::{Manifest, Pointer, sagemaker_manifest},
    part::read_part,
    plan::{JobDone, Layout, Plan, put_once, read_json},
    quality::Found,
    row_hash::RowsDigest,
    statistics,
    unique::repeated,
    versions::{in_use, read_manifest},
};

/// What became of the pointer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PointerOutcome {
    /// This version is in use now.
    Moved,
    /// It was already.
    Unchanged,
    /// A version of a later state of the sources is in use; this one is not put before it.
    Superseded {
        /// The version in use.
        by: String,
    },
    /// The pointer was to stay.
    Kept,
}

/// What publishing came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// The version.
    pub address: String,
    /// Its rows.
    pub rows: u64,
    /// Its files' bytes.
    pub bytes: u64,
    /// Its files.
    pub files: usize,
    /// `false` where another had published the very same version first: theirs stands.
    pub published: bool,
    /// What became of the pointer.
    pub pointer: PointerOutcome,
}

/// How to publish.
#[derive(Debug, Clone, Copy)]
pub struct Publishing<'a> {
    /// The lake's bucket, for SageMaker's manifest.
    pub bucket: &'a str,
    /// Whether the version is put in use.
    pub promote: bool,
    /// Now, UTC.
    pub now: Timestamp,
}

/// Publishes a version whose files are all written, puts it in use, and deletes what it was made of.
///
/// # Errors
/// [`DatasetsError::Refused`] where the rows are not what is expected: nothing is published, and what was read stays, so that
/// the extract goes on from here once the expectations are mended. [`DatasetsError::OutOfStep`] where a file is missing.
pub async fn publish<S: DatasetStore>(
    lake: &S,
    plan: &Plan,
    layout: &Layout,
    publishing: Publishing<'_>,
) -> Result<Published, DatasetsError> {
    let (dataset, address) = (&plan.definition.dataset, &layout.address);
    let manifest = manifest(lake, plan, layout).await?;
    let sagemaker = sagemaker_manifest(publishing.bucket, &manifest.files);
    let key = lake::dataset_sagemaker_manifest(dataset, address);
    lake.put_object(&key, sagemaker.into(), PutCondition::Always).await?;
    let key = lake::dataset_manifest(dataset, address);
    let stored = lake.put_object(&key, manifest.to_bytes().into(), PutCondition::IfAbsent).await?;
    // A put whose answer was lost and that was sent again meets itself.
    let published = match stored {
        PutOutcome::Stored(_) => true,
        PutOutcome::PreconditionFailed => read_manifest(lake, dataset, address).await? == manifest,
    };
    let pointer = if publishing.promote {
        advance(lake, dataset, address, manifest.identity.origin.as_of, publishing.now).await?
    } else {
        PointerOutcome::Kept
    };
    let done = JobDone { address: address.clone(), published_at: publishing.now };
    put_once(lake, &lake::dataset_job(dataset, &plan.job), &done).await?;
    if let Err(error) = delete_staging(lake, dataset, &plan.job).await {
        warn!(job = plan.job, reason = error.reason(), %error, "what the version was made of stays until it is collected");
    }
    Ok(Published {
        address: address.clone(),
        rows: manifest.identity.rows,
        bytes: manifest.bytes,
        files: manifest.files.len(),
        published,
        pointer,
    })
}

/// The manifest, once all is as it should be.
async fn manifest<S: DatasetStore>(lake: &S, plan: &Plan, layout: &Layout) -> Result<Manifest, DatasetsError> {
    let expect = &plan.definition.expect;
    let (mut files, mut columns, mut digest, mut rows) = (Vec::new(), Vec::new(), RowsDigest::default(), 0);
    for part in 0..layout.parts() {
        let record = read_part(lake, plan, layout, part).await?;
        let record = record.ok_or_else(|| DatasetsError::OutOfStep {
            job: plan.job.clone(),
            detail: format!("file {part} of {} is not written", layout.parts()),
        })?;
        rows += record.file.rows;
        digest.add(&record.digest);
        statistics::merge(&mut columns, &record.statistics);
        files.push(record.file);
    }
    if (rows, digest) != (layout.identity.rows, layout.identity.rows_digest) {
        let key = lake::dataset_layout(&plan.definition.dataset, &plan.job, &plan.session.id);
        return Err(DatasetsError::unusable(key, "the files have other rows than were read; start the extract again"));
    }
    let in_use = match in_use(lake, &plan.definition.dataset).await? {
        Some((pointer, _)) => Some(read_manifest(lake, &plan.definition.dataset, &pointer.address).await?),
        None => None,
    };
    let checks = expect.check(&Found {
        schema: &layout.identity.schema,
        rows,
        statistics: &columns,
        state_at: plan.state_at(),
        repeated: &repeated(lake, plan, layout).await?,
        in_use: in_use.as_ref().filter(|in_use| in_use.address != layout.address),
    });
    if checks.iter().any(|check| !check.passed) {
        return Err(DatasetsError::Refused(checks));
    }
    Ok(Manifest {
        address: layout.address.clone(),
        identity: layout.identity.clone(),
        job: plan.staged.job.clone(),
        bytes_processed: plan.staged.bytes_processed,
        created_at: plan.created_at,
        bytes: files.iter().map(|file| file.bytes).sum(),
        files,
        statistics: columns,
        checks,
    })
}

/// Moves are tried again so often where others move too.
const TRIES: usize = 8;

/// Puts a version in use, unless one of a later state of the sources is.
async fn advance<S: GetObject + PutObject>(
    lake: &S,
    dataset: &ModelName,
    address: &str,
    as_of: Option<Timestamp>,
    now: Timestamp,
) -> Result<PointerOutcome, DatasetsError> {
    for _ in 0..TRIES {
        let current = in_use(lake, dataset).await?;
        if let Some((current, _)) = &current {
            if current.address == address {
                return Ok(PointerOutcome::Unchanged);
            }
            // Files are of no time: they are neither before a query's rows nor after them.
            if current.as_of.zip(as_of).is_some_and(|(current, as_of)| current > as_of) {
                return Ok(PointerOutcome::Superseded { by: current.address.clone() });
            }
        }
        let pointer = Pointer { address: address.to_owned(), as_of, moved_at: now, previous: None, reason: None };
        if swap(lake, dataset, current, pointer).await? {
            return Ok(PointerOutcome::Moved);
        }
    }
    Err(DatasetsError::MovedMeanwhile(dataset.clone()))
}

/// Moves the pointer by compare-and-swap, and keeps the move. `false`: another was first.
pub(crate) async fn swap<S: GetObject + PutObject>(
    lake: &S,
    dataset: &ModelName,
    current: Option<(Pointer, ETag)>,
    mut pointer: Pointer,
) -> Result<bool, DatasetsError> {
    let condition = match current {
        None => PutCondition::IfAbsent,
        Some((before, etag)) => {
            // Moves are in order of time, whatever the clocks of those who make them say.
            let earliest = before.moved_at.checked_add(SignedDuration::from_micros(1)).unwrap_or(before.moved_at);
            pointer.moved_at = pointer.moved_at.max(earliest);
            // A mover that died before it kept its move is told of by the next one.
            put_once(lake, &lake::dataset_move(dataset, before.moved_at, &before.address), &before).await?;
            pointer.previous = Some(before.address);
            PutCondition::IfMatch(etag)
        }
    };
    let json = serde_json::to_vec_pretty(&pointer).unwrap_or_default();
    let outcome = lake.put_object(&lake::dataset_pointer(dataset), json.into(), condition).await?;
    if outcome == PutOutcome::PreconditionFailed {
        let found = read_json::<Pointer, _>(lake, &lake::dataset_pointer(dataset)).await?;
        if found.is_none_or(|(found, _)| found != pointer) {
            return Ok(false);
        }
    }
    put_once(lake, &lake::dataset_move(dataset, pointer.moved_at, &pointer.address), &pointer).await?;
    Ok(true)
}

/// Deletes what an extract left under way, its plan last.
pub(crate) async fn delete_staging<S: ListObjects + DeleteObject>(
    lake: &S,
    dataset: &ModelName,
    job: &str,
) -> Result<(), DatasetsError> {
    let plan = lake::dataset_plan(dataset, job);
    let folder = plan.trim_end_matches("plan.json");
    for object in lake.list_objects(folder).await? {
        if object.key != plan {
            lake.delete_object(&object.key).await?;
        }
    }
    lake.delete_object(&plan).await?;
    Ok(())
}
