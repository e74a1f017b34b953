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

/// Rows that a function with a long body is computed for at once: eight doubles are the widest vector there is.
const LANES: usize = 8;

/// Runs `work` with the machine's vector instructions. They reach only what is inlined into `work`.
#[inline(always)]
pub(crate) fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(work)
}

/// Nothing but zero bits where every number is finite: x - x is +0 there, not a number elsewhere.
#[inline(always)]
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
pub(super) fn each_pair_finite(
    x: &[f64],
    y: &[f64],
    result: &mut [f64],
    function: impl Fn(f64, f64) -> f64,
) -> bool {
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
    if covered {
        return finite;
    }
    patch(x, result, F::covers, F::rare)
}

#[inline(always)]
fn fast1<F: Function1>(x: &[f64], result: &mut [f64]) -> (bool, bool) {
    let (whole, rest) = x.as_chunks::<LANES>();
    let (whole_result, rest_result) = result.as_chunks_mut::<LANES>();
    let mut seen = Seen::default();
    for (x, result) in whole.iter().zip(whole_result) {
        eight1::<F>(x, result, &mut seen);
    }
    if !rest.is_empty() {
        let mut padded = [0.0; LANES];
        eight1::<F>(&pad(rest), &mut padded, &mut seen);
        rest_result.copy_from_slice(&padded[..rest.len()]);
    }
    seen.all()
}

/// What the lanes have seen: nothing but zeros where all is well.
#[derive(Default)]
struct Seen {
    missed: [u64; LANES],
    not_finite: [u64; LANES],
}

impl Seen {
    /// Whether every argument was covered, and whether every result is finite.
    #[inline(always)]
    fn all(&self) -> (bool, bool) {
        (self.missed == [0; LANES], self.not_finite == [0; LANES])
    }
}

/// Fewer rows than lanes; the first stands in the rest.
#[inline(always)]
fn pad(x: &[f64]) -> [f64; LANES] {
    let mut padded = [x[0]; LANES];
    padded[..x.len()].copy_from_slice(x);
    padded
}

#[inline(always)]
fn eight1<F: Function1>(x: &[f64; LANES], result: &mut [f64; LANES], seen: &mut Seen) {
    for lane in 0..LANES {
        result[lane] = F::fast(x[lane]);
        seen.missed[lane] |= u64::from(!F::covers(x[lane]));
        seen.not_finite[lane] |= not_finite_bits(result[lane]);
    }
}

/// The rows that the fast part does not cover, one by one; whether all results are finite.
#[cold]
fn patch(x: &[f64], result: &mut [f64], covers: impl Fn(f64) -> bool, rare: impl Fn(f64) -> f64) -> bool {
    let mut finite = true;
    for (result, &x) in result.iter_mut().zip(x) {
        if !covers(x) {
            *result = rare(x);
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
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    let (whole_result, rest_result) = result.as_chunks_mut::<LANES>();
    let mut seen = Seen::default();
    for ((x, y), result) in x.iter().zip(y).zip(whole_result) {
        eight2::<F>(x, y, result, &mut seen);
    }
    if !x_rest.is_empty() {
        let mut padded = [0.0; LANES];
        eight2::<F>(&pad(x_rest), &pad(y_rest), &mut padded, &mut seen);
        rest_result.copy_from_slice(&padded[..x_rest.len()]);
    }
    seen.all()
}

#[inline(always)]
fn eight2<F: Function2>(x: &[f64; LANES], y: &[f64; LANES], result: &mut [f64; LANES], seen: &mut Seen) {
    for lane in 0..LANES {
        result[lane] = F::fast(x[lane], y[lane]);
        seen.missed[lane] |= u64::from(!F::covers(x[lane], y[lane]));
        seen.not_finite[lane] |= not_finite_bits(result[lane]);
    }
}

/// Sine and cosine of every row at the price of little more than one.
pub(super) fn sin_cos(x: &[f64], sin: &mut [f64], cos: &mut [f64]) {
    let covered = vectorised(
        #[inline(always)]
        || fast_sin_cos(x, sin, cos),
    );
    if !covered {
        patch(x, sin, Sin::covers, Sin::rare);
        patch(x, cos, Cos::covers, Cos::rare);
    }
}

#[inline(always)]
fn fast_sin_cos(x: &[f64], sin: &mut [f64], cos: &mut [f64]) -> bool {
    let (whole, rest) = x.as_chunks::<LANES>();
    let (whole_sin, rest_sin) = sin.as_chunks_mut::<LANES>();
    let (whole_cos, rest_cos) = cos.as_chunks_mut::<LANES>();
    let mut seen = Seen::default();
    for ((x, sin), cos) in whole.iter().zip(whole_sin).zip(whole_cos) {
        eight_sin_cos(x, sin, cos, &mut seen);
    }
    if !rest.is_empty() {
        let (mut padded_sin, mut padded_cos) = ([0.0; LANES], [0.0; LANES]);
        eight_sin_cos(&pad(rest), &mut padded_sin, &mut padded_cos, &mut seen);
        rest_sin.copy_from_slice(&padded_sin[..rest.len()]);
        rest_cos.copy_from_slice(&padded_cos[..rest.len()]);
    }
    seen.all().0
}

#[inline(always)]
fn eight_sin_cos(x: &[f64; LANES], sin: &mut [f64; LANES], cos: &mut [f64; LANES], seen: &mut Seen) {
    for lane in 0..LANES {
        (sin[lane], cos[lane]) = sin_cos_fast(x[lane]);
        seen.missed[lane] |= u64::from(!Sin::covers(x[lane]));
    }
}
