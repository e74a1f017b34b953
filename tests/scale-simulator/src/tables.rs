//! The tables of `docs/cost.md`.

use std::fmt::Write;

use crate::{
    ArchiverSize, Assumptions,
    archive::archive,
    costs::per_million,
    limits::{API_REQUESTS_PER_S, LAMBDA_CONCURRENCY},
    proxy::serve,
};

/// The seed of the published tables.
pub const SEED: u64 = 20_260_131;
/// How long requests are simulated, in seconds.
const REQUESTS_S: f64 = 30.0;
/// How long records are simulated, in seconds.
const RECORDS_S: u32 = 600;

/// Limits that a large account has asked for.
pub fn raised(assumed: Assumptions) -> Assumptions {
    Assumptions {
        concurrency_limit: 20 * LAMBDA_CONCURRENCY,
        api_rate_limit: 20.0 * API_REQUESTS_PER_S,
        archiver_max_concurrency: 1_000,
        landing_partitions: 40,
        archiver: ArchiverSize::Large,
        ..assumed
    }
}

/// One line for each rate, in Markdown.
pub fn rates(rates_per_s: &[f64], assumed: &Assumptions) -> String {
    let mut text = "| requests/s | concurrency | cold starts | P50 ms | P99 ms | 429 | 503 | S3 slows down | archiver needs | lag \
                    after 10 min | compaction |\n|---|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for &per_s in rates_per_s {
        let served = serve(per_s, REQUESTS_S, assumed, SEED);
        // What is turned away leaves no record.
        let landed = archive(per_s * (1.0 - served.over_rate - served.throttled), RECORDS_S, assumed);
        _ = writeln!(
            text,
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
    text
}

/// What a million predictions cost, in Markdown.
pub fn costs(assumed: &Assumptions) -> String {
    let costs = per_million(serve(1_000.0, REQUESTS_S, assumed, SEED).mean_ms, assumed);
    let mut text = "| component | per prediction | USD per million |\n|---|---|---|\n".to_owned();
    for cost in &costs {
        _ = writeln!(text, "| {} | {} | {:.2} |", cost.component, cost.formula, cost.usd);
    }
    _ = writeln!(text, "| together | | {:.2} |", costs.iter().map(|cost| cost.usd).sum::<f64>());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::compaction_bites_at;

    #[test]
    fn the_cost_sheet_says_what_the_simulation_says() {
        let sheet = include_str!("../../../docs/cost.md");
        let assumed = Assumptions::default();
        // The larger rates take long without optimisation.
        let told = [costs(&assumed), rates(&[100.0, 1_000.0, 3_000.0], &assumed), rates(&[10_000.0], &raised(assumed))];
        for line in told.iter().flat_map(|text| text.lines()) {
            assert!(sheet.contains(line), "docs/cost.md has not: {line}");
        }
        for (archiver, said) in [(ArchiverSize::Small, "406"), (ArchiverSize::Large, "12,486")] {
            assert_eq!(format!("{:.0}", compaction_bites_at(archiver)), said.replace(',', ""));
            assert!(sheet.contains(said));
        }
    }
}
