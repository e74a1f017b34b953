//! What a model is worth before it is released: its answers on rides that it was not trained on, asked of the endpoint that
//! will serve.

use std::time::Duration;

use ::features::{FeatureTable, InputTable, Scratch};
use cloud::{
    endpoint::{Invocation, InvokeEndpoint},
    object_store::{PutCondition, PutObject},
};
use domain::lake;
use endpoint_rows::EndpointRows;
use evaluation::drift::{MIN_ROWS, ModelBaseline};
use rides::TrainingRow;

use crate::{
    error::CliError,
    local_cloud::RunningCloud,
    model_folder::ModelFolder,
    training::{ModelVersions, read_rows},
};

/// Each row of so many is held out: of the same time as those that are trained on, so that nothing but the model differs.
const EVERY: usize = 20;
/// Rows in one call.
const CALL_ROWS: usize = 500;
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Rows that are held out, and the others. None is where there would be too few to tell anything.
pub(crate) fn split(rows: &[TrainingRow]) -> (Vec<&TrainingRow>, Vec<&TrainingRow>) {
    if ((rows.len() / EVERY) as u64) < MIN_ROWS {
        return (Vec::new(), rows.iter().collect());
    }
    let numbered = rows.iter().enumerate().map(|(number, row)| (number % EVERY == EVERY - 1, row));
    let (held_out, others): (Vec<_>, Vec<_>) = numbered.partition(|(is_held_out, _)| *is_held_out);
    let rows = |of: Vec<(bool, _)>| of.into_iter().map(|(_, row)| row).collect();
    (rows(held_out), rows(others))
}

/// Asks every variant for the held-out rows and keeps its baseline in the lake; the mean absolute error by variant, seconds.
///
/// # Errors
/// An endpoint that does not answer with a number for each row.
pub(crate) async fn measure(
    running: &RunningCloud,
    model: &ModelFolder,
    versions: &ModelVersions,
    rows: &[&TrainingRow],
) -> Result<Vec<(String, f64)>, CliError> {
    let (mut inputs, mut scratch, mut features) =
        (InputTable::new(&model.plan), Scratch::default(), FeatureTable::default());
    let (mut bodies, mut actual) = (Vec::new(), Vec::new());
    for call in rows.chunks(CALL_ROWS) {
        read_rows(model, call, &mut inputs)?;
        model.plan.evaluate_training(&inputs, &mut scratch, &mut features);
        bodies.extend(EndpointRows::of(&features, &model.release.calling).parts);
        actual.extend_from_slice(features.label());
    }
    let mut maes = Vec::new();
    for (variant, version) in versions {
        let mut predictions = Vec::with_capacity(actual.len());
        for part in &bodies {
            let invocation = Invocation {
                endpoint: model.release.endpoint.clone(),
                variant: variant.clone(),
                inference_id: "held-out".to_owned(),
                content_type: model.release.calling.content_type.media_type(),
                accept: model.release.calling.accept.media_type(),
                body: part.body.clone(),
                timeout: CALL_TIMEOUT,
            };
            let failed = |why: String| CliError::Unexpected(format!("variant `{variant}` on held-out rides: {why}"));
            let answer = running.sagemaker_runtime.invoke_endpoint(invocation).await;
            let answer = answer.map_err(|error| failed(error.to_string()))?;
            let numbers = endpoint_rows::read(&answer, model.release.calling.accept, part.rows);
            predictions.extend(numbers.map_err(|fault| failed(fault.reason().to_owned()))?);
        }
        let pairs = predictions.into_iter().zip(actual.iter().copied());
        let Some(baseline) = ModelBaseline::of(version, model.plan.hash(), pairs) else { continue };
        let key = lake::model_baseline(&model.name, version);
        running.lake.put_object(&key, baseline.to_json().into(), PutCondition::Always).await?;
        maes.push((variant.clone(), baseline.mae_s));
    }
    Ok(maes)
}
