//! Garbage: what nothing leads to.
//!
//! A version is kept where the pointer, a pin, or a version that is kept (as its parent) leads to it, or where it is younger
//! than the least age. Of the rest of the keys, each belongs to a document that says when: an extract's plan, or what it
//! became. Files without a manifest are of an extract that is under way, or was given up.

use std::collections::{BTreeMap, BTreeSet};

use cloud::object_store::{DeleteObject, GetObject, ListObjects, ListedObject};
use domain::{ModelName, lake};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::{
    DatasetsError,
    manifest::Manifest,
    plan::{JobDone, Plan, read_json},
    versions::{addresses, in_use, pins, read_manifest},
};

/// What may go.
#[derive(Debug, Clone, Copy)]
pub struct GcPolicy {
    /// Now, UTC.
    pub now: Timestamp,
    /// Nothing younger goes.
    pub min_age: SignedDuration,
    /// Tell, and change nothing.
    pub dry_run: bool,
}

/// What went, or would go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct GcReport {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Versions that nothing leads to.
    pub versions: Vec<String>,
    /// Extracts that were given up, or whose remains lie about.
    pub extracts: Vec<String>,
    /// Objects that go.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Versions that are kept.
    pub kept_versions: usize,
    /// Extracts that are kept: under way, or young.
    pub kept_extracts: usize,
}

/// Looks for garbage of one dataset, and deletes it where the policy says so.
///
/// # Errors
/// The lake does not answer, or a document cannot be read: then nothing is deleted.
pub async fn collect_garbage<S: GetObject + ListObjects + DeleteObject>(
    lake: &S,
    dataset: &ModelName,
    policy: GcPolicy,
) -> Result<GcReport, DatasetsError> {
    let mut report = GcReport { dry_run: policy.dry_run, ..GcReport::default() };
    // Listed before anything is decided: what is published meanwhile is not in the lists.
    let data = lake.list_objects(&lake::dataset_data_folder(dataset)).await?;
    let staging = lake.list_objects(&lake::dataset_staging_prefix(dataset)).await?;
    let old = |at: Timestamp| at < policy.now - policy.min_age;
    let (versions, kept) = versions(lake, dataset, &old).await?;
    report.kept_versions = kept.len();
    let mut doomed: Vec<ListedObject> = Vec::new();
    let mut extracts = BTreeMap::<String, Vec<&ListedObject>>::new();
    for object in &staging {
        if let Some(job) = lake::dataset_job_of_staging(dataset, &object.key) {
            extracts.entry(job).or_default().push(object);
        }
    }
    let mut kept_plans = 0;
    for (job, objects) in extracts {
        let plan = read_json::<Plan, _>(lake, &lake::dataset_plan(dataset, &job)).await?;
        let done = read_json::<JobDone, _>(lake, &lake::dataset_job(dataset, &job)).await?;
        let since = plan.map(|(plan, _)| plan.created_at).max(done.map(|(done, _)| done.published_at));
        if since.is_none_or(old) {
            // The plan last: while it is there, the rest is found again.
            let (plan, rest): (Vec<_>, Vec<_>) =
                objects.into_iter().partition(|object| object.key == lake::dataset_plan(dataset, &job));
            doomed.extend(rest.into_iter().chain(plan).cloned());
            report.extracts.push(job);
        } else {
            kept_plans += 1;
        }
    }
    report.kept_extracts = kept_plans;
    // Manifests first: a version is whole or not there.
    let mut objects = Vec::new();
    for address in &versions {
        for key in [lake::dataset_manifest(dataset, address), lake::dataset_sagemaker_manifest(dataset, address)] {
            objects.extend(lake.list_objects(&key).await?.into_iter().filter(|object| object.key == key));
        }
    }
    let published: BTreeSet<String> = addresses(lake, dataset).await?.into_iter().collect();
    let orphaned = |address: &String| !published.contains(address) && kept_plans == 0;
    objects.extend(data.into_iter().filter(|object| {
        let address = lake::dataset_address_of_data(dataset, &object.key);
        address.is_some_and(|address| versions.contains(&address) || orphaned(&address))
    }));
    objects.extend(doomed);
    report.versions = versions.into_iter().collect();
    report.objects = objects.len() as u64;
    report.bytes = objects.iter().map(|object| object.size_bytes).sum();
    if !policy.dry_run {
        for object in objects {
            lake.delete_object(&object.key).await?;
        }
    }
    Ok(report)
}

/// Versions that nothing leads to, and those that are kept.
async fn versions<S: GetObject + ListObjects>(
    lake: &S,
    dataset: &ModelName,
    old: &impl Fn(Timestamp) -> bool,
) -> Result<(BTreeSet<String>, BTreeSet<String>), DatasetsError> {
    let mut manifests = BTreeMap::<String, Manifest>::new();
    for address in addresses(lake, dataset).await? {
        manifests.insert(address.clone(), read_manifest(lake, dataset, &address).await?);
    }
    let mut ways: Vec<String> = pins(lake, dataset).await?.into_values().map(|pin| pin.address).collect();
    ways.extend(in_use(lake, dataset).await?.map(|(pointer, _)| pointer.address));
    ways.extend(
        manifests.values().filter(|manifest| !old(manifest.created_at)).map(|manifest| manifest.address.clone()),
    );
    // Versions of other datasets may be made of ours.
    for object in lake.list_objects(lake::DATASETS).await? {
        let Some(other) = dataset_of_manifest(&object.key).filter(|other| other != dataset) else { continue };
        if lake::dataset_address_of_manifest(&other, &object.key).is_none() {
            continue;
        }
        if let Some((manifest, _)) = read_json::<Manifest, _>(lake, &object.key).await? {
            let parents = manifest.identity.parents.into_iter().filter(|parent| parent.dataset == *dataset);
            ways.extend(parents.map(|parent| parent.address));
        }
    }
    let mut kept = BTreeSet::new();
    while let Some(address) = ways.pop() {
        let Some(manifest) = manifests.get(&address) else { continue };
        if kept.insert(address) {
            let parents = manifest.identity.parents.iter().filter(|parent| parent.dataset == *dataset);
            ways.extend(parents.map(|parent| parent.address.clone()));
        }
    }
    let lost = manifests.into_keys().filter(|address| !kept.contains(address)).collect();
    Ok((lost, kept))
}

fn dataset_of_manifest(key: &str) -> Option<ModelName> {
    let (name, rest) = key.strip_prefix(lake::DATASETS)?.split_once('/')?;
    rest.starts_with("manifests/").then(|| name.parse().ok())?
}
