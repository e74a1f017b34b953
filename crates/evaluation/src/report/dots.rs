//! One drawing for values with intervals by category, and the sections that have it: coverage, calibration, maturity.

use super::{
    breakdown::DimensionFigures,
    data::ReportData,
    html::{figure_of, section},
    language::{Language, counted, number, say, signed},
    segments::{dimension_name, value_name},
    svg::{Anchor, SECONDS, Svg, tick_step},
};
use crate::{HORIZON, HOUR_OF_DAY, MaturityPoint};

/// A value with its interval.
struct Dot {
    label: String,
    value: f64,
    interval: Option<[f64; 2]>,
    tip: String,
}

struct Dots<'a> {
    id: &'a str,
    title: &'a str,
    description: &'a str,
    items: Vec<Dot>,
    /// Where the axis has lines, ascending; the first and the last are its ends.
    ticks: Vec<(f64, String)>,
    /// A line to compare with.
    reference: Option<f64>,
    /// Whether neighbours are joined by a line.
    line: bool,
    axis: &'a str,
}

impl Dots<'_> {
    fn draw(&self, wide: bool) -> Option<String> {
        let ([(low, _), .., (high, _)], false) = (&self.ticks[..], self.items.is_empty()) else { return None };
        let (width, height) = if wide { (920.0, 260.0) } else { (370.0, 260.0) };
        let (left, right, top, bottom) = (66.0, width - 12.0, 14.0, 206.0);
        let id = format!("{}-{}", self.id, if wide { "wide" } else { "narrow" });
        let class = if wide { "chart wide" } else { "chart narrow" };
        let mut svg = Svg::new(&id, class, (width, height), self.title, self.description);
        let y = |value: f64| bottom - (value.clamp(*low, *high) - low) / (high - low) * (bottom - top);
        let slot = (right - left) / self.items.len() as f64;
        let x = |index: usize| left + (index as f64 + 0.5) * slot;
        for (value, label) in &self.ticks {
            svg.line(if value == low { "axis" } else { "grid" }, (left, y(*value)), (right, y(*value)));
            svg.text("tick", Anchor::End, (left - 8.0, y(*value) + 4.0), label);
        }
        if let Some(reference) = self.reference {
            svg.line("zero dashed", (left, y(reference)), (right, y(reference)));
        }
        if self.line {
            let points: Vec<(f64, f64)> =
                self.items.iter().enumerate().map(|(index, dot)| (x(index), y(dot.value))).collect();
            svg.path("line model", &points);
        }
        // As many labels as there is room for.
        let longest = self.items.iter().map(|dot| dot.label.chars().count()).max().unwrap_or(1);
        let room = if wide { 8.0 } else { 9.5 } * longest as f64 + 10.0;
        let every = (room / slot).ceil().max(1.0) as usize;
        for (index, dot) in self.items.iter().enumerate() {
            if let Some([low, high]) = dot.interval {
                svg.line("whisker thin", (x(index), y(low)), (x(index), y(high)));
            }
            svg.dot("dot model", (x(index), y(dot.value)), 5.0, "");
            svg.rect("hover", (left + index as f64 * slot, top), (slot, bottom - top), &dot.tip);
            if index % every == 0 {
                svg.text("tick", Anchor::Middle, (x(index), bottom + 20.0), &dot.label);
            }
        }
        svg.text("tick", Anchor::Middle, (f64::midpoint(left, right), bottom + 44.0), self.axis);
        Some(svg.finish())
    }

    fn figure(&self, page: &mut String) {
        if let (Some(wide), Some(narrow)) = (self.draw(true), self.draw(false)) {
            figure_of(page, "", &wide, &narrow);
        }
    }
}

fn dimension<'a>(data: &'a ReportData, name: &str) -> Option<&'a DimensionFigures> {
    data.dimensions.iter().find(|dimension| dimension.name == name)
}

/// The answered intervals: whether they cover what they promise, by hour of the day and by zone.
pub(super) fn coverage(page: &mut String, data: &ReportData, language: Language) {
    let Some(figures) = &data.all.interval else { return };
    let w = language.words();
    let promised = data.facts.release.as_ref().and_then(|release| release.promised_interval);
    let told = promised.map_or_else(String::new, |share| say!(w.coverage_promised, share = language.percent(share)));
    let text = say!(
        w.coverage_text,
        share = language.percent(figures.coverage),
        promised = told,
        below = language.percent(figures.share_below),
        above = language.percent(figures.share_above),
        width = language.seconds(figures.mean_width_s),
    );
    section(page, "coverage", w.coverage, &text);
    for name in [HOUR_OF_DAY, "zone"] {
        let Some(dimension) = dimension(data, name) else { continue };
        let kind = dimension_name(name, language);
        let dots: Vec<Dot> = dimension
            .groups
            .iter()
            .filter_map(|group| Some((group, group.summary.interval.filter(|interval| interval.n >= 20)?)))
            .take(24)
            .map(|(group, interval)| Dot {
                label: group.name.clone(),
                value: interval.coverage,
                interval: Some(interval.coverage_interval),
                tip: say!(
                    w.coverage_tip,
                    name = format!("{kind} {}", group.name),
                    share = language.percent_fine(interval.coverage),
                    interval = language.range(
                        &language.percent(interval.coverage_interval[0]),
                        &language.percent(interval.coverage_interval[1])
                    ),
                    rides = counted(interval.n, w.rides),
                ),
            })
            .collect();
        let least = dots.iter().filter_map(|dot| Some(dot.interval?[0])).fold(1.0, f64::min);
        let from = (least.min(promised.unwrap_or(1.0) - 0.05) * 10.0).floor().max(0.0) as u32;
        let ticks = (from..=10).map(|tenth| (f64::from(tenth) / 10.0, language.percent(f64::from(tenth) / 10.0)));
        let title = say!(w.coverage_chart, kind = kind);
        let id = format!("coverage-{name}");
        let dots = Dots {
            id: &id,
            title: &title,
            description: &text,
            items: dots,
            ticks: ticks.collect(),
            reference: promised,
            line: false,
            axis: kind,
        };
        dots.figure(page);
    }
    page.push_str("</section>\n");
}

/// The bias by predicted duration.
pub(super) fn calibration(page: &mut String, data: &ReportData, language: Language) {
    let Some(dimension) = dimension(data, HORIZON) else { return };
    let w = language.words();
    let dots: Vec<Dot> = dimension
        .groups
        .iter()
        .filter_map(|group| Some((group, group.summary.answer.as_ref().filter(|answer| answer.n >= 5)?)))
        .map(|(group, answer)| {
            let error = ((answer.rmse_s.powi(2) - answer.bias_s.powi(2)).max(0.0) / answer.n as f64).sqrt();
            let bias = say!(w.seconds, n = signed(answer.bias_s.round(), 1.0));
            Dot {
                label: group.name.trim_end_matches(" min").to_owned(),
                value: answer.bias_s,
                interval: Some([answer.bias_s - 1.96 * error, answer.bias_s + 1.96 * error]),
                tip: say!(
                    w.calibration_tip,
                    name = value_name(HORIZON, &group.name, language),
                    bias = bias,
                    mae = language.seconds(answer.mae_s),
                    rides = counted(answer.n, w.rides),
                ),
            }
        })
        .collect();
    if dots.len() < 2 {
        return;
    }
    section(page, "calibration", w.calibration, w.calibration_text);
    let reach = dots.iter().flat_map(|dot| dot.interval.unwrap_or_default()).map(f64::abs).fold(1.0, f64::max);
    let step = tick_step(reach, 2.0, &SECONDS);
    let steps = (reach / step).ceil() as i32;
    let tick = |number: i32| {
        let value = f64::from(number) * step;
        let side = match number {
            number if number == -steps => format!("{}{}", signed(value, 1.0), w.seconds_unit),
            _ => signed(value, 1.0),
        };
        (value, side)
    };
    let described: Vec<&str> = dots.iter().map(|dot| dot.tip.as_str()).collect();
    let described = described.join(w.clause);
    let dots = Dots {
        id: "calibration-chart",
        title: w.calibration_chart,
        description: &described,
        items: dots,
        ticks: (-steps..=steps).map(tick).collect(),
        reference: Some(0.0),
        line: false,
        axis: w.calibration_axis,
    };
    dots.figure(page);
    page.push_str("</section>\n");
}

/// How fast labels land.
pub(super) fn maturity(page: &mut String, curve: &[MaturityPoint], language: Language) {
    let [.., last] = curve else { return };
    let w = language.words();
    let when = |share: f64| curve.iter().find(|point| point.share >= share).map(|point| language.age(point.age_s));
    let text = match (when(0.5), when(0.9)) {
        (Some(half), Some(ninety)) => say!(w.maturity_text, half = half, ninety = ninety),
        _ => say!(w.maturity_text_open, age = language.age(last.age_s), share = language.percent_landed(last.share)),
    };
    section(page, "maturity", w.maturity, &text);
    let dots = curve.iter().map(|point| Dot {
        label: language.age(point.age_s),
        value: point.share,
        interval: None,
        tip: say!(
            w.maturity_tip,
            age = language.age(point.age_s),
            share = language.percent_fine(point.share),
            predictions = counted(point.predictions, w.predictions),
        ),
    });
    let ticks = [0.0, 0.25, 0.5, 0.75, 1.0].map(|share| (share, language.percent(share)));
    let dots = Dots {
        id: "maturity-chart",
        title: w.maturity_chart,
        description: &text,
        items: dots.collect(),
        ticks: ticks.to_vec(),
        reference: None,
        line: true,
        axis: w.maturity_axis,
    };
    dots.figure(page);
    page.push_str("</section>\n");
}

/// A number for a table: `92`, `9.3`.
pub(super) fn seconds_cell(value: Option<f64>) -> String {
    value.map_or_else(super::html::dash, number)
}
