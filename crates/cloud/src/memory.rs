//! An object store in memory, with S3's conditions: for tests and simulations.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use domain::digest::sha256_hex;

use crate::object_store::{
    DeleteObject, ETag, GetObject, GetOutcome, GetRange, HeadObject, ListObjects, ListedObject, MIN_PART_BYTES,
    MultipartUpload, Object, ObjectHead, PutCondition, PutMultipart, PutObject, PutOutcome, RangeOutcome, StoreError,
};

/// Objects by key. Each call is atomic. A clone is the same store.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    objects: Arc<Mutex<BTreeMap<String, Object>>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// All keys, in order.
    pub fn keys(&self) -> Vec<String> {
        self.locked().keys().cloned().collect()
    }

    /// Every object's content, in key order.
    pub fn contents(&self) -> Vec<(String, Bytes)> {
        self.locked().iter().map(|(key, object)| (key.clone(), object.bytes.clone())).collect()
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Object>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl GetObject for MemoryStore {
    async fn get_object(&self, key: &str, if_none_match: Option<&ETag>) -> Result<GetOutcome, StoreError> {
        Ok(match self.locked().get(key) {
            None => GetOutcome::Missing,
            Some(object) if Some(&object.etag) == if_none_match => GetOutcome::NotModified,
            Some(object) => GetOutcome::Found(object.clone()),
        })
    }
}

#[async_trait]
impl PutObject for MemoryStore {
    async fn put_object(&self, key: &str, bytes: Bytes, condition: PutCondition) -> Result<PutOutcome, StoreError> {
        let mut objects = self.locked();
        let holds = match (&condition, objects.get(key)) {
            (PutCondition::Always, _) | (PutCondition::IfAbsent, None) => true,
            (PutCondition::IfMatch(etag), Some(object)) => *etag == object.etag,
            (PutCondition::IfAbsent, Some(_)) | (PutCondition::IfMatch(_), None) => false,
        };
        if !holds {
            return Ok(PutOutcome::PreconditionFailed);
        }
        Ok(PutOutcome::Stored(insert(&mut objects, key, bytes)))
    }
}

fn insert(objects: &mut BTreeMap<String, Object>, key: &str, bytes: Bytes) -> ETag {
    let etag = ETag(format!("\"{}\"", &sha256_hex(&bytes)[..32]));
    objects.insert(key.to_owned(), Object { bytes, etag: etag.clone() });
    etag
}

#[async_trait]
impl HeadObject for MemoryStore {
    async fn head_object(&self, key: &str) -> Result<Option<ObjectHead>, StoreError> {
        let head = |object: &Object| ObjectHead { size_bytes: object.bytes.len() as u64, etag: object.etag.clone() };
        Ok(self.locked().get(key).map(head))
    }
}

fn refused(verb: &'static str, key: &str, detail: impl Into<String>) -> StoreError {
    StoreError::Refused { verb, key: key.to_owned(), detail: detail.into() }
}

#[async_trait]
impl GetRange for MemoryStore {
    async fn get_range(&self, key: &str, range: Range<u64>, if_match: &ETag) -> Result<RangeOutcome, StoreError> {
        Ok(match self.locked().get(key) {
            None => RangeOutcome::Missing,
            Some(object) if object.etag != *if_match => RangeOutcome::Changed,
            Some(object) if range.is_empty() || range.end > object.bytes.len() as u64 => {
                return Err(refused("get", key, format!("InvalidRange: {range:?} of {} bytes", object.bytes.len())));
            }
            Some(object) => RangeOutcome::Found(object.bytes.slice(range.start as usize..range.end as usize)),
        })
    }
}

#[async_trait]
impl PutMultipart for MemoryStore {
    async fn put_multipart(&self, key: &str) -> Result<Box<dyn MultipartUpload>, StoreError> {
        Ok(Box::new(MemoryUpload { store: self.clone(), key: key.to_owned(), parts: Vec::new() }))
    }
}

#[derive(Debug)]
struct MemoryUpload {
    store: MemoryStore,
    key: String,
    parts: Vec<Bytes>,
}

#[async_trait]
impl MultipartUpload for MemoryUpload {
    async fn put_part(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.parts.push(bytes);
        Ok(())
    }

    async fn complete(self: Box<Self>) -> Result<ETag, StoreError> {
        let Some((_, all_but_last)) = self.parts.split_last() else {
            return Err(refused("put", &self.key, "MalformedXML: an upload needs at least one part"));
        };
        if all_but_last.iter().any(|part| part.len() < MIN_PART_BYTES) {
            return Err(refused("put", &self.key, "EntityTooSmall: a part but the last is below 5 MiB"));
        }
        Ok(insert(&mut self.store.locked(), &self.key, self.parts.concat().into()))
    }

    async fn abort(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl DeleteObject for MemoryStore {
    async fn delete_object(&self, key: &str) -> Result<(), StoreError> {
        self.locked().remove(key);
        Ok(())
    }
}

#[async_trait]
impl ListObjects for MemoryStore {
    async fn list_objects(&self, prefix: &str) -> Result<Vec<ListedObject>, StoreError> {
        Ok(self
            .locked()
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, object)| ListedObject {
                key: key.clone(),
                size_bytes: object.bytes.len() as u64,
                etag: object.etag.clone(),
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn conditions_hold_as_on_s3() {
        let store = MemoryStore::new();
        let put = async |bytes: &'static str, condition| store.put_object("a", bytes.into(), condition).await.unwrap();
        assert_eq!(put("x", PutCondition::IfMatch(ETag("\"none\"".into()))).await, PutOutcome::PreconditionFailed);
        let PutOutcome::Stored(first) = put("x", PutCondition::IfAbsent).await else { panic!() };
        assert_eq!(put("y", PutCondition::IfAbsent).await, PutOutcome::PreconditionFailed);
        assert_eq!(store.get_object("a", Some(&first)).await.unwrap(), GetOutcome::NotModified);
        let PutOutcome::Stored(second) = put("y", PutCondition::IfMatch(first.clone())).await else { panic!() };
        assert_eq!(put("z", PutCondition::IfMatch(first)).await, PutOutcome::PreconditionFailed);
        assert_eq!(store.list_objects("").await.unwrap()[0].etag, second);
        store.delete_object("a").await.unwrap();
        store.delete_object("a").await.unwrap();
        assert_eq!(store.get_object("a", None).await.unwrap(), GetOutcome::Missing);
    }

    #[tokio::test]
    async fn ranges_are_of_the_object_that_was_looked_at() {
        let store = MemoryStore::new();
        assert_eq!(store.head_object("a").await.unwrap(), None);
        store.put_object("a", "0123456789".into(), PutCondition::Always).await.unwrap();
        let ObjectHead { size_bytes, etag } = store.head_object("a").await.unwrap().unwrap();
        assert_eq!(size_bytes, 10);
        assert_eq!(store.get_range("a", 2..5, &etag).await.unwrap(), RangeOutcome::Found("234".into()));
        assert!(store.get_range("a", 5..11, &etag).await.is_err());
        store.put_object("a", "x".into(), PutCondition::Always).await.unwrap();
        assert_eq!(store.get_range("a", 0..1, &etag).await.unwrap(), RangeOutcome::Changed);
        assert_eq!(store.get_range("b", 0..1, &etag).await.unwrap(), RangeOutcome::Missing);
    }

    #[tokio::test]
    async fn an_upload_is_an_object_once_it_is_completed() {
        let store = MemoryStore::new();
        let part = Bytes::from(vec![b'x'; MIN_PART_BYTES]);
        let mut upload = store.put_multipart("a").await.unwrap();
        upload.put_part(part.clone()).await.unwrap();
        assert!(store.keys().is_empty());
        upload.put_part("y".into()).await.unwrap();
        let etag = upload.complete().await.unwrap();
        assert_eq!(
            store.head_object("a").await.unwrap(),
            Some(ObjectHead { size_bytes: MIN_PART_BYTES as u64 + 1, etag })
        );
        let mut small = store.put_multipart("b").await.unwrap();
        small.put_part("y".into()).await.unwrap();
        small.put_part(part).await.unwrap();
        assert_eq!(small.complete().await.unwrap_err().reason(), "object_store_refused");
        assert!(store.put_multipart("b").await.unwrap().complete().await.is_err());
        assert_eq!(store.keys(), ["a"]);
    }
}
