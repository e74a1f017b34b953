//! The S3 operations over the store.

use std::{collections::BTreeMap, sync::Arc};

use s3s::{
    S3, S3Request, S3Response, S3Result,
    dto::{
        AbortMultipartUploadInput, AbortMultipartUploadOutput, Bucket, Checksum, CommonPrefix,
        CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput,
        CopyObjectResult, CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput,
        CreateMultipartUploadOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput,
        DeletedObject, Error, GetBucketLocationInput, GetBucketLocationOutput, GetObjectInput, GetObjectOutput,
        HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListBucketsInput, ListBucketsOutput,
        ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectsV2Input, ListObjectsV2Output, ListPartsInput,
        ListPartsOutput, MetadataDirective, MultipartUpload, Object, ObjectStorageClass, Part, PutObjectInput,
        PutObjectOutput, UploadPartInput, UploadPartOutput,
    },
    s3_error,
};

use super::{
    body::{self, Expected},
    listing::{self, Query},
    multipart::{self, Upload},
    protocol::{check_read, etag, read_token, source_of, time, url_encode, without_transfer_coding},
    store::{Attributes, Condition, ObjectInfo, Store, internal, matches, precondition_failed},
};
use crate::hash::hex;

pub(crate) struct Service {
    store: Arc<Store>,
}

impl Service {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

/// Copies what the store keeps of an object into a GET's or HEAD's answer.
macro_rules! describe {
    ($output:ident, $info:expr) => {
        let info = $info;
        let attributes = &info.attributes;
        $output.accept_ranges = Some("bytes".to_owned());
        $output.e_tag = Some(etag(&info.etag));
        $output.last_modified = Some(time(info.modified_ns));
        $output.content_type =
            Some(attributes.content_type.clone().unwrap_or_else(|| "binary/octet-stream".to_owned()));
        $output.content_encoding = attributes.content_encoding.clone();
        $output.content_disposition = attributes.content_disposition.clone();
        $output.content_language = attributes.content_language.clone();
        $output.cache_control = attributes.cache_control.clone();
        $output.metadata = Some(attributes.metadata.clone().into_iter().collect());
    };
}

/// Checksums are told only of whole objects, and only to those who ask.
macro_rules! tell_checksums {
    ($output:ident, $info:expr, $asked:expr) => {
        if $asked {
            let info = $info;
            $output.checksum_crc32 = info.crc32.clone();
            $output.checksum_crc32c = info.crc32c.clone();
            $output.checksum_crc64nvme = info.crc64nvme.clone();
            $output.checksum_sha1 = info.sha1.clone();
            $output.checksum_sha256 = info.sha256.clone();
        }
    };
}

macro_rules! given_checksums {
    ($input:ident) => {
        Checksum {
            checksum_crc32: $input.checksum_crc32,
            checksum_crc32c: $input.checksum_crc32c,
            checksum_crc64nvme: $input.checksum_crc64nvme,
            checksum_sha1: $input.checksum_sha1,
            checksum_sha256: $input.checksum_sha256,
            ..Checksum::default()
        }
    };
}

macro_rules! given_attributes {
    ($input:ident) => {
        Attributes {
            content_type: $input.content_type,
            // The transfer coding of a signed stream is no property of the object.
            content_encoding: $input.content_encoding.as_deref().and_then(without_transfer_coding),
            content_disposition: $input.content_disposition,
            content_language: $input.content_language,
            cache_control: $input.cache_control,
            metadata: $input.metadata.unwrap_or_default().into_iter().collect(),
        }
    };
}

const LARGEST_PAGE: usize = 1000;

#[async_trait::async_trait]
impl S3 for Service {
    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        let (store, name) = (self.store.clone(), req.input.bucket.clone());
        if !body::in_background(move || store.create_bucket(&name)).await? {
            return Err(s3_error!(BucketAlreadyOwnedByYou, "Your previous request to create the bucket succeeded"));
        }
        Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{}", req.input.bucket)) }))
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.store.bucket(&req.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.store.bucket(&req.input.bucket)?;
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }

    async fn list_buckets(&self, _: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        let buckets = self.store.buckets().into_iter().map(|bucket| Bucket {
            name: Some(bucket.name.clone()),
            creation_date: Some(time(bucket.created_ns)),
            bucket_region: None,
        });
        Ok(S3Response::new(ListBucketsOutput { buckets: Some(buckets.collect()), ..ListBucketsOutput::default() }))
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = req.input;
        self.store.bucket(&input.bucket)?;
        let expected = Expected {
            content_md5: input.content_md5,
            algorithm: input.checksum_algorithm,
            checksum: given_checksums!(input),
            trailers: req.trailing_headers,
        };
        let arrived = body::receive(&self.store, input.body, expected).await?;
        let condition = Condition { if_match: input.if_match, if_none_match: input.if_none_match };
        let mut info = ObjectInfo { key: input.key, attributes: given_attributes!(input), ..ObjectInfo::default() };
        let (store, bucket) = (self.store.clone(), input.bucket);
        // Once to another thread and back: most objects are small, and the way there takes longer than the work.
        let info = blocking(move || {
            let received = arrived.finish()?;
            info.etag = hex(&received.md5);
            info.set_checksum(received.checksum);
            store.publish(&bucket, info, &received.path, &condition, "ObjectCreated:Put")
        })
        .await?;
        let mut output = PutObjectOutput { e_tag: Some(etag(&info.etag)), ..PutObjectOutput::default() };
        tell_checksums!(output, &info, true);
        Ok(S3Response::new(output))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let (info, file) = self.store.read(&input.bucket, &input.key)?;
        check_read(
            &info,
            input.if_match.as_ref(),
            input.if_none_match.as_ref(),
            input.if_modified_since.as_ref(),
            input.if_unmodified_since.as_ref(),
        )?;
        let (start, length) = match input.range {
            Some(range) => {
                let range = range.check(info.size)?;
                (range.start, range.end - range.start)
            }
            None => (0, info.size),
        };
        let mut output = GetObjectOutput {
            body: Some(body::send(file, start, length).await?),
            content_length: i64::try_from(length).ok(),
            content_range: input
                .range
                .map(|_| format!("bytes {start}-{}/{}", (start + length).saturating_sub(1), info.size)),
            ..GetObjectOutput::default()
        };
        describe!(output, &info);
        tell_checksums!(output, &info, input.range.is_none() && input.checksum_mode.is_some());
        if let Some(content_type) = input.response_content_type {
            output.content_type = Some(content_type);
        }
        Ok(S3Response::new(output))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = req.input;
        let info = self.store.info(&input.bucket, &input.key)?;
        check_read(
            &info,
            input.if_match.as_ref(),
            input.if_none_match.as_ref(),
            input.if_modified_since.as_ref(),
            input.if_unmodified_since.as_ref(),
        )?;
        let mut output =
            HeadObjectOutput { content_length: i64::try_from(info.size).ok(), ..HeadObjectOutput::default() };
        describe!(output, &info);
        tell_checksums!(output, &info, input.checksum_mode.is_some());
        Ok(S3Response::new(output))
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = req.input;
        let store = self.store.clone();
        blocking(move || {
            store.remove(&input.bucket, &input.key, |now| match (&input.if_match, now) {
                (None, _) => Ok(()),
                (Some(_), None) => Err(s3_error!(NoSuchKey, "The specified key does not exist.")),
                (Some(wanted), Some(now)) if matches(wanted, &now.etag) => Ok(()),
                (Some(_), Some(_)) => Err(precondition_failed()),
            })
        })
        .await?;
        Ok(S3Response::with_status(DeleteObjectOutput::default(), http::StatusCode::NO_CONTENT))
    }

    async fn delete_objects(&self, req: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let input = req.input;
        self.store.bucket(&input.bucket)?;
        let store = self.store.clone();
        let quiet = input.delete.quiet == Some(true);
        let (deleted, errors) = blocking(move || {
            let (mut deleted, mut errors) = (Vec::new(), Vec::new());
            for object in input.delete.objects {
                let removed = store.remove(&input.bucket, &object.key, |now| match (&object.e_tag, now) {
                    (Some(wanted), Some(now)) if wanted.value() != now.etag => Err(precondition_failed()),
                    _ => Ok(()),
                });
                let key = Some(object.key);
                match removed {
                    Ok(_) => deleted.push(DeletedObject { key, ..DeletedObject::default() }),
                    Err(error) => errors.push(Error {
                        key,
                        code: Some(error.code().as_str().to_owned()),
                        message: error.message().map(str::to_owned),
                        ..Error::default()
                    }),
                }
            }
            Ok((deleted, errors))
        })
        .await?;
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: (!quiet).then_some(deleted),
            errors: (!errors.is_empty()).then_some(errors),
            ..DeleteObjectsOutput::default()
        }))
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = req.input;
        let (bucket, key) = source_of(&input.copy_source)?;
        let (source, mut file) = self.store.read(bucket, key)?;
        let unwanted = input.copy_source_if_none_match.as_ref().is_some_and(|etag| matches(etag, &source.etag));
        let unmatched = input.copy_source_if_match.as_ref().is_some_and(|etag| !matches(etag, &source.etag));
        if unwanted || unmatched {
            return Err(precondition_failed());
        }
        let mut info = ObjectInfo { key: input.key, ..(*source).clone() };
        // The path belongs to the source's key.
        info.path.clear();
        if input.metadata_directive.as_ref().is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE) {
            info.attributes = given_attributes!(input);
        } else if input.bucket == bucket && info.key == key {
            return Err(s3_error!(
                InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing its metadata"
            ));
        }
        let path = self.store.temporary_path();
        let to = path.clone();
        body::in_background(move || std::io::copy(&mut file, &mut std::fs::File::create(to)?)).await?;
        let info = self.publish(input.bucket, info, path, Condition::default(), "ObjectCreated:Copy").await?;
        let result = CopyObjectResult {
            e_tag: Some(etag(&info.etag)),
            last_modified: Some(time(info.modified_ns)),
            ..CopyObjectResult::default()
        };
        Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() }))
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        let bucket = self.store.bucket(&input.bucket)?;
        let max_keys = input.max_keys.map_or(LARGEST_PAGE, |most| usize::try_from(most).unwrap_or_default());
        let token = input.continuation_token.as_deref().map(read_token).transpose()?;
        let page = listing::list(
            &bucket.lock().objects,
            &Query {
                prefix: input.prefix.as_deref().unwrap_or_default(),
                delimiter: input.delimiter.as_deref(),
                start_after: input.start_after.as_deref(),
                token: token.as_deref(),
                max_keys: max_keys.min(LARGEST_PAGE),
            },
        );
        let encode = |text: &str| match &input.encoding_type {
            Some(_) => url_encode(text),
            None => text.to_owned(),
        };
        let contents = page.objects.iter().map(|info| Object {
            key: Some(encode(&info.key)),
            size: i64::try_from(info.size).ok(),
            e_tag: Some(etag(&info.etag)),
            last_modified: Some(time(info.modified_ns)),
            storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
            ..Object::default()
        });
        let prefixes = page.common_prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(encode(prefix)) });
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: i32::try_from(page.len()).ok(),
            max_keys: i32::try_from(max_keys).ok(),
            is_truncated: Some(page.next.is_some()),
            contents: Some(contents.collect()),
            common_prefixes: Some(prefixes.collect()),
            next_continuation_token: page.next.as_deref().map(|token| hex(token.as_bytes())),
            continuation_token: input.continuation_token,
            delimiter: input.delimiter.as_deref().map(encode),
            prefix: Some(encode(input.prefix.as_deref().unwrap_or_default())),
            start_after: input.start_after.as_deref().map(encode),
            encoding_type: input.encoding_type.clone(),
            name: Some(input.bucket),
            ..ListObjectsV2Output::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = req.input;
        self.store.bucket(&input.bucket)?;
        let upload_id = self.store.uploads.begin(Upload {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            attributes: given_attributes!(input),
            started_ns: u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or_default(),
            parts: BTreeMap::new(),
        });
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(upload_id),
            checksum_algorithm: input.checksum_algorithm,
            ..CreateMultipartUploadOutput::default()
        }))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = req.input;
        if !(1..=10_000).contains(&input.part_number) {
            return Err(s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive"));
        }
        let uploads = &self.store.uploads;
        uploads.look(&input.upload_id, &input.bucket, &input.key, |_| ())?;
        let expected = Expected {
            content_md5: input.content_md5,
            algorithm: input.checksum_algorithm,
            checksum: given_checksums!(input),
            trailers: req.trailing_headers,
        };
        let arrived = body::receive(&self.store, input.body, expected).await?;
        let received = blocking(move || arrived.finish()).await?;
        let checksum = received.checksum.clone();
        let output = UploadPartOutput {
            e_tag: Some(etag(&hex(&received.md5))),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            ..UploadPartOutput::default()
        };
        uploads.add_part(&input.upload_id, &input.bucket, &input.key, input.part_number, received)?;
        Ok(S3Response::new(output))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = req.input;
        let named = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let uploads = &self.store.uploads;
        let (parts, attributes) = uploads.look(&input.upload_id, &input.bucket, &input.key, |upload| {
            multipart::chosen(upload, &named).map(|parts| (parts, upload.attributes.clone()))
        })??;
        let store = self.store.clone();
        let (path, whole_etag) = blocking(move || multipart::join(&store, &parts)).await?;
        let info = ObjectInfo { key: input.key.clone(), etag: whole_etag, attributes, ..ObjectInfo::default() };
        let condition = Condition { if_match: input.if_match, if_none_match: input.if_none_match };
        let event = "ObjectCreated:CompleteMultipartUpload";
        let info = self.publish(input.bucket.clone(), info, path, condition, event).await?;
        uploads.end(&input.upload_id);
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(etag(&info.etag)),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = req.input;
        self.store.uploads.look(&input.upload_id, &input.bucket, &input.key, |_| ())?;
        self.store.uploads.end(&input.upload_id);
        Ok(S3Response::with_status(AbortMultipartUploadOutput::default(), http::StatusCode::NO_CONTENT))
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let input = req.input;
        let marker = input.part_number_marker.unwrap_or(0);
        let most =
            input.max_parts.and_then(|most| usize::try_from(most).ok()).unwrap_or(LARGEST_PAGE).min(LARGEST_PAGE);
        let (parts, more) = self.store.uploads.look(&input.upload_id, &input.bucket, &input.key, |upload| {
            let mut rest = upload.parts.range(marker + 1..);
            let parts: Vec<_> = rest
                .by_ref()
                .take(most)
                .map(|(number, part)| Part {
                    part_number: Some(*number),
                    size: i64::try_from(part.size).ok(),
                    e_tag: Some(etag(&part.etag())),
                    ..Part::default()
                })
                .collect();
            (parts, rest.next().is_some())
        })?;
        let last = parts.last().and_then(|part| part.part_number);
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            is_truncated: Some(more),
            next_part_number_marker: last.filter(|_| more),
            parts: Some(parts),
            ..ListPartsOutput::default()
        }))
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = req.input;
        self.store.bucket(&input.bucket)?;
        let uploads = self.store.uploads.list(&input.bucket, input.prefix.as_deref().unwrap_or_default());
        let uploads = uploads.into_iter().map(|(id, key, started_ns)| MultipartUpload {
            upload_id: Some(id),
            key: Some(key),
            initiated: Some(time(started_ns)),
            ..MultipartUpload::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: input.prefix,
            is_truncated: Some(false),
            uploads: Some(uploads.collect()),
            ..ListMultipartUploadsOutput::default()
        }))
    }
}

impl Service {
    async fn publish(
        &self,
        bucket: String,
        info: ObjectInfo,
        path: std::path::PathBuf,
        condition: Condition,
        event: &'static str,
    ) -> S3Result<Arc<ObjectInfo>> {
        let store = self.store.clone();
        blocking(move || store.publish(&bucket, info, &path, &condition, event)).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> S3Result<T> + Send + 'static) -> S3Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| internal(std::io::Error::other(error)))?
}
