//! Conformal prediction: intervals that hold the truth as often as they say, whatever the model.

use std::collections::VecDeque;

use crate::{EvaluationError, regression::same_length};

/// The score that calibrated intervals are widened by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConformalQuantile {
    /// Its rank among the calibration scores, ⌈(n + 1)·confidence⌉.
    pub k: usize,
    /// The k-th smallest score; `None` where k > n: too few scores for this confidence, so that only an infinite interval
    /// would keep it.
    pub quantile: Option<f64>,
}

/// The quantile of `scores` for intervals with the probability `confidence`, above 0 and below 1.
pub fn conformal_quantile(scores: &[f64], confidence: f64) -> Result<ConformalQuantile, EvaluationError> {
    if !(confidence > 0.0 && confidence < 1.0) {
        return Err(EvaluationError::input("confidence", "must lie between 0 and 1"));
    }
    if scores.iter().any(|score| score.is_nan()) {
        return Err(EvaluationError::input("scores", "must be numbers"));
    }
    let k = rank(scores.len(), confidence).max(1);
    let mut sorted = scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    Ok(ConformalQuantile { k, quantile: sorted.get(k - 1).copied() })
}

fn rank(n: usize, confidence: f64) -> usize {
    ((n + 1) as f64 * confidence).ceil() as usize
}

/// The scores of split conformal prediction, |actual − predicted|: the interval is the prediction ± the quantile.
pub fn absolute_scores(actual: &[f64], predicted: &[f64]) -> Result<Vec<f64>, EvaluationError> {
    same_length(&[("cal_actual", actual), ("cal_predicted", predicted)])?;
    Ok(actual.iter().zip(predicted).map(|(actual, predicted)| (actual - predicted).abs()).collect())
}

/// The scores of conformalised quantile regression (Romano et al. 2019), max(lower − actual, actual − upper): the interval
/// is [lower − quantile, upper + quantile]. A negative quantile makes it narrower.
pub fn quantile_scores(actual: &[f64], lower: &[f64], upper: &[f64]) -> Result<Vec<f64>, EvaluationError> {
    same_length(&[("cal_actual", actual), ("cal_lower", lower), ("cal_upper", upper)])?;
    Ok(actual
        .iter()
        .zip(lower)
        .zip(upper)
        .map(|((actual, lower), upper)| (lower - actual).max(actual - upper))
        .collect())
}

/// Adaptive conformal inference (Gibbs and Candès 2021): α follows what the intervals really miss, so that coverage holds
/// in the long run also where the world drifts. Scores come in event-time order, as their outcomes land.
#[derive(Debug, Clone, PartialEq)]
pub struct AdaptiveConformal {
    target_alpha: f64,
    gamma: f64,
    window: usize,
    min_scores: usize,
    alpha: f64,
    scores: VecDeque<f64>,
    /// The same, ascending.
    sorted: Vec<f64>,
}

/// One prediction of [`AdaptiveConformal`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdaptiveStep {
    /// α that the interval was made with.
    pub alpha: f64,
    /// The score up to which it reached; `None` is an infinite interval.
    pub quantile: Option<f64>,
    /// Whether the truth lay outside.
    pub missed: bool,
}

impl AdaptiveConformal {
    /// With α's target, the step γ, how many past scores a quantile is of, and how many it takes to begin.
    pub fn new(target_alpha: f64, gamma: f64, window: usize, min_scores: usize) -> Result<Self, EvaluationError> {
        if !(target_alpha > 0.0 && target_alpha < 1.0) {
            return Err(EvaluationError::input("target_alpha", "must lie between 0 and 1"));
        }
        if !(gamma >= 0.0 && gamma.is_finite()) {
            return Err(EvaluationError::input("gamma", "must be finite and not negative"));
        }
        if window == 0 {
            return Err(EvaluationError::input("window", "must be at least 1"));
        }
        Ok(Self {
            target_alpha,
            gamma,
            window,
            min_scores,
            alpha: target_alpha,
            scores: VecDeque::new(),
            sorted: Vec::new(),
        })
    }

    /// α for the next prediction. It may leave 0 to 1 for a while.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// The scores that quantiles are of, ascending.
    pub fn sorted_scores(&self) -> &[f64] {
        &self.sorted
    }

    /// The next interval's reach, before its truth is known; `None` is infinite.
    pub fn quantile(&self) -> Option<f64> {
        let k = (self.sorted.len() + 1) as f64 * (1.0 - self.alpha);
        if k <= 0.0 {
            // An α of 1 and more asks for the narrowest interval there is: no reach, or less where scores are signed.
            return Some(self.sorted.first().map_or(0.0, |least| least.min(0.0)));
        }
        self.sorted.get(k.ceil() as usize - 1).copied()
    }

    /// Takes the score of the next truth; `None` while there were too few scores for an interval.
    pub fn update(&mut self, score: f64) -> Option<AdaptiveStep> {
        let step = (self.scores.len() >= self.min_scores.min(self.window)).then(|| {
            let quantile = self.quantile();
            AdaptiveStep { alpha: self.alpha, quantile, missed: quantile.is_some_and(|quantile| score > quantile) }
        });
        if let Some(step) = step {
            self.alpha += self.gamma * (self.target_alpha - f64::from(u8::from(step.missed)));
        }
        self.scores.push_back(score);
        self.sorted.insert(self.sorted.partition_point(|known| known.total_cmp(&score).is_lt()), score);
        if self.scores.len() > self.window
            && let Some(oldest) = self.scores.pop_front()
        {
            self.sorted.remove(self.sorted.partition_point(|known| known.total_cmp(&oldest).is_lt()));
        }
        step
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn too_few_scores_make_no_finite_interval() {
        assert_eq!(conformal_quantile(&[1.0; 8], 0.9).unwrap(), ConformalQuantile { k: 9, quantile: None });
        assert_eq!(conformal_quantile(&[1.0; 9], 0.9).unwrap(), ConformalQuantile { k: 9, quantile: Some(1.0) });
        assert!(conformal_quantile(&[1.0], 1.0).is_err());
        assert!(AdaptiveConformal::new(0.1, 0.02, 0, 10).is_err());
    }

    #[test]
    fn exchangeable_scores_are_covered_as_promised() {
        // `examples/conformal_coverage` does the same with more.
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(8);
        let mut score = || -(1.0 - random.random::<f64>()).ln();
        let (mut covered, mut all) = (0_u32, 0_u32);
        for _ in 0..500 {
            let calibration: Vec<f64> = (0..99).map(|_| score()).collect();
            let quantile = conformal_quantile(&calibration, 0.9).unwrap().quantile.unwrap();
            for _ in 0..40 {
                covered += u32::from(score() <= quantile);
                all += 1;
            }
        }
        let share = f64::from(covered) / f64::from(all);
        assert!((0.89..0.91).contains(&share), "{share}");
    }

    #[test]
    fn adaptive_intervals_cover_while_errors_grow() {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let mut conformal = AdaptiveConformal::new(0.1, 0.02, 500, 50).unwrap();
        let (mut missed, mut steps) = (0_u32, 0_u32);
        for index in 0..5_000 {
            let growth = 1.0 + f64::from(index) / 1_000.0;
            if let Some(step) = conformal.update(growth * random.random::<f64>()) {
                missed += u32::from(step.missed);
                steps += 1;
            }
        }
        let share = f64::from(missed) / f64::from(steps);
        assert!((0.09..0.11).contains(&share), "{share}");
    }

    proptest! {
        #[test]
        fn k_scores_at_least_lie_within(scores in prop::collection::vec(0.0..100.0_f64, 1..60), confidence in 0.05..0.99) {
            let found = conformal_quantile(&scores, confidence).unwrap();
            if let Some(quantile) = found.quantile {
                prop_assert!(scores.iter().filter(|score| **score <= quantile).count() >= found.k);
            } else {
                prop_assert!(found.k > scores.len());
            }
        }
    }
}
