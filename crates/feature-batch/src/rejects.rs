//! Rejects: one JSON line per value that is not taken.

use std::collections::BTreeMap;

use features::{FeatureTable, Plan, Reject};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::batch::{Batch, Unreadable};

/// A line of the rejects.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RejectLine<'a> {
    /// The source.
    pub source: &'a str,
    /// The row, from 0; `null` where the source as a whole is at fault.
    pub row: Option<u64>,
    /// Where the row begins: a byte of the decompressed text. `null` for Parquet.
    pub offset: Option<u64>,
    /// The input, where one is at fault.
    pub input: Option<&'a str>,
    /// A stable code.
    pub reason: &'a str,
    /// What is wrong.
    pub detail: &'a str,
    /// The row's inputs as they stand there: an object; or, of a row that could not be read, the beginning of its text.
    pub original: Json,
}

impl RejectLine<'_> {
    /// Appends the line with its line break.
    pub fn write_to(&self, lines: &mut Vec<u8>) {
        // Nothing in it can fail to be written to memory.
        _ = serde_json::to_writer(&mut *lines, self);
        lines.push(b'\n');
    }
}

/// The row's inputs as they stand in the source.
fn original(plan: &Plan, batch: &Batch, row: usize) -> Json {
    let field = |(input, raw): &(usize, crate::batch::Raw)| (plan.inputs()[*input].name.clone(), raw.original(row));
    Json::Object(batch.columns.iter().map(field).collect::<Map<String, Json>>())
}

fn write_unreadable(source: &str, row: &Unreadable, lines: &mut Vec<u8>) {
    RejectLine {
        source,
        row: Some(row.row),
        offset: Some(row.offset),
        input: None,
        reason: row.reason,
        detail: &row.detail,
        original: String::from_utf8_lossy(&row.original).into(),
    }
    .write_to(lines);
}

/// The rejects of a batch, in the order of its rows.
pub(crate) struct RejectLines<'a> {
    pub(crate) source: &'a str,
    pub(crate) plan: &'a Plan,
    pub(crate) batch: &'a Batch,
    /// The lines so far.
    pub(crate) lines: Vec<u8>,
    /// How many rows, by reason.
    pub(crate) rejected: BTreeMap<&'static str, u64>,
}

impl RejectLines<'_> {
    pub(crate) fn add(&mut self, found: Vec<Reject>, table: &FeatureTable, unlabelled: bool) {
        let mut unreadable = self.batch.unreadable.iter().peekable();
        let mut found = found.into_iter().peekable();
        let mut good = 0;
        // Rows without rejects need no look, unless labels are missing among them.
        let rows = if unlabelled || found.peek().is_some() { self.batch.rows } else { 0 };
        for row in 0..rows {
            let (place, offset) = self.batch.places.of(row);
            while let Some(before) = unreadable.next_if(|unreadable| unreadable.row < place) {
                self.unreadable(before);
            }
            if found.peek().is_none_or(|reject| reject.row != row) {
                if table.label()[good].is_nan() {
                    let detail = "the label is NULL: nothing can be learnt from the row";
                    self.line(row, place, offset, None, "label_null", detail);
                    *self.rejected.entry("label_null").or_default() += 1;
                }
                good += 1;
                continue;
            }
            let mut first = true;
            while let Some(reject) = found.next_if(|reject| reject.row == row) {
                self.line(row, place, offset, Some(&reject.input), reject.reason, &reject.detail);
                *self.rejected.entry(reject.reason).or_default() += u64::from(std::mem::take(&mut first));
            }
        }
        unreadable.for_each(|row| self.unreadable(row));
    }

    fn unreadable(&mut self, row: &Unreadable) {
        write_unreadable(self.source, row, &mut self.lines);
        *self.rejected.entry(row.reason).or_default() += 1;
    }

    fn line(&mut self, row: usize, place: u64, offset: Option<u64>, input: Option<&str>, reason: &str, detail: &str) {
        RejectLine {
            source: self.source,
            row: Some(place),
            offset,
            input,
            reason,
            detail,
            original: original(self.plan, self.batch, row),
        }
        .write_to(&mut self.lines);
    }
}
