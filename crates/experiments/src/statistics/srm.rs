//! Sample ratio mismatch: whether the arms got the shares of units that they were promised. It comes before any figure of
//! an experiment, since whatever loses units of one arm also biases the rest.

use super::special::{chi_squared_sf, ln_gamma};
use crate::ExperimentsError;

/// The p-value below which [`SampleRatio::alarm`] tells a mismatch, where no other is asked for.
pub const SRM_THRESHOLD: f64 = 0.001;

/// Each arm is expected to have as many units at least: below, χ² is no good approximation.
pub const SRM_MIN_UNITS: f64 = 8.0;

/// The concentration of [`sequential_srm`]'s Dirichlet mixture where none is given.
pub const DEFAULT_CONCENTRATION: f64 = 10_000.0;

/// Pearson's χ² of the arms' units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleRatio {
    /// Σ(o − e)²/e.
    pub statistic: f64,
    /// Its p-value with one degree of freedom less than arms.
    pub p_value: f64,
    /// The smallest expected number of units of an arm.
    pub least_expected: f64,
}

impl SampleRatio {
    /// Whether to distrust the experiment.
    pub fn alarm(&self, threshold: f64) -> bool {
        self.p_value < threshold && self.least_expected >= SRM_MIN_UNITS
    }
}

/// The test of units `observed` by arm against `weights` of any sum. `None` without a unit. An arm without weight is left
/// out of the statistic, as GrowthBook does.
pub fn sample_ratio(observed: &[f64], weights: &[f64]) -> Result<Option<SampleRatio>, ExperimentsError> {
    check("observed", observed)?;
    check("weights", weights)?;
    if observed.len() != weights.len() || observed.len() < 2 {
        return Err(ExperimentsError::invalid("weights", "must be as many as observed, and at least 2"));
    }
    let (units, weight): (f64, f64) = (observed.iter().sum(), weights.iter().sum());
    if weight <= 0.0 {
        return Err(ExperimentsError::invalid("weights", "must not all be 0"));
    }
    if units <= 0.0 {
        return Ok(None);
    }
    let expected = |share: f64| share / weight * units;
    let weighted = || observed.iter().zip(weights).filter(|(_, weight)| **weight > 0.0);
    let statistic = weighted().map(|(observed, share)| (observed - expected(*share)).powi(2) / expected(*share)).sum();
    let least_expected = weighted().map(|(_, share)| expected(*share)).fold(f64::INFINITY, f64::min);
    let p_value = chi_squared_sf(statistic, (observed.len() - 1) as f64);
    Ok(Some(SampleRatio { statistic, p_value, least_expected }))
}

/// The always-valid p-values after each block of units (Lindon and Malek, <https://arxiv.org/abs/2011.03567>): with BF the
/// Bayes factor of a Dirichlet mixture around `probabilities` against them, p is the least 1/BF so far. One may look after
/// every block, and alarms falsely with probability `threshold` at most, ever.
pub fn sequential_srm(
    probabilities: &[f64],
    blocks: &[Vec<f64>],
    concentration: f64,
) -> Result<Vec<f64>, ExperimentsError> {
    check("null_probabilities", probabilities)?;
    let sum: f64 = probabilities.iter().sum();
    if probabilities.len() < 2 || probabilities.contains(&0.0) {
        return Err(ExperimentsError::invalid("null_probabilities", "must be at least 2, each above 0"));
    }
    if !(concentration > 0.0 && concentration.is_finite()) {
        return Err(ExperimentsError::invalid("dirichlet_concentration", "must be above 0"));
    }
    let probabilities: Vec<f64> = probabilities.iter().map(|share| share / sum).collect();
    let mut units = vec![0.0; probabilities.len()];
    let mut least = 1.0_f64;
    let mut p_values = Vec::with_capacity(blocks.len());
    for block in blocks {
        check("blocks", block)?;
        if block.len() != units.len() {
            return Err(ExperimentsError::invalid("blocks", "each must have as many arms as null_probabilities"));
        }
        for (total, more) in units.iter_mut().zip(block) {
            *total += more;
        }
        let all: f64 = units.iter().sum();
        let mut log_factor = ln_gamma(concentration) - ln_gamma(concentration + all);
        for (share, units) in probabilities.iter().zip(&units) {
            let alpha = concentration * share;
            log_factor += ln_gamma(alpha + units) - ln_gamma(alpha) - units * share.ln();
        }
        least = least.min((-log_factor).exp());
        p_values.push(least);
    }
    Ok(p_values)
}

fn check(field: &'static str, values: &[f64]) -> Result<(), ExperimentsError> {
    if values.iter().all(|value| value.is_finite() && *value >= 0.0) {
        Ok(())
    } else {
        Err(ExperimentsError::invalid(field, "must be finite and not negative"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_units_raise_no_alarm() {
        let few = sample_ratio(&[12.0, 0.0], &[0.5, 0.5]).unwrap().unwrap();
        assert!(few.p_value < 0.001 && !few.alarm(SRM_THRESHOLD));
        let more = sample_ratio(&[120.0, 40.0], &[1.0, 1.0]).unwrap().unwrap();
        assert!(more.alarm(SRM_THRESHOLD));
        assert_eq!(sample_ratio(&[0.0, 0.0], &[1.0, 1.0]).unwrap(), None);
    }

    #[test]
    fn what_is_no_count_is_refused() {
        assert!(sample_ratio(&[1.0, -1.0], &[1.0, 1.0]).is_err());
        assert!(sample_ratio(&[1.0, 1.0], &[1.0]).is_err());
        assert!(sequential_srm(&[0.5, 0.5], &[vec![1.0]], 10.0).is_err());
        assert!(sequential_srm(&[1.0, 0.0], &[], 10.0).is_err());
    }
}
