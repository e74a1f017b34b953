//! Simulated experiments, seeded: the same counts give the same shares on every machine.

use experiments::{
    assign_within, ranges_of_weights,
    statistics::{
        ArmStatistic, DEFAULT_CONCENTRATION, DEFAULT_TUNING, Estimate, Look, MeanSums, Plan, RatioSums, SRM_THRESHOLD,
        Scale, Sides, estimate, estimate_shares, sample_ratio, sequential_srm,
    },
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// α of every simulated experiment.
pub(crate) const ALPHA: f64 = 0.05;

/// Days of every simulated experiment, with a look at the end of each.
pub(crate) const DAYS: usize = 14;

/// The power that [`power`] plans for.
pub(crate) const PLANNED_POWER: f64 = 0.8;

/// The true effect of [`power`], in standard deviations of a unit.
pub(crate) const TRUE_EFFECT: f64 = 0.2;

fn random(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

fn exponential(random: &mut ChaCha8Rng) -> f64 {
    -(1.0 - random.random::<f64>()).ln()
}

fn normal(random: &mut ChaCha8Rng) -> f64 {
    let angle = 2.0 * std::f64::consts::PI * random.random::<f64>();
    (2.0 * exponential(random)).sqrt() * angle.cos()
}

fn effect<S: ArmStatistic>(arms: &[S; 2]) -> Option<Estimate> {
    estimate(&arms[0], &arms[1], Scale::Relative).ok()
}

fn significant(estimate: Option<Estimate>) -> [bool; 2] {
    estimate.map_or([false; 2], |estimate| {
        [estimate.welch(ALPHA).p_value < ALPHA, estimate.confidence_sequence(ALPHA, DEFAULT_TUNING).p_value < ALPHA]
    })
}

/// False positives of experiments without an effect.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FalsePositives {
    /// Of Welch's test at the end alone.
    pub(crate) fixed: f64,
    /// Of Welch's test, where any day's look counts.
    pub(crate) fixed_peeked: f64,
    /// Of the confidence sequence, where any day's look counts.
    pub(crate) sequential: f64,
}

/// A/A: `units_per_day` new units a day, each with an exponential metric (as skewed as waiting times are), in arms by a
/// coin.
pub(crate) fn aa(experiments: u32, units_per_day: u32, seed: u64) -> FalsePositives {
    let mut random = random(seed);
    let mut counts = [0_u32; 3];
    for _ in 0..experiments {
        let mut arms = [MeanSums::default(); 2];
        let (mut peeked, mut last) = ([false; 2], [false; 2]);
        for _ in 0..DAYS {
            for _ in 0..units_per_day {
                let arm = usize::from(random.random::<bool>());
                arms[arm].merge(&MeanSums::of([exponential(&mut random)]));
            }
            last = significant(effect(&arms));
            peeked = [peeked[0] || last[0], peeked[1] || last[1]];
        }
        for (count, found) in counts.iter_mut().zip([last[0], peeked[0], peeked[1]]) {
            *count += u32::from(found);
        }
    }
    let [fixed, fixed_peeked, sequential] = counts.map(|count| f64::from(count) / f64::from(experiments));
    FalsePositives { fixed, fixed_peeked, sequential }
}

/// False positives where riders are randomised and rides are measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clustered {
    /// Of Welch's test at the end, rides taken as if each had been randomised.
    pub(crate) rides_apart: f64,
    /// Of Welch's test at the end, by rider.
    pub(crate) rider_at_the_end: f64,
    /// Of the confidence sequence by rider, where any day's look counts.
    pub(crate) rider_sequential: f64,
}

/// A/A by rider: each rider has 1 to 12 rides and a level of their own, which is half of the variance of a ride.
pub(crate) fn clustered(experiments: u32, riders_per_day: u32, seed: u64) -> Clustered {
    let mut random = random(seed);
    let mut counts = [0_u32; 3];
    for _ in 0..experiments {
        let (mut riders, mut rides) = ([RatioSums::default(); 2], [MeanSums::default(); 2]);
        let (mut peeked, mut last) = (false, [false; 2]);
        for _ in 0..DAYS {
            for _ in 0..riders_per_day {
                let arm = usize::from(random.random::<bool>());
                let level = normal(&mut random);
                let (mut sum, mut count) = (0.0, 0.0);
                for _ in 0..random.random_range(1..=12) {
                    let error = 10.0 + level + normal(&mut random);
                    rides[arm].merge(&MeanSums::of([error]));
                    sum += error;
                    count += 1.0;
                }
                riders[arm].merge(&RatioSums::of([(sum, count)]));
            }
            last = significant(effect(&riders));
            peeked |= last[1];
        }
        for (count, found) in counts.iter_mut().zip([significant(effect(&rides))[0], last[0], peeked]) {
            *count += u32::from(found);
        }
    }
    let [rides_apart, rider_at_the_end, rider_sequential] =
        counts.map(|count| f64::from(count) / f64::from(experiments));
    Clustered { rides_apart, rider_at_the_end, rider_sequential }
}

/// False alarms of sample ratio mismatch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RatioAlarms {
    /// Of χ² at the end.
    pub(crate) fixed: f64,
    /// Of the sequential test, where any day's look counts.
    pub(crate) sequential: f64,
}

/// Units assigned by the very hash that serves, 50:50, under a new experiment id each time.
pub(crate) fn ratio_alarms(experiments: u32, units_per_day: u32) -> RatioAlarms {
    let mut counts = [0_u32; 2];
    for experiment in 0..experiments {
        let (id, weights) = (format!("aa-{experiment}"), [0.5, 0.5]);
        let mut blocks = Vec::with_capacity(DAYS);
        for day in 0..DAYS as u32 {
            let mut block = vec![0.0; 2];
            for unit in 0..units_per_day {
                if let Some(assignment) =
                    assign_within(&id, &format!("rider-{day}-{unit}"), ranges_of_weights(&weights, 1.0))
                {
                    block[assignment.arm_index] += 1.0;
                }
            }
            blocks.push(block);
        }
        let observed: Vec<f64> = (0..2).map(|arm| blocks.iter().map(|block| block[arm]).sum()).collect();
        let fixed = sample_ratio(&observed, &weights).ok().flatten();
        let sequential = sequential_srm(&weights, &blocks, DEFAULT_CONCENTRATION).unwrap_or_default();
        counts[0] += u32::from(fixed.is_some_and(|ratio| ratio.alarm(SRM_THRESHOLD)));
        counts[1] += u32::from(sequential.last().is_some_and(|p_value| *p_value < SRM_THRESHOLD));
    }
    let [fixed, sequential] = counts.map(|count| f64::from(count) / f64::from(experiments));
    RatioAlarms { fixed, sequential }
}

/// Looks a day of [`rare_shares`]: a guardrail is looked at every hour.
const LOOKS_A_DAY: usize = 24;

/// Units of either arm before a look counts, as a card asks for.
const MIN_UNITS: u64 = 30;

/// How often a guardrail is told to be worse that is not: units fail with probability `share` in either arm, `share_b` of them are in
/// arm b, and any hour's look by the confidence sequence counts. While an arm has no failure yet, the estimate is plus-four's.
pub(crate) fn rare_shares(experiments: u32, units_per_day: u32, share: f64, share_b: f64, seed: u64) -> f64 {
    let mut random = random(seed);
    let mut breaches = 0_u32;
    for _ in 0..experiments {
        let mut arms = [MeanSums::default(); 2];
        let mut breached = false;
        for look in 0..(DAYS * LOOKS_A_DAY) as u32 {
            let due = |look: u32| units_per_day * look / LOOKS_A_DAY as u32;
            for _ in due(look)..due(look + 1) {
                let arm = &mut arms[usize::from(random.random_bool(share_b))];
                let fails = f64::from(u8::from(random.random_bool(share)));
                arm.merge(&MeanSums { n: 1, sum: fails, sum_squares: fails });
            }
            if arms.iter().all(|arm| arm.n >= MIN_UNITS) {
                let interval = estimate_shares(&arms[0], &arms[1])
                    .map(|estimate| estimate.confidence_sequence(ALPHA, DEFAULT_TUNING));
                breached |= interval.is_ok_and(|interval| interval.lower > 0.0);
            }
        }
        breaches += u32::from(breached);
    }
    f64::from(breaches) / f64::from(experiments)
}

/// How often a true effect is found with the units that the plan asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    /// Units of both arms.
    pub(crate) units: u64,
    /// At the end.
    pub(crate) at_the_end: f64,
    /// On any day.
    pub(crate) on_any_day: f64,
    /// How often the interval of the end holds the true effect.
    pub(crate) covered: f64,
}

/// Experiments with [`TRUE_EFFECT`], of as many units as [`Plan`] asks for [`PLANNED_POWER`].
pub(crate) fn power(experiments: u32, any_time: bool, seed: u64) -> Option<Found> {
    let look = if any_time { Look::AnyTime { tuning: DEFAULT_TUNING } } else { Look::Fixed(Sides::Two) };
    let plan = Plan { variance_a: 1.0, variance_b: 1.0, share_b: 0.5, effect: TRUE_EFFECT, alpha: ALPHA, look };
    let units = plan.units_for(PLANNED_POWER).ok()?;
    let mut random = random(seed);
    let (mut at_the_end, mut on_any_day, mut covered) = (0_u32, 0_u32, 0_u32);
    for _ in 0..experiments {
        let mut arms = [MeanSums::default(); 2];
        let (mut found, mut interval) = (false, None);
        for day in 1..=DAYS as u64 {
            while arms[0].n + arms[1].n < units * day / DAYS as u64 {
                // One each in turn: the plan's shares are exact.
                let arm = usize::from(arms[0].n > arms[1].n);
                arms[arm].merge(&MeanSums::of([5.0 + TRUE_EFFECT * arm as f64 + normal(&mut random)]));
            }
            interval = estimate(&arms[0], &arms[1], Scale::Absolute).ok().map(|estimate| {
                if any_time { estimate.confidence_sequence(ALPHA, DEFAULT_TUNING) } else { estimate.welch(ALPHA) }
            });
            found |= interval.is_some_and(|interval| interval.lower > 0.0);
        }
        if let Some(interval) = interval {
            at_the_end += u32::from(interval.lower > 0.0);
            covered += u32::from((interval.lower..=interval.upper).contains(&TRUE_EFFECT));
        }
        on_any_day += u32::from(found);
    }
    let share = |count: u32| f64::from(count) / f64::from(experiments);
    Some(Found { units, at_the_end: share(at_the_end), on_any_day: share(on_any_day), covered: share(covered) })
}
