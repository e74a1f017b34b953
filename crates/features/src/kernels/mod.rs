//! What the operators do: loops over columns. Portable arithmetic only, so that every machine gives the same bits.

pub(crate) mod calendar;
mod cells;
mod classes;
pub(crate) mod float;
mod holiday;
pub(crate) mod int;
mod logic;
mod lookup;
mod text;
pub(crate) mod vector;

pub(crate) use calendar::{Zone, civil, days_before_year};
pub(crate) use logic::rounded_to_int;

use crate::{
    column::{Column, Values, View},
    op::Op,
    tables::Tables,
};

/// Computes `op` over `operands`, each of `rows` rows, into `result` (a column of the operator's type).
pub(crate) fn compute(op: Op, operands: &[View<'_>], rows: usize, tables: &Tables, result: &mut Column) {
    // These overwrite the result's values in place; the rest append to it.
    result.clear_validity();
    match (op, operands) {
        (Op::Float1(function), [x]) => return float::float1(function, x, rows, result),
        (Op::Float2(function), [x, y]) => return float::float2(function, x, y, rows, result),
        (Op::Int1(function), [x]) => return int::int1(function, x, rows, result),
        (Op::Int2(function), [x, y]) => return int::int2(function, x, y, rows, result),
        (Op::Compare(comparison, compared), [x, y]) => {
            return logic::compare(comparison, compared, x, y, rows, result);
        }
        (Op::And, [x, y]) => return logic::and(x, y, rows, result),
        (Op::Or, [x, y]) => return logic::or(x, y, rows, result),
        (Op::Not, [x]) => return logic::not(x, rows, result),
        (Op::Select(_), [condition, x, y]) => return logic::select(condition, x, y, rows, result),
        (Op::LocalSecond(zone), [x]) => {
            if let Some(zone) = tables.time_zones.get(usize::from(zone)) {
                calendar::local_second(zone, x, rows, result);
            }
            return;
        }
        (Op::FieldOfSecond(field), [x]) => return calendar::field(field, x, rows, result),
        _ => {}
    }
    result.clear();
    match (op, operands) {
        (Op::IsNull, [x]) => logic::is_null(x, rows, result),
        (Op::Coalesce(_), [x, y]) => logic::coalesce(x, y, rows, result),
        (Op::Cast(_, _), [x]) => logic::cast(x, rows, result),
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
        // The compiler gives every operator its number of operands, and the graph makes others of the rest.
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

/// A result's values, and what makes rows of it NULL while they are computed. (In the result's own validity: a list of
/// rows would be allocated at every call.)
fn with_nulls(result: &mut Column, rows: usize) -> (&mut Values, Nulls<'_>) {
    let Column { values, valid, has_nulls } = result;
    (values, Nulls { valid, any: has_nulls, rows })
}

struct Nulls<'a> {
    valid: &'a mut Vec<bool>,
    any: &'a mut bool,
    rows: usize,
}

impl Nulls<'_> {
    fn set(&mut self, row: usize) {
        if !*self.any {
            *self.any = true;
            self.valid.resize(self.rows, true);
        }
        self.valid[row] = false;
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
