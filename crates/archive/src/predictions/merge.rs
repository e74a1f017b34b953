//! The union of a file and more rows, without a record of its own for any of them.

use bytes::Bytes;

use super::{
    columns::{batch_schema, next_batches},
    read::FileRows,
    rows::PredictionRows,
    write_batches, write_prediction_rows,
};
use crate::{ArchiveError, MergedFile, parquet_file::BATCH_ROWS};

impl PredictionRows {
    /// The union of a file and these rows: to the byte what [`merge_into_file`](crate::merge_into_file) makes of the same
    /// records. Of the file no more is in memory than some batches.
    ///
    /// # Errors
    /// `existing` cannot be read.
    pub fn merge_into_file(&self, existing: Option<&Bytes>) -> Result<MergedFile, ArchiveError> {
        let order = self.sorted();
        let Some(existing) = existing else {
            let bytes = write_prediction_rows(self, &order)?;
            return Ok(MergedFile { bytes, records: order.len() as u64, added: order.len() as u64 });
        };
        match self.merge_sorted(existing, &order) {
            // Another tool has rewritten the file in another order: its records are all the same taken.
            Err(ArchiveError::Unsorted(_)) => {
                let mut all = Self::default();
                all.push_file(existing.clone())?;
                let before = all.sorted().len() as u64;
                all.append(self);
                let order = all.sorted();
                let records = order.len() as u64;
                Ok(MergedFile { bytes: write_prediction_rows(&all, &order)?, records, added: records - before })
            }
            result => result,
        }
    }

    fn merge_sorted(&self, existing: &Bytes, order: &[usize]) -> Result<MergedFile, ArchiveError> {
        let schema = batch_schema();
        let mut file = FileRows::open(existing.clone())?;
        let mut new = order.iter().copied().peekable();
        let mut union = Self::default();
        let (mut records, mut added, mut last) = (0, 0, None);
        let bytes = write_batches(&schema, || {
            union.clear();
            while union.candidates.len() < BATCH_ROWS {
                let old = file.peek()?.map(|position| (position, file.rows().records[position].id));
                let added_id = new.peek().map(|&position| self.records[position].id);
                match (old, added_id) {
                    (None, None) => break,
                    (Some((position, id)), other) if other.is_none_or(|other| id <= other) => {
                        if last.is_some_and(|last| last >= id) {
                            return Err(ArchiveError::Unsorted(id.to_string()));
                        }
                        last = Some(id);
                        let challenger = if other == Some(id) { new.next() } else { None };
                        match challenger.filter(|&challenger| self.wins_over(challenger, file.rows(), position)) {
                            Some(challenger) => union.push_row(self, challenger),
                            None => union.push_row(file.rows(), position),
                        }
                        file.next()?;
                    }
                    _ => {
                        if let Some(position) = new.next() {
                            union.push_row(self, position);
                            added += 1;
                        }
                    }
                }
                records += 1;
            }
            let mut order = 0..union.len();
            next_batches(&union, &mut order, &schema)
        })?;
        Ok(MergedFile { bytes, records, added })
    }
}
