//! Local dates in calendars.

use super::{
    calendar::{MICROS_PER_SECOND, SECONDS_PER_DAY, Zone},
    strict, with_nulls,
};
use crate::{
    column::{Column, Values, View},
    holidays::Calendar,
};

/// Whether the local date is in the calendar. Rows of one day cost one search.
pub(super) fn is_holiday(zone: &Zone, calendar: &Calendar, x: &View<'_>, result: &mut Column) {
    strict(&[x], result);
    let (values, mut nulls) = with_nulls(result, x.ints().len());
    let Values::Bool(values) = values else { return };
    let (mut offset, mut holds) = (0, 0..0);
    let mut known: Option<(i64, Option<bool>)> = None;
    values.extend(x.ints().iter().enumerate().map(|(row, micros)| {
        let second = micros.div_euclid(MICROS_PER_SECOND);
        if !holds.contains(&second) {
            (offset, holds) = zone.offset_at(second);
        }
        let day = (second + offset).div_euclid(SECONDS_PER_DAY);
        let is_holiday = match known {
            Some((known, is_holiday)) if known == day => is_holiday,
            _ => calendar.is_holiday(day),
        };
        known = Some((day, is_holiday));
        if is_holiday.is_none() {
            nulls.set(row);
        }
        is_holiday.unwrap_or_default()
    }));
}
