//! Planning: how many units a comparison needs, and for how long.

use super::{
    Sides, confidence_sequence_critical_value,
    special::{normal_isf, normal_sf},
};
use crate::ExperimentsError;

/// How the experiment will be judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Look {
    /// Once, at the end (Welch; its t is the normal for the sizes worth planning).
    Fixed(Sides),
    /// At any time, by the confidence sequence with this tuning N*. Its power is told for the end alone, so that earlier
    /// looks only add to it.
    AnyTime {
        /// N*.
        tuning: f64,
    },
}

/// What is planned. Variances are of one randomised unit (of a ratio metric: by the delta method), on the effect's scale:
/// for a relative effect, over the squared baseline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// The variance of a unit in the control.
    pub variance_a: f64,
    /// The variance of a unit in the treatment.
    pub variance_b: f64,
    /// The share of units that get the treatment, above 0 and below 1.
    pub share_b: f64,
    /// The least effect worth finding; its sign does not matter.
    pub effect: f64,
    /// α.
    pub alpha: f64,
    /// How it is judged.
    pub look: Look,
}

impl Plan {
    /// The probability to find the effect with `units` in both arms together.
    pub fn power(&self, units: f64) -> f64 {
        let z = self.effect.abs() / (self.variance_per_unit() / units).sqrt();
        match self.look {
            Look::Fixed(Sides::One) => normal_sf(normal_isf(self.alpha) - z),
            Look::Fixed(Sides::Two) => two_sided(normal_isf(0.5 * self.alpha), z),
            Look::AnyTime { tuning } => two_sided(confidence_sequence_critical_value(units, self.alpha, tuning), z),
        }
    }

    /// The fewest units in both arms together with at least this power.
    pub fn units_for(&self, power: f64) -> Result<u64, ExperimentsError> {
        self.check()?;
        if !(power > 0.0 && power < 1.0) {
            return Err(ExperimentsError::invalid("power", "must lie between 0 and 1"));
        }
        let (mut low, mut high) = (1_u64, 2_u64);
        while self.power(high as f64) < power {
            low = high;
            high = high.checked_mul(2).ok_or(ExperimentsError::invalid("effect", "is too small to be ever found"))?;
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.power(middle as f64) < power { low = middle } else { high = middle }
        }
        Ok(high)
    }

    /// The least effect found with this power and so many `units`.
    pub fn detectable_effect(&self, units: f64, power: f64) -> Result<f64, ExperimentsError> {
        Self { effect: 1.0, ..*self }.check()?;
        if !(power > 0.0 && power < 1.0 && units > 1.0) {
            return Err(ExperimentsError::invalid("power", "must lie between 0 and 1, with more than one unit"));
        }
        let std_err = (self.variance_per_unit() / units).sqrt();
        let (mut low, mut high) = (0.0, 100.0 * std_err);
        for _ in 0..100 {
            let effect = 0.5 * (low + high);
            if (Self { effect, ..*self }).power(units) < power { low = effect } else { high = effect }
        }
        Ok(high)
    }

    fn variance_per_unit(&self) -> f64 {
        self.variance_a / (1.0 - self.share_b) + self.variance_b / self.share_b
    }

    fn check(&self) -> Result<(), ExperimentsError> {
        let between = |value: f64| value > 0.0 && value < 1.0;
        if !between(self.alpha) {
            return Err(ExperimentsError::invalid("alpha", "must lie between 0 and 1"));
        }
        if !between(self.share_b) {
            return Err(ExperimentsError::invalid("share_b", "must lie between 0 and 1"));
        }
        let variance = self.variance_per_unit();
        if !(variance > 0.0 && variance.is_finite()) {
            return Err(ExperimentsError::invalid("variance", "must be above 0"));
        }
        if self.effect == 0.0 || !self.effect.is_finite() {
            return Err(ExperimentsError::invalid("effect", "must not be 0"));
        }
        Ok(())
    }
}

fn two_sided(critical: f64, z: f64) -> f64 {
    normal_sf(critical - z) + normal_sf(critical + z)
}

/// Whole days until `units` are there, at `units_per_day` new ones a day.
pub fn duration_days(units: u64, units_per_day: f64) -> Result<u64, ExperimentsError> {
    if units_per_day > 0.0 && units_per_day.is_finite() {
        Ok((units as f64 / units_per_day).ceil() as u64)
    } else {
        Err(ExperimentsError::invalid("units_per_day", "must be above 0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan {
        variance_a: 1.0,
        variance_b: 1.0,
        share_b: 0.5,
        effect: 0.2,
        alpha: 0.05,
        look: Look::Fixed(Sides::Two),
    };

    #[test]
    fn the_textbooks_size() {
        // (1.95996 + 0.84162)²·2·2/0.2² = 784.9 for both arms.
        assert_eq!(PLAN.units_for(0.8).unwrap(), 785);
        assert!((PLAN.detectable_effect(785.0, 0.8).unwrap() - 0.2).abs() < 1e-4);
        assert_eq!(duration_days(785, 100.0).unwrap(), 8);
    }

    #[test]
    fn looking_at_any_time_costs_units() {
        let any_time = Plan { look: Look::AnyTime { tuning: 5_000.0 }, ..PLAN };
        let units = any_time.units_for(0.8).unwrap();
        assert!((1_200..2_400).contains(&units), "{units}");
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Plan { effect: 0.0, ..PLAN }.units_for(0.8).is_err());
        assert!(Plan { share_b: 1.0, ..PLAN }.units_for(0.8).is_err());
        assert!(PLAN.units_for(1.0).is_err());
        assert!(duration_days(1, 0.0).is_err());
    }
}
