//! The S3 adapter against an S3, whichever the environment names: AWS' own, or one on this machine.
//!
//! ```text
//! moto_server -p 5555 &          # 5.2.5; 5.2.1 answers a completed upload in words of its own
//! AWS_ENDPOINT_URL_S3=http://127.0.0.1:5555 AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x \
//!     MANNEN_TEST_BUCKET=mannen-test cargo test -p cloud --test s3
//! ```
//! The bucket must be there; the keys below `adapter-test/` are overwritten. Without `MANNEN_TEST_BUCKET` it is skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use bytes::Bytes;
use cloud::{
    aws,
    object_store::{
        DeleteObject, GetObject, GetRange, HeadObject, LimitedOutcome, MIN_PART_BYTES, ObjectHead, PutCondition,
        PutMultipart, PutObject, RangeOutcome,
    },
    s3::S3Bucket,
};

#[tokio::test]
async fn ranges_heads_and_uploads_are_as_in_memory() {
    let Ok(bucket) = std::env::var("MANNEN_TEST_BUCKET") else {
        println!("skipped: MANNEN_TEST_BUCKET is not set");
        return;
    };
    let store = S3Bucket::new(aws_sdk_s3::Client::new(&aws::sdk_config().await), bucket);
    let key = "adapter-test/ranges 東京+.bin";
    store.delete_object(key).await.unwrap();
    assert_eq!(store.head_object(key).await.unwrap(), None);
    store.put_object(key, "0123456789".into(), PutCondition::Always).await.unwrap();
    let ObjectHead { size_bytes, etag } = store.head_object(key).await.unwrap().unwrap();
    assert_eq!(size_bytes, 10);
    assert_eq!(store.get_range(key, 2..5, &etag).await.unwrap(), RangeOutcome::Found("234".into()));
    assert_eq!(store.get_range(key, 0..10, &etag).await.unwrap(), RangeOutcome::Found("0123456789".into()));
    let LimitedOutcome::Found(object) = store.get_object_within(key, 10).await.unwrap() else { panic!() };
    assert_eq!((object.bytes, &object.etag), ("0123456789".into(), &etag));
    assert_eq!(store.get_object_within(key, 9).await.unwrap(), LimitedOutcome::TooLarge { size_bytes: 10 });
    store.put_object(key, "x".into(), PutCondition::Always).await.unwrap();
    assert_eq!(store.get_range(key, 0..1, &etag).await.unwrap(), RangeOutcome::Changed);
    store.delete_object(key).await.unwrap();
    assert_eq!(store.get_range(key, 0..1, &etag).await.unwrap(), RangeOutcome::Missing);
    assert_eq!(store.get_object_within(key, 9).await.unwrap(), LimitedOutcome::Missing);

    let key = "adapter-test/upload.csv";
    store.delete_object(key).await.unwrap();
    let part: Bytes = (0..MIN_PART_BYTES).map(|at| (at % 251) as u8).collect();
    let mut upload = store.put_multipart(key).await.unwrap();
    upload.put_part(part.clone()).await.unwrap();
    assert_eq!(store.head_object(key).await.unwrap(), None, "no object before it is complete");
    upload.put_part("the end".into()).await.unwrap();
    let etag = upload.complete().await.unwrap();
    let object = store.get_object(key, None).await.unwrap().found().unwrap();
    assert_eq!((object.etag, object.bytes.len()), (etag, MIN_PART_BYTES + 7));
    assert!(object.bytes.starts_with(&part) && object.bytes.ends_with(b"the end"));
    store.delete_object(key).await.unwrap();
    let mut upload = store.put_multipart(key).await.unwrap();
    upload.put_part("given up".into()).await.unwrap();
    upload.abort().await.unwrap();
    assert_eq!(store.head_object(key).await.unwrap(), None);
}
