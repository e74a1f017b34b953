//! Records for tests: what a proxy makes of requests by a spec.

use domain::{
    Arm, ArmAssignment, Candidate, CandidateRecord, FeatureSpecSource, Inputs, Limits, PredictionId, PredictionRecord,
    Release, Tier, Timings,
};
use features::{Plan, Transformer};
use jiff::Timestamp;
use serde_json::json;

pub(crate) const SPEC: &str = r#"
    name = "pickup-eta"
    prediction = { unit = "s", min = 0.0, max = 100000.0 }
    [inputs]
    rider = { type = "int", personal = "hash", nullable = true }
    phone = { type = "string", personal = "drop" }
    lat = { type = "float" }
    car_lat = { type = "float", scope = "candidate", nullable = true }
    [features]
    direct_m = "ABS(car_lat - lat) * 111195"
    detour_m = "direct_m * 1.25"
    of_rider = "rider / 7"
    hour = "EXTRACT(HOUR FROM requested_at AT TIME ZONE 'Asia/Tokyo')"
    [model]
    outputs = ["direct_m", "detour_m", "of_rider", "hour"]
    [fallback]
    expression = "direct_m / 6"
    default = 300
"#;

pub(crate) fn transformer(spec: &str) -> Transformer {
    Transformer::new(Plan::compile("features.toml", spec).unwrap())
}

pub(crate) fn release() -> Release {
    let arm = Arm {
        name: "only".to_owned(),
        endpoint: "e".to_owned(),
        variant: "v".to_owned(),
        model_version: "1".to_owned(),
    };
    Release::new(
        "pickup-eta".parse().unwrap(),
        Timestamp::UNIX_EPOCH,
        FeatureSpecSource { hash: String::new(), toml: SPEC.to_owned() },
        vec![arm],
        Limits { max_candidates: 9, default_deadline_ms: 100 },
    )
}

/// An answer of the fallback.
pub(crate) fn record(transformer: &Transformer, seed: u32) -> PredictionRecord {
    let requested_at = Timestamp::from_microsecond(1_769_860_800_000_000 + i64::from(seed) * 977_000_001).unwrap();
    let object = |value: serde_json::Value| -> Inputs { value.as_object().unwrap().clone() };
    let raw = object(json!({"rider": seed, "phone": "090", "lat": 35.6 + f64::from(seed) / 7000.0}));
    let candidates: Vec<Candidate> = (0..=seed % 4)
        .map(|car| {
            let lat = if car == 3 { json!(null) } else { json!(35.5 + f64::from(seed * 5 + car) / 900.0) };
            Candidate::new(format!("car-{car}").parse().unwrap(), object(json!({"car_lat": lat})))
        })
        .collect();
    let records = transformer.transform(requested_at, &raw, &candidates, |table| {
        let of = |(row, candidate): (usize, &Candidate)| CandidateRecord {
            candidate_id: candidate.candidate_id.clone(),
            inputs: candidate.inputs.clone(),
            features: table.row(row).collect(),
            prediction: table.fallback()[row],
            fallback: table.fallback()[row],
            uncorrected: None,
            last_shown: None,
            shown: None,
            lower: None,
            upper: None,
        };
        candidates.iter().enumerate().map(of).collect()
    });
    let mut random = [0; 10];
    random[..4].copy_from_slice(&seed.to_le_bytes());
    let mut inputs = raw;
    transformer.plan().protect_inputs(&mut inputs, |_, _| "hmac-sha256:0".to_owned());
    PredictionRecord {
        prediction_id: PredictionId::new(requested_at, random),
        model: "pickup-eta".parse().unwrap(),
        release_id: "0".repeat(64).parse().unwrap(),
        spec_hash: transformer.plan().hash().to_owned(),
        unit_id: None,
        ride_id: None,
        requested_at,
        answered_at: requested_at,
        assignment: ArmAssignment::only("only"),
        tier: Tier::Fallback,
        tier_reason: Some("endpoint_timeout".to_owned()),
        endpoint: "e".to_owned(),
        variant: "v".to_owned(),
        model_version: "1".to_owned(),
        inputs,
        candidates: records.unwrap(),
        timings: Timings::default(),
    }
}
