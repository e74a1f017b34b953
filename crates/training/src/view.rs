//! The training view: a dataset version by one spec, split by time.
//!
//! Each file of the version becomes one file per channel, and a document that says so, written last: a view that was cut off
//! goes on where it stopped. The view's address follows from the dataset's, the spec's (with its lookup tables) and the split,
//! so that the same inputs are the same view.
//!
//! Rows of the latest part of the time span are **held out**: no job sees them, the gate compares models on them. They are kept
//! as they came (JSON lines of raw inputs), since two models may have two specs.

use std::{collections::BTreeMap, sync::Arc};

use arrow_array::{Array, BooleanArray, RecordBatch, cast::AsArray, types::TimestampMicrosecondType};
use arrow_schema::{DataType, TimeUnit};
use arrow_select::filter::filter_record_batch;
use bytes::Bytes;
use cloud::object_store::{GetObject, PutCondition, PutObject};
use datasets::Manifest;
use domain::{ModelName, digest::sha256_hex, lake};
use evaluation::drift::TrainingBaseline;
use feature_batch::{Options, Source, Summary, ViewFormat};
use features::Plan;
use jiff::Timestamp;
use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};
use serde::{Deserialize, Serialize};

use crate::{
    ChannelFormat, SplitPlan, TrainingError,
    objects::{put_once, read_json},
    raw_rows,
};

/// The form of a view. It is part of the address.
const FORMAT: &str = "mannen-view-1";
/// Event time of a row.
const REQUESTED_AT: &str = "requested_at";
/// The most rows that are held out: more tell nothing new.
pub(crate) const MAX_HELD_OUT_ROWS: u64 = 200_000;

/// What rows are used for.
pub const TRAIN: &str = "train";
/// What early stopping and the like look at.
pub const VALIDATION: &str = "validation";
/// What no job sees.
pub const HELD_OUT: &str = "held-out";

/// Which rows go where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Rows before are trained on.
    pub train_until: Timestamp,
    /// Rows from here on are held out; those between are for validation.
    pub held_out_from: Timestamp,
}

impl Split {
    /// Of the time span that a dataset version has.
    ///
    /// # Errors
    /// There is no column of times, or it is empty.
    pub fn of(manifest: &Manifest, plan: SplitPlan) -> Result<Self, TrainingError> {
        let dataset = &manifest.identity.dataset;
        let wrong = |detail: &str| TrainingError::Rows { dataset: dataset.clone(), detail: detail.to_owned() };
        let column = manifest.column(REQUESTED_AT).and_then(|column| column.numbers.as_ref());
        let column = column.ok_or_else(|| wrong("it has no column `requested_at` of timestamps"))?;
        let (min, max) =
            column.min.zip(column.max).ok_or_else(|| wrong("no row has a time in column `requested_at`"))?;
        let at = |share: f64| {
            // The end is not a row's time: with no share held out, the last row is trained on.
            let micros = min + (max + 1.0 - min) * share;
            Timestamp::from_microsecond(micros.round() as i64).map_err(|_| wrong("times are out of range"))
        };
        let held_out_from = at(1.0 - plan.held_out)?;
        Ok(Self { train_until: at((1.0 - plan.held_out - plan.validation).max(0.0))?, held_out_from })
    }
}

/// A view that is to be, or is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewPlan {
    /// The model.
    pub model: ModelName,
    /// The view's address.
    pub address: String,
    /// Which rows go where.
    pub split: Split,
    /// What channels are written as.
    pub format: ChannelFormat,
}

impl ViewPlan {
    /// Of a dataset version by a compiled spec.
    ///
    /// # Errors
    /// As [`Split::of`].
    pub fn of(
        model: &ModelName,
        manifest: &Manifest,
        plan: &Plan,
        split: SplitPlan,
        format: ChannelFormat,
    ) -> Result<Self, TrainingError> {
        let split = Split::of(manifest, split)?;
        let (dataset, spec) = (&manifest.address, plan.transform_hash());
        let Split { train_until, held_out_from } = split;
        let identity = format!("{FORMAT}\n{dataset}\n{spec}\n{train_until}\n{held_out_from}\n{}", format.extension());
        Ok(Self { model: model.clone(), address: sha256_hex(identity.as_bytes()), split, format })
    }
}

/// Rows by channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChannelRows {
    /// Trained on.
    pub train: u64,
    /// For validation.
    pub validation: u64,
    /// Held out, of them those that are kept.
    pub held_out: u64,
}

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct PartSummary {
    read: u64,
    rows: ChannelRows,
    rejected: BTreeMap<String, u64>,
}

/// What a view is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewSummary {
    /// Its address.
    pub view: String,
    /// The dataset version that it is made of.
    pub dataset: String,
    /// SHA-256 of the spec in its canonical form.
    pub spec_hash: String,
    /// Which rows went where.
    #[serde(flatten)]
    pub split: Split,
    /// The version's files.
    pub files: usize,
    /// Rows of the version, without a time those that have none.
    pub read: u64,
    /// Rows by channel.
    pub rows: ChannelRows,
    /// Rows left out, by reason.
    pub rejected: BTreeMap<String, u64>,
}

impl ViewSummary {
    /// The share of the rows that is unusable, 0–1.
    pub fn rejected_share(&self) -> f64 {
        self.rejected.values().sum::<u64>() as f64 / self.read.max(1) as f64
    }
}

/// Makes a view, file by file; those that are made already are not made again. `None` where `go_on` says that time is up: call
/// again.
///
/// # Errors
/// The lake, a file that is no Parquet, rows of which none is usable.
pub async fn make_view<S: GetObject + PutObject>(
    lake: &S,
    view: &ViewPlan,
    manifest: &Manifest,
    plan: &Arc<Plan>,
    go_on: &(dyn Fn() -> bool + Send + Sync),
) -> Result<Option<ViewSummary>, TrainingError> {
    let summary_key = lake::training_view_summary(&view.model, &view.address);
    if let Some(summary) = read_json(lake, &summary_key).await? {
        return Ok(Some(summary));
    }
    let mut total = PartSummary::default();
    for (number, file) in manifest.files.iter().enumerate() {
        let key = lake::training_view_part(&view.model, &view.address, number);
        let part = match read_json(lake, &key).await? {
            Some(part) => part,
            None if number > 0 && !go_on() => return Ok(None),
            None => {
                let part = make_part(lake, view, manifest, plan, number, &file.key).await?;
                put_once(lake, &key, &part).await?;
                part
            }
        };
        total.read += part.read;
        total.rows.train += part.rows.train;
        total.rows.validation += part.rows.validation;
        total.rows.held_out += part.rows.held_out;
        for (reason, rows) in part.rejected {
            *total.rejected.entry(reason).or_default() += rows;
        }
    }
    if total.rows.train == 0 {
        let (dataset, reasons) = (manifest.identity.dataset.clone(), &total.rejected);
        let detail = format!("of {} rows, none before {} is usable: {reasons:?}", total.read, view.split.train_until);
        return Err(TrainingError::Rows { dataset, detail });
    }
    let summary = ViewSummary {
        view: view.address.clone(),
        dataset: manifest.address.clone(),
        spec_hash: plan.hash().to_owned(),
        split: view.split,
        files: manifest.files.len(),
        read: total.read,
        rows: total.rows,
        rejected: total.rejected,
    };
    put_once(lake, &summary_key, &summary).await?;
    Ok(Some(summary))
}

async fn make_part<S: GetObject + PutObject>(
    lake: &S,
    view: &ViewPlan,
    manifest: &Manifest,
    plan: &Arc<Plan>,
    number: usize,
    key: &str,
) -> Result<PartSummary, TrainingError> {
    let object = lake.get_object(key, None).await?.found();
    let bytes = object.ok_or_else(|| TrainingError::unusable(key, "it is not there"))?.bytes;
    let (plan, split, name, format) = (Arc::clone(plan), view.split, key.to_owned(), view.format);
    // Files have random rows (a file is a range of rows' hashes), so that their first ones are as good as any.
    let held_out_rows = MAX_HELD_OUT_ROWS.div_ceil(manifest.files.len().max(1) as u64);
    let made = tokio::task::spawn_blocking(move || transform(&name, bytes, &plan, split, format, held_out_rows));
    let made = made.await.map_err(|error| TrainingError::Interrupted(error.to_string()))??;
    for (channel, bytes) in [(TRAIN, &made.train.0), (VALIDATION, &made.validation.0)] {
        if !bytes.is_empty() {
            let extension = view.format.extension();
            let key = lake::training_channel_part(&view.model, &view.address, channel, number, extension);
            lake.put_object(&key, bytes.clone(), PutCondition::Always).await?;
        }
    }
    if !made.held_out.is_empty() {
        let key = lake::training_channel_part(&view.model, &view.address, HELD_OUT, number, "jsonl");
        lake.put_object(&key, made.held_out, PutCondition::Always).await?;
    }
    let mut rejected = made.train.1.rejected.clone();
    for (reason, rows) in &made.validation.1.rejected {
        *rejected.entry(reason.clone()).or_default() += rows;
    }
    if number == 0 && made.train.1.written > 0 {
        put_baseline(lake, &view.model, &made.train.1).await?;
    }
    let rows = ChannelRows {
        train: made.train.1.written,
        validation: made.validation.1.written,
        held_out: made.held_out_rows,
    };
    Ok(PartSummary { read: made.read, rows, rejected })
}

/// The distributions that drift is told against: of the first file's rows, which stand for all, since a file has random rows.
async fn put_baseline<S: PutObject>(lake: &S, model: &ModelName, summary: &Summary) -> Result<(), TrainingError> {
    let Summary { spec_hash, columns, sample, written, .. } = summary;
    let baseline = TrainingBaseline::of_view(spec_hash, columns, &sample.columns, *written);
    let key = lake::training_baseline(model, spec_hash);
    lake.put_object(&key, baseline.to_json().into(), PutCondition::Always).await?;
    Ok(())
}

/// One file's rows, split and transformed.
struct Made {
    read: u64,
    train: (Bytes, Summary),
    validation: (Bytes, Summary),
    held_out: Bytes,
    held_out_rows: u64,
}

fn transform(
    name: &str,
    bytes: Bytes,
    plan: &Plan,
    split: Split,
    format: ChannelFormat,
    held_out_rows: u64,
) -> Result<Made, TrainingError> {
    let wrong = |detail: &dyn std::fmt::Display| TrainingError::unusable(name, detail);
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| wrong(&error))?;
    let reader = reader.with_batch_size(8_192).build().map_err(|error| wrong(&error))?;
    let bounds = [i64::MIN, split.train_until.as_microsecond(), split.held_out_from.as_microsecond(), i64::MAX];
    let mut channels: [Vec<RecordBatch>; 3] = Default::default();
    let mut read = 0;
    for batch in reader {
        let batch = batch.map_err(|error| wrong(&error))?;
        read += batch.num_rows() as u64;
        let times = batch
            .column_by_name(REQUESTED_AT)
            .filter(|column| matches!(column.data_type(), DataType::Timestamp(TimeUnit::Microsecond, _)))
            .ok_or_else(|| wrong(&"it has no column `requested_at` of timestamps in microseconds"))?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        for (channel, pair) in channels.iter_mut().zip(bounds.windows(2)) {
            let within: BooleanArray = times
                .iter()
                .map(|time| time.is_some_and(|time| (pair[0]..pair[1]).contains(&time)))
                .map(Some)
                .collect();
            if within.true_count() > 0 {
                channel.push(filter_record_batch(&batch, &within).map_err(|error| wrong(&error))?);
            }
        }
    }
    let [train, validation, held_out] = channels;
    let of = |batches: &[RecordBatch]| -> Result<(Bytes, Summary), TrainingError> {
        let sources = match plain_parquet(batches).map_err(|error| wrong(&error))? {
            Some(bytes) => vec![Source { name: name.to_owned(), bytes: Box::new(bytes) }],
            None => Vec::new(),
        };
        let format = match format {
            ChannelFormat::Csv => ViewFormat::Csv,
            ChannelFormat::Parquet => ViewFormat::Parquet,
        };
        let (mut view, mut rejects) = (Vec::new(), Vec::new());
        let options = Options { format, threads: 1 };
        let summary = feature_batch::transform(plan, sources, &mut view, &mut rejects, options, &mut |_| {});
        let summary = summary.map_err(|error| wrong(&error))?;
        // A channel's file without rows makes SageMaker's algorithms fail.
        Ok((if summary.written > 0 { view.into() } else { Bytes::new() }, summary))
    };
    let (held_out, held_out_rows) = raw_rows::json_lines(&held_out, held_out_rows);
    Ok(Made { read, train: of(&train)?, validation: of(&validation)?, held_out: held_out.into(), held_out_rows })
}

/// Rows in memory, as a file that the transform reads; none without rows.
fn plain_parquet(batches: &[RecordBatch]) -> Result<Option<Bytes>, parquet::errors::ParquetError> {
    let Some(first) = batches.first() else { return Ok(None) };
    let mut writer = ArrowWriter::try_new(Vec::new(), first.schema(), None)?;
    for batch in batches {
        writer.write(batch)?;
    }
    Ok(Some(writer.into_inner()?.into()))
}
