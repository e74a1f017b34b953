//! Query jobs: a SELECT into a destination table.

use serde_json::{Value as Json, json};

use crate::{
    catalog::segment_name,
    error::{Result, WarehouseError},
    jobs::Job,
    sql::{self, Parameters, Setting, Translation},
    store::{CreateDisposition, TableRef, Write, WriteDisposition, json_integer, now_ms, now_us},
    warehouse::Inner,
};

/// Where the results of queries without a destination go.
pub(crate) const ANONYMOUS_DATASET: &str = "_anonymous";
/// How long they stay. BigQuery: about a day.
const ANONYMOUS_LIFETIME_MS: i64 = 24 * 3_600_000;
/// BigQuery bills at least so much for each table.
const LEAST_BILLED: i64 = 10 << 20;

/// What BigQuery would bill: whole mebibytes, at least ten for each table.
pub(crate) fn bytes_billed(translation: &Translation) -> i64 {
    let mebibytes = (translation.bytes() + (1 << 20) - 1) >> 20;
    (mebibytes << 20).max(LEAST_BILLED * translation.reads.len() as i64)
}

/// Names a table of its own for a query that names none.
pub(crate) fn set_destination(project: &str, id: &str, query: &mut Json) {
    if query.get("destinationTable").is_none_or(Json::is_null) {
        let table = TableRef {
            project: project.to_owned(),
            dataset: ANONYMOUS_DATASET.to_owned(),
            table: format!("anon{}", id.replace('-', "_")),
        };
        query["destinationTable"] = table.to_json();
        query["writeDisposition"] = "WRITE_TRUNCATE".into();
    }
}

/// `JobStatistics` of a query.
pub(crate) fn statistics(translation: &Translation, bytes: i64, billed: i64) -> Json {
    let mut tables: Vec<_> = translation.reads.iter().map(|read| read.table.clone()).collect();
    tables.sort();
    tables.dedup();
    json!({
        "totalBytesProcessed": bytes.to_string(),
        "query": {
            "statementType": "SELECT",
            "cacheHit": false,
            "totalBytesProcessed": bytes.to_string(),
            "totalBytesBilled": billed.to_string(),
            "totalBytesProcessedAccuracy": "PRECISE",
            "billingTier": 1,
            "totalSlotMs": "1",
            "referencedTables": tables.iter().map(TableRef::to_json).collect::<Vec<_>>(),
            "schema": translation.schema.to_json(),
        },
    })
}

pub(crate) fn write_disposition(json: &Json, default: WriteDisposition) -> Result<WriteDisposition> {
    match json.get("writeDisposition").and_then(Json::as_str) {
        None | Some("") => Ok(default),
        Some("WRITE_EMPTY") => Ok(WriteDisposition::Empty),
        Some("WRITE_APPEND") => Ok(WriteDisposition::Append),
        Some("WRITE_TRUNCATE") => Ok(WriteDisposition::Truncate),
        Some(other) => Err(WarehouseError::Invalid(format!("Invalid value for writeDisposition: {other}"))),
    }
}

pub(crate) fn create_disposition(json: &Json) -> CreateDisposition {
    match json.get("createDisposition").and_then(Json::as_str) {
        Some("CREATE_NEVER") => CreateDisposition::Never,
        _ => CreateDisposition::IfNeeded,
    }
}

impl Inner {
    /// A query's configuration in SQLite's SQL.
    pub(crate) fn translate(&self, project: &str, query: &Json) -> Result<Translation> {
        if query.get("useLegacySql").and_then(Json::as_bool) == Some(true) {
            return Err(WarehouseError::InvalidQuery(
                "The local warehouse does not support legacy SQL; set useLegacySql to false".to_owned(),
            ));
        }
        let text = query.get("query").and_then(Json::as_str).unwrap_or_default();
        let parameters = Parameters::from_json(query.get("queryParameters"))?;
        let default = query.get("defaultDataset").and_then(|default| {
            let dataset = default.get("datasetId")?.as_str()?.to_owned();
            Some((default.get("projectId").and_then(Json::as_str).unwrap_or(project).to_owned(), dataset))
        });
        let setting = Setting { project, default_dataset: default, parameters: &parameters, now_us: now_us() };
        sql::translate(text, self, &setting)
    }

    /// Runs a query job; gives its statistics.
    pub(crate) fn run_query_job(&self, job: &Job, configuration: &Json) -> Result<Json> {
        let query = &configuration["query"];
        let translation = self.translate(&job.project, query)?;
        let billed = bytes_billed(&translation);
        if let Some(limit) =
            query.get("maximumBytesBilled").and_then(json_integer).filter(|limit| *limit > 0 && *limit < billed)
        {
            return Err(WarehouseError::BytesBilledLimit { limit, needed: billed });
        }
        let destination = TableRef::from_json(&query["destinationTable"], &job.project)?;
        let anonymous = destination.dataset == ANONYMOUS_DATASET;
        let write = Write {
            table: destination,
            disposition: write_disposition(query, WriteDisposition::Empty)?,
            create: create_disposition(query),
            schema: Some(translation.schema.clone()),
            expires_ms: anonymous.then(|| now_ms() + ANONYMOUS_LIFETIME_MS),
        };
        self.store.write(&write, |transaction, schema, segment| {
            let columns: Vec<_> = (0..schema.0.len()).map(|index| format!("c{index}")).collect();
            let insert = format!("INSERT INTO {} ({}) {}", segment_name(segment), columns.join(", "), translation.sql);
            job.interruptible(transaction.get_interrupt_handle(), || {
                transaction.execute(&insert, rusqlite::params_from_iter(&translation.parameters))?;
                Ok(())
            })
        })?;
        Ok(statistics(&translation, translation.bytes(), billed))
    }
}
