use std::fmt::Write as _;

use super::{
    data::{Group, ReportData},
    language::{Language, count, say},
    text::{COLUMNS, cells, columns, kinds},
};
use crate::experiment::{ExperimentCard, Role};

/// The report as Markdown (tables as GitHub has them), for a pull request or a message. Ends with a newline.
pub fn render_markdown(data: &ReportData, language: Language) -> String {
    let w = language.words();
    let window = data.window.map_or_else(|| w.x_no_hours.to_owned(), |(first, last)| language.span(first, last));
    let mut out = format!("# {}\n\n{window}\n\n{}\n", data.facts.model, escape(&data.headline(language)));
    if data.no_figures.is_none() {
        let _ = write!(out, "\n| |{}|\n|---|{}\n", columns(w).join("|"), "--:|".repeat(COLUMNS));
        let _ = writeln!(out, "|{}|{}|", w.text_all, cells(&data.all, language).join("|"));
        for (kind, groups) in kinds(data, language) {
            for Group { name, summary } in groups {
                let _ = writeln!(out, "|{kind} {}|{}|", escape(name), cells(summary, language).join("|"));
            }
        }
    }
    for card in &data.experiments {
        experiment(&mut out, card, language);
    }
    if data.drift.is_some() || !data.models.is_empty() {
        let _ = writeln!(out, "\n## {}", w.x_drift);
        let of_models = data.models.iter().map(|model| model.headline(language));
        for told in data.drift.iter().map(|report| report.headline(language)).chain(of_models) {
            let _ = writeln!(out, "\n{}", escape(&told));
        }
    }
    let counts = &data.all.counts;
    let made = say!(
        w.x_made,
        predictions = count(counts.predictions),
        joined = count(counts.joined),
        cancelled = count(counts.cancelled),
        pending = count(counts.pending),
        at = language.instant(data.facts.generated_at),
    );
    let _ = writeln!(out, "\n{made}");
    out
}

fn experiment(out: &mut String, card: &ExperimentCard, language: Language) {
    let w = language.words();
    let title = say!(w.experiment, id = escape(&card.id));
    let _ = write!(out, "\n## {title}\n\n{}\n\n", escape(&card.headline(language)));
    let _ = writeln!(out, "{} {}", card.sample_ratio_words(language), card.method(language));
    for comparison in &card.comparisons {
        let (control, treatment) = (escape(&card.arms[0].name), escape(&comparison.arm));
        let _ = write!(out, "\n| |{control}|{treatment}|{}|\n|---|--:|--:|---|\n", w.x_difference);
        for result in &comparison.metrics {
            let value =
                |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| result.metric.value(value, language));
            let role = if result.role == Role::Guardrail { w.guardrail_mark } else { "" };
            let _ = writeln!(
                out,
                "|{}{role}|{}|{}|{}|",
                result.metric.title(language),
                value(result.control),
                value(result.treatment),
                result.words(language)
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
