//! Datasets, tables and their rows.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{OriginalUri, Path, State},
};
use rusqlite::types::Value;
use serde_json::{Value as Json, json};

use super::bodies::{Answer, QueryString, blocking, json as answer, no_content, page, parse};
use crate::{
    cells::TimestampFormat,
    error::{Result, WarehouseError},
    store::{Appender, CreateDisposition, Entry, TableRef, Version, Write, WriteDisposition, check_id, json_integer},
    types::Schema,
    warehouse::{Inner, row_values},
};

type Warehouse = State<Arc<Inner>>;

fn dataset_json(project: &str, dataset: &str, created_ms: i64, given: Json) -> Json {
    let mut resource = if given.is_object() { given } else { json!({}) };
    for (key, value) in [
        ("kind", json!("bigquery#dataset")),
        ("id", json!(format!("{project}:{dataset}"))),
        ("etag", json!(format!("\"{created_ms}\""))),
        ("selfLink", json!(format!("/bigquery/v2/projects/{project}/datasets/{dataset}"))),
        ("datasetReference", json!({ "projectId": project, "datasetId": dataset })),
        ("creationTime", json!(created_ms.to_string())),
        ("lastModifiedTime", json!(created_ms.to_string())),
    ] {
        resource[key] = value;
    }
    if resource.get("location").is_none() {
        resource["location"] = "US".into();
    }
    resource
}

pub(super) async fn list(
    State(inner): Warehouse,
    Path(project): Path<String>,
    OriginalUri(uri): OriginalUri,
) -> Answer {
    let query = QueryString::of(&uri);
    let found = blocking(&inner, move |inner| {
        let (names, next) = page(inner.store.datasets(&project)?, &query);
        let datasets = names.iter().map(|name| {
            json!({
                "kind": "bigquery#dataset", "id": format!("{project}:{name}"), "location": "US",
                "datasetReference": { "projectId": project, "datasetId": name },
            })
        });
        Ok(json!({ "kind": "bigquery#datasetList", "datasets": datasets.collect::<Vec<_>>(), "nextPageToken": next }))
    });
    Ok(answer(&found.await?))
}

pub(super) async fn create(State(inner): Warehouse, Path(project): Path<String>, body: Bytes) -> Answer {
    let resource = parse(&body)?;
    let made = blocking(&inner, move |inner| {
        let dataset =
            resource.pointer("/datasetReference/datasetId").and_then(Json::as_str).unwrap_or_default().to_owned();
        inner.store.create_dataset(&project, &dataset, &resource)?;
        let (created_ms, resource) = inner.store.dataset(&project, &dataset)?;
        Ok(dataset_json(&project, &dataset, created_ms, resource))
    });
    Ok(answer(&made.await?))
}

pub(super) async fn get(State(inner): Warehouse, Path((project, dataset)): Path<(String, String)>) -> Answer {
    let found = blocking(&inner, move |inner| {
        let (created_ms, resource) = inner.store.dataset(&project, &dataset)?;
        Ok(dataset_json(&project, &dataset, created_ms, resource))
    });
    Ok(answer(&found.await?))
}

pub(super) async fn update(State(inner): Warehouse, Path((project, dataset)): Path<(String, String)>) -> Answer {
    get(State(inner), Path((project, dataset))).await?;
    Err(WarehouseError::NotImplemented("the local warehouse does not change datasets".to_owned()).into())
}

pub(super) async fn delete(
    State(inner): Warehouse,
    Path((project, dataset)): Path<(String, String)>,
    OriginalUri(uri): OriginalUri,
) -> Answer {
    let contents = QueryString::of(&uri).truth("deleteContents");
    blocking(&inner, move |inner| inner.store.delete_dataset(&project, &dataset, contents)).await?;
    Ok(no_content())
}

fn table_json(entry: &Entry, version: &Version) -> Json {
    let table = &entry.reference;
    let mut resource = if entry.resource.is_object() { entry.resource.clone() } else { json!({}) };
    for (key, value) in [
        ("kind", json!("bigquery#table")),
        ("id", json!(table.to_string())),
        ("etag", json!(format!("\"{}\"", version.at_us))),
        (
            "selfLink",
            json!(format!("/bigquery/v2/projects/{}/datasets/{}/tables/{}", table.project, table.dataset, table.table)),
        ),
        ("tableReference", table.to_json()),
        ("type", json!("TABLE")),
        ("location", json!("US")),
        ("schema", version.schema.to_json()),
        ("creationTime", json!(entry.created_ms.to_string())),
        ("lastModifiedTime", json!((version.at_us / 1000).to_string())),
        ("numRows", json!(version.rows.to_string())),
        ("numBytes", json!(version.bytes().to_string())),
        ("numLongTermBytes", json!("0")),
    ] {
        resource[key] = value;
    }
    if let Some(expires) = entry.expires_ms {
        resource["expirationTime"] = expires.to_string().into();
    }
    resource
}

fn reference(project: String, dataset: String, table: String) -> TableRef {
    TableRef { project, dataset, table }
}

pub(super) async fn list_tables(
    State(inner): Warehouse,
    Path((project, dataset)): Path<(String, String)>,
    OriginalUri(uri): OriginalUri,
) -> Answer {
    let query = QueryString::of(&uri);
    let found = blocking(&inner, move |inner| {
        inner.store.dataset(&project, &dataset)?;
        let all = inner.store.tables(&project, &dataset)?;
        let total = all.len();
        let (entries, next) = page(all, &query);
        let tables = entries.iter().map(|entry| {
            json!({
                "kind": "bigquery#table", "id": entry.reference.to_string(), "type": "TABLE",
                "tableReference": entry.reference.to_json(), "creationTime": entry.created_ms.to_string(),
            })
        });
        let tables: Vec<_> = tables.collect();
        Ok(json!({ "kind": "bigquery#tableList", "tables": tables, "totalItems": total, "nextPageToken": next }))
    });
    Ok(answer(&found.await?))
}

pub(super) async fn create_table(
    State(inner): Warehouse,
    Path((project, dataset)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    let mut resource = parse(&body)?;
    let made = blocking(&inner, move |inner| {
        for part in ["view", "materializedView", "externalDataConfiguration", "snapshotDefinition"] {
            if resource.get(part).is_some_and(|part| !part.is_null()) {
                return Err(WarehouseError::NotImplemented(format!("the local warehouse has no tables with {part}")));
            }
        }
        let schema = Schema::from_json(resource.get("schema"))?;
        let id = resource.pointer("/tableReference/tableId").and_then(Json::as_str).unwrap_or_default().to_owned();
        check_id("table", &id)?;
        if let Some(resource) = resource.as_object_mut() {
            resource.remove("schema");
        }
        let table = reference(project, dataset, id);
        inner.store.create_table(&table, &schema, &resource)?;
        let (entry, version) = inner.store.table(&table)?;
        Ok(table_json(&entry, &version))
    });
    Ok(answer(&made.await?))
}

type TablePath = Path<(String, String, String)>;

pub(super) async fn get_table(State(inner): Warehouse, Path((project, dataset, table)): TablePath) -> Answer {
    let found = blocking(&inner, move |inner| {
        let (entry, version) = inner.store.table(&reference(project, dataset, table))?;
        Ok(table_json(&entry, &version))
    });
    Ok(answer(&found.await?))
}

/// Description, labels, expiration: all but the schema.
pub(super) async fn update_table(
    State(inner): Warehouse,
    Path((project, dataset, table)): TablePath,
    body: Bytes,
) -> Answer {
    let given = parse(&body)?;
    let changed = blocking(&inner, move |inner| {
        let table = reference(project, dataset, table);
        let (entry, version) = inner.store.table(&table)?;
        if given.get("schema").is_some() && Schema::from_json(given.get("schema"))? != version.schema {
            return Err(WarehouseError::NotImplemented(
                "the local warehouse does not change schemas; write with WRITE_TRUNCATE".into(),
            ));
        }
        let mut resource = entry.resource;
        for key in ["description", "friendlyName", "labels"] {
            if let Some(value) = given.get(key) {
                resource[key] = value.clone();
            }
        }
        let expires_ms = given.get("expirationTime").map_or(entry.expires_ms, json_integer);
        inner.store.set_table_resource(&table, &resource, expires_ms)?;
        let (entry, version) = inner.store.table(&table)?;
        Ok(table_json(&entry, &version))
    });
    Ok(answer(&changed.await?))
}

pub(super) async fn delete_table(State(inner): Warehouse, Path((project, dataset, table)): TablePath) -> Answer {
    blocking(&inner, move |inner| inner.store.delete_table(&reference(project, dataset, table))).await?;
    Ok(no_content())
}

/// How points in time are wanted, and which rows.
pub(super) struct RowQuery {
    pub(super) timestamps: TimestampFormat,
    pub(super) start: i64,
    pub(super) limit: i64,
}

impl RowQuery {
    pub(super) fn of(query: &QueryString) -> Self {
        let start = query.integer("pageToken").or_else(|| query.integer("startIndex")).unwrap_or_default().max(0);
        let limit = query.integer("maxResults").filter(|limit| *limit >= 0).unwrap_or(100_000);
        let integers = query.truth("formatOptions.useInt64Timestamp");
        Self { timestamps: if integers { TimestampFormat::Int64 } else { TimestampFormat::Float }, start, limit }
    }
}

/// `rows`, and the token of the next page.
pub(super) fn rows_json(
    inner: &Inner,
    version: &Version,
    columns: &[usize],
    query: &RowQuery,
) -> Result<(Vec<Json>, Option<String>)> {
    let rows = inner.page(version, columns, query.start, query.limit, query.timestamps)?;
    let end = query.start + rows.len() as i64;
    Ok((rows, (end < version.rows).then(|| end.to_string())))
}

pub(super) async fn table_data(
    State(inner): Warehouse,
    Path((project, dataset, table)): TablePath,
    OriginalUri(uri): OriginalUri,
) -> Answer {
    let query = QueryString::of(&uri);
    let found = blocking(&inner, move |inner| {
        let (_, version) = inner.store.table(&reference(project, dataset, table))?;
        let columns = match query.text("selectedFields").filter(|fields| !fields.is_empty()) {
            None => (0..version.schema.0.len()).collect(),
            Some(fields) => {
                let index = |name: &str| {
                    version
                        .schema
                        .index_of(name.trim())
                        .ok_or_else(|| WarehouseError::Invalid(format!("No such field: {name}")))
                };
                fields.split(',').map(index).collect::<Result<Vec<_>>>()?
            }
        };
        let (rows, next) = rows_json(inner, &version, &columns, &RowQuery::of(&query))?;
        let mut found = json!({ "kind": "bigquery#tableDataList", "etag": format!("\"{}\"", version.at_us), "totalRows": version.rows.to_string() });
        if !rows.is_empty() {
            found["rows"] = rows.into();
        }
        if let Some(next) = next {
            found["pageToken"] = next.into();
        }
        Ok(found)
    });
    Ok(answer(&found.await?))
}

pub(super) async fn insert_all(
    State(inner): Warehouse,
    Path((project, dataset, table)): TablePath,
    body: Bytes,
) -> Answer {
    let request = parse(&body)?;
    let inserted = blocking(&inner, move |inner| {
        let table = reference(project, dataset, table);
        let (_, version) = inner.store.table(&table)?;
        let truth = |key: &str| request.get(key).and_then(Json::as_bool).unwrap_or_default();
        let rows = request.get("rows").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        let (mut good, mut errors) = (Vec::<Vec<Value>>::new(), Vec::new());
        for (index, row) in rows.iter().enumerate() {
            match row_values(&version.schema, row.get("json").unwrap_or(&Json::Null), truth("ignoreUnknownValues")) {
                Ok(values) => good.push(values),
                Err(error) => errors.push((index, error.to_string())),
            }
        }
        let stopped = !errors.is_empty() && !truth("skipInvalidRows");
        if !stopped && !good.is_empty() {
            let write = Write {
                table,
                disposition: WriteDisposition::Append,
                create: CreateDisposition::Never,
                schema: None,
                expires_ms: None,
            };
            inner.store.write(&write, |transaction, schema, segment| {
                let mut appender = Appender::new(transaction, schema, segment)?;
                good.iter().try_for_each(|row| appender.append(row))
            })?;
        }
        let mut told: Vec<Json> = errors
            .iter()
            .map(|(index, message)| json!({ "index": index, "errors": [{ "reason": "invalid", "location": "", "message": message }] }))
            .collect();
        if stopped {
            let fine = (0..rows.len()).filter(|index| !errors.iter().any(|(bad, _)| bad == index));
            told.extend(fine.map(
                |index| json!({ "index": index, "errors": [{ "reason": "stopped", "location": "", "message": "" }] }),
            ));
        }
        let mut response = json!({ "kind": "bigquery#tableDataInsertAllResponse" });
        if !told.is_empty() {
            response["insertErrors"] = told.into();
        }
        Ok(response)
    });
    Ok(answer(&inserted.await?))
}
