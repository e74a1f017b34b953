//! Trip records as CSV.

use std::path::Path;

use super::{
    clean::{Cleaner, RawTrip},
    local_time::{self, Recorded},
    rejected::At,
    source::{Source, Table, bare, need_column},
    trips::Progress,
};
use crate::RidesError;

pub(crate) const PICKUP: [&str; 3] = ["pickup_datetime", "tpep_pickup_datetime", "lpep_pickup_datetime"];
pub(crate) const DROPOFF: [&str; 3] = ["dropoff_datetime", "tpep_dropoff_datetime", "lpep_dropoff_datetime"];
pub(crate) const PICKUP_ZONE: [&str; 2] = ["pickup_location_id", "PULocationID"];
pub(crate) const DROPOFF_ZONE: [&str; 2] = ["dropoff_location_id", "DOLocationID"];

/// Where the four columns are.
pub(crate) fn columns<S: AsRef<str>>(path: &Path, header: &[S]) -> Result<[usize; 4], RidesError> {
    Ok([
        need_column(path, header, "pick-up time", &PICKUP)?,
        need_column(path, header, "drop-off time", &DROPOFF)?,
        need_column(path, header, "pick-up zone", &PICKUP_ZONE)?,
        need_column(path, header, "drop-off zone", &DROPOFF_ZONE)?,
    ])
}

/// Between two calls of the progress callback.
const ROWS_PER_PROGRESS: u64 = 1 << 14;

pub(crate) fn read(
    path: &Path,
    source: Source,
    cleaner: &mut Cleaner<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), RidesError> {
    let bytes_total = source.bytes_total;
    let (text, bytes_read) = source.text();
    let mut table = Table::new(path, text, false)?;
    let columns = columns(path, table.header())?;
    let mut rows = 0_u64;
    while let Some((line, byte, record)) = table.next(path)? {
        let at = At { line, byte: Some(byte) };
        match parse(record, columns) {
            Ok(raw) => cleaner.take(at, raw),
            Err(why) => cleaner.unreadable(at, || why),
        }
        rows += 1;
        if rows.is_multiple_of(ROWS_PER_PROGRESS) {
            progress(Progress { rows, bytes: bytes_read.get(), bytes_total });
        }
    }
    Ok(())
}

fn parse(record: &csv::ByteRecord, [pickup, dropoff, from, to]: [usize; 4]) -> Result<RawTrip, String> {
    let field = |column: usize| {
        record.get(column).map(bare).ok_or_else(|| format!("{} fields, column {} is missing", record.len(), column + 1))
    };
    let time = |column: usize| {
        let text = field(column)?;
        local_time::parse(text).map(Recorded::Local).ok_or_else(|| wrong(text, "a time like 2018-01-11 18:24:44"))
    };
    let zone = |column: usize| {
        let text = field(column)?;
        zone_id(text).ok_or_else(|| wrong(text, "a zone's number"))
    };
    Ok(RawTrip { pickup: time(pickup)?, dropoff: time(dropoff)?, pickup_zone: zone(from)?, dropoff_zone: zone(to)? })
}

fn wrong(text: &[u8], expected: &str) -> String {
    let text: String = String::from_utf8_lossy(text).chars().take(60).collect();
    format!("`{text}` is not {expected}")
}

/// A zone's number: an integer, also written as `230.0`.
fn zone_id(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    text.parse().ok().or_else(|| integer(text.parse().ok()?))
}

/// A float that is an integer.
pub(crate) fn integer(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 1e15).then_some(number as i64)
}
