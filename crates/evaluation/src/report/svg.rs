//! Inline SVG, coloured by the page's style sheet, and readable by a screen reader.

use std::fmt::Write as _;

/// `text` with the characters escaped that mean something in HTML and in quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Not allowed in HTML, even as references.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Where a text is anchored.
#[derive(Debug, Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// One drawing. Lengths are CSS pixels at the drawing's own width.
pub(super) struct Svg {
    out: String,
}

// Writing to a String cannot fail, hence the ignored results.
impl Svg {
    /// `id` is unique in the page. `title` names the drawing, `description` tells what it shows.
    pub(super) fn new(id: &str, class: &str, (width, height): (f64, f64), title: &str, description: &str) -> Self {
        let mut out = String::new();
        let _ = write!(
            out,
            r#"<svg class="{class}" viewBox="0 0 {width:.0} {height:.0}" role="img" aria-labelledby="{id}-t {id}-d"><title id="{id}-t">{}</title><desc id="{id}-d">{}</desc>"#,
            escape(title),
            escape(description)
        );
        Self { out }
    }

    pub(super) fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let _ = write!(self.out, r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#);
    }

    /// A rectangle, with a tooltip where `tip` is not empty.
    pub(super) fn rect(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64), tip: &str) {
        let (width, height) = (width.max(0.0), height.max(0.0));
        let _ = write!(
            self.out,
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"{}"#,
            tipped("rect", tip)
        );
    }

    /// A dot, with a tooltip where `tip` is not empty.
    pub(super) fn dot(&mut self, class: &str, (x, y): (f64, f64), radius: f64, tip: &str) {
        let _ = write!(
            self.out,
            r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="{radius}"{}"#,
            tipped("circle", tip)
        );
    }

    pub(super) fn text(&mut self, class: &str, anchor: Anchor, (x, y): (f64, f64), text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escape(text);
        let _ = write!(self.out, r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#);
    }

    /// A line through `points`.
    pub(super) fn path(&mut self, class: &str, points: &[(f64, f64)]) {
        self.shape(class, points, "");
    }

    /// An area within `points`.
    pub(super) fn area(&mut self, class: &str, points: &[(f64, f64)]) {
        self.shape(class, points, "Z");
    }

    fn shape(&mut self, class: &str, points: &[(f64, f64)], end: &str) {
        let mut steps = String::with_capacity(points.len() * 12);
        for (index, (x, y)) in points.iter().enumerate() {
            let _ = write!(steps, "{}{x:.1},{y:.1}", if index == 0 { "M" } else { "L" });
        }
        let _ = write!(self.out, r#"<path class="{class}" d="{steps}{end}"/>"#);
    }

    pub(super) fn finish(mut self) -> String {
        self.out.push_str("</svg>");
        self.out
    }
}

fn tipped(element: &str, tip: &str) -> String {
    if tip.is_empty() { "/>".to_owned() } else { format!("><title>{}</title></{element}>", escape(tip)) }
}

/// The step between ticks: the first of `steps` that needs at most `most` of them to reach `reach`, else a multiple of
/// the last.
pub(super) fn tick_step(reach: f64, most: f64, steps: &[f64]) -> f64 {
    let last = steps.last().copied().unwrap_or(1.0);
    steps.iter().copied().find(|step| reach <= step * most).unwrap_or_else(|| (reach / most / last).ceil() * last)
}

/// Steps of seconds that read well.
pub(super) const SECONDS: [f64; 16] =
    [1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 86400.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_everything_that_could_end_a_text_or_an_attribute() {
        assert_eq!(escape("<a href=\"x\" b='y'>&\u{0}"), "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;\u{fffd}");
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(tick_step(150.0, 5.0, &SECONDS), 30.0);
        assert_eq!(tick_step(0.0, 5.0, &SECONDS), 1.0);
        assert_eq!(tick_step(1e6, 5.0, &SECONDS), 259_200.0);
    }
}
