//! Experiments: which arm a unit is assigned to, and which arm won ([`statistics`]). Pure.
//!
//! The assignment's rule is GrowthBook's, spec 0.12.0 (<https://docs.growthbook.io/lib/build-your-own>), so that an assignment can be
//! recomputed by any of its SDKs: a unit hashes to a point of [0, 1) ([`hash`]), each arm owns a half-open range of it
//! ([`bucket_ranges`]), and the unit gets the arm whose range holds its point ([`choose_variation`]). Nothing is stored:
//! the same experiment and unit give the same arm on every machine, for ever.
//!
//! What a unit *is* (a rider, a zone in a time slot) is the caller's business: it comes here as text.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod assignment;
mod error;
mod hash;
mod murmur;
mod namespace;
mod ranges;
pub mod statistics;

pub use assignment::{Assignment, assign, assign_within};
pub use error::ExperimentsError;
pub use hash::{HashVersion, fnv1a32, hash};
pub use murmur::{flagd_variant, optimizely_bucket};
pub use namespace::Namespace;
pub use ranges::{BucketRange, bucket_ranges, choose_variation, equal_weights, ranges_of_weights};
