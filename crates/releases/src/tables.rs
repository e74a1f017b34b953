//! The lookup tables that releases pin.

use std::{collections::BTreeMap, sync::Arc};

use cloud::object_store::{GetObject, PutCondition, PutObject};
use domain::{Release, lake};
use feature_batch::{LookupFile, lookup_table_of_object};
use features::LookupTable;

use crate::ReleasesError;

/// Lookup tables by name, or why one cannot be had.
pub type PinnedTables = BTreeMap<String, Result<Arc<LookupTable>, String>>;

/// Puts a release's lookup tables where it pins them. One that is there already stays: its content is the same.
///
/// # Errors
/// The store fails, or a table cannot be written as Parquet.
pub async fn put_tables<S: PutObject>(store: &S, tables: &BTreeMap<String, LookupFile>) -> Result<(), ReleasesError> {
    for (name, file) in tables {
        let key = lake::lookup_table(name, file.table.sha256());
        let bytes = file
            .to_parquet()
            .map_err(|error| ReleasesError::Table { name: name.clone(), detail: error.to_string() })?;
        store.put_object(&key, bytes.into(), PutCondition::IfAbsent).await?;
    }
    Ok(())
}

/// The tables of `release` as the lake has them, and so as functions will load them.
///
/// # Errors
/// The store does not answer. A table that is not there, or cannot be read, is told in its place.
pub async fn pinned_tables<S: GetObject>(store: &S, release: &Release) -> Result<PinnedTables, ReleasesError> {
    tables(store, &release.lookups).await
}

/// Tables by name and SHA-256, as [`pinned_tables`].
///
/// # Errors
/// The store does not answer.
pub async fn tables<S: GetObject>(
    store: &S,
    lookups: &BTreeMap<String, String>,
) -> Result<PinnedTables, ReleasesError> {
    let mut tables = PinnedTables::new();
    for (name, sha256) in lookups {
        let key = lake::lookup_table(name, sha256);
        let table = match store.get_object(&key, None).await?.found() {
            Some(object) => lookup_table_of_object(name, object.bytes).map(Arc::new),
            None => Err(format!("`{key}` is not in the lake")),
        };
        tables.insert(name.clone(), table);
    }
    Ok(tables)
}
