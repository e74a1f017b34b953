//! `mannen features`: a feature spec checked, explained, compared and run over files.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use ::features::{Plan, diff, reference_markdown};
use clap::{Args, Subcommand, ValueEnum};
use evaluation::drift::TrainingBaseline;
use serde_json::json;

use crate::{
    error::CliError,
    lookup_tables::{self, LookupFiles, read_spec},
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
    /// Build a lookup table of training rows: mean, median and count of a value, by keys
    ///
    /// The spec declares the table, for example the mean duration by pick-up zone and hour:
    ///
    ///   [lookups.zone_hour]
    ///   keys = { rider_zone = "int", local_hour = "int" }
    ///   values = { mean_s = "float", count = "int" }
    ///
    /// and its features use it: zone_hour_s = "LOOKUP('zone_hour', rider_zone, local_hour, 'mean_s', 600)". Then
    ///
    ///   mannen features build-lookup zone_hour rides.parquet --from 2018-01-01 --to 2018-03-01 --out-of-fold 5 --fold-key
    ///   ride_id
    ///
    /// writes lookups/zone_hour.parquet beside the spec, where the other commands and a release find it. Keys are the inputs
    /// and features of their names. With --out-of-fold the training view has, for rows of the window, values that leave the
    /// row's own fold out; requests, and rows outside the window, see the values of all rows.
    #[command(verbatim_doc_comment)]
    BuildLookup(Box<lookup_tables::BuildOptions>),
    /// Bring in a lookup table of your own: a file with the columns that the spec declares
    ImportLookup(lookup_tables::ImportOptions),
}

#[derive(Debug, Args)]
pub(crate) struct SpecOption {
    /// features.toml, or the folder that holds it
    #[arg(default_value = "models/pickup-eta")]
    spec: PathBuf,
    #[command(flatten)]
    lookups: LookupFiles,
}

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// Files of raw inputs, by name as in the spec; the label's inputs among them
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// features.toml, or the folder that holds it
    #[arg(long, default_value = "models/pickup-eta")]
    spec: PathBuf,
    /// Folder for train.csv or train.parquet, rejects.jsonl, summary.json, and baseline.json: the view's distributions, that
    /// drift is told against (`mannen drift baseline put`)
    #[arg(long, value_name = "DIR", default_value = "features")]
    out: PathBuf,
    /// Format of the training view, both as SageMaker's XGBoost reads them
    #[arg(long, value_enum, default_value = "parquet")]
    format: Format,
    /// Threads; the result does not depend on it [default: all processors]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    #[command(flatten)]
    lookups: LookupFiles,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Csv,
    Parquet,
}

pub(crate) fn run(command: &FeaturesCommand, terminal: Terminal) -> Result<(), CliError> {
    match command {
        FeaturesCommand::Check(SpecOption { spec, lookups }) => {
            let plan = compile(spec, lookups)?;
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
                "lookups": plan.lookups().collect::<BTreeMap<_, _>>(),
            }));
        }
        FeaturesCommand::Explain(SpecOption { spec, lookups }) => {
            let text = compile(spec, lookups)?.explain();
            terminal.json(&json!({ "explanation": text }));
            terminal.result(text.trim_end());
        }
        FeaturesCommand::Diff { before, after } => {
            let own = LookupFiles::default();
            let changes = diff(&compile(before, &own)?, &compile(after, &own)?);
            terminal.json(&changes);
            for change in &changes {
                terminal.result(change);
            }
            if !changes.is_empty() {
                return Err(CliError::Differs(changes.len()));
            }
            terminal.result("no difference");
        }
        FeaturesCommand::Schema { spec: SpecOption { spec, lookups }, openapi } => {
            let plan = compile(spec, lookups)?;
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
        FeaturesCommand::BuildLookup(options) => lookup_tables::build(options, terminal)?,
        FeaturesCommand::ImportLookup(options) => lookup_tables::import(options, terminal)?,
    }
    Ok(())
}

fn compile(path: &Path, lookups: &LookupFiles) -> Result<Plan, CliError> {
    let (file, text) = read_spec(path)?;
    let own_places: BTreeMap<String, PathBuf> =
        lookups.lookup_files.iter().map(|(name, file)| (name.clone(), file.into())).collect();
    let tables = lookup_tables::read_tables(&file, &text, &own_places)?;
    Ok(Plan::compile_with(&file.display().to_string(), &text, &lookup_tables::resources(&tables))?)
}

fn transform(options: &RunOptions, terminal: Terminal) -> Result<(), CliError> {
    let plan = compile(&options.spec, &options.lookups)?;
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
    // Beside the view, for `mannen drift baseline put`.
    let baseline =
        TrainingBaseline::of_view(&summary.spec_hash, &summary.columns, &summary.sample.columns, summary.written);
    let path = options.out.join("baseline.json");
    std::fs::write(&path, baseline.to_json())
        .map_err(|error| CliError::io(format!("write `{}`", path.display()), error))?;
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
