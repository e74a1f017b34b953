//! One refresh of one model's release: the pointer, the document, its tables.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{ModelName, Release, ReleaseId, ReleasePointer, lake};
use tokio::sync::watch;
use tracing::{info, warn};

use super::{ActiveRelease, ReleaseError, ReleaseTables, Served, Shared};
use crate::object_store::{ETag, GetObject, GetOutcome, Object, StoreError};

/// A refresh that takes longer has lost its store; the next request begins another.
const FLIGHT_LIMIT: Duration = Duration::from_secs(30);

/// What a pointer led to.
pub(super) enum Found<T> {
    /// The pointer is the one that was read before.
    Unchanged,
    /// A release to serve from.
    Release { pointer: ETag, active: Arc<ActiveRelease<T>> },
    /// A release that cannot be served from, however often it is read.
    Refused { pointer: ETag, error: ReleaseError },
}

/// Why a release or a table could not be made use of.
pub(super) struct LoadFailure {
    pub(super) error: ReleaseError,
    /// Whether the same content will always fail.
    is_final: bool,
}

impl From<ReleaseError> for LoadFailure {
    /// What may go well the next time.
    fn from(error: ReleaseError) -> Self {
        Self { error, is_final: false }
    }
}

impl From<StoreError> for LoadFailure {
    fn from(error: StoreError) -> Self {
        ReleaseError::from(error).into()
    }
}

fn unusable(model: &ModelName, detail: impl Into<String>) -> ReleaseError {
    ReleaseError::Unusable { model: model.clone(), detail: detail.into() }
}

/// The content itself is wrong.
fn refused(model: &ModelName, detail: impl Into<String>) -> LoadFailure {
    LoadFailure { error: unusable(model, detail), is_final: true }
}

impl<S, T, L> Shared<S, T, L>
where
    S: GetObject + 'static,
    T: Send + Sync + 'static,
    L: Send + Sync + 'static,
{
    /// Begins a refresh, in a task that no request's end takes along.
    pub(super) fn depart(shared: &Arc<Self>, model: &ModelName) -> watch::Receiver<Option<Served<T>>> {
        let (sender, receiver) = watch::channel(None);
        let (shared, model) = (Arc::clone(shared), model.clone());
        tokio::spawn(async move {
            let found = tokio::time::timeout(FLIGHT_LIMIT, shared.refresh(&model)).await.unwrap_or_else(|_| {
                let detail = format!("no answer within {} s", FLIGHT_LIMIT.as_secs());
                let key = lake::release_pointer(&model);
                Err(ReleaseError::Store(StoreError::Unavailable { verb: "get", key, detail }))
            });
            sender.send_replace(Some(shared.land(&model, found)));
        });
        receiver
    }

    /// Keeps what was found, and says what is served now.
    fn land(&self, model: &ModelName, found: Result<Found<T>, ReleaseError>) -> Served<T> {
        let mut slots = self.locked();
        let slot = slots.entry(model.clone()).or_default();
        slot.flight = None;
        slot.checked_at = Some(Instant::now());
        let error = match found {
            Ok(Found::Unchanged) => None,
            Ok(Found::Release { pointer, active }) => {
                slot.pointer = Some((pointer, None));
                slot.active = Some(active);
                None
            }
            Ok(Found::Refused { pointer, error }) => {
                slot.pointer = Some((pointer, Some(error.clone())));
                Some(error)
            }
            Err(error) => Some(error),
        };
        if let (Some(error), Some(active)) = (&error, &slot.active) {
            warn!(%model, release_id = %active.id, reason = error.reason(), %error, "serving the last good release");
        }
        let served = slot.served();
        if served.is_none() {
            // Names that callers make up must not fill the memory.
            slots.remove(model);
        }
        served.unwrap_or_else(|| Err(error.unwrap_or_else(|| unusable(model, "not modified since never"))))
    }

    async fn refresh(&self, model: &ModelName) -> Result<Found<T>, ReleaseError> {
        let (active, etag) = {
            let slots = self.locked();
            let slot = slots.get(model);
            let etag = slot.and_then(|slot| slot.pointer.as_ref()).map(|(etag, _)| etag.clone());
            (slot.and_then(|slot| slot.active.clone()), etag)
        };
        let pointer = match self.store.get_object(&lake::release_pointer(model), etag.as_ref()).await? {
            GetOutcome::Found(object) => object,
            GetOutcome::Missing => return Err(ReleaseError::NoRelease(model.clone())),
            GetOutcome::NotModified => return Ok(Found::Unchanged),
        };
        let etag = pointer.etag.clone();
        match self.follow(model, &pointer, active).await {
            Ok(active) => Ok(Found::Release { pointer: etag, active }),
            Err(LoadFailure { error, is_final: true }) => Ok(Found::Refused { pointer: etag, error }),
            Err(LoadFailure { error, is_final: false }) => Err(error),
        }
    }

    async fn follow(
        &self,
        model: &ModelName,
        pointer: &Object,
        active: Option<Arc<ActiveRelease<T>>>,
    ) -> Result<Arc<ActiveRelease<T>>, LoadFailure> {
        let ReleasePointer { release_id: id, .. } =
            serde_json::from_slice(&pointer.bytes).map_err(|error| refused(model, format!("pointer: {error}")))?;
        match active.filter(|active| active.id == id) {
            // Moved away and back.
            Some(active) => Ok(active),
            None => self.load(model, id).await.map(Arc::new),
        }
    }

    async fn load(&self, model: &ModelName, id: ReleaseId) -> Result<ActiveRelease<T>, LoadFailure> {
        let key = lake::release(model, &id);
        let document = self.store.get_object(&key, None).await?.found();
        // Both can be mended by putting the object there again.
        let document = document.ok_or_else(|| unusable(model, format!("`{key}` is missing")))?;
        if domain::digest::sha256_hex(&document.bytes) != id.as_str() {
            return Err(unusable(model, format!("`{key}` has another content than its address says")).into());
        }
        let release: Release =
            serde_json::from_slice(&document.bytes).map_err(|error| refused(model, format!("`{key}`: {error}")))?;
        release.validate().and_then(|()| release.check_served()).map_err(|error| refused(model, error.to_string()))?;
        let tables = self.load_tables(model, &release.lookups).await?;
        let prepare = self.preparing.prepare;
        let prepared = tokio::task::spawn_blocking(move || prepare(&release, tables).map(|made| (release, made))).await;
        let (release, prepared) =
            prepared.map_err(|error| refused(model, error.to_string()))?.map_err(|detail| refused(model, detail))?;
        info!(%model, release_id = %id, lookups = release.lookups.len(), "release loaded");
        Ok(ActiveRelease { id, release, prepared })
    }

    pub(super) async fn load_tables(
        &self,
        model: &ModelName,
        pinned: &BTreeMap<String, String>,
    ) -> Result<ReleaseTables<L>, LoadFailure> {
        let mut tables = ReleaseTables::new();
        for (name, sha256) in pinned {
            let table = self.tables.get_or_load(sha256, self.load_table(model, name, sha256)).await?;
            tables.insert(name.clone(), table);
        }
        Ok(tables)
    }

    /// A table's object may be put there again, so no failure is final.
    async fn load_table(&self, model: &ModelName, name: &str, sha256: &str) -> Result<L, LoadFailure> {
        let key = lake::lookup_table(name, sha256);
        let object = self.store.get_object(&key, None).await?.found();
        let object = object.ok_or_else(|| unusable(model, format!("lookup table `{key}` is missing")))?;
        let (read_table, owned) = (self.preparing.read_table, name.to_owned());
        let read = tokio::task::spawn_blocking(move || read_table(&owned, object.bytes)).await;
        let table = read
            .map_err(|error| unusable(model, error.to_string()))?
            .map_err(|detail| unusable(model, format!("lookup table `{key}`: {detail}")))?;
        let found = (self.preparing.table_sha256)(&table);
        if found != sha256 {
            let detail = format!("lookup table `{key}` has another content than its address says ({found})");
            return Err(unusable(model, detail).into());
        }
        Ok(table)
    }
}
