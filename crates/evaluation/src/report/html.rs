//! The page: one file, nothing loaded, no script.

use std::fmt::Write as _;

use super::{
    charts,
    data::{Group, ReportData},
    drift, experiments,
    svg::escape,
    words::{count, counted, hour, instant, number, percent, percent_landed, seconds, span},
};
use crate::{Figures, Summary};

const STYLE: &str = include_str!("page.css");

/// The report as one self-contained HTML page.
pub fn render_html(data: &ReportData) -> String {
    let mut page = String::with_capacity(128 * 1024);
    let model = escape(data.facts.model.as_str());
    let when = data.window.map_or_else(|| "No hours were evaluated".to_owned(), |(first, last)| span(first, last));
    // Writing to a String cannot fail, hence the ignored results.
    let _ = write!(
        page,
        r#"<!doctype html>
<html lang="en">
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
<h1>{model}</h1>
<p class="when">{}</p>
<p class="headline">{}</p>
"#,
        if data.no_figures.is_some() { "no figures" } else { "arrival-time report" },
        escape(&when),
        keep_units(&escape(&data.headline)),
    );
    if let Some(aside) = aside(&data.all) {
        let _ = writeln!(page, r#"<p class="aside">{}</p>"#, keep_units(&escape(&aside)));
    }
    key_figures(&mut page, &data.all);
    page.push_str("</header>\n<main>\n");
    over_time(&mut page, data);
    distribution(&mut page, data);
    arms(&mut page, data);
    experiments::experiments(&mut page, &data.experiments);
    tables(&mut page, data);
    if let Some(report) = &data.drift {
        drift::drift(&mut page, report);
    }
    counts(&mut page, data);
    page.push_str("</main>\n");
    footer(&mut page, data);
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

/// What the headline has no room for.
fn aside(all: &Summary) -> Option<String> {
    let (answer, improvement) = (all.answer.as_ref()?, all.improvement.as_ref()?);
    let mut out = String::new();
    if let Some([low, high]) = improvement.interval {
        let _ = write!(out, "95 % interval of the difference: {} to {}. ", percent(low), percent(high));
    }
    let _ = match answer.bias_s {
        bias if bias <= -0.05 => {
            write!(out, "On average cars come {} later than told", seconds(-bias))
        }
        bias if bias >= 0.05 => write!(out, "On average cars come {} earlier than told", seconds(bias)),
        _ => write!(out, "On average cars come as told"),
    };
    if all.counts.cancelled > 0 {
        let share = all.counts.cancelled as f64 / all.counts.predictions.max(1) as f64;
        let _ = write!(
            out,
            "; {} of rides were cancelled first and have no arrival to compare with",
            percent_landed(share)
        );
    }
    out.push('.');
    Some(out)
}

fn key_figures(page: &mut String, all: &Summary) {
    let (Some(answer), Some(fallback)) = (&all.answer, &all.fallback) else { return };
    let naive = |figure: fn(&Figures) -> f64, words: fn(f64) -> String| format!("naive {}", words(figure(fallback)));
    let items = [
        ("Mean absolute error", seconds(answer.mae_s), naive(|f| f.mae_s, seconds)),
        ("Within 2 minutes", percent(answer.share_within_120_s), naive(|f| f.share_within_120_s, percent)),
        ("Half are within", seconds(answer.median_ae_s), naive(|f| f.median_ae_s, seconds)),
        ("Nine in ten are within", seconds(answer.p90_ae_s), naive(|f| f.p90_ae_s, seconds)),
        ("Later than told", percent(answer.share_late), naive(|f| f.share_late, percent)),
        (
            "Labels landed",
            percent_landed(all.label_maturity.unwrap_or(0.0)),
            format!("of {}", counted(all.counts.predictions, "prediction", "predictions")),
        ),
    ];
    page.push_str("<dl class=\"key\">\n");
    for (term, value, beside) in items {
        let _ = writeln!(
            page,
            r#"<div><dt>{term}</dt><dd class="value">{}</dd><dd class="beside">{}</dd></div>"#,
            keep_units(&escape(&value)),
            keep_units(&escape(&beside))
        );
    }
    page.push_str("</dl>\n");
}

/// Which mark is whose, in the chart's own marks.
fn legend(model: &str, naive: &str, more: &[(&str, &str)]) -> String {
    let mut out = String::from("<ul class=\"legend\">");
    for (mark, name) in [(model, "model"), (naive, "naive estimate")].iter().chain(more) {
        let _ = write!(out, r#"<li><svg viewBox="0 0 26 12" aria-hidden="true">{mark}</svg>{name}</li>"#);
    }
    out.push_str("</ul>");
    out
}

const LINE_MODEL: &str = r#"<path class="line model" d="M1,6H25"/>"#;
const LINE_NAIVE: &str = r#"<path class="line naive" d="M1,6H25"/>"#;
const BAR_MODEL: &str = r#"<rect class="bar model" x="1" y="1" width="24" height="10"/>"#;
const OUTLINE_NAIVE: &str = r#"<path class="line naive outline" d="M1,6H25"/>"#;
const BAND: &str = r#"<rect class="band" x="1" y="0" width="24" height="12"/>"#;
const DOT_MODEL: &str = r#"<circle class="dot model" cx="13" cy="6" r="6"/>"#;
const DOT_NAIVE: &str = r#"<circle class="dot naive" cx="13" cy="6" r="5"/>"#;
const MARK_NAIVE: &str = r#"<path class="mark naive" d="M13,-1V13"/>"#;
const WHISKER: &str = r#"<path class="whisker" d="M3,6H23M3,2V10M23,2V10"/>"#;

fn over_time(page: &mut String, data: &ReportData) {
    let (Some(wide), Some(narrow)) =
        (charts::over_time(&data.over_time, true), charts::over_time(&data.over_time, false))
    else {
        return;
    };
    let _ = write!(
        page,
        "<section id=\"over-time\">\n<h2>Error over time</h2>\n<p>{} Paler where fewer than 80&nbsp;% of labels have landed: those figures will still move. Times are UTC.</p>\n<figure>{}{wide}{narrow}</figure>\n",
        keep_units(&escape(&charts::describe_time(&data.over_time))),
        legend(LINE_MODEL, LINE_NAIVE, &[(BAND, "95 % interval")]),
    );
    page.push_str("<details><summary>The same as a table</summary>\n");
    let head = [
        "From, UTC",
        "Rides",
        "Model MAE,&nbsp;s",
        "Naive MAE,&nbsp;s",
        "Within 2&nbsp;min",
        "Cancelled",
        "Labels landed",
    ];
    let rows = data.over_time.iter().map(|point| {
        let summary = &point.summary;
        let cells = vec![
            count(summary.counts.joined),
            figure(summary.answer.as_ref(), |f| number(f.mae_s)),
            figure(summary.fallback.as_ref(), |f| number(f.mae_s)),
            figure(summary.answer.as_ref(), |f| percent(f.share_within_120_s)),
            count(summary.counts.cancelled),
            summary.label_maturity.map_or_else(dash, percent_landed),
        ];
        (hour(point.from), cells)
    });
    table(page, "Figures over time", &head, [("", rows.collect())]);
    page.push_str("</details>\n</section>\n");
}

fn distribution(page: &mut String, data: &ReportData) {
    let (Some(bins), Some(answer), Some(fallback)) = (&data.error_bins, &data.all.answer, &data.all.fallback) else {
        return;
    };
    let errors = format!(
        "{} of rides came later than told and {} earlier; for the naive estimate {} and {}.",
        percent(answer.share_late),
        percent(answer.share_early),
        percent(fallback.share_late),
        percent(fallback.share_early)
    );
    let within = format!(
        "{} of rides came within two minutes of what was told; {} would have by the naive estimate.",
        percent(answer.share_within_120_s),
        percent(fallback.share_within_120_s)
    );
    let _ = write!(
        page,
        "<div class=\"pair\">\n<section id=\"errors\">\n<h2>How far off</h2>\n<p>{}</p>\n<figure>{}{}</figure>\n</section>\n<section id=\"close-enough\">\n<h2>How often close enough</h2>\n<p>{}</p>\n<figure>{}{}</figure>\n</section>\n</div>\n",
        keep_units(&errors),
        legend(BAR_MODEL, OUTLINE_NAIVE, &[]),
        charts::error_histogram(bins, &errors),
        keep_units(&within),
        legend(DOT_MODEL, DOT_NAIVE, &[]),
        charts::shares_within(answer, fallback, &within),
    );
}

fn arms(page: &mut String, data: &ReportData) {
    let (Some(wide), Some(narrow)) =
        (charts::bars("arm", &data.by_arm, true), charts::bars("arm", &data.by_arm, false))
    else {
        return;
    };
    let _ = write!(
        page,
        "<section id=\"arms\">\n<h2>Mean absolute error by arm</h2>\n<p>The intervals take rides as independent. Which arm is better is for the experiment’s own test below to say, which counts what was randomised.</p>\n<figure>{}{wide}{narrow}</figure>\n</section>\n",
        legend(BAR_MODEL, MARK_NAIVE, &[(WHISKER, "95 % interval")]),
    );
}

fn tables(page: &mut String, data: &ReportData) {
    if data.no_figures.is_some() {
        return;
    }
    page.push_str("<section id=\"figures\">\n<h2>Figures in full</h2>\n<p>Error is predicted − actual, so a negative bias means later than told. Small print: 95&nbsp;% interval.</p>\n");
    let head = [
        "",
        "Rides",
        "MAE,&nbsp;s",
        "Naive MAE,&nbsp;s",
        "Better by",
        "Median,&nbsp;s",
        "P90,&nbsp;s",
        "Bias,&nbsp;s",
        "Within 2&nbsp;min",
        "Late",
        "Labels landed",
    ];
    let row = |Group { name, summary }: &Group| (name.clone(), cells(summary));
    let kinds = [("By model version", &data.by_model_version), ("By arm", &data.by_arm), ("By tier", &data.by_tier)];
    let all = ("", vec![("All".to_owned(), cells(&data.all))]);
    let blocks = kinds.map(|(kind, groups)| (kind, groups.iter().map(row).collect()));
    table(page, "Figures by model version, arm and tier", &head, [all].into_iter().chain(blocks));
    page.push_str("</section>\n");
}

fn cells(summary: &Summary) -> Vec<String> {
    let answer = |pick: fn(&Figures) -> String| figure(summary.answer.as_ref(), pick);
    let mae = answer(|f| number(f.mae_s));
    let mae_interval = summary.answer.as_ref().and_then(|f| f.mae_interval_s);
    let better = summary.improvement.as_ref();
    let better_interval = better.and_then(|improvement| improvement.interval);
    vec![
        count(summary.counts.joined),
        mae + &mae_interval
            .map_or_else(String::new, |[low, high]| format!("<small>{} to {}</small>", number(low), number(high))),
        figure(summary.fallback.as_ref(), |f| number(f.mae_s)),
        better.map_or_else(dash, |improvement| percent(improvement.share))
            + &better_interval.map_or_else(String::new, |[low, high]| {
                format!("<small>{} to {}</small>", percent(low).trim_end_matches(" %"), percent(high))
            }),
        answer(|f| number(f.median_ae_s)),
        answer(|f| number(f.p90_ae_s)),
        answer(|f| number(f.bias_s)),
        answer(|f| percent(f.share_within_120_s)),
        answer(|f| percent(f.share_late)),
        summary.label_maturity.map_or_else(dash, percent_landed).replace('<', "&lt;"),
    ]
}

pub(super) fn dash() -> String {
    "–".to_owned()
}

fn figure(figures: Option<&Figures>, pick: fn(&Figures) -> String) -> String {
    figures.map_or_else(dash, pick)
}

/// A table of blocks of rows, each with a heading where it is not empty. Names are escaped here; cells are HTML already.
pub(super) fn table<'a>(
    page: &mut String,
    caption: &str,
    head: &[&str],
    blocks: impl IntoIterator<Item = (&'a str, Vec<(String, Vec<String>)>)>,
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

fn counts(page: &mut String, data: &ReportData) {
    let counts = &data.all.counts;
    let rows = [
        ("Predictions", counts.predictions, "answered requests, each counted once"),
        ("Candidates", counts.candidates, "cars asked about; only the dispatched one meets its truth"),
        ("Outcomes", counts.outcomes, "predictions of which anything was heard"),
        ("Joined", counts.joined, "the dispatched car arrived: these make the figures"),
        ("Cancelled", counts.cancelled, "cancelled before the car came: no arrival to compare with"),
        ("Pending", counts.pending, "no arrival and no cancellation yet"),
        ("Unknown candidate", counts.unknown_candidate, "the car that arrived was not among those asked about"),
        ("Unusable", counts.unusable, "the answer is not a number of seconds, or the arrival is before the request"),
        ("Unmatched outcomes", data.unmatched_outcomes, "outcomes that name no prediction of this model"),
    ];
    page.push_str("<section id=\"counts\">\n<h2>What became of the predictions</h2>\n");
    page.push_str(
        "<div class=\"scroll\"><table class=\"counts\"><caption>Counts of predictions and outcomes</caption><tbody>\n",
    );
    for (name, n, meaning) in rows {
        let _ = writeln!(page, r#"<tr><th scope="row">{name}<small>{meaning}</small></th><td>{}</td></tr>"#, count(n));
    }
    page.push_str("</tbody></table></div>\n");
    page.push_str("<p class=\"note\">The figures hold for dispatched cars that arrived. A ride is likelier to be cancelled where the estimate was bad, so the true error is likelier larger than smaller.</p>\n</section>\n");
}

fn footer(page: &mut String, data: &ReportData) {
    page.push_str("<footer><dl>\n");
    let mut item = |term: &str, value: &str| {
        let _ = writeln!(page, "<dt>{term}</dt><dd>{}</dd>", escape(value));
    };
    if let Some(release) = &data.facts.release {
        item("Release in force", release.release_id.as_str());
        item("Released", &instant(release.created_at));
        if let Some(experiment) = &release.experiment_id {
            item("Experiment", experiment);
        }
        let arms: Vec<String> = release
            .arms
            .iter()
            .map(|arm| {
                let weight = arm.weight.map_or_else(String::new, |weight| format!(", {}", percent(weight)));
                format!("{} (model {}{weight})", arm.name, arm.model_version)
            })
            .collect();
        item(if arms.len() == 1 { "Arm" } else { "Arms" }, &arms.join("; "));
    }
    item("Report made", &instant(data.facts.generated_at));
    page.push_str("</dl></footer>\n");
}
