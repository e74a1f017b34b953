//! Jobs and read sessions, in an SQLite file of their own: they can be asked after while a query holds the other.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value as Json;

use crate::error::{Result, WarehouseError};

const TABLES: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS jobs (
        project TEXT NOT NULL, id TEXT NOT NULL, created_ms INTEGER NOT NULL, done INTEGER NOT NULL, resource TEXT NOT NULL,
        PRIMARY KEY (project, id)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS sessions (name TEXT PRIMARY KEY, expires_ms INTEGER NOT NULL, session TEXT NOT NULL) WITHOUT ROWID;";

#[derive(Debug)]
pub(crate) struct Control(Mutex<Connection>);

impl Control {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let connection = Connection::open(folder.join("control.sqlite"))?;
        connection.busy_timeout(Duration::from_secs(30))?;
        connection.execute_batch(TABLES)?;
        Ok(Self(Mutex::new(connection)))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new job; one of the same id is a duplicate.
    pub(crate) fn insert_job(&self, project: &str, id: &str, created_ms: i64, resource: &Json) -> Result<()> {
        let made = self.connection().execute(
            "INSERT OR IGNORE INTO jobs VALUES (?, ?, ?, FALSE, ?)",
            params![project, id, created_ms, resource.to_string()],
        )?;
        if made == 0 { Err(WarehouseError::Duplicate(format!("Job {project}:US.{id}"))) } else { Ok(()) }
    }

    pub(crate) fn set_job(&self, project: &str, id: &str, done: bool, resource: &Json) -> Result<()> {
        self.connection().execute(
            "UPDATE jobs SET done = ?, resource = ? WHERE project = ? AND id = ?",
            params![done, resource.to_string(), project, id],
        )?;
        Ok(())
    }

    pub(crate) fn job(&self, project: &str, id: &str) -> Result<Json> {
        let connection = self.connection();
        let found: Option<String> = connection
            .query_row("SELECT resource FROM jobs WHERE project = ? AND id = ?", [project, id], |row| row.get(0))
            .optional()?;
        let found = found.ok_or_else(|| WarehouseError::NotFound(format!("Job {project}:US.{id}")))?;
        serde_json::from_str(&found).map_err(WarehouseError::internal)
    }

    /// The newest jobs first.
    pub(crate) fn jobs(&self, project: &str, limit: i64, offset: i64) -> Result<Vec<Json>> {
        self.resources(
            "SELECT resource FROM jobs WHERE project = ? ORDER BY created_ms DESC, id LIMIT ? OFFSET ?",
            params![project, limit, offset],
        )
    }

    pub(crate) fn unfinished_jobs(&self) -> Result<Vec<Json>> {
        self.resources("SELECT resource FROM jobs WHERE NOT done", [])
    }

    fn resources(&self, query: &str, parameters: impl rusqlite::Params) -> Result<Vec<Json>> {
        let connection = self.connection();
        let mut statement = connection.prepare(query)?;
        let texts = statement.query_map(parameters, |row| row.get::<_, String>(0))?;
        let texts = texts.collect::<rusqlite::Result<Vec<_>>>()?;
        texts.iter().map(|text| serde_json::from_str(text).map_err(WarehouseError::internal)).collect()
    }

    pub(crate) fn insert_session(&self, name: &str, expires_ms: i64, now_ms: i64, session: &Json) -> Result<()> {
        let connection = self.connection();
        connection.execute("DELETE FROM sessions WHERE expires_ms < ?", [now_ms])?;
        connection.execute("INSERT INTO sessions VALUES (?, ?, ?)", params![name, expires_ms, session.to_string()])?;
        Ok(())
    }

    /// A session that has not expired.
    pub(crate) fn session(&self, name: &str, now_ms: i64) -> Result<Option<Json>> {
        let connection = self.connection();
        let found: Option<String> = connection
            .query_row(
                "SELECT session FROM sessions WHERE name = ? AND expires_ms >= ?",
                params![name, now_ms],
                |row| row.get(0),
            )
            .optional()?;
        found.map(|text| serde_json::from_str(&text).map_err(WarehouseError::internal)).transpose()
    }
}
