//! Which releases there are, and when each was in force.

use std::collections::BTreeMap;

use cloud::object_store::{GetObject, ListObjects};
use domain::{ModelName, PointerMove, Release, ReleaseId, ReleasePointer, lake};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    ReleasesError,
    read::{in_force, read_pointer, read_release},
};

/// Documents read at the same time.
const CONCURRENT_READS: usize = 16;

/// A time in which a release was in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InForce {
    /// Since when, UTC.
    pub since: Timestamp,
    /// Until when, UTC; `None` where it is in force now.
    pub until: Option<Timestamp>,
    /// Whether it was published or gone back to.
    pub how: PointerMove,
    /// Who put it in force.
    pub author: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// One release of a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ListedRelease {
    /// Its id.
    pub id: ReleaseId,
    /// The document, or why it cannot be read.
    pub release: Result<Release, String>,
    /// When it was in force, the earliest first. Empty where it never was.
    pub in_force: Vec<InForce>,
}

impl ListedRelease {
    /// Whether it is in force now.
    pub fn is_in_force(&self) -> bool {
        self.in_force.last().is_some_and(|last| last.until.is_none())
    }
}

/// All moves of the pointer, the earliest first.
///
/// # Errors
/// The store does not answer, or an object of the history cannot be read.
pub async fn history<S: GetObject + ListObjects>(
    lake: &S,
    model: &ModelName,
) -> Result<Vec<ReleasePointer>, ReleasesError> {
    // Before the history: a move made meanwhile is then either in both or in neither.
    let current = in_force(lake, model).await?.map(|current| current.pointer);
    let listed = lake.list_objects(&lake::release_history_prefix(model)).await?;
    let read = listed.into_iter().map(async |object| {
        let found = lake.get_object(&object.key, None).await?.found();
        found.map(|found| read_pointer(&object.key, &found.bytes)).transpose()
    });
    let read: Vec<Option<ReleasePointer>> = stream::iter(read).buffered(CONCURRENT_READS).try_collect().await?;
    let mut moves: Vec<ReleasePointer> = read.into_iter().flatten().collect();
    // The last move may have been kept by the pointer alone.
    moves.extend(current.filter(|current| !moves.contains(current)));
    moves.sort_by_key(|pointer| pointer.moved_at);
    Ok(moves)
}

/// All releases of a model with the times in which they were in force: the latest put in force first, those that never were
/// at the end, the latest made first.
///
/// # Errors
/// The store does not answer, or the history cannot be read. A document that cannot be read is told in its place.
pub async fn list<S: GetObject + ListObjects>(
    lake: &S,
    model: &ModelName,
) -> Result<Vec<ListedRelease>, ReleasesError> {
    let mut times = times_in_force(&history(lake, model).await?);
    let listed = lake.list_objects(&lake::release_prefix(model)).await?;
    let mut ids: Vec<ReleaseId> =
        listed.iter().filter_map(|object| lake::release_id_of_key(model, &object.key)).collect();
    // A document that is gone was in force all the same.
    ids.extend(times.keys().filter(|id| !ids.contains(id)).cloned().collect::<Vec<_>>());
    let read = ids.into_iter().map(async |id| {
        let release = match read_release(lake, model, &id).await {
            Ok(release) => Ok(release),
            Err(ReleasesError::Store(error)) => return Err(ReleasesError::Store(error)),
            Err(unreadable) => Err(unreadable.to_string()),
        };
        Ok((id, release))
    });
    let read: Vec<_> = stream::iter(read).buffered(CONCURRENT_READS).try_collect().await?;
    let mut releases: Vec<ListedRelease> = read
        .into_iter()
        .map(|(id, release)| ListedRelease { in_force: times.remove(&id).unwrap_or_default(), id, release })
        .collect();
    releases.sort_by_key(|listed| {
        let last = listed.in_force.last().map(|last| last.since);
        std::cmp::Reverse((last, listed.release.as_ref().ok().map(|release| release.created_at)))
    });
    Ok(releases)
}

/// Each move ends the time of the one before.
fn times_in_force(moves: &[ReleasePointer]) -> BTreeMap<ReleaseId, Vec<InForce>> {
    let mut times: BTreeMap<ReleaseId, Vec<InForce>> = BTreeMap::new();
    for (index, pointer) in moves.iter().enumerate() {
        times.entry(pointer.release_id.clone()).or_default().push(InForce {
            since: pointer.moved_at,
            until: moves.get(index + 1).map(|next| next.moved_at),
            how: pointer.how,
            author: pointer.author.clone(),
            reason: pointer.reason.clone(),
        });
    }
    times
}
