//! Experiments through the hour evaluation: what is found, and what must not be.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use domain::{Hour, ModelName, OutcomeEvent, PredictionId, RampPlan, Randomisation, Tier};
use evaluation::{
    ExperimentRow, HourEvaluation, PredictionRow, evaluate_hour,
    experiment::{
        AnalysisMethod, AnalysisOptions, Direction, ExperimentCard, ExperimentFacts, Metric, RampDecision, Verdict,
    },
};
use jiff::Timestamp;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A little city: riders with a difficulty of their own, who ride several times.
#[derive(Clone)]
struct World {
    riders: usize,
    rides_an_hour: usize,
    /// Share of riders in the treatment.
    share: f64,
    /// Error of the treatment as a multiple of the control's.
    treatment: f64,
    cancelled: [f64; 2],
    /// Share of predictions that the arm's endpoint does not answer.
    not_by_endpoint: [f64; 2],
    zones: usize,
    switchback: bool,
    /// The hour from which the treatment is given; before hour 0 under another experiment's id.
    treated_from: i64,
    seed: u64,
}

const CALM: World = World {
    riders: 1500,
    rides_an_hour: 500,
    share: 0.5,
    treatment: 1.0,
    cancelled: [0.05, 0.05],
    not_by_endpoint: [0.0, 0.0],
    zones: 40,
    switchback: false,
    treated_from: 0,
    seed: 1,
};

fn first() -> Hour {
    "2026-11-20T00".parse().unwrap()
}

fn model() -> ModelName {
    "pickup-eta".parse().unwrap()
}

fn hash(seed: u64, of: u64) -> f64 {
    ChaCha8Rng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ of).random()
}

impl World {
    /// Hours `from..until` relative to the first; the experiment begins at hour 0.
    fn hours(&self, from: i64, until: i64) -> Vec<HourEvaluation> {
        (from..until).map(|hour| self.hour(hour)).collect()
    }

    fn hour(&self, number: i64) -> HourEvaluation {
        let hour = first().plus(number);
        let mut random = ChaCha8Rng::seed_from_u64(self.seed * 1000 + (number + 500) as u64);
        let names: Vec<String> = (0..self.riders).map(|rider| format!("rider-{rider}")).collect();
        let mut rides = Vec::new();
        for _ in 0..self.rides_an_hour {
            let mut bits = [0; 10];
            random.fill_bytes(&mut bits);
            let at_us = hour.start().as_microsecond() + random.random_range(0..3_600_000_000);
            let id = PredictionId::new(Timestamp::from_microsecond(at_us).unwrap(), bits);
            let (rider, zone) = (random.random_range(0..self.riders), random.random_range(0..self.zones));
            let slot = at_us / 1_800_000_000;
            let unit = if self.switchback { ((zone as u64) << 40) | slot as u64 } else { rider as u64 };
            let is_treated = hash(self.seed, unit) < self.share;
            // Half of the spread is the unit's own: rides of one unit resemble each other.
            let difficulty = 0.3 + 2.0 * hash(self.seed + 77, unit);
            let factor = if is_treated && number >= self.treated_from { self.treatment } else { 1.0 };
            let error = 60.0 * difficulty * factor * (random.random::<f64>() - 0.4) * 2.0;
            let cancelled = random.random_bool(self.cancelled[usize::from(is_treated)]);
            rides.push((id, at_us, rider, format!("{zone}|{}", slot * 1800), is_treated, error, cancelled));
        }
        let rows = rides.iter().map(|(id, at_us, rider, slot, is_treated, error, _)| PredictionRow {
            prediction_id: *id.as_bytes(),
            candidate_id: "car",
            model_version: "1",
            arm: if *is_treated && number >= self.treated_from { "treatment" } else { "control" },
            tier: if hash(self.seed + 99, *at_us as u64) < self.not_by_endpoint[usize::from(*is_treated)] {
                Tier::Fallback
            } else {
                Tier::Endpoint
            },
            requested_at_us: *at_us,
            prediction_s: 400.0 + error,
            uncorrected_s: None,
            fallback_s: 500.0,
            interval: None,
            values: &[],
            experiment: (number >= self.treated_from).then_some(ExperimentRow {
                id: if number >= 0 { "x" } else { "earlier" },
                randomised_unit: self.switchback.then_some(slot.as_str()),
                // The first five minutes of a slot.
                excluded: self.switchback && at_us % 1_800_000_000 < 300_000_000,
            }),
            unit_id: Some(&names[*rider]),
        });
        let outcomes: Vec<OutcomeEvent> = rides
            .iter()
            .map(|(id, at_us, .., cancelled)| {
                let happened = Timestamp::from_microsecond(at_us + 400_000_000).unwrap();
                OutcomeEvent {
                    prediction_id: *id,
                    candidate_id: Some("car".parse().unwrap()),
                    observed_at: happened,
                    dispatched_at: None,
                    arrived_at: (!cancelled).then_some(happened),
                    cancelled_at: cancelled.then_some(happened),
                    metrics: std::collections::BTreeMap::new(),
                }
            })
            .collect();
        evaluate_hour(hour, &model(), rows, &outcomes)
    }
}

fn facts(weights: [f64; 2]) -> ExperimentFacts {
    ExperimentFacts {
        id: "x".to_owned(),
        arms: vec![("control".to_owned(), weights[0]), ("treatment".to_owned(), weights[1])],
        randomise: Randomisation::Unit,
        keeps_arms: false,
    }
}

fn card(hours: &[HourEvaluation]) -> ExperimentCard {
    ExperimentCard::new(&facts([0.5, 0.5]), hours, AnalysisOptions::default())
}

#[test]
fn a_true_effect_is_found_and_its_size_told() {
    let hours = World { treatment: 0.8, ..CALM }.hours(0, 24);
    let card = card(&hours);
    let comparison = &card.comparisons[0];
    assert_eq!(comparison.verdict, Verdict::Better);
    let effect = comparison.metrics[0].effect.unwrap();
    assert_eq!((comparison.metrics[0].metric, effect.direction), (Metric::MaeS, Direction::Better));
    assert!((-0.3..-0.1).contains(&effect.relative.unwrap()), "{effect:?}");
    assert!(!card.sample_ratio.unwrap().alarm && card.units_in_two_arms == 0);
    assert_eq!(card.arms.iter().map(|arm| arm.predictions).sum::<u64>(), 24 * 500);
    let course = &comparison.course;
    assert_eq!(course.len(), 24);
    assert!(course[0].upper - course[0].lower > course[23].upper - course[23].lower);
}

#[test]
fn what_was_known_before_narrows_the_interval() {
    let world = World { treatment: 0.9, ..CALM };
    let after = world.hours(0, 24);
    let all = world.hours(-48, 24);
    let [plain, adjusted] = [&after, &all].map(|hours| card(hours).comparisons[0].metrics[0].effect.unwrap());
    assert_eq!(plain.variance_reduction, None);
    assert!(adjusted.variance_reduction.unwrap() > 0.15, "{adjusted:?}");
    assert!(adjusted.upper - adjusted.lower < plain.upper - plain.lower);
    assert!((adjusted.relative.unwrap() + 0.1).abs() < 0.05, "{adjusted:?}");
}

#[test]
fn what_the_same_split_did_before_is_no_covariate() {
    // The step of a ramp before, or an experiment under the same seed: who has the treatment had it then.
    let world = World { treatment: 0.8, treated_from: -24, ..CALM };
    let of = |hours: &[HourEvaluation], keeps_arms: bool| {
        let facts = ExperimentFacts { keeps_arms, ..facts([0.5, 0.5]) };
        let card = ExperimentCard::new(&facts, hours, AnalysisOptions::default());
        let effect = card.comparisons[0].metrics[0].effect.unwrap();
        let words = card.method(evaluation::report::Language::English);
        (effect, card.hours_treated_before, words)
    };
    let plain = of(&world.hours(0, 24), true).0;
    let (kept, treated, words) = of(&world.hours(-24, 24), true);
    assert_eq!((kept, treated), (plain, 24));
    assert!(words.contains("24 hours before it"), "{words}");
    // Hours before any treatment are taken as ever.
    let (adjusted, ..) = of(&world.hours(-60, 24), true);
    assert!(adjusted.variance_reduction.unwrap() > 0.1, "{adjusted:?}");
    assert!((adjusted.effect / plain.effect - 1.0).abs() < 0.25, "{adjusted:?} {plain:?}");
    // Why: taken for what was known before, the treatment's own effect is subtracted.
    let (swallowed, treated, _) = of(&world.hours(-24, 24), false);
    assert!(swallowed.effect.abs() < 0.8 * plain.effect.abs() && treated == 0, "{swallowed:?} {plain:?}");
}

#[test]
fn a_sample_ratio_mismatch_comes_before_everything_else() {
    let hours = World { treatment: 0.5, share: 0.58, ..CALM }.hours(0, 12);
    let promised = ExperimentCard::new(&facts([0.5, 0.5]), &hours, AnalysisOptions::default());
    assert!(promised.sample_ratio.unwrap().alarm);
    assert_eq!(promised.comparisons[0].verdict, Verdict::SampleRatioMismatch);
    let planned = ExperimentCard::new(&facts([0.42, 0.58]), &hours, AnalysisOptions::default());
    assert_eq!(planned.comparisons[0].verdict, Verdict::Better);
}

#[test]
fn a_guardrail_outweighs_a_better_error() {
    let card = card(&World { treatment: 0.7, cancelled: [0.04, 0.10], ..CALM }.hours(0, 24));
    assert_eq!(card.comparisons[0].verdict, Verdict::GuardrailBreached);
    let cancelled = card.comparisons[0].metrics.iter().find(|result| result.metric == Metric::CancelledShare).unwrap();
    assert_eq!(cancelled.effect.unwrap().direction, Direction::Worse);
}

#[test]
fn an_endpoint_that_fails_is_told_beside_one_that_never_does() {
    let worse = |not_by_endpoint| {
        let world = World { treatment: 0.6, not_by_endpoint, ..CALM };
        let comparison = card(&world.hours(0, 24)).comparisons.remove(0);
        let guardrail = comparison.metrics.iter().find(|result| result.metric == Metric::NotByEndpointShare).unwrap();
        (comparison.verdict, guardrail.effect)
    };
    for fails in [1.0, 0.2, 0.02] {
        let (verdict, effect) = worse([0.0, fails]);
        assert_eq!(verdict, Verdict::GuardrailBreached, "{fails}");
        let effect = effect.unwrap();
        assert_eq!((effect.direction, effect.relative), (Direction::Worse, None));
        assert!((effect.effect - fails).abs() < 0.02, "{effect:?}");
        // It is written down and read back.
        let json = serde_json::to_string(&effect).unwrap();
        assert_eq!(serde_json::from_str::<evaluation::experiment::Effect>(&json).unwrap(), effect, "{json}");
    }
    // A handful of thousands may be chance; a control that fails is no harm.
    assert_eq!(worse([0.0, 0.0005]).0, Verdict::Better);
    assert_eq!(worse([1.0, 0.0]).0, Verdict::Better);
}

#[test]
fn what_cannot_be_estimated_is_said_so() {
    let none = card(&[]);
    assert_eq!((none.hours, none.comparisons[0].verdict), (None, Verdict::TooEarly));
    let few = card(&World { riders: 30, rides_an_hour: 20, ..CALM }.hours(0, 1));
    assert_eq!(few.comparisons[0].metrics[0].not_estimable.as_deref(), Some("too_few_units"));
    let calm = card(&CALM.hours(0, 6));
    let by_endpoint = calm.comparisons[0].metrics.last().unwrap();
    assert_eq!((by_endpoint.metric, by_endpoint.effect), (Metric::NotByEndpointShare, None));
    assert_eq!(by_endpoint.not_estimable.as_deref(), Some("zero_variance"));
    let [low, high] = by_endpoint.newcombe_interval.unwrap();
    assert!(low < 0.0 && high > 0.0 && high < 0.01, "{low} {high}");
}

#[test]
fn a_switchback_is_analysed_by_zone_and_slot_without_carry_over() {
    let world = World { switchback: true, treatment: 0.8, rides_an_hour: 2000, ..CALM };
    let hours = world.hours(0, 24);
    let card = card(&hours);
    // 40 zones × 48 slots.
    assert_eq!(card.arms.iter().map(|arm| arm.units).sum::<u64>(), 40 * 48);
    let excluded: u64 = card.arms.iter().map(|arm| arm.excluded).sum();
    assert!((excluded as f64 / (24.0 * 2000.0) - 1.0 / 6.0).abs() < 0.01, "{excluded}");
    assert_eq!(card.comparisons[0].verdict, Verdict::Better);
}

/// A/A by riders with rides that resemble each other: looked at once, about one in twenty is wrong; by rides it would be
/// more, and looked at by the sequential method it is fewer.
#[test]
fn nothing_is_found_where_nothing_is() {
    const RUNS: u64 = 120;
    let (mut fixed, mut sequential, mut mismatches) = (0, 0, 0);
    for seed in 0..RUNS {
        let hours = World { riders: 300, rides_an_hour: 150, seed: 5000 + seed, ..CALM }.hours(0, 4);
        let look =
            |method| ExperimentCard::new(&facts([0.5, 0.5]), &hours, AnalysisOptions { method, ..Default::default() });
        let once = look(AnalysisMethod::FixedHorizon);
        fixed += u64::from(once.comparisons[0].metrics[0].effect.unwrap().p_value < 0.05);
        mismatches += u64::from(once.sample_ratio.unwrap().alarm);
        // Every hour is looked at.
        let any_time = look(AnalysisMethod::Sequential { tuning: 300.0 });
        sequential +=
            u64::from(any_time.comparisons[0].course.iter().any(|point| point.lower > 0.0 || point.upper < 0.0));
    }
    assert!((1..=14).contains(&fixed), "{fixed} of {RUNS} at one look");
    assert!(sequential <= 9, "{sequential} of {RUNS} at any look");
    assert!(mismatches <= 2, "{mismatches} of {RUNS} sample ratios");
    println!("A/A: {fixed} at one look, {sequential} at any, {mismatches} sample ratios, of {RUNS}");
}

fn ramp_decision(world: &World, hours: i64, min_units: u64) -> RampDecision {
    let facts = ExperimentFacts {
        id: "x".to_owned(),
        arms: vec![("control".to_owned(), 1.0 - world.share), ("treatment".to_owned(), world.share)],
        randomise: Randomisation::Unit,
        keeps_arms: false,
    };
    let card = ExperimentCard::new(&facts, &world.hours(0, hours), AnalysisOptions::default());
    RampDecision::of(&card, &RampPlan { min_units, ..RampPlan::default() })
}

#[test]
fn a_ramp_goes_on_with_a_better_challenger_and_back_with_a_worse_one() {
    let tenth = World { share: 0.1, ..CALM };
    let better = ramp_decision(&World { treatment: 0.6, ..tenth.clone() }, 24, 100);
    assert!(matches!(better, RampDecision::Advance(_)), "{better:?}");
    let worse = ramp_decision(&World { treatment: 1.6, ..tenth.clone() }, 24, 100);
    assert!(matches!(worse, RampDecision::Back(_)), "{worse:?}");
    // The fallback may answer well: that is not the challenger.
    let dead = ramp_decision(&World { treatment: 0.6, not_by_endpoint: [0.0, 1.0], ..tenth }, 24, 100);
    assert!(matches!(dead, RampDecision::Back(_)), "{dead:?}");
}

#[test]
fn a_ramp_holds_without_enough_units_and_without_a_proof_of_no_harm() {
    let better = World { treatment: 0.6, share: 0.1, ..CALM };
    let RampDecision::Hold(why) = ramp_decision(&better, 24, 10_000) else { panic!() };
    assert!(why.contains("10000 are needed"), "{why}");
    // The same model twice, over a few hours: the interval is wider than the margin.
    let same = ramp_decision(&World { share: 0.1, ..CALM }, 4, 30);
    assert!(matches!(same, RampDecision::Hold(_)), "{same:?}");
}
