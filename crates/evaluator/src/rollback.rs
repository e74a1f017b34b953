//! The way back from a release whose experiment breaches a guardrail.
//!
//! It is gone only where all of this holds:
//! - the release says `auto_rollback`, and is in force;
//! - a guardrail is worse than with the control by a confidence sequence, so that having looked every hour does not count
//!   against it, and the sample ratio is as planned;
//! - that follows from the predictions of this very release alone: what an earlier release did with the same experiment is
//!   no evidence against this one;
//! - this function has not gone back from it before: who puts it in force again means it;
//! - there is a release to go back to that has not this experiment, and it can still be served.
//!
//! The pointer moves by compare-and-swap from the release that was judged.

use archive::{read_outcomes, read_prediction_columns, read_release_rows};
use cloud::object_store::{GetObject, ListObjects, PutObject};
use domain::{
    Hour, ModelName, PointerMove, Release, ReleaseId,
    lake::{self, Partition, Table},
};
use evaluation::{
    ExperimentRow, HourEvaluation, PredictionRow, evaluate_hour,
    experiment::{AnalysisOptions, Comparison, Direction, ExperimentFacts, ExperimentFold, Role, Verdict},
    report::Language,
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use releases::{CurrentPointer, Endpoints, MoveOrder, ReleasesError, in_force, read_release, rollback_targets};
use thiserror::Error;

use crate::{EvaluatorError, act::RolledBack, kept::for_each_evaluation};

/// Who goes back, as the releases' history has it.
pub const AUTHOR: &str = "evaluator";
/// The history is read by programs and people of all tongues.
const ENGLISH: Language = Language::English;
/// Hours read at the same time.
const CONCURRENCY: usize = 4;

/// A way back that was wanted and could not be gone.
#[derive(Debug, Error)]
pub(crate) enum RollbackError {
    /// Nothing else was ever in force.
    #[error("a guardrail is breached, but no release without this experiment was in force before")]
    NowhereToGo,
    #[error(transparent)]
    Releases(#[from] ReleasesError),
    #[error(transparent)]
    Evaluation(#[from] EvaluatorError),
}

impl RollbackError {
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NowhereToGo => "no_release_to_go_back_to",
            Self::Releases(error) => error.reason(),
            Self::Evaluation(error) => error.reason(),
        }
    }
}

/// Goes back where that is due.
pub(crate) async fn roll_back<S: GetObject + PutObject + ListObjects>(
    lake: &S,
    endpoints: Endpoints<'_>,
    model: &ModelName,
    now: Timestamp,
) -> Result<Option<RolledBack>, RollbackError> {
    let Some(CurrentPointer { pointer, .. }) = in_force(lake, model).await? else { return Ok(None) };
    let judged = read_release(lake, model, &pointer.release_id).await?;
    // A ramp has its own way back.
    let judged = Some(judged).filter(|release| release.auto_rollback && release.ramp.is_none());
    let Some(facts) = judged.as_ref().and_then(ExperimentFacts::of) else { return Ok(None) };
    let since = Hour::of(pointer.moved_at);
    // What is kept tells cheaply that there is nothing to do. It may hold predictions of other releases.
    let (mut kept, mut hours) = (ExperimentFold::new(&facts), Vec::new());
    for_each_evaluation(lake, model, (Some(since), None), |evaluation| {
        hours.push(evaluation.hour);
        kept.add(&evaluation);
    })
    .await?;
    if breach(&kept).is_none() {
        return Ok(None);
    }
    let Some(reason) = breach(&of_release_alone(lake, model, &facts, &hours, &pointer.release_id).await?) else {
        return Ok(None);
    };
    let moves = releases::history(lake, model).await?;
    let went_back = moves.windows(2).any(|pair| {
        pair[0].release_id == pointer.release_id
            && pair[1].how == PointerMove::Rollback
            && pair[1].author.as_deref() == Some(AUTHOR)
    });
    if went_back {
        return Ok(None);
    }
    let target = target(lake, model, &facts.id).await?.ok_or(RollbackError::NowhereToGo)?;
    let tables = releases::pinned_tables(lake, &target).await?;
    let servable = releases::check(endpoints, target, tables, now).await?.servable()?;
    let (author, expect) = (Some(AUTHOR.to_owned()), Some(pointer.release_id.clone()));
    let order = MoveOrder { author, reason: Some(reason.clone()), now, expect };
    let moved = releases::rollback(lake, &servable, &order).await?;
    Ok(Some(RolledBack { from: pointer.release_id, to: moved.pointer.release_id, reason }))
}

/// The latest release before that is without this experiment.
async fn target<S: GetObject + ListObjects>(
    lake: &S,
    model: &ModelName,
    experiment: &str,
) -> Result<Option<Release>, RollbackError> {
    for id in rollback_targets(lake, model).await? {
        let release = read_release(lake, model, &id).await?;
        if release.experiment.as_ref().is_none_or(|plan| plan.id != experiment) {
            return Ok(Some(release));
        }
    }
    Ok(None)
}

/// The release's experiment over `hours`, in their order, as if there had been no other release. An experiment may go on for weeks:
/// no more than a few of its hours are in memory at once.
pub(crate) async fn of_release_alone<S: GetObject>(
    lake: &S,
    model: &ModelName,
    facts: &ExperimentFacts,
    hours: &[Hour],
    release: &ReleaseId,
) -> Result<ExperimentFold, EvaluatorError> {
    let hours = stream::iter(hours).map(|hour| of_release(lake, model, *hour, release));
    let mut evaluations = std::pin::pin!(hours.buffered(CONCURRENCY));
    let mut fold = ExperimentFold::new(facts);
    while let Some(evaluation) = evaluations.try_next().await? {
        fold.add(&evaluation);
    }
    Ok(fold)
}

/// One hour evaluated as if a release's predictions had been all.
async fn of_release<S: GetObject>(
    lake: &S,
    model: &ModelName,
    hour: Hour,
    release: &ReleaseId,
) -> Result<HourEvaluation, EvaluatorError> {
    let file = async |table| {
        let key = lake::hour_file(&Partition { table, hour });
        let object = lake.get_object(&key, None).await?.found();
        Ok::<_, EvaluatorError>(object.map(|object| (key, object.bytes)))
    };
    let unreadable = |key: &str| {
        let key = key.to_owned();
        move |source| EvaluatorError::Archive { key, source }
    };
    let Some((key, bytes)) = file(Table::Predictions(model.clone())).await? else {
        return Ok(evaluate_hour(hour, model, [], &[]));
    };
    let its = read_release_rows(bytes.clone(), release).map_err(unreadable(&key))?;
    let predictions = read_prediction_columns(bytes).map_err(unreadable(&key))?;
    let outcomes = match file(Table::Outcomes).await? {
        Some((key, bytes)) => read_outcomes(bytes).map_err(unreadable(&key))?,
        None => Vec::new(),
    };
    let rows = (0..predictions.len()).filter(|row| its[*row]).map(|row| PredictionRow {
        prediction_id: *predictions.prediction_id[row].as_bytes(),
        candidate_id: &predictions.candidate_id[row],
        model_version: &predictions.model_version[row],
        arm: &predictions.arm[row],
        tier: predictions.tier[row],
        requested_at_us: predictions.requested_at[row].as_microsecond(),
        prediction_s: predictions.prediction[row],
        uncorrected_s: None,
        fallback_s: predictions.fallback[row],
        interval: None,
        experiment: predictions.experiment_id[row].as_deref().map(|id| ExperimentRow {
            id,
            randomised_unit: predictions.randomised_unit[row].as_deref(),
            excluded: predictions.excluded[row].is_some(),
        }),
        unit_id: predictions.unit_id[row].as_deref(),
        values: &[],
    });
    Ok(evaluate_hour(hour, model, rows, &outcomes))
}

/// What is breached, in words; `None` where nothing is, by always-valid evidence.
fn breach(fold: &ExperimentFold) -> Option<String> {
    let card = fold.card(AnalysisOptions::default());
    let is_breached = |comparison: &&Comparison| comparison.verdict == Verdict::GuardrailBreached;
    let comparison = card.comparisons.iter().find(is_breached)?;
    let worse = comparison.metrics.iter().filter(|result| result.role == Role::Guardrail);
    let worse = worse.filter(|result| result.effect.is_some_and(|effect| effect.direction == Direction::Worse));
    let told: Vec<String> =
        worse.map(|result| format!("{}: {}", result.metric.title(ENGLISH), result.words(ENGLISH))).collect();
    Some(format!(
        "guardrail breached in experiment {}: {} is worse than {} ({})",
        card.id,
        comparison.arm,
        card.arms.first().map_or("the control", |arm| arm.name.as_str()),
        told.join("; ")
    ))
}
