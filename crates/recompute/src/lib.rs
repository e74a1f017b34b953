//! Archived predictions computed again from their raw inputs, and held against what was answered, bit by bit.
//!
//! A number that is not the same is skew: something that served, trained or archived computes otherwise than the spec says.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod answer;
mod audit;
mod error;
mod features;
mod sample;

#[cfg(test)]
mod samples;

use domain::CandidateId;
use serde::{Deserialize, Serialize};

pub use self::{
    answer::recompute_answer,
    audit::{Audit, Skew},
    error::RecomputeError,
    features::{FALLBACK, personal_results, recompute_features},
    sample::Sample,
};

/// A number that is not what it was, by its bits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The candidate.
    pub candidate_id: CandidateId,
    /// What it is: a feature, or [`FALLBACK`], or a field of the answer.
    pub name: String,
    /// What the archive has; `None` is NULL.
    pub archived: Option<f64>,
    /// What it is computed to be.
    pub recomputed: Option<f64>,
}

impl Difference {
    /// How far the two are apart; 0 where they differ in the sign of a zero, infinite where one is NULL.
    pub fn distance(&self) -> f64 {
        match (self.archived, self.recomputed) {
            (Some(archived), Some(recomputed)) => (archived - recomputed).abs(),
            _ => f64::INFINITY,
        }
    }
}

fn same_bits(one: Option<f64>, other: Option<f64>) -> bool {
    one.map(f64::to_bits) == other.map(f64::to_bits)
}
