//! Loops that compile to the widest vector instructions the machine has, chosen when the program runs.
//!
//! The same source is compiled once per instruction set; as it uses only operations whose result IEEE 754 prescribes,
//! the bits do not depend on the choice.

use pulp::Arch;

use crate::math::{Cos, Function1, Function2, Sin, sin_cos_fast};

/// An eight-byte integer, stored as it is or as the bits of a block's row.
pub(crate) trait Int64: Copy {
    fn get(self) -> i64;
    fn of(value: i64) -> Self;
}

impl Int64 for i64 {
    fn get(self) -> i64 {
        self
    }

    fn of(value: i64) -> Self {
        value
    }
}

impl Int64 for u64 {
    fn get(self) -> i64 {
        self as i64
    }

    fn of(value: i64) -> Self {
        value as Self
    }
}

/// Runs `work` with the machine's vector instructions. They reach only what is inlined into `work`.
#[inline(always)]
pub(crate) fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(work)
}

/// Nothing but zero bits where every number is finite: x - x is +0 there, not a number elsewhere.
#[inline(always)]
#[allow(clippy::eq_op)]
pub(crate) fn not_finite_bits(x: f64) -> u64 {
    (x - x).to_bits()
}

/// `result[i] = function(x[i])`.
#[inline(always)]
pub(crate) fn each<A: Copy, R>(x: &[A], result: &mut [R], function: impl Fn(A) -> R) {
    for (result, &x) in result.iter_mut().zip(x) {
        *result = function(x);
    }
}

/// `result[i] = function(x[i])`; whether all are finite.
#[inline(always)]
pub(super) fn each_finite(x: &[f64], result: &mut [f64], function: impl Fn(f64) -> f64) -> bool {
    let mut bits = 0;
    for (result, &x) in result.iter_mut().zip(x) {
        *result = function(x);
        bits |= not_finite_bits(*result);
    }
    bits == 0
}

/// `result[i] = function(x[i], y[i])`; whether all are finite.
#[inline(always)]
pub(super) fn each_pair_finite(x: &[f64], y: &[f64], result: &mut [f64], function: impl Fn(f64, f64) -> f64) -> bool {
    let mut bits = 0;
    for ((result, &x), &y) in result.iter_mut().zip(x).zip(y) {
        *result = function(x, y);
        bits |= not_finite_bits(*result);
    }
    bits == 0
}

/// `result[i] = function(x[i], y[i])`.
#[inline(always)]
pub(super) fn each_pair<A: Copy, R>(x: &[A], y: &[A], result: &mut [R], function: impl Fn(A, A) -> R) {
    for ((result, &x), &y) in result.iter_mut().zip(x).zip(y) {
        *result = function(x, y);
    }
}

/// An elementary function of every row; whether all results are finite.
pub(super) fn elementary1<F: Function1>(x: &[f64], result: &mut [f64]) -> bool {
    let (covered, finite) = vectorised(
        #[inline(always)]
        || fast1::<F>(x, result),
    );
    if covered { finite } else { patch::<F>(x, result) }
}

/// The fast part; whether it covers every row, and whether all results are finite.
#[inline(always)]
fn fast1<F: Function1>(x: &[f64], result: &mut [f64]) -> (bool, bool) {
    let (mut missed, mut bits) = (0, 0);
    for (result, &x) in result.iter_mut().zip(x) {
        *result = F::fast(x);
        missed |= u64::from(!F::covers(x));
        bits |= not_finite_bits(*result);
    }
    (missed == 0, bits == 0)
}

/// The rows that the fast part does not cover, one by one; whether all results are finite.
#[cold]
fn patch<F: Function1>(x: &[f64], result: &mut [f64]) -> bool {
    let mut finite = true;
    for (result, &x) in result.iter_mut().zip(x) {
        if !F::covers(x) {
            *result = F::rare(x);
        }
        finite &= result.is_finite();
    }
    finite
}

/// As [`elementary1`], of two numbers.
pub(super) fn elementary2<F: Function2>(x: &[f64], y: &[f64], result: &mut [f64]) -> bool {
    let (covered, finite) = vectorised(
        #[inline(always)]
        || fast2::<F>(x, y, result),
    );
    if covered {
        return finite;
    }
    let mut finite = true;
    for ((result, &x), &y) in result.iter_mut().zip(x).zip(y) {
        if !F::covers(x, y) {
            *result = F::rare(x, y);
        }
        finite &= result.is_finite();
    }
    finite
}

#[inline(always)]
fn fast2<F: Function2>(x: &[f64], y: &[f64], result: &mut [f64]) -> (bool, bool) {
    let (mut missed, mut bits) = (0, 0);
    for ((result, &x), &y) in result.iter_mut().zip(x).zip(y) {
        *result = F::fast(x, y);
        missed |= u64::from(!F::covers(x, y));
        bits |= not_finite_bits(*result);
    }
    (missed == 0, bits == 0)
}

/// Sine and cosine of every row at the price of little more than one.
pub(super) fn sin_cos(x: &[f64], sin: &mut [f64], cos: &mut [f64]) {
    let covered = vectorised(
        #[inline(always)]
        || fast_sin_cos(x, sin, cos),
    );
    if !covered {
        patch::<Sin>(x, sin);
        patch::<Cos>(x, cos);
    }
}

#[inline(always)]
fn fast_sin_cos(x: &[f64], sin: &mut [f64], cos: &mut [f64]) -> bool {
    let mut missed = 0;
    for ((sin, cos), &x) in sin.iter_mut().zip(cos).zip(x) {
        (*sin, *cos) = sin_cos_fast(x);
        missed |= u64::from(!Sin::covers(x));
    }
    missed == 0
}
