//! What trees are grown to lower.

use serde::{Deserialize, Serialize};

/// The objective, by XGBoost's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Objective {
    /// Squared error: predictions are means.
    #[default]
    #[serde(rename = "reg:squarederror")]
    SquaredError,
    /// Absolute error: predictions are medians.
    #[serde(rename = "reg:absoluteerror")]
    AbsoluteError,
    /// Pinball loss: predictions are the quantile `quantile_alpha`.
    #[serde(rename = "reg:quantileerror")]
    QuantileError,
}

impl Objective {
    /// The names a hyperparameter can have.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("reg:squarederror", Self::SquaredError),
        ("squared_error", Self::SquaredError),
        ("reg:absoluteerror", Self::AbsoluteError),
        ("reg:quantileerror", Self::QuantileError),
    ];

    pub(crate) fn loss(self, quantile_alpha: f64) -> Loss {
        match self {
            Self::SquaredError => Loss::Squared,
            Self::AbsoluteError => Loss::Pinball(0.5),
            Self::QuantileError => Loss::Pinball(quantile_alpha),
        }
    }
}

/// A loss with what boosting needs of it. Its second derivative counts as 1 everywhere: true of squared error, and what
/// XGBoost and LightGBM do for the pinball loss, whose own is 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Loss {
    Squared,
    /// The pinball loss of a quantile in (0, 1).
    Pinball(f64),
}

impl Loss {
    /// The best constant.
    pub(crate) fn base_score(self, targets: &[f64]) -> f64 {
        match self {
            Self::Squared => targets.iter().sum::<f64>() / targets.len() as f64,
            Self::Pinball(alpha) => quantile(&mut targets.to_vec(), alpha),
        }
    }

    /// The derivatives at the predictions so far.
    pub(crate) fn gradients(self, targets: &[f64], predicted: &[f64], gradients: &mut [f32]) {
        let rows = targets.iter().zip(predicted).zip(gradients);
        match self {
            Self::Squared => rows.for_each(|((target, predicted), gradient)| *gradient = (predicted - target) as f32),
            Self::Pinball(alpha) => {
                let (over, under) = ((1.0 - alpha) as f32, -alpha as f32);
                rows.for_each(|((target, predicted), gradient)| {
                    *gradient = if predicted > target {
                        over
                    } else if predicted < target {
                        under
                    } else {
                        0.0
                    };
                });
            }
        }
    }

    /// The best weight of a leaf with these residuals, where the gradients alone do not tell it: a sum of signs says which
    /// way to go and not how far (Friedman 2001, *Greedy function approximation*, algorithm 3).
    pub(crate) fn leaf_weight(self, residuals: &mut [f64]) -> Option<f64> {
        match self {
            Self::Squared => None,
            Self::Pinball(_) if residuals.is_empty() => None,
            Self::Pinball(alpha) => Some(quantile(residuals, alpha)),
        }
    }
}

/// The quantile of `values`, between two of them by linear interpolation (Hyndman and Fan's type 7). Reorders them; there
/// must be one.
pub(crate) fn quantile(values: &mut [f64], alpha: f64) -> f64 {
    let at = alpha * (values.len() - 1) as f64;
    let index = (at as usize).min(values.len() - 1);
    let (_, low, above) = values.select_nth_unstable_by(index, f64::total_cmp);
    let low = *low;
    let share = at - index as f64;
    if share == 0.0 {
        return low;
    }
    let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(low);
    low + share * (high - low)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_by_hand() {
        let of = |alpha| quantile(&mut [4.0, 1.0, 3.0, 2.0], alpha);
        assert_eq!([of(0.0), of(0.5), of(1.0)], [1.0, 2.5, 4.0]);
        assert!((of(0.1) - 1.3).abs() < 1e-12);
        assert_eq!(quantile(&mut [7.0], 0.9), 7.0);
    }

    proptest! {
        /// No other constant has less loss than the one that a leaf gets.
        #[test]
        fn a_leafs_weight_is_the_best_there_is(
            residuals in prop::collection::vec(-100.0..100.0_f64, 1..30), alpha in 0.05..0.95_f64, other in -100.0..100.0_f64,
        ) {
            let loss = |constant: f64| -> f64 {
                residuals.iter().map(|residual| (residual - constant) * (alpha - f64::from(u8::from(*residual < constant)))).sum()
            };
            let best = Loss::Pinball(alpha).leaf_weight(&mut residuals.clone()).unwrap();
            // Any value between two neighbours is a quantile; the interpolated one may be off by what one row weighs.
            let at = alpha * (residuals.len() - 1) as f64;
            let mut sorted = residuals.clone();
            sorted.sort_by(f64::total_cmp);
            prop_assert!(sorted[at as usize] <= best && best <= sorted[(at.ceil() as usize).min(sorted.len() - 1)]);
            let width = sorted[(at.ceil() as usize).min(sorted.len() - 1)] - sorted[at as usize];
            prop_assert!(loss(best) <= loss(other) + width + 1e-9, "{} for {best}, {} for {other}", loss(best), loss(other));
        }
    }
}
