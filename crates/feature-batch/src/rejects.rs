//! Rejects: one JSON line per value that is not taken.

use serde::Serialize;
use serde_json::{Map, Value as Json};

use features::Plan;

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
pub(crate) fn original(plan: &Plan, batch: &Batch, row: usize) -> Json {
    let field = |(input, raw): &(usize, crate::batch::Raw)| (plan.inputs()[*input].name.clone(), raw.original(row));
    Json::Object(batch.columns.iter().map(field).collect::<Map<String, Json>>())
}

pub(crate) fn write_unreadable(source: &str, row: &Unreadable, lines: &mut Vec<u8>) {
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
