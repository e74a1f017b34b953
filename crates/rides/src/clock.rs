//! New York's local time.

use jiff::{Timestamp, tz::TimeZone};

use crate::RidesError;

/// Both sources of rides keep this time.
pub(crate) const TIME_ZONE: &str = "America/New_York";

/// A moment of the local week.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LocalTime {
    /// 0 Monday – 6 Sunday.
    pub(crate) weekday: usize,
    /// Hours since midnight, [0, 24).
    pub(crate) hour: f64,
}

impl LocalTime {
    pub(crate) fn is_weekend(self) -> bool {
        self.weekday >= 5
    }
}

/// Turns UTC into local time, and remembers the last hour's offset: offsets change on the hour.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    zone: TimeZone,
    hour: i64,
    offset_s: i64,
}

impl Clock {
    pub(crate) fn new() -> Result<Self, RidesError> {
        let zone = TimeZone::get(TIME_ZONE).map_err(|_| RidesError::TimeZone(TIME_ZONE))?;
        Ok(Self { zone, hour: i64::MIN, offset_s: 0 })
    }

    /// The local time of `unix_us`, microseconds since 1970 UTC.
    pub(crate) fn local(&mut self, unix_us: i64) -> LocalTime {
        let hour = unix_us.div_euclid(3_600_000_000);
        if hour != self.hour {
            let timestamp = Timestamp::from_second(hour * 3600).unwrap_or(Timestamp::MAX);
            (self.hour, self.offset_s) = (hour, i64::from(self.zone.to_offset(timestamp).seconds()));
        }
        let local_us = unix_us + self.offset_s * 1_000_000;
        let day = local_us.div_euclid(86_400_000_000);
        // 1970-01-01 was a Thursday.
        let weekday = (day + 3).rem_euclid(7) as usize;
        LocalTime { weekday, hour: local_us.rem_euclid(86_400_000_000) as f64 / 3.6e9 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_the_time_zones_rules(unix_s in 1_500_000_000i64..1_900_000_000) {
            let mut clock = Clock::new().unwrap();
            // In whatever order it is asked.
            clock.local((unix_s - 1800) * 1_000_000);
            let local = clock.local(unix_s * 1_000_000);
            let expected = Timestamp::from_second(unix_s).unwrap().in_tz(TIME_ZONE).unwrap();
            prop_assert_eq!(local.weekday, expected.weekday().to_monday_zero_offset() as usize);
            let seconds = f64::from(expected.hour()) * 3600.0 + f64::from(expected.minute()) * 60.0 + f64::from(expected.second());
            prop_assert!((local.hour * 3600.0 - seconds).abs() < 1e-6);
        }
    }
}
