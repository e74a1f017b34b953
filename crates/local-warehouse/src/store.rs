//! Datasets, tables and their versions, in one SQLite file.
//!
//! A table's rows lie in a *segment*: an SQLite table that is only ever appended to. A version of a table is a segment and
//! how many of its rows count, so that an older version, and a reader of one, costs nothing and sees none of what is
//! written later. Whoever replaces a table's rows begins a new segment.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params, types::Value};
use serde_json::{Value as Json, json};

use crate::{
    catalog::{
        ENTRY, default_expiration, drop_expired, drop_table, drop_unused_segments, entry, expired, find, fitting,
        insert_table, insert_version, measure, new_segment, newest_version, segment_name,
    },
    error::{Result, WarehouseError},
    functions,
    types::Schema,
};

/// How long replaced rows can be read with `FOR SYSTEM_TIME AS OF`.
pub(crate) const TIME_TRAVEL: Duration = Duration::from_hours(7 * 24);
/// How long another process may hold the file.
const BUSY_TIMEOUT: Duration = Duration::from_mins(2);
/// Idle read-only connections that are kept.
const KEPT_READERS: usize = 8;

const TABLES: &str = "
    PRAGMA page_size = 16384;
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS datasets (
        project TEXT NOT NULL, dataset TEXT NOT NULL, created_ms INTEGER NOT NULL, resource TEXT NOT NULL,
        PRIMARY KEY (project, dataset)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS tables (
        id INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, dataset TEXT NOT NULL, name TEXT NOT NULL,
        created_ms INTEGER NOT NULL, expires_ms INTEGER, resource TEXT NOT NULL, UNIQUE (project, dataset, name));
    CREATE TABLE IF NOT EXISTS segments (id INTEGER PRIMARY KEY AUTOINCREMENT);
    CREATE TABLE IF NOT EXISTS versions (
        table_id INTEGER NOT NULL, at_us INTEGER NOT NULL, schema TEXT NOT NULL, segment INTEGER NOT NULL,
        rows INTEGER NOT NULL, column_bytes TEXT NOT NULL, PRIMARY KEY (table_id, at_us)) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS versions_of_segments ON versions (segment);";

/// `project.dataset.table`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableRef {
    /// The project.
    pub project: String,
    /// The dataset.
    pub dataset: String,
    /// The table.
    pub table: String,
}

impl std::fmt::Display for TableRef {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}.{}", self.project, self.dataset, self.table)
    }
}

impl TableRef {
    pub(crate) fn to_json(&self) -> Json {
        json!({ "projectId": self.project, "datasetId": self.dataset, "tableId": self.table })
    }

    /// Reads a `TableReference`; the project may be absent.
    pub(crate) fn from_json(reference: &Json, project: &str) -> Result<Self> {
        let text = |key: &str| reference.get(key).and_then(Json::as_str).filter(|text| !text.is_empty());
        let required = |key: &str| {
            text(key)
                .map(str::to_owned)
                .ok_or_else(|| WarehouseError::Invalid(format!("Required parameter is missing: {key}")))
        };
        let reference = Self {
            project: text("projectId").unwrap_or(project).to_owned(),
            dataset: required("datasetId")?,
            table: required("tableId")?,
        };
        check_id("dataset", &reference.dataset)?;
        check_id("table", &reference.table)?;
        Ok(reference)
    }
}

/// Letters, digits, `_`; in a table's name `-` and spaces too.
pub(crate) fn check_id(what: &str, id: &str) -> Result<()> {
    let fits = |char: char| char.is_alphanumeric() || char == '_' || (what == "table" && "- ".contains(char));
    if !id.is_empty() && id.len() <= 1024 && id.chars().all(fits) {
        return Ok(());
    }
    Err(WarehouseError::Invalid(format!("Invalid {what} ID \"{id}\"")))
}

/// A table as it was from a time on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    /// Microseconds since 1970, UTC.
    pub(crate) at_us: i64,
    pub(crate) schema: Schema,
    pub(crate) segment: i64,
    /// Rows 1 to this of the segment.
    pub(crate) rows: i64,
    /// By column, in BigQuery's logical sizes.
    pub(crate) column_bytes: Vec<i64>,
}

impl Version {
    pub(crate) fn bytes(&self) -> i64 {
        self.column_bytes.iter().sum()
    }
}

/// A table's entry in the catalog.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: i64,
    pub(crate) reference: TableRef,
    pub(crate) created_ms: i64,
    pub(crate) expires_ms: Option<i64>,
    /// Description, labels and the like, as they were given.
    pub(crate) resource: Json,
}

/// What becomes of rows that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteDisposition {
    /// It is an error.
    Empty,
    /// They stay.
    Append,
    /// They go.
    Truncate,
}

/// Whether a table that is not there is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CreateDisposition {
    IfNeeded,
    Never,
}

/// A write of rows to a table.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) table: TableRef,
    pub(crate) disposition: WriteDisposition,
    pub(crate) create: CreateDisposition,
    /// `None`: the table's own.
    pub(crate) schema: Option<Schema>,
    pub(crate) expires_ms: Option<i64>,
}

#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
}

/// A read-only connection; it goes back when dropped.
pub(crate) struct Reader<'a> {
    store: &'a Store,
    connection: Option<Connection>,
}

impl std::ops::Deref for Reader<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        // It is there until the drop.
        #[allow(clippy::expect_used)]
        self.connection.as_ref().expect("a reader has its connection until it is dropped")
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut readers = self.store.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < KEPT_READERS {
            readers.extend(self.connection.take());
        }
    }
}

pub(crate) fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

impl Store {
    /// Opens or makes `warehouse.sqlite` in `folder`.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join("warehouse.sqlite");
        let writer = Connection::open(&path)?;
        prepare(&writer, 64)?;
        writer.execute_batch(TABLES)?;
        let store = Self { path, writer: Mutex::new(writer), readers: Mutex::default() };
        store.forget_old(TIME_TRAVEL)?;
        Ok(store)
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn reader(&self) -> Result<Reader<'_>> {
        let kept = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match kept {
            Some(connection) => connection,
            None => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let connection = Connection::open_with_flags(&self.path, flags)?;
                prepare(&connection, 8)?;
                connection
            }
        };
        Ok(Reader { store: self, connection: Some(connection) })
    }

    // ---- Datasets ------------------------------------------------------------------------------------------------

    pub(crate) fn create_dataset(&self, project: &str, dataset: &str, resource: &Json) -> Result<()> {
        check_id("dataset", dataset)?;
        let made = self.writer().execute(
            "INSERT OR IGNORE INTO datasets VALUES (?, ?, ?, ?)",
            params![project, dataset, now_ms(), resource.to_string()],
        )?;
        if made == 0 { Err(WarehouseError::Duplicate(format!("Dataset {project}:{dataset}"))) } else { Ok(()) }
    }

    /// When it was made, milliseconds since 1970, and what was given then.
    pub(crate) fn dataset(&self, project: &str, dataset: &str) -> Result<(i64, Json)> {
        let reader = self.reader()?;
        let found = reader
            .query_row(
                "SELECT created_ms, resource FROM datasets WHERE project = ? AND dataset = ?",
                [project, dataset],
                |row| Ok((row.get(0)?, row.get::<_, String>(1)?)),
            )
            .optional()?;
        let (created_ms, resource) =
            found.ok_or_else(|| WarehouseError::NotFound(format!("Dataset {project}:{dataset}")))?;
        Ok((created_ms, serde_json::from_str(&resource).unwrap_or_default()))
    }

    pub(crate) fn datasets(&self, project: &str) -> Result<Vec<String>> {
        let reader = self.reader()?;
        let mut statement = reader.prepare("SELECT dataset FROM datasets WHERE project = ? ORDER BY dataset")?;
        let names = statement.query_map([project], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        Ok(names)
    }

    pub(crate) fn delete_dataset(&self, project: &str, dataset: &str, contents: bool) -> Result<()> {
        self.dataset(project, dataset)?;
        let tables = self.tables(project, dataset)?;
        if !tables.is_empty() && !contents {
            return Err(WarehouseError::InUse(format!("Dataset {project}:{dataset} is still in use")));
        }
        for table in tables {
            self.delete_table(&table.reference)?;
        }
        self.writer().execute("DELETE FROM datasets WHERE project = ? AND dataset = ?", [project, dataset])?;
        Ok(())
    }

    // ---- Tables --------------------------------------------------------------------------------------------------

    pub(crate) fn create_table(&self, table: &TableRef, schema: &Schema, resource: &Json) -> Result<()> {
        self.dataset(&table.project, &table.dataset)?;
        let writer = self.writer();
        let transaction = immediate(&writer)?;
        if find(&transaction, table)?.is_some() {
            return Err(WarehouseError::Duplicate(format!("Table {table}")));
        }
        let expires_ms =
            resource.get("expirationTime").and_then(json_integer).or(default_expiration(&transaction, table)?);
        let id = insert_table(&transaction, table, resource, expires_ms)?;
        let segment = new_segment(&transaction, schema)?;
        let version = Version {
            at_us: now_us(),
            schema: schema.clone(),
            segment,
            rows: 0,
            column_bytes: vec![0; schema.0.len()],
        };
        insert_version(&transaction, id, &version)?;
        transaction.commit()?;
        Ok(())
    }

    pub(crate) fn table(&self, table: &TableRef) -> Result<(Entry, Version)> {
        self.table_as_of(table, None)
    }

    /// The version that was in force at `at_us`, or the newest.
    pub(crate) fn table_as_of(&self, table: &TableRef, at_us: Option<i64>) -> Result<(Entry, Version)> {
        let reader = self.reader()?;
        let missing = || WarehouseError::NotFound(format!("Table {table}"));
        let entry = find(&reader, table)?.ok_or_else(missing)?;
        if let Some(at_us) = at_us {
            let now = now_us();
            if at_us > now {
                return Err(WarehouseError::InvalidQuery(format!(
                    "Invalid snapshot time {at_us} for table {table}: it is in the future"
                )));
            }
            if now - at_us > TIME_TRAVEL.as_micros() as i64 {
                return Err(WarehouseError::InvalidQuery(format!(
                    "Invalid snapshot time {at_us} for table {table}: it is more than 7 days ago"
                )));
            }
        }
        match newest_version(&reader, entry.id, at_us)? {
            Some(version) => Ok((entry, version)),
            None => Err(WarehouseError::InvalidQuery(format!(
                "Invalid snapshot time {} for table {table}: the table was made later",
                at_us.unwrap_or_default()
            ))),
        }
    }

    pub(crate) fn tables(&self, project: &str, dataset: &str) -> Result<Vec<Entry>> {
        let reader = self.reader()?;
        let mut statement = reader.prepare(&format!("{ENTRY} WHERE project = ? AND dataset = ? ORDER BY name"))?;
        let entries = statement.query_map([project, dataset], entry)?.collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(entries.into_iter().filter(|entry| !expired(entry)).collect())
    }

    pub(crate) fn set_table_resource(&self, table: &TableRef, resource: &Json, expires_ms: Option<i64>) -> Result<()> {
        let (entry, _) = self.table(table)?;
        let set = "UPDATE tables SET resource = ?, expires_ms = ? WHERE id = ?";
        self.writer().execute(set, params![resource.to_string(), expires_ms, entry.id])?;
        Ok(())
    }

    pub(crate) fn delete_table(&self, table: &TableRef) -> Result<()> {
        let writer = self.writer();
        let transaction = immediate(&writer)?;
        let entry = find(&transaction, table)?.ok_or_else(|| WarehouseError::NotFound(format!("Table {table}")))?;
        drop_table(&transaction, entry.id)?;
        transaction.commit()?;
        Ok(())
    }

    // ---- Rows ----------------------------------------------------------------------------------------------------

    /// One write: all of it or nothing. `fill` puts rows into the segment that it is given.
    pub(crate) fn write(
        &self,
        write: &Write,
        fill: impl FnOnce(&Transaction<'_>, &Schema, i64) -> Result<()>,
    ) -> Result<Version> {
        let table = &write.table;
        let writer = self.writer();
        let transaction = immediate(&writer)?;
        let found = find(&transaction, table)?;
        if found.is_none() {
            if write.create == CreateDisposition::Never {
                return Err(WarehouseError::NotFound(format!("Table {table}")));
            }
            if !table.dataset.starts_with('_') {
                drop_expired(&transaction, table)?;
                let known: bool = transaction.query_row(
                    "SELECT EXISTS (SELECT 1 FROM datasets WHERE project = ? AND dataset = ?)",
                    [&table.project, &table.dataset],
                    |row| row.get(0),
                )?;
                if !known {
                    return Err(WarehouseError::NotFound(format!("Dataset {}:{}", table.project, table.dataset)));
                }
            }
        }
        let (id, old) = match &found {
            Some(entry) => (entry.id, newest_version(&transaction, entry.id, None)?),
            None => {
                let expires_ms = write.expires_ms.or(default_expiration(&transaction, table)?);
                (insert_table(&transaction, table, &json!({}), expires_ms)?, None)
            }
        };
        if write.disposition == WriteDisposition::Empty && old.as_ref().is_some_and(|old| old.rows > 0) {
            return Err(WarehouseError::Duplicate(format!("Table {table}")));
        }
        let schema = match (&write.schema, &old) {
            (Some(schema), _) if write.disposition == WriteDisposition::Truncate => schema.clone(),
            (Some(schema), Some(old)) if old.schema.0.is_empty() => schema.clone(),
            (Some(schema), Some(old)) => fitting(table, schema, &old.schema)?,
            (Some(schema), None) => schema.clone(),
            (None, Some(old)) => old.schema.clone(),
            (None, None) => return Err(WarehouseError::Invalid(format!("No schema specified for table {table}"))),
        };
        let kept = old.as_ref().filter(|old| write.disposition == WriteDisposition::Append && old.schema == schema);
        let (segment, rows) = match kept {
            Some(old) => (old.segment, old.rows),
            None => (new_segment(&transaction, &schema)?, 0),
        };
        fill(&transaction, &schema, segment)?;
        let mut version = measure(&transaction, &schema, segment, rows)?;
        for (sum, before) in
            version.column_bytes.iter_mut().zip(kept.map(|old| old.column_bytes.as_slice()).unwrap_or_default())
        {
            *sum += before;
        }
        version.at_us = version.at_us.max(old.map_or(0, |old| old.at_us + 1));
        insert_version(&transaction, id, &version)?;
        transaction.commit()?;
        drop(writer);
        if kept_nothing(write) {
            self.forget_old(TIME_TRAVEL)?;
        }
        Ok(version)
    }

    /// Forgets versions that were replaced longer ago than `age`, and rows that no version has.
    pub(crate) fn forget_old(&self, age: Duration) -> Result<()> {
        let writer = self.writer();
        let transaction = immediate(&writer)?;
        let expired: Vec<i64> = transaction
            .prepare("SELECT id FROM tables WHERE expires_ms < ?")?
            .query_map([now_ms()], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for id in expired {
            drop_table(&transaction, id)?;
        }
        transaction.execute(
            "DELETE FROM versions WHERE EXISTS (SELECT 1 FROM versions AS newer
             WHERE newer.table_id = versions.table_id AND newer.at_us > versions.at_us AND newer.at_us < ?)",
            [now_us() - age.as_micros() as i64],
        )?;
        drop_unused_segments(&transaction)?;
        transaction.commit()?;
        Ok(())
    }
}

fn kept_nothing(write: &Write) -> bool {
    write.disposition == WriteDisposition::Truncate
}

pub(crate) fn now_us() -> i64 {
    Timestamp::now().as_microsecond()
}

pub(crate) fn immediate(connection: &Connection) -> Result<Transaction<'_>> {
    Ok(Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?)
}

/// A number, or a number's text, as the REST API has 64-bit integers.
pub(crate) fn json_integer(json: &Json) -> Option<i64> {
    json.as_i64().or_else(|| json.as_str()?.parse().ok())
}

fn prepare(connection: &Connection, cache_mib: i64) -> Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch(&format!(
        "PRAGMA synchronous = NORMAL; PRAGMA cache_size = {}; PRAGMA case_sensitive_like = ON;",
        -1024 * cache_mib
    ))?;
    functions::register(connection)
}

/// Puts rows into a segment, one at a time.
pub(crate) struct Appender<'a> {
    statement: rusqlite::Statement<'a>,
}

impl<'a> Appender<'a> {
    pub(crate) fn new(transaction: &'a Transaction<'_>, schema: &Schema, segment: i64) -> Result<Self> {
        let columns: Vec<_> = (0..schema.0.len()).map(|index| format!("c{index}")).collect();
        let marks = vec!["?"; columns.len()].join(", ");
        let insert = format!("INSERT INTO {} ({}) VALUES ({marks})", segment_name(segment), columns.join(", "));
        Ok(Self { statement: transaction.prepare(&insert)? })
    }

    pub(crate) fn append(&mut self, row: &[Value]) -> Result<()> {
        self.statement.execute(rusqlite::params_from_iter(row))?;
        Ok(())
    }
}
