//! Arc sine, arc cosine, arc tangent.

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, PI};

use super::{Function1, Function2, polynomial, select};

/// What pi/2 is more than its double.
const HALF_PI_REST: f64 = 6.123233995736766e-17;
const PI_REST: f64 = 1.2246467991473532e-16;
/// (asin(x) / x - 1) / x² by powers of x², |x| ≤ 1/2.
const ASIN: [f64; 13] = [
    0.1666666666666676,
    0.07499999999970632,
    0.044642857174780115,
    0.030381942699334884,
    0.022372215235716194,
    0.01735160738696912,
    0.013980877961922345,
    0.01139842711299103,
    0.010783055093104232,
    0.003695517709152467,
    0.021734672759745305,
    -0.021038597521053304,
    0.03265396493000047,
];
/// (atan(t) / t - 1) / t² by powers of t², |t| ≤ 7/16.
const ATAN: [f64; 11] = [
    -0.33333333333332915,
    0.19999999999872523,
    -0.1428571427215281,
    0.11111110389993845,
    -0.09090886740300637,
    0.076918700174002,
    -0.0666101084856766,
    0.05833168444259568,
    -0.04975272720320315,
    0.03649537540877182,
    -0.016250616996377285,
];

/// What both arc functions are made of. With a = |x|: where a ≤ 1/2, `ratio` = asin(a)/a - 1; beyond,
/// `ratio` = asin(s)/s - 1 for s = sqrt((1 - a)/2) = `root`, whose leading bits are `head` and what they lack `rest`.
struct Arc {
    is_small: bool,
    ratio: f64,
    root: f64,
    head: f64,
    rest: f64,
}

#[inline(always)]
fn arc(x: f64) -> Arc {
    let a = x.abs();
    let is_small = a <= 0.5;
    let z = select(is_small, x * x, (1.0 - a) * 0.5);
    let root = z.sqrt();
    // 21 bits, so that their square is exact.
    let head = f64::from_bits(root.to_bits() & 0xffff_ffff_0000_0000);
    let sum = root + head;
    let rest = (z - head * head) / select(sum == 0.0, 1.0, sum);
    Arc { is_small, ratio: z * polynomial(z, ASIN), root, head, rest }
}

/// Arc sine. Not a number outside -1..1.
pub(crate) struct Asin;

impl Function1 for Asin {
    #[inline(always)]
    fn fast(x: f64) -> f64 {
        let Arc { is_small, ratio, root, head, rest } = arc(x);
        let small = x + x * ratio;
        let big = FRAC_PI_4 - ((2.0 * root * ratio - (HALF_PI_REST - 2.0 * rest)) - (FRAC_PI_4 - 2.0 * head));
        select(is_small, small, big.copysign(x))
    }

    #[inline(always)]
    fn covers(_: f64) -> bool {
        true
    }

    fn rare(x: f64) -> f64 {
        libm::asin(x)
    }
}

/// Arc cosine. Not a number outside -1..1.
pub(crate) struct Acos;

impl Function1 for Acos {
    #[inline(always)]
    fn fast(x: f64) -> f64 {
        let Arc { is_small, ratio, root, head, rest } = arc(x);
        let small = FRAC_PI_2 - (x - (HALF_PI_REST - x * ratio));
        let near_one = 2.0 * (head + (root * ratio + rest));
        let near_minus_one = PI - 2.0 * (root + (root * ratio - HALF_PI_REST));
        select(is_small, small, select(x < 0.0, near_minus_one, near_one))
    }

    #[inline(always)]
    fn covers(_: f64) -> bool {
        true
    }

    fn rare(x: f64) -> f64 {
        libm::acos(x)
    }
}

/// The arc tangent of `a / b`, both at least 0 and not both 0, with the part that a double cannot hold.
/// atan(a/b) = atan(p) + atan((a - p·b) / (b + p·a)) for the pivot p of 0, 1/2, 1, 3/2, infinity that is near a/b.
#[inline(always)]
fn atan_of_ratio(a: f64, b: f64) -> (f64, f64) {
    let mut pivot = 0.0;
    let (mut angle, mut angle_rest) = (0.0, 0.0);
    let steps = [
        (0.4375, 0.5, 0.4636476090008061, 2.2698777452961687e-17),
        (0.6875, 1.0, FRAC_PI_4, 3.061616997868383e-17),
        (1.1875, 1.5, 0.982793723247329, 1.3903311031230998e-17),
    ];
    for (from, at, of_pivot, rest) in steps {
        let beyond = a >= from * b;
        pivot = select(beyond, at, pivot);
        angle = select(beyond, of_pivot, angle);
        angle_rest = select(beyond, rest, angle_rest);
    }
    let is_steep = a >= 2.4375 * b;
    angle = select(is_steep, FRAC_PI_2, angle);
    angle_rest = select(is_steep, HALF_PI_REST, angle_rest);
    let t = select(is_steep, -b, a - pivot * b) / select(is_steep, a, b + pivot * a);
    let z = t * t;
    let low = t * (z * polynomial(z, ATAN)) + angle_rest;
    let sum = angle + t;
    (sum, ((angle - sum) + t) + low)
}

/// Arc tangent.
pub(crate) struct Atan;

impl Function1 for Atan {
    #[inline(always)]
    fn fast(x: f64) -> f64 {
        let (angle, rest) = atan_of_ratio(x.abs(), 1.0);
        (angle + rest).copysign(x)
    }

    #[inline(always)]
    fn covers(_: f64) -> bool {
        true
    }

    fn rare(x: f64) -> f64 {
        libm::atan(x)
    }
}

/// Angle of the point (x, y).
pub(crate) struct Atan2;

impl Function2 for Atan2 {
    #[inline(always)]
    fn fast(y: f64, x: f64) -> f64 {
        let (angle, rest) = atan_of_ratio(y.abs(), x.abs());
        let left = PI - (angle - (PI_REST - rest));
        select(x < 0.0, left, angle + rest).copysign(y)
    }

    /// Neither so small nor so large that a product of the reduction leaves the doubles.
    #[inline(always)]
    fn covers(y: f64, x: f64) -> bool {
        let size = y.abs() + x.abs();
        (1e-290..=1e290).contains(&size)
    }

    fn rare(y: f64, x: f64) -> f64 {
        libm::atan2(y, x)
    }
}
