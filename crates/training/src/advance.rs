//! One order, taken as far as it goes now: job, registration, gate, and approval where that is automatic.

use cloud::{
    events::{Event, PutEvent},
    logs::ReadLogTail,
    object_store::{GetObject, ListObjects, PutObject},
    sagemaker_control::CallSageMaker,
};
use domain::{ModelName, lake};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Approval, JobPlace, TrainingError, TrainingOrder,
    gate::{Gate, GateVerdict, judge},
    objects::{put_once, read_json},
    register::{Failure, RegisterStore, Settled, record_failure, settle},
    registry::decided,
};

/// The source of the events that training tells.
pub const EVENT_SOURCE: &str = "mannen";
/// A version may be approved, or is.
pub const MODEL_OFFERED: &str = "Model Offered";
/// The gate refused a version.
pub const MODEL_REFUSED: &str = "Model Refused";
/// A training job failed.
pub const TRAINING_FAILED: &str = "Training Failed";
/// Who approves where `training.toml` says so.
pub const APPROVER: &str = "gate";

/// What taking an order on needs of the outside world.
pub struct Means<'a, C: ?Sized> {
    /// SageMaker's control plane.
    pub sagemaker: &'a C,
    /// The logs of jobs.
    pub logs: &'a dyn ReadLogTail,
    /// Where it is told.
    pub events: &'a dyn PutEvent,
    /// Where jobs run.
    pub place: &'a JobPlace,
}

// Derived, they would ask the same of the client.
impl<C: ?Sized> Clone for Means<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C: ?Sized> Copy for Means<'_, C> {}

/// How far an order has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// Its job runs.
    Training,
    /// Its job failed.
    Failed(Failure),
    /// The gate's predictions are being made.
    Judging,
    /// The gate has decided.
    Decided(Box<GateVerdict>),
}

/// Takes an order as far as it goes now, and tells what is new. Can be repeated at any time by anybody.
///
/// # Errors
/// See [`TrainingError`]; the next call goes on.
pub async fn advance<S, C>(
    lake: &S,
    means: Means<'_, C>,
    order: &TrainingOrder,
    now: Timestamp,
) -> Result<Stage, TrainingError>
where
    S: RegisterStore + ListObjects,
    C: CallSageMaker + ?Sized,
{
    let Means { sagemaker, logs, events, place } = means;
    let registered = match settle(lake, sagemaker, logs, order, now).await? {
        Settled::UnderWay => return Ok(Stage::Training),
        Settled::Failed { failure, is_new } => {
            if is_new {
                fail(lake, events, order, &failure).await?;
            }
            return Ok(Stage::Failed(failure));
        }
        Settled::Registered(registered) => registered,
    };
    let (verdict, is_new) = match judge(lake, sagemaker, order, &registered, place, now).await? {
        Gate::UnderWay => return Ok(Stage::Judging),
        Gate::Decided { verdict, is_new } => (verdict, is_new),
    };
    if is_new {
        if verdict.offered && order.definition.plan.gate.approve {
            let approval = Approval {
                version: order.version.clone(),
                author: Some(APPROVER.to_owned()),
                reason: Some("training.toml: gate.approve".to_owned()),
                approved_at: now,
            };
            put_once(lake, &lake::model_approval(&order.model, &order.version), &approval).await?;
        }
        // First told, then written down: what is told twice is harmless, what is never told is not.
        let what = if verdict.offered { MODEL_OFFERED } else { MODEL_REFUSED };
        tell(events, what, order, &json!({"checks": verdict.checks, "reference": verdict.reference})).await?;
        put_once(lake, &lake::gate_verdict(&order.model, &order.version), &verdict).await?;
    }
    Ok(Stage::Decided(verdict))
}

/// Tells of a job that made no model, then writes it down: from then on nobody looks after its order.
pub(crate) async fn fail<S: PutObject>(
    lake: &S,
    events: &dyn PutEvent,
    order: &TrainingOrder,
    failure: &Failure,
) -> Result<(), TrainingError> {
    let more = json!({"reason": failure.reason, "last_lines": failure.last_lines});
    tell(events, TRAINING_FAILED, order, &more).await?;
    record_failure(lake, &order.model, failure).await?;
    Ok(())
}

async fn tell(
    events: &dyn PutEvent,
    what: &'static str,
    order: &TrainingOrder,
    more: &serde_json::Value,
) -> Result<(), TrainingError> {
    let mut detail = json!({
        "version": 1, "model": order.model, "model_version": order.version, "variant": order.variant,
        "dataset": order.lineage.dataset.address,
    });
    if let (Some(detail), Some(more)) = (detail.as_object_mut(), more.as_object()) {
        detail.extend(more.clone());
    }
    events.put_event(&Event { source: EVENT_SOURCE, detail_type: what, detail }).await?;
    Ok(())
}

/// All of a model's orders that are not at their end, with how far each has come: what a schedule looks after, since events can
/// be lost. An order that fails for now does not keep the others back.
///
/// # Errors
/// The lake cannot be listed.
pub async fn reconcile<S, C>(
    lake: &S,
    means: Means<'_, C>,
    model: &ModelName,
    now: Timestamp,
) -> Result<Vec<(String, Result<Stage, TrainingError>)>, TrainingError>
where
    S: RegisterStore + ListObjects + GetObject,
    C: CallSageMaker + ?Sized,
{
    let done = decided(lake, model).await?;
    let mut stages = Vec::new();
    for object in lake.list_objects(&lake::training_orders(model)).await? {
        let Some((_, version)) = lake::training_order_of(&object.key) else { continue };
        if done.contains(&version) {
            continue;
        }
        let stage = match read_json(lake, &object.key).await {
            Ok(Some(order)) => advance(lake, means, &order, now).await,
            Ok(None) => continue,
            Err(error) => Err(error),
        };
        stages.push((version, stage));
    }
    Ok(stages)
}
