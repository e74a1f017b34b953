//! The warehouse: what the protocols, the command and the demo share.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::types::Value;
use serde_json::{Value as Json, json};

use crate::{
    catalog::segment_name,
    cells::{self, TimestampFormat},
    control::Control,
    error::{Result, WarehouseError},
    faults::Faults,
    jobs::Running,
    sql::{self, Catalog, Parameters, Setting, Translation},
    store::{Appender, CreateDisposition, Store, TableRef, Version, Write, WriteDisposition, now_us},
    types::Schema,
};

/// How a warehouse is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder of its files.
    pub folder: PathBuf,
    /// The project of the command and of tables without one.
    pub project: String,
    /// How long a read session lives. BigQuery: 6 hours.
    pub session_lifetime: Duration,
    /// Rows that go to the same stream together.
    pub block_rows: u32,
    /// Seed of which rows go to which stream; `None`: another one for each session.
    pub stream_seed: Option<u64>,
    /// The most streams of a session. BigQuery: 1,000.
    pub max_streams: i32,
}

impl Options {
    /// The defaults for a folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            project: "mannen".to_owned(),
            session_lifetime: Duration::from_hours(6),
            block_rows: 4096,
            stream_seed: None,
            max_streams: 16,
        }
    }
}

/// An SQLite database that can be asked as BigQuery is. Clones are the same warehouse; several processes may have it open.
#[derive(Debug, Clone)]
pub struct Warehouse(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) options: Options,
    pub(crate) store: Store,
    pub(crate) control: Control,
    pub(crate) faults: Faults,
    pub(crate) running: Running,
}

/// A query's result, small enough to be held.
#[derive(Debug, Clone)]
pub struct QueryResult {
    /// Its columns.
    pub schema: Schema,
    /// Cells as the REST API has them: texts, NULL, `{"f": […]}`, `[{"v": …}]`.
    pub rows: Vec<Vec<Json>>,
    /// Whether there were more rows than were asked for.
    pub more: bool,
    /// What BigQuery would bill.
    pub bytes: i64,
}

impl QueryResult {
    /// The rows as plain JSON: numbers and booleans as such, points in time in RFC 3339, arrays and objects.
    pub fn objects(&self) -> Vec<Json> {
        let object = |row: &Vec<Json>| {
            let cell = |(field, cell): (&crate::types::Field, &Json)| {
                (field.name.clone(), cells::plain(&field.kind, field.repeated(), cell))
            };
            Json::Object(self.schema.0.iter().zip(row).map(cell).collect())
        };
        self.rows.iter().map(object).collect()
    }
}

impl Warehouse {
    /// Opens a warehouse, or makes an empty one.
    ///
    /// # Errors
    /// [`WarehouseError::Internal`] where the folder cannot be written or the files are none of ours.
    pub fn open(options: Options) -> Result<Self> {
        let store = Store::open(&options.folder)?;
        let control = Control::open(&options.folder)?;
        Ok(Self(Arc::new(Inner { options, store, control, faults: Faults::default(), running: Running::default() })))
    }

    /// The faults that it is told to have.
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// The project of tables without one.
    pub fn project(&self) -> &str {
        &self.0.options.project
    }

    /// The folder of its files.
    pub fn folder(&self) -> &Path {
        &self.0.options.folder
    }

    /// Reads `dataset.table` or `project.dataset.table`.
    ///
    /// # Errors
    /// [`WarehouseError::Invalid`].
    pub fn table_ref(&self, name: &str) -> Result<TableRef> {
        let parts: Vec<_> = name.trim_matches('`').splitn(3, '.').collect();
        let (project, dataset, table) = match parts.as_slice() {
            [dataset, table] => (self.project(), *dataset, *table),
            [project, dataset, table] => (*project, *dataset, *table),
            _ => return Err(WarehouseError::Invalid(format!("`{name}` is no table; write dataset.table"))),
        };
        TableRef::from_json(&json!({ "datasetId": dataset, "tableId": table }), project)
    }

    /// Makes a dataset where there is none.
    ///
    /// # Errors
    /// [`WarehouseError::Invalid`] for a name that no dataset can have.
    pub fn ensure_dataset(&self, project: &str, dataset: &str) -> Result<()> {
        match self.0.store.create_dataset(project, dataset, &json!({})) {
            Err(WarehouseError::Duplicate(_)) => Ok(()),
            other => other,
        }
    }

    /// The tables of the warehouse's own project, with rows and bytes.
    ///
    /// # Errors
    /// [`WarehouseError::Internal`].
    pub fn tables(&self) -> Result<Vec<(TableRef, i64, i64)>> {
        let mut all = Vec::new();
        for dataset in self.0.store.datasets(self.project())? {
            for entry in self.0.store.tables(self.project(), &dataset)? {
                let (_, version) = self.0.store.table(&entry.reference)?;
                all.push((entry.reference, version.rows, version.bytes()));
            }
        }
        Ok(all)
    }

    /// Writes rows, each a JSON object of columns by name, in one step. Gives how many rows the table has then.
    ///
    /// # Errors
    /// [`WarehouseError::Invalid`] with the row that does not fit.
    pub fn write_rows(
        &self,
        table: &TableRef,
        schema: &Schema,
        disposition: WriteDisposition,
        rows: impl IntoIterator<Item = Json>,
    ) -> Result<u64> {
        self.ensure_dataset(&table.project, &table.dataset)?;
        let write = Write {
            table: table.clone(),
            disposition,
            create: CreateDisposition::IfNeeded,
            schema: Some(schema.clone()),
            expires_ms: None,
        };
        let version = self.0.store.write(&write, |transaction, schema, segment| {
            let mut appender = Appender::new(transaction, schema, segment)?;
            for (index, row) in rows.into_iter().enumerate() {
                appender.append(&row_values(schema, &row, false).map_err(|error| at_row(index, error))?)?;
            }
            Ok(())
        })?;
        Ok(version.rows as u64)
    }

    /// Runs a SELECT and gives at most `limit` rows.
    ///
    /// # Errors
    /// [`WarehouseError::InvalidQuery`].
    pub fn query(&self, text: &str, default_dataset: Option<&str>, limit: usize) -> Result<QueryResult> {
        let parameters = Parameters::default();
        let setting = Setting {
            project: self.project(),
            default_dataset: default_dataset.map(|dataset| (self.project().to_owned(), dataset.to_owned())),
            parameters: &parameters,
            now_us: now_us(),
        };
        let translation = sql::translate(text, &*self.0, &setting)?;
        let (rows, more) = self.0.rows_of(&translation, limit)?;
        Ok(QueryResult { bytes: translation.bytes(), schema: translation.schema, rows, more })
    }
}

impl Inner {
    fn rows_of(&self, translation: &Translation, limit: usize) -> Result<(Vec<Vec<Json>>, bool)> {
        let reader = self.store.reader()?;
        let mut statement = reader.prepare(&translation.sql)?;
        let mut rows = statement.query(rusqlite::params_from_iter(&translation.parameters))?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            if all.len() == limit {
                return Ok((all, true));
            }
            all.push(rest_row(&translation.schema, row, 0, TimestampFormat::Int64)?);
        }
        Ok((all, false))
    }

    /// Rows of a version as `rows` of the REST API, from `start` on: at most `limit`, and at most so many that an answer stays
    /// handy.
    pub(crate) fn page(
        &self,
        version: &Version,
        columns: &[usize],
        start: i64,
        limit: i64,
        timestamps: TimestampFormat,
    ) -> Result<Vec<Json>> {
        /// As BigQuery's answers are.
        const PAGE_BYTES: usize = 10 << 20;

        if columns.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<_> = columns.iter().map(|column| format!("c{column}")).collect();
        let fields = Schema(columns.iter().filter_map(|column| version.schema.0.get(*column).cloned()).collect());
        let segment = segment_name(version.segment);
        let select = format!("SELECT {} FROM {segment} WHERE seq > ? AND seq <= ? ORDER BY seq", names.join(", "));
        let reader = self.store.reader()?;
        let mut statement = reader.prepare(&select)?;
        let mut rows = statement.query([start, start.saturating_add(limit).min(version.rows)])?;
        let (mut all, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let cells = rest_row(&fields, row, 0, timestamps)?;
            let cells: Vec<Json> = cells.into_iter().map(|cell| json!({ "v": cell })).collect();
            bytes += cells.iter().map(cell_size).sum::<usize>();
            all.push(json!({ "f": cells }));
            if bytes > PAGE_BYTES {
                break;
            }
        }
        Ok(all)
    }
}

/// About how long a cell is.
fn cell_size(cell: &Json) -> usize {
    match cell {
        Json::String(text) => text.len() + 10,
        Json::Array(elements) => elements.iter().map(cell_size).sum::<usize>() + 10,
        Json::Object(members) => members.values().map(cell_size).sum::<usize>() + 10,
        _ => 10,
    }
}

fn rest_row(schema: &Schema, row: &rusqlite::Row<'_>, first: usize, timestamps: TimestampFormat) -> Result<Vec<Json>> {
    let cell = |(index, field): (usize, &crate::types::Field)| {
        Ok(cells::rest_cell(&field.kind, field.repeated(), row.get_ref(first + index)?, timestamps))
    };
    schema.0.iter().enumerate().map(cell).collect()
}

/// A JSON object's values in the order of the columns.
pub(crate) fn row_values(schema: &Schema, row: &Json, ignore_unknown: bool) -> Result<Vec<Value>> {
    let object = row.as_object().ok_or_else(|| WarehouseError::Invalid(format!("{row} is not a JSON object")))?;
    if !ignore_unknown && let Some(unknown) = object.keys().find(|key| schema.index_of(key).is_none()) {
        return Err(WarehouseError::Invalid(format!("no such field: {unknown}.")));
    }
    let value = |field: &crate::types::Field| {
        let found = object
            .get(&field.name)
            .or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(&field.name)).map(|(_, value)| value));
        cells::store(field, found.unwrap_or(&Json::Null))
    };
    schema.0.iter().map(value).collect()
}

pub(crate) fn at_row(index: usize, error: WarehouseError) -> WarehouseError {
    match error {
        WarehouseError::Invalid(message) => WarehouseError::Invalid(format!("row {}: {message}", index + 1)),
        other => other,
    }
}

impl Catalog for Inner {
    fn table(&self, table: &TableRef, as_of_us: Option<i64>) -> Result<Version> {
        match self.store.table_as_of(table, as_of_us) {
            // BigQuery says so of a query's tables too.
            Err(WarehouseError::NotFound(what)) => {
                self.store.dataset(&table.project, &table.dataset)?;
                Err(WarehouseError::NotFound(what))
            }
            other => other.map(|(_, version)| version),
        }
    }

    fn evaluate(&self, sql: &str, parameters: &[Value]) -> Result<Value> {
        let reader = self.store.reader()?;
        // Unused parameters may be bound: their number must not exceed what the statement has.
        let mut statement = reader.prepare(&format!("SELECT {sql}"))?;
        let count = statement.parameter_count().min(parameters.len());
        Ok(statement.query_row(rusqlite::params_from_iter(&parameters[..count]), |row| row.get(0))?)
    }
}
