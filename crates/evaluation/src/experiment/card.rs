//! The verdict on one experiment, from any hours' evaluations.

use std::collections::BTreeMap;

use domain::{ExperimentPlan, Hour, Randomisation, Release};
use experiments::statistics::{Correction, DEFAULT_TUNING, SRM_MIN_UNITS, SRM_THRESHOLD, adjust, sample_ratio};
use serde::{Deserialize, Serialize};

use super::{
    ExperimentStatistics,
    effect::{Direction, MetricResult, compare, direction},
    metric::{Metric, Role},
};
use crate::{
    HourEvaluation,
    units::{UnitSums, UnitTable},
};

/// Each arm has as many units at least: below, no interval of theirs is to be believed.
pub const MIN_UNITS: usize = 30;
/// The most points of a course over time.
const MAX_COURSE_POINTS: usize = 48;

/// When one may look.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum AnalysisMethod {
    /// At any time: asymptotic confidence sequences, with the number of units where they are narrowest.
    Sequential {
        /// N*.
        tuning: f64,
    },
    /// Once, at an end that was fixed beforehand (Welch).
    FixedHorizon,
}

/// How an experiment is analysed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AnalysisOptions {
    /// When one may look.
    #[serde(flatten)]
    pub method: AnalysisMethod,
    /// The probability of a false verdict, 0–1.
    pub alpha: f64,
    /// Hold the share of false ones among the findings (Benjamini–Hochberg) instead of the probability of any (Holm).
    pub false_discovery_rate: bool,
}

impl Default for AnalysisOptions {
    fn default() -> Self {
        let method = AnalysisMethod::Sequential { tuning: DEFAULT_TUNING };
        Self { method, alpha: 0.05, false_discovery_rate: false }
    }
}

/// What was planned, from the release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExperimentFacts {
    /// The experiment's id.
    pub id: String,
    /// The arms with their weights, the control first.
    pub arms: Vec<(String, f64)>,
    /// What is randomised.
    pub randomise: Randomisation,
    /// Whether units may have been in these very arms before, under another experiment's id: the plan has a seed of its own (as the
    /// steps of a ramp have), or is not known.
    #[serde(default)]
    pub keeps_arms: bool,
}

impl ExperimentFacts {
    /// Of an experiment whose plan is not known.
    pub fn unknown(id: impl Into<String>) -> Self {
        Self { id: id.into(), arms: Vec::new(), randomise: Randomisation::default(), keeps_arms: true }
    }

    /// Of a release; `None` where it has no experiment.
    pub fn of(release: &Release) -> Option<Self> {
        let plan = release.experiment.as_ref()?;
        let ExperimentPlan { id, weights, randomise, .. } = plan;
        let arms = release.arms.iter().map(|arm| arm.name.clone()).zip(weights.iter().copied()).collect();
        Some(Self { id: id.clone(), arms, randomise: randomise.clone(), keeps_arms: keeps_arms(plan) })
    }
}

/// Whether another experiment may have split units the same way.
pub(crate) fn keeps_arms(plan: &ExperimentPlan) -> bool {
    plan.seed.as_ref().is_some_and(|seed| *seed != plan.id)
}

/// One arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmCard {
    /// Its name.
    pub name: String,
    /// The share of units it was to get, 0–1; absent where the plan is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// Randomised units: exact up to 16,384, above estimated.
    pub units: u64,
    /// Predictions that count.
    pub predictions: u64,
    /// Rides with an error.
    pub joined: u64,
    /// Predictions that do not count: forced arms, carry-over.
    pub excluded: u64,
    /// The share of predictions whose outcome has landed, 0–1; absent without predictions.
    pub label_maturity: Option<f64>,
}

/// The sample-ratio test. It comes first: whatever loses units of one arm biases every other figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SampleRatioCheck {
    /// Units counted, of both arms: all, or a uniform sample of them.
    pub units: u64,
    /// χ².
    pub statistic: f64,
    /// Its p-value.
    pub p_value: f64,
    /// Below 0.001: distrust the experiment.
    pub alarm: bool,
}

/// What may be said of a treatment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The arms did not get the shares of units that they were promised: nothing else is to be believed.
    SampleRatioMismatch,
    /// An arm has fewer than [`MIN_UNITS`] units, or no ride with an error.
    TooEarly,
    /// A guardrail is worse, whatever the primary metric says.
    GuardrailBreached,
    /// The primary metric is better.
    Better,
    /// The primary metric is worse.
    Worse,
    /// No difference is proved yet.
    Undecided,
}

/// The effect on the primary metric after some of the hours.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CoursePoint {
    /// The last hour that is in it, UTC.
    pub until: Hour,
    /// Treatment − control, in the metric's unit.
    pub effect: f64,
    /// The interval's lower end.
    pub lower: f64,
    /// The interval's upper end.
    pub upper: f64,
}

/// One treatment against the control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The treatment's arm.
    pub arm: String,
    /// The verdict.
    pub verdict: Verdict,
    /// The metrics, the primary first.
    pub metrics: Vec<MetricResult>,
    /// The primary metric's effect over time, from the experiment's first hour.
    pub course: Vec<CoursePoint>,
}

/// All that is to be said of one experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExperimentCard {
    /// The experiment's id.
    pub id: String,
    /// What is randomised; absent where the plan is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub randomise: Option<Randomisation>,
    /// The first and the last hour with predictions of it, UTC.
    pub hours: Option<(Hour, Hour)>,
    /// How it was analysed.
    pub options: AnalysisOptions,
    /// The arms, the control first.
    pub arms: Vec<ArmCard>,
    /// The sample-ratio test; absent where the plan is not known, or there are too few units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_ratio: Option<SampleRatioCheck>,
    /// Units that met two arms, of those counted: an experiment that was changed while it ran, or units that are not
    /// stable.
    pub units_in_two_arms: u64,
    /// Hours before in which another experiment may have had the same units in the same arms. What was known of units then may
    /// be the treatment's own effect: those hours are not used to narrow intervals (CUPED).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hours_treated_before: u64,
    /// Each treatment against the control.
    pub comparisons: Vec<Comparison>,
}

// Serde passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl ExperimentCard {
    /// The card of `facts.id` over `evaluations`, in any order, the latest of each hour. Hours before the experiment's first
    /// tell what its units were like before (CUPED). Without `facts` of the plan, name the id and no arms.
    pub fn new(facts: &ExperimentFacts, evaluations: &[HourEvaluation], options: AnalysisOptions) -> Self {
        let mut in_order: Vec<&HourEvaluation> = evaluations.iter().collect();
        in_order.sort_by_key(|evaluation| evaluation.hour);
        let its = |evaluation: &HourEvaluation| evaluation.experiments().contains_key(&facts.id);
        let hours = evaluations.iter().filter(|evaluation| its(evaluation)).count();
        // Of all hours: whichever arm is the control at the end is so at every point.
        let of_all = evaluations.iter().filter_map(|evaluation| evaluation.experiments().get(&facts.id));
        let names = arm_names(facts, of_all.flat_map(|statistics| statistics.arms.keys()));
        // The course needs a merge for each of its points: the hours are merged once, with a look at each step.
        let step = hours.div_ceil(MAX_COURSE_POINTS).max(1);
        let mut fold = ExperimentFold::new(facts);
        let mut courses: Vec<Vec<CoursePoint>> = names.iter().skip(1).map(|_| Vec::new()).collect();
        let mut number = 0;
        for evaluation in in_order {
            fold.add(evaluation);
            if !its(evaluation) {
                continue;
            }
            number += 1;
            if number % step == 0 || number == hours {
                let points = fold.course_points(&names, evaluation.hour, &options);
                courses.iter_mut().zip(points).for_each(|(course, point)| course.extend(point));
            }
        }
        let mut card = fold.card(options);
        for (comparison, course) in card.comparisons.iter_mut().zip(courses) {
            comparison.course = course;
        }
        card
    }
}

/// An experiment's hours, folded into one state one after the other: as large as a few of them, however many there were.
#[derive(Debug, Clone)]
pub struct ExperimentFold {
    facts: ExperimentFacts,
    merged: ExperimentStatistics,
    hours: Option<(Hour, Hour)>,
    /// The riders of the hours before the first, but for those that follow.
    before: UnitTable,
    hours_treated_before: u64,
}

impl ExperimentFold {
    /// No hour yet.
    pub fn new(facts: &ExperimentFacts) -> Self {
        let (merged, before) = (ExperimentStatistics::default(), UnitTable::default());
        Self { facts: facts.clone(), merged, hours: None, before, hours_treated_before: 0 }
    }

    /// Adds an hour that is later than those before. Hours before the experiment's first tell what its units were like before
    /// (CUPED), unless another experiment may have treated them alike.
    pub fn add(&mut self, evaluation: &HourEvaluation) {
        match evaluation.experiments().get(&self.facts.id) {
            Some(statistics) => {
                self.merged.merge(statistics);
                let first = self.hours.map_or(evaluation.hour, |(first, _)| first);
                self.hours = Some((first, evaluation.hour));
            }
            None if self.hours.is_some() => {}
            None if self.facts.keeps_arms && !evaluation.experiments().is_empty() => self.hours_treated_before += 1,
            None => self.before.merge(evaluation.riders()),
        }
    }

    /// Each treatment's effect on the primary metric so far.
    fn course_points(&self, names: &[String], until: Hour, options: &AnalysisOptions) -> Vec<Option<CoursePoint>> {
        let arms = units_of(names, &self.merged);
        let point = |treatment: &&UnitTable| {
            let found = compare(Metric::ALL[0], arms[0], treatment, &self.before, options).effect?;
            Some(CoursePoint { until, effect: found.effect, lower: found.lower, upper: found.upper })
        };
        arms.iter().skip(1).map(point).collect()
    }

    /// The card of all hours so far, without the course over time.
    pub fn card(&self, options: AnalysisOptions) -> ExperimentCard {
        let Self { facts, merged, before, hours, hours_treated_before } = self;
        let names = arm_names(facts, merged.arms.keys());
        let arms = units_of(&names, merged);
        let mut results: Vec<Vec<MetricResult>> = arms
            .iter()
            .skip(1)
            .map(|arm| Metric::ALL.iter().map(|metric| compare(*metric, arms[0], arm, before, &options)).collect())
            .collect();
        correct(&mut results, &options);
        let (sample_ratio, units_in_two_arms) = count_units(facts, &names, &arms);
        let mismatch = sample_ratio.is_some_and(|check| check.alarm);
        let comparisons = names
            .iter()
            .skip(1)
            .zip(results)
            .map(|(arm, metrics)| Comparison {
                arm: arm.clone(),
                verdict: verdict(mismatch, &metrics),
                metrics,
                course: Vec::new(),
            })
            .collect();
        let arms = names.iter().map(|name| arm_card(facts, name, merged.arms.get(name))).collect();
        let randomise = (!facts.arms.is_empty()).then(|| facts.randomise.clone());
        ExperimentCard {
            id: facts.id.clone(),
            randomise,
            hours: *hours,
            options,
            arms,
            sample_ratio,
            units_in_two_arms,
            hours_treated_before: if hours.is_some() { *hours_treated_before } else { 0 },
            comparisons,
        }
    }
}

/// The arms of the plan, then those that only the records know.
fn arm_names<'a>(facts: &ExperimentFacts, known: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut names: Vec<String> = facts.arms.iter().map(|(name, _)| name.clone()).collect();
    let mut others: Vec<&String> = known.collect();
    // Where the plan is not known, an arm of this name is the control.
    others.sort_by_key(|name| (name.as_str() != "control", *name));
    for name in others {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

static NO_UNITS: std::sync::LazyLock<UnitTable> = std::sync::LazyLock::new(UnitTable::default);

fn units_of<'a>(names: &[String], statistics: &'a ExperimentStatistics) -> Vec<&'a UnitTable> {
    names.iter().map(|name| statistics.arms.get(name).map_or(&*NO_UNITS, |arm| &arm.units)).collect()
}

fn arm_card(facts: &ExperimentFacts, name: &str, arm: Option<&super::ExperimentArm>) -> ArmCard {
    let total: UnitSums = arm.map(|arm| arm.units.total()).unwrap_or_default();
    ArmCard {
        name: name.to_owned(),
        weight: facts.arms.iter().find(|(planned, _)| planned == name).map(|(_, weight)| *weight),
        units: arm.map_or(0, |arm| arm.units.units()),
        predictions: total.predictions,
        joined: total.joined,
        excluded: arm.map_or(0, |arm| arm.excluded),
        label_maturity: (total.predictions > 0)
            .then(|| total.predictions.saturating_sub(total.pending) as f64 / total.predictions as f64),
    }
}

/// Counts units by arm, of the hashes up to which every arm's are known.
fn count_units(facts: &ExperimentFacts, names: &[String], arms: &[&UnitTable]) -> (Option<SampleRatioCheck>, u64) {
    let threshold = arms.iter().filter_map(|arm| arm.sample_threshold()).min().unwrap_or(u64::MAX);
    let mut met: BTreeMap<u64, u32> = BTreeMap::new();
    let mut counts = Vec::with_capacity(arms.len());
    for arm in arms {
        let known = arm.sample().range(..=threshold);
        counts.push(known.clone().count() as f64);
        known.for_each(|unit| *met.entry(*unit).or_default() += 1);
    }
    let in_two_arms = met.values().filter(|arms| **arms > 1).count() as u64;
    let weight = |name: &String| facts.arms.iter().find(|(planned, _)| planned == name).map(|(_, weight)| *weight);
    let (observed, weights): (Vec<f64>, Vec<f64>) =
        names.iter().zip(counts).filter_map(|(name, count)| Some((count, weight(name)?))).unzip();
    // An experiment that gives everybody one arm has no ratio to test.
    let has_ratio = weights.iter().filter(|weight| **weight > 0.0).count() > 1;
    let check = sample_ratio(&observed, &weights).ok().flatten();
    let check = check.filter(|check| has_ratio && check.least_expected >= SRM_MIN_UNITS);
    let check = check.map(|found| SampleRatioCheck {
        units: observed.iter().sum::<f64>() as u64,
        statistic: found.statistic,
        p_value: found.p_value,
        alarm: found.alarm(SRM_THRESHOLD),
    });
    (check, in_two_arms)
}

/// Adjusts the p-values of what decides and explains, over all arms together.
fn correct(results: &mut [Vec<MetricResult>], options: &AnalysisOptions) {
    let correction = if options.false_discovery_rate { Correction::BenjaminiHochberg } else { Correction::Holm };
    let mut tested: Vec<&mut MetricResult> = results
        .iter_mut()
        .flatten()
        .filter(|result| result.role != Role::Guardrail && result.effect.is_some())
        .collect();
    let p_values: Vec<f64> = tested.iter().filter_map(|result| Some(result.effect?.p_value)).collect();
    for (result, adjusted) in tested.iter_mut().zip(adjust(&p_values, correction)) {
        let metric = result.metric;
        if let Some(effect) = &mut result.effect {
            effect.adjusted_p_value = Some(adjusted);
            effect.direction = direction(metric, effect.effect, adjusted <= options.alpha);
        }
    }
}

fn verdict(mismatch: bool, metrics: &[MetricResult]) -> Verdict {
    let way = |result: &MetricResult| result.effect.as_ref().map(|effect| effect.direction);
    if mismatch {
        return Verdict::SampleRatioMismatch;
    }
    if metrics.iter().any(|result| result.role == Role::Guardrail && way(result) == Some(Direction::Worse)) {
        return Verdict::GuardrailBreached;
    }
    match metrics.iter().find(|result| result.role == Role::Primary).map(way) {
        Some(Some(Direction::Better)) => Verdict::Better,
        Some(Some(Direction::Worse)) => Verdict::Worse,
        Some(Some(Direction::Unclear)) => Verdict::Undecided,
        _ => Verdict::TooEarly,
    }
}
