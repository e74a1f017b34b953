//! Predictions, their intervals, and conformal intervals.

use evaluation::{
    conformal::{AdaptiveConformal, absolute_scores, conformal_quantile, quantile_scores},
    regression::{IntervalMetrics, RegressionMetrics},
};
use serde_json::{Map, Value, json};

use super::{
    case::{Case, Refusal},
    fields,
};

const KINDS: [&str; 4] = ["regression", "split_conformal", "cqr_symmetric", "aci"];

pub(super) fn result(case: Case<'_>) -> Result<Map<String, Value>, Refusal> {
    let told = [("cal_lower", "cqr_symmetric"), ("cal_predicted", "split_conformal"), ("scores", "aci")];
    let kind = if case.has("kind") {
        case.text("kind")?
    } else {
        told.into_iter().find_map(|(field, kind)| case.has(field).then_some(kind)).unwrap_or("regression")
    };
    match kind {
        "regression" => regression(case),
        "split_conformal" => {
            let scores = absolute_scores(&case.numbers("cal_actual")?, &case.numbers("cal_predicted")?)?;
            conformal(case, &scores, "new_predicted", "new_predicted")
        }
        "cqr_symmetric" | "cqr" => {
            let (actual, lower) = (case.numbers("cal_actual")?, case.numbers("cal_lower")?);
            let scores = quantile_scores(&actual, &lower, &case.numbers("cal_upper")?)?;
            conformal(case, &scores, "new_lower", "new_upper")
        }
        "aci" => adaptive(case),
        other => Err(Refusal::unknown_kind(other, &KINDS)),
    }
}

/// Figures by key, as the key is written.
fn by_key(keys: &[&str], figure: impl Fn(f64) -> f64) -> Value {
    let figures = keys.iter().map(|key| ((*key).to_owned(), json!(figure(key.parse().unwrap_or(f64::NAN)))));
    Value::Object(figures.collect())
}

fn regression(case: Case<'_>) -> Result<Map<String, Value>, Refusal> {
    let actual = case.numbers("actual")?;
    let found = RegressionMetrics::of(&actual, &case.numbers("predicted")?)?;
    let mut figures = fields(json!({
        "n": found.n,
        "mae": found.mae,
        "median_ae": found.abs_error_quantile(0.5),
        "rmse": found.rmse,
        "mse": found.mse,
        "mape": found.mape,
        "max_error": found.max_error,
        "r2": found.r2,
        "explained_variance": found.explained_variance,
        "bias_pred_minus_actual": found.bias,
        "error_std_ddof1": found.error_std,
        "wape": found.wape,
        "share_late_actual_gt_pred": found.share_late,
        "share_early": found.share_early,
        "within": by_key(&["1", "2", "3", "5", "10"], |bound| found.share_within(bound)),
        "abs_error_quantiles_linear":
            by_key(&["0.5", "0.8", "0.9", "0.95", "0.99"], |q| found.abs_error_quantile(q)),
        "signed_error_quantiles_linear": by_key(&["0.1", "0.5", "0.9"], |q| found.error_quantile(q)),
        "pinball": by_key(&["0.1", "0.5", "0.9"], |q| found.pinball(q)),
        "asymmetric_cost_late3_early1": found.asymmetric_cost,
        "rmsle": found.rmsle,
    }));
    if case.has("lower") || case.has("upper") {
        let confidence = case.share_or("confidence", 0.9)?;
        let lower = case.numbers_or_null("lower", f64::NEG_INFINITY)?;
        let upper = case.numbers_or_null("upper", f64::INFINITY)?;
        let interval = IntervalMetrics::of(&actual, &lower, &upper, confidence)?;
        figures.insert(
            "interval".to_owned(),
            json!({
                "confidence": confidence,
                "coverage": interval.coverage,
                "mean_width": interval.mean_width,
                "winkler_score": interval.winkler_score,
            }),
        );
    }
    Ok(figures)
}

fn conformal(case: Case<'_>, scores: &[f64], low: &str, high: &str) -> Result<Map<String, Value>, Refusal> {
    let found = conformal_quantile(scores, case.share_or("confidence", 0.9)?)?;
    // An infinite interval is null on either side.
    let moved = |field: &str, sign: f64| -> Result<Vec<Option<f64>>, Refusal> {
        let values = if case.has(field) { case.numbers(field)? } else { Vec::new() };
        Ok(values.into_iter().map(|value| found.quantile.map(|quantile| value + sign * quantile)).collect())
    };
    Ok(fields(json!({
        "k": found.k,
        "quantile": found.quantile,
        "lower": moved(low, -1.0)?,
        "upper": moved(high, 1.0)?,
    })))
}

fn adaptive(case: Case<'_>) -> Result<Map<String, Value>, Refusal> {
    let size = |field: &str, default: u64| Ok::<usize, Refusal>(case.count_or(field, default)? as usize);
    let mut conformal = AdaptiveConformal::new(
        case.number_or("target_alpha", 0.1)?,
        case.number_or("gamma", 0.02)?,
        size("window", 500)?,
        size("min_scores", 10)?,
    )?;
    let steps: Vec<_> = case.numbers("scores")?.into_iter().map(|score| conformal.update(score)).collect();
    let trace: Vec<Value> = steps
        .iter()
        .map(|step| step.map_or(Value::Null, |step| json!([step.alpha, step.quantile, u8::from(step.missed)])))
        .collect();
    let made = steps.iter().flatten().count();
    let missed = steps.iter().flatten().filter(|step| step.missed).count();
    Ok(fields(json!({
        "trace": trace,
        "final_alpha": conformal.alpha(),
        "miscoverage": (made > 0).then(|| missed as f64 / made as f64),
    })))
}
