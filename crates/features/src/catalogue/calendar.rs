//! Functions of instants. Fields of the local time are written `EXTRACT(HOUR FROM requested_at AT TIME ZONE 'Asia/Tokyo')`.

use super::{Function, FunctionKind};

const fn of(
    name: &'static str,
    signature: &'static str,
    gives: &'static str,
    description: &'static str,
    example: &'static str,
    kind: FunctionKind,
) -> Function {
    Function { name, signature, gives, description, example, kind }
}

pub(super) const FUNCTIONS: &[Function] = &[
    of(
        "CYCLE_COS",
        "CYCLE_COS(x, period)",
        "float",
        "Cosine of x on a circle of the period, in x's unit: 1 at 0 and at every whole period. The period is a constant \
         above 0.",
        "CYCLE_COS(MINUTE_OF_WEEK(requested_at, 'Asia/Tokyo'), 10080)",
        FunctionKind::Cycle { cosine: true },
    ),
    of(
        "CYCLE_SIN",
        "CYCLE_SIN(x, period)",
        "float",
        "Sine of x on a circle of the period, in x's unit: 1 at a quarter. The period is a constant above 0.",
        "CYCLE_SIN(SECONDS_OF_DAY(requested_at, 'Asia/Tokyo'), 86400)",
        FunctionKind::Cycle { cosine: false },
    ),
    of(
        "IS_HOLIDAY",
        "IS_HOLIDAY(timestamp, time_zone, calendar)",
        "bool",
        "Whether the local date is a holiday of the calendar: 'JP' (national holidays with their substitutes, 1955..2099; \
         from 2028 on as the law stood in 2026), 'US' (federal holidays, 1971..2099: the day itself and the weekday on which it is \
         observed), or one that the spec declares as [holidays.NAME]. NULL outside the years of 'JP' and 'US'. Weekends \
         are not holidays.",
        "IS_HOLIDAY(requested_at, 'Asia/Tokyo', 'JP')",
        FunctionKind::IsHoliday,
    ),
    of(
        "MINUTE_OF_WEEK",
        "MINUTE_OF_WEEK(timestamp, time_zone)",
        "int",
        "Local minutes since Monday 00:00 by the clock on the wall, 0..10079.",
        "MINUTE_OF_WEEK(requested_at, 'America/New_York')",
        FunctionKind::MinuteOfWeek,
    ),
    of(
        "SECONDS_OF_DAY",
        "SECONDS_OF_DAY(timestamp, time_zone)",
        "int",
        "Local seconds since 00:00 by the clock on the wall, 0..86399.",
        "SECONDS_OF_DAY(requested_at, 'America/New_York')",
        FunctionKind::SecondsOfDay,
    ),
    of(
        "UNIX_SECONDS",
        "UNIX_SECONDS(timestamp)",
        "int",
        "Whole seconds since 1970-01-01 UTC, rounded down.",
        "UNIX_SECONDS(requested_at)",
        FunctionKind::UnixSeconds,
    ),
];
