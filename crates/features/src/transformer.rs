//! A plan with its buffers: what a warm function keeps.

use std::sync::{Mutex, PoisonError};

use domain::{Candidate, Inputs, Release};
use jiff::Timestamp;

use crate::{FeatureError, FeatureTable, InputTable, Plan, Resources, Scratch, spec::Scope};

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
        // Under a name that no request can carry, nobody would ever take part in the experiment.
        if let Some(zone) = release.experiment.as_ref().and_then(|experiment| experiment.randomise.zone_input())
            && !plan.inputs().iter().any(|input| input.scope == Scope::Request && input.name == zone)
        {
            return Err(format!("the experiment's zone_input `{zone}` is no input of the spec with scope `request`"));
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

#[cfg(test)]
mod tests {
    use domain::{ExperimentPlan, Randomisation};

    use super::*;
    use crate::{LookupKeys, LookupTable, LookupValues};

    const SPEC: &str = "name = \"t\"\n[prediction]\nunit = \"s\"\n[inputs]\nzone = { type = \"int\" }\n[lookups.drives]\nkeys = { \
                        zone = \"int\" }\nvalues = { median_s = \"float\" }\n[features]\ndrive = \"LOOKUP('drives', zone, \
                        'median_s', 600)\"\n[model]\noutputs = [\"drive\"]\n[fallback]\nexpression = \"drive\"\ndefault = 1\n";

    fn resources() -> Resources {
        let keys = vec![("zone".to_owned(), LookupKeys::Int(vec![7]))];
        let values = vec![("median_s".to_owned(), LookupValues::Float(vec![240.0]))];
        Resources::default().with_lookup("drives", LookupTable::from_columns(keys, values).unwrap())
    }

    fn release(hash: &str) -> Release {
        serde_json::from_value(serde_json::json!({
            "model": "t",
            "created_at": "2026-01-01T00:00:00Z",
            "spec": {"hash": hash, "toml": SPEC},
            "arms": [],
            "limits": {"max_candidates": 9, "default_deadline_ms": 9},
            "archive": "before-response",
        }))
        .unwrap()
    }

    #[test]
    fn a_release_is_served_with_its_tables_and_no_other_spec() {
        let hash = Plan::compile_with("t", SPEC, &resources()).unwrap().hash().to_owned();
        let transformer = Transformer::of_release_with(&release(&hash), &resources()).unwrap();
        let inputs = |zone: i64| serde_json::json!({"zone": zone}).as_object().unwrap().clone();
        let cars = [Candidate::new("a".parse().unwrap(), Inputs::new())];
        for (zone, drive_s) in [(7, 240.0), (8, 600.0), (7, 240.0)] {
            let take = |table: &FeatureTable| (table.row(0).collect::<Vec<_>>(), table.fallback().to_vec());
            let found = transformer.transform(Timestamp::UNIX_EPOCH, &inputs(zone), &cars, take).unwrap();
            assert_eq!(found, (vec![Some(drive_s)], vec![drive_s]));
        }
        let refused =
            |release: &Release, resources: &Resources| Transformer::of_release_with(release, resources).unwrap_err();
        assert!(refused(&release("0"), &resources()).contains("the spec's hash is"));
        assert!(refused(&release(&hash), &Resources::default()).contains("drives"));
        assert!(Transformer::of_release(&release(&hash)).is_err());
        let by_zone = |zone: &str| Release {
            experiment: Some(ExperimentPlan {
                randomise: Randomisation::Switchback { slot_s: 60, carry_over_s: 0, zone_input: Some(zone.to_owned()) },
                ..ExperimentPlan::new("x", vec![1.0])
            }),
            ..release(&hash)
        };
        assert!(Transformer::of_release_with(&by_zone("zone"), &resources()).is_ok());
        assert!(refused(&by_zone("zoen"), &resources()).contains("zone_input `zoen`"));
    }
}
