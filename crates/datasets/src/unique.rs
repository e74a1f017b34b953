//! Whether values are unique, over all files, in bounded memory.
//!
//! Each file leaves the 64-bit hashes of its keys, sorted. They are compared range by range, so that only a range is in
//! memory. Two different keys have one hash with a probability of about n²/2⁶⁵: for ten million rows 3 in a million, in
//! which case a good version would be refused, and none that repeats a key is let through.

use arrow_array::{Array, RecordBatch};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use cloud::object_store::{ETag, RangeOutcome};
use domain::lake;

use crate::{
    DatasetStore, DatasetsError,
    plan::{Layout, Plan},
    row_hash::Rows,
};

/// Hashes in memory at once.
const IN_MEMORY: u64 = 4 * 1024 * 1024;
/// Bytes of one hash.
const KEY_BYTES: u64 = 8;

/// The columns of each rule, by their places.
pub(crate) fn rule_columns(schema: &SchemaRef, rules: &[Vec<String>]) -> Result<Vec<Vec<usize>>, DatasetsError> {
    rules
        .iter()
        .map(|rule| rule.iter().map(|name| schema.index_of(name).map_err(DatasetsError::from)).collect())
        .collect()
}

/// Appends the hashes of a batch's keys. A key with a NULL in it is none.
pub(crate) fn unique_keys(batch: &RecordBatch, rule: &[usize], keys: &mut Vec<u64>) -> Result<(), DatasetsError> {
    let columns: Vec<_> = rule.iter().map(|column| batch.column(*column).clone()).collect();
    let (rows, mut scratch) = (Rows::of_columns(&columns)?, Vec::new());
    for row in 0..batch.num_rows() {
        if columns.iter().all(|column| column.is_valid(row)) {
            let hash = rows.hash(row, &mut scratch);
            let mut first = [0; 8];
            first.copy_from_slice(&hash[..8]);
            keys.push(u64::from_be_bytes(first));
        }
    }
    Ok(())
}

pub(crate) fn keys_to_bytes(keys: &[u64]) -> Bytes {
    keys.iter().flat_map(|key| key.to_be_bytes()).collect::<Vec<_>>().into()
}

/// For each rule, how many rows repeat the key of another.
pub(crate) async fn repeated<S: DatasetStore>(
    lake: &S,
    plan: &Plan,
    layout: &Layout,
) -> Result<Vec<u64>, DatasetsError> {
    let mut repeated = Vec::new();
    for rule in 0..plan.definition.expect.unique.len() {
        repeated.push(repeated_of_rule(lake, plan, layout, rule).await?);
    }
    Ok(repeated)
}

async fn repeated_of_rule<S: DatasetStore>(
    lake: &S,
    plan: &Plan,
    layout: &Layout,
    rule: usize,
) -> Result<u64, DatasetsError> {
    let mut files = Vec::new();
    for part in 0..layout.parts() {
        let (dataset, session) = (&plan.definition.dataset, &plan.session.id);
        let key = lake::dataset_part_keys(dataset, &plan.job, session, part, rule);
        let head = lake.head_object(&key).await?;
        let head = head.ok_or_else(|| DatasetsError::unusable(&key, "it is gone; start the extract again"))?;
        files.push(SortedKeys { key, etag: head.etag, read: 0, bytes: head.size_bytes, ahead: Vec::new() });
    }
    let total: u64 = files.iter().map(|file| file.bytes / KEY_BYTES).sum();
    let ranges = total.div_ceil(IN_MEMORY).max(1).next_power_of_two();
    let (mut repeated, mut keys) = (0, Vec::new());
    for range in 1..=ranges {
        // The last hash of the range.
        let last = ((u128::from(range) << 64) / u128::from(ranges) - 1) as u64;
        keys.clear();
        for file in &mut files {
            file.take_until(lake, last, &mut keys).await?;
        }
        keys.sort_unstable();
        repeated += keys.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64;
    }
    Ok(repeated)
}

struct SortedKeys {
    key: String,
    etag: ETag,
    read: u64,
    bytes: u64,
    /// Read and not taken, the first one last.
    ahead: Vec<u64>,
}

/// What is read of one file at once.
const BLOCK_BYTES: u64 = 256 * 1024;

impl SortedKeys {
    async fn take_until<S: DatasetStore>(
        &mut self,
        lake: &S,
        last: u64,
        keys: &mut Vec<u64>,
    ) -> Result<(), DatasetsError> {
        loop {
            while self.ahead.last().is_some_and(|next| *next <= last) {
                keys.extend(self.ahead.pop());
            }
            if !self.ahead.is_empty() || self.read >= self.bytes {
                return Ok(());
            }
            let range = self.read..(self.read + BLOCK_BYTES).min(self.bytes);
            let RangeOutcome::Found(block) = lake.get_range(&self.key, range.clone(), &self.etag).await? else {
                let detail = "it was written again while it was read; start the extract again";
                return Err(DatasetsError::unusable(&self.key, detail));
            };
            self.read = range.end;
            let read = block.chunks_exact(KEY_BYTES as usize).rev().map(|bytes| {
                let mut key = [0; 8];
                key.copy_from_slice(bytes);
                u64::from_be_bytes(key)
            });
            self.ahead = read.collect();
        }
    }
}
