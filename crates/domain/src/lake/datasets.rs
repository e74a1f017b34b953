//! Where dataset versions lie, and what is under way on their account.

use crate::ModelName;

/// All versions of all datasets, and the training views beside them.
pub const DATASETS: &str = "datasets/";

/// The files of one dataset version: a SageMaker channel (`S3Prefix`, with its `/`).
pub fn dataset_data_prefix(name: &ModelName, address: &str) -> String {
    format!("datasets/{name}/data/{address}/")
}

/// All files of all versions.
pub fn dataset_data_folder(name: &ModelName) -> String {
    format!("datasets/{name}/data/")
}

/// One file of a dataset version.
pub fn dataset_part(name: &ModelName, address: &str, part: u32) -> String {
    format!("{}part-{part:04}.parquet", dataset_data_prefix(name, address))
}

/// The address of the version that a file is of.
pub fn dataset_address_of_data(name: &ModelName, key: &str) -> Option<String> {
    let (address, _) = key.strip_prefix(&dataset_data_folder(name))?.split_once('/')?;
    Some(address.to_owned())
}

/// What a dataset version is. While it is there, the version is.
pub fn dataset_manifest(name: &ModelName, address: &str) -> String {
    format!("{}{address}.json", dataset_manifest_prefix(name))
}

/// The same files as SageMaker's `ManifestFile`.
pub fn dataset_sagemaker_manifest(name: &ModelName, address: &str) -> String {
    format!("{}{address}.sagemaker.json", dataset_manifest_prefix(name))
}

/// All manifests of a dataset.
pub fn dataset_manifest_prefix(name: &ModelName) -> String {
    format!("datasets/{name}/manifests/")
}

/// The address of a manifest, or `None` where the key is none.
pub fn dataset_address_of_manifest(name: &ModelName, key: &str) -> Option<String> {
    let address = key.strip_prefix(&dataset_manifest_prefix(name))?.strip_suffix(".json")?;
    (address.len() == 64 && address.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| address.to_owned())
}

/// The dataset whose pointer a key is.
pub fn dataset_of_pointer(key: &str) -> Option<ModelName> {
    key.strip_prefix(DATASETS)?.strip_suffix("/latest.json")?.parse().ok()
}

/// The pointer to the version that is in use.
pub fn dataset_pointer(name: &ModelName) -> String {
    format!("datasets/{name}/latest.json")
}

/// The pointer as it was after one move. In key order they are in order of time.
pub fn dataset_move(name: &ModelName, moved_at: jiff::Timestamp, address: &str) -> String {
    let moved_at = moved_at.strftime("%Y%m%dT%H%M%S.%6fZ");
    format!("datasets/{name}/history/{moved_at}-{}.json", address.get(..16).unwrap_or(address))
}

/// A version that is kept under a name.
pub fn dataset_pin(name: &ModelName, pin: &str) -> String {
    format!("{}{pin}.json", dataset_pin_prefix(name))
}

/// All pins of a dataset.
pub fn dataset_pin_prefix(name: &ModelName) -> String {
    format!("datasets/{name}/pins/")
}

/// What the extractor's schedule extracts.
pub fn dataset_definition(name: &ModelName) -> String {
    format!("datasets/{name}/definition.json")
}

/// What a row of `outcomes.sql` that is no outcome is called in quarantine, by its content. It was never landed.
pub fn quarantined_outcome_row(name: &ModelName, row_digest: &str) -> String {
    format!("outcomes.sql/{name}/{}", row_digest.get(..32).unwrap_or(row_digest))
}

/// Which version an extract became.
pub fn dataset_job(name: &ModelName, job: &str) -> String {
    format!("{}{job}.json", dataset_job_prefix(name))
}

/// All extracts that became a version.
pub fn dataset_job_prefix(name: &ModelName) -> String {
    format!("datasets/{name}/jobs/")
}

/// All extracts under way.
pub fn dataset_staging_prefix(name: &ModelName) -> String {
    format!("datasets/{name}/staging/")
}

/// The plan of an extract under way: written first, deleted last.
pub fn dataset_plan(name: &ModelName, job: &str) -> String {
    format!("{}{job}/plan.json", dataset_staging_prefix(name))
}

/// The job of a key below `staging/`.
pub fn dataset_job_of_staging(name: &ModelName, key: &str) -> Option<String> {
    let (job, _) = key.strip_prefix(&dataset_staging_prefix(name))?.split_once('/')?;
    Some(job.to_owned())
}

/// What was read of one session: rows in chunks, by stream.
pub fn dataset_session_prefix(name: &ModelName, job: &str, session: &str) -> String {
    format!("{}{job}/{session}/", dataset_staging_prefix(name))
}

/// What was read of one stream.
pub fn dataset_stream_prefix(name: &ModelName, job: &str, session: &str, stream: usize) -> String {
    format!("{}stream-{stream:05}/", dataset_session_prefix(name, job, session))
}

/// Rows `from` up to (and without) `to` of a stream: the key is the checkpoint.
pub fn dataset_chunk(name: &ModelName, job: &str, session: &str, stream: usize, from: u64, to: u64) -> String {
    format!("{}{from:015}-{to:015}.rows", dataset_stream_prefix(name, job, session, stream))
}

/// Says that a stream has ended after `rows` rows.
pub fn dataset_stream_end(name: &ModelName, job: &str, session: &str, stream: usize, rows: u64) -> String {
    format!("{}{rows:015}.end", dataset_stream_prefix(name, job, session, stream))
}

/// What a key of a stream says: its rows `from..to`, or its end (`from` = `to`).
pub fn dataset_chunk_rows(key: &str) -> Option<(u64, u64)> {
    let name = key.rsplit('/').next()?;
    if let Some(end) = name.strip_suffix(".end") {
        let end = end.parse().ok()?;
        return Some((end, end));
    }
    let (from, to) = name.strip_suffix(".rows")?.split_once('-')?;
    Some((from.parse().ok()?, to.parse().ok()?))
}

/// Which chunks become which version: written before the version's first file.
pub fn dataset_layout(name: &ModelName, job: &str, session: &str) -> String {
    format!("{}layout.json", dataset_session_prefix(name, job, session))
}

/// What is known of one file that has been written.
pub fn dataset_part_record(name: &ModelName, job: &str, session: &str, part: u32) -> String {
    format!("{}parts/{part:04}.json", dataset_session_prefix(name, job, session))
}

/// The hashes of the values of one unique rule in one file.
pub fn dataset_part_keys(name: &ModelName, job: &str, session: &str, part: u32, rule: usize) -> String {
    format!("{}parts/{part:04}.unique-{rule}", dataset_session_prefix(name, job, session))
}
