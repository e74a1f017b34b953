//! The next step of a ramp, or the way back from it.
//!
//! A step is judged by the predictions of its very release alone. The pointer moves by compare-and-swap from the release that was
//! judged, so that two runs at once move it one step; nothing else than the release's own plan decides how far.

use cloud::object_store::{GetObject, ListObjects, PutObject};
use domain::{Hour, ModelName, PointerMove, Release, ReleaseId};
use evaluation::experiment::{AnalysisOptions, ExperimentFacts, RampDecision};
use jiff::Timestamp;
use releases::{CurrentPointer, Endpoints, MoveOrder, in_force, read_release, rollback_targets};
use serde::{Deserialize, Serialize};

use crate::{
    kept::kept_hours,
    rollback::{AUTHOR, RollbackError, of_release_alone},
};

/// What became of a ramp.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RampMove {
    /// The release that was judged.
    pub from: ReleaseId,
    /// The release that is in force now: another where it moved.
    pub to: ReleaseId,
    /// The challenger's share of the traffic now, 0–1; 1 where it answers alone.
    pub share: f64,
    /// What was decided, and why.
    #[serde(flatten)]
    pub decision: RampDecision,
}

/// Judges the step in force, and moves the pointer where that follows. `window` are the hours to look at; without it, those since
/// the pointer moved.
///
/// # Errors
/// The lake, or a release that cannot be served; nothing was moved.
pub(crate) async fn go_on<S: GetObject + PutObject + ListObjects>(
    lake: &S,
    endpoints: Endpoints<'_>,
    model: &ModelName,
    window: Option<(Hour, Hour)>,
    now: Timestamp,
) -> Result<Option<RampMove>, RollbackError> {
    let Some(CurrentPointer { pointer, .. }) = in_force(lake, model).await? else { return Ok(None) };
    let from = pointer.release_id;
    let judged = read_release(lake, model, &from).await?;
    let (Some(ramp), Some(facts)) = (judged.ramp.as_ref(), ExperimentFacts::of(&judged)) else { return Ok(None) };
    let span = window.map_or((Some(Hour::of(pointer.moved_at)), None), |(from, to)| (Some(from), Some(to)));
    let hours = kept_hours(lake, model, span).await?;
    let card = of_release_alone(lake, model, &facts, &hours, &from).await?.card(AnalysisOptions::default());
    let decision = RampDecision::of(&card, &ramp.plan);
    let share = |release: &Release| match (&release.ramp, &release.experiment) {
        (Some(_), Some(experiment)) => experiment.weights.get(1).copied().unwrap_or_default(),
        _ => 1.0,
    };
    let held = RampMove { from: from.clone(), to: from.clone(), share: share(&judged), decision: decision.clone() };
    let (next, reason) = match &decision {
        RampDecision::Hold(_) => return Ok(Some(held)),
        RampDecision::Advance(why) => (judged.next_step(), format!("{}: the step is left: {why}", facts.id)),
        RampDecision::Back(why) => {
            if went_back(lake, model, &from).await? {
                return Ok(Some(held));
            }
            (Some(before(lake, model, &ramp.id).await?), format!("{}: the challenger is worse: {why}", facts.id))
        }
    };
    let Some(next) = next else { return Ok(Some(held)) };
    let back = matches!(decision, RampDecision::Back(_));
    let next = if back { next } else { Release { created_at: now, ..next } };
    let now_share = if back { 0.0 } else { share(&next) };
    let tables = releases::pinned_tables(lake, &next).await?;
    let servable = releases::check(endpoints, next, tables, now).await?.servable()?;
    let (author, expect) = (Some(AUTHOR.to_owned()), Some(from.clone()));
    let order = MoveOrder { author, reason: Some(reason), now, expect };
    let moved = if back {
        releases::rollback(lake, &servable, &order).await?
    } else {
        releases::publish(lake, &servable, &order).await?
    };
    Ok(Some(RampMove { from, to: moved.pointer.release_id, share: now_share, decision }))
}

/// Whether this function has gone back from a release before: who puts it in force again means it.
async fn went_back<S: GetObject + ListObjects>(
    lake: &S,
    model: &ModelName,
    release: &ReleaseId,
) -> Result<bool, RollbackError> {
    let moves = releases::history(lake, model).await?;
    Ok(moves.windows(2).any(|pair| {
        pair[0].release_id == *release
            && pair[1].how == PointerMove::Rollback
            && pair[1].author.as_deref() == Some(AUTHOR)
    }))
}

/// The release before the ramp began.
async fn before<S: GetObject + ListObjects>(lake: &S, model: &ModelName, ramp: &str) -> Result<Release, RollbackError> {
    for id in rollback_targets(lake, model).await? {
        let release = read_release(lake, model, &id).await?;
        if release.ramp.as_ref().is_none_or(|found| found.id != ramp) {
            return Ok(release);
        }
    }
    Err(RollbackError::NowhereToGo)
}
