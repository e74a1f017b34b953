use std::collections::BTreeMap;

use archive::QuarantinedLine;
use bytes::Bytes;
use cloud::object_store::{ObjectStore, PutCondition};
use domain::{
    digest::sha256_hex,
    lake::{self, QUARANTINE, QUARANTINED_OBJECTS},
};
use futures::{StreamExt, stream};
use serde::Serialize;

use crate::{ArchiverError, archive_batch::CONCURRENCY};

/// What a redrive did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RedriveReport {
    /// Lines put back to the landing area.
    pub lines: u64,
    /// Landing objects written for them.
    pub objects: u64,
    /// Whole objects put back under their own keys.
    pub whole_objects: u64,
    /// Documents without a line: of objects that were kept or moved whole, and of messages.
    pub skipped: u64,
    /// Whether nothing was changed.
    pub dry_run: bool,
}

/// Puts quarantined lines back to the landing area, one object per landed object that they were of, and whole objects
/// beside where they landed; only then their documents are deleted. A line that is still bad comes back to quarantine, under
/// another key than before: what is deleted here is never what the archiver has just put there.
/// `prefix` is of landing keys (`landing/…`), `reason` a reason code.
///
/// # Errors
/// The store does not answer. What was put back until then stays; a repetition does the rest.
pub async fn redrive<S: ObjectStore + ?Sized>(
    store: &S,
    prefix: &str,
    reason: Option<&str>,
    dry_run: bool,
) -> Result<RedriveReport, ArchiverError> {
    let mut report = RedriveReport { dry_run, ..RedriveReport::default() };
    let listed = store.list_objects(QUARANTINE).await?;
    let (objects, documents): (Vec<_>, Vec<_>) =
        listed.into_iter().map(|object| object.key).partition(|key| key.starts_with(QUARANTINED_OBJECTS));
    // By landed object, since its lines go back together.
    let mut lines: BTreeMap<String, Vec<(String, Vec<u8>)>> = BTreeMap::new();
    let reads = documents.into_iter().map(async |key| (store.get_object(&key, None).await, key));
    let mut reads = stream::iter(reads).buffered(CONCURRENCY);
    while let Some((read, key)) = reads.next().await {
        let Some(object) = read?.found() else { continue };
        match QuarantinedLine::from_document(&object.bytes) {
            Some(line) if reason.is_some_and(|reason| reason != line.reason) => {}
            Some(line) if !line.landing_key.starts_with(prefix) => {}
            Some(line) if !line.original.is_empty() && lake::landing_source(&line.landing_key).is_ok() => {
                lines.entry(line.landing_key).or_default().push((key, line.original));
            }
            _ => report.skipped += 1,
        }
    }
    for (landing_key, lines) in lines {
        put_lines(store, &landing_key, lines, &mut report).await?;
    }
    for key in objects {
        let Some(landing_key) = lake::landing_key_of_quarantined(&key) else { continue };
        // One whose key still names no table would only come back.
        if landing_key.starts_with(prefix) && reason.is_none() && lake::landing_source(landing_key).is_ok() {
            put_whole(store, &key, landing_key, &mut report).await?;
        }
    }
    Ok(report)
}

async fn put_lines<S: ObjectStore + ?Sized>(
    store: &S,
    landing_key: &str,
    lines: Vec<(String, Vec<u8>)>,
    report: &mut RedriveReport,
) -> Result<(), ArchiverError> {
    let mut text = Vec::new();
    for (_, line) in &lines {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    let digest = sha256_hex(&[landing_key.as_bytes(), b"\n", &text].concat());
    let Some(key) = lake::redriven(landing_key, &digest) else { return Ok(()) };
    report.lines += lines.len() as u64;
    report.objects += 1;
    if report.dry_run {
        return Ok(());
    }
    store.put_object(&key, Bytes::from(text), PutCondition::Always).await?;
    for (document, _) in lines {
        store.delete_object(&document).await?;
    }
    Ok(())
}

async fn put_whole<S: ObjectStore + ?Sized>(
    store: &S,
    key: &str,
    landing_key: &str,
    report: &mut RedriveReport,
) -> Result<(), ArchiverError> {
    report.whole_objects += 1;
    if report.dry_run {
        return Ok(());
    }
    let Some(place) = lake::redriven_object(landing_key, &sha256_hex(key.as_bytes())) else { return Ok(()) };
    if let Some(object) = store.get_object(key, None).await?.found() {
        store.put_object(&place, object.bytes, PutCondition::Always).await?;
        // The notice of what was moved whole.
        store.delete_object(&lake::quarantine(landing_key, 0)).await?;
        store.delete_object(key).await?;
    }
    Ok(())
}
