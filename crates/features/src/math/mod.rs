//! Elementary functions with the same bits on every machine and for every vector width.
//!
//! Only what IEEE 754 prescribes to the last bit is used (+, -, ×, ÷, square root), operations on the bits, and choice
//! without branches; no fused multiply-add, no function of the standard library whose result is the platform's. So a
//! compiler may compute one row at a time or eight, and a row's result depends on nothing but the row.
//!
//! Each function has a part for the common range (`fast`) and a portable one (`libm`) for the rare rest, chosen by the
//! argument alone. Largest errors found among two million arguments (`benches/math_accuracy.py`), in units in the last
//! place: sine 0.75, cosine 0.76, arc sine 0.81, arc cosine 0.87, arc tangent 0.70 (of two numbers 1.45),
//! exponential 0.93, natural logarithm 0.77, of 1 + x 0.78, to base 10 0.65. Tangent, power and remainder are `libm`'s
//! (below 1).
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

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    type Sample = (&'static str, fn(f64, f64) -> f64, fn(f64, f64) -> f64, &'static [(f64, f64)]);

    /// Each function, its reference, and the ranges that its arguments are drawn from.
    const FUNCTIONS: &[Sample] = &[
        (
            "sin",
            |x, _| Sin::at(x),
            |x, _| libm::sin(x),
            &[(-7.0, 7.0), (-4096.0, 4096.0), (-1e-9, 1e-9), (-1e300, 1e300)],
        ),
        (
            "cos",
            |x, _| Cos::at(x),
            |x, _| libm::cos(x),
            &[(-7.0, 7.0), (-4096.0, 4096.0), (-1e-9, 1e-9), (-1e300, 1e300)],
        ),
        ("asin", |x, _| Asin::at(x), |x, _| libm::asin(x), &[(-1.0, 1.0), (-0.6, 0.6), (0.99, 1.0), (-1e-9, 1e-9)]),
        ("acos", |x, _| Acos::at(x), |x, _| libm::acos(x), &[(-1.0, 1.0), (-0.6, 0.6), (0.99, 1.0), (-1.0, -0.99)]),
        ("atan", |x, _| Atan::at(x), |x, _| libm::atan(x), &[(-4.0, 4.0), (-1e-9, 1e-9), (-1e9, 1e9), (0.3, 3.0)]),
        ("atan2", Atan2::at, libm::atan2, &[(-1.0, 1.0), (-1e-9, 1e9), (-1e-300, 1e-300), (0.3, 3.0)]),
        (
            "exp",
            |x, _| Exp::at(x),
            |x, _| libm::exp(x),
            &[(-700.0, 700.0), (-2.0, 2.0), (-745.0, -700.0), (-1e-9, 1e-9)],
        ),
        ("ln", |x, _| Ln::at(x), |x, _| libm::log(x), &[(0.0, 4.0), (0.9, 1.1), (0.0, 1e300), (0.0, 1e-310)]),
        ("ln1p", |x, _| Ln1p::at(x), |x, _| libm::log1p(x), &[(-1.0, 4.0), (-1e-9, 1e-9), (0.0, 1e300), (-0.3, 0.5)]),
        ("log10", |x, _| Log10::at(x), |x, _| libm::log10(x), &[(0.0, 4.0), (0.9, 1.1), (0.0, 1e300), (0.0, 1e-310)]),
    ];

    /// Arguments without any randomness of the platform: steps through each range, and the ends.
    fn arguments(ranges: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> {
        ranges.iter().flat_map(|&(low, high)| {
            (0..=40).map(move |step| {
                let (u, v) = (f64::from(step) / 40.0, f64::from(step * 17 % 41) / 40.0);
                (low * (1.0 - u) + high * u, low * (1.0 - v) + high * v)
            })
        })
    }

    fn lines() -> String {
        let mut text = String::new();
        for (name, function, _, ranges) in FUNCTIONS {
            for (x, y) in arguments(ranges) {
                let value = function(x, y);
                // Which NaN it is depends on the machine, and the engine keeps none.
                let bits = if value.is_nan() { "nan".to_owned() } else { format!("{:016x}", value.to_bits()) };
                writeln!(text, "{name} {:016x} {:016x} {bits}", x.to_bits(), y.to_bits()).unwrap();
            }
        }
        text
    }

    const GOLDEN: &str = include_str!("../../tests/golden/math.txt");

    /// After a deliberate change: `cargo test -p features --lib math -- --ignored`.
    #[test]
    #[ignore = "writes the golden file"]
    fn write_golden() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/math.txt");
        std::fs::write(path, lines()).unwrap();
    }

    #[test]
    fn bits_are_the_golden_ones() {
        for (found, expected) in lines().lines().zip(GOLDEN.lines()) {
            assert_eq!(found, expected);
        }
        assert_eq!(lines().lines().count(), GOLDEN.lines().count());
    }

    /// Written for `benches/math_accuracy.py`, which knows more digits:
    /// `MATH_SAMPLE=file cargo test --release -p features --lib math -- --ignored write_sample`.
    #[test]
    #[ignore = "writes a sample for a measurement"]
    fn write_sample() {
        let Ok(path) = std::env::var("MATH_SAMPLE") else { return };
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let mut text = String::new();
        for (name, function, _, ranges) in FUNCTIONS {
            for &(low, high) in *ranges {
                for _ in 0..50_000 {
                    let [x, y] = [(); 2].map(|()| runner.rng().random_range(low..=high));
                    writeln!(
                        text,
                        "{name} {:016x} {:016x} {:016x}",
                        x.to_bits(),
                        y.to_bits(),
                        function(x, y).to_bits()
                    )
                    .unwrap();
                }
            }
        }
        std::fs::write(path, text).unwrap();
    }

    /// How many doubles lie between.
    fn distance(a: f64, b: f64) -> u64 {
        let ordered = |x: f64| {
            let bits = x.to_bits() as i64;
            if bits < 0 { i64::MIN - bits } else { bits }
        };
        ordered(a).abs_diff(ordered(b))
    }

    proptest! {
        /// libm is within 1 unit in the last place, and so are these (arc tangent of two: 1.4).
        #[test]
        fn agree_with_libm(at in prop::sample::select((0..FUNCTIONS.len()).collect::<Vec<_>>()), range in 0usize..4, u in 0.0..1.0f64, v in 0.0..1.0f64) {
            let (name, function, reference, ranges) = FUNCTIONS[at];
            let (low, high) = ranges[range];
            let (x, y) = (low + (high - low) * u, low + (high - low) * v);
            let (found, expected) = (function(x, y), reference(x, y));
            if expected.is_finite() {
                prop_assert!(distance(found, expected) <= 2, "{name}({x:e}, {y:e}) = {found:e}, {expected:e}");
            } else {
                prop_assert!(!found.is_finite());
            }
        }
    }

    #[test]
    fn edges_are_exact() {
        assert_eq!((Sin::at(0.0), Cos::at(0.0)), (0.0, 1.0));
        assert_eq!((Asin::at(1.0), Asin::at(-1.0)), (std::f64::consts::FRAC_PI_2, -std::f64::consts::FRAC_PI_2));
        assert_eq!((Acos::at(1.0), Acos::at(-1.0)), (0.0, std::f64::consts::PI));
        assert_eq!((Exp::at(0.0), Ln::at(1.0), Log10::at(1000.0), Ln1p::at(0.0)), (1.0, 0.0, 3.0, 0.0));
        assert_eq!((Atan2::at(0.0, -1.0), Atan2::at(0.0, 0.0)), (std::f64::consts::PI, 0.0));
        assert_eq!(Atan2::at(1.0, 0.0), std::f64::consts::FRAC_PI_2);
        // The sine of the double that is nearest to pi is what that double lacks of pi.
        assert_eq!(Sin::at(std::f64::consts::PI), 1.2246467991473532e-16);
    }
}
