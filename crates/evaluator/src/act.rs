//! What follows from a report: metrics, the way back from a release that does harm, the wish to train again; and the audit of what
//! it stands on.

use cloud::{
    events::PutEvent,
    object_store::{GetObject, ListObjects, PutObject},
};
use domain::{Hour, ModelName, ReleaseId};
use evaluation::report::{ReportData, RetrainingReason};
use jiff::Timestamp;
use lambda_runtime::tracing::{error, info};
use recompute::Audit;
use releases::Endpoints;
use serde::{Deserialize, Serialize};

use crate::{
    metrics, ramp,
    ramp::RampMove,
    retraining, rollback,
    skew::{AuditPlan, ServedReleases, audit_skew},
};

/// What actions need of the outside world.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// To check that the release before can still be served.
    pub endpoints: Endpoints<'a>,
    /// Where training is asked for.
    pub events: &'a dyn PutEvent,
    /// The lake's bucket, which events name: an account's stacks share the bus.
    pub bucket: &'a str,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Actions {
    /// The way back, where a guardrail was breached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<RolledBack>,
    /// What became of the ramp, where one is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<RampMove>,
    /// Why training was asked for, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_wanted: Option<RetrainingReason>,
    /// A sample of archived records, computed again from their raw inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skew: Option<Audit>,
    /// Actions that failed, by reason code; the next run tries again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
}

/// A way back that was gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBack {
    /// The release that did harm.
    pub from: ReleaseId,
    /// The one that is in force now.
    pub to: ReleaseId,
    /// Why, as the releases' history has it.
    pub reason: String,
}

/// Tells metrics, goes back where a guardrail is breached, asks for training where the report wants it. Never fails: an
/// evaluation is worth having without what follows from it.
pub(crate) async fn act<S: GetObject + PutObject + ListObjects>(
    lake: &S,
    means: Means<'_>,
    (model, from, until): (&ModelName, Hour, Hour),
    report: &ReportData,
    names_hours: bool,
    now: Timestamp,
) -> Actions {
    let mut actions = Actions::default();
    match audit_skew(lake, model, (from, until), AuditPlan::scheduled(now), &mut ServedReleases::default()).await {
        Ok(audit) => {
            for (feature, skew) in &audit.differing {
                let (rows, example) = (skew.rows, skew.example);
                error!(%model, reason = "feature_skew", feature, rows, largest = skew.largest, %example, "archived otherwise than computed again");
            }
            actions.skew = Some(audit);
        }
        Err(error) => {
            error!(%model, reason = error.reason(), %error, "archived features were not audited");
            actions.failed.push(error.reason().to_owned());
        }
    }
    match ramp::go_on(lake, means.endpoints, model, names_hours.then_some((from, until)), now).await {
        Ok(found) => actions.ramp = found,
        Err(error) => {
            error!(%model, reason = error.reason(), %error, "the ramp does not go on");
            actions.failed.push(error.reason().to_owned());
        }
    }
    if let Some(RampMove { from: judged, to, share, decision }) = &actions.ramp {
        info!(%model, from = %judged, %to, share, ?decision, "ramp");
    }
    match rollback::roll_back(lake, means.endpoints, model, now).await {
        Ok(found) => actions.rolled_back = found,
        Err(error) => {
            error!(%model, reason = error.reason(), %error, "the release was not gone back from");
            actions.failed.push(error.reason().to_owned());
        }
    }
    if let Some(RolledBack { from, to, reason }) = &actions.rolled_back {
        info!(%model, %from, %to, reason, "went back to the release before");
    }
    match retraining::ask(lake, &means, model, report).await {
        Ok(found) => actions.training_wanted = found,
        Err(error) => {
            error!(%model, reason = error.reason(), %error, "training was not asked for");
            actions.failed.push(error.reason().to_owned());
        }
    }
    for line in metrics::lines(model, report, &actions, now) {
        println!("{line}");
    }
    actions
}
