//! Which arm of the release answers a request.

use domain::{
    Arm, ArmAssignment, AssignmentExclusion, ExperimentPlan, ProblemField, Randomisation, Release, zone_text,
};
use experiments::assign;

use crate::request::{ARM_HEADER, ResolvedRequest};

/// The arm that a request is answered by, and how it came to it. Requests that take no part in the experiment get the first
/// arm and no experiment id.
///
/// # Errors
/// The request asks for an arm that the release does not have.
pub(crate) fn assigned_arm<'a>(
    release: &'a Release,
    resolved: &ResolvedRequest,
) -> Result<(&'a Arm, ArmAssignment), ProblemField> {
    let only = || Ok((&release.arms[0], ArmAssignment::only(release.arms[0].name.clone())));
    let experiment = release.experiment.as_ref();
    if let Some(arm) = forced_arm(release, resolved)? {
        let assignment = ArmAssignment {
            experiment_id: experiment.map(|experiment| experiment.id.clone()),
            excluded: Some(AssignmentExclusion::Forced),
            ..ArmAssignment::only(arm.name.clone())
        };
        return Ok((arm, assignment));
    }
    let Some(experiment) = experiment else { return only() };
    let slot = match Slot::of(experiment, resolved) {
        SlotOf::NoSwitchback => None,
        SlotOf::Slot(slot) => Some(slot),
        // The experiment cannot place the request, and must not cost its answer: the spec says which inputs are needed.
        SlotOf::NoZone => return only(),
    };
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
    Ok((arm, assignment))
}

/// The arm that the request asks for, or that the experiment says for its unit.
fn forced_arm<'a>(release: &'a Release, resolved: &ResolvedRequest) -> Result<Option<&'a Arm>, ProblemField> {
    let named = |name: &str| release.arms.iter().find(|arm| arm.name == name);
    if let Some(name) = &resolved.forced_arm {
        return named(name).map(Some).ok_or_else(|| {
            let known: Vec<&str> = release.arms.iter().map(|arm| arm.name.as_str()).collect();
            let detail = format!("{ARM_HEADER}: there is no arm `{name}`; the release has {}", known.join(", "));
            ProblemField::new("", "unknown_arm", detail)
        });
    }
    let unit = resolved.request.unit_id.as_ref();
    let forced = release.experiment.as_ref().zip(unit).and_then(|(experiment, unit)| experiment.forced.get(unit));
    Ok(forced.and_then(|name| named(name)))
}

/// A switchback's zone and time slot.
struct Slot {
    unit: String,
    is_carry_over: bool,
}

enum SlotOf {
    NoSwitchback,
    /// The request does not say its zone.
    NoZone,
    Slot(Slot),
}

impl Slot {
    fn of(experiment: &ExperimentPlan, resolved: &ResolvedRequest) -> SlotOf {
        let Randomisation::Switchback { slot_s, carry_over_s, zone_input } = &experiment.randomise else {
            return SlotOf::NoSwitchback;
        };
        let at_s = resolved.requested_at.as_second();
        let slot_s = i64::from(*slot_s);
        let start_s = at_s.div_euclid(slot_s) * slot_s;
        let zone = match zone_input {
            None => String::new(),
            Some(name) => match resolved.request.inputs.get(name).and_then(zone_text) {
                Some(zone) => zone,
                None => return SlotOf::NoZone,
            },
        };
        let is_carry_over = at_s - start_s < i64::from(*carry_over_s);
        SlotOf::Slot(Self { unit: format!("{zone}|{start_s}"), is_carry_over })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domain::{FeatureSpecSource, Limits, PredictionId, PredictionRequest};
    use serde_json::{Value, json};

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
                Limits { max_candidates: 9, default_deadline_ms: 100 },
            )
        }
    }

    fn request(unit: &str, zone: impl serde::Serialize, at_s: i64) -> ResolvedRequest {
        let requested_at = jiff::Timestamp::from_second(at_s).unwrap();
        let body = json!({"unit_id": unit, "inputs": {"zone": zone}, "candidates": [{"candidate_id": "a"}]});
        let request: PredictionRequest = serde_json::from_value(body).unwrap();
        ResolvedRequest {
            prediction_id: PredictionId::new(requested_at, [7; 10]),
            caller_id: false,
            requested_at,
            model: "m".parse().unwrap(),
            deadline_ms: None,
            forced_arm: None,
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
        let (arm, assignment) = assigned_arm(&release, &request("qa", 1, 0)).unwrap();
        assert_eq!((arm.name.as_str(), assignment.excluded), ("treatment", Some(AssignmentExclusion::Forced)));
        assert_eq!(assigned_arm(&release, &request("rider", 1, 0)).unwrap().1.excluded, None);
    }

    #[test]
    fn a_request_may_ask_for_its_arm_whatever_was_drawn_or_forced() {
        let forced = BTreeMap::from([("qa".parse().unwrap(), "treatment".to_owned())]);
        let with = release(ExperimentPlan { forced, coverage: 0.0, ..halves() });
        let without = Release { experiment: None, ..with.clone() };
        let ask = |arm: &str| ResolvedRequest { forced_arm: Some(arm.to_owned()), ..request("qa", 1, 0) };
        for (release, experiment_id) in [(&with, Some("x")), (&without, None)] {
            for name in ["control", "treatment"] {
                let asked = ask(name);
                let (arm, assignment) = assigned_arm(release, &asked).unwrap();
                assert_eq!((arm.name.as_str(), assignment.arm.as_str()), (name, name));
                assert_eq!((assignment.experiment_id.as_deref(), assignment.probability), (experiment_id, 1.0));
                assert_eq!(assignment.excluded, Some(AssignmentExclusion::Forced));
            }
            let problem = assigned_arm(release, &ask("other")).unwrap_err();
            assert_eq!(problem.reason, "unknown_arm");
            assert!(problem.detail.contains("control, treatment"), "{}", problem.detail);
        }
    }

    #[test]
    fn who_takes_no_part_gets_the_first_arm_without_an_experiment() {
        let release = release(ExperimentPlan { coverage: 0.0, ..halves() });
        let (arm, assignment) = assigned_arm(&release, &request("rider", 1, 0)).unwrap();
        assert_eq!((arm.name.as_str(), assignment), ("control", ArmAssignment::only("control")));
    }

    #[test]
    fn a_switchback_gives_a_zone_one_arm_per_slot() {
        let randomise =
            Randomisation::Switchback { slot_s: 1800, carry_over_s: 300, zone_input: Some("zone".to_owned()) };
        let release = release(ExperimentPlan { randomise, ..halves() });
        let assigned = |unit, zone: i64, at_s| assigned_arm(&release, &request(unit, zone, at_s)).unwrap().1;
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

    #[test]
    fn a_request_that_does_not_say_its_zone_takes_no_part() {
        let switchback = |zone_input: Option<&str>| {
            let zone_input = zone_input.map(str::to_owned);
            release(ExperimentPlan {
                randomise: Randomisation::Switchback { slot_s: 1800, carry_over_s: 0, zone_input },
                ..halves()
            })
        };
        let by_zone = switchback(Some("zone"));
        let unit_of = |zone: Value| assigned_arm(&by_zone, &request("a", zone, 3600)).unwrap().1.randomised_unit;
        let slots: Vec<_> = (0..20).map(|slot| slot * 1800).collect();
        for at_s in &slots {
            let (arm, assignment) = assigned_arm(&by_zone, &request("a", Value::Null, *at_s)).unwrap();
            assert_eq!((arm.name.as_str(), assignment), ("control", ArmAssignment::only("control")));
        }
        for (zone, unit) in
            [(json!(7), "7|3600"), (json!(7.0), "7|3600"), (json!(7.5), "7.5|3600"), (json!("n"), "n|3600")]
        {
            assert_eq!(unit_of(zone).as_deref(), Some(unit));
        }
        let together = switchback(None);
        assert_eq!(
            assigned_arm(&together, &request("a", 7, 3600)).unwrap().1.randomised_unit.as_deref(),
            Some("|3600")
        );
    }
}
