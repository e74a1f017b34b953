//! A warehouse of rows in memory, and a store that dies.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow_select::take::take;
use async_trait::async_trait;
use bytes::Bytes;
use cloud::{
    memory::MemoryStore,
    object_store::{
        DeleteObject, ETag, GetObject, GetOutcome, GetRange, HeadObject, ListObjects, ListedObject, ObjectHead,
        PutCondition, PutObject, PutOutcome, RangeOutcome, StoreError,
    },
};
use datasets::{Definition, Expectations, Order, Publishing, Reading, Working};
use futures::stream;
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use warehouse::{
    BatchStream, Extract, Limits, OpenStreams, ReadStream, StageTable, StagedTable, StreamSession, Warehouse,
    WarehouseError,
};

pub fn rows(count: usize, seed: u64) -> RecordBatch {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let schema = Schema::new(vec![
        Field::new("ride_id", DataType::Int64, false),
        Field::new("zone", DataType::Utf8, true),
        Field::new("drive_s", DataType::Float64, true),
        Field::new("requested_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("rained", DataType::Boolean, true),
    ]);
    let some = |random: &mut ChaCha8Rng| random.random_bool(0.95);
    let ids: Int64Array = (0..count as i64).map(Some).collect();
    let zones: StringArray =
        (0..count).map(|_| some(&mut random).then(|| format!("zone-{}", random.random_range(0..20)))).collect();
    let drives: Float64Array =
        (0..count).map(|_| some(&mut random).then(|| random.random_range(0.0..7200.0))).collect();
    let at: TimestampMicrosecondArray =
        (0..count).map(|row| Some(1_700_000_000_000_000 + row as i64 * 1_000_000)).collect();
    let rained: BooleanArray = (0..count).map(|_| some(&mut random).then(|| random.random())).collect();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(ids), Arc::new(zones), Arc::new(drives), Arc::new(at.with_timezone("UTC")), Arc::new(rained)];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

/// Deals its rows to streams anew at each session.
pub struct Dealing {
    pub rows: RecordBatch,
    pub streams: usize,
    pub batch_rows: usize,
    sessions: AtomicU64,
    pub staged: AtomicU64,
    /// Sessions that are opened are over at once.
    pub expired_sessions: AtomicI64,
}

impl Dealing {
    pub fn new(rows: RecordBatch, streams: usize, batch_rows: usize, seed: u64) -> Self {
        let (sessions, staged) = (AtomicU64::new(seed), AtomicU64::new(0));
        Self { rows, streams, batch_rows, sessions, staged, expired_sessions: AtomicI64::new(0) }
    }

    /// The rows of a stream, by their places. The same name is the same rows in the same order.
    fn dealt(&self, stream: &str) -> Vec<u32> {
        let (session, stream) = stream.split_once('/').unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(session.trim_start_matches("over-").parse().unwrap());
        let mut places: Vec<u32> = (0..self.rows.num_rows() as u32).collect();
        places.shuffle(&mut random);
        let stream: usize = stream.parse().unwrap();
        places.into_iter().skip(stream).step_by(self.streams).collect()
    }
}

#[async_trait]
impl StageTable for Dealing {
    async fn stage_table(&self, extract: &Extract) -> Result<StagedTable, WarehouseError> {
        self.staged.fetch_add(1, Ordering::SeqCst);
        let rows = Some(self.rows.num_rows() as u64);
        let bytes = Some(self.rows.get_array_memory_size() as u64);
        Ok(StagedTable { table: "t".to_owned(), job: extract.job.clone(), bytes_processed: None, rows, bytes })
    }
}

#[async_trait]
impl OpenStreams for Dealing {
    async fn open_streams(&self, _: &StagedTable, _: usize) -> Result<StreamSession, WarehouseError> {
        let session = self.sessions.fetch_add(1, Ordering::SeqCst);
        let over = self.expired_sessions.fetch_sub(1, Ordering::SeqCst) > 0;
        let prefix = if over { "over-" } else { "" };
        Ok(StreamSession {
            name: format!("{prefix}{session}"),
            streams: (0..self.streams).map(|stream| format!("{prefix}{session}/{stream}")).collect(),
            schema: self.rows.schema(),
            expires_at: over.then(now),
        })
    }
}

#[async_trait]
impl ReadStream for Dealing {
    async fn read_stream(&self, name: &str, _: SchemaRef, offset: u64) -> Result<BatchStream, WarehouseError> {
        if name.starts_with("over-") {
            return Err(WarehouseError::SessionExpired(name.to_owned()));
        }
        let places = self.dealt(name);
        let rest = places.get(offset as usize..).unwrap_or_default();
        let batches: Vec<Result<RecordBatch, WarehouseError>> = rest
            .chunks(self.batch_rows)
            .map(|places| {
                let places = UInt32Array::from(places.to_vec());
                let columns = self.rows.columns().iter().map(|column| take(column, &places, None).unwrap()).collect();
                Ok(RecordBatch::try_new(self.rows.schema(), columns).unwrap())
            })
            .collect();
        Ok(Box::pin(stream::iter(batches)))
    }
}

impl Warehouse for Dealing {
    fn describe(&self) -> String {
        "memory".to_owned()
    }
}

pub fn now() -> jiff::Timestamp {
    "2026-02-01T00:00:00Z".parse().unwrap()
}

pub fn order(expect: Expectations) -> Order {
    let definition = Definition {
        dataset: "rides".parse().unwrap(),
        sql: "SELECT * FROM rides".to_owned(),
        parameters: BTreeMap::new(),
        limits: Limits::default(),
        expect,
        parents: Vec::new(),
        file_keys: Vec::new(),
        files: Vec::new(),
        columns: BTreeMap::new(),
    };
    Order { definition, as_of: Some("2026-01-31T00:00:00Z".parse().unwrap()), now: now() }
}

pub fn working(chunk_bytes: usize) -> Working<'static> {
    Working {
        max_streams: 8,
        reading: Reading { concurrency: 3, chunk_bytes, deadline: None },
        parts_at_once: 2,
        publishing: Publishing { bucket: "lake", promote: true, now: now() },
    }
}

/// A store whose user dies at a call: that call and all after it fail. Whether the last write happened is the dice's.
#[derive(Clone)]
pub struct Dying {
    pub store: MemoryStore,
    calls_left: Arc<AtomicI64>,
    last_write_happens: bool,
}

impl Dying {
    pub fn new(store: MemoryStore, calls: i64, last_write_happens: bool) -> Self {
        Self { store, calls_left: Arc::new(AtomicI64::new(calls)), last_write_happens }
    }

    /// How many calls were made of those it would have lived for.
    pub fn calls_left(&self) -> i64 {
        self.calls_left.load(Ordering::SeqCst)
    }

    /// Whether the user lives after this call, and whether the call has its effect.
    fn call(&self) -> (bool, bool) {
        let left = self.calls_left.fetch_sub(1, Ordering::SeqCst);
        (left > 0, left > 0 || (left == 0 && self.last_write_happens))
    }
}

fn dead(key: &str) -> StoreError {
    StoreError::Refused { verb: "call", key: key.to_owned(), detail: "killed".to_owned() }
}

#[async_trait]
impl GetObject for Dying {
    async fn get_object(&self, key: &str, etag: Option<&ETag>) -> Result<GetOutcome, StoreError> {
        if self.call().0 { self.store.get_object(key, etag).await } else { Err(dead(key)) }
    }
}

#[async_trait]
impl PutObject for Dying {
    async fn put_object(&self, key: &str, bytes: Bytes, condition: PutCondition) -> Result<PutOutcome, StoreError> {
        let (lives, happens) = self.call();
        let outcome = if happens { Some(self.store.put_object(key, bytes, condition).await?) } else { None };
        outcome.filter(|_| lives).ok_or_else(|| dead(key))
    }
}

#[async_trait]
impl DeleteObject for Dying {
    async fn delete_object(&self, key: &str) -> Result<(), StoreError> {
        let (lives, happens) = self.call();
        if happens {
            self.store.delete_object(key).await?;
        }
        if lives { Ok(()) } else { Err(dead(key)) }
    }
}

#[async_trait]
impl ListObjects for Dying {
    async fn list_objects(&self, prefix: &str) -> Result<Vec<ListedObject>, StoreError> {
        if self.call().0 { self.store.list_objects(prefix).await } else { Err(dead(prefix)) }
    }
}

#[async_trait]
impl HeadObject for Dying {
    async fn head_object(&self, key: &str) -> Result<Option<ObjectHead>, StoreError> {
        if self.call().0 { self.store.head_object(key).await } else { Err(dead(key)) }
    }
}

#[async_trait]
impl GetRange for Dying {
    async fn get_range(&self, key: &str, range: Range<u64>, etag: &ETag) -> Result<RangeOutcome, StoreError> {
        if self.call().0 { self.store.get_range(key, range, etag).await } else { Err(dead(key)) }
    }
}
