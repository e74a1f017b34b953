//! Local calendar fields of instants.

use jiff::{Timestamp, tz::TimeZone};

use super::{
    int::{all_within, floor_divide},
    strict,
    vector::{Int64, each, vectorised},
};
use crate::{
    column::{Column, View},
    op::TimeField,
};

pub(super) const MICROS_PER_SECOND: i64 = 1_000_000;
pub(super) const SECONDS_PER_DAY: i64 = 86_400;

/// A time zone with its offsets spread out, so that a row costs a comparison and not a rule look-up.
#[derive(Debug, Clone)]
pub(crate) struct Zone {
    name: String,
    rules: TimeZone,
    /// Changes of the offset between [`FIRST_YEAR`] and [`LAST_YEAR`]: from this second on (Unix, UTC), this offset (s).
    offsets: Vec<(i64, i64)>,
    /// End of the spread-out part.
    end_s: i64,
}

const FIRST_YEAR: &str = "1970-01-01T00:00:00Z";
const LAST_YEAR: &str = "2100-01-01T00:00:00Z";

impl Zone {
    /// A zone of the IANA database bundled with the build.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let time_zone = TimeZone::get(name).ok()?;
        let (first, last): (Timestamp, Timestamp) = (FIRST_YEAR.parse().ok()?, LAST_YEAR.parse().ok()?);
        let mut offsets = vec![(first.as_second(), i64::from(time_zone.to_offset(first).seconds()))];
        for change in time_zone.following(first).take_while(|change| change.timestamp() < last) {
            offsets.push((change.timestamp().as_second(), i64::from(change.offset().seconds())));
        }
        Some(Self { name: name.to_owned(), rules: time_zone, offsets, end_s: last.as_second() })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The offset from UTC in seconds at `second`, and the seconds `from..until` over which it holds.
    pub(super) fn offset_at(&self, second: i64) -> (i64, std::ops::Range<i64>) {
        let after = self.offsets.partition_point(|(start, _)| *start <= second);
        if after == 0 || second >= self.end_s {
            let timestamp = Timestamp::from_second(second).unwrap_or_default();
            return (i64::from(self.rules.to_offset(timestamp).seconds()), second..second + 1);
        }
        let (start, offset) = self.offsets[after - 1];
        let end = self.offsets.get(after).map_or(self.end_s, |(end, _)| *end);
        (offset, start..end)
    }

    /// The offset at `first` and its changes until `last`, where the spread-out part holds both.
    fn changes_between(&self, first: i64, last: i64) -> Option<(i64, &[(i64, i64)])> {
        let after = self.offsets.partition_point(|(start, _)| *start <= first);
        let until = self.offsets.partition_point(|(start, _)| *start <= last);
        let offset = self.offsets.get(after.checked_sub(1)?)?.1;
        (last < self.end_s).then(|| (offset, self.offsets.get(after..until).unwrap_or_default()))
    }

    /// The local second of an instant (µs): from 1970-01-01T00:00:00 to the local time, rounded down.
    pub(crate) fn local_second(&self, micros: i64) -> i64 {
        let second = micros.div_euclid(MICROS_PER_SECOND);
        second + self.offset_at(second).0
    }
}

/// Up to here doubles hold seconds and microseconds exactly: the years 1684 to 2255.
const EXACT: i64 = 1 << 53;
/// So many changes of the offset are looked at row by row without a search. A year has two.
const FEW_CHANGES: usize = 8;

pub(super) fn local_second(zone: &Zone, x: &View<'_>, rows: usize, result: &mut Column) {
    strict(&[x], result);
    local_seconds(zone, x.ints(), result.ints_mut(rows));
}

/// [`Zone::local_second`] of every instant.
pub(crate) fn local_seconds<I: Int64>(zone: &Zone, x: &[I], out: &mut [I]) {
    if !all_within(x, EXACT) {
        return each(x, out, |micros: I| I::of(zone.local_second(micros.get())));
    }
    let (first, last) = vectorised(
        #[inline(always)]
        || {
            each(x, out, |micros: I| I::of(floor_divide(micros.get(), MICROS_PER_SECOND as f64)));
            let seconds = out.iter().map(|second| second.get());
            seconds.fold((i64::MAX, i64::MIN), |(first, last), second| (first.min(second), last.max(second)))
        },
    );
    match zone.changes_between(first, last) {
        Some((offset, changes)) if changes.len() <= FEW_CHANGES => vectorised(
            #[inline(always)]
            || {
                let mut before = offset;
                for second in out.iter_mut() {
                    *second = I::of(second.get() + offset);
                }
                for &(at, after) in changes {
                    let step = after - before;
                    for (second, &micros) in out.iter_mut().zip(x) {
                        let more = if micros.get() >= at * MICROS_PER_SECOND { step } else { 0 };
                        *second = I::of(second.get() + more);
                    }
                    before = after;
                }
            },
        ),
        _ => out.iter_mut().for_each(|second| *second = I::of(second.get() + zone.offset_at(second.get()).0)),
    }
}

pub(super) fn field(field: TimeField, x: &View<'_>, rows: usize, result: &mut Column) {
    strict(&[x], result);
    fields(field, x.ints(), result.ints_mut(rows));
}

/// [`field_of`] every local second.
pub(crate) fn fields<I: Int64>(field: TimeField, x: &[I], out: &mut [I]) {
    // Days fit 32 bits then, whose division by a constant is a vector operation.
    if !all_within(x, 1 << 46) {
        return each(x, out, |second: I| I::of(field_of(field, second.get())));
    }
    match field {
        TimeField::Hour => fast_field(x, out, |_, second| second / 3600),
        TimeField::Minute => fast_field(x, out, |_, second| second / 60 % 60),
        TimeField::Second => fast_field(x, out, |_, second| second % 60),
        TimeField::IsoDayOfWeek => fast_field(x, out, |day, _| (day + 3) % 7 + 1),
        TimeField::DayOfWeek => fast_field(x, out, |day, _| (day + 4) % 7 + 1),
        _ => each(x, out, |second: I| I::of(field_of(field, second.get()))),
    }
}

/// Days are counted from a Thursday so long ago that they are positive.
const EARLIER_DAYS: i64 = 7 * 150_000_000;

fn fast_field<I: Int64>(x: &[I], out: &mut [I], field: impl Fn(u32, u32) -> u32) {
    vectorised(
        #[inline(always)]
        || {
            each(x, out, |second: I| {
                let second = second.get();
                let day = floor_divide(second, SECONDS_PER_DAY as f64);
                let second_of_day = second - day * SECONDS_PER_DAY;
                I::of(i64::from(field((day + EARLIER_DAYS) as u32, second_of_day as u32)))
            });
        },
    );
}

pub(crate) fn field_of(field: TimeField, local_s: i64) -> i64 {
    let (day, second) = (local_s.div_euclid(SECONDS_PER_DAY), local_s.rem_euclid(SECONDS_PER_DAY));
    match field {
        TimeField::Hour => second / 3600,
        TimeField::Minute => second / 60 % 60,
        TimeField::Second => second % 60,
        // 1970-01-01 was a Thursday.
        TimeField::IsoDayOfWeek => (day + 3).rem_euclid(7) + 1,
        TimeField::DayOfWeek => (day + 4).rem_euclid(7) + 1,
        TimeField::Year => civil(day).0,
        TimeField::Month => civil(day).1,
        TimeField::Quarter => (civil(day).1 + 2) / 3,
        TimeField::Day => civil(day).2,
        TimeField::DayOfYear => {
            let (year, _, _) = civil(day);
            day - days_before_year(year) + 1
        }
    }
}

/// Days from 1970-01-01 to January 1st of `year`.
pub(crate) fn days_before_year(year: i64) -> i64 {
    let y = year - 1;
    y * 365 + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) - 719_162
}

/// Year, month and day of a day counted from 1970-01-01, proleptic Gregorian.
/// Source: H. Hinnant, "chrono-compatible low-level date algorithms", civil_from_days.
pub(crate) fn civil(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn unknown_zones_are_none() {
        assert!(Zone::new("America/New_York").is_some());
        assert!(Zone::new("America/Nowhere").is_none());
    }

    proptest! {
        /// Against jiff's own calendar, from 1850 to 2200, over zones with whole and odd offsets.
        #[test]
        fn agrees_with_the_calendar(second in -3_786_825_600i64..7_258_118_400, zone in 0usize..5) {
            let zone = Zone::new(["America/New_York", "Asia/Tokyo", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC"][zone]).unwrap();
            let local = Timestamp::from_second(second).unwrap().to_zoned_datetime(zone.rules.clone());
            let (offset, holds) = zone.offset_at(second);
            prop_assert!(holds.contains(&second));
            prop_assert_eq!(offset, i64::from(local.offset().seconds()));
            let of = |field| field_of(field, second + offset);
            prop_assert_eq!(of(TimeField::Year), i64::from(local.year()));
            prop_assert_eq!(of(TimeField::Month), i64::from(local.month()));
            prop_assert_eq!(of(TimeField::Quarter), (i64::from(local.month()) - 1) / 3 + 1);
            prop_assert_eq!(of(TimeField::Day), i64::from(local.day()));
            prop_assert_eq!(of(TimeField::DayOfYear), i64::from(local.day_of_year()));
            prop_assert_eq!(of(TimeField::Hour), i64::from(local.hour()));
            prop_assert_eq!(of(TimeField::Minute), i64::from(local.minute()));
            prop_assert_eq!(of(TimeField::Second), i64::from(local.second()));
            prop_assert_eq!(of(TimeField::IsoDayOfWeek), i64::from(local.weekday().to_monday_one_offset()));
            prop_assert_eq!(of(TimeField::DayOfWeek), i64::from(local.weekday().to_sunday_one_offset()));
        }
    }
}
