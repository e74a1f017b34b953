//! One hour's files to its evaluation: the archive's batches joined as they are read, so that the memory does not grow with
//! the hour.

use std::sync::Arc;

use archive::{ArchiveError, ShadowColumns, outcome_batches, prediction_batches, read_shadow_columns};
use bytes::Bytes;
use domain::{EvaluationPlan, Hour, ModelName, Release};
use evaluation::{
    Arrival, EvaluationOptions, ExperimentRow, HourAccumulator, HourEvaluation, JoinError, OutcomeBatch, OutcomeRow,
    PredictionBatch, PredictionRow, ShadowRow, join_batches,
};
use features::{LookupTable, Resources, SegmentRow, Segments};
use jiff::Timestamp;
use lambda_runtime::tracing::warn;

/// The dimension of the feature spec, by the first digits of its hash.
const SPEC: &str = "spec";
const SPEC_DIGITS: usize = 12;

/// What the release in force says that evaluations tell apart.
#[derive(Default)]
pub(crate) struct Breakdown {
    plan: EvaluationPlan,
    spec: String,
    resources: Resources,
    /// Evaluate what endpoints had said before the release's correction.
    uncorrected: bool,
}

impl Breakdown {
    /// Of the release in force; without one, only what every evaluation tells apart. Segments that do not compile, which
    /// publishing checks, are left out with a warning: figures are worth having without them.
    pub(crate) fn new(release: Option<&Release>, tables: impl Iterator<Item = (String, Arc<LookupTable>)>) -> Self {
        let Some(release) = release else {
            return Self::default();
        };
        let resources: Resources = tables.collect();
        let mut plan = release.evaluation.clone().unwrap_or_default();
        if let Err(error) = Segments::compile(&release.spec.toml, &resources, &plan) {
            warn!(%error, "evaluating without the release's segments");
            plan.segments.clear();
        }
        Self { plan, spec: release.spec.toml.clone(), resources, uncorrected: false }
    }

    /// By zone alone, of what endpoints had said before the release's correction.
    pub(crate) fn uncorrected(release: &Release) -> Self {
        let mut plan = release.evaluation.clone().unwrap_or_default();
        plan.segments.clear();
        Self { plan, spec: release.spec.toml.clone(), resources: Resources::default(), uncorrected: true }
    }

    /// Tells one plan from another: an hour that was evaluated by another one is evaluated again.
    pub(crate) fn digest(&self) -> Option<String> {
        let is_plain = self.plan == EvaluationPlan::default();
        (!is_plain).then(|| domain::digest::sha256_hex(&serde_json::to_vec(&self.plan).unwrap_or_default()))
    }

    fn segments(&self) -> Option<Segments> {
        Segments::compile(&self.spec, &self.resources, &self.plan).ok().filter(|segments| !segments.names().is_empty())
    }
}

/// The contents of an hour's files, those that there are.
#[derive(Debug, Clone, Default)]
pub(crate) struct HourContents {
    pub(crate) predictions: Option<Bytes>,
    pub(crate) outcomes: Option<Bytes>,
    pub(crate) shadows: Option<Bytes>,
}

/// Which file is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum File {
    Predictions,
    Outcomes,
    Shadows,
}

/// Evaluates one hour. `arrived` is told the dispatched cars that arrived, in the order of the predictions' rows.
pub(crate) fn evaluate_files(
    hour: Hour,
    model: &ModelName,
    contents: &HourContents,
    breakdown: &Breakdown,
    arrived: impl FnMut(&PredictionRow<'_>, Arrival),
) -> Result<HourEvaluation, (File, ArchiveError)> {
    let shadows = match &contents.shadows {
        Some(bytes) => read_shadow_columns(bytes.clone()).map_err(|error| (File::Shadows, error))?,
        None => ShadowColumns::default(),
    };
    let shadow_rows: Vec<ShadowRow<'_>> = (0..shadows.prediction_id.len())
        .map(|row| ShadowRow {
            prediction_id: shadows.prediction_id[row],
            candidate_id: &shadows.candidate_id[row],
            arm: &shadows.arm[row].0,
            model_version: &shadows.arm[row].1,
            prediction_s: shadows.prediction[row],
        })
        .collect();
    let mut values = Values { segments: breakdown.segments(), spec: None, uncorrected: breakdown.uncorrected };
    let options = EvaluationOptions {
        dimensions: values.names(),
        time_zone: breakdown.plan.zone_of_time(),
        shadows: &shadow_rows,
    };
    let mut accumulator = HourAccumulator::new(options);
    let with_inputs = values.segments.is_some();
    let predictions = contents.predictions.clone().map(|bytes| prediction_batches(bytes, with_inputs)).transpose();
    let predictions = predictions.map_err(|error| (File::Predictions, error))?.into_iter().flatten();
    let predictions =
        predictions.map(|batch| batch.map(|batch| values.of(batch)).map_err(|error| (File::Predictions, error)));
    let outcomes = contents.outcomes.clone().map(outcome_batches).transpose();
    let outcomes = outcomes.map_err(|error| (File::Outcomes, error))?.into_iter().flatten();
    let outcomes = outcomes.map(|batch| batch.map(Outcomes).map_err(|error| (File::Outcomes, error)));
    join_batches(&mut accumulator, predictions, outcomes, arrived).map_err(|error| match error {
        JoinError::Source(source) => source,
        JoinError::Unsorted { what, id } => {
            let file = if what == "outcomes" { File::Outcomes } else { File::Predictions };
            (file, ArchiveError::Unsorted(format!("{:032x}", u128::from_be_bytes(id))))
        }
    })?;
    Ok(accumulator.finish(hour, model))
}

/// The values of the dimensions, row by row.
struct Values {
    segments: Option<Segments>,
    /// The spec's hash of the row before, and its text.
    spec: Option<(String, Arc<str>)>,
    uncorrected: bool,
}

impl Values {
    fn names(&self) -> Vec<String> {
        let further = self.segments.iter().flat_map(|segments| segments.names().iter().cloned());
        std::iter::once(SPEC.to_owned()).chain(further).collect()
    }

    fn of(&mut self, batch: archive::PredictionBatch) -> Predictions {
        let mut further = Vec::new();
        if let Some(segments) = &mut self.segments {
            let row = |row: usize| {
                let (inputs, candidate_inputs) = batch.inputs(row);
                let requested_at = Timestamp::from_microsecond(batch.requested_at_us(row)).unwrap_or_default();
                SegmentRow { requested_at, inputs, candidate_inputs }
            };
            segments.evaluate((0..batch.len()).map(row), &mut further);
        }
        let dimensions = self.names().len();
        let mut values = Vec::with_capacity(batch.len() * dimensions);
        let mut further = further.into_iter();
        for row in 0..batch.len() {
            values.push(self.spec_text(batch.spec_hash(row)));
            values.extend(further.by_ref().take(dimensions - 1));
        }
        Predictions { batch, values, dimensions, uncorrected: self.uncorrected }
    }

    fn spec_text(&mut self, hash: &str) -> Arc<str> {
        if let Some((_, text)) = self.spec.as_ref().filter(|(known, _)| known == hash) {
            return text.clone();
        }
        let text: Arc<str> = hash.get(..SPEC_DIGITS).unwrap_or(hash).into();
        self.spec = Some((hash.to_owned(), text.clone()));
        text
    }
}

/// A batch of predictions with the values of its dimensions, row by row.
struct Predictions {
    batch: archive::PredictionBatch,
    values: Vec<Arc<str>>,
    dimensions: usize,
    uncorrected: bool,
}

impl PredictionBatch for Predictions {
    fn rows(&self) -> usize {
        self.batch.len()
    }

    fn id(&self, row: usize) -> [u8; 16] {
        self.batch.id(row)
    }

    fn row(&self, row: usize) -> PredictionRow<'_> {
        let batch = &self.batch;
        PredictionRow {
            prediction_id: batch.id(row),
            candidate_id: batch.candidate_id(row),
            model_version: batch.model_version(row),
            arm: batch.arm(row),
            tier: batch.tier(row),
            requested_at_us: batch.requested_at_us(row),
            prediction_s: self
                .uncorrected
                .then(|| batch.uncorrected(row))
                .flatten()
                .unwrap_or_else(|| batch.prediction(row)),
            uncorrected_s: batch.uncorrected(row),
            fallback_s: batch.fallback(row),
            interval: batch.interval(row),
            experiment: batch.experiment_id(row).map(|id| ExperimentRow {
                id,
                randomised_unit: batch.randomised_unit(row),
                excluded: batch.is_excluded(row),
            }),
            unit_id: batch.unit_id(row),
            values: &self.values[row * self.dimensions..][..self.dimensions],
        }
    }
}

struct Outcomes(archive::OutcomeBatch);

impl OutcomeBatch for Outcomes {
    fn rows(&self) -> usize {
        self.0.len()
    }

    fn id(&self, row: usize) -> [u8; 16] {
        self.0.id(row)
    }

    fn row(&self, row: usize) -> OutcomeRow<'_> {
        OutcomeRow {
            prediction_id: self.0.id(row),
            candidate_id: self.0.candidate_id(row),
            observed_at_us: self.0.observed_at_us(row),
            arrived_at_us: self.0.arrived_at_us(row),
            cancelled_at_us: self.0.cancelled_at_us(row),
        }
    }
}
