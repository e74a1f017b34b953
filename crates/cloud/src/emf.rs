//! CloudWatch metrics without a call: a line of embedded metric format on standard output.
//!
//! Format: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.

use serde_json::{Map, Value, json};

/// A metric: its name, its CloudWatch unit, its value.
pub type Metric = (&'static str, &'static str, f64);

/// A line of metrics under one set of dimensions. Metrics whose value is not finite are left out; `None` where none is left.
pub fn line(namespace: &str, at_ms: i64, dimensions: &[(&str, &str)], metrics: &[Metric]) -> Option<String> {
    let metrics: Vec<&Metric> = metrics.iter().filter(|(_, _, value)| value.is_finite()).collect();
    if metrics.is_empty() {
        return None;
    }
    let declared: Vec<Value> = metrics.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit })).collect();
    let names: Vec<&str> = dimensions.iter().map(|(name, _)| *name).collect();
    let directive = json!({ "Namespace": namespace, "Dimensions": [names], "Metrics": declared });
    let mut line = Map::new();
    line.insert("_aws".to_owned(), json!({ "Timestamp": at_ms, "CloudWatchMetrics": [directive] }));
    line.extend(dimensions.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))));
    line.extend(metrics.iter().map(|(name, _, value)| ((*name).to_owned(), json!(value))));
    Some(Value::Object(line).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_has_a_value() {
        let metrics = [("mae_s", "Seconds", 92.5), ("coverage", "None", f64::NAN)];
        let line = line("Mannen/Evaluator", 5_000, &[("model", "a \"b\"")], &metrics).unwrap();
        let value: Value = serde_json::from_str(&line).unwrap();
        let directive = &value["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Metrics"], json!([{ "Name": "mae_s", "Unit": "Seconds" }]));
        assert_eq!(directive["Dimensions"], json!([["model"]]));
        assert_eq!(
            (&value["mae_s"], &value["model"], &value["_aws"]["Timestamp"]),
            (&json!(92.5), &json!("a \"b\""), &json!(5_000))
        );
        assert_eq!(super::line("n", 0, &[], &metrics[1..]), None);
    }
}
