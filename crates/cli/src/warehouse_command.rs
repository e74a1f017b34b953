//! `mannen warehouse`: files into the local cloud's warehouse, and what its tables say.

use std::{
    collections::BTreeSet,
    fmt::Write,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueEnum};
use local_warehouse::{FileFormat, LoadOptions, QueryResult, Schema, Warehouse, WriteDisposition};
use serde_json::{Value, json};

use crate::{
    error::CliError,
    local_cloud::own_folder,
    terminal::{Terminal, grouped, strong},
};

#[derive(Debug, Subcommand)]
pub(crate) enum WarehouseCommand {
    /// Read Parquet, CSV or JSON-lines files into a table, in one step: all rows of a file or none
    ///
    /// Without --schema the columns are the table's own, or those that the first file shows. Text may be gzip.
    Load(LoadCommand),
    /// Run a SELECT in BigQuery's SQL and print its rows
    Query(QueryCommand),
    /// List the tables with their rows and bytes
    Tables(WarehouseOptions),
}

/// Which warehouse.
#[derive(Debug, Args)]
pub(crate) struct WarehouseOptions {
    /// Folder of a cloud on this machine, running or stopped; its warehouse outlives restarts
    #[arg(long, value_name = "DIR", default_value = ".mannen")]
    dir: PathBuf,
}

impl WarehouseOptions {
    fn open(&self) -> Result<Warehouse, CliError> {
        own_folder(&self.dir)?;
        Ok(Warehouse::open(local::warehouse_options(&self.dir))?)
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Csv,
    Json,
    Parquet,
}

#[derive(Debug, Args)]
pub(crate) struct LoadCommand {
    /// The table: dataset.table; both are made where they are not there
    table: String,
    /// The files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    warehouse: WarehouseOptions,
    /// Take the rows away that the table has
    #[arg(long)]
    replace: bool,
    /// The columns, in BigQuery's types: name:TYPE,name:TYPE
    #[arg(long, value_name = "COLUMNS")]
    schema: Option<String>,
    /// The files' format [default: by their names' ends]
    #[arg(long)]
    format: Option<Format>,
    /// CSV: what stands between cells
    #[arg(long, value_name = "CHAR", default_value = ",")]
    delimiter: char,
    /// CSV: lines before the first row [default: 1]
    #[arg(long, value_name = "LINES")]
    skip_lines: Option<u64>,
    /// CSV: what stands for NULL, beside nothing at all
    #[arg(long, value_name = "TEXT", default_value = "")]
    null: String,
}

#[derive(Debug, Args)]
pub(crate) struct QueryCommand {
    /// The SELECT; - reads it from standard input
    sql: String,
    #[command(flatten)]
    warehouse: WarehouseOptions,
    /// The dataset of tables without one
    #[arg(long, value_name = "DATASET")]
    dataset: Option<String>,
    /// Print at most so many rows
    #[arg(long, value_name = "ROWS", default_value_t = 100)]
    limit: usize,
}

pub(crate) fn run(command: &WarehouseCommand, terminal: Terminal) -> Result<(), CliError> {
    match command {
        WarehouseCommand::Load(command) => load(command, terminal),
        WarehouseCommand::Query(command) => query(command, terminal),
        WarehouseCommand::Tables(options) => tables(options, terminal),
    }
}

fn load(command: &LoadCommand, terminal: Terminal) -> Result<(), CliError> {
    let options = command.files.iter().map(|file| load_options(command, file)).collect::<Result<Vec<_>, _>>()?;
    let warehouse = command.warehouse.open()?;
    let table = warehouse.table_ref(&command.table)?;
    let mut rows = 0;
    for (index, (file, mut options)) in command.files.iter().zip(options).enumerate() {
        if command.replace && index == 0 {
            options.disposition = WriteDisposition::Truncate;
        }
        let step = terminal.counted_step(format!("Loading {}", file.display()), 0);
        let total = warehouse
            .load(&table, file, &options, &mut |now| step.set(now, now))
            .map_err(|error| CliError::Unexpected(format!("`{}`: {error}", file.display())))?;
        step.done(format_args!(
            "{} rows",
            grouped(total - if options.disposition == WriteDisposition::Truncate { 0 } else { rows })
        ));
        rows = total;
    }
    terminal.json(&json!({ "table": command.table, "rows": rows }));
    terminal.result(format_args!("{} has {} rows", strong(&command.table), grouped(rows)));
    Ok(())
}

fn load_options(command: &LoadCommand, file: &Path) -> Result<LoadOptions, CliError> {
    let format = match command.format {
        Some(Format::Csv) => FileFormat::Csv,
        Some(Format::Json) => FileFormat::Json,
        Some(Format::Parquet) => FileFormat::Parquet,
        None => FileFormat::of_name(file).ok_or_else(|| {
            CliError::Unexpected(format!(
                "`{}`: no format has this name; say --format csv, json or parquet",
                file.display()
            ))
        })?,
    };
    let delimiter = u8::try_from(command.delimiter)
        .map_err(|_| CliError::Unexpected(format!("--delimiter {}: it must be one byte", command.delimiter)))?;
    Ok(LoadOptions {
        schema: command.schema.as_deref().map(Schema::parse).transpose()?,
        // A file of a laptop's user has a line of names; one whose columns are told may have it too.
        skip_rows: Some(command.skip_lines.unwrap_or(1)),
        delimiter,
        null_marker: command.null.clone(),
        ..LoadOptions::new(format)
    })
}

fn query(command: &QueryCommand, terminal: Terminal) -> Result<(), CliError> {
    let sql = match command.sql.as_str() {
        "-" => std::io::read_to_string(std::io::stdin()).map_err(|error| CliError::io("read standard input", error))?,
        sql => sql.to_owned(),
    };
    let warehouse = command.warehouse.open()?;
    let found = warehouse.query(&sql, command.dataset.as_deref(), command.limit)?;
    terminal.json(&json!({
        "columns": found.schema.0.iter().map(|field| json!({ "name": field.name, "type": field.kind.name() })).collect::<Vec<_>>(),
        "rows": found.objects(),
        "more": found.more,
        "bytes": found.bytes,
    }));
    terminal.result(text_table(&found));
    if found.more {
        terminal.note(format_args!("There are more rows; --limit says how many are printed."));
    }
    Ok(())
}

fn tables(options: &WarehouseOptions, terminal: Terminal) -> Result<(), CliError> {
    let tables = options.open()?.tables()?;
    let listed = tables.iter().map(|(table, rows, bytes)| {
        json!({ "table": format!("{}.{}", table.dataset, table.table), "rows": rows, "bytes": bytes })
    });
    terminal.json(&json!({ "tables": listed.collect::<Vec<_>>() }));
    if tables.is_empty() {
        terminal.result("There is no table; `mannen warehouse load DATASET.TABLE FILE` makes one.");
    }
    for (table, rows, bytes) in &tables {
        let name = format!("{}.{}", table.dataset, table.table);
        terminal.result(format_args!(
            "{name:40} {:>14} rows {:>16} bytes",
            grouped(*rows as u64),
            grouped(*bytes as u64)
        ));
    }
    Ok(())
}

/// Columns side by side: numbers to the right, texts to the left.
fn text_table(found: &QueryResult) -> String {
    /// A longer cell is cut.
    const WIDEST: usize = 60;

    let shown = |value: &Value| {
        let text = match value {
            Value::Null => "NULL".to_owned(),
            Value::String(text) => text.replace(['\n', '\t'], " "),
            other => other.to_string(),
        };
        if text.chars().count() > WIDEST { text.chars().take(WIDEST - 1).chain(['…']).collect() } else { text }
    };
    let names: Vec<_> = found.schema.0.iter().map(|field| field.name.clone()).collect();
    let objects = found.objects();
    let cells: Vec<Vec<String>> =
        objects.iter().map(|row| names.iter().map(|name| shown(&row[name])).collect()).collect();
    let numbers: BTreeSet<usize> =
        (0..names.len()).filter(|index| objects.iter().any(|row| row[&names[*index]].is_number())).collect();
    let width = |index: usize| {
        let of_cells = cells.iter().map(|row| row[index].chars().count()).max().unwrap_or_default();
        of_cells.max(names[index].chars().count())
    };
    let widths: Vec<_> = (0..names.len()).map(width).collect();
    let mut text = String::new();
    for (line, row) in std::iter::once(&names).chain(&cells).enumerate() {
        let mut written = String::new();
        for (index, cell) in row.iter().enumerate() {
            let gap = " ".repeat(widths[index] - cell.chars().count());
            let (before, after) = if numbers.contains(&index) { (gap.as_str(), "") } else { ("", gap.as_str()) };
            _ = write!(written, "{before}{cell}{after}  ");
        }
        let written = written.trim_end();
        if line > 0 {
            text.push('\n');
        }
        text.push_str(&if line == 0 { strong(written) } else { written.to_owned() });
    }
    text
}
