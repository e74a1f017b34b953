//! What is known of a column: what drift is told from, and what a quality gate asks.

use std::collections::BTreeMap;

use arrow_array::{
    Array, ArrayRef, RecordBatch,
    cast::AsArray,
    types::{
        Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int64Type, Time64MicrosecondType,
        TimestampMicrosecondType,
    },
};
use arrow_schema::{DataType, Schema, TimeUnit};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use warehouse::column_type;

use crate::cells::Cells;

/// More texts than this are not told one by one.
pub const MAX_TEXTS: usize = 64;

/// One column of a version. All but `mean` depends on the rows alone, not on their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnStatistics {
    /// The column.
    pub name: String,
    /// Its type, as SQL names it.
    #[serde(rename = "type")]
    pub of: String,
    /// Rows.
    pub rows: u64,
    /// Rows without a value.
    pub nulls: u64,
    /// Numbers, dates and times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numbers: Option<Numbers>,
    /// Texts and booleans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texts: Option<Texts>,
}

/// The numbers of a column. A timestamp or a time of day is its microseconds, a date its days, since 1970 or midnight.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Numbers {
    /// Values that are no numbers.
    pub nan: u64,
    /// The least.
    pub min: Option<f64>,
    /// The greatest.
    pub max: Option<f64>,
    /// The sum, in doubles, in the order of the files.
    pub sum: f64,
    /// The histogram.
    pub cells: Cells,
}

/// The texts of a column.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Texts {
    /// Bytes of the shortest.
    pub min_bytes: Option<u64>,
    /// Bytes of the longest.
    pub max_bytes: Option<u64>,
    /// How often each is there, where there are at most [`MAX_TEXTS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<BTreeMap<String, u64>>,
}

impl ColumnStatistics {
    /// The values that there are, finite and not NULL.
    pub fn values(&self) -> u64 {
        self.rows - self.nulls - self.numbers.as_ref().map_or(0, |numbers| numbers.nan)
    }

    /// The mean of the numbers.
    pub fn mean(&self) -> Option<f64> {
        let values = self.values();
        self.numbers.as_ref().filter(|_| values > 0).map(|numbers| numbers.sum / values as f64)
    }

    /// A number of this column for people: a date or an instant where it is one.
    pub fn show(&self, number: f64) -> String {
        show_number(&self.of, number)
    }
}

/// A number of a column of this type for people: a date or an instant where it is one.
pub(crate) fn show_number(of: &str, number: f64) -> String {
    let instant = |micros: f64| Timestamp::from_microsecond(micros as i64).ok();
    match of {
        "TIMESTAMP" => instant(number).map(|instant| instant.to_string()),
        "DATETIME" => instant(number).map(|instant| instant.to_string().trim_end_matches('Z').to_owned()),
        "DATE" => instant(number * 86_400e6).map(|instant| instant.strftime("%Y-%m-%d").to_string()),
        "TIME" => instant(number).map(|instant| instant.strftime("%H:%M:%S%.f").to_string()),
        _ => None,
    }
    .unwrap_or_else(|| number.to_string())
}

/// Counts batches.
#[derive(Debug)]
pub(crate) struct Counting(Vec<ColumnStatistics>);

impl Counting {
    pub(crate) fn new(schema: &Schema) -> Self {
        let columns = schema.fields().iter().map(|field| ColumnStatistics {
            name: field.name().clone(),
            of: column_type(field).unwrap_or_default(),
            rows: 0,
            nulls: 0,
            numbers: is_number(field.data_type()).then(Numbers::default),
            texts: matches!(field.data_type(), DataType::Utf8 | DataType::Boolean)
                .then(|| Texts { counts: Some(BTreeMap::new()), ..Texts::default() }),
        });
        Self(columns.collect())
    }

    pub(crate) fn add(&mut self, batch: &RecordBatch) {
        for (column, array) in self.0.iter_mut().zip(batch.columns()) {
            column.rows += array.len() as u64;
            column.nulls += array.null_count() as u64;
            if let Some(numbers) = &mut column.numbers {
                for_each_number(array, |value| numbers.add(value));
            }
            if let Some(texts) = &mut column.texts {
                match array.data_type() {
                    DataType::Utf8 => array.as_string::<i32>().iter().flatten().for_each(|text| texts.add(text)),
                    DataType::Boolean => {
                        let bools = array.as_boolean().iter().flatten();
                        bools.for_each(|value| texts.add(if value { "true" } else { "false" }));
                    }
                    _ => {}
                }
            }
        }
    }

    pub(crate) fn done(self) -> Vec<ColumnStatistics> {
        self.0
    }
}

/// Adds the statistics of further rows.
pub(crate) fn merge(all: &mut Vec<ColumnStatistics>, more: &[ColumnStatistics]) {
    if all.is_empty() {
        all.extend_from_slice(more);
        return;
    }
    for (column, more) in all.iter_mut().zip(more) {
        column.rows += more.rows;
        column.nulls += more.nulls;
        if let (Some(numbers), Some(more)) = (&mut column.numbers, &more.numbers) {
            numbers.nan += more.nan;
            numbers.sum += more.sum;
            numbers.min = numbers.min.into_iter().chain(more.min).reduce(f64::min);
            numbers.max = numbers.max.into_iter().chain(more.max).reduce(f64::max);
            numbers.cells.merge(&more.cells);
        }
        if let (Some(texts), Some(more)) = (&mut column.texts, &more.texts) {
            texts.merge(more);
        }
    }
}

impl Numbers {
    fn add(&mut self, value: f64) {
        if value.is_nan() {
            self.nan += 1;
            return;
        }
        self.min = Some(self.min.map_or(value, |min| min.min(value)));
        self.max = Some(self.max.map_or(value, |max| max.max(value)));
        self.sum += value;
        self.cells.add(value);
    }
}

impl Texts {
    fn add(&mut self, text: &str) {
        let bytes = text.len() as u64;
        self.min_bytes = Some(self.min_bytes.map_or(bytes, |min| min.min(bytes)));
        self.max_bytes = Some(self.max_bytes.map_or(bytes, |max| max.max(bytes)));
        if let Some(counts) = &mut self.counts {
            if let Some(count) = counts.get_mut(text) {
                *count += 1;
            } else if counts.len() < MAX_TEXTS {
                counts.insert(text.to_owned(), 1);
            } else {
                self.counts = None;
            }
        }
    }

    fn merge(&mut self, more: &Self) {
        self.min_bytes = self.min_bytes.into_iter().chain(more.min_bytes).min();
        self.max_bytes = self.max_bytes.into_iter().chain(more.max_bytes).max();
        match (&mut self.counts, &more.counts) {
            (Some(counts), Some(more)) => {
                for (text, count) in more {
                    *counts.entry(text.clone()).or_default() += count;
                }
                if counts.len() > MAX_TEXTS {
                    self.counts = None;
                }
            }
            _ => self.counts = None,
        }
    }
}

fn is_number(of: &DataType) -> bool {
    matches!(
        of,
        DataType::Int64
            | DataType::Float64
            | DataType::Decimal128(..)
            | DataType::Decimal256(..)
            | DataType::Timestamp(TimeUnit::Microsecond, _)
            | DataType::Date32
            | DataType::Time64(TimeUnit::Microsecond)
    )
}

fn for_each_number(array: &ArrayRef, mut take: impl FnMut(f64)) {
    macro_rules! each {
        ($of:ty, $number:expr) => {
            array.as_primitive::<$of>().iter().flatten().for_each(|value| take($number(value)))
        };
    }
    match array.data_type() {
        DataType::Int64 => each!(Int64Type, |value| value as f64),
        DataType::Float64 => each!(Float64Type, |value| value),
        DataType::Timestamp(TimeUnit::Microsecond, _) => each!(TimestampMicrosecondType, |value| value as f64),
        DataType::Time64(TimeUnit::Microsecond) => each!(Time64MicrosecondType, |value| value as f64),
        DataType::Date32 => each!(Date32Type, |value: i32| f64::from(value)),
        DataType::Decimal128(_, scale) => {
            let unit = 10_f64.powi(i32::from(*scale));
            each!(Decimal128Type, |value| value as f64 / unit);
        }
        DataType::Decimal256(_, scale) => {
            let unit = 10_f64.powi(i32::from(*scale));
            each!(Decimal256Type, |value: arrow_buffer::i256| value.to_string().parse::<f64>().unwrap_or(f64::NAN)
                / unit);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{BooleanArray, Decimal128Array, Float64Array, StringArray, TimestampMicrosecondArray};
    use arrow_schema::Field;

    use super::*;

    fn batch() -> RecordBatch {
        let field = |name, of| Field::new(name, of, true);
        let schema = Schema::new(vec![
            field("x", DataType::Float64),
            field("d", DataType::Decimal128(38, 9)),
            field("t", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            field("s", DataType::Utf8),
            field("b", DataType::Boolean),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Float64Array::from(vec![Some(1.5), None, Some(f64::NAN), Some(-2.0)])),
            Arc::new(
                Decimal128Array::from(vec![Some(1_500_000_000), None, None, Some(-1)])
                    .with_precision_and_scale(38, 9)
                    .unwrap(),
            ),
            Arc::new(TimestampMicrosecondArray::from(vec![0, 1, 2, 1_600_000_000_000_000]).with_timezone("UTC")),
            Arc::new(StringArray::from(vec![Some("a"), Some("bc"), None, Some("a")])),
            Arc::new(BooleanArray::from(vec![Some(true), Some(true), None, Some(false)])),
        ];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    #[test]
    fn columns_are_counted_by_what_they_are() {
        let batch = batch();
        let mut counting = Counting::new(&batch.schema());
        counting.add(&batch);
        let columns = counting.done();
        let [x, d, t, s, b] = columns.as_slice() else { panic!() };
        let numbers = |column: &ColumnStatistics| column.numbers.clone().unwrap();
        assert_eq!((x.rows, x.nulls, numbers(x).nan, x.values(), x.mean()), (4, 1, 1, 2, Some(-0.25)));
        assert_eq!((numbers(d).min, numbers(d).max), (Some(-1e-9), Some(1.5)));
        assert_eq!(t.show(numbers(t).max.unwrap()), "2020-09-13T12:26:40Z");
        let texts = |column: &ColumnStatistics| column.texts.clone().unwrap();
        assert_eq!(texts(s).counts.unwrap(), [("a".to_owned(), 2), ("bc".to_owned(), 1)].into());
        assert_eq!(texts(b).counts.unwrap()["true"], 2);
    }

    #[test]
    fn statistics_of_parts_are_those_of_the_whole() {
        let batch = batch();
        let of = |batches: &[RecordBatch]| {
            let mut counting = Counting::new(&batch.schema());
            for batch in batches {
                counting.add(batch);
            }
            counting.done()
        };
        let mut merged = Vec::new();
        merge(&mut merged, &of(&[batch.slice(0, 1)]));
        merge(&mut merged, &of(&[batch.slice(1, 3)]));
        assert_eq!(
            serde_json::to_value(merged).unwrap(),
            serde_json::to_value(of(std::slice::from_ref(&batch))).unwrap()
        );
    }
}
