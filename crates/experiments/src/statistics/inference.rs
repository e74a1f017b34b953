//! Intervals, tests and posteriors of an [`Estimate`].

use super::{
    Estimate,
    special::{normal_cdf, normal_isf, normal_pdf, normal_sf, t_isf, t_sf},
};

/// N* of [`Estimate::confidence_sequence`] where none is given: it is narrowest about this many units.
pub const DEFAULT_TUNING: f64 = 5_000.0;

/// An interval and the p-value of "no effect" that agrees with it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The lower end; −∞ for a one-sided "lesser".
    pub lower: f64,
    /// The upper end; ∞ for a one-sided "greater".
    pub upper: f64,
    /// The p-value.
    pub p_value: f64,
}

impl Interval {
    fn around(effect: f64, half_width: f64, p_value: f64) -> Self {
        Self { lower: effect - half_width, upper: effect + half_width, p_value }
    }

    /// Whether 0 lies outside.
    pub fn excludes_zero(&self) -> bool {
        self.lower > 0.0 || self.upper < 0.0
    }
}

/// What is believed of an effect after the data, where a normal prior was believed before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Posterior {
    /// The mean.
    pub effect: f64,
    /// The central interval of mass 1 − α.
    pub interval: [f64; 2],
    /// P(effect > 0).
    pub chance_to_win: f64,
    /// What is lost on average by keeping a, and by taking b: E[max(δ, 0)] and E[max(−δ, 0)].
    pub risk: [f64; 2],
}

impl Estimate {
    /// The two-sided fixed-horizon test and interval (Welch). Valid at **one** look that was fixed beforehand.
    pub fn welch(&self, alpha: f64) -> Interval {
        let p_value = 2.0 * t_sf(self.t().abs(), self.dof);
        Interval::around(self.effect, t_isf(0.5 * alpha, self.dof) * self.std_err, p_value)
    }

    /// The one-sided test of "b is not greater".
    pub fn greater(&self, alpha: f64) -> Interval {
        let lower = self.effect - t_isf(alpha, self.dof) * self.std_err;
        Interval { lower, upper: f64::INFINITY, p_value: t_sf(self.t(), self.dof) }
    }

    /// The one-sided test of "b is not lesser".
    pub fn lesser(&self, alpha: f64) -> Interval {
        let upper = self.effect + t_isf(alpha, self.dof) * self.std_err;
        Interval { lower: f64::NEG_INFINITY, upper, p_value: t_sf(-self.t(), self.dof) }
    }

    /// The asymptotic confidence sequence (Waudby-Smith et al., <https://arxiv.org/abs/2103.06476>): with probability
    /// 1 − α the effect lies in all of its intervals at once, so that one may look, and stop, at any time. `tuning` is N*.
    pub fn confidence_sequence(&self, alpha: f64, tuning: f64) -> Interval {
        let n = self.units as f64;
        let rho_squared = rho_squared(alpha, tuning);
        let k = n * rho_squared + 1.0;
        let half_width = self.std_err * confidence_sequence_critical_value(n, alpha, tuning);
        let exponent = rho_squared * n * self.effect.powi(2) / (2.0 * k * self.std_err.powi(2));
        Interval::around(self.effect, half_width, (k.sqrt() * (-exponent).exp()).min(1.0))
    }

    /// The posterior under a normal prior of *relative* effects with mean 0 and this standard deviation; `None` is the
    /// flat prior.
    pub fn posterior(&self, relative_prior_sd: Option<f64>, alpha: f64) -> Posterior {
        let precision = self.std_err.powi(-2);
        let prior = relative_prior_sd.map_or(0.0, |sd| (sd * self.relative_unit).powi(-2));
        let effect = self.effect * precision / (precision + prior);
        let sd = (precision + prior).recip().sqrt();
        let half_width = normal_isf(0.5 * alpha) * sd;
        let z = effect / sd;
        let gain = effect * normal_cdf(z) + sd * normal_pdf(z);
        let loss = sd * normal_pdf(z) - effect * normal_sf(z);
        Posterior {
            effect,
            interval: [effect - half_width, effect + half_width],
            chance_to_win: normal_cdf(z),
            risk: [gain, loss],
        }
    }

    fn t(&self) -> f64 {
        self.effect / self.std_err
    }
}

fn rho_squared(alpha: f64, tuning: f64) -> f64 {
    let log = -2.0 * alpha.ln();
    (log + log.ln_1p()) / tuning
}

/// How many standard errors the confidence sequence is wide to either side at `n` units.
pub fn confidence_sequence_critical_value(n: f64, alpha: f64, tuning: f64) -> f64 {
    let growth = n * rho_squared(alpha, tuning);
    let k = growth + 1.0;
    (2.0 * k / growth * (k.sqrt() / alpha).ln()).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ESTIMATE: Estimate = Estimate { effect: 2.0, std_err: 0.8, dof: 500.0, units: 4_000, relative_unit: 10.0 };

    #[test]
    fn an_interval_excludes_zero_where_its_p_value_is_below_alpha() {
        for effect in [-3.0, -1.6, -1.5, 0.0, 0.4, 1.5, 1.6, 2.2, 2.4, 3.0] {
            let estimate = Estimate { effect, ..ESTIMATE };
            for interval in [estimate.welch(0.05), estimate.confidence_sequence(0.05, DEFAULT_TUNING)] {
                assert_eq!(interval.excludes_zero(), interval.p_value < 0.05, "{effect}: {interval:?}");
            }
            assert_eq!(estimate.greater(0.05).lower > 0.0, estimate.greater(0.05).p_value < 0.05);
            assert_eq!(estimate.lesser(0.05).upper < 0.0, estimate.lesser(0.05).p_value < 0.05);
        }
    }

    #[test]
    fn a_prior_shrinks_and_a_wide_one_does_not() {
        let flat = ESTIMATE.posterior(None, 0.05);
        let wide = ESTIMATE.posterior(Some(1e6), 0.05);
        let narrow = ESTIMATE.posterior(Some(0.01), 0.05);
        assert!((flat.effect - wide.effect).abs() < 1e-9);
        assert!(narrow.effect < 0.1 * flat.effect);
        assert!((flat.risk[0] - flat.risk[1] - flat.effect).abs() < 1e-12);
    }
}
