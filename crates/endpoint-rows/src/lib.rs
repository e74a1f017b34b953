//! Rows to a model's endpoint, and predictions back, in the formats that containers speak: what serves and what checks a
//! release before it serves must write and read the same.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod answer;
mod rows;

pub use answer::{AnswerFault, read};
pub use rows::{EndpointRows, RowPart};
