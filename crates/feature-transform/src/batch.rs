//! The batch transform of one raw object: view and rejects into the lake, the summary last.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use cloud::object_store::{
    GetObject, GetRange, HeadObject, ObjectHead, PutCondition, PutMultipart, PutObject, StoreError,
};
use domain::{ModelName, lake};
use evaluation::drift::TrainingBaseline;
use feature_batch::{BatchError, Options, RejectLine, Source, Summary};
use features::Plan;
use lambda_runtime::tracing::{error, info};
use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Handle;

use crate::{
    BatchTransformError,
    object_io::{ObjectSource, ObjectWriter},
};

/// The verbs that a batch transform needs.
pub trait BatchStore: GetObject + HeadObject + GetRange + PutObject + PutMultipart + 'static {}

impl<T: GetObject + HeadObject + GetRange + PutObject + PutMultipart + 'static> BatchStore for T {}

/// What became of an object.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ObjectOutcome {
    /// The view, the rejects and the summary are there.
    Transformed {
        /// The summary's key.
        run: String,
        /// The view's key; none where no row is left.
        view: Option<String>,
        /// Rows read.
        rows: u64,
        /// Rows of the view.
        written: u64,
    },
    /// An earlier event had it transformed: nothing was done.
    AlreadyTransformed {
        /// The summary's key.
        run: String,
    },
    /// It cannot be transformed, and another try would not help; the summary and the rejects say why.
    Failed {
        /// The summary's key.
        run: String,
        /// A stable code.
        reason: String,
    },
    /// There is no such object (any more).
    Missing,
}

/// The summary as it lies in the lake: the same for the same object and spec.
#[derive(Serialize)]
struct RunDocument<'a> {
    model: &'a ModelName,
    input: &'a str,
    etag: &'a str,
    spec_hash: &'a str,
    /// The SHA-256 of each lookup table by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    lookups: BTreeMap<&'a str, &'a str>,
    view: Option<&'a str>,
    rejects: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failure<'a>>,
    #[serde(flatten)]
    summary: Option<&'a Summary>,
}

#[derive(Serialize)]
struct Failure<'a> {
    reason: &'a str,
    detail: &'a str,
}

/// Transforms the object under `key`.
///
/// # Errors
/// The store failed: another try may succeed, and writes the same objects.
pub async fn transform_object<S: BatchStore>(
    store: &Arc<S>,
    plan: &Arc<Plan>,
    model: &ModelName,
    key: &str,
    options: Options,
) -> Result<ObjectOutcome, BatchTransformError> {
    let Some(head) = store.head_object(key).await? else { return Ok(ObjectOutcome::Missing) };
    let format = options.format.extension();
    let digest = lake::raw_object_digest(key, &head.etag.0);
    // Another lookup table makes other rows of the same spec.
    let transform_hash = plan.transform_hash();
    let run_key = lake::feature_run(model, &transform_hash, format, &digest);
    let earlier = store.get_object(&run_key, None).await?.found();
    if earlier.is_some_and(|run| succeeded(&run.bytes)) {
        return Ok(ObjectOutcome::AlreadyTransformed { run: run_key });
    }
    let job = Job {
        store: Arc::clone(store),
        plan: Arc::clone(plan),
        runtime: Handle::current(),
        key: key.to_owned(),
        view_key: lake::feature_view(model, &transform_hash, format, &digest),
        rejects_key: lake::feature_rejects(model, &transform_hash, &digest),
        options,
    };
    let (view_key, rejects_key) = (job.view_key.clone(), job.rejects_key.clone());
    let baseline_key = lake::view_baseline(model, &transform_hash, &digest);
    let etag = head.etag.0.clone();
    let result = tokio::task::spawn_blocking(move || job.run(head))
        .await
        .map_err(|error| BatchTransformError::Interrupted { key: key.to_owned(), detail: error.to_string() })?;
    let mut document = RunDocument {
        model,
        input: key,
        etag: &etag,
        spec_hash: plan.hash(),
        lookups: plan.lookups().collect(),
        view: None,
        rejects: None,
        baseline: None,
        failure: None,
        summary: None,
    };
    let (outcome, bytes) = match &result {
        Ok(summary) => {
            document.summary = Some(summary);
            document.view = (summary.written > 0).then_some(view_key.as_str());
            document.rejects = (summary.rejected_rows() > 0).then_some(rejects_key.as_str());
            if summary.written > 0 {
                put_baseline(store.as_ref(), model, &baseline_key, summary).await?;
                document.baseline = Some(&baseline_key);
            }
            let (rows, written, rows_per_s) = (summary.rows, summary.written, summary.rows_per_s());
            info!(key, rows, written, rejected = summary.rejected_rows(), rows_per_s, "transformed");
            let outcome = ObjectOutcome::Transformed {
                run: run_key.clone(),
                view: document.view.map(str::to_owned),
                rows,
                written,
            };
            (outcome, serde_json::to_vec_pretty(&document))
        }
        Err(failure @ (BatchError::Source { .. } | BatchError::NoLabel)) => {
            let (reason, detail) = (failure.reason(), failure.to_string());
            error!(key, reason, detail, "cannot be transformed");
            document.rejects = Some(&rejects_key);
            document.failure = Some(Failure { reason, detail: &detail });
            store.put_object(&rejects_key, reject(key, failure, &detail).into(), PutCondition::Always).await?;
            (
                ObjectOutcome::Failed { run: run_key.clone(), reason: reason.to_owned() },
                serde_json::to_vec_pretty(&document),
            )
        }
        Err(error) => return Err(BatchTransformError::Interrupted { key: key.to_owned(), detail: error.to_string() }),
    };
    let bytes = bytes.unwrap_or_default();
    store.put_object(&run_key, bytes.into(), PutCondition::Always).await?;
    Ok(outcome)
}

/// The view's distributions: beside the view, and as the model's where it has none for this spec yet. Another one is made the
/// model's by `mannen drift baseline put`.
async fn put_baseline<S: PutObject>(
    store: &S,
    model: &ModelName,
    key: &str,
    summary: &Summary,
) -> Result<(), StoreError> {
    let Summary { spec_hash, columns, sample, written, .. } = summary;
    let json = Bytes::from(TrainingBaseline::of_view(spec_hash, columns, &sample.columns, *written).to_json());
    store.put_object(key, json.clone(), PutCondition::Always).await?;
    store.put_object(&lake::training_baseline(model, spec_hash), json, PutCondition::IfAbsent).await?;
    Ok(())
}

/// Whether a run's document tells of a view. One that tells of a failure is tried again: the function may have learnt.
fn succeeded(document: &[u8]) -> bool {
    serde_json::from_slice::<Value>(document).is_ok_and(|document| document["failure"].is_null())
}

fn reject(key: &str, failure: &BatchError, detail: &str) -> Vec<u8> {
    let offset = if let BatchError::Source { offset, .. } = failure { *offset } else { None };
    let mut line = Vec::new();
    RejectLine { source: key, row: None, offset, input: None, reason: failure.reason(), detail, original: Value::Null }
        .write_to(&mut line);
    line
}

struct Job<S> {
    store: Arc<S>,
    plan: Arc<Plan>,
    runtime: Handle,
    key: String,
    view_key: String,
    rejects_key: String,
    options: Options,
}

impl<S: BatchStore> Job<S> {
    /// On a thread of its own, since it waits for the store.
    fn run(self, head: ObjectHead) -> Result<Summary, BatchError> {
        let Self { store, plan, runtime, key, view_key, rejects_key, options } = self;
        let bytes = ObjectSource::new(Arc::clone(&store), runtime.clone(), key.clone(), head);
        let mut view = ObjectWriter::new(Arc::clone(&store), runtime.clone(), view_key);
        let mut rejects = ObjectWriter::new(store, runtime, rejects_key);
        let sources = vec![Source { name: key, bytes: Box::new(bytes) }];
        let summary = feature_batch::transform(&plan, sources, &mut view, &mut rejects, options, &mut |_| {})?;
        let written = |what| move |error: StoreError| BatchError::Write { what, source: std::io::Error::other(error) };
        if summary.rejected_rows() > 0 {
            rejects.finish().map_err(written("rejects"))?;
        }
        // SageMaker's algorithms refuse a file without rows.
        if summary.written > 0 {
            view.finish().map_err(written("view"))?;
        }
        Ok(summary)
    }
}
