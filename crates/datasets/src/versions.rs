//! Versions: found, listed, put in use, pinned.

use std::collections::BTreeMap;

use cloud::object_store::{ETag, GetObject, ListObjects, PutCondition, PutObject};
use domain::{ModelName, lake};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    DatasetsError,
    manifest::{Manifest, Pin, Pointer},
    plan::read_json,
    publish::swap,
};

/// The fewest digits that stand for an address.
const LEAST_DIGITS: usize = 6;
const CONCURRENCY: usize = 16;

/// One version, for a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ListedVersion {
    /// Its address.
    pub address: String,
    /// The state of the sources, UTC.
    pub as_of: Option<Timestamp>,
    /// When its extract was planned, UTC.
    pub created_at: Timestamp,
    /// Its rows.
    pub rows: u64,
    /// Its files' bytes.
    pub bytes: u64,
    /// Whether it is in use.
    pub in_use: bool,
    /// The names that it is pinned under.
    pub pins: Vec<String>,
}

/// The pointer, or nothing where no version was ever put in use.
///
/// # Errors
/// The lake does not answer, or the pointer cannot be read.
pub async fn in_use<S: GetObject>(lake: &S, dataset: &ModelName) -> Result<Option<(Pointer, ETag)>, DatasetsError> {
    read_json(lake, &lake::dataset_pointer(dataset)).await
}

/// What a version is: what its address says.
///
/// # Errors
/// There is none, or its manifest is not of its address.
pub async fn read_manifest<S: GetObject>(
    lake: &S,
    dataset: &ModelName,
    address: &str,
) -> Result<Manifest, DatasetsError> {
    let key = lake::dataset_manifest(dataset, address);
    let found = read_json::<Manifest, _>(lake, &key).await?;
    let (manifest, _) =
        found.ok_or_else(|| DatasetsError::UnknownVersion { name: dataset.clone(), what: address.to_owned() })?;
    if manifest.identity.address() != address || manifest.address != address || manifest.identity.dataset != *dataset {
        return Err(DatasetsError::unusable(key, "it is not what its address says"));
    }
    Ok(manifest)
}

/// The address that `what` names: `latest`, a pin, an address or its first digits.
///
/// # Errors
/// None or several.
pub async fn resolve<S: GetObject + ListObjects>(
    lake: &S,
    dataset: &ModelName,
    what: &str,
) -> Result<String, DatasetsError> {
    if what == "latest" {
        let (pointer, _) = in_use(lake, dataset).await?.ok_or_else(|| DatasetsError::NoVersion(dataset.clone()))?;
        return Ok(pointer.address);
    }
    if is_pin(what)
        && let Some((pin, _)) = read_json::<Pin, _>(lake, &lake::dataset_pin(dataset, what)).await?
    {
        return Ok(pin.address);
    }
    let digits = what.to_ascii_lowercase();
    let addresses = addresses(lake, dataset).await?;
    let found: Vec<&String> = addresses.iter().filter(|address| address.starts_with(&digits)).collect();
    let ambiguous = |why: String| DatasetsError::AmbiguousVersion { prefix: digits.clone(), why };
    match found.as_slice() {
        [] => Err(DatasetsError::UnknownVersion { name: dataset.clone(), what: what.to_owned() }),
        _ if digits.len() < LEAST_DIGITS => Err(ambiguous(format!("give its first {LEAST_DIGITS} digits at least"))),
        [one] => Ok((*one).clone()),
        several => Err(ambiguous(several.iter().map(|address| address.as_str()).collect::<Vec<_>>().join(", "))),
    }
}

/// The addresses of all versions.
pub(crate) async fn addresses<S: ListObjects>(lake: &S, dataset: &ModelName) -> Result<Vec<String>, DatasetsError> {
    let listed = lake.list_objects(&lake::dataset_manifest_prefix(dataset)).await?;
    Ok(listed.iter().filter_map(|object| lake::dataset_address_of_manifest(dataset, &object.key)).collect())
}

/// All pins of a dataset.
pub(crate) async fn pins<S: GetObject + ListObjects>(
    lake: &S,
    dataset: &ModelName,
) -> Result<BTreeMap<String, Pin>, DatasetsError> {
    let prefix = lake::dataset_pin_prefix(dataset);
    let mut pins = BTreeMap::new();
    for object in lake.list_objects(&prefix).await? {
        let name = object.key.strip_prefix(&prefix).and_then(|name| name.strip_suffix(".json"));
        if let (Some(name), Some((pin, _))) = (name, read_json(lake, &object.key).await?) {
            pins.insert(name.to_owned(), pin);
        }
    }
    Ok(pins)
}

/// All versions, the latest first.
///
/// # Errors
/// The lake does not answer, or a manifest cannot be read.
pub async fn list<S: GetObject + ListObjects>(
    lake: &S,
    dataset: &ModelName,
) -> Result<Vec<ListedVersion>, DatasetsError> {
    let in_use = in_use(lake, dataset).await?.map(|(pointer, _)| pointer.address);
    let pins = pins(lake, dataset).await?;
    let addresses = addresses(lake, dataset).await?;
    let manifests = stream::iter(&addresses).map(|address| read_manifest(lake, dataset, address));
    let manifests: Vec<Manifest> = manifests.buffered(CONCURRENCY).try_collect().await?;
    let mut versions: Vec<ListedVersion> = manifests
        .into_iter()
        .map(|manifest| ListedVersion {
            in_use: in_use.as_ref() == Some(&manifest.address),
            pins: pins
                .iter()
                .filter(|(_, pin)| pin.address == manifest.address)
                .map(|(name, _)| name.clone())
                .collect(),
            as_of: manifest.identity.origin.as_of,
            created_at: manifest.created_at,
            rows: manifest.identity.rows,
            bytes: manifest.bytes,
            address: manifest.address,
        })
        .collect();
    versions.sort_by(|one, two| (two.created_at, &two.address).cmp(&(one.created_at, &one.address)));
    Ok(versions)
}

/// Datasets that have a version in use.
///
/// # Errors
/// The lake does not answer.
pub async fn datasets<S: ListObjects>(lake: &S) -> Result<Vec<ModelName>, DatasetsError> {
    let listed = lake.list_objects(lake::DATASETS).await?;
    Ok(listed.iter().filter_map(|object| lake::dataset_of_pointer(&object.key)).collect())
}

/// Puts a version in use, whichever is.
///
/// # Errors
/// There is no such version, or another moved the pointer meanwhile.
pub async fn promote<S: GetObject + PutObject>(
    lake: &S,
    dataset: &ModelName,
    address: &str,
    reason: Option<String>,
    now: Timestamp,
) -> Result<Pointer, DatasetsError> {
    let manifest = read_manifest(lake, dataset, address).await?;
    let current = in_use(lake, dataset).await?;
    if let Some((current, _)) = &current
        && current.address == address
    {
        return Ok(current.clone());
    }
    let as_of = manifest.identity.origin.as_of;
    let pointer = Pointer { address: address.to_owned(), as_of, moved_at: now, previous: None, reason };
    if !swap(lake, dataset, current, pointer).await? {
        return Err(DatasetsError::MovedMeanwhile(dataset.clone()));
    }
    let moved = in_use(lake, dataset).await?.map(|(pointer, _)| pointer);
    moved.ok_or_else(|| DatasetsError::NoVersion(dataset.clone()))
}

/// Whether `name` may be a pin's: short, of letters, digits, `-`, `_` and `.`, and no word that stands for an address.
pub fn is_pin(name: &str) -> bool {
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let looks_like_address = name.len() >= LEAST_DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    (1..=64).contains(&name.len()) && name.chars().all(valid) && name != "latest" && !looks_like_address
}

/// Keeps a version under a name, or moves the name to it.
///
/// # Errors
/// There is no such version, or the name cannot be one.
pub async fn pin<S: GetObject + PutObject>(
    lake: &S,
    dataset: &ModelName,
    address: &str,
    name: &str,
    reason: Option<String>,
    now: Timestamp,
) -> Result<Pin, DatasetsError> {
    if !is_pin(name) {
        let what = "1 to 64 letters, digits, `-`, `_` and `.`; not `latest`, nor what could be an address";
        return Err(DatasetsError::InvalidOrder(format!("`{name}` cannot be a pin's name: {what}")));
    }
    read_manifest(lake, dataset, address).await?;
    let pin = Pin { address: address.to_owned(), pinned_at: now, reason };
    let json = serde_json::to_vec_pretty(&pin).unwrap_or_default();
    lake.put_object(&lake::dataset_pin(dataset, name), json.into(), PutCondition::Always).await?;
    Ok(pin)
}
