//! The real SDK against the local S3.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::sync::Arc;

use aws_sdk_s3::{
    Client,
    error::ProvideErrorMetadata,
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier},
};
use local::LocalCloud;

const TEMPLATE: &str = "Resources:\n  B: {Type: AWS::S3::Bucket, Properties: {BucketName: lake}}\n";

async fn start(root: &tempfile::TempDir) -> (LocalCloud, Client) {
    let cloud = LocalCloud::start(common::options(TEMPLATE, root)).await.unwrap();
    let s3 = common::s3(&cloud);
    (cloud, s3)
}

async fn put(s3: &Client, key: &str, body: &str) -> String {
    let put = s3.put_object().bucket("lake").key(key).body(ByteStream::from(body.as_bytes().to_vec()));
    put.send().await.unwrap().e_tag.unwrap()
}

async fn get(s3: &Client, key: &str) -> String {
    let got = s3.get_object().bucket("lake").key(key).send().await.unwrap();
    String::from_utf8(got.body.collect().await.unwrap().to_vec()).unwrap()
}

fn code<E: ProvideErrorMetadata>(error: &E) -> &str {
    error.code().unwrap_or("none")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_come_back_as_they_were_put() {
    let root = tempfile::tempdir().unwrap();
    let (cloud, s3) = start(&root).await;
    let keys = ["a.json", "x", "x/y", "d//e", "sp ace/é+%&.txt", "./..", &"long/".repeat(100)];
    for key in keys {
        put(&s3, key, key).await;
    }
    for key in keys {
        assert_eq!(get(&s3, key).await, key);
    }
    // An ordinary key is an ordinary file.
    assert_eq!(std::fs::read_to_string(root.path().join("s3/lake/a.json")).unwrap(), "a.json");
    let put = s3.put_object().bucket("lake").key("m").body(ByteStream::from_static(b"0123456789"));
    let put = put.content_type("text/csv").metadata("who", "me").cache_control("no-cache").send().await.unwrap();
    let head = s3.head_object().bucket("lake").key("m").send().await.unwrap();
    assert_eq!((head.content_type(), head.content_length()), (Some("text/csv"), Some(10)));
    assert_eq!(head.metadata().unwrap()["who"], "me");
    assert_eq!(head.e_tag(), put.e_tag());
    assert_eq!(put.e_tag(), Some("\"781e5e245d69b566979b86e28d23f2c7\""));
    for (range, wanted) in [("bytes=2-4", "234"), ("bytes=7-", "789"), ("bytes=-2", "89"), ("bytes=8-99", "89")] {
        let got = s3.get_object().bucket("lake").key("m").range(range).send().await.unwrap();
        assert_eq!(got.body.collect().await.unwrap().to_vec(), wanted.as_bytes());
    }
    let error = s3.get_object().bucket("lake").key("m").range("bytes=10-").send().await.unwrap_err();
    assert_eq!(code(&error), "InvalidRange");
    let copy = s3.copy_object().bucket("lake").key("m2").copy_source("lake/m").send().await.unwrap();
    assert_eq!(copy.copy_object_result.unwrap().e_tag, put.e_tag);
    assert_eq!(s3.head_object().bucket("lake").key("m2").send().await.unwrap().content_type(), Some("text/csv"));
    let empty = s3.put_object().bucket("lake").key("empty").send().await.unwrap();
    assert_eq!(empty.e_tag(), Some("\"d41d8cd98f00b204e9800998ecf8427e\""));
    assert_eq!(get(&s3, "empty").await, "");
    let error = s3.get_object().bucket("lake").key("none").send().await.unwrap_err();
    assert_eq!(code(&error), "NoSuchKey");
    let error = s3.get_object().bucket("nolake").key("none").send().await.unwrap_err();
    assert_eq!(code(&error), "NoSuchBucket");
    cloud.shutdown().await;
    // All of it is there after a restart, with ETags and types; a file put in by hand is an object.
    std::fs::write(root.path().join("s3/lake/by-hand.txt"), "hello").unwrap();
    let (cloud, s3) = start(&root).await;
    for key in keys {
        assert_eq!(get(&s3, key).await, key);
    }
    let head = s3.head_object().bucket("lake").key("m").send().await.unwrap();
    assert_eq!((head.e_tag(), head.content_type()), (put.e_tag(), Some("text/csv")));
    let head = s3.head_object().bucket("lake").key("by-hand.txt").send().await.unwrap();
    assert_eq!(head.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_and_multipart_uploads() {
    let root = tempfile::tempdir().unwrap();
    let (cloud, s3) = start(&root).await;
    let body: Vec<u8> = (0..9_000_000_u32).map(|index| (index % 251) as u8).collect();
    s3.put_object().bucket("lake").key("big").body(ByteStream::from(body.clone())).send().await.unwrap();
    let got = s3.get_object().bucket("lake").key("big").send().await.unwrap();
    assert!(got.body.collect().await.unwrap().to_vec() == body);
    let upload = s3.create_multipart_upload().bucket("lake").key("parts").content_type("x/y").send().await.unwrap();
    let id = upload.upload_id().unwrap();
    let mut parts = Vec::new();
    for (index, piece) in body.chunks(5 << 20).enumerate() {
        let number = index as i32 + 1;
        let part = s3.upload_part().bucket("lake").key("parts").upload_id(id).part_number(number);
        let part = part.body(ByteStream::from(piece.to_vec())).send().await.unwrap();
        parts.push(CompletedPart::builder().part_number(number).set_e_tag(part.e_tag).build());
    }
    let listed = s3.list_parts().bucket("lake").key("parts").upload_id(id).send().await.unwrap();
    assert_eq!(listed.parts().len(), 2);
    assert_eq!(s3.list_multipart_uploads().bucket("lake").send().await.unwrap().uploads().len(), 1);
    let complete = || {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.clone())).build();
        s3.complete_multipart_upload().bucket("lake").key("parts").upload_id(id).multipart_upload(parts)
    };
    put(&s3, "parts", "in the way").await;
    assert_eq!(code(&complete().if_none_match("*").send().await.unwrap_err()), "PreconditionFailed");
    let done = complete().send().await.unwrap();
    assert!(done.e_tag().unwrap().ends_with("-2\""));
    let got = s3.get_object().bucket("lake").key("parts").send().await.unwrap();
    assert_eq!(got.content_type(), Some("x/y"));
    assert!(got.body.collect().await.unwrap().to_vec() == body);
    assert_eq!(code(&complete().send().await.unwrap_err()), "NoSuchUpload");
    let upload = s3.create_multipart_upload().bucket("lake").key("parts").send().await.unwrap();
    let abort = s3.abort_multipart_upload().bucket("lake").key("parts").upload_id(upload.upload_id().unwrap());
    abort.send().await.unwrap();
    assert!(s3.list_multipart_uploads().bucket("lake").send().await.unwrap().uploads().is_empty());
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listings_have_pages_and_common_prefixes() {
    let root = tempfile::tempdir().unwrap();
    let (cloud, s3) = start(&root).await;
    for index in 0..12 {
        put(&s3, &format!("p/{}/{index:02}", index % 3), "x").await;
    }
    put(&s3, "p/é +", "x").await;
    let mut keys = Vec::new();
    let mut pages = s3.list_objects_v2().bucket("lake").prefix("p/").max_keys(5).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        assert!(page.contents().len() <= 5);
        keys.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
        assert!(page.contents().iter().all(|object| object.e_tag() == Some("\"9dd4e461268c8034f5c8564e155c67a6\"")));
    }
    assert_eq!((keys.len(), keys.is_sorted()), (13, true));
    let page = s3.list_objects_v2().bucket("lake").prefix("p/").delimiter("/").send().await.unwrap();
    let prefixes: Vec<_> = page.common_prefixes().iter().map(|prefix| prefix.prefix().unwrap()).collect();
    assert_eq!(prefixes, ["p/0/", "p/1/", "p/2/"]);
    assert_eq!((page.contents().len(), page.key_count()), (1, Some(4)));
    let page = s3.list_objects_v2().bucket("lake").start_after("p/2/05").send().await.unwrap();
    assert_eq!(page.contents().len(), 3);
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_hold_and_deletes_leave_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (cloud, s3) = start(&root).await;
    let etag = put(&s3, "c/k", "one").await;
    let put_if = |key: &str| s3.put_object().bucket("lake").key(key).body(ByteStream::from_static(b"two"));
    assert_eq!(code(&put_if("c/k").if_none_match("*").send().await.unwrap_err()), "PreconditionFailed");
    assert_eq!(code(&put_if("c/k").if_match("\"other\"").send().await.unwrap_err()), "PreconditionFailed");
    assert_eq!(code(&put_if("c/none").if_match(&etag).send().await.unwrap_err()), "NoSuchKey");
    let same = s3.get_object().bucket("lake").key("c/k").if_none_match(&etag).send().await.unwrap_err();
    assert_eq!(same.raw_response().unwrap().status().as_u16(), 304);
    let head = s3.head_object().bucket("lake").key("c/k").if_none_match(&etag).send().await.unwrap_err();
    assert_eq!(head.raw_response().unwrap().status().as_u16(), 304);
    let other = s3.get_object().bucket("lake").key("c/k").if_match("\"other\"").send().await.unwrap_err();
    assert_eq!(other.raw_response().unwrap().status().as_u16(), 412);
    put_if("c/k").if_match(&etag).send().await.unwrap();
    let stale = s3.delete_object().bucket("lake").key("c/k").if_match(&etag).send().await.unwrap_err();
    assert_eq!(code(&stale), "PreconditionFailed");
    put(&s3, "c/other", "x").await;
    let identifiers = ["c/k", "c/other", "c/never"].map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
    let delete = Delete::builder().set_objects(Some(identifiers.to_vec())).build().unwrap();
    let deleted = s3.delete_objects().bucket("lake").delete(delete).send().await.unwrap();
    assert_eq!((deleted.deleted().len(), deleted.errors().len()), (3, 0));
    s3.delete_object().bucket("lake").key("c/k").send().await.unwrap();
    let left: Vec<_> = std::fs::read_dir(root.path().join("s3/lake")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    let temporary: Vec<_> = std::fs::read_dir(root.path().join("s3/.store/temporary")).unwrap().collect();
    assert!(temporary.is_empty(), "{temporary:?}");
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_create_a_key_one_wins() {
    let root = tempfile::tempdir().unwrap();
    let (cloud, s3) = start(&root).await;
    for key in 0..40 {
        let barrier = Arc::new(tokio::sync::Barrier::new(16));
        let tasks = (0..16).map(|who| {
            let (s3, barrier) = (s3.clone(), barrier.clone());
            tokio::spawn(async move {
                let body = ByteStream::from(format!("writer {who}").into_bytes());
                let put = s3.put_object().bucket("lake").key(format!("race/{key}")).if_none_match("*").body(body);
                barrier.wait().await;
                match put.send().await {
                    Ok(_) => Some(who),
                    Err(error) => {
                        assert_eq!(code(&error), "PreconditionFailed");
                        None
                    }
                }
            })
        });
        let winners: Vec<_> = futures::future::join_all(tasks).await.into_iter().filter_map(Result::unwrap).collect();
        assert_eq!(winners.len(), 1, "key {key}: {winners:?}");
        assert_eq!(get(&s3, &format!("race/{key}")).await, format!("writer {}", winners[0]));
    }
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn compare_and_swap_loses_no_increment() {
    let root = tempfile::tempdir().unwrap();
    let (cloud, s3) = start(&root).await;
    put(&s3, "counter", "0").await;
    let workers = (0..8).map(|_| {
        let s3 = s3.clone();
        tokio::spawn(async move {
            for _ in 0..10 {
                loop {
                    let got = s3.get_object().bucket("lake").key("counter").send().await.unwrap();
                    let etag = got.e_tag().unwrap().to_owned();
                    let count = String::from_utf8(got.body.collect().await.unwrap().to_vec()).unwrap();
                    let next = (count.parse::<u32>().unwrap() + 1).to_string().into_bytes();
                    let put = s3.put_object().bucket("lake").key("counter").if_match(etag);
                    match put.body(ByteStream::from(next)).send().await {
                        Ok(_) => break,
                        Err(error) => assert_eq!(code(&error), "PreconditionFailed"),
                    }
                }
            }
        })
    });
    for worker in futures::future::join_all(workers).await {
        worker.unwrap();
    }
    assert_eq!(get(&s3, "counter").await, "80");
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_secret_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (cloud, s3) = start(&root).await;
    let wrong = aws_sdk_s3::config::Credentials::new("AKIALOCAL00000000000", "wrong", None, None, "test");
    let config = s3.config().to_builder().credentials_provider(wrong).build();
    let error = Client::from_conf(config).list_buckets().send().await.unwrap_err();
    assert_eq!(code(&error), "SignatureDoesNotMatch");
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_are_met_below_their_prefix_until_they_end() {
    let root = tempfile::tempdir().unwrap();
    let (cloud, s3) = start(&root).await;
    let s3 = Client::from_conf(
        s3.config().to_builder().retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled()).build(),
    );
    put(&s3, "releases/a", "x").await;
    cloud.fail_s3(Some("releases/"));
    let refused = s3.get_object().bucket("lake").key("releases/a").send().await.unwrap_err();
    assert_eq!(code(&refused), "SlowDown");
    assert_eq!(refused.raw_response().unwrap().status().as_u16(), 503);
    let body = ByteStream::from_static(b"y");
    let refused = s3.put_object().bucket("lake").key("releases/a").body(body).send().await.unwrap_err();
    assert_eq!(code(&refused), "SlowDown");
    put(&s3, "landing/a", "x").await;
    cloud.fail_s3(Some(""));
    assert_eq!(code(&s3.list_objects_v2().bucket("lake").send().await.unwrap_err()), "SlowDown");
    cloud.fail_s3(None);
    assert_eq!(get(&s3, "releases/a").await, "x");
    cloud.shutdown().await;
}
