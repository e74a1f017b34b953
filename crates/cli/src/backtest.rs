//! `mannen backtest`: a registered model over the archived requests, against the outcomes that came; and how long a window a
//! model should be trained on.

mod rides;
mod text;
mod windows;

use std::{sync::Arc, time::Duration};

use ::features::{FeatureTable, Plan, Resources};
use clap::{Args, Subcommand};
use cloud::{
    endpoint::{Invocation, InvokeEndpoint},
    object_store::GetObject,
    s3::S3Bucket,
};
use domain::{EndpointCalling, Hour, ModelName, ModelVersion, lake};
use endpoint_rows::EndpointRows;
use evaluation::{backtest::backtest, gate::PairedRow};
use releases::tables;
use serde_json::json;

use self::rides::{ArchivedRides, Left};
use crate::{
    error::CliError,
    evaluations::hours,
    lake::{Lake, LakeOptions, Services},
    offline_model::OfflineModel,
    terminal::{Terminal, grouped},
};

const CALL_TIMEOUT: Duration = Duration::from_mins(1);
/// The probability that an interval is wrong.
const ALPHA: f64 = 0.05;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct BacktestOptions {
    #[command(subcommand)]
    command: Option<BacktestCommand>,
    #[command(flatten)]
    past: PastOptions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BacktestCommand {
    /// Train on windows of several lengths, test each on the time after, and say which to train on
    ///
    /// Trains the reference model with a variant's hyperparameters on the last days before several origins, each window with the
    /// same rows to be tested on. The longest window that is not proved worse than the best is chosen: older rows help with what
    /// is rare, until they mislead.
    Windows(windows::WindowOptions),
}

/// A registered model over the archive.
#[derive(Debug, Clone, Args)]
struct PastOptions {
    /// The registered version, as `mannen model list` names it
    #[arg(long = "model", value_name = "VERSION", required = true)]
    version: Option<String>,
    /// Only the last hours or days of the archive, such as 24h or 7d [default: all]
    #[arg(long, value_name = "TIME", value_parser = hours)]
    window: Option<i64>,
    /// Ask this endpoint instead of the version's artefact
    #[arg(long, value_name = "NAME", requires = "variant")]
    endpoint: Option<String>,
    /// The production variant to ask
    #[arg(long, value_name = "VARIANT", requires = "endpoint")]
    variant: Option<String>,
    /// Values of a segment with fewer rides are not shown
    #[arg(long, value_name = "ROWS", default_value_t = 50)]
    min_segment_rows: u64,
    #[command(flatten)]
    lake: LakeOptions,
}

pub(crate) async fn run(options: &BacktestOptions, terminal: Terminal) -> Result<(), CliError> {
    match &options.command {
        Some(BacktestCommand::Windows(options)) => windows::run(options, terminal),
        None => Box::pin(past(&options.past, terminal)).await,
    }
}

/// Who says what the model says.
enum Asked {
    Artefact(OfflineModel),
    Endpoint { sagemaker: Box<Services>, endpoint: String, variant: String, calling: EndpointCalling },
}

impl Asked {
    async fn predict(&self, features: &FeatureTable) -> Result<Vec<f64>, CliError> {
        match self {
            Self::Artefact(model) => model.predict(features).await,
            Self::Endpoint { sagemaker, endpoint, variant, calling } => {
                let mut predictions = Vec::with_capacity(features.rows());
                for part in EndpointRows::of(features, calling).parts {
                    let invocation = Invocation {
                        endpoint: endpoint.clone(),
                        variant: variant.clone(),
                        inference_id: "backtest".to_owned(),
                        content_type: calling.content_type.media_type(),
                        accept: calling.accept.media_type(),
                        body: part.body.clone(),
                        timeout: CALL_TIMEOUT,
                    };
                    let failed = |why: String| {
                        CliError::Unexpected(format!("endpoint `{endpoint}`, variant `{variant}`: {why}"))
                    };
                    let answer = sagemaker.runtime.invoke_endpoint(invocation).await;
                    let answer = answer.map_err(|error| failed(error.to_string()))?;
                    let numbers = endpoint_rows::read(&answer, calling.accept, part.rows);
                    predictions.extend(numbers.map_err(|fault| failed(fault.reason().to_owned()))?);
                }
                Ok(predictions)
            }
        }
    }
}

/// One ride that the model was asked about.
struct Answered {
    hour: Hour,
    model_s: f64,
    then_s: f64,
    actual_s: f64,
    segments: Vec<Arc<str>>,
}

async fn past(options: &PastOptions, terminal: Terminal) -> Result<(), CliError> {
    let Some(name) = &options.version else {
        return Err(CliError::Unexpected("name a version with --model".to_owned()));
    };
    let mut lake = Lake::open(&options.lake).await?;
    let version = find_version(&lake.store, name).await?;
    let plan = plan_of(&lake.store, &version).await?;
    needs_nothing_personal(&plan)?;
    let mut archived = ArchivedRides::open(&lake.store, &version.model, options.window).await?;
    let asked = match (&options.endpoint, &options.variant) {
        (Some(endpoint), Some(variant)) => {
            let sagemaker = lake.sagemaker.take().ok_or_else(|| {
                CliError::Unexpected("the cloud in this folder has ended, and its endpoints with it".to_owned())
            })?;
            let (endpoint, variant) = (endpoint.clone(), variant.clone());
            Asked::Endpoint { sagemaker, endpoint, variant, calling: EndpointCalling::default() }
        }
        _ => Asked::Artefact(OfflineModel::start(&lake.store, &version).await?),
    };

    let step = terminal.counted_step(format!("Asking {name}"), archived.hours().len() as u64);
    let (mut answered, mut left) = (Vec::new(), Left::default());
    for hour in archived.hours().to_vec() {
        let rides = archived.read(&lake.store, hour, &plan, &mut left).await?;
        if rides.len() > 0 {
            let predictions = asked.predict(rides.features()).await?;
            for (ride, prediction) in rides.iter().zip(predictions) {
                let Some(model_s) = plan.bounded(prediction) else { continue };
                let (then_s, actual_s, segments) = (ride.then_s, ride.actual_s, ride.segments.clone());
                answered.push(Answered { hour, model_s, then_s, actual_s, segments });
            }
        }
        step.advance(1);
    }
    if let Asked::Artefact(model) = asked {
        model.stop().await;
    }
    step.done(format_args!("{} rides of {} hours", grouped(answered.len() as u64), archived.hours().len()));
    let rows: Vec<PairedRow<'_>> = answered
        .iter()
        .map(|one| PairedRow {
            hour: one.hour,
            challenger_s: one.model_s,
            reference_s: one.then_s,
            actual_s: one.actual_s,
            segments: &one.segments,
        })
        .collect();
    let found = backtest(&rows, archived.segment_names(), options.min_segment_rows, ALPHA);
    if found.all.is_none() {
        let why = "no archived request has met its outcome and could be asked again: compact the archive first (`mannen archive \
                   compact`), or take a longer --window";
        return Err(CliError::Unexpected(why.to_owned()));
    }
    terminal.json(&json!({
        "version": version.version,
        "model": version.model,
        "from": archived.hours().first(),
        "until": archived.hours().last(),
        "left_out": left,
        "backtest": found,
    }));
    terminal.result(text::figures(&version.version, &found, &left));
    Ok(())
}

/// A registered version. Its model's name is a beginning of the version's.
async fn find_version(lake: &S3Bucket, version: &str) -> Result<ModelVersion, CliError> {
    for (at, _) in version.match_indices('-') {
        let Ok(model) = version[..at].parse::<ModelName>() else { continue };
        if let Some(found) = lake.get_object(&lake::model_version(&model, version), None).await?.found() {
            let read = serde_json::from_slice(&found.bytes);
            return read.map_err(|error| CliError::Unexpected(format!("the registered version {version}: {error}")));
        }
    }
    Err(CliError::Unexpected(format!(
        "no version {version} is registered in this lake; `mannen model list` shows them"
    )))
}

/// Personal inputs are not archived as they came: columns that are made of them cannot be made again.
fn needs_nothing_personal(plan: &Plan) -> Result<(), CliError> {
    let names = plan.output_names().iter().enumerate();
    let personal: Vec<&str> =
        names.filter(|(output, _)| plan.output_is_personal(*output)).map(|(_, name)| name.as_str()).collect();
    if personal.is_empty() {
        return Ok(());
    }
    Err(CliError::Unexpected(format!(
        "the archive cannot be asked again for {}: computed of personal inputs, which are not archived as they came",
        personal.join(", ")
    )))
}

/// The version's own spec with its own lookup tables.
async fn plan_of(lake: &S3Bucket, version: &ModelVersion) -> Result<Plan, CliError> {
    let lineage = &version.lineage;
    let pinned = tables(lake, &lineage.lookups).await?.into_iter();
    let pinned = pinned.map(|(name, table)| match table {
        Ok(table) => Ok((name, table)),
        Err(why) => Err(CliError::Unexpected(format!("lookup table `{name}` of {}: {why}", version.version))),
    });
    let resources = pinned.collect::<Result<Resources, CliError>>()?;
    let plan = Plan::compile_with(&format!("the spec of {}", version.version), &lineage.spec.toml, &resources)?;
    if plan.hash() == lineage.spec.hash {
        return Ok(plan);
    }
    let why = format!("the spec of {} has the hash {}, not {}", version.version, plan.hash(), lineage.spec.hash);
    Err(CliError::Unexpected(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_personal_inputs_are_named_and_refused() {
        let spec = |outputs: &str| {
            let text = format!(
                "name = \"m\"\nprediction = {{ unit = \"s\", min = 0, max = 9 }}\n\
                 [inputs]\nrider = {{ type = \"int\", personal = \"hash\" }}\nlat = {{ type = \"float\" }}\n\
                 [features]\nof_rider = \"rider / 7\"\nnorth = \"lat + 1\"\n[model]\noutputs = [{outputs}]\n\
                 [fallback]\nexpression = \"lat\"\ndefault = 1\n"
            );
            Plan::compile("features.toml", &text).unwrap()
        };
        assert!(needs_nothing_personal(&spec("\"north\"")).is_ok());
        let refused = needs_nothing_personal(&spec("\"north\", \"of_rider\"")).unwrap_err().to_string();
        assert!(refused.contains("for of_rider:"), "{refused}");
    }
}
