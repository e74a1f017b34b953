//! Every event to what it asks for.

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use cloud::config::ConfigError;
use datasets::{
    DatasetStore, Definition, Order, Plan, Planned, Publishing, Reading, Working, already, extract, finish, plan,
    read_plan, read_streams,
};
use domain::ModelName;
use jiff::Timestamp;
use lambda_runtime::tracing::info;
use serde_json::{Value, json};
use warehouse::Warehouse;

use crate::{
    Config, ExtractorError,
    definition::read_definition,
    event::{OneJob, PlanAnswer, SomeStreams, Trigger, Whole, Worker, parse_event},
    files::{Files, find_files},
};

/// Time that is kept to put what was read, and to answer.
const LAST: Duration = Duration::from_secs(30);
/// Streams read at once by one process, at most: more than processors, since they wait for the warehouse.
const STREAMS_AT_ONCE: usize = 4;

/// Handles one event.
///
/// # Errors
/// The event is unknown, or its step failed: Lambda or the state machine then repeats it, which is safe.
pub async fn handle<S: DatasetStore + Clone + 'static>(
    lake: &S,
    warehouse: Result<&dyn Warehouse, &ConfigError>,
    config: &Config,
    event: &Value,
    now: Timestamp,
    deadline: Option<Instant>,
) -> Result<Value, ExtractorError> {
    let deadline = deadline.map(|deadline| deadline.checked_sub(LAST).unwrap_or(deadline));
    let working = working(config, now, deadline);
    match parse_event(event)? {
        Trigger::Extract(whole) => {
            let order = order(lake, &whole, now).await?;
            let source = Source::of(lake, warehouse, &order.definition)?;
            let extracted = extract(lake, source.warehouse(), &order, working, &|_| {}).await?;
            info!(address = extracted.published.address, rows = extracted.published.rows, "extracted");
            Ok(json!(extracted.published))
        }
        Trigger::Plan(whole) => {
            let order = order(lake, &whole, now).await?;
            let (dataset, job) = (whole.dataset, order.job());
            let source = Source::of(lake, warehouse, &order.definition)?;
            let (streams, published) = match plan(lake, source.warehouse(), &order, config.max_streams).await? {
                Planned::Published(address) => (0, Some(address)),
                Planned::UnderWay(plan) => (plan.session.streams.len(), None),
            };
            let streams: Vec<usize> = (0..streams).collect();
            let workers =
                streams.chunks(config.streams_per_worker.max(1)).map(|streams| Worker { streams: streams.to_vec() });
            Ok(json!(PlanAnswer { dataset, job, workers: workers.collect(), published }))
        }
        Trigger::Streams(SomeStreams { dataset, job, streams }) => {
            let Some(plan) = under_way(lake, &dataset, &job).await? else { return Ok(json!({"unfinished": 0})) };
            let source = Source::of(lake, warehouse, &plan.definition)?;
            let summary = read_streams(lake, source.warehouse(), &plan, &streams, working.reading, &|_| {}).await?;
            Ok(json!(summary))
        }
        Trigger::Publish(OneJob { dataset, job }) => match under_way(lake, &dataset, &job).await? {
            Some(plan) => Ok(json!(finish(lake, &plan, working, &|_| {}).await?)),
            None => {
                let address = datasets::version_of_job(lake, &dataset, &job).await?;
                Ok(json!(already(lake, &dataset, &address).await?))
            }
        },
    }
}

async fn order<S: DatasetStore>(lake: &S, whole: &Whole, now: Timestamp) -> Result<Order, ExtractorError> {
    let mut definition = read_definition(lake, &whole.dataset).await?;
    if definition.file_keys.is_empty() {
        let as_of = whole.as_of.unwrap_or_else(|| beginning_of_hour(now));
        return Ok(Order { definition, as_of: Some(as_of), now });
    }
    // Files are what they are, whenever they are read.
    definition.files = find_files(lake, &definition.file_keys).await?;
    Ok(Order { definition, as_of: None, now })
}

/// Where the rows of a definition come from.
enum Source<'a> {
    Warehouse(&'a dyn Warehouse),
    Files(Files),
}

impl<'a> Source<'a> {
    fn of<S: DatasetStore + Clone + 'static>(
        lake: &S,
        warehouse: Result<&'a dyn Warehouse, &ConfigError>,
        definition: &Definition,
    ) -> Result<Self, ExtractorError> {
        if definition.files.is_empty() {
            return Ok(Self::Warehouse(warehouse.map_err(Clone::clone)?));
        }
        Ok(Self::Files(Files::of_lake(lake, &definition.files, definition.columns.clone())))
    }

    fn warehouse(&self) -> &dyn Warehouse {
        match self {
            Self::Warehouse(warehouse) => *warehouse,
            Self::Files(files) => files,
        }
    }
}

fn beginning_of_hour(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second().div_euclid(3_600) * 3_600).unwrap_or(now)
}

async fn under_way<S: DatasetStore>(lake: &S, dataset: &ModelName, job: &str) -> Result<Option<Plan>, ExtractorError> {
    Ok(read_plan(lake, dataset, job).await?)
}

/// How much is done at once: a quarter of the memory for chunks, the rest for files and what lies between.
pub fn working(config: &Config, now: Timestamp, deadline: Option<Instant>) -> Working<'_> {
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let chunk_bytes = (config.memory_mb << 20) / 8 / STREAMS_AT_ONCE;
    Working {
        max_streams: config.max_streams,
        reading: Reading { concurrency: STREAMS_AT_ONCE, chunk_bytes: chunk_bytes.clamp(4 << 20, 64 << 20), deadline },
        parts_at_once: processors.min(1 + config.memory_mb / 512),
        publishing: Publishing { bucket: &config.lake_bucket, promote: true, now },
    }
}
