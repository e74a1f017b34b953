//! A synthetic city for the example page and for tests: four days of rides with a day's rhythm, two arms, a share of
//! fallback answers and cancellations, and labels that are still landing at the end.

use domain::{
    Arm, ExperimentPlan, FeatureSpecSource, Hour, Limits, ModelName, OutcomeEvent, PredictionId, Release, Tier,
};
use evaluation::{
    ExperimentRow, HourEvaluation, PredictionRow, evaluate_hour,
    report::{ReleaseFacts, ReportData, ReportFacts},
};
use jiff::Timestamp;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The report of `hours` hours; `busy` is the mean number of requests in an hour.
#[allow(clippy::unwrap_used)]
pub(crate) fn city(hours: i64, busy: f64) -> ReportData {
    let first: Hour = "2026-11-20T00".parse().unwrap();
    let model: ModelName = "pickup-eta".parse().unwrap();
    let evaluations: Vec<HourEvaluation> = (0..hours)
        // A night in which the archive was down.
        .filter(|hour| !(hours > 60 && (51..55).contains(hour)))
        .map(|hour| evaluate(&model, first.plus(hour), first.plus(hours).start(), busy))
        .collect();
    let arm = |name: &str, version: &str| Arm {
        name: name.to_owned(),
        endpoint: "pickup-eta".to_owned(),
        variant: name.to_owned(),
        model_version: version.to_owned(),
    };
    let release = Release {
        experiment: Some(ExperimentPlan::new("deeper-trees", vec![0.5, 0.5])),
        ..Release::new(
            model.clone(),
            "2026-11-18T09:30:00Z".parse().unwrap(),
            FeatureSpecSource { hash: "0".repeat(64), toml: String::new() },
            vec![arm("control", "pickup-eta-2026-10-04"), arm("deeper-trees", "pickup-eta-2026-11-17")],
            Limits { max_candidates: 200, default_deadline_ms: 500 },
        )
    };
    let release = Some(ReleaseFacts::of(&release).unwrap());
    let facts = ReportFacts { model, generated_at: first.plus(hours).start(), release };
    ReportData::new(facts, &evaluations).unwrap()
}

#[allow(clippy::unwrap_used)]
fn evaluate(model: &ModelName, hour: Hour, now: Timestamp, busy: f64) -> HourEvaluation {
    let mut random = ChaCha8Rng::seed_from_u64(hour.start().as_second() as u64);
    let time_of_day = f64::from(hour.hour_of_day()) / 24.0 * std::f64::consts::TAU;
    let rush = 1.0 - 0.75 * time_of_day.cos() - 0.35 * (2.0 * time_of_day).cos();
    let requests = (busy * rush.max(0.12)) as usize;
    let (mut rows, mut outcomes) = (Vec::new(), Vec::new());
    for _ in 0..requests {
        let mut bits = [0; 10];
        random.fill_bytes(&mut bits);
        let requested_us = hour.start().as_microsecond() + random.random_range(0..3_600_000_000);
        let requested_at = Timestamp::from_microsecond(requested_us).unwrap();
        let id = PredictionId::new(requested_at, bits);
        let treated = random.random::<bool>();
        let tier = if random.random_bool(0.03) { Tier::Fallback } else { Tier::Endpoint };
        let truth_s = 90.0 + 330.0 * (0.55 * normal(&mut random)).exp();
        let spread = if treated { 0.20 } else { 0.235 } * (0.85 + 0.2 * rush);
        let answer_s = truth_s * (1.0 + spread * normal(&mut random)) - 9.0 + 25.0 * normal(&mut random);
        let naive_s = truth_s * (0.92 + 0.33 * normal(&mut random)) + 40.0 * normal(&mut random);
        let candidates = random.random_range(1..4usize);
        for candidate_id in &["car-1", "car-2", "car-3"][..candidates] {
            let away = if *candidate_id == "car-1" { 0.0 } else { 60.0 };
            rows.push(PredictionRow {
                prediction_id: *id.as_bytes(),
                candidate_id,
                model_version: if treated { "pickup-eta-2026-11-17" } else { "pickup-eta-2026-10-04" },
                arm: if treated { "deeper-trees" } else { "control" },
                tier,
                requested_at_us: requested_us,
                prediction_s: away + if tier == Tier::Fallback { naive_s } else { answer_s }.max(20.0),
                fallback_s: away + naive_s.max(20.0),
                interval: None,
                values: &[],
                experiment: Some(ExperimentRow { id: "deeper-trees", randomised_unit: None, excluded: false }),
                unit_id: None,
            });
        }
        let cancelled = random.random_bool(0.06);
        let happens_us = requested_us + (truth_s * if cancelled { 0.4e6 } else { 1e6 }) as i64;
        let happens_at = Timestamp::from_microsecond(happens_us).unwrap();
        // The data warehouse tells us in the next hours, not at once, and forgets one in a hundred.
        let heard_us = happens_us + random.random_range(0..9_000_000_000i64);
        if heard_us < now.as_microsecond() && !random.random_bool(0.01) {
            outcomes.push(OutcomeEvent {
                prediction_id: id,
                candidate_id: Some("car-1".parse().unwrap()),
                observed_at: Timestamp::from_microsecond(heard_us).unwrap(),
                dispatched_at: Some(requested_at),
                arrived_at: (!cancelled).then_some(happens_at),
                cancelled_at: cancelled.then_some(happens_at),
                metrics: std::collections::BTreeMap::new(),
            });
        }
    }
    evaluate_hour(hour, model, rows, &outcomes)
}

/// Box–Muller.
fn normal(random: &mut ChaCha8Rng) -> f64 {
    let (radius, angle): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}
