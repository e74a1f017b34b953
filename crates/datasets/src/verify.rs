//! Whether a version still is what its address says: every byte is hashed again, and every row.

use arrow_array::RecordBatch;
use cloud::object_store::GetObject;
use domain::{ModelName, digest::sha256_hex, lake};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;

use crate::{
    DatasetsError,
    manifest::DataFile,
    plan::read_json,
    row_hash::{Rows, RowsDigest},
    versions::read_manifest,
};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// The version.
    pub address: String,
    /// Files read.
    pub files: usize,
    /// Rows read.
    pub rows: u64,
    /// Bytes read.
    pub bytes: u64,
    /// What is wrong, in words. Nothing, where all is as it was published.
    pub troubles: Vec<String>,
}

/// Reads a version: its manifest against its address, its files against their hashes, its rows against their digest.
///
/// # Errors
/// There is no such version, its manifest is not of its address, or the lake does not answer.
pub async fn verify<S: GetObject>(
    lake: &S,
    dataset: &ModelName,
    address: &str,
    on_part: crate::part::OnPart<'_>,
) -> Result<Verified, DatasetsError> {
    let manifest = read_manifest(lake, dataset, address).await?;
    let mut found = Verified { address: address.to_owned(), files: 0, rows: 0, bytes: 0, troubles: Vec::new() };
    let mut digest = RowsDigest::default();
    for file in &manifest.files {
        let Some(object) = lake.get_object(&file.key, None).await?.found() else {
            found.troubles.push(format!("{}: it is gone", file.key));
            continue;
        };
        found.files += 1;
        found.bytes += object.bytes.len() as u64;
        let DataFile { key, sha256, rows, .. } = file.clone();
        let read = tokio::task::spawn_blocking(move || {
            if sha256_hex(&object.bytes) != sha256 {
                return Err(format!("{key}: it has other bytes than were published"));
            }
            rows_of(object.bytes).map_err(|error| format!("{key}: {error}")).and_then(|(read, digest)| {
                if read == rows { Ok((read, digest)) } else { Err(format!("{key}: {read} rows instead of {rows}")) }
            })
        });
        match read.await.map_err(|error| DatasetsError::Interrupted(error.to_string()))? {
            Ok((rows, of_file)) => {
                found.rows += rows;
                digest.add(&of_file);
                on_part(rows);
            }
            Err(trouble) => found.troubles.push(trouble),
        }
    }
    if found.troubles.is_empty() && (found.rows, digest) != (manifest.identity.rows, manifest.identity.rows_digest) {
        found.troubles.push("the rows are not those of the address".to_owned());
    }
    let key = lake::dataset_sagemaker_manifest(dataset, address);
    let sagemaker = read_json::<Vec<serde_json::Value>, _>(lake, &key).await?;
    if sagemaker.is_none_or(|(entries, _)| entries.len() != manifest.files.len() + 1) {
        found.troubles.push(format!("{key}: it is gone, or of other files"));
    }
    Ok(found)
}

fn rows_of(bytes: bytes::Bytes) -> Result<(u64, RowsDigest), DatasetsError> {
    let (mut rows, mut digest, mut scratch) = (0, RowsDigest::default(), Vec::new());
    for batch in ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()? {
        let batch: RecordBatch = batch?;
        let hashes = Rows::of(&batch)?;
        for row in 0..batch.num_rows() {
            digest.add_row(&hashes.hash(row, &mut scratch), 1);
        }
        rows += batch.num_rows() as u64;
    }
    Ok((rows, digest))
}
