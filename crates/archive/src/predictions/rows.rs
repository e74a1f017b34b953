//! Prediction records column by column, as an object's lines or a file's rows fill them: no allocation for a record of
//! its own, and what repeats is kept once.

use domain::{
    ArmAssignment, AssignmentExclusion, CandidateRecord, Hour, ModelName, PredictionId, PredictionRecord, Tier, Timings,
};
use jiff::Timestamp;

use super::{
    bounded_json, check,
    names::{Field, Name, Names},
};
use crate::{ArchiveError, Record as _, Rejection, parquet_file::micros};

/// What stands for a feature that is NULL: all numbers of a record are finite.
const NULL: f64 = f64::NAN;

/// Prediction records of one model, in the order in which they came. Every one can be archived.
#[derive(Debug, Clone, Default)]
pub struct PredictionRows {
    pub(super) names: Names,
    /// Texts that hardly repeat, one after the other.
    pub(super) texts: String,
    pub(super) records: Vec<RecordRow>,
    pub(super) candidates: Vec<CandidateRow>,
    pub(super) features: Vec<f64>,
    /// Whether a feature is NULL.
    pub(super) has_null_features: bool,
}

/// A place in `texts`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// What all candidates of a record share.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordRow {
    pub(super) id: PredictionId,
    pub(super) requested_us: i64,
    pub(super) answered_us: i64,
    pub(super) probability: f64,
    pub(super) timings_us: [i64; 3],
    pub(super) unit_id: Option<Text>,
    pub(super) ride_id: Option<Text>,
    pub(super) randomised_unit: Option<Text>,
    pub(super) inputs: Text,
    pub(super) model: Name,
    pub(super) release_id: Name,
    pub(super) spec_hash: Name,
    pub(super) experiment_id: Option<Name>,
    pub(super) arm: Name,
    pub(super) tier_reason: Option<Name>,
    pub(super) endpoint: Name,
    pub(super) variant: Name,
    pub(super) model_version: Name,
    pub(super) tier: Tier,
    pub(super) excluded: Option<AssignmentExclusion>,
    /// Its candidates: from here to where the next record's begin.
    pub(super) candidates: usize,
    pub(super) candidates_end: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct CandidateRow {
    pub(super) id: Text,
    pub(super) inputs: Text,
    pub(super) features: usize,
    pub(super) features_end: usize,
    pub(super) prediction: f64,
    pub(super) fallback: f64,
    pub(super) uncorrected: Option<f64>,
    pub(super) last_shown: Option<f64>,
    pub(super) shown: Option<f64>,
    pub(super) lower: Option<f64>,
    pub(super) upper: Option<f64>,
}

/// How far the columns reach: what a line that turns out to be bad is cut back to.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    records: usize,
    texts: usize,
    candidates: usize,
    features: usize,
}

impl PredictionRows {
    /// How many records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The hour that the record at a position is archived under.
    pub fn hour(&self, position: usize) -> Hour {
        self.records[position].id.hour()
    }

    /// The releases that the records name, each once or more often.
    pub fn release_ids(&self) -> impl Iterator<Item = &str> {
        self.records.iter().map(|record| self.names.text(record.release_id))
    }

    /// The records one by one.
    ///
    /// # Errors
    /// None where the rows have come by [`push`](Self::push) or from landed lines.
    pub fn to_records(&self) -> Result<Vec<PredictionRecord>, ArchiveError> {
        (0..self.len()).map(|row| self.record(row)).collect()
    }

    /// Adds a record.
    ///
    /// # Errors
    /// It cannot be archived without loss.
    pub fn push(&mut self, record: &PredictionRecord) -> Result<(), Rejection> {
        check(record)?;
        let inputs = bounded_json(&record.inputs, || "inputs".to_owned())?;
        let candidate_inputs = record
            .candidates
            .iter()
            .enumerate()
            .map(|(index, one)| bounded_json(&one.inputs, || format!("candidates[{index}].inputs")))
            .collect::<Result<Vec<_>, _>>()?;
        let candidates = self.candidates.len();
        for (candidate, inputs) in record.candidates.iter().zip(&candidate_inputs) {
            let features = self.features.len();
            self.features.extend(candidate.features.iter().map(|feature| feature.unwrap_or(NULL)));
            self.has_null_features |= candidate.features.iter().any(Option::is_none);
            let row = CandidateRow {
                id: self.text(candidate.candidate_id.as_str()),
                inputs: self.text(inputs),
                features,
                features_end: self.features.len(),
                prediction: candidate.prediction,
                fallback: candidate.fallback,
                uncorrected: candidate.uncorrected,
                last_shown: candidate.last_shown,
                shown: candidate.shown,
                lower: candidate.lower,
                upper: candidate.upper,
            };
            self.candidates.push(row);
        }
        let ArmAssignment { experiment_id, arm, probability, randomised_unit, excluded } = &record.assignment;
        let Timings { transform_us, endpoint_us, total_us } = record.timings;
        let row = RecordRow {
            id: record.prediction_id,
            requested_us: micros(record.requested_at),
            answered_us: micros(record.answered_at),
            probability: *probability,
            timings_us: [transform_us, endpoint_us, total_us].map(|us| us as i64),
            unit_id: record.unit_id.as_ref().map(|unit| self.text(unit.as_str())),
            ride_id: record.ride_id.as_ref().map(|ride| self.text(ride.as_str())),
            randomised_unit: randomised_unit.as_deref().map(|unit| self.text(unit)),
            inputs: self.text(&inputs),
            model: self.names.of(Field::Model, record.model.as_str()),
            release_id: self.names.of(Field::ReleaseId, record.release_id.as_str()),
            spec_hash: self.names.of(Field::SpecHash, &record.spec_hash),
            experiment_id: experiment_id.as_deref().map(|id| self.names.of(Field::ExperimentId, id)),
            arm: self.names.of(Field::Arm, arm),
            tier_reason: record.tier_reason.as_deref().map(|reason| self.names.of(Field::TierReason, reason)),
            endpoint: self.names.of(Field::Endpoint, &record.endpoint),
            variant: self.names.of(Field::Variant, &record.variant),
            model_version: self.names.of(Field::ModelVersion, &record.model_version),
            tier: record.tier,
            excluded: *excluded,
            candidates,
            candidates_end: self.candidates.len(),
        };
        self.records.push(row);
        Ok(())
    }

    /// Adds one record of `other`.
    pub(super) fn push_row(&mut self, other: &Self, position: usize) {
        let row = other.records[position];
        let candidates = self.candidates.len();
        for candidate in &other.candidates[row.candidates..row.candidates_end] {
            let features = self.features.len();
            self.features.extend_from_slice(&other.features[candidate.features..candidate.features_end]);
            let candidate = CandidateRow {
                id: self.text(other.at(candidate.id)),
                inputs: self.text(other.at(candidate.inputs)),
                features,
                features_end: self.features.len(),
                ..*candidate
            };
            self.candidates.push(candidate);
        }
        self.has_null_features |= other.has_null_features;
        let mut text = |text: Text| self.text(other.at(text));
        let (unit_id, ride_id) = (row.unit_id.map(&mut text), row.ride_id.map(&mut text));
        let (randomised_unit, inputs) = (row.randomised_unit.map(&mut text), text(row.inputs));
        let mut name = |field: Field, name: Name| self.names.of(field, other.names.text(name));
        let row = RecordRow {
            unit_id,
            ride_id,
            randomised_unit,
            inputs,
            model: name(Field::Model, row.model),
            release_id: name(Field::ReleaseId, row.release_id),
            spec_hash: name(Field::SpecHash, row.spec_hash),
            experiment_id: row.experiment_id.map(|id| name(Field::ExperimentId, id)),
            arm: name(Field::Arm, row.arm),
            tier_reason: row.tier_reason.map(|reason| name(Field::TierReason, reason)),
            endpoint: name(Field::Endpoint, row.endpoint),
            variant: name(Field::Variant, row.variant),
            model_version: name(Field::ModelVersion, row.model_version),
            candidates,
            candidates_end: self.candidates.len(),
            ..row
        };
        self.records.push(row);
    }

    /// Adds the records of `other` after its own.
    pub fn append(&mut self, other: &Self) {
        let (texts, candidates, features) = (self.texts.len(), self.candidates.len(), self.features.len());
        let numbers: Vec<Name> = other.names.iter().map(|text| self.names.number(text)).collect();
        let name = |name: Name| numbers[name as usize];
        let text = |text: Text| Text { start: text.start + texts, end: text.end + texts };
        self.texts.push_str(&other.texts);
        self.features.extend_from_slice(&other.features);
        self.has_null_features |= other.has_null_features;
        self.candidates.extend(other.candidates.iter().map(|row| CandidateRow {
            id: text(row.id),
            inputs: text(row.inputs),
            features: row.features + features,
            features_end: row.features_end + features,
            ..*row
        }));
        self.records.extend(other.records.iter().map(|row| RecordRow {
            unit_id: row.unit_id.map(text),
            ride_id: row.ride_id.map(text),
            randomised_unit: row.randomised_unit.map(text),
            inputs: text(row.inputs),
            model: name(row.model),
            release_id: name(row.release_id),
            spec_hash: name(row.spec_hash),
            experiment_id: row.experiment_id.map(name),
            arm: name(row.arm),
            tier_reason: row.tier_reason.map(name),
            endpoint: name(row.endpoint),
            variant: name(row.variant),
            model_version: name(row.model_version),
            candidates: row.candidates + candidates,
            candidates_end: row.candidates_end + candidates,
            ..*row
        }));
    }

    /// Whether the record at `position` wins over one of the same id in `other`.
    pub(super) fn wins_over(&self, position: usize, other: &Self, of_other: usize) -> bool {
        // Both are records: they have come as such.
        matches!((self.record(position), other.record(of_other)), (Ok(one), Ok(other)) if one.wins_over(&other))
    }

    /// Empties the columns, whose memory is kept for the next records.
    pub(super) fn clear(&mut self) {
        self.texts.clear();
        self.records.clear();
        self.candidates.clear();
        self.features.clear();
    }

    /// The rows' positions by id, each id once: where there are several, the one that [wins](crate::Record::wins_over).
    pub fn sorted(&self) -> Vec<usize> {
        let id = |position: usize| u128::from_be_bytes(*self.records[position].id.as_bytes());
        let mut order: Vec<(u128, usize)> = (0..self.len()).map(|position| (id(position), position)).collect();
        order.sort_unstable();
        let mut sorted: Vec<usize> = Vec::with_capacity(order.len());
        let mut last_id = None;
        for (id, position) in order {
            if last_id != Some(id) {
                sorted.push(position);
            } else if let Some(last) = sorted.last_mut()
                && self.wins_over(position, self, *last)
            {
                *last = position;
            }
            last_id = Some(id);
        }
        sorted
    }

    pub(super) fn null_feature(&mut self) -> f64 {
        self.has_null_features = true;
        NULL
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            records: self.records.len(),
            texts: self.texts.len(),
            candidates: self.candidates.len(),
            features: self.features.len(),
        }
    }

    /// Takes back what came after `mark`, but for names.
    pub(super) fn cut(&mut self, mark: Mark) {
        self.records.truncate(mark.records);
        self.texts.truncate(mark.texts);
        self.candidates.truncate(mark.candidates);
        self.features.truncate(mark.features);
    }

    pub(super) fn text(&mut self, text: &str) -> Text {
        let start = self.texts.len();
        self.texts.push_str(text);
        Text { start, end: self.texts.len() }
    }

    pub(super) fn at(&self, text: Text) -> &str {
        &self.texts[text.start..text.end]
    }

    pub(super) fn record(&self, row: usize) -> Result<PredictionRecord, ArchiveError> {
        let shared = &self.records[row];
        let id = || shared.id.to_string();
        let unstorable = |detail: String| ArchiveError::Unstorable {
            prediction_id: id(),
            rejection: Rejection::new("invalid_value", detail),
        };
        let of_domain = |error: domain::DomainError| unstorable(error.to_string());
        let inputs = |text: Text| serde_json::from_str(self.at(text)).map_err(|error| unstorable(error.to_string()));
        let time = |us| Timestamp::from_microsecond(us).map_err(|error| unstorable(error.to_string()));
        let name = |name: Name| self.names.text(name).to_owned();
        let [transform_us, endpoint_us, total_us] = shared.timings_us.map(|us| us as u64);
        let candidates = self.candidates[shared.candidates..shared.candidates_end].iter().map(|one| {
            Ok(CandidateRecord {
                candidate_id: self.at(one.id).parse().map_err(of_domain)?,
                inputs: inputs(one.inputs)?,
                features: self.features[one.features..one.features_end]
                    .iter()
                    .map(|&feature| (!feature.is_nan()).then_some(feature))
                    .collect(),
                prediction: one.prediction,
                fallback: one.fallback,
                uncorrected: one.uncorrected,
                last_shown: one.last_shown,
                shown: one.shown,
                lower: one.lower,
                upper: one.upper,
            })
        });
        Ok(PredictionRecord {
            prediction_id: shared.id,
            model: self.names.text(shared.model).parse::<ModelName>().map_err(of_domain)?,
            release_id: self.names.text(shared.release_id).parse().map_err(of_domain)?,
            spec_hash: name(shared.spec_hash),
            unit_id: shared.unit_id.map(|unit| self.at(unit).parse()).transpose().map_err(of_domain)?,
            ride_id: shared.ride_id.map(|ride| self.at(ride).parse()).transpose().map_err(of_domain)?,
            requested_at: time(shared.requested_us)?,
            answered_at: time(shared.answered_us)?,
            assignment: ArmAssignment {
                experiment_id: shared.experiment_id.map(name),
                arm: name(shared.arm),
                probability: shared.probability,
                randomised_unit: shared.randomised_unit.map(|unit| self.at(unit).to_owned()),
                excluded: shared.excluded,
            },
            tier: shared.tier,
            tier_reason: shared.tier_reason.map(name),
            endpoint: name(shared.endpoint),
            variant: name(shared.variant),
            model_version: name(shared.model_version),
            inputs: inputs(shared.inputs)?,
            candidates: candidates.collect::<Result<_, ArchiveError>>()?,
            timings: Timings { transform_us, endpoint_us, total_us },
        })
    }
}

/// By the records' content: what the texts lie next to is of no account.
impl PartialEq for PredictionRows {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && matches!((self.to_records(), other.to_records()), (Ok(a), Ok(b)) if a == b)
    }
}
