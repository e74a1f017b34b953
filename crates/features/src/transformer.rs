//! A plan with its buffers: what a warm function keeps.

use std::sync::{Mutex, PoisonError};

use domain::{Candidate, Inputs, Release};
use jiff::Timestamp;

use crate::{FeatureError, FeatureTable, InputTable, Plan, Resources, Scratch};

/// A plan, and buffers that are reused from request to request.
#[derive(Debug)]
pub struct Transformer {
    plan: Plan,
    buffers: Mutex<Buffers>,
}

#[derive(Debug)]
struct Buffers {
    inputs: InputTable,
    scratch: Scratch,
    features: FeatureTable,
}

impl Transformer {
    /// A transformer for `plan`.
    pub fn new(plan: Plan) -> Self {
        let buffers =
            Buffers { inputs: InputTable::new(&plan), scratch: Scratch::default(), features: FeatureTable::default() };
        Self { plan, buffers: Mutex::new(buffers) }
    }

    /// The transformer of a release's spec that declares no lookup tables.
    ///
    /// # Errors
    /// What does not compile, or a spec whose hash is not the one that the release names.
    pub fn of_release(release: &Release) -> Result<Self, String> {
        Self::of_release_with(release, &Resources::default())
    }

    /// The transformer of a release's spec, with its lookup tables. Whether their hashes are the ones that the release pins
    /// is for the caller to compare ([`Plan::lookups`]).
    ///
    /// # Errors
    /// What does not compile, or a spec whose hash is not the one that the release names.
    pub fn of_release_with(release: &Release, resources: &Resources) -> Result<Self, String> {
        let plan = Plan::compile_with("the release's feature spec", &release.spec.toml, resources)
            .map_err(|error| error.to_string())?;
        if plan.hash() != release.spec.hash {
            return Err(format!("the spec's hash is {}, the release says {}", plan.hash(), release.spec.hash));
        }
        Ok(Self::new(plan))
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Transforms a request's candidates and hands the result, one row per candidate, to `take`.
    ///
    /// # Errors
    /// [`FeatureError::Inputs`] with every field that is wrong.
    pub fn transform<R>(
        &self,
        requested_at: Timestamp,
        inputs: &Inputs,
        candidates: &[Candidate],
        take: impl FnOnce(&FeatureTable) -> R,
    ) -> Result<R, FeatureError> {
        // A poisoned lock only means that a panic left rows behind: they are cleared.
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        let Buffers { inputs: table, scratch, features } = &mut *buffers;
        table.clear();
        self.plan.read_request(requested_at, inputs, candidates, table)?;
        self.plan.evaluate(table, scratch, features);
        Ok(take(features))
    }
}
