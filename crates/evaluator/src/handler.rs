use std::collections::{BTreeMap, BTreeSet};

use archive::{ArchiveError, read_features};
use bytes::Bytes;
use cloud::object_store::{ETag, GetObject, ListObjects, Object, PutCondition, PutObject};
use domain::{
    Hour, ModelName, Release, Tier,
    lake::{self, Partition, Table},
};
use evaluation::{
    Arrival, HourEvaluation, Summary,
    drift::{FeatureCounts, ModelBaseline, TrainingBaseline},
    report::{Language, PageOptions, ReleaseFacts, ReportData, ReportFacts, render_html},
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use lambda_runtime::tracing::{info, warn};
use serde::{Deserialize, Serialize};

use crate::{
    Config, EvaluatorError, KeptBaselines,
    act::{Actions, Means, act},
    baselines::{Kept, read_baselines},
    hour_files::{Breakdown, File, HourContents, evaluate_files},
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
    /// Whether what follows from the report is done although hours are named: they may be long gone.
    #[serde(default)]
    pub act: bool,
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
    /// What followed from it. Runs over hours that an event names only act where it says so.
    #[serde(default)]
    pub actions: Actions,
}

/// The archive's files of one hour.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HourFiles {
    predictions: Option<ETag>,
    outcomes: Option<ETag>,
    shadows: Option<ETag>,
}

/// Evaluates the hours of `event` that have changed, writes the report of all of them, and does what follows from it where the
/// event names no hours, or says so.
///
/// # Errors
/// See [`EvaluatorError`]. What was evaluated before the error is kept.
pub async fn evaluate_and_act<S>(
    lake: &S,
    means: Means<'_>,
    config: &Config,
    event: &EvaluatorEvent,
    now: Timestamp,
) -> Result<EvaluationSummary, EvaluatorError>
where
    S: GetObject + PutObject + ListObjects,
{
    let (mut summary, report) = evaluate_to_report(lake, config, event, now).await?;
    let names_hours = event.from.is_some() || event.until.is_some();
    if event.act || !names_hours {
        let of = (&summary.model, summary.from, summary.until);
        summary.actions = act(lake, means, of, &report, names_hours, now).await;
    }
    Ok(summary)
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
    Ok(evaluate_to_report(lake, config, event, now).await?.0)
}

async fn evaluate_to_report<S>(
    lake: &S,
    config: &Config,
    event: &EvaluatorEvent,
    now: Timestamp,
) -> Result<(EvaluationSummary, ReportData), EvaluatorError>
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
    let breakdown = breakdown(lake, release.as_ref()).await?;
    let hours = archived_hours(lake, &model, from, until).await?;
    let evaluated: Vec<(HourEvaluation, bool)> = stream::iter(&hours)
        .map(|(&hour, files)| evaluate_one(lake, &model, hour, files, &breakdown, &baselines))
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    let hours_evaluated = evaluated.iter().filter(|(_, is_new)| *is_new).count();
    let evaluations: Vec<HourEvaluation> = evaluated.into_iter().map(|(evaluation, _)| evaluation).collect();

    let report = report_of(&model, now, release.as_ref(), &baselines, &evaluations)?;
    let page = lake::report_page(&model);
    lake.put_object(&lake::report_json(&model), report.to_json().into(), PutCondition::Always).await?;
    for language in Language::ALL {
        let key = page_of(&model, language);
        lake.put_object(&key, html(&report, language).into(), PutCondition::Always).await?;
    }
    let summary = EvaluationSummary {
        from,
        until,
        hours_evaluated,
        hours_unchanged: evaluations.len() - hours_evaluated,
        report: page,
        figures: report.all,
        model,
        actions: Actions::default(),
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
    Ok((summary, report))
}

fn page_of(model: &ModelName, language: Language) -> String {
    match language {
        Language::English => lake::report_page(model),
        Language::Japanese => lake::report_page_in(model, language.code()),
    }
}

/// The page, with links to the others beside it and to the lake's objects.
fn html(report: &ReportData, language: Language) -> String {
    let pages = Language::ALL.map(|other| (other, page_of(&report.facts.model, other)));
    let others: Vec<(Language, &str)> = pages
        .iter()
        .filter(|(other, _)| *other != language)
        .map(|(other, key)| (*other, key.rsplit('/').next().unwrap_or_default()))
        .collect();
    render_html(report, &PageOptions { language, others: &others, lake_root: Some(lake::REPORT_TO_ROOT) })
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
        report = report.with_model_drift(&kept.digest, &kept.baseline, evaluations);
    }
    Ok(report)
}

/// What the release in force says that evaluations tell apart, with the lookup tables that its segments may need.
async fn breakdown<S: GetObject>(lake: &S, release: Option<&Release>) -> Result<Breakdown, EvaluatorError> {
    let mut tables = Vec::new();
    if let Some(release) = release.filter(|release| release.evaluation.is_some()) {
        for (name, table) in releases::pinned_tables(lake, release).await? {
            tables.extend(table.ok().map(|table| (name, table)));
        }
    }
    Ok(Breakdown::new(release, tables.into_iter()))
}

/// The hours of the window that have predictions of the model, with their files' entity tags.
pub(crate) async fn archived_hours<S: ListObjects>(
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
    let tables = [Table::Predictions(model.clone()), Table::Outcomes, Table::Shadows(model.clone())];
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
                Table::Shadows(_) => files.shadows = Some(object.etag),
                // Not listed above.
                Table::Inferences(_) => {}
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
    breakdown: &Breakdown,
    baselines: &KeptBaselines,
) -> Result<(HourEvaluation, bool), EvaluatorError> {
    let key = lake::evaluation(model, hour);
    let text = |etag: &Option<ETag>| etag.as_ref().map(|etag| etag.0.clone());
    if let Some(kept) = lake.get_object(&key, None).await?.found() {
        match serde_json::from_slice::<KeptEvaluation>(&kept.bytes) {
            Ok(kept)
                if kept.predictions_etag == text(&files.predictions)
                    && kept.outcomes_etag == text(&files.outcomes)
                    && kept.shadows_etag == text(&files.shadows)
                    && kept.breakdown == breakdown.digest()
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
    let outcomes_file = file(lake, &partition(Table::Outcomes)).await?;
    let shadows_file = file(lake, &partition(Table::Shadows(model.clone()))).await?;
    let bytes = |file: &Option<Object>| file.as_ref().map(|object| object.bytes.clone());
    let contents = HourContents {
        predictions: bytes(&predictions_file),
        outcomes: bytes(&outcomes_file),
        shadows: bytes(&shadows_file),
    };
    let mut arrivals = Vec::new();
    // What each model's own endpoint said of the cars that arrived, before the release's correction, and when they did; seconds. Its
    // baseline is of what the model says.
    let mut answers: Vec<Vec<(f64, f64)>> = vec![Vec::new(); baselines.models.len()];
    let evaluated = evaluate_files(hour, model, &contents, breakdown, |row, arrival| {
        arrivals.push(arrival);
        let is_its = |kept: &Kept<ModelBaseline>| kept.baseline.model_version == row.model_version;
        if row.tier == Tier::Endpoint
            && let Some(place) = baselines.models.iter().position(is_its)
        {
            answers[place].push((row.uncorrected_s.unwrap_or(row.prediction_s), arrival.actual_s));
        }
    });
    let mut evaluation = evaluated.map_err(|error| unreadable(model, hour, error))?;
    if let (Some(kept), Some(bytes)) = (&baselines.training, contents.predictions) {
        let counts = count_features(bytes, &kept.baseline, &arrivals)
            .map_err(|source| unreadable(model, hour, (File::Predictions, source)))?;
        evaluation.set_features(&kept.digest, counts);
    }
    for (kept, answers) in baselines.models.iter().zip(answers) {
        evaluation.set_model_answers(&kept.digest, &kept.baseline, &answers);
    }
    let etag = |file: Option<Object>| file.map(|object| object.etag.0);
    let kept = KeptEvaluation {
        predictions_etag: etag(predictions_file),
        outcomes_etag: etag(outcomes_file),
        shadows_etag: etag(shadows_file),
        breakdown: breakdown.digest(),
        baseline: baselines.digest(),
        evaluation,
    };
    let json = serde_json::to_vec(&kept).unwrap_or_default();
    lake.put_object(&key, json.into(), PutCondition::Always).await?;
    Ok((kept.evaluation, true))
}

/// Which of an hour's files cannot be read.
pub(crate) fn unreadable(model: &ModelName, hour: Hour, (file, source): (File, ArchiveError)) -> EvaluatorError {
    let table = match file {
        File::Predictions => Table::Predictions(model.clone()),
        File::Outcomes => Table::Outcomes,
        File::Shadows => Table::Shadows(model.clone()),
    };
    EvaluatorError::Archive { key: lake::hour_file(&Partition { table, hour }), source }
}

pub(crate) async fn file<S: GetObject>(lake: &S, key: &str) -> Result<Option<Object>, EvaluatorError> {
    Ok(lake.get_object(key, None).await?.found())
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
