//! Every case of `eta_oracle.json`, `drift_oracle.json` and `deequ_distance_vectors.json`, where they are at hand.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use evaluation::{
    conformal::{AdaptiveConformal, absolute_scores, conformal_quantile, quantile_scores},
    drift::{
        CategoricalDrift, CategoryCounts, Decision, NumericDrift, deequ_chi_squared, linf_categorical, linf_robust,
        population_stability,
    },
    regression::{IntervalMetrics, RegressionMetrics},
};
use serde_json::Value;

/// Where the figures here are not the file's, and why.
const DEVIATIONS: [(&str, &str); 2] = [
    (
        "numeric: default_score, default_drift of the tests z, chisquare and jensenshannon",
        "the file has none for them; here there are",
    ),
    (
        "categorical: chisquare_p of an unseen category",
        "the file's note says null, its case says 0; here it is 0, the limit of the statistic",
    ),
];

fn cases(file: &str) -> Option<Vec<Value>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracles").join(file);
    let Ok(bytes) = std::fs::read(&path) else {
        println!("skipped: {} is not here", path.display());
        return None;
    };
    let file: Value = serde_json::from_slice(&bytes).unwrap();
    Some(file["cases"].as_array().unwrap().clone())
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

fn counts(value: &Value) -> CategoryCounts {
    value.as_object().unwrap().iter().map(|(name, count)| (name.clone(), number(count))).collect()
}

fn check(found: f64, expected: &Value, what: &str) {
    let expected = number(expected);
    assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{what}: {found:e} is not {expected:e}");
}

/// `null` is what is not defined.
fn check_some(found: Option<f64>, expected: &Value, what: &str) {
    match found {
        Some(found) => check(found, expected, what),
        None => assert!(expected.is_null(), "{what}: nothing is not {expected}"),
    }
}

fn check_all(found: &[f64], expected: &Value, what: &str) {
    let expected = expected.as_array().unwrap();
    assert_eq!(found.len(), expected.len(), "{what}: {found:?} is not {expected:?}");
    for (found, expected) in found.iter().zip(expected) {
        check(*found, expected, what);
    }
}

fn regression(case: &Value) {
    let expected = &case["expected"];
    let actual = numbers(&case["actual"]);
    let found = RegressionMetrics::of(&actual, &numbers(&case["predicted"])).unwrap();
    let mut checked = 0;
    for (name, value) in expected.as_object().unwrap() {
        let what = format!("{} {name}", case["id"]);
        match name.as_str() {
            "n" => assert_eq!(found.n as u64, value.as_u64().unwrap()),
            "mae" => check(found.mae, value, &what),
            "median_ae" => check(found.abs_error_quantile(0.5), value, &what),
            "rmse" => check(found.rmse, value, &what),
            "mse" => check(found.mse, value, &what),
            "mape" => check(found.mape, value, &what),
            "max_error" => check(found.max_error, value, &what),
            "r2" => check_some(found.r2, value, &what),
            "explained_variance" => check(found.explained_variance, value, &what),
            "bias_pred_minus_actual" => check(found.bias, value, &what),
            "error_std_ddof1" => check_some(found.error_std, value, &what),
            "wape" => check_some(found.wape, value, &what),
            "share_late_actual_gt_pred" => check(found.share_late, value, &what),
            "share_early" => check(found.share_early, value, &what),
            "asymmetric_cost_late3_early1" => check(found.asymmetric_cost, value, &what),
            "rmsle" => check_some(found.rmsle, value, &what),
            "within" => by_key(value, |bound| found.share_within(bound), &what),
            "abs_error_quantiles_linear" => by_key(value, |q| found.abs_error_quantile(q), &what),
            "signed_error_quantiles_linear" => by_key(value, |q| found.error_quantile(q), &what),
            "pinball" => by_key(value, |q| found.pinball(q), &what),
            "interval" => {
                let confidence = number(&value["confidence"]);
                let (lower, upper) = (numbers(&case["lower"]), numbers(&case["upper"]));
                let interval = IntervalMetrics::of(&actual, &lower, &upper, confidence).unwrap();
                check(interval.coverage, &value["coverage"], &what);
                check(interval.mean_width, &value["mean_width"], &what);
                check(interval.winkler_score, &value["winkler_score"], &what);
            }
            other => panic!("{what}: `{other}` is not compared"),
        }
        checked += 1;
    }
    assert!(checked >= 20, "{checked}");
}

fn by_key(expected: &Value, found: impl Fn(f64) -> f64, what: &str) {
    for (key, value) in expected.as_object().unwrap() {
        check(found(key.parse().unwrap()), value, &format!("{what} {key}"));
    }
}

fn conformal(case: &Value, scores: &[f64], [new_lower, new_upper]: [Vec<f64>; 2]) {
    let expected = &case["expected"];
    let found = conformal_quantile(scores, number(&case["confidence"])).unwrap();
    assert_eq!(found.k as u64, expected["k"].as_u64().unwrap(), "{}", case["id"]);
    check_some(found.quantile, &expected["quantile"], "quantile");
    let quantile = found.quantile.unwrap();
    let moved = |values: Vec<f64>, by: f64| values.into_iter().map(|value| value + by).collect::<Vec<f64>>();
    check_all(&moved(new_lower, -quantile), &expected["lower"], "lower");
    check_all(&moved(new_upper, quantile), &expected["upper"], "upper");
}

fn adaptive(case: &Value) {
    let size = |name: &str| case[name].as_u64().unwrap() as usize;
    let mut conformal = AdaptiveConformal::new(
        number(&case["target_alpha"]),
        number(&case["gamma"]),
        size("window"),
        size("min_scores"),
    )
    .unwrap();
    let (mut missed, mut steps) = (0_u32, 0_u32);
    for (index, expected) in case["expected"]["trace"].as_array().unwrap().iter().enumerate() {
        let step = conformal.update(number(&case["scores"][index]));
        let Some(step) = step else {
            assert!(expected.is_null(), "{index}: {expected}");
            continue;
        };
        check(step.alpha, &expected[0], "alpha");
        check_some(step.quantile, &expected[1], "quantile");
        assert_eq!(u64::from(step.missed), expected[2].as_u64().unwrap(), "{index}");
        missed += u32::from(step.missed);
        steps += 1;
    }
    check(conformal.alpha(), &case["expected"]["final_alpha"], "final_alpha");
    check(f64::from(missed) / f64::from(steps), &case["expected"]["miscoverage"], "miscoverage");
}

#[test]
fn predictions_and_intervals() {
    let Some(cases) = cases("eta_oracle.json") else { return };
    for case in &cases {
        let of = |name: &str| numbers(&case[name]);
        match case["kind"].as_str().unwrap() {
            "regression" => regression(case),
            "split_conformal" => {
                let scores = absolute_scores(&of("cal_actual"), &of("cal_predicted")).unwrap();
                conformal(case, &scores, [of("new_predicted"), of("new_predicted")]);
            }
            "cqr_symmetric" => {
                let scores = quantile_scores(&of("cal_actual"), &of("cal_lower"), &of("cal_upper")).unwrap();
                conformal(case, &scores, [of("new_lower"), of("new_upper")]);
            }
            "aci" => adaptive(case),
            other => panic!("{other}"),
        }
    }
    assert!(cases.len() >= 11, "{}", cases.len());
}

fn decision(found: &Decision, evidently: &Value, what: &str) {
    assert_eq!(found.test.name(), evidently["default_test"], "{what}");
    check(found.test.threshold(), &evidently["default_threshold"], what);
    if let Some(score) = evidently.get("default_score") {
        check_some(found.score, score, what);
        assert_eq!(found.drift, evidently["default_drift"].as_bool(), "{what}");
    }
}

fn numeric(case: &Value) {
    let (reference, current) = (numbers(&case["reference"]), numbers(&case["current"]));
    let found = NumericDrift::of(&reference, &current).unwrap();
    let (expected, evidently) = (&case["expected"], &case["expected"]["evidently"]);
    let what = case["id"].to_string();
    let ks = &expected["ks"];
    check(found.ks.statistic, &ks["statistic"], &format!("{what} ks"));
    check(found.ks.p_value, &ks["p_value"], &format!("{what} ks p"));
    check(found.ks.p_value_asymptotic, &ks["p_value_asymp"], &format!("{what} ks asymp"));
    check(found.ks.p_value_limit, &ks["p_value_kolmogorov_limit"], &format!("{what} ks limit"));
    // Tails too, where the file's digits are not of an underflowing sum.
    let exact = number(&ks["p_value"]);
    assert!((found.ks.p_value / exact - 1.0).abs() < 1e-6, "{what}: {} {exact}", found.ks.p_value);
    check(found.wasserstein, &expected["wasserstein"], &format!("{what} wasserstein"));
    check(found.wasserstein_normed, &evidently["wasserstein_normed"], &format!("{what} wasserstein_normed"));
    check(found.psi, &evidently["psi"], &format!("{what} psi"));
    check(found.jensen_shannon, &evidently["jensenshannon_base_e"], &format!("{what} js"));
    check(found.kullback_leibler, &evidently["kl_div"], &format!("{what} kl"));
    check(found.hellinger, &evidently["hellinger"], &format!("{what} hellinger"));
    match &found.sturges_edges {
        Some(edges) => check_all(edges, &evidently["bin_edges_sturges"], &format!("{what} edges")),
        None => assert!(evidently.get("bin_edges_sturges").is_none(), "{what}"),
    }
    decision(&found.decision, evidently, &what);
    let (bins, reference_shares, current_shares, psi) = &found.deciles;
    let deciles = &expected["psi_decile"];
    check_all(&bins.inner_edges, &deciles["inner_edges"], &format!("{what} inner_edges"));
    check_all(reference_shares, &deciles["ref_share"], &format!("{what} ref_share"));
    check_all(current_shares, &deciles["cur_share"], &format!("{what} cur_share"));
    check(*psi, &deciles["psi"], &format!("{what} psi_decile"));
    check(found.ks.statistic, &expected["deequ_linf"]["simple"], &format!("{what} linf"));
    check(found.linf_robust, &expected["deequ_linf"]["robust"], &format!("{what} linf_robust"));
}

fn categorical(case: &Value) {
    let found = CategoricalDrift::of(&counts(&case["reference"]), &counts(&case["current"])).unwrap();
    let (expected, evidently) = (&case["expected"], &case["expected"]["evidently"]);
    let what = case["id"].to_string();
    check(found.psi, &evidently["psi"], &format!("{what} psi"));
    check(found.jensen_shannon, &evidently["jensenshannon_base_e"], &format!("{what} js"));
    check(found.jensen_shannon / 2.0_f64.ln().sqrt(), &expected["jensenshannon_base_2"], &format!("{what} js2"));
    check(found.kullback_leibler, &evidently["kl_div"], &format!("{what} kl"));
    check(found.hellinger, &evidently["hellinger"], &format!("{what} hellinger"));
    check(found.chi_squared_p_value, &evidently["chisquare_p"], &format!("{what} chisquare_p"));
    match evidently.get("z_p") {
        Some(z_p) => check_some(found.z_p_value, z_p, &format!("{what} z_p")),
        None => assert_eq!(found.z_p_value, None, "{what}"),
    }
    decision(&found.decision, evidently, &what);
    check(found.total_variation, &expected["total_variation"], &format!("{what} tv"));
    check(found.linf_simple, &expected["deequ_linf"]["simple"], &format!("{what} linf"));
    check(found.linf_robust, &expected["deequ_linf"]["robust"], &format!("{what} linf_robust"));
    let contingency = &expected["chi2_contingency"];
    check(found.contingency.0, &contingency["statistic"], &format!("{what} chi2"));
    check(found.contingency.1, &contingency["p_value"], &format!("{what} chi2 p"));
    check(found.contingency.2, &contingency["dof"], &format!("{what} chi2 dof"));
}

#[test]
fn samples_and_categories() {
    let Some(cases) = cases("drift_oracle.json") else { return };
    for case in &cases {
        match case["kind"].as_str().unwrap() {
            "numeric" => numeric(case),
            "categorical" => categorical(case),
            other => panic!("{other}"),
        }
    }
    for (figure, reason) in DEVIATIONS {
        println!("deviation: {figure}: {reason}");
    }
    assert!(cases.len() >= 16, "{}", cases.len());
}

#[test]
fn deequs_distances() {
    let Some(cases) = cases("deequ_distance_vectors.json") else { return };
    for (index, case) in cases.iter().enumerate() {
        let (expected, what) = (&case["expected"], format!("deequ {index}"));
        let sides = || (counts(&case["sample1"]), counts(&case["sample2"]));
        let against = || deequ_chi_squared(&counts(&case["sample"]), &counts(&case["baseline"]));
        match case["kind"].as_str().unwrap() {
            "linf_simple" => check(linf_categorical(&sides().0, &sides().1), expected, &what),
            "linf_robust" => {
                let (left, right) = sides();
                let simple = linf_categorical(&left, &right);
                let (n, m) = (left.values().sum(), right.values().sum());
                check(linf_robust(simple, n, m, case["alpha"].as_f64()), expected, &what);
            }
            "psi_counts" => {
                let found = population_stability(&numbers(&case["actual"]), &numbers(&case["expected_counts"]));
                check_some(found, expected, &what);
            }
            "chisquare_stat" => check_some(against().map(|found| found.0), expected, &what),
            "chisquare_p" => check_some(against().map(|found| found.1), expected, &what),
            other => panic!("{other}"),
        }
    }
    assert!(cases.len() >= 14, "{}", cases.len());
}
