//! `mannen dataset`: from a warehouse to immutable versions in the lake, and what looks after them.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use bigquery::BigQuery;
use clap::{Args, Subcommand};
use cloud::config::Environment;
use dataset_extractor::{
    ExtractorError, Files, OpenFile, find_files, land_outcomes, parse_definition, put_definition, set_parameter,
    working,
};
use datasets::{
    Definition, FileInput, GcPolicy, Order, PointerOutcome, Progress, collect_garbage, datasets, diff, extract, list,
    pin, promote, read_manifest, resolve, under_way, verify,
};
use domain::ModelName;
use feature_batch::{FileSource, RangeSource};
use jiff::{SignedDuration, Timestamp};
use local_warehouse::Server;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use warehouse::Warehouse;

use crate::{
    dataset_text,
    error::CliError,
    lake::{Lake, LakeOptions},
    terminal::{Step, Terminal, grouped},
};

/// The query that a dataset's rows come from.
const EXTRACT: &str = "extract.sql";
/// Where results stand in a warehouse on this machine.
const STAGING_DATASET: &str = "mannen_staging";

#[derive(Debug, Subcommand)]
pub(crate) enum DatasetCommand {
    /// Run models/NAME/extract.sql in the warehouse, or read files, and publish the rows as a version
    ///
    /// The query runs once (a dry run first, within dataset.toml's limits), its result is read in several streams, and becomes
    /// Parquet files whose bytes depend on the rows alone. What dataset.toml expects of them is checked before anything is
    /// published. Started again after whatever stopped it, it goes on where it was. The warehouse is told by the environment:
    /// BIGQUERY_PROJECT, BIGQUERY_STAGING_DATASET, and GOOGLE_WORKLOAD_IDENTITY or GOOGLE_APPLICATION_CREDENTIALS; a cloud on
    /// this machine has its own. With `files = ["raw/trips/"]` in dataset.toml the rows are those of the lake's Parquet and CSV files
    /// under these keys instead; a CSV column has the type that `columns` says, else what all its values are.
    Extract(ExtractOptions),
    /// Run models/NAME/outcomes.sql in the warehouse, and land its rows as outcomes
    ///
    /// Columns: prediction_id, observed_at; candidate_id, dispatched_at, arrived_at, cancelled_at as far as they are known; other
    /// numbers and booleans are metrics. Rows that are landed again change nothing. What is no outcome goes to quarantine, with the reason.
    Outcomes(OutcomesOptions),
    /// Put the definition (extract.sql, dataset.toml) into the lake, where the extractor's schedule finds it
    Define(DefinitionOptions),
    /// List versions, the latest first; without a dataset, list the datasets
    List(ListOptions),
    /// Print what a version is: origin, columns with their figures, files
    Show(VersionOptions),
    /// Compare two versions: columns, rows, distributions; exits with 1 where they differ
    Diff(DiffOptions),
    /// Read a version again: every byte against its hash, every row against the address; exits with 1 where one is wrong
    Verify(VersionOptions),
    /// Keep a version under a name, whatever garbage collection finds
    Pin(PinOptions),
    /// Put a version in use
    Promote(PromoteOptions),
    /// Tell which versions and remains nothing leads to; with --delete, delete them
    Gc(GcOptions),
}

#[derive(Debug, Args)]
pub(crate) struct DefinitionOptions {
    #[command(flatten)]
    lake: LakeOptions,
    /// Folder of the model: extract.sql, dataset.toml
    #[arg(long, value_name = "DIR", default_value = "models/pickup-eta")]
    model: PathBuf,
    /// The dataset's name [default: the folder's]
    #[arg(long, value_name = "NAME")]
    dataset: Option<ModelName>,
    /// Another value for a parameter of the query
    #[arg(long = "parameter", short = 'p', value_name = "NAME=VALUE")]
    parameters: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ExtractOptions {
    #[command(flatten)]
    definition: DefinitionOptions,
    /// The state of the source tables, as @as_of in the query [default: that of an extract under way, else now]
    #[arg(long, value_name = "TIME")]
    as_of: Option<Timestamp>,
    /// Take the rows of this file (Parquet, or CSV with a header, plain or gzip) instead of a query's; may be given again
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Publish, and leave in use what is
    #[arg(long)]
    no_promote: bool,
    /// The most streams to read
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    streams: u16,
    /// What chunks and files may take of memory, in MB
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(128..=65_536))]
    memory_mb: u32,
}

#[derive(Debug, Args)]
pub(crate) struct OutcomesOptions {
    #[command(flatten)]
    definition: DefinitionOptions,
    /// The state of the source tables, as @as_of in the query [default: now]
    #[arg(long, value_name = "TIME")]
    as_of: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub(crate) struct ListOptions {
    #[command(flatten)]
    lake: LakeOptions,
    /// The dataset
    dataset: Option<ModelName>,
}

#[derive(Debug, Args)]
pub(crate) struct VersionOptions {
    #[command(flatten)]
    lake: LakeOptions,
    /// The dataset
    dataset: ModelName,
    /// `latest`, a pin, or an address, of which six digits will do
    #[arg(default_value = "latest")]
    version: String,
}

#[derive(Debug, Args)]
pub(crate) struct DiffOptions {
    #[command(flatten)]
    lake: LakeOptions,
    /// The dataset
    dataset: ModelName,
    /// The version before: `latest`, a pin, or an address
    from: String,
    /// The version after
    #[arg(default_value = "latest")]
    to: String,
}

#[derive(Debug, Args)]
pub(crate) struct PinOptions {
    #[command(flatten)]
    version: VersionOptions,
    /// The name that it is kept under
    #[arg(long = "as", value_name = "PIN")]
    pin: String,
    /// Why
    #[arg(long)]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PromoteOptions {
    #[command(flatten)]
    version: VersionOptions,
    /// Why
    #[arg(long)]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct GcOptions {
    #[command(flatten)]
    lake: LakeOptions,
    /// The dataset
    dataset: ModelName,
    /// Delete; without it nothing is changed
    #[arg(long)]
    delete: bool,
    /// Tell, and change nothing: as without --delete
    #[arg(long, conflicts_with = "delete")]
    dry_run: bool,
    /// Nothing younger goes, whatever it is
    #[arg(long, value_name = "DAYS", default_value_t = 7)]
    min_age_days: u16,
}

pub(crate) async fn run(command: &DatasetCommand, terminal: Terminal) -> Result<(), CliError> {
    match command {
        DatasetCommand::Extract(options) => run_extract(options, terminal).await,
        DatasetCommand::Outcomes(options) => run_outcomes(options, terminal).await,
        DatasetCommand::Define(options) => {
            let (lake, definition) = (Lake::open(&options.lake).await?, read_definition(options, Some(EXTRACT))?);
            put_definition(&lake.store, &definition).await?;
            terminal.json(&definition);
            terminal.result(format_args!("`{}` is defined", definition.dataset));
            Ok(())
        }
        DatasetCommand::List(options) => run_list(options, terminal).await,
        DatasetCommand::Show(options) => {
            let (lake, address) = version(options).await?;
            let manifest = read_manifest(&lake.store, &options.dataset, &address).await?;
            terminal.json(&manifest);
            terminal.result(dataset_text::manifest(&manifest));
            Ok(())
        }
        DatasetCommand::Diff(options) => run_diff(options, terminal).await,
        DatasetCommand::Verify(options) => run_verify(options, terminal).await,
        DatasetCommand::Pin(options) => {
            let (lake, address) = version(&options.version).await?;
            let (dataset, reason) = (&options.version.dataset, options.reason.clone());
            let pinned = pin(&lake.store, dataset, &address, &options.pin, reason, Timestamp::now()).await?;
            terminal.json(&pinned);
            terminal.result(format_args!("{address} is kept as `{}`", options.pin));
            Ok(())
        }
        DatasetCommand::Promote(options) => {
            let (lake, address) = version(&options.version).await?;
            let (dataset, reason) = (&options.version.dataset, options.reason.clone());
            let pointer = promote(&lake.store, dataset, &address, reason, Timestamp::now()).await?;
            terminal.json(&pointer);
            terminal.result(format_args!("{address} is in use"));
            Ok(())
        }
        DatasetCommand::Gc(options) => run_gc(options, terminal).await,
    }
}

async fn version(options: &VersionOptions) -> Result<(Lake, String), CliError> {
    let lake = Lake::open(&options.lake).await?;
    let address = resolve(&lake.store, &options.dataset, &options.version).await?;
    Ok((lake, address))
}

/// The definition that a model's folder has, with the command line's parameters. Without `extract.sql` where dataset.toml names files
/// that have the rows.
fn read_definition(options: &DefinitionOptions, sql: Option<&str>) -> Result<Definition, CliError> {
    let read = |name: &str| {
        let path = options.model.join(name);
        std::fs::read_to_string(&path).map_err(|error| CliError::io(format!("read `{}`", path.display()), error))
    };
    let toml = if options.model.join("dataset.toml").is_file() { read("dataset.toml")? } else { String::new() };
    let mut definition = parse_definition(dataset_name(options)?, "", &toml)?;
    if let Some(sql) = sql.filter(|sql| *sql != EXTRACT || definition.file_keys.is_empty()) {
        definition.sql = read(sql)?;
    }
    for parameter in &options.parameters {
        set_parameter(&mut definition, parameter)?;
    }
    Ok(definition)
}

fn dataset_name(options: &DefinitionOptions) -> Result<ModelName, CliError> {
    match &options.dataset {
        Some(dataset) => Ok(dataset.clone()),
        None => {
            let folder = options.model.canonicalize();
            let folder = folder.map_err(|error| CliError::io(format!("read `{}`", options.model.display()), error))?;
            Ok(folder.file_name().unwrap_or_default().to_string_lossy().parse()?)
        }
    }
}

/// Where rows come from.
enum Source {
    Files(Files),
    Warehouse(OpenWarehouse),
}

/// The warehouse that is asked, and the server of its tables where they lie in a folder here.
struct OpenWarehouse {
    bigquery: BigQuery,
    _server: Option<Server>,
}

/// The warehouse of the environment; or else of the cloud on this machine, whether that runs or not.
async fn warehouse(lake: &LakeOptions) -> Result<OpenWarehouse, CliError> {
    let told = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if lake.lake.is_some() || told("BIGQUERY_PROJECT") || told("BIGQUERY_ENDPOINT") {
        let config = bigquery::Config::from_environment(&Environment::of_process());
        let bigquery = BigQuery::new(config.map_err(ExtractorError::from)?);
        return Ok(OpenWarehouse { bigquery, _server: None });
    }
    let warehouse = local_warehouse::Warehouse::open(local::warehouse_options(&lake.dir))?;
    warehouse.ensure_dataset(warehouse.project(), STAGING_DATASET)?;
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await;
    let server = warehouse.serve(listener.map_err(|error| CliError::io("serve the warehouse", error))?)?;
    let url = server.url();
    let table = [
        ("BIGQUERY_ENDPOINT", url.as_str()),
        ("BIGQUERY_STORAGE_ENDPOINT", url.as_str()),
        ("BIGQUERY_PROJECT", warehouse.project()),
        ("BIGQUERY_STAGING_DATASET", STAGING_DATASET),
    ];
    let config = bigquery::Config::from_environment(&Environment::of_table(&table));
    Ok(OpenWarehouse { bigquery: BigQuery::new(config.map_err(ExtractorError::from)?), _server: Some(server) })
}

/// Local files, each with the hash of its bytes.
fn open_files(paths: &[PathBuf]) -> Result<Vec<OpenFile>, CliError> {
    let open = |path: &PathBuf| {
        let failed = |error| CliError::io(format!("read `{}`", path.display()), error);
        let bytes = FileSource::open(path).map_err(failed)?;
        let mut hash = Sha256::new();
        let (mut at, size) = (0, bytes.size_bytes());
        while at < size {
            let length = (size - at).min(1 << 20) as usize;
            hash.update(bytes.read_range(at, length).map_err(failed)?);
            at += length as u64;
        }
        let (name, tag) = (path.display().to_string(), hex::encode(hash.finalize()));
        Ok(OpenFile { input: FileInput { name, bytes: bytes.size_bytes(), tag }, bytes: Arc::new(bytes) })
    };
    paths.iter().map(open).collect()
}

async fn run_outcomes(options: &OutcomesOptions, terminal: Terminal) -> Result<(), CliError> {
    let definition = read_definition(&options.definition, Some("outcomes.sql"))?;
    let lake = Lake::open(&options.definition.lake).await?;
    let warehouse = warehouse(&options.definition.lake).await?;
    let now = domain::truncate_to_micros(Timestamp::now());
    let order = Order { definition, as_of: Some(options.as_of.unwrap_or(now)), now };
    let (dataset, extract) = (&order.definition.dataset, order.extract());
    let step = terminal.step("Landing outcomes");
    let landed = land_outcomes(&lake.store, dataset, &warehouse.bigquery, &extract, &|rows| step.advance(rows)).await?;
    step.done(format_args!("{} rows", grouped(landed.rows)));
    terminal.json(&landed);
    terminal.result(format_args!("{} of {} rows are outcomes", grouped(landed.events), grouped(landed.rows)));
    for (reason, rows) in &landed.rejected {
        terminal.result(format_args!("  {} in quarantine: {reason}", grouped(*rows)));
    }
    if let Some(first) = &landed.first_rejected {
        terminal.result(format_args!("  the first: {first}"));
    }
    Ok(())
}

async fn run_extract(options: &ExtractOptions, terminal: Terminal) -> Result<(), CliError> {
    let mut definition = read_definition(&options.definition, options.files.is_empty().then_some(EXTRACT))?;
    let lake = Lake::open(&options.definition.lake).await?;
    let source: Source = if !options.files.is_empty() {
        let files = open_files(&options.files)?;
        definition.file_keys.clear();
        definition.files = files.iter().map(|file| file.input.clone()).collect();
        Source::Files(Files::new(files, definition.columns.clone()))
    } else if !definition.file_keys.is_empty() {
        definition.files = find_files(&lake.store, &definition.file_keys).await?;
        Source::Files(Files::of_lake(&lake.store, &definition.files, definition.columns.clone()))
    } else {
        Source::Warehouse(warehouse(&options.definition.lake).await?)
    };
    let from_files = !definition.files.is_empty();
    let warehouse: &dyn Warehouse = match &source {
        Source::Files(files) => files,
        Source::Warehouse(opened) => &opened.bigquery,
    };
    let now = Timestamp::now();
    let as_of = match options.as_of {
        Some(as_of) => Some(as_of),
        // Files are what they are, whenever they are read.
        None if from_files => None,
        None => Some({
            let resumed = under_way(&lake.store, &definition).await?;
            let resumed = resumed.and_then(|plan| plan.as_of);
            if let Some(as_of) = resumed {
                terminal.note(format_args!("going on with the extract as of {as_of}"));
            }
            resumed.unwrap_or_else(|| domain::truncate_to_micros(now))
        }),
    };
    let config = dataset_extractor::Config {
        lake_bucket: lake.store.name().to_owned(),
        max_streams: usize::from(options.streams),
        streams_per_worker: 1,
        memory_mb: options.memory_mb as usize,
        bigquery: Err(cloud::config::ConfigError::Missing("BIGQUERY_PROJECT")),
    };
    let mut working = working(&config, now, None);
    working.publishing.promote = !options.no_promote;
    let order = Order { definition, as_of, now };
    let telling = Telling::new(terminal);
    let extracted = extract(&lake.store, warehouse, &order, working, &|progress| telling.tell(progress)).await;
    telling.end();
    let extracted = extracted?;
    let published = &extracted.published;
    terminal.json(&json!({
        "dataset": order.definition.dataset, "as_of": as_of, "version": published, "read": extracted.read,
        "read_s": extracted.read_s, "write_s": extracted.write_s,
    }));
    let (rows, files) = (grouped(published.rows), published.files);
    terminal.result(format_args!(
        "{}: {rows} rows in {files} file(s), {} bytes",
        published.address,
        grouped(published.bytes)
    ));
    terminal.result(match &published.pointer {
        PointerOutcome::Moved => "it is in use now".to_owned(),
        PointerOutcome::Unchanged if published.published => "it is in use".to_owned(),
        PointerOutcome::Unchanged => "it was published already".to_owned(),
        PointerOutcome::Superseded { by } => format!("a later state of the sources stays in use: {by}"),
        PointerOutcome::Kept => "what is in use stays".to_owned(),
    });
    Ok(())
}

/// The steps of an extract, one after the other.
struct Telling {
    terminal: Terminal,
    step: Mutex<(Option<Step>, u64)>,
}

impl Telling {
    fn new(terminal: Terminal) -> Self {
        let step = terminal.step("Asking the warehouse");
        Self { terminal, step: Mutex::new((Some(step), 0)) }
    }

    fn tell(&self, progress: Progress) {
        let mut step = self.step.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (step, done) = &mut *step;
        let next = |what: &str, rows: Option<u64>| match rows {
            Some(rows) => self.terminal.counted_step(what, rows),
            None => self.terminal.step(what),
        };
        match progress {
            Progress::Staged(rows) => {
                if let Some(step) = step.take() {
                    step.done(rows.map_or_else(|| "done".to_owned(), |rows| format!("{} rows", grouped(rows))));
                }
                *step = Some(next("Reading streams", rows));
            }
            Progress::LaidOut(rows) => {
                if let Some(step) = step.take() {
                    step.done(format_args!("{} rows", grouped(*done)));
                }
                *done = 0;
                *step = Some(next("Writing files", Some(rows)));
            }
            Progress::Read(rows) | Progress::Wrote(rows) => {
                *done += rows;
                if let Some(step) = step {
                    step.advance(rows);
                }
            }
        }
    }

    fn end(self) {
        drop(self.step);
    }
}

async fn run_list(options: &ListOptions, terminal: Terminal) -> Result<(), CliError> {
    let lake = Lake::open(&options.lake).await?;
    let Some(dataset) = &options.dataset else {
        let names = datasets(&lake.store).await?;
        terminal.json(&json!({"datasets": names}));
        terminal.result(names.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
        return Ok(());
    };
    let versions = list(&lake.store, dataset).await?;
    terminal.json(&json!({"dataset": dataset, "versions": versions}));
    terminal.result(dataset_text::versions(&versions));
    Ok(())
}

async fn run_diff(options: &DiffOptions, terminal: Terminal) -> Result<(), CliError> {
    let lake = Lake::open(&options.lake).await?;
    let manifest = async |what: &str| {
        let address = resolve(&lake.store, &options.dataset, what).await?;
        read_manifest(&lake.store, &options.dataset, &address).await
    };
    let differs = diff(&manifest(&options.from).await?, &manifest(&options.to).await?);
    terminal.json(&differs);
    terminal.result(dataset_text::diff(&differs));
    if differs.is_none() { Ok(()) } else { Err(CliError::Differs(dataset_text::differences(&differs))) }
}

async fn run_verify(options: &VersionOptions, terminal: Terminal) -> Result<(), CliError> {
    let (lake, address) = version(options).await?;
    let rows = read_manifest(&lake.store, &options.dataset, &address).await?.identity.rows;
    let step = terminal.counted_step("Reading every row", rows);
    let verified = verify(&lake.store, &options.dataset, &address, &|rows| step.advance(rows)).await?;
    step.done(format_args!("{} rows", grouped(verified.rows)));
    terminal.json(&verified);
    for trouble in &verified.troubles {
        terminal.result(trouble);
    }
    match verified.troubles.len() {
        0 => {
            terminal.result(format_args!("{address} is as it was published"));
            Ok(())
        }
        troubles => Err(CliError::DatasetTrouble(troubles)),
    }
}

async fn run_gc(options: &GcOptions, terminal: Terminal) -> Result<(), CliError> {
    let lake = Lake::open(&options.lake).await?;
    let policy = GcPolicy {
        now: Timestamp::now(),
        min_age: SignedDuration::from_hours(24 * i64::from(options.min_age_days)),
        dry_run: !options.delete,
    };
    let step = terminal.step("Looking for what nothing leads to");
    let report = collect_garbage(&lake.store, &options.dataset, policy).await?;
    step.done("done");
    terminal.json(&report);
    terminal.result(dataset_text::gc(&report));
    Ok(())
}
