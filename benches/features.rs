//! Speed of the feature engine on `features.toml`, twenty features of a trip.
//!
//! `cargo bench -p features` prints times. Arguments after `--`:
//! - `data DIR` writes the trips as one `.npy` file per column, for the peers;
//! - `serve` does what it reads on standard input, a word a line, and answers seconds: `batch`, `fresh`, `row`, `rows20`;
//! - `repeat row|rows20|batch N` does it N times and nothing else, for callgrind.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    hint::black_box,
    io::{BufRead as _, Write as _},
    path::Path,
    time::Instant,
};

use domain::{Candidate, Inputs};
use features::{FeatureTable, InputTable, Plan, Scratch, Transformer};
use jiff::Timestamp;
use serde_json::json;

const SPEC: &str = include_str!("features.toml");
const ROWS: usize = 1_000_000;
const SEED: u64 = 20_261_124;
/// Calls that one measured time of a small request spans.
const CALLS: usize = 2_000;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Mean 0, variance 1: twelve uniform numbers, near enough to normal for places on a map.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

struct Trip {
    pickup_lat: f64,
    pickup_lon: f64,
    dropoff_lat: f64,
    dropoff_lon: f64,
    /// Unix time in seconds.
    pickup_s: i64,
    passengers: i64,
}

fn trips(count: usize) -> impl Iterator<Item = Trip> {
    let mut random = Random(SEED);
    (0..count).map(move |_| Trip {
        pickup_lat: 40.75 + 0.04 * random.normal(),
        pickup_lon: -73.98 + 0.05 * random.normal(),
        dropoff_lat: 40.75 + 0.05 * random.normal(),
        dropoff_lon: -73.97 + 0.06 * random.normal(),
        // 2025.
        pickup_s: 1_735_689_600 + (random.next() % 31_536_000) as i64,
        passengers: 1 + (random.next() % 6) as i64,
    })
}

fn inputs(trip: &Trip) -> Inputs {
    let values = json!({
        "pickup_lat": trip.pickup_lat, "pickup_lon": trip.pickup_lon,
        "dropoff_lat": trip.dropoff_lat, "dropoff_lon": trip.dropoff_lon,
        "passengers": trip.passengers,
    });
    values.as_object().unwrap().clone()
}

/// A plan with rows and warm buffers.
struct Bench {
    plan: Plan,
    table: InputTable,
    scratch: Scratch,
    features: FeatureTable,
}

impl Bench {
    fn new(rows: usize) -> Self {
        let plan = Plan::compile("benches/features.toml", SPEC).unwrap();
        let mut table = InputTable::new(&plan);
        for trip in trips(rows) {
            let at = Timestamp::from_second(trip.pickup_s).unwrap();
            plan.read_training_row(at, &inputs(&trip), "/0", &mut table).unwrap();
        }
        let mut bench = Self { plan, table, scratch: Scratch::default(), features: FeatureTable::default() };
        bench.run();
        bench
    }

    fn run(&mut self) {
        self.plan.evaluate(black_box(&self.table), &mut self.scratch, &mut self.features);
        black_box(&self.features);
    }

    /// Seconds of one call, over `calls`.
    fn seconds(&mut self, calls: usize) -> f64 {
        let start = Instant::now();
        for _ in 0..calls {
            self.run();
        }
        start.elapsed().as_secs_f64() / calls as f64
    }

    /// Seconds of one call whose result's columns are new, as a library that returns a new table has it.
    fn seconds_fresh(&mut self) -> f64 {
        let start = Instant::now();
        self.features = FeatureTable::default();
        self.run();
        start.elapsed().as_secs_f64()
    }
}

/// Least, median and greatest of `count` times.
fn spread(count: usize, mut time: impl FnMut() -> f64) -> [f64; 3] {
    let mut times: Vec<f64> = (0..count).map(|_| time()).collect();
    times.sort_by(f64::total_cmp);
    [times[0], times[count / 2], times[count - 1]]
}

fn report() {
    let plan = Plan::compile("benches/features.toml", SPEC).unwrap();
    println!("{} features, {} steps", plan.output_names().len(), plan.serving_steps());
    let line = |name: &str, [least, median, greatest]: [f64; 3], scale: f64, unit: &str| {
        println!("{name:<44} {:>10.1} {unit}  ({:.1} to {:.1})", median * scale, least * scale, greatest * scale);
    };
    for rows in [1, 2, 3, 4, 8, 20, 100] {
        let mut bench = Bench::new(rows);
        line(&format!("{rows} rows in memory"), spread(201, || bench.seconds(CALLS / rows + 1)), 1e9, "ns");
    }
    let transformer = Transformer::new(plan);
    for rows in [1, 20] {
        let candidates: Vec<Candidate> = trips(rows)
            .enumerate()
            .map(|(index, trip)| Candidate::new(format!("c{index}").parse().unwrap(), inputs(&trip)))
            .collect();
        let (at, shared) = (Timestamp::from_second(1_750_000_000).unwrap(), Inputs::new());
        let mut call = || {
            let start = Instant::now();
            for _ in 0..200 {
                transformer.transform(at, black_box(&shared), &candidates, |table| black_box(table.rows())).unwrap();
            }
            start.elapsed().as_secs_f64() / 200.0
        };
        line(&format!("{rows} rows from a request's JSON values"), spread(201, &mut call), 1e9, "ns");
    }
    let mut bench = Bench::new(ROWS);
    let [least, median, greatest] = spread(31, || bench.seconds(1));
    let millions = |seconds: f64| ROWS as f64 / seconds / 1e6;
    let rate = |name: &str, [least, median, greatest]: [f64; 3]| {
        println!(
            "{name:<44} {:>10.2} M rows/s  ({:.2} to {:.2})",
            millions(median),
            millions(greatest),
            millions(least)
        );
    };
    rate("1,000,000 rows, one thread", [least, median, greatest]);
    rate("1,000,000 rows, new columns at every call", spread(15, || bench.seconds_fresh()));
}

/// One column in the format of `numpy.load` (NPY 1.0).
fn write_npy(path: &Path, kind: &str, values: impl Iterator<Item = [u8; 8]>) {
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({ROWS},), }}");
    while (header.len() + 11) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    values.for_each(|value| bytes.extend(value));
    std::fs::write(path, bytes).unwrap();
}

/// A trip's value of a column.
type Of<T> = fn(&Trip) -> T;

fn write_data(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let floats: [(&str, Of<f64>); 4] = [
        ("pickup_lat", |trip| trip.pickup_lat),
        ("pickup_lon", |trip| trip.pickup_lon),
        ("dropoff_lat", |trip| trip.dropoff_lat),
        ("dropoff_lon", |trip| trip.dropoff_lon),
    ];
    for (name, of) in floats {
        write_npy(&folder.join(format!("{name}.npy")), "<f8", trips(ROWS).map(|trip| of(&trip).to_le_bytes()));
    }
    let ints: [(&str, Of<i64>); 2] = [("pickup_s", |trip| trip.pickup_s), ("passengers", |trip| trip.passengers)];
    for (name, of) in ints {
        write_npy(&folder.join(format!("{name}.npy")), "<i8", trips(ROWS).map(|trip| of(&trip).to_le_bytes()));
    }
    // Our results of the first rows, for the peers to agree with.
    let bench = Bench::new(1000);
    let rows: Vec<Vec<Option<f64>>> = (0..1000).map(|row| bench.features.row(row).collect()).collect();
    std::fs::write(folder.join("ours.json"), serde_json::to_string(&rows).unwrap()).unwrap();
}

fn serve() {
    let (mut batch, mut row, mut rows20) = (Bench::new(ROWS), Bench::new(1), Bench::new(20));
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let seconds = match line.unwrap().as_str() {
            "batch" => batch.seconds(1),
            "fresh" => batch.seconds_fresh(),
            "row" => row.seconds(CALLS),
            "rows20" => rows20.seconds(CALLS),
            _ => return,
        };
        println!("{seconds:e}");
        std::io::stdout().flush().unwrap();
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["data", folder] => write_data(Path::new(folder)),
        ["serve"] => serve(),
        ["repeat", what, times] => {
            let rows = match *what {
                "row" => 1,
                "rows20" => 20,
                _ => 10_000,
            };
            _ = Bench::new(rows).seconds(times.parse().unwrap());
        }
        _ => report(),
    }
}
