//! Bodies of landing objects, as many as there is room for.

use cloud::object_store::{LimitedOutcome, ObjectStore, StoreError};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::S3Key;

/// An object of the landing area.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LandingObject {
    /// Its key.
    pub key: S3Key,
    /// Its length, where an event or a listing told it. Others are taken one at a time.
    pub size_bytes: Option<u64>,
}

impl From<S3Key> for LandingObject {
    fn from(key: S3Key) -> Self {
        Self { key, size_bytes: None }
    }
}

/// Room for bodies, in bytes.
pub(crate) struct Room {
    bytes: u32,
    free: Semaphore,
}

impl Room {
    pub(crate) fn new(bytes: u64) -> Self {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(Semaphore::MAX_PERMITS.try_into().unwrap_or(u32::MAX));
        Self { bytes, free: Semaphore::new(bytes as usize) }
    }

    /// Waits until there is room for a body: all of it where the size is not known, or is more. `None` would mean that the
    /// semaphore was closed, which it never is.
    pub(crate) async fn take(&self, size_bytes: Option<u64>) -> Option<SemaphorePermit<'_>> {
        let bytes = size_bytes.and_then(|size| u32::try_from(size).ok()).unwrap_or(u32::MAX);
        self.free.acquire_many(bytes.min(self.bytes)).await.ok()
    }
}

/// Gets a body of up to `limit` bytes, for which `held` is held.
pub(crate) async fn fetch<T, S: ObjectStore + ?Sized>(
    store: &S,
    key: S3Key,
    limit: u64,
    held: T,
) -> (S3Key, Result<LimitedOutcome, StoreError>, T) {
    let body = store.get_object_within(key.as_str(), limit).await;
    (key, body, held)
}
