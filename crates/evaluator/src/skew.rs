//! Whether archived features are, bit for bit, what the spec makes of the archived raw inputs.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use archive::Record;
use cloud::object_store::{GetObject, ListObjects};
use domain::{
    Hour, ModelName, PredictionRecord, Release, ReleaseId,
    digest::sha256_hex,
    lake::{self, Partition, Table},
};
use features::{Plan, Transformer};
use jiff::Timestamp;
use recompute::{Audit, RecomputeError, Sample, personal_results, recompute_features};

use crate::{
    EvaluatorError,
    handler::{archived_hours, file, unreadable},
    hour_files::File,
};

/// How much is audited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditPlan {
    /// The most records.
    pub records: usize,
    /// The most hours that they are of: the latest, and others by chance.
    pub hours: usize,
    /// What chance is made of: the same seed takes the same records.
    pub seed: u64,
}

impl AuditPlan {
    /// What a scheduled run audits: some hundred records of some hours, others every hour.
    pub(crate) fn scheduled(now: Timestamp) -> Self {
        let seed = now.as_second().div_euclid(3_600).unsigned_abs();
        Self { records: 200, hours: 4, seed }
    }
}

/// A random sample of the records that hour files of these hours hold.
///
/// # Errors
/// The lake does not answer, or a file cannot be read.
pub async fn sample_records<S: GetObject + ListObjects>(
    lake: &S,
    model: &ModelName,
    (from, until): (Hour, Hour),
    plan: AuditPlan,
) -> Result<Vec<PredictionRecord>, EvaluatorError> {
    let hours: Vec<Hour> = archived_hours(lake, model, from, until).await?.into_keys().collect();
    let mut sample = Sample::new(plan.records, plan.seed);
    for hour in some_hours(hours, plan) {
        let partition = Partition { table: Table::Predictions(model.clone()), hour };
        let Some(object) = file(lake, &lake::hour_file(&partition)).await? else { continue };
        let unreadable = |error| unreadable(model, hour, (File::Predictions, error));
        for record in PredictionRecord::stream(object.bytes).map_err(unreadable)? {
            sample.offer(record.map_err(unreadable)?);
        }
    }
    Ok(sample.into_records())
}

/// The latest hour, and others by chance.
fn some_hours(mut hours: Vec<Hour>, plan: AuditPlan) -> Vec<Hour> {
    if hours.len() <= plan.hours {
        return hours;
    }
    let latest = hours.pop();
    hours.sort_by_cached_key(|hour| sha256_hex(format!("{} {hour}", plan.seed).as_bytes()));
    hours.truncate(plan.hours.saturating_sub(1));
    hours.extend(latest);
    hours
}

/// A release with its plan, or why it cannot be had.
pub type Served = Result<(Release, Transformer), String>;

/// Releases as they served, each read once.
#[derive(Default)]
pub struct ServedReleases {
    known: HashMap<ReleaseId, Arc<Served>>,
    /// The text of another spec than each release's own.
    spec: Option<String>,
}

impl ServedReleases {
    /// Releases with another spec than their own: what it would change.
    pub fn with_spec(spec: String) -> Self {
        Self { known: HashMap::new(), spec: Some(spec) }
    }

    /// The release with its own spec and the lookup tables that it pins.
    ///
    /// # Errors
    /// The lake does not answer.
    pub async fn get<S: GetObject>(
        &mut self,
        lake: &S,
        model: &ModelName,
        id: &ReleaseId,
    ) -> Result<Arc<Served>, EvaluatorError> {
        if let Some(known) = self.known.get(id) {
            return Ok(Arc::clone(known));
        }
        let served = Arc::new(read_served(lake, model, id, self.spec.as_deref()).await?);
        self.known.insert(id.clone(), Arc::clone(&served));
        Ok(served)
    }
}

async fn read_served<S: GetObject>(
    lake: &S,
    model: &ModelName,
    id: &ReleaseId,
    spec: Option<&str>,
) -> Result<Served, EvaluatorError> {
    let release = match releases::read_release(lake, model, id).await {
        Ok(release) => release,
        Err(releases::ReleasesError::Store(error)) => return Err(error.into()),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let mut tables = BTreeMap::new();
    for (name, table) in releases::pinned_tables(lake, &release).await? {
        match table {
            Ok(table) => _ = tables.insert(name, table),
            Err(why) => return Ok(Err(format!("lookup table `{name}`: {why}"))),
        }
    }
    let transformer = match spec {
        None => Transformer::of_release(&release, tables),
        Some(text) => Plan::compile_with("features.toml", text, &tables.into_iter().collect())
            .map(Transformer::new)
            .map_err(|error| error.to_string()),
    };
    Ok(transformer.map(|transformer| (release, transformer)))
}

/// The reason code of records whose release cannot be had.
pub const RELEASE_UNUSABLE: &str = "release_unusable";

/// Computes a record's features again by its own release.
///
/// # Errors
/// They cannot be.
pub fn recompute_served(
    record: &PredictionRecord,
    (release, transformer): &(Release, Transformer),
) -> Result<Vec<recompute::Difference>, RecomputeError> {
    if record.spec_hash != release.spec.hash {
        let (record, release) = (record.spec_hash.clone(), release.spec.hash.clone());
        return Err(RecomputeError::Spec { record, release });
    }
    recompute_features(record, transformer)
}

/// Computes a sample of archived records again from their raw inputs, each by the release that it names.
///
/// # Errors
/// The lake does not answer, or an hour file cannot be read.
pub async fn audit_skew<S: GetObject + ListObjects>(
    lake: &S,
    model: &ModelName,
    window: (Hour, Hour),
    plan: AuditPlan,
    releases: &mut ServedReleases,
) -> Result<Audit, EvaluatorError> {
    let mut audit = Audit::default();
    for record in sample_records(lake, model, window, plan).await? {
        let served = releases.get(lake, model, &record.release_id).await?;
        match served.as_ref() {
            Ok(served) => {
                audit.add(&record, &recompute_served(&record, served));
                audit.personal.extend(personal_results(served.1.plan()).into_iter().map(str::to_owned));
            }
            Err(_) => audit.add_failure(RELEASE_UNUSABLE),
        }
    }
    Ok(audit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_the_latest_and_others_by_chance() {
        let first: Hour = "2026-01-31T00".parse().unwrap();
        let hours: Vec<Hour> = (0..24).map(|hour| first.plus(hour)).collect();
        let take = |seed| some_hours(hours.clone(), AuditPlan { records: 1, hours: 4, seed });
        assert!(take(1).len() == 4 && take(1).contains(&hours[23]));
        assert_eq!(take(1), take(1));
        assert_ne!(take(1), take(2));
        assert_eq!(some_hours(hours[..3].to_vec(), AuditPlan { records: 1, hours: 4, seed: 1 }), hours[..3]);
    }
}
