//! From two arms' statistics to an effect with its standard error. a = control, b = treatment.

use super::{ArmStatistic, CupedSums, MeanSums, NotEstimable};

/// How an effect is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// m_b − m_a, in the metric's unit.
    Absolute,
    /// (m_b − m_a)/|m_a|, with its variance by the delta method.
    Relative,
}

/// An effect and what every interval and test of it needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The effect, on its [`Scale`].
    pub effect: f64,
    /// Its standard error.
    pub std_err: f64,
    /// Welch–Satterthwaite degrees of freedom, from the absolute variances on either scale.
    pub dof: f64,
    /// Units of both arms.
    pub units: u64,
    /// What a relative effect of 1 is on the estimate's scale: |m_a| without adjustment, or 1.
    pub relative_unit: f64,
}

/// The effect of b against a.
pub fn estimate<S: ArmStatistic>(a: &S, b: &S, scale: Scale) -> Result<Estimate, NotEstimable> {
    let (mean_a, mean_b) = (a.mean(), b.mean());
    let variance = match scale {
        Scale::Absolute => b.variance() / b.n() as f64 + a.variance() / a.n() as f64,
        Scale::Relative => {
            b.variance() / (b.n() as f64 * mean_a.powi(2))
                + a.variance() * mean_b.powi(2) / (a.n() as f64 * mean_a.powi(4))
        }
    };
    let sides = [a, b].map(|arm| (arm.n(), arm.variance()));
    finish(sides, [mean_a, mean_b], mean_a, variance, scale)
}

/// The absolute effect of b against a where the metric is a share: each unit's value is its linearised share, 1 for a unit that did
/// it and 0 for one that did not.
///
/// Where an arm has no variance, since none of its units did it or all of them, and the shares differ, the difference is as observed,
/// and its variance is that after one unit that did it and one that did not are added to either arm ("plus four": Agresti and Caffo,
/// *Simple and effective confidence intervals for proportions and differences of proportions result from adding two successes and two
/// failures*, The American Statistician 54(4), 2000). An arm that never fails is the healthy state: harm beside it must be told.
/// Two arms that are alike and without variance stay [`NotEstimable::ZeroVariance`].
pub fn estimate_shares(a: &MeanSums, b: &MeanSums) -> Result<Estimate, NotEstimable> {
    match estimate(a, b, Scale::Absolute) {
        Err(NotEstimable::ZeroVariance) if a.n >= 2 && b.n >= 2 && a.mean() != b.mean() => {}
        other => return other,
    }
    let effect = b.mean() - a.mean();
    let [a, b] = [a, b].map(|arm| {
        let mut widened = *arm;
        widened.merge(&MeanSums::of([0.0, 1.0]));
        widened
    });
    let estimate = estimate(&a, &b, Scale::Absolute)?;
    Ok(Estimate { effect, units: estimate.units - 4, ..estimate })
}

/// Two arms adjusted by what was known of each unit before the experiment (CUPED: Deng et al. 2013).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cuped {
    a: CupedSums,
    b: CupedSums,
    /// θ = cov(Y, X)/var(X) pooled over both arms; 0 where either has no variance, and then nothing is adjusted.
    pub theta: f64,
}

/// One adjusted arm.
struct Adjusted<'a> {
    sums: &'a CupedSums,
    theta: f64,
}

impl Adjusted<'_> {
    fn mean(&self) -> f64 {
        self.sums.post().mean() - self.theta * self.sums.pre().mean()
    }

    /// s²_Y + θ²s²_X − 2θ·s_XY.
    fn variance(&self) -> f64 {
        self.sums.post().variance() + self.theta.powi(2) * self.sums.pre().variance()
            - 2.0 * self.theta * self.sums.covariance()
    }
}

impl Cuped {
    /// Pools θ over both arms.
    pub fn new(a: CupedSums, b: CupedSums) -> Self {
        let mut pooled = a;
        pooled.merge(&b);
        let (variance, covariance) = (pooled.pre().variance(), pooled.covariance());
        let theta = if variance > 0.0 && pooled.post().variance() > 0.0 { covariance / variance } else { 0.0 };
        Self { a, b, theta }
    }

    /// The adjusted effect of b against a.
    pub fn estimate(&self, scale: Scale) -> Result<Estimate, NotEstimable> {
        let theta = self.theta;
        let [a, b] = [&self.a, &self.b].map(|sums| Adjusted { sums, theta });
        let (n_a, n_b) = (self.a.n as f64, self.b.n as f64);
        let post_a: MeanSums = self.a.post();
        let (base, mean_b) = (post_a.mean(), self.b.post().mean());
        let variance = match scale {
            Scale::Absolute => b.variance() / n_b + a.variance() / n_a,
            Scale::Relative => {
                // The baseline below the effect is not adjusted, so that a's post and adjusted means both vary.
                let lift = mean_b / base;
                let control = post_a.variance() * lift.powi(2) - 2.0 * theta * self.a.covariance() * lift
                    + theta.powi(2) * self.a.pre().variance();
                b.variance() / (n_b * base.powi(2)) + control / (n_a * base.powi(2))
            }
        };
        finish([(self.a.n, a.variance()), (self.b.n, b.variance())], [a.mean(), b.mean()], base, variance, scale)
    }
}

fn finish(
    [(n_a, variance_a), (n_b, variance_b)]: [(u64, f64); 2],
    [mean_a, mean_b]: [f64; 2],
    base: f64,
    variance: f64,
    scale: Scale,
) -> Result<Estimate, NotEstimable> {
    if n_a == 0 || n_b == 0 {
        return Err(NotEstimable::EmptyArm);
    }
    // Rounding can leave a constant metric with a variance below zero.
    let positive = |variance: f64| variance > 0.0;
    if n_a < 2 || n_b < 2 || !positive(variance_a) || !positive(variance_b) {
        return Err(NotEstimable::ZeroVariance);
    }
    if mean_a == 0.0 || base == 0.0 {
        return Err(NotEstimable::ZeroBaseline);
    }
    if !positive(variance) || !variance.is_finite() {
        return Err(NotEstimable::ZeroVariance);
    }
    let (share_a, share_b) = (variance_a / n_a as f64, variance_b / n_b as f64);
    let dof = (share_a + share_b).powi(2) / (share_a.powi(2) / (n_a - 1) as f64 + share_b.powi(2) / (n_b - 1) as f64);
    let unit = base.abs();
    let (effect, relative_unit) = match scale {
        Scale::Absolute => (mean_b - mean_a, unit),
        Scale::Relative => ((mean_b - mean_a) / unit, 1.0),
    };
    Ok(Estimate { effect, std_err: variance.sqrt(), dof, units: n_a + n_b, relative_unit })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::{Proportion, RatioSums};

    #[test]
    fn what_cannot_be_estimated_says_why() {
        let share = |n, successes| Proportion { n, successes };
        let of = |a: &Proportion, b: &Proportion| estimate(a, b, Scale::Relative).unwrap_err();
        assert_eq!(of(&share(500, 0.0), &share(500, 7.0)), NotEstimable::ZeroVariance);
        assert_eq!(of(&share(500, 5.0), &share(0, 0.0)), NotEstimable::EmptyArm);
        let means = [MeanSums::of([-1.0, 1.0]), MeanSums::of([1.0, 2.0])];
        assert_eq!(estimate(&means[0], &means[1], Scale::Absolute), Err(NotEstimable::ZeroBaseline));
        let constant = MeanSums::of([3.0; 10]);
        assert_eq!(estimate(&constant, &constant, Scale::Absolute), Err(NotEstimable::ZeroVariance));
    }

    #[test]
    fn shares_of_which_one_has_no_variance_are_estimated_with_one_more_success_and_failure() {
        let of = |n: u64, successes: f64| MeanSums { n, sum: successes, sum_squares: successes };
        let found = estimate_shares(&of(500, 0.0), &of(400, 80.0)).unwrap();
        assert_eq!((found.effect, found.units), (0.2, 900));
        // By hand: 1/502 and 81/402, each p(1 − p)/(n + 1).
        let variance = |p: f64, n: f64| p * (1.0 - p) / (n + 1.0);
        let expected = (variance(1.0 / 502.0, 500.0) + variance(81.0 / 402.0, 400.0)).sqrt();
        assert!((found.std_err - expected).abs() < 1e-12, "{found:?} {expected}");
        for (a, b) in [(of(500, 0.0), of(500, 500.0)), (of(500, 500.0), of(500, 0.0)), (of(500, 3.0), of(90, 90.0))] {
            assert!(estimate_shares(&a, &b).unwrap().confidence_sequence(0.05, 5_000.0).excludes_zero());
        }
        // One failure of 500 is not yet harm.
        let one = estimate_shares(&of(500, 0.0), &of(500, 1.0)).unwrap();
        assert!(!one.welch(0.05).excludes_zero());
        for same in [0.0, 500.0] {
            assert_eq!(estimate_shares(&of(500, same), &of(500, same)), Err(NotEstimable::ZeroVariance));
        }
        assert_eq!(estimate_shares(&of(0, 0.0), &of(500, 1.0)), Err(NotEstimable::EmptyArm));
        // Where both vary it is the plain estimate.
        assert_eq!(
            estimate_shares(&of(500, 5.0), &of(90, 9.0)),
            estimate(&of(500, 5.0), &of(90, 9.0), Scale::Absolute)
        );
    }

    #[test]
    fn a_covariate_without_variance_adjusts_nothing() {
        let post = |values: [f64; 4]| (CupedSums::of(values.map(|value| (value, 7.0))), MeanSums::of(values));
        let ((a, plain_a), (b, plain_b)) = (post([1.0, 2.0, 4.0, 8.0]), post([2.0, 3.0, 9.0, 1.0]));
        let cuped = Cuped::new(a, b);
        assert_eq!(cuped.theta, 0.0);
        for scale in [Scale::Absolute, Scale::Relative] {
            let (adjusted, plain) = (cuped.estimate(scale).unwrap(), estimate(&plain_a, &plain_b, scale).unwrap());
            assert!((adjusted.effect - plain.effect).abs() < 1e-12 && (adjusted.std_err - plain.std_err).abs() < 1e-12);
        }
    }

    #[test]
    fn correlated_rides_of_a_rider_widen_the_interval() {
        // Each rider's four rides have the same error: analysed by ride, there seem to be four times as many.
        let errors = [10.0, 40.0, 25.0, 5.0, 60.0, 30.0];
        let clustered = RatioSums::of(errors.map(|error| (4.0 * error, 4.0)));
        let naive = MeanSums::of(errors.iter().flat_map(|error| [*error; 4]));
        let wide = estimate(&clustered, &clustered, Scale::Absolute).unwrap().std_err;
        let narrow = estimate(&naive, &naive, Scale::Absolute).unwrap().std_err;
        assert!((1.9..2.3).contains(&(wide / narrow)), "{wide} against {narrow}");
    }
}
