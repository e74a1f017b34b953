//! One file of a version: the rows of a range of hashes, out of all chunks, in the order of their hashes.

use std::sync::Arc;

use arrow_array::{RecordBatch, UInt32Array};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use cloud::object_store::{PutCondition, PutOutcome};
use domain::{digest::sha256_hex, lake};
use futures::{StreamExt, TryStreamExt, stream};
use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use serde::{Deserialize, Serialize};

use crate::{
    DatasetStore, DatasetsError,
    chunk::{ChunkIndex, first_bits, interleaved, open_segment},
    layout::{indices, range_of},
    manifest::DataFile,
    plan::{Layout, Plan, put_once, read_json},
    row_hash::{Rows, RowsDigest, order_of},
    statistics::{ColumnStatistics, Counting},
    unique::{keys_to_bytes, rule_columns, unique_keys},
};

/// Rows in one row group.
const GROUP_ROWS: usize = 131_072;
/// Bytes in one row group, where rows are long.
const GROUP_BYTES: usize = 32 * 1024 * 1024;
/// Rows put in order and counted at once.
const BATCH_ROWS: usize = 8_192;
/// Ranges of chunks fetched at once, for one file.
const FETCHES: usize = 8;

/// What is known of one file once it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PartRecord {
    /// The address of the version that it is of.
    pub(crate) address: String,
    /// The file.
    pub(crate) file: DataFile,
    /// The sum of its rows' hashes.
    pub(crate) digest: RowsDigest,
    /// What is known of its columns.
    pub(crate) statistics: Vec<ColumnStatistics>,
    /// The unique rules whose keys lie beside it.
    pub(crate) unique: Vec<Vec<String>>,
}

/// Told when a file is written: its rows.
pub type OnPart<'a> = &'a (dyn Fn(u64) + Send + Sync);

/// Writes files of a version, those that are not written yet.
///
/// # Errors
/// The lake, or a chunk that is damaged.
pub async fn write_parts<S: DatasetStore>(
    lake: &S,
    plan: &Plan,
    layout: &Layout,
    parts: &[u32],
    concurrency: usize,
    on_part: OnPart<'_>,
) -> Result<(), DatasetsError> {
    let schema = plan.schema()?;
    let mut missing = Vec::new();
    for part in parts.iter().copied().filter(|part| *part < layout.parts()) {
        match read_part(lake, plan, layout, part).await? {
            Some(record) => on_part(record.file.rows),
            None => missing.push(part),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let indices = Arc::new(indices(lake, &layout.chunks).await?);
    let (schema, indices) = (&schema, &indices);
    stream::iter(missing)
        .map(async |part| write_part(lake, plan, layout, schema, indices, part).await)
        .buffer_unordered(concurrency.max(1))
        .try_for_each(async |rows| {
            on_part(rows);
            Ok(())
        })
        .await
}

/// What is known of a file, where it is written.
pub(crate) async fn read_part<S: DatasetStore>(
    lake: &S,
    plan: &Plan,
    layout: &Layout,
    part: u32,
) -> Result<Option<PartRecord>, DatasetsError> {
    let key = lake::dataset_part_record(&plan.definition.dataset, &plan.job, &plan.session.id, part);
    let record = read_json::<PartRecord, _>(lake, &key).await?.map(|(record, _)| record);
    // Where the expectations have another unique rule since, its keys are not there.
    Ok(record.filter(|record| record.address == layout.address && record.unique == plan.definition.expect.unique))
}

async fn write_part<S: DatasetStore>(
    lake: &S,
    plan: &Plan,
    layout: &Layout,
    schema: &SchemaRef,
    indices: &Arc<Vec<ChunkIndex>>,
    part: u32,
) -> Result<u64, DatasetsError> {
    let (dataset, session) = (&plan.definition.dataset, &plan.session.id);
    let ranges = layout.chunks.iter().zip(indices.iter()).enumerate().map(async |(number, (chunk, index))| {
        let range = index.range_of_part(part, layout.part_bits);
        if range.is_empty() {
            return Ok::<_, DatasetsError>((number, Bytes::new()));
        }
        Ok((number, range_of(lake, chunk, range).await?))
    });
    let fetched: Vec<(usize, Bytes)> = stream::iter(ranges).buffered(FETCHES).try_collect().await?;
    let (schema, indices, part_bits) = (Arc::clone(schema), Arc::clone(indices), layout.part_bits);
    let unique = plan.definition.expect.unique.clone();
    let rules = rule_columns(&schema, &unique)?;
    let encoded = tokio::task::spawn_blocking(move || {
        let (batches, counts) = open(fetched, &indices, part, part_bits)?;
        encode(&batches, &counts, &schema, (part, part_bits), &rules)
    });
    let encoded = encoded.await.map_err(|error| DatasetsError::Interrupted(error.to_string()))??;
    let Encoded { bytes, rows, digest, statistics, keys } = encoded;
    let file = DataFile {
        key: lake::dataset_part(dataset, &layout.address, part),
        sha256: sha256_hex(&bytes),
        bytes: bytes.len() as u64,
        rows,
    };
    put_immutable(lake, &file, bytes).await?;
    for (rule, keys) in keys.into_iter().enumerate() {
        let key = lake::dataset_part_keys(dataset, &plan.job, session, part, rule);
        lake.put_object(&key, keys_to_bytes(&keys), PutCondition::Always).await?;
    }
    let record = PartRecord { address: layout.address.clone(), file, digest, statistics, unique };
    let key = lake::dataset_part_record(dataset, &plan.job, session, part);
    if !put_once(lake, &key, &record).await? {
        // One is there that is of other rules, or another writer's, which says the same.
        let json = serde_json::to_vec_pretty(&record).unwrap_or_default();
        lake.put_object(&key, json.into(), PutCondition::Always).await?;
    }
    Ok(rows)
}

/// One put of the whole file: there is never a part of it, and what is there is never replaced.
async fn put_immutable<S: DatasetStore>(lake: &S, file: &DataFile, bytes: Bytes) -> Result<(), DatasetsError> {
    if lake.put_object(&file.key, bytes, PutCondition::IfAbsent).await? == PutOutcome::PreconditionFailed {
        let there = lake.get_object(&file.key, None).await?.found();
        if there.is_none_or(|there| sha256_hex(&there.bytes) != file.sha256) {
            let detail =
                "another content lies under this address; `mannen dataset gc` removes it where no version has it";
            return Err(DatasetsError::unusable(&file.key, detail));
        }
    }
    Ok(())
}

type Opened = (Vec<RecordBatch>, Vec<UInt32Array>);

fn open(
    fetched: Vec<(usize, Bytes)>,
    indices: &[ChunkIndex],
    part: u32,
    part_bits: u32,
) -> Result<Opened, DatasetsError> {
    let (mut batches, mut counts) = (Vec::new(), Vec::new());
    for (number, bytes) in fetched {
        let mut rest = bytes.as_ref();
        for length in indices[number].lengths_of_part(part, part_bits) {
            let Some((segment, after)) = rest.split_at_checked(length) else { break };
            rest = after;
            if segment.is_empty() {
                continue;
            }
            for (batch, of_batch) in open_segment(segment)? {
                batches.push(batch);
                counts.push(of_batch);
            }
        }
    }
    Ok((batches, counts))
}

struct Encoded {
    bytes: Bytes,
    rows: u64,
    digest: RowsDigest,
    statistics: Vec<ColumnStatistics>,
    /// By unique rule, in order.
    keys: Vec<Vec<u64>>,
}

/// A row, as often as it is there.
struct Entry {
    order: u128,
    count: u32,
    batch: u32,
    row: u32,
}

fn encode(
    batches: &[RecordBatch],
    counts: &[UInt32Array],
    schema: &SchemaRef,
    (part, part_bits): (u32, u32),
    rules: &[Vec<usize>],
) -> Result<Encoded, DatasetsError> {
    let (mut entries, mut digest, mut scratch) = (Vec::new(), RowsDigest::default(), Vec::new());
    for (batch, (of, counts)) in batches.iter().zip(counts).enumerate() {
        let rows = Rows::of(of)?;
        for row in 0..of.num_rows() {
            let hash = rows.hash(row, &mut scratch);
            let (order, count) = (order_of(&hash), counts.value(row));
            if first_bits(order, part_bits) == part {
                digest.add_row(&hash, count);
                entries.push(Entry { order, count, batch: batch as u32, row: row as u32 });
            }
        }
    }
    entries.sort_unstable_by_key(|entry| entry.order);
    let mut output = Output::new(schema, rules)?;
    let mut places = Vec::with_capacity(BATCH_ROWS);
    for entry in &entries {
        for _ in 0..entry.count {
            places.push((entry.batch as usize, entry.row as usize));
            if places.len() == BATCH_ROWS {
                output.write(interleaved(batches, &places)?)?;
                places.clear();
            }
        }
    }
    if !places.is_empty() {
        output.write(interleaved(batches, &places)?)?;
    }
    output.finish(digest)
}

struct Output<'a> {
    schema: &'a SchemaRef,
    rules: &'a [Vec<usize>],
    writer: ArrowWriter<Vec<u8>>,
    counting: Counting,
    keys: Vec<Vec<u64>>,
    rows: u64,
}

impl<'a> Output<'a> {
    fn new(schema: &'a SchemaRef, rules: &'a [Vec<usize>]) -> Result<Self, DatasetsError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_max_row_group_bytes(Some(GROUP_BYTES))
            .set_created_by("mannen".to_owned())
            .build();
        // Without Arrow's own copy of the schema: the bytes should not depend on how its crate writes it.
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(schema), options)?;
        Ok(Self {
            schema,
            rules,
            writer,
            counting: Counting::new(schema),
            keys: vec![Vec::new(); rules.len()],
            rows: 0,
        })
    }

    fn write(&mut self, columns: Vec<arrow_array::ArrayRef>) -> Result<(), DatasetsError> {
        let batch = RecordBatch::try_new(Arc::clone(self.schema), columns)?;
        self.counting.add(&batch);
        for (rule, keys) in self.rules.iter().zip(&mut self.keys) {
            unique_keys(&batch, rule, keys)?;
        }
        self.rows += batch.num_rows() as u64;
        self.writer.write(&batch)?;
        Ok(())
    }

    fn finish(self, digest: RowsDigest) -> Result<Encoded, DatasetsError> {
        let Self { writer, counting, mut keys, rows, .. } = self;
        for keys in &mut keys {
            keys.sort_unstable();
        }
        Ok(Encoded { bytes: writer.into_inner()?.into(), rows, digest, statistics: counting.done(), keys })
    }
}
