//! What the latest outcomes say for the next release: a correction, where it helps, and the residuals' quantiles that intervals
//! and shown values are made of.
//!
//! Rides are gone through in the order in which their outcomes landed. Each is first predicted with what was known before it was
//! requested (a correction is made anew once a day, as a daily release would), and only then learned from, so that every error
//! and every coverage told here is of rides that nothing was fitted to.

use domain::{Correction, ResidualQuantile};
use serde::Serialize;

use crate::{
    ErrorStatistics, EvaluationError, Figures, Improvement, IntervalFigures, IntervalStatistics,
    conformal::AdaptiveConformal,
    correction::{CorrectionOptions, LandedRide, Learner, factor_of},
    metrics::ErrorAccumulator,
    segment::{is_duration, paired, to_us},
};

/// How a recalibration is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecalibrationOptions<'a> {
    /// How the correction is learned.
    pub correction: CorrectionOptions,
    /// The IANA time zone of the rides' hours, which the correction names; UTC where absent.
    pub time_zone: Option<&'a str>,
    /// The request's input that names the zone, which the correction names. Without it there are no factors by zone.
    pub zone_input: Option<&'a str>,
    /// The share of actuals that intervals are to cover, above 0 and below 1.
    pub interval: f64,
    /// The quantile that is shown: late cost/(late cost + early cost), above 0 and below 1.
    pub shown: f64,
    /// The step of adaptive conformal inference.
    pub gamma: f64,
    /// How many of the latest residuals quantiles are of.
    pub window: usize,
}

impl Default for RecalibrationOptions<'_> {
    fn default() -> Self {
        Self {
            correction: CorrectionOptions::default(),
            time_zone: None,
            zone_input: None,
            interval: 0.8,
            shown: 0.5,
            gamma: 0.005,
            window: 2000,
        }
    }
}

/// Fewer landed rides calibrate nothing.
pub const MIN_RIDES: usize = 200;
/// Residuals before the first interval.
const MIN_RESIDUALS: usize = 100;
const DAY_US: i64 = 86_400_000_000;
/// The calibration's points, beside those that the interval and the shown value need.
const PROBABILITIES: [f64; 15] =
    [0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 0.75, 0.8, 0.85, 0.9, 0.95, 0.975, 0.99];

/// What the latest outcomes say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recalibration {
    /// Rides that it is of.
    pub rides: u64,
    /// The correction for the next release; absent where the rides do not say clearly that it helps.
    pub correction: Option<Correction>,
    /// The residuals' quantiles for the next release, with that correction: `promise.calibration`.
    pub calibration: Vec<ResidualQuantile>,
    /// Errors without any correction, on the rides that were predicted before they were learned from.
    pub uncorrected: Option<Figures>,
    /// Errors with the correction of the day, on the same rides.
    pub corrected: Option<Figures>,
    /// How much smaller the latter's mean absolute error is.
    pub improvement: Option<Improvement>,
    /// How the adaptive intervals met the truth, on the same rides.
    pub coverage: Option<IntervalFigures>,
    /// The miss rates below and above that the intervals were last made with: what it takes for the wanted ones.
    pub adapted_miss_rates: [f64; 2],
}

/// Makes it of rides in any order. Rides whose numbers are no durations are left out.
///
/// # Errors
/// Options out of range, or fewer than [`MIN_RIDES`] rides.
pub fn recalibrate(
    rides: &[LandedRide<'_>],
    options: &RecalibrationOptions<'_>,
) -> Result<Recalibration, EvaluationError> {
    for (name, value) in [("interval", options.interval), ("shown", options.shown)] {
        if !(value > 0.0 && value < 1.0) {
            return Err(EvaluationError::input(name, "must lie between 0 and 1"));
        }
    }
    let usable = |ride: &&LandedRide<'_>| {
        is_duration(ride.predicted_s) && ride.predicted_s > 0.0 && is_duration(ride.actual_s) && ride.actual_s >= 0.0
    };
    let mut rides: Vec<&LandedRide<'_>> = rides.iter().filter(usable).collect();
    if rides.len() < MIN_RIDES {
        return Err(EvaluationError::input("rides", "must be at least 200 whose car arrived"));
    }
    rides.sort_by(|a, b| {
        let key = |ride: &LandedRide<'_>| (ride.landed_at_us, ride.requested_at_us);
        key(a)
            .cmp(&key(b))
            .then_with(|| a.zone.cmp(b.zone))
            .then_with(|| a.predicted_s.total_cmp(&b.predicted_s).then_with(|| a.actual_s.total_cmp(&b.actual_s)))
    });
    let (mut learner, mut days) = (Learner::new(options.correction), Days::default());
    let (mut plain, mut corrected) = (Track::new(options)?, Track::new(options)?);
    let mut product_us2 = 0_i128;
    for ride in &rides {
        days.refresh(ride.landed_at_us, &learner, options);
        if let Some(correction) = days.of(ride.requested_at_us) {
            let without = plain.add(ride.predicted_s, ride.actual_s);
            let with = corrected.add(ride.predicted_s * factor_of(correction, ride), ride.actual_s);
            product_us2 = product_us2.saturating_add(i128::from(without) * i128::from(with));
        }
        learner.add(ride);
    }
    let (plain, corrected) = (plain.finish(options), corrected.finish(options));
    let improvement = paired(&corrected.errors, &plain.errors, product_us2);
    let helps = improvement.is_some_and(|found| found.share > 0.0 && found.is_clear());
    let last_us = rides.last().map_or(0, |ride| ride.landed_at_us);
    let correction = helps.then(|| learner.correction(last_us, options.time_zone, options.zone_input));
    let (uncorrected_figures, corrected_figures) = (plain.errors.figures(), corrected.errors.figures());
    let used = if helps { corrected } else { plain };
    Ok(Recalibration {
        rides: rides.len() as u64,
        correction,
        calibration: used.calibration,
        uncorrected: uncorrected_figures,
        corrected: corrected_figures,
        improvement,
        coverage: used.intervals.figures(),
        adapted_miss_rates: used.miss_rates,
    })
}

/// The corrections of yesterday and today: a request is predicted with the one that was there when it came.
#[derive(Default)]
struct Days {
    corrections: Vec<(i64, Correction)>,
}

impl Days {
    fn refresh(&mut self, now_us: i64, learner: &Learner<'_>, options: &RecalibrationOptions<'_>) {
        let day_us = now_us.div_euclid(DAY_US) * DAY_US;
        if self.corrections.last().is_none_or(|(known, _)| *known < day_us) {
            let correction = learner.correction(day_us, options.time_zone, options.zone_input);
            if self.corrections.len() > 1 {
                self.corrections.remove(0);
            }
            self.corrections.push((day_us, correction));
        }
    }

    fn of(&self, requested_at_us: i64) -> Option<&Correction> {
        self.corrections.iter().rev().find(|(from, _)| *from <= requested_at_us).map(|(_, correction)| correction)
    }
}

/// Errors, residuals and adaptive intervals of one way to predict.
struct Track {
    errors: ErrorAccumulator,
    intervals: IntervalStatistics,
    /// Of residual (actual − predicted) and of its negative: one side each, so that skewed errors get skewed intervals.
    above: AdaptiveConformal,
    below: AdaptiveConformal,
}

struct Finished {
    errors: ErrorStatistics,
    intervals: IntervalStatistics,
    calibration: Vec<ResidualQuantile>,
    miss_rates: [f64; 2],
}

impl Track {
    fn new(options: &RecalibrationOptions<'_>) -> Result<Self, EvaluationError> {
        let side =
            || AdaptiveConformal::new((1.0 - options.interval) / 2.0, options.gamma, options.window, MIN_RESIDUALS);
        Ok(Self {
            errors: ErrorAccumulator::default(),
            intervals: IntervalStatistics::default(),
            above: side()?,
            below: side()?,
        })
    }

    /// Takes the next ride; returns its absolute error in microseconds.
    fn add(&mut self, predicted_s: f64, actual_s: f64) -> u64 {
        let residual_s = actual_s - predicted_s;
        let steps = (self.below.update(-residual_s), self.above.update(residual_s));
        if let (Some(below), Some(above)) = steps
            && let (Some(below), Some(above)) = (below.quantile, above.quantile)
        {
            self.intervals.add([predicted_s - below, predicted_s + above], to_us(actual_s));
        }
        self.errors.add(to_us(predicted_s), to_us(actual_s))
    }

    fn finish(self, options: &RecalibrationOptions<'_>) -> Finished {
        let miss_rates = [self.below.alpha(), self.above.alpha()];
        let calibration = calibration(self.above.sorted_scores(), miss_rates, options);
        Finished { errors: self.errors.finish(), intervals: self.intervals, calibration, miss_rates }
    }
}

/// The residuals' quantiles by split conformal prediction: of n, the ⌈(n + 1)p⌉-th smallest above the middle and the
/// ⌊(n + 1)p⌋-th below it, with p moved outwards or inwards as the adapted miss rates say. A quantile beyond the residuals is
/// infinite, and left out.
fn calibration(sorted: &[f64], [below, above]: [f64; 2], options: &RecalibrationOptions<'_>) -> Vec<ResidualQuantile> {
    let tail = (1.0 - options.interval) / 2.0;
    let mut probabilities: Vec<f64> = PROBABILITIES.to_vec();
    probabilities.extend([tail, 1.0 - tail, options.shown]);
    probabilities.sort_by(f64::total_cmp);
    probabilities.dedup_by(|a, b| (*a - *b).abs() < 1e-9);
    let n = sorted.len() as f64;
    let mut points: Vec<ResidualQuantile> = Vec::new();
    for probability in probabilities {
        let is_above = probability >= 0.5;
        let (nominal, adapted) = if is_above { (1.0 - probability, above) } else { (probability, below) };
        let outside = moved(nominal, tail, adapted.clamp(0.0, 0.49));
        // A hair of rounding must not cost a rank.
        let rank =
            if is_above { ((n + 1.0) * (1.0 - outside) - 1e-9).ceil() } else { ((n + 1.0) * outside + 1e-9).floor() };
        if rank >= 1.0 && rank <= n {
            let residual = (sorted[rank as usize - 1] * 1e3).round() / 1e3;
            points.push(ResidualQuantile { probability, residual });
        }
    }
    points
}

/// A miss rate, where that of `tail` has become `adapted`: linear from 0 to there and from there to ½.
fn moved(nominal: f64, tail: f64, adapted: f64) -> f64 {
    if nominal <= tail { nominal / tail * adapted } else { adapted + (nominal - tail) / (0.5 - tail) * (0.5 - adapted) }
}

#[cfg(test)]
mod tests {
    use domain::{Damping, PromisePolicy};
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Rides of some days whose truth is `factor` times the prediction, and luck.
    fn rides(seed: u64, n: usize, factor: impl Fn(usize) -> f64) -> Vec<LandedRide<'static>> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        (0..n)
            .map(|number| {
                let requested_at_us = number as i64 * 60_000_000;
                let predicted_s = 120.0 + 900.0 * random.random::<f64>();
                let luck = 0.7 + 0.6 * random.random::<f64>() - 0.2 * (1.0 - random.random::<f64>()).ln();
                let actual_s = predicted_s * factor(number) * luck / 1.2;
                LandedRide {
                    landed_at_us: requested_at_us + to_us(actual_s),
                    requested_at_us,
                    zone: if number % 2 == 0 { "43" } else { "161" },
                    hour_of_day: (number / 60 % 24) as u8,
                    predicted_s,
                    actual_s,
                }
            })
            .collect()
    }

    fn policy(calibration: Vec<ResidualQuantile>, interval: f64) -> PromisePolicy {
        PromisePolicy { calibration, interval, late_cost: 1.0, early_cost: 1.0, damping: None::<Damping> }
    }

    #[test]
    fn exchangeable_rides_are_covered_as_promised() {
        let options = RecalibrationOptions { interval: 0.9, ..RecalibrationOptions::default() };
        let (mut covered, mut all) = (0_u32, 0_u32);
        for seed in 0..40 {
            let all_rides = rides(seed, 5000, |_| 1.0);
            let (past, next) = all_rides.split_at(4000);
            let found = recalibrate(past, &options).unwrap();
            assert_eq!(found.correction, None, "there is nothing to correct: {:?}", found.improvement);
            let promise = policy(found.calibration, 0.9);
            for ride in next {
                let told = promise.promise(ride.predicted_s, None, |value| value);
                covered += u32::from((told.lower..=told.upper).contains(&ride.actual_s));
                all += 1;
            }
            let adaptive = found.coverage.unwrap();
            assert!((adaptive.coverage - 0.9).abs() < 0.02, "{adaptive:?}");
        }
        let share = f64::from(covered) / f64::from(all);
        assert!((0.89..0.91).contains(&share), "{share}");
    }

    #[test]
    fn a_shock_is_corrected_and_the_intervals_follow() {
        // Streets empty after ten days.
        let all = rides(1, 40_000, |number| if number < 14_400 { 1.0 } else { 0.7 });
        let options = RecalibrationOptions { zone_input: Some("rider_zone"), ..RecalibrationOptions::default() };
        let found = recalibrate(&all, &options).unwrap();
        let correction = found.correction.unwrap();
        assert!(correction.hours.iter().all(|factor| (0.68..0.76).contains(factor)), "{correction:?}");
        assert!(found.improvement.unwrap().share > 0.1, "{:?}", found.improvement);
        let coverage = found.coverage.unwrap().coverage;
        assert!((0.78..0.82).contains(&coverage), "{coverage}");
    }

    #[test]
    fn too_little_is_said_so() {
        let error = recalibrate(&rides(1, 100, |_| 1.0), &RecalibrationOptions::default()).unwrap_err();
        assert!(error.to_string().contains("at least 200"), "{error}");
        let bad = RecalibrationOptions { interval: 1.0, ..RecalibrationOptions::default() };
        assert!(recalibrate(&rides(1, 300, |_| 1.0), &bad).is_err());
    }

    #[test]
    fn miss_rates_move_in_proportion() {
        assert_eq!([moved(0.1, 0.1, 0.2), moved(0.05, 0.1, 0.2), moved(0.5, 0.1, 0.2)], [0.2, 0.1, 0.5]);
        let sorted: Vec<f64> = (1..=9).map(f64::from).collect();
        let options = RecalibrationOptions { interval: 0.8, ..RecalibrationOptions::default() };
        let at = |found: &[ResidualQuantile], p: f64| {
            found.iter().find(|q| (q.probability - p).abs() < 1e-9).map(|q| q.residual)
        };
        let plain = calibration(&sorted, [0.1, 0.1], &options);
        assert_eq!(
            [at(&plain, 0.1), at(&plain, 0.9), at(&plain, 0.5), at(&plain, 0.95)],
            [Some(1.0), Some(9.0), Some(5.0), None]
        );
        let wider = calibration(&sorted, [0.1, 0.05], &options);
        assert_eq!([at(&wider, 0.8), at(&wider, 0.9)], [Some(9.0), None]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_order_in_which_rides_are_given_does_not_matter(
            shuffled in Just(rides(5, 3000, |number| if number > 1500 { 0.8 } else { 1.0 })).prop_shuffle(),
        ) {
            let options = RecalibrationOptions { zone_input: Some("zone"), ..RecalibrationOptions::default() };
            let sorted = recalibrate(&rides(5, 3000, |number| if number > 1500 { 0.8 } else { 1.0 }), &options).unwrap();
            prop_assert_eq!(recalibrate(&shuffled, &options).unwrap(), sorted);
        }
    }
}
