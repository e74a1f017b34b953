//! The promise: any split by prediction id, any order, repetitions and late arrivals give the same figures, bit for bit.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use domain::{Hour, ModelName, OutcomeEvent, PredictionId, Tier};
use evaluation::{
    ExperimentRow, HourEvaluation, PredictionRow, SegmentStatistics, Truth, Window, evaluate_hour, evaluate_truths,
};
use jiff::Timestamp;
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Candidate {
    prediction: u8,
    car: u8,
    version: u8,
    tier: Tier,
    requested_ms: i64,
    prediction_s: f64,
    fallback_s: f64,
    rider: u8,
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + ms).unwrap()
}

fn id(number: u8) -> PredictionId {
    PredictionId::new(at(i64::from(number)), [number; 10])
}

fn hour() -> Hour {
    Hour::of(at(0))
}

fn model() -> ModelName {
    "pickup-eta".parse().unwrap()
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

impl Candidate {
    fn row(&self) -> PredictionRow<'static> {
        PredictionRow {
            prediction_id: *id(self.prediction).as_bytes(),
            candidate_id: NAMES[usize::from(self.car)],
            model_version: NAMES[usize::from(self.version)],
            arm: NAMES[usize::from(self.version % 2)],
            tier: self.tier,
            requested_at_us: at(self.requested_ms).as_microsecond(),
            prediction_s: self.prediction_s,
            fallback_s: self.fallback_s,
            experiment: (self.rider > 0).then_some(ExperimentRow {
                id: "x",
                randomised_unit: (self.rider == 3).then_some("zone|0"),
                excluded: self.rider == 4,
            }),
            unit_id: (self.rider != 1).then_some(NAMES[usize::from(self.rider % 4)]),
        }
    }
}

fn candidate() -> impl Strategy<Value = Candidate> {
    let seconds = || prop_oneof![9 => 0.0..2000.0f64, 1 => Just(f64::NAN), 1 => Just(-5.5), 1 => Just(300.0)];
    let tier = prop_oneof![Just(Tier::Endpoint), Just(Tier::Fallback)];
    (0u8..20, 0u8..4, 0u8..3, tier, 0i64..3, seconds(), seconds(), 0u8..6).prop_map(
        |(prediction, car, version, tier, requested_ms, prediction_s, fallback_s, rider)| Candidate {
            prediction,
            car,
            version,
            tier,
            requested_ms,
            prediction_s,
            fallback_s,
            rider,
        },
    )
}

fn outcome() -> impl Strategy<Value = OutcomeEvent> {
    let ms = || prop::option::of(-5i64..2_000_000);
    (0u8..24, 0i64..3, prop::option::weighted(0.8, 0u8..4), ms(), ms()).prop_map(
        |(number, observed_ms, candidate, arrived_ms, cancelled_ms)| OutcomeEvent {
            prediction_id: id(number),
            candidate_id: candidate.map(|c| NAMES[usize::from(c)].parse().unwrap()),
            observed_at: at(observed_ms),
            dispatched_at: None,
            arrived_at: arrived_ms.map(at),
            cancelled_at: cancelled_ms.map(at),
            metrics: std::collections::BTreeMap::new(),
        },
    )
}

fn evaluate(candidates: &[Candidate], outcomes: &[OutcomeEvent]) -> HourEvaluation {
    evaluate_hour(hour(), &model(), candidates.iter().map(Candidate::row), outcomes)
}

type Inputs = (Vec<Candidate>, Vec<OutcomeEvent>);

fn inputs() -> impl Strategy<Value = Inputs> {
    (prop::collection::vec(candidate(), 0..40), prop::collection::vec(outcome(), 0..30))
}

/// The inputs repeated and in another order.
fn shuffled() -> impl Strategy<Value = (Inputs, Inputs)> {
    inputs().prop_flat_map(|(candidates, outcomes)| {
        let repeated = |n: usize| prop::sample::subsequence((0..n).collect::<Vec<_>>(), 0..=n);
        let (more, more_outcomes) = (repeated(candidates.len()), repeated(outcomes.len()));
        (Just((candidates, outcomes)), more, more_outcomes).prop_flat_map(
            |((candidates, outcomes), more, more_outcomes)| {
                let mut all = candidates.clone();
                all.extend(more.iter().map(|&i| candidates[i].clone()));
                let mut all_outcomes = outcomes.clone();
                all_outcomes.extend(more_outcomes.iter().map(|&i| outcomes[i].clone()));
                (Just((candidates, outcomes)), (Just(all).prop_shuffle(), Just(all_outcomes).prop_shuffle()))
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_and_repetition_do_not_matter(((candidates, outcomes), (other_candidates, other_outcomes)) in shuffled()) {
        let evaluation = evaluate(&candidates, &outcomes);
        let other = evaluate(&other_candidates, &other_outcomes);
        prop_assert_eq!(&evaluation, &other);
        prop_assert_eq!(evaluation.to_json(), other.to_json());
        let truths = Truth::from_events(&other_outcomes).into_iter().rev().collect();
        let rows = other_candidates.iter().map(Candidate::row);
        prop_assert_eq!(&evaluate_truths(hour(), &model(), rows, truths), &evaluation);
    }

    #[test]
    fn any_split_by_prediction_merges_to_the_whole((candidates, outcomes) in inputs(), part_of in prop::collection::vec(0usize..4, 24)) {
        let whole = evaluate(&candidates, &outcomes);
        let part_of_id = |wanted: &PredictionId| (0..24u8).find(|&n| id(n) == *wanted).map(|n| part_of[usize::from(n)]).unwrap();
        let parts: Vec<HourEvaluation> = (0..4)
            .map(|part| {
                let candidates: Vec<_> = candidates.iter().filter(|c| part_of[usize::from(c.prediction)] == part).cloned().collect();
                let outcomes: Vec<_> = outcomes.iter().filter(|o| part_of_id(&o.prediction_id) == part).cloned().collect();
                // A part that lay on S3 in between.
                HourEvaluation::from_json(&evaluate(&candidates, &outcomes).to_json()).unwrap()
            })
            .collect();
        let [a, b, c, d] = &parts[..] else { unreachable!() };
        let mut left = a.clone();
        for part in [b, c, d] {
            left.merge(part).unwrap();
        }
        let (mut right, mut tail) = (d.clone(), c.clone());
        tail.merge(a).unwrap();
        right.merge(b).unwrap();
        right.merge(&tail).unwrap();
        prop_assert_eq!(&left, &whole);
        prop_assert_eq!(&right, &whole);
        let (left, whole) = (Window::of([d, a, c, b]).unwrap(), Window::of([&whole]).unwrap());
        prop_assert_eq!(left.figures(), whole.figures());
        prop_assert_eq!(left, whole);
    }

    #[test]
    fn a_late_outcome_means_evaluating_the_hour_again((candidates, outcomes) in inputs(), landed in 0usize..30) {
        let first = evaluate(&candidates, &outcomes[..landed.min(outcomes.len())]);
        let last = evaluate(&candidates, &outcomes);
        let (first, last) = (first.all().counts, last.all().counts);
        // Labels only ever land, and nothing is lost or counted twice on the way.
        prop_assert!(last.pending <= first.pending && last.outcomes >= first.outcomes);
        prop_assert_eq!((first.predictions, first.candidates), (last.predictions, last.candidates));
    }

    #[test]
    fn every_prediction_and_outcome_is_counted_once((candidates, outcomes) in inputs()) {
        let evaluation = evaluate(&candidates, &outcomes);
        let counts = evaluation.all().counts;
        let mut ids: Vec<_> = candidates.iter().map(|c| c.prediction).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut pairs: Vec<_> = candidates.iter().map(|c| (c.prediction, c.car)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let mut outcome_ids: Vec<_> = outcomes.iter().map(|o| o.prediction_id).collect();
        outcome_ids.sort_unstable();
        outcome_ids.dedup();
        prop_assert_eq!(counts.predictions, ids.len() as u64);
        prop_assert_eq!(counts.candidates, pairs.len() as u64);
        prop_assert_eq!(counts.outcomes + evaluation.unmatched_outcomes, outcome_ids.len() as u64);
        let parts = counts.joined + counts.cancelled + counts.pending + counts.unknown_candidate + counts.unusable;
        prop_assert_eq!(counts.predictions, parts);
        let groups = Window::of([&evaluation]).unwrap();
        prop_assert_eq!(SegmentStatistics::sum(groups.by(|segment| &segment.arm).values()), evaluation.all());
    }
}

#[test]
fn hours_and_models_are_not_mixed() {
    let mut evaluation = evaluate(&[], &[]);
    let mut later = evaluation.clone();
    later.hour = later.hour.plus(1);
    assert_eq!(evaluation.merge(&later).unwrap_err().reason(), "different_hour");
    let mut other = evaluation.clone();
    other.model = "other".parse().unwrap();
    assert_eq!(evaluation.merge(&other).unwrap_err().reason(), "different_model");
    assert_eq!(Window::of([&evaluation, &other]).unwrap_err().reason(), "different_model");
    assert_eq!(Window::of([&evaluation, &later]).unwrap().hours().len(), 2);
}

#[test]
fn what_was_stored_otherwise_is_refused_with_a_reason() {
    let candidate = Candidate {
        prediction: 1,
        car: 0,
        version: 0,
        tier: Tier::Endpoint,
        requested_ms: 0,
        prediction_s: 300.0,
        fallback_s: 400.0,
        rider: 2,
    };
    let event = OutcomeEvent {
        prediction_id: id(1),
        candidate_id: Some("a".parse().unwrap()),
        observed_at: at(0),
        dispatched_at: None,
        arrived_at: Some(at(250_000)),
        cancelled_at: None,
        metrics: std::collections::BTreeMap::new(),
    };
    let json = String::from_utf8(evaluate(&[candidate], &[event]).to_json()).unwrap();
    assert!(HourEvaluation::from_json(json.as_bytes()).is_ok());
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["all"]["answer"]["mae_s"], 50.0);
    assert_eq!(value["all"]["label_maturity"], 1.0);
    for (from, to, why) in [
        (r#""format":2"#, r#""format":3"#, "format is 3"),
        (
            r#""joined":1,"cancelled":0,"pending":0,"unknown_candidate":0,"unusable":0},"answer":{"n":1,"sum"#,
            r#""joined":2,"cancelled":0,"pending":0,"unknown_candidate":0,"unusable":0},"answer":{"n":1,"sum"#,
            "sums to 2",
        ),
        (r#""answer":{"n":1,"sum"#, r#""answer":{"n":2,"sum"#, "n is 2"),
        (r#""sum_actual_us":"250000000""#, r#""sum_actual_us":"much""#, "invalid digit"),
        ("}", "", "EOF"),
    ] {
        assert!(json.contains(from), "{from} in {json}");
        let error = HourEvaluation::from_json(json.replace(from, to).as_bytes()).unwrap_err();
        assert_eq!(error.reason(), "invalid_evaluation");
        assert!(error.to_string().contains(why) || to.is_empty(), "{error}");
    }
}
