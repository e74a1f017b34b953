//! How often conformal intervals hold the truth, on exchangeable and on drifting data.
//!
//!     cargo run --release -p evaluation --example conformal_coverage [REPETITIONS]

use evaluation::conformal::{AdaptiveConformal, absolute_scores, conformal_quantile, quantile_scores};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const CONFIDENCE: f64 = 0.9;
const CALIBRATION: usize = 200;
const NEW: usize = 50;

fn exponential(random: &mut ChaCha8Rng) -> f64 {
    -(1.0 - random.random::<f64>()).ln()
}

/// Predicted and actual minutes: the actual is skewed, and the model biased.
fn ride(random: &mut ChaCha8Rng) -> (f64, f64) {
    let predicted = 3.0 + 12.0 * random.random::<f64>();
    (predicted, predicted * (0.6 + 0.6 * exponential(random)))
}

fn main() -> Result<(), evaluation::EvaluationError> {
    let repetitions = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(20_000_u32);
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let (mut split, mut quantile) = (0_usize, 0_usize);
    for _ in 0..repetitions {
        let (predicted, actual): (Vec<f64>, Vec<f64>) = (0..CALIBRATION).map(|_| ride(&mut random)).unzip();
        let (lower, upper): (Vec<f64>, Vec<f64>) = predicted.iter().map(|p| (0.7 * p, 1.5 * p)).unzip();
        let reach = conformal_quantile(&absolute_scores(&actual, &predicted)?, CONFIDENCE)?.quantile;
        let widened = conformal_quantile(&quantile_scores(&actual, &lower, &upper)?, CONFIDENCE)?.quantile;
        let (reach, widened) = (reach.unwrap_or(f64::INFINITY), widened.unwrap_or(f64::INFINITY));
        for _ in 0..NEW {
            let (predicted, actual) = ride(&mut random);
            split += usize::from((actual - predicted).abs() <= reach);
            quantile += usize::from(actual >= 0.7 * predicted - widened && actual <= 1.5 * predicted + widened);
        }
    }
    let mut adaptive = AdaptiveConformal::new(1.0 - CONFIDENCE, 0.01, 500, 100)?;
    let (mut covered, mut steps) = (0_u32, 0_u32);
    for index in 0..100_000_u32 {
        let (predicted, actual) = ride(&mut random);
        let growth = 1.0 + f64::from(index) / 25_000.0;
        if let Some(step) = adaptive.update(growth * (actual - predicted).abs()) {
            covered += u32::from(!step.missed);
            steps += 1;
        }
    }
    let all = repetitions as usize * NEW;
    println!("{repetitions} calibrations of {CALIBRATION} rides, {NEW} new rides each; confidence 90 %\n");
    println!("| intervals | coverage |");
    println!("|---|---:|");
    println!("| split conformal, exchangeable rides | {:.2} % |", 100.0 * split as f64 / all as f64);
    println!("| conformalised quantiles, exchangeable rides | {:.2} % |", 100.0 * quantile as f64 / all as f64);
    println!(
        "| adaptive, 100,000 rides whose errors grow fivefold | {:.2} % |",
        100.0 * f64::from(covered) / f64::from(steps)
    );
    Ok(())
}
