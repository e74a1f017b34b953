//! The archiver over a store in memory.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod archiving;
mod common;
mod faults;
mod keeping;
mod memory;
mod sources;
