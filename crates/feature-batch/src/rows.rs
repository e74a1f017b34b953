//! Rows of sources through expressions.

use std::collections::BTreeMap;

use features::{InputTable, RawColumn, Reject, RowColumn, RowExpressions, RowScratch};

use crate::{BatchError, Progress, Source, batch::Buffers, transform::Sources};

/// Rows that were left out.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    pub(crate) rows: u64,
    pub(crate) by_reason: BTreeMap<String, u64>,
    /// The first of them, in words.
    pub(crate) first: Option<String>,
}

impl LeftOut {
    fn add(&mut self, source: &str, row: u64, reason: &str, detail: &str) {
        self.rows += 1;
        *self.by_reason.entry(reason.to_owned()).or_default() += 1;
        self.first.get_or_insert_with(|| format!("`{source}`, row {row}: {detail}"));
    }
}

/// Evaluates the expressions over all rows of the sources; `take` gets their values batch by batch.
pub(crate) fn evaluate_rows(
    expressions: &RowExpressions,
    sources: Vec<Source>,
    progress: &mut dyn FnMut(Progress),
    mut take: impl FnMut(Vec<RowColumn>),
) -> Result<LeftOut, BatchError> {
    let plan = expressions.inputs();
    let names: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
    let bytes_total = sources.iter().map(|source| source.bytes.size_bytes()).sum();
    let (mut sources, mut inputs, mut scratch) = (Sources::new(sources), InputTable::new(plan), RowScratch::default());
    let (mut left_out, mut rows) = (LeftOut::default(), 0);
    while let Some((_, batch)) = sources.next(plan, &names)? {
        let source = names[batch.source].as_str();
        inputs.clear();
        let mut buffers: Vec<Buffers> = batch.columns.iter().map(|_| Buffers::default()).collect();
        let raw = batch.columns.iter().zip(&mut buffers);
        let raw: Vec<RawColumn<'_>> =
            raw.map(|((input, raw), buffers)| raw.column(&plan.inputs()[*input].name, buffers)).collect();
        let rejects = plan.read_columns(batch.rows, &raw, &mut inputs)?;
        for row in &batch.unreadable {
            left_out.add(source, row.row, row.reason, &row.detail);
        }
        let mut told = None;
        for Reject { row, reason, detail, .. } in &rejects {
            if told.replace(*row) != Some(*row) {
                left_out.add(source, batch.places.of(*row).0, reason, detail);
            }
        }
        let mut columns = expressions.columns();
        expressions.evaluate(&inputs, &mut scratch, &mut columns);
        take(columns);
        rows += (batch.rows + batch.unreadable.len()) as u64;
        progress(Progress { rows, rejected: left_out.rows, bytes: batch.bytes_done, bytes_total });
    }
    progress(Progress { rows, rejected: left_out.rows, bytes: bytes_total, bytes_total });
    Ok(left_out)
}
