//! The distances of deequ (`Distance.scala`).

use std::collections::BTreeMap;

use experiments::statistics::special::chi_squared_sf;

use super::{CategoryCounts, psi};

/// c(α) of the two-sample Kolmogorov–Smirnov test at α = 0.003, rounded as deequ has it.
const DEFAULT_C: f64 = 1.8;

/// The largest difference of a category's shares. NaN where a side is empty.
pub fn linf_categorical(left: &CategoryCounts, right: &CategoryCounts) -> f64 {
    let (n, m): (f64, f64) = (left.values().sum(), right.values().sum());
    left.keys()
        .chain(right.keys())
        .map(|name| {
            let share = |counts: &CategoryCounts, total: f64| counts.get(name).copied().unwrap_or(0.0) / total;
            (share(left, n) - share(right, m)).abs()
        })
        .fold(if n > 0.0 && m > 0.0 { 0.0 } else { f64::NAN }, f64::max)
}

/// An L∞ distance `simple` less c(α)·√((n + m)/(n·m)), which chance alone reaches with probability α; 0 at least. Without
/// `alpha`, c = 1.8.
pub fn linf_robust(simple: f64, n: f64, m: f64, alpha: Option<f64>) -> f64 {
    let c = alpha.map_or(DEFAULT_C, |alpha| (-(0.5 * alpha).ln() * 0.5).sqrt());
    (simple - c * ((n + m) / (n * m)).sqrt()).max(0.0)
}

/// PSI of counts by bin. `None` where the bins are not as many, or a side is empty.
pub fn population_stability(actual: &[f64], expected: &[f64]) -> Option<f64> {
    let (n, m): (f64, f64) = (actual.iter().sum(), expected.iter().sum());
    let shares = |counts: &[f64], total: f64| counts.iter().map(|count| count / total).collect::<Vec<f64>>();
    (actual.len() == expected.len() && n > 0.0 && m > 0.0).then(|| psi(&shares(actual, n), &shares(expected, m)))
}

/// The χ² statistic and p-value of `sample` against `baseline`. Categories that the baseline lacks are dropped; the
/// baseline is scaled to what is left of the sample. While more than a fifth of the expected counts are below 5 (of two
/// categories: any below 10), the smallest category joins the next. `None` where fewer than two are left.
pub fn chi_squared(sample: &CategoryCounts, baseline: &CategoryCounts) -> Option<(f64, f64)> {
    let kept: f64 = sample.iter().filter(|(name, _)| baseline.contains_key(*name)).map(|(_, count)| count).sum();
    let total: f64 = baseline.values().sum();
    let mut expected: BTreeMap<&str, f64> =
        baseline.iter().map(|(name, count)| (name.as_str(), count / total * kept)).collect();
    let mut observed: BTreeMap<&str, f64> = sample.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    while expected.len() >= 2 {
        let (least, most_below) = if expected.len() == 2 { (10.0, 0) } else { (5.0, expected.len() / 5) };
        if expected.values().filter(|count| **count < least).count() <= most_below {
            break;
        }
        let (Some((smallest, count)), true) = (pop_least(&mut expected), !expected.is_empty()) else { break };
        let seen = observed.remove(smallest).unwrap_or(0.0);
        let Some((next, next_count)) = pop_least(&mut expected) else { break };
        expected.insert(next, next_count + count);
        *observed.entry(next).or_insert(0.0) += seen;
    }
    if expected.len() < 2 {
        return None;
    }
    let statistic: f64 = expected
        .iter()
        .map(|(name, expected)| {
            let observed = observed.get(name).copied().unwrap_or(0.0);
            if observed == *expected { 0.0 } else { (observed - expected).powi(2) / expected }
        })
        .sum();
    Some((statistic, chi_squared_sf(statistic, (expected.len() - 1) as f64)))
}

fn pop_least<'a>(counts: &mut BTreeMap<&'a str, f64>) -> Option<(&'a str, f64)> {
    let (&name, &count) = counts.iter().min_by(|left, right| left.1.total_cmp(right.1))?;
    counts.remove(name);
    Some((name, count))
}
