//! An object store in memory, with S3's conditions: for tests and simulations.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use domain::digest::sha256_hex;

use crate::object_store::{
    DeleteObject, ETag, GetObject, GetOutcome, ListObjects, ListedObject, Object, PutCondition, PutObject, PutOutcome,
    StoreError,
};

/// Objects by key. Each call is atomic.
#[derive(Debug, Default)]
pub struct MemoryStore {
    objects: Mutex<BTreeMap<String, Object>>,
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
        let etag = ETag(format!("\"{}\"", &sha256_hex(&bytes)[..32]));
        objects.insert(key.to_owned(), Object { bytes, etag: etag.clone() });
        Ok(PutOutcome::Stored(etag))
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
}
