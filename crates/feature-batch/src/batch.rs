//! Rows on their way: columns of raw values with the places they came from.

use arrow_array::{
    Array, ArrayRef,
    cast::AsArray,
    types::{
        Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
        TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
        UInt64Type,
    },
};
use arrow_schema::{DataType, TimeUnit};
use features::{RawColumn, RawTexts, RawValues};
use jiff::Timestamp;
use serde_json::Value as Json;

/// The most rows that are worked on at once by one thread.
pub const BATCH_ROWS: usize = 8_192;
/// A batch of text ends before [`BATCH_ROWS`] where its cells have this many bytes.
pub const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Rows of one source.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The source, by its place among the sources.
    pub(crate) source: usize,
    pub(crate) rows: usize,
    pub(crate) places: Places,
    /// The inputs that the source has, by their place in the plan.
    pub(crate) columns: Vec<(usize, Raw)>,
    /// Rows that could not be read at all, in order.
    pub(crate) unreadable: Vec<Unreadable>,
    /// Bytes of all sources up to the end of this batch, as they lie there.
    pub(crate) bytes_done: u64,
}

/// Where rows came from.
#[derive(Debug)]
pub(crate) enum Places {
    /// Row upon row, from this one on.
    From(u64),
    /// Row and byte of the decompressed text.
    Listed(Vec<(u64, u64)>),
}

impl Places {
    pub(crate) fn of(&self, row: usize) -> (u64, Option<u64>) {
        match self {
            Self::From(first) => (first + row as u64, None),
            Self::Listed(places) => (places[row].0, Some(places[row].1)),
        }
    }
}

/// A row that could not be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) row: u64,
    pub(crate) offset: u64,
    pub(crate) reason: &'static str,
    pub(crate) detail: String,
    /// The row as it stands there, as far as it is kept.
    pub(crate) original: Vec<u8>,
}

/// A column as its reader left it.
#[derive(Debug)]
pub(crate) enum Raw {
    Arrow(ArrayRef),
    Cells(Texts),
    Json(Texts),
}

/// Texts end to end.
#[derive(Debug)]
pub(crate) struct Texts {
    pub(crate) text: String,
    pub(crate) offsets: Vec<i32>,
}

impl Default for Texts {
    fn default() -> Self {
        Self { text: String::new(), offsets: vec![0] }
    }
}

impl Texts {
    pub(crate) fn push(&mut self, text: &str) {
        self.text.push_str(text);
        // Far below 2 GiB: a batch ends at BATCH_BYTES and a line at MAX_LINE_BYTES.
        self.offsets.push(self.text.len() as i32);
    }

    fn raw(&self) -> RawTexts<'_> {
        RawTexts::new(&self.text, &self.offsets)
    }
}

/// What a column's values were turned into, where they do not lie ready.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    valid: Option<Vec<bool>>,
    floats: Vec<f64>,
    ints: Vec<i64>,
    bools: Vec<bool>,
    texts: Texts,
}

impl Raw {
    /// The column as the plan takes it.
    pub(crate) fn column<'a>(&'a self, input: &'a str, buffers: &'a mut Buffers) -> RawColumn<'a> {
        let values = match self {
            Self::Cells(texts) => RawValues::Cells(texts.raw()),
            Self::Json(texts) => RawValues::Json(texts.raw()),
            Self::Arrow(array) => {
                buffers.valid = array.nulls().map(|nulls| nulls.iter().collect());
                let Buffers { floats, ints, bools, texts, .. } = buffers;
                return RawColumn {
                    input,
                    values: arrow_values(array, floats, ints, bools, texts),
                    valid: buffers.valid.as_deref(),
                };
            }
        };
        RawColumn { input, values, valid: None }
    }

    /// A value for people: what stands in the source.
    pub(crate) fn original(&self, row: usize) -> Json {
        match self {
            Self::Cells(texts) => texts.raw().get(row).into(),
            Self::Json(texts) => serde_json::from_str(texts.raw().get(row)).unwrap_or(Json::Null),
            Self::Arrow(array) if array.is_null(row) => Json::Null,
            Self::Arrow(array) => {
                let mut buffers = Buffers::default();
                let one = Self::Arrow(array.slice(row, 1));
                match one.column("", &mut buffers).values {
                    RawValues::Floats(values) if values[0].is_finite() => values[0].into(),
                    RawValues::Floats(values) => values[0].to_string().into(),
                    RawValues::Ints(values) => values[0].into(),
                    RawValues::Bools(values) => values[0].into(),
                    RawValues::Timestamps(values) => Timestamp::from_microsecond(values[0])
                        .map_or_else(|_| format!("{} µs", values[0]), |timestamp| timestamp.to_string())
                        .into(),
                    RawValues::Texts(texts) | RawValues::Cells(texts) => texts.get(0).into(),
                    RawValues::Json(texts) => serde_json::from_str(texts.get(0)).unwrap_or(Json::Null),
                }
            }
        }
    }
}

/// Which columns of Parquet files can be taken is said in `parquet_reader`; a column of another type has no values here.
fn arrow_values<'a>(
    array: &'a ArrayRef,
    floats: &'a mut Vec<f64>,
    ints: &'a mut Vec<i64>,
    bools: &'a mut Vec<bool>,
    texts: &'a mut Texts,
) -> RawValues<'a> {
    macro_rules! ints {
        ($of:ty) => {{
            ints.clear();
            ints.extend(array.as_primitive::<$of>().values().iter().map(|&value| i64::from(value)));
            RawValues::Ints(ints)
        }};
    }
    macro_rules! timestamps {
        ($of:ty, $to_us:expr) => {{
            ints.clear();
            ints.extend(array.as_primitive::<$of>().values().iter().map($to_us));
            RawValues::Timestamps(ints)
        }};
    }
    match array.data_type() {
        DataType::Float64 => RawValues::Floats(array.as_primitive::<Float64Type>().values()),
        DataType::Float32 => {
            floats.clear();
            floats.extend(array.as_primitive::<Float32Type>().values().iter().map(|&value| f64::from(value)));
            RawValues::Floats(floats)
        }
        DataType::Int64 => RawValues::Ints(array.as_primitive::<Int64Type>().values()),
        DataType::Int32 => ints!(Int32Type),
        DataType::Int16 => ints!(Int16Type),
        DataType::Int8 => ints!(Int8Type),
        DataType::UInt32 => ints!(UInt32Type),
        DataType::UInt16 => ints!(UInt16Type),
        DataType::UInt8 => ints!(UInt8Type),
        // As they would be written in JSON: no 64-bit column holds all of them, and the rounding is JSON's.
        DataType::UInt64 => {
            *texts = Texts::default();
            array.as_primitive::<UInt64Type>().values().iter().for_each(|value| texts.push(&value.to_string()));
            RawValues::Json(texts.raw())
        }
        DataType::Decimal128(..) => {
            *texts = Texts::default();
            let decimals = array.as_primitive::<Decimal128Type>();
            (0..decimals.len()).for_each(|row| texts.push(&decimals.value_as_string(row)));
            RawValues::Json(texts.raw())
        }
        DataType::Boolean => {
            bools.clear();
            bools.extend(array.as_boolean().values().iter());
            RawValues::Bools(bools)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            RawValues::Timestamps(array.as_primitive::<TimestampMicrosecondType>().values())
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            timestamps!(TimestampMillisecondType, |ms| ms.saturating_mul(1_000))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => timestamps!(TimestampNanosecondType, |ns| ns.div_euclid(1_000)),
        DataType::Timestamp(TimeUnit::Second, _) => timestamps!(TimestampSecondType, |s| s.saturating_mul(1_000_000)),
        DataType::Utf8 => {
            let array = array.as_string::<i32>();
            match std::str::from_utf8(array.value_data()) {
                Ok(text) => RawValues::Texts(RawTexts::new(text, array.value_offsets())),
                Err(_) => no_values(array.len(), texts),
            }
        }
        _ => no_values(array.len(), texts),
    }
}

fn no_values(rows: usize, texts: &mut Texts) -> RawValues<'_> {
    *texts = Texts::default();
    (0..rows).for_each(|_| texts.push("null"));
    RawValues::Json(texts.raw())
}
