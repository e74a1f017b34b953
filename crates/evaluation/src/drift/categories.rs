//! Two counts of categories.

use std::collections::BTreeMap;

use experiments::statistics::special::{chi_squared_sf, normal_sf};

use super::{
    Decision, Test, fill_zeros, hellinger, jensen_shannon_distance, kullback_leibler, linf_categorical, linf_robust,
    psi, total_variation,
};
use crate::EvaluationError;

/// How often each category was seen.
pub type Counts = BTreeMap<String, f64>;

/// How two counts of categories differ.
#[derive(Debug, Clone, PartialEq)]
pub struct CategoricalDrift {
    /// The population stability index, zeros filled as Evidently does.
    pub psi: f64,
    /// The Jensen–Shannon distance, natural logarithm.
    pub jensen_shannon: f64,
    /// The divergence of the reference from the current, zeros filled as for PSI.
    pub kullback_leibler: f64,
    /// The Hellinger distance.
    pub hellinger: f64,
    /// Half the sum of |p − q|.
    pub total_variation: f64,
    /// The largest |p − q|.
    pub linf_simple: f64,
    /// The same less what chance does to samples of these sizes.
    pub linf_robust: f64,
    /// The p-value of the current against the reference as if that were known exactly (Evidently's `chisquare`); 0 where
    /// the current has a category that the reference lacks.
    pub chi_squared_p_value: f64,
    /// The p-value of the z-test of two shares, where there are at most two categories.
    pub z_p_value: Option<f64>,
    /// The χ² test that both come from one population: statistic, p-value, degrees of freedom.
    pub contingency: (f64, f64, f64),
    /// The test that is chosen, and what it says.
    pub decision: Decision,
}

impl CategoricalDrift {
    /// Compares `current` with `reference`.
    pub fn of(reference: &Counts, current: &Counts) -> Result<Self, EvaluationError> {
        let n = total("reference", reference)?;
        let m = total("current", current)?;
        let seen = |counts: &Counts, name: &String| counts.get(name).copied().unwrap_or(0.0);
        let mut names: Vec<&String> = reference.keys().chain(current.keys()).collect();
        names.sort();
        names.dedup();
        names.retain(|name| seen(reference, name) + seen(current, name) > 0.0);
        let observed: Vec<[f64; 2]> = names.iter().map(|name| [seen(reference, name), seen(current, name)]).collect();
        let p: Vec<f64> = observed.iter().map(|pair| pair[0] / n).collect();
        let q: Vec<f64> = observed.iter().map(|pair| pair[1] / m).collect();
        let (mut filled_p, mut filled_q) = (p.clone(), q.clone());
        fill_zeros(&mut filled_p);
        fill_zeros(&mut filled_q);

        let against_reference: f64 =
            observed.iter().map(|[before, now]| (now - before * m / n).powi(2) / (before * m / n)).sum();
        let degrees = (names.len() - 1) as f64;
        let goodness = if names.len() > 1 { chi_squared_sf(against_reference, degrees) } else { 1.0 };
        let contingency: f64 = observed
            .iter()
            .map(|[before, now]| {
                let column = before + now;
                let expected = [column * n / (n + m), column * m / (n + m)];
                (before - expected[0]).powi(2) / expected[0] + (now - expected[1]).powi(2) / expected[1]
            })
            .sum();
        let contingency_p = if names.len() > 1 { chi_squared_sf(contingency, degrees) } else { 1.0 };
        let z_p_value = (names.len() <= 2).then(|| {
            if names.len() < 2 {
                return 1.0;
            }
            // The share of what is not the first category, as Evidently; either gives the same |z|.
            let pooled = (observed[1][0] + observed[1][1]) / (n + m);
            2.0 * normal_sf((p[1] - q[1]).abs() / (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt())
        });
        let jensen_shannon = jensen_shannon_distance(&p, &q);
        let test = Test::of_categories(n, names.len());
        let score = match test {
            Test::Z => z_p_value,
            Test::JensenShannon => Some(jensen_shannon),
            _ => Some(goodness),
        };
        let linf_simple = linf_categorical(reference, current);
        Ok(Self {
            psi: psi(&filled_p, &filled_q),
            jensen_shannon,
            kullback_leibler: kullback_leibler(&filled_p, &filled_q),
            hellinger: hellinger(&p, &q),
            total_variation: total_variation(&p, &q),
            linf_simple,
            linf_robust: linf_robust(linf_simple, n, m, None),
            chi_squared_p_value: goodness,
            z_p_value,
            contingency: (contingency, contingency_p, degrees),
            decision: Decision::new(test, score),
        })
    }
}

fn total(field: &'static str, counts: &Counts) -> Result<f64, EvaluationError> {
    if counts.values().any(|count| !count.is_finite() || *count < 0.0) {
        return Err(EvaluationError::input(field, "counts must be finite and not negative"));
    }
    let total: f64 = counts.values().sum();
    if total > 0.0 { Ok(total) } else { Err(EvaluationError::input(field, "has no value")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_refused_and_one_category_does_not_drift() {
        let counts = |pairs: &[(&str, f64)]| pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let one: Counts = counts(&[("a", 10.0)]);
        let same = CategoricalDrift::of(&one, &counts(&[("a", 4.0), ("b", 0.0)])).unwrap();
        assert_eq!((same.chi_squared_p_value, same.z_p_value, same.psi), (1.0, Some(1.0), 0.0));
        assert_eq!(same.decision.drift, Some(false));
        for bad in [counts(&[]), counts(&[("a", -1.0)])] {
            assert_eq!(CategoricalDrift::of(&one, &bad).unwrap_err().reason(), "invalid_input");
        }
    }
}
