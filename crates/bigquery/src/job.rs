//! The query as a job, with an id that follows from the order.

use google_cloud_bigquery_v2::model::{
    Job, JobConfiguration, JobConfigurationQuery, JobReference, QueryParameter, QueryParameterType,
    QueryParameterValue, TableFieldSchema, TableReference,
};
use warehouse::{Extract, WarehouseError};

use crate::Config;

/// What an order's jobs and tables are called: the id, and a number behind it where earlier ones cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) job: String,
    pub(crate) table: String,
}

impl Names {
    pub(crate) fn of(extract: &Extract, attempt: u32) -> Self {
        let job = if attempt == 0 { extract.job.clone() } else { format!("{}-{attempt}", extract.job) };
        Self { table: job.replace('-', "_"), job }
    }
}

/// The query, only priced.
pub(crate) fn dry_run(extract: &Extract) -> Job {
    Job::new().set_configuration(configuration(extract, query(extract)).set_dry_run(true))
}

/// The query, with a place for its result.
pub(crate) fn query_job(extract: &Extract, names: &Names, config: &Config) -> Job {
    let destination = TableReference::new()
        .set_project_id(&config.project)
        .set_dataset_id(&config.staging_dataset)
        .set_table_id(&names.table);
    let query = query(extract)
        .set_destination_table(destination)
        .set_create_disposition("CREATE_IF_NEEDED")
        .set_write_disposition("WRITE_TRUNCATE")
        .set_maximum_bytes_billed(extract.limits.max_bytes_billed as i64);
    let mut reference = JobReference::new().set_project_id(&config.project).set_job_id(&names.job);
    if let Some(location) = &config.location {
        reference = reference.set_location(location.clone());
    }
    let timeout_ms = i64::from(extract.limits.job_timeout_s) * 1_000;
    Job::new()
        .set_job_reference(reference)
        .set_configuration(configuration(extract, query).set_job_timeout_ms(timeout_ms))
}

fn configuration(extract: &Extract, query: JobConfigurationQuery) -> JobConfiguration {
    JobConfiguration::new().set_query(query).set_labels(extract.labels.clone())
}

fn query(extract: &Extract) -> JobConfigurationQuery {
    let parameters = extract.bound_parameters();
    let query = JobConfigurationQuery::new().set_query(&extract.sql).set_use_legacy_sql(false);
    if parameters.is_empty() {
        return query;
    }
    let parameters = parameters.into_iter().map(|(name, parameter)| {
        QueryParameter::new()
            .set_name(name)
            .set_parameter_type(QueryParameterType::new().set_type(parameter.of.name()))
            .set_parameter_value(QueryParameterValue::new().set_value(parameter.value))
    });
    query.set_parameter_mode("NAMED").set_query_parameters(parameters)
}

/// The column of the result whose type datasets do not have, told before anything is paid for. The Read API would tell it afterwards.
pub(crate) fn refused_column(priced: &Job) -> Option<WarehouseError> {
    fn has_interval(field: &TableFieldSchema) -> bool {
        field.r#type.eq_ignore_ascii_case("INTERVAL") || field.fields.iter().any(has_interval)
    }
    let schema = priced.statistics.as_ref()?.query.as_ref()?.schema.as_ref()?;
    let field = schema.fields.iter().find(|field| has_interval(field))?;
    let of = match field.r#type.to_ascii_uppercase().as_str() {
        "RECORD" | "STRUCT" => "STRUCT with an INTERVAL".to_owned(),
        _ if field.mode == "REPEATED" => "ARRAY<INTERVAL>".to_owned(),
        other => other.to_owned(),
    };
    Some(WarehouseError::UnsupportedType { column: field.name.clone(), of })
}

/// What a job stands at.
#[derive(Debug, PartialEq)]
pub(crate) enum JobState {
    Running,
    Done {
        bytes_processed: Option<u64>,
        ended_at_ms: i64,
    },
    /// It failed for a reason that another try may not meet.
    FailedForNow(String),
    Failed(WarehouseError),
}

/// Reasons for which the same query may succeed under another id.
const TRANSIENT: [&str; 7] = [
    "backendError",
    "internalError",
    "jobBackendError",
    "jobInternalError",
    "jobRateLimitExceeded",
    "rateLimitExceeded",
    "tableUnavailable",
];

pub(crate) fn state(job: &Job, names: &Names, extract: &Extract) -> JobState {
    let Some(status) = job.status.as_ref().filter(|status| status.state == "DONE") else { return JobState::Running };
    let statistics = job.statistics.as_ref();
    let bytes_processed = statistics.and_then(|statistics| {
        let of_query = statistics.query.as_ref().and_then(|query| query.total_bytes_processed);
        of_query.or(statistics.total_bytes_processed)
    });
    let bytes_processed = bytes_processed.and_then(|bytes| u64::try_from(bytes).ok());
    let Some(error) = &status.error_result else {
        return JobState::Done { bytes_processed, ended_at_ms: statistics.map_or(0, |statistics| statistics.end_time) };
    };
    let failed = |detail: &str| WarehouseError::JobFailed { job: names.job.clone(), detail: detail.to_owned() };
    match error.reason.as_str() {
        reason if TRANSIENT.contains(&reason) => JobState::FailedForNow(error.message.clone()),
        "bytesBilledLimitExceeded" => JobState::Failed(WarehouseError::OverLimit {
            found_bytes: bytes_processed.unwrap_or(0),
            limit_bytes: extract.limits.max_bytes_billed,
        }),
        "invalidQuery" | "invalid" | "notFound" => {
            JobState::Failed(WarehouseError::InvalidQuery(error.message.clone()))
        }
        "accessDenied" => JobState::Failed(WarehouseError::Refused(error.message.clone())),
        // Its limits may be others by now, and somebody may have stopped it by mistake.
        "stopped" | "timeout" => JobState::FailedForNow(error.message.clone()),
        _ => JobState::Failed(failed(&error.message)),
    }
}

#[cfg(test)]
mod tests {
    use google_cloud_bigquery_v2::model::{ErrorProto, JobStatus};
    use warehouse::{Limits, Parameter, ParameterType};

    use super::*;
    use crate::CredentialsSource;

    fn extract() -> Extract {
        let parameter = Parameter { of: ParameterType::Int64, value: "7".to_owned() };
        Extract {
            sql: "SELECT 1 FROM t FOR SYSTEM_TIME AS OF @as_of".to_owned(),
            parameters: [("zone".to_owned(), parameter)].into(),
            as_of: Some("2026-01-31T00:00:00Z".parse().unwrap()),
            job: "ds-abc".to_owned(),
            labels: [("mannen_dataset".to_owned(), "x".to_owned())].into(),
            limits: Limits { max_bytes_billed: 9, ..Limits::default() },
        }
    }

    #[test]
    fn a_job_says_all_that_it_may_and_where_to() {
        let config = Config {
            project: "p".to_owned(),
            staging_dataset: "s".to_owned(),
            location: Some("EU".to_owned()),
            endpoint: None,
            storage_endpoint: None,
            credentials: CredentialsSource::Anonymous,
        };
        let names = Names::of(&extract(), 2);
        assert_eq!((names.job.as_str(), names.table.as_str()), ("ds-abc-2", "ds_abc_2"));
        let job = serde_json::to_value(query_job(&extract(), &names, &config)).unwrap();
        let query = &job["configuration"]["query"];
        assert_eq!(job["jobReference"]["jobId"], "ds-abc-2");
        assert_eq!(job["jobReference"]["location"], "EU");
        assert_eq!(query["maximumBytesBilled"], "9");
        assert_eq!(query["destinationTable"]["tableId"], "ds_abc_2");
        assert_eq!(query["queryParameters"][0]["name"], "as_of");
        assert_eq!(query["queryParameters"][0]["parameterValue"]["value"], "2026-01-31T00:00:00.000000Z");
        assert_eq!(query["queryParameters"][1]["parameterType"]["type"], "INT64");
        let dry = serde_json::to_value(dry_run(&extract())).unwrap();
        assert_eq!(dry["configuration"]["dryRun"], true);
        assert!(dry["configuration"]["query"]["destinationTable"].is_null());
    }

    #[test]
    fn a_failure_is_told_by_what_can_be_done() {
        let of = |reason: &str| {
            let error = ErrorProto::new().set_reason(reason).set_message("words");
            let job = Job::new().set_status(JobStatus::new().set_state("DONE").set_error_result(error));
            state(&job, &Names::of(&extract(), 0), &extract())
        };
        assert_eq!(of("jobBackendError"), JobState::FailedForNow("words".to_owned()));
        assert!(matches!(of("bytesBilledLimitExceeded"), JobState::Failed(WarehouseError::OverLimit { .. })));
        assert!(matches!(of("invalidQuery"), JobState::Failed(WarehouseError::InvalidQuery(_))));
        assert!(matches!(of("responseTooLarge"), JobState::Failed(WarehouseError::JobFailed { .. })));
        let running = Job::new().set_status(JobStatus::new().set_state("RUNNING"));
        assert_eq!(state(&running, &Names::of(&extract(), 0), &extract()), JobState::Running);
    }
}
