//! Jobs and their results.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::{OriginalUri, Path, State},
};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::{
    bodies::{Answer, QueryString, blocking, json as answer, parse},
    datasets::{RowQuery, rows_json},
};
use crate::{
    cells::TimestampFormat,
    error::{Result, WarehouseError},
    jobs::failure,
    store::{TableRef, json_integer},
    warehouse::Inner,
};

type Warehouse = State<Arc<Inner>>;

/// How long a request waits for a query. BigQuery: 10 s.
const PATIENCE_MS: i64 = 10_000;

pub(super) async fn insert(State(inner): Warehouse, Path(project): Path<String>, body: Bytes) -> Answer {
    let request = parse(&body)?;
    if request.pointer("/configuration/load").is_some() {
        let what = "load jobs from Cloud Storage are not supported by the local warehouse; upload the file";
        return Err(WarehouseError::NotImplemented(what.to_owned()).into());
    }
    Ok(answer(&blocking(&inner, move |inner| inner.insert_job(&project, &request, None)).await?))
}

pub(super) async fn get(State(inner): Warehouse, Path((project, job)): Path<(String, String)>) -> Answer {
    Ok(answer(&blocking(&inner, move |inner| inner.job(&project, &job)).await?))
}

pub(super) async fn cancel(State(inner): Warehouse, Path((project, job)): Path<(String, String)>) -> Answer {
    Ok(answer(&blocking(&inner, move |inner| inner.cancel(&project, &job)).await?))
}

pub(super) async fn list(
    State(inner): Warehouse,
    Path(project): Path<String>,
    OriginalUri(uri): OriginalUri,
) -> Answer {
    let query = QueryString::of(&uri);
    let found = blocking(&inner, move |inner| {
        let start = query.integer("pageToken").unwrap_or_default().max(0);
        let limit = query.integer("maxResults").filter(|limit| *limit > 0).unwrap_or(1_000);
        let mut jobs = inner.control.jobs(&project, limit, start)?;
        let full = jobs.len() as i64 == limit;
        for job in &mut jobs {
            job["state"] = job["status"]["state"].clone();
            if let Some(error) = job.pointer("/status/errorResult").cloned() {
                job["errorResult"] = error;
            }
        }
        let next = full.then(|| (start + limit).to_string());
        Ok(json!({ "kind": "bigquery#jobList", "jobs": jobs, "nextPageToken": next }))
    });
    Ok(answer(&found.await?))
}

/// `jobs.query`: a query that is waited for a while.
pub(super) async fn query(State(inner): Warehouse, Path(project): Path<String>, body: Bytes) -> Answer {
    let request = parse(&body)?;
    let mut query = json!({});
    for key in [
        "query",
        "queryParameters",
        "parameterMode",
        "defaultDataset",
        "useLegacySql",
        "maximumBytesBilled",
        "destinationTable",
        "writeDisposition",
    ] {
        if let Some(value) = request.get(key) {
            query[key] = value.clone();
        }
    }
    // The first version of the API: legacy SQL where nothing is said.
    if query.get("useLegacySql").is_none() {
        query["useLegacySql"] = true.into();
    }
    let mut configuration = json!({ "query": query });
    for key in ["dryRun", "labels", "jobTimeoutMs"] {
        if let Some(value) = request.get(key) {
            configuration[key] = value.clone();
        }
    }
    let mut job = json!({ "configuration": configuration });
    // A request that is sent again is the same job.
    if let Some(id) = request.get("requestId").and_then(Json::as_str).filter(|id| !id.is_empty()) {
        job["jobReference"] = json!({ "jobId": format!("request_{}", hex::encode(Sha256::digest(id))) });
    }
    let (owner, posted) = (project.clone(), job.clone());
    let inserted = blocking(&inner, move |inner| match inner.insert_job(&owner, &posted, None) {
        Err(WarehouseError::Duplicate(_)) => {
            inner.job(&owner, posted["jobReference"]["jobId"].as_str().unwrap_or_default())
        }
        other => other,
    });
    let inserted = inserted.await?;
    let Some(id) = inserted.pointer("/jobReference/jobId").and_then(Json::as_str).map(str::to_owned) else {
        let statistics = &inserted["statistics"];
        return Ok(answer(&json!({
            "kind": "bigquery#queryResponse", "jobComplete": true, "jobReference": inserted["jobReference"],
            "schema": statistics["query"]["schema"], "totalBytesProcessed": statistics["totalBytesProcessed"],
            "cacheHit": false,
        })));
    };
    let integers = request.pointer("/formatOptions/useInt64Timestamp").and_then(Json::as_bool).unwrap_or_default();
    let rows = RowQuery {
        timestamps: if integers { TimestampFormat::Int64 } else { TimestampFormat::Float },
        start: 0,
        limit: request.get("maxResults").and_then(json_integer).filter(|limit| *limit >= 0).unwrap_or(100_000),
    };
    let patience = request.get("timeoutMs").and_then(json_integer).unwrap_or(PATIENCE_MS);
    let mut found = answer_of(&inner, project, id, patience, rows).await?;
    found["kind"] = "bigquery#queryResponse".into();
    Ok(answer(&found))
}

/// `jobs.getQueryResults`.
pub(super) async fn results(
    State(inner): Warehouse,
    Path((project, job)): Path<(String, String)>,
    OriginalUri(uri): OriginalUri,
) -> Answer {
    let query = QueryString::of(&uri);
    let patience = query.integer("timeoutMs").unwrap_or(PATIENCE_MS);
    Ok(answer(&answer_of(&inner, project, job, patience, RowQuery::of(&query)).await?))
}

async fn answer_of(
    inner: &Arc<Inner>,
    project: String,
    job: String,
    patience_ms: i64,
    rows: RowQuery,
) -> std::result::Result<Json, super::bodies::Failure> {
    let patience = Duration::from_millis(patience_ms.clamp(0, 200_000) as u64);
    let resource = inner.wait(&project, &job, patience).await?;
    if resource["status"]["state"] != "DONE" {
        return Ok(
            json!({ "kind": "bigquery#getQueryResultsResponse", "jobReference": resource["jobReference"], "jobComplete": false }),
        );
    }
    if let Some(error) = failure(&resource) {
        return Err(error.into());
    }
    blocking(inner, move |inner| finished(inner, &project, &resource, &rows)).await
}

fn finished(inner: &Inner, project: &str, resource: &Json, rows: &RowQuery) -> Result<Json> {
    let Some(query) = resource.pointer("/configuration/query") else {
        return Err(WarehouseError::Invalid("Cannot get the results of a job that is no query".to_owned()));
    };
    let table = TableRef::from_json(&query["destinationTable"], project)?;
    let (_, version) = inner.store.table(&table)?;
    let columns: Vec<_> = (0..version.schema.0.len()).collect();
    let (found, next) = rows_json(inner, &version, &columns, rows)?;
    let mut answer = json!({
        "kind": "bigquery#getQueryResultsResponse",
        "etag": format!("\"{}\"", version.at_us),
        "jobReference": resource["jobReference"],
        "jobComplete": true,
        "cacheHit": false,
        "schema": version.schema.to_json(),
        "totalRows": version.rows.to_string(),
        "totalBytesProcessed": resource["statistics"]["totalBytesProcessed"],
    });
    // As BigQuery does: no member where there is no row.
    if !found.is_empty() {
        answer["rows"] = found.into();
    }
    if let Some(next) = next {
        answer["pageToken"] = next.into();
    }
    Ok(answer)
}
