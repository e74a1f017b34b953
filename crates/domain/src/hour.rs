use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::DomainError;

/// One hour of event time, UTC: the lake's partition. Written as `2026-01-31T23`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hour {
    /// Hours since 1970-01-01T00 UTC.
    since_epoch: i64,
}

const SECONDS_PER_HOUR: i64 = 3600;

impl Hour {
    /// The hour that holds `timestamp`.
    pub fn of(timestamp: Timestamp) -> Self {
        // Nanoseconds, since `as_second` rounds towards zero before 1970.
        let hours = timestamp.as_nanosecond().div_euclid(i128::from(SECONDS_PER_HOUR) * 1_000_000_000);
        Self { since_epoch: i64::try_from(hours).unwrap_or(0) }
    }

    /// The hour's first instant.
    pub fn start(self) -> Timestamp {
        Timestamp::from_second(self.since_epoch * SECONDS_PER_HOUR).unwrap_or(Timestamp::MIN)
    }

    /// The hour `count` hours later (earlier where negative).
    #[must_use]
    pub fn plus(self, count: i64) -> Self {
        Self { since_epoch: self.since_epoch + count }
    }

    /// The UTC date, `2026-01-31`.
    pub fn date(self) -> String {
        self.start().strftime("%Y-%m-%d").to_string()
    }

    /// The hour of the UTC day, 0–23.
    pub fn hour_of_day(self) -> u8 {
        u8::try_from(self.since_epoch.rem_euclid(24)).unwrap_or(0)
    }

    /// From a UTC date `2026-01-31` and an hour of the day 0–23.
    pub fn from_parts(date: &str, hour_of_day: u8) -> Result<Self, DomainError> {
        let invalid = || DomainError::InvalidHour(format!("{date}T{hour_of_day:02}"));
        if date.len() != 10 || hour_of_day > 23 {
            return Err(invalid());
        }
        let start: Timestamp = format!("{date}T{hour_of_day:02}:00:00Z").parse().map_err(|_| invalid())?;
        Ok(Self::of(start))
    }
}

impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}T{:02}", self.date(), self.hour_of_day())
    }
}

impl FromStr for Hour {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        let invalid = || DomainError::InvalidHour(text.to_owned());
        let (date, hour) = text.split_once('T').ok_or_else(invalid)?;
        if hour.len() != 2 {
            return Err(invalid());
        }
        Self::from_parts(date, hour.parse().map_err(|_| invalid())?)
    }
}

impl TryFrom<String> for Hour {
    type Error = DomainError;

    fn try_from(text: String) -> Result<Self, DomainError> {
        text.parse()
    }
}

impl From<Hour> for String {
    fn from(hour: Hour) -> Self {
        hour.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn is_written_and_read_back() {
        let hour: Hour = "2018-06-01T07".parse().unwrap();
        assert_eq!(hour.to_string(), "2018-06-01T07");
        assert_eq!(hour.start().to_string(), "2018-06-01T07:00:00Z");
        assert_eq!(Hour::of("2018-06-01T07:59:59.999999Z".parse().unwrap()), hour);
        assert_eq!(Hour::of("1969-12-31T23:59:59.5Z".parse().unwrap()).to_string(), "1969-12-31T23");
    }

    #[test]
    fn refuses_what_is_not_an_hour() {
        for text in
            ["", "2018-06-01", "2018-06-01T24", "2018-06-01T7", "2018-6-1T07", "x2018-06-01T07", "2018-06-01T07:00"]
        {
            assert!(text.parse::<Hour>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(since_epoch in -400_000i64..4_000_000) {
            let hour = Hour { since_epoch };
            prop_assert_eq!(hour.to_string().parse::<Hour>().unwrap(), hour);
            prop_assert_eq!(Hour::of(hour.start()), hour);
        }
    }
}
