//! A chunk: rows of one stream, from one offset up to another, in the order of their hashes.
//!
//! The object is segments end to end, then a footer. A segment has the rows whose hash begins with its number (of
//! [`ChunkIndex::segment_bits`] bits): an Arrow IPC stream, zstd. Rows that are alike are there once, with a count. So whoever
//! puts a part of a dataset together fetches the ranges that the part is of, and holds a part in memory, not the dataset.

use std::ops::Range;

use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array, cast::AsArray, types::UInt32Type};
use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use arrow_select::interleave::interleave;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::row_hash::{Rows, RowsDigest, order_of};

/// How often a row is there. No warehouse has a column of this name: names that begin with `_` and end so are reserved.
const COUNT: &str = "_mannen_count_";
const MAGIC: &[u8; 8] = b"MNROWS01";
/// The footer's own tail: its length and the magic.
pub(crate) const TAIL_BYTES: u64 = 12;
const ZSTD_LEVEL: i32 = 1;
/// The most segments of a chunk, as bits.
pub(crate) const MAX_SEGMENT_BITS: u32 = 12;

/// What is in a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChunkIndex {
    /// Rows, each as often as it is there.
    pub(crate) rows: u64,
    /// Bytes of their encodings.
    pub(crate) row_bytes: u64,
    /// The sum of their hashes.
    pub(crate) digest: RowsDigest,
    /// How many first bits of a hash are a segment's number.
    pub(crate) segment_bits: u32,
    /// Where each segment ends; the first begins at 0.
    pub(crate) segment_ends: Vec<u64>,
}

impl ChunkIndex {
    /// The bytes of the segments that have hashes of part `part` of `2^part_bits`.
    pub(crate) fn range_of_part(&self, part: u32, part_bits: u32) -> Range<u64> {
        let segments = segments_of_part(part, part_bits, self.segment_bits);
        self.start(segments.start)..self.start(segments.end)
    }

    fn start(&self, segment: usize) -> u64 {
        if segment == 0 { 0 } else { self.segment_ends.get(segment - 1).copied().unwrap_or_default() }
    }

    /// The lengths of a part's segments, in order.
    pub(crate) fn lengths_of_part(&self, part: u32, part_bits: u32) -> Vec<usize> {
        let segments = segments_of_part(part, part_bits, self.segment_bits);
        segments.map(|segment| (self.start(segment + 1) - self.start(segment)) as usize).collect()
    }

    /// Reads the footer of a whole object, or of its end.
    pub(crate) fn read(end: &[u8]) -> Result<Self, String> {
        let length = footer_bytes(end)?;
        let end = &end[..end.len() - TAIL_BYTES as usize];
        let footer = end.len().checked_sub(length).ok_or("the footer is cut off")?;
        serde_json::from_slice(&end[footer..]).map_err(|error| error.to_string())
    }
}

/// The length of the footer's JSON, from the object's last bytes.
pub(crate) fn footer_bytes(end: &[u8]) -> Result<usize, String> {
    let tail = end.len().checked_sub(TAIL_BYTES as usize).map(|start| &end[start..]).ok_or("it is too short")?;
    if &tail[4..] != MAGIC {
        return Err("it is no chunk of rows".to_owned());
    }
    let mut length = [0; 4];
    length.copy_from_slice(&tail[..4]);
    Ok(u32::from_le_bytes(length) as usize)
}

fn segments_of_part(part: u32, part_bits: u32, segment_bits: u32) -> Range<usize> {
    let part = part as usize;
    if segment_bits >= part_bits {
        let each = segment_bits - part_bits;
        part << each..(part + 1) << each
    } else {
        let segment = part >> (part_bits - segment_bits);
        segment..segment + 1
    }
}

/// The first `bits` bits of a hash.
pub(crate) fn first_bits(order: u128, bits: u32) -> u32 {
    if bits == 0 { 0 } else { (order >> (128 - bits)) as u32 }
}

/// Makes a chunk of batches in the order that they came in.
pub(crate) fn seal(batches: &[RecordBatch], schema: &SchemaRef, segment_bits: u32) -> Result<Bytes, ArrowError> {
    let mut index =
        ChunkIndex { rows: 0, row_bytes: 0, digest: RowsDigest::default(), segment_bits, segment_ends: Vec::new() };
    let mut order = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    let mut scratch = Vec::new();
    for (batch, of) in batches.iter().enumerate() {
        let rows = Rows::of(of)?;
        for row in 0..of.num_rows() {
            let hash = rows.hash(row, &mut scratch);
            index.digest.add_row(&hash, 1);
            index.row_bytes += scratch.len() as u64;
            order.push((order_of(&hash), batch as u32, row as u32));
        }
    }
    index.rows = order.len() as u64;
    order.sort_unstable();
    let with_count = with_count(schema);
    let mut bytes = Vec::new();
    let mut rest = order.as_slice();
    for segment in 0..1_u32 << segment_bits {
        let length = rest.partition_point(|(order, ..)| first_bits(*order, segment_bits) <= segment);
        let (rows, after) = rest.split_at(length);
        rest = after;
        if !rows.is_empty() {
            let segment = segment_of(batches, &with_count, rows)?;
            bytes.extend_from_slice(&zstd::bulk::compress(&segment, ZSTD_LEVEL)?);
        }
        index.segment_ends.push(bytes.len() as u64);
    }
    let footer = serde_json::to_vec(&index).map_err(|error| ArrowError::ExternalError(error.into()))?;
    bytes.extend_from_slice(&footer);
    bytes.extend_from_slice(&(footer.len() as u32).to_le_bytes());
    bytes.extend_from_slice(MAGIC);
    Ok(bytes.into())
}

fn with_count(schema: &SchemaRef) -> SchemaRef {
    let count = Field::new(COUNT, DataType::UInt32, false);
    let fields = schema.fields().iter().map(|field| field.as_ref().clone()).chain([count]);
    Schema::new(fields.collect::<Vec<_>>()).into()
}

fn segment_of(batches: &[RecordBatch], schema: &SchemaRef, rows: &[(u128, u32, u32)]) -> Result<Vec<u8>, ArrowError> {
    let (mut places, mut counts) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    let mut last = None;
    for (order, batch, row) in rows {
        if last.replace(order) == Some(order) {
            if let Some(count) = counts.last_mut() {
                *count += 1;
            }
        } else {
            places.push((*batch as usize, *row as usize));
            counts.push(1_u32);
        }
    }
    let mut columns = interleaved(batches, &places)?;
    columns.push(std::sync::Arc::new(UInt32Array::from(counts)));
    let batch = RecordBatch::try_new(schema.clone(), columns)?;
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    writer.write(&batch)?;
    writer.into_inner()
}

/// The rows at `places` (batch, row), column by column.
pub(crate) fn interleaved(batches: &[RecordBatch], places: &[(usize, usize)]) -> Result<Vec<ArrayRef>, ArrowError> {
    let columns = batches.first().map_or(0, RecordBatch::num_columns);
    (0..columns)
        .map(|column| {
            let arrays: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(column).as_ref()).collect();
            interleave(&arrays, places)
        })
        .collect()
}

/// The rows of one segment, each once, and how often each is there.
pub(crate) fn open_segment(bytes: &[u8]) -> Result<Vec<(RecordBatch, UInt32Array)>, ArrowError> {
    let bytes = zstd::stream::decode_all(bytes)?;
    let mut opened = Vec::new();
    for batch in StreamReader::try_new(bytes.as_slice(), None)? {
        let mut batch = batch?;
        let last = batch.num_columns().checked_sub(1).ok_or_else(|| ArrowError::IpcError("no column".to_owned()))?;
        let counts = batch.remove_column(last);
        let counts = counts.as_primitive_opt::<UInt32Type>();
        let counts = counts.ok_or_else(|| ArrowError::IpcError("the last column has no counts".to_owned()))?;
        opened.push((batch, counts.clone()));
    }
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::Int64Array;

    use super::*;

    fn batch(values: &[i64]) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(values.to_vec()))]).unwrap()
    }

    #[test]
    fn a_chunk_has_every_row_as_often_as_it_was_given() {
        let batches = [batch(&[1, 2, 3, 3]), batch(&[3, 4, 1])];
        for segment_bits in [0, 1, 4] {
            let bytes = seal(&batches, &batches[0].schema(), segment_bits).unwrap();
            let index = ChunkIndex::read(&bytes).unwrap();
            assert_eq!((index.rows, index.segment_ends.len()), (7, 1 << segment_bits));
            for part_bits in [0, 2, 5] {
                let mut found = Vec::new();
                for part in 0..1_u32 << part_bits {
                    let range = index.range_of_part(part, part_bits);
                    let mut rest = &bytes[range.start as usize..range.end as usize];
                    for length in index.lengths_of_part(part, part_bits) {
                        let (segment, after) = rest.split_at(length);
                        rest = after;
                        if segment.is_empty() {
                            continue;
                        }
                        for (rows, counts) in open_segment(segment).unwrap() {
                            let (hashes, mut scratch) = (Rows::of(&rows).unwrap(), Vec::new());
                            for row in 0..rows.num_rows() {
                                let order = order_of(&hashes.hash(row, &mut scratch));
                                if first_bits(order, part_bits) == part {
                                    let value = rows.column(0).as_primitive::<arrow_array::types::Int64Type>();
                                    found.push((value.value(row), counts.value(row)));
                                }
                            }
                        }
                    }
                }
                found.sort_unstable();
                assert_eq!(found, [(1, 2), (2, 1), (3, 3), (4, 1)], "{segment_bits} {part_bits}");
            }
        }
    }

    #[test]
    fn what_is_no_chunk_is_told() {
        assert!(ChunkIndex::read(b"short").is_err());
        assert!(ChunkIndex::read(&[0; 40]).unwrap_err().contains("no chunk"));
        let bytes = seal(&[batch(&[1])], &batch(&[]).schema(), 0).unwrap();
        assert!(ChunkIndex::read(&bytes[bytes.len() - 20..]).unwrap_err().contains("cut off"));
    }
}
