//! Objects served read-only on the API's port, for eyes.

use std::{io::Read as _, sync::Arc};

use http::{Method, Request, StatusCode, header};
use hyper::body::Incoming;

use crate::{
    encoding::percent_decode,
    http_server::{self, Reply},
    s3::Store,
};

/// A path prefix and where it leads.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Without a slash at the end.
    pub(crate) path_prefix: String,
    pub(crate) bucket: String,
    pub(crate) key_prefix: String,
}

pub(crate) struct StaticFiles {
    pub(crate) places: Vec<Place>,
    pub(crate) store: Arc<Store>,
}

impl StaticFiles {
    /// `None`: the request is not for here.
    pub(crate) async fn answer(&self, request: &Request<Incoming>) -> Option<Reply> {
        let path = request.uri().path();
        let fits = |place: &&Place| {
            path.strip_prefix(place.path_prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let place = self.places.iter().find(fits).filter(|_| request.method() == Method::GET)?;
        let rest = &path[place.path_prefix.len()..];
        let mut key = format!("{}{}", place.key_prefix, percent_decode(rest.trim_start_matches('/'), false));
        let is_file = rest.rsplit('/').next().is_some_and(|name| name.contains('.'));
        if !is_file && !rest.ends_with('/') {
            // Links within the page are relative to its folder.
            let mut reply = http_server::bytes(StatusCode::FOUND, "text/plain", "".into());
            http_server::set(&mut reply, "location", &format!("{path}/"));
            return Some(reply);
        }
        if !is_file {
            key.push_str("index.html");
        }
        let (store, bucket) = (self.store.clone(), place.bucket.clone());
        let wanted = key.clone();
        let found = tokio::task::spawn_blocking(move || {
            let (info, mut file) = store.read(&bucket, &wanted).ok()?;
            let mut body = Vec::with_capacity(info.size as usize);
            file.read_to_end(&mut body).ok()?;
            Some((info, body))
        });
        let Some((info, body)) = found.await.ok().flatten() else {
            let text = format!("There is no object {key} in the bucket {}.\n", place.bucket);
            return Some(http_server::bytes(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", text.into()));
        };
        let etag = format!("\"{}\"", info.etag);
        if http_server::text(request.headers(), header::IF_NONE_MATCH.as_str()) == Some(&etag) {
            return Some(http_server::bytes(StatusCode::NOT_MODIFIED, "text/plain", "".into()));
        }
        let told = info.attributes.content_type.as_deref().filter(|told| *told != "application/octet-stream");
        let mut reply = http_server::bytes(StatusCode::OK, told.unwrap_or_else(|| content_type(&key)), body.into());
        http_server::set(&mut reply, "etag", &etag);
        http_server::set(&mut reply, "cache-control", "no-cache");
        Some(reply)
    }
}

fn content_type(key: &str) -> &'static str {
    match key.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("json") => "application/json",
        Some("css") => "text/css",
        Some("js") => "text/javascript",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("csv") => "text/csv; charset=utf-8",
        Some("txt" | "md") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
