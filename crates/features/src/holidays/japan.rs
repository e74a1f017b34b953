//! National holidays of Japan, from the Act on National Holidays (Act No. 178 of 1948), its amendments, and the acts on
//! single days.

use std::ops::RangeInclusive;

use super::{MONDAY, SUNDAY, day, nth_weekday, weekday};

/// Officially announced up to 2027; later years are as the law stood in 2026, with the equinoxes computed.
pub(super) const YEARS: RangeInclusive<i64> = 1955..=2099;

/// Holidays, substitute holidays and days between two holidays.
pub(super) fn holidays(year: i64) -> Vec<i64> {
    let mut days = named(year);
    days.sort_unstable();
    let mut rest = Vec::new();
    for &holiday in &days {
        // Since 12 April 1973: the day after a holiday on a Sunday; since 2007 the next day that is none.
        if weekday(holiday) == SUNDAY && holiday >= day(1973, 4, 12) {
            let next = (holiday + 1..holiday + 8).find(|next| !days.contains(next)).unwrap_or(holiday + 1);
            if next == holiday + 1 || year >= 2007 {
                rest.push(next);
            }
        }
        // Since 27 December 1985: a day between two holidays, where it is no Sunday and no holiday already.
        let between = holiday + 1;
        if year >= 1986
            && days.contains(&(holiday + 2))
            && !days.contains(&between)
            && weekday(between) != SUNDAY
            && !(year < 2007 && weekday(between) == MONDAY)
        {
            rest.push(between);
        }
    }
    days.extend(rest);
    days
}

fn named(year: i64) -> Vec<i64> {
    let fixed = |month, of| day(year, month, of);
    let monday = |month, nth| nth_weekday(year, month, nth, MONDAY);
    let mut days = vec![
        fixed(1, 1),
        // Coming of Age Day.
        if year < 2000 { fixed(1, 15) } else { monday(1, 2) },
        fixed(3, spring_equinox(year)),
        // The Emperor's Birthday to 1988, Greenery Day to 2006, Showa Day.
        fixed(4, 29),
        fixed(5, 3),
        fixed(5, 5),
        fixed(9, autumn_equinox(year)),
        fixed(11, 3),
        fixed(11, 23),
    ];
    // National Foundation Day.
    if year >= 1967 {
        days.push(fixed(2, 11));
    }
    // The Emperor's Birthday since 1989.
    match year {
        1989..=2018 => days.push(fixed(12, 23)),
        2020.. => days.push(fixed(2, 23)),
        _ => {}
    }
    // Greenery Day.
    if year >= 2007 {
        days.push(fixed(5, 4));
    }
    // Marine Day; the Olympic years moved it, like Mountain Day and Sports Day.
    match year {
        2020 => days.push(fixed(7, 23)),
        2021 => days.push(fixed(7, 22)),
        1996..=2002 => days.push(fixed(7, 20)),
        2003.. => days.push(monday(7, 3)),
        _ => {}
    }
    // Mountain Day.
    match year {
        2020 => days.push(fixed(8, 10)),
        2021 => days.push(fixed(8, 8)),
        2016.. => days.push(fixed(8, 11)),
        _ => {}
    }
    // Respect for the Aged Day.
    match year {
        1966..=2002 => days.push(fixed(9, 15)),
        2003.. => days.push(monday(9, 3)),
        _ => {}
    }
    // Sports Day.
    match year {
        2020 => days.push(fixed(7, 24)),
        2021 => days.push(fixed(7, 23)),
        1966..=1999 => days.push(fixed(10, 10)),
        2000.. => days.push(monday(10, 2)),
        _ => {}
    }
    // Weddings, a funeral and enthronements, by acts of their own.
    match year {
        1959 => days.push(fixed(4, 10)),
        1989 => days.push(fixed(2, 24)),
        1990 => days.push(fixed(11, 12)),
        1993 => days.push(fixed(6, 9)),
        2019 => days.extend([fixed(5, 1), fixed(10, 22)]),
        _ => {}
    }
    days
}

/// The day of March. Source of the coefficients: the ephemeris formula for 1851–2150 of the Hydrographic Department, as widely
/// published; in millionths of a day.
fn spring_equinox(year: i64) -> i64 {
    equinox(year, 20_835_700, 20_843_100)
}

/// The day of September.
fn autumn_equinox(year: i64) -> i64 {
    equinox(year, 23_258_800, 23_248_800)
}

fn equinox(year: i64, to_1979: i64, from_1980: i64) -> i64 {
    let (start, leap_days) = if year < 1980 {
        // The quotient is cut towards zero, as the formula's INT is.
        (to_1979, (year - 1983) / 4)
    } else {
        (from_1980, (year - 1980) / 4)
    };
    (start + 242_194 * (year - 1980)).div_euclid(1_000_000) - leap_days
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;
    use crate::{holidays::parse_date, kernels::civil};

    /// Day for day against the Cabinet Office's list, where it lies beside the checkout.
    #[test]
    fn agrees_with_the_official_list() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/syukujitsu.csv");
        let Ok(bytes) = std::fs::read(&path) else {
            eprintln!("skipped: {} is not there", path.display());
            return;
        };
        // Names may be in Shift_JIS or UTF-8; the dates are ASCII in both.
        let official: BTreeSet<i64> = bytes
            .split(|&byte| byte == b'\n')
            .filter_map(|line| std::str::from_utf8(line.split(|&byte| byte == b',').next()?).ok())
            .filter_map(|date| {
                let mut parts = date.split('/').map(str::parse::<i64>);
                let (year, month, of) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
                Some(day(year, month, of))
            })
            .collect();
        assert!(official.len() > 1000, "{}", official.len());
        let last = civil(*official.last().unwrap()).0;
        let ours: BTreeSet<i64> = (1955..=last).flat_map(holidays).collect();
        let dates = |days: Vec<&i64>| days.into_iter().map(|&day| civil(day)).collect::<Vec<_>>();
        assert_eq!(dates(official.difference(&ours).collect()), [], "missing");
        assert_eq!(dates(ours.difference(&official).collect()), [], "too many");
    }

    #[test]
    fn substitutes_and_days_between_follow_the_law() {
        let is_holiday = |text: &str| {
            let day = parse_date(text).unwrap();
            holidays(civil(day).0).contains(&day)
        };
        for text in ["1973-04-30", "1988-05-04", "2009-09-22", "2019-04-30", "2019-05-06", "2020-05-06", "2026-09-22"] {
            assert!(is_holiday(text), "{text}");
        }
        for text in ["1973-02-12", "1985-05-04", "1986-05-04", "2019-12-23", "2021-07-19", "2026-11-24"] {
            assert!(!is_holiday(text), "{text}");
        }
    }
}
