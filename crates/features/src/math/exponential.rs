//! Exponential and logarithms.

use super::{Function1, ROUNDER, polynomial, select};

/// ln 2 in two pieces: the product of the first (40 bits) with an exponent is exact.
const LN_2: [f64; 2] = [0.6931471805592082, 7.371002565167799e-13];
const LOG10_2: [f64; 2] = [0.301029995663157, 8.241712586023572e-13];
/// 1 / ln 10: 26 bits, and the rest.
const LOG10_E: [f64; 2] = [0.4342944771051407, 4.798111141615973e-9];
/// (exp(r) - 1 - r) / r² by powers of r, |r| ≤ ln(2)/2.
const EXP: [f64; 10] = [
    0.5000000000000013,
    0.166666666666667,
    0.04166666666651432,
    0.00833333333330703,
    0.0013888888947331977,
    0.00019841269917770661,
    2.4801489589754045e-05,
    2.755721594823038e-06,
    2.763141408409668e-07,
    2.511797488909254e-08,
];
/// (2 artanh(s) / s - 2) / s² by powers of s², |s| ≤ 3 - 2·sqrt(2).
const LOG: [f64; 7] = [
    0.6666666666666735,
    0.39999999999411084,
    0.2857142874326359,
    0.22222198475985686,
    0.18183569736542238,
    0.1531390338924694,
    0.14797505870641972,
];

/// e to the power of x.
pub(crate) struct Exp;

impl Function1 for Exp {
    #[inline(always)]
    fn fast(x: f64) -> f64 {
        let shifted = x * std::f64::consts::LOG2_E + ROUNDER;
        let n = shifted - ROUNDER;
        let high = x - n * LN_2[0];
        let low = n * LN_2[1];
        let r = high - low;
        let tail = (high - r) - low;
        let y = 1.0 + (r + (r * r * polynomial(r, EXP) + tail));
        // 2^n by its exponent bits.
        y * f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52)
    }

    /// Where the result is a normal number.
    #[inline(always)]
    fn covers(x: f64) -> bool {
        x.abs() <= 708.0
    }

    fn rare(x: f64) -> f64 {
        libm::exp(x)
    }
}

/// x = 2^k · (1 + f), 1 + f between sqrt(1/2) and sqrt(2); x positive and normal.
#[inline(always)]
fn split(x: f64) -> (f64, f64) {
    const ONE: u64 = 0x3ff0_0000_0000_0000;
    const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    const MANTISSA: u64 = 0x000f_ffff_ffff_ffff;
    let moved = x.to_bits().wrapping_add(ONE - SQRT_HALF);
    let f = f64::from_bits((moved & MANTISSA) + SQRT_HALF) - 1.0;
    // The exponent, put where the rounder keeps an integer, is a double without a conversion.
    let k = f64::from_bits(ROUNDER.to_bits() + (moved >> 52)) - (ROUNDER + 1023.0);
    (k, f)
}

/// f²/2 and what ln(1 + f) is more than f - f²/2.
#[inline(always)]
fn log_parts(f: f64) -> (f64, f64) {
    let half = 0.5 * f * f;
    let s = f / (2.0 + f);
    let z = s * s;
    (half, s * (half + z * polynomial(z, LOG)))
}

#[inline(always)]
fn is_positive_normal(x: f64) -> bool {
    (f64::MIN_POSITIVE..=f64::MAX).contains(&x)
}

/// Natural logarithm.
pub(crate) struct Ln;

impl Function1 for Ln {
    #[inline(always)]
    fn fast(x: f64) -> f64 {
        let (k, f) = split(x);
        let (half, more) = log_parts(f);
        k * LN_2[0] - ((half - (more + k * LN_2[1])) - f)
    }

    #[inline(always)]
    fn covers(x: f64) -> bool {
        is_positive_normal(x)
    }

    fn rare(x: f64) -> f64 {
        libm::log(x)
    }
}

/// ln(1 + x), exact for small x.
pub(crate) struct Ln1p;

impl Function1 for Ln1p {
    #[inline(always)]
    fn fast(x: f64) -> f64 {
        let sum = 1.0 + x;
        let (k, f) = split(sum);
        // Where 1 + x needs no scaling, x itself has more bits than the sum; elsewhere, what the sum has lost.
        let is_near_one = k == 0.0;
        let f = select(is_near_one, x, f);
        let lost = select(x >= 1.0, 1.0 - (sum - x), x - (sum - 1.0));
        let correction = select(is_near_one, 0.0, lost / sum);
        let (half, more) = log_parts(f);
        k * LN_2[0] - ((half - (more + (k * LN_2[1] + correction))) - f)
    }

    #[inline(always)]
    fn covers(x: f64) -> bool {
        (x > -1.0) & (x < f64::MAX)
    }

    fn rare(x: f64) -> f64 {
        libm::log1p(x)
    }
}

/// Logarithm to base 10.
pub(crate) struct Log10;

impl Function1 for Log10 {
    #[inline(always)]
    fn fast(x: f64) -> f64 {
        let (k, f) = split(x);
        let (half, more) = log_parts(f);
        // ln(1 + f) = high + low; high has 21 bits, so that its product with 26 bits is exact.
        let high = f64::from_bits((f - half).to_bits() & 0xffff_ffff_0000_0000);
        let low = ((f - high) - half) + more;
        let main = high * LOG10_E[0];
        let whole = k * LOG10_2[0];
        let sum = whole + main;
        let rest = (k * LOG10_2[1] + (low + high) * LOG10_E[1] + low * LOG10_E[0]) + ((whole - sum) + main);
        sum + rest
    }

    #[inline(always)]
    fn covers(x: f64) -> bool {
        is_positive_normal(x)
    }

    fn rare(x: f64) -> f64 {
        libm::log10(x)
    }
}
