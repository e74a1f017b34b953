//! Two arms, the sample ratio and multiple testing.

use experiments::statistics::{
    Correction, Cuped, CupedSums, DEFAULT_TUNING, Estimate, MeanSums, NotEstimable, Proportion, RatioSums,
    SRM_THRESHOLD, Scale, adjust, agresti_caffo_interval, estimate, fisher_exact, newcombe_interval, pooled_z,
    sample_ratio, score_interval, statsmodels_score_interval, wald_interval,
};
use serde_json::{Map, Value, json};

use super::{
    case::{Case, Refusal, numbers_of},
    designs, fields,
};

const KINDS: [&str; 10] = [
    "proportion",
    "mean",
    "ratio",
    "cuped",
    "srm",
    "multiple_testing",
    "group_sequential",
    "msprt",
    "sequential_srm",
    "power",
];

/// The standard deviation of the relative effects that `bayes_prior_n0_03` believes in beforehand.
const PRIOR_SD: f64 = 0.3;

pub(super) fn result(case: Case<'_>) -> Result<Map<String, Value>, Refusal> {
    match kind(case)? {
        "proportion" => proportion(case),
        "mean" => mean(case),
        "ratio" => ratio(case),
        "cuped" => cuped(case),
        "srm" => srm(case),
        "multiple_testing" => multiple_testing(case),
        "group_sequential" => designs::group_sequential(case),
        "msprt" => designs::msprt(case),
        "sequential_srm" => designs::sequential_srm(case),
        "power" => designs::power(case),
        other => Err(Refusal::unknown_kind(other, &KINDS)),
    }
}

/// What the case says, or what its fields can only mean.
fn kind(case: Case<'_>) -> Result<&str, Refusal> {
    if case.has("kind") {
        return case.text("kind");
    }
    let arm_has = |field: &str| case.object("a").is_ok_and(|arm| arm.has(field));
    let told = [
        (arm_has("successes"), "proportion"),
        (arm_has("m_sum") || arm_has("m"), "ratio"),
        (arm_has("post_sum") || arm_has("post"), "cuped"),
        (arm_has("sum") || arm_has("values"), "mean"),
        (case.has("observed"), "srm"),
        (case.has("information"), "group_sequential"),
        (case.has("tau2"), "msprt"),
        (case.has("blocks"), "sequential_srm"),
        (case.has("p_values"), "multiple_testing"),
    ];
    told.into_iter()
        .find_map(|(told, kind)| told.then_some(kind))
        .ok_or_else(|| Refusal::new("missing_field", format!("`kind` is missing: one of {}", KINDS.join(", "))))
}

fn both<T>(case: Case<'_>, read: impl Fn(Case<'_>) -> Result<T, Refusal>) -> Result<[T; 2], Refusal> {
    let arm = |name: &str| {
        read(case.object(name)?)
            .map_err(|refusal| Refusal::new(refusal.reason, format!("`{name}`: {}", refusal.detail)))
    };
    Ok([arm("a")?, arm("b")?])
}

/// Two samples of the same units.
fn paired(arm: Case<'_>, left: &str, right: &str) -> Result<Vec<(f64, f64)>, Refusal> {
    let (first, second) = (arm.numbers(left)?, arm.numbers(right)?);
    if first.len() == second.len() {
        Ok(first.into_iter().zip(second).collect())
    } else {
        Err(Refusal::new("different_lengths", format!("`{left}` and `{right}` must be of the same units")))
    }
}

fn proportion(case: Case<'_>) -> Result<Map<String, Value>, Refusal> {
    let [a, b] = both(case, |arm| {
        let arm = if arm.has("values") {
            let values = arm.numbers("values")?;
            Proportion { n: values.len() as u64, successes: values.iter().sum() }
        } else {
            Proportion { n: arm.count("n")?, successes: arm.number("successes")? }
        };
        if arm.successes < 0.0 || arm.successes > arm.n as f64 {
            return Err(Refusal::new("out_of_range", "`successes` must lie between 0 and `n`"));
        }
        Ok(arm)
    })?;
    let alpha = case.share_or("alpha", 0.05)?;
    let mut figures = effects(case, None, |scale| estimate(&a, &b, scale))?;
    let z = pooled_z(&a, &b);
    figures.extend(fields(json!({
        "pooled_z": { "z": z.map(|z| z.0), "p_value": z.map(|z| z.1) },
        "diff_ci_wald": wald_interval(&a, &b, alpha),
        "diff_ci_agresti_caffo": agresti_caffo_interval(&a, &b, alpha),
        "diff_ci_newcomb": newcombe_interval(&a, &b, alpha),
        "diff_ci_score": statsmodels_score_interval(&a, &b, alpha),
        "diff_ci_miettinen_nurminen": score_interval(&a, &b, alpha),
        "fisher_exact_p": fisher_exact(&a, &b),
    })));
    Ok(figures)
}

fn mean(case: Case<'_>) -> Result<Map<String, Value>, Refusal> {
    let [a, b] = both(case, |arm| {
        Ok(if arm.has("values") {
            MeanSums::of(arm.numbers("values")?)
        } else {
            MeanSums { n: arm.count("n")?, sum: arm.number("sum")?, sum_squares: arm.number("sum_squares")? }
        })
    })?;
    let mut figures = effects(case, None, |scale| estimate(&a, &b, scale))?;
    if let Ok(estimate) = estimate(&a, &b, Scale::Absolute) {
        let p_value = estimate.welch(case.share_or("alpha", 0.05)?).p_value;
        figures
            .insert("scipy_welch".to_owned(), json!({ "t": estimate.effect / estimate.std_err, "p_value": p_value }));
    }
    Ok(figures)
}

fn ratio(case: Case<'_>) -> Result<Map<String, Value>, Refusal> {
    let [a, b] = both(case, |arm| {
        if arm.has("m") {
            return Ok(RatioSums::of(paired(arm, "m", "d")?));
        }
        Ok(RatioSums {
            n: arm.count("n")?,
            m_sum: arm.number("m_sum")?,
            m_sum_squares: arm.number("m_sum_squares")?,
            d_sum: arm.number("d_sum")?,
            d_sum_squares: arm.number("d_sum_squares")?,
            m_d_sum_of_products: arm.number("m_d_sum_of_products")?,
        })
    })?;
    effects(case, None, |scale| estimate(&a, &b, scale))
}

fn cuped(case: Case<'_>) -> Result<Map<String, Value>, Refusal> {
    let [a, b] = both(case, |arm| {
        if arm.has("post") {
            return Ok(CupedSums::of(paired(arm, "post", "pre")?));
        }
        Ok(CupedSums {
            n: arm.count("n")?,
            post_sum: arm.number("post_sum")?,
            post_sum_squares: arm.number("post_sum_squares")?,
            pre_sum: arm.number("pre_sum")?,
            pre_sum_squares: arm.number("pre_sum_squares")?,
            post_pre_sum_of_products: arm.number("post_pre_sum_of_products")?,
        })
    })?;
    let cuped = Cuped::new(a, b);
    effects(case, Some(cuped.theta), |scale| cuped.estimate(scale))
}

/// The effect on both scales, under the name of the engine that the figures agree with.
fn effects(
    case: Case<'_>,
    theta: Option<f64>,
    estimate: impl Fn(Scale) -> Result<Estimate, NotEstimable>,
) -> Result<Map<String, Value>, Refusal> {
    let alpha = case.share_or("alpha", 0.05)?;
    let tuning = case.positive_or("sequential_tuning_parameter", DEFAULT_TUNING)?;
    let mut scales = Map::new();
    if let Some(theta) = theta {
        scales.insert("theta".to_owned(), json!(theta));
    }
    for (name, scale) in [("absolute", Scale::Absolute), ("relative", Scale::Relative)] {
        let effect = match estimate(scale) {
            Ok(estimate) => estimated(&estimate, alpha, tuning),
            Err(reason) => not_estimable(reason, tuning),
        };
        scales.insert(name.to_owned(), effect);
    }
    Ok(fields(json!({ "gbstats": scales })))
}

fn estimated(estimate: &Estimate, alpha: f64, tuning: f64) -> Value {
    let welch = estimate.welch(alpha);
    let sequential = estimate.confidence_sequence(alpha, tuning);
    let (greater, lesser) = (estimate.greater(alpha), estimate.lesser(alpha));
    let posterior = |prior| {
        let posterior = estimate.posterior(prior, alpha);
        json!({
            "chance_to_win": posterior.chance_to_win,
            "effect": posterior.effect,
            "ci": posterior.interval,
            "risk": posterior.risk,
            "error": null,
        })
    };
    json!({
        "effect": estimate.effect,
        "std_err": estimate.std_err,
        "ci": [welch.lower, welch.upper],
        "p_value": welch.p_value,
        "error": null,
        "dof": estimate.dof,
        "sequential": {
            "tuning": tuning,
            "ci": [sequential.lower, sequential.upper],
            "p_value": sequential.p_value,
        },
        "one_sided_greater": { "ci_lower": greater.lower, "p_value": greater.p_value },
        "one_sided_lesser": { "ci_upper": lesser.upper, "p_value": lesser.p_value },
        "bayes_flat": posterior(None),
        "bayes_prior_n0_03": posterior(Some(PRIOR_SD)),
    })
}

/// No figure, and why: neither an effect of 0 nor a p-value of 1.
fn not_estimable(why: NotEstimable, tuning: f64) -> Value {
    let error = match why {
        NotEstimable::EmptyArm | NotEstimable::ZeroVariance => "ZERO_NEGATIVE_VARIANCE",
        NotEstimable::ZeroBaseline => "ZERO_NEGATIVE_BASELINE_VARIATION",
    };
    let posterior =
        json!({ "chance_to_win": null, "effect": null, "ci": [null, null], "risk": [null, null], "error": error });
    json!({
        "effect": null,
        "std_err": null,
        "ci": [null, null],
        "p_value": null,
        "error": error,
        "not_estimable": { "reason": why.reason(), "detail": why.to_string() },
        "sequential": { "tuning": tuning, "ci": [null, null], "p_value": null },
        "bayes_flat": posterior,
        "bayes_prior_n0_03": posterior,
    })
}

fn srm(case: Case<'_>) -> Result<Map<String, Value>, Refusal> {
    let observed = case.numbers("observed")?;
    let weights = if case.has("weights") { case.numbers("weights")? } else { vec![1.0; observed.len()] };
    let threshold = case.share_or("threshold", SRM_THRESHOLD)?;
    let ratio = sample_ratio(&observed, &weights)?;
    Ok(fields(json!({
        "gbstats": { "srm_p": ratio.map_or(1.0, |ratio| ratio.p_value) },
        "scipy_chisquare": {
            "stat": ratio.map(|ratio| ratio.statistic),
            "p_value": ratio.map(|ratio| ratio.p_value),
        },
        "alarm": ratio.is_some_and(|ratio| ratio.alarm(threshold)),
    })))
}

fn multiple_testing(case: Case<'_>) -> Result<Map<String, Value>, Refusal> {
    let p_values = case.numbers_or_null("p_values", f64::NAN)?;
    if p_values.iter().any(|p_value| *p_value < 0.0 || *p_value > 1.0) {
        return Err(Refusal::new("out_of_range", "`p_values` must lie between 0 and 1"));
    }
    let alpha = case.share_or("alpha", 0.05)?;
    let corrections = [
        ("bonferroni", Correction::Bonferroni),
        ("holm", Correction::Holm),
        ("fdr_bh", Correction::BenjaminiHochberg),
        ("fdr_by", Correction::BenjaminiYekutieli),
        ("simes_hochberg", Correction::Hochberg),
    ];
    let adjusted = corrections.into_iter().map(|(name, correction)| {
        let adjusted = adjust(&p_values, correction);
        let reject: Vec<bool> = adjusted.iter().map(|p_value| *p_value <= alpha).collect();
        (name.to_owned(), json!({ "reject": reject, "p_adjusted": adjusted }))
    });
    Ok(adjusted.collect())
}

/// An array of arrays of numbers.
pub(super) fn rows(case: Case<'_>, field: &str) -> Result<Vec<Vec<f64>>, Refusal> {
    let row = |value: &Value| {
        let values = value.as_array().ok_or_else(|| Refusal::new("wrong_type", format!("`{field}` must be arrays")))?;
        numbers_of(values, field)
    };
    case.array(field)?.iter().map(row).collect()
}
