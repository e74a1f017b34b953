use std::collections::BTreeMap;

use domain::{Hour, ModelName, OutcomeEvent};
use serde::{Deserialize, Serialize};

use crate::{
    ErrorStatistics, EvaluationError,
    accumulate::{EvaluationOptions, HourAccumulator},
    bounded::Dimension,
    drift::{FeatureCounts, ModelBaseline},
    experiment::{ExperimentStatistics, merge_experiments},
    join::{PredictionRow, Truth},
    maturity::MaturityCounts,
    segment::{Segment, SegmentStatistics, Summary, is_duration, to_us},
    shadow::{ShadowSegment, ShadowStatistics},
    units::UnitTable,
};

/// The version of the stored form. A stored evaluation of another version is refused; its hour is evaluated again.
pub const FORMAT: u32 = 4;

/// What one hour's predictions were worth, as far as their outcomes have landed: a state to be merged.
///
/// In JSON the state is in `segments`; `all` has the figures of everything together, for people, and is not read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct HourEvaluation {
    /// The model.
    pub model: ModelName,
    /// The hour of event time, UTC.
    pub hour: Hour,
    /// Outcomes of this hour that met no prediction. Outcomes do not know their model: where a lake has several, those
    /// of the other models are among them.
    pub unmatched_outcomes: u64,
    pub(crate) segments: BTreeMap<Segment, SegmentStatistics>,
    pub(crate) dimensions: BTreeMap<String, Dimension>,
    pub(crate) shadows: BTreeMap<ShadowSegment, ShadowStatistics>,
    pub(crate) maturity: MaturityCounts,
    pub(crate) experiments: BTreeMap<String, ExperimentStatistics>,
    pub(crate) riders: UnitTable,
    pub(crate) features: BTreeMap<String, FeatureCounts>,
    pub(crate) model_errors: BTreeMap<String, ErrorStatistics>,
}

/// A row whose car was dispatched and arrived: one such as training has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrival {
    /// Its place among the prediction rows as they came, from 0.
    pub row: usize,
    /// Seconds from the request until the car arrived.
    pub actual_s: f64,
    /// When that was first reported, microseconds since 1970-01-01 UTC.
    pub landed_at_us: i64,
}

/// Evaluates one hour. `predictions` and `outcomes` are all that is known of the hour, in any order; repetitions are
/// counted once. Where rows name the same candidate but differ, the earliest request counts.
pub fn evaluate_hour<'a>(
    hour: Hour,
    model: &ModelName,
    predictions: impl IntoIterator<Item = PredictionRow<'a>>,
    outcomes: &[OutcomeEvent],
) -> HourEvaluation {
    evaluate_hour_with(hour, model, predictions, outcomes, EvaluationOptions::default())
}

/// [`evaluate_hour`] by further dimensions, in a time zone, with shadows.
pub fn evaluate_hour_with<'a>(
    hour: Hour,
    model: &ModelName,
    predictions: impl IntoIterator<Item = PredictionRow<'a>>,
    outcomes: &[OutcomeEvent],
    options: EvaluationOptions<'_>,
) -> HourEvaluation {
    evaluate_sorted(hour, model, predictions, &Truth::from_events(outcomes), options)
}

/// [`evaluate_hour`] for a caller who has folded the outcome events already. Of several truths of one prediction the
/// greatest counts.
pub fn evaluate_truths<'a>(
    hour: Hour,
    model: &ModelName,
    predictions: impl IntoIterator<Item = PredictionRow<'a>>,
    mut truths: Vec<Truth<'_>>,
) -> HourEvaluation {
    if !truths.is_sorted_by(|a, b| a.prediction_id < b.prediction_id) {
        truths.sort_unstable_by(|a, b| a.prediction_id.cmp(&b.prediction_id).then_with(|| b.cmp(a)));
        truths.dedup_by_key(|truth| truth.prediction_id);
    }
    evaluate_sorted(hour, model, predictions, &truths, EvaluationOptions::default())
}

fn evaluate_sorted<'a>(
    hour: Hour,
    model: &ModelName,
    predictions: impl IntoIterator<Item = PredictionRow<'a>>,
    truths: &[Truth<'_>],
    options: EvaluationOptions<'_>,
) -> HourEvaluation {
    let mut rows: Vec<PredictionRow<'a>> = predictions.into_iter().collect();
    if !rows.is_sorted_by_key(|row| row.prediction_id) {
        rows.sort_unstable_by_key(|row| row.prediction_id);
    }
    let mut accumulator = HourAccumulator::new(options);
    let mut truths = truths.iter().peekable();
    for group in rows.chunk_by(|a, b| a.prediction_id == b.prediction_id) {
        let id = group[0].prediction_id;
        while truths.next_if(|truth| truth.prediction_id < id).is_some() {
            accumulator.add_unmatched_outcome();
        }
        let truth = truths.next_if(|truth| truth.prediction_id == id);
        accumulator.add_prediction(group, truth);
    }
    truths.for_each(|_| accumulator.add_unmatched_outcome());
    accumulator.finish(hour, model)
}

impl HourEvaluation {
    /// Adds another part of the same hour: one that holds other prediction ids. (The same predictions with newer
    /// outcomes are not a part but a replacement.)
    pub fn merge(&mut self, other: &Self) -> Result<(), EvaluationError> {
        if self.model != other.model {
            return Err(EvaluationError::DifferentModel { expected: self.model.clone(), found: other.model.clone() });
        }
        if self.hour != other.hour {
            return Err(EvaluationError::DifferentHour { expected: self.hour, found: other.hour });
        }
        self.unmatched_outcomes = self.unmatched_outcomes.saturating_add(other.unmatched_outcomes);
        merge_segments(&mut self.segments, &other.segments);
        merge_dimensions(&mut self.dimensions, &other.dimensions);
        merge_shadows(&mut self.shadows, &other.shadows);
        self.maturity.merge(&other.maturity);
        merge_experiments(&mut self.experiments, &other.experiments);
        self.riders.merge(&other.riders);
        for (baseline, counts) in &other.features {
            self.features.entry(baseline.clone()).or_default().merge(counts);
        }
        for (baseline, errors) in &other.model_errors {
            self.model_errors.entry(baseline.clone()).or_default().merge(errors);
        }
        Ok(())
    }

    /// What the arms of each experiment came to, by its id.
    pub fn experiments(&self) -> &BTreeMap<String, ExperimentStatistics> {
        &self.experiments
    }

    /// Features of the cars that arrived, counted into the bins of a training baseline, by the baseline's digest.
    pub fn features(&self) -> &BTreeMap<String, FeatureCounts> {
        &self.features
    }

    /// Keeps the features of the cars that arrived, as counted by the baseline with this digest.
    pub fn set_features(&mut self, baseline_digest: impl Into<String>, counts: FeatureCounts) {
        self.features.insert(baseline_digest.into(), counts);
    }

    /// Errors of what a model's own endpoint said, before the release's correction, by the digest of the model's baseline.
    pub fn model_errors(&self) -> &BTreeMap<String, ErrorStatistics> {
        &self.model_errors
    }

    /// Keeps what a model's own endpoint said of the cars that arrived, before the release's correction, and when they did:
    /// `(answer, actual)` in seconds, counted by the baseline with this digest.
    pub fn set_model_answers(
        &mut self,
        baseline_digest: impl Into<String>,
        baseline: &ModelBaseline,
        answers: &[(f64, f64)],
    ) {
        let digest = baseline_digest.into();
        let usable = answers.iter().filter(|(answer, actual)| is_duration(*answer) && is_duration(*actual));
        let errors =
            ErrorStatistics::from_durations_us(usable.clone().map(|(answer, actual)| (to_us(*answer), to_us(*actual))));
        self.features.insert(digest.clone(), baseline.count(usable.copied()));
        self.model_errors.insert(digest, errors);
    }

    /// What the riders' predictions came to, whatever their arm: what is known of a unit before an experiment.
    pub fn riders(&self) -> &UnitTable {
        &self.riders
    }

    /// The segments that have predictions, in order.
    pub fn segments(&self) -> &BTreeMap<Segment, SegmentStatistics> {
        &self.segments
    }

    /// The predictions by the values of each dimension: `horizon`, `hour_of_day` and those that were asked for.
    pub fn dimensions(&self) -> &BTreeMap<String, Dimension> {
        &self.dimensions
    }

    /// What shadow arms would have answered. None of it is in any other figure.
    pub fn shadows(&self) -> &BTreeMap<ShadowSegment, ShadowStatistics> {
        &self.shadows
    }

    /// When outcomes landed.
    pub fn maturity(&self) -> &MaturityCounts {
        &self.maturity
    }

    /// All segments together.
    pub fn all(&self) -> SegmentStatistics {
        SegmentStatistics::sum(self.segments.values())
    }

    /// The stored form.
    pub fn to_json(&self) -> Vec<u8> {
        // It cannot fail: the keys are text and every number has a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads the stored form, and refuses what contradicts itself.
    pub fn from_json(json: &[u8]) -> Result<Self, EvaluationError> {
        serde_json::from_slice(json).map_err(|error| EvaluationError::InvalidEvaluation(error.to_string()))
    }
}

pub(crate) fn merge_segments(
    into: &mut BTreeMap<Segment, SegmentStatistics>,
    from: &BTreeMap<Segment, SegmentStatistics>,
) {
    for (segment, statistics) in from {
        match into.get_mut(segment) {
            Some(known) => known.merge(statistics),
            None => {
                into.insert(segment.clone(), statistics.clone());
            }
        }
    }
}

pub(crate) fn merge_dimensions(into: &mut BTreeMap<String, Dimension>, from: &BTreeMap<String, Dimension>) {
    for (name, dimension) in from {
        into.entry(name.clone()).or_default().merge(dimension);
    }
}

pub(crate) fn merge_shadows(
    into: &mut BTreeMap<ShadowSegment, ShadowStatistics>,
    from: &BTreeMap<ShadowSegment, ShadowStatistics>,
) {
    for (segment, statistics) in from {
        into.entry(segment.clone()).or_default().merge(statistics);
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    // First, so that another format is refused before its unknown parts are.
    format: Format,
    model: ModelName,
    hour: Hour,
    unmatched_outcomes: u64,
    #[serde(skip_deserializing)]
    all: Option<Summary>,
    segments: Vec<Named<Segment, SegmentStatistics>>,
    dimensions: BTreeMap<String, Dimension>,
    shadows: Vec<Named<ShadowSegment, ShadowStatistics>>,
    maturity: MaturityCounts,
    experiments: BTreeMap<String, ExperimentStatistics>,
    riders: UnitTable,
    features: BTreeMap<String, FeatureCounts>,
    model_errors: BTreeMap<String, ErrorStatistics>,
}

#[derive(Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
#[derive(Clone, Copy)]
struct Format;

impl TryFrom<u32> for Format {
    type Error = String;

    fn try_from(found: u32) -> Result<Self, String> {
        if found == FORMAT {
            Ok(Self)
        } else {
            Err(format!("its format is {found}, and this version reads format {FORMAT}"))
        }
    }
}

impl From<Format> for u32 {
    fn from(_: Format) -> Self {
        FORMAT
    }
}

#[derive(Serialize, Deserialize)]
struct Named<N, S> {
    #[serde(rename = "segment")]
    name: N,
    statistics: S,
}

fn named<N, S>(all: BTreeMap<N, S>) -> Vec<Named<N, S>> {
    all.into_iter().map(|(name, statistics)| Named { name, statistics }).collect()
}

fn by_name<N: Ord, S>(
    all: Vec<Named<N, S>>,
    check: impl Fn(&S) -> Result<(), String>,
) -> Result<BTreeMap<N, S>, String> {
    let mut found = BTreeMap::new();
    for Named { name, statistics } in all {
        check(&statistics)?;
        if found.insert(name, statistics).is_some() {
            return Err("it has a segment twice".to_owned());
        }
    }
    Ok(found)
}

impl From<HourEvaluation> for Stored {
    fn from(evaluation: HourEvaluation) -> Self {
        Self {
            format: Format,
            all: Some(evaluation.all().summary()),
            model: evaluation.model,
            hour: evaluation.hour,
            unmatched_outcomes: evaluation.unmatched_outcomes,
            segments: named(evaluation.segments),
            dimensions: evaluation.dimensions,
            shadows: named(evaluation.shadows),
            maturity: evaluation.maturity,
            experiments: evaluation.experiments,
            riders: evaluation.riders,
            features: evaluation.features,
            model_errors: evaluation.model_errors,
        }
    }
}

impl TryFrom<Stored> for HourEvaluation {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        stored.maturity.check()?;
        stored.model_errors.values().try_for_each(ErrorStatistics::check)?;
        Ok(Self {
            model: stored.model,
            hour: stored.hour,
            unmatched_outcomes: stored.unmatched_outcomes,
            segments: by_name(stored.segments, SegmentStatistics::check)?,
            dimensions: stored.dimensions,
            shadows: by_name(stored.shadows, ShadowStatistics::check)?,
            maturity: stored.maturity,
            experiments: stored.experiments,
            riders: stored.riders,
            features: stored.features,
            model_errors: stored.model_errors,
        })
    }
}
