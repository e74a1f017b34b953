use jiff::Timestamp;

use super::{
    local_time::{NewYork, Recorded},
    rejected::{At, Reason, Rejected},
    trips::Trip,
    zones::Zones,
};
use crate::RidesError;

/// Which trips are kept. The reasons are checked in the order of [`Reason`]; the first that holds is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TripRules {
    /// The shortest trip, s. Usually 60.
    pub min_s: u32,
    /// The longest trip, s. Usually 7,200: longer ones are mostly forgotten meters.
    pub max_s: u32,
    /// The first pick-up, UTC. Usually 2009-01-01 in New York: the TLC's first published trips.
    pub from: Timestamp,
    /// The end of pick-ups, UTC, excluded. Usually none. Monthly files have a few trips of other years: give the period
    /// where it is known.
    pub until: Timestamp,
}

impl Default for TripRules {
    fn default() -> Self {
        // 2009-01-01T00:00 in New York.
        let from = Timestamp::from_second(1_230_786_000).unwrap_or(Timestamp::UNIX_EPOCH);
        Self { min_s: 60, max_s: 7200, from, until: Timestamp::MAX }
    }
}

/// A record as its file has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawTrip {
    pub(crate) pickup: Recorded,
    pub(crate) dropoff: Recorded,
    pub(crate) pickup_zone: i64,
    pub(crate) dropoff_zone: i64,
}

/// Sorts records into trips and rejects.
#[derive(Debug)]
pub(crate) struct Cleaner<'a> {
    zones: &'a Zones,
    rules: &'a TripRules,
    new_york: NewYork,
    pub(crate) trips: Vec<Trip>,
    pub(crate) rejected: Rejected,
}

impl<'a> Cleaner<'a> {
    pub(crate) fn new(zones: &'a Zones, rules: &'a TripRules) -> Result<Self, RidesError> {
        Ok(Self { zones, rules, new_york: NewYork::new()?, trips: Vec::new(), rejected: Rejected::default() })
    }

    /// Records read so far.
    pub(crate) fn rows(&self) -> u64 {
        self.trips.len() as u64 + self.rejected.total()
    }

    pub(crate) fn unreadable(&mut self, at: At, example: impl FnOnce() -> String) {
        self.rejected.add(Reason::Unreadable, Some(at), example);
    }

    pub(crate) fn take(&mut self, at: At, raw: RawTrip) {
        match self.judge(raw) {
            Ok(trip) => self.trips.push(trip),
            Err((reason, example)) => self.rejected.add(reason, Some(at), || example),
        }
    }

    fn judge(&self, raw: RawTrip) -> Result<Trip, (Reason, String)> {
        let rules = self.rules;
        let (pickup_us, dropoff_us) = self
            .new_york
            .trip_us(raw.pickup, raw.dropoff)
            .ok_or_else(|| (Reason::Unreadable, "a time outside the years 1–9999".to_owned()))?;
        let drive_us = dropoff_us.saturating_sub(pickup_us);
        let seconds = || drive_us as f64 / 1e6;
        if drive_us <= 0 {
            return Err((Reason::ZeroDuration, format!("{} s", seconds())));
        }
        if drive_us < i64::from(rules.min_s) * 1_000_000 {
            return Err((Reason::TooShort, format!("{} s, the shortest kept is {} s", seconds(), rules.min_s)));
        }
        if drive_us > i64::from(rules.max_s) * 1_000_000 {
            return Err((Reason::TooLong, format!("{} s, the longest kept is {} s", seconds(), rules.max_s)));
        }
        let zone = |id: i64| {
            let known = u32::try_from(id).ok().filter(|&id| self.zones.get(id).is_some());
            known.ok_or_else(|| (Reason::UnknownZone, format!("{id} is not in the zones file")))
        };
        let (from_zone, to_zone) = (zone(raw.pickup_zone)?, zone(raw.dropoff_zone)?);
        if pickup_us < rules.from.as_microsecond() || pickup_us >= rules.until.as_microsecond() {
            let at = Timestamp::from_microsecond(pickup_us).map_or_else(|_| pickup_us.to_string(), |at| at.to_string());
            return Err((Reason::OutOfPeriod, format!("{at}, kept are {} to {}", rules.from, rules.until)));
        }
        Ok(Trip { pickup_us, drive_us, from_zone, to_zone })
    }
}
