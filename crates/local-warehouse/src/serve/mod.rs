//! One port for both protocols: REST over HTTP/1.1 or 2, gRPC over HTTP/2.

mod bodies;
mod datasets;
mod jobs;
mod messages;
mod rest;
mod storage;
#[cfg(test)]
mod tests;
mod uploads;

use std::{net::SocketAddr, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{error::Result, warehouse::Warehouse};

/// A warehouse at a port of 127.0.0.1; it ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// For `BIGQUERY_ENDPOINT` and `BIGQUERY_STORAGE_ENDPOINT` alike: `http://127.0.0.1:…`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Warehouse {
    /// Serves REST and gRPC on a listener. One process of a folder may do so.
    ///
    /// # Errors
    /// [`crate::WarehouseError::Internal`] where the files cannot be written.
    pub fn serve(&self, listener: TcpListener) -> Result<Server> {
        self.0.fail_unfinished()?;
        let address = listener.local_addr()?;
        let router = rest::router(self.0.clone()).merge(storage::router(self.0.clone()));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let stream = match listener.accept().await {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        // Out of file descriptors, most likely: let some close.
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                };
                // Head and body of an answer are separate segments: without this each waits for a delayed acknowledgement.
                _ = stream.set_nodelay(true);
                let service = TowerToHyperService::new(router.clone());
                connections.spawn(async move {
                    let builder = auto::Builder::new(TokioExecutor::new());
                    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
                        tracing::debug!(%error, "connection ended");
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Server { address, task })
    }
}
