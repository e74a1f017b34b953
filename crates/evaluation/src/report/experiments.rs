//! The experiments' cards.

use std::fmt::Write as _;

use super::{
    data::hour_number,
    drift::told,
    html::{dash, section, table},
    language::{Language, count, say, signed},
    svg::{Anchor, SECONDS, Svg, escape, tick_step},
};
use crate::experiment::{ArmCard, Comparison, ExperimentCard, MetricResult, Role};

pub(super) fn experiments(page: &mut String, cards: &[ExperimentCard], language: Language) {
    let w = language.words();
    for (number, card) in cards.iter().enumerate() {
        let title = say!(w.experiment, id = card.id);
        section(page, &format!("experiment-{number}"), &title, &card.headline(language));
        if card.hours.is_some() {
            for (index, comparison) in card.comparisons.iter().enumerate() {
                figure(page, number * 100 + index, card, comparison, language);
            }
            for comparison in &card.comparisons {
                effects(page, card, comparison, language);
            }
            arms(page, card, language);
            let _ = writeln!(
                page,
                "<p class=\"note\">{} {}</p>",
                told(&card.sample_ratio_words(language)),
                told(&card.method(language))
            );
        }
        page.push_str("</section>\n");
    }
}

fn figure(page: &mut String, number: usize, card: &ExperimentCard, comparison: &Comparison, language: Language) {
    let course = |wide| course(number, card, comparison, wide, language);
    let (Some(wide), Some(narrow)) = (course(true), course(false)) else { return };
    let _ = writeln!(page, "<figure>{wide}{narrow}</figure>");
}

/// The primary metric's effect over time with its interval; `None` where there is no course.
fn course(
    number: usize,
    card: &ExperimentCard,
    comparison: &Comparison,
    wide: bool,
    language: Language,
) -> Option<String> {
    let [first, .., last] = &comparison.course[..] else { return None };
    let w = language.words();
    let metric = comparison.metrics.first()?.metric;
    let (width, height) = if wide { (920.0, 240.0) } else { (370.0, 240.0) };
    let (left, right, top, bottom) = (56.0, width - 12.0, 20.0, height - 34.0);
    // The first looks are so wide that they would flatten the rest.
    let settled = comparison.course.len() / 4;
    let reach = comparison.course[settled..].iter().flat_map(|point| [point.lower.abs(), point.upper.abs()]);
    let reach = reach.fold(0.0, f64::max).max(1e-9);
    let step = tick_step(reach, 2.0, &SECONDS);
    let most = (reach / step).ceil() * step;
    let span = (hour_number(last.until) - hour_number(first.until)).max(1) as f64;
    let x = |hours: i64| left + (hours - hour_number(first.until)) as f64 / span * (right - left);
    let y = |value: f64| top + (most - value.clamp(-most, most)) / (2.0 * most) * (bottom - top);
    let id = format!("course-{number}-{}", if wide { "wide" } else { "narrow" });
    let control = &card.arms[0].name;
    let title = say!(w.course_title, metric = metric.title(language), arm = comparison.arm, control = control);
    let difference = |value: f64| metric.difference(value, language);
    let text = say!(
        w.course_text,
        from = language.hour(first.until),
        until = language.hour(last.until),
        effect = difference(last.effect),
        low = difference(last.lower),
        high = difference(last.upper),
    );
    let mut svg = Svg::new(&id, if wide { "chart wide" } else { "chart narrow" }, (width, height), &title, &text);
    let mut tick = -most;
    while tick <= most + step / 2.0 {
        let zero = tick.abs() < step / 2.0;
        svg.line(if zero { "zero" } else { "grid" }, (left, y(tick)), (right, y(tick)));
        let unit = if tick + step > most + step / 2.0 { w.seconds_unit } else { "" };
        let value = if zero { 0.0 } else { tick };
        svg.text("tick", Anchor::End, (left - 8.0, y(tick) + 4.0), &format!("{}{unit}", signed(value, 1.0)));
        tick += step;
    }
    let at = |point: &crate::experiment::CoursePoint| x(hour_number(point.until));
    let upper = comparison.course.iter().map(|point| (at(point), y(point.upper)));
    let lower = comparison.course.iter().rev().map(|point| (at(point), y(point.lower)));
    svg.area("band", &upper.chain(lower).collect::<Vec<_>>());
    let line: Vec<(f64, f64)> = comparison.course.iter().map(|point| (at(point), y(point.effect))).collect();
    svg.path("line model", &line);
    for point in &comparison.course {
        let tip = say!(
            w.course_tip,
            hour = language.hour(point.until.plus(1)),
            effect = difference(point.effect),
            low = difference(point.lower),
            high = difference(point.upper),
        );
        svg.dot("dot model", (at(point), y(point.effect)), 3.0, &tip);
    }
    svg.text("tick", Anchor::Start, (left, bottom + 24.0), &language.day(first.until));
    svg.text("tick", Anchor::End, (right, bottom + 24.0), &language.day(last.until));
    let better = if metric.higher_is_better() { w.course_above } else { w.course_below };
    svg.text("tick", Anchor::Middle, (f64::midpoint(left, right), bottom + 24.0), better);
    Some(svg.finish())
}

fn effects(page: &mut String, card: &ExperimentCard, comparison: &Comparison, language: Language) {
    let w = language.words();
    let [control, treatment] = [&card.arms[0].name, &comparison.arm].map(|name| escape(name));
    let head = ["", &control, &treatment, w.effects_head];
    let row = |result: &MetricResult| {
        let value = |value: Option<f64>| value.map_or_else(dash, |value| result.metric.value(value, language));
        let mut words = escape(&result.words(language));
        if let Some(reduction) = result.effect.and_then(|effect| effect.variance_reduction) {
            let _ = write!(words, "<small>{}</small>", say!(w.cuped, share = language.percent(reduction)));
        }
        let words = format!(r#"<span class="effect">{words}</span>"#);
        (result.metric.title(language).to_owned(), vec![value(result.control), value(result.treatment), words])
    };
    let rows = |role: Role| comparison.metrics.iter().filter(|result| result.role == role).map(row).collect::<Vec<_>>();
    let blocks = [
        (w.role_primary, rows(Role::Primary)),
        (w.role_secondary, rows(Role::Secondary)),
        (w.role_guardrail, rows(Role::Guardrail)),
    ];
    table(page, &say!(w.effects_caption, arm = treatment), &head, blocks);
}

fn arms(page: &mut String, card: &ExperimentCard, language: Language) {
    let w = language.words();
    let head = ["", w.col_planned, w.col_units, w.col_predictions, w.col_rides, w.col_excluded, w.col_landed];
    let row = |arm: &ArmCard| {
        let cells = vec![
            arm.weight.map_or_else(dash, |weight| language.percent(weight)),
            count(arm.units),
            count(arm.predictions),
            count(arm.joined),
            count(arm.excluded),
            escape(&arm.label_maturity.map_or_else(dash, |share| language.percent_landed(share))),
        ];
        (arm.name.clone(), cells)
    };
    table(page, w.arms_caption, &head, [("", card.arms.iter().map(row).collect())]);
}
