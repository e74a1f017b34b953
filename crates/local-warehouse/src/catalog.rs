//! The catalog's tables in SQLite, within a connection or a transaction.

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value as Json, json};

use crate::{
    error::{Result, WarehouseError},
    store::{Entry, TableRef, Version, json_integer, now_ms, now_us},
    types::{Field, Kind, Schema},
};

pub(crate) const ENTRY: &str = "SELECT id, project, dataset, name, created_ms, expires_ms, resource FROM tables";

pub(crate) fn entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    let resource: String = row.get(6)?;
    Ok(Entry {
        id: row.get(0)?,
        reference: TableRef { project: row.get(1)?, dataset: row.get(2)?, table: row.get(3)? },
        created_ms: row.get(4)?,
        expires_ms: row.get(5)?,
        resource: serde_json::from_str(&resource).unwrap_or_default(),
    })
}

pub(crate) fn expired(entry: &Entry) -> bool {
    entry.expires_ms.is_some_and(|expires| expires < now_ms())
}

pub(crate) fn find(connection: &Connection, table: &TableRef) -> Result<Option<Entry>> {
    let mut statement = connection.prepare(&format!("{ENTRY} WHERE project = ? AND dataset = ? AND name = ?"))?;
    let found = statement.query_row([&table.project, &table.dataset, &table.table], entry).optional()?;
    Ok(found.filter(|entry| !expired(entry)))
}

pub(crate) fn insert_table(
    connection: &Connection,
    table: &TableRef,
    resource: &Json,
    expires_ms: Option<i64>,
) -> Result<i64> {
    drop_expired(connection, table)?;
    connection.execute(
        "INSERT INTO tables (project, dataset, name, created_ms, expires_ms, resource) VALUES (?, ?, ?, ?, ?, ?)",
        params![table.project, table.dataset, table.table, now_ms(), expires_ms, resource.to_string()],
    )?;
    Ok(connection.last_insert_rowid())
}

/// When a table that is made now expires, where its dataset says so.
pub(crate) fn default_expiration(connection: &Connection, table: &TableRef) -> Result<Option<i64>> {
    let find = "SELECT resource FROM datasets WHERE project = ? AND dataset = ?";
    let resource: Option<String> =
        connection.query_row(find, [&table.project, &table.dataset], |row| row.get(0)).optional()?;
    let resource: Json = serde_json::from_str(&resource.unwrap_or_default()).unwrap_or_default();
    Ok(resource.get("defaultTableExpirationMs").and_then(json_integer).map(|lifetime| now_ms() + lifetime))
}

/// A table whose time has come makes room for one of its name.
pub(crate) fn drop_expired(connection: &Connection, table: &TableRef) -> Result<()> {
    let find = "SELECT id FROM tables WHERE project = ? AND dataset = ? AND name = ? AND expires_ms < ?";
    let found: Option<i64> = connection
        .query_row(find, params![table.project, table.dataset, table.table, now_ms()], |row| row.get(0))
        .optional()?;
    found.map_or(Ok(()), |id| drop_table(connection, id))
}

pub(crate) fn drop_table(connection: &Connection, id: i64) -> Result<()> {
    connection.execute("DELETE FROM versions WHERE table_id = ?", [id])?;
    connection.execute("DELETE FROM tables WHERE id = ?", [id])?;
    drop_unused_segments(connection)
}

pub(crate) fn drop_unused_segments(connection: &Connection) -> Result<()> {
    let unused: Vec<i64> = connection
        .prepare("SELECT id FROM segments WHERE id NOT IN (SELECT segment FROM versions)")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for segment in unused {
        connection.execute_batch(&format!("DROP TABLE IF EXISTS {}", segment_name(segment)))?;
        connection.execute("DELETE FROM segments WHERE id = ?", [segment])?;
    }
    Ok(())
}

pub(crate) fn new_segment(connection: &Connection, schema: &Schema) -> Result<i64> {
    connection.execute("INSERT INTO segments DEFAULT VALUES", [])?;
    let segment = connection.last_insert_rowid();
    let mut columns = vec!["seq INTEGER PRIMARY KEY".to_owned()];
    for (index, field) in schema.0.iter().enumerate() {
        columns.push(format!("c{index} {}", field.kind.sqlite_column(field.repeated())));
    }
    connection.execute_batch(&format!("CREATE TABLE {} ({})", segment_name(segment), columns.join(", ")))?;
    Ok(segment)
}

/// The SQLite table of a segment: `seq`, then `c0`, `c1`, … in the schema's order.
pub(crate) fn segment_name(segment: i64) -> String {
    format!("segment_{segment}")
}

pub(crate) fn insert_version(connection: &Connection, table: i64, version: &Version) -> Result<()> {
    connection.execute(
        "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?)",
        params![
            table,
            version.at_us,
            version.schema.to_json().to_string(),
            version.segment,
            version.rows,
            json!(version.column_bytes).to_string()
        ],
    )?;
    Ok(())
}

pub(crate) fn newest_version(connection: &Connection, table: i64, at_us: Option<i64>) -> Result<Option<Version>> {
    let mut statement = connection.prepare(
        "SELECT at_us, schema, segment, rows, column_bytes FROM versions
         WHERE table_id = ? AND at_us <= ? ORDER BY at_us DESC LIMIT 1",
    )?;
    let found = statement
        .query_row(params![table, at_us.unwrap_or(i64::MAX)], |row| {
            Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?, row.get(3)?, row.get::<_, String>(4)?))
        })
        .optional()?;
    let Some((at_us, schema, segment, rows, column_bytes)) = found else { return Ok(None) };
    let schema: Json = serde_json::from_str(&schema).map_err(WarehouseError::internal)?;
    let column_bytes = serde_json::from_str(&column_bytes).map_err(WarehouseError::internal)?;
    Ok(Some(Version { at_us, schema: Schema::from_json(Some(&schema))?, segment, rows, column_bytes }))
}

/// The rows and bytes of a segment after `before` rows that are known.
/// Sizes: <https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#data_type_sizes>
pub(crate) fn measure(connection: &Connection, schema: &Schema, segment: i64, before: i64) -> Result<Version> {
    let mut sums = vec![format!("COALESCE(MAX(seq), {before})")];
    for (index, field) in schema.0.iter().enumerate() {
        let fixed = match (&field.kind, field.repeated()) {
            (_, true) | (Kind::Struct(_), _) => 0,
            (Kind::Bool, _) => 1,
            (Kind::Numeric | Kind::Interval | Kind::Range(_), _) => 16,
            (Kind::BigNumeric, _) => 32,
            (Kind::String | Kind::Bytes | Kind::Json | Kind::Geography, _) => 2,
            _ => 8,
        };
        let by_length = field.kind.sqlite_column(field.repeated()) == "BLOB"
            || matches!(field.kind, Kind::String | Kind::Json | Kind::Geography | Kind::Struct(_))
            || field.repeated();
        let length = if by_length { format!(" + COALESCE(SUM(octet_length(c{index})), 0)") } else { String::new() };
        sums.push(format!("COUNT(c{index}) * {fixed}{length}"));
    }
    let query = format!("SELECT {} FROM {} WHERE seq > {before}", sums.join(", "), segment_name(segment));
    let (rows, column_bytes) = connection.query_row(&query, [], |row| {
        let bytes = (1..=schema.0.len()).map(|index| row.get(index)).collect::<rusqlite::Result<Vec<i64>>>()?;
        Ok((row.get(0)?, bytes))
    })?;
    Ok(Version { at_us: now_us(), schema: schema.clone(), segment, rows, column_bytes })
}

/// The table's own schema where rows of `given` can be appended to it.
pub(crate) fn fitting(table: &TableRef, given: &Schema, own: &Schema) -> Result<Schema> {
    let same = |left: &Field, right: &Field| {
        left.name.eq_ignore_ascii_case(&right.name) && left.kind == right.kind && left.repeated() == right.repeated()
    };
    if given.0.len() == own.0.len() && given.0.iter().zip(&own.0).all(|(left, right)| same(left, right)) {
        return Ok(own.clone());
    }
    let odd = given.0.iter().zip(&own.0).find(|(left, right)| !same(left, right));
    let what = odd.map_or_else(
        || format!("it has {} fields, the table {}", given.0.len(), own.0.len()),
        |(left, right)| {
            format!(
                "field {} {} stands where the table has {} {}",
                left.name,
                left.kind.name(),
                right.name,
                right.kind.name()
            )
        },
    );
    Err(WarehouseError::Invalid(format!("Provided Schema does not match Table {table}: {what}")))
}
