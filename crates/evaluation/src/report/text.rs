use std::fmt::Write as _;

use super::{
    data::{Group, ReportData},
    words::{count, instant, number, percent, percent_landed, span},
};
use crate::Summary;

pub(super) const COLUMNS: [&str; 9] =
    ["rides", "MAE s", "naive s", "better", "P90 s", "bias s", "±2 min", "late", "labels"];

/// A short summary for a terminal: the headline, and a line per group. Plain text, no colours, ends with a newline.
pub fn render_text(data: &ReportData) -> String {
    let mut out = String::new();
    let window = data.window.map_or_else(|| "no hours".to_owned(), |(first, last)| span(first, last));
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}  {window}", data.facts.model);
    let _ = writeln!(out, "{}", data.headline);
    let groups = [("model version", &data.by_model_version), ("arm", &data.by_arm), ("tier", &data.by_tier)];
    if data.no_figures.is_none() {
        let mut rows = vec![("all".to_owned(), &data.all)];
        for (kind, groups) in groups {
            rows.extend(groups.iter().map(|Group { name, summary }| (format!("{kind} {}", plain(name)), summary)));
        }
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let _ = write!(out, "\n{:width$}", "");
        for column in COLUMNS {
            let _ = write!(out, "  {column:>8}");
        }
        out.push('\n');
        for (name, summary) in rows {
            let _ = write!(out, "{name:width$}");
            for cell in cells(summary) {
                let _ = write!(out, "  {cell:>8}");
            }
            out.push('\n');
        }
    }
    for card in &data.experiments {
        let _ = writeln!(out, "\nExperiment {}: {}", plain(&card.id), plain(&card.headline()));
    }
    if let Some(report) = &data.drift {
        let _ = writeln!(out, "\n{}", plain(&report.headline()));
    }
    let counts = &data.all.counts;
    let parts = [
        ("predictions", counts.predictions),
        ("candidates", counts.candidates),
        ("joined", counts.joined),
        ("cancelled", counts.cancelled),
        ("pending", counts.pending),
        ("of an unknown candidate", counts.unknown_candidate),
        ("unusable", counts.unusable),
        ("outcomes without a prediction", data.unmatched_outcomes),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .enumerate()
        .filter(|&(index, (_, n))| n > 0 || index == 0)
        .map(|(_, (name, n))| format!("{} {name}", count(n)))
        .collect();
    let _ = writeln!(out, "\n{}.", parts.join(", "));
    if let Some(release) = &data.facts.release {
        let _ = writeln!(out, "Release {} of {}.", release.release_id, instant(release.created_at));
    }
    out
}

pub(super) fn cells(summary: &Summary) -> [String; COLUMNS.len()] {
    let none = || "–".to_owned();
    let answer = |pick: &dyn Fn(&crate::Figures) -> String| summary.answer.as_ref().map_or_else(none, pick);
    [
        count(summary.counts.joined),
        answer(&|figures| number(figures.mae_s)),
        summary.fallback.as_ref().map_or_else(none, |figures| number(figures.mae_s)),
        summary.improvement.as_ref().map_or_else(none, |improvement| percent(improvement.share)),
        answer(&|figures| number(figures.p90_ae_s)),
        answer(&|figures| number(figures.bias_s)),
        answer(&|figures| percent(figures.share_within_120_s)),
        answer(&|figures| percent(figures.share_late)),
        summary.label_maturity.map_or_else(none, percent_landed),
    ]
}

/// Without control characters, which could steer a terminal.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '�' } else { c }).collect()
}
