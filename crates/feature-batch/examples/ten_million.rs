//! Makes a Parquet file of seeded rides and transforms it to the training view, for rows/s and peak memory:
//!
//! ```text
//! cargo run --release -p feature-batch --example ten_million -- make /tmp/rides.parquet 10000000
//! cargo run --release -p feature-batch --example ten_million -- run /tmp/rides.parquet /tmp/view parquet 2
//! ```
//!
//! Each run is a process of its own, so that the peak is its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::{fs::File, path::Path, sync::Arc};

use arrow_array::{ArrayRef, Float64Array, Int32Array, RecordBatch, TimestampMicrosecondArray};
use feature_batch::{ViewFormat, run_files};
use features::Plan;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

const SPEC: &str = include_str!("../../../models/pickup-eta/features.toml");
const SEED: u64 = 10_000;
const STEP: usize = 1 << 16;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["make", path, rows] => make(Path::new(path), rows.parse().expect("the number of rows")),
        ["run", path, output, format, threads] => {
            let format = if *format == "csv" { ViewFormat::Csv } else { ViewFormat::Parquet };
            run(Path::new(path), Path::new(output), format, threads.parse().expect("the number of threads"));
        }
        _ => println!("make PATH ROWS, or run PATH OUTPUT csv|parquet THREADS"),
    }
}

/// Uniform in 0–1.
fn unit(random: &mut ChaCha8Rng) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Rides around Manhattan: one row in five without weather, one in a thousand out of range, one in a thousand unlabelled.
fn rides(random: &mut ChaCha8Rng, rows: usize) -> RecordBatch {
    let mut column = |value: &mut dyn FnMut(&mut ChaCha8Rng) -> Option<f64>| -> ArrayRef {
        Arc::new((0..rows).map(|_| value(random)).collect::<Float64Array>())
    };
    let lat = &mut |random: &mut ChaCha8Rng| Some(40.7 + 0.15 * unit(random));
    let lon = &mut |random: &mut ChaCha8Rng| Some(-74.02 + 0.15 * unit(random));
    let weather = |scale: f64| {
        move |random: &mut ChaCha8Rng| {
            let value = (unit(random) * scale * 10.0).round() / 10.0;
            (unit(random) >= 0.2).then_some(value)
        }
    };
    let (car_lat, car_lon, rider_lat) = (column(lat), column(lon), column(lat));
    let rider_lon = column(&mut |random| {
        let lon = -74.02 + 0.15 * unit(random);
        Some(if unit(random) < 0.001 { lon - 180.0 } else { lon })
    });
    let (rain, snow, temperature) = (column(&mut weather(12.0)), column(&mut weather(3.0)), column(&mut weather(30.0)));
    let drive = column(&mut |random| {
        let seconds = (30.0 + 1_200.0 * unit(random)).round();
        Some(if unit(random) < 0.001 { 100_000.0 } else { seconds })
    });
    let mut zone =
        || -> ArrayRef { Arc::new((0..rows).map(|_| Some((random.next_u32() % 263) as i32)).collect::<Int32Array>()) };
    let (car_zone, rider_zone) = (zone(), zone());
    let at: TimestampMicrosecondArray =
        (0..rows).map(|_| Some(1_514_764_800_000_000 + (random.next_u64() % 31_536_000_000_000) as i64)).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("requested_at", Arc::new(at.with_timezone("UTC")) as ArrayRef, true),
        ("car_lat", car_lat, true),
        ("car_lon", car_lon, true),
        ("car_zone", car_zone, true),
        ("rider_lat", rider_lat, true),
        ("rider_lon", rider_lon, true),
        ("rider_zone", rider_zone, true),
        ("rain_mm", rain, true),
        ("snow_mm", snow, true),
        ("temperature_c", temperature, true),
        ("drive_s", drive, true),
    ])
    .expect("columns of one length")
}

fn make(path: &Path, rows: usize) {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("a level of zstd")))
        .set_max_row_group_row_count(Some(1 << 20))
        .build();
    let schema = rides(&mut random, 0).schema();
    let file = File::create(path).expect("a file that can be made");
    let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).expect("a writer");
    let mut left = rows;
    while left > 0 {
        let step = left.min(STEP);
        writer.write(&rides(&mut random, step)).expect("room on the disk");
        left -= step;
    }
    writer.close().expect("room on the disk");
    println!("{rows} rows, {} MB", path.metadata().map_or(0, |file| file.len() / 1_000_000));
}

fn run(path: &Path, output: &Path, format: ViewFormat, threads: usize) {
    let plan = Plan::compile("features.toml", SPEC).expect("the reference model's spec");
    let summary = run_files(&plan, &[path], output, format, threads, &mut |_| {}).expect("a transform");
    let view = output.join(format!("train.{}", format.extension()));
    println!(
        "{format:?}, {threads} thread(s): {} rows, {} written, {:?} rejected, {:.2} s, {:.0} rows/s, view {} MB, peak {} MB",
        summary.rows,
        summary.written,
        summary.rejected,
        summary.elapsed.as_secs_f64(),
        summary.rows_per_s(),
        view.metadata().map_or(0, |file| file.len() / 1_000_000),
        peak_mb(),
    );
}

/// The most memory that the process ever held, by the kernel's account.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()).map_or(0, |kb| kb / 1_000)
}
