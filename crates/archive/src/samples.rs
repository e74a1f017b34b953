//! Records for tests.

use std::collections::BTreeMap;

use domain::{
    ArmAssignment, AssignmentExclusion, CandidateRecord, InferenceRecord, InferenceSource, MetricValue, OutcomeEvent,
    Payload, PayloadEncoding, PredictionId, PredictionRecord, ShadowCandidate, ShadowRecord, Tier, Timings,
};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

fn at(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(1_769_860_800_000_000 + micros).unwrap()
}

/// Few distinct ids, so that sets overlap.
fn id(seed: u32) -> PredictionId {
    let mut random = [0; 10];
    random[..4].copy_from_slice(&seed.to_le_bytes());
    PredictionId::new(at(i64::from(seed % 7) * 1_000_000), random)
}

pub(crate) fn prediction(seed: u32) -> PredictionRecord {
    let number = f64::from(seed) / 3.0;
    let candidates = (0..=seed % 3)
        .map(|index| CandidateRecord {
            candidate_id: format!("car-{index}").parse().unwrap(),
            inputs: json!({"car_lat": 35.0 + number, "車": "x"}).as_object().unwrap().clone(),
            features: vec![Some(number), None],
            prediction: number + f64::from(index),
            fallback: 300.0,
            uncorrected: Some(number - 10.0),
            last_shown: Some(number + 60.0),
            shown: Some(number + 30.0),
            lower: Some(number - 60.0),
            upper: Some(number + 90.0),
        })
        .collect();
    PredictionRecord {
        prediction_id: id(seed),
        model: "pickup-eta".parse().unwrap(),
        release_id: "0123456789abcdef".repeat(4).parse().unwrap(),
        spec_hash: "s".to_owned(),
        unit_id: seed.is_multiple_of(2).then(|| "rider 1".parse().unwrap()),
        ride_id: Some("ride 1".parse().unwrap()),
        requested_at: at(i64::from(seed)),
        answered_at: at(i64::from(seed) + 5),
        assignment: ArmAssignment {
            randomised_unit: Some("7|3600".to_owned()),
            excluded: Some(AssignmentExclusion::CarryOver),
            ..ArmAssignment::only("a")
        },
        tier: Tier::Endpoint,
        tier_reason: None,
        endpoint: "e".to_owned(),
        variant: "v".to_owned(),
        model_version: "1".to_owned(),
        inputs: json!({"lat": 35.6, "vip": true}).as_object().unwrap().clone(),
        candidates,
        timings: Timings { transform_us: 20, endpoint_us: 3000, total_us: 4000 },
    }
}

pub(crate) fn shadow(seed: u32, arm: &str) -> ShadowRecord {
    let PredictionRecord { prediction_id, model, release_id, answered_at, candidates, .. } = prediction(seed);
    let candidates = candidates
        .into_iter()
        .map(|one| ShadowCandidate { candidate_id: one.candidate_id, prediction: Some(one.prediction) })
        .collect();
    ShadowRecord {
        prediction_id,
        model,
        release_id,
        arm: arm.to_owned(),
        endpoint: "e".to_owned(),
        variant: arm.to_owned(),
        model_version: "2".to_owned(),
        answered_at,
        reason: None,
        endpoint_us: 3000,
        candidates,
    }
}

fn any_shadow() -> impl Strategy<Value = ShadowRecord> {
    let candidate = ("[a-z東 ]{1,6}", prop::option::of(finite()))
        .prop_map(|(name, prediction)| ShadowCandidate { candidate_id: name.parse().unwrap(), prediction });
    let candidates = prop::collection::vec(candidate, 1..4);
    (0u32..8, "[ab]?", 0i64..3, prop::option::of(".{0,5}"), 0..=(i64::MAX as u64), candidates).prop_map(
        |(seed, arm, answered, reason, endpoint_us, candidates)| ShadowRecord {
            answered_at: at(answered),
            reason,
            endpoint_us,
            candidates,
            ..shadow(seed, &arm)
        },
    )
}

/// Up to eight records, some of the same id and arm.
pub(crate) fn shadows() -> impl Strategy<Value = Vec<ShadowRecord>> {
    prop::collection::vec(any_shadow(), 0..8)
}

pub(crate) fn outcome(seed: u32) -> OutcomeEvent {
    OutcomeEvent {
        prediction_id: id(seed),
        candidate_id: Some("car-0".parse().unwrap()),
        observed_at: at(600_000_000),
        dispatched_at: None,
        arrived_at: Some(at(500_000_000)),
        cancelled_at: None,
        metrics: BTreeMap::from([("rated".to_owned(), MetricValue::Binary(true))]),
    }
}

pub(crate) fn by_id(mut records: Vec<PredictionRecord>) -> Vec<PredictionRecord> {
    records.sort_by_key(|record| record.prediction_id);
    records
}

fn finite() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>().prop_filter("finite", |value| value.is_finite()), Just(-0.0), Just(1.0)]
}

fn inputs() -> impl Strategy<Value = domain::Inputs> {
    let value = prop_oneof![
        any::<i64>().prop_map(serde_json::Value::from),
        finite().prop_map(serde_json::Value::from),
        any::<bool>().prop_map(serde_json::Value::from),
        ".{0,6}".prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
    ];
    prop::collection::btree_map(".{0,4}", value, 0..3).prop_map(|map| map.into_iter().collect())
}

fn candidate() -> impl Strategy<Value = CandidateRecord> {
    let features = prop::collection::vec(prop::option::of(finite()), 0..4);
    let promise = prop::array::uniform5(prop::option::of(finite()));
    ("[a-z東 ]{1,6}", inputs(), features, finite(), finite(), promise).prop_map(
        |(name, inputs, features, prediction, fallback, [uncorrected, last_shown, shown, lower, upper])| {
            CandidateRecord {
                candidate_id: name.parse().unwrap(),
                inputs,
                features,
                prediction,
                fallback,
                uncorrected,
                last_shown,
                shown,
                lower,
                upper,
            }
        },
    )
}

fn any_assignment() -> impl Strategy<Value = ArmAssignment> {
    let optional = || prop::option::of(".{0,5}");
    let excluded = prop::option::of(prop::sample::select(AssignmentExclusion::ALL.as_slice()));
    (optional(), ".{0,5}", finite(), optional(), excluded).prop_map(
        |(experiment_id, arm, probability, randomised_unit, excluded)| ArmAssignment {
            experiment_id,
            arm,
            probability,
            randomised_unit,
            excluded,
        },
    )
}

fn any_prediction() -> impl Strategy<Value = PredictionRecord> {
    let name = || prop::option::of("[a-z]{1,5}");
    let texts = (".{0,5}", prop::option::of(".{0,5}"), name(), name(), any_assignment());
    let times = (0u32..12, -4_000_000_000_000_000i64..4_000_000_000_000_000, 0i64..3, any::<bool>());
    let timings = prop::array::uniform3(0..=(i64::MAX as u64));
    (times, texts, inputs(), prop::collection::vec(candidate(), 1..4), timings).prop_map(
        |(
            (seed, requested, answered, fallback),
            (text, optional, unit, ride, assignment),
            inputs,
            candidates,
            timings,
        )| {
            let [transform_us, endpoint_us, total_us] = timings;
            PredictionRecord {
                requested_at: at(requested),
                answered_at: at(answered),
                unit_id: unit.map(|unit| unit.parse().unwrap()),
                ride_id: ride.map(|ride| ride.parse().unwrap()),
                assignment,
                tier: if fallback { Tier::Fallback } else { Tier::Endpoint },
                tier_reason: optional,
                endpoint: text,
                inputs,
                candidates,
                timings: Timings { transform_us, endpoint_us, total_us },
                ..prediction(seed)
            }
        },
    )
}

/// Up to eight records, some of the same id.
pub(crate) fn predictions() -> impl Strategy<Value = Vec<PredictionRecord>> {
    prop::collection::vec(any_prediction(), 0..8)
}

fn any_outcome() -> impl Strategy<Value = OutcomeEvent> {
    let metric = prop_oneof![finite().prop_map(MetricValue::Numeric), any::<bool>().prop_map(MetricValue::Binary)];
    let time = || prop::option::of((0i64..5).prop_map(at));
    let metrics = prop::collection::btree_map(".{0,4}", metric, 0..3);
    (0u32..6, prop::option::of("[a-z]{1,3}"), 0i64..3, [time(), time(), time()], metrics).prop_map(
        |(seed, candidate, observed, [dispatched_at, arrived_at, cancelled_at], metrics)| OutcomeEvent {
            prediction_id: id(seed),
            candidate_id: candidate.map(|name| name.parse().unwrap()),
            observed_at: at(observed),
            dispatched_at,
            arrived_at,
            cancelled_at,
            metrics,
        },
    )
}

/// Up to ten events, some equal.
pub(crate) fn outcomes() -> impl Strategy<Value = Vec<OutcomeEvent>> {
    (prop::collection::vec(any_outcome(), 0..8), 0usize..3).prop_map(|(mut events, again)| {
        let repeated: Vec<_> = events.iter().take(again).cloned().collect();
        events.extend(repeated);
        events
    })
}

pub(crate) fn inference(seed: u32) -> InferenceRecord {
    let payload =
        |data: String| Payload { content_type: Some("text/csv".to_owned()), encoding: PayloadEncoding::Csv, data };
    InferenceRecord {
        model: "pickup-eta".parse().unwrap(),
        source: InferenceSource::DataCapture,
        inference_id: id(seed).to_string(),
        event_id: Some(format!("event-{seed}")),
        inference_time: at(i64::from(seed)),
        endpoint: Some("e".to_owned()),
        variant: Some("v".to_owned()),
        input: Some(payload(format!("{seed},,1"))),
        output: Some(payload(seed.to_string())),
        input_location: None,
        output_location: None,
        failure: None,
    }
}

fn payload() -> impl Strategy<Value = Option<Payload>> {
    let data = prop_oneof![
        (Just(PayloadEncoding::Csv), ".{0,8}"),
        (Just(PayloadEncoding::Json), "[1-9][0-9]{0,2}"),
        (Just(PayloadEncoding::Base64), Just("/w==".to_owned())),
    ];
    let payload = (prop::option::of("[a-z/]{1,6}"), data).prop_map(|(content_type, (encoding, data))| Payload {
        content_type,
        encoding,
        data,
    });
    prop::option::of(payload)
}

/// Up to eight inferences, some of ids that are predictions', some equal.
pub(crate) fn inferences() -> impl Strategy<Value = Vec<InferenceRecord>> {
    let texts = (prop::option::of("[a-z0-9-]{1,6}"), prop::option::of("[a-z]{1,4}"), prop::option::of(".{0,4}"));
    let one = (0u32..6, any::<bool>(), 0i64..3, texts, payload(), payload()).prop_map(
        |(seed, ours, micros, (event_id, endpoint, failure), input, output)| InferenceRecord {
            source: InferenceSource::ALL[seed as usize % 3],
            inference_id: if ours { id(seed).to_string() } else { format!("foreign-{seed}") },
            event_id,
            inference_time: at(micros),
            endpoint,
            failure,
            input,
            output,
            ..inference(seed)
        },
    );
    (prop::collection::vec(one, 0..8), 0usize..3).prop_map(|(mut records, again)| {
        let repeated: Vec<_> = records.iter().take(again).cloned().collect();
        records.extend(repeated);
        records
    })
}
