//! The features against training.

use std::fmt::Write as _;

use super::{
    html::{keep_units, table},
    svg::{Svg, escape},
    words::{count, percent, seconds},
};
use crate::drift::{ColumnDrift, DriftReason, DriftReport, LABEL, ModelDrift};

/// The most columns that the page shows; `report.json` has all.
const MOST_COLUMNS: usize = 40;
/// The most bars of a small drawing.
const MOST_BARS: usize = 24;

impl DriftReason {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Missing => "missing values",
            Self::OutOfRange => "outside of what training saw",
            Self::Gone => "values that do not come any more",
            Self::Psi => "PSI",
            Self::KolmogorovSmirnov => "Kolmogorov–Smirnov",
            Self::JensenShannon => "Jensen–Shannon",
            Self::Wasserstein => "Wasserstein",
        }
    }
}

impl ColumnDrift {
    /// Why it drifts, in words; empty where it does not.
    pub fn words(&self) -> String {
        let words = |reason: &DriftReason| match reason {
            DriftReason::Missing => {
                format!("{} missing, {} in training", share(self.missing_share), share(self.training_missing_share))
            }
            DriftReason::OutOfRange => format!("{} {}", share(self.out_of_range_share), reason.words()),
            DriftReason::Gone => {
                let values: Vec<String> = self.gone.iter().map(f64::to_string).collect();
                format!("gone: {}", values.join(", "))
            }
            _ => reason.words().to_owned(),
        };
        self.reasons.iter().map(words).collect::<Vec<_>>().join("; ")
    }
}

impl DriftReport {
    /// The result in a sentence or two.
    pub fn headline(&self) -> String {
        let of = format!("{} arrivals against {} rows of training", count(self.rows), count(self.training_rows));
        let drifted: Vec<String> = self
            .drifted()
            .into_iter()
            .filter(|name| *name != LABEL)
            .filter_map(|name| self.columns.iter().find(|column| column.name == name))
            .map(|column| format!("{} ({})", column.name, column.words()))
            .collect();
        let label = self.columns.iter().find(|column| column.name == LABEL && !column.reasons.is_empty());
        let label = label.map_or_else(String::new, |column| {
            format!(
                " What is predicted has itself changed ({}): the world is another than in training.",
                column.words()
            )
        });
        let whole = if self.dataset_drift { " Half of the features or more drift: train again." } else { "" };
        match drifted.len() {
            0 => format!("No feature drifts: {of}.{label}"),
            1 => format!("1 feature drifts: {}. {of}.{whole}{label}", drifted[0]),
            n => format!("{n} features drift: {}. {of}.{whole}{label}", drifted.join("; ")),
        }
    }
}

impl ModelDrift {
    /// The result in a sentence or two.
    pub fn headline(&self) -> String {
        let of = format!(
            "{} against {} on held-out rows ({} arrivals, {} rows)",
            seconds(self.mae_s),
            seconds(self.held_out_mae_s),
            count(self.rows),
            count(self.held_out_rows)
        );
        let error = match (self.worse, self.error.reasons.is_empty()) {
            (true, _) => format!("its error has grown: {of}. The concept drifts: train again."),
            (false, false) => format!("its error is another than on held-out rows ({}): {of}.", self.error.words()),
            (false, true) => format!("its error holds: {of}."),
        };
        let answers = if self.prediction.reasons.is_empty() {
            String::new()
        } else {
            format!(" Its answers are others than on held-out rows ({}).", self.prediction.words())
        };
        format!("Model {}: {error}{answers}", self.model_version)
    }
}

fn share(value: f64) -> String {
    if value > 0.0 && value < 0.01 { "<1 %".to_owned() } else { percent(value) }
}

pub(super) fn drift(page: &mut String, report: &DriftReport) {
    let _ = write!(
        page,
        "<section id=\"drift\">\n<h2>Features against training</h2>\n<p>{} Rows are dispatched cars that arrived, as in training; a window of less than whole days differs in the time of day alone.</p>\n",
        keep_units(&escape(&report.headline())),
    );
    let head =
        ["", "Training and now", "PSI", "KS", "Jensen–Shannon", "Wasserstein,&nbsp;σ", "Missing", "Outside", "Why"];
    let shown = &report.columns[..report.columns.len().min(MOST_COLUMNS)];
    let mut rows = [Vec::new(), Vec::new()];
    for (number, column) in shown.iter().enumerate() {
        let decimal = |value: f64| format!("{value:.3}");
        let cells = vec![
            histogram(number, column),
            decimal(column.psi),
            decimal(column.kolmogorov_smirnov),
            decimal(column.jensen_shannon),
            decimal(column.wasserstein),
            escape(&share(column.missing_share)),
            escape(&share(column.out_of_range_share)),
            escape(&column.words()),
        ];
        rows[usize::from(column.reasons.is_empty())].push((column.name.clone(), cells));
    }
    let [drifting, calm] = rows;
    let blocks = [("Drift", drifting), ("As in training", calm)];
    table(page, "Features against training", &head, blocks.into_iter().filter(|(_, rows)| !rows.is_empty()));
    page.push_str("</section>\n");
}

/// Training as outline, now as bars.
fn histogram(number: usize, column: &ColumnDrift) -> String {
    let bars = column.shares.len().min(MOST_BARS);
    if bars == 0 {
        return "–".to_owned();
    }
    let (width, height) = (120.0, 28.0);
    let title = format!("Distribution of {}", column.name);
    let text = if column.reasons.is_empty() { "Much as in training.".to_owned() } else { column.words() };
    let mut svg = Svg::new(&format!("drift-{number}"), "spark", (width, height), &title, &text);
    let most = column.shares.iter().chain(&column.training_shares).copied().fold(1e-9, f64::max);
    let step = width / bars as f64;
    for (bar, (now, before)) in column.shares.iter().zip(&column.training_shares).take(bars).enumerate() {
        let (x, high) = (bar as f64 * step, now / most * height);
        svg.rect("bar model", (x + 0.5, height - high), (step - 1.0, high), "");
        let level = height - before / most * height;
        svg.line("mark naive thin", (x, level), (x + step, level));
    }
    svg.finish()
}
