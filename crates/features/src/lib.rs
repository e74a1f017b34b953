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

mod batch_inputs;
mod bind;
mod block;
mod canonical;
mod catalogue;
mod column;
mod diff;
mod error;
mod explain;
mod geo;
mod graph;
mod holidays;
mod inputs;
mod kernels;
mod lookup;
mod math;
mod number_text;
mod op;
mod openapi;
mod pattern;
mod personal;
mod plan;
mod program;
mod resources;
mod row_expressions;
mod schema;
mod segments;
mod spec;
mod tables;
mod transformer;
mod types;
mod zones;

pub use batch_inputs::{RawColumn, RawTexts, RawValues, Reject};
pub use canonical::PartKind;
pub use catalogue::{EXAMPLE_PLACE, EXAMPLE_SPEC, Function, GROUPS, Group, functions, reference_markdown};
pub use diff::{Change, diff};
pub use error::{FeatureError, Location};
pub use inputs::InputTable;
pub use lookup::{
    FOLD_COLUMN, KeyType, LookupBuild, LookupDeclaration, LookupError, LookupFolds, LookupKeys, LookupTable,
    LookupValues, OutOfFold, Statistic, ValueType,
};
pub use number_text::NumberText;
pub use personal::Personal;
pub use plan::{FeatureTable, Plan, Scratch, label_expression, lookup_declarations};
pub use resources::Resources;
pub use row_expressions::{RowColumn, RowExpression, RowExpressions, RowScratch, RowValues};
pub use segments::{SegmentRow, Segments};
pub use spec::{Input, Prediction, REQUESTED_AT, Scope};
pub use transformer::Transformer;
pub use types::{Type, Value};
