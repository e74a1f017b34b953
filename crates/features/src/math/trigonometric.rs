//! Sine and cosine.

use super::{Function1, ROUNDER, polynomial, select};

/// pi/2 in three pieces: the product of each of the first two (40 bits) with an integer below 2^13 is exact.
const HALF_PI: [f64; 3] = [1.5707963267941523, 7.443547480480255e-13, 6.36831716351095e-25];
/// Up to here the three pieces of pi/2 leave no error that counts, also next to its multiples.
const LIMIT: f64 = 4096.0;
/// (sin(y) / y - 1) / y² by powers of y², |y| ≤ pi/4.
const SIN: [f64; 6] = [
    -0.1666666666666663,
    0.008333333333322063,
    -0.00019841269829542788,
    2.755731360456613e-06,
    -2.5050745042012952e-08,
    1.5896067681225992e-10,
];
/// (cos(y) - 1 + y²/2) / y⁴ by powers of y², |y| ≤ pi/4.
const COS: [f64; 6] = [
    0.041666666666666595,
    -0.0013888888888872975,
    2.480158728879995e-05,
    -2.7557314163964486e-07,
    2.0875698707851442e-09,
    -1.1358423517234768e-11,
];

/// Sine and cosine together cost little more than one of them. Both are right where [`Function1::covers`] says so.
#[inline(always)]
pub(crate) fn sin_cos_fast(x: f64) -> (f64, f64) {
    let shifted = x * std::f64::consts::FRAC_2_PI + ROUNDER;
    let n = shifted - ROUNDER;
    let quadrant = shifted.to_bits();
    // x - n·pi/2 as `y + tail`. The first difference is exact; the second's error is `lost`, since where the first is
    // smaller than what is taken from it the second is exact too.
    let first = x - n * HALF_PI[0];
    let taken = n * HALF_PI[1];
    let second = first - taken;
    let lost = (first - second) - taken;
    let rest = n * HALF_PI[2] - lost;
    let y = second - rest;
    let tail = (second - y) - rest;

    let z = y * y;
    let cube = z * y;
    let s = polynomial(z, [SIN[1], SIN[2], SIN[3], SIN[4], SIN[5]]);
    let sin = y - ((z * (0.5 * tail - cube * s) - tail) - cube * SIN[0]);
    let half = 0.5 * z;
    let c = 1.0 - half;
    let cos = c + (((1.0 - c) - half) + (z * (z * polynomial(z, COS)) - y * tail));

    let swap = quadrant & 1 == 1;
    let (sin, cos) = (select(swap, cos, sin), select(swap, sin, cos));
    // The sign bit: of the sine in quadrants 2 and 3, of the cosine in 1 and 2.
    let sin_sign = (quadrant & 2) << 62;
    let cos_sign = (quadrant.wrapping_add(1) & 2) << 62;
    (f64::from_bits(sin.to_bits() ^ sin_sign), f64::from_bits(cos.to_bits() ^ cos_sign))
}

#[inline(always)]
fn is_near(x: f64) -> bool {
    x.abs() <= LIMIT
}

/// Sine.
pub(crate) struct Sin;

impl Function1 for Sin {
    #[inline(always)]
    fn fast(x: f64) -> f64 {
        sin_cos_fast(x).0
    }

    #[inline(always)]
    fn covers(x: f64) -> bool {
        is_near(x)
    }

    fn rare(x: f64) -> f64 {
        libm::sin(x)
    }
}

/// Cosine.
pub(crate) struct Cos;

impl Function1 for Cos {
    #[inline(always)]
    fn fast(x: f64) -> f64 {
        sin_cos_fast(x).1
    }

    #[inline(always)]
    fn covers(x: f64) -> bool {
        is_near(x)
    }

    fn rare(x: f64) -> f64 {
        libm::cos(x)
    }
}
