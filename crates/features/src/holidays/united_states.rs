//! Federal holidays of the United States (5 U.S.C. 6103), nationwide ones only (not Inauguration Day).

use std::ops::RangeInclusive;

use super::{MONDAY, SATURDAY, SUNDAY, THURSDAY, day, last_monday_of_31, nth_weekday, weekday};

/// From the Uniform Monday Holiday Act on.
pub(super) const YEARS: RangeInclusive<i64> = 1971..=2099;

/// The holidays themselves, and the days on which they are observed: Friday for a Saturday (E.O. 11582 and 5 U.S.C.
/// 6103(b)), Monday for a Sunday.
pub(super) fn holidays(year: i64) -> Vec<i64> {
    let mut days = Vec::new();
    for of in named(year) {
        days.push(of);
        match weekday(of) {
            SATURDAY => days.push(of - 1),
            SUNDAY => days.push(of + 1),
            _ => {}
        }
    }
    days
}

fn named(year: i64) -> Vec<i64> {
    let monday = |month, nth| nth_weekday(year, month, nth, MONDAY);
    let mut days = vec![
        day(year, 1, 1),
        // Washington's Birthday.
        monday(2, 3),
        // Memorial Day.
        last_monday_of_31(year, 5),
        day(year, 7, 4),
        // Labor Day, Columbus Day.
        monday(9, 1),
        monday(10, 2),
        // Veterans Day: the fourth Monday of October from 1971 to 1977.
        if year < 1978 { monday(10, 4) } else { day(year, 11, 11) },
        // Thanksgiving Day.
        nth_weekday(year, 11, 4, THURSDAY),
        day(year, 12, 25),
    ];
    // Birthday of Martin Luther King, Jr.; Juneteenth (signed two days before the first one).
    if year >= 1986 {
        days.push(monday(1, 3));
    }
    if year >= 2021 {
        days.push(day(year, 6, 19));
    }
    days
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holidays::{Calendar, parse_date};

    /// The Office of Personnel Management's lists of 2021, 2022 and 2026.
    #[test]
    fn agrees_with_published_years() {
        let calendar = Calendar::built_in("US").unwrap();
        let observed = [
            "2021-01-01",
            "2021-01-18",
            "2021-02-15",
            "2021-05-31",
            "2021-06-18",
            "2021-07-05",
            "2021-09-06",
            "2021-10-11",
            "2021-11-11",
            "2021-11-25",
            "2021-12-24",
            "2021-12-31",
            "2022-01-17",
            "2022-06-20",
            "2022-12-26",
            "2026-01-19",
            "2026-07-03",
            "2026-11-26",
        ];
        for text in observed {
            assert_eq!(calendar.is_holiday(parse_date(text).unwrap()), Some(true), "{text}");
        }
        for text in ["2021-07-02", "2021-11-26", "2020-06-19", "1985-01-21", "2026-07-06", "1975-11-11"] {
            assert_eq!(calendar.is_holiday(parse_date(text).unwrap()), Some(false), "{text}");
        }
        // 2021 with its eleven holidays, of which four were observed on another day, and New Year's Day 2022.
        let (first, last) = (day(2021, 1, 1), day(2021, 12, 31));
        assert_eq!(calendar.days().iter().filter(|day| (first..=last).contains(*day)).count(), 11 + 3 + 1);
    }
}
