//! `mannen drift`: what came lately against training, and the baselines that it is told against.

use std::path::{Path, PathBuf};

use ::features::Transformer;
use clap::{Args, Subcommand};
use cloud::object_store::{GetObject, PutCondition, PutObject};
use domain::{ModelName, Release, lake};
use evaluation::{
    drift::{DriftReport, LABEL, TrainingBaseline},
    model_monitor::{self, Constraints, Statistics},
    report::Language,
};
use evaluator::{AuditPlan, ServedReleases, audit_skew};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::{
    error::CliError,
    evaluations::{EvaluationOptions, Evaluations, now},
    explain::{self, archived_window},
    lake::{Lake, LakeOptions},
    terminal::{Terminal, grouped, strong},
};

#[derive(Debug, Subcommand)]
pub(crate) enum DriftCommand {
    /// What drifts: features, what is predicted, answers, the error. Exits with 1 where something does
    Status(EvaluationOptions),
    /// Write SageMaker Model Monitor's constraint_violations.json of what came lately. Exits with 1 where there is one
    Violations {
        #[command(flatten)]
        evaluations: EvaluationOptions,
        /// constraints.json to check by [default: those that `drift baseline export` writes]
        #[arg(long, value_name = "FILE")]
        constraints: Option<PathBuf>,
        /// Where to write it
        #[arg(long, value_name = "FILE", default_value = "constraint_violations.json")]
        out: PathBuf,
    },
    /// Make archived features again from their raw inputs, bit by bit. Exits with 1 where one is not what it was
    ///
    /// The same audit as the evaluator's on schedule, over a sample by chance of all hours that the archive has.
    Skew {
        #[command(flatten)]
        model: ModelOptions,
        /// How many archived predictions
        #[arg(long, value_name = "COUNT", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        sample: u32,
        /// What chance is made of: the same seed takes the same predictions
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// The training baseline: show it, replace it, exchange it with SageMaker Model Monitor
    Baseline {
        #[command(subcommand)]
        command: BaselineCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum BaselineCommand {
    /// Show the baseline of the release in force, column by column
    Show(ModelOptions),
    /// Make a baseline.json of `mannen features run` the one that later hours are compared with
    Put {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        model: ModelOptions,
    },
    /// Write the baseline as SageMaker Model Monitor's statistics.json and constraints.json
    Export {
        #[command(flatten)]
        model: ModelOptions,
        /// Folder to write to
        #[arg(long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
    },
    /// Make SageMaker Model Monitor's statistics.json the baseline of the release in force
    Import {
        /// The file
        statistics: PathBuf,
        #[command(flatten)]
        model: ModelOptions,
        /// The label's name in the file
        #[arg(long, value_name = "NAME", default_value = LABEL)]
        label: String,
    },
}

/// A model of a lake.
#[derive(Debug, Args)]
pub(crate) struct ModelOptions {
    #[command(flatten)]
    lake: LakeOptions,
    /// The model
    #[arg(long = "model", value_name = "NAME", default_value = "pickup-eta")]
    name: ModelName,
}

pub(crate) async fn run(command: &DriftCommand, terminal: Terminal) -> Result<(), CliError> {
    match command {
        DriftCommand::Status(options) => status(options, terminal).await,
        DriftCommand::Violations { evaluations, constraints, out } => {
            violations(evaluations, constraints.as_deref(), out, terminal).await
        }
        DriftCommand::Skew { model, sample, seed } => skew(model, *sample, *seed, terminal).await,
        DriftCommand::Baseline { command } => match command {
            BaselineCommand::Show(model) => show(model, terminal).await,
            BaselineCommand::Put { file, model } => put(file, model, terminal).await,
            BaselineCommand::Export { model, out } => export(model, out, terminal).await,
            BaselineCommand::Import { statistics, model, label } => import(statistics, model, label, terminal).await,
        },
    }
}

async fn skew(options: &ModelOptions, sample: u32, seed: u64, terminal: Terminal) -> Result<(), CliError> {
    let lake = Lake::open(&options.lake).await?;
    let window = archived_window(&lake.store, &options.name).await?;
    let plan = AuditPlan { records: sample as usize, hours: usize::MAX, seed };
    let step = terminal.step("Making archived features again");
    let audit = audit_skew(&lake.store, &options.name, window, plan, &mut ServedReleases::default()).await?;
    step.done(format_args!("{} predictions", grouped(audit.records)));
    terminal.json(&audit);
    terminal.result(explain::text::audit("features", &audit).trim_end());
    match audit.records - audit.equal {
        0 => Ok(()),
        differing => Err(CliError::NotBitEqual(differing)),
    }
}

async fn status(options: &EvaluationOptions, terminal: Terminal) -> Result<(), CliError> {
    let found = Evaluations::read(options, terminal).await?;
    let report = evaluator::report_of(&options.model, now(), found.release.as_ref(), &found.baselines, &found.hours)?;
    let wants = report.wants_training();
    terminal.json(&json!({ "features": report.drift, "models": report.models, "wants_training": wants }));
    match &report.drift {
        Some(drift) => terminal.result(drift.headline(Language::English)),
        None => terminal.result(why_no_drift(&found)),
    }
    for model in &report.models {
        terminal.result(model.headline(Language::English));
    }
    let columns = report.drift.iter().map(|drift| drift.drifted().len()).sum::<usize>();
    let models = report.models.iter().filter(|m| m.concept_drift() || !m.prediction.reasons.is_empty()).count();
    if columns + models > 0 { Err(CliError::Drifts(columns + models)) } else { Ok(()) }
}

fn why_no_drift(found: &Evaluations) -> &'static str {
    match found.baselines.training {
        Some(_) => "Fewer than 100 arrivals in this window: nothing is told of the features.",
        None => "No training baseline: `mannen drift baseline put` or `import` brings one.",
    }
}

async fn violations(
    options: &EvaluationOptions,
    constraints: Option<&Path>,
    out: &Path,
    terminal: Terminal,
) -> Result<(), CliError> {
    let found = Evaluations::read(options, terminal).await?;
    let report = evaluator::report_of(&options.model, now(), found.release.as_ref(), &found.baselines, &found.hours)?;
    let (Some(kept), Some(drift)) = (&found.baselines.training, &report.drift) else {
        return Err(CliError::Unexpected(why_no_drift(&found).to_owned()));
    };
    let constraints: Constraints = match constraints {
        Some(path) => read_json(path)?,
        None => model_monitor::constraints_of(&kept.baseline),
    };
    let found = model_monitor::violations(&constraints, drift);
    write_json(out, &found)?;
    terminal.json(&found);
    for violation in &found.violations {
        let model_monitor::Violation { feature_name, constraint_check_type, description } = violation;
        terminal.result(format_args!("{} {constraint_check_type}: {description}", strong(feature_name)));
    }
    tell_rows(drift, found.violations.len(), out, terminal);
    if found.violations.is_empty() { Ok(()) } else { Err(CliError::Drifts(found.violations.len())) }
}

fn tell_rows(drift: &DriftReport, violations: usize, out: &Path, terminal: Terminal) {
    terminal.result(format_args!(
        "{} violations of {} rows against {} of training; {}",
        grouped(violations as u64),
        grouped(drift.rows),
        grouped(drift.training_rows),
        out.display()
    ));
}

/// The release in force and its baseline.
async fn baseline(options: &ModelOptions) -> Result<TrainingBaseline, CliError> {
    let lake = Lake::open(&options.lake).await?;
    let release = release(&lake, &options.name).await?;
    let key = lake::training_baseline(&options.name, &release.spec.hash);
    let object = lake.store.get_object(&key, None).await?.found().ok_or_else(|| {
        CliError::Unexpected(format!("there is no `{key}`: `mannen drift baseline put` or `import` brings one"))
    })?;
    Ok(TrainingBaseline::from_json(&object.bytes).map_err(evaluator::EvaluatorError::from)?)
}

async fn release(lake: &Lake, model: &ModelName) -> Result<Release, CliError> {
    let release = evaluator::release_in_force(&lake.store, model).await?;
    Ok(release.ok_or_else(|| releases::ReleasesError::NoRelease(model.clone()))?)
}

async fn show(model: &ModelOptions, terminal: Terminal) -> Result<(), CliError> {
    let baseline = baseline(model).await?;
    terminal.json(&baseline);
    terminal.result(format_args!("{} rows, spec {}", grouped(baseline.rows), baseline.spec_hash));
    for column in &baseline.columns {
        let mean = column.mean.map_or_else(|| "–".to_owned(), |mean| format!("{mean:.3}"));
        terminal.result(format_args!(
            "{:<28} mean {mean:>12}  deviation {:>12.3}  missing {:>9}  bins {:>4}",
            column.name,
            column.deviation,
            grouped(column.missing),
            column.counts.len()
        ));
    }
    Ok(())
}

async fn put(file: &Path, model: &ModelOptions, terminal: Terminal) -> Result<(), CliError> {
    let bytes = std::fs::read(file).map_err(|error| CliError::io(format!("read `{}`", file.display()), error))?;
    let baseline = TrainingBaseline::from_json(&bytes).map_err(evaluator::EvaluatorError::from)?;
    store(&Lake::open(&model.lake).await?, model, &baseline, terminal).await
}

async fn store(
    lake: &Lake,
    model: &ModelOptions,
    baseline: &TrainingBaseline,
    terminal: Terminal,
) -> Result<(), CliError> {
    let release = evaluator::release_in_force(&lake.store, &model.name).await?;
    if release.as_ref().is_some_and(|release| release.spec.hash != baseline.spec_hash) {
        terminal.note("The release in force has another feature spec: this baseline counts once one with its spec is.");
    }
    let key = lake::training_baseline(&model.name, &baseline.spec_hash);
    lake.store.put_object(&key, baseline.to_json().into(), PutCondition::Always).await?;
    terminal.json(&json!({ "key": key, "rows": baseline.rows, "columns": baseline.columns.len() }));
    terminal.result(format_args!(
        "{key}: {} rows, {} columns; the evaluator's next run counts by it",
        grouped(baseline.rows),
        baseline.columns.len()
    ));
    Ok(())
}

async fn export(model: &ModelOptions, out: &Path, terminal: Terminal) -> Result<(), CliError> {
    let baseline = baseline(model).await?;
    std::fs::create_dir_all(out).map_err(|error| CliError::io(format!("make `{}`", out.display()), error))?;
    let files = [out.join("statistics.json"), out.join("constraints.json")];
    write_json(&files[0], &model_monitor::statistics_of(&baseline))?;
    write_json(&files[1], &model_monitor::constraints_of(&baseline))?;
    terminal.json(&json!({ "statistics": files[0], "constraints": files[1] }));
    terminal.result(format_args!("{} and {}", files[0].display(), files[1].display()));
    Ok(())
}

async fn import(file: &Path, model: &ModelOptions, label: &str, terminal: Terminal) -> Result<(), CliError> {
    let statistics: Statistics = read_json(file)?;
    let lake = Lake::open(&model.lake).await?;
    let release = release(&lake, &model.name).await?;
    let tables = releases::pinned_tables(&lake.store, &release).await?;
    let tables = tables.into_iter().filter_map(|(name, table)| Some((name, table.ok()?))).collect();
    let transformer = Transformer::of_release(&release, tables).map_err(CliError::Unexpected)?;
    let outputs = transformer.plan().output_names();
    let imported = model_monitor::baseline_of(&statistics, &release.spec.hash, outputs, label)
        .map_err(evaluator::EvaluatorError::from)?;
    for (what, names) in [("not in the file", &imported.missing), ("not of the spec", &imported.unused)] {
        if !names.is_empty() {
            terminal.note(format_args!("  {what}: {}", names.join(", ")));
        }
    }
    store(&lake, model, &imported.baseline, terminal).await
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, CliError> {
    let text = std::fs::read(path).map_err(|error| CliError::io(format!("read `{}`", path.display()), error))?;
    serde_json::from_slice(&text)
        .map_err(|error| CliError::Unexpected(format!("`{}` is not such a file: {error}", path.display())))
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), CliError> {
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    std::fs::write(path, text).map_err(|error| CliError::io(format!("write `{}`", path.display()), error))
}
