//! Bins of numbers.

use super::{psi, sorted};
use crate::quantile::quantile;

/// The least share in [`PsiBins::psi`]: a bin that one side lacks counts as this much.
pub const PSI_FLOOR: f64 = 0.0001;

/// The edges of equal bins by Sturges' rule (⌈log₂ n + 1⌉ bins) over `values`, first and last included.
pub fn sturges_edges(values: &[f64]) -> Vec<f64> {
    let (low, high) = values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)));
    if values.is_empty() {
        return vec![0.0, 1.0];
    }
    if low == high {
        return vec![low - 0.5, high + 0.5];
    }
    let range = high - low;
    // The quotient of quotients as numpy takes it: where log₂ n is whole, rounding decides on one bin more.
    let bins = (range / (range / ((values.len() as f64).log2() + 1.0))).ceil() as usize;
    let step = range / bins as f64;
    (0..=bins).map(|bin| if bin == bins { high } else { bin as f64 * step + low }).collect()
}

/// The shares of `sorted` values by bin: from each edge, included, to the next; the last bin includes its end.
pub(crate) fn binned_shares(sorted: &[f64], edges: &[f64]) -> Vec<f64> {
    let below = |edge: f64| sorted.partition_point(|value| *value < edge);
    let last = edges.len().saturating_sub(1);
    let mut before = edges.first().map_or(0, |first| below(*first));
    (1..=last)
        .map(|index| {
            let edge = edges[index];
            let until = if index == last { sorted.partition_point(|value| *value <= edge) } else { below(edge) };
            let count = until.saturating_sub(std::mem::replace(&mut before, until));
            count as f64 / sorted.len() as f64
        })
        .collect()
}

/// The deciles of a reference as bins for PSI, with or without bins for what lies outside its range.
#[derive(Debug, Clone, PartialEq)]
pub struct PsiBins {
    /// The deciles, each once, ascending (numpy's linear quantiles).
    pub inner_edges: Vec<f64>,
    /// The reference's least and largest value where values outside get bins of their own.
    range: Option<[f64; 2]>,
}

impl PsiBins {
    /// Deciles alone: bin i holds the values with i inner edges at or below them. **Blind** where all of a constant
    /// feature becomes another, larger constant.
    pub fn deciles(reference: &[f64]) -> Self {
        let sorted = sorted(reference);
        let mut inner_edges: Vec<f64> =
            (1..10).filter_map(|decile| quantile(&sorted, f64::from(decile) / 10.0)).collect();
        inner_edges.dedup();
        Self { inner_edges, range: None }
    }

    /// Deciles, and one bin below and one above everything that the reference has: a constant 5 that becomes a constant 6
    /// is seen.
    pub fn with_out_of_range(reference: &[f64]) -> Self {
        let mut bins = Self::deciles(reference);
        if let (Some(low), Some(high)) =
            (reference.iter().copied().reduce(f64::min), reference.iter().copied().reduce(f64::max))
        {
            // An edge at the least value would make a bin that the reference leaves empty.
            bins.inner_edges.retain(|edge| *edge > low);
            bins.range = Some([low, high]);
        }
        bins
    }

    /// The shares of `values` by bin. With out-of-range bins, these are the first and the last.
    pub fn shares(&self, values: &[f64]) -> Vec<f64> {
        let ends = if self.range.is_some() { 2 } else { 0 };
        let mut counts = vec![0_u64; self.inner_edges.len() + 1 + ends];
        let last = counts.len() - 1;
        for value in values {
            let inner = self.inner_edges.partition_point(|edge| edge <= value);
            let bin = match self.range {
                Some([low, _]) if *value < low => 0,
                Some([_, high]) if *value > high => last,
                Some(_) => inner + 1,
                None => inner,
            };
            counts[bin] += 1;
        }
        counts.into_iter().map(|count| count as f64 / values.len() as f64).collect()
    }

    /// PSI of two shares of these bins, each at least [`PSI_FLOOR`].
    pub fn psi(reference: &[f64], current: &[f64]) -> f64 {
        let floored = |shares: &[f64]| shares.iter().map(|share| share.max(PSI_FLOOR)).collect::<Vec<f64>>();
        psi(&floored(reference), &floored(current))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_that_moves_is_seen_only_with_out_of_range_bins() {
        let (before, after) = ([5.0; 30], [6.0; 30]);
        let blind = PsiBins::deciles(&before);
        assert_eq!(PsiBins::psi(&blind.shares(&before), &blind.shares(&after)), 0.0);
        let bins = PsiBins::with_out_of_range(&before);
        assert_eq!(bins.shares(&before), [0.0, 1.0, 0.0]);
        assert!(PsiBins::psi(&bins.shares(&before), &bins.shares(&after)) > 10.0);
    }

    #[test]
    fn shares_of_bins_are_shares() {
        let values = [1.0, 2.0, 2.0, 3.0, 4.0];
        let edges = sturges_edges(&values);
        assert_eq!(edges, [1.0, 1.75, 2.5, 3.25, 4.0]);
        assert_eq!(binned_shares(&values, &edges), [0.2, 0.4, 0.2, 0.2]);
        assert_eq!(sturges_edges(&[3.0, 3.0]), [2.5, 3.5]);
        assert_eq!(PsiBins::with_out_of_range(&values).shares(&values).iter().sum::<f64>(), 1.0);
    }
}
