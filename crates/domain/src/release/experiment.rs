use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Arm;
use crate::UnitId;

/// An experiment over the release's arms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentPlan {
    /// The experiment's id; also the salt of the assignment, so that experiments are independent of each other.
    pub id: String,
    /// The salt in place of the id, where units are to keep their arms from one experiment to the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<String>,
    /// The weight of each arm, in the release's order, summing to 1.
    pub weights: Vec<f64>,
    /// The share of the units that take part, 0–1. Each arm's range of buckets grows from its own beginning, so raising
    /// it moves nobody who was assigned already. Units outside are answered by the first arm and do not count.
    #[serde(default = "everybody", skip_serializing_if = "is_everybody")]
    pub coverage: f64,
    /// What is randomised.
    #[serde(default, skip_serializing_if = "Randomisation::is_default")]
    pub randomise: Randomisation,
    /// The part of a namespace that the experiment owns: experiments on disjoint parts exclude each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<NamespacePart>,
    /// Units that always get one arm (by its name), for tests by hand. Their records do not count.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub forced: BTreeMap<UnitId, String>,
}

fn everybody() -> f64 {
    1.0
}

// Serde passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_everybody(coverage: &f64) -> bool {
    *coverage == 1.0
}

/// What an experiment randomises.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Randomisation {
    /// The request's unit (the rider): each sees one arm as long as the experiment runs.
    #[default]
    Unit,
    /// A zone during a time slot: all requests in it see one arm. For effects that riders have on each other, since cars
    /// are shared.
    Switchback {
        /// The slot's length in seconds; slots begin at multiples of it since 1970, UTC.
        slot_s: u32,
        /// The first seconds of a slot whose records do not count, since cars are still on the way under the slot before.
        #[serde(default)]
        carry_over_s: u32,
        /// The request's input that names the zone. All zones switch together where absent. A request that does not say its
        /// zone takes no part: the first arm answers it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone_input: Option<String>,
    },
}

impl Randomisation {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The request's input that names a switchback's zone, where there is one.
    pub fn zone_input(&self) -> Option<&str> {
        match self {
            Self::Unit => None,
            Self::Switchback { zone_input, .. } => zone_input.as_deref(),
        }
    }
}

/// The part `[start, end)` of a namespace's [0, 1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamespacePart {
    /// The namespace's id.
    pub id: String,
    /// Where the part begins, 0–1.
    pub start: f64,
    /// Where the part ends, 0–1.
    pub end: f64,
}

impl ExperimentPlan {
    /// An experiment on all units, with these weights.
    pub fn new(id: impl Into<String>, weights: Vec<f64>) -> Self {
        Self {
            id: id.into(),
            seed: None,
            weights,
            coverage: 1.0,
            randomise: Randomisation::Unit,
            namespace: None,
            forced: BTreeMap::new(),
        }
    }

    /// What is wrong with it, over these arms.
    pub(super) fn problem(&self, arms: &[Arm]) -> Option<String> {
        let share = |value: f64| (0.0..=1.0).contains(&value);
        if self.id.is_empty() {
            return Some("the experiment has no id".to_owned());
        }
        if self.weights.len() != arms.len() {
            return Some(format!("{} weights for {} arms", self.weights.len(), arms.len()));
        }
        if !self.weights.iter().copied().all(share) {
            return Some("a weight is outside 0–1".to_owned());
        }
        let sum: f64 = self.weights.iter().sum();
        if (sum - 1.0).abs() > 1e-9 {
            return Some(format!("the weights sum to {sum}, not 1"));
        }
        if !share(self.coverage) {
            return Some(format!("the experiment's coverage is {}, outside 0–1", self.coverage));
        }
        if let Some(part) = &self.namespace
            && !(share(part.start) && share(part.end) && part.start < part.end)
        {
            return Some(format!("the part of namespace `{}` is not within 0–1, or empty", part.id));
        }
        if let Some((unit, arm)) = self.forced.iter().find(|(_, forced)| arms.iter().all(|arm| arm.name != **forced)) {
            return Some(format!("unit `{unit}` is forced into arm `{arm}`, which there is not"));
        }
        // A slot of 0 s is refused with it.
        if let Randomisation::Switchback { slot_s, carry_over_s, .. } = &self.randomise
            && carry_over_s >= slot_s
        {
            return Some(format!("a carry-over of {carry_over_s} s leaves nothing of slots of {slot_s} s"));
        }
        None
    }
}
