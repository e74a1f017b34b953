//! What is published, read and checked against its address.

use cloud::object_store::{ETag, GetObject, ListObjects};
use domain::{ModelName, Release, ReleaseId, ReleasePointer, digest::sha256_hex, lake};

use crate::ReleasesError;

/// The fewest digits that stand for an id.
const LEAST_DIGITS: usize = 6;

/// The pointer as it is, and the tag to swap it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentPointer {
    /// The pointer.
    pub pointer: ReleasePointer,
    /// Its entity tag.
    pub etag: ETag,
}

/// The pointer to the release in force, or `None` where nothing was ever published.
///
/// # Errors
/// The store does not answer, or the pointer cannot be read.
pub async fn in_force<S: GetObject>(lake: &S, model: &ModelName) -> Result<Option<CurrentPointer>, ReleasesError> {
    let key = lake::release_pointer(model);
    let Some(object) = lake.get_object(&key, None).await?.found() else { return Ok(None) };
    let pointer = read_pointer(&key, &object.bytes)?;
    Ok(Some(CurrentPointer { pointer, etag: object.etag }))
}

pub(crate) fn read_pointer(key: &str, bytes: &[u8]) -> Result<ReleasePointer, ReleasesError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ReleasesError::Unusable { key: key.to_owned(), detail: error.to_string() })
}

/// A published release: what its address says it is.
///
/// # Errors
/// There is none, its content is not what its address says, or it cannot be read (a newer version wrote it).
pub async fn read_release<S: GetObject>(lake: &S, model: &ModelName, id: &ReleaseId) -> Result<Release, ReleasesError> {
    let key = lake::release(model, id);
    let document = lake.get_object(&key, None).await?.found();
    let document =
        document.ok_or_else(|| ReleasesError::UnknownRelease { model: model.clone(), id: id.to_string() })?;
    let unusable = |detail: String| ReleasesError::Unusable { key: key.clone(), detail };
    if sha256_hex(&document.bytes) != id.as_str() {
        return Err(unusable("it has another content than its address says".to_owned()));
    }
    let release: Release = serde_json::from_slice(&document.bytes).map_err(|error| unusable(error.to_string()))?;
    if release.model != *model {
        return Err(unusable(format!("it is a release of `{}`", release.model)));
    }
    Ok(release)
}

/// The release that `id` names: 64 digits, or the first six or more of one release only.
///
/// # Errors
/// None or several begin so.
pub async fn resolve<S: ListObjects>(lake: &S, model: &ModelName, id: &str) -> Result<ReleaseId, ReleasesError> {
    let id = id.to_ascii_lowercase();
    let ambiguous = |why: String| ReleasesError::AmbiguousId { prefix: id.clone(), why };
    if id.len() < LEAST_DIGITS {
        return Err(ambiguous(format!("give its first {LEAST_DIGITS} digits at least")));
    }
    // Everything below this prefix that is no document (the pointer, its history) is no hexadecimal id either.
    let listed = lake.list_objects(&lake::release_prefix(model)).await?;
    let found = listed.iter().filter_map(|object| lake::release_id_of_key(model, &object.key));
    let found: Vec<ReleaseId> = found.filter(|found| found.as_str().starts_with(&id)).collect();
    match found.as_slice() {
        [] => Err(ReleasesError::UnknownRelease { model: model.clone(), id }),
        [one] => Ok(one.clone()),
        several => Err(ambiguous(several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))),
    }
}

/// The release to go back to where none is named.
///
/// # Errors
/// Nothing was ever published, or nothing was in force before.
pub async fn rollback_target<S: GetObject>(lake: &S, model: &ModelName) -> Result<ReleaseId, ReleasesError> {
    let current = in_force(lake, model).await?.ok_or_else(|| ReleasesError::NoRelease(model.clone()))?;
    current.pointer.previous.ok_or(ReleasesError::NoPrevious(current.pointer.release_id))
}

/// Whether two releases say the same, whenever they were made.
pub fn same_but_for_time(one: &Release, other: &Release) -> bool {
    Release { created_at: other.created_at, ..one.clone() } == *other
}

#[cfg(test)]
mod tests {
    use cloud::{
        memory::MemoryStore,
        object_store::{PutCondition, PutObject},
    };

    use super::*;
    use crate::samples::{model, release};

    async fn with_documents(ids: &[String]) -> MemoryStore {
        let store = MemoryStore::new();
        for id in ids {
            let key = lake::release(&model(), &id.parse().unwrap());
            store.put_object(&key, "{}".into(), PutCondition::Always).await.unwrap();
        }
        store
    }

    #[tokio::test]
    async fn an_id_may_be_cut_where_it_stays_unique() {
        let ids = [format!("abcdef0{}", "0".repeat(57)), format!("abcdef1{}", "0".repeat(57))];
        let store = with_documents(&ids).await;
        let resolved = async |id: &str| resolve(&store, &model(), id).await.map(|id| id.to_string());
        assert_eq!(resolved("abcdef1").await.unwrap(), ids[1]);
        assert_eq!(resolved("ABCDEF1").await.unwrap(), ids[1]);
        assert_eq!(resolved(&ids[0]).await.unwrap(), ids[0]);
        assert_eq!(resolved("abcdef").await.unwrap_err().reason(), "ambiguous_release_id");
        assert_eq!(resolved("abcde").await.unwrap_err().reason(), "ambiguous_release_id");
        assert_eq!(resolved("abcdef2").await.unwrap_err().reason(), "unknown_release");
    }

    #[tokio::test]
    async fn a_document_is_what_its_address_says() {
        let store = MemoryStore::new();
        let release = release(1);
        let id = release.id().unwrap();
        let key = lake::release(&model(), &id);
        assert_eq!(read_release(&store, &model(), &id).await.unwrap_err().reason(), "unknown_release");
        store.put_object(&key, release.to_bytes().into(), PutCondition::Always).await.unwrap();
        assert_eq!(read_release(&store, &model(), &id).await.unwrap(), release);
        store.put_object(&key, "{}".into(), PutCondition::Always).await.unwrap();
        assert_eq!(read_release(&store, &model(), &id).await.unwrap_err().reason(), "release_unusable");
    }
}
