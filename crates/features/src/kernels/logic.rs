//! Comparison, three-valued logic, choice and casts.

use super::{
    strict,
    vector::{each, each_pair, vectorised},
};
use crate::{
    column::{Column, Values, View, ViewValues},
    op::{Compared, Comparison},
};

pub(super) fn compare(
    comparison: Comparison,
    compared: Compared,
    x: &View<'_>,
    y: &View<'_>,
    rows: usize,
    result: &mut Column,
) {
    strict(&[x, y], result);
    let out = result.bools_mut(rows);
    match compared {
        Compared::Float => pairs(comparison, x.floats(), y.floats(), out),
        Compared::Int => pairs(comparison, x.ints(), y.ints(), out),
        Compared::Bool => pairs(comparison, x.bools(), y.bools(), out),
        Compared::Text => {
            for (row, out) in out.iter_mut().enumerate() {
                *out = holds(comparison, &x.text(row), &y.text(row));
            }
        }
    }
}

#[inline(always)]
pub(crate) fn holds<T: PartialOrd>(comparison: Comparison, x: &T, y: &T) -> bool {
    match comparison {
        Comparison::Equal => x == y,
        Comparison::NotEqual => x != y,
        Comparison::Less => x < y,
        Comparison::LessOrEqual => x <= y,
    }
}

fn pairs<T: PartialOrd + Copy>(comparison: Comparison, x: &[T], y: &[T], out: &mut [bool]) {
    match comparison {
        Comparison::Equal => each_of_pairs(x, y, out, |x, y| x == y),
        Comparison::NotEqual => each_of_pairs(x, y, out, |x, y| x != y),
        Comparison::Less => each_of_pairs(x, y, out, |x, y| x < y),
        Comparison::LessOrEqual => each_of_pairs(x, y, out, |x, y| x <= y),
    }
}

fn each_of_pairs<A: Copy, R>(x: &[A], y: &[A], out: &mut [R], function: impl Fn(A, A) -> R) {
    vectorised(
        #[inline(always)]
        || each_pair(x, y, out, function),
    );
}

/// False wins over NULL.
pub(super) fn and(x: &View<'_>, y: &View<'_>, rows: usize, result: &mut Column) {
    decided_by(false, x, y, rows, result);
}

/// True wins over NULL.
pub(super) fn or(x: &View<'_>, y: &View<'_>, rows: usize, result: &mut Column) {
    decided_by(true, x, y, rows, result);
}

fn decided_by(winner: bool, x: &View<'_>, y: &View<'_>, rows: usize, result: &mut Column) {
    let (a, b) = (x.bools(), y.bools());
    if x.valid.is_none() && y.valid.is_none() {
        let out = result.bools_mut(rows);
        if winner {
            each_of_pairs(a, b, out, |x, y| x | y);
        } else {
            each_of_pairs(a, b, out, |x, y| x & y);
        }
        return;
    }
    result.clear();
    let Values::Bool(values) = &mut result.values else { return };
    result.has_nulls = true;
    for (row, (&a, &b)) in a.iter().zip(b).enumerate() {
        let (a, b) = (x.is_valid(row).then_some(a), y.is_valid(row).then_some(b));
        let decided = if a == Some(winner) || b == Some(winner) {
            Some(winner)
        } else if a.is_none() || b.is_none() {
            None
        } else {
            Some(!winner)
        };
        values.push(decided.unwrap_or_default());
        result.valid.push(decided.is_some());
    }
}

pub(super) fn not(x: &View<'_>, rows: usize, result: &mut Column) {
    strict(&[x], result);
    let (x, out) = (x.bools(), result.bools_mut(rows));
    vectorised(
        #[inline(always)]
        || each(x, out, |x: bool| !x),
    );
}

pub(super) fn is_null(x: &View<'_>, rows: usize, result: &mut Column) {
    let Values::Bool(values) = &mut result.values else { return };
    match x.valid {
        None => values.resize(rows, false),
        Some(valid) => values.extend(valid.iter().map(|valid| !valid)),
    }
}

pub(super) fn select(condition: &View<'_>, x: &View<'_>, y: &View<'_>, rows: usize, result: &mut Column) {
    let chosen = condition.bools();
    if let (None, None, None, Values::Float(_)) = (condition.valid, x.valid, y.valid, &result.values) {
        let (x, y, out) = (x.floats(), y.floats(), result.floats_mut(rows));
        return vectorised(
            #[inline(always)]
            || {
                for (((out, &chosen), &x), &y) in out.iter_mut().zip(chosen).zip(x).zip(y) {
                    *out = if chosen { x } else { y };
                }
            },
        );
    }
    result.clear();
    let is_x = |row: usize| chosen[row] && condition.is_valid(row);
    choose(is_x, x, y, rows, result);
}

pub(super) fn coalesce(x: &View<'_>, y: &View<'_>, rows: usize, result: &mut Column) {
    choose(|row| x.is_valid(row), x, y, rows, result);
}

fn choose(is_x: impl Fn(usize) -> bool, x: &View<'_>, y: &View<'_>, rows: usize, result: &mut Column) {
    if x.valid.is_some() || y.valid.is_some() {
        result.valid.extend((0..rows).map(|row| if is_x(row) { x.is_valid(row) } else { y.is_valid(row) }));
        result.has_nulls = result.valid.iter().any(|valid| !valid);
        if !result.has_nulls {
            result.valid.clear();
        }
    }
    match &mut result.values {
        Values::Float(values) => {
            let (x, y) = (x.floats(), y.floats());
            values.extend((0..rows).map(|row| if is_x(row) { x[row] } else { y[row] }));
        }
        Values::Int(values) => {
            let (x, y) = (x.ints(), y.ints());
            values.extend((0..rows).map(|row| if is_x(row) { x[row] } else { y[row] }));
        }
        Values::Bool(values) => {
            let (x, y) = (x.bools(), y.bools());
            values.extend((0..rows).map(|row| if is_x(row) { x[row] } else { y[row] }));
        }
        Values::Text(values) => {
            for row in 0..rows {
                values.push(if is_x(row) { x.text(row) } else { y.text(row) });
            }
        }
    }
}

/// Between types. What has no counterpart (a text that is no number, a float beyond integers) is NULL.
pub(super) fn cast(x: &View<'_>, rows: usize, result: &mut Column) {
    strict(&[x], result);
    let Column { values: of, valid, has_nulls } = result;
    let mut checked = |row: usize, is_good: bool| {
        if !is_good {
            if !*has_nulls {
                *has_nulls = true;
                valid.resize(rows, true);
            }
            valid[row] = false;
        }
    };
    match (of, x.values) {
        (Values::Float(values), ViewValues::Float(x)) => values.extend_from_slice(x),
        (Values::Float(values), ViewValues::Int(x)) => each_to_float(x, values, |x| x as f64),
        (Values::Float(values), ViewValues::Bool(x)) => each_to_float(x, values, |x| f64::from(u8::from(x))),
        (Values::Float(values), ViewValues::Text(..)) => values.extend((0..rows).map(|row| {
            let number = x.text(row).trim().parse::<f64>().ok().filter(|number| number.is_finite());
            checked(row, number.is_some());
            number.unwrap_or(0.0)
        })),
        (Values::Int(values), ViewValues::Float(x)) => values.extend(x.iter().enumerate().map(|(row, &x)| {
            let rounded = rounded_to_int(x);
            checked(row, rounded.is_some());
            rounded.unwrap_or(0)
        })),
        (Values::Int(values), ViewValues::Int(x)) => values.extend_from_slice(x),
        (Values::Int(values), ViewValues::Bool(x)) => values.extend(x.iter().map(|&x| i64::from(x))),
        (Values::Int(values), ViewValues::Text(..)) => values.extend((0..rows).map(|row| {
            let number = x.text(row).trim().parse::<i64>().ok();
            checked(row, number.is_some());
            number.unwrap_or(0)
        })),
        (Values::Bool(values), ViewValues::Float(x)) => values.extend(x.iter().map(|&x| x != 0.0)),
        (Values::Bool(values), ViewValues::Int(x)) => values.extend(x.iter().map(|&x| x != 0)),
        (Values::Bool(values), ViewValues::Bool(x)) => values.extend_from_slice(x),
        (Values::Bool(values), ViewValues::Text(..)) => values.extend((0..rows).map(|row| {
            let text = x.text(row).trim();
            let (is_true, is_false) = (text.eq_ignore_ascii_case("true"), text.eq_ignore_ascii_case("false"));
            checked(row, is_true || is_false);
            is_true
        })),
        (Values::Text(values), source) => {
            for row in 0..rows {
                match source {
                    // Rust prints the shortest text that reads back as the same bits.
                    ViewValues::Float(x) => values.push_display(x[row]),
                    ViewValues::Int(x) => values.push_display(x[row]),
                    ViewValues::Bool(x) => values.push(if x[row] { "true" } else { "false" }),
                    ViewValues::Text(..) => values.push(x.text(row)),
                }
            }
        }
    }
}

fn each_to_float<A: Copy>(x: &[A], values: &mut Vec<f64>, function: impl Fn(A) -> f64) {
    values.resize(x.len(), 0.0);
    vectorised(
        #[inline(always)]
        || each(x, values, function),
    );
}

/// Halves away from zero, as BigQuery. `None` beyond the integers.
pub(crate) fn rounded_to_int(x: f64) -> Option<i64> {
    let rounded = x.round();
    // 2^63 itself is beyond i64.
    (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded).then_some(rounded as i64)
}
