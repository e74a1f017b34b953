//! A plan with its buffers: what a warm function keeps.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use domain::{Candidate, Inputs, Release};
use jiff::Timestamp;

use crate::{FeatureError, FeatureTable, InputTable, LookupTable, Plan, Resources, Scratch, Segments, spec::Scope};

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

    /// The transformer of a release's spec, with the lookup tables that the release pins.
    ///
    /// # Errors
    /// What does not compile, a spec whose hash is not the one that the release names, or a table that is not the pinned one.
    pub fn of_release(release: &Release, tables: BTreeMap<String, Arc<LookupTable>>) -> Result<Self, String> {
        let resources: Resources = tables.into_iter().collect();
        let plan = Plan::compile_with("the release's feature spec", &release.spec.toml, &resources)
            .map_err(|error| error.to_string())?;
        if plan.hash() != release.spec.hash {
            return Err(format!("the spec's hash is {}, the release says {}", plan.hash(), release.spec.hash));
        }
        for (name, sha256) in plan.lookups() {
            if release.lookups.get(name).is_none_or(|pinned| pinned != sha256) {
                return Err(format!("lookup table `{name}` is {sha256}, which is not what the release pins"));
            }
        }
        // A zone that is hidden in the archive could be neither evaluated nor learned from.
        let is_plain = |zone: &str| {
            let found = plan.inputs().iter().find(|input| input.scope == Scope::Request && input.name == zone);
            found.is_some_and(|input| input.personal.is_none())
        };
        // Under a name that no request can carry, nobody would ever take part in the experiment; and the unit that was
        // randomised is archived with its zone in clear.
        if let Some(zone) = release.experiment.as_ref().and_then(|experiment| experiment.randomise.zone_input())
            && !is_plain(zone)
        {
            return Err(format!(
                "the experiment's zone_input `{zone}` is no input of scope `request` that is stored as it is"
            ));
        }
        if let Some(zone) = release.correction.as_ref().and_then(|correction| correction.zone_input.as_deref())
            && !is_plain(zone)
        {
            return Err(format!(
                "correction.zone_input `{zone}` is no input of scope `request` that is stored as it is"
            ));
        }
        if let Some(evaluation) = &release.evaluation {
            Segments::compile(&release.spec.toml, &resources, evaluation)?;
            if let Some(zone) = evaluation.zone_input.as_deref().filter(|zone| !is_plain(zone)) {
                return Err(format!(
                    "evaluation.zone_input `{zone}` is no input of scope `request` that is stored as it is"
                ));
            }
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
        self.evaluate(|table| self.plan.read_request(requested_at, inputs, candidates, table), take)
    }

    /// Transforms what the archive keeps of a request once more, as [`Transformer::transform`] did, and hands the result to
    /// `take`. What needs personal inputs ([`Plan::output_is_personal`]) is not what it was.
    ///
    /// # Errors
    /// [`FeatureError::Inputs`] with every field that is wrong.
    pub fn transform_archived<R>(
        &self,
        requested_at: Timestamp,
        inputs: &Inputs,
        candidates: &[Candidate],
        take: impl FnOnce(&FeatureTable) -> R,
    ) -> Result<R, FeatureError> {
        self.evaluate(|table| self.plan.read_archived(requested_at, inputs, candidates, table), take)
    }

    fn evaluate<R>(
        &self,
        read: impl FnOnce(&mut InputTable) -> Result<(), FeatureError>,
        take: impl FnOnce(&FeatureTable) -> R,
    ) -> Result<R, FeatureError> {
        // A poisoned lock only means that a panic left rows behind: they are cleared.
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        let Buffers { inputs: table, scratch, features } = &mut *buffers;
        table.clear();
        read(table)?;
        self.plan.evaluate(table, scratch, features);
        Ok(take(features))
    }
}

#[cfg(test)]
mod tests {
    use domain::{ExperimentPlan, Randomisation};

    use super::*;
    use crate::{LookupKeys, LookupValues};

    const SPEC: &str = "name = \"t\"\n[prediction]\nunit = \"s\"\n[inputs]\nzone = { type = \"int\" }\n[lookups.drives]\nkeys = { \
                        zone = \"int\" }\nvalues = { median_s = \"float\" }\n[features]\ndrive = \"LOOKUP('drives', zone, \
                        'median_s', 600)\"\n[model]\noutputs = [\"drive\"]\n[fallback]\nexpression = \"drive\"\ndefault = 1\n";

    fn table() -> Arc<LookupTable> {
        let keys = vec![("zone".to_owned(), LookupKeys::Int(vec![7]))];
        let values = vec![("median_s".to_owned(), LookupValues::Float(vec![240.0]))];
        Arc::new(LookupTable::from_columns(keys, values).unwrap())
    }

    fn tables() -> BTreeMap<String, Arc<LookupTable>> {
        BTreeMap::from([("drives".to_owned(), table())])
    }

    fn release(hash: &str) -> Release {
        serde_json::from_value(serde_json::json!({
            "model": "t",
            "created_at": "2026-01-01T00:00:00Z",
            "spec": {"hash": hash, "toml": SPEC},
            "lookups": {"drives": table().sha256()},
            "arms": [],
            "limits": {"max_candidates": 9, "default_deadline_ms": 100},
            "archive": "before-response",
        }))
        .unwrap()
    }

    #[test]
    fn a_release_is_served_with_its_tables_and_no_other_spec() {
        let hash = Plan::compile_with("t", SPEC, &tables().into_iter().collect()).unwrap().hash().to_owned();
        let transformer = Transformer::of_release(&release(&hash), tables()).unwrap();
        let inputs = |zone: i64| serde_json::json!({"zone": zone}).as_object().unwrap().clone();
        let cars = [Candidate::new("a".parse().unwrap(), Inputs::new())];
        for (zone, drive_s) in [(7, 240.0), (8, 600.0), (7, 240.0)] {
            let take = |table: &FeatureTable| (table.row(0).collect::<Vec<_>>(), table.fallback().to_vec());
            let found = transformer.transform(Timestamp::UNIX_EPOCH, &inputs(zone), &cars, take).unwrap();
            assert_eq!(found, (vec![Some(drive_s)], vec![drive_s]));
        }
        let refused = |release: &Release, tables| Transformer::of_release(release, tables).unwrap_err();
        assert!(refused(&release("0"), tables()).contains("the spec's hash is"));
        assert!(refused(&release(&hash), BTreeMap::new()).contains("drives"));
        let other = Release { lookups: BTreeMap::from([("drives".to_owned(), "0".repeat(64))]), ..release(&hash) };
        assert!(refused(&other, tables()).contains("not what the release pins"));
        let by_zone = |zone: &str| Release {
            experiment: Some(ExperimentPlan {
                randomise: Randomisation::Switchback { slot_s: 60, carry_over_s: 0, zone_input: Some(zone.to_owned()) },
                ..ExperimentPlan::new("x", vec![1.0])
            }),
            ..release(&hash)
        };
        assert!(Transformer::of_release(&by_zone("zone"), tables()).is_ok());
        assert!(refused(&by_zone("zoen"), tables()).contains("zone_input `zoen`"));
    }

    #[test]
    fn a_zone_that_is_hidden_in_the_archive_randomises_nothing() {
        let spec = SPEC.replace("[inputs]\n", "[inputs]\nhome = { type = \"string\", personal = \"hash\" }\n");
        let hash = Plan::compile_with("t", &spec, &tables().into_iter().collect()).unwrap().hash().to_owned();
        let by_zone = |zone: &str| Release {
            experiment: Some(ExperimentPlan {
                randomise: Randomisation::Switchback { slot_s: 60, carry_over_s: 0, zone_input: Some(zone.to_owned()) },
                ..ExperimentPlan::new("x", vec![1.0])
            }),
            spec: domain::FeatureSpecSource { hash: hash.clone(), toml: spec.clone() },
            ..release(&hash)
        };
        assert!(Transformer::of_release(&by_zone("zone"), tables()).is_ok());
        let refused = Transformer::of_release(&by_zone("home"), tables()).expect_err("the unit would tell it in clear");
        assert!(refused.contains("zone_input `home`") && refused.contains("stored as it is"), "{refused}");
    }
}
