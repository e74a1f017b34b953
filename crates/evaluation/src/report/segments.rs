//! Segments: where the error is, and all of them as tables.

use std::fmt::Write as _;

use super::{
    breakdown::{DimensionFigures, MIN_SEGMENT_RIDES, SegmentToLookAt},
    charts::{Bars, bars},
    data::ReportData,
    dots::seconds_cell,
    html::{BAR_MODEL, MARK_NAIVE, Row, WHISKER, dash, figure_of, legend, section, table},
    language::{Language, count, fill, number, say},
    svg::escape,
};
use crate::{HORIZON, HOUR_OF_DAY, Summary, UNKNOWN};

/// A dimension for people.
pub(super) fn dimension_name(name: &str, language: Language) -> &str {
    let w = language.words();
    match name {
        HOUR_OF_DAY => w.dim_hour_of_day,
        HORIZON => w.dim_horizon,
        "zone" => w.dim_zone,
        "spec" => w.dim_spec,
        name => name,
    }
}

/// A value for people.
pub(super) fn value_name(dimension: &str, value: &str, language: Language) -> String {
    let w = language.words();
    match dimension {
        _ if value == UNKNOWN => w.segment_unknown.to_owned(),
        HORIZON => value.replace(" min", &fill(w.age_min, &[("n", "")])),
        _ => value.to_owned(),
    }
}

pub(super) fn segment_name(segment: &SegmentToLookAt, language: Language) -> String {
    say!(
        language.words().segment_name,
        dimension = dimension_name(&segment.dimension, language),
        value = value_name(&segment.dimension, &segment.value, language)
    )
}

pub(super) fn segments(page: &mut String, data: &ReportData, language: Language) {
    let w = language.words();
    let Some(whole) = data.all.answer.filter(|_| !data.dimensions.is_empty()) else { return };
    let found = &data.segments_to_look_at;
    let n = [("n", &*count(MIN_SEGMENT_RIDES))];
    let text = if found.is_empty() { fill(w.segments_none, &n) } else { fill(w.segments_text, &n) };
    section(page, "segments", w.segments, &text);
    if !found.is_empty() {
        let groups = found.iter().map(|segment| (segment_name(segment, language), &segment.summary)).collect();
        let shown = Bars { id: "segments", title: w.segments_chart, groups, whole_s: Some(whole.mae_s) };
        if let (Some(wide), Some(narrow)) = (bars(&shown, true, language), bars(&shown, false, language)) {
            let legend =
                legend((BAR_MODEL, w.model), &[(MARK_NAIVE, w.naive), (WHISKER, w.interval_95), (WHOLE, w.text_all)]);
            figure_of(page, &legend, &wide, &narrow);
        }
        let head = ["", w.col_rides, w.col_share, w.col_mae, w.col_adds, w.col_bias, w.col_within, w.col_landed];
        let row = |segment: &SegmentToLookAt| {
            let answer = segment.summary.answer.as_ref();
            let cells = vec![
                count(segment.summary.counts.joined),
                language.percent(segment.share),
                mae_cell(&segment.summary, language),
                format!("+{}", number(segment.adds_s)),
                seconds_cell(answer.map(|answer| answer.bias_s)),
                answer.map_or_else(dash, |answer| language.percent(answer.share_within_120_s)),
                landed_cell(&segment.summary, language),
            ];
            (segment_name(segment, language), cells)
        };
        table(page, w.segments_chart, &head, [("", found.iter().map(row).collect())]);
    }
    let _ = writeln!(page, "<details><summary>{}</summary>", w.segments_all);
    let head = [
        "",
        w.col_rides,
        w.col_mae,
        w.col_naive_mae,
        w.col_weighted,
        w.col_bias,
        w.col_within,
        w.col_coverage,
        w.col_cancelled,
        w.col_landed,
    ];
    let blocks: Vec<(String, Vec<Row>)> = data.dimensions.iter().map(|dimension| block(dimension, language)).collect();
    table(page, w.segments_caption, &head, blocks.iter().map(|(name, rows)| (name.as_str(), rows.clone())));
    page.push_str("</details>\n</section>\n");
}

const WHOLE: &str = r#"<path class="zero dashed" d="M13,-1V13"/>"#;

fn block(dimension: &DimensionFigures, language: Language) -> (String, Vec<Row>) {
    let w = language.words();
    let row = |name: String, summary: &Summary| {
        let answer = summary.answer.as_ref();
        let cells = vec![
            count(summary.counts.joined),
            mae_cell(summary, language),
            seconds_cell(summary.fallback.map(|fallback| fallback.mae_s)),
            seconds_cell(summary.weighted.map(|weighted| weighted.mae_s)),
            seconds_cell(answer.map(|answer| answer.bias_s)),
            answer.map_or_else(dash, |answer| language.percent(answer.share_within_120_s)),
            summary.interval.map_or_else(dash, |interval| language.percent(interval.coverage)),
            count(summary.counts.cancelled),
            landed_cell(summary, language),
        ];
        (name, cells)
    };
    let rows = dimension
        .groups
        .iter()
        .map(|group| row(value_name(&dimension.name, &group.name, language), &group.summary))
        .collect();
    let name = dimension_name(&dimension.name, language);
    let more = match dimension.others {
        0 => String::new(),
        others => format!(" (+{})", count(others as u64)),
    };
    (escape(&format!("{}{more}", fill(w.by_kind, &[("kind", name)]))), rows)
}

/// The mean absolute error with its interval.
pub(super) fn mae_cell(summary: &Summary, language: Language) -> String {
    let Some(answer) = &summary.answer else { return dash() };
    let interval = answer.mae_interval_s.map_or_else(String::new, |[low, high]| {
        format!("<small>{}</small>", language.range(&number(low), &number(high)))
    });
    number(answer.mae_s) + &interval
}

pub(super) fn landed_cell(summary: &Summary, language: Language) -> String {
    escape(&summary.label_maturity.map_or_else(dash, |share| language.percent_landed(share)))
}
