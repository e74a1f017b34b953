use serde::{Deserialize, Serialize};

/// What is shown to the rider: a policy over the prediction's uncertainty, apart from the prediction itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromisePolicy {
    /// Quantiles of the residual (actual − predicted, in the prediction's unit), rising in both numbers: the calibration
    /// that the interval and the shown value come from.
    pub calibration: Vec<ResidualQuantile>,
    /// The share of actuals that the answered interval is to cover, such as 0.8.
    pub interval: f64,
    /// What it costs to arrive late, per unit of time.
    pub late_cost: f64,
    /// What it costs to arrive early, per unit of time. The shown value is the quantile `late / (late + early)` of the
    /// prediction's distribution, which makes the expected cost least.
    pub early_cost: f64,
    /// How far the shown value may jump between refreshes of one ride.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damping: Option<Damping>,
}

/// One quantile of the residual.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResidualQuantile {
    /// The probability, 0–1.
    pub probability: f64,
    /// Actual − predicted, in the prediction's unit.
    pub residual: f64,
}

/// Display stability: the shown value follows a change of the prediction only in part.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Damping {
    /// Changes up to this, in the prediction's unit, are not shown at all.
    pub dead_band: f64,
    /// Of a larger change this share is shown at once, 0–1.
    pub share: f64,
}

impl PromisePolicy {
    /// What is wrong with it.
    pub(super) fn problem(&self) -> Option<String> {
        let probability = |value: f64| value > 0.0 && value < 1.0;
        let positive = |value: f64| value > 0.0 && value.is_finite();
        if self.calibration.is_empty() {
            return Some("the promise's calibration is empty".to_owned());
        }
        if self.calibration.iter().any(|point| !probability(point.probability) || !point.residual.is_finite()) {
            return Some("a point of the calibration has no probability within 0–1, or no finite residual".to_owned());
        }
        if self
            .calibration
            .windows(2)
            .any(|pair| pair[0].probability >= pair[1].probability || pair[0].residual > pair[1].residual)
        {
            return Some("the calibration's points do not rise".to_owned());
        }
        if !probability(self.interval) {
            return Some(format!("the promise's interval is {}, not within 0–1", self.interval));
        }
        if !(positive(self.late_cost) && positive(self.early_cost)) {
            return Some("the promise's costs must be above 0".to_owned());
        }
        if let Some(damping) = &self.damping
            && !(damping.dead_band >= 0.0 && damping.dead_band.is_finite() && (0.0..=1.0).contains(&damping.share))
        {
            return Some("the promise's damping needs dead_band ≥ 0 and share within 0–1".to_owned());
        }
        None
    }
}
