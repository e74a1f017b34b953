use domain::{ExperimentPlan, NamespacePart};

use crate::{BucketRange, HashVersion, hash, namespace::in_part, ranges_of_weights};

/// The arm that a unit is assigned to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Assignment {
    /// Which arm, in the plan's (and the release's) order.
    pub arm_index: usize,
    /// The probability with which a unit gets this arm, 0–1: the share of the hash's 10,000 points that the arm owns.
    /// It is the weight, but where the weight is no multiple of 1/10,000.
    pub probability: f64,
}

/// The arm of `plan` that `unit` is assigned to, or `None` where the unit takes no part: it lies outside the plan's part of
/// its namespace, or outside every arm's range, as with a coverage below 1. Each arm's range grows from its own beginning,
/// so a rising coverage moves nobody who was assigned already.
///
/// Hash v2, salted with the experiment's id, or its seed: who got which arm in one experiment says nothing about the next of
/// another salt.
pub fn assign(plan: &ExperimentPlan, unit: &str) -> Option<Assignment> {
    if let Some(NamespacePart { id, start, end }) = &plan.namespace
        && !in_part(id, BucketRange { start: *start, end: *end }, unit)
    {
        return None;
    }
    assign_within(plan.seed.as_deref().unwrap_or(&plan.id), unit, ranges_of_weights(&plan.weights, plan.coverage))
}

/// The same with the salt and the arms' ranges given: with coverage below 1, or ranges that are not adjacent.
pub fn assign_within(seed: &str, unit: &str, ranges: impl IntoIterator<Item = BucketRange>) -> Option<Assignment> {
    let version = HashVersion::V2;
    let point = hash(seed, unit, version);
    let (arm_index, range) = ranges.into_iter().enumerate().find(|(_, range)| range.contains(point))?;
    let probability = f64::from(range.points_within(version.points())) / f64::from(version.points());
    Some(Assignment { arm_index, probability })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plan(weights: &[f64]) -> ExperimentPlan {
        ExperimentPlan::new("deeper-trees", weights.to_vec())
    }

    /// Weights in 1/1024ths: sums of them are exact.
    fn exact_weights() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(0..=1024_u32, 1..5).prop_map(|mut cuts| {
            cuts.push(1024);
            cuts.sort_unstable();
            let mut before = 0;
            cuts.into_iter().map(|cut| f64::from(cut - std::mem::replace(&mut before, cut)) / 1024.0).collect()
        })
    }

    #[test]
    fn arms_get_their_share() {
        let plan = plan(&[0.2, 0.3, 0.5]);
        let mut counts = [0_u32; 3];
        for unit in 0..20_000 {
            let assignment = assign(&plan, &format!("rider-{unit}")).unwrap();
            assert_eq!(assignment.probability, plan.weights[assignment.arm_index]);
            counts[assignment.arm_index] += 1;
        }
        for (count, weight) in counts.iter().zip(&plan.weights) {
            // Five standard deviations of the binomial.
            let tolerance = 5.0 * (20_000.0 * weight * (1.0 - weight)).sqrt();
            assert!((f64::from(*count) - 20_000.0 * weight).abs() < tolerance, "{counts:?}");
        }
    }

    #[test]
    fn a_last_arm_that_grows_under_one_seed_keeps_its_units() {
        let step = |id: &str, share: f64| {
            let seed = Some("ramp".to_owned());
            ExperimentPlan { seed, ..ExperimentPlan::new(id, vec![1.0 - share, share]) }
        };
        let steps = [step("one", 0.01), step("two", 0.1), step("three", 0.5)];
        for unit in 0..5_000 {
            let arms: Vec<usize> =
                steps.iter().map(|plan| assign(plan, &format!("rider-{unit}")).unwrap().arm_index).collect();
            assert!(arms.is_sorted(), "{arms:?}");
        }
    }

    #[test]
    fn an_arm_without_weight_gets_nobody() {
        for unit in 0..2_000 {
            assert_eq!(assign(&plan(&[0.0, 1.0, 0.0]), &unit.to_string()).unwrap().arm_index, 1);
        }
    }

    #[test]
    fn a_unit_outside_every_range_gets_none() {
        let covered = (0..10_000)
            .filter_map(|unit| assign_within("deeper-trees", &unit.to_string(), ranges_of_weights(&[0.5, 0.5], 0.4)))
            .inspect(|assignment| assert_eq!(assignment.probability, 0.2))
            .count();
        assert!((3_700..4_300).contains(&covered), "{covered} of 10,000");
        assert_eq!(assign(&plan(&[]), "rider-1"), None);
    }

    #[test]
    fn experiments_on_disjoint_parts_of_a_namespace_share_no_unit() {
        let part = |id: &str, start, end| ExperimentPlan {
            namespace: Some(NamespacePart { id: "eta".to_owned(), start, end }),
            ..ExperimentPlan::new(id, vec![0.5, 0.5])
        };
        let (one, other) = (part("one", 0.0, 0.5), part("other", 0.5, 1.0));
        for unit in 0..2_000 {
            let unit = unit.to_string();
            assert!(assign(&one, &unit).is_some() != assign(&other, &unit).is_some());
        }
    }

    #[test]
    fn thirds_report_the_probability_that_units_see() {
        let probabilities: Vec<f64> = ranges_of_weights(&[1.0 / 3.0; 3], 1.0)
            .map(|range| f64::from(range.points_within(10_000)) / 10_000.0)
            .collect();
        assert_eq!(probabilities, [0.3334, 0.3333, 0.3333]);
    }

    proptest! {
        #[test]
        fn the_same_unit_gets_the_same_arm_and_nobody_is_left_out(unit: String, weights in exact_weights()) {
            let plan = plan(&weights);
            let assignment = assign(&plan, &unit);
            prop_assert_eq!(assignment, assign(&plan, &unit));
            prop_assert!(plan.weights[assignment.unwrap().arm_index] > 0.0);
        }

        #[test]
        fn a_rising_coverage_moves_nobody(
            unit in "[a-z0-9-]{1,20}", weights in exact_weights(), a in 0.0..=1.0_f64, b in 0.0..=1.0_f64,
        ) {
            let at = |coverage| assign(&ExperimentPlan { coverage, ..plan(&weights) }, &unit).map(|found| found.arm_index);
            if let Some(arm) = at(a.min(b)) {
                prop_assert_eq!(at(a.max(b)), Some(arm));
            }
        }

        #[test]
        fn moving_a_boundary_moves_only_the_units_between_its_old_and_new_place(
            unit in "[a-z0-9-]{1,20}", weights in exact_weights(), arm: prop::sample::Index, moved in 0.0..=1.0_f64,
        ) {
            let arm = arm.index(weights.len() - 1);
            let delta: f64 = (weights[arm + 1] * moved * 1024.0_f64).floor() / 1024.0;
            let mut grown = weights.clone();
            grown[arm] += delta;
            grown[arm + 1] -= delta;
            let boundary: f64 = weights[..=arm].iter().sum();

            let before = assign(&plan(&weights), &unit).unwrap().arm_index;
            let after = assign(&plan(&grown), &unit).unwrap().arm_index;
            let point = hash("deeper-trees", &unit, HashVersion::V2);
            if (boundary..boundary + delta).contains(&point) {
                prop_assert_eq!((before, after), (arm + 1, arm));
            } else {
                prop_assert_eq!(before, after);
            }
        }
    }
}
