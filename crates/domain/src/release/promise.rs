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
    /// What it costs where the car arrives later than shown, per unit of time.
    pub late_cost: f64,
    /// What it costs where it arrives earlier than shown, per unit of time. The shown value is the quantile `late / (late + early)` of the
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
    /// Of a larger change this share is shown at once, above 0 and at most 1.
    pub share: f64,
}

/// What is promised for one prediction, in its unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Promise {
    /// The interval's lower end.
    pub lower: f64,
    /// The interval's upper end.
    pub upper: f64,
    /// What is shown.
    pub shown: f64,
}

/// Probabilities that come of arithmetic on decimal shares are off by the last digit.
const PROBABILITY_TOLERANCE: f64 = 1e-9;

impl PromisePolicy {
    /// The promise for a prediction whose rider was shown `last_shown` before, where known. `bounded` keeps a number within
    /// the prediction's bounds (it must not decrease anywhere).
    ///
    /// With residuals R of the calibration, the interval is prediction + the quantiles (1 ∓ interval)/2 of R, and the shown
    /// value prediction + the quantile late/(late + early): the s that makes E[late·(A − s)⁺ + early·(s − A)⁺] least, where
    /// A is the actual (the newsvendor's critical fractile; Koenker & Bassett 1978).
    pub fn promise(&self, prediction: f64, last_shown: Option<f64>, bounded: impl Fn(f64) -> f64) -> Promise {
        let at = |probability: f64| bounded(prediction + self.residual(probability));
        let [lower, upper, best] = self.probabilities().map(at);
        let shown = match (&self.damping, last_shown) {
            (Some(damping), Some(last)) => bounded(damping.damped(last, best)),
            _ => best,
        };
        Promise { lower, upper, shown }
    }

    /// The probabilities of the interval's ends and of the shown value.
    fn probabilities(&self) -> [f64; 3] {
        let outside = 1.0 - self.interval;
        [outside / 2.0, 1.0 - outside / 2.0, self.late_cost / (self.late_cost + self.early_cost)]
    }

    /// The residual's quantile: linear between the calibration's points.
    fn residual(&self, probability: f64) -> f64 {
        let above = self.calibration.partition_point(|point| point.probability < probability);
        let point = |index: usize| self.calibration.get(index).copied();
        match (above.checked_sub(1).and_then(point), point(above)) {
            (Some(a), Some(b)) => {
                let share = (probability - a.probability) / (b.probability - a.probability);
                // Of the two terms neither can overflow, and the result lies between the two residuals.
                (a.residual * (1.0 - share) + b.residual * share).clamp(a.residual, b.residual)
            }
            (Some(only), None) | (None, Some(only)) => only.residual,
            (None, None) => 0.0,
        }
    }

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
            && !(damping.dead_band >= 0.0
                && damping.dead_band.is_finite()
                && damping.share > 0.0
                && damping.share <= 1.0)
        {
            return Some("the promise's damping needs dead_band ≥ 0 and share above 0 and at most 1".to_owned());
        }
        // Beyond its points a calibration says nothing: an interval would promise more than it holds.
        let (first, last) = (self.calibration.first()?.probability, self.calibration.last()?.probability);
        let reached = first - PROBABILITY_TOLERANCE..=last + PROBABILITY_TOLERANCE;
        self.probabilities().into_iter().find(|probability| !reached.contains(probability)).map(|probability| {
            format!("the promise needs the residual's quantile {probability:.3}; its calibration reaches from {first} to {last}")
        })
    }
}

impl Damping {
    /// What is shown after `last`, where `best` is what would be shown without damping.
    fn damped(&self, last: f64, best: f64) -> f64 {
        let change = best - last;
        if change.abs() <= self.dead_band {
            last
        } else if self.share < 1.0 {
            // Not `last + share * change`: the change itself can overflow. Clamped against the last digit.
            (last * (1.0 - self.share) + best * self.share).clamp(last.min(best), last.max(best))
        } else {
            best
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(damping: Option<Damping>) -> PromisePolicy {
        let points = [(0.05, -120.0), (0.1, -60.0), (0.5, 0.0), (0.75, 30.0), (0.9, 90.0), (0.95, 200.0)];
        PromisePolicy {
            calibration: points.map(|(probability, residual)| ResidualQuantile { probability, residual }).to_vec(),
            interval: 0.8,
            late_cost: 3.0,
            early_cost: 1.0,
            damping,
        }
    }

    fn within_bounds(value: f64) -> f64 {
        value.clamp(0.0, 7200.0)
    }

    #[test]
    fn the_interval_and_the_dearer_side_come_from_the_calibration() {
        let promise = policy(None).promise(300.0, Some(1.0), within_bounds);
        assert!((promise.lower - 240.0).abs() < 1e-9 && (promise.upper - 390.0).abs() < 1e-9, "{promise:?}");
        assert!((promise.shown - 330.0).abs() < 1e-9, "late costs three times as much: {promise:?}");
        let early = PromisePolicy { late_cost: 1.0, early_cost: 9.0, ..policy(None) };
        assert!((early.promise(300.0, None, within_bounds).shown - 240.0).abs() < 1e-9);
        assert_eq!(policy(None).promise(7190.0, None, within_bounds).upper, 7200.0);
    }

    /// The shown value against a search over the calibration's own distribution.
    #[test]
    fn no_other_value_costs_less() {
        let residuals: Vec<f64> = (0..1000).map(|i| f64::from(i * i) / 2000.0 - 100.0).collect();
        let calibration = (1..100)
            .map(|i| ResidualQuantile { probability: f64::from(i) / 100.0, residual: residuals[i as usize * 10] })
            .collect();
        let policy = PromisePolicy { calibration, ..policy(None) };
        let cost = |shown: f64| -> f64 {
            residuals
                .iter()
                .map(|r| if 300.0 + r > shown { 3.0 * (300.0 + r - shown) } else { shown - 300.0 - r })
                .sum()
        };
        let shown = policy.promise(300.0, None, |value| value).shown;
        let best = (200..=700).map(f64::from).map(cost).fold(f64::INFINITY, f64::min);
        assert!(cost(shown) <= best * 1.001, "{shown}: {} over {best}", cost(shown));
    }

    #[test]
    fn a_calibration_that_does_not_reach_is_refused() {
        assert_eq!(policy(None).problem(), None);
        assert!(PromisePolicy { interval: 0.95, ..policy(None) }.problem().unwrap().contains("quantile 0.025"));
        assert!(PromisePolicy { late_cost: 99.0, ..policy(None) }.problem().unwrap().contains("quantile 0.990"));
        assert!(policy(Some(Damping { dead_band: 30.0, share: 0.0 })).problem().is_some(), "it would never follow");
    }

    fn damping() -> impl Strategy<Value = Damping> {
        (0.0..120.0, 0.05..=1.0).prop_map(|(dead_band, share)| Damping { dead_band, share })
    }

    proptest! {
        #[test]
        fn a_larger_prediction_promises_no_less(
            a in 0.0..7200.0, b in 0.0..7200.0, last in 0.0..7200.0, damping in prop::option::of(damping()),
        ) {
            let policy = policy(damping);
            let of = |prediction: f64| policy.promise(prediction, Some(last), within_bounds);
            let (small, large) = (of(f64::min(a, b)), of(f64::max(a, b)));
            prop_assert!(small.lower <= large.lower && small.upper <= large.upper && small.shown <= large.shown);
        }

        #[test]
        fn the_promise_is_ordered_and_bounded(
            prediction in 0.0..7200.0, last in prop::option::of(-1e6..1e6), damping in prop::option::of(damping()),
        ) {
            let promise = policy(damping).promise(prediction, last, within_bounds);
            for value in [promise.lower, promise.upper, promise.shown] {
                prop_assert!((0.0..=7200.0).contains(&value), "{:?}", promise);
            }
            prop_assert!(promise.lower <= promise.upper);
        }

        #[test]
        fn within_the_dead_band_nothing_changes_and_beyond_it_the_change_is_part_of_the_way(
            prediction in 0.0..7200.0, last in 0.0..7200.0, damping in damping(),
        ) {
            let best = policy(None).promise(prediction, None, within_bounds).shown;
            let shown = policy(Some(damping)).promise(prediction, Some(last), within_bounds).shown;
            if (best - last).abs() <= damping.dead_band {
                prop_assert_eq!(shown, last);
            } else {
                prop_assert!(((shown - last) - damping.share * (best - last)).abs() < 1e-9);
                prop_assert!((f64::min(last, best) - 1e-9..=f64::max(last, best) + 1e-9).contains(&shown));
            }
        }

        #[test]
        fn refreshes_of_one_prediction_settle_within_the_dead_band(
            prediction in 0.0..7200.0, last in 0.0..7200.0, damping in damping(),
        ) {
            let policy_of = policy(Some(damping));
            let best = policy(None).promise(prediction, None, within_bounds).shown;
            let mut shown = last;
            for _ in 0..400 {
                let next = policy_of.promise(prediction, Some(shown), within_bounds).shown;
                prop_assert!((next - best).abs() <= (shown - best).abs() + 1e-9);
                shown = next;
            }
            prop_assert!((shown - best).abs() <= damping.dead_band + 1e-3, "{} {}", shown, best);
        }
    }
}
