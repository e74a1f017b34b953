use std::fmt::Write as _;

use super::{
    data::{Group, ReportData},
    text::{COLUMNS, cells},
    words::{count, instant, span},
};
use crate::experiment::{ExperimentCard, Role};

/// The report as Markdown (tables as GitHub has them), for a pull request or a message. Ends with a newline.
pub fn render_markdown(data: &ReportData) -> String {
    let window = data.window.map_or_else(|| "no hours".to_owned(), |(first, last)| span(first, last));
    let mut out = format!("# {}\n\n{window}\n\n{}\n", data.facts.model, escape(&data.headline));
    if data.no_figures.is_none() {
        let _ = write!(out, "\n| |{}|\n|---|{}\n", COLUMNS.join("|"), "--:|".repeat(COLUMNS.len()));
        let _ = writeln!(out, "|all|{}|", cells(&data.all).join("|"));
        let kinds = [("model version", &data.by_model_version), ("arm", &data.by_arm), ("tier", &data.by_tier)];
        for (kind, groups) in kinds {
            for Group { name, summary } in groups {
                let _ = writeln!(out, "|{kind} {}|{}|", escape(name), cells(summary).join("|"));
            }
        }
    }
    for card in &data.experiments {
        experiment(&mut out, card);
    }
    if let Some(report) = &data.drift {
        let _ = writeln!(out, "\n## Drift\n\n{}", escape(&report.headline()));
    }
    let _ = writeln!(
        out,
        "\n{} predictions, {} joined, {} cancelled, {} pending. Made {}.",
        count(data.all.counts.predictions),
        count(data.all.counts.joined),
        count(data.all.counts.cancelled),
        count(data.all.counts.pending),
        instant(data.facts.generated_at)
    );
    out
}

fn experiment(out: &mut String, card: &ExperimentCard) {
    let _ = write!(out, "\n## Experiment {}\n\n{}\n\n", escape(&card.id), escape(&card.headline()));
    let _ = writeln!(out, "{} {}", card.sample_ratio_words(), card.method());
    for comparison in &card.comparisons {
        let (control, treatment) = (escape(&card.arms[0].name), escape(&comparison.arm));
        let _ = write!(out, "\n| |{control}|{treatment}|difference|\n|---|--:|--:|---|\n");
        for result in &comparison.metrics {
            let value = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| result.metric.value(value));
            let role = if result.role == Role::Guardrail { " (guardrail)" } else { "" };
            let _ = writeln!(
                out,
                "|{}{role}|{}|{}|{}|",
                result.metric.title(),
                value(result.control),
                value(result.treatment),
                result.words()
            );
        }
    }
}

/// Text that stays text in Markdown, on one line.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '&' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push('�'),
            c => out.push(c),
        }
    }
    out
}
