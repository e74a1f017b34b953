use serde::{Deserialize, Serialize};

/// How far predictions are from labels, in the label's unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Mean absolute error.
    pub mae: f64,
    /// Root of the mean squared error.
    pub rmse: f64,
}

impl Metrics {
    /// Of pairs of a prediction and its label. NaN where there is none.
    pub fn of(pairs: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let (mut count, mut absolute, mut squared) = (0_u64, 0.0, 0.0);
        for (prediction, label) in pairs {
            let error: f64 = prediction - label;
            count += 1;
            absolute += error.abs();
            squared += error * error;
        }
        Self { mae: absolute / count as f64, rmse: (squared / count as f64).sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let metrics = Metrics::of([(1.0, 4.0), (2.0, -2.0), (5.0, 5.0), (0.0, 0.0)]);
        assert_eq!(metrics, Metrics { mae: 1.75, rmse: 2.5 });
    }
}
