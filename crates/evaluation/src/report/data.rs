use std::collections::{BTreeMap, BTreeSet};

use domain::{DomainError, Hour, ModelName, Randomisation, Release, ReleaseId, Tier};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::headline::{headline, no_figures};
use crate::{
    ErrorStatistics, EvaluationError, Histogram, HourEvaluation, SegmentStatistics, Summary, Window,
    drift::{DriftReport, FeatureCounts, LABEL, ModelBaseline, ModelDrift, TrainingBaseline},
    experiment::{AnalysisOptions, ExperimentCard, ExperimentFacts},
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
    /// The experiment over its arms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment_id: Option<String>,
    /// What that randomises.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub randomise: Option<Randomisation>,
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
            experiment_id: release.experiment.as_ref().map(|plan| plan.id.clone()),
            randomise: release.experiment.as_ref().map(|plan| plan.randomise.clone()),
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
        ExperimentFacts { id: id.to_owned(), arms: arms.collect(), randomise }
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

/// The distribution of the signed error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorBins {
    /// The width of the closed bins, seconds.
    pub width_s: f64,
    /// Ascending; the first and the last are open.
    pub bins: Vec<ErrorBin>,
}

/// The share of rides whose error (predicted − actual) lies in a range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ErrorBin {
    /// From here, seconds; absent: from −∞.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_s: Option<f64>,
    /// To here, seconds; absent: to +∞.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_s: Option<f64>,
    /// The share of the answers, 0–1.
    pub answer: f64,
    /// The share of the naive fallback's, 0–1.
    pub fallback: f64,
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
    /// The result in one or two sentences, also where there are no figures.
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
    /// The experiments that have predictions, that of the release in force first.
    #[serde(default)]
    pub experiments: Vec<ExperimentCard>,
    /// The features of dispatched cars that arrived, against those of training; absent without a baseline, or with fewer
    /// than 100 rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftReport>,
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
            headline: headline(&summary, unmatched_outcomes),
            no_figures: no_figures(&summary, unmatched_outcomes),
            all: summary,
            unmatched_outcomes,
            by_model_version: groups(window.by(|segment| &segment.model_version)),
            by_arm,
            by_tier: groups(window.by(|segment| segment.tier.as_str())),
            experiments: experiments(&facts, evaluations),
            drift: None,
            models: Vec::new(),
            over_time: over_time(&window, evaluations)?,
            error_bins: error_bins(&all.answer, &all.fallback),
            facts,
        })
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
        self
    }

    /// Adds how a model version's answers and errors are against held-out rows: from the counts that were made by this
    /// baseline.
    pub fn with_model_drift(
        mut self,
        digest: &str,
        baseline: &ModelBaseline,
        evaluations: &[HourEvaluation],
    ) -> Result<Self, EvaluationError> {
        let mut counts = FeatureCounts::default();
        for evaluation in evaluations {
            if let Some(more) = evaluation.features().get(digest) {
                counts.merge(more);
            }
        }
        let window = Window::of(evaluations)?;
        let its = window
            .segments()
            .iter()
            .filter(|(segment, _)| segment.tier == Tier::Endpoint && segment.model_version == baseline.model_version);
        let figures = SegmentStatistics::sum(its.map(|(_, statistics)| statistics)).answer.figures();
        self.models.extend(figures.and_then(|figures| ModelDrift::new(baseline, &counts, &figures)));
        Ok(self)
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
            None => ExperimentFacts { id: id.clone(), arms: Vec::new(), randomise: Randomisation::default() },
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

fn error_bins(answer: &ErrorStatistics, fallback: &ErrorStatistics) -> Option<ErrorBins> {
    const WIDTHS_S: [f64; 13] = [1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];
    const BINS_PER_SIDE: f64 = 15.0;
    let abs = |statistics: &ErrorStatistics| statistics.late().merged(statistics.early());
    let reach_s = abs(answer).merged(&abs(fallback)).quantile(0.98)? / 1e6;
    let width_s = WIDTHS_S.into_iter().find(|width| reach_s <= width * BINS_PER_SIDE).unwrap_or(86400.0);
    let per_side = (reach_s / width_s).ceil().clamp(4.0, BINS_PER_SIDE) as usize;
    let (answer, fallback) = (shares(answer, width_s, per_side), shares(fallback, width_s, per_side));
    let edge = |index: usize| (index as f64 - per_side as f64) * width_s;
    let last = 2 * per_side + 1;
    let bins = (0..=last)
        .map(|bin| ErrorBin {
            from_s: bin.checked_sub(1).map(edge),
            to_s: (bin < last).then(|| edge(bin)),
            answer: answer[bin],
            fallback: fallback[bin],
        })
        .collect();
    Some(ErrorBins { width_s, bins })
}

/// The share of errors in each of `2·per_side` bins around zero, and in the open bins at both ends. A sketch bucket that
/// straddles an edge is split in proportion.
fn shares(statistics: &ErrorStatistics, width_s: f64, per_side: usize) -> Vec<f64> {
    let mut counts = vec![0.0; 2 * per_side + 2];
    let mut spread = |histogram: &Histogram, bin_of: &dyn Fn(usize) -> usize| {
        for bucket in histogram.buckets() {
            let (low, high) = (bucket.low / 1e6 / width_s, bucket.high / 1e6 / width_s);
            let mut from = low;
            while from < high {
                let step = (from.floor() as usize).min(per_side);
                let to = if step == per_side { high } else { high.min(step as f64 + 1.0) };
                counts[bin_of(step)] += bucket.count as f64 * (to - from) / (high - low);
                from = to;
            }
        }
    };
    spread(statistics.early(), &|step| per_side + 1 + step);
    spread(statistics.late(), &|step| per_side - step);
    let n = statistics.n().max(1) as f64;
    counts.into_iter().map(|count| count / n).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_hold_each_error_once_and_on_its_side() {
        let of = |errors_s: &[i64]| {
            ErrorStatistics::from_durations_us(errors_s.iter().map(|e| ((1000 + e) * 1_000_000, 1_000_000_000)))
        };
        let bins = error_bins(&of(&[-70, -65, -1, 0, 1, 9, 100, 500]), &of(&[0, 0, 0, 0])).unwrap();
        let sum = |pick: fn(&ErrorBin) -> f64| bins.bins.iter().map(pick).sum::<f64>();
        assert!((sum(|bin| bin.answer) - 1.0).abs() < 1e-12 && (sum(|bin| bin.fallback) - 1.0).abs() < 1e-12);
        let late: f64 = bins.bins.iter().filter(|bin| bin.to_s.is_some_and(|to| to <= 0.0)).map(|bin| bin.answer).sum();
        assert!((late - 3.0 / 8.0).abs() < 1e-12);
        assert_eq!((bins.bins[0].from_s, bins.bins[bins.bins.len() - 1].to_s), (None, None));
        for pair in bins.bins.windows(2) {
            assert_eq!(pair[0].to_s, pair[1].from_s);
        }
        let zero = bins.bins.iter().find(|bin| bin.from_s == Some(0.0)).unwrap();
        assert_eq!(zero.fallback, 1.0);
    }
}
