//! Which test decides, and what it says.

/// The share of a data set's columns that must drift for the data set to.
pub const DATASET_DRIFT_SHARE: f64 = 0.5;

/// Up to this many values of the reference, p-values decide; above, where any difference is significant, distances do.
const SMALL_REFERENCE: f64 = 1_000.0;

/// What decides about a column's drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// Two-sample Kolmogorov–Smirnov, p ≤ 0.05.
    KolmogorovSmirnov,
    /// χ² against the reference, p ≤ 0.05.
    ChiSquared,
    /// z of two shares, p ≤ 0.05.
    Z,
    /// Jensen–Shannon distance ≥ 0.1.
    JensenShannon,
    /// Wasserstein distance in standard deviations of the reference ≥ 0.1.
    Wasserstein,
}

impl Test {
    /// For a column of numbers: by the size of the reference, and by the different values of both sides together.
    pub fn of_numbers(reference: f64, distinct: usize) -> Self {
        match (reference <= SMALL_REFERENCE, distinct) {
            (true, 0..=2) => Self::Z,
            (true, 3..=5) => Self::ChiSquared,
            (true, _) => Self::KolmogorovSmirnov,
            (false, 0..=5) => Self::JensenShannon,
            (false, _) => Self::Wasserstein,
        }
    }

    /// For a column of categories.
    pub fn of_categories(reference: f64, distinct: usize) -> Self {
        match (reference <= SMALL_REFERENCE, distinct) {
            (true, 0..=2) => Self::Z,
            (true, _) => Self::ChiSquared,
            (false, _) => Self::JensenShannon,
        }
    }

    /// Evidently's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::KolmogorovSmirnov => "ks",
            Self::ChiSquared => "chisquare",
            Self::Z => "z",
            Self::JensenShannon => "jensenshannon",
            Self::Wasserstein => "wasserstein",
        }
    }

    /// Whether the score is a p-value: small means drift.
    pub fn is_p_value(self) -> bool {
        matches!(self, Self::KolmogorovSmirnov | Self::ChiSquared | Self::Z)
    }

    /// What the score is compared with.
    pub fn threshold(self) -> f64 {
        if self.is_p_value() { 0.05 } else { 0.1 }
    }
}

/// A column's verdict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// What decided.
    pub test: Test,
    /// Its p-value or distance; `None` where it is not defined.
    pub score: Option<f64>,
    /// Whether the column drifts; `None` without a score.
    pub drift: Option<bool>,
}

impl Decision {
    pub(crate) fn new(test: Test, score: Option<f64>) -> Self {
        let score = score.filter(|score| !score.is_nan());
        let drift =
            score.map(|score| if test.is_p_value() { score <= test.threshold() } else { score >= test.threshold() });
        Self { test, score, drift }
    }
}

/// The share of drifting columns, and whether the data set drifts. `None` without a column.
pub fn dataset_drift(columns: &[bool]) -> Option<(f64, bool)> {
    if columns.is_empty() {
        return None;
    }
    let share = columns.iter().filter(|drift| **drift).count() as f64 / columns.len() as f64;
    Some((share, share >= DATASET_DRIFT_SHARE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_chosen_by_size_and_kind() {
        assert_eq!(Test::of_numbers(1_000.0, 6), Test::KolmogorovSmirnov);
        assert_eq!(Test::of_numbers(1_000.0, 5), Test::ChiSquared);
        assert_eq!(Test::of_numbers(1_001.0, 5), Test::JensenShannon);
        assert_eq!(Test::of_numbers(1_001.0, 6), Test::Wasserstein);
        assert_eq!(Test::of_categories(1_000.0, 2), Test::Z);
        assert_eq!(Test::of_categories(1_001.0, 2), Test::JensenShannon);
    }

    #[test]
    fn thresholds_count_as_drift() {
        assert_eq!(Decision::new(Test::Z, Some(0.05)).drift, Some(true));
        assert_eq!(Decision::new(Test::Wasserstein, Some(0.1)).drift, Some(true));
        assert_eq!(Decision::new(Test::Wasserstein, Some(0.09)).drift, Some(false));
        assert_eq!(Decision::new(Test::Z, Some(f64::NAN)).drift, None);
        assert_eq!(dataset_drift(&[true, false]), Some((0.5, true)));
        assert_eq!(dataset_drift(&[]), None);
    }
}
