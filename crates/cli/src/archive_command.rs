//! `mannen archive`: looking after the lake's archive.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use clap::{Args, Subcommand};
use cloud::{
    aws,
    object_store::{ETag, ListObjects, PutCondition, PutObject, PutOutcome, StoreError},
    s3::S3Bucket,
};
use domain::{Hour, ModelName, PredictionId, digest::sha256_hex, lake as layout};
use jiff::Timestamp;
use result_archiver::{
    Config, compact, handle,
    keeping::{
        Expected, ExportRange, GcPolicy, Retention, archive_stats, collect_garbage, export_data_capture,
        export_ground_truth, find_prediction, redrive, verify,
    },
};
use serde_json::json;

use crate::{
    archive_text,
    error::CliError,
    lake::{Lake, LakeOptions},
    terminal::{Terminal, grouped},
};

#[derive(Debug, Subcommand)]
pub(crate) enum ArchiveCommand {
    /// Merge all segments into their hour files now, as the archiver does on schedule
    Compact(CompactOptions),
    /// Read every file, and hold ids and counts against each other; exits with 1 where something is lost, twice or damaged
    Verify(VerifyOptions),
    /// Put quarantined lines and objects back to the landing area, once what was wrong with them is mended
    Redrive(RedriveOptions),
    /// Count what lies where: landing, segments, hour files, quarantine
    Stats(LakeOptions),
    /// Print a prediction with its outcome, found by its id alone; exits with 1 where nothing is known of it
    Query(QueryOptions),
    /// Tell what no retention keeps and nothing names any more; with --delete, delete it
    Gc(GcOptions),
    /// Write predictions or arrivals in SageMaker's own forms, so that existing monitors and notebooks can read them
    Export(ExportOptions),
}

#[derive(Debug, Args)]
pub(crate) struct CompactOptions {
    #[command(flatten)]
    lake: LakeOptions,
    /// Archive first what lies in the landing area: for objects whose notification was lost
    #[arg(long)]
    landing: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyOptions {
    #[command(flatten)]
    lake: LakeOptions,
    /// What was answered, as JSON lines: the proxy's log (each line with a prediction_id counts), or {"hour": "2026-01-31T09", "count": 7}
    #[arg(long, value_name = "FILE")]
    invocations: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RedriveOptions {
    #[command(flatten)]
    lake: LakeOptions,
    /// Only what landed below this prefix
    #[arg(long, value_name = "KEY", default_value = layout::LANDING)]
    prefix: String,
    /// Only lines with this reason code
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    /// Tell what would be put back, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct QueryOptions {
    /// The prediction's id
    id: PredictionId,
    #[command(flatten)]
    lake: LakeOptions,
    /// Search this model's records only [default: every model that has a release or an archive]
    #[arg(long)]
    model: Option<ModelName>,
}

#[derive(Debug, Args)]
pub(crate) struct GcOptions {
    #[command(flatten)]
    lake: LakeOptions,
    /// Delete; without it nothing is changed
    #[arg(long)]
    delete: bool,
    /// Nothing younger goes, whatever it is
    #[arg(long, value_name = "DAYS", default_value_t = 7)]
    min_age_days: u16,
    /// Keep hour files and evaluations for so long [default: for ever]
    #[arg(long, value_name = "DAYS")]
    keep_archive_days: Option<u16>,
    /// Keep quarantined lines for so long [default: for ever]
    #[arg(long, value_name = "DAYS")]
    keep_quarantine_days: Option<u16>,
}

#[derive(Debug, Args)]
#[group(id = "form", required = true, multiple = false, args = ["data_capture", "ground_truth"])]
pub(crate) struct ExportOptions {
    /// Endpoints' inputs and answers, as Data Capture files
    #[arg(long)]
    data_capture: bool,
    /// Arrivals, as ground-truth files: seconds from the request
    #[arg(long)]
    ground_truth: bool,
    /// A folder, or s3://bucket/prefix (with --lake)
    destination: String,
    #[command(flatten)]
    lake: LakeOptions,
    /// The model
    #[arg(long, default_value = "pickup-eta")]
    model: ModelName,
    /// The first hour, such as 2026-01-31T09 [default: from the beginning]
    #[arg(long, value_name = "HOUR")]
    from: Option<Hour>,
    /// The last hour [default: to the end]
    #[arg(long, value_name = "HOUR")]
    to: Option<Hour>,
}

pub(crate) async fn run(command: &ArchiveCommand, terminal: Terminal) -> Result<(), CliError> {
    match command {
        ArchiveCommand::Compact(options) => run_compact(options, terminal).await,
        ArchiveCommand::Verify(options) => run_verify(options, terminal).await,
        ArchiveCommand::Redrive(options) => run_redrive(options, terminal).await,
        ArchiveCommand::Stats(options) => {
            let lake = Lake::open(options).await?;
            let step = terminal.step("Counting");
            let stats = archive_stats(&lake.store, this_hour()).await?;
            step.done("done");
            terminal.json(&stats);
            terminal.result(archive_text::stats(&stats));
            Ok(())
        }
        ArchiveCommand::Query(options) => run_query(options, terminal).await,
        ArchiveCommand::Gc(options) => run_gc(options, terminal).await,
        ArchiveCommand::Export(options) => run_export(options, terminal).await,
    }
}

fn this_hour() -> Hour {
    Hour::of(Timestamp::now())
}

/// What the archiver may take into memory here, in MB.
const MEMORY_MB: u64 = 4096;

async fn run_compact(options: &CompactOptions, terminal: Terminal) -> Result<(), CliError> {
    let lake = Lake::open(&options.lake).await?;
    if options.landing {
        let step = terminal.step("Archiving what has landed");
        let config = Config { lake_bucket: String::new(), memory_mb: MEMORY_MB };
        let answer = handle(&lake.store, &config, &json!({"archive": {}}), None).await?;
        step.done(format_args!("{} records", answer["archived"]["records"]));
    }
    let step = terminal.step("Compacting");
    let outcome = compact(&lake.store, None).await?;
    let summary = outcome.summary;
    if let Some((key, failure)) = outcome.failures.iter().next() {
        let (count, detail) = (outcome.failures.len(), &failure.detail);
        return Err(CliError::Unexpected(format!("{count} failed and stay as they are, first `{key}`: {detail}")));
    }
    step.done(format_args!("{} segments of {} hours", summary.segments, summary.partitions));
    terminal.json(&summary);
    terminal.result(format_args!(
        "{} records added, {} known already, {} hour files written",
        grouped(summary.added),
        grouped(summary.duplicates),
        summary.rewritten
    ));
    Ok(())
}

async fn run_verify(options: &VerifyOptions, terminal: Terminal) -> Result<(), CliError> {
    let expected = match &options.invocations {
        Some(file) => {
            let told = std::fs::read_to_string(file);
            let told = told.map_err(|error| CliError::io(format!("read `{}`", file.display()), error))?;
            Expected::from_json_lines(&told).ok_or_else(|| {
                let why = "no line of it has a prediction_id, or an hour and a count";
                CliError::Unexpected(format!("`{}`: {why}", file.display()))
            })?
        }
        None => Expected::default(),
    };
    let lake = Lake::open(&options.lake).await?;
    let step = terminal.step("Reading the archive");
    let report = verify(&lake.store, &expected, this_hour()).await?;
    step.done(format_args!("{} hours", report.hours.len()));
    terminal.json(&report);
    terminal.result(archive_text::verify(&report));
    match report.troubles.len() {
        0 => Ok(()),
        troubles => Err(CliError::ArchiveTrouble(troubles)),
    }
}

async fn run_redrive(options: &RedriveOptions, terminal: Terminal) -> Result<(), CliError> {
    let lake = Lake::open(&options.lake).await?;
    let step = terminal.step("Reading the quarantine");
    let report = redrive(&lake.store, &options.prefix, options.reason.as_deref(), options.dry_run).await?;
    step.done("done");
    terminal.json(&report);
    let (verb, skipped) = (if report.dry_run { "would go" } else { "went" }, report.skipped);
    let (lines, objects) = (grouped(report.lines), grouped(report.objects));
    let whole = report.whole_objects;
    terminal.result(format_args!(
        "{lines} lines {verb} back in {objects} objects, and {whole} whole objects; {skipped} documents have no line to put back"
    ));
    Ok(())
}

async fn run_query(options: &QueryOptions, terminal: Terminal) -> Result<(), CliError> {
    let lake = Lake::open(&options.lake).await?;
    let models = match &options.model {
        Some(model) => vec![model.clone()],
        None => models(&lake.store, options.id.hour()).await?,
    };
    let found = find_prediction(&lake.store, options.id, &models).await?;
    if found.is_nothing() {
        return Err(CliError::UnknownPrediction(options.id));
    }
    terminal.json(&found);
    terminal.result(archive_text::query(&found));
    Ok(())
}

/// Models that may have records of an hour.
pub(crate) async fn models<S: ListObjects>(store: &S, hour: Hour) -> Result<Vec<ModelName>, CliError> {
    let mut models = std::collections::BTreeSet::new();
    for object in store.list_objects(layout::RELEASES).await? {
        models.extend(object.key.split('/').nth(1).and_then(|model| model.parse::<ModelName>().ok()));
    }
    if models.is_empty() {
        for object in store.list_objects(layout::ARCHIVE).await? {
            if let Some(layout::Partition { table: layout::Table::Predictions(model), hour: of }) =
                layout::hour_file_partition(&object.key)
                && of == hour
            {
                models.insert(model);
            }
        }
    }
    Ok(models.into_iter().collect())
}

const HOURS_PER_DAY: u32 = 24;

async fn run_gc(options: &GcOptions, terminal: Terminal) -> Result<(), CliError> {
    let hours = |days: u16| u32::from(days) * HOURS_PER_DAY;
    let policy = GcPolicy {
        now: this_hour(),
        min_age_hours: hours(options.min_age_days),
        retention: Retention {
            archive_hours: options.keep_archive_days.map(hours),
            quarantine_hours: options.keep_quarantine_days.map(hours),
        },
        dry_run: !options.delete,
    };
    let lake = Lake::open(&options.lake).await?;
    let step = terminal.step("Looking for what nothing names");
    let report = collect_garbage(&lake.store, &policy).await?;
    step.done("done");
    terminal.json(&report);
    terminal.result(archive_text::gc(&report));
    Ok(())
}

async fn run_export(options: &ExportOptions, terminal: Terminal) -> Result<(), CliError> {
    let range = ExportRange { from: options.from, to: options.to };
    let lake = Lake::open(&options.lake).await?;
    let step = terminal.step("Exporting");
    let (sink, prefix) = destination(options).await?;
    let summary = if options.data_capture {
        export_data_capture(&lake.store, &options.model, range, sink.as_ref(), &prefix).await?
    } else {
        export_ground_truth(&lake.store, &options.model, range, sink.as_ref(), &prefix).await?
    };
    step.done(format_args!("{} hours", summary.hours));
    terminal.json(&summary);
    let (lines, files) = (grouped(summary.lines), grouped(summary.files));
    terminal.result(format_args!("{lines} lines in {files} files: {}", options.destination));
    Ok(())
}

/// Where an export goes, and what its keys begin with.
async fn destination(options: &ExportOptions) -> Result<(Box<dyn PutObject>, String), CliError> {
    let Some(place) = options.destination.strip_prefix("s3://") else {
        return Ok((Box::new(Folder(PathBuf::from(&options.destination))), String::new()));
    };
    if options.lake.lake.is_none() {
        let why = "s3:// is for a lake on AWS (--lake); of a cloud on this machine, export into a folder";
        return Err(CliError::Unexpected(format!("{}: {why}", options.destination)));
    }
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    let prefix = if prefix.is_empty() || prefix.ends_with('/') { prefix.to_owned() } else { format!("{prefix}/") };
    let client = aws_sdk_s3::Client::new(&aws::sdk_config().await);
    Ok((Box::new(S3Bucket::new(client, bucket)), prefix))
}

/// A folder that takes objects as files.
struct Folder(PathBuf);

#[async_trait]
impl PutObject for Folder {
    async fn put_object(&self, key: &str, bytes: Bytes, _: PutCondition) -> Result<PutOutcome, StoreError> {
        let file = self.0.join(key);
        let write = |file: &Path| {
            std::fs::create_dir_all(file.parent().unwrap_or(file))?;
            std::fs::write(file, &bytes)
        };
        write(&file).map_err(|error| StoreError::Refused {
            verb: "write",
            key: file.display().to_string(),
            detail: error.to_string(),
        })?;
        Ok(PutOutcome::Stored(ETag(format!("\"{}\"", sha256_hex(&bytes)))))
    }
}
