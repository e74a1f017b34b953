use std::collections::BTreeMap;

use domain::{Hour, ModelName, OutcomeEvent, Tier};
use serde::{Deserialize, Serialize};

use crate::{
    EvaluationError,
    drift::FeatureCounts,
    experiment::{ExperimentArm, ExperimentStatistics, merge_experiments},
    join::{Joiner, Label, PredictionRow, SegmentRef, Truth},
    segment::{Segment, SegmentAccumulator, SegmentStatistics, Summary},
    units::{UnitAccumulator, UnitSums, UnitTable},
};

/// The version of the stored form. A stored evaluation of another version is refused; its hour is evaluated again.
pub const FORMAT: u32 = 2;

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
    segments: BTreeMap<Segment, SegmentStatistics>,
    experiments: BTreeMap<String, ExperimentStatistics>,
    riders: UnitTable,
    features: BTreeMap<String, FeatureCounts>,
}

/// A row whose car was dispatched and arrived: one such as training has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrival {
    /// Its place among the prediction rows as they came, from 0.
    pub row: usize,
    /// Seconds from the request until the car arrived.
    pub actual_s: f64,
}

/// Evaluates one hour. `predictions` and `outcomes` are all that is known of the hour, in any order; repetitions are
/// counted once. Where rows name the same candidate but differ, the earliest request counts.
pub fn evaluate_hour<'a>(
    hour: Hour,
    model: &ModelName,
    predictions: impl IntoIterator<Item = PredictionRow<'a>>,
    outcomes: &[OutcomeEvent],
) -> HourEvaluation {
    evaluate_sorted(hour, model, predictions, &Truth::from_events(outcomes), |_| {})
}

/// [`evaluate_hour`], and the rows that met an arrival, in the order of the rows: to count their features with
/// [`HourEvaluation::set_features`].
pub fn evaluate_hour_with_arrivals<'a>(
    hour: Hour,
    model: &ModelName,
    predictions: impl IntoIterator<Item = PredictionRow<'a>>,
    outcomes: &[OutcomeEvent],
) -> (HourEvaluation, Vec<Arrival>) {
    let mut arrivals = Vec::new();
    let truths = Truth::from_events(outcomes);
    let evaluation = evaluate_sorted(hour, model, predictions, &truths, |arrival| arrivals.push(arrival));
    if !arrivals.is_sorted_by_key(|arrival| arrival.row) {
        arrivals.sort_unstable_by_key(|arrival| arrival.row);
    }
    (evaluation, arrivals)
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
    evaluate_sorted(hour, model, predictions, &truths, |_| {})
}

fn evaluate_sorted<'a>(
    hour: Hour,
    model: &ModelName,
    predictions: impl IntoIterator<Item = PredictionRow<'a>>,
    truths: &[Truth<'_>],
    mut arrived: impl FnMut(Arrival),
) -> HourEvaluation {
    let mut joiner = Joiner::new(predictions);
    let mut accumulators: Vec<SegmentAccumulator> = Vec::new();
    accumulators.resize_with(joiner.segments.len(), SegmentAccumulator::default);
    let mut units: Vec<ArmAccumulator> = Vec::new();
    units.resize_with(joiner.segments.len(), ArmAccumulator::default);
    let mut riders = UnitAccumulator::default();
    let by_experiment: Vec<Option<bool>> =
        joiner.segments.iter().map(|segment| segment.experiment.map(|(_, excluded)| excluded)).collect();
    let by_endpoint: Vec<bool> = joiner.segments.iter().map(|segment| segment.tier == Tier::Endpoint).collect();
    let unmatched_outcomes = joiner.join(truths, |one| {
        let accumulator = &mut accumulators[one.segment];
        let mut unit =
            UnitSums { predictions: 1, not_by_endpoint: u64::from(!by_endpoint[one.segment]), ..UnitSums::default() };
        let counts = &mut accumulator.counts;
        counts.predictions += 1;
        counts.candidates += one.candidates;
        counts.outcomes += u64::from(one.label != Label::Pending { has_outcome: false });
        match one.label {
            Label::Pending { .. } => {
                counts.pending += 1;
                unit.pending = 1;
            }
            Label::Cancelled => {
                counts.cancelled += 1;
                unit.cancelled = 1;
            }
            Label::UnknownCandidate => counts.unknown_candidate += 1,
            Label::Arrived { prediction_s, fallback_s, actual_us } => {
                if let Some(error_us) = accumulator.add_arrival(prediction_s, fallback_s, actual_us) {
                    let abs_us = error_us.unsigned_abs();
                    unit.joined = 1;
                    arrived(Arrival { row: one.row, actual_s: actual_us as f64 / 1e6 });
                    unit.within_120_s = u64::from(abs_us <= 120_000_000);
                    *(if error_us < 0 { &mut unit.late_us } else { &mut unit.early_us }) = abs_us;
                }
            }
        }
        match by_experiment[one.segment] {
            Some(true) => units[one.segment].excluded += 1,
            Some(false) => units[one.segment].units.add(one.randomised, &unit),
            None => {}
        }
        if one.rider != 0 {
            riders.add(one.rider, &unit);
        }
    });
    let experiments = experiments_of(&joiner.segments, units);
    let mut segments: BTreeMap<Segment, SegmentStatistics> = BTreeMap::new();
    // A segment seen only in rows that did not count would make the result depend on repetitions.
    let counted = joiner.segments.iter().zip(accumulators).filter(|(_, sums)| sums.counts.predictions > 0);
    for (segment, accumulator) in counted {
        let segment = Segment {
            model_version: segment.model_version.to_owned(),
            arm: segment.arm.to_owned(),
            tier: segment.tier,
        };
        segments.entry(segment).or_default().merge(&accumulator.finish());
    }
    HourEvaluation {
        model: model.clone(),
        hour,
        unmatched_outcomes,
        segments,
        experiments,
        riders: riders.finish(),
        features: BTreeMap::new(),
    }
}

/// What an arm of an experiment came to in one segment.
#[derive(Default)]
struct ArmAccumulator {
    excluded: u64,
    units: UnitAccumulator,
}

fn experiments_of(segments: &[SegmentRef<'_>], units: Vec<ArmAccumulator>) -> BTreeMap<String, ExperimentStatistics> {
    let mut experiments: BTreeMap<String, ExperimentStatistics> = BTreeMap::new();
    for (segment, ArmAccumulator { excluded, units }) in segments.iter().zip(units) {
        let units = units.finish();
        let Some((id, _)) = segment.experiment.filter(|_| excluded > 0 || units.cells().next().is_some()) else {
            continue;
        };
        let arms = BTreeMap::from([(segment.arm.to_owned(), ExperimentArm { excluded, units })]);
        experiments.entry(id.to_owned()).or_default().merge(&ExperimentStatistics { arms });
    }
    experiments
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
        merge_experiments(&mut self.experiments, &other.experiments);
        self.riders.merge(&other.riders);
        for (baseline, counts) in &other.features {
            self.features.entry(baseline.clone()).or_default().merge(counts);
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

    /// What the riders' predictions came to, whatever their arm: what is known of a unit before an experiment.
    pub fn riders(&self) -> &UnitTable {
        &self.riders
    }

    /// The segments that have predictions, in order.
    pub fn segments(&self) -> &BTreeMap<Segment, SegmentStatistics> {
        &self.segments
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

#[derive(Serialize, Deserialize)]
struct Stored {
    // First, so that another format is refused before its unknown parts are.
    format: Format,
    model: ModelName,
    hour: Hour,
    unmatched_outcomes: u64,
    #[serde(skip_deserializing)]
    all: Option<Summary>,
    segments: Vec<StoredSegment>,
    experiments: BTreeMap<String, ExperimentStatistics>,
    riders: UnitTable,
    features: BTreeMap<String, FeatureCounts>,
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
struct StoredSegment {
    #[serde(rename = "segment")]
    name: Segment,
    statistics: SegmentStatistics,
}

impl From<HourEvaluation> for Stored {
    fn from(evaluation: HourEvaluation) -> Self {
        Self {
            format: Format,
            all: Some(evaluation.all().summary()),
            model: evaluation.model,
            hour: evaluation.hour,
            unmatched_outcomes: evaluation.unmatched_outcomes,
            segments: evaluation
                .segments
                .into_iter()
                .map(|(name, statistics)| StoredSegment { name, statistics })
                .collect(),
            experiments: evaluation.experiments,
            riders: evaluation.riders,
            features: evaluation.features,
        }
    }
}

impl TryFrom<Stored> for HourEvaluation {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        let mut segments = BTreeMap::new();
        for StoredSegment { name, statistics } in stored.segments {
            statistics.check()?;
            if segments.insert(name, statistics).is_some() {
                return Err("it has a segment twice".to_owned());
            }
        }
        Ok(Self {
            model: stored.model,
            hour: stored.hour,
            unmatched_outcomes: stored.unmatched_outcomes,
            segments,
            experiments: stored.experiments,
            riders: stored.riders,
            features: stored.features,
        })
    }
}
