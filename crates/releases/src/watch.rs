use cloud::object_store::{ETag, GetObject, GetOutcome};
use domain::{ModelName, ReleasePointer, lake};

use crate::{ReleasesError, read::read_pointer};

/// Follows a model's pointer by conditional gets. When to look again is the caller's decision.
#[derive(Debug)]
pub struct Watcher<S> {
    lake: S,
    model: ModelName,
    known: Option<ETag>,
}

impl<S: GetObject> Watcher<S> {
    /// A watcher that has seen nothing yet.
    pub fn new(lake: S, model: ModelName) -> Self {
        Self { lake, model, known: None }
    }

    /// The pointer, where it is another than at the last look. A pointer that is gone is no change.
    ///
    /// # Errors
    /// The store does not answer, or the pointer cannot be read; the next look may succeed.
    pub async fn look(&mut self) -> Result<Option<ReleasePointer>, ReleasesError> {
        let key = lake::release_pointer(&self.model);
        match self.lake.get_object(&key, self.known.as_ref()).await? {
            GetOutcome::NotModified | GetOutcome::Missing => Ok(None),
            GetOutcome::Found(object) => {
                let pointer = read_pointer(&key, &object.bytes);
                // One that cannot be read is told once, not at every look.
                self.known = Some(object.etag);
                pointer.map(Some)
            }
        }
    }
}
