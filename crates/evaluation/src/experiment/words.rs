//! A card in words.

use std::fmt::Write as _;

use domain::Randomisation;

use super::{
    AnalysisMethod, Comparison, ExperimentCard, MIN_UNITS, Metric, MetricResult, Role, Verdict,
    effect::{Direction, Effect},
};
use crate::report::{
    Language,
    language::{count, counted, say},
};

impl Metric {
    /// The name for people.
    pub fn title(self, language: Language) -> &'static str {
        let w = language.words();
        match self {
            Self::MaeS => w.metric_mae,
            Self::AsymmetricCostS => w.metric_cost,
            Self::ShareWithin120S => w.metric_within,
            Self::CancelledShare => w.metric_cancelled,
            Self::NotByEndpointShare => w.metric_not_endpoint,
        }
    }

    /// A value of it: `92 s`, `35.2 %`.
    pub fn value(self, value: f64, language: Language) -> String {
        if self.is_share() { language.percent_fine(value) } else { language.seconds(value) }
    }

    /// A difference of it: `+3.1 s`, `−0.4 points`.
    pub fn difference(self, value: f64, language: Language) -> String {
        let w = language.words();
        let (template, unit) = if self.is_share() { (w.points, 100.0) } else { (w.seconds, 1.0) };
        say!(template, n = signed(unit * value))
    }
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
    /// `−3.10 s (−4.00 to −2.20)`.
    pub fn words(&self, metric: Metric, language: Language) -> String {
        let unit = if metric.is_share() { 100.0 } else { 1.0 };
        let (low, high) = (signed(unit * self.lower), signed(unit * self.upper));
        say!(language.words().effect, difference = metric.difference(self.effect, language), low = low, high = high)
    }
}

impl ExperimentCard {
    /// One or two sentences for each treatment: what may be concluded, and why not more.
    pub fn headline(&self, language: Language) -> String {
        let w = language.words();
        let Some((first, last)) = self.hours else { return say!(w.exp_none, id = self.id) };
        if self.comparisons.is_empty() {
            let arm = self.arms.first().map_or("", |arm| arm.name.as_str());
            return say!(w.exp_alone, id = self.id, arm = arm);
        }
        let control = self.arms.first().map_or(w.exp_the_control, |arm| arm.name.as_str());
        let sentences = self.comparisons.iter().map(|comparison| self.sentence(control, comparison, language));
        sentences.collect::<Vec<_>>().join(language.gap()) + &say!(w.exp_span, span = language.span(first, last))
    }

    /// What may be concluded of one treatment.
    pub(crate) fn sentence(&self, control: &str, comparison: &Comparison, language: Language) -> String {
        let (w, arm) = (language.words(), comparison.arm.as_str());
        let primary = comparison.metrics.first();
        let effect = primary.and_then(|result| Some((result.metric, result.effect?)));
        let told = effect.map_or_else(String::new, |(metric, effect)| {
            say!(
                w.exp_told,
                metric = metric.title(language),
                effect = effect.words(metric, language),
                relative = effect.relative.map_or_else(|| "–".to_owned(), |relative| language.percent(relative)),
                control = control,
            )
        });
        match comparison.verdict {
            Verdict::SampleRatioMismatch => say!(
                w.exp_mismatch,
                units = self.units_name(language),
                p = self.sample_ratio.map_or_else(String::new, |check| p_value(check.p_value)),
            ),
            Verdict::GuardrailBreached => {
                let guardrails = comparison.metrics.iter().filter(|result| result.role == Role::Guardrail);
                let breached: Vec<String> = guardrails
                    .filter_map(|result| Some((result.metric, result.effect?)))
                    .filter(|(_, effect)| effect.direction == Direction::Worse)
                    .map(|(metric, effect)| format!("{} {}", metric.title(language), effect.words(metric, language)))
                    .collect();
                say!(w.exp_breached, arm = arm, control = control, breached = breached.join(w.clause), told = told)
            }
            Verdict::Better => say!(w.exp_better, arm = arm, control = control, told = told),
            Verdict::Worse => say!(w.exp_worse, arm = arm, control = control, told = told),
            Verdict::Undecided => say!(w.exp_undecided, arm = arm, control = control, told = told),
            Verdict::TooEarly => {
                say!(w.exp_too_early, arm = arm, control = control, why = self.too_early(primary, language))
            }
        }
    }

    fn too_early(&self, primary: Option<&MetricResult>, language: Language) -> String {
        let w = language.words();
        match primary.and_then(|result| result.not_estimable.as_deref()) {
            Some("too_few_units") => {
                say!(w.why_few_units, n = MIN_UNITS.to_string(), units = self.units_name(language))
            }
            Some("empty_arm") => w.why_no_ride.to_owned(),
            Some(_) => w.why_no_variance.to_owned(),
            None => w.why_no_figures.to_owned(),
        }
    }

    /// What is randomised.
    pub fn units_name(&self, language: Language) -> &'static str {
        match self.randomise {
            Some(Randomisation::Switchback { .. }) => language.words().unit_zones,
            _ => language.words().unit_units,
        }
    }

    /// How it was analysed, in a sentence.
    pub fn method(&self, language: Language) -> String {
        let w = language.words();
        let level = language.percent(1.0 - self.options.alpha);
        let method = match self.options.method {
            AnalysisMethod::Sequential { .. } => say!(w.method_sequential, level = level),
            AnalysisMethod::FixedHorizon => say!(w.method_fixed, level = level),
        };
        let correction = if self.options.false_discovery_rate { "Benjamini–Hochberg" } else { "Holm" };
        let mut out = say!(w.method, method = method, units = self.units_name(language), correction = correction);
        if self.hours_treated_before > 0 {
            out += &say!(w.method_treated, hours = counted(self.hours_treated_before, w.hours_before));
        }
        out
    }

    /// The sample ratio in a sentence.
    pub fn sample_ratio_words(&self, language: Language) -> String {
        let w = language.words();
        let mut out = match self.sample_ratio {
            Some(check) => {
                let template = if check.alarm { w.ratio_mismatch } else { w.ratio_planned };
                say!(template, p = p_value(check.p_value), units = counted(check.units, w.units))
            }
            None if self.randomise.is_none() => w.ratio_unknown.to_owned(),
            None => w.ratio_few.to_owned(),
        };
        if self.units_in_two_arms > 0 {
            out += &say!(w.ratio_two_arms, units = counted(self.units_in_two_arms, w.units));
        }
        out
    }

    /// The card for a terminal. Plain text, ends with a newline.
    pub fn to_text(&self, language: Language) -> String {
        let w = language.words();
        let mut out = format!("{}\n{}\n", self.id, self.headline(language));
        if self.hours.is_none() {
            return out;
        }
        let _ = writeln!(out, "{}\n{}\n", self.sample_ratio_words(language), self.method(language));
        for arm in &self.arms {
            let excluded = match arm.excluded {
                0 => String::new(),
                n => say!(w.card_excluded, n = count(n)),
            };
            let told = say!(
                w.card_arm,
                units = count(arm.units),
                unit = self.units_name(language),
                predictions = count(arm.predictions),
                rides = count(arm.joined),
                landed = arm.label_maturity.map_or_else(|| w.none.to_owned(), |share| language.percent_landed(share)),
                excluded = excluded,
            );
            let _ = writeln!(out, "{:<24} {told}", arm.name);
        }
        for comparison in &self.comparisons {
            let _ = writeln!(out, "\n{}", say!(w.card_against, arm = comparison.arm, control = self.arms[0].name));
            for result in &comparison.metrics {
                let metric = result.metric;
                let value =
                    |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| metric.value(value, language));
                let _ = writeln!(
                    out,
                    "  {:<30} {:>9} {:>9}  {}",
                    metric.title(language),
                    value(result.control),
                    value(result.treatment),
                    result.words(language)
                );
            }
        }
        out
    }
}

impl MetricResult {
    /// The effect, or why there is none.
    pub fn words(&self, language: Language) -> String {
        let w = language.words();
        let Some(effect) = &self.effect else {
            let reason = match self.not_estimable.as_deref() {
                Some("too_few_units") => w.ne_few_units,
                Some("empty_arm") => w.ne_empty,
                Some("zero_variance") => w.ne_no_variance,
                Some("zero_baseline") => w.ne_zero,
                _ => w.ne,
            };
            let interval = self.newcombe_interval.map_or_else(String::new, |[low, high]| {
                say!(w.newcombe, low = signed(100.0 * low), high = signed(100.0 * high))
            });
            return format!("{reason}{interval}");
        };
        let p = p_value(effect.adjusted_p_value.unwrap_or(effect.p_value));
        let direction = match effect.direction {
            Direction::Better => w.dir_better,
            Direction::Worse => w.dir_worse,
            Direction::Unclear => "",
        };
        say!(w.effect_p, effect = effect.words(self.metric, language), p = p, direction = direction)
    }
}

fn p_value(p: f64) -> String {
    if p < 0.0001 { "0.0000…".to_owned() } else { format!("{p:.4}") }
}
