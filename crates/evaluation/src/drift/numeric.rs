//! Two samples of a feature's numbers.

use std::collections::BTreeMap;

use super::{
    CategoricalDrift, CategoryCounts, Decision, KolmogorovSmirnov, PsiBins, Test, bins::binned_shares, fill_zeros,
    hellinger, jensen_shannon_distance, kolmogorov_smirnov, kullback_leibler, linf_robust, psi, sorted, sturges_edges,
    wasserstein,
};
use crate::EvaluationError;

/// Up to this many different values of the reference, each is a category of its own.
const CATEGORIES_UP_TO: usize = 20;

/// The least standard deviation that a Wasserstein distance is divided by.
const LEAST_DEVIATION: f64 = 0.001;

/// How two samples of numbers differ.
#[derive(Debug, Clone, PartialEq)]
pub struct NumericDrift {
    /// Kolmogorov–Smirnov.
    pub ks: KolmogorovSmirnov,
    /// The Wasserstein distance, in the feature's unit.
    pub wasserstein: f64,
    /// The same in standard deviations of the reference (with n, not n − 1; 0.001 at least).
    pub wasserstein_normed: f64,
    /// The edges of the bins under the next three, where the reference has more than 20 different values; else each value
    /// is a bin.
    pub sturges_edges: Option<Vec<f64>>,
    /// The population stability index, zeros filled as Evidently does.
    pub psi: f64,
    /// The Jensen–Shannon distance, natural logarithm.
    pub jensen_shannon: f64,
    /// The divergence of the reference from the current, zeros filled as for PSI.
    pub kullback_leibler: f64,
    /// The Hellinger distance, over Sturges' bins of the different values.
    pub hellinger: f64,
    /// The reference's deciles, both sides' shares of them, and their PSI.
    pub deciles: (PsiBins, Vec<f64>, Vec<f64>, f64),
    /// The same with bins for what lies outside the reference's range: the one to watch.
    pub with_out_of_range: (PsiBins, Vec<f64>, Vec<f64>, f64),
    /// The KS statistic less what chance does to samples of these sizes.
    pub linf_robust: f64,
    /// The test that is chosen, and what it says.
    pub decision: Decision,
}

impl NumericDrift {
    /// Compares `current` with `reference`, both of finite numbers.
    pub fn of(reference: &[f64], current: &[f64]) -> Result<Self, EvaluationError> {
        for (field, values) in [("reference", reference), ("current", current)] {
            if values.iter().any(|value| !value.is_finite()) {
                return Err(EvaluationError::input(field, "must be finite numbers"));
            }
        }
        let ks = kolmogorov_smirnov(reference, current);
        let (Some(ks), Some(wasserstein)) = (ks, wasserstein(reference, current)) else {
            let field = if reference.is_empty() { "reference" } else { "current" };
            return Err(EvaluationError::input(field, "has no value"));
        };
        let (before, now) = (sorted(reference), sorted(current));
        let pooled = sorted(&[reference, current].concat());
        let distinct = distinct(&pooled);
        let binned = |edges: &[f64]| (binned_shares(&before, edges), binned_shares(&now, edges));

        let sturges = (self::distinct(&before).len() > CATEGORIES_UP_TO).then(|| sturges_edges(&pooled));
        let (p, q) = match &sturges {
            Some(edges) => binned(edges),
            None => (shares_of(&before, &distinct), shares_of(&now, &distinct)),
        };
        let (mut filled_p, mut filled_q) = (p.clone(), q.clone());
        fill_zeros(&mut filled_p);
        fill_zeros(&mut filled_q);
        let (coarse_p, coarse_q) = binned(&sturges_edges(&distinct));

        let jensen_shannon = jensen_shannon_distance(&p, &q);
        let wasserstein_normed = wasserstein / deviation(reference).max(LEAST_DEVIATION);
        let test = Test::of_numbers(reference.len() as f64, distinct.len());
        let score = match test {
            Test::KolmogorovSmirnov => Some(ks.p_value),
            Test::Wasserstein => Some(wasserstein_normed),
            Test::JensenShannon => Some(jensen_shannon),
            Test::Z => CategoricalDrift::of(&counts(&before), &counts(&now))?.z_p_value,
            Test::ChiSquared => Some(CategoricalDrift::of(&counts(&before), &counts(&now))?.chi_squared_p_value),
        };
        let stability = |bins: PsiBins| {
            let (p, q) = (bins.shares(reference), bins.shares(current));
            let psi = PsiBins::psi(&p, &q);
            (bins, p, q, psi)
        };
        Ok(Self {
            ks,
            wasserstein,
            wasserstein_normed,
            sturges_edges: sturges,
            psi: psi(&filled_p, &filled_q),
            jensen_shannon,
            kullback_leibler: kullback_leibler(&filled_p, &filled_q),
            hellinger: hellinger(&coarse_p, &coarse_q),
            deciles: stability(PsiBins::deciles(reference)),
            with_out_of_range: stability(PsiBins::with_out_of_range(reference)),
            linf_robust: linf_robust(ks.statistic, reference.len() as f64, current.len() as f64, None),
            decision: Decision::new(test, score),
        })
    }
}

fn distinct(sorted: &[f64]) -> Vec<f64> {
    let mut distinct = sorted.to_vec();
    distinct.dedup();
    distinct
}

fn shares_of(sorted: &[f64], values: &[f64]) -> Vec<f64> {
    let count =
        |value: f64| sorted.partition_point(|other| *other <= value) - sorted.partition_point(|other| *other < value);
    values.iter().map(|value| count(*value) as f64 / sorted.len() as f64).collect()
}

/// The values as categories.
fn counts(sorted: &[f64]) -> CategoryCounts {
    let mut counts = BTreeMap::new();
    for value in sorted {
        *counts.entry(value.to_string()).or_insert(0.0) += 1.0;
    }
    counts
}

/// The standard deviation with n.
fn deviation(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_and_infinity_are_refused() {
        for (reference, current) in [(&[][..], &[1.0][..]), (&[1.0], &[]), (&[1.0, f64::INFINITY], &[1.0])] {
            assert_eq!(NumericDrift::of(reference, current).unwrap_err().reason(), "invalid_input");
        }
    }

    #[test]
    fn a_constant_that_stays_does_not_drift() {
        let drift = NumericDrift::of(&[5.0; 40], &[5.0; 20]).unwrap();
        assert_eq!((drift.psi, drift.wasserstein, drift.hellinger), (0.0, 0.0, 0.0));
        assert_eq!(drift.decision, Decision { test: Test::Z, score: Some(1.0), drift: Some(false) });
        let moved = NumericDrift::of(&[5.0; 40], &[6.0; 20]).unwrap();
        assert_eq!(moved.decision.drift, Some(true));
    }
}
