//! Elementary functions with the same bits on every machine and for every vector width.
//!
//! Only what IEEE 754 prescribes to the last bit is used (+, -, ×, ÷, square root), operations on the bits, and choice
//! without branches; no fused multiply-add, no function of the standard library whose result is the platform's. So a
//! compiler may compute one row at a time or eight, and a row's result depends on nothing but the row.
//!
//! Each function has a part for the common range (`fast`) and a portable one (`libm`) for the rare rest, chosen by the
//! argument alone. Largest errors found, against 100-digit references (`benches/math_accuracy.py`), in units in the
//! last place: MAXULPS. Tangent, power and remainder are `libm`'s.
//!
//! The methods are the textbook ones (W. J. Cody, W. Waite, "Software Manual for the Elementary Functions", 1980;
//! P. T. P. Tang, "Table-driven implementation of the logarithm function", 1990; K. C. Ng's argument reductions as in
//! FreeBSD's msun); the polynomials are of this project (`benches/math_polynomials.py`).

mod exponential;
mod inverse;
mod trigonometric;

pub(crate) use exponential::{Exp, Ln, Ln1p, Log10};
pub(crate) use inverse::{Acos, Asin, Atan, Atan2};
pub(crate) use trigonometric::{Cos, Sin, sin_cos_fast};

/// Adding it leaves a double's nearest integer in its lowest bits (1.5 · 2^52); for absolute values below 2^51.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// A function of one number.
pub(crate) trait Function1 {
    /// The result where [`Function1::covers`]; anything elsewhere. Without branches.
    fn fast(x: f64) -> f64;
    /// Whether `fast` is right for `x`.
    fn covers(x: f64) -> bool;
    /// The result for all the others.
    fn rare(x: f64) -> f64;

    /// The result.
    #[inline(always)]
    fn at(x: f64) -> f64 {
        if Self::covers(x) { Self::fast(x) } else { Self::rare(x) }
    }
}

/// A function of two numbers; see [`Function1`].
pub(crate) trait Function2 {
    fn fast(x: f64, y: f64) -> f64;
    fn covers(x: f64, y: f64) -> bool;
    fn rare(x: f64, y: f64) -> f64;

    #[inline(always)]
    fn at(x: f64, y: f64) -> f64 {
        if Self::covers(x, y) { Self::fast(x, y) } else { Self::rare(x, y) }
    }
}

/// A choice that compiles to a blend.
#[inline(always)]
pub(crate) fn select(condition: bool, a: f64, b: f64) -> f64 {
    if condition { a } else { b }
}

/// The polynomial with these coefficients (at least two). Even and odd powers apart: half the latency of Horner's rule.
#[inline(always)]
fn polynomial<const N: usize>(x: f64, coefficients: [f64; N]) -> f64 {
    let square = x * x;
    let (mut last, mut before) = (coefficients[N - 1], coefficients[N - 2]);
    let mut left = N - 2;
    while left >= 2 {
        last = last * square + coefficients[left - 1];
        before = before * square + coefficients[left - 2];
        left -= 2;
    }
    if left == 1 { (last * square + coefficients[0]) + x * before } else { before + x * last }
}
