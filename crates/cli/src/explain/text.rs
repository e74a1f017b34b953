//! Receipts and summaries as text.

use std::fmt::Write;

use domain::Tier;
use recompute::{Audit, Difference};

use super::{
    Summary,
    receipt::{Rebuilt, Receipt},
};
use crate::terminal::{bad, good, grouped, strong};

/// Differences that are shown; `--json` has them all.
const MAX_LISTED: usize = 20;

pub(super) fn receipt(receipt: &Receipt) -> String {
    let (decision, record) = (&receipt.decision, &receipt.record);
    let mut text = format!("{} {} of {}\n", strong("prediction"), receipt.prediction_id, receipt.model);
    let mut line = |name: &str, value: String| _ = writeln!(text, "  {name:12} {value}");
    line("asked", format!("{}, answered {}", decision.requested_at, decision.answered_at));
    let timings = decision.timings;
    line(
        "took",
        format!("{} µs: features {}, endpoints {}", timings.total_us, timings.transform_us, timings.endpoint_us),
    );
    let created = decision.release_created_at.map(|at| format!(" of {at}")).unwrap_or_default();
    line("release", format!("{}{created}", decision.release_id));
    let assignment = &decision.assignment;
    let experiment = match &assignment.experiment_id {
        Some(id) => format!(" of experiment {id}, probability {}", assignment.probability),
        None => ", the only one".to_owned(),
    };
    let unit = assignment.randomised_unit.clone().or_else(|| decision.unit_id.as_ref().map(ToString::to_string));
    let unit = unit.map(|unit| format!(", by unit {unit}")).unwrap_or_default();
    let excluded = assignment.excluded.map(|why| format!(", not counted ({})", why.as_str())).unwrap_or_default();
    line("arm", format!("{}{experiment}{unit}{excluded}", assignment.arm));
    let reason = decision.tier_reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let by = if decision.tier == Tier::Fallback { "asked for" } else { "by" };
    let (endpoint, variant, version) = (&decision.endpoint, &decision.variant, &decision.model_version);
    line("answered by", format!("{}{reason}; {by} {endpoint}/{variant}, model {version}", decision.tier.as_str()));
    match &receipt.model_version {
        None => line("model", "not registered: nothing is known of what it was made of".to_owned()),
        Some(registered) => {
            let lineage = &registered.lineage;
            line("model", format!("trained {}, {}", registered.trained_at, registered.artefact));
            let commit = lineage.code.commit.as_ref().map(|commit| format!(", commit {commit}")).unwrap_or_default();
            line("code", format!("{}{commit}", lineage.code.address));
            line("image", lineage.image.clone());
            let parameters = lineage.hyperparameters.iter().map(|(name, value)| format!("{name}={value}"));
            line("parameters", parameters.collect::<Vec<_>>().join(" "));
            let dataset = &lineage.dataset;
            line("data", format!("{} {}", dataset.name, dataset.address));
        }
    }
    if let Some(data) = &receipt.data {
        let as_of = data.as_of.map(|as_of| format!(" as of {as_of}")).unwrap_or_default();
        line("", format!("{} rows from {}{as_of}, job {}", grouped(data.rows), data.source, data.job));
        let query = data.query.lines().map(str::trim).filter(|line| !line.starts_with("--"));
        line("query", query.collect::<Vec<_>>().join(" "));
    }
    line("spec", receipt.features.spec_hash.clone());
    for (name, hash) in &receipt.features.lookups {
        line("", format!("lookup table {name} {hash}"));
    }
    for candidate in &record.candidates {
        let shown = candidate.shown.map(|shown| format!(", shown {shown:.1}")).unwrap_or_default();
        let naive = candidate.fallback;
        line("said", format!("{} {:.1}{shown} (naive {naive:.1})", candidate.candidate_id, candidate.prediction));
    }
    match &receipt.outcome {
        None => line("outcome", "none yet".to_owned()),
        Some(outcome) => line("outcome", serde_json::to_string(outcome).unwrap_or_default()),
    }
    text += &rebuilt("features", &receipt.features.rebuilt);
    if !receipt.features.personal.is_empty() {
        _ = writeln!(text, "  left out, of personal inputs: {}", receipt.features.personal.join(", "));
    }
    text += &rebuilt("answer", &receipt.answer);
    text.trim_end().to_owned()
}

fn rebuilt(what: &str, rebuilt: &Rebuilt) -> String {
    match rebuilt {
        Rebuilt::BitEqual => format!("{what} made again: {}\n", good("bit-equal")),
        Rebuilt::No { why } => format!("{what} not made again: {why}\n"),
        Rebuilt::Differs { differences } => {
            format!("{what} made again: {}\n{}", bad("not the same"), listed(differences))
        }
    }
}

fn listed(differences: &[Difference]) -> String {
    let number = |number: Option<f64>| number.map_or_else(|| "NULL".to_owned(), |number| number.to_string());
    let mut text = String::new();
    for difference in differences.iter().take(MAX_LISTED) {
        let (archived, recomputed) = (number(difference.archived), number(difference.recomputed));
        let Difference { candidate_id, name, .. } = difference;
        _ = writeln!(text, "  {candidate_id}  {name}: archived {archived}, made again {recomputed}");
    }
    if differences.len() > MAX_LISTED {
        _ = writeln!(text, "  … and {} more; --json lists them all", differences.len() - MAX_LISTED);
    }
    text
}

pub(super) fn summary(summary: &Summary) -> String {
    let Summary { predictions, bit_equal, features, answers } = summary;
    let told = format!("{} of {} predictions are bit-equal", grouped(*bit_equal), grouped(*predictions));
    let mut text = format!("{}\n", if bit_equal == predictions { good(told) } else { strong(told) });
    text += &audit("features", features);
    text += &audit("answers", answers);
    text.trim_end().to_owned()
}

/// One audit, as lines.
pub(crate) fn audit(what: &str, audit: &Audit) -> String {
    let (equal, records) = (grouped(audit.equal), grouped(audit.records));
    let mut text = format!("{what}: {equal} of {records} bit-equal, {} rows\n", grouped(audit.rows));
    for (name, skew) in &audit.differing {
        let largest =
            skew.largest.map_or_else(|| "NULL on one side".to_owned(), |largest| format!("up to {largest:e}"));
        let (name, rows, example) = (bad(name), grouped(skew.rows), skew.example);
        _ = writeln!(text, "  {name}: {rows} rows differ, {largest}; such as {example}");
    }
    for (reason, records) in &audit.not_recomputed {
        _ = writeln!(text, "  {} not made again: {reason}", grouped(*records));
    }
    if !audit.personal.is_empty() {
        let names: Vec<&str> = audit.personal.iter().map(String::as_str).collect();
        _ = writeln!(text, "  left out, of personal inputs: {}", names.join(", "));
    }
    text
}
