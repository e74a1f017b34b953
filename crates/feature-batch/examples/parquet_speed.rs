//! The twenty features of `benches/features.toml` from Parquet to Parquet, for `benches/parquet_peers.py`.
//!
//! `serve INPUT OUTPUT` answers each line on standard input with the seconds of one run: `run` does all of it on one thread,
//! `run2` on two, `read` only reads the columns, `write` only encodes and compresses what `run` writes, with the parquet crate's
//! writer, `compress` only compresses the columns of it that do not repeat. `repeat INPUT OUTPUT
//! N` runs N times and nothing else, for profilers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::{
    fs::File,
    hint::black_box,
    io::{BufRead as _, BufWriter, Write as _, sink},
    path::Path,
    sync::Arc,
    time::Instant,
};

use arrow_array::{Array as _, RecordBatch};
use feature_batch::{FileSource, Options, Source, ViewFormat, transform};
use features::Plan;
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};

const SPEC: &str = include_str!("../../../benches/features.toml");

/// The spec with something to learn.
fn plan() -> Plan {
    let label = "[inputs.duration_s]\nscope = \"training\"\ntype = \"float\"\n\n[label]\nexpression = \"duration_s\"\n\n[model]";
    Plan::compile("benches/features.toml", &SPEC.replace("[model]", label)).unwrap()
}

fn run(plan: &Plan, input: &Path, output: &Path, threads: usize) -> f64 {
    let start = Instant::now();
    let source = Source { name: "trips".to_owned(), bytes: Box::new(FileSource::open(input).unwrap()) };
    let view = BufWriter::with_capacity(1 << 20, File::create(output).unwrap());
    let options = Options { format: ViewFormat::Parquet, threads };
    let summary = transform(plan, vec![source], view, sink(), options, &mut |_| {}).unwrap();
    assert_eq!(summary.rows, summary.written);
    start.elapsed().as_secs_f64()
}

fn batches(path: &Path, rows: usize) -> impl Iterator<Item = RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    reader.with_batch_size(rows).build().unwrap().map(Result::unwrap)
}

fn read(input: &Path) -> f64 {
    let start = Instant::now();
    batches(input, 8_192).for_each(|batch| drop(black_box(batch)));
    start.elapsed().as_secs_f64()
}

fn repeats(column: &str) -> bool {
    ["is_", "pu_", "do_", "dow_", "passengers"].iter().any(|start| column.starts_with(start))
}

/// zstd alone.
fn compress(output: &Path) -> f64 {
    let groups: Vec<RecordBatch> = batches(output, 131_072).collect();
    let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
    let mut buffer = vec![0; zstd::zstd_safe::compress_bound(8 * 131_072)];
    let start = Instant::now();
    for group in &groups {
        let schema = group.schema();
        for (field, column) in schema.fields().iter().zip(group.columns()).filter(|(field, _)| !repeats(field.name())) {
            let data = column.to_data();
            let bytes = data.buffers()[0].as_slice();
            black_box((field, compressor.compress_to_buffer(bytes, buffer.as_mut_slice()).unwrap()));
        }
    }
    start.elapsed().as_secs_f64()
}

/// Encodes what a run has written, the flags by dictionaries and the rest plain, to nowhere.
fn write(output: &Path) -> f64 {
    let groups: Vec<RecordBatch> = batches(output, 131_072).collect();
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
        .set_dictionary_enabled(false)
        .set_max_row_group_row_count(Some(131_072));
    for column in groups[0].schema().fields().iter().map(|field| field.name()) {
        if column.starts_with("is_") || column.starts_with("pu_") || column.starts_with("do_") || column == "passengers"
        {
            properties = properties.set_column_dictionary_enabled(column.as_str().into(), true);
        }
    }
    let start = Instant::now();
    let mut writer = ArrowWriter::try_new(sink(), Arc::clone(&groups[0].schema()), Some(properties.build())).unwrap();
    for group in &groups {
        writer.write(group).unwrap();
    }
    writer.close().unwrap();
    start.elapsed().as_secs_f64()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let plan = plan();
    match arguments.as_slice() {
        ["serve", input, output] => {
            let (input, output) = (Path::new(input), Path::new(output));
            for line in std::io::stdin().lock().lines() {
                let seconds = match line.unwrap().as_str() {
                    "run2" => run(&plan, input, output, 2),
                    "read" => read(input),
                    "write" => write(output),
                    "compress" => compress(output),
                    _ => run(&plan, input, output, 1),
                };
                println!("{seconds}");
                std::io::stdout().flush().unwrap();
            }
        }
        ["repeat", input, output, times] => {
            let times: usize = times.parse().unwrap();
            let total: f64 = (0..times).map(|_| run(&plan, Path::new(input), Path::new(output), 1)).sum();
            println!("{:.4} s each", total / times as f64);
        }
        _ => println!("serve INPUT OUTPUT, or repeat INPUT OUTPUT TIMES"),
    }
}
