//! Schedules: `rate(…)`, `cron(…)` and `at(…)` expressions, and the events that they send.
//!
//! <https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html>. Of cron everything is understood but
//! `L`, `W` and `#`.

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};
use serde_json::{Value, json};

use crate::template::{ScheduleSpec, Setting};

/// A parsed expression.
#[derive(Debug, Clone)]
pub(crate) enum Expression {
    Rate(Duration),
    Cron(Box<Cron>, TimeZone),
    At(Timestamp),
}

#[derive(Debug, Clone)]
pub(crate) struct Cron {
    minutes: BTreeSet<i32>,
    hours: BTreeSet<i32>,
    days: Option<BTreeSet<i32>>,
    months: BTreeSet<i32>,
    /// 1 is Sunday, as in AWS' cron.
    weekdays: Option<BTreeSet<i32>>,
    years: BTreeSet<i32>,
}

impl Expression {
    pub(crate) fn parse(text: &str, time_zone: &str) -> Result<Self, String> {
        let inner = |name: &str| text.trim().strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
        let zone = || TimeZone::get(time_zone).map_err(|_| format!("the time zone {time_zone:?} is not known"));
        if let Some(rate) = inner("rate") {
            let (number, unit) = rate.trim().split_once(' ').unwrap_or((rate, ""));
            let seconds = match unit.trim() {
                "minute" | "minutes" => 60,
                "hour" | "hours" => 3600,
                "day" | "days" => 86_400,
                _ => return Err(format!("{text:?} has no unit of minutes, hours or days")),
            };
            let number = number.parse::<u64>().ok().filter(|number| *number > 0);
            let number = number.ok_or_else(|| format!("{text:?} has no whole number above 0"))?;
            return Ok(Self::Rate(Duration::from_secs(number.saturating_mul(seconds))));
        }
        if let Some(cron) = inner("cron") {
            let fields: Vec<_> = cron.split_whitespace().collect();
            let [minutes, hours, days, months, weekdays, years] = fields.as_slice() else {
                return Err(format!("{text:?} has {} fields, not 6", fields.len()));
            };
            let field = |field: &str, least, most, names: &[&str]| {
                field_values(field, least, most, names).ok_or_else(|| format!("{text:?}: {field:?} is not understood"))
            };
            let cron = Cron {
                minutes: field(minutes, 0, 59, &[])?,
                hours: field(hours, 0, 23, &[])?,
                days: if *days == "?" { None } else { Some(field(days, 1, 31, &[])?) },
                months: field(months, 1, 12, &MONTHS)?,
                weekdays: if *weekdays == "?" { None } else { Some(field(weekdays, 1, 7, &WEEKDAYS)?) },
                years: field(years, 1970, 2199, &[])?,
            };
            if cron.days.is_some() == cron.weekdays.is_some() {
                return Err(format!("{text:?} needs `?` in exactly one of day of month and day of week"));
            }
            return Ok(Self::Cron(Box::new(cron), zone()?));
        }
        if let Some(at) = inner("at") {
            let at: civil::DateTime = at.trim().parse().map_err(|_| format!("{text:?} holds no date and time"))?;
            let at = at.to_zoned_datetime(zone()?).map_err(|_| format!("{text:?} is out of range"))?;
            return Ok(Self::At(at.timestamp()));
        }
        Err(format!("{text:?} is neither rate(…) nor cron(…) nor at(…)"))
    }

    /// The first time after `after` at which it fires.
    pub(crate) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Rate(period) => after.checked_add(SignedDuration::try_from(*period).ok()?).ok(),
            Self::At(at) => Some(*at).filter(|at| *at > after),
            Self::Cron(cron, zone) => cron.next(after, zone),
        }
    }
}

impl Cron {
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut date = zone.to_datetime(after).date();
        // Four years and a leap day hold every combination of month, day and weekday that comes often.
        for _ in 0..(366 * 28) {
            if self.fits(date) {
                for hour in &self.hours {
                    for minute in &self.minutes {
                        let time = civil::time(i8::try_from(*hour).ok()?, i8::try_from(*minute).ok()?, 0, 0);
                        let at = date.to_datetime(time).to_zoned_datetime(zone.clone()).ok()?.timestamp();
                        if at > after {
                            return Some(at);
                        }
                    }
                }
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    fn fits(&self, date: civil::Date) -> bool {
        let weekday = i32::from(date.weekday().to_sunday_one_offset());
        self.years.contains(&i32::from(date.year()))
            && self.months.contains(&i32::from(date.month()))
            && self.days.as_ref().is_none_or(|days| days.contains(&i32::from(date.day())))
            && self.weekdays.as_ref().is_none_or(|weekdays| weekdays.contains(&weekday))
    }
}

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// `*`, `a`, `a-b`, `a,b`, `x/step`, with names in place of numbers.
fn field_values(field: &str, least: i32, most: i32, names: &[&str]) -> Option<BTreeSet<i32>> {
    let number = |text: &str| {
        let named = names.iter().position(|name| name.eq_ignore_ascii_case(text)).map(|index| index as i32 + least);
        named.or_else(|| text.parse().ok()).filter(|number| (least..=most).contains(number))
    };
    let mut values = BTreeSet::new();
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<usize>().ok().filter(|step| *step > 0)?)),
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (least, most),
            Some((from, to)) => (number(from)?, number(to)?),
            None if step.is_some() => (number(range)?, most),
            None => (number(range)?, number(range)?),
        };
        if from > to {
            return None;
        }
        values.extend((from..=to).step_by(step.unwrap_or(1)));
    }
    Some(values)
}

/// The event that a schedule sends at `time`.
pub(crate) fn event(schedule: &ScheduleSpec, setting: &Setting, time: Timestamp) -> Value {
    if let Some(input) = &schedule.input {
        return serde_json::from_str(input).unwrap_or_else(|_| Value::String(input.clone()));
    }
    let Setting { region, account_id, stack_name, .. } = setting;
    let name = format!("{stack_name}-{}-{}", schedule.function, schedule.name);
    let (source, resource, detail) = if schedule.scheduler {
        ("aws.scheduler", format!("arn:aws:scheduler:{region}:{account_id}:schedule/default/{name}"), json!("{}"))
    } else {
        ("aws.events", format!("arn:aws:events:{region}:{account_id}:rule/{name}"), json!({}))
    };
    json!({
        "version": "0",
        "id": uuid::Uuid::now_v7().to_string(),
        "detail-type": "Scheduled Event",
        "source": source,
        "account": account_id,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "region": region,
        "resources": [resource],
        "detail": detail,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(expression: &str, zone: &str, after: &str) -> String {
        let expression = Expression::parse(expression, zone).unwrap();
        expression.next(after.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn rates_and_crons_fire_when_they_should() {
        let noon = "2026-02-14T12:00:00Z"; // a Saturday
        assert_eq!(next("rate(5 minutes)", "UTC", noon), "2026-02-14T12:05:00Z");
        assert_eq!(next("rate(1 hour)", "UTC", noon), "2026-02-14T13:00:00Z");
        assert_eq!(next("cron(0/15 * * * ? *)", "UTC", noon), "2026-02-14T12:15:00Z");
        assert_eq!(next("cron(10 10 ? * MON-FRI *)", "UTC", noon), "2026-02-16T10:10:00Z");
        assert_eq!(next("cron(0 0 1 JAN ? 2028)", "UTC", noon), "2028-01-01T00:00:00Z");
        assert_eq!(next("cron(0 0 29 2 ? *)", "UTC", noon), "2028-02-29T00:00:00Z");
        assert_eq!(next("cron(30 9 * * ? *)", "Asia/Tokyo", noon), "2026-02-15T00:30:00Z");
        assert_eq!(next("at(2026-02-15T09:00:00)", "Asia/Tokyo", noon), "2026-02-15T00:00:00Z");
    }

    #[test]
    fn what_is_not_understood_is_told() {
        for bad in ["rate(0 hours)", "rate(5)", "cron(0 0 L * ? *)", "cron(0 0 * * * *)", "cron(0 0 * * ?)", "daily"] {
            assert!(Expression::parse(bad, "UTC").is_err(), "{bad}");
        }
        assert!(Expression::parse("cron(0 0 * * ? *)", "Mars/Olympus").is_err());
        assert!(
            Expression::parse("at(2026-01-01T00:00:00)", "UTC")
                .unwrap()
                .next("2026-02-01T00:00:00Z".parse().unwrap())
                .is_none()
        );
    }
}
