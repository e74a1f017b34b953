use std::collections::{BTreeMap, BTreeSet};

use domain::{DomainError, Hour, ModelName, Randomisation, Release, ReleaseId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    breakdown::{DimensionFigures, SegmentToLookAt, dimensions, to_look_at},
    error_bins::{ErrorBins, error_bins},
    headline::{headline, no_figures},
    language::Language,
};
use crate::{
    ErrorStatistics, EvaluationError, HourEvaluation, MaturityPoint, SegmentStatistics, ShadowSummary, Summary, Window,
    drift::{DriftReport, FeatureCounts, LABEL, ModelBaseline, ModelDrift, TrainingBaseline},
    experiment::{AnalysisOptions, ExperimentCard, ExperimentFacts, keeps_arms},
};

/// The most points that the course over time has. Longer windows have more hours to a point.
const MAX_POINTS: i64 = 200;

/// The version of `report.json`.
const FORMAT: u32 = 1;

/// What the report says besides the figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportFacts {
    /// The model.
    pub model: ModelName,
    /// When the report was made, UTC.
    pub generated_at: Timestamp,
    /// The release in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseFacts>,
}

/// What the report says of a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReleaseFacts {
    /// Its id.
    pub release_id: ReleaseId,
    /// When it was made, UTC.
    pub created_at: Timestamp,
    /// SHA-256 of its feature spec in canonical form.
    #[serde(default)]
    pub spec_hash: String,
    /// The share of cars that its answered intervals are to cover, 0–1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promised_interval: Option<f64>,
    /// The experiment over its arms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment_id: Option<String>,
    /// What that randomises.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub randomise: Option<Randomisation>,
    /// Whether its units may have been in the same arms before, under another experiment's id.
    #[serde(default)]
    pub keeps_arms: bool,
    /// Its arms.
    pub arms: Vec<ArmFacts>,
}

/// What the report says of an arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmFacts {
    /// Its name.
    pub name: String,
    /// The version of the model behind it.
    pub model_version: String,
    /// The share of requests it is meant to get, 0–1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
}

impl ReleaseFacts {
    /// Of a release.
    pub fn of(release: &Release) -> Result<Self, DomainError> {
        let weight = |index: usize| release.experiment.as_ref().and_then(|plan| plan.weights.get(index).copied());
        Ok(Self {
            release_id: release.id()?,
            created_at: release.created_at,
            spec_hash: release.spec.hash.clone(),
            promised_interval: release.promise.as_ref().map(|promise| promise.interval),
            experiment_id: release.experiment.as_ref().map(|plan| plan.id.clone()),
            randomise: release.experiment.as_ref().map(|plan| plan.randomise.clone()),
            keeps_arms: release.experiment.as_ref().is_some_and(keeps_arms),
            arms: release
                .arms
                .iter()
                .enumerate()
                .map(|(index, arm)| ArmFacts {
                    name: arm.name.clone(),
                    model_version: arm.model_version.clone(),
                    weight: weight(index),
                })
                .collect(),
        })
    }

    /// What is planned for the experiment `id`; without arms where it is not this release's.
    fn experiment(&self, id: &str) -> ExperimentFacts {
        let is_this = self.experiment_id.as_deref() == Some(id);
        let arms = self.arms.iter().filter(|_| is_this).filter_map(|arm| Some((arm.name.clone(), arm.weight?)));
        let randomise = self.randomise.clone().filter(|_| is_this).unwrap_or_default();
        ExperimentFacts { id: id.to_owned(), arms: arms.collect(), randomise, keeps_arms: !is_this || self.keeps_arms }
    }
}

/// Why a report has no figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoFigures {
    /// There are no predictions.
    NoPredictions,
    /// There are predictions, and no outcomes at all.
    NoOutcomesYet,
    /// There are predictions and outcomes, and no outcome names one of the predictions.
    NotJoined,
    /// Cars arrived that the predictions do not know.
    UnknownCandidates,
    /// Cars arrived, but there is no error to be had.
    Unusable,
    /// Outcomes came, but of no arrival.
    NoArrivalsYet,
    /// Every ride was cancelled.
    AllCancelled,
}

/// Why a model should be trained again. That a single feature drifts is no reason: where it is broken, training on it would be
/// worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetrainingReason {
    /// A model's error is larger than on held-out rows, or is another.
    ConceptDrift,
    /// What is predicted has changed.
    LabelDrift,
    /// Half of the features drift.
    DatasetDrift,
}

impl RetrainingReason {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConceptDrift => "concept_drift",
            Self::LabelDrift => "label_drift",
            Self::DatasetDrift => "dataset_drift",
        }
    }
}

/// The figures of some of the predictions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// What they have in common: the name of an arm, a tier, a model version.
    pub name: String,
    /// Their figures.
    pub summary: Summary,
}

/// A shadow arm's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShadowFigures {
    /// The shadow's name.
    pub name: String,
    /// Its figures beside those of the arms that answered.
    pub summary: ShadowSummary,
}

/// What the report says of a training baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingFacts {
    /// Rows of the training view.
    pub rows: u64,
    /// SHA-256 of the baseline's document.
    pub digest: String,
}

/// The figures of a stretch of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimePoint {
    /// Its first hour, UTC.
    pub from: Hour,
    /// How many hours long it is.
    pub hours: i64,
    /// Its figures.
    pub summary: Summary,
}

/// Everything the report says: `report.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportData {
    /// The version of this document.
    pub format: u32,
    /// The model, the release, the time.
    pub facts: ReportFacts,
    /// The first and the last hour that were evaluated, UTC.
    pub window: Option<(Hour, Hour)>,
    /// The result in one or two sentences, also where there are no figures, in English.
    pub headline: String,
    /// Why there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_figures: Option<NoFigures>,
    /// Everything together.
    pub all: Summary,
    /// Outcomes that met no prediction.
    pub unmatched_outcomes: u64,
    /// By version of the model.
    pub by_model_version: Vec<Group>,
    /// By arm, the release's first.
    pub by_arm: Vec<Group>,
    /// By the tier that answered.
    pub by_tier: Vec<Group>,
    /// By the values of each dimension.
    #[serde(default)]
    pub dimensions: Vec<DimensionFigures>,
    /// Segments whose error is larger than the whole's, the one that weighs most first.
    #[serde(default)]
    pub segments_to_look_at: Vec<SegmentToLookAt>,
    /// Shadow arms, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadows: Vec<ShadowFigures>,
    /// How fast labels land.
    #[serde(default)]
    pub maturity_curve: Vec<MaturityPoint>,
    /// The experiments that have predictions, that of the release in force first.
    #[serde(default)]
    pub experiments: Vec<ExperimentCard>,
    /// The features of dispatched cars that arrived, against those of training; absent without a baseline, or with fewer
    /// than 100 rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftReport>,
    /// What drift is told against; absent without a baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingFacts>,
    /// Each model version's answers and errors, against held-out rows; those without a baseline, or with fewer than 100 rows,
    /// are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelDrift>,
    /// Over time. Hours without an evaluation are left out.
    pub over_time: Vec<TimePoint>,
    /// The distribution of the error; absent without figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_bins: Option<ErrorBins>,
}

impl ReportData {
    /// Makes the report of some hours' evaluations, in any order, the latest of each hour.
    pub fn new(facts: ReportFacts, evaluations: &[HourEvaluation]) -> Result<Self, EvaluationError> {
        let window = Window::of(evaluations)?;
        if let Some(other) = evaluations.iter().find(|evaluation| evaluation.model != facts.model) {
            return Err(EvaluationError::DifferentModel { expected: facts.model, found: other.model.clone() });
        }
        let all = window.all();
        let summary = all.summary();
        let dimensions = dimensions(&window);
        let shadow = |(name, statistics): (&str, crate::ShadowStatistics)| ShadowFigures {
            name: name.to_owned(),
            summary: statistics.summary(),
        };
        let unmatched_outcomes = window.unmatched_outcomes();
        let groups = |by: BTreeMap<&str, SegmentStatistics>| -> Vec<Group> {
            by.into_iter()
                .map(|(name, statistics)| Group { name: name.to_owned(), summary: statistics.summary() })
                .collect()
        };
        let mut by_arm = groups(window.by(|segment| &segment.arm));
        if let Some(release) = &facts.release {
            let place = |group: &Group| release.arms.iter().position(|arm| arm.name == group.name);
            by_arm.sort_by_key(|group| place(group).unwrap_or(usize::MAX));
        }
        Ok(Self {
            format: FORMAT,
            window: window.hours().first().copied().zip(window.hours().last().copied()),
            headline: headline(&summary, unmatched_outcomes, Language::English),
            no_figures: no_figures(&summary, unmatched_outcomes),
            segments_to_look_at: to_look_at(&summary, &dimensions),
            dimensions,
            shadows: window.by_shadow().into_iter().map(shadow).collect(),
            maturity_curve: window.maturity_curve(facts.generated_at),
            all: summary,
            unmatched_outcomes,
            by_model_version: groups(window.by(|segment| &segment.model_version)),
            by_arm,
            by_tier: groups(window.by(|segment| segment.tier.as_str())),
            experiments: experiments(&facts, evaluations),
            drift: None,
            training: None,
            models: Vec::new(),
            over_time: over_time(&window, evaluations)?,
            error_bins: error_bins(&all.answer, &all.fallback),
            facts,
        })
    }

    /// The result in one or two sentences, also where there are no figures.
    pub fn headline(&self, language: Language) -> String {
        headline(&self.all, self.unmatched_outcomes, language)
    }

    /// Adds how far the hours' features are from training's: from the counts that were made by this baseline.
    #[must_use]
    pub fn with_drift(mut self, digest: &str, baseline: &TrainingBaseline, evaluations: &[HourEvaluation]) -> Self {
        let mut counts = FeatureCounts::new(baseline);
        for evaluation in evaluations {
            if let Some(more) = evaluation.features().get(digest) {
                counts.merge(more);
            }
        }
        self.drift = DriftReport::new(baseline, &counts);
        self.training = Some(TrainingFacts { rows: baseline.rows, digest: digest.to_owned() });
        self
    }

    /// Adds how what a model version itself says, before the release's correction, is against held-out rows: from the counts that were made by this
    /// baseline.
    #[must_use]
    pub fn with_model_drift(mut self, digest: &str, baseline: &ModelBaseline, evaluations: &[HourEvaluation]) -> Self {
        let (mut counts, mut errors) = (FeatureCounts::default(), ErrorStatistics::default());
        for evaluation in evaluations {
            if let Some(more) = evaluation.features().get(digest) {
                counts.merge(more);
            }
            if let Some(more) = evaluation.model_errors().get(digest) {
                errors.merge(more);
            }
        }
        let figures = errors.figures();
        self.models.extend(figures.and_then(|figures| ModelDrift::new(baseline, &counts, &figures)));
        self
    }

    /// Why the model should be trained again; `None` where nothing says so.
    pub fn wants_training(&self) -> Option<RetrainingReason> {
        let concept = self.models.iter().any(ModelDrift::concept_drift);
        let drift = self.drift.as_ref();
        let label = drift.is_some_and(|drift| drift.drifted().contains(&LABEL));
        match () {
            () if concept => Some(RetrainingReason::ConceptDrift),
            () if label => Some(RetrainingReason::LabelDrift),
            () if drift.is_some_and(|drift| drift.dataset_drift) => Some(RetrainingReason::DatasetDrift),
            () => None,
        }
    }

    /// `report.json`.
    pub fn to_json(&self) -> Vec<u8> {
        // It cannot fail: the keys are text and every number has a JSON form.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }
}

fn experiments(facts: &ReportFacts, evaluations: &[HourEvaluation]) -> Vec<ExperimentCard> {
    let ids: BTreeSet<&String> = evaluations.iter().flat_map(|evaluation| evaluation.experiments().keys()).collect();
    let mut plans: Vec<ExperimentFacts> = ids
        .into_iter()
        .map(|id| match &facts.release {
            Some(release) => release.experiment(id),
            None => ExperimentFacts::unknown(id.as_str()),
        })
        .collect();
    plans.sort_by_key(|plan| plan.arms.is_empty());
    plans.iter().map(|plan| ExperimentCard::new(plan, evaluations, AnalysisOptions::default())).collect()
}

/// Hours since 1970.
pub(super) fn hour_number(hour: Hour) -> i64 {
    hour.start().as_second() / 3600
}

fn over_time(window: &Window, evaluations: &[HourEvaluation]) -> Result<Vec<TimePoint>, EvaluationError> {
    let (Some(first), Some(last)) = (window.hours().first(), window.hours().last()) else { return Ok(Vec::new()) };
    let span = hour_number(*last) - hour_number(*first) + 1;
    let hours = [1, 2, 3, 6, 12].into_iter().find(|hours| span <= hours * MAX_POINTS);
    let hours = hours.unwrap_or_else(|| (span / (24 * MAX_POINTS) + 1) * 24);
    let mut points: BTreeMap<i64, Vec<&HourEvaluation>> = BTreeMap::new();
    for evaluation in evaluations {
        points.entry(hour_number(evaluation.hour).div_euclid(hours)).or_default().push(evaluation);
    }
    points
        .into_iter()
        .map(|(number, evaluations)| {
            let from = first.plus(number * hours - hour_number(*first));
            Ok(TimePoint { from, hours, summary: Window::of(evaluations)?.figures() })
        })
        .collect()
}
