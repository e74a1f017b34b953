//! Files into tables: JSON lines, CSV and Parquet, plain or gzip.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek},
    path::Path,
};

use rusqlite::types::Value;
use serde_json::{Value as Json, json};

use crate::{
    cells,
    error::{Result, WarehouseError},
    jobs::Job,
    load_parquet,
    query_job::{create_disposition, write_disposition},
    store::{Appender, CreateDisposition, TableRef, Write, WriteDisposition, json_integer},
    types::{Field, Kind, Schema},
    warehouse::{Inner, Warehouse, at_row, row_values},
};

/// A file's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// Comma-separated values, the first line with the columns' names where the schema is found out.
    Csv,
    /// JSON lines.
    Json,
    /// Parquet.
    Parquet,
}

impl FileFormat {
    /// By the name's end: `.csv`, `.jsonl`, `.ndjson`, `.json`, `.parquet`, with or without `.gz`.
    pub fn of_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        match name.rsplit_once('.')?.1 {
            "csv" => Some(Self::Csv),
            "json" | "jsonl" | "ndjson" => Some(Self::Json),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

/// How a file is read.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Its format.
    pub format: FileFormat,
    /// The columns; `None`: the table's, else found out.
    pub schema: Option<Schema>,
    /// What becomes of rows that are there.
    pub disposition: WriteDisposition,
    /// CSV: lines before the first row; `None`: one where the schema is found out.
    pub skip_rows: Option<u64>,
    /// CSV: between cells.
    pub delimiter: u8,
    /// CSV: what is NULL, beside nothing at all.
    pub null_marker: String,
    /// JSON: fields that the schema has not are left out instead of refused.
    pub ignore_unknown: bool,
}

impl LoadOptions {
    /// Appends, with the columns that the table has or the file shows.
    pub fn new(format: FileFormat) -> Self {
        Self {
            format,
            schema: None,
            disposition: WriteDisposition::Append,
            skip_rows: None,
            delimiter: b',',
            null_marker: String::new(),
            ignore_unknown: false,
        }
    }
}

/// Rows that a column's type is found out from.
const SAMPLE_ROWS: usize = 1_000;

impl Warehouse {
    /// Reads a file into a table in one step: all of it or nothing. `progress` is told rows now and then. Gives how many rows the
    /// table has then.
    ///
    /// # Errors
    /// [`WarehouseError::Invalid`] with the row that does not fit.
    pub fn load(
        &self,
        table: &TableRef,
        file: &Path,
        options: &LoadOptions,
        progress: &mut dyn FnMut(u64),
    ) -> Result<u64> {
        self.ensure_dataset(&table.project, &table.dataset)?;
        self.0.load(table, CreateDisposition::IfNeeded, file, options, progress, None)
    }
}

/// The `load` of a job's configuration.
pub(crate) fn run_load_job(inner: &Inner, job: &Job, configuration: &Json, media: Option<&Path>) -> Result<Json> {
    let file = media.ok_or_else(|| {
        WarehouseError::NotImplemented(
            "load jobs from Cloud Storage are not supported by the local warehouse; upload the file".into(),
        )
    })?;
    let table = TableRef::from_json(configuration.get("destinationTable").unwrap_or(&Json::Null), &job.project)?;
    let text = |key: &str| configuration.get(key).and_then(Json::as_str);
    let format = match text("sourceFormat").unwrap_or("CSV") {
        "CSV" => FileFormat::Csv,
        "NEWLINE_DELIMITED_JSON" => FileFormat::Json,
        "PARQUET" => FileFormat::Parquet,
        other => return Err(WarehouseError::NotImplemented(format!("the local warehouse does not load {other}"))),
    };
    let schema = configuration.get("schema").map(|schema| Schema::from_json(Some(schema))).transpose()?;
    let options = LoadOptions {
        schema: schema.filter(|schema| !schema.0.is_empty()),
        disposition: write_disposition(configuration, WriteDisposition::Append)?,
        skip_rows: configuration.get("skipLeadingRows").and_then(json_integer).map(|rows| rows.max(0) as u64),
        delimiter: match text("fieldDelimiter").unwrap_or(",") {
            "\\t" | "tab" => b'\t',
            delimiter => delimiter.bytes().next().unwrap_or(b','),
        },
        null_marker: text("nullMarker").unwrap_or_default().to_owned(),
        ignore_unknown: configuration.get("ignoreUnknownValues").and_then(Json::as_bool).unwrap_or_default(),
        ..LoadOptions::new(format)
    };
    let mut rows = 0;
    let bytes = file.metadata()?.len();
    inner.load(&table, create_disposition(configuration), file, &options, &mut |now| rows = now, Some(job))?;
    Ok(json!({ "load": {
        "inputFiles": "1", "inputFileBytes": bytes.to_string(), "outputRows": rows.to_string(), "outputBytes": bytes.to_string(),
        "badRecords": "0",
    } }))
}

impl Inner {
    fn load(
        &self,
        table: &TableRef,
        create: CreateDisposition,
        file: &Path,
        options: &LoadOptions,
        progress: &mut dyn FnMut(u64),
        job: Option<&Job>,
    ) -> Result<u64> {
        let known = match self.store.table(table) {
            Ok((_, version)) if !version.schema.0.is_empty() && options.disposition != WriteDisposition::Truncate => {
                Some(version.schema)
            }
            Ok(_) | Err(WarehouseError::NotFound(_)) => None,
            Err(error) => return Err(error),
        };
        let found_out = options.schema.is_none() && known.is_none();
        let schema = match options.schema.clone().or(known) {
            Some(schema) => schema,
            None => find_schema(file, options)?,
        };
        let write = Write {
            table: table.clone(),
            disposition: options.disposition,
            create,
            schema: Some(schema),
            expires_ms: None,
        };
        let version = self.store.write(&write, |transaction, schema, segment| {
            let mut appender = Appender::new(transaction, schema, segment)?;
            let mut rows = 0;
            let mut append = |row: &[Value]| {
                appender.append(row)?;
                rows += 1;
                if rows % 10_000 == 0 {
                    progress(rows);
                }
                Ok(())
            };
            let mut read = || match options.format {
                FileFormat::Parquet => load_parquet::read(File::open(file)?, schema, &mut append),
                FileFormat::Json => read_json(open(file)?, schema, options.ignore_unknown, &mut append),
                FileFormat::Csv => read_csv(file, schema, options, found_out, &mut append),
            };
            match job {
                Some(job) => job.interruptible(transaction.get_interrupt_handle(), read)?,
                None => read()?,
            }
            progress(rows);
            Ok(())
        })?;
        Ok(version.rows as u64)
    }
}

/// A file's text; gzip is told by its first bytes.
fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    let mut file = File::open(path)?;
    let mut magic = [0; 2];
    let read = file.read(&mut magic)?;
    file.rewind()?;
    Ok(if read == 2 && magic == [0x1f, 0x8b] {
        Box::new(BufReader::with_capacity(1 << 16, flate2::read::MultiGzDecoder::new(file)))
    } else {
        Box::new(BufReader::with_capacity(1 << 16, file))
    })
}

type Append<'a> = dyn FnMut(&[Value]) -> Result<()> + 'a;

fn read_json(
    mut lines: Box<dyn BufRead>,
    schema: &Schema,
    ignore_unknown: bool,
    append: &mut Append<'_>,
) -> Result<()> {
    let (mut line, mut index) = (String::new(), 0);
    loop {
        line.clear();
        let read = lines
            .read_line(&mut line)
            .map_err(|error| WarehouseError::Invalid(format!("row {}: {error}", index + 1)))?;
        if read == 0 {
            return Ok(());
        }
        if !line.trim().is_empty() {
            let row: Json = serde_json::from_str(&line)
                .map_err(|error| at_row(index, WarehouseError::Invalid(format!("JSON parsing error: {error}"))))?;
            append(&row_values(schema, &row, ignore_unknown).map_err(|error| at_row(index, error))?)?;
            index += 1;
        }
    }
}

fn csv_reader(path: &Path, options: &LoadOptions) -> Result<csv::Reader<Box<dyn BufRead>>> {
    let mut builder = csv::ReaderBuilder::new();
    Ok(builder.has_headers(false).flexible(true).delimiter(options.delimiter).from_reader(open(path)?))
}

fn read_csv(
    path: &Path,
    schema: &Schema,
    options: &LoadOptions,
    found_out: bool,
    append: &mut Append<'_>,
) -> Result<()> {
    let mut reader = csv_reader(path, options)?;
    // With a schema that was found out the first line has names.
    let skip = options.skip_rows.unwrap_or_default().max(u64::from(found_out));
    let mut record = csv::StringRecord::new();
    let mut index = 0;
    let mut row = Vec::with_capacity(schema.0.len());
    while reader.read_record(&mut record).map_err(|error| WarehouseError::Invalid(error.to_string()))? {
        index += 1;
        if index <= skip {
            continue;
        }
        let told = |message: String| WarehouseError::Invalid(format!("line {index}: {message}"));
        if record.len() != schema.0.len() {
            return Err(told(format!("{} cells where the table has {} columns", record.len(), schema.0.len())));
        }
        row.clear();
        for (cell, field) in record.iter().zip(&schema.0) {
            row.push(csv_cell(cell, field, &options.null_marker).map_err(|error| told(error.to_string()))?);
        }
        append(&row)?;
    }
    Ok(())
}

fn csv_cell(cell: &str, field: &Field, null_marker: &str) -> Result<Value> {
    let null = if null_marker.is_empty() { cell.is_empty() && field.kind != Kind::String } else { cell == null_marker };
    cells::store(field, &if null { Json::Null } else { Json::String(cell.to_owned()) })
}

/// The columns of a file that nobody has told the columns of.
fn find_schema(path: &Path, options: &LoadOptions) -> Result<Schema> {
    let (names, samples) = match options.format {
        FileFormat::Parquet => return load_parquet::schema(File::open(path)?),
        FileFormat::Json => sample_json(path)?,
        FileFormat::Csv => sample_csv(path, options)?,
    };
    let field = |(index, name): (usize, String)| {
        let seen: Vec<&str> = samples.iter().filter_map(|row| row.get(index)?.as_deref()).collect();
        Field::new(column_name(&name, index), kind_of_texts(&seen))
    };
    let schema = Schema(names.into_iter().enumerate().map(field).collect());
    if schema.0.is_empty() {
        return Err(WarehouseError::Invalid(format!("{} has no row to tell columns from", path.display())));
    }
    // Checks the names too.
    Schema::from_json(Some(&schema.to_json()))
}

type Samples = (Vec<String>, Vec<Vec<Option<String>>>);

fn sample_csv(path: &Path, options: &LoadOptions) -> Result<Samples> {
    let mut reader = csv_reader(path, options)?;
    let mut records = reader.records().skip(options.skip_rows.unwrap_or(1).saturating_sub(1) as usize);
    let told = |error: csv::Error| WarehouseError::Invalid(error.to_string());
    let names = records.next().transpose().map_err(told)?.unwrap_or_default();
    let rows = records.take(SAMPLE_ROWS).map(|record| {
        let cell = |cell: &str| (!cell.is_empty() && cell != options.null_marker).then(|| cell.to_owned());
        record.map(|record| record.iter().map(cell).collect())
    });
    let rows = rows.collect::<std::result::Result<_, _>>().map_err(told)?;
    Ok((names.iter().map(str::to_owned).collect(), rows))
}

fn sample_json(path: &Path) -> Result<Samples> {
    let mut names: Vec<String> = Vec::new();
    let mut rows: Vec<Vec<Option<String>>> = Vec::new();
    for line in open(path)?.lines().take(SAMPLE_ROWS) {
        let row: Json = serde_json::from_str(&line?).unwrap_or_default();
        let mut cells = vec![None; names.len()];
        for (name, value) in row.as_object().into_iter().flatten() {
            let index = names.iter().position(|known| known == name).unwrap_or_else(|| {
                names.push(name.clone());
                cells.push(None);
                names.len() - 1
            });
            cells[index] = match value {
                Json::Null => None,
                Json::String(text) => Some(text.clone()),
                Json::Array(_) | Json::Object(_) => {
                    let what = format!("field {name} is an array or a record: say the table's schema");
                    return Err(WarehouseError::Invalid(what));
                }
                other => Some(other.to_string()),
            };
        }
        rows.push(cells);
    }
    Ok((names, rows))
}

/// The first type that all texts can be read as.
fn kind_of_texts(texts: &[&str]) -> Kind {
    if texts.is_empty() {
        return Kind::String;
    }
    let all = |fits: &dyn Fn(&str) -> bool| texts.iter().all(|text| fits(text.trim()));
    // A number with zeros before it is a code, such as a postcode.
    let code = texts
        .iter()
        .any(|text| text.len() > 1 && text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    if !code && all(&|text| text.parse::<i64>().is_ok()) {
        return Kind::Int64;
    }
    if !code && all(&|text| text.parse::<f64>().is_ok()) {
        return Kind::Float64;
    }
    if all(&|text| text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false")) {
        return Kind::Bool;
    }
    for kind in [Kind::Date, Kind::Timestamp, Kind::Time] {
        if all(&|text| text.len() > 7 && cells::scalar_of_text(&kind, text).is_ok()) {
            return kind;
        }
    }
    Kind::String
}

/// A name that a column can have.
fn column_name(name: &str, index: usize) -> String {
    let clean: String = name.trim().chars().map(|char| if char.is_alphanumeric() { char } else { '_' }).collect();
    match clean.chars().next() {
        None => format!("column_{index}"),
        Some(first) if first.is_numeric() => format!("_{clean}"),
        Some(_) => clean,
    }
}
