use std::{fmt, pin::Pin};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use futures::Stream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Extract, WarehouseError};

/// Rows that stand still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedTable {
    /// The warehouse's own name of it.
    pub table: String,
    /// The warehouse's job that made it.
    pub job: String,
    /// Bytes that the query read, where it says.
    pub bytes_processed: Option<u64>,
    /// Rows, where known.
    pub rows: Option<u64>,
    /// Bytes of the rows, where known; an estimate will do.
    pub bytes: Option<u64>,
}

/// Rows, cut into streams.
#[derive(Debug, Clone)]
pub struct StreamSession {
    /// The session's name.
    pub name: String,
    /// Its streams' names. None where there is no row.
    pub streams: Vec<String>,
    /// The rows' schema, of the types that [`column_type`](crate::column_type) knows.
    pub schema: SchemaRef,
    /// Until when the streams can be read, UTC. `None`: for ever.
    pub expires_at: Option<Timestamp>,
}

/// Batches of one stream, in its order.
pub type BatchStream = Pin<Box<dyn Stream<Item = Result<RecordBatch, WarehouseError>> + Send>>;

/// Makes rows stand still.
#[async_trait]
pub trait StageTable: Send + Sync {
    /// The rows of an extract. The same extract again is the same table: nothing runs, or is paid for, twice.
    async fn stage_table(&self, extract: &Extract) -> Result<StagedTable, WarehouseError>;
}

/// Cuts rows into streams.
#[async_trait]
pub trait OpenStreams: Send + Sync {
    /// At most `max_streams` streams of a staged table.
    async fn open_streams(&self, table: &StagedTable, max_streams: usize) -> Result<StreamSession, WarehouseError>;
}

/// Reads one stream.
#[async_trait]
pub trait ReadStream: Send + Sync {
    /// The rows from `offset` on (0 is the first), in batches of the session's schema.
    async fn read_stream(&self, stream: &str, schema: SchemaRef, offset: u64) -> Result<BatchStream, WarehouseError>;
}

/// All verbs.
pub trait Warehouse: StageTable + OpenStreams + ReadStream {
    /// What kind of source it is and where, for manifests: `bigquery:my-project`, `files`.
    fn describe(&self) -> String;
}

impl fmt::Debug for dyn Warehouse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Warehouse({})", self.describe())
    }
}
