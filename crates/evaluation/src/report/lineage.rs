//! What the page stands on: counts, and where everything comes from.

use std::fmt::Write as _;

use domain::lake;

use super::{
    data::ReportData,
    drift::told,
    html::PageOptions,
    language::{Language, count, number, say},
    svg::escape,
};

pub(super) fn counts(page: &mut String, data: &ReportData, language: Language) {
    let (w, counts) = (language.words(), &data.all.counts);
    let rows = [
        (w.c_predictions, counts.predictions, w.c_predictions_text),
        (w.c_candidates, counts.candidates, w.c_candidates_text),
        (w.c_outcomes, counts.outcomes, w.c_outcomes_text),
        (w.c_joined, counts.joined, w.c_joined_text),
        (w.c_cancelled, counts.cancelled, w.c_cancelled_text),
        (w.c_pending, counts.pending, w.c_pending_text),
        (w.c_unknown, counts.unknown_candidate, w.c_unknown_text),
        (w.c_unusable, counts.unusable, w.c_unusable_text),
        (w.c_unmatched, data.unmatched_outcomes, w.c_unmatched_text),
    ];
    let _ = write!(
        page,
        "<section id=\"counts\">\n<h2>{}</h2>\n<div class=\"scroll\" role=\"region\" aria-label=\"{}\" tabindex=\"0\"><table class=\"counts\"><caption>{}</caption><tbody>\n",
        w.counts, w.counts_caption, w.counts_caption
    );
    for (name, n, meaning) in rows {
        let _ = writeln!(page, r#"<tr><th scope="row">{name}<small>{meaning}</small></th><td>{}</td></tr>"#, count(n));
    }
    let mut note = w.counts_note.to_owned();
    if let Some(weighted) = &data.all.weighted.filter(|weighted| weighted.cancelled > 0) {
        let interval = weighted.mae_interval_s.map_or_else(String::new, |[low, high]| {
            say!(w.paren, text = language.range(&number(low), &language.seconds(high)))
        });
        note += language.gap();
        note += &say!(
            w.counts_weighted,
            mae = language.seconds(weighted.mae_s),
            interval = interval,
            n = count(weighted.effective_n as u64),
        );
    }
    let _ = writeln!(page, "</tbody></table></div>\n<p class=\"note\">{}</p>\n</section>", told(&note));
}

pub(super) fn footer(page: &mut String, data: &ReportData, options: &PageOptions<'_>) {
    let language = options.language;
    let w = language.words();
    let model = &data.facts.model;
    let _ = write!(page, "<footer>\n<h2>{}</h2>\n<dl>\n", w.lineage);
    let mut item = |term: &str, value: &str, key: Option<String>| {
        let value = escape(value);
        let value = match options.lake_root.zip(key) {
            Some((root, key)) => format!(r#"<a href="{}">{value}</a>"#, escape(&format!("{root}{key}"))),
            None => value,
        };
        let _ = writeln!(page, "<dt>{term}</dt><dd>{value}</dd>");
    };
    if let Some(release) = &data.facts.release {
        item(w.l_release, release.release_id.as_str(), Some(lake::release(model, &release.release_id)));
        item(w.l_released, &language.instant(release.created_at), None);
        if !release.spec_hash.is_empty() {
            item(w.l_spec, &release.spec_hash, None);
        }
        if let Some(training) = &data.training {
            let digest = training.digest.get(..12).unwrap_or(&training.digest);
            let value = say!(w.l_training_value, rows = count(training.rows), digest = digest);
            item(w.l_training, &value, Some(lake::training_baseline(model, &release.spec_hash)));
        }
        if let Some(experiment) = &release.experiment_id {
            item(w.l_experiment, experiment, None);
        }
        let arms: Vec<String> = release
            .arms
            .iter()
            .map(|arm| {
                let weight =
                    arm.weight.map_or_else(String::new, |weight| say!(w.l_weight, share = language.percent(weight)));
                say!(w.l_arm_value, name = arm.name, model = arm.model_version, weight = weight)
            })
            .collect();
        item(if arms.len() == 1 { w.l_arm } else { w.l_arms }, &arms.join(w.clause), None);
    }
    item(w.l_data, "report.json", options.lake_root.map(|_| lake::report_json(model)));
    item(w.l_made, &language.instant(data.facts.generated_at), None);
    page.push_str("</dl></footer>\n");
}
