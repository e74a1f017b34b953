//! Streams, read into chunks.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arrow_array::{Array, RecordBatch};
use arrow_schema::SchemaRef;
use cloud::object_store::{PutCondition, PutObject};
use domain::lake;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use warehouse::{Warehouse, WarehouseError};

use crate::{
    DatasetStore, DatasetsError,
    chunk::seal,
    plan::{Plan, put_once, streams_read},
};

/// How streams are read.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Streams at once.
    pub concurrency: usize,
    /// Bytes of rows in memory before they become a chunk, per stream.
    pub chunk_bytes: usize,
    /// When to stop, with what was read kept. The rest is read by whoever comes next.
    pub deadline: Option<Instant>,
}

/// What reading came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReadSummary {
    /// Rows read now.
    pub rows: u64,
    /// Rows that were there already.
    pub resumed_rows: u64,
    /// Bytes of the chunks written.
    pub bytes: u64,
    /// Streams that have more rows.
    pub unfinished: usize,
}

/// Told while streams are read: rows since the last time.
pub type OnRows<'a> = &'a (dyn Fn(u64) + Send + Sync);

/// Reads the streams with these numbers from where their chunks end, to their ends or the deadline.
///
/// # Errors
/// The warehouse or the lake. What was put stays, and is not read again.
pub async fn read_streams<S: DatasetStore>(
    lake: &S,
    warehouse: &dyn Warehouse,
    plan: &Plan,
    streams: &[usize],
    reading: Reading,
    on_rows: OnRows<'_>,
) -> Result<ReadSummary, DatasetsError> {
    let schema = plan.schema()?;
    let read = streams_read(lake, plan).await?;
    let known = streams.iter().filter(|stream| **stream < read.len());
    // Whoever goes on beside another begins elsewhere.
    let work = known.map(|stream| (*stream, read[*stream].rows, read[*stream].ended));
    let schema = &schema;
    stream::iter(work)
        .map(async |(stream, from, ended)| {
            if ended {
                return Ok(ReadSummary { resumed_rows: from, ..ReadSummary::default() });
            }
            let one = OneStream { lake, warehouse, plan, stream, schema, reading };
            one.read(from, on_rows).await
        })
        .buffer_unordered(reading.concurrency.max(1))
        .try_fold(ReadSummary::default(), async |all, one: ReadSummary| {
            Ok(ReadSummary {
                rows: all.rows + one.rows,
                resumed_rows: all.resumed_rows + one.resumed_rows,
                bytes: all.bytes + one.bytes,
                unfinished: all.unfinished + one.unfinished,
            })
        })
        .await
}

struct OneStream<'a, S> {
    lake: &'a S,
    warehouse: &'a dyn Warehouse,
    plan: &'a Plan,
    stream: usize,
    schema: &'a SchemaRef,
    reading: Reading,
}

impl<S: DatasetStore> OneStream<'_, S> {
    async fn read(&self, from: u64, on_rows: OnRows<'_>) -> Result<ReadSummary, DatasetsError> {
        let Plan { definition, job, session, .. } = self.plan;
        let name = &session.streams[self.stream];
        let mut summary = ReadSummary { resumed_rows: from, ..ReadSummary::default() };
        let (mut batches, mut bytes, mut begun, mut at) = (Vec::new(), 0, from, from);
        let mut rows = self.warehouse.read_stream(name, self.schema.clone(), from).await?;
        loop {
            let next = match self.reading.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => Err(()),
                Some(left) => tokio::time::timeout(left, rows.next()).await.map_err(drop),
                None => Ok(rows.next().await),
            };
            let ended = match next {
                Ok(Some(batch)) => {
                    let batch = self.fitting(batch?)?;
                    at += batch.num_rows() as u64;
                    bytes += bytes_of(&batch);
                    on_rows(batch.num_rows() as u64);
                    batches.push(batch);
                    if bytes < self.reading.chunk_bytes {
                        continue;
                    }
                    false
                }
                Ok(None) => true,
                Err(()) => {
                    summary.unfinished = 1;
                    true
                }
            };
            if at > begun {
                summary.bytes += self.put(std::mem::take(&mut batches), begun, at).await?;
                summary.rows += at - begun;
                (bytes, begun) = (0, at);
            }
            if ended {
                break;
            }
        }
        if summary.unfinished == 0 {
            let key = lake::dataset_stream_end(&definition.dataset, job, &session.id, self.stream, at);
            put_once(self.lake, &key, &serde_json::json!({"rows": at})).await?;
        }
        Ok(summary)
    }

    fn fitting(&self, batch: RecordBatch) -> Result<RecordBatch, DatasetsError> {
        if batch.schema_ref().fields() == self.schema.fields() {
            return Ok(batch);
        }
        RecordBatch::try_new(self.schema.clone(), batch.columns().to_vec())
            .map_err(|error| WarehouseError::Unreadable(error.to_string()).into())
    }

    async fn put(&self, batches: Vec<RecordBatch>, from: u64, to: u64) -> Result<u64, DatasetsError> {
        let Plan { definition, job, session, segment_bits, .. } = self.plan;
        let (schema, segment_bits) = (Arc::clone(self.schema), *segment_bits);
        let sealed = tokio::task::spawn_blocking(move || seal(&batches, &schema, segment_bits)).await;
        let sealed = sealed.map_err(|error| DatasetsError::Interrupted(error.to_string()))??;
        let key = lake::dataset_chunk(&definition.dataset, job, &session.id, self.stream, from, to);
        let bytes = sealed.len() as u64;
        PutObject::put_object(self.lake, &key, sealed, PutCondition::IfAbsent).await?;
        Ok(bytes)
    }
}

/// What a batch's rows take; batches that were read share buffers, which would count many times.
fn bytes_of(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or_default()).sum()
}
