//! Two samples, two counts of categories, a data set of both; deequ's distances.

use evaluation::drift::{
    CategoricalDrift, CategoryCounts, Decision, NumericDrift, PSI_FLOOR, PsiBins, dataset_drift, deequ_chi_squared,
    linf_categorical, linf_robust, population_stability,
};
use serde_json::{Map, Value, json};

use super::{
    case::{Case, Refusal},
    fields,
};

const KINDS: [&str; 8] =
    ["numeric", "categorical", "dataset", "linf_simple", "linf_robust", "psi_counts", "chisquare_stat", "chisquare_p"];

pub(super) fn result(case: Case<'_>) -> Result<Map<String, Value>, Refusal> {
    let kind = if case.has("kind") {
        case.text("kind")?
    } else if case.has("columns") {
        "dataset"
    } else if case.get("reference").and_then(Value::as_array).is_some_and(|values| values.iter().all(is_number)) {
        "numeric"
    } else {
        "categorical"
    };
    match kind {
        "numeric" => Ok(numeric(case)?.0),
        "categorical" => Ok(categorical(case)?.0),
        "dataset" => dataset(case),
        "linf_simple" | "linf_robust" => {
            let (left, right) = (counts(case, "sample1")?, counts(case, "sample2")?);
            let simple = linf_categorical(&left, &right);
            let alpha = if case.has("alpha") { Some(case.share_or("alpha", f64::NAN)?) } else { None };
            let robust = || linf_robust(simple, left.values().sum(), right.values().sum(), alpha);
            Ok(single(kind, json!(if kind == "linf_simple" { simple } else { robust() })))
        }
        "psi_counts" => {
            let psi = population_stability(&case.numbers("actual")?, &case.numbers("expected_counts")?);
            Ok(single(kind, json!(psi)))
        }
        "chisquare_stat" | "chisquare_p" => {
            let found = deequ_chi_squared(&counts(case, "sample")?, &counts(case, "baseline")?);
            Ok(single(kind, json!(found.map(|found| if kind == "chisquare_stat" { found.0 } else { found.1 }))))
        }
        other => Err(Refusal::unknown_kind(other, &KINDS)),
    }
}

fn is_number(value: &Value) -> bool {
    value.is_number() || value.is_null()
}

fn single(kind: &str, figure: Value) -> Map<String, Value> {
    Map::from_iter([(kind.to_owned(), figure)])
}

/// Counts by category, or the categories one by one. null is a missing value and not counted.
fn counts(case: Case<'_>, field: &str) -> Result<CategoryCounts, Refusal> {
    let mut counts = CategoryCounts::new();
    let wrong =
        || Refusal::new("wrong_type", format!("`{field}` must be counts by category, or an array of categories"));
    match case.required(field)? {
        Value::Object(_) => {
            for (name, count) in case.object(field)?.entries() {
                let count = count.as_f64().filter(|count| *count >= 0.0).ok_or_else(wrong)?;
                counts.insert(name.clone(), count);
            }
        }
        Value::Array(values) => {
            for value in values {
                let name = match value {
                    Value::Null => continue,
                    Value::String(name) => name.clone(),
                    Value::Bool(_) | Value::Number(_) => value.to_string(),
                    Value::Array(_) | Value::Object(_) => return Err(wrong()),
                };
                *counts.entry(name).or_insert(0.0) += 1.0;
            }
        }
        _ => return Err(wrong()),
    }
    Ok(counts)
}

/// The numbers that are there, and the share of null among all.
fn sample(case: Case<'_>, field: &str) -> Result<(Vec<f64>, f64), Refusal> {
    let mut values = case.numbers_or_null(field, f64::NAN)?;
    let all = values.len();
    values.retain(|value| !value.is_nan());
    let missing = (all - values.len()) as f64 / (all.max(1)) as f64;
    Ok((values, missing))
}

fn numeric(case: Case<'_>) -> Result<(Map<String, Value>, Decision), Refusal> {
    let ((reference, reference_missing), (current, current_missing)) =
        (sample(case, "reference")?, sample(case, "current")?);
    let found = NumericDrift::of(&reference, &current)?;
    let mut evidently = decided(&found.decision);
    evidently.extend(fields(json!({
        "wasserstein_normed": found.wasserstein_normed,
        "psi": found.psi,
        "jensenshannon_base_e": found.jensen_shannon,
        "kl_div": found.kullback_leibler,
        "hellinger": found.hellinger,
    })));
    if let Some(edges) = &found.sturges_edges {
        evidently.insert("bin_edges_sturges".to_owned(), json!(edges));
    }
    let stability = |(bins, reference, current, psi): &(PsiBins, Vec<f64>, Vec<f64>, f64), rule: &str| {
        json!({
            "inner_edges": bins.inner_edges,
            "ref_share": reference,
            "cur_share": current,
            "floor": PSI_FLOOR,
            "rule": rule,
            "psi": psi,
        })
    };
    let figures = json!({
        "ks": {
            "statistic": found.ks.statistic,
            "p_value": found.ks.p_value,
            "p_value_asymp": found.ks.p_value_asymptotic,
            "p_value_kolmogorov_limit": found.ks.p_value_limit,
        },
        "wasserstein": found.wasserstein,
        "evidently": evidently,
        "psi_decile": stability(
            &found.deciles,
            "bin i = number of inner edges <= x; numpy linear quantiles of the reference",
        ),
        "psi_out_of_range": stability(
            &found.with_out_of_range,
            "as psi_decile, with a first bin below the reference's least and a last above its largest value",
        ),
        "deequ_linf": {
            "simple": found.ks.statistic,
            "robust": found.linf_robust,
            "note": "exact samples, c=1.8",
        },
        "missing": { "reference": reference_missing, "current": current_missing },
    });
    Ok((fields(figures), found.decision))
}

fn decided(decision: &Decision) -> Map<String, Value> {
    fields(json!({
        "default_test": decision.test.name(),
        "default_threshold": decision.test.threshold(),
        "default_score": decision.score,
        "default_drift": decision.drift,
    }))
}

fn categorical(case: Case<'_>) -> Result<(Map<String, Value>, Decision), Refusal> {
    let found = CategoricalDrift::of(&counts(case, "reference")?, &counts(case, "current")?)?;
    let mut evidently = decided(&found.decision);
    evidently.extend(fields(json!({
        "psi": found.psi,
        "jensenshannon_base_e": found.jensen_shannon,
        "kl_div": found.kullback_leibler,
        "hellinger": found.hellinger,
        "chisquare_p": found.chi_squared_p_value,
    })));
    if let Some(p_value) = found.z_p_value {
        evidently.insert("z_p".to_owned(), json!(p_value));
    }
    let (statistic, p_value, dof) = found.contingency;
    let figures = json!({
        "evidently": evidently,
        "jensenshannon_base_2": found.jensen_shannon / 2.0_f64.ln().sqrt(),
        "total_variation": found.total_variation,
        "deequ_linf": { "simple": found.linf_simple, "robust": found.linf_robust },
        "chi2_contingency": { "statistic": statistic, "p_value": p_value, "dof": dof },
    });
    Ok((fields(figures), found.decision))
}

fn dataset(case: Case<'_>) -> Result<Map<String, Value>, Refusal> {
    let columns = case.object("columns")?;
    let (mut figures, mut drifting) = (Map::new(), Vec::new());
    for (name, _) in columns.entries() {
        let column = columns.object(name)?;
        let numbers =
            |field: &str| column.get(field).and_then(Value::as_array).is_some_and(|v| v.iter().all(is_number));
        let is_numeric = match column.get("kind").and_then(Value::as_str) {
            Some("numeric") => true,
            Some("categorical") => false,
            Some(other) => return Err(Refusal::unknown_kind(other, &["numeric", "categorical"])),
            None => numbers("reference") && numbers("current"),
        };
        let (_, decision) = if is_numeric { numeric(column) } else { categorical(column) }
            .map_err(|refusal| Refusal::new(refusal.reason, format!("column `{name}`: {}", refusal.detail)))?;
        drifting.push(decision.drift.unwrap_or(false));
        figures.insert(name.clone(), Value::Object(decided(&decision)));
    }
    let drift = dataset_drift(&drifting);
    Ok(fields(json!({
        "columns": figures,
        "drift_share": drift.map(|drift| drift.0),
        "dataset_drift": drift.map(|drift| drift.1),
    })))
}
