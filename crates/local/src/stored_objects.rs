//! What a stopped cloud left behind.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use crate::{
    error::LocalError,
    http_server::{self, Server},
    lambda::client_environment,
    s3::{self, Store},
};

/// The objects of a cloud that does not run, served as S3 again until this is dropped. Nothing else is started: changes
/// reach no queue and no function.
pub struct StoredObjects {
    server: Server,
    region: String,
}

impl StoredObjects {
    /// Serves the objects below `root`, the folder that was [`crate::Options::root`]. No other process may use it.
    ///
    /// # Errors
    /// The folder holds no objects, or no port is free.
    pub async fn serve(root: &Path, region: &str) -> Result<Self, LocalError> {
        let objects = root.join("s3");
        let folder = objects.clone();
        let opened = tokio::task::spawn_blocking(move || {
            // Opening makes what is missing; a folder that was never a cloud's stays as it is.
            std::fs::read_dir(&folder).map_err(LocalError::file("read", &folder))?;
            Store::open(&folder)
        });
        let store =
            opened.await.map_err(|error| LocalError::file("read", &objects)(std::io::Error::other(error)))??;
        let listener = http_server::listen("S3", 0).await?;
        Ok(Self { server: s3::serve(listener, Arc::new(store), Arc::default()), region: region.to_owned() })
    }

    /// What an S3 client needs: region, credentials, endpoint.
    pub fn environment(&self) -> BTreeMap<String, String> {
        client_environment(&self.region, &[("S3", self.server.url())])
    }
}
