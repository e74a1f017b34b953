//! One extract, from plan to version, in one process. A state machine drives the same steps over several.

use std::time::Instant;

use domain::ModelName;
use warehouse::{Warehouse, WarehouseError};

use crate::{
    DatasetStore, DatasetsError,
    layout::layout,
    part::write_parts,
    plan::{Order, Plan, Planned, plan},
    publish::{PointerOutcome, Published, Publishing, publish},
    read_streams::{ReadSummary, Reading, read_streams},
    versions::read_manifest,
};

/// How one process extracts.
#[derive(Debug, Clone, Copy)]
pub struct Working<'a> {
    /// The most streams of a session.
    pub max_streams: usize,
    /// How streams are read.
    pub reading: Reading,
    /// Files written at once.
    pub parts_at_once: usize,
    /// How the version is published.
    pub publishing: Publishing<'a>,
}

/// What is told while an extract goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Progress {
    /// The rows stand still, and are so many where that is known.
    Staged(Option<u64>),
    /// So many rows were read since the last time.
    Read(u64),
    /// The version will have so many rows.
    LaidOut(u64),
    /// So many rows were written since the last time.
    Wrote(u64),
}

/// What an extract came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Extracted {
    /// The version.
    pub published: Published,
    /// What was read for it now; nothing where it was there already.
    pub read: Option<ReadSummary>,
    /// Seconds for reading, and for writing files.
    pub read_s: f64,
    /// Seconds for writing files.
    pub write_s: f64,
}

/// How often an extract begins again where its session ended or another process finished it meanwhile.
const TRIES: usize = 3;

/// Extracts: goes on where an earlier try of the same order stopped, and does nothing that is done.
///
/// # Errors
/// As the steps. What was done stays.
pub async fn extract<S: DatasetStore>(
    lake: &S,
    warehouse: &dyn Warehouse,
    order: &Order,
    working: Working<'_>,
    on_progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Extracted, DatasetsError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match once(lake, warehouse, order, working, on_progress).await {
            Err(error) if tries < TRIES && begins_again(&error) => {
                tracing::warn!(reason = error.reason(), %error, "the extract begins again");
            }
            other => return other,
        }
    }
}

fn begins_again(error: &DatasetsError) -> bool {
    matches!(
        error,
        DatasetsError::Warehouse(WarehouseError::SessionExpired(_))
            | DatasetsError::OutOfStep { .. }
            | DatasetsError::Unusable { .. }
    )
}

async fn once<S: DatasetStore>(
    lake: &S,
    warehouse: &dyn Warehouse,
    order: &Order,
    working: Working<'_>,
    on_progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Extracted, DatasetsError> {
    let plan = match plan(lake, warehouse, order, working.max_streams).await? {
        Planned::Published(address) => {
            let published = already(lake, &order.definition.dataset, &address).await?;
            return Ok(Extracted { published, read: None, read_s: 0.0, write_s: 0.0 });
        }
        Planned::UnderWay(plan) => plan,
    };
    on_progress(Progress::Staged(plan.staged.rows));
    let began = Instant::now();
    let streams: Vec<usize> = (0..plan.session.streams.len()).collect();
    let on_rows = |rows| on_progress(Progress::Read(rows));
    let read = read_streams(lake, warehouse, &plan, &streams, working.reading, &on_rows).await?;
    if read.unfinished > 0 {
        let detail = format!("time was up with {} streams to read; start the same extract again", read.unfinished);
        return Err(DatasetsError::Interrupted(detail));
    }
    let read_s = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let published = finish(lake, &plan, working, on_progress).await?;
    Ok(Extracted { published, read: Some(read), read_s, write_s: began.elapsed().as_secs_f64() })
}

/// Lays out, writes and publishes what is read.
///
/// # Errors
/// As the steps.
pub async fn finish<S: DatasetStore>(
    lake: &S,
    plan: &Plan,
    working: Working<'_>,
    on_progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Published, DatasetsError> {
    let layout = layout(lake, plan).await?;
    on_progress(Progress::LaidOut(layout.identity.rows));
    let parts: Vec<u32> = (0..layout.parts()).collect();
    let on_part = |rows| on_progress(Progress::Wrote(rows));
    write_parts(lake, plan, &layout, &parts, working.parts_at_once, &on_part).await?;
    publish(lake, plan, &layout, working.publishing).await
}

/// A version that was there already.
pub async fn already<S: DatasetStore>(
    lake: &S,
    dataset: &ModelName,
    address: &str,
) -> Result<Published, DatasetsError> {
    let manifest = read_manifest(lake, dataset, address).await?;
    Ok(Published {
        address: address.to_owned(),
        rows: manifest.identity.rows,
        bytes: manifest.bytes,
        files: manifest.files.len(),
        published: false,
        pointer: PointerOutcome::Unchanged,
    })
}
