//! Which arm of the release answers a request.

use domain::{Arm, ArmAssignment, Release};
use experiments::assign;

use crate::request::ResolvedRequest;

/// The arm that a request is answered by, and how it came to it.
pub(crate) fn assigned_arm<'a>(release: &'a Release, resolved: &ResolvedRequest) -> (&'a Arm, ArmAssignment) {
    let assigned = release.experiment.as_ref().and_then(|experiment| {
        // Without a unit each request is one: its id is as random as any.
        let prediction_id = resolved.prediction_id.to_string();
        let unit = resolved.request.unit_id.as_ref().map_or(prediction_id.as_str(), |unit| unit.as_str());
        assign(experiment, unit).map(|assignment| (experiment, assignment))
    });
    match assigned {
        Some((experiment, assignment)) => {
            let arm = &release.arms[assignment.arm_index];
            let experiment_id = Some(experiment.id.clone());
            let probability = assignment.probability;
            (arm, ArmAssignment { experiment_id, probability, ..ArmAssignment::only(arm.name.clone()) })
        }
        None => (&release.arms[0], ArmAssignment::only(release.arms[0].name.clone())),
    }
}
