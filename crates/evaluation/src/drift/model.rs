//! What a model said and how far off it was before it was released, and whether that still holds: drift of the answers, and
//! of the concept.

use serde::{Deserialize, Serialize};

use super::{
    ColumnBaseline, ColumnDrift, FeatureCounts,
    monitor::{DISTANCE, MIN_ROWS, SIGMAS, compare},
};
use crate::{EvaluationError, Figures, metrics::t_975};

/// The version of the stored form.
const FORMAT: u32 = 1;
/// The name of the answers' column.
pub const PREDICTION: &str = "(prediction)";
/// The name of the column of errors, predicted − actual.
pub const ERROR: &str = "(error)";

/// One model version on rows that it was not trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct ModelBaseline {
    /// The version of this document.
    pub format: u32,
    /// The model version.
    pub model_version: String,
    /// SHA-256 of the feature spec in its canonical form.
    pub spec_hash: String,
    /// Held-out rows.
    pub rows: u64,
    /// Mean absolute error on them, seconds.
    pub mae_s: f64,
    /// The standard deviation of the absolute error, seconds.
    pub absolute_error_deviation_s: f64,
    /// [`PREDICTION`] and [`ERROR`], in seconds.
    pub columns: Vec<ColumnBaseline>,
}

#[derive(Deserialize)]
struct Stored {
    format: u32,
    model_version: String,
    spec_hash: String,
    rows: u64,
    mae_s: f64,
    absolute_error_deviation_s: f64,
    columns: Vec<ColumnBaseline>,
}

impl TryFrom<Stored> for ModelBaseline {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        let Stored { format, model_version, spec_hash, rows, mae_s, absolute_error_deviation_s, columns } = stored;
        if format != FORMAT {
            return Err(format!("its format is {format}, and this version reads format {FORMAT}"));
        }
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        if names != [PREDICTION, ERROR] || !columns.iter().all(ColumnBaseline::is_whole) {
            return Err(format!("its columns are not {PREDICTION} and {ERROR} with a count for each bin"));
        }
        Ok(Self { format, model_version, spec_hash, rows, mae_s, absolute_error_deviation_s, columns })
    }
}

impl ModelBaseline {
    /// Of predictions and what came of them, in seconds, row by row. Rows without a finite number are left out; `None` below
    /// 100 of them, of which nothing can be told.
    pub fn of(
        model_version: impl Into<String>,
        spec_hash: impl Into<String>,
        rows: impl IntoIterator<Item = (f64, f64)>,
    ) -> Option<Self> {
        let rows = rows.into_iter().filter(|(prediction, actual)| prediction.is_finite() && actual.is_finite());
        let (predictions, errors): (Vec<f64>, Vec<f64>) =
            rows.map(|(prediction, actual)| (prediction, prediction - actual)).unzip();
        if (errors.len() as u64) < MIN_ROWS {
            return None;
        }
        let n = errors.len() as f64;
        let mae_s = errors.iter().map(|error| error.abs()).sum::<f64>() / n;
        let variance = errors.iter().map(|error| (error.abs() - mae_s).powi(2)).sum::<f64>() / n;
        Some(Self {
            format: FORMAT,
            model_version: model_version.into(),
            spec_hash: spec_hash.into(),
            rows: errors.len() as u64,
            mae_s,
            absolute_error_deviation_s: variance.sqrt(),
            columns: vec![ColumnBaseline::of(PREDICTION, &predictions), ColumnBaseline::of(ERROR, &errors)],
        })
    }

    /// The stored form.
    pub fn to_json(&self) -> Vec<u8> {
        // It cannot fail: the keys are text and every number is finite.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads the stored form, and refuses what contradicts itself.
    pub fn from_json(json: &[u8]) -> Result<Self, EvaluationError> {
        serde_json::from_slice(json).map_err(|error| EvaluationError::InvalidBaseline(error.to_string()))
    }

    /// Answers and errors counted into this baseline's bins: `(prediction, actual)`, seconds.
    pub fn count(&self, rows: impl IntoIterator<Item = (f64, f64)>) -> FeatureCounts {
        let mut counts = FeatureCounts::of_columns(&self.columns);
        for (prediction, actual) in rows {
            for (value, (counts, column)) in
                [prediction, prediction - actual].into_iter().zip(counts.columns.iter_mut().zip(&self.columns))
            {
                counts.add(column, Some(value));
            }
        }
        counts
    }
}

/// A model version's answers and errors now, against what they were on held-out rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelDrift {
    /// The model version.
    pub model_version: String,
    /// Answers of its own endpoint, before the release's correction, whose car arrived.
    pub rows: u64,
    /// Held-out rows.
    pub held_out_rows: u64,
    /// Mean absolute error of them now, seconds.
    pub mae_s: f64,
    /// Mean absolute error on held-out rows, seconds.
    pub held_out_mae_s: f64,
    /// Whether the mean absolute error is a tenth more than on held-out rows, beyond what chance does to so many.
    pub worse: bool,
    /// The answers.
    pub prediction: ColumnDrift,
    /// The errors. Where they drift, what is predicted no longer follows from the features as it did.
    pub error: ColumnDrift,
}

impl ModelDrift {
    /// Compares; `None` below [`MIN_ROWS`] rows. `figures` are those of the same rows.
    pub fn new(baseline: &ModelBaseline, counts: &FeatureCounts, figures: &Figures) -> Option<Self> {
        let ([prediction, error], [prediction_counts, error_counts]) = (&baseline.columns[..], &counts.columns[..])
        else {
            return None;
        };
        let rows = error_counts.present();
        if rows < MIN_ROWS {
            return None;
        }
        let held_out = baseline.absolute_error_deviation_s / (baseline.rows.max(1) as f64).sqrt();
        let half = figures.mae_interval_s.map_or(0.0, |[low, high]| (high - low) / 2.0);
        let now = half / t_975(figures.n).unwrap_or(f64::INFINITY);
        let chance = SIGMAS * held_out.hypot(now);
        Some(Self {
            model_version: baseline.model_version.clone(),
            rows,
            held_out_rows: baseline.rows,
            mae_s: figures.mae_s,
            held_out_mae_s: baseline.mae_s,
            worse: figures.mae_s >= baseline.mae_s * (1.0 + DISTANCE) + chance,
            prediction: compare(prediction, prediction_counts),
            error: compare(error, error_counts),
        })
    }

    /// Whether the concept drifts: the error is larger, or is another.
    pub fn concept_drift(&self) -> bool {
        self.worse || !self.error.reasons.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::ErrorStatistics;

    /// Rides of 60 s to 20 min and a model that is off by up to a fifth.
    fn rows(seed: u64, n: usize, slower: f64) -> Vec<(f64, f64)> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let ride = |_| {
            let prediction = 60.0 + 1140.0 * random.random::<f64>().powi(2);
            (prediction, slower * prediction * (0.8 + 0.4 * random.random::<f64>()))
        };
        (0..n).map(ride).collect()
    }

    fn drift(held_out: usize, rows: &[(f64, f64)]) -> ModelDrift {
        let baseline = ModelBaseline::of("deep-7", "hash", self::rows(1, held_out, 1.0)).unwrap();
        let baseline = ModelBaseline::from_json(&baseline.to_json()).unwrap();
        let us = |seconds: f64| (seconds * 1e6).round() as i64;
        let errors = ErrorStatistics::from_durations_us(rows.iter().map(|row| (us(row.0), us(row.1))));
        ModelDrift::new(&baseline, &baseline.count(rows.iter().copied()), &errors.figures().unwrap()).unwrap()
    }

    #[test]
    fn a_model_that_holds_raises_nothing() {
        for seed in 2..40 {
            let drift = drift(500, &rows(seed, 150 + 100 * (seed as usize % 9), 1.0));
            assert!(!drift.concept_drift() && drift.prediction.reasons.is_empty(), "{drift:?}");
        }
    }

    #[test]
    fn slower_streets_are_a_concept_that_drifts_and_other_answers_are_not() {
        let slower = drift(500, &rows(2, 1_000, 1.3));
        assert!(slower.worse && slower.concept_drift() && slower.prediction.reasons.is_empty(), "{slower:?}");
        let longer: Vec<(f64, f64)> = rows(3, 1_000, 1.0).into_iter().filter(|row| row.0 > 400.0).collect();
        let longer = drift(500, &longer);
        assert!(!longer.prediction.reasons.is_empty(), "{longer:?}");
    }

    #[test]
    fn too_few_rows_say_nothing() {
        assert_eq!(ModelBaseline::of("m", "h", rows(1, 99, 1.0)), None);
        let baseline = ModelBaseline::of("m", "h", rows(1, 100, 1.0)).unwrap();
        let counts = baseline.count(rows(2, 99, 1.0));
        let figures = ErrorStatistics::from_durations_us([(1, 2)]).figures().unwrap();
        assert_eq!(ModelDrift::new(&baseline, &counts, &figures), None);
        let json = String::from_utf8(baseline.to_json()).unwrap().replace(PREDICTION, "other");
        assert_eq!(ModelBaseline::from_json(json.as_bytes()).unwrap_err().reason(), "invalid_baseline");
    }
}
