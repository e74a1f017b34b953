//! The object store's ports, with S3's semantics: strongly consistent, conditional writes, no rename.

use std::{fmt, ops::Range};

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

/// An entity tag, as S3 gives it (with its quotes). Opaque: only equality means something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ETag(pub String);

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An object with its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The content.
    pub bytes: Bytes,
    /// Its entity tag.
    pub etag: ETag,
}

/// What a get found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GetOutcome {
    /// The object.
    Found(Object),
    /// It still has the entity tag that was given (304).
    NotModified,
    /// There is no such object (404).
    Missing,
}

impl GetOutcome {
    /// The object, where there is one.
    pub fn found(self) -> Option<Object> {
        match self {
            Self::Found(object) => Some(object),
            Self::NotModified | Self::Missing => None,
        }
    }
}

/// What a get with a limit found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitedOutcome {
    /// The object.
    Found(Object),
    /// It is longer than the limit: its content was not taken.
    TooLarge {
        /// The content's length in bytes.
        size_bytes: u64,
    },
    /// There is no such object (404).
    Missing,
}

/// When a put may replace what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutCondition {
    /// Always.
    Always,
    /// Only where there is no object yet (`If-None-Match: *`).
    IfAbsent,
    /// Only where the object still has this entity tag (`If-Match`).
    IfMatch(ETag),
}

/// What a put did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutOutcome {
    /// Stored, durably, under this entity tag.
    Stored(ETag),
    /// The condition did not hold (412; or 404 where `IfMatch` met no object). Nothing was written.
    PreconditionFailed,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// The key.
    pub key: String,
    /// The content's length in bytes.
    pub size_bytes: u64,
    /// Its entity tag.
    pub etag: ETag,
}

/// Why the store did not answer. Whether a write happened is then unknown.
#[derive(Debug, Clone, Error)]
pub enum StoreError {
    /// Throttled, busy, unreachable, timed out, or a conflicting write in flight (409): the same call may succeed later.
    #[error("{verb} `{key}`: the object store is unavailable: {detail}")]
    Unavailable {
        /// The verb.
        verb: &'static str,
        /// The key or prefix.
        key: String,
        /// The error's chain.
        detail: String,
    },
    /// Refused: permissions, no such bucket, an invalid request. The same call will fail again.
    #[error("{verb} `{key}`: the object store refused: {detail}")]
    Refused {
        /// The verb.
        verb: &'static str,
        /// The key or prefix.
        key: String,
        /// The error's chain.
        detail: String,
    },
}

impl StoreError {
    /// A stable code for logs and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "object_store_unavailable",
            Self::Refused { .. } => "object_store_refused",
        }
    }
}

/// Gets one object.
#[async_trait]
pub trait GetObject: Send + Sync {
    /// The object under `key`; `NotModified` where it still has the tag `if_none_match`.
    async fn get_object(&self, key: &str, if_none_match: Option<&ETag>) -> Result<GetOutcome, StoreError>;

    /// The object under `key`, where it has no more than `max_bytes`. An adapter over a network looks at the length before it
    /// takes the content; here it is in memory already.
    async fn get_object_within(&self, key: &str, max_bytes: u64) -> Result<LimitedOutcome, StoreError> {
        let found = self.get_object(key, None).await?.found();
        Ok(found.map_or(LimitedOutcome::Missing, |object| match object.bytes.len() as u64 {
            size_bytes if size_bytes > max_bytes => LimitedOutcome::TooLarge { size_bytes },
            _ => LimitedOutcome::Found(object),
        }))
    }
}

/// Puts one object.
#[async_trait]
pub trait PutObject: Send + Sync {
    /// Stores `bytes` under `key` where `condition` holds. On `Stored` the object is durable.
    async fn put_object(&self, key: &str, bytes: Bytes, condition: PutCondition) -> Result<PutOutcome, StoreError>;
}

/// What is known of an object without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectHead {
    /// The content's length in bytes.
    pub size_bytes: u64,
    /// Its entity tag.
    pub etag: ETag,
}

/// Looks at one object.
#[async_trait]
pub trait HeadObject: Send + Sync {
    /// The head of the object under `key`; `None` where there is none.
    async fn head_object(&self, key: &str) -> Result<Option<ObjectHead>, StoreError>;
}

/// What a get of a range found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeOutcome {
    /// The bytes of the range.
    Found(Bytes),
    /// The object has another entity tag by now (412).
    Changed,
    /// There is no such object (404).
    Missing,
}

/// Gets a part of one object.
#[async_trait]
pub trait GetRange: Send + Sync {
    /// The bytes `range` of the object under `key`, which must still have the tag `if_match`. The range is not empty and
    /// lies within the object.
    async fn get_range(&self, key: &str, range: Range<u64>, if_match: &ETag) -> Result<RangeOutcome, StoreError>;
}

/// The least bytes of every part of a multipart upload but the last (S3's limit).
pub const MIN_PART_BYTES: usize = 5 * 1024 * 1024;

/// Begins to put one object, part by part.
#[async_trait]
pub trait PutMultipart: Send + Sync {
    /// Begins an upload to `key`. There is no object until it is completed.
    async fn put_multipart(&self, key: &str) -> Result<Box<dyn MultipartUpload>, StoreError>;
}

/// An object in the making. One that is dropped leaves its parts behind: abort it.
#[async_trait]
pub trait MultipartUpload: Send {
    /// Appends a part: at least [`MIN_PART_BYTES`], but for the last.
    async fn put_part(&mut self, bytes: Bytes) -> Result<(), StoreError>;

    /// Makes the object of the parts, at least one, replacing what is under the key. It is then durable.
    async fn complete(self: Box<Self>) -> Result<ETag, StoreError>;

    /// Drops the parts.
    async fn abort(self: Box<Self>) -> Result<(), StoreError>;
}

/// Deletes one object.
#[async_trait]
pub trait DeleteObject: Send + Sync {
    /// Deletes the object under `key`. No error where there is none.
    async fn delete_object(&self, key: &str) -> Result<(), StoreError>;
}

/// Lists objects.
#[async_trait]
pub trait ListObjects: Send + Sync {
    /// All objects whose key begins with `prefix`, in key order, however many pages that takes.
    async fn list_objects(&self, prefix: &str) -> Result<Vec<ListedObject>, StoreError>;
}

/// All verbs, for code that needs them all.
pub trait ObjectStore: GetObject + PutObject + DeleteObject + ListObjects {}

impl<T: GetObject + PutObject + DeleteObject + ListObjects> ObjectStore for T {}

/// The media type that an object's key tells, so that browsers and Athena take it for what it is.
pub fn content_type_of(key: &str) -> &'static str {
    match key.rsplit_once('.').map(|(_, extension)| extension) {
        Some("json") => "application/json",
        Some("html") => "text/html; charset=utf-8",
        Some("csv") => "text/csv",
        Some("jsonl") => "application/jsonlines",
        Some("parquet") => "application/vnd.apache.parquet",
        _ => "application/octet-stream",
    }
}
