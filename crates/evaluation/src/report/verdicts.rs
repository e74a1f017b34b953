//! What matters, in a sentence each: good, bad, or to be known.

use std::fmt::Write as _;

use super::{
    data::ReportData,
    drift::told,
    language::{Language, count, counted, plural, say},
    segments::segment_name,
};
use crate::{drift::LABEL, experiment::Verdict};

/// More answers than these by the fallback are worth a sentence.
const FALLBACK_SHARE: f64 = 0.05;
/// Fewer labels than these are.
const LANDED: f64 = 0.8;
/// The most features that are named.
const MOST_NAMES: usize = 6;

/// What a verdict is to its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Good,
    Bad,
    Neutral,
}

/// The verdicts, in the order in which they matter.
pub(super) fn verdicts(data: &ReportData, language: Language) -> Vec<(Mark, String)> {
    let mut out = Vec::new();
    experiments(data, language, &mut out);
    drift(data, language, &mut out);
    let w = language.words();
    if let Some(figures) = &data.all.interval {
        let promised = data.facts.release.as_ref().and_then(|release| release.promised_interval);
        if let Some(promise) = promised {
            let [low, high] = figures.coverage_interval;
            let (mark, template) = match () {
                () if high < promise => (Mark::Bad, w.verdict_coverage_low),
                () if low > promise => (Mark::Neutral, w.verdict_coverage_high),
                () => (Mark::Good, w.verdict_coverage_ok),
            };
            let (share, promised) = (language.percent(figures.coverage), language.percent(promise));
            out.push((mark, say!(template, share = share, promised = promised)));
        }
    }
    let segment = data.segments_to_look_at.first();
    if let Some((segment, answer)) = segment.and_then(|segment| Some((segment, segment.summary.answer?))) {
        let told = say!(
            w.verdict_segment,
            segment = segment_name(segment, language),
            mae = language.seconds(answer.mae_s),
            rides = counted(answer.n, w.rides),
        );
        out.push((Mark::Neutral, told));
    }
    let fallback = data.by_tier.iter().find(|group| group.name == domain::Tier::Fallback.as_str());
    let fallback = fallback.map_or(0, |group| group.summary.counts.predictions);
    let share = fallback as f64 / data.all.counts.predictions.max(1) as f64;
    if share > FALLBACK_SHARE {
        out.push((Mark::Bad, say!(w.verdict_fallback, share = language.percent(share))));
    }
    if let Some(landed) = data.all.label_maturity.filter(|landed| *landed < LANDED && data.no_figures.is_none()) {
        out.push((Mark::Neutral, say!(w.verdict_labels, landed = language.percent_landed(landed))));
    }
    out
}

fn experiments(data: &ReportData, language: Language, out: &mut Vec<(Mark, String)>) {
    for card in data.experiments.iter().filter(|card| card.hours.is_some()) {
        let Some(control) = card.arms.first() else { continue };
        for comparison in &card.comparisons {
            let mark = match comparison.verdict {
                Verdict::SampleRatioMismatch | Verdict::GuardrailBreached | Verdict::Worse => Mark::Bad,
                Verdict::Better => Mark::Good,
                Verdict::TooEarly | Verdict::Undecided => Mark::Neutral,
            };
            out.push((mark, card.sentence(&control.name, comparison, language)));
        }
    }
}

fn drift(data: &ReportData, language: Language, out: &mut Vec<(Mark, String)>) {
    let w = language.words();
    let mut calm = true;
    if let Some(report) = &data.drift {
        let drifted = report.drifted();
        let features: Vec<&str> = drifted.iter().copied().filter(|name| *name != LABEL).collect();
        if !features.is_empty() {
            let n = features.len();
            let mut names = features[..n.min(MOST_NAMES)].join(w.and_list);
            if n > MOST_NAMES {
                names += ", …";
            }
            out.push((Mark::Bad, say!(plural(n as u64, w.verdict_features), n = count(n as u64), names = names)));
            calm = false;
        }
        if drifted.contains(&LABEL) {
            out.push((Mark::Bad, w.verdict_label.to_owned()));
            calm = false;
        }
    }
    for model in data.models.iter().filter(|model| model.concept_drift()) {
        let told = if model.worse {
            say!(
                w.verdict_concept,
                model = model.model_version,
                now = language.seconds(model.mae_s),
                before = language.seconds(model.held_out_mae_s),
            )
        } else {
            say!(w.verdict_concept_other, model = model.model_version)
        };
        out.push((Mark::Bad, told));
        calm = false;
    }
    if calm && data.drift.is_some() {
        let template = if data.models.is_empty() { w.verdict_no_feature_drift } else { w.verdict_no_drift };
        out.push((Mark::Good, template.to_owned()));
    }
}

/// The list below the headline.
pub(super) fn list(page: &mut String, data: &ReportData, language: Language) {
    let found = verdicts(data, language);
    if found.is_empty() {
        return;
    }
    let w = language.words();
    let _ = writeln!(page, "<ul class=\"verdicts\" aria-label=\"{}\">", w.verdicts);
    for (mark, text) in found {
        let (class, sign, name) = match mark {
            Mark::Good => ("good", "✓", w.mark_good),
            Mark::Bad => ("bad", "!", w.mark_bad),
            Mark::Neutral => ("neutral", "·", w.mark_neutral),
        };
        let _ = writeln!(
            page,
            r#"<li class="{class}"><span class="mark-sign" role="img" aria-label="{name}">{sign}</span><span>{}</span></li>"#,
            told(&text)
        );
    }
    page.push_str("</ul>\n");
}
