//! The wish to train again: an event that whoever trains listens to.

use cloud::{
    events::{Event, EventError},
    object_store::{GetObject, PutCondition, PutObject, StoreError},
};
use domain::{ModelName, lake};
use evaluation::report::{ReportData, RetrainingReason};
use serde_json::json;
use thiserror::Error;

use crate::Means;

/// The event's source.
pub const EVENT_SOURCE: &str = "mannen";
/// The event's type.
pub const RETRAINING_WANTED: &str = "Retraining Wanted";
/// The version of the event's detail.
const DETAIL_VERSION: u32 = 1;

/// Training that could not be asked for.
#[derive(Debug, Error)]
pub(crate) enum RetrainingError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Event(#[from] EventError),
}

impl RetrainingError {
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Store(error) => error.reason(),
            Self::Event(error) => error.reason(),
        }
    }
}

/// Asks for training where the report wants it: once for each release and reason, and again where it is not known whether
/// the event was taken. The detail's shape is that of `events/retraining-wanted.json`.
pub(crate) async fn ask<S: GetObject + PutObject>(
    lake: &S,
    means: &Means<'_>,
    model: &ModelName,
    report: &ReportData,
) -> Result<Option<RetrainingReason>, RetrainingError> {
    let (Some(reason), Some(release)) = (report.wants_training(), &report.facts.release) else { return Ok(None) };
    let mark = lake::retraining_mark(model, &release.release_id, reason.as_str());
    if lake.get_object(&mark, None).await?.found().is_some() {
        return Ok(None);
    }
    let models: Vec<_> = report
        .models
        .iter()
        .map(|drift| {
            json!({
                "model_version": drift.model_version, "concept_drift": drift.concept_drift(),
                "mae_s": drift.mae_s, "held_out_mae_s": drift.held_out_mae_s, "rows": drift.rows,
            })
        })
        .collect();
    let drifted = report.drift.as_ref().map(|drift| drift.drifted());
    let detail = json!({
        "version": DETAIL_VERSION,
        "lake": means.bucket,
        "model": model,
        "reason": reason,
        "release_id": release.release_id,
        "from": report.window.map(|window| window.0),
        "until": report.window.map(|window| window.1),
        "drifted": drifted.unwrap_or_default(),
        "models": models,
        "report": lake::report_json(model),
    });
    // First the event: one that is told twice is harmless, one that is never told is not.
    let event = Event { source: EVENT_SOURCE, detail_type: RETRAINING_WANTED, detail: detail.clone() };
    means.events.put_event(&event).await?;
    lake.put_object(&mark, detail.to_string().into(), PutCondition::Always).await?;
    Ok(Some(reason))
}
