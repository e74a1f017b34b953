use std::collections::{BTreeMap, BTreeSet};

use archive::{ArchiveError, PredictionColumns, read_features, read_outcomes, read_prediction_columns};
use bytes::Bytes;
use cloud::object_store::{ETag, GetObject, ListObjects, PutCondition, PutObject};
use domain::{
    Hour, ModelName, OutcomeEvent, Release, Tier,
    lake::{self, Partition, Table},
};
use evaluation::{
    Arrival, ExperimentRow, HourEvaluation, PredictionRow, Summary,
    drift::{FeatureCounts, TrainingBaseline},
    evaluate_hour_with_arrivals,
    report::{ReleaseFacts, ReportData, ReportFacts, render_html},
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use lambda_runtime::tracing::{info, warn};
use serde::{Deserialize, Serialize};

use crate::{
    Config, EvaluatorError, KeptBaselines,
    baselines::read_baselines,
    kept::{KeptEvaluation, release_in_force},
};

/// The most hours in one run: the figures of two years fit into the function's memory and time.
const MAX_WINDOW_HOURS: i64 = 24 * 366 * 2;
/// Objects read at the same time.
const CONCURRENCY: usize = 8;

/// What to evaluate. A scheduled event of EventBridge has none of these fields, and means the last hours of the default
/// model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EvaluatorEvent {
    /// The model.
    #[serde(default)]
    pub model: Option<ModelName>,
    /// The first hour, UTC.
    #[serde(default)]
    pub from: Option<Hour>,
    /// The last hour, UTC.
    #[serde(default)]
    pub until: Option<Hour>,
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationSummary {
    /// The model.
    pub model: ModelName,
    /// The first hour looked at, UTC.
    pub from: Hour,
    /// The last hour looked at, UTC.
    pub until: Hour,
    /// Hours that were evaluated, since they are new or have changed.
    pub hours_evaluated: usize,
    /// Hours whose evaluation was still true.
    pub hours_unchanged: usize,
    /// The report's page.
    pub report: String,
    /// The figures of the whole window.
    pub figures: Summary,
}

/// The archive's files of one hour.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct HourFiles {
    predictions: Option<ETag>,
    outcomes: Option<ETag>,
}

/// Evaluates the hours of `event` that have changed, and writes the report of all of them.
///
/// # Errors
/// See [`EvaluatorError`]. What was evaluated before the error is kept.
pub async fn evaluate<S>(
    lake: &S,
    config: &Config,
    event: &EvaluatorEvent,
    now: Timestamp,
) -> Result<EvaluationSummary, EvaluatorError>
where
    S: GetObject + PutObject + ListObjects,
{
    let model = event.model.clone().unwrap_or_else(|| config.default_model.clone());
    let until = event.until.unwrap_or_else(|| Hour::of(now));
    let from = event.from.unwrap_or_else(|| until.plus(1 - i64::from(config.lookback_hours)));
    if from > until || from.plus(MAX_WINDOW_HOURS) <= until {
        return Err(EvaluatorError::InvalidWindow { from, until, most: MAX_WINDOW_HOURS });
    }
    let release = release_in_force(lake, &model).await?;
    let baselines = read_baselines(lake, &model, release.as_ref()).await?;
    let hours = archived_hours(lake, &model, from, until).await?;
    let evaluated: Vec<(HourEvaluation, bool)> = stream::iter(&hours)
        .map(|(&hour, files)| evaluate_one(lake, &model, hour, files, &baselines))
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    let hours_evaluated = evaluated.iter().filter(|(_, is_new)| *is_new).count();
    let evaluations: Vec<HourEvaluation> = evaluated.into_iter().map(|(evaluation, _)| evaluation).collect();

    let report = report_of(&model, now, release.as_ref(), &baselines, &evaluations)?;
    let page = lake::report_page(&model);
    lake.put_object(&lake::report_json(&model), report.to_json().into(), PutCondition::Always).await?;
    lake.put_object(&page, render_html(&report).into(), PutCondition::Always).await?;
    let summary = EvaluationSummary {
        from,
        until,
        hours_evaluated,
        hours_unchanged: evaluations.len() - hours_evaluated,
        report: page,
        figures: report.all,
        model,
    };
    info!(
        model = %summary.model,
        %from,
        %until,
        hours_evaluated,
        hours_unchanged = summary.hours_unchanged,
        joined = summary.figures.counts.joined,
        mae_s = summary.figures.answer.as_ref().map(|figures| figures.mae_s),
        "evaluated"
    );
    Ok(summary)
}

/// The report of some hours' evaluations, as `evaluate` writes it.
///
/// # Errors
/// Evaluations of another model, or a release that cannot be described.
pub fn report_of(
    model: &ModelName,
    now: Timestamp,
    release: Option<&Release>,
    baselines: &KeptBaselines,
    evaluations: &[HourEvaluation],
) -> Result<ReportData, EvaluatorError> {
    let release = release.map(ReleaseFacts::of).transpose()?;
    let facts = ReportFacts { model: model.clone(), generated_at: now, release };
    let mut report = ReportData::new(facts, evaluations)?;
    if let Some(kept) = &baselines.training {
        report = report.with_drift(&kept.digest, &kept.baseline, evaluations);
    }
    for kept in &baselines.models {
        report = report.with_model_drift(&kept.digest, &kept.baseline, evaluations)?;
    }
    Ok(report)
}

/// The hours of the window that have predictions of the model, with their files' entity tags.
async fn archived_hours<S: ListObjects>(
    lake: &S,
    model: &ModelName,
    from: Hour,
    until: Hour,
) -> Result<BTreeMap<Hour, HourFiles>, EvaluatorError> {
    let mut days = BTreeSet::new();
    let mut hour = from;
    while hour <= until {
        days.insert(hour.date());
        hour = hour.plus(1);
    }
    let tables = [Table::Predictions(model.clone()), Table::Outcomes];
    let prefixes = days.iter().flat_map(|day| tables.iter().map(|table| (table, lake::hour_files_of_day(table, day))));
    let listings: Vec<_> = stream::iter(prefixes)
        .map(|(table, prefix)| async move { lake.list_objects(&prefix).await.map(|listed| (table, listed)) })
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    let mut hours: BTreeMap<Hour, HourFiles> = BTreeMap::new();
    for (table, listed) in listings {
        for object in listed {
            let Some(hour) = lake::hour_of_hour_file(&object.key).filter(|hour| (from..=until).contains(hour)) else {
                continue;
            };
            let files = hours.entry(hour).or_default();
            match table {
                Table::Predictions(_) => files.predictions = Some(object.etag),
                Table::Outcomes => files.outcomes = Some(object.etag),
                // Not listed above.
                Table::Shadows(_) | Table::Inferences(_) => {}
            }
        }
    }
    hours.retain(|_, files| files.predictions.is_some());
    Ok(hours)
}

/// One hour's evaluation, and whether it had to be made anew.
async fn evaluate_one<S: GetObject + PutObject>(
    lake: &S,
    model: &ModelName,
    hour: Hour,
    files: &HourFiles,
    baselines: &KeptBaselines,
) -> Result<(HourEvaluation, bool), EvaluatorError> {
    let key = lake::evaluation(model, hour);
    let text = |etag: &Option<ETag>| etag.as_ref().map(|etag| etag.0.clone());
    if let Some(kept) = lake.get_object(&key, None).await?.found() {
        match serde_json::from_slice::<KeptEvaluation>(&kept.bytes) {
            Ok(kept)
                if kept.predictions_etag == text(&files.predictions)
                    && kept.outcomes_etag == text(&files.outcomes)
                    && kept.baseline == baselines.digest() =>
            {
                return Ok((kept.evaluation, false));
            }
            Ok(_) => {}
            Err(error) => warn!(key, %error, "evaluating again: the kept evaluation cannot be read"),
        }
    }
    let partition = |table| lake::hour_file(&Partition { table, hour });
    // The tags of what is read, not of what was listed: a file may have been replaced in between.
    let predictions_file = file(lake, &partition(Table::Predictions(model.clone()))).await?;
    let predictions = match &predictions_file {
        Some((key, object)) => read_prediction_columns(object.bytes.clone())
            .map_err(|source| EvaluatorError::Archive { key: key.clone(), source })?,
        None => PredictionColumns::default(),
    };
    let (outcomes, outcomes_etag) = match file(lake, &partition(Table::Outcomes)).await? {
        Some((key, object)) => {
            let events = read_outcomes(object.bytes).map_err(|source| EvaluatorError::Archive { key, source })?;
            (events, Some(object.etag.0))
        }
        None => (Vec::new(), None),
    };
    let (mut evaluation, arrivals) = evaluate_columns(hour, model, &predictions, &outcomes);
    if let (Some(kept), Some((key, object))) = (&baselines.training, &predictions_file) {
        let counts = count_features(object.bytes.clone(), &kept.baseline, &arrivals)
            .map_err(|source| EvaluatorError::Archive { key: key.clone(), source })?;
        evaluation.set_features(&kept.digest, counts);
    }
    for kept in &baselines.models {
        let answers = answers_of(&predictions, &arrivals, &kept.baseline.model_version);
        evaluation.set_features(&kept.digest, kept.baseline.count(answers));
    }
    let predictions_etag = predictions_file.map(|(_, object)| object.etag.0);
    let baseline = baselines.digest();
    let kept = KeptEvaluation { predictions_etag, outcomes_etag, baseline, evaluation };
    let json = serde_json::to_vec(&kept).unwrap_or_default();
    lake.put_object(&key, json.into(), PutCondition::Always).await?;
    Ok((kept.evaluation, true))
}

async fn file<S: GetObject>(
    lake: &S,
    key: &str,
) -> Result<Option<(String, cloud::object_store::Object)>, EvaluatorError> {
    Ok(lake.get_object(key, None).await?.found().map(|object| (key.to_owned(), object)))
}

fn evaluate_columns(
    hour: Hour,
    model: &ModelName,
    predictions: &PredictionColumns,
    outcomes: &[OutcomeEvent],
) -> (HourEvaluation, Vec<Arrival>) {
    let rows = (0..predictions.len()).map(|row| PredictionRow {
        prediction_id: *predictions.prediction_id[row].as_bytes(),
        candidate_id: &predictions.candidate_id[row],
        model_version: &predictions.model_version[row],
        arm: &predictions.arm[row],
        tier: predictions.tier[row],
        requested_at_us: predictions.requested_at[row].as_microsecond(),
        prediction_s: predictions.prediction[row],
        fallback_s: predictions.fallback[row],
        experiment: predictions.experiment_id[row].as_deref().map(|id| ExperimentRow {
            id,
            randomised_unit: predictions.randomised_unit[row].as_deref(),
            excluded: predictions.excluded[row].is_some(),
        }),
        unit_id: predictions.unit_id[row].as_deref(),
    });
    evaluate_hour_with_arrivals(hour, model, rows, outcomes)
}

/// What the model's own endpoint said of the cars that arrived, and when they did; seconds.
fn answers_of<'a>(
    predictions: &'a PredictionColumns,
    arrivals: &'a [Arrival],
    model_version: &'a str,
) -> impl Iterator<Item = (f64, f64)> + 'a {
    let is_its = move |row: usize| {
        predictions.tier[row] == Tier::Endpoint && predictions.model_version[row].as_ref() == model_version
    };
    let arrivals = arrivals.iter().filter(move |arrival| is_its(arrival.row));
    arrivals.map(|arrival| (predictions.prediction[arrival.row], arrival.actual_s))
}

/// Counts the features of the cars that arrived. Rows of another feature spec have other columns, and are left out.
fn count_features(
    predictions: Bytes,
    baseline: &TrainingBaseline,
    arrivals: &[Arrival],
) -> Result<FeatureCounts, ArchiveError> {
    let mut counts = FeatureCounts::new(baseline);
    let wanted: Vec<usize> = arrivals.iter().map(|arrival| arrival.row).collect();
    let mut actual = arrivals.iter().map(|arrival| arrival.actual_s);
    read_features(predictions, &wanted, |_, spec_hash, features| {
        let actual_s = actual.next();
        if spec_hash == baseline.spec_hash {
            counts.add(baseline, features, actual_s);
        }
    })?;
    Ok(counts)
}
