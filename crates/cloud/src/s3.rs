//! S3 as an object store.

use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    primitives::ByteStream,
};
use bytes::Bytes;

use crate::object_store::{
    DeleteObject, ETag, GetObject, GetOutcome, ListObjects, ListedObject, Object, PutCondition, PutObject, PutOutcome,
    StoreError, content_type_of,
};

/// One bucket.
#[derive(Debug, Clone)]
pub struct S3Bucket {
    client: Client,
    bucket: String,
}

impl S3Bucket {
    /// A bucket behind a client.
    pub fn new(client: Client, bucket: impl Into<String>) -> Self {
        Self { client, bucket: bucket.into() }
    }

    /// The bucket's name.
    pub fn name(&self) -> &str {
        &self.bucket
    }
}

fn status_of<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

fn store_error<E>(verb: &'static str, key: &str, error: &SdkError<E>) -> StoreError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
    SdkError<E>: std::error::Error,
{
    let (key, detail) = (key.to_owned(), DisplayErrorContext(error).to_string());
    match status_of(error) {
        // 409: another conditional write of the key was in flight; S3 asks to try again.
        Some(408 | 409 | 429 | 500..) | None => StoreError::Unavailable { verb, key, detail },
        Some(_) => StoreError::Refused { verb, key, detail },
    }
}

#[async_trait]
impl GetObject for S3Bucket {
    async fn get_object(&self, key: &str, if_none_match: Option<&ETag>) -> Result<GetOutcome, StoreError> {
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .set_if_none_match(if_none_match.map(|etag| etag.0.clone()));
        let output = match request.send().await {
            Ok(output) => output,
            Err(error) => {
                return match status_of(&error) {
                    Some(304) => Ok(GetOutcome::NotModified),
                    Some(404) if error.code() != Some("NoSuchBucket") => Ok(GetOutcome::Missing),
                    _ => Err(store_error("get", key, &error)),
                };
            }
        };
        let etag = ETag(output.e_tag.unwrap_or_default());
        let bytes = output.body.collect().await.map_err(|error| StoreError::Unavailable {
            verb: "get",
            key: key.to_owned(),
            detail: DisplayErrorContext(&error).to_string(),
        })?;
        Ok(GetOutcome::Found(Object { bytes: bytes.into_bytes(), etag }))
    }
}

#[async_trait]
impl PutObject for S3Bucket {
    async fn put_object(&self, key: &str, bytes: Bytes, condition: PutCondition) -> Result<PutOutcome, StoreError> {
        let mut request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_type(content_type_of(key))
            .body(ByteStream::from(bytes));
        request = match &condition {
            PutCondition::Always => request,
            PutCondition::IfAbsent => request.if_none_match("*"),
            PutCondition::IfMatch(etag) => request.if_match(&etag.0),
        };
        match request.send().await {
            Ok(output) => Ok(PutOutcome::Stored(ETag(output.e_tag.unwrap_or_default()))),
            Err(error) => match status_of(&error) {
                Some(412) => Ok(PutOutcome::PreconditionFailed),
                Some(404) if matches!(condition, PutCondition::IfMatch(_)) && error.code() == Some("NoSuchKey") => {
                    Ok(PutOutcome::PreconditionFailed)
                }
                _ => Err(store_error("put", key, &error)),
            },
        }
    }
}

#[async_trait]
impl DeleteObject for S3Bucket {
    async fn delete_object(&self, key: &str) -> Result<(), StoreError> {
        match self.client.delete_object().bucket(&self.bucket).key(key).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(store_error("delete", key, &error)),
        }
    }
}

#[async_trait]
impl ListObjects for S3Bucket {
    async fn list_objects(&self, prefix: &str) -> Result<Vec<ListedObject>, StoreError> {
        let mut pages = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix).into_paginator().send();
        let mut listed = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| store_error("list", prefix, &error))?;
            listed.extend(page.contents.unwrap_or_default().into_iter().filter_map(|object| {
                Some(ListedObject {
                    key: object.key?,
                    size_bytes: u64::try_from(object.size.unwrap_or(0)).unwrap_or(0),
                    etag: ETag(object.e_tag.unwrap_or_default()),
                })
            }));
        }
        Ok(listed)
    }
}
