//! The gate: a new version against the champion on the same held-out rows, before anybody may deploy it.
//!
//! The champion is the model that answers for the control arm of the release in force. Where there is none (or its version was
//! not registered here) the naive estimate, the spec's fallback, is what must be beaten.

use std::{collections::BTreeMap, sync::Arc};

use cloud::{
    object_store::{GetObject, ListObjects, PutCondition, PutObject},
    sagemaker_control::CallSageMaker,
};
use domain::{FeatureSpecSource, ModelName, ModelVersion, lake};
use evaluation::{
    drift::ModelBaseline,
    gate::{PairedComparison, PairedRow, compare_paired},
};
use feature_batch::{Options, Source, ViewFormat};
use features::{FeatureTable, InputTable, Plan, Scratch, SegmentRow, Segments};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    JobPlace, TrainingError, TrainingOrder,
    definition::{compile, resources},
    held_out::{
        HeldOutFeatures, HeldOutRow, Predicted, PredictionJob, features_of, known, read_held_out, read_predictions,
        start_predictions,
    },
    objects::{put_once, read_json},
    view::{MAX_HELD_OUT_ROWS, ViewSummary},
};

/// Rows that go through both readers, to see that they make the same bits.
const SKEW_ROWS: usize = 2_000;

/// What a version is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "version", rename_all = "snake_case")]
pub enum Reference {
    /// The model in force.
    Champion(String),
    /// The naive estimate.
    Fallback,
}

/// A comparison under way: written once, so that the champion is the same from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateRun {
    /// The version that is judged.
    pub version: String,
    /// What it is compared with.
    pub reference: Reference,
    /// The jobs that predict the held-out rows: the version's, and the champion's.
    pub jobs: Vec<PredictionJob>,
    /// When it began, UTC.
    pub started_at: Timestamp,
}

/// One thing that is asked of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateCheck {
    /// What.
    pub check: String,
    /// Whether it holds.
    pub passed: bool,
    /// What was found.
    pub detail: String,
}

/// The gate's verdict. Immutable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateVerdict {
    /// The version.
    pub version: String,
    /// What it was compared with.
    pub reference: Reference,
    /// The view whose held-out rows it was judged on.
    pub view: String,
    /// All checks, in order.
    pub checks: Vec<GateCheck>,
    /// The errors; absent where there are no predictions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<PairedComparison>,
    /// Every check holds: the version may be approved.
    pub offered: bool,
    /// When, UTC.
    pub decided_at: Timestamp,
}

impl GateVerdict {
    /// What does not hold.
    pub fn refusals(&self) -> impl Iterator<Item = &GateCheck> {
        self.checks.iter().filter(|check| !check.passed)
    }
}

/// How the gate stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Gate {
    /// Predictions are being made.
    UnderWay,
    /// Decided.
    Decided {
        /// The verdict.
        verdict: Box<GateVerdict>,
        /// Whether that is not written down yet.
        is_new: bool,
    },
}

/// The verbs of the object store that the gate needs.
pub trait GateStore: GetObject + PutObject + ListObjects {}

impl<T: GetObject + PutObject + ListObjects> GateStore for T {}

/// A verdict.
///
/// # Errors
/// The lake.
pub async fn read_verdict<S: GetObject>(
    lake: &S,
    model: &ModelName,
    version: &str,
) -> Result<Option<GateVerdict>, TrainingError> {
    read_json(lake, &lake::gate_verdict(model, version)).await
}

/// Takes a registered version one step on: starts the predictions, or decides where they are made. The verdict is the caller's to
/// write down, once it is told.
///
/// # Errors
/// The lake or SageMaker; the next call goes on.
pub async fn judge<S, C>(
    lake: &S,
    sagemaker: &C,
    order: &TrainingOrder,
    registered: &ModelVersion,
    place: &JobPlace,
    now: Timestamp,
) -> Result<Gate, TrainingError>
where
    S: GateStore,
    C: CallSageMaker + ?Sized,
{
    let (model, version, view) = (&order.model, &registered.version, &order.lineage.view);
    if let Some(verdict) = read_verdict(lake, model, version).await? {
        return Ok(Gate::Decided { verdict: Box::new(verdict), is_new: false });
    }
    let rows = read_held_out(lake, model, view, MAX_HELD_OUT_ROWS as usize).await?;
    let run_key = format!("{}run.json", lake::held_out_predictions(model, view, version));
    let run: GateRun = match read_json(lake, &run_key).await? {
        Some(run) => run,
        None => {
            let run = start(lake, sagemaker, order, registered, place, &rows, now).await?;
            put_once(lake, &run_key, &run).await?;
            // Whoever came first decides which champion.
            read_json(lake, &run_key).await?.unwrap_or(run)
        }
    };
    let mut judged = Judged { order, version: registered, run: &run, rows: &rows, checks: Vec::new() };
    let challenger_plan = compile(lake, &order.lineage.spec, &order.lineage.lookups).await?;
    let challenger = features_of(&challenger_plan, &rows);
    let mut answers: BTreeMap<&str, (Vec<u32>, Vec<f64>)> = BTreeMap::new();
    let mut failed = None;
    for job in &run.jobs {
        let features = if job.version == *version {
            challenger.clone()
        } else {
            let champion = read_version(lake, model, &job.version).await?;
            let plan = compile(lake, &champion.lineage.spec, &champion.lineage.lookups).await?;
            features_of(&plan, &rows)
        };
        match read_predictions(lake, sagemaker, model, view, job, features.rows.len()).await? {
            Predicted::UnderWay => return Ok(Gate::UnderWay),
            Predicted::Answers(numbers) => {
                // The comparison leaves such rows out. Of the champion that is its own loss; a challenger could hide its hardest rows.
                let odd = numbers.iter().filter(|number| !number.is_finite()).count();
                if odd > 0 && job.version == *version {
                    failed = Some(format!("{version}: {odd} of {} answers are not finite numbers", numbers.len()));
                } else {
                    answers.insert(job.version.as_str(), (features.rows, numbers));
                }
            }
            Predicted::Failed(why) => failed = Some(format!("{}: {why}", job.version)),
        }
    }
    let summary: Option<ViewSummary> = read_json(lake, &lake::training_view_summary(model, view)).await?;
    judged.rows_checks(summary.as_ref(), &challenger, failed.as_deref());
    judged.skew_check(&challenger_plan);
    let comparison = if failed.is_none() {
        let segments = judged.segments(lake).await?;
        judged.compare(&challenger, &answers, segments)
    } else {
        None
    };
    if let Some((places, numbers)) = answers.get(version.as_str()) {
        let pairs = places.iter().zip(numbers).zip(&challenger.labels).map(|((_, said), actual)| (*said, *actual));
        put_baseline(lake, model, version, &order.lineage.spec, pairs).await?;
    }
    let checks = judged.checks;
    let verdict = GateVerdict {
        version: version.clone(),
        reference: run.reference.clone(),
        view: view.clone(),
        offered: checks.iter().all(|check| check.passed),
        checks,
        comparison,
        decided_at: now,
    };
    Ok(Gate::Decided { verdict: Box::new(verdict), is_new: true })
}

/// A registered version.
///
/// # Errors
/// There is none.
pub async fn read_version<S: GetObject>(
    lake: &S,
    model: &ModelName,
    version: &str,
) -> Result<ModelVersion, TrainingError> {
    let found = read_json(lake, &lake::model_version(model, version)).await?;
    found.ok_or_else(|| TrainingError::UnknownVersion { model: model.clone(), version: version.to_owned() })
}

async fn start<S, C>(
    lake: &S,
    sagemaker: &C,
    order: &TrainingOrder,
    registered: &ModelVersion,
    place: &JobPlace,
    rows: &[HeldOutRow],
    now: Timestamp,
) -> Result<GateRun, TrainingError>
where
    S: GateStore,
    C: CallSageMaker + ?Sized,
{
    let champion = champion(lake, &order.model).await?.filter(|champion| champion.version != registered.version);
    let reference =
        champion.as_ref().map_or(Reference::Fallback, |champion| Reference::Champion(champion.version.clone()));
    let mut jobs = Vec::new();
    for version in std::iter::once(registered).chain(&champion) {
        let plan = compile(lake, &version.lineage.spec, &version.lineage.lookups).await?;
        let features = features_of(&plan, rows);
        if features.files.is_empty() {
            continue;
        }
        let instance_type = &order.definition.plan.instance_type;
        let view = &order.lineage.view;
        jobs.push(start_predictions(lake, sagemaker, version, view, &features, place, instance_type).await?);
    }
    Ok(GateRun { version: registered.version.clone(), reference, jobs, started_at: now })
}

/// The registered model behind the control arm of the release in force.
///
/// # Errors
/// The lake.
pub async fn champion<S: GetObject>(lake: &S, model: &ModelName) -> Result<Option<ModelVersion>, TrainingError> {
    let Some(current) = releases::in_force(lake, model).await? else { return Ok(None) };
    let release = releases::read_release(lake, model, &current.pointer.release_id).await?;
    let Some(arm) = release.arms.first() else { return Ok(None) };
    read_json(lake, &lake::model_version(model, &arm.model_version)).await
}

/// The version's answers and errors on held-out rows: what the evaluator tells concept drift against.
async fn put_baseline<S: PutObject>(
    lake: &S,
    model: &ModelName,
    version: &str,
    spec: &FeatureSpecSource,
    pairs: impl Iterator<Item = (f64, f64)>,
) -> Result<(), TrainingError> {
    if let Some(baseline) = ModelBaseline::of(version, &spec.hash, pairs) {
        lake.put_object(&lake::model_baseline(model, version), baseline.to_json().into(), PutCondition::Always).await?;
    }
    Ok(())
}

struct Judged<'a> {
    order: &'a TrainingOrder,
    version: &'a ModelVersion,
    run: &'a GateRun,
    rows: &'a [HeldOutRow],
    checks: Vec<GateCheck>,
}

/// Each row's values in each segment, and the segments' names.
struct SegmentValues {
    names: Vec<String>,
    values: Vec<Arc<str>>,
}

impl Judged<'_> {
    fn check(&mut self, check: &str, passed: bool, detail: impl Into<String>) {
        self.checks.push(GateCheck { check: check.to_owned(), passed, detail: detail.into() });
    }

    fn rows_checks(&mut self, view: Option<&ViewSummary>, challenger: &HeldOutFeatures, failed: Option<&str>) {
        let gate = &self.order.definition.plan.gate;
        let (least, most) = (gate.min_rows, gate.max_rejected);
        if let Some(view) = view {
            let share = view.rejected_share();
            let detail =
                format!("{:.2} % of {} rows cannot be used; {:.2} % may be", share * 100.0, view.read, most * 100.0);
            self.check("usable rows", share <= most, detail);
        }
        let labelled = challenger.labels.iter().filter(|label| label.is_finite()).count() as u64;
        let detail = format!("{labelled} held-out rows with a label; {least} are needed");
        self.check("held-out rows", labelled >= least, detail);
        let detail = failed.map_or_else(|| "one number for each held-out row".to_owned(), str::to_owned);
        self.check("predictions", failed.is_none(), detail);
    }

    /// The reader of files and the reader of requests make the same bits of the same rows.
    fn skew_check(&mut self, plan: &Plan) {
        match skew(plan, &self.rows[..self.rows.len().min(SKEW_ROWS)]) {
            Ok((compared, None)) => {
                self.check(
                    "training-serving skew",
                    true,
                    format!("{compared} rows have the same bits by both readers"),
                );
            }
            Ok((_, Some(feature))) => {
                let detail = format!("feature `{feature}` has other bits as a file's row than as a request's");
                self.check("training-serving skew", false, detail);
            }
            Err(why) => self.check("training-serving skew", false, why),
        }
    }

    async fn segments<S: GetObject>(&self, lake: &S) -> Result<Option<SegmentValues>, TrainingError> {
        let Some(plan) = &self.order.definition.evaluation else { return Ok(None) };
        let lineage = &self.order.lineage;
        let resources = resources(lake, &lineage.lookups).await?;
        let segments = Segments::compile(&lineage.spec.toml, &resources, plan);
        let mut segments = segments.map_err(TrainingError::InvalidPlan)?;
        let spec = compile(lake, &lineage.spec, &lineage.lookups).await?;
        let of_scope = |row: &HeldOutRow, scope: features::Scope| {
            let named = spec.inputs().iter().filter(|input| input.scope == scope);
            let object: domain::Inputs =
                named.filter_map(|input| Some((input.name.clone(), row.inputs.get(&input.name)?.clone()))).collect();
            Value::Object(object).to_string()
        };
        let mut values = Vec::new();
        for row in self.rows {
            let inputs = of_scope(row, features::Scope::Request);
            let candidate_inputs = of_scope(row, features::Scope::Candidate);
            let row =
                SegmentRow { requested_at: row.requested_at, inputs: &inputs, candidate_inputs: &candidate_inputs };
            segments.evaluate([row], &mut values);
        }
        Ok(Some(SegmentValues { names: segments.names().to_vec(), values }))
    }

    fn compare(
        &mut self,
        challenger: &HeldOutFeatures,
        answers: &BTreeMap<&str, (Vec<u32>, Vec<f64>)>,
        segments: Option<SegmentValues>,
    ) -> Option<PairedComparison> {
        let SegmentValues { names, values } =
            segments.unwrap_or(SegmentValues { names: Vec::new(), values: Vec::new() });
        let (_, said) = answers.get(self.version.version.as_str())?;
        let reference: BTreeMap<u32, f64> = match &self.run.reference {
            Reference::Fallback => challenger.rows.iter().copied().zip(challenger.fallbacks.iter().copied()).collect(),
            Reference::Champion(champion) => {
                let (rows, said) = answers.get(champion.as_str())?;
                rows.iter().copied().zip(said.iter().copied()).collect()
            }
        };
        let rows = challenger.rows.iter().zip(said).zip(&challenger.labels).filter_map(|((place, said), actual)| {
            let at = *place as usize;
            Some(PairedRow {
                hour: self.rows.get(at)?.hour(),
                challenger_s: *said,
                reference_s: *reference.get(place)?,
                actual_s: *actual,
                segments: values.get(at * names.len()..(at + 1) * names.len()).unwrap_or_default(),
            })
        });
        let gate = self.order.definition.plan.gate.clone();
        let comparison = compare_paired(rows, &names, gate.min_segment_rows, gate.alpha);
        self.error_checks(&comparison, gate.margin, &gate.guarded);
        Some(comparison)
    }

    fn error_checks(&mut self, comparison: &PairedComparison, margin: f64, guarded: &[String]) {
        let Some(all) = &comparison.all else {
            return self.check("no worse", false, "no row was answered by both");
        };
        let may = margin * all.reference_mae_s;
        let upper = all.upper_s.unwrap_or(f64::INFINITY);
        let detail = format!(
            "mean absolute error {:.2} s against {:.2} s: {:+.2} s, at most {upper:+.2} s; {may:+.2} s is allowed",
            all.challenger_mae_s, all.reference_mae_s, all.difference_s
        );
        self.check("no worse", upper <= may, detail);
        let is_guarded = |segment: &str| guarded.is_empty() || guarded.iter().any(|name| name == segment);
        let judged = comparison.segments.iter().filter(|found| is_guarded(&found.segment));
        let worse: Vec<String> = judged
            .clone()
            .filter(|found| found.is_worse)
            .map(|found| format!("{} = {} ({:+.2} s)", found.segment, found.value, found.difference.difference_s))
            .collect();
        let detail = if worse.is_empty() {
            format!("proved worse in none of {} segments' values", judged.count())
        } else {
            format!("proved worse where {}", worse.join(", "))
        };
        self.check("guarded segments", worse.is_empty(), detail);
    }
}

/// How many rows were compared, and the first feature that differs. Both readers go through the training program.
fn skew(plan: &Plan, rows: &[HeldOutRow]) -> Result<(usize, Option<String>), String> {
    let (mut inputs, mut scratch, mut table) = (InputTable::new(plan), Scratch::default(), FeatureTable::default());
    let mut lines = Vec::new();
    for row in rows {
        if plan.read_training_row(row.requested_at, &known(plan, row), "", &mut inputs).is_ok() {
            let mut object = row.inputs.clone();
            object.insert("requested_at".to_owned(), row.requested_at.to_string().into());
            lines.extend(Value::Object(object).to_string().into_bytes());
            lines.push(b'\n');
        }
    }
    plan.evaluate_training(&inputs, &mut scratch, &mut table);
    // Rows without a label are in no file's view.
    let labelled: Vec<usize> = (0..table.rows()).filter(|row| table.label()[*row].is_finite()).collect();
    let sources = vec![Source { name: "held-out".to_owned(), bytes: Box::new(bytes::Bytes::from(lines)) }];
    let (mut view, mut rejects) = (Vec::new(), Vec::new());
    let options = Options { format: ViewFormat::Csv, threads: 1 };
    let summary = feature_batch::transform(plan, sources, &mut view, &mut rejects, options, &mut |_| {});
    let summary = summary.map_err(|error| error.to_string())?;
    if summary.written != labelled.len() as u64 {
        let (written, taken) = (summary.written, labelled.len());
        return Err(format!("the reader of files takes {written} rows where that of requests takes {taken}"));
    }
    let by_files = String::from_utf8_lossy(&view);
    for (line, row) in by_files.lines().zip(&labelled) {
        let cells = line.split(',').skip(1).zip(table.outputs()).zip(plan.output_names());
        for ((cell, column), name) in cells {
            let value = column[*row];
            let equal = cell.parse::<f64>().map_or(value.is_nan(), |cell| cell.to_bits() == value.to_bits());
            if !equal {
                return Ok((labelled.len(), Some(name.clone())));
            }
        }
    }
    Ok((labelled.len(), None))
}
