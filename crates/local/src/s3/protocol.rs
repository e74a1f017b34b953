//! Small parts of the protocol: times, tags, conditions, tokens.

use std::time::{Duration, UNIX_EPOCH};

use s3s::{
    S3Result,
    dto::{CopySource, ETag, ETagCondition, Timestamp},
    s3_error,
};

use super::store::{ObjectInfo, matches, precondition_failed};

pub(super) fn time(ns: u64) -> Timestamp {
    Timestamp::from(UNIX_EPOCH + Duration::from_nanos(ns))
}

pub(super) fn etag(value: &str) -> ETag {
    ETag::Strong(value.to_owned())
}

/// GET's and HEAD's conditions, in the order that RFC 9110 gives them.
pub(super) fn check_read(
    info: &ObjectInfo,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
    if_modified_since: Option<&Timestamp>,
    if_unmodified_since: Option<&Timestamp>,
) -> S3Result<()> {
    // HTTP dates have no fractions of a second.
    let modified = time(info.modified_ns / 1_000_000_000 * 1_000_000_000);
    match if_match {
        Some(wanted) if !matches(wanted, &info.etag) => return Err(precondition_failed()),
        None if if_unmodified_since.is_some_and(|since| modified > *since) => return Err(precondition_failed()),
        _ => {}
    }
    let not_modified = || Err(s3_error!(NotModified, "Not Modified"));
    match if_none_match {
        Some(unwanted) if matches(unwanted, &info.etag) => not_modified(),
        None if if_modified_since.is_some_and(|since| modified <= *since) => not_modified(),
        _ => Ok(()),
    }
}

pub(super) fn without_transfer_coding(encoding: &str) -> Option<String> {
    let kept: Vec<_> =
        encoding.split(',').map(str::trim).filter(|part| *part != "aws-chunked" && !part.is_empty()).collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

pub(super) fn source_of(source: &CopySource) -> S3Result<(&str, &str)> {
    match source {
        CopySource::Bucket { bucket, key, .. } => Ok((bucket, key)),
        _ => Err(s3_error!(NotImplemented, "Copies are made from buckets only")),
    }
}

/// Tokens are hex, so that no key in them needs care in a URL.
pub(super) fn read_token(token: &str) -> S3Result<String> {
    let bytes: Option<Vec<u8>> =
        (0..token.len()).step_by(2).map(|at| u8::from_str_radix(token.get(at..at + 2)?, 16).ok()).collect();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(|token| token.starts_with(['k', 'p']))
        .ok_or_else(|| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))
}

/// Percent-encoding as S3 does it for `encoding-type=url`: slashes stay.
pub(super) fn url_encode(text: &str) -> String {
    crate::encoding::percent_encode(text, b"/")
}
