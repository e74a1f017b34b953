//! A lookup table of training rows: group by keys, for a window of time, also out of fold.

use std::collections::BTreeMap;

use features::{
    LookupBuild, LookupDeclaration, Resources, RowColumn, RowExpression, RowExpressions, RowValues, Statistic, Type,
    ValueType,
};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    BatchError, LookupFile, Progress, Source,
    lookup_import::{append, keys_of},
    rows::evaluate_rows,
};

/// Which rows a table is built of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowWindow {
    /// Rows whose time is at or after `from` and before `to`.
    Between {
        /// A timestamp among the inputs.
        time: String,
        /// The first instant, UTC.
        from: Timestamp,
        /// The first instant after it, UTC.
        to: Timestamp,
    },
    /// Every row.
    All,
}

/// Values out of fold for training rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoldOrder {
    /// How many folds, at least 2.
    pub folds: u16,
    /// SQL over inputs and features: an integer or a text whose hash decides a row's fold.
    pub key: String,
}

/// What table is to be built.
#[derive(Debug, Clone, PartialEq)]
pub struct LookupOrder<'a> {
    /// The table as the spec declares it.
    pub declaration: &'a LookupDeclaration,
    /// Each key's expression, in the declared order: SQL over inputs and features.
    pub keys: Vec<String>,
    /// The expression whose statistics the table has. Inputs of scope `training` are allowed.
    pub value: String,
    /// The rows.
    pub window: RowWindow,
    /// Columns, smoothing, parent group.
    pub build: LookupBuild,
    /// Values out of fold, where wanted.
    pub out_of_fold: Option<FoldOrder>,
}

/// A table that was built, and what of.
#[derive(Debug)]
pub struct BuiltLookup {
    /// The table, with how it was made.
    pub file: LookupFile,
    /// Rows that it was built of.
    pub rows: u64,
    /// Rows that were read and left out, by reason: an input's reason code, `outside_window`, `key_null`, `value_null`,
    /// `fold_null`.
    pub left_out: BTreeMap<String, u64>,
}

impl FoldOrder {
    /// The fold of a row as SQL; NULL for rows that the table was not built of, which find what requests find.
    fn expression(&self, window: &RowWindow) -> String {
        let fold = format!("HASH_BUCKET({}, {})", self.key, self.folds);
        match window {
            RowWindow::All => fold,
            RowWindow::Between { time, from, to } => {
                format!("CASE WHEN {time} >= TIMESTAMP '{from}' AND {time} < TIMESTAMP '{to}' THEN {fold} END")
            }
        }
    }
}

/// Builds a table for the spec `text` of the rows of `sources`. Their order and their split into files do not matter. The keys and
/// the value of all rows are held in memory.
///
/// # Errors
/// What is wrong with the spec, the order or a source; or no row is left.
pub fn build_lookup(
    (spec_file, text): (&str, &str),
    resources: &Resources,
    sources: Vec<Source>,
    order: &LookupOrder<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<BuiltLookup, BatchError> {
    let name = order.declaration.name.as_str();
    check_columns(order)?;
    let source_names: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
    let fold = order.out_of_fold.as_ref().map(|folds| folds.expression(&order.window));
    let expressions = compile((spec_file, text), resources, order, fold.as_deref())?;
    let mut rows = Rows { order, columns: Vec::new(), left_out: BTreeMap::new() };
    let left_out = evaluate_rows(&expressions, sources, progress, |columns| rows.take(columns))?;
    let Rows { columns, left_out: mut by_reason, .. } = rows;
    for (reason, rows) in left_out.by_reason {
        *by_reason.entry(reason).or_default() += rows;
    }
    let mut columns = columns.into_iter();
    let keys: Vec<_> = order.declaration.keys.iter().zip(&mut columns).collect();
    let keys: Vec<_> =
        keys.into_iter().filter_map(|((name, _), column)| Some((name.clone(), keys_of(column)?))).collect();
    let Some(RowColumn { values: RowValues::Floats(values), .. }) = columns.next() else {
        let detail = format!("no row is left to build it of; left out: {by_reason:?}");
        return Err(BatchError::lookup(name, "lookup_no_rows", detail));
    };
    let failed = BatchError::of_table(name);
    let table = match (fold, columns.next_back()) {
        (Some(expression), Some(RowColumn { values: RowValues::Ints(folds), .. })) => {
            let folds: Vec<u32> = folds.into_iter().map(|fold| u32::try_from(fold).unwrap_or_default()).collect();
            let folded = order.build.build_out_of_fold(&keys, &values, &folds).map_err(&failed)?;
            folded.into_table(expression).map_err(&failed)?
        }
        _ => order.build.build(&keys, &values).map_err(&failed)?,
    };
    let made = made(order, expressions.spec_hash(), &source_names, values.len());
    Ok(BuiltLookup { file: LookupFile { table, made: Some(made) }, rows: values.len() as u64, left_out: by_reason })
}

/// The columns that are built are those that are declared, of their types.
fn check_columns(order: &LookupOrder<'_>) -> Result<(), BatchError> {
    let declaration = order.declaration;
    let wrong = |detail: String| Err(BatchError::lookup(&declaration.name, "lookup_columns_invalid", detail));
    if order.keys.len() != declaration.keys.len() {
        return wrong(format!("it has {} key(s), not {}", declaration.keys.len(), order.keys.len()));
    }
    for (name, of) in &declaration.values {
        let Some((_, statistic)) = order.build.columns.iter().find(|(column, _)| column == name) else {
            return wrong(format!("nothing says what column `{name}` is: mean, median or count"));
        };
        let made = if *statistic == Statistic::Count { ValueType::Int } else { ValueType::Float };
        if made != *of {
            return wrong(format!("column `{name}` is declared as {of}, and its statistic is {made}"));
        }
    }
    Ok(())
}

fn compile(
    (spec_file, text): (&str, &str),
    resources: &Resources,
    order: &LookupOrder<'_>,
    fold: Option<&str>,
) -> Result<RowExpressions, BatchError> {
    let keys = order.keys.iter().zip(&order.declaration.keys);
    let mut expressions: Vec<RowExpression<'_>> =
        keys.map(|(sql, (name, of))| RowExpression { what: name, sql, of: (*of).into() }).collect();
    expressions.push(RowExpression { what: "the value", sql: &order.value, of: Type::Float });
    if let RowWindow::Between { time, .. } = &order.window {
        expressions.push(RowExpression { what: "the time", sql: time, of: Type::Timestamp });
    }
    if let Some(sql) = fold {
        expressions.push(RowExpression { what: "the fold", sql, of: Type::Int });
    }
    RowExpressions::compile(spec_file, text, resources, &expressions).map_err(BatchError::Spec)
}

/// Rows as they come: keys, value, time and fold where there are such.
struct Rows<'a> {
    order: &'a LookupOrder<'a>,
    columns: Vec<RowColumn>,
    left_out: BTreeMap<String, u64>,
}

impl Rows<'_> {
    fn take(&mut self, columns: Vec<RowColumn>) {
        let rows = columns.first().map_or(0, |column| column.valid.len());
        let mut kept = Vec::with_capacity(rows);
        for row in 0..rows {
            match self.reason_against(&columns, row) {
                None => kept.push(row),
                Some(reason) => *self.left_out.entry(reason.to_owned()).or_default() += 1,
            }
        }
        let columns = columns.into_iter().map(|column| chosen(column, &kept));
        if self.columns.is_empty() && !kept.is_empty() {
            self.columns = columns.collect();
        } else {
            self.columns.iter_mut().zip(columns).for_each(|(all, more)| append(all, more));
        }
    }

    fn reason_against(&self, columns: &[RowColumn], row: usize) -> Option<&'static str> {
        let keys = self.order.keys.len();
        let mut rest = columns.iter().skip(keys + 1);
        if let RowWindow::Between { from, to, .. } = &self.order.window {
            let window = from.as_microsecond()..to.as_microsecond();
            let is_inside = rest.next().is_some_and(|time| {
                time.valid[row] && matches!(&time.values, RowValues::Ints(at) if window.contains(&at[row]))
            });
            if !is_inside {
                return Some("outside_window");
            }
        }
        // A row without a fold would see its own label.
        [
            (columns[..keys].iter().any(|key| !key.valid[row]), "key_null"),
            (!columns[keys].valid[row], "value_null"),
            (rest.next().is_some_and(|fold| !fold.valid[row]), "fold_null"),
        ]
        .into_iter()
        .find_map(|(is_so, reason)| is_so.then_some(reason))
    }
}

fn chosen(column: RowColumn, rows: &[usize]) -> RowColumn {
    let values = match column.values {
        RowValues::Floats(values) => RowValues::Floats(rows.iter().map(|&row| values[row]).collect()),
        RowValues::Ints(values) => RowValues::Ints(rows.iter().map(|&row| values[row]).collect()),
        RowValues::Bools(values) => RowValues::Bools(rows.iter().map(|&row| values[row]).collect()),
        RowValues::Texts(mut values) => {
            RowValues::Texts(rows.iter().map(|&row| std::mem::take(&mut values[row])).collect())
        }
    };
    RowColumn { values, valid: rows.iter().map(|&row| column.valid[row]).collect() }
}

/// How the table was made, for its file.
fn made(order: &LookupOrder<'_>, spec_hash: &str, sources: &[String], rows: usize) -> serde_json::Value {
    let keys: BTreeMap<&str, &str> =
        order.declaration.keys.iter().zip(&order.keys).map(|((name, _), sql)| (name.as_str(), sql.as_str())).collect();
    let columns: BTreeMap<&str, &str> =
        order.build.columns.iter().map(|(name, statistic)| (name.as_str(), statistic.as_str())).collect();
    let window = match &order.window {
        RowWindow::All => json!("all rows"),
        RowWindow::Between { time, from, to } => {
            json!({"time": time, "from": from.to_string(), "to": to.to_string()})
        }
    };
    let out_of_fold = order.out_of_fold.as_ref();
    json!({
        "spec_hash": spec_hash,
        "sources": sources,
        "rows": rows,
        "window": window,
        "keys": keys,
        "value": order.value,
        "columns": columns,
        "smoothing_rows": order.build.smoothing_rows,
        "parent_keys": order.build.parent_keys,
        "out_of_fold": out_of_fold.map(|folds| json!({"folds": folds.folds, "key": folds.key})),
    })
}
