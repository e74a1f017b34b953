//! Parts of dates and times: extracted, truncated to, added and counted, as BigQuery does it.
//!
//! Everything here is over *civil microseconds*: microseconds since 1970-01-01T00:00:00 without a zone.
//! <https://cloud.google.com/bigquery/docs/reference/standard-sql/date_functions>

use jiff::civil::{Date, Weekday};

use crate::text::{US_PER_DAY, add_months, date_of_days, days_of_date};

/// A part that a date or time has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    DayOfWeek,
    DayOfYear,
    /// Weeks that begin on this day, days after Sunday.
    Week(i64),
    IsoWeek,
    Month,
    Quarter,
    Year,
    IsoYear,
}

impl Part {
    /// `MONTH`, `WEEK`, `WEEK(MONDAY)`, …
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let name = name.to_ascii_uppercase();
        if let Some(day) = name.strip_prefix("WEEK(").and_then(|rest| rest.strip_suffix(')')) {
            let days = ["SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY"];
            return days.iter().position(|name| *name == day.trim()).map(|day| Self::Week(day as i64));
        }
        Some(match name.as_str() {
            "MICROSECOND" => Self::Microsecond,
            "MILLISECOND" => Self::Millisecond,
            "SECOND" => Self::Second,
            "MINUTE" => Self::Minute,
            "HOUR" => Self::Hour,
            "DAY" => Self::Day,
            "DAYOFWEEK" => Self::DayOfWeek,
            "DAYOFYEAR" => Self::DayOfYear,
            "WEEK" => Self::Week(0),
            "ISOWEEK" => Self::IsoWeek,
            "MONTH" => Self::Month,
            "QUARTER" => Self::Quarter,
            "YEAR" => Self::Year,
            "ISOYEAR" => Self::IsoYear,
            _ => return None,
        })
    }

    /// The length of a part that always has the same.
    pub(crate) fn us(self) -> Option<i64> {
        Some(match self {
            Self::Microsecond => 1,
            Self::Millisecond => 1_000,
            Self::Second => 1_000_000,
            Self::Minute => 60_000_000,
            Self::Hour => 3_600_000_000,
            Self::Day => US_PER_DAY,
            _ => return None,
        })
    }
}

/// Which week a day is in; weeks begin `start` days after Sunday. 1970-01-01 was a Thursday.
fn week(days: i64, start: i64) -> i64 {
    (days + 4 - start).div_euclid(7)
}

fn first_day(days: i64) -> Option<Date> {
    Date::new(date_of_days(days)?.year(), 1, 1).ok()
}

/// `EXTRACT(part FROM …)`.
pub(crate) fn extract(us: i64, part: Part) -> Option<i64> {
    let (days, of_day) = (us.div_euclid(US_PER_DAY), us.rem_euclid(US_PER_DAY));
    let date = date_of_days(days)?;
    Some(match part {
        Part::Microsecond => of_day % 1_000_000,
        Part::Millisecond => of_day / 1000 % 1000,
        Part::Second => of_day / 1_000_000 % 60,
        Part::Minute => of_day / 60_000_000 % 60,
        Part::Hour => of_day / 3_600_000_000,
        Part::Day => date.day().into(),
        Part::DayOfWeek => i64::from(date.weekday().to_sunday_zero_offset()) + 1,
        Part::DayOfYear => date.day_of_year().into(),
        // Days before the year's first such weekday are in week 0.
        Part::Week(start) => week(days, start) - week(days_of_date(first_day(days)?) - 1, start),
        Part::IsoWeek => date.iso_week_date().week().into(),
        Part::Month => date.month().into(),
        Part::Quarter => (i64::from(date.month()) + 2) / 3,
        Part::Year => date.year().into(),
        Part::IsoYear => date.iso_week_date().year().into(),
    })
}

/// The beginning of the part that a time is in.
pub(crate) fn truncate(us: i64, part: Part) -> Option<i64> {
    if let Some(length) = part.us() {
        return Some(us.div_euclid(length) * length);
    }
    let days = us.div_euclid(US_PER_DAY);
    let date = date_of_days(days)?;
    let first_of = |month: i8| Date::new(date.year(), month, 1).ok().map(days_of_date);
    let days = match part {
        Part::Week(start) => week(days, start) * 7 - 4 + start,
        Part::IsoWeek => week(days, 1) * 7 - 3,
        Part::Month => first_of(date.month())?,
        Part::Quarter => first_of((date.month() - 1) / 3 * 3 + 1)?,
        Part::Year => first_of(1)?,
        Part::IsoYear => {
            let year = date.iso_week_date().year();
            days_of_date(jiff::civil::ISOWeekDate::new(year, 1, Weekday::Monday).ok()?.date())
        }
        _ => return None,
    };
    Some(days * US_PER_DAY)
}

/// So many of a part later; a day that the month has not becomes its last.
pub(crate) fn add(us: i64, number: i64, part: Part) -> Option<i64> {
    if let Some(length) = part.us() {
        return us.checked_add(number.checked_mul(length)?);
    }
    let months = match part {
        Part::Week(_) | Part::IsoWeek => return us.checked_add(number.checked_mul(7 * US_PER_DAY)?),
        Part::Month => number,
        Part::Quarter => number.checked_mul(3)?,
        Part::Year => number.checked_mul(12)?,
        _ => return None,
    };
    Some(add_months(us.div_euclid(US_PER_DAY), months)? * US_PER_DAY + us.rem_euclid(US_PER_DAY))
}

/// How many boundaries of a part lie between `from` and `until`.
pub(crate) fn boundaries(until: i64, from: i64, part: Part) -> Option<i64> {
    if let Some(length) = part.us() {
        return Some(until.div_euclid(length) - from.div_euclid(length));
    }
    let index = |us: i64| {
        let days = us.div_euclid(US_PER_DAY);
        let date = date_of_days(days)?;
        let year = i64::from(date.year());
        Some(match part {
            Part::Week(start) => week(days, start),
            Part::IsoWeek => week(days, 1),
            Part::Month => year * 12 + i64::from(date.month()),
            Part::Quarter => year * 4 + (i64::from(date.month()) + 2) / 3,
            Part::Year => year,
            Part::IsoYear => date.iso_week_date().year().into(),
            _ => return None,
        })
    };
    Some(index(until)? - index(from)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{datetime_text, parse_datetime};

    fn us(text: &str) -> i64 {
        parse_datetime(text).unwrap()
    }

    /// Values from BigQuery's documentation of EXTRACT, DATE_TRUNC, DATE_ADD and DATE_DIFF.
    #[test]
    fn agrees_with_the_documentation() {
        let get = |text, part: &str| extract(us(text), Part::parse(part).unwrap()).unwrap();
        assert_eq!((get("2015-12-23", "ISOYEAR"), get("2015-12-31", "ISOWEEK")), (2015, 53));
        assert_eq!((get("2016-01-01", "ISOYEAR"), get("2016-01-01", "WEEK")), (2015, 0));
        assert_eq!((get("2016-01-03", "WEEK"), get("2015-12-31", "WEEK")), (1, 52));
        assert_eq!((get("2017-11-05", "WEEK(SUNDAY)"), get("2017-11-05", "WEEK(MONDAY)")), (45, 44));
        assert_eq!((get("2017-11-05", "DAYOFWEEK"), get("2008-12-25 15:30:05", "HOUR")), (1, 15));
        let trunc = |text, part: &str| datetime_text(truncate(us(text), Part::parse(part).unwrap()).unwrap(), ' ');
        assert_eq!(trunc("2008-12-25 15:30:00", "MONTH"), "2008-12-01 00:00:00");
        assert_eq!(trunc("2017-11-05", "WEEK(MONDAY)"), "2017-10-30 00:00:00");
        assert_eq!(trunc("2015-06-15", "ISOYEAR"), "2014-12-29 00:00:00");
        assert_eq!(trunc("2017-11-07 11:59:59.5", "QUARTER"), "2017-10-01 00:00:00");
        assert_eq!(trunc("1969-12-31 23:59:59.5", "HOUR"), "1969-12-31 23:00:00");
        let plus =
            |text, number, part: &str| datetime_text(add(us(text), number, Part::parse(part).unwrap()).unwrap(), ' ');
        assert_eq!(plus("2024-01-31", 1, "MONTH"), "2024-02-29 00:00:00");
        assert_eq!(plus("2024-02-29 01:00:00", -1, "YEAR"), "2023-02-28 01:00:00");
        let count = |until, from, part: &str| boundaries(us(until), us(from), Part::parse(part).unwrap()).unwrap();
        assert_eq!((count("2017-10-15", "2017-10-14", "DAY"), count("2017-10-15", "2017-10-14", "WEEK")), (1, 1));
        assert_eq!((count("2017-12-30", "2014-12-30", "YEAR"), count("2017-12-30", "2014-12-30", "ISOYEAR")), (3, 2));
        assert_eq!(
            (count("2017-12-18", "2017-12-17", "WEEK"), count("2017-12-18", "2017-12-17", "WEEK(MONDAY)")),
            (0, 1)
        );
        assert_eq!(count("2017-12-18", "2017-12-17", "ISOWEEK"), 1);
        assert!(Part::parse("WEEK(SOMEDAY)").is_none() && Part::parse("CENTURY").is_none());
    }
}
