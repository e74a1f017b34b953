//! What a version is.

use std::collections::BTreeMap;

use domain::{ModelName, digest::sha256_hex};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use warehouse::Parameter;

use crate::{quality::Check, row_hash::RowsDigest, statistics::ColumnStatistics};

/// The form of the rows' files. It is part of the address: another version of the writer may write other bytes, and one
/// address never stands for two.
pub const FORMAT: &str = "mannen-dataset-1 parquet-60 zstd-1";

/// Where the rows come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// What kind of source, and where: `bigquery:my-project`, `files`.
    pub source: String,
    /// The query, as it was sent; empty for files.
    pub sql: String,
    /// Its parameters.
    pub parameters: BTreeMap<String, Parameter>,
    /// The state of the source tables, UTC.
    pub as_of: Option<Timestamp>,
    /// The files, where it is files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileInput>,
}

/// A file that rows come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInput {
    /// Its key in the lake, or its path.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// What changes with its content: an entity tag, or the SHA-256 of its bytes.
    pub tag: String,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as SQL names it.
    #[serde(rename = "type")]
    pub of: String,
    /// Whether it may be NULL.
    pub nullable: bool,
}

/// A version that this one is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Its dataset.
    pub dataset: ModelName,
    /// Its address.
    pub address: String,
}

/// What an address is the SHA-256 of, as JSON without spaces, fields in this order.
///
/// The rows are in it by the sum of their hashes (see `row_hash`), so that the address is known before a file is written,
/// and can be checked from the rows alone. Files' own hashes are not: they follow from the rows and the format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// [`FORMAT`].
    pub format: String,
    /// The dataset.
    pub dataset: ModelName,
    /// Where the rows come from.
    pub origin: Origin,
    /// The columns, in order.
    pub schema: Vec<Column>,
    /// Versions that this one is made of.
    pub parents: Vec<Parent>,
    /// How many rows.
    pub rows: u64,
    /// Bytes of the rows' encodings: they decide the number of files.
    pub row_bytes: u64,
    /// The sum of the rows' hashes.
    pub rows_digest: RowsDigest,
}

impl Identity {
    /// The address: 64 hexadecimal digits.
    pub fn address(&self) -> String {
        sha256_hex(&serde_json::to_vec(self).unwrap_or_default())
    }
}

/// One file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Its key in the lake.
    pub key: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
}

/// A version: immutable, published by one conditional put.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// SHA-256 of the identity.
    pub address: String,
    /// What the address is of.
    #[serde(flatten)]
    pub identity: Identity,
    /// The warehouse's job that made the rows.
    pub job: String,
    /// Bytes that the query read, where the warehouse says.
    pub bytes_processed: Option<u64>,
    /// When the extract was planned, UTC.
    pub created_at: Timestamp,
    /// The files, in order; rows are in the order of their hashes through all of them.
    pub files: Vec<DataFile>,
    /// All files' lengths together.
    pub bytes: u64,
    /// What is known of the columns.
    pub statistics: Vec<ColumnStatistics>,
    /// What was expected, and held.
    pub checks: Vec<Check>,
}

impl Manifest {
    /// The JSON that is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// The statistics of one column.
    pub fn column(&self, name: &str) -> Option<&ColumnStatistics> {
        self.statistics.iter().find(|column| column.name == name)
    }
}

/// Which version is in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// Its address.
    pub address: String,
    /// The state of the sources that it shows, UTC.
    pub as_of: Option<Timestamp>,
    /// When it was put in use, UTC.
    pub moved_at: Timestamp,
    /// What was in use before.
    pub previous: Option<String>,
    /// Who did it, and why; nothing where an extract did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A version that garbage collection keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Its address.
    pub address: String,
    /// When it was pinned, UTC.
    pub pinned_at: Timestamp,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The files as SageMaker's `ManifestFile`: a prefix, then the names below it.
pub(crate) fn sagemaker_manifest(bucket: &str, files: &[DataFile]) -> Vec<u8> {
    let folder = files.first().and_then(|file| file.key.rsplit_once('/')).map_or("", |(folder, _)| folder);
    let mut entries = vec![serde_json::json!({"prefix": format!("s3://{bucket}/{folder}/")})];
    entries.extend(files.iter().map(|file| file.key.rsplit('/').next().unwrap_or_default().into()));
    serde_json::to_vec(&entries).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sagemakers_manifest_has_a_prefix_and_names() {
        let file = |name: &str| DataFile {
            key: format!("datasets/x/data/a/{name}"),
            sha256: String::new(),
            bytes: 1,
            rows: 1,
        };
        let manifest = sagemaker_manifest("lake", &[file("part-0000.parquet"), file("part-0001.parquet")]);
        let expected = r#"[{"prefix":"s3://lake/datasets/x/data/a/"},"part-0000.parquet","part-0001.parquet"]"#;
        assert_eq!(String::from_utf8(manifest).unwrap(), expected);
    }
}
