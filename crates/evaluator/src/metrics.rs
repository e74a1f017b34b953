//! CloudWatch metrics of a report: what the template's alarms look at.

use cloud::emf::{self, Metric};
use domain::ModelName;
use evaluation::{
    drift::{LABEL, ModelDrift},
    experiment::{ExperimentCard, Verdict},
    report::ReportData,
};
use jiff::Timestamp;

use crate::act::Actions;

const NAMESPACE: &str = "Mannen/Evaluator";

/// One line for the model, one for each of its model versions that has a held-out baseline, one for each feature that is archived
/// otherwise than it is computed again.
pub(crate) fn lines(model: &ModelName, report: &ReportData, actions: &Actions, now: Timestamp) -> Vec<String> {
    let at_ms = now.as_millisecond();
    let of_model = emf::line(NAMESPACE, at_ms, &[("model", model.as_str())], &of_model(report, actions));
    let of_versions = report.models.iter().filter_map(|drift| {
        let dimensions = [("model", model.as_str()), ("model_version", drift.model_version.as_str())];
        emf::line(NAMESPACE, at_ms, &dimensions, &of_version(drift))
    });
    let of_features = actions.skew.iter().flat_map(|audit| &audit.differing).filter_map(|(feature, skew)| {
        let dimensions = [("model", model.as_str()), ("feature", feature.as_str())];
        emf::line(NAMESPACE, at_ms, &dimensions, &[("skewed_rows", "Count", skew.rows as f64)])
    });
    of_model.into_iter().chain(of_versions).chain(of_features).collect()
}

fn of_model(report: &ReportData, actions: &Actions) -> Vec<Metric> {
    let all = &report.all;
    let mut metrics = vec![("predictions", "Count", all.counts.predictions as f64)];
    if let Some(maturity) = all.label_maturity {
        metrics.push(("label_maturity", "None", maturity));
    }
    if let Some(figures) = &all.answer {
        metrics.push(("mae_s", "Seconds", figures.mae_s));
        metrics.push(("bias_s", "Seconds", figures.bias_s));
        metrics.push(("share_within_120_s", "None", figures.share_within_120_s));
    }
    if let Some(improvement) = &all.improvement {
        metrics.push(("better_than_naive_share", "None", improvement.share));
        metrics.push(("clearly_worse_than_naive", "Count", count(improvement.is_clear() && improvement.share < 0.0)));
    }
    if all.counts.predictions > 0 {
        let fallback = report.by_tier.iter().find(|group| group.name == domain::Tier::Fallback.as_str());
        let fallback = fallback.map_or(0, |group| group.summary.counts.predictions);
        metrics.push(("fallback_share", "None", fallback as f64 / all.counts.predictions as f64));
    }
    if let Some(intervals) = &all.interval {
        metrics.push(("interval_coverage", "None", intervals.coverage));
        let promised = report.facts.release.as_ref().and_then(|release| release.promised_interval);
        if let Some(promised) = promised {
            // Clearly: chance would not miss so many, with 95 % confidence.
            metrics.push(("coverage_shortfall", "Count", count(intervals.coverage_interval[1] < promised)));
        }
    }
    if let Some(drift) = &report.drift {
        let features = drift.drifted().into_iter().filter(|name| *name != LABEL).count();
        metrics.push(("drifting_features", "Count", features as f64));
        metrics.push(("label_drift", "Count", count(drift.drifted().contains(&LABEL))));
        metrics.push(("dataset_drift", "Count", count(drift.dataset_drift)));
    }
    if !report.models.is_empty() {
        metrics.push(("concept_drift", "Count", count(report.models.iter().any(ModelDrift::concept_drift))));
    }
    if !report.experiments.is_empty() {
        let with = |verdict: Verdict| report.experiments.iter().filter(|card| has(card, verdict)).count() as f64;
        metrics.push(("guardrail_breaches", "Count", with(Verdict::GuardrailBreached)));
        metrics.push(("sample_ratio_mismatches", "Count", with(Verdict::SampleRatioMismatch)));
    }
    if let Some(audit) = &actions.skew {
        let not_recomputed: u64 = audit.not_recomputed.values().sum();
        metrics.push(("audited_records", "Count", audit.records as f64));
        metrics.push(("skewed_features", "Count", audit.differing.len() as f64));
        metrics.push(("not_recomputed", "Count", not_recomputed as f64));
    }
    metrics.push(("rollbacks", "Count", count(actions.rolled_back.is_some())));
    metrics.push(("action_failures", "Count", actions.failed.len() as f64));
    metrics
}

fn of_version(drift: &ModelDrift) -> Vec<Metric> {
    vec![
        ("mae_s", "Seconds", drift.mae_s),
        ("held_out_mae_s", "Seconds", drift.held_out_mae_s),
        ("concept_drift", "Count", count(drift.concept_drift())),
        ("prediction_drift", "Count", count(!drift.prediction.reasons.is_empty())),
    ]
}

fn has(card: &ExperimentCard, verdict: Verdict) -> bool {
    card.comparisons.iter().any(|comparison| comparison.verdict == verdict)
}

fn count(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

#[cfg(test)]
mod tests {
    use evaluation::{
        IntervalFigures,
        report::{ReleaseFacts, ReportFacts},
    };
    use serde_json::Value;

    use super::*;

    fn line(promised: Option<f64>, coverage_interval: [f64; 2]) -> Value {
        let release = ReleaseFacts {
            release_id: "0".repeat(64).parse().unwrap(),
            created_at: Timestamp::UNIX_EPOCH,
            spec_hash: String::new(),
            promised_interval: promised,
            experiment_id: None,
            randomise: None,
            keeps_arms: false,
            arms: Vec::new(),
        };
        let model: ModelName = "pickup-eta".parse().unwrap();
        let facts = ReportFacts { model: model.clone(), generated_at: Timestamp::UNIX_EPOCH, release: Some(release) };
        let mut report = ReportData::new(facts, &[]).unwrap();
        report.all.interval = Some(IntervalFigures {
            n: 100,
            coverage: 0.75,
            coverage_interval,
            share_below: 0.1,
            share_above: 0.15,
            mean_width_s: 60.0,
            mean_outside_s: 5.0,
        });
        serde_json::from_str(&lines(&model, &report, &Actions::default(), Timestamp::UNIX_EPOCH)[0]).unwrap()
    }

    #[test]
    fn coverage_falls_short_where_chance_does_not_explain_it() {
        assert_eq!(line(Some(0.8), [0.66, 0.79])["coverage_shortfall"], 1.0);
        assert_eq!(line(Some(0.8), [0.66, 0.82])["coverage_shortfall"], 0.0);
        let unpromised = line(None, [0.66, 0.79]);
        assert_eq!((&unpromised["interval_coverage"], unpromised.get("coverage_shortfall")), (&0.75.into(), None));
    }
}
