//! Prints the tables of `docs/cost.md`.
//!
//!     cargo run --release -p scale-simulator --example scale -- [ENDPOINT_MEDIAN_MS ENDPOINT_P99_MS]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use scale_simulator::{
    ArchiverSize, Assumptions,
    archive::{archive, batch_s, compaction_bites_at},
    costs::per_million,
    proxy::serve,
};

const SEED: u64 = 20_260_131;

fn main() {
    let mut given = std::env::args().skip(1).map(|text| text.parse::<f64>().unwrap());
    let mut assumed = Assumptions::default();
    if let (Some(median), Some(p99)) = (given.next(), given.next()) {
        (assumed.endpoint_median_ms, assumed.endpoint_p99_ms) = (median, p99);
    }
    println!("{assumed:?}\na batch of 500 takes {:.2} s\n", batch_s(&assumed));
    println!(
        "| requests/s | concurrency | cold starts | P50 ms | P99 ms | 429 | 503 | S3 slows down | archiver needs | lag after 10 min | compaction |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for per_s in [100.0, 1_000.0, 3_000.0, 10_000.0, 30_000.0, 100_000.0] {
        row(per_s, &assumed);
    }
    let raised = Assumptions {
        concurrency_limit: 20_000,
        api_rate_limit: 200_000.0,
        archiver_max_concurrency: 1_000,
        landing_partitions: 40,
        archiver: ArchiverSize::Large,
        ..assumed
    };
    println!("\nThe same with raised limits: {raised:?}\n");
    for per_s in [10_000.0, 30_000.0, 100_000.0] {
        row(per_s, &raised);
    }
    for archiver in [ArchiverSize::Small, ArchiverSize::Large] {
        println!("\ncompaction bites at {:.0} requests/s of one model, {archiver:?}", compaction_bites_at(archiver));
    }
    let costs = per_million(serve(1_000.0, 30.0, &assumed, SEED).mean_ms, &assumed);
    println!("\n| component | per prediction | USD per million |\n|---|---|---|");
    for cost in &costs {
        println!("| {} | {} | {:.2} |", cost.component, cost.formula, cost.usd);
    }
    println!("| together | | {:.2} |", costs.iter().map(|cost| cost.usd).sum::<f64>());
}

fn row(per_s: f64, assumed: &Assumptions) {
    let served = serve(per_s, 30.0, assumed, SEED);
    // What is turned away leaves no record.
    let records = per_s * (1.0 - served.over_rate - served.throttled);
    let landed = archive(records, 600, assumed);
    println!(
        "| {per_s:.0} | {} | {} | {:.0} | {:.0} | {:.1} % | {:.1} % | {:.1} % | {:.0} | {:.0} s | {:.0} s |",
        served.peak_concurrency,
        served.cold_starts,
        served.p50_ms,
        served.p99_ms,
        100.0 * served.over_rate,
        100.0 * served.throttled,
        100.0 * landed.slowed_down,
        landed.needed.ceil(),
        landed.lag_s,
        landed.compaction_s,
    );
}
