//! Calendars of holidays.

mod japan;
mod united_states;

use std::ops::RangeInclusive;

use crate::kernels::{civil, days_before_year};

/// The calendars that every spec can name.
pub(crate) const BUILT_IN: [&str; 2] = ["JP", "US"];

/// Days of a calendar, counted from 1970-01-01.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Calendar {
    name: String,
    /// Ascending.
    days: Vec<i64>,
    /// The days of which it is known whether they are holidays. `None`: all.
    known: Option<RangeInclusive<i64>>,
}

impl Calendar {
    /// A calendar of exactly these days.
    pub(crate) fn of_days(name: &str, mut days: Vec<i64>) -> Self {
        days.sort_unstable();
        days.dedup();
        Self { name: name.to_owned(), days, known: None }
    }

    /// One of [`BUILT_IN`].
    pub(crate) fn built_in(name: &str) -> Option<Self> {
        let (years, days): (_, fn(i64) -> Vec<i64>) = match name {
            "JP" => (japan::YEARS, japan::holidays),
            "US" => (united_states::YEARS, united_states::holidays),
            _ => return None,
        };
        let known = days_before_year(*years.start())..=days_before_year(years.end() + 1) - 1;
        let days = years.flat_map(days).collect();
        Some(Self { known: Some(known), ..Self::of_days(name, days) })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn days(&self) -> &[i64] {
        &self.days
    }

    /// `None` where it is not known.
    pub(crate) fn is_holiday(&self, day: i64) -> Option<bool> {
        let known = self.known.as_ref().is_none_or(|known| known.contains(&day));
        known.then(|| self.days.binary_search(&day).is_ok())
    }
}

/// The day of a date of the proleptic Gregorian calendar.
fn day(year: i64, month: i64, day: i64) -> i64 {
    const BEFORE_MONTH: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let leap = i64::from(month > 2 && is_leap);
    days_before_year(year) + BEFORE_MONTH[(month - 1) as usize] + leap + day - 1
}

/// Monday 0 … Sunday 6.
fn weekday(day: i64) -> i64 {
    // 1970-01-01 was a Thursday.
    (day + 3).rem_euclid(7)
}

const MONDAY: i64 = 0;
const THURSDAY: i64 = 3;
const SATURDAY: i64 = 5;
const SUNDAY: i64 = 6;

/// The `nth` (from 1) such weekday of a month.
fn nth_weekday(year: i64, month: i64, nth: i64, of: i64) -> i64 {
    let first = day(year, month, 1);
    first + (of - weekday(first)).rem_euclid(7) + 7 * (nth - 1)
}

/// The last Monday of a month that has 31 days.
fn last_monday_of_31(year: i64, month: i64) -> i64 {
    let last = day(year, month, 31);
    last - weekday(last)
}

/// The day of a date that is there: "2026-01-31".
pub(crate) fn parse_date(text: &str) -> Option<i64> {
    let date: jiff::civil::Date = text.parse().ok()?;
    let parts = (i64::from(date.year()), i64::from(date.month()), i64::from(date.day()));
    let found = day(parts.0, parts.1, parts.2);
    // Only in this form: jiff takes others too.
    (civil(found) == parts && text.len() == 10).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days() {
        for text in ["1970-01-01", "2024-02-29", "2000-12-31", "1955-03-01", "2100-03-01"] {
            let (year, month, day_of_month) = civil(parse_date(text).unwrap());
            assert_eq!(format!("{year:04}-{month:02}-{day_of_month:02}"), text);
        }
        for text in ["2025-02-29", "20260131", "2026-1-31", "tomorrow", ""] {
            assert_eq!(parse_date(text), None, "{text}");
        }
        assert_eq!(weekday(parse_date("2026-11-23").unwrap()), MONDAY);
    }

    #[test]
    fn calendars_know_what_they_do_not_know() {
        let japan = Calendar::built_in("JP").unwrap();
        let is_holiday = |text| japan.is_holiday(parse_date(text).unwrap());
        assert_eq!((is_holiday("1955-01-01"), is_holiday("1954-12-31")), (Some(true), None));
        assert_eq!((is_holiday("2099-12-31"), is_holiday("2100-01-01")), (Some(false), None));
        let own = Calendar::of_days("own", vec![3, 1, 3]);
        assert_eq!((own.is_holiday(3), own.is_holiday(2), own.days()), (Some(true), Some(false), &[1, 3][..]));
    }
}
