//! The warehouse of the cloud: where it lies, and how functions find it.

use std::{collections::BTreeMap, path::Path};

use local_warehouse::{Options, Server, Warehouse};
use tokio::net::TcpListener;

use crate::error::LocalError;

/// The warehouse's files, in the cloud's folder.
pub const WAREHOUSE_FOLDER: &str = "warehouse";
/// The project that its tables belong to.
pub const WAREHOUSE_PROJECT: &str = "mannen";
/// Where extracts put their results before they read them, as an administrator would have made it.
const STAGING_DATASET: &str = "mannen_staging";

/// How the warehouse of a cloud in `root` is opened, by the cloud and by others beside it.
pub fn warehouse_options(root: &Path) -> Options {
    Options { project: WAREHOUSE_PROJECT.to_owned(), ..Options::new(root.join(WAREHOUSE_FOLDER)) }
}

pub(crate) struct RunningWarehouse {
    pub(crate) warehouse: Warehouse,
    pub(crate) server: Server,
}

impl RunningWarehouse {
    pub(crate) async fn start(root: &Path, listener: TcpListener) -> Result<Self, LocalError> {
        let options = warehouse_options(root);
        let folder = options.folder.clone();
        let failed = |source| LocalError::Warehouse { folder: folder.clone(), source };
        let opened = tokio::task::spawn_blocking(move || {
            let warehouse = Warehouse::open(options)?;
            warehouse.ensure_dataset(WAREHOUSE_PROJECT, STAGING_DATASET)?;
            Ok(warehouse)
        });
        let opened = opened.await.map_err(|error| local_warehouse::WarehouseError::Internal(error.to_string()));
        let warehouse = opened.and_then(|opened| opened).map_err(failed)?;
        let server = warehouse.serve(listener).map_err(failed)?;
        Ok(Self { warehouse, server })
    }
}

/// What a client needs beside Google's own defaults. There are no credentials.
pub(crate) fn environment(url: &str) -> BTreeMap<String, String> {
    [
        ("BIGQUERY_ENDPOINT", url),
        ("BIGQUERY_STORAGE_ENDPOINT", url),
        ("BIGQUERY_PROJECT", WAREHOUSE_PROJECT),
        ("BIGQUERY_STAGING_DATASET", STAGING_DATASET),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}
