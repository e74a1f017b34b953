//! Figures against those of scikit-learn, where its file of cases lies beside the repository.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use evaluation::{ErrorStatistics, Histogram};
use serde_json::Value;

/// The cases' unit is a minute.
fn to_us(minutes: &Value) -> i64 {
    (minutes.as_f64().unwrap() * 60e6).round() as i64
}

fn assert_close(what: &str, found_s: f64, expected: &Value, unit_s: f64, tolerance: f64) {
    let expected = expected.as_f64().unwrap() * unit_s;
    assert!((found_s - expected).abs() <= tolerance * expected.abs().max(1e-3), "{what}: {found_s} is not {expected}");
}

/// Not compared, since hours do not keep what they need: mape, r2, explained_variance and rmsle (sums of other functions
/// of the actual time), the share within 10 minutes, the signed quantiles (only |error| has the sketch's relative bound),
/// and the interval figures and conformal cases (hours have no intervals). `samples_oracle.rs` compares all of them.
#[test]
fn agrees_with_scikit_learn() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracles/eta_oracle.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: {} is not here", path.display());
        return;
    };
    let oracle: Value = serde_json::from_str(&text).unwrap();
    let cases = oracle["cases"].as_array().unwrap();
    let mut compared = 0;
    for case in cases {
        if case["kind"] != "regression" {
            println!("skipped: {} ({}) is not about point predictions", case["id"], case["kind"]);
            continue;
        }
        let pairs = |name: &str| case[name].as_array().unwrap().iter().map(to_us).collect::<Vec<_>>();
        let statistics = ErrorStatistics::from_durations_us(pairs("predicted").into_iter().zip(pairs("actual")));
        let (figures, expected) = (statistics.figures().unwrap(), &case["expected"]);
        let exact = 1e-9;
        let sketch = Histogram::RELATIVE_ERROR;
        assert_eq!(figures.n, expected["n"].as_u64().unwrap());
        assert_close("mae", figures.mae_s, &expected["mae"], 60.0, exact);
        assert_close("rmse", figures.rmse_s, &expected["rmse"], 60.0, exact);
        assert_close("mse", figures.rmse_s.powi(2), &expected["mse"], 3600.0, exact);
        assert_close("bias", figures.bias_s, &expected["bias_pred_minus_actual"], 60.0, exact);
        assert_close("wape", figures.wape.unwrap(), &expected["wape"], 1.0, exact);
        assert_close("late", figures.share_late, &expected["share_late_actual_gt_pred"], 1.0, exact);
        assert_close("early", figures.share_early, &expected["share_early"], 1.0, exact);
        assert_close("cost", figures.asymmetric_cost_s, &expected["asymmetric_cost_late3_early1"], 60.0, exact);
        for (minutes, share) in ["1", "2", "3", "5"].iter().zip(figures.shares_within()) {
            assert_close(minutes, share, &expected["within"][*minutes], 1.0, exact);
        }
        for (q, loss) in expected["pinball"].as_object().unwrap() {
            let late: f64 = q.parse().unwrap();
            assert_close("pinball", statistics.weighted_cost_s(late, 1.0 - late).unwrap(), loss, 60.0, exact);
        }
        let n = figures.n as f64;
        let variance = (figures.rmse_s.powi(2) - figures.bias_s.powi(2)).max(0.0) * n / (n - 1.0);
        assert_close("error_std", variance.sqrt(), &expected["error_std_ddof1"], 60.0, 1e-6);
        let quantiles = &expected["abs_error_quantiles_linear"];
        assert_close("median", figures.median_ae_s, &expected["median_ae"], 60.0, sketch);
        assert_close("p50", figures.median_ae_s, &quantiles["0.5"], 60.0, sketch);
        assert_close("p80", figures.p80_ae_s, &quantiles["0.8"], 60.0, sketch);
        assert_close("p90", figures.p90_ae_s, &quantiles["0.9"], 60.0, sketch);
        assert_close("p95", figures.p95_ae_s, &quantiles["0.95"], 60.0, sketch);
        let abs = statistics.late().merged(statistics.early());
        assert_close("p99", abs.quantile(0.99).unwrap() / 1e6, &quantiles["0.99"], 60.0, sketch);
        assert_close("max", abs.quantile(1.0).unwrap() / 1e6, &expected["max_error"], 60.0, sketch);
        compared += 1;
    }
    assert!(compared >= 5, "only {compared} cases were compared");
    println!("{compared} of {} cases agree", cases.len());
}
