use serde::{Deserialize, Serialize};

use super::{Arm, ExperimentPlan, Release};

/// How traffic goes over to a new model, step by step, by evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RampPlan {
    /// The challenger's share of the traffic at each step, rising, 0–1. After the last, the challenger answers alone.
    pub steps: Vec<f64>,
    /// The share of the control's primary metric by which the challenger may be worse: a step is left where the upper end of
    /// the difference's interval lies below. 0 asks for a proof that it is better.
    pub margin: f64,
    /// No step is left with fewer units of the challenger's arm.
    pub min_units: u64,
}

impl Default for RampPlan {
    fn default() -> Self {
        Self { steps: vec![0.01, 0.1, 0.5], margin: 0.01, min_units: 100 }
    }
}

impl RampPlan {
    /// What is wrong with it, where something is.
    pub fn problem(&self) -> Option<String> {
        let rise = self.steps.windows(2).all(|pair| pair[0] < pair[1]);
        if self.steps.is_empty() || !rise || self.steps.iter().any(|step| !(0.0..1.0).contains(step) || *step == 0.0) {
            return Some(
                "ramp.steps must be rising shares between 0 and 1: after the last, all traffic goes over".to_owned(),
            );
        }
        (!self.margin.is_finite() || self.margin < 0.0).then(|| "ramp.margin must be 0 or more".to_owned())
    }
}

/// A ramp under way. Its two arms are the control, first, and the challenger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    /// Salts the split at every step, so that who has the challenger keeps it when the next step comes. The steps'
    /// experiments are named after it.
    pub id: String,
    /// The plan.
    pub plan: RampPlan,
    /// The step that is in force, from 0.
    pub step: usize,
}

/// The name of the arm that a ramp is measured against.
const CONTROL: &str = "control";
/// The name of the new model's arm.
const CHALLENGER: &str = "challenger";

impl Ramp {
    fn experiment(&self) -> Option<ExperimentPlan> {
        let share = *self.plan.steps.get(self.step)?;
        let mut experiment =
            ExperimentPlan::new(format!("{}-step-{}", self.id, self.step + 1), vec![1.0 - share, share]);
        experiment.seed = Some(self.id.clone());
        Some(experiment)
    }

    pub(super) fn problem(&self, release: &Release) -> Option<String> {
        if let Some(problem) = self.plan.problem() {
            return Some(problem);
        }
        if release.arms.len() != 2 {
            return Some(format!("a ramp has two arms, not {}", release.arms.len()));
        }
        let expected = self.experiment();
        if expected.is_none() {
            return Some(format!("the ramp has {} steps, and no step {}", self.plan.steps.len(), self.step));
        }
        (expected != release.experiment).then(|| "the experiment is not that of the ramp's step".to_owned())
    }
}

impl Release {
    /// This release with `challenger` beside its control: the first step of a ramp.
    ///
    /// Its first arm is the control; an experiment that it had ends. Shadows that are what now answers are no longer needed.
    pub fn with_ramp(&self, challenger: Arm, id: impl Into<String>, plan: RampPlan) -> Option<Self> {
        let ramp = Ramp { id: id.into(), plan, step: 0 };
        let control = Arm { name: CONTROL.to_owned(), ..self.arms.first()?.clone() };
        let challenger = Arm { name: CHALLENGER.to_owned(), ..challenger };
        let shadows = self.shadows.iter().filter(|shadow| shadow.model_version != challenger.model_version);
        Some(Self {
            experiment: Some(ramp.experiment()?),
            shadows: shadows.cloned().collect(),
            arms: vec![control, challenger],
            ramp: Some(ramp),
            auto_rollback: true,
            ..self.clone()
        })
    }

    /// The next step of the ramp; after the last, the challenger alone. `None` where no ramp is under way.
    pub fn next_step(&self) -> Option<Self> {
        let ramp = self.ramp.as_ref()?;
        let next = Ramp { step: ramp.step + 1, ..ramp.clone() };
        if let Some(experiment) = next.experiment() {
            return Some(Self { experiment: Some(experiment), ramp: Some(next), ..self.clone() });
        }
        let champion = Arm { name: CONTROL.to_owned(), ..self.arms.get(1)?.clone() };
        // A correction was learnt from what the model before said.
        Some(Self {
            experiment: None,
            ramp: None,
            auto_rollback: false,
            correction: None,
            arms: vec![champion],
            ..self.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FeatureSpecSource, Limits};

    fn arm(name: &str) -> Arm {
        Arm {
            name: name.to_owned(),
            endpoint: "eta".to_owned(),
            variant: name.to_owned(),
            model_version: format!("{name}-1"),
        }
    }

    fn release() -> Release {
        let spec = FeatureSpecSource { hash: "0".repeat(64), toml: String::new() };
        let limits = Limits { max_candidates: 1, default_deadline_ms: 100 };
        Release::new("eta".parse().unwrap(), jiff::Timestamp::UNIX_EPOCH, spec, vec![arm("old")], limits)
    }

    #[test]
    fn a_ramp_goes_up_step_by_step_and_ends_with_the_challenger_alone() {
        let plan = RampPlan { steps: vec![0.1, 0.5], ..RampPlan::default() };
        let mut release = release().with_ramp(arm("new"), "new-1", plan).unwrap();
        let mut shares = Vec::new();
        while let Some(experiment) = &release.experiment {
            assert_eq!(release.validate(), Ok(()));
            assert_eq!(experiment.seed.as_deref(), Some("new-1"));
            assert!(release.auto_rollback);
            shares.push((experiment.id.clone(), experiment.weights[1]));
            release = release.next_step().unwrap();
        }
        assert_eq!(shares, [("new-1-step-1".to_owned(), 0.1), ("new-1-step-2".to_owned(), 0.5)]);
        assert_eq!(release.validate(), Ok(()));
        assert_eq!((release.arms.len(), release.arms[0].model_version.as_str()), (1, "new-1"));
        assert_eq!(release.next_step(), None);
    }

    #[test]
    fn a_ramp_that_is_not_what_it_says_is_refused() {
        let good = release().with_ramp(arm("new"), "new-1", RampPlan::default()).unwrap();
        assert_eq!(good.validate(), Ok(()));
        let mut other = good.clone();
        other.ramp.as_mut().unwrap().step = 1;
        assert!(other.validate().unwrap_err().to_string().contains("not that of the ramp's step"));
        other.ramp.as_mut().unwrap().step = 3;
        assert!(other.validate().is_err());
        for steps in [vec![], vec![0.5, 0.1], vec![0.5, 1.0], vec![0.0, 0.5]] {
            assert!(RampPlan { steps, ..RampPlan::default() }.problem().is_some());
        }
        assert!(RampPlan { margin: f64::NAN, ..RampPlan::default() }.problem().is_some());
    }
}
