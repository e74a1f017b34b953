//! Whether a ramp goes on to its next step, stays, or goes back: from the step's own experiment.

use domain::RampPlan;
use serde::{Deserialize, Serialize};

use super::{Direction, ExperimentCard, MetricResult, Role, Verdict};
use crate::report::Language;

/// What follows from a step's evidence, with the reason in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", content = "reason", rename_all = "snake_case")]
pub enum RampDecision {
    /// Nothing can be said yet.
    Hold(String),
    /// The challenger is better, or no worse than the plan allows: its share may rise.
    Advance(String),
    /// The challenger does harm.
    Back(String),
}

/// The history is read by programs and people of all tongues.
const ENGLISH: Language = Language::English;

impl RampDecision {
    /// From the card of a step's experiment, whose first arm is the control and whose second is the challenger.
    ///
    /// Intervals are confidence sequences, so that looking every hour does not count against them. The challenger's share rises
    /// where the interval of the primary metric's difference lies below the margin: a test of non-inferiority at the card's α.
    pub fn of(card: &ExperimentCard, plan: &RampPlan) -> Self {
        let Some(comparison) = card.comparisons.first() else {
            return Self::Hold("no prediction of the step is evaluated yet".to_owned());
        };
        let words = |result: &MetricResult| format!("{}: {}", result.metric.title(ENGLISH), result.words(ENGLISH));
        let worse = |role: Role| -> Vec<String> {
            let of_role = comparison.metrics.iter().filter(|result| result.role == role);
            of_role
                .filter(|result| result.effect.is_some_and(|effect| effect.direction == Direction::Worse))
                .map(words)
                .collect()
        };
        match comparison.verdict {
            Verdict::SampleRatioMismatch => {
                return Self::Hold("the arms did not get the shares of units that they were promised".to_owned());
            }
            Verdict::GuardrailBreached => return Self::Back(worse(Role::Guardrail).join("; ")),
            Verdict::Worse => return Self::Back(worse(Role::Primary).join("; ")),
            Verdict::TooEarly | Verdict::Better | Verdict::Undecided => {}
        }
        let units = card.arms.get(1).map_or(0, |arm| arm.units);
        if units < plan.min_units {
            return Self::Hold(format!("{units} units have the challenger; {} are needed", plan.min_units));
        }
        let primary = comparison.metrics.iter().find(|result| result.role == Role::Primary);
        let Some((result, effect)) = primary.and_then(|result| Some((result, result.effect?))) else {
            return Self::Hold("the primary metric cannot be estimated yet".to_owned());
        };
        let may = plan.margin * result.control.unwrap_or_default().abs();
        // The end of the interval on the bad side.
        let bad_end = if result.metric.higher_is_better() { -effect.lower } else { effect.upper };
        if bad_end <= may {
            Self::Advance(words(result))
        } else {
            Self::Hold(format!("{}; at most {may:+.2} is allowed", words(result)))
        }
    }
}
