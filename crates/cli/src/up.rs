//! `mannen up`: the local cloud, which stays.

use rides::Ride;
use serde::Serialize;

use crate::{
    arguments::UpOptions,
    error::CliError,
    local_cloud::RunningCloud,
    model_folder::ModelFolder,
    release, source,
    terminal::{Terminal, strong},
    train_and_deploy,
};

#[derive(Debug, Serialize)]
struct Running<'a> {
    api: &'a str,
    environment: std::collections::BTreeMap<String, String>,
    release_id: Option<String>,
}

/// Starts the cloud, trains and releases where wanted, and waits for Ctrl-C.
pub(crate) async fn run(options: &UpOptions, terminal: Terminal) -> Result<(), CliError> {
    let model = ModelFolder::read(options.cloud.model.as_deref())?;
    let rides = if options.empty {
        source::Rides { training: Vec::new(), replay: Vec::new() }
    } else {
        source::rides(&options.rides, options.training_rides as usize, 1, terminal)?
    };
    let step = terminal.step("Starting the cloud on this machine");
    let running = RunningCloud::start(&options.cloud, &model).await?;
    step.done(running.cloud.api_url());
    let outcome = tokio::select! {
        outcome = serve(options, terminal, &running, &model, &rides) => outcome,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    running.cloud.shutdown().await;
    outcome
}

async fn serve(
    options: &UpOptions,
    terminal: Terminal,
    running: &RunningCloud,
    model: &ModelFolder,
    rides: &source::Rides,
) -> Result<(), CliError> {
    let mut release_id = None;
    if !options.empty {
        let versions = train_and_deploy::train_and_deploy(running, model, &rides.training, terminal).await?;
        release_id = Some(release::publish_trained(running, model, &versions).await?.to_string());
    }
    let (api, environment) = (running.cloud.api_url(), running.cloud.environment());
    terminal.json(&Running { api: &api, environment: environment.clone(), release_id });
    terminal.result("\nAny AWS client reaches this cloud, and BigQuery's clients its warehouse, with:");
    for (name, value) in &environment {
        terminal.result(format_args!("  export {name}={value}"));
    }
    if let Some(ride) = rides.replay.first() {
        terminal.result(format_args!("\nTry it:\n{}", curl(&api, ride)));
    }
    stay(&api, terminal).await;
    Ok(())
}

/// Until Ctrl-C, which the caller waits for.
pub(crate) async fn stay(api: &str, terminal: Terminal) {
    terminal.result(format_args!("\nServing at {}. Ctrl-C ends it.", strong(api)));
    std::future::pending::<()>().await;
}

/// A `curl` line for a ride's request, with at most two candidates and an id made by the API.
pub(crate) fn curl(api: &str, ride: &Ride) -> String {
    let mut request = ride.request();
    request.prediction_id = None;
    request.candidates.truncate(2);
    let body = serde_json::to_string(&request).unwrap_or_default().replace('\'', "'\\''");
    format!("  curl -s {api}/v1/predictions -H 'content-type: application/json' -d '{body}'")
}
