//! `mannen model`: registered versions, from the gate to the release.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use domain::{Arm, ModelName, RampPlan, Release};
use jiff::Timestamp;
use releases::{Endpoints, MoveOrder};
use serde_json::json;
use training::{
    Approval, DeployAs, Deployment, KnownVersion, Retirement, VersionState, approve, deploy, in_force, list_versions,
    next_release, read_definition, resolve_version, retire, variant_name,
};

use crate::{
    error::CliError,
    lake::{Lake, LakeOptions},
    model_folder::ModelFolder,
    model_text, release,
    terminal::{Terminal, strong},
};

#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// List versions, the latest first
    List(ModelOptions),
    /// Print a version: what it was made of, what the gate found
    Show(VersionOptions),
    /// Compare two versions: what they are made of, what they measured; exits with 1 where they differ
    Compare(CompareOptions),
    /// Let a version that the gate offers be deployed
    Approve(ApproveOptions),
    /// Put an approved version behind the endpoint, and into the next release
    ///
    /// As a ramp it gets a rising share of the traffic: the evaluator goes on to the next step, or back, by evidence. As a shadow it is
    /// asked beside and never answers. As the only one it replaces what is in force at once. The first version of all can only be that:
    /// the endpoint is created, and the release is what the model's folder says.
    Deploy(DeployOptions),
    /// Take a version out of use: it is not deployed again
    Retire(RetireOptions),
}

#[derive(Debug, Args)]
pub(crate) struct ModelOptions {
    /// The model's name
    #[arg(long = "model", value_name = "NAME", default_value = "pickup-eta")]
    name: ModelName,
    #[command(flatten)]
    lake: LakeOptions,
}

#[derive(Debug, Args)]
pub(crate) struct VersionOptions {
    /// A version or its beginning, a variant (its latest version), or `latest`
    version: String,
    #[command(flatten)]
    model: ModelOptions,
}

#[derive(Debug, Args)]
pub(crate) struct CompareOptions {
    /// A version
    before: String,
    /// The other
    after: String,
    #[command(flatten)]
    model: ModelOptions,
}

#[derive(Debug, Args)]
pub(crate) struct Signed {
    /// Why: kept with it
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Who: kept with it
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true)]
    author: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ApproveOptions {
    #[command(flatten)]
    version: VersionOptions,
    #[command(flatten)]
    signed: Signed,
    /// Also where the gate refused it, or has not judged it
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum How {
    /// A rising share of the traffic, by evidence
    Ramp,
    /// Asked beside, never answering
    Shadow,
    /// In place of everything in force
    Only,
}

#[derive(Debug, Args)]
pub(crate) struct DeployOptions {
    #[command(flatten)]
    version: VersionOptions,
    #[command(flatten)]
    signed: Signed,
    /// How it comes into the next release
    #[arg(long = "as", value_name = "HOW", default_value = "ramp")]
    how: How,
    /// Folder of the model: limits, calling and evaluation of its first release; later ones have those of the release in force
    /// [default: models/pickup-eta, else the copy built in]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// The ramp's steps: shares of the traffic, such as 0.01,0.1,0.5 [default: training.toml's, else these]
    #[arg(long, value_name = "SHARES", value_delimiter = ',')]
    steps: Vec<f64>,
    /// The role that the model's container takes
    #[arg(long, value_name = "ARN", env = "TRAINING_ROLE_ARN")]
    role: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RetireOptions {
    #[command(flatten)]
    version: VersionOptions,
    #[command(flatten)]
    signed: Signed,
}

pub(crate) async fn run(command: &ModelCommand, terminal: Terminal) -> Result<(), CliError> {
    match command {
        ModelCommand::List(model) => {
            let lake = Lake::open(&model.lake).await?;
            let known = list_versions(&lake.store, &model.name).await?;
            terminal.json(&known);
            terminal.result(model_text::list(&known));
            Ok(())
        }
        ModelCommand::Show(options) => {
            let (_, known) = options.known().await?;
            terminal.json(&known);
            terminal.result(model_text::version(&known));
            Ok(())
        }
        ModelCommand::Compare(options) => {
            let lake = Lake::open(&options.model.lake).await?;
            let before = resolve_version(&lake.store, &options.model.name, &options.before).await?;
            let after = resolve_version(&lake.store, &options.model.name, &options.after).await?;
            let (text, differences) = model_text::compare(&before, &after);
            terminal.json(&json!({"before": before, "after": after, "differences": differences}));
            terminal.result(text);
            if differences > 0 { Err(CliError::Differs(differences)) } else { Ok(()) }
        }
        ModelCommand::Approve(options) => run_approve(options, terminal).await,
        ModelCommand::Deploy(options) => Box::pin(run_deploy(options, terminal)).await,
        ModelCommand::Retire(options) => {
            let (lake, known) = options.version.known().await?;
            let retirement = Retirement {
                version: known.version.clone(),
                author: options.signed.author.clone(),
                reason: options.signed.why.clone(),
                retired_at: Timestamp::now(),
            };
            retire(&lake.store, &options.version.model.name, &known, &retirement).await?;
            terminal.json(&retirement);
            terminal.result(format_args!("{} is retired", strong(&known.version)));
            Ok(())
        }
    }
}

impl VersionOptions {
    async fn known(&self) -> Result<(Lake, KnownVersion), CliError> {
        let lake = Lake::open(&self.model.lake).await?;
        let known = resolve_version(&lake.store, &self.model.name, &self.version).await?;
        Ok((lake, known))
    }
}

async fn run_approve(options: &ApproveOptions, terminal: Terminal) -> Result<(), CliError> {
    let (lake, known) = options.version.known().await?;
    let approval = Approval {
        version: known.version.clone(),
        author: options.signed.author.clone(),
        reason: options.signed.why.clone(),
        approved_at: Timestamp::now(),
    };
    approve(&lake.store, &options.version.model.name, &known, &approval, options.force).await?;
    // SageMaker's own registry is told too, where there is one.
    let package = known.registered.as_ref().and_then(|found| found.model_package.as_ref());
    if let (Some(package), Ok(services)) = (package, lake.services()) {
        let input = json!({"ModelPackageArn": package, "ModelApprovalStatus": "Approved"});
        if let Err(error) = services.control.call("UpdateModelPackage", &input).await {
            terminal.note(format_args!("SageMaker's model package is not updated: {error}"));
        }
    }
    terminal.json(&approval);
    terminal.result(format_args!("{} is approved; `mannen model deploy` puts it to work", strong(&known.version)));
    Ok(())
}

/// Variants of an endpoint that a release asks.
pub(crate) fn variants_of(release: &Release, endpoint: &str) -> Vec<String> {
    let arms = release.arms.iter().chain(&release.shadows).chain(&release.second);
    arms.filter(|arm: &&Arm| arm.endpoint == endpoint).map(|arm| arm.variant.clone()).collect()
}

async fn run_deploy(options: &DeployOptions, terminal: Terminal) -> Result<(), CliError> {
    let model = &options.version.model.name;
    let (lake, known) = options.version.known().await?;
    let refuse = |detail: &str| training::TrainingError::OutOfState {
        version: known.version.clone(),
        detail: detail.to_owned(),
    };
    if !matches!(known.state, VersionState::Approved) {
        let detail = format!("is {}; only an approved version is deployed", known.state.as_str());
        return Err(refuse(&detail).into());
    }
    let registered = known.registered.as_ref().ok_or_else(|| refuse("is not trained"))?;
    let services = lake.services()?;
    let (from, current) = match in_force(&lake.store, model).await? {
        Some((from, current)) => (Some(from), current),
        None if matches!(options.how, How::Only) => {
            let folder = ModelFolder::read(options.folder.as_deref())?;
            if folder.name != *model {
                let detail =
                    format!("is of `{model}`, but the folder is of `{}`; name its own with --folder", folder.name);
                return Err(refuse(&detail).into());
            }
            releases::put_tables(&lake.store, &folder.lookups).await?;
            (None, release::release_of(&folder, &BTreeMap::new(), Timestamp::now()))
        }
        None => return Err(refuse("is the first: deploy it with `--as only`").into()),
    };
    let definition = read_definition(&lake.store, model).await?;
    let plan = known.order.as_ref().map(|order| order.definition.plan.clone());
    let plan = plan.or(definition.map(|definition| definition.plan));
    let how = match options.how {
        How::Shadow => DeployAs::Shadow,
        How::Only => DeployAs::Only,
        How::Ramp => {
            let mut ramp = plan.as_ref().and_then(|plan| plan.ramp.clone()).unwrap_or_default();
            if !options.steps.is_empty() {
                ramp = RampPlan { steps: options.steps.clone(), ..ramp };
            }
            if let Some(problem) = ramp.problem() {
                return Err(training::TrainingError::InvalidPlan(problem).into());
            }
            DeployAs::Ramp(ramp)
        }
    };
    let endpoint = current.arms.first().map(|arm| arm.endpoint.clone()).unwrap_or_default();
    let variant = variant_name(registered);
    // Before anything is started: a version that no release can have must not cost an endpoint's update.
    let next = next_release(&current, registered, &variant, &endpoint, &how)?;
    let deployment = Deployment {
        // Before the first release, nobody asks for what the endpoint may serve.
        keep: if from.is_some() { variants_of(&current, &endpoint) } else { Vec::new() },
        endpoint,
        instance_type: plan.map_or_else(|| "ml.m5.large".to_owned(), |plan| plan.instance_type),
        role_arn: lake.role(options.role.as_deref())?,
    };
    let step = terminal.step("Updating the endpoint");
    deploy(&services.control, &[(variant.clone(), registered)], &deployment).await?;
    step.done(format_args!("`{}` serves {variant}", deployment.endpoint));
    let step = terminal.step("Publishing the release");
    let now = Timestamp::now();
    let next = Release { created_at: now, ..next };
    let tables = releases::pinned_tables(&lake.store, &next).await?;
    let endpoints = Endpoints { describe: &services.control, invoke: &services.runtime };
    let servable = releases::check(endpoints, next, tables, now).await?.servable()?;
    let order = MoveOrder {
        author: options.signed.author.clone(),
        reason: options.signed.why.clone().or_else(|| Some(format!("deploy {}", known.version))),
        now,
        expect: from.clone(),
    };
    let moved = releases::publish(&lake.store, &servable, &order).await?;
    step.done(&moved.pointer.release_id.as_str()[..12]);
    terminal.json(&moved);
    let words = match &how {
        DeployAs::Ramp(plan) => format!("has {:.0} % of the traffic", plan.steps[0] * 100.0),
        DeployAs::Shadow => "is asked beside, as a shadow".to_owned(),
        DeployAs::Only => "answers alone".to_owned(),
    };
    terminal.result(format_args!("{} {words}", strong(&known.version)));
    Ok(())
}
