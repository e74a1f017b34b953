//! What the operators do: loops over columns. Portable arithmetic only, so that every machine gives the same bits.

mod calendar;
mod cells;
mod classes;
mod float;
mod geo;
mod holiday;
mod logic;
mod lookup;
mod text;

pub(crate) use calendar::{Zone, civil, days_before_year};

use crate::{
    column::{Column, Values, View},
    op::{Int1, Int2, Op},
    tables::Tables,
};

/// Computes `op` over `operands`, each of `rows` rows, into `result` (a column of the operator's type).
pub(crate) fn compute(op: Op, operands: &[View<'_>], rows: usize, tables: &Tables, result: &mut Column) {
    result.clear();
    match (op, operands) {
        (Op::Float1(function), [x]) => float::float1(function, x, result),
        (Op::Float2(function), [x, y]) => float::float2(function, x, y, result),
        (Op::Geo(function), [lat1, lon1, lat2, lon2]) => geo::geo(function, [lat1, lon1, lat2, lon2], result),
        (Op::Int1(function), [x]) => int1(function, x, result),
        (Op::Int2(function), [x, y]) => int2(function, x, y, result),
        (Op::Compare(comparison, compared), [x, y]) => logic::compare(comparison, compared, x, y, rows, result),
        (Op::And, [x, y]) => logic::and(x, y, result),
        (Op::Or, [x, y]) => logic::or(x, y, result),
        (Op::Not, [x]) => logic::not(x, result),
        (Op::IsNull, [x]) => logic::is_null(x, rows, result),
        (Op::Select(_), [condition, x, y]) => logic::select(condition, x, y, rows, result),
        (Op::Coalesce(_), [x, y]) => logic::coalesce(x, y, rows, result),
        (Op::Cast(_, _), [x]) => logic::cast(x, rows, result),
        (Op::LocalTime(field, zone), [x]) => {
            if let Some(zone) = tables.time_zones.get(usize::from(zone)) {
                calendar::local_time(field, zone, x, result);
            }
        }
        (Op::Text1(function), [x]) => text::text1(function, x, rows, result),
        (Op::TextLength, [x]) => text::length(x, rows, result),
        (Op::Concat, [x, y]) => text::concat(x, y, rows, result),
        (Op::Affix(affix), [x, y]) => text::affix(affix, x, y, rows, result),
        (Op::Substring, [x, start, length]) => text::substring(x, start, length, rows, result),
        (Op::Replace, [x, from, to]) => text::replace(x, from, to, rows, result),
        (Op::Like(pattern), [x]) => text::like(&tables.patterns[usize::from(pattern)], x, rows, result),
        (Op::Bucket(table), [x]) => classes::bucket(&tables.boundaries[usize::from(table)], x, result),
        (Op::Ordinal(table), [x]) => classes::ordinal(&tables.ordinals[usize::from(table)], x, rows, result),
        (Op::HashBucket(buckets), [x]) => classes::hash_bucket(buckets, x, rows, result),
        (Op::Holiday(zone, calendar), [x]) => {
            let (zone, calendar) = (usize::from(zone), usize::from(calendar));
            holiday::is_holiday(&tables.time_zones[zone], &tables.calendars[calendar], x, result);
        }
        (Op::Cell(cell), [lat, lon]) => cells::cell(cell, lat, lon, result),
        (Op::GeohashText(precision), [lat, lon]) => cells::geohash_text(precision, lat, lon, result),
        (Op::ZoneOf(zones, _), [lat, lon]) => cells::zone_of(&tables.zone_sets[usize::from(zones)], lat, lon, result),
        (Op::InZone(zones, id), [lat, lon]) => {
            cells::in_zone(&tables.zone_sets[usize::from(zones)], id as usize, lat, lon, result);
        }
        (Op::LookupRow(table), keys) => lookup::row(&tables.lookups[usize::from(table)], keys, rows, result),
        (Op::LookupValue(table, column, _), [x]) => {
            lookup::value(&tables.lookups[usize::from(table)], usize::from(column), x, result);
        }
        // The compiler gives every operator its number of operands.
        _ => {}
    }
}

/// Validity of a result that is NULL where an operand is.
fn strict(operands: &[&View<'_>], result: &mut Column) {
    for view in operands {
        let Some(valid) = view.valid else { continue };
        if result.has_nulls {
            for (result, valid) in result.valid.iter_mut().zip(valid) {
                *result &= valid;
            }
        } else {
            result.has_nulls = true;
            result.valid.extend_from_slice(valid);
        }
    }
}

/// Makes rows NULL: those that `is_bad` says.
fn invalidate(rows: usize, result: &mut Column, is_bad: impl Fn(usize) -> bool) {
    if !result.has_nulls {
        result.has_nulls = true;
        result.valid.resize(rows, true);
    }
    for (row, valid) in result.valid.iter_mut().enumerate() {
        if is_bad(row) {
            *valid = false;
        }
    }
}

fn int1(function: Int1, x: &View<'_>, result: &mut Column) {
    strict(&[x], result);
    let checked: fn(i64) -> Option<i64> = match function {
        Int1::Negate => i64::checked_neg,
        Int1::Abs => i64::checked_abs,
        Int1::Sign => |x| Some(x.signum()),
    };
    let x = x.ints();
    push_checked(x.iter().map(|&x| checked(x)), x.len(), result);
}

fn int2(function: Int2, x: &View<'_>, y: &View<'_>, result: &mut Column) {
    strict(&[x, y], result);
    let (x, y) = (x.ints(), y.ints());
    let pairs = x.iter().copied().zip(y.iter().copied());
    match function {
        Int2::Add => push_checked(pairs.map(|(x, y)| x.checked_add(y)), x.len(), result),
        Int2::Subtract => push_checked(pairs.map(|(x, y)| x.checked_sub(y)), x.len(), result),
        Int2::Multiply => push_checked(pairs.map(|(x, y)| x.checked_mul(y)), x.len(), result),
        Int2::Divide => push_checked(pairs.map(|(x, y)| x.checked_div(y)), x.len(), result),
        // i64::MIN % -1 is 0, though the processor's division traps.
        Int2::Modulo => {
            push_checked(pairs.map(|(x, y)| if y == -1 { Some(0) } else { x.checked_rem(y) }), x.len(), result);
        }
        Int2::Least => push_checked(pairs.map(|(x, y)| Some(x.min(y))), x.len(), result),
        Int2::Greatest => push_checked(pairs.map(|(x, y)| Some(x.max(y))), x.len(), result),
    }
}

/// Pushes integers; what is `None` becomes NULL.
fn push_checked(checked: impl Iterator<Item = Option<i64>> + Clone, rows: usize, result: &mut Column) {
    let Values::Int(values) = &mut result.values else { return };
    let mut failed = false;
    values.extend(checked.clone().map(|value| {
        failed |= value.is_none();
        value.unwrap_or(0)
    }));
    if failed {
        let bad: Vec<bool> = checked.map(|value| value.is_none()).collect();
        invalidate(rows, result, |row| bad[row]);
    }
}
