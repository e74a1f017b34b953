//! Landed prediction records from JSON lines to a Parquet segment, for `benches/archive_peers.py`.
//!
//! `data PATH RECORDS CANDIDATES [HOURS]` writes records of one hour in any order, or of several as time goes by, the same ones each
//! time. `run INPUT OUTPUT` does what the
//! archiver does with a batch of landed objects, twice, and prints the second run's seconds, by the clock and of the
//! processor: reading the lines with all checks, sorting them by id without duplicates, Parquet. `stages INPUT OUTPUT` prints the seconds of each. `repeat INPUT
//! OUTPUT N` runs N times and nothing else, for profilers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::{
    fs::File,
    io::{BufWriter, Read as _, Write as _},
    time::Instant,
};

use archive::{DecodeLimits, PredictionRows, Rows, decode_source, write_prediction_rows};
use domain::{
    ArmAssignment, CandidateRecord, PredictionId, PredictionRecord, Tier, Timings, digest::sha256_hex,
    lake::LandingSource,
};
use jiff::{Span, Timestamp};
use serde_json::json;

/// SplitMix64: the data are the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// With so many digits after the point.
    fn rounded(&mut self, low: f64, high: f64, digits: i32) -> f64 {
        let scale = 10f64.powi(digits);
        (self.uniform(low, high) * scale).round() / scale
    }
}

fn record(random: &mut Random, number: u64, candidates: u64, at_us: u64) -> PredictionRecord {
    let hour: Timestamp = "2026-11-25T08:00:00Z".parse().unwrap();
    let requested_at = hour + Span::new().microseconds(i64::try_from(at_us).unwrap());
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&random.next().to_le_bytes());
    let arm = ["champion", "challenger"][random.below(2) as usize];
    let endpoint_us = random.below(30_000);
    let at_second = number % 86_400;
    PredictionRecord {
        prediction_id: PredictionId::new(requested_at, bytes),
        model: "pickup-eta".parse().unwrap(),
        release_id: sha256_hex(arm.as_bytes()).parse().unwrap(),
        spec_hash: sha256_hex(b"spec"),
        unit_id: Some(format!("rider-{:06}", random.below(200_000)).parse().unwrap()),
        ride_id: None,
        requested_at,
        answered_at: requested_at + Span::new().microseconds(i64::try_from(endpoint_us).unwrap() + 900),
        assignment: ArmAssignment { experiment_id: Some("gradient-boosting".to_owned()), probability: 0.5, ..ArmAssignment::only(arm) },
        tier: Tier::Endpoint,
        tier_reason: None,
        endpoint: "pickup-eta".to_owned(),
        variant: arm.to_owned(),
        model_version: format!("2026-11-{:02}", 10 + random.below(2)),
        inputs: json!({
            "pickup_lat": random.rounded(40.6, 40.9, 6), "pickup_lon": random.rounded(-74.1, -73.8, 6),
            "dropoff_lat": random.rounded(40.6, 40.9, 6), "dropoff_lon": random.rounded(-74.1, -73.8, 6),
            "requested_at": format!("2026-11-25T{:02}:{:02}:{:02}Z", at_second / 3600, at_second / 60 % 60, at_second % 60),
            "passengers": 1 + random.below(4), "product": (if number.is_multiple_of(3) { "taxi" } else { "premium" }),
        })
        .as_object()
        .unwrap()
        .clone(),
        candidates: (0..candidates)
            .map(|_| CandidateRecord {
                candidate_id: format!("car-{:05}", random.below(20_000)).parse().unwrap(),
                inputs: json!({"car_lat": random.rounded(40.6, 40.9, 6), "car_lon": random.rounded(-74.1, -73.8, 6)}).as_object().unwrap().clone(),
                features: (0..20).map(|_| Some(random.uniform(-3.0, 3.0))).collect(),
                prediction: random.uniform(60.0, 1800.0),
                fallback: random.uniform(60.0, 1800.0),
                uncorrected: None,
                last_shown: None,
                shown: None,
                lower: None,
                upper: None,
            })
            .collect(),
        timings: Timings { transform_us: random.below(400), endpoint_us, total_us: endpoint_us + 900 },
    }
}

/// What a landed object has at most here.
const OBJECT_BYTES: usize = 16 << 20;

/// The file's next lines, as many as make an object; `carried` are the bytes of a line that has begun. `false`: no more.
fn next_object(file: &mut File, object: &mut Vec<u8>, carried: &mut Vec<u8>) -> bool {
    object.clear();
    object.append(carried);
    let room = (OBJECT_BYTES - object.len()) as u64;
    file.take(room).read_to_end(object).unwrap();
    if let Some(end) = object.iter().rposition(|&byte| byte == b'\n') {
        carried.extend_from_slice(&object[end + 1..]);
        object.truncate(end + 1);
    }
    !object.is_empty()
}

/// Seconds of reading and decoding, of sorting, and of writing.
fn run(input: &str, output: &str) -> [f64; 3] {
    let begin = Instant::now();
    let source = LandingSource::Predictions("pickup-eta".parse().unwrap());
    let (mut file, mut object, mut carried) = (File::open(input).unwrap(), Vec::new(), Vec::new());
    let mut batch = PredictionRows::default();
    while next_object(&mut file, &mut object, &mut carried) {
        let landed = decode_source(&source, &object, DecodeLimits::default());
        let Rows::Predictions(rows) = landed.rows else { panic!() };
        assert!(landed.bad.is_empty() && landed.complete);
        batch.append(&rows);
    }
    let decoded = Instant::now();
    let order = batch.sorted();
    let sorted = Instant::now();
    let segment = write_prediction_rows(&batch, &order).unwrap();
    std::fs::write(output, segment).unwrap();
    [(decoded - begin).as_secs_f64(), (sorted - decoded).as_secs_f64(), sorted.elapsed().as_secs_f64()]
}

/// Processor seconds of this thread so far: the first figure of Linux's `schedstat`, in nanoseconds.
fn processor_s() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["data", path, records, candidates, hours @ ..] => {
            let (mut random, candidates) = (Random(20_261_125), candidates.parse().unwrap());
            let hours: u64 = hours.first().map_or(1, |hours| hours.parse().unwrap());
            let records: u64 = records.parse().unwrap();
            let mut file = BufWriter::new(File::create(path).unwrap());
            for number in 0..records {
                let at_us = match hours {
                    1 => random.below(3_600_000_000),
                    _ => number * 3_600_000 / records * hours * 1_000,
                };
                serde_json::to_writer(&mut file, &record(&mut random, number, candidates, at_us)).unwrap();
                file.write_all(b"\n").unwrap();
            }
            file.flush().unwrap();
        }
        ["run", input, output] => {
            run(input, output);
            let began_s = processor_s();
            let clock_s: f64 = run(input, output).iter().sum();
            println!("{clock_s} {}", processor_s() - began_s);
        }
        ["stages", input, output] => {
            run(input, output);
            let [decode, sort, write] = run(input, output);
            println!("decode {decode:.3} s, sort {sort:.3} s, write {write:.3} s");
        }
        ["repeat", input, output, times] => {
            for _ in 0..times.parse().unwrap() {
                run(input, output);
            }
        }
        _ => println!(
            "data PATH RECORDS CANDIDATES [HOURS], run INPUT OUTPUT, stages INPUT OUTPUT, or repeat INPUT OUTPUT TIMES"
        ),
    }
}
