//! The charts. The model is a solid blue, the naive estimate an amber that is also dashed, hollow or thin, so that the two
//! are told apart without colour.

use super::{
    data::{Group, TimePoint, hour_number},
    error_bins::{ErrorBin, ErrorBins},
    language::{Language, count, counted, number, plural, say, signed},
    svg::{Anchor, SECONDS, Svg, tick_step},
};
use crate::{Figures, Summary, WITHIN_S};

/// Below this label maturity a point is drawn paler: it will still move.
pub(super) const MATURE: f64 = 0.8;

/// The most groups in one chart; the tables have all.
const MOST_BARS: usize = 12;

/// Mean absolute error over time, and the label maturity below it. `wide` has room for labels at the lines' ends.
pub(super) fn over_time(points: &[TimePoint], wide: bool, language: Language) -> Option<String> {
    let w = language.words();
    // One point makes no course.
    let [first, .., last] = points else { return None };
    let (width, height) = if wide { (920.0, 330.0) } else { (370.0, 330.0) };
    let (left, right) = (46.0, width - 8.0);
    let (top, bottom) = (14.0, 222.0);
    let (strip_top, strip_bottom) = (250.0, 294.0);
    let origin = hour_number(first.from);
    let span = (hour_number(last.from) + last.hours - origin) as f64;
    let x = |hours: f64| left + hours / span * (right - left);
    let begin = |point: &TimePoint| (hour_number(point.from) - origin) as f64;
    let middle = |point: &TimePoint| x(begin(point) + point.hours as f64 / 2.0);

    let answer = |point: &TimePoint| point.summary.answer.map(|figures| figures.mae_s);
    let fallback = |point: &TimePoint| point.summary.fallback.map(|figures| figures.mae_s);
    let reach = points.iter().flat_map(|point| [answer(point), fallback(point)]).flatten().fold(0.0, f64::max);
    let step = tick_step(reach, 5.0, &SECONDS);
    let most = ((reach / step).ceil() * step).max(step);
    let y = |value: f64| bottom - value.clamp(0.0, most) / most * (bottom - top);

    let id = if wide { "time-wide" } else { "time-narrow" };
    let class = if wide { "chart wide" } else { "chart narrow" };
    let mut svg = Svg::new(id, class, (width, height), w.over_time_chart, &describe_time(points, language));
    let mut tick = 0.0;
    while tick <= most {
        svg.line(if tick == 0.0 { "axis" } else { "grid" }, (left, y(tick)), (right, y(tick)));
        // The unit once, at the top.
        let unit = if tick + step > most { w.seconds_unit } else { "" };
        svg.text("tick", Anchor::End, (left - 8.0, y(tick) + 4.0), &format!("{tick:.0}{unit}"));
        tick += step;
    }
    time_axis(&mut svg, first.from, span, &x, (strip_bottom, if wide { 62.0 } else { 54.0 }), language);

    for (from, to) in points.iter().zip(points.iter().skip(1)) {
        let adjacent = hour_number(from.from) + from.hours == hour_number(to.from);
        if let (true, Some(a), Some(b)) = (adjacent, band(from), band(to)) {
            let (xa, xb) = (middle(from), middle(to));
            svg.area("band", &[(xa, y(a[0])), (xb, y(b[0])), (xb, y(b[1])), (xa, y(a[1]))]);
        }
    }
    let series: [(&str, Value<'_>); 2] = [("naive", &fallback), ("model", &answer)];
    for (class, value) in series {
        for run in runs(points, value) {
            let place: Vec<(f64, f64)> =
                run.points.iter().filter_map(|point| Some((middle(point), y(value(point)?)))).collect();
            let pale = if run.mature { "" } else { " pale" };
            if let [only] = place[..] {
                svg.dot(&format!("dot {class}{pale}"), only, 4.0, "");
            } else {
                svg.path(&format!("line {class}{pale}"), &place);
            }
        }
    }

    svg.text("tick", Anchor::Start, (left + 4.0, strip_top - 5.0), w.labels_landed);
    svg.text("tick", Anchor::End, (left - 8.0, strip_top + 5.0), &language.percent(1.0));
    svg.text("tick", Anchor::End, (left - 8.0, strip_bottom + 4.0), "0");
    svg.line("grid", (left, strip_top), (right, strip_top));
    svg.line("axis", (left, strip_bottom), (right, strip_bottom));
    let slot = |point: &TimePoint| x(point.hours as f64) - x(0.0);
    for point in points {
        if let Some(maturity) = point.summary.label_maturity {
            let bar = maturity * (strip_bottom - strip_top);
            let gap = (slot(point) * 0.2).min(1.5);
            let class = if maturity < MATURE { "landed pale" } else { "landed" };
            svg.rect(class, (x(begin(point)) + gap / 2.0, strip_bottom - bar), (slot(point) - gap, bar), "");
        }
        svg.rect("hover", (x(begin(point)), top), (slot(point), strip_bottom - top), &point_tip(point, language));
    }
    Some(svg.finish())
}

fn band(point: &TimePoint) -> Option<[f64; 2]> {
    point.summary.answer?.mae_interval_s
}

/// What the chart shows, in a sentence.
pub(super) fn describe_time(points: &[TimePoint], language: Language) -> String {
    let w = language.words();
    let with_figures: Vec<_> = points.iter().filter_map(|point| point.summary.improvement).collect();
    let better = with_figures.iter().filter(|improvement| improvement.share > 0.0).count();
    let of = |n: usize| {
        let n = n as u64;
        let what = match points.first().map_or(1, |point| point.hours) {
            1 => plural(n, w.hour_one).to_owned(),
            hours => say!(plural(n, w.stretch), n = hours.to_string()),
        };
        say!(w.of_many, n = count(n), what = what)
    };
    let pale = points.iter().filter(|point| point.summary.label_maturity.is_some_and(|share| share < MATURE)).count();
    let pale = match pale {
        0 => String::new(),
        pale => say!(w.over_time_pale, n = pale.to_string(), all = of(points.len())),
    };
    say!(w.over_time_text, better = better.to_string(), all = of(with_figures.len())) + &pale
}

fn point_tip(point: &TimePoint, language: Language) -> String {
    let w = language.words();
    let counts = &point.summary.counts;
    let until = point.from.plus(point.hours);
    let figures = match (&point.summary.answer, &point.summary.fallback) {
        (Some(answer), Some(fallback)) => {
            let naive = say!(w.tip_naive, value = language.seconds(fallback.mae_s));
            format!("{}\n{naive}", model_tip(answer, language))
        }
        _ => w.tip_no_arrivals.to_owned(),
    };
    let landed = point.summary.label_maturity.map_or_else(|| w.none.to_owned(), |share| language.percent_landed(share));
    let landed = say!(
        w.tip_landed,
        rides = counted(counts.joined, w.rides),
        predictions = counted(counts.predictions, w.predictions),
        landed = landed,
    );
    format!("{} – {:02}:00 UTC\n{figures}\n{landed}", language.hour(point.from), until.hour_of_day())
}

fn model_tip(answer: &Figures, language: Language) -> String {
    let (w, value) = (language.words(), language.seconds(answer.mae_s));
    match answer.mae_interval_s {
        Some([low, high]) => {
            say!(w.tip_model_interval, value = value, interval = language.range(&number(low), &number(high)))
        }
        None => say!(w.tip_model, value = value),
    }
}

/// One figure of a point.
type Value<'a> = &'a dyn Fn(&TimePoint) -> Option<f64>;

/// Neighbours that are drawn as one line.
struct Run<'a> {
    points: Vec<&'a TimePoint>,
    mature: bool,
}

/// Cuts at gaps, and where the label maturity crosses [`MATURE`]; there the two lines share a point.
fn runs<'a>(points: &'a [TimePoint], value: Value<'_>) -> Vec<Run<'a>> {
    let mut runs: Vec<Run<'a>> = Vec::new();
    for point in points.iter().filter(|point| value(point).is_some()) {
        let mature = point.summary.label_maturity.is_some_and(|share| share >= MATURE);
        let start = hour_number(point.from);
        let before = runs.last().and_then(|run| run.points.last().copied());
        let neighbour = before.filter(|before| hour_number(before.from) + before.hours == start);
        match (neighbour, runs.last_mut()) {
            (Some(_), Some(run)) if run.mature == mature => run.points.push(point),
            (Some(before), _) => runs.push(Run { points: vec![before, point], mature }),
            (None, _) => runs.push(Run { points: vec![point], mature }),
        }
    }
    runs
}

fn time_axis(
    svg: &mut Svg,
    first: domain::Hour,
    span: f64,
    x: &dyn Fn(f64) -> f64,
    (baseline, room): (f64, f64),
    language: Language,
) {
    const HOURS: [f64; 10] = [1.0, 2.0, 3.0, 6.0, 12.0, 24.0, 48.0, 72.0, 168.0, 336.0];
    let most = ((x(span) - x(0.0)) / room).floor().max(1.0);
    let step = tick_step(span, most, &HOURS) as i64;
    let origin = hour_number(first);
    let mut at = origin.div_euclid(step) * step;
    while at as f64 <= origin as f64 + span {
        if at >= origin {
            let (place, tick) = (x((at - origin) as f64), first.plus(at - origin));
            let midnight = tick.hour_of_day() == 0;
            let text =
                if midnight || step >= 24 { language.day(tick) } else { format!("{:02}:00", tick.hour_of_day()) };
            svg.line("axis", (place, baseline), (place, baseline + 4.0));
            // A text centred under the last tick would be cut off.
            let anchor = if place > x(span) - room / 3.0 { Anchor::End } else { Anchor::Middle };
            svg.text(if midnight { "tick strong" } else { "tick" }, anchor, (place, baseline + 18.0), &text);
        }
        at += step;
    }
}

/// The distribution of the signed error.
pub(super) fn error_histogram(bins: &ErrorBins, description: &str, language: Language) -> String {
    let w = language.words();
    let (width, height) = (450.0, 300.0);
    let (left, right, top, bottom) = (40.0, 440.0, 22.0, 234.0);
    let mut svg = Svg::new("errors", "chart", (width, height), w.errors_chart, description);
    let slot = (right - left) / bins.bins.len() as f64;
    let reach = bins.bins.iter().map(|bin| bin.answer.max(bin.fallback)).fold(0.0, f64::max);
    let step = tick_step(reach, 5.0, &[0.01, 0.02, 0.05, 0.1, 0.2, 0.25]);
    let most = ((reach / step).ceil() * step).max(step);
    let y = |share: f64| bottom - share / most * (bottom - top);
    let centre = f64::midpoint(left, right);
    let x = |error_s: f64| centre + error_s / bins.width_s * slot;

    let edge = (bins.bins.len() as f64 / 2.0 - 1.0) * bins.width_s;
    let near = 120f64.min(edge);
    svg.rect("near", (x(-near), top), (x(near) - x(-near), bottom - top), "");
    if near == 120.0 {
        svg.text("tick", Anchor::Middle, (centre, top - 7.0), w.errors_within);
    }
    let mut tick = 0.0;
    while tick <= most * 1.001 {
        svg.line(if tick == 0.0 { "axis" } else { "grid" }, (left, y(tick)), (right, y(tick)));
        svg.text("tick", Anchor::End, (left - 7.0, y(tick) + 4.0), &language.percent(tick));
        tick += step;
    }
    let place = |index: usize| left + index as f64 * slot;
    for (index, bin) in bins.bins.iter().enumerate() {
        let open = bin.from_s.is_none() || bin.to_s.is_none();
        let class = if open { "bar model open" } else { "bar model" };
        svg.rect(class, (place(index) + 0.75, y(bin.answer)), (slot - 1.5, bottom - y(bin.answer)), "");
    }
    let mut outline = vec![(left, bottom)];
    for (index, bin) in bins.bins.iter().enumerate() {
        outline.extend([(place(index), y(bin.fallback)), (place(index + 1), y(bin.fallback))]);
    }
    outline.push((right, bottom));
    svg.path("line under", &outline);
    svg.path("line naive outline", &outline);
    svg.line("zero", (centre, top), (centre, bottom));
    for (index, bin) in bins.bins.iter().enumerate() {
        svg.rect("hover", (place(index), top), (slot, bottom - top), &bin_tip(bin, language));
    }

    let (unit_s, unit) = if edge >= 180.0 { (60.0, w.errors_axis_minutes) } else { (1.0, w.errors_axis_seconds) };
    let step = tick_step(edge, 3.0, &SECONDS);
    let mut tick = -(edge / step).floor() * step;
    while tick <= edge {
        svg.line("axis", (x(tick), bottom), (x(tick), bottom + 4.0));
        svg.text("tick", Anchor::Middle, (x(tick), bottom + 18.0), &signed(tick, unit_s));
        tick += step;
    }
    svg.text("tick strong", Anchor::Start, (left, bottom + 40.0), w.errors_later);
    svg.text("tick strong", Anchor::End, (right, bottom + 40.0), w.errors_earlier);
    svg.text("tick", Anchor::Middle, (centre, bottom + 58.0), unit);
    svg.finish()
}

fn bin_tip(bin: &ErrorBin, language: Language) -> String {
    let w = language.words();
    let side = |template: &str, from: f64, to: f64| say!(template, low = number(from), high = number(to));
    let range = match (bin.from_s, bin.to_s) {
        (Some(from), Some(to)) if to <= 0.0 => side(w.bin_later, -to, -from),
        (Some(from), Some(to)) => side(w.bin_earlier, from, to),
        (None, Some(to)) => say!(w.bin_more_later, s = language.seconds(-to)),
        (Some(from), None) => say!(w.bin_more_earlier, s = language.seconds(from)),
        (None, None) => String::new(),
    };
    let shares =
        say!(w.bin_shares, model = language.percent_fine(bin.answer), naive = language.percent_fine(bin.fallback));
    format!("{range}\n{shares}")
}

/// The shares of rides within one, two, three and five minutes.
pub(super) fn shares_within(answer: &Figures, fallback: &Figures, description: &str, language: Language) -> String {
    let w = language.words();
    let (width, height) = (450.0, 300.0);
    let (left, right, top, bottom) = (66.0, 424.0, 22.0, 234.0);
    let mut svg = Svg::new("within", "chart", (width, height), w.close_chart, description);
    let x = |share: f64| left + share * (right - left);
    for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
        svg.line(if tick == 0.0 { "axis" } else { "grid" }, (x(tick), top), (x(tick), bottom));
        svg.text("tick", Anchor::Middle, (x(tick), bottom + 18.0), &language.percent(tick));
    }
    svg.text("tick", Anchor::Middle, (x(0.5), bottom + 40.0), w.close_axis);
    let pairs = answer.shares_within().into_iter().zip(fallback.shares_within());
    for (index, (bound_s, (model, naive))) in WITHIN_S.iter().zip(pairs).enumerate() {
        let y = top + (bottom - top) * (index as f64 + 0.5) / WITHIN_S.len() as f64;
        svg.text("label", Anchor::End, (left - 12.0, y + 4.0), &say!(w.close_bound, n = (bound_s / 60).to_string()));
        svg.line("link", (x(naive), y), (x(model), y));
        let tip = |who: &str, share: f64| {
            say!(w.close_tip, who = who, share = language.percent_fine(share), s = bound_s.to_string())
        };
        svg.dot("dot naive", (x(naive), y), 5.5, &tip(w.who_naive, naive));
        svg.dot("dot model", (x(model), y), 6.5, &tip(w.model, model));
        let (near, far) = ((model, "label model"), (naive, "label naive"));
        let ((low, low_class), (high, high_class)) = if model < naive { (near, far) } else { (far, near) };
        // Above the dots, and apart where those are close.
        let push = (50.0 - (x(high) - x(low))).max(0.0) / 2.0;
        svg.text(low_class, Anchor::Middle, (x(low) - push, y - 12.0), &language.percent(low));
        svg.text(high_class, Anchor::Middle, (x(high) + push, y - 12.0), &language.percent(high));
    }
    svg.finish()
}

/// Groups for [`bars`].
pub(super) struct Bars<'a> {
    /// Unique in the page.
    pub(super) id: &'a str,
    /// The drawing's name.
    pub(super) title: &'a str,
    /// Names and figures.
    pub(super) groups: Vec<(String, &'a Summary)>,
    /// A line for all groups together, where one helps.
    pub(super) whole_s: Option<f64>,
}

impl<'a> Bars<'a> {
    pub(super) fn of(id: &'a str, title: &'a str, groups: &'a [Group]) -> Self {
        let groups = groups.iter().map(|group| (group.name.clone(), &group.summary)).collect();
        Self { id, title, groups, whole_s: None }
    }
}

/// Mean absolute error per group, with its 95 % interval and the naive estimate's. `None` where no group has figures.
pub(super) fn bars(bars: &Bars<'_>, wide: bool, language: Language) -> Option<String> {
    let w = language.words();
    let figures: Vec<(&str, &Figures, &Figures)> = bars
        .groups
        .iter()
        .filter_map(|(name, summary)| Some((name.as_str(), summary.answer.as_ref()?, summary.fallback.as_ref()?)))
        .take(MOST_BARS)
        .collect();
    let reach = figures
        .iter()
        .map(|(_, answer, fallback)| answer.mae_interval_s.map_or(answer.mae_s, |[_, high]| high).max(fallback.mae_s))
        .reduce(f64::max)?;
    let row = 56.0;
    let width = if wide { 920.0 } else { 370.0 };
    let (left, right, top) = (1.0, width - 20.0, 6.0);
    let bottom = top + row * figures.len() as f64;
    let step = tick_step(reach, if wide { 8.0 } else { 4.0 }, &SECONDS);
    let most = ((reach / step).ceil() * step).max(step);
    let x = |value: f64| left + value / most * (right - left);
    let text = |(name, answer, fallback): &(&str, &Figures, &Figures)| {
        say!(w.bar_text, name = name, model = language.seconds(answer.mae_s), naive = language.seconds(fallback.mae_s))
    };
    let description: Vec<String> = figures.iter().map(text).collect();
    let description = format!("{}{}", description.join(w.clause), w.list_end);
    let id = format!("{}-{}", bars.id, if wide { "wide" } else { "narrow" });
    let class = if wide { "chart wide" } else { "chart narrow" };
    let mut svg = Svg::new(&id, class, (width, bottom + 28.0), bars.title, &description);
    let mut tick = 0.0;
    while tick <= most {
        svg.line(if tick == 0.0 { "axis" } else { "grid" }, (x(tick), top), (x(tick), bottom));
        let anchor = if tick == 0.0 { Anchor::Start } else { Anchor::Middle };
        svg.text("tick", anchor, (x(tick), bottom + 18.0), &language.seconds(tick).replace(".0", ""));
        tick += step;
    }
    for (index, (name, answer, fallback)) in figures.iter().enumerate() {
        let y = top + row * index as f64;
        let bar = (y + 24.0, 20.0);
        let middle = bar.0 + bar.1 / 2.0;
        let label = say!(
            w.bar_label,
            name = short(name, wide),
            mae = language.seconds(answer.mae_s),
            rides = counted(answer.n, w.rides),
        );
        svg.text("label halo", Anchor::Start, (left + 8.0, y + 17.0), &label);
        let naive = say!(w.tip_naive, value = language.seconds(fallback.mae_s));
        let tip = format!("{name}\n{}\n{naive}", model_tip(answer, language));
        svg.rect("bar model", (left, bar.0), (x(answer.mae_s) - left, bar.1), &tip);
        if let Some([low, high]) = answer.mae_interval_s {
            svg.line("whisker", (x(low), middle), (x(high), middle));
            for end in [low, high] {
                svg.line("whisker", (x(end), middle - 4.0), (x(end), middle + 4.0));
            }
        }
        svg.line("mark naive", (x(fallback.mae_s), bar.0 - 4.0), (x(fallback.mae_s), bar.0 + bar.1 + 4.0));
        svg.rect("hover", (left, y + 4.0), (right - left, row - 6.0), &tip);
    }
    if let Some(whole) = bars.whole_s.filter(|whole| *whole <= most) {
        svg.line("zero dashed", (x(whole), top), (x(whole), bottom));
    }
    Some(svg.finish())
}

/// A name that fits beside its figures.
fn short(name: &str, wide: bool) -> String {
    let most = if wide { 60 } else { 30 };
    if name.chars().count() <= most { name.to_owned() } else { name.chars().take(most - 1).chain(['…']).collect() }
}
