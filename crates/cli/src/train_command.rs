//! `mannen train`: a model trained on a dataset version, with versioned code.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use clap::{Args, Subcommand};
use cloud::object_store::{GetObject, ListObjects};
use domain::lake;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use training::{
    JobPlace, Launched, Means, Stage, TRAIN, TrainingDefinition, VALIDATION, ViewPlan, ViewSummary, advance,
    known_version, launch, make_view, read_order,
};

use crate::{
    error::CliError,
    lake::{Lake, LakeOptions, Services},
    model_folder::ModelFolder,
    model_text, programs,
    terminal::{Terminal, grouped},
    training_definition::{define, definition_of},
};

const POLL: Duration = Duration::from_millis(250);
/// How many polls at the first, short pace: a job on AWS takes minutes.
const QUICK_POLLS: u32 = 40;

/// Where and how a model is trained.
#[derive(Debug, Args)]
pub(crate) struct TrainOptions {
    #[command(subcommand)]
    pub(crate) command: Option<TrainCommand>,
    #[command(flatten)]
    pub(crate) model: TrainedModel,
    /// The dataset version: `latest`, a pin, or an address, of which six digits will do
    #[arg(long, value_name = "VERSION", default_value = "latest")]
    dataset: String,
    /// Order jobs that failed once more
    #[arg(long)]
    again: bool,
    /// Order the jobs, and do not wait for them
    #[arg(long)]
    no_wait: bool,
    /// Train on this machine, without SageMaker: the model and its metrics go into --out
    #[arg(long, conflicts_with_all = ["again", "no_wait"])]
    local: bool,
    /// Folder for what --local makes: one folder per variant, laid out as a container's /opt/ml
    #[arg(long, value_name = "DIR", default_value = "trained", requires = "local")]
    out: PathBuf,
    /// The role that SageMaker's jobs take
    #[arg(long, value_name = "ARN", env = "TRAINING_ROLE_ARN")]
    role: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TrainCommand {
    /// Put the definition (features.toml, training.toml, code) into the lake: dataset versions that are put in use are trained on
    Define(TrainedModel),
}

/// The folder that is trained, and the lake.
#[derive(Debug, Args)]
pub(crate) struct TrainedModel {
    /// Folder of the model: features.toml, training.toml, release.toml [default: models/pickup-eta, else the copy built in]
    #[arg(long = "model", value_name = "DIR")]
    folder: Option<PathBuf>,
    #[command(flatten)]
    lake: LakeOptions,
}

pub(crate) async fn run(options: &TrainOptions, terminal: Terminal) -> Result<(), CliError> {
    if let Some(TrainCommand::Define(model)) = &options.command {
        let folder = ModelFolder::read(model.folder.as_deref())?;
        let lake = Lake::open(&model.lake).await?;
        let definition = define(&lake.store, &folder, Timestamp::now()).await?;
        terminal.json(&definition);
        let code = &definition.code;
        let commit = code.commit.as_ref().map_or_else(String::new, |commit| format!(", commit {commit}"));
        terminal.result(format_args!("`{}` is defined: code {}{commit}", definition.model, &code.address[..12]));
        return Ok(());
    }
    let folder = ModelFolder::read(options.model.folder.as_deref())?;
    let lake = Lake::open(&options.model.lake).await?;
    let address = datasets::resolve(&lake.store, &folder.name, &options.dataset).await?;
    if options.local {
        return train_locally(options, &folder, &lake, &address, terminal).await;
    }
    train_by_jobs(options, &folder, &lake, &address, terminal).await
}

async fn train_by_jobs(
    options: &TrainOptions,
    folder: &ModelFolder,
    lake: &Lake,
    address: &str,
    terminal: Terminal,
) -> Result<(), CliError> {
    let services = lake.services()?;
    let place = JobPlace { bucket: lake.store.name().to_owned(), role_arn: lake.role(options.role.as_deref())? };
    let definition = define(&lake.store, folder, Timestamp::now()).await?;
    let step = terminal.step("Making the training view");
    let Services { control, logs, events, .. } = services;
    let means = Means { sagemaker: control, logs, events, place: &place };
    let launched = launch(&lake.store, means, &definition, address, options.again, Timestamp::now(), &|| true).await?;
    let Launched::Jobs { view, versions, failed } = launched else {
        return Err(CliError::Unexpected("the training view was not finished".to_owned()));
    };
    step.done(rows_of(&view));
    if options.no_wait {
        terminal.json(&json!({"view": view, "versions": versions, "failed": failed}));
        terminal.result(format_args!("ordered: {}", versions.join(", ")));
        return if failed.is_empty() { Ok(()) } else { Err(CliError::VersionsRefused(failed.len())) };
    }
    let step = terminal.step(format!("Training {}", definition.plan.variants().len()));
    let mut polls = 0;
    loop {
        let mut open = 0;
        for version in &versions {
            let Some(order) = read_order(&lake.store, &folder.name, version).await? else { continue };
            match advance(&lake.store, means, &order, Timestamp::now()).await {
                Ok(Stage::Training | Stage::Judging) => open += 1,
                Ok(Stage::Failed(_) | Stage::Decided(_)) => {}
                Err(error) if error.may_pass() => open += 1,
                Err(error) => return Err(error.into()),
            }
        }
        if open == 0 {
            break;
        }
        polls += 1;
        tokio::time::sleep(if polls < QUICK_POLLS { POLL } else { POLL * 40 }).await;
    }
    step.done("done");
    let mut known = Vec::new();
    for version in &versions {
        known.push(known_version(&lake.store, &folder.name, version, None).await?);
    }
    terminal.json(&known);
    terminal.result(model_text::list(&known));
    let bad = known.iter().filter(|known| known.verdict.as_ref().is_none_or(|verdict| !verdict.offered)).count();
    if bad > 0 { Err(CliError::VersionsRefused(bad)) } else { Ok(()) }
}

fn rows_of(view: &ViewSummary) -> String {
    let rows = &view.rows;
    format!(
        "{} rows to train on, {} for validation, {} held out, {:.2} % unusable",
        grouped(rows.train),
        grouped(rows.validation),
        grouped(rows.held_out),
        100.0 * view.rejected_share()
    )
}

/// One variant that was trained on this machine.
#[derive(Debug, Serialize)]
struct TrainedLocally {
    variant: String,
    folder: PathBuf,
    code: String,
    seconds: f64,
}

async fn train_locally(
    options: &TrainOptions,
    folder: &ModelFolder,
    lake: &Lake,
    address: &str,
    terminal: Terminal,
) -> Result<(), CliError> {
    if folder.training.code.is_some() {
        let what = "--local trains with the reference model's program; a script needs its container: run `mannen up` and train \
                    there";
        return Err(CliError::Unexpected(what.to_owned()));
    }
    let (definition, code) = definition_of(folder, Timestamp::now())?;
    releases::put_tables(&lake.store, &folder.lookups).await?;
    let step = terminal.step("Making the training view");
    let view = view_of(lake, &definition, address).await?;
    step.done(rows_of(&view));
    let mut trained = Vec::new();
    for (variant, hyperparameters) in folder.training.variants() {
        let step = terminal.step(format!("Training {variant}"));
        let began = std::time::Instant::now();
        let base = options.out.join(variant);
        lay_out(lake, folder, &view, &hyperparameters, &base).await?;
        let program = std::env::current_exe().map_err(|error| CliError::io("find this program", error))?;
        let log = base.join("output/training.log");
        let output = std::fs::File::create(&log).and_then(|file| Ok((file.try_clone()?, file)));
        let output = output.map_err(|error| CliError::io(format!("write `{}`", log.display()), error))?;
        let mut command = Command::new(program);
        command.args([programs::MODEL, "train"]).env("SAGEMAKER_BASE_DIR", &base).stdout(output.0).stderr(output.1);
        let status = tokio::task::spawn_blocking(move || command.status()).await;
        let status = status.map_err(|error| CliError::Unexpected(error.to_string()))?;
        let status = status.map_err(|error| CliError::io("start the training", error))?;
        if !status.success() {
            let failure = std::fs::read_to_string(base.join("output/failure")).unwrap_or_default();
            let failure = failure.trim();
            return Err(CliError::Unexpected(format!("training {variant} failed: {failure}; see {}", log.display())));
        }
        let seconds = began.elapsed().as_secs_f64();
        step.done(format_args!("{seconds:.1} s, in {}", base.join("model").display()));
        trained.push(TrainedLocally { variant: variant.to_owned(), folder: base, code: code.address.clone(), seconds });
    }
    terminal.json(&trained);
    Ok(())
}

async fn view_of(lake: &Lake, definition: &TrainingDefinition, address: &str) -> Result<ViewSummary, CliError> {
    let manifest = datasets::read_manifest(&lake.store, &definition.model, address).await?;
    let plan = definition.compile(&lake.store).await?;
    let view = ViewPlan::of(&definition.model, &manifest, &plan, definition.plan.split, definition.plan.format)?;
    let made = make_view(&lake.store, &view, &manifest, &plan, &|| true).await?;
    made.ok_or_else(|| CliError::Unexpected("the training view was not finished".to_owned()))
}

/// A folder as a training container finds it.
async fn lay_out(
    lake: &Lake,
    model: &ModelFolder,
    view: &ViewSummary,
    hyperparameters: &BTreeMap<String, String>,
    base: &Path,
) -> Result<(), CliError> {
    let wrong = |path: &Path| {
        let path = path.display().to_string();
        move |error| CliError::io(format!("write `{path}`"), error)
    };
    for name in ["input/config", "model", "output/data"] {
        let path = base.join(name);
        std::fs::create_dir_all(&path).map_err(wrong(&path))?;
    }
    let mut channels = serde_json::Map::new();
    for channel in [TRAIN, VALIDATION] {
        let folder = base.join("input/data").join(channel);
        // What an earlier run left would be trained on too.
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(wrong(&folder))?;
        }
        for file in lake.store.list_objects(&lake::training_channel(&model.name, &view.view, channel)).await? {
            let Some(object) = lake.store.get_object(&file.key, None).await?.found() else { continue };
            std::fs::create_dir_all(&folder).map_err(wrong(&folder))?;
            let path = folder.join(file.key.rsplit('/').next().unwrap_or_default());
            std::fs::write(&path, &object.bytes).map_err(wrong(&path))?;
            channels.insert(channel.to_owned(), json!({"ContentType": model.training.format.content_type()}));
        }
    }
    let files = [
        ("hyperparameters.json", json!(hyperparameters)),
        ("inputdataconfig.json", serde_json::Value::Object(channels)),
        ("resourceconfig.json", json!({"current_host": "algo-1", "hosts": ["algo-1"]})),
    ];
    for (name, content) in files {
        let path = base.join("input/config").join(name);
        std::fs::write(&path, content.to_string()).map_err(wrong(&path))?;
    }
    Ok(())
}
