//! Two shares: tests and intervals that also hold where an arm has no success, or nothing but successes.

use super::{
    ArmStatistic, Proportion,
    special::{normal_isf, normal_sf},
};

/// Fisher's test is not computed for more units than this; the normal tests agree with it long before.
pub const FISHER_MAX_UNITS: u64 = 20_000;

/// The pooled z-test of equal shares: z and its two-sided p-value. `None` where both arms are all alike.
pub fn pooled_z(a: &Proportion, b: &Proportion) -> Option<(f64, f64)> {
    if a.n == 0 || b.n == 0 {
        return None;
    }
    let (n_a, n_b) = (a.n as f64, b.n as f64);
    let pooled = (a.successes + b.successes) / (n_a + n_b);
    let variance = pooled * (1.0 - pooled) * (1.0 / n_a + 1.0 / n_b);
    let z = (b.mean() - a.mean()) / variance.sqrt();
    (variance > 0.0).then(|| (z, 2.0 * normal_sf(z.abs())))
}

/// Wald's interval of p_b − p_a. Far too narrow for few or no successes; here for comparison.
pub fn wald_interval(a: &Proportion, b: &Proportion, alpha: f64) -> Option<[f64; 2]> {
    if a.n == 0 || b.n == 0 {
        return None;
    }
    let half_width = normal_isf(0.5 * alpha) * (a.variance() / a.n as f64 + b.variance() / b.n as f64).sqrt();
    let difference = b.mean() - a.mean();
    Some([difference - half_width, difference + half_width])
}

/// Agresti and Caffo's interval of p_b − p_a: Wald's after one more success and failure in either arm.
pub fn agresti_caffo_interval(a: &Proportion, b: &Proportion, alpha: f64) -> Option<[f64; 2]> {
    let widened = |arm: &Proportion| Proportion { n: arm.n + 2, successes: arm.successes + 1.0 };
    (a.n > 0 && b.n > 0).then(|| wald_interval(&widened(a), &widened(b), alpha))?
}

/// Wilson's score interval of one share.
pub fn wilson_interval(arm: &Proportion, alpha: f64) -> Option<[f64; 2]> {
    if arm.n == 0 {
        return None;
    }
    let (n, p) = (arm.n as f64, arm.mean());
    let z = normal_isf(0.5 * alpha);
    let z2 = z * z;
    let center = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half_width = z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    Some([center - half_width, center + half_width])
}

/// Newcombe's hybrid score interval of p_b − p_a (1998, method 10), made of both arms' Wilson intervals.
pub fn newcombe_interval(a: &Proportion, b: &Proportion, alpha: f64) -> Option<[f64; 2]> {
    let ([low_a, high_a], [low_b, high_b]) = (wilson_interval(a, alpha)?, wilson_interval(b, alpha)?);
    let (p_a, p_b) = (a.mean(), b.mean());
    let difference = p_b - p_a;
    Some([difference - (p_b - low_b).hypot(high_a - p_a), difference + (high_b - p_b).hypot(p_a - low_a)])
}

/// Miettinen and Nurminen's score interval of p_b − p_a (1985): all differences that their score test does not reject.
pub fn score_interval(a: &Proportion, b: &Proportion, alpha: f64) -> Option<[f64; 2]> {
    invert_score(a, b, alpha, a.n as f64)
}

/// The interval that statsmodels 0.15 calls `score`, to compare with it. Its likelihood equation has the control's
/// successes in one place where the paper has the control's units, so that its shares are not the likeliest ones: use
/// [`score_interval`].
pub fn statsmodels_score_interval(a: &Proportion, b: &Proportion, alpha: f64) -> Option<[f64; 2]> {
    invert_score(a, b, alpha, a.successes)
}

/// `quadratic` is n_a in the paper.
fn invert_score(a: &Proportion, b: &Proportion, alpha: f64, quadratic: f64) -> Option<[f64; 2]> {
    if a.n == 0 || b.n == 0 {
        return None;
    }
    let critical = normal_isf(0.5 * alpha);
    let difference = b.mean() - a.mean();
    let inside = |delta: f64| score_z(a, b, delta, quadratic).abs() < critical;
    // The score falls with the difference: one crossing on either side of the estimate.
    let crossing = |mut inner: f64, mut outer: f64| {
        for _ in 0..200 {
            let middle = 0.5 * (inner + outer);
            if middle == inner || middle == outer {
                break;
            }
            if inside(middle) { inner = middle } else { outer = middle }
        }
        0.5 * (inner + outer)
    };
    Some([crossing(difference, -1.0), crossing(difference, 1.0)])
}

/// The score statistic of p_b − p_a = `delta`, its variance at the most likely shares with that difference.
fn score_z(a: &Proportion, b: &Proportion, delta: f64, quadratic: f64) -> f64 {
    let (n_a, n_b) = (a.n as f64, b.n as f64);
    let n = n_a + n_b;
    let numerator = b.mean() - a.mean() - delta;
    if numerator == 0.0 {
        return 0.0;
    }
    let [p_a, p_b] = likeliest_shares(a, b, delta, quadratic);
    let variance = (p_b * (1.0 - p_b) / n_b + p_a * (1.0 - p_a) / n_a) * n / (n - 1.0);
    if variance > 0.0 { numerator / variance.sqrt() } else { numerator.signum() * f64::INFINITY }
}

/// The likeliest shares of a and b that differ by `delta`.
fn likeliest_shares(a: &Proportion, b: &Proportion, delta: f64, quadratic: f64) -> [f64; 2] {
    let (n_a, n_b) = (a.n as f64, b.n as f64);
    let n = n_a + n_b;
    if delta == 0.0 {
        return [(a.successes + b.successes) / n; 2];
    }
    // The likelihood's equation in p_a: n·p³ + l2·p² + l1·p + l0 = 0, solved by the cosine.
    let l2 = (n_b + 2.0 * n_a) * delta - n - (a.successes + b.successes);
    let l1 = (quadratic * delta - n - 2.0 * a.successes) * delta + a.successes + b.successes;
    let l0 = a.successes * delta * (1.0 - delta);
    let third = l2 / (3.0 * n);
    let q = third.powi(3) - l1 * l2 / (6.0 * n * n) + l0 / (2.0 * n);
    let p = (third.powi(2) - l1 / (3.0 * n)).max(0.0).sqrt() * if q < 0.0 { -1.0 } else { 1.0 };
    let cosine = if p == 0.0 { 0.0 } else { (q / p.powi(3)).clamp(-1.0, 1.0) };
    let angle = (std::f64::consts::PI + cosine.acos()) / 3.0;
    let p_a = 2.0 * p * angle.cos() - third;
    [p_a, p_a + delta].map(|share| share.clamp(0.0, 1.0))
}

/// The two-sided p-value of Fisher's exact test: the probability of all tables, given the margins, that are not likelier
/// than this one. `None` without a unit or above [`FISHER_MAX_UNITS`].
pub fn fisher_exact(a: &Proportion, b: &Proportion) -> Option<f64> {
    let total = a.n + b.n;
    let successes = a.successes + b.successes;
    let whole = |value: f64| value.fract() == 0.0;
    if total == 0 || total > FISHER_MAX_UNITS || !whole(a.successes) || !whole(b.successes) {
        return None;
    }
    let (n_a, n_b) = (a.n as f64, b.n as f64);
    let lowest = (successes - n_a).max(0.0);
    let highest = successes.min(n_b);
    // Probabilities relative to the likeliest table's, by the ratio of neighbours: nothing overflows or cancels.
    let mode = (((n_b + 1.0) * (successes + 1.0)) / (total as f64 + 2.0)).floor().clamp(lowest, highest);
    let up = |x: f64| (successes - x) * (n_b - x) / ((x + 1.0) * (n_a - successes + x + 1.0));
    let mut tables = vec![(mode, 1.0)];
    let (mut x, mut weight) = (mode, 1.0);
    while x < highest {
        weight *= up(x);
        x += 1.0;
        tables.push((x, weight));
    }
    (x, weight) = (mode, 1.0);
    while x > lowest {
        x -= 1.0;
        weight /= up(x);
        tables.push((x, weight));
    }
    let observed = tables.iter().find(|(x, _)| *x == b.successes)?.1;
    let sum: f64 = tables.iter().map(|table| table.1).sum();
    // Equally likely tables differ by rounding.
    let extreme: f64 = tables.iter().map(|table| table.1).filter(|weight| *weight <= observed * (1.0 + 1e-10)).sum();
    Some((extreme / sum).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arms_without_variance_still_have_intervals() {
        let (a, b) = (Proportion { n: 500, successes: 0.0 }, Proportion { n: 480, successes: 0.0 });
        assert_eq!(pooled_z(&a, &b), None);
        for interval in [newcombe_interval, score_interval, agresti_caffo_interval] {
            let [low, high] = interval(&a, &b, 0.05).unwrap();
            assert!(-0.02 < low && low < 0.0 && 0.0 < high && high < 0.02, "{low} {high}");
        }
        assert_eq!(fisher_exact(&a, &b), Some(1.0));
    }

    #[test]
    fn nothing_is_said_of_no_units() {
        let (a, b) = (Proportion { n: 0, successes: 0.0 }, Proportion { n: 4, successes: 1.0 });
        assert_eq!(pooled_z(&a, &b), None);
        assert_eq!((newcombe_interval(&a, &b, 0.05), score_interval(&a, &b, 0.05)), (None, None));
    }

    #[test]
    fn the_likeliest_shares_are() {
        let (a, b) = (Proportion { n: 1_000, successes: 95.0 }, Proportion { n: 800, successes: 79.0 });
        let log_likelihood = |p_a: f64, delta: f64| {
            let of =
                |arm: &Proportion, p: f64| arm.successes * p.ln() + (arm.n as f64 - arm.successes) * (1.0 - p).ln();
            of(&a, p_a) + of(&b, p_a + delta)
        };
        for delta in [-0.05, 0.02, 0.1] {
            let [p_a, p_b] = likeliest_shares(&a, &b, delta, 1_000.0);
            assert!((p_b - p_a - delta).abs() < 1e-12);
            for near in [-1e-4, 1e-4] {
                assert!(log_likelihood(p_a, delta) > log_likelihood(p_a + near, delta), "{delta}");
            }
        }
    }

    #[test]
    fn a_tea_taster_is_fishers() {
        // 3 of 4 right: the p-value of the lady tasting tea is 34/70 two-sided.
        let (a, b) = (Proportion { n: 4, successes: 1.0 }, Proportion { n: 4, successes: 3.0 });
        assert!((fisher_exact(&a, &b).unwrap() - 34.0 / 70.0).abs() < 1e-12);
    }
}
