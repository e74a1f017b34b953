//! S3: `s3s` speaks the protocol (SigV4, XML, `aws-chunked`), a small store of ours keeps the objects.
//!
//! `s3s-fs` was read and left aside. It checks a condition and writes in two steps (16 concurrent `If-None-Match: *`
//! PUTs have several winners), walks the whole bucket for each listing whatever its prefix, lists no ETags, hashes whole
//! files to answer a HEAD, leaves its side files behind on DELETE, reads in 4 KiB pieces, and cannot hold both `x` and
//! `x/y`. Each of these would have to be mended from outside, which is nearly all of it.
//!
//! The store: an object is a plain file at `<bucket>/<key>`, so that any tool can look into the lake. What the file does
//! not say (ETag, content type, metadata, checksums) is in memory, in key order, and in one journal per bucket. A
//! listing is a range of that map. A change is: write a temporary file; then, under the bucket's lock, check the
//! condition, append to the journal, rename. A reader opens the file under the same lock, so that body and ETag belong
//! together.

mod body;
mod journal;
mod listing;
mod multipart;
mod paths;
mod protocol;
mod service;
mod store;

use std::sync::Arc;

use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};

pub(crate) use self::store::{Change, Condition, ObjectInfo, Store};
use crate::http_server::{self, Server};

/// The key id that all clients here use. S3 checks signatures made with it, as AWS does.
pub(crate) const ACCESS_KEY_ID: &str = "AKIALOCAL00000000000";
/// The secret that belongs to [`ACCESS_KEY_ID`].
pub(crate) const SECRET_ACCESS_KEY: &str = "local-cloud-secret-key-of-no-value-000000";

/// Serves the store.
pub(crate) fn serve(listener: tokio::net::TcpListener, store: Arc<Store>) -> Server {
    let mut builder = S3ServiceBuilder::new(service::Service::new(store));
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
    let service = builder.build();
    http_server::serve_with(listener, move |_, _| service.clone())
}
