//! A/A self-test: how often the statistics find what is not there, and what is.
//!
//!     cargo run --release -p experiments --example aa [EXPERIMENTS]

mod simulation;

use simulation::{DAYS, PLANNED_POWER, TRUE_EFFECT, aa, clustered, power, rare_shares, ratio_alarms};

fn main() {
    let experiments = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(20_000);
    println!("{experiments} simulated experiments a row, {DAYS} days, a look each day, α = 0.05\n");
    println!("| no effect | of all | expected |");
    println!("|---|---:|---|");
    let row = |what: &str, share: f64, expected: &str| println!("| {what} | {:.2} % | {expected} |", 100.0 * share);
    let plain = aa(experiments, 200, 1);
    row("Welch, at the end alone", plain.fixed, "5 %");
    row("Welch, any day's look", plain.fixed_peeked, "far too many: why it is not the default");
    row("confidence sequence, any day's look", plain.sequential, "at most 5 %");
    let riders = clustered(experiments, 30, 2);
    row("riders randomised, Welch by ride", riders.rides_apart, "far too many: why ratios are by rider");
    row("riders randomised, Welch by rider", riders.rider_at_the_end, "5 %");
    row("riders randomised, confidence sequence by rider, any day's look", riders.rider_sequential, "at most 5 %");
    for (share_b, what) in [(0.5, "half"), (0.1, "a tenth"), (0.01, "a hundredth")] {
        let what = format!("guardrail worse, 0.2 % fail in either arm, {what} of the units in b, any hour's look");
        row(&what, rare_shares(experiments, 1_000, 0.002, share_b, 4), "at most 5 %");
    }
    let alarms = ratio_alarms(experiments, 200);
    row("sample ratio alarm, χ² at the end", alarms.fixed, "0.1 %");
    row("sample ratio alarm, sequential, any day's look", alarms.sequential, "at most 0.1 %");

    println!(
        "\n| a true effect of {TRUE_EFFECT} standard deviations | units | found at the end | found on any day | covered at the end |"
    );
    println!("|---|---:|---:|---:|---:|");
    for (what, any_time) in [("planned for Welch at the end", false), ("planned for the confidence sequence", true)] {
        let Some(found) = power(experiments, any_time, 3) else { continue };
        println!(
            "| {what}, power {:.0} % | {} | {:.2} % | {:.2} % | {:.2} % |",
            100.0 * PLANNED_POWER,
            found.units,
            100.0 * found.at_the_end,
            100.0 * found.on_any_day,
            100.0 * found.covered,
        );
    }
}
