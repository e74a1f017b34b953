//! A first model in the cloud on this machine: rides into the warehouse, a dataset version of them, training jobs, the gate, an
//! endpoint. The functions do it; this waits for them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use dataset_extractor::{parse_definition, put_definition};
use domain::ModelVersion;
use jiff::Timestamp;
use rides::TrainingRow;
use serde_json::json;
use training::{Deployment, KnownVersion, VersionState, deploy, list_versions};

use crate::{
    error::CliError,
    local_cloud::RunningCloud,
    model_folder::ModelFolder,
    terminal::{Terminal, grouped},
    training_definition::{define, query_of},
    warehouse_rides,
};

/// Nothing is paid for on a laptop, but SageMaker's API asks for a role.
const ROLE_ARN: &str = "arn:aws:iam::000000000000:role/mannen-training";
const POLL: Duration = Duration::from_millis(100);
const TRAINING_TIMEOUT: Duration = Duration::from_mins(30);

/// So many looks at a cloud at rest, one after the other: what is written is seen by then.
const MOST_RESTS: u32 = 50;

/// The model version behind each production variant: the training job's name.
pub(crate) type ModelVersions = BTreeMap<String, String>;

/// Trains every variant and brings up the endpoint with all of them.
pub(crate) async fn train_and_deploy(
    running: &RunningCloud,
    model: &ModelFolder,
    rows: &[TrainingRow],
    terminal: Terminal,
) -> Result<ModelVersions, CliError> {
    publish_dataset(running, model, rows, terminal).await?;
    let trained = wait_until_judged(running, model, terminal).await?;
    let step = terminal.step("Starting the endpoint");
    let versions: Vec<(String, &ModelVersion)> = trained
        .iter()
        .filter_map(|known| known.registered.as_ref())
        .map(|found| (found.variant.clone(), found))
        .collect();
    deploy(&running.sagemaker, &versions, &deployment(model, Vec::new())).await?;
    step.done(format_args!("`{}` is in service", model.release.endpoint));
    Ok(versions.into_iter().map(|(variant, found)| (variant, found.version.clone())).collect())
}

/// The model's endpoint on this machine, with the variants that stay.
pub(crate) fn deployment(model: &ModelFolder, keep: Vec<String>) -> Deployment {
    Deployment {
        endpoint: model.release.endpoint.clone(),
        instance_type: model.training.instance_type.clone(),
        role_arn: ROLE_ARN.to_owned(),
        keep,
    }
}

/// Writes rows into the warehouse, defines dataset and training, and has the extractor publish a version: the pointer's move starts
/// the training. The version's address.
pub(crate) async fn publish_dataset(
    running: &RunningCloud,
    model: &ModelFolder,
    rows: &[TrainingRow],
    terminal: Terminal,
) -> Result<String, CliError> {
    let step = terminal.step("Writing the rides into the warehouse");
    let written = warehouse_rides::write_training(running.cloud.warehouse(), rows)?;
    step.done(format_args!("{} rows in {}", grouped(written), warehouse_rides::TRAINING_TABLE));

    let step = terminal.step("Extracting a dataset version");
    let (sql, dataset_toml) = query_of(model)?;
    put_definition(&running.lake, &parse_definition(model.name.clone(), &sql, &dataset_toml)?).await?;
    define(&running.lake, model, Timestamp::now()).await?;
    let event = json!({"extract": {"dataset": model.name, "as_of": Timestamp::now()}});
    let published = running.cloud.invoke("dataset-extractor", &event).await?;
    let address = published["address"].as_str().unwrap_or_default().to_owned();
    let rows = published["rows"].as_u64().unwrap_or_default();
    step.done(format_args!("{}… of {} rows", address.get(..12).unwrap_or_default(), grouped(rows)));
    Ok(address)
}

/// Waits until the version in use has been trained on and judged; the versions of it.
pub(crate) async fn wait_until_judged(
    running: &RunningCloud,
    model: &ModelFolder,
    terminal: Terminal,
) -> Result<Vec<KnownVersion>, CliError> {
    let in_use = datasets::in_use(&running.lake, &model.name).await?;
    let address = in_use.map(|(pointer, _)| pointer.address).unwrap_or_default();
    let variants = model.training.variants();
    let step = terminal.step(format!("Training {}", variants.keys().copied().collect::<Vec<_>>().join(" and ")));
    let (began, mut rests) = (Instant::now(), 0);
    let of_it = loop {
        let mut known = list_versions(&running.lake, &model.name).await?;
        known.retain(|known| known.order.as_ref().is_some_and(|order| order.lineage.dataset.address == address));
        let open = |known: &KnownVersion| matches!(known.state, VersionState::Training | VersionState::Registered);
        if known.len() >= variants.len() && !known.iter().any(open) {
            break known;
        }
        // Whoever is to go on is told by events: where all is at rest, nobody was.
        let at_rest = running.cloud.wait_until_idle(POLL).await.is_ok();
        rests = if at_rest { rests + 1 } else { 0 };
        if rests > MOST_RESTS || began.elapsed() > TRAINING_TIMEOUT {
            let what = if known.is_empty() {
                "nobody trains on the dataset version in use"
            } else {
                "nobody goes on with its jobs"
            };
            let what = format!(
                "{what}; see the template's events of training-launcher, and its log in the folder given by --dir"
            );
            return Err(CliError::Unexpected(what));
        }
        tokio::time::sleep(POLL).await;
    };
    if let Some((version, failure)) = of_it.iter().find_map(|known| Some((&known.version, known.failure.as_ref()?))) {
        return Err(CliError::Unexpected(format!("training job {version} failed: {}", failure.reason)));
    }
    step.done(format_args!("{} jobs in {:.1} s", of_it.len(), began.elapsed().as_secs_f64()));
    tell_gate(&of_it, terminal);
    Ok(of_it)
}

/// What the gate found of each version.
pub(crate) fn tell_gate(versions: &[KnownVersion], terminal: Terminal) {
    let step = terminal.step("Judging on held-out rides");
    let mut told = Vec::new();
    for known in versions {
        let Some(verdict) = &known.verdict else { continue };
        let variant = known.registered.as_ref().map_or("", |found| found.variant.as_str());
        let all = verdict.comparison.as_ref().and_then(|comparison| comparison.all.as_ref());
        let errors = all.map_or_else(String::new, |all| {
            format!(" {:.1} s against {:.1} s", all.challenger_mae_s, all.reference_mae_s)
        });
        told.push(format!("{variant}{errors}: {}", known.state.as_str()));
    }
    step.done(told.join(", "));
    for known in versions {
        for check in known.verdict.iter().flat_map(training::GateVerdict::refusals) {
            terminal.note(format_args!("{} is refused by the gate: {}: {}", known.version, check.check, check.detail));
        }
    }
}
