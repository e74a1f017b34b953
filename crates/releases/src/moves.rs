//! The pointer's moves: publish and roll back.
//!
//! A move writes, in this order: the document, where it is not there yet; the pointer, by compare-and-swap; the move itself
//! as an object of its own, a copy of the pointer. A mover that dies before the last step leaves a pointer that says all the
//! same: whoever moves it next writes that object first. So no move is lost, and none is told that did not happen.

use bytes::Bytes;
use cloud::object_store::{GetObject, ListObjects, PutCondition, PutObject, PutOutcome};
use domain::{ModelName, PointerMove, ReleaseId, ReleasePointer, lake, truncate_to_micros};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tracing::warn;

use crate::{
    ReleasesError, ServableRelease,
    list::history,
    read::{CurrentPointer, in_force},
};

/// Who moves the pointer, why, when, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveOrder {
    /// A person, or the function that does it by itself.
    pub author: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Now, UTC.
    pub now: Timestamp,
    /// The release that must be in force before; any where `None`.
    pub expect: Option<ReleaseId>,
}

/// What a move came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// The pointer as it is now.
    #[serde(flatten)]
    pub pointer: ReleasePointer,
    /// `false` where this release was in force already: nothing was written.
    pub changed: bool,
}

/// Puts a release in force.
///
/// # Errors
/// [`ReleasesError::NotExpected`] and [`ReleasesError::MovedMeanwhile`]: nothing was moved; a document that was written
/// stays, and is harmless. The store does not answer: whether the pointer was moved is then unknown.
pub async fn publish<S: GetObject + PutObject>(
    lake: &S,
    release: &ServableRelease,
    order: &MoveOrder,
) -> Result<Moved, ReleasesError> {
    let (model, id) = (&release.release().model, release.id());
    let current = expected(lake, model, order).await?;
    put_document(lake, release).await?;
    if let Some(unchanged) = unchanged(current.as_ref(), id) {
        return Ok(unchanged);
    }
    let previous = current.as_ref().map(|current| current.pointer.release_id.clone());
    swap(lake, model, current, pointer(order, id, previous, PointerMove::Publish)).await
}

/// Goes back to a release that was published before, and says so in the history.
///
/// What can be gone back to next is then what was in force before *it*: going back twice does not return to where one came
/// from.
///
/// # Errors
/// As [`publish`]; [`ReleasesError::NoRelease`] where there is no pointer to move.
pub async fn rollback<S: GetObject + PutObject + ListObjects>(
    lake: &S,
    release: &ServableRelease,
    order: &MoveOrder,
) -> Result<Moved, ReleasesError> {
    let (model, id) = (&release.release().model, release.id());
    let current = expected(lake, model, order).await?.ok_or_else(|| ReleasesError::NoRelease(model.clone()))?;
    put_document(lake, release).await?;
    if let Some(unchanged) = unchanged(Some(&current), id) {
        return Ok(unchanged);
    }
    let mut stack = stack_of(&history(lake, model).await?);
    go_back(&mut stack, id);
    let previous = stack.iter().rev().nth(1).cloned();
    swap(lake, model, Some(current), pointer(order, id, previous, PointerMove::Rollback)).await
}

/// What can be gone back to from what is in force, the latest first.
///
/// # Errors
/// The store does not answer, or the history cannot be read.
pub async fn rollback_targets<S: GetObject + ListObjects>(
    lake: &S,
    model: &ModelName,
) -> Result<Vec<ReleaseId>, ReleasesError> {
    let mut stack = stack_of(&history(lake, model).await?);
    stack.pop();
    stack.reverse();
    Ok(stack)
}

/// What is in force, on top of what it can be gone back to.
fn stack_of(moves: &[ReleasePointer]) -> Vec<ReleaseId> {
    let mut stack = Vec::new();
    for moved in moves {
        match moved.how {
            PointerMove::Publish => stack.push(moved.release_id.clone()),
            PointerMove::Rollback => go_back(&mut stack, &moved.release_id),
        }
    }
    stack
}

/// Takes off what came after `id`. One that was taken off earlier comes on top.
fn go_back(stack: &mut Vec<ReleaseId>, id: &ReleaseId) {
    let below_top = stack.len().saturating_sub(1);
    match stack[..below_top].iter().rposition(|earlier| earlier == id) {
        Some(position) => stack.truncate(position + 1),
        None => stack.push(id.clone()),
    }
}

async fn expected<S: GetObject>(
    lake: &S,
    model: &ModelName,
    order: &MoveOrder,
) -> Result<Option<CurrentPointer>, ReleasesError> {
    let current = in_force(lake, model).await?;
    let found = current.as_ref().map(|current| &current.pointer.release_id);
    match &order.expect {
        Some(expected) if found != Some(expected) => {
            Err(ReleasesError::NotExpected { expected: expected.clone(), found: found.cloned() })
        }
        _ => Ok(current),
    }
}

fn unchanged(current: Option<&CurrentPointer>, id: &ReleaseId) -> Option<Moved> {
    let current = current.filter(|current| current.pointer.release_id == *id)?;
    Some(Moved { pointer: current.pointer.clone(), changed: false })
}

fn pointer(order: &MoveOrder, id: &ReleaseId, previous: Option<ReleaseId>, how: PointerMove) -> ReleasePointer {
    ReleasePointer {
        how,
        author: order.author.clone(),
        reason: order.reason.clone(),
        ..ReleasePointer::new(id.clone(), previous, truncate_to_micros(order.now))
    }
}

/// The immutable document. One that is there already must be the very same.
async fn put_document<S: GetObject + PutObject>(lake: &S, release: &ServableRelease) -> Result<(), ReleasesError> {
    let key = lake::release(&release.release().model, release.id());
    let bytes = Bytes::from(release.release().to_bytes());
    match lake.put_object(&key, bytes.clone(), PutCondition::IfAbsent).await? {
        PutOutcome::Stored(_) => Ok(()),
        PutOutcome::PreconditionFailed => {
            let there = lake.get_object(&key, None).await?.found();
            if there.is_some_and(|there| there.bytes == bytes) {
                return Ok(());
            }
            let detail = "another content lies under this address; delete it, then publish again".to_owned();
            Err(ReleasesError::Unusable { key, detail })
        }
    }
}

async fn swap<S: GetObject + PutObject>(
    lake: &S,
    model: &ModelName,
    current: Option<CurrentPointer>,
    mut pointer: ReleasePointer,
) -> Result<Moved, ReleasesError> {
    let condition = match current {
        None => PutCondition::IfAbsent,
        Some(CurrentPointer { pointer: before, etag }) => {
            // Moves are in order of time, whatever the clocks of those who make them say.
            let earliest = before.moved_at.checked_add(SignedDuration::from_micros(1)).unwrap_or(before.moved_at);
            pointer.moved_at = pointer.moved_at.max(earliest);
            keep(lake, model, &before).await?;
            PutCondition::IfMatch(etag)
        }
    };
    let key = lake::release_pointer(model);
    let outcome = lake.put_object(&key, bytes_of(&pointer), condition).await?;
    if outcome == PutOutcome::PreconditionFailed {
        // A put whose answer was lost and that was sent again meets itself.
        let found = in_force(lake, model).await?;
        if found.is_none_or(|found| found.pointer != pointer) {
            return Err(ReleasesError::MovedMeanwhile(model.clone()));
        }
    }
    if let Err(error) = keep(lake, model, &pointer).await {
        warn!(%model, release_id = %pointer.release_id, %error, "the move is kept by the pointer alone until the next one");
    }
    Ok(Moved { pointer, changed: true })
}

/// Keeps a move for good.
async fn keep<S: PutObject>(lake: &S, model: &ModelName, pointer: &ReleasePointer) -> Result<(), ReleasesError> {
    lake.put_object(&lake::release_move(model, pointer), bytes_of(pointer), PutCondition::IfAbsent).await?;
    Ok(())
}

fn bytes_of(pointer: &ReleasePointer) -> Bytes {
    serde_json::to_vec_pretty(pointer).unwrap_or_default().into()
}

#[cfg(test)]
mod tests;
