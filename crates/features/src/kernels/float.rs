//! Floating-point operators. Results are always finite: what is not becomes NULL.

use libm::{fmod, pow, tan};

use super::{
    invalidate, strict,
    vector::{each, each_finite, each_pair_finite, elementary1, elementary2, sin_cos as vector_sin_cos, vectorised},
};
use crate::{
    column::{Column, Values, View},
    math::{Acos, Asin, Atan, Atan2, Cos, Exp, Ln, Ln1p, Log10, Sin},
    op::{Float1, Float2},
};

pub(crate) const RADIANS_PER_DEGREE: f64 = std::f64::consts::PI / 180.0;

pub(super) fn float1(function: Float1, x: &View<'_>, rows: usize, result: &mut Column) {
    strict(&[x], result);
    let x = x.floats();
    let out = result.floats_mut(rows);
    let finite = match function {
        Float1::Negate => map1(x, out, |x| -x),
        Float1::Abs => map1(x, out, f64::abs),
        Float1::Sign => map1(x, out, sign),
        Float1::Floor => map1(x, out, f64::floor),
        Float1::Ceil => map1(x, out, f64::ceil),
        Float1::Round => map1(x, out, f64::round),
        Float1::Truncate => map1(x, out, f64::trunc),
        // IEEE 754 prescribes the square root's every bit.
        Float1::Sqrt => map1_partial(x, out, f64::sqrt),
        Float1::Exp => elementary1::<Exp>(x, out),
        Float1::Ln => elementary1::<Ln>(x, out),
        Float1::Ln1p => elementary1::<Ln1p>(x, out),
        Float1::Log10 => elementary1::<Log10>(x, out),
        Float1::Sin => elementary1::<Sin>(x, out),
        Float1::Cos => elementary1::<Cos>(x, out),
        Float1::Tan => map1_partial(x, out, tan),
        Float1::Asin => elementary1::<Asin>(x, out),
        Float1::Acos => elementary1::<Acos>(x, out),
        Float1::Atan => elementary1::<Atan>(x, out),
        Float1::Radians => map1(x, out, |x| x * RADIANS_PER_DEGREE),
        Float1::Degrees => map1_partial(x, out, |x| x / RADIANS_PER_DEGREE),
    };
    if !finite {
        null_where_not_finite(result);
    }
}

pub(super) fn float2(function: Float2, x: &View<'_>, y: &View<'_>, rows: usize, result: &mut Column) {
    strict(&[x, y], result);
    let out = result.floats_mut(rows);
    let finite = match function {
        Float2::Add => map2(x, y, out, |x, y| x + y),
        Float2::Subtract => map2(x, y, out, |x, y| x - y),
        Float2::Multiply => map2(x, y, out, |x, y| x * y),
        Float2::Divide => map2(x, y, out, |x, y| x / y),
        Float2::Modulo => map2(x, y, out, fmod),
        Float2::Power => map2(x, y, out, pow),
        Float2::Atan2 => elementary2::<Atan2>(x.floats(), y.floats(), out),
        Float2::Least => map2(x, y, out, least),
        Float2::Greatest => map2(x, y, out, greatest),
    };
    if !finite {
        null_where_not_finite(result);
    }
}

/// Sine and cosine of the same operand.
pub(crate) fn sin_cos(x: &View<'_>, rows: usize, sin: &mut Column, cos: &mut Column) {
    for result in [&mut *sin, &mut *cos] {
        result.clear_validity();
        strict(&[x], result);
    }
    vector_sin_cos(x.floats(), sin.floats_mut(rows), cos.floats_mut(rows));
}

#[inline(always)]
pub(crate) fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { 1f64.copysign(x) }
}

#[inline(always)]
pub(crate) fn least(x: f64, y: f64) -> f64 {
    if y < x { y } else { x }
}

#[inline(always)]
pub(crate) fn greatest(x: f64, y: f64) -> f64 {
    if y > x { y } else { x }
}

/// A function that is finite wherever its operand is.
fn map1(x: &[f64], out: &mut [f64], function: impl Fn(f64) -> f64) -> bool {
    vectorised(
        #[inline(always)]
        || each(x, out, function),
    );
    true
}

fn map1_partial(x: &[f64], out: &mut [f64], function: impl Fn(f64) -> f64) -> bool {
    vectorised(
        #[inline(always)]
        || each_finite(x, out, function),
    )
}

/// A constant operand is kept in a register, not read row by row.
fn map2(x: &View<'_>, y: &View<'_>, out: &mut [f64], function: impl Fn(f64, f64) -> f64) -> bool {
    let (a, b) = (x.floats(), y.floats());
    match (x.is_constant, y.is_constant, a, b) {
        (true, false, &[a, ..], b) => vectorised(
            #[inline(always)]
            || each_finite(b, out, |b| function(a, b)),
        ),
        (false, true, a, &[b, ..]) => vectorised(
            #[inline(always)]
            || each_finite(a, out, |a| function(a, b)),
        ),
        _ => vectorised(
            #[inline(always)]
            || each_pair_finite(a, b, out, function),
        ),
    }
}

#[cold]
fn null_where_not_finite(result: &mut Column) {
    let Values::Float(values) = &mut result.values else { return };
    let mut taken = std::mem::take(values);
    invalidate(taken.len(), result, |row| !taken[row].is_finite());
    // Zeroed, so that a NULL's value cannot make a later result differ or be slow.
    taken.iter_mut().filter(|x| !x.is_finite()).for_each(|x| *x = 0.0);
    result.values = Values::Float(taken);
}
