//! A card in words.

use std::fmt::Write as _;

use domain::Randomisation;

use super::{
    AnalysisMethod, Comparison, ExperimentCard, MIN_UNITS, Metric, MetricResult, Verdict,
    effect::{Direction, Effect},
};
use crate::report::words::{count, counted, number, percent, percent_landed, span};

impl Metric {
    /// The name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::MaeS => "Mean absolute error",
            Self::AsymmetricCostS => "Cost, late 3 : early 1",
            Self::ShareWithin120S => "Within 2 minutes",
            Self::CancelledShare => "Cancelled",
            Self::NotByEndpointShare => "Not answered by the endpoint",
        }
    }

    /// A value of it: `92 s`, `35.2 %`.
    pub fn value(self, value: f64) -> String {
        if self.is_share() { share(value) } else { format!("{} s", number(value)) }
    }

    /// A difference of it: `+3.1 s`, `−0.4 points`.
    pub fn difference(self, value: f64) -> String {
        if self.is_share() { format!("{} points", signed(100.0 * value)) } else { format!("{} s", signed(value)) }
    }
}

/// With one decimal, since shares of experiments differ by little.
fn share(value: f64) -> String {
    format!("{:.1} %", 100.0 * value)
}

fn signed(value: f64) -> String {
    let text = format!("{:.2}", value.abs());
    match value {
        _ if text == "0.00" => text,
        value if value < 0.0 => format!("−{text}"),
        _ => format!("+{text}"),
    }
}

impl Effect {
    /// `−3.10 s (−4.00 to −2.20 s)`.
    pub fn words(&self, metric: Metric) -> String {
        let unit = if metric.is_share() { 100.0 } else { 1.0 };
        format!("{} ({} to {})", metric.difference(self.effect), signed(unit * self.lower), signed(unit * self.upper))
    }
}

impl ExperimentCard {
    /// One or two sentences for each treatment: what may be concluded, and why not more.
    pub fn headline(&self) -> String {
        let Some((first, last)) = self.hours else {
            return format!("Experiment {}: no prediction of it in this window.", self.id);
        };
        if self.comparisons.is_empty() {
            let arm = self.arms.first().map_or("", |arm| arm.name.as_str());
            return format!("Experiment {}: only {arm} has predictions, so there is nothing to compare.", self.id);
        }
        let control = self.arms.first().map_or("the control", |arm| arm.name.as_str());
        let mut out = String::new();
        for comparison in &self.comparisons {
            let space = if out.is_empty() { "" } else { " " };
            let _ = write!(out, "{space}{}", self.sentence(control, comparison));
        }
        let _ = write!(out, " {}.", span(first, last));
        out
    }

    fn sentence(&self, control: &str, comparison: &Comparison) -> String {
        let arm = &comparison.arm;
        let primary = comparison.metrics.first();
        let effect = primary.and_then(|result| Some((result.metric, result.effect?)));
        let told = effect.map_or_else(String::new, |(metric, effect)| {
            format!(" {}: {}, {} of {control}’s.", metric.title(), effect.words(metric), percent(effect.relative))
        });
        match comparison.verdict {
            Verdict::SampleRatioMismatch => format!(
                "Do not trust this experiment: the arms did not get the shares of {} that they were promised (p = {}). Look for what loses units of one arm before reading any effect.",
                self.units_name(),
                self.sample_ratio.map_or_else(String::new, |check| p_value(check.p_value)),
            ),
            Verdict::GuardrailBreached => {
                let breached: Vec<String> = comparison
                    .metrics
                    .iter()
                    .filter(|result| result.role == super::Role::Guardrail)
                    .filter_map(|result| Some((result.metric, result.effect?)))
                    .filter(|(_, effect)| effect.direction == Direction::Worse)
                    .map(|(metric, effect)| format!("{} {}", metric.title(), effect.words(metric)))
                    .collect();
                format!("Stop {arm}: a guardrail is worse than with {control} ({}).{told}", breached.join("; "))
            }
            Verdict::Better => format!("{arm} is better than {control}.{told}"),
            Verdict::Worse => format!("{arm} is worse than {control}.{told}"),
            Verdict::Undecided => format!("No difference between {arm} and {control} is proved yet.{told}"),
            Verdict::TooEarly => format!("Too early to compare {arm} with {control}: {}.", self.too_early(primary)),
        }
    }

    fn too_early(&self, primary: Option<&MetricResult>) -> String {
        match primary.and_then(|result| result.not_estimable.as_deref()) {
            Some("too_few_units") => format!("an arm has fewer than {MIN_UNITS} {}", self.units_name()),
            Some("empty_arm") => "an arm has no ride with an error yet".to_owned(),
            Some(_) => "the errors of an arm do not vary".to_owned(),
            None => "there are no figures".to_owned(),
        }
    }

    /// What is randomised.
    pub fn units_name(&self) -> &'static str {
        match self.randomise {
            Some(Randomisation::Switchback { .. }) => "zones in time slots",
            _ => "units",
        }
    }

    /// How it was analysed, in a sentence.
    pub fn method(&self) -> String {
        let level = percent(1.0 - self.options.alpha);
        let method = match self.options.method {
            AnalysisMethod::Sequential { .. } => {
                format!("{level} confidence sequences: one may look, and stop, at any time")
            }
            AnalysisMethod::FixedHorizon => {
                format!("{level} intervals of one look at an end that was fixed beforehand; looking earlier voids them")
            }
        };
        let correction = if self.options.false_discovery_rate { "Benjamini–Hochberg" } else { "Holm" };
        format!(
            "{method}. Clustered at what was randomised ({}); p-values adjusted by {correction}.",
            self.units_name()
        )
    }

    /// The sample ratio in a sentence.
    pub fn sample_ratio_words(&self) -> String {
        let mut out = match self.sample_ratio {
            Some(check) => format!(
                "Sample ratio {}: p = {} on {}.",
                if check.alarm { "MISMATCH" } else { "as planned" },
                p_value(check.p_value),
                counted(check.units, "unit", "units")
            ),
            None if self.randomise.is_none() => {
                "Sample ratio not tested: the release with the planned shares is not in force.".to_owned()
            }
            None => "Sample ratio not tested: too few units.".to_owned(),
        };
        if self.units_in_two_arms > 0 {
            let _ = write!(
                out,
                " {} met two arms: the experiment was changed while it ran, or units are not stable.",
                counted(self.units_in_two_arms, "unit", "units")
            );
        }
        out
    }

    /// The card for a terminal. Plain text, ends with a newline.
    pub fn to_text(&self) -> String {
        let mut out = format!("{}\n{}\n", self.id, self.headline());
        if self.hours.is_none() {
            return out;
        }
        let _ = writeln!(out, "{}\n{}\n", self.sample_ratio_words(), self.method());
        for arm in &self.arms {
            let excluded = match arm.excluded {
                0 => String::new(),
                n => format!(", {} excluded", count(n)),
            };
            let _ = writeln!(
                out,
                "{:<24} {} {}, {} predictions, {} rides, {} of labels landed{excluded}",
                arm.name,
                count(arm.units),
                self.units_name(),
                count(arm.predictions),
                count(arm.joined),
                arm.label_maturity.map_or_else(|| "none".to_owned(), percent_landed),
            );
        }
        for comparison in &self.comparisons {
            let _ = writeln!(out, "\n{} against {}", comparison.arm, self.arms[0].name);
            for result in &comparison.metrics {
                let metric = result.metric;
                let value = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| metric.value(value));
                let _ = writeln!(
                    out,
                    "  {:<30} {:>9} {:>9}  {}",
                    metric.title(),
                    value(result.control),
                    value(result.treatment),
                    result.words()
                );
            }
        }
        out
    }
}

impl MetricResult {
    /// The effect, or why there is none.
    pub fn words(&self) -> String {
        let Some(effect) = &self.effect else {
            let reason = match self.not_estimable.as_deref() {
                Some("too_few_units") => "not estimable: too few units",
                Some("empty_arm") => "not estimable: an arm has no row",
                Some("zero_variance") => "not estimable: an arm does not vary",
                Some("zero_baseline") => "not estimable: the control is zero",
                _ => "not estimable",
            };
            let interval = self.newcombe_interval.map_or_else(String::new, |[low, high]| {
                format!(" (Newcombe {} to {} points)", signed(100.0 * low), signed(100.0 * high))
            });
            return format!("{reason}{interval}");
        };
        let p = effect.adjusted_p_value.unwrap_or(effect.p_value);
        let direction = match effect.direction {
            Direction::Better => ", better",
            Direction::Worse => ", worse",
            Direction::Unclear => "",
        };
        format!("{}, p = {}{direction}", effect.words(self.metric), p_value(p))
    }
}

fn p_value(p: f64) -> String {
    if p < 0.0001 { "0.0000…".to_owned() } else { format!("{p:.4}") }
}
