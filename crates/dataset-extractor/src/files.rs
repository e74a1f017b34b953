//! Files as a warehouse: Parquet and CSV, on a disk or in the lake. One file is one stream.

mod convert;
mod csv_rows;
mod csv_types;
mod source;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use async_trait::async_trait;
use cloud::object_store::{ETag, GetRange, ListObjects};
use datasets::FileInput;
use feature_batch::RangeSource;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use tokio::{runtime::Handle, sync::mpsc};
use warehouse::{
    BatchStream, Extract, OpenStreams, ReadStream, StageTable, StagedTable, StreamSession, Warehouse, WarehouseError,
};

pub use self::source::LakeObject;
use self::{
    convert::{converted, dataset_field},
    csv_rows::CsvRows,
    csv_types::csv_schema,
    source::Ranges,
};
use crate::ExtractorError;

/// Rows read at once.
const BATCH_ROWS: usize = 8_192;
/// Batches that wait for a slow lake.
const AHEAD: usize = 2;

/// One file.
#[derive(Clone)]
pub struct OpenFile {
    /// Its name, length and content tag.
    pub input: FileInput,
    /// Its bytes.
    pub bytes: Arc<dyn RangeSource>,
}

/// Files whose columns are alike.
#[derive(Clone)]
pub struct Files {
    files: Vec<OpenFile>,
    /// The types of CSV columns by name, as SQL names them; those that are not here are told from the values.
    columns: BTreeMap<String, String>,
}

impl Files {
    /// Files, and the types of the columns of those that are CSV.
    pub fn new(files: Vec<OpenFile>, columns: BTreeMap<String, String>) -> Self {
        Self { files, columns }
    }

    /// Objects of the lake, as they were listed; one that was replaced since cannot be read. Within a runtime.
    pub fn of_lake<S: GetRange + Clone + 'static>(
        lake: &S,
        files: &[FileInput],
        columns: BTreeMap<String, String>,
    ) -> Self {
        let open = |input: &FileInput| {
            let (key, etag) = (input.name.clone(), ETag(input.tag.clone()));
            let bytes = LakeObject::new(lake.clone(), key, input.bytes, etag, Handle::current());
            OpenFile { input: input.clone(), bytes: Arc::new(bytes) }
        };
        Self::new(files.iter().map(open).collect(), columns)
    }

    fn find(&self, name: &str) -> Result<&OpenFile, WarehouseError> {
        let found = self.files.iter().find(|file| file.input.name == name);
        found.ok_or_else(|| WarehouseError::SessionExpired(format!("`{name}` is no file of this extract any more")))
    }
}

/// The Parquet and CSV files of the lake that are named: each by its key, or those below a prefix that ends with `/`. Names
/// that begin with `_` or `.` are passed over, as SageMaker and Spark do.
///
/// # Errors
/// The lake does not answer, or a name leads to no file.
pub async fn find_files<S: ListObjects>(lake: &S, names: &[String]) -> Result<Vec<FileInput>, ExtractorError> {
    let (mut found, mut keys) = (Vec::new(), BTreeSet::new());
    for name in names {
        let is_wanted = |key: &str| {
            let file = key.rsplit('/').next().unwrap_or_default();
            if name.ends_with('/') { is_rows(key) && !file.starts_with(['_', '.']) } else { key == name }
        };
        let listed = lake.list_objects(name).await?;
        let mut wanted = listed.into_iter().filter(|object| is_wanted(&object.key)).peekable();
        if wanted.peek().is_none() {
            let detail = format!("`{name}` leads to no Parquet or CSV file in the lake (a prefix ends with `/`)");
            return Err(ExtractorError::Definition { file: "dataset.toml, files".to_owned(), detail });
        }
        for object in wanted {
            if keys.insert(object.key.clone()) {
                found.push(FileInput { name: object.key, bytes: object.size_bytes, tag: object.etag.0 });
            }
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// What is wrong with a file.
fn unreadable(file: &FileInput, why: impl std::fmt::Display) -> WarehouseError {
    WarehouseError::Unreadable(format!("`{}`: {why}", file.name))
}

fn has_extension(name: &str, wanted: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, extension)| extension.eq_ignore_ascii_case(wanted))
}

fn is_gzip(file: &FileInput) -> bool {
    has_extension(&file.name, "gz")
}

fn is_csv(file: &FileInput) -> bool {
    let inner = if is_gzip(file) { file.name.rsplit_once('.').map_or("", |(name, _)| name) } else { &file.name };
    has_extension(inner, "csv")
}

fn is_rows(key: &str) -> bool {
    has_extension(key, "parquet") || has_extension(key, "csv") || key.to_ascii_lowercase().ends_with(".csv.gz")
}

fn parquet_schema(file: &OpenFile) -> Result<SchemaRef, WarehouseError> {
    let ranges = Ranges(Arc::clone(&file.bytes));
    let metadata = ArrowReaderMetadata::load(&ranges, options()).map_err(|error| unreadable(&file.input, error))?;
    let fields: Result<Vec<_>, WarehouseError> =
        metadata.schema().fields().iter().map(|field| dataset_field(field)).collect();
    warehouse::normalise(&Schema::new(fields?))
}

/// Without the schema that Arrow's writers leave in a file: the types should be those that every reader sees.
fn options() -> ArrowReaderOptions {
    ArrowReaderOptions::new().with_skip_arrow_metadata(true)
}

/// Sends the rows of a file from `offset` on; ends early where nobody takes them any more.
fn send_rows(
    file: &OpenFile,
    schema: &SchemaRef,
    offset: u64,
    send: &mut dyn FnMut(Result<RecordBatch, WarehouseError>) -> bool,
) -> Result<(), WarehouseError> {
    if is_csv(&file.input) {
        let mut rows = CsvRows::open(file, schema)?;
        rows.skip(offset)?;
        while let Some(batch) = rows.next_batch(BATCH_ROWS)? {
            if !send(Ok(batch)) {
                break;
            }
        }
        return Ok(());
    }
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(Ranges(Arc::clone(&file.bytes)), options());
    let builder = builder.map_err(|error| unreadable(&file.input, error))?;
    let reader = builder.with_batch_size(BATCH_ROWS).with_offset(offset as usize).build();
    for batch in reader.map_err(|error| unreadable(&file.input, error))? {
        let batch = batch.map_err(|error| unreadable(&file.input, error))?;
        let batch = converted(&batch, schema).map_err(|why| unreadable(&file.input, why))?;
        if !send(Ok(batch)) {
            break;
        }
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WarehouseError> + Send + 'static,
) -> Result<T, WarehouseError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| WarehouseError::Unavailable(error.to_string()))?
}

#[async_trait]
impl StageTable for Files {
    async fn stage_table(&self, extract: &Extract) -> Result<StagedTable, WarehouseError> {
        if self.files.is_empty() {
            return Err(WarehouseError::InvalidQuery("there is no file".to_owned()));
        }
        Ok(StagedTable {
            table: "files".to_owned(),
            job: extract.job.clone(),
            bytes_processed: None,
            rows: None,
            // As they lie; in memory a few times more.
            bytes: Some(self.files.iter().map(|file| file.input.bytes * 4).sum()),
        })
    }
}

#[async_trait]
impl OpenStreams for Files {
    async fn open_streams(&self, table: &StagedTable, _: usize) -> Result<StreamSession, WarehouseError> {
        let files = self.clone();
        let schema = blocking(move || {
            let (csv, parquet): (Vec<_>, Vec<_>) = files.files.iter().partition(|file| is_csv(&file.input));
            let mut first = csv_schema(&csv, &files.columns)?;
            for file in parquet {
                let schema = parquet_schema(file)?;
                match &first {
                    None => first = Some(schema),
                    Some(first) if *first == schema => {}
                    Some(_) => return Err(unreadable(&file.input, "its columns are not those of the first file")),
                }
            }
            first.ok_or_else(|| WarehouseError::InvalidQuery("there is no file".to_owned()))
        });
        Ok(StreamSession {
            name: table.job.clone(),
            streams: self.files.iter().map(|file| file.input.name.clone()).collect(),
            schema: schema.await?,
            expires_at: None,
        })
    }
}

#[async_trait]
impl ReadStream for Files {
    async fn read_stream(&self, stream: &str, schema: SchemaRef, offset: u64) -> Result<BatchStream, WarehouseError> {
        let file = self.find(stream)?.clone();
        let (input, (sender, receiver)) = (file.input.clone(), mpsc::channel(AHEAD));
        let reading = tokio::task::spawn_blocking(move || {
            let mut send = |batch| sender.blocking_send(batch).is_ok();
            if let Err(error) = send_rows(&file, &schema, offset, &mut send) {
                send(Err(error));
            }
        });
        Ok(Box::pin(futures::stream::unfold((receiver, Some(reading)), move |(mut receiver, mut reading)| {
            let input = input.clone();
            async move {
                if let Some(batch) = receiver.recv().await {
                    return Some((batch, (receiver, reading)));
                }
                // A reader that panicked closes the channel as one that came to the file's end does.
                let error = reading.take()?.await.err()?;
                Some((Err(unreadable(&input, format!("its reader ended before its time: {error}"))), (receiver, None)))
            }
        })))
    }
}

impl Warehouse for Files {
    fn describe(&self) -> String {
        "files".to_owned()
    }
}
