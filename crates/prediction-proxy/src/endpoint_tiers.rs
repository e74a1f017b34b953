//! Asking endpoints, within the time that there is.

use std::time::Duration;

use bytes::Bytes;
use cloud::endpoint::{InvokeEndpoint, InvokeError};
use domain::PredictionRecord;
use lambda_runtime::tracing::warn;

use crate::endpoint_rows;

/// Asks the record's endpoint for all its candidates at once: the variant that answered and its predictions, or the
/// reason why there are none.
pub(crate) async fn ask_endpoint<E: InvokeEndpoint>(
    endpoint: &E,
    record: &PredictionRecord,
    rows: String,
    timeout: Duration,
) -> Result<(String, Vec<f64>), &'static str> {
    if timeout.is_zero() {
        return Err("deadline_too_short");
    }
    let invocation = cloud::endpoint::Invocation {
        endpoint: record.endpoint.clone(),
        variant: record.variant.clone(),
        inference_id: record.prediction_id.to_string(),
        content_type: "text/csv",
        accept: "text/csv",
        body: Bytes::from(rows),
        timeout,
    };
    let answer = endpoint.invoke_endpoint(invocation).await.map_err(|InvokeError { kind, detail }| {
        warn!(prediction_id = %record.prediction_id, reason = kind.reason(), detail, "the endpoint did not answer");
        kind.reason()
    })?;
    let variant = answer.invoked_variant.unwrap_or_else(|| record.variant.clone());
    if variant != record.variant {
        warn!(prediction_id = %record.prediction_id, asked = record.variant, variant, "another variant answered");
        return Err("endpoint_other_variant");
    }
    match endpoint_rows::from_csv(&answer.body, record.candidates.len()) {
        Some(predictions) => Ok((variant, predictions)),
        None => {
            let shown = String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)]).into_owned();
            warn!(prediction_id = %record.prediction_id, body = shown, "the endpoint's answer cannot be read");
            Err("endpoint_garbage")
        }
    }
}
