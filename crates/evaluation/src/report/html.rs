//! The page: one file, nothing loaded, no script.

use std::fmt::Write as _;

use domain::Tier;

use super::{
    charts::{self, Bars},
    data::{Group, ReportData},
    dots,
    drift::{self, told},
    experiments,
    language::{Language, count, counted, number, say},
    lineage,
    segments::{self, landed_cell, mae_cell},
    svg::escape,
    verdicts,
};
use crate::{Figures, Summary};

const STYLE: &str = include_str!("page.css");

/// How a page is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct PageOptions<'a> {
    /// Its language.
    pub language: Language,
    /// Where the same page lies in other languages, relative to this one.
    pub others: &'a [(Language, &'a str)],
    /// The way from the page's folder to the lake's root, such as `../../`: then the objects that it stands on are links.
    pub lake_root: Option<&'a str>,
}

/// The report as one self-contained HTML page.
pub fn render_html(data: &ReportData, options: &PageOptions<'_>) -> String {
    let language = options.language;
    let w = language.words();
    let mut page = String::with_capacity(256 * 1024);
    let model = escape(data.facts.model.as_str());
    let when = data.window.map_or_else(|| w.no_hours.to_owned(), |(first, last)| language.span(first, last));
    // Writing to a String cannot fail, hence the ignored results.
    let _ = write!(
        page,
        r#"<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>{model}: {}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<div class="top"><h1>{model}</h1>"#,
        if data.no_figures.is_some() { w.title_no_figures } else { w.title },
    );
    for (other, path) in options.others {
        let (code, name, path) = (other.code(), other.words().own_name, escape(path));
        let _ = write!(page, r#"<a href="{path}" lang="{code}" hreflang="{code}">{name}</a>"#);
    }
    let _ = write!(
        page,
        "</div>\n<p class=\"when\">{}</p>\n<p class=\"headline\">{}</p>\n",
        escape(&when),
        told(&data.headline(language)),
    );
    if let Some(aside) = aside(&data.all, language) {
        let _ = writeln!(page, r#"<p class="aside">{}</p>"#, told(&aside));
    }
    verdicts::list(&mut page, data, language);
    key_figures(&mut page, &data.all, language);
    page.push_str("</header>\n<main>\n");
    over_time(&mut page, data, language);
    distribution(&mut page, data, language);
    dots::calibration(&mut page, data, language);
    dots::coverage(&mut page, data, language);
    segments::segments(&mut page, data, language);
    arms(&mut page, data, language);
    experiments::experiments(&mut page, &data.experiments, language);
    tables(&mut page, data, language);
    drift::models(&mut page, &data.models, language);
    if let Some(report) = &data.drift {
        drift::drift(&mut page, report, language);
    }
    dots::maturity(&mut page, &data.maturity_curve, language);
    lineage::counts(&mut page, data, language);
    page.push_str("</main>\n");
    lineage::footer(&mut page, data, options);
    page.push_str("</body>\n</html>\n");
    page
}

/// Keeps a number and the word after it on one line.
pub(super) fn keep_units(html: &str) -> String {
    let mut out = String::with_capacity(html.len() + 16);
    let mut after_digit = false;
    for c in html.chars() {
        out.push(if c == ' ' && after_digit { '\u{a0}' } else { c });
        after_digit = c.is_ascii_digit();
    }
    out
}

/// Begins a section. The text is escaped here.
pub(super) fn section(page: &mut String, id: &str, title: &str, text: &str) {
    let _ = write!(page, "<section id=\"{id}\">\n<h2>{}</h2>\n<p>{}</p>\n", escape(title), told(text));
}

/// A drawing for wide and for narrow screens, below its legend.
pub(super) fn figure_of(page: &mut String, legend: &str, wide: &str, narrow: &str) {
    let _ = writeln!(page, "<figure>{legend}{wide}{narrow}</figure>");
}

/// What the headline has no room for.
fn aside(all: &Summary, language: Language) -> Option<String> {
    let w = language.words();
    let (answer, improvement) = (all.answer.as_ref()?, all.improvement.as_ref()?);
    let mut out = String::new();
    if let Some([low, high]) = improvement.interval {
        out += &say!(w.aside_interval, interval = language.range(&language.percent(low), &language.percent(high)));
    }
    out += &match answer.bias_s {
        bias if bias <= -0.05 => say!(w.aside_later, s = language.seconds(-bias)),
        bias if bias >= 0.05 => say!(w.aside_earlier, s = language.seconds(bias)),
        _ => w.aside_as_told.to_owned(),
    };
    if all.counts.cancelled > 0 {
        let share = all.counts.cancelled as f64 / all.counts.predictions.max(1) as f64;
        out += &say!(w.aside_cancelled, share = language.percent_landed(share));
        if let Some(weighted) = &all.weighted {
            out += &say!(w.aside_weighted, mae = language.seconds(weighted.mae_s));
        }
    }
    out += w.list_end;
    Some(out)
}

fn key_figures(page: &mut String, all: &Summary, language: Language) {
    let (Some(answer), Some(fallback)) = (&all.answer, &all.fallback) else { return };
    let w = language.words();
    let s = |value: f64| language.seconds(value);
    let percent = |value: f64| language.percent(value);
    let naive = |value: String| say!(w.naive_value, value = value);
    let of = say!(w.of_what, what = counted(all.counts.predictions, w.predictions));
    let items = [
        (w.key_mae, s(answer.mae_s), naive(s(fallback.mae_s))),
        (w.key_within, percent(answer.share_within_120_s), naive(percent(fallback.share_within_120_s))),
        (w.key_half, s(answer.median_ae_s), naive(s(fallback.median_ae_s))),
        (w.key_ninety, s(answer.p90_ae_s), naive(s(fallback.p90_ae_s))),
        (w.key_late, percent(answer.share_late), naive(percent(fallback.share_late))),
        (w.key_landed, language.percent_landed(all.label_maturity.unwrap_or(0.0)), of),
    ];
    page.push_str("<dl class=\"key\">\n");
    for (term, value, beside) in items {
        let _ = writeln!(
            page,
            r#"<div><dt>{term}</dt><dd class="value">{}</dd><dd class="beside">{}</dd></div>"#,
            told(&value),
            told(&beside)
        );
    }
    page.push_str("</dl>\n");
}

/// Which mark is whose, in the chart's own marks.
pub(super) fn legend(first: (&str, &str), more: &[(&str, &str)]) -> String {
    let mut out = String::from("<ul class=\"legend\">");
    for (mark, name) in std::iter::once(&first).chain(more) {
        let _ = write!(out, r#"<li><svg viewBox="0 0 26 12" aria-hidden="true">{mark}</svg>{name}</li>"#);
    }
    out.push_str("</ul>");
    out
}

const LINE_MODEL: &str = r#"<path class="line model" d="M1,6H25"/>"#;
const LINE_NAIVE: &str = r#"<path class="line naive" d="M1,6H25"/>"#;
pub(super) const BAR_MODEL: &str = r#"<rect class="bar model" x="1" y="1" width="24" height="10"/>"#;
const OUTLINE_NAIVE: &str = r#"<path class="line naive outline" d="M1,6H25"/>"#;
const BAND: &str = r#"<rect class="band" x="1" y="0" width="24" height="12"/>"#;
const DOT_MODEL: &str = r#"<circle class="dot model" cx="13" cy="6" r="6"/>"#;
const DOT_NAIVE: &str = r#"<circle class="dot naive" cx="13" cy="6" r="5"/>"#;
pub(super) const MARK_NAIVE: &str = r#"<path class="mark naive" d="M13,-1V13"/>"#;
pub(super) const WHISKER: &str = r#"<path class="whisker" d="M3,6H23M3,2V10M23,2V10"/>"#;

fn over_time(page: &mut String, data: &ReportData, language: Language) {
    let w = language.words();
    let chart = |wide| charts::over_time(&data.over_time, wide, language);
    let (Some(wide), Some(narrow)) = (chart(true), chart(false)) else { return };
    let text = charts::describe_time(&data.over_time, language) + language.gap();
    section(page, "over-time", w.over_time, &say!(w.over_time_note, text = text));
    let legend = legend((LINE_MODEL, w.model), &[(LINE_NAIVE, w.naive), (BAND, w.interval_95)]);
    figure_of(page, &legend, &wide, &narrow);
    let _ = writeln!(page, "<details><summary>{}</summary>", w.same_as_table);
    let head = [w.col_from, w.col_rides, w.col_model_mae, w.col_naive_mae, w.col_within, w.col_cancelled, w.col_landed];
    let rows = data.over_time.iter().map(|point| {
        let summary = &point.summary;
        let cells = vec![
            count(summary.counts.joined),
            figure(summary.answer.as_ref(), &|f| number(f.mae_s)),
            figure(summary.fallback.as_ref(), &|f| number(f.mae_s)),
            figure(summary.answer.as_ref(), &|f| language.percent(f.share_within_120_s)),
            count(summary.counts.cancelled),
            landed_cell(summary, language),
        ];
        (language.hour(point.from), cells)
    });
    table(page, w.figures_over_time, &head, [("", rows.collect())]);
    page.push_str("</details>\n</section>\n");
}

fn distribution(page: &mut String, data: &ReportData, language: Language) {
    let (Some(bins), Some(answer), Some(fallback)) = (&data.error_bins, &data.all.answer, &data.all.fallback) else {
        return;
    };
    let w = language.words();
    let errors = say!(
        w.errors_text,
        late = language.percent(answer.share_late),
        early = language.percent(answer.share_early),
        naive_late = language.percent(fallback.share_late),
        naive_early = language.percent(fallback.share_early),
    );
    let within = say!(
        w.close_text,
        model = language.percent(answer.share_within_120_s),
        naive = language.percent(fallback.share_within_120_s),
    );
    page.push_str("<div class=\"pair\">\n");
    section(page, "errors", w.errors, &errors);
    let _ = writeln!(
        page,
        "<figure>{}{}</figure>\n</section>",
        legend((BAR_MODEL, w.model), &[(OUTLINE_NAIVE, w.naive)]),
        charts::error_histogram(bins, &errors, language),
    );
    section(page, "close-enough", w.close, &within);
    let _ = writeln!(
        page,
        "<figure>{}{}</figure>\n</section>\n</div>",
        legend((DOT_MODEL, w.model), &[(DOT_NAIVE, w.naive)]),
        charts::shares_within(answer, fallback, &within, language),
    );
}

fn arms(page: &mut String, data: &ReportData, language: Language) {
    let w = language.words();
    let title = say!(w.by_chart, kind = w.kind_arm);
    let bars = Bars::of("bars-arm", &title, &data.by_arm);
    let chart = |wide| charts::bars(&bars, wide, language);
    let (Some(wide), Some(narrow)) = (chart(true), chart(false)) else { return };
    section(page, "arms", w.arms, w.arms_text);
    let legend = legend((BAR_MODEL, w.model), &[(MARK_NAIVE, w.naive), (WHISKER, w.interval_95)]);
    figure_of(page, &legend, &wide, &narrow);
    page.push_str("</section>\n");
}

fn tables(page: &mut String, data: &ReportData, language: Language) {
    if data.no_figures.is_some() {
        return;
    }
    let w = language.words();
    section(page, "figures", w.figures, w.figures_text);
    let head = [
        "",
        w.col_rides,
        w.col_mae,
        w.col_naive_mae,
        w.col_better,
        w.col_median,
        w.col_p90,
        w.col_bias,
        w.col_within,
        w.col_late,
        w.col_landed,
    ];
    let row = |name: String, summary: &Summary| (name, cells(summary, language));
    let rows = |groups: &[Group]| groups.iter().map(|group| row(group.name.clone(), &group.summary)).collect();
    let tiers = data.by_tier.iter().map(|group| row(tier_name(&group.name, language), &group.summary)).collect();
    let [version, arm, tier] = [w.kind_model_version, w.kind_arm, w.kind_tier].map(|kind| say!(w.by_kind, kind = kind));
    let blocks: [(&str, Vec<Row>); 4] = [
        ("", vec![row(w.all.to_owned(), &data.all)]),
        (&version, rows(&data.by_model_version)),
        (&arm, rows(&data.by_arm)),
        (&tier, tiers),
    ];
    table(page, w.figures_caption, &head, blocks);
    shadows(page, data, language);
    page.push_str("</section>\n");
}

fn tier_name(name: &str, language: Language) -> String {
    let w = language.words();
    let words = |tier: Tier| match tier {
        Tier::Endpoint => w.tier_endpoint,
        Tier::SecondEndpoint => w.tier_second,
        Tier::Fallback => w.tier_fallback,
    };
    Tier::ALL.into_iter().find(|tier| tier.as_str() == name).map_or(name, words).to_owned()
}

fn shadows(page: &mut String, data: &ReportData, language: Language) {
    if data.shadows.is_empty() {
        return;
    }
    let w = language.words();
    let _ = writeln!(page, "<h3>{}</h3>\n<p class=\"note\">{}</p>", w.shadows, told(w.shadows_text));
    let head =
        ["", w.col_predictions, w.col_failed, w.col_shadow_mae, w.col_answering_mae, w.col_difference, w.col_landed];
    let row = |shadow: &super::ShadowFigures| {
        let summary = &shadow.summary;
        let interval = summary.mae_difference_interval_s.map_or_else(String::new, |[low, high]| {
            format!("<small>{}</small>", language.range(&number(low), &number(high)))
        });
        let cells = vec![
            count(summary.predictions),
            count(summary.failed),
            dots::seconds_cell(summary.shadow.map(|figures| figures.mae_s)),
            dots::seconds_cell(summary.answering.map(|figures| figures.mae_s)),
            dots::seconds_cell(summary.mae_difference_s) + &interval,
            escape(&summary.label_maturity.map_or_else(dash, |share| language.percent_landed(share))),
        ];
        (shadow.name.clone(), cells)
    };
    table(page, w.shadows, &head, [("", data.shadows.iter().map(row).collect())]);
}

fn cells(summary: &Summary, language: Language) -> Vec<String> {
    let answer = |pick: &dyn Fn(&Figures) -> String| figure(summary.answer.as_ref(), pick);
    let better = summary.improvement.as_ref();
    let better_interval = better.and_then(|improvement| improvement.interval);
    vec![
        count(summary.counts.joined),
        mae_cell(summary, language),
        figure(summary.fallback.as_ref(), &|f| number(f.mae_s)),
        better.map_or_else(dash, |improvement| language.percent(improvement.share))
            + &better_interval.map_or_else(String::new, |[low, high]| {
                format!("<small>{}</small>", language.range(&language.percent(low), &language.percent(high)))
            }),
        answer(&|f| number(f.median_ae_s)),
        answer(&|f| number(f.p90_ae_s)),
        answer(&|f| number(f.bias_s)),
        answer(&|f| language.percent(f.share_within_120_s)),
        answer(&|f| language.percent(f.share_late)),
        landed_cell(summary, language),
    ]
}

pub(super) fn dash() -> String {
    "–".to_owned()
}

fn figure(figures: Option<&Figures>, pick: &dyn Fn(&Figures) -> String) -> String {
    figures.map_or_else(dash, pick)
}

/// A row: its name, which is text, and its cells, which are HTML.
pub(super) type Row = (String, Vec<String>);

/// A table of blocks of rows, each with a heading where it is not empty. Names are escaped here; cells are HTML already.
pub(super) fn table<'a>(
    page: &mut String,
    caption: &str,
    head: &[&str],
    blocks: impl IntoIterator<Item = (&'a str, Vec<Row>)>,
) {
    let _ = write!(
        page,
        r#"<div class="scroll" role="region" aria-label="{caption}" tabindex="0"><table><caption>{caption}</caption><thead><tr>"#
    );
    for title in head {
        // An empty heading heads nothing.
        let _ =
            if title.is_empty() { write!(page, "<td></td>") } else { write!(page, r#"<th scope="col">{title}</th>"#) };
    }
    page.push_str("</tr></thead>\n");
    for (heading, rows) in blocks {
        page.push_str("<tbody>\n");
        if !heading.is_empty() {
            let _ = writeln!(
                page,
                r#"<tr><th class="block" scope="rowgroup" colspan="{}">{heading}</th></tr>"#,
                head.len()
            );
        }
        for (name, cells) in rows {
            let name = escape(&name);
            let _ = write!(page, r#"<tr><th scope="row" title="{name}">{name}</th>"#);
            for cell in cells {
                let _ = write!(page, "<td>{cell}</td>");
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</tbody>\n");
    }
    page.push_str("</table></div>\n");
}
