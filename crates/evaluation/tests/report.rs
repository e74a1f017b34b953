//! The report's three forms, from the evaluations of a synthetic city.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;

use domain::{Hour, OutcomeEvent, PredictionId, Tier};
use evaluation::{
    PredictionRow, evaluate_hour,
    report::{Language, NoFigures, PageOptions, ReportData, ReportFacts, render_html, render_markdown, render_text},
};

/// Tags that are opened and closed in order, and the ids on the way. Panics where they are not.
fn check_markup(html: &str) -> BTreeSet<String> {
    const VOID: [&str; 3] = ["meta", "link", "!doctype"];
    let mut open: Vec<&str> = Vec::new();
    let mut ids = BTreeSet::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>').unwrap();
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        let name = tag.split([' ', '/', '\n']).find(|name| !name.is_empty()).unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "closed out of order");
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
        for attribute in tag.split(" id=\"").skip(1) {
            let id = attribute.split('"').next().unwrap();
            assert!(ids.insert(id.to_owned()), "the id {id} is there twice");
        }
    }
    assert_eq!(open, Vec::<&str>::new());
    ids
}

fn html_of(data: &ReportData) -> String {
    render_html(data, &PageOptions::default())
}

fn assert_self_contained_and_accessible(html: &str) {
    let ids = check_markup(html);
    for loaded in ["http:", "https:", "<script", " src=", "@import", "url(", "onload", "onclick", "<iframe"] {
        assert!(!html.contains(loaded), "{loaded}");
    }
    assert!(html.contains(r#"<html lang="en">"#) && html.contains("prefers-color-scheme: dark"));
    for svg in html.split("<svg ").skip(1) {
        let tag = svg.split('>').next().unwrap();
        if tag.contains("aria-hidden") {
            continue;
        }
        assert!(tag.contains(r#"role="img""#), "{tag}");
        let labels = tag.split("aria-labelledby=\"").nth(1).unwrap().split('"').next().unwrap();
        assert!(labels.split(' ').all(|id| ids.contains(id)), "{labels}");
        assert!(svg.contains("<title id=") && svg.contains("<desc id="));
    }
    for table in html.split("<table").skip(1) {
        let table = table.split("</table>").next().unwrap();
        assert!(table.contains("<caption>"));
        assert!(
            table.matches("<th").count() - 1 == table.matches("<th ").count() + table.matches("<thead").count() - 1
        );
        assert!(table.split("<th ").skip(1).all(|th| th.split('>').next().unwrap().contains("scope=")));
    }
}

#[test]
fn the_page_stands_alone_and_says_what_the_data_says() {
    let data = support::city(72, 20.0);
    let html = html_of(&data);
    assert_self_contained_and_accessible(&html);
    assert_eq!(html, html_of(&data));
    for id in [
        "over-time",
        "errors",
        "close-enough",
        "calibration",
        "coverage",
        "segments",
        "experiment-0",
        "arms",
        "figures",
    ]
    .into_iter()
    .chain(["models", "drift", "maturity", "counts"])
    {
        assert!(html.contains(&format!("id=\"{id}\"")), "{id}");
    }
    // What was put into the city is found in it.
    assert!(
        data.segments_to_look_at.iter().any(|segment| segment.value == "airport"),
        "{:?}",
        data.segments_to_look_at
    );
    let drifted = data.drift.as_ref().unwrap().drifted();
    assert!(drifted.contains(&"rain_mm") && drifted.contains(&"wind_m_s") && !drifted.contains(&"zone"), "{drifted:?}");
    assert!(html.contains("features drift: rain_mm") && html.contains("airport"), "{html}");
    assert!(html.contains("promised interval") && html.contains("held-out rows: train again"));
    assert!(html.contains("id=\"experiment-0\"") && html.contains("confidence sequences"));
    assert!(html.contains("by arm") && html.contains("deeper-trees") && html.contains("95 % interval"));
    // The night without an archive is a gap, not a line through it.
    assert_eq!(data.over_time.len(), 68);
    let joined: u64 = data.over_time.iter().map(|point| point.summary.counts.joined).sum();
    assert_eq!(joined, data.all.counts.joined);
    for groups in [&data.by_arm, &data.by_tier, &data.by_model_version] {
        assert_eq!(groups.len(), 2);
        assert_eq!(groups.iter().map(|group| group.summary.counts.joined).sum::<u64>(), joined);
    }
    let answer = data.all.answer.unwrap();
    assert!(answer.mae_s < data.all.fallback.unwrap().mae_s);
    assert!(data.headline.contains(&format!("{:.0} s against", answer.mae_s)), "{}", data.headline);
}

#[test]
fn each_language_has_the_page_whole_and_leads_to_the_other() {
    let data = support::city(72, 20.0);
    let page = |language, others| render_html(&data, &PageOptions { language, others, lake_root: Some("../../") });
    let en = page(Language::English, &[(Language::Japanese, "index.ja.html")]);
    let ja = page(Language::Japanese, &[(Language::English, "index.html")]);
    check_markup(&en);
    check_markup(&ja);
    assert!(en.contains(r#"href="index.ja.html" lang="ja""#) && ja.contains(r#"href="index.html" lang="en""#));
    assert!(ja.contains(r#"<html lang="ja">"#) && ja.contains("モデルの平均絶対誤差は"));
    assert!(en.contains(&format!("href=\"../../{}\"", domain::lake::report_json(&data.facts.model))));
    // The same drawings and tables.
    for part in ["<svg ", "<table", "<tr>", "<section", "<li"] {
        assert_eq!(en.matches(part).count(), ja.matches(part).count(), "{part}");
    }
    // Names alone are left in English.
    let text: String =
        ja.split("</style>").nth(1).unwrap().split('<').map(|tag| tag.split('>').nth(1).unwrap_or("")).collect();
    for word in [" the ", "rides", "labels", "naive", "predictions", "landed", "interval", " than "] {
        assert!(
            !text.contains(word),
            "{word}: {}",
            text.split(word).next().unwrap().chars().rev().take(60).collect::<String>()
        );
    }
    let markdown = render_markdown(&data, Language::Japanese);
    assert!(markdown.contains("## 実験 deeper-trees") && markdown.contains("特徴量にドリフトがあります"), "{markdown}");
    assert!(render_text(&data, Language::Japanese).contains("ラベル到着率"));
}

#[test]
fn the_json_comes_back() {
    let data = support::city(30, 10.0);
    assert_eq!(serde_json::from_slice::<ReportData>(&data.to_json()).unwrap(), data);
}

#[test]
fn the_terminal_gets_the_same_figures() {
    let data = support::city(30, 10.0);
    let text = render_text(&data, Language::English);
    assert!(text.contains(&data.headline) && text.contains("arm deeper-trees") && text.contains("tier fallback"));
    assert!(text.contains(&format!("{} predictions", data.all.counts.predictions)), "{text}");
    let widths: BTreeSet<usize> =
        text.lines().filter(|line| line.starts_with("arm ")).map(|line| line.chars().count()).collect();
    assert_eq!(widths.len(), 1, "{text}");
}

#[test]
fn long_windows_have_more_hours_to_a_point() {
    let data = support::city(450, 0.8);
    assert!(data.over_time.len() <= 200 && data.over_time.iter().all(|point| point.hours == 3));
    let predictions: u64 = data.over_time.iter().map(|point| point.summary.counts.predictions).sum();
    assert_eq!(predictions, data.all.counts.predictions);
    assert_self_contained_and_accessible(&html_of(&data));
}

#[test]
fn one_hour_is_a_report_too() {
    let html = html_of(&support::city(1, 300.0));
    assert_self_contained_and_accessible(&html);
    assert!(!html.contains("Error over time") && html.contains("How far off"));
}

fn facts() -> ReportFacts {
    let model = "pickup-eta".parse().unwrap();
    ReportFacts { model, generated_at: "2026-11-20T08:00:00Z".parse().unwrap(), release: None }
}

#[test]
fn without_data_it_says_why() {
    let data = ReportData::new(facts(), &[]).unwrap();
    assert_eq!(data.no_figures, Some(NoFigures::NoPredictions));
    let html = html_of(&data);
    assert_self_contained_and_accessible(&html);
    assert!(html.contains("there are no predictions in this window") && !html.contains("NaN"));
    assert!(render_text(&data, Language::English).contains("there are no predictions"));
    assert_eq!(serde_json::from_slice::<ReportData>(&data.to_json()).unwrap(), data);

    let hour: Hour = "2026-11-20T07".parse().unwrap();
    let row = hostile_row(hour);
    let evaluations = [hour, hour.plus(1)].map(|hour| evaluate_hour(hour, &facts().model, [row], &[]));
    let data = ReportData::new(facts(), &evaluations).unwrap();
    assert_eq!(data.no_figures, Some(NoFigures::NoOutcomesYet));
    let html = html_of(&data);
    assert_self_contained_and_accessible(&html);
    assert!(html.contains("no outcome so far") && html.contains("labels landed"));
}

fn hostile_row(hour: Hour) -> PredictionRow<'static> {
    PredictionRow {
        prediction_id: *PredictionId::new(hour.start(), [1; 10]).as_bytes(),
        candidate_id: "car",
        model_version: "</title><script>alert('1')</script>",
        arm: "\"><img src=x onerror=alert(1)>\u{1b}[31m & a name that does not end, and goes on and on and on",
        tier: Tier::Endpoint,
        requested_at_us: hour.start().as_microsecond(),
        prediction_s: 300.0,
        uncorrected_s: None,
        fallback_s: 400.0,
        interval: None,
        values: &[],
        experiment: None,
        unit_id: None,
    }
}

#[test]
fn names_are_text_whatever_they_hold() {
    let hour: Hour = "2026-11-20T07".parse().unwrap();
    let row = hostile_row(hour);
    let outcome = OutcomeEvent {
        prediction_id: PredictionId::new(hour.start(), [1; 10]),
        candidate_id: Some("car".parse().unwrap()),
        observed_at: hour.start(),
        dispatched_at: None,
        arrived_at: Some("2026-11-20T07:05:10Z".parse().unwrap()),
        cancelled_at: None,
        metrics: std::collections::BTreeMap::new(),
    };
    let data = ReportData::new(facts(), &[evaluate_hour(hour, &facts().model, [row], &[outcome])]).unwrap();
    let html = html_of(&data);
    check_markup(&html);
    assert!(!html.contains("<script") && !html.contains("<img") && !html.contains('\u{1b}'));
    assert!(html.contains("&lt;script&gt;"));
    assert!(!render_text(&data, Language::English).contains('\u{1b}'));
}

#[test]
fn a_report_is_of_one_model() {
    let hour: Hour = "2026-11-20T07".parse().unwrap();
    let other = evaluate_hour(hour, &"other".parse().unwrap(), [], &[]);
    assert_eq!(ReportData::new(facts(), &[other]).unwrap_err().reason(), "different_model");
}
