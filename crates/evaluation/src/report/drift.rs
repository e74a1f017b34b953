//! Features against training, models against their held-out rows.

use std::fmt::Write as _;

use super::{
    html::{keep_units, section, table},
    language::{Language, count, number, plural, say},
    svg::{Svg, escape},
};
use crate::drift::{ColumnDrift, DriftReason, DriftReport, ERROR, LABEL, ModelDrift, PREDICTION};

/// The most columns that the page shows; `report.json` has all.
const MOST_COLUMNS: usize = 40;
/// The most bars of a small drawing.
const MOST_BARS: usize = 24;

impl ColumnDrift {
    /// Why it drifts, in words; empty where it does not.
    pub fn words(&self, language: Language) -> String {
        let w = language.words();
        let words = |reason: &DriftReason| match reason {
            DriftReason::Missing => say!(
                w.why_missing,
                now = share(self.missing_share, language),
                before = share(self.training_missing_share, language)
            ),
            DriftReason::OutOfRange => say!(w.why_outside, share = share(self.out_of_range_share, language)),
            DriftReason::Gone => {
                let values: Vec<String> = self.gone.iter().map(f64::to_string).collect();
                say!(w.why_gone, values = values.join(", "))
            }
            DriftReason::Psi => w.reason_psi.to_owned(),
            DriftReason::KolmogorovSmirnov => w.reason_ks.to_owned(),
            DriftReason::JensenShannon => w.reason_js.to_owned(),
            DriftReason::Wasserstein => w.reason_wasserstein.to_owned(),
        };
        self.reasons.iter().map(words).collect::<Vec<_>>().join(w.clause)
    }

    /// The name for people.
    fn title(&self, language: Language) -> &str {
        let w = language.words();
        match self.name.as_str() {
            LABEL => w.label_name,
            PREDICTION => w.prediction_name,
            ERROR => w.error_name,
            name => name,
        }
    }
}

impl DriftReport {
    /// The result in a sentence or two.
    pub fn headline(&self, language: Language) -> String {
        let w = language.words();
        let of = say!(w.drift_of, rows = count(self.rows), training = count(self.training_rows));
        let drifted: Vec<String> = self
            .drifted()
            .into_iter()
            .filter(|name| *name != LABEL)
            .filter_map(|name| self.columns.iter().find(|column| column.name == name))
            .map(|column| say!(w.drift_named, name = column.name, why = column.words(language)))
            .collect();
        let label = self.columns.iter().find(|column| column.name == LABEL && !column.reasons.is_empty());
        let label = label.map_or_else(String::new, |column| say!(w.drift_label, why = column.words(language)));
        let whole = if self.dataset_drift { w.drift_whole } else { "" };
        if drifted.is_empty() {
            return say!(w.drift_none, of = of, label = label);
        }
        let n = drifted.len() as u64;
        let names = drifted.join(w.clause);
        say!(plural(n, w.drift_some), n = count(n), names = names, of = of, whole = whole, label = label)
    }
}

impl ModelDrift {
    /// The result in a sentence or two.
    pub fn headline(&self, language: Language) -> String {
        let w = language.words();
        let of = say!(
            w.model_of,
            now = language.seconds(self.mae_s),
            before = language.seconds(self.held_out_mae_s),
            rows = count(self.rows),
            held = count(self.held_out_rows),
        );
        let error = match (self.worse, self.error.reasons.is_empty()) {
            (true, _) => say!(w.model_grown, of = of),
            (false, false) => say!(w.model_other, why = self.error.words(language), of = of),
            (false, true) => say!(w.model_holds, of = of),
        };
        let answers = if self.prediction.reasons.is_empty() {
            String::new()
        } else {
            say!(w.model_answers, why = self.prediction.words(language))
        };
        say!(w.model_headline, model = self.model_version, error = error, answers = answers)
    }
}

fn share(value: f64, language: Language) -> String {
    if value > 0.0 && value < 0.01 { language.percentage("<1") } else { language.percent(value) }
}

pub(super) fn drift(page: &mut String, report: &DriftReport, language: Language) {
    let w = language.words();
    let text = say!(w.drift_note, text = format!("{}{}", report.headline(language), language.gap()));
    section(page, "drift", w.drift, &text);
    let head = [
        "",
        w.col_distribution,
        "PSI",
        "KS",
        "Jensen–Shannon",
        w.col_wasserstein,
        w.col_missing,
        w.col_outside,
        w.col_why,
    ];
    let shown = &report.columns[..report.columns.len().min(MOST_COLUMNS)];
    let mut rows = [Vec::new(), Vec::new()];
    for (number, column) in shown.iter().enumerate() {
        let decimal = |value: f64| format!("{value:.3}");
        let cells = vec![
            histogram(&format!("drift-{number}"), column, language),
            decimal(column.psi),
            decimal(column.kolmogorov_smirnov),
            decimal(column.jensen_shannon),
            decimal(column.wasserstein),
            escape(&share(column.missing_share, language)),
            escape(&share(column.out_of_range_share, language)),
            why(&column.words(language)),
        ];
        rows[usize::from(column.reasons.is_empty())].push((column.title(language).to_owned(), cells));
    }
    let [drifting, calm] = rows;
    let blocks = [(w.drift_block, drifting), (w.calm_block, calm)];
    legend(page, language);
    table(page, w.drift, &head, blocks.into_iter().filter(|(_, rows)| !rows.is_empty()));
    page.push_str("</section>\n");
}

pub(super) fn models(page: &mut String, models: &[ModelDrift], language: Language) {
    if models.is_empty() {
        return;
    }
    let w = language.words();
    section(page, "models", w.models, w.models_text);
    let head = ["", w.col_rides, w.col_mae, w.col_held_out, w.col_errors, w.col_answers, w.col_why];
    let row = |(index, model): (usize, &ModelDrift)| {
        let verdict = match (model.worse, model.error.reasons.is_empty()) {
            (true, _) => w.verdict_concept_word,
            (false, false) => w.verdict_other_word,
            (false, true) => w.verdict_holds_word,
        };
        let why: Vec<String> = [(w.error_name, &model.error), (w.prediction_name, &model.prediction)]
            .into_iter()
            .filter(|(_, column)| !column.reasons.is_empty())
            .map(|(name, column)| say!(w.drift_named, name = name, why = column.words(language)))
            .collect();
        let cells = vec![
            count(model.rows),
            number(model.mae_s),
            number(model.held_out_mae_s),
            format!("{}<small>{verdict}</small>", histogram(&format!("model-error-{index}"), &model.error, language)),
            histogram(&format!("model-answers-{index}"), &model.prediction, language),
            self::why(&why.join(w.clause)),
        ];
        (model.model_version.clone(), cells)
    };
    legend(page, language);
    table(page, w.models, &head, [("", models.iter().enumerate().map(row).collect())]);
    page.push_str("</section>\n");
}

/// Reasons, which may take several lines.
fn why(text: &str) -> String {
    format!(r#"<span class="why">{}</span>"#, escape(text))
}

fn legend(page: &mut String, language: Language) {
    let w = language.words();
    let _ = write!(
        page,
        r#"<ul class="legend"><li><svg viewBox="0 0 26 12" aria-hidden="true"><rect class="bar model" x="1" y="1" width="24" height="10"/></svg>{}</li><li><svg viewBox="0 0 26 12" aria-hidden="true"><path class="mark naive thin" d="M1,6H25"/></svg>{}</li></ul>"#,
        w.now, w.training
    );
}

/// Training as outline, now as bars.
fn histogram(id: &str, column: &ColumnDrift, language: Language) -> String {
    let w = language.words();
    let bars = column.shares.len().min(MOST_BARS);
    if bars == 0 {
        return "–".to_owned();
    }
    let (width, height) = (120.0, 28.0);
    let title = say!(w.drift_histogram, name = column.title(language));
    let text = if column.reasons.is_empty() { w.drift_calm.to_owned() } else { column.words(language) };
    let mut svg = Svg::new(id, "spark", (width, height), &title, &text);
    let most = column.shares.iter().chain(&column.training_shares).copied().fold(1e-9, f64::max);
    let step = width / bars as f64;
    for (bar, (now, before)) in column.shares.iter().zip(&column.training_shares).take(bars).enumerate() {
        let (x, high) = (bar as f64 * step, now / most * height);
        svg.rect("bar model", (x + 0.5, height - high), (step - 1.0, high), "");
        let level = (height - before / most * height).min(height - 0.5);
        svg.line("mark naive thin", (x, level), (x + step, level));
    }
    svg.finish()
}

/// Keeps a number and its unit together: for texts that are put into the page as they are.
pub(super) fn told(text: &str) -> String {
    keep_units(&escape(text))
}
