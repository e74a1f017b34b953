//! Join and figures of a day's hour files, for `benches/evaluation_peers.py`.
//!
//! `data DIR ROWS` writes a day of predictions, and an outcome of each, as the archive does. `serve DIR` answers each line on
//! standard input with the wall and processor seconds of one run over the day: `run` evaluates each hour as the evaluator does,
//! batch by batch; `rows` as it did before, from all rows in memory; `read` only reads what `run` reads. `figures DIR` prints
//! what the run comes to by arm and hour, `repeat DIR N` runs N times and nothing else, for profilers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::{
    fs::{self, File},
    hint::black_box,
    io::{BufRead as _, Write as _},
    path::{Path, PathBuf},
    time::Instant,
};

use archive::{
    outcome_batches, prediction_batches, read_outcomes, read_prediction_columns, write_outcomes, write_predictions,
};
use bytes::Bytes;
use domain::{
    ArmAssignment, CandidateRecord, Hour, Inputs, OutcomeEvent, PredictionId, PredictionRecord, Tier, Timings,
};
use evaluation::{
    EvaluationOptions, HourAccumulator, HourEvaluation, OutcomeBatch, OutcomeRow, PredictionBatch, PredictionRow,
    evaluate_hour, join_batches,
};
use jiff::{SignedDuration, Timestamp};

const HOURS: i64 = 24;

/// A generator of random bits: SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn first() -> Hour {
    "2026-03-01T00".parse().unwrap()
}

fn paths(folder: &Path, number: i64) -> (PathBuf, PathBuf) {
    (folder.join(format!("predictions-{number:02}.parquet")), folder.join(format!("outcomes-{number:02}.parquet")))
}

fn data(folder: &Path, rows: i64) {
    let mut random = Random(7);
    for number in 0..HOURS {
        let in_hour = rows / HOURS + i64::from(number < rows % HOURS);
        let start = first().plus(number).start();
        let mut predictions = Vec::new();
        let mut outcomes = Vec::new();
        for row in 0..in_hour {
            let requested_at = start + SignedDuration::from_micros(row * 3_600_000_000 / in_hour);
            let bits = [random.next().to_le_bytes(), random.next().to_le_bytes()].concat();
            let prediction_id = PredictionId::new(requested_at, bits[..10].try_into().unwrap());
            let car = format!("car-{:04}", random.next() % 5000);
            let prediction = 60.0 + 1500.0 * random.share() * random.share();
            let actual_us = (prediction * 1e6 * (0.6 + 0.8 * random.share())) as i64;
            predictions.push(record(prediction_id, requested_at, &car, prediction, &mut random));
            outcomes.push(OutcomeEvent {
                prediction_id,
                candidate_id: Some(car.parse().unwrap()),
                observed_at: requested_at + SignedDuration::from_micros(actual_us + 30_000_000),
                dispatched_at: None,
                arrived_at: Some(requested_at + SignedDuration::from_micros(actual_us)),
                cancelled_at: None,
                metrics: std::collections::BTreeMap::new(),
            });
        }
        let (predictions_path, outcomes_path) = paths(folder, number);
        fs::write(predictions_path, write_predictions(&predictions).unwrap()).unwrap();
        fs::write(outcomes_path, write_outcomes(&outcomes).unwrap()).unwrap();
    }
}

fn record(id: PredictionId, at: Timestamp, car: &str, prediction: f64, random: &mut Random) -> PredictionRecord {
    let mut inputs = Inputs::new();
    inputs.insert("rider_zone".to_owned(), (random.next() % 260).into());
    inputs.insert("rain_mm".to_owned(), 0.5.into());
    let arm = if random.next().is_multiple_of(2) { "control" } else { "treatment" };
    PredictionRecord {
        prediction_id: id,
        model: "pickup-eta".parse().unwrap(),
        release_id: "0".repeat(64).parse().unwrap(),
        spec_hash: "1".repeat(64),
        unit_id: None,
        ride_id: None,
        requested_at: at,
        answered_at: at + SignedDuration::from_millis(12),
        assignment: ArmAssignment::only(arm),
        tier: Tier::Endpoint,
        tier_reason: None,
        endpoint: "pickup-eta".to_owned(),
        variant: arm.to_owned(),
        model_version: format!("{arm}-1"),
        inputs,
        candidates: vec![CandidateRecord {
            candidate_id: car.parse().unwrap(),
            inputs: Inputs::new(),
            features: vec![Some(random.share()), Some(random.share())],
            prediction,
            fallback: prediction.round() + 30.0,
            uncorrected: None,
            last_shown: None,
            shown: None,
            lower: None,
            upper: None,
        }],
        timings: Timings::default(),
    }
}

struct Predictions(archive::PredictionBatch);

impl PredictionBatch for Predictions {
    fn rows(&self) -> usize {
        self.0.len()
    }

    fn id(&self, row: usize) -> [u8; 16] {
        self.0.id(row)
    }

    fn row(&self, row: usize) -> PredictionRow<'_> {
        PredictionRow {
            prediction_id: self.0.id(row),
            candidate_id: self.0.candidate_id(row),
            model_version: self.0.model_version(row),
            arm: self.0.arm(row),
            tier: self.0.tier(row),
            requested_at_us: self.0.requested_at_us(row),
            prediction_s: self.0.prediction(row),
            uncorrected_s: None,
            fallback_s: self.0.fallback(row),
            interval: self.0.interval(row),
            experiment: None,
            unit_id: self.0.unit_id(row),
            values: &[],
        }
    }
}

struct Outcomes(archive::OutcomeBatch);

impl OutcomeBatch for Outcomes {
    fn rows(&self) -> usize {
        self.0.len()
    }

    fn id(&self, row: usize) -> [u8; 16] {
        self.0.id(row)
    }

    fn row(&self, row: usize) -> OutcomeRow<'_> {
        OutcomeRow {
            prediction_id: self.0.id(row),
            candidate_id: self.0.candidate_id(row),
            observed_at_us: self.0.observed_at_us(row),
            arrived_at_us: self.0.arrived_at_us(row),
            cancelled_at_us: self.0.cancelled_at_us(row),
        }
    }
}

fn file(path: PathBuf) -> File {
    File::open(path).unwrap()
}

fn bytes(path: PathBuf) -> Bytes {
    fs::read(path).unwrap().into()
}

/// One hour as the evaluator evaluates it.
fn streamed(folder: &Path, number: i64) -> HourEvaluation {
    let (predictions, outcomes) = paths(folder, number);
    let mut hour = HourAccumulator::new(EvaluationOptions::default());
    let predictions = prediction_batches(file(predictions), false).unwrap().map(|batch| batch.map(Predictions));
    let outcomes = outcome_batches(file(outcomes)).unwrap().map(|batch| batch.map(Outcomes));
    join_batches(&mut hour, predictions, outcomes, |_, arrival| _ = black_box(arrival)).unwrap();
    hour.finish(first().plus(number), &"pickup-eta".parse().unwrap())
}

/// One hour from all its rows in memory.
fn from_rows(folder: &Path, number: i64) -> HourEvaluation {
    let (predictions, outcomes) = paths(folder, number);
    let columns = read_prediction_columns(bytes(predictions)).unwrap();
    let outcomes = read_outcomes(bytes(outcomes)).unwrap();
    let rows = (0..columns.len()).map(|row| PredictionRow {
        prediction_id: *columns.prediction_id[row].as_bytes(),
        candidate_id: &columns.candidate_id[row],
        model_version: &columns.model_version[row],
        arm: &columns.arm[row],
        tier: columns.tier[row],
        requested_at_us: columns.requested_at[row].as_microsecond(),
        prediction_s: columns.prediction[row],
        uncorrected_s: None,
        fallback_s: columns.fallback[row],
        interval: columns.lower[row].zip(columns.upper[row]).map(|(low, high)| [low, high]),
        experiment: None,
        unit_id: columns.unit_id[row].as_deref(),
        values: &[],
    });
    evaluate_hour(first().plus(number), &"pickup-eta".parse().unwrap(), rows, &outcomes)
}

fn read(folder: &Path, number: i64) {
    let (predictions, outcomes) = paths(folder, number);
    for batch in prediction_batches(file(predictions), false).unwrap() {
        black_box(batch.unwrap().len());
    }
    for batch in outcome_batches(file(outcomes)).unwrap() {
        black_box(batch.unwrap().len());
    }
}

/// This process's user and system time, seconds.
fn processor_s() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    // Linux counts in hundredths of a second here.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [command, folder, rest @ ..] = arguments.as_slice() else {
        panic!("data, serve, figures or repeat, and a folder")
    };
    let folder = Path::new(folder);
    let number = |index: usize| rest.get(index).and_then(|text: &String| text.parse::<i64>().ok()).unwrap();
    let all = |what: &str| {
        for hour in 0..HOURS {
            match what {
                "run" => _ = black_box(streamed(folder, hour)),
                "rows" => _ = black_box(from_rows(folder, hour)),
                _ => read(folder, hour),
            }
        }
    };
    match command.as_str() {
        "data" => data(folder, number(0)),
        "repeat" => {
            (0..number(0)).for_each(|_| all("run"));
            let status = fs::read_to_string("/proc/self/status").unwrap();
            println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap());
        }
        "figures" => {
            for hour in 0..HOURS {
                for (segment, statistics) in streamed(folder, hour).segments() {
                    let figures = statistics.summary().answer.unwrap();
                    println!(
                        "{} {hour} {} {} {} {}",
                        segment.arm, figures.n, figures.mae_s, figures.rmse_s, figures.share_within_120_s
                    );
                }
            }
        }
        "serve" => {
            for line in std::io::stdin().lock().lines() {
                let (start, before) = (Instant::now(), processor_s());
                all(line.unwrap().trim());
                println!("{} {}", start.elapsed().as_secs_f64(), processor_s() - before);
                std::io::stdout().flush().unwrap();
            }
        }
        _ => panic!("data, serve, figures or repeat"),
    }
}
