//! `mannen features`: a feature spec checked, explained, compared and run over files.

use std::path::{Path, PathBuf};

use ::features::{Plan, diff, reference_markdown};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::{
    error::CliError,
    terminal::{Terminal, grouped, strong},
};

#[derive(Debug, Subcommand)]
pub(crate) enum FeaturesCommand {
    /// Compile a spec, and tell what is wrong with it by file, line and column
    Check(SpecOption),
    /// Show inputs, features with their types, and the compiled program with its cost
    Explain(SpecOption),
    /// Say what changed between two specs; exits with 1 where something did
    Diff {
        /// The spec before: features.toml, or the folder that holds it
        before: PathBuf,
        /// The spec after
        after: PathBuf,
    },
    /// Print the JSON Schema of the spec's prediction requests, or the whole API's OpenAPI document
    Schema {
        #[command(flatten)]
        spec: SpecOption,
        /// Print the OpenAPI 3.1 document instead; it is what GET /openapi.json answers
        #[arg(long)]
        openapi: bool,
    },
    /// Print the reference of the expression language's functions, as Markdown
    Functions,
    /// Transform files (Parquet, CSV, JSON lines; plain, gzip, zstd) into the training view, label first
    Run(RunOptions),
}

#[derive(Debug, Args)]
pub(crate) struct SpecOption {
    /// features.toml, or the folder that holds it
    #[arg(default_value = "models/pickup-eta")]
    spec: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// Files of raw inputs, by name as in the spec; the label's inputs among them
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// features.toml, or the folder that holds it
    #[arg(long, default_value = "models/pickup-eta")]
    spec: PathBuf,
    /// Folder for train.csv or train.parquet, rejects.jsonl and summary.json
    #[arg(long, value_name = "DIR", default_value = "features")]
    out: PathBuf,
    /// Format of the training view, both as SageMaker's XGBoost reads them
    #[arg(long, value_enum, default_value = "parquet")]
    format: Format,
    /// Threads; the result does not depend on it [default: all processors]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Csv,
    Parquet,
}

pub(crate) fn run(command: &FeaturesCommand, terminal: Terminal) -> Result<(), CliError> {
    match command {
        FeaturesCommand::Check(SpecOption { spec }) => {
            let plan = compile(spec)?;
            terminal.result(format_args!(
                "{} {}: {} inputs, {} model columns, {} steps a row, {}",
                strong("ok"),
                plan.name(),
                plan.inputs().len(),
                plan.output_names().len(),
                plan.serving_steps(),
                plan.hash()
            ));
            terminal.json(&json!({
                "name": plan.name(),
                "hash": plan.hash(),
                "inputs": plan.inputs().len(),
                "outputs": plan.output_names(),
                "steps": plan.serving_steps(),
            }));
        }
        FeaturesCommand::Explain(SpecOption { spec }) => {
            let text = compile(spec)?.explain();
            terminal.json(&json!({ "explanation": text }));
            terminal.result(text.trim_end());
        }
        FeaturesCommand::Diff { before, after } => {
            let changes = diff(&compile(before)?, &compile(after)?);
            terminal.json(&changes);
            for change in &changes {
                terminal.result(change);
            }
            if !changes.is_empty() {
                return Err(CliError::Differs(changes.len()));
            }
            terminal.result("no difference");
        }
        FeaturesCommand::Schema { spec: SpecOption { spec }, openapi } => {
            let plan = compile(spec)?;
            let schema = if *openapi { plan.openapi(None) } else { plan.request_schema() };
            terminal.json(&schema);
            terminal.result(serde_json::to_string_pretty(&schema).unwrap_or_default());
        }
        FeaturesCommand::Functions => {
            let reference = reference_markdown();
            terminal.json(&json!({ "markdown": reference }));
            terminal.result(reference.trim_end());
        }
        FeaturesCommand::Run(options) => transform(options, terminal)?,
    }
    Ok(())
}

fn compile(path: &Path) -> Result<Plan, CliError> {
    let file = if path.is_dir() { path.join("features.toml") } else { path.to_owned() };
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(&file).map_err(|error| CliError::io(format!("read `{shown}`"), error))?;
    Ok(Plan::compile(&shown, &text)?)
}

fn transform(options: &RunOptions, terminal: Terminal) -> Result<(), CliError> {
    let plan = compile(&options.spec)?;
    let threads = options
        .threads
        .map_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get), usize::from);
    let format = match options.format {
        Format::Csv => feature_batch::ViewFormat::Csv,
        Format::Parquet => feature_batch::ViewFormat::Parquet,
    };
    let step = terminal.counted_step("Transforming", 0);
    let mut progress = |progress: feature_batch::Progress| step.set(progress.bytes, progress.bytes_total);
    let summary = feature_batch::run_files(&plan, &options.files, &options.out, format, threads, &mut progress)?;
    let rows_per_s = summary.rows as f64 / summary.elapsed.as_secs_f64().max(1e-9);
    step.done(format_args!(
        "{} rows in {:.1} s ({} rows/s)",
        grouped(summary.rows),
        summary.elapsed.as_secs_f64(),
        grouped(rows_per_s as u64)
    ));
    for source in summary.sources.iter().filter(|source| !source.missing_inputs.is_empty()) {
        terminal.note(format_args!("  {} has no column {}", source.name, source.missing_inputs.join(", ")));
    }
    terminal.json(&summary);
    terminal.result(format_args!(
        "{} rows written, {} rejected; {}",
        strong(grouped(summary.written)),
        grouped(summary.rejected.values().sum()),
        options.out.display()
    ));
    for (reason, rows) in &summary.rejected {
        terminal.result(format_args!("  {reason:24}{:>10}", grouped(*rows)));
    }
    Ok(())
}
