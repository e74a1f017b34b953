//! The transform: sources in, view and rejects out, on any number of threads.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use features::{FeatureTable, InputTable, Plan, RawColumn, Scratch};
use parquet::{errors::ParquetError, file::writer::SerializedFileWriter};

use crate::{
    BatchError, Progress, Source, SourceFormat, SourceSummary, Summary, ViewSample,
    batch::{Batch, Buffers},
    csv_reader::CsvReader,
    csv_view,
    in_order::InOrder,
    json_reader::JsonReader,
    parquet_column::{Chunks, ColumnEncoder},
    parquet_reader::ParquetReader,
    parquet_view::{self, Columns, Encoder, group_rows},
    rejects::RejectLines,
    source_columns::SourceColumns,
    text::{self, Opened},
};

/// What the training view is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewFormat {
    /// `text/csv`: no header, an empty cell for what is missing.
    Csv,
    /// Every column a double, zstd.
    Parquet,
}

impl ViewFormat {
    /// All formats.
    pub const ALL: [Self; 2] = [Self::Csv, Self::Parquet];

    /// The file name's extension.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }
}

/// How to transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What the view is written as.
    pub format: ViewFormat,
    /// How many threads work, the caller's among them; at least one.
    pub threads: usize,
}

/// How many batches may wait for an earlier one, per thread.
const AHEAD: u64 = 2;
const LABEL: &str = "label";

/// Transforms the sources, in order, into one training view and one file of rejects. Both are written from beginning to
/// end, and flushed.
///
/// # Errors
/// The spec has no label, a source cannot be read to its end, or a writer fails. What was written until then is of no
/// use.
pub fn transform<V: Write + Send, R: Write + Send>(
    plan: &Plan,
    sources: Vec<Source>,
    view: V,
    rejects: R,
    options: Options,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Summary, BatchError> {
    let began = Instant::now();
    if !plan.has_label() {
        return Err(BatchError::NoLabel);
    }
    let names: Vec<String> = std::iter::once(label_name(plan)).chain(plan.output_names().iter().cloned()).collect();
    let bytes_total = sources.iter().map(|source| source.bytes.size_bytes()).sum();
    let source_names: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
    let (file, view) = match options.format {
        ViewFormat::Csv => (None, Some(view)),
        ViewFormat::Parquet => (Some(parquet_view::create(view, &names, plan.hash()).map_err(view_failed)?), None),
    };
    let (file, encoder) = file.unzip();
    let threads = options.threads.max(1);
    let ahead = AHEAD * threads as u64;
    let sink = Sink {
        view,
        rejects,
        group: vec![Vec::new(); names.len()],
        spare: Vec::new(),
        group_rows: group_rows(names.len()),
        groups: 0,
        sample: ViewSample::new(names.len()),
        rejected: BTreeMap::new(),
        per_source: vec![(0, 0); source_names.len()],
        progress: Progress { rows: 0, rejected: 0, bytes: 0, bytes_total },
        tell: progress,
    };
    let run = Run {
        plan,
        names: &source_names,
        encoder: encoder.as_ref(),
        sources: Mutex::new(Sources::new(sources)),
        done: InOrder::new(ahead, sink),
        groups: InOrder::new(threads as u64, file),
        stopped: AtomicBool::new(false),
        failure: Mutex::new(None),
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| run.work());
        }
        run.work();
    });
    let Run { sources, done, groups, failure, .. } = run;
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let mut sink = done.into_sink();
    // Once more at the end: files without rows make no batch that would tell it.
    sink.progress.bytes = bytes_total;
    (sink.tell)(sink.progress);
    match (groups.into_sink(), &encoder, &mut sink.view) {
        (Some(mut file), Some(encoder), _) => {
            if sink.group.first().is_some_and(|label| !label.is_empty()) {
                let (mut column_encoder, mut chunks) = (ColumnEncoder::new().map_err(view_failed)?, Chunks::default());
                encoder.encode(&sink.group, &mut column_encoder, &mut chunks).map_err(view_failed)?;
                parquet_view::append(&mut file, &mut chunks).map_err(view_failed)?;
            }
            file.finish().map_err(view_failed)?;
            file.inner_mut().flush().map_err(write_failed("view"))?;
        }
        (_, _, view) => view.iter_mut().try_for_each(Write::flush).map_err(write_failed("view"))?,
    }
    sink.rejects.flush().map_err(write_failed("rejects"))?;
    let opened = sources.into_inner().unwrap_or_else(PoisonError::into_inner).finished;
    let summaries =
        opened.into_iter().zip(&source_names).zip(&sink.per_source).map(|((found, name), &(rows, written))| {
            let SourceColumns { missing, unused } = found.columns;
            SourceSummary {
                name: name.clone(),
                format: found.format,
                size_bytes: found.size_bytes,
                rows,
                written,
                missing_inputs: missing,
                unused_columns: unused.into_iter().collect(),
            }
        });
    Ok(Summary {
        spec_hash: plan.hash().to_owned(),
        columns: names,
        rows: sink.progress.rows,
        written: sink.progress.rows - sink.progress.rejected,
        rejected: sink.rejected,
        sources: summaries.collect(),
        sample: sink.sample,
        elapsed: began.elapsed(),
    })
}

fn label_name(plan: &Plan) -> String {
    let mut name = LABEL.to_owned();
    while plan.output_names().contains(&name) {
        name.push('_');
    }
    name
}

fn write_failed(what: &'static str) -> impl Fn(io::Error) -> BatchError {
    move |source| BatchError::Write { what, source }
}

fn view_failed(error: ParquetError) -> BatchError {
    let source = match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(inner) => io::Error::other(inner),
        },
        error => io::Error::other(error),
    };
    BatchError::Write { what: "view", source }
}

/// The sources, read one after the other by one thread at a time.
#[derive(Default)]
pub(crate) struct Sources {
    waiting: VecDeque<Source>,
    open: Option<Open>,
    finished: Vec<Finished>,
    next_number: u64,
    /// Bytes of the finished ones.
    bytes_done: u64,
}

struct Open {
    reader: Reader,
    format: SourceFormat,
    size_bytes: u64,
}

struct Finished {
    format: SourceFormat,
    size_bytes: u64,
    columns: SourceColumns,
}

enum Reader {
    Parquet(Box<ParquetReader>),
    Csv(Box<CsvReader>),
    Json(Box<JsonReader>),
}

impl Sources {
    pub(crate) fn new(sources: Vec<Source>) -> Self {
        Self { waiting: sources.into(), ..Self::default() }
    }

    /// The next batch and its number; `None` when all sources are at their end.
    pub(crate) fn next(&mut self, plan: &Plan, names: &[String]) -> Result<Option<(u64, Batch)>, BatchError> {
        loop {
            let name = names.get(self.finished.len()).map_or("", String::as_str);
            let open = match &mut self.open {
                Some(open) => open,
                None => match self.waiting.pop_front() {
                    None => return Ok(None),
                    Some(source) => self.open.insert(open(plan, source).map_err(|error| error.of(name))?),
                },
            };
            let batch = match &mut open.reader {
                Reader::Parquet(reader) => reader.next_batch(),
                Reader::Csv(reader) => reader.next_batch(),
                Reader::Json(reader) => reader.next_batch(),
            };
            if let Some(mut batch) = batch.map_err(|error| error.of(name))? {
                batch.source = self.finished.len();
                batch.bytes_done += self.bytes_done;
                self.next_number += 1;
                return Ok(Some((self.next_number - 1, batch)));
            }
            if let Some(Open { reader, format, size_bytes }) = self.open.take() {
                self.bytes_done += size_bytes;
                let columns = match reader {
                    Reader::Parquet(reader) => reader.columns,
                    Reader::Csv(reader) => reader.columns,
                    Reader::Json(reader) => reader.columns,
                };
                self.finished.push(Finished { format, size_bytes, columns });
            }
        }
    }
}

fn open(plan: &Plan, source: Source) -> Result<Open, crate::error::ReadError> {
    let size_bytes = source.bytes.size_bytes();
    let (reader, format) = match text::open(source.bytes)? {
        Opened::Parquet(source) => {
            (Reader::Parquet(Box::new(ParquetReader::new(plan, &source)?)), SourceFormat::Parquet)
        }
        Opened::Text(SourceFormat::JsonLines, text, bytes_read) => {
            (Reader::Json(Box::new(JsonReader::new(plan, text, bytes_read))), SourceFormat::JsonLines)
        }
        Opened::Text(_, text, bytes_read) => {
            (Reader::Csv(Box::new(CsvReader::new(plan, text, bytes_read)?)), SourceFormat::Csv)
        }
    };
    Ok(Open { reader, format, size_bytes })
}

/// What became of a batch.
struct Done {
    source: usize,
    rows: u64,
    written: u64,
    /// Lines of the view, where it is CSV.
    csv: Vec<u8>,
    /// The view's columns, and which rows are kept where not all are.
    columns: (FeatureTable, Option<Vec<bool>>),
    rejects: Vec<u8>,
    rejected: BTreeMap<&'static str, u64>,
    bytes: u64,
}

/// Takes batches in order.
struct Sink<'p, V, R> {
    /// Where the view is CSV.
    view: Option<V>,
    rejects: R,
    group: Columns,
    /// Columns that have been encoded, to be used again.
    spare: Vec<Columns>,
    group_rows: usize,
    /// Row groups made so far.
    groups: u64,
    sample: ViewSample,
    rejected: BTreeMap<String, u64>,
    /// Rows read and written, by source.
    per_source: Vec<(u64, u64)>,
    progress: Progress,
    tell: &'p mut (dyn FnMut(Progress) + Send),
}

impl<V: Write, R: Write> Sink<'_, V, R> {
    /// Takes a batch; row groups that are full go to `full` with their numbers.
    /// The batch's table goes to `tables`.
    fn take(
        &mut self,
        done: Done,
        full: &mut Vec<(u64, Columns)>,
        tables: &mut Vec<FeatureTable>,
    ) -> Result<(), BatchError> {
        if let Some(view) = &mut self.view {
            view.write_all(&done.csv).map_err(write_failed("view"))?;
        }
        let (table, keep) = done.columns;
        let columns = std::iter::once(table.label()).chain(table.outputs().iter().map(Vec::as_slice));
        let is_kept = |row: usize| keep.as_ref().is_none_or(|keep| keep[row]);
        for row in (0..table.rows()).filter(|row| is_kept(*row)) {
            self.sample.offer(|column| match column {
                0 => table.label()[row],
                _ => table.outputs()[column - 1][row],
            });
        }
        if self.view.is_none() {
            match &keep {
                None => self.append(&columns, table.rows(), full),
                Some(keep) => {
                    let kept: Columns = columns
                        .map(|column| {
                            column.iter().zip(keep).filter(|(_, keep)| **keep).map(|(&value, _)| value).collect()
                        })
                        .collect();
                    self.append(&kept.iter().map(Vec::as_slice), done.written as usize, full);
                }
            }
        }
        tables.push(table);
        self.rejects.write_all(&done.rejects).map_err(write_failed("rejects"))?;
        for (reason, count) in done.rejected {
            *self.rejected.entry(reason.to_owned()).or_default() += count;
        }
        let (rows, written) = &mut self.per_source[done.source];
        *rows += done.rows;
        *written += done.written;
        self.progress.rows += done.rows;
        self.progress.rejected += done.rows - done.written;
        self.progress.bytes = done.bytes;
        (self.tell)(self.progress);
        Ok(())
    }

    fn append<'c>(
        &mut self,
        columns: &(impl Iterator<Item = &'c [f64]> + Clone),
        rows: usize,
        full: &mut Vec<(u64, Columns)>,
    ) {
        let mut start = 0;
        while start < rows {
            let room = self.group_rows - self.group.first().map_or(0, Vec::len);
            let run = (rows - start).min(room);
            for (into, column) in self.group.iter_mut().zip(columns.clone()) {
                into.reserve_exact(if into.is_empty() { self.group_rows } else { 0 });
                into.extend_from_slice(&column[start..start + run]);
            }
            start += run;
            if run == room {
                let empty = self.spare.pop().unwrap_or_else(|| vec![Vec::new(); self.group.len()]);
                full.push((self.groups, std::mem::replace(&mut self.group, empty)));
                self.groups += 1;
            }
        }
    }
}

struct Run<'p, V: Write + Send, R> {
    plan: &'p Plan,
    names: &'p [String],
    /// Where the view is Parquet.
    encoder: Option<&'p Encoder>,
    sources: Mutex<Sources>,
    done: InOrder<Done, Sink<'p, V, R>>,
    groups: InOrder<Chunks, Option<SerializedFileWriter<V>>>,
    stopped: AtomicBool,
    failure: Mutex<Option<BatchError>>,
}

/// What a thread reuses from batch to batch.
struct Desk {
    inputs: InputTable,
    scratch: Scratch,
    buffers: Vec<Buffers>,
    /// Results whose rows have been taken.
    tables: Vec<FeatureTable>,
}

impl<V: Write + Send, R: Write + Send> Run<'_, V, R> {
    /// One thread's work, until the sources are at their end or something fails.
    fn work(&self) {
        let guard = StopOnPanic(self);
        if let Err(error) = self.take_batches() {
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            self.stop();
        }
        std::mem::forget(guard);
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.done.wake();
        self.groups.wake();
    }

    fn take_batches(&self) -> Result<(), BatchError> {
        let mut desk = Desk {
            inputs: InputTable::new(self.plan),
            scratch: Scratch::default(),
            buffers: Vec::new(),
            tables: Vec::new(),
        };
        let mut column_encoder = ColumnEncoder::new().map_err(view_failed)?;
        let (mut spare, mut written) = (Vec::new(), Vec::new());
        while !self.stopped.load(Ordering::Relaxed) {
            let next = self.sources.lock().unwrap_or_else(PoisonError::into_inner).next(self.plan, self.names)?;
            let Some((number, batch)) = next else { return Ok(()) };
            let done = self.batch(&batch, &mut desk)?;
            drop(batch);
            let mut full = Vec::new();
            self.done.put(number, done, &self.stopped, |sink, done| {
                sink.spare.append(&mut spare);
                sink.take(done, &mut full, &mut desk.tables)
            })?;
            for (group, mut columns) in full {
                let Some(encoder) = self.encoder else { continue };
                let mut chunks = written.pop().unwrap_or_default();
                encoder.encode(&columns, &mut column_encoder, &mut chunks).map_err(view_failed)?;
                columns.iter_mut().for_each(Vec::clear);
                spare.push(columns);
                self.groups.put(group, chunks, &self.stopped, |file, mut chunks| {
                    if let Some(file) = file {
                        parquet_view::append(file, &mut chunks).map_err(view_failed)?;
                    }
                    written.push(chunks);
                    Ok::<(), BatchError>(())
                })?;
            }
        }
        Ok(())
    }

    fn batch(&self, batch: &Batch, desk: &mut Desk) -> Result<Done, BatchError> {
        let Desk { inputs, scratch, buffers, tables } = desk;
        inputs.clear();
        buffers.resize_with(batch.columns.len(), Buffers::default);
        let columns: Vec<RawColumn<'_>> = batch
            .columns
            .iter()
            .zip(buffers.iter_mut())
            .map(|((input, raw), buffers)| raw.column(&self.plan.inputs()[*input].name, buffers))
            .collect();
        let found = self.plan.read_columns(batch.rows, &columns, inputs)?;
        let mut table = tables.pop().unwrap_or_default();
        self.plan.evaluate_training(inputs, scratch, &mut table);

        let source = self.names[batch.source].as_str();
        let mut lines = RejectLines { source, plan: self.plan, batch, lines: Vec::new(), rejected: BTreeMap::new() };
        let unlabelled = table.label().iter().filter(|label| label.is_nan()).count();
        lines.add(found, &table, unlabelled > 0);
        let keep = (unlabelled > 0).then(|| table.label().iter().map(|label| !label.is_nan()).collect::<Vec<bool>>());
        let mut csv = Vec::new();
        if self.encoder.is_none() {
            csv.reserve(table.rows() * (1 + table.outputs().len()) * 12);
            csv_view::write(&mut csv, table.label(), table.outputs(), |row| keep.as_ref().is_none_or(|keep| keep[row]));
        }
        Ok(Done {
            source: batch.source,
            rows: (batch.rows + batch.unreadable.len()) as u64,
            written: (table.rows() - unlabelled) as u64,
            csv,
            rejects: lines.lines,
            rejected: lines.rejected,
            bytes: batch.bytes_done,
            columns: (table, keep),
        })
    }
}

/// A panic of one thread must not leave the others waiting for its batch; it is passed on by the scope.
struct StopOnPanic<'a, 'p, V: Write + Send, R: Write + Send>(&'a Run<'p, V, R>);

impl<V: Write + Send, R: Write + Send> Drop for StopOnPanic<'_, '_, V, R> {
    fn drop(&mut self) {
        self.0.stop();
    }
}
