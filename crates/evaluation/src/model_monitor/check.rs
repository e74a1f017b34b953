//! What came since, against Model Monitor's constraints.

use super::{Constraints, FeatureConstraints, MonitoringConfig, Switch, Violation, Violations};
use crate::drift::{DriftReport, linf_robust};

/// The constraints that do not hold of the rows in `report`, the comparison with the baseline that the constraints go with.
///
/// The distance is the greatest difference of the distributions; `Robust` takes off what chance does to so many rows, as
/// Deequ does.
pub fn violations(constraints: &Constraints, report: &DriftReport) -> Violations {
    let mut found = Vec::new();
    for feature in &constraints.features {
        let config = feature.overrides.as_ref().unwrap_or(&constraints.monitoring_config);
        if config.evaluate_constraints == Switch::Enabled {
            check(feature, config, report, &mut found);
        }
    }
    Violations { violations: found }
}

fn check(feature: &FeatureConstraints, config: &MonitoringConfig, report: &DriftReport, found: &mut Vec<Violation>) {
    let mut violated = |check: &str, description: String| {
        found.push(Violation {
            feature_name: feature.name.clone(),
            constraint_check_type: check.to_owned(),
            description,
        });
    };
    let Some(column) = report.columns.iter().find(|column| column.name == feature.name) else {
        violated("missing_column_check", "The column is in the constraints, and not among the model's".to_owned());
        return;
    };
    let completeness = 1.0 - column.missing_share;
    // A column that has no row yet (the label of an hour without arrivals) says nothing.
    if column.rows > 0 && completeness < feature.completeness - 1e-12 {
        let description = format!(
            "Value: {completeness:.6} does not meet the constraint requirement: {:.6} of rows with a value",
            feature.completeness
        );
        violated("completeness_check", description);
    }
    let compared = &config.distribution_constraints;
    let present = column.rows as f64 * completeness;
    let trained = column.training_rows as f64 * (1.0 - column.training_missing_share);
    if compared.perform_comparison == Switch::Disabled || present < 1.0 || trained < 1.0 {
        return;
    }
    let simple = column.kolmogorov_smirnov;
    let is_robust = compared.comparison_method.eq_ignore_ascii_case("robust");
    let distance = if is_robust { linf_robust(simple, trained, present, None) } else { simple };
    if distance > compared.comparison_threshold {
        let description = format!(
            "Baseline drift distance: {distance:.6} exceeds threshold: {} ({})",
            compared.comparison_threshold, compared.comparison_method
        );
        violated("baseline_drift_check", description);
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::{
        super::{Statistics, baseline_of, constraints_of, statistics_of},
        *,
    };
    use crate::drift::{FeatureCounts, LABEL, TrainingBaseline};

    fn rows(seed: u64, n: usize) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let distance: Vec<f64> = (0..n).map(|_| -1000.0 * (1.0 - random.random::<f64>()).ln()).collect();
        let zone = (0..n).map(|_| (random.random::<f64>().powi(2) * 60.0).floor()).collect();
        let label = distance.iter().map(|m| 60.0 + m / 5.0).collect();
        (distance, zone, label)
    }

    fn baseline() -> TrainingBaseline {
        let (distance, zone, label) = rows(1, 20_000);
        TrainingBaseline::of("h", [("distance", distance.as_slice()), ("zone", zone.as_slice())], &label)
    }

    fn report(baseline: &TrainingBaseline, change: impl Fn(usize, &mut f64, &mut f64)) -> DriftReport {
        let (mut distance, mut zone, label) = rows(2, 4_000);
        let mut counts = FeatureCounts::new(baseline);
        for row in 0..label.len() {
            change(row, &mut distance[row], &mut zone[row]);
            counts.add(baseline, [distance[row], zone[row]].map(Some), Some(label[row]));
        }
        DriftReport::new(baseline, &counts).unwrap()
    }

    fn checks(found: &Violations) -> Vec<(&str, &str)> {
        found.violations.iter().map(|v| (v.feature_name.as_str(), v.constraint_check_type.as_str())).collect()
    }

    #[test]
    fn what_is_written_is_read_as_nearly_the_same_baseline() {
        let baseline = baseline();
        let json = serde_json::to_string(&statistics_of(&baseline)).unwrap();
        let statistics: Statistics = serde_json::from_str(&json).unwrap();
        let outputs = ["distance", "zone"].map(str::to_owned);
        let imported = baseline_of(&statistics, "h", &outputs, LABEL).unwrap();
        assert_eq!((imported.missing, imported.unused), (vec![], vec![]));
        // Single values come back exactly; ranges within the hundredth that they hold.
        assert_eq!(imported.baseline.columns[1].counts, baseline.columns[1].counts);
        assert_eq!(imported.baseline.columns[1].bins, baseline.columns[1].bins);
        let calm = report(&imported.baseline, |_, _, _| ());
        assert_eq!(calm.drifted(), Vec::<&str>::new());
        let same = report(&baseline, |_, _, _| ());
        let ks =
            |report: &DriftReport| report.columns.iter().find(|c| c.name == "distance").unwrap().kolmogorov_smirnov;
        assert!((ks(&calm) - ks(&same)).abs() < 0.012, "{} {}", ks(&calm), ks(&same));
        let kilometres = report(&imported.baseline, |_, distance, _| *distance /= 1000.0);
        assert_eq!(kilometres.drifted(), ["distance"]);
    }

    #[test]
    fn violations_name_what_changed_and_nothing_else() {
        let baseline = baseline();
        let json = serde_json::to_string(&constraints_of(&baseline)).unwrap();
        let mut constraints: Constraints = serde_json::from_str(&json).unwrap();
        assert_eq!(checks(&violations(&constraints, &report(&baseline, |_, _, _| ()))), []);
        let broken = report(&baseline, |row, distance, _| *distance = if row % 4 == 0 { f64::NAN } else { *distance });
        assert_eq!(checks(&violations(&constraints, &broken)), [("distance", "completeness_check")]);
        let moved = report(&baseline, |_, distance, zone| {
            *distance *= 2.0;
            *zone = 59.0 - *zone;
        });
        let drift = "baseline_drift_check";
        assert_eq!(checks(&violations(&constraints, &moved)), [("distance", drift), ("zone", drift)]);
        constraints.features[1].overrides =
            Some(MonitoringConfig { evaluate_constraints: Switch::Disabled, ..MonitoringConfig::default() });
        constraints.features[2].name = "gone".to_owned();
        assert_eq!(checks(&violations(&constraints, &moved)), [("distance", drift), ("gone", "missing_column_check")]);
    }

    #[test]
    fn the_published_form_is_read() {
        let json = r#"{"version": 0, "dataset": {"item_count": 40}, "features": [
            {"name": "eta_minutes", "inferred_type": "Fractional", "numerical_statistics": {
                "common": {"num_present": 40, "num_missing": 0}, "mean": 1.0, "sum": 40.0, "std_dev": 0.5, "min": 0.0, "max": 2.0,
                "distribution": {"kll": {"buckets": [
                    {"lower_bound": 0.0, "upper_bound": 1.0, "count": 20.0}, {"lower_bound": 1.0, "upper_bound": 2.0, "count": 20.0}]}}}},
            {"name": "zone", "inferred_type": "String", "string_statistics": {
                "common": {"num_present": 40, "num_missing": 2}, "distinct_count": 2,
                "distribution": {"categorical": {"buckets": [{"value": "7", "count": 30}, {"value": "12", "count": 10}]}}}},
            {"name": "weather", "inferred_type": "String", "string_statistics": {
                "common": {"num_present": 40, "num_missing": 2}, "distinct_count": 1,
                "distribution": {"categorical": {"buckets": [{"value": "rain", "count": 40}]}}}}]}"#;
        let statistics: Statistics = serde_json::from_str(json).unwrap();
        let outputs = ["eta_minutes", "zone", "weather"].map(str::to_owned);
        let imported = baseline_of(&statistics, "h", &outputs, LABEL).unwrap();
        assert_eq!(imported.missing, ["weather", LABEL]);
        assert_eq!(imported.baseline.columns[0].counts, [0, 20, 20, 0]);
        assert_eq!(
            (imported.baseline.columns[1].counts.as_slice(), imported.baseline.columns[1].missing),
            (&[30, 10, 0][..], 2)
        );
        assert_eq!(TrainingBaseline::from_json(&imported.baseline.to_json()).unwrap(), imported.baseline);
        assert_eq!(baseline_of(&statistics, "h", &[], "none").unwrap_err().reason(), "invalid_baseline");
    }
}
