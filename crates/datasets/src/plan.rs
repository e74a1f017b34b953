//! An extract under way, as it stands in the lake: the plan, what was read of each stream, the layout.
//!
//! Everything is found again by its key. Whoever goes on after a death, or beside another, lists, and does what is missing.

use std::collections::BTreeMap;

use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use arrow_schema::SchemaRef;
use base64::{Engine, engine::general_purpose::STANDARD};
use cloud::object_store::{ETag, GetObject, ListObjects, PutCondition, PutObject, PutOutcome};
use domain::{ModelName, digest::sha256_hex, lake};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use warehouse::{Extract, Limits, Parameter, StagedTable, StreamSession, Warehouse, column_type, normalise};

use crate::{
    DatasetStore, DatasetsError,
    chunk::MAX_SEGMENT_BITS,
    manifest::{Column, FileInput, Identity, Origin, Parent},
    quality::Expectations,
};

/// What a dataset is: the same at every extract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The dataset's name: the model's, as a rule.
    pub dataset: ModelName,
    /// The query; empty where the rows are files'.
    #[serde(default)]
    pub sql: String,
    /// Its parameters.
    #[serde(default)]
    pub parameters: BTreeMap<String, Parameter>,
    /// What it may cost.
    #[serde(default)]
    pub limits: Limits,
    /// What is expected of the rows.
    #[serde(default)]
    pub expect: Expectations,
    /// Versions that it is made of.
    #[serde(default)]
    pub parents: Vec<Parent>,
    /// Where in the lake the files lie that the rows come from, where there is no query: keys, or prefixes that end with `/`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub file_keys: Vec<String>,
    /// The files themselves, as they were found for one extract.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileInput>,
    /// The types of CSV files' columns by name, as SQL names them; others are told from the values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, String>,
}

/// One extract.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Of what.
    pub definition: Definition,
    /// The state of the source tables, UTC.
    pub as_of: Option<Timestamp>,
    /// Now, UTC.
    pub now: Timestamp,
}

impl Order {
    /// The extract's own name: of the query, its parameters and `as_of`. It is the warehouse's job id too.
    pub fn job(&self) -> String {
        let Definition { dataset, sql, parameters, parents, files, columns, .. } = &self.definition;
        let named = (dataset, sql, parameters, parents, files, columns, self.as_of);
        let named = serde_json::to_vec(&named).unwrap_or_default();
        format!("ds-{}", sha256_hex(&named))
    }

    /// What the warehouse is asked for.
    pub fn extract(&self) -> Extract {
        let Definition { dataset, sql, parameters, limits, .. } = &self.definition;
        Extract {
            sql: sql.clone(),
            parameters: parameters.clone(),
            as_of: self.as_of,
            job: self.job(),
            labels: BTreeMap::from([("mannen_dataset".to_owned(), dataset.to_string())]),
            limits: *limits,
        }
    }
}

/// The plan of an extract: which streams of which session are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What is extracted.
    pub definition: Definition,
    /// The state of the source tables, UTC.
    pub as_of: Option<Timestamp>,
    /// The extract's name.
    pub job: String,
    /// What kind of source it is.
    pub source: String,
    /// When it was planned, UTC.
    pub created_at: Timestamp,
    /// The rows that stand still.
    pub staged: StagedTable,
    /// The session.
    pub session: PlannedSession,
    /// How many first bits of a hash name a chunk's segment.
    pub segment_bits: u32,
}

/// A session as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedSession {
    /// Its part of keys.
    pub id: String,
    /// The warehouse's name for it.
    pub name: String,
    /// Its streams.
    pub streams: Vec<String>,
    /// The rows' schema: an Arrow IPC stream without batches, base64.
    schema: String,
    /// Until when the streams can be read, UTC.
    pub expires_at: Option<Timestamp>,
}

/// What a bucket of rows is meant to be in memory; only the number of segments follows from it.
const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;
/// The number of segments where nothing is known of the size.
const DEFAULT_SEGMENT_BITS: u32 = 5;
/// A session that ends so soon is not begun with.
const EXPIRY_MARGIN: SignedDuration = SignedDuration::from_mins(10);

impl Plan {
    /// The rows' schema.
    ///
    /// # Errors
    /// The plan is damaged.
    pub fn schema(&self) -> Result<SchemaRef, DatasetsError> {
        let unusable = |detail: String| DatasetsError::unusable(self.key(), detail);
        let bytes = STANDARD.decode(&self.session.schema).map_err(|error| unusable(error.to_string()))?;
        let reader = StreamReader::try_new(bytes.as_slice(), None).map_err(|error| unusable(error.to_string()))?;
        Ok(reader.schema())
    }

    /// The columns.
    ///
    /// # Errors
    /// The plan is damaged.
    pub fn columns(&self) -> Result<Vec<Column>, DatasetsError> {
        let schema = self.schema()?;
        let columns = schema.fields().iter().map(|field| Column {
            name: field.name().clone(),
            of: column_type(field).unwrap_or_default(),
            nullable: field.is_nullable(),
        });
        Ok(columns.collect())
    }

    pub(crate) fn key(&self) -> String {
        lake::dataset_plan(&self.definition.dataset, &self.job)
    }

    pub(crate) fn origin(&self) -> Origin {
        let Definition { sql, parameters, files, .. } = &self.definition;
        Origin {
            source: self.source.clone(),
            sql: sql.clone(),
            parameters: parameters.clone(),
            as_of: self.as_of,
            files: files.clone(),
        }
    }

    /// What the rows show the state of, UTC. A query that does not name `@as_of` reads what is there when it is asked.
    pub(crate) fn state_at(&self) -> Timestamp {
        self.as_of.filter(|_| warehouse::names_as_of(&self.definition.sql)).unwrap_or(self.created_at)
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.session.expires_at.is_some_and(|expires_at| expires_at < now + EXPIRY_MARGIN)
    }
}

/// Which chunks become which version. Written before the version's first file, so that no file is ever without a word of
/// where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Layout {
    /// The version's address.
    pub address: String,
    /// What the address is of.
    pub identity: Identity,
    /// There are `2^part_bits` files.
    pub part_bits: u32,
    /// The chunks, whose rows are the version's.
    pub chunks: Vec<LaidChunk>,
}

/// One chunk of a layout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaidChunk {
    /// Its key.
    pub key: String,
    /// Its entity tag.
    pub etag: String,
    /// Its length.
    pub bytes: u64,
}

impl Layout {
    /// How many files there are.
    pub fn parts(&self) -> u32 {
        1 << self.part_bits
    }
}

/// What an extract stands at.
#[derive(Debug, Clone, PartialEq)]
pub enum Planned {
    /// It became this version.
    Published(String),
    /// It is under way.
    UnderWay(Box<Plan>),
}

/// Which version an extract became.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobDone {
    pub(crate) address: String,
    pub(crate) published_at: Timestamp,
}

/// Plans an extract, or finds its plan: the query is run, its result stands in the warehouse, its streams are open.
///
/// The same order again finds the same plan. Where its session has ended with rows unread, another is opened.
///
/// # Errors
/// The warehouse, the lake, or an expectation of a column that there is not.
pub async fn plan<S: DatasetStore>(
    lake: &S,
    warehouse: &dyn Warehouse,
    order: &Order,
    max_streams: usize,
) -> Result<Planned, DatasetsError> {
    let (dataset, job) = (&order.definition.dataset, order.job());
    let key = lake::dataset_plan(dataset, &job);
    loop {
        let done = read_json::<JobDone, _>(lake, &lake::dataset_job(dataset, &job)).await?;
        if let Some((JobDone { address, .. }, _)) = done
            && lake.head_object(&lake::dataset_manifest(dataset, &address)).await?.is_some()
        {
            return Ok(Planned::Published(address));
        }
        let found = read_json::<Plan, _>(lake, &key).await?;
        let (plan, condition) = match found {
            Some((plan, etag)) if !plan.is_over(order.now) || is_read(lake, &plan).await? => {
                if plan.definition == order.definition {
                    return Ok(Planned::UnderWay(Box::new(plan)));
                }
                // Expectations and limits were mended since: the steps that follow read them from here.
                (Plan { definition: order.definition.clone(), ..plan }, PutCondition::IfMatch(etag))
            }
            found => {
                let staged = warehouse.stage_table(&order.extract()).await?;
                let session = warehouse.open_streams(&staged, max_streams).await?;
                let plan = new_plan(order, warehouse.describe(), staged, session)?;
                (plan, found.map_or(PutCondition::IfAbsent, |(_, etag)| PutCondition::IfMatch(etag)))
            }
        };
        let wrong = order.definition.expect.contradictions(&plan.columns()?);
        if !wrong.is_empty() {
            return Err(DatasetsError::InvalidOrder(format!("dataset.toml, [expect]: {}", wrong.join("; "))));
        }
        let json = serde_json::to_vec_pretty(&plan).unwrap_or_default();
        if let PutOutcome::Stored(_) = lake.put_object(&key, json.into(), condition).await? {
            return Ok(Planned::UnderWay(Box::new(plan)));
        }
        // Another planned or published it meanwhile: take theirs.
    }
}

fn new_plan(order: &Order, source: String, staged: StagedTable, session: StreamSession) -> Result<Plan, DatasetsError> {
    let StreamSession { name, streams, schema, expires_at } = session;
    let schema = normalise(&schema)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
    writer.finish()?;
    let schema = STANDARD.encode(writer.into_inner()?);
    let segment_bits = staged.bytes.map_or(DEFAULT_SEGMENT_BITS, |bytes| {
        bytes.div_ceil(SEGMENT_BYTES).max(1).next_power_of_two().ilog2().min(MAX_SEGMENT_BITS)
    });
    let mut id = sha256_hex(name.as_bytes());
    id.truncate(16);
    Ok(Plan {
        definition: order.definition.clone(),
        as_of: order.as_of,
        job: order.job(),
        source,
        created_at: order.now,
        staged,
        session: PlannedSession { id, name, streams, schema, expires_at },
        segment_bits,
    })
}

/// The plan of a job, or nothing where none is under way.
///
/// # Errors
/// The lake does not answer, or the plan cannot be read.
pub async fn read_plan<S: GetObject>(lake: &S, dataset: &ModelName, job: &str) -> Result<Option<Plan>, DatasetsError> {
    Ok(read_json(lake, &lake::dataset_plan(dataset, job)).await?.map(|(plan, _)| plan))
}

/// The version that an extract has become.
///
/// # Errors
/// It has become none.
pub async fn version_of_job<S: GetObject>(lake: &S, dataset: &ModelName, job: &str) -> Result<String, DatasetsError> {
    let done = read_json::<JobDone, _>(lake, &lake::dataset_job(dataset, job)).await?;
    done.map(|(done, _)| done.address).ok_or_else(|| DatasetsError::OutOfStep {
        job: job.to_owned(),
        detail: "it is neither under way nor published; plan it first".to_owned(),
    })
}

/// The extract of this definition that is under way, whatever its `as_of`; the latest where there are several.
///
/// # Errors
/// The lake does not answer, or a plan cannot be read.
pub async fn under_way<S: GetObject + ListObjects>(
    lake: &S,
    definition: &Definition,
) -> Result<Option<Plan>, DatasetsError> {
    let prefix = lake::dataset_staging_prefix(&definition.dataset);
    let mut latest: Option<Plan> = None;
    for object in lake.list_objects(&prefix).await? {
        let Some(job) = lake::dataset_job_of_staging(&definition.dataset, &object.key) else { continue };
        if object.key != lake::dataset_plan(&definition.dataset, &job) {
            continue;
        }
        let Some(plan) = read_plan(lake, &definition.dataset, &job).await? else { continue };
        let said = |of: &Definition| {
            (of.sql.clone(), of.parameters.clone(), of.parents.clone(), of.files.clone(), of.columns.clone())
        };
        if said(&plan.definition) == said(definition)
            && latest.as_ref().is_none_or(|latest| latest.created_at < plan.created_at)
        {
            latest = Some(plan);
        }
    }
    Ok(latest)
}

/// What was read of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamRead {
    /// The chunks, end to end from row 0.
    pub(crate) chunks: Vec<LaidChunk>,
    /// Rows that they have.
    pub(crate) rows: u64,
    /// Whether there are no more.
    pub(crate) ended: bool,
}

/// What was read of every stream of a plan.
pub(crate) async fn streams_read<S: ListObjects>(lake: &S, plan: &Plan) -> Result<Vec<StreamRead>, DatasetsError> {
    let (dataset, session) = (&plan.definition.dataset, &plan.session);
    let listed = lake.list_objects(&lake::dataset_session_prefix(dataset, &plan.job, &session.id)).await?;
    let streams = (0..session.streams.len()).map(|stream| {
        let prefix = lake::dataset_stream_prefix(dataset, &plan.job, &session.id, stream);
        let first = listed.partition_point(|object| object.key < prefix);
        let objects = listed[first..].iter().take_while(|object| object.key.starts_with(&prefix));
        let mut ended_at = None;
        let mut chunks = BTreeMap::<u64, Vec<(u64, LaidChunk)>>::new();
        for object in objects {
            match lake::dataset_chunk_rows(&object.key) {
                Some((from, to)) if from == to => ended_at = Some(to),
                Some((from, to)) => {
                    let chunk =
                        LaidChunk { key: object.key.clone(), etag: object.etag.0.clone(), bytes: object.size_bytes };
                    chunks.entry(from).or_default().push((to, chunk));
                }
                None => {}
            }
        }
        end_to_end(&chunks, ended_at)
    });
    Ok(streams.collect())
}

/// The chunks that lie end to end from row 0 on, to the stream's end or as far as they go. Two readers of one stream may
/// have cut it at different rows: what overlaps is passed over.
fn end_to_end(chunks: &BTreeMap<u64, Vec<(u64, LaidChunk)>>, ended_at: Option<u64>) -> StreamRead {
    // The chunk by which each row can be reached from row 0. A row is reached once; later keys have greater rows.
    let mut reached: BTreeMap<u64, Option<(u64, &LaidChunk)>> = BTreeMap::from([(0, None)]);
    for (from, from_here) in chunks {
        if reached.contains_key(from) {
            for (to, chunk) in from_here {
                reached.entry(*to).or_insert(Some((*from, chunk)));
            }
        }
    }
    let furthest = reached.keys().next_back().copied().unwrap_or(0);
    let ended = ended_at.is_some_and(|end| reached.contains_key(&end));
    let rows = ended_at.filter(|_| ended).unwrap_or(furthest);
    let (mut way, mut at) = (Vec::new(), rows);
    while let Some(Some((from, chunk))) = reached.get(&at) {
        way.push((*chunk).clone());
        at = *from;
    }
    way.reverse();
    StreamRead { chunks: way, rows, ended }
}

/// Whether all its streams were read to their ends.
async fn is_read<S: ListObjects>(lake: &S, plan: &Plan) -> Result<bool, DatasetsError> {
    Ok(streams_read(lake, plan).await?.iter().all(|stream| stream.ended))
}

/// An object's JSON and its tag, or nothing where there is none.
pub(crate) async fn read_json<T: DeserializeOwned, S: GetObject>(
    lake: &S,
    key: &str,
) -> Result<Option<(T, ETag)>, DatasetsError> {
    let Some(object) = lake.get_object(key, None).await?.found() else { return Ok(None) };
    let read = serde_json::from_slice(&object.bytes);
    let read = read.map_err(|error| DatasetsError::unusable(key, error.to_string()))?;
    Ok(Some((read, object.etag)))
}

/// Puts a document that says the same whoever writes it. One that is there stays.
pub(crate) async fn put_once<T: Serialize, S: PutObject>(
    lake: &S,
    key: &str,
    document: &T,
) -> Result<bool, DatasetsError> {
    let json = serde_json::to_vec_pretty(document).unwrap_or_default();
    Ok(lake.put_object(key, json.into(), PutCondition::IfAbsent).await? != PutOutcome::PreconditionFailed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: &[(u64, u64)], ended_at: Option<u64>) -> (Vec<String>, u64, bool) {
        let mut by_from = BTreeMap::<u64, Vec<(u64, LaidChunk)>>::new();
        for (from, to) in chunks {
            let chunk = LaidChunk { key: format!("{from}-{to}"), etag: String::new(), bytes: 1 };
            by_from.entry(*from).or_default().push((*to, chunk));
        }
        let read = end_to_end(&by_from, ended_at);
        (read.chunks.into_iter().map(|chunk| chunk.key).collect(), read.rows, read.ended)
    }

    #[test]
    fn a_stream_goes_on_where_its_chunks_end() {
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        assert_eq!(read(&[], None), (vec![], 0, false));
        assert_eq!(read(&[], Some(0)), (vec![], 0, true));
        assert_eq!(read(&[(0, 5), (5, 9)], None), (keys(&["0-5", "5-9"]), 9, false));
        assert_eq!(read(&[(0, 5), (7, 9)], Some(9)), (keys(&["0-5"]), 5, false), "a gap");
        // Two readers that cut the stream at different rows.
        assert_eq!(read(&[(0, 5), (0, 7), (5, 9), (7, 8)], Some(9)), (keys(&["0-5", "5-9"]), 9, true));
        assert_eq!(read(&[(0, 5), (0, 7), (7, 9)], Some(9)), (keys(&["0-7", "7-9"]), 9, true));
    }
}
