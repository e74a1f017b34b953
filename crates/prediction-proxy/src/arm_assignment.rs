//! Which arm of the release answers a request.

use domain::{Arm, ArmAssignment, AssignmentExclusion, ExperimentPlan, Randomisation, Release};
use experiments::assign;

use crate::request::ResolvedRequest;

/// The arm that a request is answered by, and how it came to it. Units that take no part in the experiment get the first
/// arm and no experiment id.
pub(crate) fn assigned_arm<'a>(release: &'a Release, resolved: &ResolvedRequest) -> (&'a Arm, ArmAssignment) {
    let only = || (&release.arms[0], ArmAssignment::only(release.arms[0].name.clone()));
    let Some(experiment) = &release.experiment else { return only() };
    if let Some(arm) = forced_arm(release, experiment, resolved) {
        let assignment = ArmAssignment {
            experiment_id: Some(experiment.id.clone()),
            excluded: Some(AssignmentExclusion::Forced),
            ..ArmAssignment::only(arm.name.clone())
        };
        return (arm, assignment);
    }
    let slot = Slot::of(experiment, resolved);
    // Without a unit each request is one: its id is as random as any.
    let prediction_id = resolved.prediction_id.to_string();
    let rider = resolved.request.unit_id.as_ref().map_or(prediction_id.as_str(), |unit| unit.as_str());
    let unit = slot.as_ref().map_or(rider, |slot| slot.unit.as_str());
    let Some(assigned) = assign(experiment, unit) else { return only() };
    let arm = &release.arms[assigned.arm_index];
    let assignment = ArmAssignment {
        experiment_id: Some(experiment.id.clone()),
        arm: arm.name.clone(),
        probability: assigned.probability,
        excluded: slot.as_ref().filter(|slot| slot.is_carry_over).map(|_| AssignmentExclusion::CarryOver),
        randomised_unit: slot.map(|slot| slot.unit),
    };
    (arm, assignment)
}

fn forced_arm<'a>(release: &'a Release, experiment: &ExperimentPlan, resolved: &ResolvedRequest) -> Option<&'a Arm> {
    let name = experiment.forced.get(resolved.request.unit_id.as_ref()?)?;
    release.arms.iter().find(|arm| arm.name == *name)
}

/// A switchback's zone and time slot.
struct Slot {
    unit: String,
    is_carry_over: bool,
}

impl Slot {
    fn of(experiment: &ExperimentPlan, resolved: &ResolvedRequest) -> Option<Self> {
        let Randomisation::Switchback { slot_s, carry_over_s, zone_input } = &experiment.randomise else { return None };
        let at_s = resolved.requested_at.as_second();
        let slot_s = i64::from(*slot_s);
        let start_s = at_s.div_euclid(slot_s) * slot_s;
        let zone = zone_input.as_ref().and_then(|name| resolved.request.inputs.get(name));
        let zone = zone.map_or_else(String::new, |zone| zone.as_str().map_or_else(|| zone.to_string(), str::to_owned));
        Some(Self { unit: format!("{zone}|{start_s}"), is_carry_over: at_s - start_s < i64::from(*carry_over_s) })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domain::{FeatureSpecSource, Limits, PredictionId, PredictionRequest};
    use serde_json::json;

    use super::*;

    fn release(experiment: ExperimentPlan) -> Release {
        let arm = |name: &str| Arm {
            name: name.to_owned(),
            endpoint: "e".to_owned(),
            variant: name.to_owned(),
            model_version: "1".to_owned(),
        };
        Release {
            experiment: Some(experiment),
            ..Release::new(
                "m".parse().unwrap(),
                "2026-01-01T00:00:00Z".parse().unwrap(),
                FeatureSpecSource { hash: String::new(), toml: String::new() },
                vec![arm("control"), arm("treatment")],
                Limits { max_candidates: 9, default_deadline_ms: 9 },
            )
        }
    }

    fn request(unit: &str, zone: i64, at_s: i64) -> ResolvedRequest {
        let requested_at = jiff::Timestamp::from_second(at_s).unwrap();
        let body = json!({"unit_id": unit, "inputs": {"zone": zone}, "candidates": [{"candidate_id": "a"}]});
        let request: PredictionRequest = serde_json::from_value(body).unwrap();
        ResolvedRequest {
            prediction_id: PredictionId::new(requested_at, [7; 10]),
            caller_id: false,
            requested_at,
            model: "m".parse().unwrap(),
            deadline_ms: None,
            request,
        }
    }

    fn halves() -> ExperimentPlan {
        ExperimentPlan::new("x", vec![0.5, 0.5])
    }

    #[test]
    fn a_forced_unit_gets_its_arm_and_does_not_count() {
        let forced = BTreeMap::from([("qa".parse().unwrap(), "treatment".to_owned())]);
        let release = release(ExperimentPlan { forced, ..halves() });
        let (arm, assignment) = assigned_arm(&release, &request("qa", 1, 0));
        assert_eq!((arm.name.as_str(), assignment.excluded), ("treatment", Some(AssignmentExclusion::Forced)));
        assert_eq!(assigned_arm(&release, &request("rider", 1, 0)).1.excluded, None);
    }

    #[test]
    fn who_takes_no_part_gets_the_first_arm_without_an_experiment() {
        let release = release(ExperimentPlan { coverage: 0.0, ..halves() });
        let (arm, assignment) = assigned_arm(&release, &request("rider", 1, 0));
        assert_eq!((arm.name.as_str(), assignment), ("control", ArmAssignment::only("control")));
    }

    #[test]
    fn a_switchback_gives_a_zone_one_arm_per_slot() {
        let randomise =
            Randomisation::Switchback { slot_s: 1800, carry_over_s: 300, zone_input: Some("zone".to_owned()) };
        let release = release(ExperimentPlan { randomise, ..halves() });
        let assigned = |unit, zone, at_s| assigned_arm(&release, &request(unit, zone, at_s)).1;
        let first = assigned("a", 7, 3600);
        assert_eq!(
            (first.randomised_unit.as_deref(), first.excluded),
            (Some("7|3600"), Some(AssignmentExclusion::CarryOver))
        );
        let later = assigned("b", 7, 5399);
        assert_eq!((&later.arm, &later.randomised_unit, later.excluded), (&first.arm, &first.randomised_unit, None));
        assert_eq!(assigned("b", 8, 5400).randomised_unit.as_deref(), Some("8|5400"));
        let arms: std::collections::BTreeSet<_> = (0..20).map(|slot| assigned("a", 7, slot * 1800).arm).collect();
        assert_eq!(arms.len(), 2);
    }
}
