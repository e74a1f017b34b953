//! The A/A self-test with few experiments. `examples/aa` runs the same with many.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../examples/aa/simulation.rs"]
mod simulation;

use simulation::{ALPHA, aa, clustered, power, rare_shares, ratio_alarms};

/// Three standard deviations of a share of 5 % among so many.
fn noise(experiments: u32) -> f64 {
    3.0 * (0.05 * 0.95 / f64::from(experiments)).sqrt()
}

#[test]
fn nothing_is_found_where_nothing_is() {
    let found = aa(1_000, 60, 11);
    assert!((found.fixed - 0.05).abs() < noise(1_000), "{found:?}");
    assert!(found.sequential <= 0.05, "{found:?}");
    // Why the sequential test is the default.
    assert!(found.fixed_peeked > 0.15, "{found:?}");
}

#[test]
fn riders_are_the_unit_where_riders_are_randomised() {
    let found = clustered(600, 12, 12);
    assert!((found.rider_at_the_end - 0.05).abs() < noise(600) + 0.01, "{found:?}");
    assert!(found.rider_sequential <= 0.05, "{found:?}");
    assert!(found.rides_apart > 0.15, "{found:?}");
}

#[test]
fn a_guardrail_of_rare_failures_is_not_breached_by_chance() {
    // From rides where one in 500 fails, to an endpoint that hardly ever does; an arm without a failure yet is the rule.
    for (share, share_b) in [(0.002, 0.5), (0.002, 0.1), (0.002, 0.01), (0.0002, 0.1)] {
        let breached = rare_shares(200, 400, share, share_b, 15);
        println!("{share} fail, {share_b} in b: {breached}");
        assert!(breached <= ALPHA, "{share} fail, {share_b} in b: {breached}");
    }
}

#[test]
fn the_hash_raises_next_to_no_alarm() {
    let found = ratio_alarms(400, 20);
    assert!(found.fixed <= 0.01 && found.sequential <= 0.01, "{found:?}");
}

#[test]
fn a_true_effect_is_found_as_planned() {
    let (fixed, any_time) = (power(600, false, 13).unwrap(), power(400, true, 14).unwrap());
    assert!(fixed.units < any_time.units, "{fixed:?} {any_time:?}");
    assert!((fixed.at_the_end - 0.8).abs() < 0.05, "{fixed:?}");
    assert!(any_time.on_any_day >= any_time.at_the_end && any_time.at_the_end > 0.75, "{any_time:?}");
    assert!(fixed.covered > 0.92 && any_time.covered > 0.95, "{fixed:?} {any_time:?}");
}
