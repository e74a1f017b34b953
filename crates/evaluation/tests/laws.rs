//! The promise: any split by prediction id, any order, repetitions and late arrivals give the same figures, bit for bit.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, LazyLock};

use domain::{Hour, ModelName, OutcomeEvent, PredictionId, Tier};
use evaluation::{
    EvaluationOptions, ExperimentRow, HourEvaluation, PredictionRow, SegmentStatistics, ShadowRow, Truth, Window,
    evaluate_hour_with, evaluate_truths,
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
    /// The value of the dimension `zone`; 9: none is told.
    zone: u8,
    /// The answered interval's half width, seconds.
    half_width: Option<f64>,
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
static ZONES: LazyLock<[Arc<str>; 4]> = LazyLock::new(|| ["43", "161", "230", "264"].map(Arc::from));

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
            uncorrected_s: None,
            fallback_s: self.fallback_s,
            interval: self.half_width.map(|half| [self.prediction_s - half, self.prediction_s + half]),
            values: ZONES.get(usize::from(self.zone)).map_or(&[], |zone| std::slice::from_ref(zone)),
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
    let half_width = prop::option::of(prop_oneof![9 => 0.0..900.0f64, 1 => Just(f64::NAN), 1 => Just(-1.0)]);
    (0u8..20, 0u8..4, 0u8..3, tier, 0i64..3, seconds(), seconds(), 0u8..6, 0u8..6, half_width).prop_map(
        |(prediction, car, version, tier, requested_ms, prediction_s, fallback_s, rider, zone, half_width)| Candidate {
            prediction,
            car,
            version,
            tier,
            requested_ms,
            prediction_s,
            fallback_s,
            rider,
            zone,
            half_width,
        },
    )
}

/// Prediction, car, shadow arm, what it says.
type Shadow = (u8, u8, u8, Option<f64>);

fn shadow() -> impl Strategy<Value = Shadow> {
    (0u8..22, 0u8..4, 0u8..2, prop::option::of(0.0..2000.0f64))
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

fn evaluate((candidates, outcomes, shadows): &Inputs) -> HourEvaluation {
    let mut shadows: Vec<ShadowRow<'_>> = shadows
        .iter()
        .map(|&(prediction, car, arm, prediction_s)| ShadowRow {
            prediction_id: *id(prediction).as_bytes(),
            candidate_id: NAMES[usize::from(car)],
            arm: ["challenger", "champion of old"][usize::from(arm)],
            model_version: "9",
            prediction_s,
        })
        .collect();
    shadows.sort_by_key(|shadow| shadow.prediction_id);
    let options = EvaluationOptions {
        dimensions: vec!["zone".to_owned()],
        time_zone: Some(jiff::tz::TimeZone::get("America/New_York").unwrap()),
        shadows: &shadows,
    };
    evaluate_hour_with(hour(), &model(), candidates.iter().map(Candidate::row), outcomes, options)
}

type Inputs = (Vec<Candidate>, Vec<OutcomeEvent>, Vec<Shadow>);

fn inputs() -> impl Strategy<Value = Inputs> {
    (
        prop::collection::vec(candidate(), 0..40),
        prop::collection::vec(outcome(), 0..30),
        prop::collection::vec(shadow(), 0..30),
    )
}

/// The inputs repeated and in another order.
fn shuffled() -> impl Strategy<Value = (Inputs, Inputs)> {
    fn repeated<T: Clone + std::fmt::Debug + 'static>(all: Vec<T>) -> impl Strategy<Value = Vec<T>> {
        prop::sample::subsequence(all.clone(), 0..=all.len())
            .prop_map(move |more| all.iter().cloned().chain(more).collect::<Vec<T>>())
            .prop_shuffle()
    }
    inputs().prop_flat_map(|inputs| {
        let (candidates, outcomes, shadows) = inputs.clone();
        (Just(inputs), (repeated(candidates), repeated(outcomes), repeated(shadows)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_and_repetition_do_not_matter((inputs, other) in shuffled()) {
        let evaluation = evaluate(&inputs);
        let repeated = evaluate(&other);
        prop_assert_eq!(&evaluation, &repeated);
        prop_assert_eq!(evaluation.to_json(), repeated.to_json());
        let truths = Truth::from_events(&other.1).into_iter().rev().collect();
        let plain = evaluate_truths(hour(), &model(), other.0.iter().map(Candidate::row), truths);
        prop_assert_eq!(plain.segments(), evaluation.segments());
        prop_assert_eq!(plain.maturity(), evaluation.maturity());
    }

    #[test]
    fn any_split_by_prediction_merges_to_the_whole(inputs in inputs(), part_of in prop::collection::vec(0usize..4, 24)) {
        let whole = evaluate(&inputs);
        let (candidates, outcomes, shadows) = inputs;
        let part_of_id = |wanted: &PredictionId| (0..24u8).find(|&n| id(n) == *wanted).map(|n| part_of[usize::from(n)]).unwrap();
        let parts: Vec<HourEvaluation> = (0..4)
            .map(|part| {
                let candidates = candidates.iter().filter(|c| part_of[usize::from(c.prediction)] == part).cloned().collect();
                let outcomes = outcomes.iter().filter(|o| part_of_id(&o.prediction_id) == part).cloned().collect();
                let shadows = shadows.iter().filter(|s| part_of[usize::from(s.0)] == part).copied().collect();
                // A part that lay on S3 in between.
                HourEvaluation::from_json(&evaluate(&(candidates, outcomes, shadows)).to_json()).unwrap()
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
        let later = hour().plus(40).start();
        prop_assert_eq!(left.maturity_curve(later), whole.maturity_curve(later));
        prop_assert_eq!(left, whole);
    }

    #[test]
    fn a_late_outcome_means_evaluating_the_hour_again(inputs in inputs(), landed in 0usize..30) {
        let last = evaluate(&inputs);
        let (candidates, mut outcomes, shadows) = inputs;
        outcomes.truncate(landed);
        let first = evaluate(&(candidates, outcomes, shadows));
        let (first, last) = (first.all().counts, last.all().counts);
        // Labels only ever land, and nothing is lost or counted twice on the way.
        prop_assert!(last.pending <= first.pending && last.outcomes >= first.outcomes);
        prop_assert_eq!((first.predictions, first.candidates), (last.predictions, last.candidates));
    }

    #[test]
    fn every_prediction_and_outcome_is_counted_once(inputs in inputs()) {
        let evaluation = evaluate(&inputs);
        let (candidates, outcomes, shadows) = inputs;
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
        prop_assert_eq!(evaluation.dimensions().keys().collect::<Vec<_>>(), ["horizon", "hour_of_day", "zone"]);
        for (name, dimension) in evaluation.dimensions() {
            prop_assert_eq!((name, dimension.all()), (name, evaluation.all()));
        }
        // Shadows are counted beside, once per prediction and arm.
        let mut asked: Vec<_> = shadows.iter().map(|s| (s.0, s.2)).filter(|(prediction, _)| ids.contains(prediction)).collect();
        asked.sort_unstable();
        asked.dedup();
        prop_assert_eq!(evaluation.shadows().values().map(|s| s.predictions).sum::<u64>(), asked.len() as u64);
    }
}

#[test]
fn hours_and_models_are_not_mixed() {
    let mut evaluation = evaluate(&Inputs::default());
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
        zone: 0,
        half_width: None,
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
    let json = String::from_utf8(evaluate(&(vec![candidate], vec![event], vec![])).to_json()).unwrap();
    assert!(HourEvaluation::from_json(json.as_bytes()).is_ok());
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["all"]["answer"]["mae_s"], 50.0);
    assert_eq!(value["all"]["label_maturity"], 1.0);
    for (from, to, why) in [
        (r#""format":4"#, r#""format":5"#, "format is 5"),
        (
            r#""joined":1,"cancelled":0,"pending":0,"unknown_candidate":0,"unusable":0},"answer":{"n":1,"sum"#,
            r#""joined":2,"cancelled":0,"pending":0,"unknown_candidate":0,"unusable":0},"answer":{"n":1,"sum"#,
            "sums to 2",
        ),
        (r#""answer":{"n":1,"sum"#, r#""answer":{"n":2,"sum"#, "n is 2"),
        (r#""sum_actual_us":"250000000""#, r#""sum_actual_us":"much""#, "invalid digit"),
        (r#"{"predictions":1,"landed":[1,0"#, r#"{"predictions":1,"landed":[1,1"#, "2 outcomes landed"),
        ("}", "", "EOF"),
    ] {
        assert!(json.contains(from), "{from} in {json}");
        let error = HourEvaluation::from_json(json.replace(from, to).as_bytes()).unwrap_err();
        assert_eq!(error.reason(), "invalid_evaluation");
        assert!(error.to_string().contains(why) || to.is_empty(), "{error}");
    }
}
