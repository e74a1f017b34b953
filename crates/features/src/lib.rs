//! The feature engine: a spec of SQL scalar expressions, compiled to a plan over columns.
//!
//! There is one transform. Serving calls it with a request's 1…N candidates, training with whole files, replay with the
//! archive's rows: a row is a batch of one, and the bits are the same, on every machine ([`Plan`]).
//!
//! Rules of evaluation, beyond SQL's: a float is always finite (a division by zero, an overflow or a logarithm of
//! nothing is NULL), integers do not wrap (an overflow is NULL), and nothing fails: what cannot be computed is NULL.
//! The crate is pure: no I/O, no clock, no randomness; time zone rules are part of the build.
// A loop has vector instructions only where all that it calls is inlined into it, and only where it does not branch.
#![allow(clippy::inline_always, clippy::needless_bitwise_bool)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod bind;
mod block;
mod catalogue;
mod column;
mod error;
mod geo;
mod graph;
mod inputs;
mod kernels;
mod math;
mod op;
mod plan;
mod program;
mod spec;
mod transformer;
mod types;

pub use catalogue::{FUNCTIONS, Function};
pub use error::{FeatureError, Location};
pub use inputs::InputTable;
pub use plan::{FeatureTable, Plan, Scratch};
pub use spec::{Input, Prediction, REQUESTED_AT, Scope};
pub use transformer::Transformer;
pub use types::{Type, Value};
