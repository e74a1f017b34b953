//! Integer operators. Nothing wraps: what overflows becomes NULL.

use super::{
    invalidate, strict,
    vector::{Int64, each, vectorised},
};
use crate::{
    column::{Column, View},
    op::{Int1, Int2},
};

/// Below this an integer is a double exactly, and so is the whole part of a quotient of two such.
const EXACT: i64 = 1 << 53;
/// Adding it leaves a double's nearest integer in its lowest bits; for absolute values below 2^51.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// What is `None` is NULL.
pub(crate) fn checked1(function: Int1, x: i64) -> Option<i64> {
    match function {
        Int1::Negate => x.checked_neg(),
        Int1::Abs => x.checked_abs(),
        Int1::Sign => Some(x.signum()),
    }
}

/// What is `None` is NULL.
pub(crate) fn checked2(function: Int2, x: i64, y: i64) -> Option<i64> {
    match function {
        Int2::Add => x.checked_add(y),
        Int2::Subtract => x.checked_sub(y),
        Int2::Multiply => x.checked_mul(y),
        Int2::Divide => x.checked_div(y),
        // i64::MIN % -1 is 0, though the processor's division traps.
        Int2::Modulo => {
            if y == -1 {
                Some(0)
            } else {
                x.checked_rem(y)
            }
        }
        Int2::Least => Some(x.min(y)),
        Int2::Greatest => Some(x.max(y)),
    }
}

pub(super) fn int1(function: Int1, x: &View<'_>, rows: usize, result: &mut Column) {
    strict(&[x], result);
    let x = x.ints();
    let all = fill(result.ints_mut(rows), x.iter().map(|&x| checked1(function, x)));
    if !all {
        invalidate(rows, result, |row| checked1(function, x[row]).is_none());
    }
}

pub(super) fn int2(function: Int2, x: &View<'_>, y: &View<'_>, rows: usize, result: &mut Column) {
    strict(&[x, y], result);
    let (a, b) = (x.ints(), y.ints());
    let out = result.ints_mut(rows);
    let all = match (function, b) {
        // Sum and difference overflow where the result's sign is none of the operands' doing.
        (Int2::Add, _) => wrapping(x, y, out, i64::wrapping_add, |x, y, sum| (x ^ sum) & (y ^ sum)),
        (Int2::Subtract, _) => wrapping(x, y, out, i64::wrapping_sub, |x, y, difference| (x ^ y) & (x ^ difference)),
        (Int2::Modulo, &[divisor, ..]) if y.is_constant && divisor > 0 => {
            remainders(a, divisor, out);
            true
        }
        _ => fill(out, a.iter().zip(b).map(|(&x, &y)| checked2(function, x, y))),
    };
    if !all {
        invalidate(rows, result, |row| checked2(function, a[row], b[row]).is_none());
    }
}

/// Whether no value is missing.
fn fill(out: &mut [i64], values: impl Iterator<Item = Option<i64>>) -> bool {
    let mut all = true;
    for (out, value) in out.iter_mut().zip(values) {
        all &= value.is_some();
        *out = value.unwrap_or(0);
    }
    all
}

/// `overflow` is negative where the result is not the true one; whether there is no such row.
fn wrapping(
    x: &View<'_>,
    y: &View<'_>,
    out: &mut [i64],
    function: impl Fn(i64, i64) -> i64,
    overflow: impl Fn(i64, i64, i64) -> i64,
) -> bool {
    let (a, b) = (x.ints(), y.ints());
    let any = match (y.is_constant, b) {
        (true, &[b, ..]) => vectorised(
            #[inline(always)]
            || {
                let mut any = 0;
                for (out, &a) in out.iter_mut().zip(a) {
                    *out = function(a, b);
                    any |= overflow(a, b, *out);
                }
                any
            },
        ),
        _ => vectorised(
            #[inline(always)]
            || {
                let mut any = 0;
                for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
                    *out = function(a, b);
                    any |= overflow(a, b, *out);
                }
                any
            },
        ),
    };
    any >= 0
}

/// `x % divisor` of every row; `divisor` is positive.
pub(crate) fn remainders<I: Int64>(x: &[I], divisor: i64, out: &mut [I]) {
    if divisor < 1 << 50 && all_within(x, EXACT) {
        let by = divisor as f64;
        vectorised(
            #[inline(always)]
            || {
                each(x, out, |x: I| {
                    let x = x.get() as f64;
                    // Every step is exact: the quotient's whole part is below 2^53, and so is its product.
                    I::of(nearest(x - (x / by).trunc() * by))
                });
            },
        );
    } else {
        each(x, out, |x: I| I::of(x.get() % divisor));
    }
}

/// Whether every absolute value is below `limit`.
pub(super) fn all_within<I: Int64>(x: &[I], limit: i64) -> bool {
    vectorised(
        #[inline(always)]
        || {
            let outside = |x: i64| i64::from(x <= -limit) | i64::from(x >= limit);
            x.iter().fold(0, |any, &x| any | outside(x.get())) == 0
        },
    )
}

/// `x / divisor` rounded down, for absolute values below 2^53 and quotients below 2^51, without an integer division.
/// Exact: a quotient that is not whole lies at least 1/divisor from a whole number, which is more than the rounding.
#[inline(always)]
pub(super) fn floor_divide(x: i64, divisor: f64) -> i64 {
    nearest((x as f64 / divisor).floor())
}

/// A whole number below 2^51 as an integer.
#[inline(always)]
fn nearest(x: f64) -> i64 {
    (x + ROUNDER).to_bits().wrapping_sub(ROUNDER.to_bits()) as i64
}
