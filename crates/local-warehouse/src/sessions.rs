//! Read sessions: a table's rows in streams, as the Storage Read API has them.
//!
//! A session pins a version of a table. Its rows are cut into blocks, the blocks are shuffled by the session's seed and dealt
//! to the streams: no stream is sorted, and no two sessions agree, but one stream gives the same rows in the same order
//! however often it is read, also after a restart. That is what an offset needs.

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::{
    arrow_form::{Batch, Messages, arrow_schema},
    catalog::segment_name,
    error::{Result, WarehouseError},
    sql,
    store::{TableRef, now_ms},
    types::{Field, Kind, Schema},
    warehouse::Inner,
};

/// A batch's size at most, about. BigQuery's messages are about as large.
const BATCH_BYTES: usize = 1 << 20;

/// What a session is made of.
#[derive(Debug, Clone)]
pub(crate) struct SessionRequest {
    pub(crate) table: TableRef,
    pub(crate) snapshot_us: Option<i64>,
    /// Columns, or fields of structs by their path; none is all.
    pub(crate) selected_fields: Vec<String>,
    pub(crate) row_restriction: String,
    /// 0 lets the warehouse decide.
    pub(crate) max_streams: i32,
}

/// A session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Session {
    /// `projects/…/locations/us/sessions/…`.
    pub(crate) name: String,
    pub(crate) expires_ms: i64,
    segment: i64,
    pub(crate) rows: i64,
    /// Columns of the segment.
    columns: Vec<usize>,
    /// `TableSchema` of what is read.
    schema: Json,
    restriction: Option<String>,
    pub(crate) streams: usize,
    seed: u64,
    block_rows: i64,
    pub(crate) bytes: i64,
}

impl Session {
    pub(crate) fn fields(&self) -> Result<Vec<Field>> {
        Ok(Schema::from_json(Some(&self.schema))?.0)
    }

    pub(crate) fn stream_name(&self, stream: usize) -> String {
        format!("{}/streams/{stream}", self.name)
    }

    /// First row (less one) and last of each block of a stream, in its order.
    fn blocks(&self, stream: usize) -> Vec<(i64, i64)> {
        let count = self.rows.div_euclid(self.block_rows) + i64::from(self.rows % self.block_rows != 0);
        let mut order: Vec<i64> = (0..count).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(self.seed));
        let own = order.into_iter().skip(stream).step_by(self.streams.max(1));
        own.map(|block| (block * self.block_rows, ((block + 1) * self.block_rows).min(self.rows))).collect()
    }
}

impl Inner {
    pub(crate) fn create_session(&self, project: &str, request: &SessionRequest) -> Result<Session> {
        let (_, version) = self.store.table_as_of(&request.table, request.snapshot_us)?;
        let (columns, fields) = select(&version.schema, &request.selected_fields)?;
        let restriction = match request.row_restriction.trim() {
            "" => None,
            text => Some(sql::translate_restriction(text, &version.schema, self)?),
        };
        let default = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get).max(4);
        let wanted = if request.max_streams > 0 { request.max_streams as usize } else { default };
        let streams = wanted.min(self.options.max_streams.max(1) as usize).min(version.rows.max(0) as usize);
        // Small tables are dealt too.
        let block_rows =
            (version.rows / (streams.max(1) as i64 * 4)).clamp(1, i64::from(self.options.block_rows.max(1)));
        let id = uuid::Uuid::new_v4();
        let seed = self.options.stream_seed.unwrap_or_else(|| id.as_u64_pair().1);
        let now = now_ms();
        let session = Session {
            name: format!("projects/{project}/locations/us/sessions/{}", id.simple()),
            expires_ms: now.saturating_add(self.options.session_lifetime.as_millis() as i64),
            segment: version.segment,
            rows: version.rows,
            bytes: columns.iter().filter_map(|column| version.column_bytes.get(*column)).sum(),
            columns,
            schema: Schema(fields).to_json(),
            restriction,
            streams,
            seed,
            block_rows,
        };
        let text = serde_json::to_value(&session).map_err(WarehouseError::internal)?;
        self.control.insert_session(&session.name, session.expires_ms, now, &text)?;
        Ok(session)
    }

    /// The session and the number of a stream.
    pub(crate) fn stream(&self, name: &str) -> Result<(Session, usize)> {
        let missing = || WarehouseError::NotFound(format!("stream {name}; its session may have expired"));
        let (session, stream) = name.split_once("/streams/").ok_or_else(missing)?;
        let found = self.control.session(session, now_ms())?.ok_or_else(missing)?;
        let session: Session = serde_json::from_value(found).map_err(WarehouseError::internal)?;
        let stream: usize = stream.parse().map_err(|_| missing())?;
        if stream < session.streams { Ok((session, stream)) } else { Err(missing()) }
    }
}

/// A part of a stream: bare Arrow IPC messages.
pub(crate) struct Part {
    /// With the first part only.
    pub(crate) schema: Option<Vec<u8>>,
    pub(crate) batch: Vec<u8>,
    pub(crate) rows: i64,
    /// Of the stream that is read when this begins and ends, 0 to 1.
    pub(crate) progress: (f64, f64),
}

/// Reads a stream from a row on; `send` is given each part, and says whether to go on.
pub(crate) fn read_stream(
    inner: &Inner,
    session: &Session,
    stream: usize,
    offset: i64,
    send: &mut dyn FnMut(Part) -> bool,
) -> Result<()> {
    let reader = inner.store.reader()?;
    let fields = session.fields()?;
    let arrow = arrow_schema(&fields);
    let (mut messages, schema) = Messages::new(&arrow)?;
    let mut schema = Some(schema);
    let names: Vec<_> = session.columns.iter().map(|column| format!("c{column}")).collect();
    let restriction = session.restriction.as_ref().map_or_else(String::new, |condition| format!(" AND {condition}"));
    let segment = segment_name(session.segment);
    let select =
        format!("SELECT {} FROM {segment} WHERE seq > ? AND seq <= ?{restriction} ORDER BY seq", names.join(", "));
    let mut statement = reader.prepare(&select).map_err(|error| gone(error, stream))?;
    let blocks = session.blocks(stream);
    let mut to_skip = offset;
    let total = blocks.len().max(1) as f64;
    for (index, (start, end)) in blocks.iter().copied().enumerate() {
        if to_skip > 0 {
            let count = match &session.restriction {
                None => end - start,
                Some(_) => count(&reader, &segment, &restriction, (start, end))?,
            };
            if to_skip >= count {
                to_skip -= count;
                continue;
            }
        }
        let mut rows = statement.query([start, end])?;
        let mut batch = Batch::new(&fields, arrow.clone());
        let mut bytes = 0;
        let mut more = true;
        while more {
            let row = rows.next()?;
            more = row.is_some();
            if let Some(row) = row {
                if to_skip > 0 {
                    to_skip -= 1;
                    continue;
                }
                bytes += batch.append(row)?;
            }
            if batch.rows() > 0 && (!more || bytes >= BATCH_BYTES) {
                let full = std::mem::replace(&mut batch, Batch::new(&fields, arrow.clone()));
                bytes = 0;
                let part = Part {
                    schema: schema.take(),
                    rows: full.rows() as i64,
                    batch: messages.batch(&full.finish()?)?,
                    progress: (index as f64 / total, (index + 1) as f64 / total),
                };
                if !send(part) {
                    return Ok(());
                }
            }
        }
    }
    if to_skip > 0 {
        return Err(WarehouseError::Invalid(format!("offset {offset} is beyond the end of the stream")));
    }
    Ok(())
}

/// A segment that is not there any more belonged to a table that was deleted.
fn gone(error: rusqlite::Error, stream: usize) -> WarehouseError {
    if error.to_string().contains("no such table") {
        return WarehouseError::NotFound(format!("stream {stream}: its table was deleted"));
    }
    error.into()
}

fn count(reader: &Connection, segment: &str, restriction: &str, (start, end): (i64, i64)) -> Result<i64> {
    let count = format!("SELECT COUNT(*) FROM {segment} WHERE seq > ? AND seq <= ?{restriction}");
    Ok(reader.query_row(&count, [start, end], |row| row.get(0))?)
}

/// The columns that are read, in the table's order, with structs cut down to what was selected of them.
fn select(schema: &Schema, selected: &[String]) -> Result<(Vec<usize>, Vec<Field>)> {
    if selected.is_empty() {
        return Ok(((0..schema.0.len()).collect(), schema.0.clone()));
    }
    let paths: Vec<Vec<&str>> = selected.iter().map(|path| path.split('.').collect()).collect();
    let fields = cut(&schema.0, &paths)?;
    let columns = fields.iter().filter_map(|field| schema.index_of(&field.name)).collect();
    Ok((columns, fields))
}

fn cut(fields: &[Field], paths: &[Vec<&str>]) -> Result<Vec<Field>> {
    for path in paths {
        if !fields.iter().any(|field| field.name.eq_ignore_ascii_case(path[0])) {
            return Err(WarehouseError::Invalid(format!(
                "request failed: The following selected fields do not exist in the table schema: {}",
                path.join(".")
            )));
        }
    }
    let mut kept = Vec::new();
    for field in fields {
        let own: Vec<&Vec<&str>> = paths.iter().filter(|path| field.name.eq_ignore_ascii_case(path[0])).collect();
        if own.is_empty() {
            continue;
        }
        let whole = own.iter().any(|path| path.len() == 1);
        let kind = match &field.kind {
            Kind::Struct(inner) if !whole => {
                Kind::Struct(cut(inner, &own.iter().map(|path| path[1..].to_vec()).collect::<Vec<_>>())?)
            }
            _ if !whole => {
                return Err(WarehouseError::Invalid(format!("request failed: {} is not a record", field.name)));
            }
            kind => kind.clone(),
        };
        kept.push(Field { kind, ..field.clone() });
    }
    Ok(kept)
}
