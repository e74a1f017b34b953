//! From what was read to what the version will be: its address and its files, before any is written.

use cloud::object_store::{ETag, GetRange, RangeOutcome};
use domain::lake;
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    DatasetStore, DatasetsError,
    chunk::{ChunkIndex, TAIL_BYTES, footer_bytes},
    manifest::{FORMAT, Identity},
    plan::{LaidChunk, Layout, Plan, put_once, read_json, streams_read},
    row_hash::RowsDigest,
};

/// The most bytes of rows' encodings in one file, where rows' hashes are spread evenly. Files are half to all of it.
pub const PART_BYTES: u64 = 48 * 1024 * 1024;
/// What is read of a chunk's end at first.
const END_BYTES: u64 = 32 * 1024;
const CONCURRENCY: usize = 16;

/// The layout of an extract whose streams are all read.
///
/// # Errors
/// [`DatasetsError::OutOfStep`] where a stream is not read to its end.
pub async fn layout<S: DatasetStore>(lake: &S, plan: &Plan) -> Result<Layout, DatasetsError> {
    let dataset = &plan.definition.dataset;
    let key = lake::dataset_layout(dataset, &plan.job, &plan.session.id);
    if let Some((layout, _)) = read_json(lake, &key).await? {
        return Ok(layout);
    }
    let streams = streams_read(lake, plan).await?;
    let unread = streams.iter().filter(|stream| !stream.ended).count();
    if unread > 0 {
        let detail = format!("{unread} of {} streams are not read to their ends", streams.len());
        return Err(DatasetsError::OutOfStep { job: plan.job.clone(), detail });
    }
    let chunks: Vec<LaidChunk> = streams.into_iter().flat_map(|stream| stream.chunks).collect();
    let (mut rows, mut row_bytes, mut rows_digest) = (0, 0, RowsDigest::default());
    for index in indices(lake, &chunks).await? {
        rows += index.rows;
        row_bytes += index.row_bytes;
        rows_digest.add(&index.digest);
    }
    let identity = Identity {
        format: FORMAT.to_owned(),
        dataset: dataset.clone(),
        origin: plan.origin(),
        schema: plan.columns()?,
        parents: plan.definition.parents.clone(),
        rows,
        row_bytes,
        rows_digest,
    };
    let part_bits = row_bytes.div_ceil(PART_BYTES).max(1).next_power_of_two().ilog2();
    let layout = Layout { address: identity.address(), identity, part_bits, chunks };
    if put_once(lake, &key, &layout).await? {
        return Ok(layout);
    }
    // Another laid it out meanwhile, of other chunks perhaps.
    let theirs = read_json(lake, &key).await?.map(|(layout, _)| layout);
    theirs.ok_or_else(|| DatasetsError::unusable(key, "it was deleted while it was read; start the extract again"))
}

/// The footers of chunks, in their order.
pub(crate) async fn indices<S: GetRange>(lake: &S, chunks: &[LaidChunk]) -> Result<Vec<ChunkIndex>, DatasetsError> {
    stream::iter(chunks).map(|chunk| read_index(lake, chunk)).buffered(CONCURRENCY).try_collect().await
}

async fn read_index<S: GetRange>(lake: &S, chunk: &LaidChunk) -> Result<ChunkIndex, DatasetsError> {
    let unusable = |detail: String| DatasetsError::unusable(&chunk.key, detail);
    let start = chunk.bytes.saturating_sub(END_BYTES);
    let mut end = range_of(lake, chunk, start..chunk.bytes).await?;
    let footer = footer_bytes(&end).map_err(unusable)? as u64 + TAIL_BYTES;
    if footer > end.len() as u64 {
        end = range_of(lake, chunk, chunk.bytes.saturating_sub(footer)..chunk.bytes).await?;
    }
    ChunkIndex::read(&end).map_err(unusable)
}

/// A range of a chunk.
pub(crate) async fn range_of<S: GetRange>(
    lake: &S,
    chunk: &LaidChunk,
    range: std::ops::Range<u64>,
) -> Result<bytes::Bytes, DatasetsError> {
    match lake.get_range(&chunk.key, range, &ETag(chunk.etag.clone())).await? {
        RangeOutcome::Found(bytes) => Ok(bytes),
        RangeOutcome::Missing => Err(DatasetsError::unusable(&chunk.key, "it is gone; start the extract again")),
        RangeOutcome::Changed => {
            Err(DatasetsError::unusable(&chunk.key, "it was written again; start the extract again"))
        }
    }
}
