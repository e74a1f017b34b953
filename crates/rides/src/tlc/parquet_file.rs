//! Trip records as Parquet.

use std::path::Path;

use arrow_array::{
    Array, ArrayRef, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, LargeStringArray,
    RecordBatch, StringArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt8Array, UInt16Array, UInt32Array,
};
use arrow_schema::{DataType, TimeUnit};
use jiff::{Timestamp, tz::Offset};
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};

use super::{
    clean::{Cleaner, RawTrip},
    csv_file::{columns, integer},
    local_time::{self, Recorded},
    rejected::At,
    source::Source,
    trips::Progress,
};
use crate::RidesError;

const ROWS_PER_BATCH: usize = 1 << 14;
const TIME_TYPES: &str = "a timestamp (s, ms, us, ns) or text like 2018-01-11 18:24:44";
const ZONE_TYPES: &str = "an integer or a float";

pub(crate) fn read(
    path: &Path,
    source: Source,
    cleaner: &mut Cleaner<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), RidesError> {
    let damaged = |why: String| RidesError::Parquet { file: path.to_owned(), why };
    let bytes_total = source.bytes_total;
    let builder = ParquetRecordBatchReaderBuilder::try_new(source.file).map_err(|error| damaged(error.to_string()))?;
    let rows_total = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0).max(1);
    let names: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    let columns = columns(path, &names)?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), columns);
    let reader = builder
        .with_projection(mask)
        .with_batch_size(ROWS_PER_BATCH)
        .build()
        .map_err(|error| damaged(error.to_string()))?;
    let mut row = 0;
    for batch in reader {
        let batch = batch.map_err(|error| damaged(error.to_string()))?;
        let column =
            |index: usize| named(&batch, &names[columns[index]]).ok_or_else(|| damaged("a column is gone".to_owned()));
        let name = |index: usize| names[columns[index]].as_str();
        let pickup = Times::new(path, name(0), column(0)?)?;
        let dropoff = Times::new(path, name(1), column(1)?)?;
        let from = Ids::new(path, name(2), column(2)?)?;
        let to = Ids::new(path, name(3), column(3)?)?;
        for index in 0..batch.num_rows() {
            row += 1;
            let at = At { line: row, byte: None };
            match (pickup.get(index), dropoff.get(index), from.get(index), to.get(index)) {
                (Some(pickup), Some(dropoff), Some(pickup_zone), Some(dropoff_zone)) => {
                    cleaner.take(at, RawTrip { pickup, dropoff, pickup_zone, dropoff_zone });
                }
                _ => cleaner.unreadable(at, || "a time or a zone is null or out of range".to_owned()),
            }
        }
        let share = u128::from(bytes_total) * u128::from(row.min(rows_total)) / u128::from(rows_total);
        progress(Progress { rows: row, bytes: u64::try_from(share).unwrap_or(bytes_total), bytes_total });
    }
    Ok(())
}

fn named<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a ArrayRef> {
    batch.column_by_name(name)
}

fn cast<A: 'static>(array: &ArrayRef) -> Option<&A> {
    array.as_any().downcast_ref()
}

fn wrong_type(path: &Path, column: &str, array: &ArrayRef, expected: &'static str) -> RidesError {
    let found = array.data_type().to_string();
    RidesError::ColumnType { file: path.to_owned(), column: column.to_owned(), found, expected }
}

/// A column of times.
enum Times<'a> {
    /// Microseconds since 1970, of the wall clock or (with a time zone in the type) of UTC.
    Micros {
        values: Box<dyn Fn(usize) -> Option<i64> + 'a>,
        array: &'a ArrayRef,
        instants: bool,
    },
    Text(Box<dyn Fn(usize) -> &'a str + 'a>, &'a ArrayRef),
}

impl<'a> Times<'a> {
    fn new(path: &Path, column: &str, array: &'a ArrayRef) -> Result<Self, RidesError> {
        let wrong = || wrong_type(path, column, array, TIME_TYPES);
        let (unit, instants) = match array.data_type() {
            // Parquet's "adjusted to UTC". The TLC's files are not: they hold the wall clock.
            DataType::Timestamp(unit, zone) => (unit, zone.is_some()),
            DataType::Utf8 => {
                let texts = cast::<StringArray>(array).ok_or_else(wrong)?;
                return Ok(Self::Text(Box::new(|index| texts.value(index)), array));
            }
            DataType::LargeUtf8 => {
                let texts = cast::<LargeStringArray>(array).ok_or_else(wrong)?;
                return Ok(Self::Text(Box::new(|index| texts.value(index)), array));
            }
            _ => return Err(wrong()),
        };
        let values: Box<dyn Fn(usize) -> Option<i64> + 'a> = match unit {
            TimeUnit::Second => {
                let seconds = cast::<TimestampSecondArray>(array).ok_or_else(wrong)?;
                Box::new(|index| seconds.value(index).checked_mul(1_000_000))
            }
            TimeUnit::Millisecond => {
                let millis = cast::<TimestampMillisecondArray>(array).ok_or_else(wrong)?;
                Box::new(|index| millis.value(index).checked_mul(1000))
            }
            TimeUnit::Microsecond => {
                let micros = cast::<TimestampMicrosecondArray>(array).ok_or_else(wrong)?;
                Box::new(|index| Some(micros.value(index)))
            }
            TimeUnit::Nanosecond => {
                let nanos = cast::<TimestampNanosecondArray>(array).ok_or_else(wrong)?;
                Box::new(|index| Some(nanos.value(index).div_euclid(1000)))
            }
        };
        Ok(Self::Micros { values, array, instants })
    }

    fn get(&self, index: usize) -> Option<Recorded> {
        match self {
            Self::Text(values, array) => {
                let text = (!array.is_null(index)).then(|| values(index))?;
                local_time::parse(text.as_bytes()).map(Recorded::Local)
            }
            Self::Micros { values, array, instants } => {
                let micros = if array.is_null(index) { None } else { values(index) }?;
                let timestamp = Timestamp::from_microsecond(micros).ok()?;
                // A wall clock's reading is stored as if it were UTC's.
                Some(if *instants {
                    Recorded::Instant(timestamp)
                } else {
                    Recorded::Local(Offset::UTC.to_datetime(timestamp))
                })
            }
        }
    }
}

/// A column of zone numbers.
struct Ids<'a> {
    values: Box<dyn Fn(usize) -> Option<i64> + 'a>,
    array: &'a ArrayRef,
}

impl<'a> Ids<'a> {
    fn new(path: &Path, column: &str, array: &'a ArrayRef) -> Result<Self, RidesError> {
        macro_rules! values {
            ($($data_type:ident => $array:ident, $convert:expr;)*) => {
                match array.data_type() {
                    $(DataType::$data_type => cast::<$array>(array).map(|ids| {
                        Box::new(move |index| $convert(ids.value(index))) as Box<dyn Fn(usize) -> Option<i64> + 'a>
                    }),)*
                    _ => None,
                }
            };
        }
        let values = values! {
            Int8 => Int8Array, |id| Some(i64::from(id));
            Int16 => Int16Array, |id| Some(i64::from(id));
            Int32 => Int32Array, |id| Some(i64::from(id));
            Int64 => Int64Array, Some;
            UInt8 => UInt8Array, |id| Some(i64::from(id));
            UInt16 => UInt16Array, |id| Some(i64::from(id));
            UInt32 => UInt32Array, |id| Some(i64::from(id));
            Float32 => Float32Array, |id| integer(f64::from(id));
            Float64 => Float64Array, integer;
        };
        let values = values.ok_or_else(|| wrong_type(path, column, array, ZONE_TYPES))?;
        Ok(Self { values, array })
    }

    fn get(&self, index: usize) -> Option<i64> {
        if self.array.is_null(index) { None } else { (self.values)(index) }
    }
}
