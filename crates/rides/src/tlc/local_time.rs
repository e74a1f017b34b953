//! New York's wall clock → UTC.

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, Offset, TimeZone},
};

use crate::{RidesError, clock::TIME_ZONE};

/// A time as a trip record has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Recorded {
    /// New York's wall clock, as the TLC publishes it.
    Local(DateTime),
    /// An instant: Parquet columns that say so.
    Instant(Timestamp),
}

/// Turns the two times of a trip into instants.
#[derive(Debug)]
pub(crate) struct NewYork(TimeZone);

impl NewYork {
    pub(crate) fn new() -> Result<Self, RidesError> {
        TimeZone::get(TIME_ZONE).map(Self).map_err(|_| RidesError::TimeZone(TIME_ZONE))
    }

    /// Pick-up and drop-off in microseconds since 1970 UTC; `None` outside the years that instants can have.
    ///
    /// - In the hour that winter time repeats, the pick-up is taken as the earlier of its two instants, and the drop-off
    ///   as the earlier that is not before the pick-up: 01:50 → 01:10 is a trip of 20 minutes.
    /// - In the hour that summer time skips, the offset before it counts: a meter that says 02:30 has not been changed
    ///   and means 03:30.
    pub(crate) fn trip_us(&self, pickup: Recorded, dropoff: Recorded) -> Option<(i64, i64)> {
        let (pickup_us, _) = self.instants_us(pickup)?;
        let (earlier_us, later_us) = self.instants_us(dropoff)?;
        Some((pickup_us, if earlier_us < pickup_us { later_us } else { earlier_us }))
    }

    fn instants_us(&self, recorded: Recorded) -> Option<(i64, i64)> {
        let local = match recorded {
            Recorded::Instant(timestamp) => return Some((timestamp.as_microsecond(), timestamp.as_microsecond())),
            Recorded::Local(local) => local,
        };
        let at = |offset: Offset| offset.to_timestamp(local).ok().map(Timestamp::as_microsecond);
        match self.0.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => at(offset).map(|us| (us, us)),
            AmbiguousOffset::Gap { before, .. } => at(before).map(|us| (us, us)),
            AmbiguousOffset::Fold { before, after } => Some((at(before)?, at(after)?)),
        }
    }
}

/// `2018-01-11 18:24:44`, also with `T` and with a fraction of a second.
pub(crate) fn parse(text: &[u8]) -> Option<DateTime> {
    let text = text.trim_ascii();
    let number = |range: std::ops::Range<usize>| {
        text.get(range)?
            .iter()
            .try_fold(0_i16, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i16::from(digit - b'0')))
    };
    let is = |at: usize, allowed: &[u8]| text.get(at).is_some_and(|byte| allowed.contains(byte));
    if !(is(4, b"-") && is(7, b"-") && is(10, b" T") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let nanosecond = match text.get(19..)? {
        [] => 0,
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) => {
            let padded = digits.iter().copied().chain(std::iter::repeat(b'0')).take(9);
            padded.fold(0_i32, |sum, digit| sum * 10 + i32::from(digit - b'0'))
        }
        _ => return None,
    };
    let part = |range| number(range).and_then(|number| i8::try_from(number).ok());
    DateTime::new(number(0..4)?, part(5..7)?, part(8..10)?, part(11..13)?, part(14..16)?, part(17..19)?, nanosecond)
        .ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trip(pickup: &str, dropoff: &str) -> (String, i64) {
        let local = |text: &str| Recorded::Local(parse(text.as_bytes()).unwrap());
        let (from_us, to_us) = NewYork::new().unwrap().trip_us(local(pickup), local(dropoff)).unwrap();
        (Timestamp::from_microsecond(from_us).unwrap().to_string(), (to_us - from_us) / 60_000_000)
    }

    #[test]
    fn clock_changes_neither_lengthen_nor_shorten_a_trip() {
        assert_eq!(trip("2018-07-01 12:00:00", "2018-07-01 12:30:00"), ("2018-07-01T16:00:00Z".to_owned(), 30));
        assert_eq!(trip("2018-01-01 12:00:00", "2018-01-01 12:30:00"), ("2018-01-01T17:00:00Z".to_owned(), 30));
        // Winter time begins on 2018-11-04 at 02:00, which becomes 01:00.
        assert_eq!(trip("2018-11-04 01:50:00", "2018-11-04 01:10:00"), ("2018-11-04T05:50:00Z".to_owned(), 20));
        assert_eq!(trip("2018-11-04 01:10:00", "2018-11-04 01:50:00"), ("2018-11-04T05:10:00Z".to_owned(), 40));
        assert_eq!(trip("2018-11-04 00:50:00", "2018-11-04 01:10:00"), ("2018-11-04T04:50:00Z".to_owned(), 20));
        // Summer time begins on 2018-03-11 at 02:00, which becomes 03:00.
        assert_eq!(trip("2018-03-11 01:50:00", "2018-03-11 03:10:00"), ("2018-03-11T06:50:00Z".to_owned(), 20));
        assert_eq!(trip("2018-03-11 02:30:00", "2018-03-11 03:40:00"), ("2018-03-11T07:30:00Z".to_owned(), 10));
        // Instants need no zone.
        let instant = |text: &str| Recorded::Instant(text.parse().unwrap());
        let new_york = NewYork::new().unwrap();
        let trip = new_york.trip_us(instant("2018-11-04T05:50:00Z"), instant("2018-11-04T05:00:00Z")).unwrap();
        assert_eq!(trip.1 - trip.0, -50 * 60_000_000);
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "2018-01-11",
            "2018-13-11 18:24:44",
            "2018-02-29 18:24:44",
            "2018-01-11 24:24:44",
            "2018-01-11 18:24",
            "2018-01-11 18:24:44.",
            "2018-01-11 18:24:44 PM",
            "01/11/2018 06:24:44",
            "2018-01-1118:24:44",
            "2o18-01-11 18:24:44",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_another_parser(us in 1_230_768_000_000_000i64..4_000_000_000_000_000) {
            let expected = Offset::UTC.to_datetime(Timestamp::from_microsecond(us).unwrap());
            let spaced = expected.strftime("%Y-%m-%d %H:%M:%S%.f").to_string();
            prop_assert_eq!(parse(spaced.as_bytes()), Some(expected));
            prop_assert_eq!(parse(expected.to_string().as_bytes()), Some(expected));
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            parse(&bytes);
        }
    }
}
