//! `mannen release`: what is in force, put there and taken back.

mod calibrate;
mod candidate;
mod tell;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use cloud::s3::S3Bucket;
use domain::{ModelName, Release, ReleaseId};
use feature_batch::LookupFile;
use jiff::Timestamp;
use releases::{CurrentPointer, Endpoints, MoveOrder, Moved, PinnedTables, Watcher, in_force, read_release, resolve};

pub(crate) use self::candidate::release_of;
use crate::{
    error::CliError,
    lake::{Lake, LakeOptions, Services},
    local_cloud::RunningCloud,
    model_folder::ModelFolder,
    terminal::{Terminal, strong},
    train_and_deploy::ModelVersions,
};

#[derive(Debug, Subcommand)]
pub(crate) enum ReleaseCommand {
    /// Show what publishing the model's folder would change, and make every check, without writing
    ///
    /// Exits with 1 where a check fails. Each production variant is asked with one row that the spec makes.
    Plan(CandidateOptions),
    /// Check the model's folder as a release and put it in force; nothing is written where a check fails
    Publish {
        #[command(flatten)]
        candidate: CandidateOptions,
        #[command(flatten)]
        order: OrderOptions,
    },
    /// List releases, and when each was in force, by whom and why
    List(ModelOptions),
    /// Show a release's document
    Show {
        /// Release id, or its first six digits or more [default: the one in force]
        id: Option<String>,
        #[command(flatten)]
        model: ModelOptions,
        /// Print its feature spec instead
        #[arg(long)]
        spec: bool,
    },
    /// Say what differs between two releases; exits with 1 where something does
    Diff {
        /// The release before [default: the one to roll back to]
        before: Option<String>,
        /// The release after [default: the one in force]
        after: Option<String>,
        #[command(flatten)]
        model: ModelOptions,
    },
    /// Go back to the release before, or to a named one, once it is checked that it can still be served
    Rollback {
        /// Release id, or its first six digits or more [default: the one before]
        id: Option<String>,
        #[command(flatten)]
        model: ModelOptions,
        #[command(flatten)]
        order: OrderOptions,
    },
    /// Calibrate anew from the latest outcomes: residual quantiles, and a correction by zone and hour where it helps
    ///
    /// Nothing is put in force. With --write, the model's folder has what the next publish takes.
    Calibrate(calibrate::CalibrateOptions),
    /// Print the release in force, and each change of it, until Ctrl-C; a line each with --json
    Watch {
        #[command(flatten)]
        model: ModelOptions,
        /// Seconds between two looks
        #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=3600))]
        every: u32,
    },
}

/// A model's folder as a release.
#[derive(Debug, Args)]
pub(crate) struct CandidateOptions {
    /// Folder of the model: features.toml, training.toml, release.toml [default: models/pickup-eta, else the copy built in]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Version of the model behind a production variant, such as deep=eta-deep-7; wins over release.toml. Where neither
    /// names one, it is the model that the endpoint's variant serves now
    #[arg(long = "model-version", value_name = "VARIANT=NAME", value_parser = variant_version)]
    model_versions: Vec<(String, String)>,
    #[command(flatten)]
    lake: LakeOptions,
}

fn variant_version(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((variant, version)) if !variant.is_empty() && !version.is_empty() => {
            Ok((variant.to_owned(), version.to_owned()))
        }
        _ => Err("write it as VARIANT=NAME".to_owned()),
    }
}

/// A model that has releases.
#[derive(Debug, Args)]
pub(crate) struct ModelOptions {
    /// The model's name
    #[arg(long = "model", value_name = "NAME", default_value = "pickup-eta")]
    name: ModelName,
    #[command(flatten)]
    lake: LakeOptions,
}

/// How the pointer is moved.
#[derive(Debug, Args)]
pub(crate) struct OrderOptions {
    /// Why: kept in the history
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Who: kept in the history
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true)]
    author: Option<String>,
    /// Only where this release is in force now: its id, or the first six digits or more
    #[arg(long, value_name = "ID")]
    expect: Option<String>,
}

impl OrderOptions {
    async fn order(&self, store: &S3Bucket, model: &ModelName) -> Result<MoveOrder, CliError> {
        let expect = match &self.expect {
            Some(id) => Some(resolve(store, model, id).await?),
            None => None,
        };
        Ok(MoveOrder { author: self.author.clone(), reason: self.why.clone(), now: Timestamp::now(), expect })
    }
}

pub(crate) async fn run(command: &ReleaseCommand, terminal: Terminal) -> Result<(), CliError> {
    match command {
        ReleaseCommand::Plan(options) => plan(options, terminal).await,
        ReleaseCommand::Publish { candidate, order } => Box::pin(publish(candidate, order, terminal)).await,
        ReleaseCommand::List(model) => list(model, terminal).await,
        ReleaseCommand::Show { id, model, spec } => show(id.as_deref(), model, *spec, terminal).await,
        ReleaseCommand::Diff { before, after, model } => {
            diff(before.as_deref(), after.as_deref(), model, terminal).await
        }
        ReleaseCommand::Rollback { id, model, order } => rollback(id.as_deref(), model, order, terminal).await,
        ReleaseCommand::Calibrate(options) => calibrate::run(options, terminal).await,
        ReleaseCommand::Watch { model, every } => watch(model, Duration::from_secs(u64::from(*every)), terminal).await,
    }
}

/// Publishes what was just trained in the local cloud, checked like any other release.
pub(crate) async fn publish_trained(
    running: &RunningCloud,
    model: &ModelFolder,
    versions: &ModelVersions,
) -> Result<ReleaseId, CliError> {
    let release = release_of(model, versions, Timestamp::now());
    publish_locally(running, model, release, "trained on this machine").await
}

/// Publishes a release of `model` in the local cloud, checked like any other.
pub(crate) async fn publish_locally(
    running: &RunningCloud,
    model: &ModelFolder,
    release: Release,
    why: &str,
) -> Result<ReleaseId, CliError> {
    let now = Timestamp::now();
    releases::put_tables(&running.lake, &model.lookups).await?;
    let tables = releases::pinned_tables(&running.lake, &release).await?;
    let endpoints = Endpoints { describe: &running.sagemaker, invoke: &running.sagemaker_runtime };
    let checked = releases::check(endpoints, release, tables, now).await?.servable()?;
    let order = MoveOrder { author: Some("mannen".to_owned()), reason: Some(why.to_owned()), now, expect: None };
    Ok(releases::publish(&running.lake, &checked, &order).await?.pointer.release_id)
}

/// A candidate, and what is in force.
struct Prepared {
    lake: Lake,
    candidate: Release,
    /// The folder's.
    tables: BTreeMap<String, LookupFile>,
    current: Option<(CurrentPointer, Release)>,
}

impl Prepared {
    async fn of(options: &CandidateOptions) -> Result<Self, CliError> {
        let model = ModelFolder::read(options.model.as_deref())?;
        let lake = Lake::open(&options.lake).await?;
        let Services { control, .. } = lake.services()?;
        let named: BTreeMap<String, String> = options.model_versions.iter().cloned().collect();
        let versions = candidate::versions(&model, &named, control).await?;
        let candidate = release_of(&model, &versions, Timestamp::now());
        let current = match in_force(&lake.store, &model.name).await? {
            Some(current) => {
                let release = read_release(&lake.store, &model.name, &current.pointer.release_id).await?;
                Some((current, release))
            }
            None => None,
        };
        Ok(Self { lake, candidate, tables: model.lookups, current })
    }

    fn is_in_force(&self) -> bool {
        self.current.as_ref().is_some_and(|(_, current)| releases::same_but_for_time(current, &self.candidate))
    }
}

async fn check(
    lake: &Lake,
    release: Release,
    tables: PinnedTables,
    terminal: Terminal,
) -> Result<releases::Checked, CliError> {
    let Services { control, runtime, .. } = lake.services()?;
    let step = terminal.step("Checking the release");
    let endpoints = Endpoints { describe: control, invoke: runtime };
    let checked = releases::check(endpoints, release, tables, Timestamp::now()).await?;
    let (all, failed) = (checked.report.checks.len(), checked.report.failures().count());
    if failed == 0 {
        step.done(format_args!("{all} checks"));
    }
    Ok(checked)
}

async fn plan(options: &CandidateOptions, terminal: Terminal) -> Result<(), CliError> {
    let prepared = Prepared::of(options).await?;
    let difference = prepared.current.as_ref().map(|(_, current)| releases::diff(current, &prepared.candidate));
    // Nothing is written, so the tables need not be in the lake yet.
    let tables = prepared.tables.into_iter().map(|(name, file)| (name, Ok(std::sync::Arc::new(file.table)))).collect();
    let checked = check(&prepared.lake, prepared.candidate, tables, terminal).await?;
    let in_force = prepared.current.as_ref().map(|(current, _)| &current.pointer);
    tell::plan(&checked, in_force, difference.as_ref(), terminal);
    match checked.report.failures().count() {
        0 => Ok(()),
        failed => Err(CliError::ChecksFailed(failed)),
    }
}

async fn publish(options: &CandidateOptions, order: &OrderOptions, terminal: Terminal) -> Result<(), CliError> {
    let prepared = Prepared::of(options).await?;
    let order = order.order(&prepared.lake.store, &prepared.candidate.model).await?;
    if prepared.is_in_force()
        && let Some((current, _)) = prepared.current
    {
        tell::moved(&Moved { pointer: current.pointer, changed: false }, terminal);
        return Ok(());
    }
    // They are immutable and lie at the address of their content: harmless where the release is refused.
    releases::put_tables(&prepared.lake.store, &prepared.tables).await?;
    let tables = releases::pinned_tables(&prepared.lake.store, &prepared.candidate).await?;
    let checked = check(&prepared.lake, prepared.candidate, tables, terminal).await?;
    let servable = told_servable(checked, terminal)?;
    tell::moved(&releases::publish(&prepared.lake.store, &servable, &order).await?, terminal);
    Ok(())
}

/// The release as one that can be put in force; where it cannot, all checks are told.
fn told_servable(checked: releases::Checked, terminal: Terminal) -> Result<releases::ServableRelease, CliError> {
    if !checked.report.is_passed() {
        tell::checks(&checked.report, terminal);
    }
    Ok(checked.servable()?)
}

async fn rollback(
    id: Option<&str>,
    model: &ModelOptions,
    order: &OrderOptions,
    terminal: Terminal,
) -> Result<(), CliError> {
    let lake = Lake::open(&model.lake).await?;
    let order = order.order(&lake.store, &model.name).await?;
    let id = match id {
        Some(id) => resolve(&lake.store, &model.name, id).await?,
        None => releases::rollback_target(&lake.store, &model.name).await?,
    };
    let release = read_release(&lake.store, &model.name, &id).await?;
    let tables = releases::pinned_tables(&lake.store, &release).await?;
    let servable = told_servable(check(&lake, release, tables, terminal).await?, terminal)?;
    tell::moved(&releases::rollback(&lake.store, &servable, &order).await?, terminal);
    Ok(())
}

async fn list(model: &ModelOptions, terminal: Terminal) -> Result<(), CliError> {
    let lake = Lake::open(&model.lake).await?;
    tell::list(&releases::list(&lake.store, &model.name).await?, terminal);
    Ok(())
}

async fn show(id: Option<&str>, model: &ModelOptions, spec: bool, terminal: Terminal) -> Result<(), CliError> {
    let lake = Lake::open(&model.lake).await?;
    let id = match id {
        Some(id) => resolve(&lake.store, &model.name, id).await?,
        None => pointer(&lake, &model.name).await?.release_id,
    };
    let release = read_release(&lake.store, &model.name, &id).await?;
    if spec {
        terminal.json(&release.spec);
        terminal.result(release.spec.toml.trim_end());
    } else {
        tell::release(&id, &release, terminal);
    }
    Ok(())
}

async fn pointer(lake: &Lake, model: &ModelName) -> Result<domain::ReleasePointer, CliError> {
    let current = in_force(&lake.store, model).await?;
    Ok(current.ok_or_else(|| releases::ReleasesError::NoRelease(model.clone()))?.pointer)
}

async fn diff(
    before: Option<&str>,
    after: Option<&str>,
    model: &ModelOptions,
    terminal: Terminal,
) -> Result<(), CliError> {
    let lake = Lake::open(&model.lake).await?;
    let before = match before {
        Some(id) => resolve(&lake.store, &model.name, id).await?,
        None => releases::rollback_target(&lake.store, &model.name).await?,
    };
    let after = match after {
        Some(id) => resolve(&lake.store, &model.name, id).await?,
        None => pointer(&lake, &model.name).await?.release_id,
    };
    let read = async |id: &ReleaseId| read_release(&lake.store, &model.name, id).await;
    let difference = releases::diff(&read(&before).await?, &read(&after).await?);
    terminal.json(&serde_json::json!({ "before": before, "after": after, "diff": difference }));
    terminal.result(format_args!("{} -> {}", strong(tell::short(&before)), strong(tell::short(&after))));
    match tell::difference(&difference, terminal) {
        0 => Ok(()),
        found => Err(CliError::Differs(found)),
    }
}

async fn watch(model: &ModelOptions, every: Duration, terminal: Terminal) -> Result<(), CliError> {
    let lake = Lake::open(&model.lake).await?;
    let mut watcher = Watcher::new(lake.store.clone(), model.name.clone());
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            _ = ticks.tick() => {}
        }
        match watcher.look().await {
            Ok(Some(pointer)) => tell::pointer(&pointer, terminal),
            Ok(None) => {}
            // The store may be back at the next look.
            Err(error) => terminal.note(format_args!("{error}")),
        }
    }
}
