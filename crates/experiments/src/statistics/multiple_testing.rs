//! Many p-values at once: adjusted so that α holds for all of them together.

/// What is held at α.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Correction {
    /// The probability of any false rejection; p·m.
    Bonferroni,
    /// The same, stepping down (Holm 1979): never weaker than Bonferroni.
    Holm,
    /// The same, stepping up (Hochberg 1988), for p-values that are independent or depend positively.
    Hochberg,
    /// The share of false ones among the rejections (Benjamini and Hochberg 1995), with the same condition.
    BenjaminiHochberg,
    /// The same under any dependence (Benjamini and Yekutieli 2001).
    BenjaminiYekutieli,
}

/// The adjusted p-values, in the order given: reject where one is at most α. NaN stays NaN and counts as a test.
pub fn adjust(p_values: &[f64], correction: Correction) -> Vec<f64> {
    let m = p_values.len();
    let mut order: Vec<usize> = (0..m).collect();
    order.sort_by(|&left, &right| p_values[left].total_cmp(&p_values[right]));
    let count = m as f64;
    let harmonic: f64 = (1..=m).map(|rank| 1.0 / rank as f64).sum();
    let factor = |rank: usize| match correction {
        Correction::Bonferroni => count,
        Correction::Holm | Correction::Hochberg => count - rank as f64,
        Correction::BenjaminiHochberg => count / (rank + 1) as f64,
        Correction::BenjaminiYekutieli => count * harmonic / (rank + 1) as f64,
    };
    let mut adjusted: Vec<f64> = order.iter().enumerate().map(|(rank, &at)| p_values[at] * factor(rank)).collect();
    match correction {
        Correction::Bonferroni => {}
        Correction::Holm => {
            for rank in 1..m {
                adjusted[rank] = adjusted[rank].max(adjusted[rank - 1]);
            }
        }
        Correction::Hochberg | Correction::BenjaminiHochberg | Correction::BenjaminiYekutieli => {
            for rank in (1..m).rev() {
                adjusted[rank - 1] = adjusted[rank - 1].min(adjusted[rank]);
            }
        }
    }
    let mut in_order = vec![f64::NAN; m];
    for (rank, at) in order.into_iter().enumerate() {
        if !p_values[at].is_nan() {
            in_order[at] = adjusted[rank].min(1.0);
        }
    }
    in_order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn corrections_are_ordered_by_strength(p_values in prop::collection::vec(0.0..=1.0_f64, 0..12)) {
            let adjusted = |correction| adjust(&p_values, correction);
            let rows = [
                p_values.clone(),
                adjusted(Correction::BenjaminiHochberg),
                adjusted(Correction::Hochberg),
                adjusted(Correction::Holm),
                adjusted(Correction::Bonferroni),
            ];
            for pair in rows.windows(2) {
                for (weaker, stronger) in pair[0].iter().zip(&pair[1]) {
                    prop_assert!(*weaker <= stronger + 1e-12, "{rows:?}");
                }
            }
        }
    }
}
