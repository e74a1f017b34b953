use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ReleaseId;

/// The one mutable object of a model's releases: which is in force. Moved by compare-and-swap.
///
/// Members that a reader does not know are left alone: a function that is older than the command must still find its release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasePointer {
    /// The release in force.
    pub release_id: ReleaseId,
    /// The one to roll back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<ReleaseId>,
    /// When the pointer was moved, UTC. Later than the move before, to the microsecond.
    pub moved_at: Timestamp,
    /// How it came here.
    #[serde(default)]
    pub how: PointerMove,
    /// Who moved it: a person, or the function that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a release came into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PointerMove {
    /// It was published.
    #[default]
    Publish,
    /// It was gone back to.
    Rollback,
}

impl ReleasePointer {
    /// A pointer that was moved by a publication that nobody signed.
    pub fn new(release_id: ReleaseId, previous: Option<ReleaseId>, moved_at: Timestamp) -> Self {
        Self { release_id, previous, moved_at, how: PointerMove::Publish, author: None, reason: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_and_newer_pointers_are_read() {
        let id = "0".repeat(64);
        let older = format!(r#"{{"release_id": "{id}", "moved_at": "2026-01-01T00:00:00Z"}}"#);
        let older: ReleasePointer = serde_json::from_str(&older).unwrap();
        assert_eq!(older, ReleasePointer::new(id.parse().unwrap(), None, "2026-01-01T00:00:00Z".parse().unwrap()));
        let newer = format!(r#"{{"release_id": "{id}", "moved_at": "2026-01-01T00:00:00Z", "approved_by": "x"}}"#);
        assert_eq!(serde_json::from_str::<ReleasePointer>(&newer).unwrap(), older);
    }
}
