use std::path::Path;

use jiff::Timestamp;

use super::{
    clean::{Cleaner, TripRules},
    csv_file, parquet_file,
    rejected::{Reason, Rejected},
    source::{self, Format},
    zones::Zones,
};
use crate::{Requested, RidesError};

/// One recorded trip. Ordered by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Trip {
    /// Pick-up, microseconds since 1970 UTC.
    pub(crate) pickup_us: i64,
    /// From pick-up to drop-off.
    pub(crate) drive_us: i64,
    /// The pick-up zone's number.
    pub(crate) from_zone: u32,
    /// The drop-off zone's number.
    pub(crate) to_zone: u32,
}

impl Requested for Trip {
    fn requested_at(&self) -> Timestamp {
        Timestamp::from_microsecond(self.pickup_us).unwrap_or(Timestamp::MAX)
    }
}

/// How far a file has been read. Bytes are those on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Records so far, kept or not.
    pub rows: u64,
    /// Bytes so far.
    pub bytes: u64,
    /// Bytes of the file.
    pub bytes_total: u64,
}

/// Recorded trips in time order, 24 bytes each, and what was left out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trips {
    trips: Vec<Trip>,
    rejected: Rejected,
}

impl Trips {
    /// Reads a trip file: CSV with a header, gzip-compressed CSV, or Parquet, told apart by their first bytes.
    ///
    /// Columns are found by name, in any order and case: the pick-up and drop-off times (`pickup_datetime`,
    /// `tpep_pickup_datetime`, `lpep_pickup_datetime`, …; New York's wall clock) and the two zones
    /// (`pickup_location_id` or `PULocationID`, …). Others are ignored. Bad records are counted by reason, and the rest
    /// goes on; `progress` is called every some ten thousand records and at the end.
    ///
    /// Fails where the file cannot be read to its end or lacks a column.
    pub fn read(
        path: &Path,
        zones: &Zones,
        rules: &TripRules,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, RidesError> {
        let mut cleaner = Cleaner::new(zones, rules)?;
        let source = source::open(path)?;
        let bytes_total = source.bytes_total;
        match source.format {
            Format::Text => csv_file::read(path, source, &mut cleaner, progress)?,
            Format::Parquet => parquet_file::read(path, source, &mut cleaner, progress)?,
        }
        progress(Progress { rows: cleaner.rows(), bytes: bytes_total, bytes_total });
        let Cleaner { trips, rejected, .. } = cleaner;
        Ok(Self::from_parts(trips, rejected))
    }

    /// These trips and those of another file, read with the same zones.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.trips.extend(other.trips);
        self.rejected.merge(other.rejected);
        Self::from_parts(self.trips, self.rejected)
    }

    fn from_parts(mut trips: Vec<Trip>, mut rejected: Rejected) -> Self {
        trips.sort_unstable();
        let read = trips.len();
        trips.dedup();
        for _ in trips.len()..read {
            rejected.add(Reason::Duplicate, None, || "the same times and zones as another record".to_owned());
        }
        Self { trips, rejected }
    }

    /// The number of trips.
    pub fn len(&self) -> usize {
        self.trips.len()
    }

    /// Whether no trip was kept.
    pub fn is_empty(&self) -> bool {
        self.trips.is_empty()
    }

    /// The trips, in time order.
    pub fn as_slice(&self) -> &[Trip] {
        &self.trips
    }

    /// The trips alone, for [`split_by_time`](crate::split_by_time).
    pub fn into_vec(self) -> Vec<Trip> {
        self.trips
    }

    /// What was left out, and why.
    pub fn rejected(&self) -> &Rejected {
        &self.rejected
    }
}
