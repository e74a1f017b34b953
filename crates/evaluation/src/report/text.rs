use std::fmt::Write as _;

use super::{
    data::{Group, ReportData},
    language::{Language, Words, count, number, say},
};
use crate::{Figures, Summary};

pub(super) const COLUMNS: usize = 9;

pub(super) fn columns(w: &Words) -> [&str; COLUMNS] {
    [w.x_rides, w.x_mae, w.x_naive, w.x_better, w.x_p90, w.x_bias, w.x_within, w.x_late, w.x_labels]
}

/// A short summary for a terminal: the headline, and a line per group. Plain text, no colours, ends with a newline.
pub fn render_text(data: &ReportData, language: Language) -> String {
    let w = language.words();
    let mut out = String::new();
    let window = data.window.map_or_else(|| w.x_no_hours.to_owned(), |(first, last)| language.span(first, last));
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}  {window}", data.facts.model);
    let _ = writeln!(out, "{}", data.headline(language));
    if data.no_figures.is_none() {
        let mut rows = vec![(w.text_all.to_owned(), &data.all)];
        for (kind, groups) in kinds(data, language) {
            rows.extend(groups.iter().map(|Group { name, summary }| (format!("{kind} {}", plain(name)), summary)));
        }
        let width = rows.iter().map(|(name, _)| columns_of(name)).max().unwrap_or(0);
        out.push('\n');
        out.push_str(&" ".repeat(width));
        for column in columns(w) {
            let _ = write!(out, "  {}{column}", " ".repeat(8_usize.saturating_sub(columns_of(column))));
        }
        out.push('\n');
        for (name, summary) in rows {
            let _ = write!(out, "{name}{}", " ".repeat(width - columns_of(&name)));
            for cell in cells(summary, language) {
                let _ = write!(out, "  {}{cell}", " ".repeat(8_usize.saturating_sub(columns_of(&cell))));
            }
            out.push('\n');
        }
    }
    for card in &data.experiments {
        let told = say!(w.x_experiment, id = plain(&card.id), text = plain(&card.headline(language)));
        let _ = writeln!(out, "\n{told}");
    }
    if let Some(report) = &data.drift {
        let _ = writeln!(out, "\n{}", plain(&report.headline(language)));
    }
    for model in &data.models {
        let _ = writeln!(out, "\n{}", plain(&model.headline(language)));
    }
    let counts = &data.all.counts;
    let parts = [
        (w.x_c_predictions, counts.predictions),
        (w.x_c_candidates, counts.candidates),
        (w.x_c_joined, counts.joined),
        (w.x_c_cancelled, counts.cancelled),
        (w.x_c_pending, counts.pending),
        (w.x_c_unknown, counts.unknown_candidate),
        (w.x_c_unusable, counts.unusable),
        (w.x_c_unmatched, data.unmatched_outcomes),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .enumerate()
        .filter(|&(index, (_, n))| n > 0 || index == 0)
        .map(|(_, (template, n))| say!(template, n = count(n)))
        .collect();
    let _ = writeln!(out, "\n{}{}", parts.join(w.and_list), w.list_end);
    if let Some(release) = &data.facts.release {
        let told = say!(w.x_release, id = release.release_id.as_str(), at = language.instant(release.created_at));
        let _ = writeln!(out, "{told}");
    }
    out
}

/// The groups by what they are.
pub(super) fn kinds(data: &ReportData, language: Language) -> [(&'static str, &Vec<Group>); 3] {
    let w = language.words();
    [(w.kind_model_version, &data.by_model_version), (w.kind_arm, &data.by_arm), (w.kind_tier, &data.by_tier)]
}

pub(super) fn cells(summary: &Summary, language: Language) -> [String; COLUMNS] {
    let none = || "–".to_owned();
    let answer = |pick: &dyn Fn(&Figures) -> String| summary.answer.as_ref().map_or_else(none, pick);
    [
        count(summary.counts.joined),
        answer(&|figures| number(figures.mae_s)),
        summary.fallback.as_ref().map_or_else(none, |figures| number(figures.mae_s)),
        summary.improvement.as_ref().map_or_else(none, |improvement| language.percent(improvement.share)),
        answer(&|figures| number(figures.p90_ae_s)),
        answer(&|figures| number(figures.bias_s)),
        answer(&|figures| language.percent(figures.share_within_120_s)),
        answer(&|figures| language.percent(figures.share_late)),
        summary.label_maturity.map_or_else(none, |share| language.percent_landed(share)),
    ]
}

/// How many columns of a terminal a text takes: East Asian characters take two.
fn columns_of(text: &str) -> usize {
    text.chars().map(|c| if ('\u{2e80}'..='\u{ffdc}').contains(&c) { 2 } else { 1 }).sum()
}

/// Without control characters, which could steer a terminal.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '�' } else { c }).collect()
}
