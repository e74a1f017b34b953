//! The port's verbs over Google's clients.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use google_cloud_bigquery::{
    client::Read,
    model::{DataFormat, ReadSession},
};
use google_cloud_bigquery_v2::{
    Error,
    client::{JobService, TableService},
    model::{Job, Table},
};
use google_cloud_gax::error::rpc::Code;
use jiff::Timestamp;
use tokio::sync::OnceCell;
use tracing::{info, warn};
use warehouse::{
    BatchStream, Extract, OpenStreams, ReadStream, StageTable, StagedTable, StreamSession, Warehouse, WarehouseError,
};

use crate::{
    Config, errors,
    job::{JobState, Names, dry_run, query_job, refused_column, state},
    rows::{Decoder, batches, session_schema},
};

/// Jobs of one order that may fail for now, or whose results are gone, before it is given up.
const ATTEMPTS: u32 = 5;
/// Sends of one call.
const SENDS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// One try of a call of the REST API. Inserting a job can take long where many are waiting.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);

/// Sends a call again while it may succeed later. Every call may be sent twice: a job's id is its own.
struct Sending {
    sends: u32,
    pause: Duration,
}

impl Sending {
    /// Waits, where the call is to be sent again.
    async fn failed(&mut self, failure: Call) -> Result<(), WarehouseError> {
        let error = match failure {
            Call::Own(error) => error,
            Call::Google(error) => errors::of_call(&error),
        };
        if self.sends == SENDS || !error.is_transient() {
            return Err(error);
        }
        warn!(reason = error.reason(), %error, sends = self.sends, "the call is sent again");
        self.sends += 1;
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

macro_rules! sent {
    ($call:expr) => {{
        let mut sending = Sending { sends: 1, pause: FIRST_PAUSE };
        loop {
            let outcome: Result<_, Call> = async { $call }.await;
            match outcome {
                Ok(value) => break Ok::<_, WarehouseError>(value),
                Err(failure) => {
                    if let Err(error) = sending.failed(failure).await {
                        break Err(error);
                    }
                }
            }
        }
    }};
}

/// BigQuery.
#[derive(Debug, Clone)]
pub struct BigQuery {
    config: Config,
    clients: Arc<OnceCell<Clients>>,
}

#[derive(Debug)]
struct Clients {
    jobs: JobService,
    tables: TableService,
    read: Read,
}

impl BigQuery {
    /// BigQuery, not asked yet: clients are built at the first call.
    pub fn new(config: Config) -> Self {
        Self { config, clients: Arc::default() }
    }

    async fn clients(&self) -> Result<&Clients, WarehouseError> {
        self.clients.get_or_try_init(|| Clients::build(&self.config)).await
    }

    async fn price(&self, extract: &Extract) -> Result<Option<u64>, WarehouseError> {
        let priced = sent!(Box::pin(self.insert(dry_run(extract))).await)?;
        if let Some(refused) = refused_column(&priced) {
            return Err(refused);
        }
        let bytes = priced.statistics.and_then(|statistics| statistics.total_bytes_processed);
        let bytes = bytes.and_then(|bytes| u64::try_from(bytes).ok());
        match bytes {
            Some(found_bytes) if found_bytes > extract.limits.max_bytes_billed => {
                Err(WarehouseError::OverLimit { found_bytes, limit_bytes: extract.limits.max_bytes_billed })
            }
            bytes => Ok(bytes),
        }
    }

    async fn insert(&self, job: Job) -> Result<Job, Call> {
        let clients = self.clients().await?;
        let insert = clients.jobs.insert_job().set_project_id(&self.config.project).set_job(job);
        // Not the client's own poller, which begins a job that failed again under a random id.
        Ok(Box::pin(insert.send()).await?)
    }

    async fn get(&self, names: &Names) -> Result<Job, Call> {
        let get = self.clients().await?.jobs.get_job().set_project_id(&self.config.project).set_job_id(&names.job);
        let get = match &self.config.location {
            Some(location) => get.set_location(location.clone()),
            None => get,
        };
        Ok(Box::pin(get.send()).await?)
    }

    /// Starts the job, or finds the one that has its id.
    async fn started(&self, extract: &Extract, names: &Names) -> Result<Job, WarehouseError> {
        sent!(match Box::pin(self.insert(query_job(extract, names, &self.config))).await {
            Err(Call::Google(error)) if is_duplicate(&error) => {
                info!(job = names.job, "the job is there already");
                self.get(names).await
            }
            other => other,
        })
    }

    async fn done(&self, extract: &Extract, names: &Names) -> Result<JobState, WarehouseError> {
        let began = Instant::now();
        let longest = Duration::from_secs(u64::from(extract.limits.job_timeout_s) + 60);
        let (mut job, mut pause) = (Box::pin(self.started(extract, names)).await?, FIRST_PAUSE / 5);
        loop {
            let state = state(&job, names, extract);
            if state != JobState::Running {
                return Ok(state);
            }
            if began.elapsed() > longest {
                let (job, waited_s) = (names.job.clone(), began.elapsed().as_secs());
                return Err(WarehouseError::JobTimeout { job, waited_s });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
            job = sent!(self.get(names).await)?;
        }
    }

    /// The table of a result, or nothing where it has expired.
    async fn table(&self, names: &Names) -> Result<Option<Table>, WarehouseError> {
        let tables = &self.clients().await?.tables;
        let get = tables.get_table().set_project_id(&self.config.project).set_dataset_id(&self.config.staging_dataset);
        let get = get.set_table_id(&names.table);
        sent!(match Box::pin(get.clone().send()).await {
            Ok(table) => Ok(Some(table)),
            Err(error) if error.http_status_code() == Some(404) => Ok(None),
            Err(error) => Err(error.into()),
        })
    }
}

impl Clients {
    async fn build(config: &Config) -> Result<Self, WarehouseError> {
        let credentials = config.credentials.build()?;
        let failed = |error: google_cloud_gax::client_builder::Error| WarehouseError::Unavailable(error.to_string());
        let mut jobs = JobService::builder().with_credentials(credentials.clone()).with_attempt_timeout(CALL_TIMEOUT);
        let mut tables =
            TableService::builder().with_credentials(credentials.clone()).with_attempt_timeout(CALL_TIMEOUT);
        let mut read = Read::builder().with_credentials(credentials);
        if let Some(endpoint) = &config.endpoint {
            jobs = jobs.with_endpoint(endpoint);
            tables = tables.with_endpoint(endpoint);
        }
        if let Some(endpoint) = &config.storage_endpoint {
            read = read.with_endpoint(endpoint);
        }
        Ok(Self {
            jobs: jobs.build().await.map_err(failed)?,
            tables: tables.build().await.map_err(failed)?,
            read: read.build().await.map_err(failed)?,
        })
    }
}

/// Why one send of a call failed.
enum Call {
    Google(Error),
    Own(WarehouseError),
}

impl From<Error> for Call {
    fn from(error: Error) -> Self {
        Self::Google(error)
    }
}

impl From<WarehouseError> for Call {
    fn from(error: WarehouseError) -> Self {
        Self::Own(error)
    }
}

fn is_duplicate(error: &Error) -> bool {
    error.http_status_code() == Some(409) || error.status().is_some_and(|status| status.code == Code::AlreadyExists)
}

#[async_trait]
impl StageTable for BigQuery {
    async fn stage_table(&self, extract: &Extract) -> Result<StagedTable, WarehouseError> {
        let priced = Box::pin(self.price(extract)).await?;
        let mut failure = None;
        for attempt in 0..ATTEMPTS {
            let names = Names::of(extract, attempt);
            let bytes_processed = match Box::pin(self.done(extract, &names)).await? {
                JobState::Done { bytes_processed, .. } => bytes_processed.or(priced),
                JobState::Failed(error) => return Err(error),
                JobState::FailedForNow(detail) => {
                    warn!(job = names.job, detail, "the job failed, and is tried under another id");
                    failure = Some(WarehouseError::JobFailed { job: names.job, detail });
                    continue;
                }
                JobState::Running => continue,
            };
            let Some(table) = self.table(&names).await? else {
                info!(job = names.job, "its result is gone, and is made again under another id");
                continue;
            };
            let Config { project, staging_dataset, .. } = &self.config;
            return Ok(StagedTable {
                table: format!("projects/{project}/datasets/{staging_dataset}/tables/{}", names.table),
                job: names.job,
                bytes_processed,
                rows: table.num_rows,
                bytes: table.num_bytes.and_then(|bytes| u64::try_from(bytes).ok()),
            });
        }
        Err(failure.unwrap_or_else(|| WarehouseError::JobFailed {
            job: extract.job.clone(),
            detail: format!(
                "its result expires before it can be read; lengthen the table expiration of the dataset `{}`",
                self.config.staging_dataset
            ),
        }))
    }
}

#[async_trait]
impl OpenStreams for BigQuery {
    async fn open_streams(&self, table: &StagedTable, max_streams: usize) -> Result<StreamSession, WarehouseError> {
        let read = &self.clients().await?.read;
        let session = ReadSession::new().set_table(&table.table).set_data_format(DataFormat::Arrow);
        let create = read.create_read_session().set_parent(format!("projects/{}", self.config.project));
        let create = create.set_read_session(session);
        let create = create.set_max_stream_count(i32::try_from(max_streams).unwrap_or(i32::MAX));
        let session = sent!(Ok(Box::pin(create.clone().send()).await?))?;
        let expires_at = session.expire_time.and_then(|time| Timestamp::new(time.seconds(), time.nanos()).ok());
        Ok(StreamSession {
            schema: session_schema(&session)?,
            streams: session.streams.into_iter().map(|stream| stream.name).collect(),
            name: session.name,
            expires_at,
        })
    }
}

#[async_trait]
impl ReadStream for BigQuery {
    async fn read_stream(&self, stream: &str, schema: SchemaRef, offset: u64) -> Result<BatchStream, WarehouseError> {
        let read = &self.clients().await?.read;
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        let reader = read.read_rows().set_read_stream(stream).set_offset(offset).into_reader();
        Ok(batches(reader, Decoder::new(&schema)?))
    }
}

impl Warehouse for BigQuery {
    fn describe(&self) -> String {
        format!("bigquery:{}", self.config.project)
    }
}
