//! Prints the tables of `docs/cost.md`.
//!
//!     cargo run --release -p scale-simulator --example scale -- [ENDPOINT_MEDIAN_MS ENDPOINT_P99_MS]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use scale_simulator::{
    ArchiverSize, Assumptions,
    archive::{batch_s, compaction_bites_at},
    tables::{costs, raised, rates},
};

fn main() {
    let mut given = std::env::args().skip(1).map(|text| text.parse::<f64>().unwrap());
    let mut assumed = Assumptions::default();
    if let (Some(median), Some(p99)) = (given.next(), given.next()) {
        (assumed.endpoint_median_ms, assumed.endpoint_p99_ms) = (median, p99);
    }
    println!("{assumed:?}\na batch of 500 takes {:.2} s\n", batch_s(&assumed));
    println!("{}", rates(&[100.0, 1_000.0, 3_000.0, 10_000.0, 30_000.0, 100_000.0], &assumed));
    let raised = raised(assumed);
    println!("The same with raised limits: {raised:?}\n\n{}", rates(&[10_000.0, 30_000.0, 100_000.0], &raised));
    for archiver in [ArchiverSize::Small, ArchiverSize::Large] {
        println!("compaction bites at {:.0} requests/s of one model, {archiver:?}", compaction_bites_at(archiver));
    }
    println!("\n{}", costs(&assumed));
}
