//! Lookup tables that are loaded, by the hash of their content.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::Mutex as AsyncMutex;

/// Tables by hash, each loaded once at a time and kept for as long as somebody uses it.
pub(super) struct TableCache<L> {
    places: Mutex<HashMap<String, Arc<AsyncMutex<Weak<L>>>>>,
}

impl<L> Default for TableCache<L> {
    fn default() -> Self {
        Self { places: Mutex::default() }
    }
}

impl<L> TableCache<L> {
    /// The table of that hash, or what `load` brings where there is none.
    pub(super) async fn get_or_load<E>(
        &self,
        sha256: &str,
        load: impl Future<Output = Result<L, E>>,
    ) -> Result<Arc<L>, E> {
        let place = self.place(sha256);
        let mut table = place.lock().await;
        if let Some(table) = table.upgrade() {
            return Ok(table);
        }
        let loaded = Arc::new(load.await?);
        *table = Arc::downgrade(&loaded);
        Ok(loaded)
    }

    fn place(&self, sha256: &str) -> Arc<AsyncMutex<Weak<L>>> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        // Tables of releases that are gone: nobody else can be at a place that only the map knows.
        places.retain(|other, place| {
            other == sha256
                || Arc::strong_count(place) > 1
                || place.try_lock().is_ok_and(|table| table.strong_count() > 0)
        });
        Arc::clone(places.entry(sha256.to_owned()).or_default())
    }
}
