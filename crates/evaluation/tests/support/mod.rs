//! A synthetic city for the example page and for tests: four days of rides with a day's rhythm, two arms, a share of
//! fallback answers and cancellations, and labels that are still landing at the end.

use std::sync::Arc;

use domain::{
    Arm, ExperimentPlan, FeatureSpecSource, Hour, Limits, ModelName, OutcomeEvent, PredictionId, PromisePolicy,
    Release, ResidualQuantile, Tier,
};
use evaluation::{
    EvaluationOptions, ExperimentRow, HourEvaluation, PredictionRow,
    drift::{FeatureCounts, ModelBaseline, TrainingBaseline},
    evaluate_hour_with,
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
    let baselines = Baselines::new();
    let evaluations: Vec<HourEvaluation> = (0..hours)
        // A night in which the archive was down.
        .filter(|hour| !(hours > 60 && (51..55).contains(hour)))
        .map(|hour| evaluate(&model, first.plus(hour), first.plus(hours).start(), busy, &baselines))
        .collect();
    let arm = |name: &str, version: &str| Arm {
        name: name.to_owned(),
        endpoint: "pickup-eta".to_owned(),
        variant: name.to_owned(),
        model_version: version.to_owned(),
    };
    let release = Release {
        experiment: Some(ExperimentPlan::new("deeper-trees", vec![0.5, 0.5])),
        promise: Some(PromisePolicy {
            calibration: [(0.05, -120.0), (0.95, 120.0)]
                .map(|(probability, residual)| ResidualQuantile { probability, residual })
                .to_vec(),
            interval: 0.9,
            late_cost: 3.0,
            early_cost: 1.0,
            damping: None,
        }),
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
    let mut data = ReportData::new(facts, &evaluations).unwrap().with_drift("t", &baselines.training, &evaluations);
    for model in &baselines.models {
        data = data.with_model_drift(&model.model_version, model, &evaluations);
    }
    data
}

const ZONES: [&str; 6] = ["airport", "harbour", "hill", "market", "old town", "station"];
const VERSIONS: [&str; 2] = ["pickup-eta-2026-10-04", "pickup-eta-2026-11-17"];
const FEATURES: [&str; 4] = ["distance_m", "zone", "rain_mm", "wind_m_s"];

/// What was known before the city was served. It has rained more since, and every fifth wind is lost.
struct Baselines {
    training: TrainingBaseline,
    models: Vec<ModelBaseline>,
}

impl Baselines {
    fn new() -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(4);
        let rides: Vec<(f64, usize)> = (0..4_000).map(|_| (truth(&mut random), random.random_range(0..6))).collect();
        let features: Vec<[Option<f64>; 4]> =
            rides.iter().map(|(truth_s, zone)| features(*truth_s, *zone, false, &mut random)).collect();
        let column = |index: usize| features.iter().map(|row| row[index].unwrap_or(f64::NAN)).collect::<Vec<f64>>();
        let columns: Vec<Vec<f64>> = (0..FEATURES.len()).map(column).collect();
        let labels: Vec<f64> = rides.iter().map(|ride| ride.0).collect();
        let named = FEATURES.into_iter().zip(columns.iter().map(Vec::as_slice));
        let mut held_out = |spread: f64| -> Vec<(f64, f64)> {
            rides.iter().map(|(truth_s, _)| (truth_s * (1.0 + spread * normal(&mut random)), *truth_s)).collect()
        };
        let rows = [held_out(0.17), held_out(0.20)];
        let models = VERSIONS.into_iter().zip(rows);
        Self {
            training: TrainingBaseline::of("0".repeat(64), named, &labels),
            models: models.filter_map(|(version, rows)| ModelBaseline::of(version, "0".repeat(64), rows)).collect(),
        }
    }
}

fn truth(random: &mut ChaCha8Rng) -> f64 {
    90.0 + 330.0 * (0.55 * normal(random)).exp()
}

fn features(truth_s: f64, zone: usize, served: bool, random: &mut ChaCha8Rng) -> [Option<f64>; 4] {
    let rain = (normal(random) + if served { 0.8 } else { 0.0 }).max(0.0) * 4.0;
    let wind = if served && random.random_bool(0.2) { None } else { Some(3.0 + normal(random).abs() * 2.0) };
    [Some(truth_s * 5.0 * (1.0 + 0.1 * normal(random))), Some(zone as f64), Some(rain.round()), wind]
}

#[allow(clippy::unwrap_used)]
fn evaluate(model: &ModelName, hour: Hour, now: Timestamp, busy: f64, baselines: &Baselines) -> HourEvaluation {
    let zones: Vec<[Arc<str>; 1]> = ZONES.iter().map(|zone| [Arc::from(*zone)]).collect();
    let mut counts = FeatureCounts::new(&baselines.training);
    let mut answers: [Vec<(f64, f64)>; 2] = Default::default();
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
        let truth_s = truth(&mut random);
        let zone = random.random_range(0..6);
        let spread = if treated { 0.20 } else { 0.235 } * (0.85 + 0.2 * rush) * if zone == 0 { 1.7 } else { 0.9 };
        let answer_s = truth_s * (1.0 + spread * normal(&mut random)) - 9.0 + 25.0 * normal(&mut random);
        let naive_s = truth_s * (0.92 + 0.33 * normal(&mut random)) + 40.0 * normal(&mut random);
        let candidates = random.random_range(1..4usize);
        for candidate_id in &["car-1", "car-2", "car-3"][..candidates] {
            let away = if *candidate_id == "car-1" { 0.0 } else { 60.0 };
            rows.push(PredictionRow {
                prediction_id: *id.as_bytes(),
                candidate_id,
                model_version: VERSIONS[usize::from(treated)],
                arm: if treated { "deeper-trees" } else { "control" },
                tier,
                requested_at_us: requested_us,
                prediction_s: away + if tier == Tier::Fallback { naive_s } else { answer_s }.max(20.0),
                uncorrected_s: None,
                fallback_s: away + naive_s.max(20.0),
                interval: Some([answer_s - 0.33 * answer_s, answer_s + 0.42 * answer_s]),
                values: &zones[zone],
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
            if !cancelled {
                counts.add(&baselines.training, features(truth_s, zone, true, &mut random), Some(truth_s));
                if tier == Tier::Endpoint {
                    answers[usize::from(treated)].push((answer_s.max(20.0), truth_s));
                }
            }
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
    let options = EvaluationOptions { dimensions: vec!["zone".to_owned()], ..EvaluationOptions::default() };
    let mut evaluation = evaluate_hour_with(hour, model, rows, &outcomes, options);
    evaluation.set_features("t", counts);
    for (baseline, answers) in baselines.models.iter().zip(answers) {
        evaluation.set_model_answers(&baseline.model_version, baseline, &answers);
    }
    evaluation
}

/// Box–Muller.
fn normal(random: &mut ChaCha8Rng) -> f64 {
    let (radius, angle): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}
