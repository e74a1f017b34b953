//! Evaluations as they are kept in the lake, for who wants to read them.

use cloud::object_store::{GetObject, ListObjects};
use domain::{Hour, ModelName, Release, ReleasePointer, lake};
use evaluation::HourEvaluation;
use futures::{StreamExt, TryStreamExt, stream};
use lambda_runtime::tracing::warn;
use serde::{Deserialize, Serialize};

use crate::EvaluatorError;

/// Objects read at the same time.
const CONCURRENCY: usize = 4;

/// An evaluation as it is kept, with what it was made from.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeptEvaluation {
    pub(crate) predictions_etag: Option<String>,
    pub(crate) outcomes_etag: Option<String>,
    #[serde(default)]
    pub(crate) shadows_etag: Option<String>,
    /// The digest of what the release said to tell apart.
    #[serde(default)]
    pub(crate) breakdown: Option<String>,
    /// The digest of the baselines that features and answers were counted by.
    #[serde(default)]
    pub(crate) baseline: Option<String>,
    pub(crate) evaluation: HourEvaluation,
}

/// The evaluations of a model that the function has left in the lake, from `from` (else the first) to `until` (else the
/// last), by hour. One of another version is left out: the function's next run makes it anew.
///
/// # Errors
/// A lake that does not answer.
pub async fn read_evaluations<S: GetObject + ListObjects>(
    lake: &S,
    model: &ModelName,
    from: Option<Hour>,
    until: Option<Hour>,
) -> Result<Vec<HourEvaluation>, EvaluatorError> {
    let mut evaluations = Vec::new();
    for_each_evaluation(lake, model, (from, until), |evaluation| evaluations.push(evaluation)).await?;
    Ok(evaluations)
}

/// The hours whose evaluations are kept, of those that are asked for, in order.
pub(crate) async fn kept_hours<S: ListObjects>(
    lake: &S,
    model: &ModelName,
    (from, until): (Option<Hour>, Option<Hour>),
) -> Result<Vec<Hour>, EvaluatorError> {
    let listed = lake.list_objects(&lake::evaluation_prefix(model)).await?;
    let is_wanted = |hour: &Hour| from.is_none_or(|from| from <= *hour) && until.is_none_or(|until| *hour <= until);
    let hours = listed.iter().filter_map(|object| lake::hour_of_evaluation(&object.key));
    let mut hours: Vec<Hour> = hours.filter(is_wanted).collect();
    hours.sort_unstable();
    Ok(hours)
}

/// What [`read_evaluations`] reads, hour by hour: no more than a few are in memory at once.
pub(crate) async fn for_each_evaluation<S: GetObject + ListObjects>(
    lake: &S,
    model: &ModelName,
    hours: (Option<Hour>, Option<Hour>),
    mut each: impl FnMut(HourEvaluation),
) -> Result<(), EvaluatorError> {
    let read = |hour: Hour| async move {
        let key = lake::evaluation(model, hour);
        let Some(object) = lake.get_object(&key, None).await?.found() else { return Ok(None) };
        match serde_json::from_slice::<KeptEvaluation>(&object.bytes) {
            Ok(kept) => Ok(Some(kept.evaluation)),
            Err(error) => {
                warn!(key, %error, "left out: the kept evaluation cannot be read");
                Ok::<_, EvaluatorError>(None)
            }
        }
    };
    let mut evaluations =
        std::pin::pin!(stream::iter(kept_hours(lake, model, hours).await?).map(read).buffered(CONCURRENCY));
    while let Some(kept) = evaluations.try_next().await? {
        kept.into_iter().for_each(&mut each);
    }
    Ok(())
}

/// The release in force; `None` where there is none or it cannot be read: a report is worth having without it.
///
/// # Errors
/// A lake that does not answer.
pub async fn release_in_force<S: GetObject>(lake: &S, model: &ModelName) -> Result<Option<Release>, EvaluatorError> {
    let Some(pointer) = lake.get_object(&lake::release_pointer(model), None).await?.found() else { return Ok(None) };
    let Ok(ReleasePointer { release_id, .. }) = serde_json::from_slice(&pointer.bytes) else { return Ok(None) };
    let document = lake.get_object(&lake::release(model, &release_id), None).await?.found();
    Ok(document.and_then(|document| serde_json::from_slice(&document.bytes).ok()))
}
