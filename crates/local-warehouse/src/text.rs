//! Dates, times, decimals and intervals as text, in BigQuery's canonical forms.
//! <https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types>

use std::{cmp::Ordering, fmt::Write};

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};

pub(crate) const US_PER_DAY: i64 = 86_400_000_000;
const EPOCH: Date = Date::constant(1970, 1, 1);

/// The day so many days after 1970-01-01; `None` outside of years 1 to 9999.
pub(crate) fn date_of_days(days: i64) -> Option<Date> {
    let days = i32::try_from(days).ok()?;
    EPOCH.checked_add(jiff::Span::new().try_days(days).ok()?).ok().filter(|date| date.year() >= 1)
}

pub(crate) fn days_of_date(date: Date) -> i64 {
    date.duration_since(EPOCH).as_hours() / 24
}

/// The civil time so many microseconds after 1970-01-01T00:00:00.
pub(crate) fn datetime_of_us(us: i64) -> Option<DateTime> {
    Some(date_of_days(us.div_euclid(US_PER_DAY))?.to_datetime(time_of_us(us.rem_euclid(US_PER_DAY))?))
}

pub(crate) fn us_of_datetime(datetime: DateTime) -> i64 {
    days_of_date(datetime.date()) * US_PER_DAY + us_of_time(datetime.time())
}

pub(crate) fn time_of_us(us: i64) -> Option<Time> {
    let (seconds, fraction) = (us.div_euclid(1_000_000), us.rem_euclid(1_000_000));
    let hour = i8::try_from(seconds / 3600).ok()?;
    Time::new(hour, (seconds / 60 % 60) as i8, (seconds % 60) as i8, fraction as i32 * 1000).ok()
}

pub(crate) fn us_of_time(time: Time) -> i64 {
    let seconds = i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    seconds * 1_000_000 + i64::from(time.subsec_nanosecond()) / 1000
}

/// `2020-01-31`.
pub(crate) fn date_text(days: i64) -> String {
    date_of_days(days).map_or_else(|| format!("(day {days})"), |date| date.to_string())
}

/// `12:34:56`, with three or six digits of a fraction where there is one.
pub(crate) fn time_text(us: i64) -> String {
    let seconds = us.div_euclid(1_000_000);
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = us.rem_euclid(1_000_000);
    if fraction % 1000 != 0 {
        _ = write!(text, ".{fraction:06}");
    } else if fraction != 0 {
        _ = write!(text, ".{:03}", fraction / 1000);
    }
    text
}

/// Date and time of day with `separator` between.
pub(crate) fn datetime_text(us: i64, separator: char) -> String {
    let (days, of_day) = (us.div_euclid(US_PER_DAY), us.rem_euclid(US_PER_DAY));
    format!("{}{separator}{}", date_text(days), time_text(of_day))
}

/// What CAST to STRING gives: `2020-01-31 12:34:56+00`.
pub(crate) fn timestamp_text(us: i64) -> String {
    format!("{}+00", datetime_text(us, ' '))
}

/// `YYYY-[M]M-[D]D`, and what follows it.
fn scan_date(text: &str) -> Option<(Date, &str)> {
    let (year, rest) = text.split_once('-')?;
    let (month, rest) = rest.split_once('-')?;
    let digits = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
    let (day, rest) = rest.split_at(digits);
    if year.len() > 4 || month.len() > 2 || day.len() > 2 {
        return None;
    }
    let date = Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok()?;
    (date.year() >= 1).then_some((date, rest))
}

/// `[H]H:[M]M:[S]S[.F]`, and what follows it. Seconds may be absent.
fn scan_time(text: &str) -> Option<(i64, &str)> {
    let end = text.find(|char: char| !char.is_ascii_digit() && char != ':' && char != '.').unwrap_or(text.len());
    let (time, rest) = text.split_at(end);
    let mut parts = time.split(':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next().unwrap_or("0"));
    let (second, fraction) = second.split_once('.').unwrap_or((second, ""));
    if parts.next().is_some() || fraction.len() > 9 {
        return None;
    }
    let number = |text: &str, limit: i64| text.parse::<i64>().ok().filter(|number| *number < limit);
    let seconds = number(hour, 24)? * 3600 + number(minute, 60)? * 60 + number(second, 61)?;
    let us: i64 = format!("{:0<6}", &fraction[..fraction.len().min(6)]).parse().ok()?;
    Some((seconds * 1_000_000 + us, rest))
}

/// Days since 1970-01-01.
pub(crate) fn parse_date(text: &str) -> Option<i64> {
    let (date, rest) = scan_date(text.trim())?;
    rest.is_empty().then(|| days_of_date(date))
}

/// Microseconds since midnight.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    let (us, rest) = scan_time(text.trim())?;
    rest.is_empty().then_some(us)
}

fn scan_datetime(text: &str) -> Option<(i64, &str)> {
    let (date, rest) = scan_date(text)?;
    let day = days_of_date(date) * US_PER_DAY;
    let Some(time) = rest.strip_prefix(['T', 't', ' ']).filter(|time| time.starts_with(|c: char| c.is_ascii_digit()))
    else {
        return Some((day, rest));
    };
    let (us, rest) = scan_time(time)?;
    Some((day + us, rest))
}

/// Microseconds since 1970-01-01T00:00:00, civil.
pub(crate) fn parse_datetime(text: &str) -> Option<i64> {
    let (us, rest) = scan_datetime(text.trim())?;
    rest.is_empty().then_some(us)
}

/// Microseconds since 1970-01-01T00:00:00Z. Without a zone in the text, it is in `zone`.
pub(crate) fn parse_timestamp(text: &str, zone: &TimeZone) -> Option<i64> {
    let (civil, rest) = scan_datetime(text.trim())?;
    let rest = rest.trim();
    match rest {
        "" => us_of_civil(civil, zone),
        "Z" | "z" => Some(civil),
        _ if rest.starts_with(['+', '-']) => Some(civil - parse_offset(rest)?),
        name => us_of_civil(civil, &time_zone(name)?),
    }
}

/// Microseconds east of UTC, of `±H[H][:MM]` or `±HHMM`.
fn parse_offset(text: &str) -> Option<i64> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits = &text[1..];
    let (hours, minutes) = match digits.split_once(':') {
        Some(parts) => parts,
        None if digits.len() == 4 => digits.split_at_checked(2)?,
        None => (digits, "0"),
    };
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60_000_000)
}

/// An IANA name, `UTC`, or an offset.
pub(crate) fn time_zone(name: &str) -> Option<TimeZone> {
    if name.starts_with(['+', '-']) {
        let seconds = i32::try_from(parse_offset(name)? / 1_000_000).ok()?;
        return Some(TimeZone::fixed(jiff::tz::Offset::from_seconds(seconds).ok()?));
    }
    if name.eq_ignore_ascii_case("UTC") || name.eq_ignore_ascii_case("Z") {
        return Some(TimeZone::UTC);
    }
    TimeZone::get(name).ok()
}

/// A civil time in a zone as a point in time.
pub(crate) fn us_of_civil(us: i64, zone: &TimeZone) -> Option<i64> {
    if *zone == TimeZone::UTC {
        return Some(us);
    }
    Some(zone.to_timestamp(datetime_of_us(us)?).ok()?.as_microsecond())
}

/// A point in time as the civil time in a zone.
pub(crate) fn civil_of_us(us: i64, zone: &TimeZone) -> Option<i64> {
    if *zone == TimeZone::UTC {
        return Some(us);
    }
    Some(us_of_datetime(zone.to_datetime(Timestamp::from_microsecond(us).ok()?)))
}

/// A decimal's canonical text: no sign of zero, no zeros at either end; rounded half away from zero to `scale` digits
/// after the point. `None` where it is no number or has more than `digits` before the point.
pub(crate) fn parse_decimal(text: &str, digits: usize, scale: usize) -> Option<String> {
    let text = text.trim();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i64>().ok().filter(|exponent| exponent.abs() <= 400)?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // The point stands after so many digits of `all`.
    let point = whole.len() as i64 + exponent;
    let (mut whole, mut fraction) = if point <= 0 {
        (String::new(), format!("{}{all}", "0".repeat((-point) as usize)))
    } else if point as usize >= all.len() {
        (format!("{all}{}", "0".repeat(point as usize - all.len())), String::new())
    } else {
        (all[..point as usize].to_owned(), all[point as usize..].to_owned())
    };
    if fraction.len() > scale {
        let up = fraction.as_bytes()[scale] >= b'5';
        fraction.truncate(scale);
        if up {
            let mut joined: Vec<u8> = format!("0{whole}{fraction}").into_bytes();
            for digit in joined.iter_mut().rev() {
                if *digit == b'9' {
                    *digit = b'0';
                } else {
                    *digit += 1;
                    break;
                }
            }
            let joined = String::from_utf8(joined).ok()?;
            let at = joined.len() - fraction.len();
            (whole, fraction) = (joined[..at].to_owned(), joined[at..].to_owned());
        }
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    if whole.len() > digits {
        return None;
    }
    let sign = if negative && !(whole.is_empty() && fraction.is_empty()) { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

/// A canonical decimal times 10^`scale`, as digits with a sign.
pub(crate) fn unscaled(text: &str, scale: usize) -> String {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<scale$}")
}

/// Compares canonical decimals by value.
pub(crate) fn compare_decimals(left: &str, right: &str) -> Ordering {
    let split = |text: &str| {
        let (negative, text) = text.strip_prefix('-').map_or((false, text.to_owned()), |rest| (true, rest.to_owned()));
        let (whole, fraction) = text.split_once('.').map_or((text.clone(), String::new()), |(whole, fraction)| {
            (whole.to_owned(), fraction.trim_end_matches('0').to_owned())
        });
        (negative, whole.trim_start_matches('0').to_owned(), fraction)
    };
    let ((left_negative, left_whole, left_fraction), (right_negative, right_whole, right_fraction)) =
        (split(left), split(right));
    let size = left_whole
        .len()
        .cmp(&right_whole.len())
        .then_with(|| left_whole.cmp(&right_whole))
        .then_with(|| left_fraction.cmp(&right_fraction));
    match (left_negative, right_negative) {
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (true, true) => size.reverse(),
        (false, false) => size,
    }
}

/// Months, days and microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Interval {
    pub(crate) months: i64,
    pub(crate) days: i64,
    pub(crate) us: i64,
}

impl Interval {
    /// `[-]Y-M [-]D [-]H:M:S[.F]`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let signed = |text: &str| match text.strip_prefix('-') {
            Some(rest) => (-1, rest.to_owned()),
            None => (1, text.to_owned()),
        };
        let mut parts = text.split_whitespace();
        let (sign, year_month) = signed(parts.next()?);
        let (years, months) = year_month.split_once('-')?;
        let months = sign * (years.parse::<i64>().ok()? * 12 + months.parse::<i64>().ok()?);
        let days = parts.next()?.parse().ok()?;
        let (sign, time) = signed(parts.next()?);
        let mut time = time.splitn(3, ':');
        let hours: i64 = time.next()?.parse().ok()?;
        let minutes: i64 = time.next()?.parse().ok()?;
        let seconds = time.next()?;
        let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
        let seconds: i64 = seconds.parse().ok()?;
        let fraction: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
        let us = sign * (((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + fraction);
        parts.next().is_none().then_some(Self { months, days, us })
    }

    pub(crate) fn text(self) -> String {
        let sign = |number: i64| if number < 0 { "-" } else { "" };
        let (months, us) = (self.months.abs(), self.us.abs());
        let seconds = us / 1_000_000;
        let mut text = format!(
            "{}{}-{} {} {}{}:{}:{}",
            sign(self.months),
            months / 12,
            months % 12,
            self.days,
            sign(self.us),
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        );
        if us % 1_000_000 != 0 {
            _ = write!(text, ".{:06}", us % 1_000_000);
        }
        text
    }
}

/// Adds months to a day; where the month is too short, its last day.
pub(crate) fn add_months(days: i64, months: i64) -> Option<i64> {
    let months = i32::try_from(months).ok()?;
    Some(days_of_date(date_of_days(days)?.checked_add(months.months()).ok()?))
        .filter(|days| date_of_days(*days).is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn timestamps_are_read_in_every_form() {
        let parse = |text: &str| parse_timestamp(text, &TimeZone::UTC);
        let noon = 1_577_880_000_000_000;
        for text in [
            "2020-01-01 12:00:00",
            "2020-01-01T12:00:00Z",
            "2020-1-1 12:00:00+00",
            "2020-01-01T12:00:00.000000 UTC",
            "2020-01-01 21:00:00+09:00",
            "2020-01-01 07:00:00 America/New_York",
            "2020-01-01 04:00:00-0800",
        ] {
            assert_eq!(parse(text), Some(noon), "{text}");
        }
        assert_eq!(parse("2020-01-01"), Some(noon - US_PER_DAY / 2));
        for text in ["", "2020-13-01", "2020-01-01 25:00:00", "2020-01-01 12:00:00 Mars/Base", "0000-01-01"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(timestamp_text(noon + 5_000), "2020-01-01 12:00:00.005+00");
        assert_eq!(timestamp_text(noon + 5), "2020-01-01 12:00:00.000005+00");
    }

    #[test]
    fn decimals_are_rounded_and_limited() {
        let numeric = |text: &str| parse_decimal(text, 29, 9);
        for (text, wanted) in [
            ("1.50", "1.5"),
            ("-0.0", "0"),
            ("+00012", "12"),
            ("0.0000000005", "0.000000001"),
            ("-9.9999999995", "-10"),
            ("1e3", "1000"),
            ("12.5e-1", "1.25"),
            ("99999999999999999999999999999.999999999", "99999999999999999999999999999.999999999"),
        ] {
            assert_eq!(numeric(text).as_deref(), Some(wanted), "{text}");
        }
        for text in ["", ".", "x", "1e30", "1.2.3", "--1", "NaN"] {
            assert_eq!(numeric(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn dates_and_times_round_trip(us in -62_135_596_800_000_000_i64..=253_402_300_799_999_999) {
            prop_assert_eq!(parse_timestamp(&timestamp_text(us), &TimeZone::UTC), Some(us));
            prop_assert_eq!(parse_datetime(&datetime_text(us, 'T')), Some(us));
            prop_assert_eq!(datetime_of_us(us).map(us_of_datetime), Some(us));
        }

        #[test]
        fn decimals_compare_as_numbers(left in -1_000_000_i64..1_000_000, right in -1_000_000_i64..1_000_000) {
            let text = |number: i64| parse_decimal(&format!("{number}e-3"), 29, 9).unwrap();
            prop_assert_eq!(compare_decimals(&text(left), &text(right)), left.cmp(&right));
        }

        #[test]
        fn intervals_round_trip(months in -120_000_i64..=120_000, days in -3_660_000_i64..=3_660_000, us in -1_000_000_000_000_i64..1_000_000_000_000) {
            let interval = Interval { months, days, us };
            prop_assert_eq!(Interval::parse(&interval.text()), Some(interval));
        }
    }
}
