//! Floating-point operators. Results are always finite: what is not becomes NULL.

use libm::{acos, asin, atan, atan2, cos, exp, fmod, log, log1p, log10, pow, sin, tan};

use super::{invalidate, strict};
use crate::{
    column::{Column, Values, View},
    op::{Float1, Float2},
};

pub(super) const RADIANS_PER_DEGREE: f64 = std::f64::consts::PI / 180.0;

pub(super) fn float1(function: Float1, x: &View<'_>, result: &mut Column) {
    strict(&[x], result);
    let x = x.floats();
    match function {
        Float1::Negate => map1(x, result, |x| -x),
        Float1::Abs => map1(x, result, f64::abs),
        Float1::Sign => map1(x, result, |x| if x == 0.0 { 0.0 } else { x.signum() }),
        Float1::Floor => map1(x, result, f64::floor),
        Float1::Ceil => map1(x, result, f64::ceil),
        Float1::Round => map1(x, result, f64::round),
        Float1::Truncate => map1(x, result, f64::trunc),
        // IEEE 754 prescribes the square root's every bit.
        Float1::Sqrt => map1_partial(x, result, f64::sqrt),
        Float1::Exp => map1_partial(x, result, exp),
        Float1::Ln => map1_partial(x, result, log),
        Float1::Ln1p => map1_partial(x, result, log1p),
        Float1::Log10 => map1_partial(x, result, log10),
        Float1::Sin => map1(x, result, sin),
        Float1::Cos => map1(x, result, cos),
        Float1::Tan => map1_partial(x, result, tan),
        Float1::Asin => map1_partial(x, result, asin),
        Float1::Acos => map1_partial(x, result, acos),
        Float1::Atan => map1(x, result, atan),
        Float1::Radians => map1(x, result, |x| x * RADIANS_PER_DEGREE),
        Float1::Degrees => map1_partial(x, result, |x| x / RADIANS_PER_DEGREE),
    }
}

pub(super) fn float2(function: Float2, x: &View<'_>, y: &View<'_>, result: &mut Column) {
    strict(&[x, y], result);
    let (x, y) = (x.floats(), y.floats());
    match function {
        Float2::Add => map2(x, y, result, |x, y| x + y),
        Float2::Subtract => map2(x, y, result, |x, y| x - y),
        Float2::Multiply => map2(x, y, result, |x, y| x * y),
        Float2::Divide => map2(x, y, result, |x, y| x / y),
        Float2::Modulo => map2(x, y, result, fmod),
        Float2::Power => map2(x, y, result, pow),
        Float2::Atan2 => map2(x, y, result, atan2),
        Float2::Least => map2(x, y, result, |x, y| if y < x { y } else { x }),
        Float2::Greatest => map2(x, y, result, |x, y| if y > x { y } else { x }),
    }
}

/// A function that is finite wherever its operand is.
fn map1(x: &[f64], result: &mut Column, function: impl Fn(f64) -> f64) {
    let Values::Float(values) = &mut result.values else { return };
    values.extend(x.iter().map(|&x| function(x)));
}

fn map1_partial(x: &[f64], result: &mut Column, function: impl Fn(f64) -> f64) {
    map1(x, result, function);
    null_where_not_finite(result);
}

fn map2(x: &[f64], y: &[f64], result: &mut Column, function: impl Fn(f64, f64) -> f64) {
    let Values::Float(values) = &mut result.values else { return };
    values.extend(x.iter().zip(y).map(|(&x, &y)| function(x, y)));
    null_where_not_finite(result);
}

/// One pass over the exponents, without a branch, finds whether there is anything to do.
pub(super) fn null_where_not_finite(result: &mut Column) {
    const EXPONENT: u64 = 0x7ff0_0000_0000_0000;
    let Values::Float(values) = &mut result.values else { return };
    let any = values.iter().fold(false, |any, x| any | (x.to_bits() & EXPONENT == EXPONENT));
    if any {
        let mut taken = std::mem::take(values);
        invalidate(taken.len(), result, |row| !taken[row].is_finite());
        // Zeroed, so that a NULL's value cannot make a later result differ or be slow.
        taken.iter_mut().filter(|x| !x.is_finite()).for_each(|x| *x = 0.0);
        result.values = Values::Float(taken);
    }
}
