//! Releases, over ports: what puts one in force, takes it back, and tells which was in force when.
//!
//! A release is an immutable document behind one pointer that is moved by compare-and-swap. Only a release whose
//! [checks](check) all passed can be [published](publish) or [gone back to](rollback): the type [`ServableRelease`] is the
//! proof. Each move of the pointer is kept as an object of its own ([`history`]).
//!
//! There is no clock here: the time is passed in. The command and functions use the same code.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod checks;
mod diff;
mod error;
mod list;
mod moves;
mod probe;
mod read;
#[cfg(test)]
mod samples;
mod tables;
mod watch;

pub use checks::{Check, CheckReport, CheckResult, Checked, Endpoints, Outcome, ServableRelease, check};
pub use diff::{FieldChange, ReleaseDiff, diff};
pub use error::ReleasesError;
pub use list::{InForce, ListedRelease, history, list};
pub use moves::{MoveOrder, Moved, publish, rollback, rollback_targets};
pub use read::{CurrentPointer, in_force, read_release, resolve, rollback_target, same_but_for_time};
pub use tables::{PinnedTables, pinned_tables, put_tables, tables};
pub use watch::Watcher;
