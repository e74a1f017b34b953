use std::collections::BTreeMap;

use cloud::{
    http::{HttpAnswer, HttpEvent},
    object_store::{PutCondition, PutObject},
};
use domain::{OutcomeEvent, Problem, lake};
use futures::{StreamExt, stream};
use serde_json::json;
use tracing::{error, info, warn};

use crate::{IntakeError, parse_outcomes};

const PATH: &str = "/v1/outcomes";
/// Writes in flight at once.
const CONCURRENCY: usize = 32;

/// Answers one request: 202 with `{"accepted": n}` once all its events are durable, or a problem document.
pub async fn answer<S: PutObject + ?Sized>(lake: &S, request: &HttpEvent) -> HttpAnswer {
    let request_id = &request.request_context.request_id;
    match accept(lake, request).await {
        Ok(accepted) => {
            info!(request_id, accepted, "outcomes accepted");
            HttpAnswer::json(202, json!({"accepted": accepted}).to_string())
        }
        Err(error) => {
            match &error {
                IntakeError::Request(_) => warn!(request_id, reason = error.reason(), detail = %error, "refused"),
                IntakeError::Store(_) => error!(request_id, reason = error.reason(), detail = %error, "not stored"),
            }
            error.into()
        }
    }
}

async fn accept<S: PutObject + ?Sized>(lake: &S, request: &HttpEvent) -> Result<usize, IntakeError> {
    // API Gateway routes by path; a stage's name may stand before it.
    if !request.raw_path.trim_end_matches('/').ends_with(PATH) {
        let detail = format!("there is no {}; outcomes are taken at {PATH}", request.raw_path);
        return Err(Box::new(Problem::new(404, "not_found", "Not found", detail)).into());
    }
    let events = parse_outcomes(&request.json_post_body()?)?;
    let accepted = events.len();
    // By key: an event that is twice in the batch is one object.
    let objects: BTreeMap<String, OutcomeEvent> =
        events.into_iter().map(|event| (lake::landing_outcome(event.prediction_id, &event.digest()), event)).collect();
    let puts = objects.into_iter().map(async |(key, event)| {
        let json = serde_json::to_vec(&event).unwrap_or_default();
        lake.put_object(&key, json.into(), PutCondition::Always).await
    });
    let mut puts = stream::iter(puts).buffered(CONCURRENCY);
    while let Some(stored) = puts.next().await {
        stored?;
    }
    Ok(accepted)
}
