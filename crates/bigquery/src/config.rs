use cloud::config::{ConfigError, Environment};

use crate::CredentialsSource;

/// The project of a warehouse on this machine.
const LOCAL_PROJECT: &str = "mannen";

fn is_local(endpoint: &str) -> bool {
    endpoint.starts_with("http://")
}

/// Where BigQuery is, and in whose name it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `BIGQUERY_PROJECT`: the project that runs, and pays for, the queries. `mannen` where the endpoint is on this machine.
    pub project: String,
    /// `BIGQUERY_STAGING_DATASET`: where results stand while they are read. Give it a default table expiration of a day.
    pub staging_dataset: String,
    /// `BIGQUERY_LOCATION`: where the jobs run; BigQuery finds out where nothing is said.
    pub location: Option<String>,
    /// `BIGQUERY_ENDPOINT`: the REST API, where it is not Google's.
    pub endpoint: Option<String>,
    /// `BIGQUERY_STORAGE_ENDPOINT`: the Storage Read API, where it is not Google's.
    pub storage_endpoint: Option<String>,
    /// In whose name.
    pub credentials: CredentialsSource,
}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// A variable is missing or invalid.
    pub fn from_environment(environment: &Environment<'_>) -> Result<Self, ConfigError> {
        let endpoint: Option<String> = environment.optional("BIGQUERY_ENDPOINT")?;
        let storage_endpoint = environment.optional("BIGQUERY_STORAGE_ENDPOINT")?;
        Ok(Self {
            project: match &endpoint {
                Some(endpoint) if is_local(endpoint) => environment.or("BIGQUERY_PROJECT", LOCAL_PROJECT.to_owned())?,
                _ => environment.required("BIGQUERY_PROJECT")?,
            },
            staging_dataset: environment.or("BIGQUERY_STAGING_DATASET", "mannen_staging".to_owned())?,
            location: environment.optional("BIGQUERY_LOCATION")?,
            credentials: CredentialsSource::from_environment(environment, [&endpoint, &storage_endpoint])?,
            endpoint,
            storage_endpoint,
        })
    }
}
