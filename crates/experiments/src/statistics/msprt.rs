//! The mixture sequential probability ratio test (Johari et al., <https://arxiv.org/abs/1512.04922>).

use super::Interval;

/// What the test says of an effect now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Msprt {
    /// How much likelier the data are under the mixture of effects than without any.
    pub likelihood_ratio: f64,
    /// The interval, and the p-value of this look; the always-valid p-value is the least of all looks so far.
    pub interval: Interval,
}

/// The test of `effect` with the variance `variance` (its standard error squared), against normal effects of variance
/// `tau_squared`. With τ² = ρ²·V·N it is [`super::Estimate::confidence_sequence`].
pub fn msprt(effect: f64, variance: f64, tau_squared: f64, alpha: f64) -> Msprt {
    let total = variance + tau_squared;
    let log_ratio = 0.5 * (variance / total).ln() + tau_squared * effect * effect / (2.0 * variance * total);
    let half_width = (2.0 * variance * total / tau_squared * ((total / variance).sqrt() / alpha).ln()).sqrt();
    Msprt {
        likelihood_ratio: log_ratio.exp(),
        interval: Interval {
            lower: effect - half_width,
            upper: effect + half_width,
            p_value: (-log_ratio).exp().min(1.0),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::{DEFAULT_TUNING, Estimate};

    #[test]
    fn it_is_the_confidence_sequence_for_its_mixture() {
        let estimate = Estimate { effect: 0.2, std_err: 0.07, dof: 900.0, units: 1_000, relative_unit: 1.0 };
        let alpha: f64 = 0.05;
        let log = -2.0 * alpha.ln();
        let tau_squared = (log + (1.0 + log).ln()) / DEFAULT_TUNING * estimate.std_err.powi(2) * 1_000.0;
        let sequence = estimate.confidence_sequence(alpha, DEFAULT_TUNING);
        let mixture = msprt(0.2, 0.07_f64.powi(2), tau_squared, alpha).interval;
        assert!((sequence.lower - mixture.lower).abs() < 1e-12 && (sequence.p_value - mixture.p_value).abs() < 1e-12);
    }
}
