//! S3 as an object store.

use std::ops::Range;

use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    operation::get_object::{GetObjectError, GetObjectOutput},
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;

use crate::object_store::{
    DeleteObject, ETag, GetObject, GetOutcome, GetRange, HeadObject, LimitedOutcome, ListObjects, ListedObject,
    MultipartUpload, Object, ObjectHead, PutCondition, PutMultipart, PutObject, PutOutcome, RangeOutcome, StoreError,
    content_type_of,
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
        match request.send().await {
            Ok(output) => Ok(GetOutcome::Found(whole(key, output).await?)),
            Err(error) if status_of(&error) == Some(304) => Ok(GetOutcome::NotModified),
            Err(error) if is_missing(&error) => Ok(GetOutcome::Missing),
            Err(error) => Err(store_error("get", key, &error)),
        }
    }

    async fn get_object_within(&self, key: &str, max_bytes: u64) -> Result<LimitedOutcome, StoreError> {
        match self.client.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(output) => match output.content_length.and_then(|length| u64::try_from(length).ok()) {
                // The body is dropped unread, with its connection.
                Some(size_bytes) if size_bytes > max_bytes => Ok(LimitedOutcome::TooLarge { size_bytes }),
                _ => Ok(LimitedOutcome::Found(whole(key, output).await?)),
            },
            Err(error) if is_missing(&error) => Ok(LimitedOutcome::Missing),
            Err(error) => Err(store_error("get", key, &error)),
        }
    }
}

/// Whether there is no such object; a bucket that there is not is an error.
fn is_missing(error: &SdkError<GetObjectError>) -> bool {
    status_of(error) == Some(404) && error.code() != Some("NoSuchBucket")
}

async fn whole(key: &str, output: GetObjectOutput) -> Result<Object, StoreError> {
    let etag = ETag(output.e_tag.unwrap_or_default());
    Ok(Object { bytes: collect(key, output.body).await?, etag })
}

async fn collect(key: &str, body: ByteStream) -> Result<Bytes, StoreError> {
    let bytes = body.collect().await.map_err(|error| StoreError::Unavailable {
        verb: "get",
        key: key.to_owned(),
        detail: DisplayErrorContext(&error).to_string(),
    })?;
    Ok(bytes.into_bytes())
}

#[async_trait]
impl HeadObject for S3Bucket {
    async fn head_object(&self, key: &str) -> Result<Option<ObjectHead>, StoreError> {
        match self.client.head_object().bucket(&self.bucket).key(key).send().await {
            Ok(output) => Ok(Some(ObjectHead {
                size_bytes: u64::try_from(output.content_length.unwrap_or(0)).unwrap_or(0),
                etag: ETag(output.e_tag.unwrap_or_default()),
            })),
            Err(error) if status_of(&error) == Some(404) => Ok(None),
            Err(error) => Err(store_error("head", key, &error)),
        }
    }
}

#[async_trait]
impl GetRange for S3Bucket {
    async fn get_range(&self, key: &str, range: Range<u64>, if_match: &ETag) -> Result<RangeOutcome, StoreError> {
        let request = self.client.get_object().bucket(&self.bucket).key(key).if_match(&if_match.0).range(format!(
            "bytes={}-{}",
            range.start,
            range.end.saturating_sub(1)
        ));
        match request.send().await {
            Ok(output) => {
                let bytes = collect(key, output.body).await?;
                if bytes.len() as u64 != range.end - range.start {
                    let detail = format!("{} bytes came for range {range:?}", bytes.len());
                    return Err(StoreError::Unavailable { verb: "get", key: key.to_owned(), detail });
                }
                Ok(RangeOutcome::Found(bytes))
            }
            Err(error) => match status_of(&error) {
                Some(412) => Ok(RangeOutcome::Changed),
                _ if is_missing(&error) => Ok(RangeOutcome::Missing),
                _ => Err(store_error("get", key, &error)),
            },
        }
    }
}

#[async_trait]
impl PutMultipart for S3Bucket {
    async fn put_multipart(&self, key: &str) -> Result<Box<dyn MultipartUpload>, StoreError> {
        let request =
            self.client.create_multipart_upload().bucket(&self.bucket).key(key).content_type(content_type_of(key));
        let output = request.send().await.map_err(|error| store_error("put", key, &error))?;
        let upload_id = output.upload_id.ok_or_else(|| StoreError::Unavailable {
            verb: "put",
            key: key.to_owned(),
            detail: "the upload has no id".to_owned(),
        })?;
        Ok(Box::new(S3Upload { store: self.clone(), key: key.to_owned(), upload_id, parts: Vec::new() }))
    }
}

#[derive(Debug)]
struct S3Upload {
    store: S3Bucket,
    key: String,
    upload_id: String,
    parts: Vec<CompletedPart>,
}

#[async_trait]
impl MultipartUpload for S3Upload {
    async fn put_part(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        // Part numbers begin at 1.
        let number = i32::try_from(self.parts.len() + 1).unwrap_or(i32::MAX);
        let S3Bucket { client, bucket } = &self.store;
        let request = client.upload_part().bucket(bucket).key(&self.key).upload_id(&self.upload_id);
        let request = request.part_number(number).body(ByteStream::from(bytes));
        let output = request.send().await.map_err(|error| store_error("put", &self.key, &error))?;
        self.parts.push(
            CompletedPart::builder()
                .part_number(number)
                .set_e_tag(output.e_tag)
                .set_checksum_crc32(output.checksum_crc32)
                .build(),
        );
        Ok(())
    }

    async fn complete(self: Box<Self>) -> Result<ETag, StoreError> {
        let Self { store: S3Bucket { client, bucket }, key, upload_id, parts } = *self;
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = client.complete_multipart_upload().bucket(bucket).key(&key).upload_id(upload_id);
        let output = request.multipart_upload(parts).send().await.map_err(|error| store_error("put", &key, &error))?;
        Ok(ETag(output.e_tag.unwrap_or_default()))
    }

    async fn abort(self: Box<Self>) -> Result<(), StoreError> {
        let Self { store: S3Bucket { client, bucket }, key, upload_id, .. } = *self;
        let request = client.abort_multipart_upload().bucket(bucket).key(&key).upload_id(upload_id);
        request.send().await.map(drop).map_err(|error| store_error("put", &key, &error))
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
