//! Asks a trained model for every row of a CSV file (label first), one row at a time, and prints the best round's nanoseconds a
//! row, then each prediction on a line. `benches/accuracy_peers.py` runs it.
//!
//! ```text
//! cargo run --release -p reference-model --example predict_rows -- job/model view.csv 20
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::{
    hint::black_box,
    io::{BufWriter, Write},
    path::Path,
    time::Instant,
};

use reference_model::Model;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, rows, rounds] = arguments.as_slice() else { panic!("MODEL-FOLDER ROWS.csv ROUNDS") };
    let model = Model::load(Path::new(folder)).expect("the model");
    let text = std::fs::read_to_string(rows).expect("the rows");
    let cell = |cell: &str| if cell.is_empty() { f64::NAN } else { cell.parse().expect("a number") };
    let rows: Vec<Vec<f64>> = text.lines().map(|line| line.split(',').skip(1).map(cell).collect()).collect();
    let rounds: usize = rounds.parse().expect("the number of rounds");
    let best = (0..rounds).map(|_| {
        let began = Instant::now();
        for row in &rows {
            black_box(model.predict_row(black_box(row)));
        }
        began.elapsed().as_nanos() as f64 / rows.len() as f64
    });
    let best = best.min_by(f64::total_cmp).unwrap_or(f64::NAN);
    let mut out = BufWriter::new(std::io::stdout().lock());
    writeln!(out, "{best:.1}").unwrap();
    for row in &rows {
        writeln!(out, "{}", model.predict_row(row)).unwrap();
    }
}
