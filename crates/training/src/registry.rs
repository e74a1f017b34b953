//! What there is of a model, and the state of each version: it follows from the documents that were written of it.

use std::collections::BTreeSet;

use cloud::object_store::{GetObject, ListObjects, PutCondition, PutObject};
use domain::{ModelName, ModelVersion, Release, ReleaseId, lake};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    GateVerdict, TrainingError, TrainingOrder,
    objects::{put_once, read_json, to_json},
    register::Failure,
};

/// Documents read at the same time.
const CONCURRENCY: usize = 16;

/// That somebody, or a rule, lets a version be deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The version.
    pub version: String,
    /// Who.
    pub author: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When, UTC.
    pub approved_at: Timestamp,
}

/// That a version is not to be deployed again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retirement {
    /// The version.
    pub version: String,
    /// Who.
    pub author: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When, UTC.
    pub retired_at: Timestamp,
}

/// How far a version has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionState {
    /// Its training job runs, or is about to.
    Training,
    /// Its training job failed.
    Failed,
    /// It is trained; the gate has not decided.
    Registered,
    /// The gate refused it.
    Refused,
    /// The gate let it pass: it may be approved.
    Offered,
    /// It may be deployed.
    Approved,
    /// An arm, a shadow or the second endpoint of the release in force is it.
    InForce,
    /// It is not to be deployed again.
    Retired,
}

impl VersionState {
    /// A word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Failed => "failed",
            Self::Registered => "registered",
            Self::Refused => "refused",
            Self::Offered => "offered",
            Self::Approved => "approved",
            Self::InForce => "in force",
            Self::Retired => "retired",
        }
    }
}

/// One version with all that is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnownVersion {
    /// Its name.
    pub version: String,
    /// How far it has come.
    pub state: VersionState,
    /// The order of its job; absent for versions that others registered.
    pub order: Option<TrainingOrder>,
    /// What it is, once it is trained.
    pub registered: Option<ModelVersion>,
    /// Why its job failed.
    pub failure: Option<Failure>,
    /// The gate's verdict.
    pub verdict: Option<GateVerdict>,
    /// The approval.
    pub approval: Option<Approval>,
    /// The retirement.
    pub retirement: Option<Retirement>,
    /// What it is in the release in force: names of arms, shadows, `second`.
    pub roles: Vec<String>,
}

impl KnownVersion {
    /// When it was ordered, or else trained, UTC.
    pub fn began_at(&self) -> Option<Timestamp> {
        let ordered = self.order.as_ref().map(|order| order.ordered_at);
        ordered.or(self.registered.as_ref().map(|registered| registered.trained_at))
    }
}

/// All versions of a model, the latest first.
///
/// # Errors
/// The lake, or a document that cannot be read.
pub async fn list_versions<S: GetObject + ListObjects>(
    lake: &S,
    model: &ModelName,
) -> Result<Vec<KnownVersion>, TrainingError> {
    let mut names: Vec<String> = Vec::new();
    for object in lake.list_objects(&lake::training_orders(model)).await? {
        names.extend(lake::training_order_of(&object.key).map(|(_, version)| version));
    }
    for object in lake.list_objects(&lake::model_versions(model)).await? {
        names.extend(lake::version_of_key(model, &object.key));
    }
    names.sort_unstable();
    names.dedup();
    let release = in_force(lake, model).await?;
    let release = release.as_ref().map(|(_, release)| release);
    let known: Vec<KnownVersion> = stream::iter(names)
        .map(|version| async move { known_version(lake, model, &version, release).await })
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    let mut known: Vec<KnownVersion> = known;
    known.sort_by(|a, b| b.began_at().cmp(&a.began_at()).then_with(|| a.version.cmp(&b.version)));
    Ok(known)
}

/// The release in force.
///
/// # Errors
/// The lake.
pub async fn in_force<S: GetObject>(
    lake: &S,
    model: &ModelName,
) -> Result<Option<(ReleaseId, Release)>, TrainingError> {
    let Some(current) = releases::in_force(lake, model).await? else { return Ok(None) };
    let id = current.pointer.release_id;
    let release = releases::read_release(lake, model, &id).await?;
    Ok(Some((id, release)))
}

/// What is known of one version.
///
/// # Errors
/// The lake, or a document that cannot be read.
pub async fn known_version<S: GetObject>(
    lake: &S,
    model: &ModelName,
    version: &str,
    release: Option<&Release>,
) -> Result<KnownVersion, TrainingError> {
    let order = read_json::<TrainingOrder, _>(lake, &lake::training_order(model, version)).await?;
    let registered = read_json::<ModelVersion, _>(lake, &lake::model_version(model, version)).await?;
    if order.is_none() && registered.is_none() {
        return Err(TrainingError::UnknownVersion { model: model.clone(), version: version.to_owned() });
    }
    let failure = read_json::<Failure, _>(lake, &lake::training_failure(model, version)).await?;
    let verdict = read_json::<GateVerdict, _>(lake, &lake::gate_verdict(model, version)).await?;
    let approval = read_json::<Approval, _>(lake, &lake::model_approval(model, version)).await?;
    let retirement = read_json::<Retirement, _>(lake, &lake::model_retirement(model, version)).await?;
    let roles = release.map(|release| roles_of(release, version)).unwrap_or_default();
    let state = if !roles.is_empty() {
        VersionState::InForce
    } else if retirement.is_some() {
        VersionState::Retired
    } else if approval.is_some() {
        VersionState::Approved
    } else if let Some(verdict) = &verdict {
        if verdict.offered { VersionState::Offered } else { VersionState::Refused }
    } else if registered.is_some() {
        VersionState::Registered
    } else if failure.is_some() {
        VersionState::Failed
    } else {
        VersionState::Training
    };
    let version = version.to_owned();
    Ok(KnownVersion { version, state, order, registered, failure, verdict, approval, retirement, roles })
}

fn roles_of(release: &Release, version: &str) -> Vec<String> {
    let arms = release.arms.iter().chain(&release.shadows).filter(|arm| arm.model_version == version);
    let second = release.second.iter().filter(|arm| arm.model_version == version).map(|_| "second".to_owned());
    arms.map(|arm| arm.name.clone()).chain(second).collect()
}

/// The version that `what` names: a version or its beginning, `latest`, or a variant's latest.
///
/// # Errors
/// None or several.
pub async fn resolve_version<S: GetObject + ListObjects>(
    lake: &S,
    model: &ModelName,
    what: &str,
) -> Result<KnownVersion, TrainingError> {
    let mut known = list_versions(lake, model).await?;
    let unknown = || TrainingError::UnknownVersion { model: model.clone(), version: what.to_owned() };
    let exact = known.iter().position(|found| found.version == what);
    let latest = || {
        let trained = |found: &KnownVersion| found.registered.is_some();
        let of_variant = |found: &KnownVersion| found.registered.as_ref().is_some_and(|it| it.variant == what);
        known.iter().position(|found| (what == "latest" && trained(found)) || of_variant(found))
    };
    let beginning = || {
        let found: Vec<usize> = (0..known.len()).filter(|at| known[*at].version.starts_with(what)).collect();
        (found.len() == 1).then(|| found[0])
    };
    let at = exact.or_else(latest).or_else(beginning).ok_or_else(unknown)?;
    Ok(known.swap_remove(at))
}

/// Approves a version that the gate has let pass; with `force`, also one that it refused or did not judge.
///
/// # Errors
/// It is not trained, is refused, or is retired.
pub async fn approve<S: PutObject>(
    lake: &S,
    model: &ModelName,
    known: &KnownVersion,
    approval: &Approval,
    force: bool,
) -> Result<(), TrainingError> {
    let refuse = |detail: &str| TrainingError::OutOfState { version: known.version.clone(), detail: detail.to_owned() };
    if known.registered.is_none() {
        return Err(refuse("is not trained: there is nothing to approve"));
    }
    if known.retirement.is_some() {
        return Err(refuse("is retired"));
    }
    match &known.verdict {
        Some(verdict) if verdict.offered => {}
        _ if force => {}
        Some(verdict) => {
            let why: Vec<String> =
                verdict.refusals().map(|check| format!("{}: {}", check.check, check.detail)).collect();
            return Err(refuse(&format!(
                "is refused by the gate ({}); --force approves it all the same",
                why.join("; ")
            )));
        }
        None => return Err(refuse("is not judged yet; --force approves it all the same")),
    }
    put_once(lake, &lake::model_approval(model, &known.version), approval).await?;
    Ok(())
}

/// Retires a version.
///
/// # Errors
/// It is in force.
pub async fn retire<S: PutObject>(
    lake: &S,
    model: &ModelName,
    known: &KnownVersion,
    retirement: &Retirement,
) -> Result<(), TrainingError> {
    if !known.roles.is_empty() {
        let detail = format!("is in force as {}; publish a release without it first", known.roles.join(", "));
        return Err(TrainingError::OutOfState { version: known.version.clone(), detail });
    }
    let key = lake::model_retirement(model, &known.version);
    lake.put_object(&key, to_json(retirement), PutCondition::Always).await?;
    Ok(())
}

/// Versions whose gate has decided, or whose job failed: there is nothing more to do for them.
pub(crate) async fn decided<S: ListObjects>(lake: &S, model: &ModelName) -> Result<BTreeSet<String>, TrainingError> {
    let mut done = BTreeSet::new();
    let [failures, gates, ..] = lake::model_decisions(model);
    for prefix in [failures, gates] {
        for object in lake.list_objects(&prefix).await? {
            let name = object.key.strip_prefix(&prefix).and_then(|name| name.strip_suffix(".json"));
            done.extend(name.map(str::to_owned));
        }
    }
    Ok(done)
}
