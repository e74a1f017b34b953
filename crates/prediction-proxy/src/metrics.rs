//! CloudWatch metrics, one line of embedded metric format per request.
//!
//! Format: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.
//! Lambda hands lines of standard output to CloudWatch Logs, which makes metrics of them: no call, no agent.

use std::fmt::Write;

use domain::{ModelName, PredictionRecord, ShadowRecord, Tier};
use jiff::Timestamp;

const NAMESPACE: &str = "Mannen/Proxy";

/// The metrics of an answered request: by model, by model and tier, by model and arm. It is the request's only line in the log.
pub(crate) fn of_record(record: &PredictionRecord, only_in_log: bool, now: Timestamp) -> String {
    let timings = record.timings;
    let mut line = String::with_capacity(1024);
    begin(
        &mut line,
        now,
        r#"["model"],["model","tier"],["model","arm"]"#,
        &[
            ("requests", "Count"),
            ("candidates", "Count"),
            ("fallbacks", "Count"),
            ("archive_failures", "Count"),
            ("total_us", "Microseconds"),
            ("endpoint_us", "Microseconds"),
            ("transform_us", "Microseconds"),
            ("overhead_us", "Microseconds"),
        ],
    );
    _ = write!(
        line,
        r#""model":"{}","tier":"{}","arm":{},"prediction_id":"{}","requests":1,"candidates":{},"fallbacks":{},"archive_failures":{},"total_us":{},"endpoint_us":{},"transform_us":{},"overhead_us":{}"#,
        record.model,
        record.tier.as_str(),
        text(&record.assignment.arm),
        record.prediction_id,
        record.candidates.len(),
        u8::from(record.tier == Tier::Fallback),
        u8::from(only_in_log),
        timings.total_us,
        timings.endpoint_us,
        timings.transform_us,
        timings.total_us.saturating_sub(timings.endpoint_us),
    );
    if let Some(reason) = &record.tier_reason {
        _ = write!(line, r#","tier_reason":{}"#, text(reason));
    }
    line.push('}');
    line
}

/// The metrics of one shadow arm that was asked: by model and shadow.
pub(crate) fn of_shadow(record: &ShadowRecord, only_in_log: bool, now: Timestamp) -> String {
    let mut line = String::with_capacity(512);
    let metrics = [
        ("shadow_requests", "Count"),
        ("shadow_failures", "Count"),
        ("shadow_archive_failures", "Count"),
        ("shadow_endpoint_us", "Microseconds"),
    ];
    begin(&mut line, now, r#"["model","shadow"]"#, &metrics);
    _ = write!(
        line,
        r#""model":"{}","shadow":{},"prediction_id":"{}","shadow_requests":1,"shadow_failures":{},"shadow_archive_failures":{},"shadow_endpoint_us":{}}}"#,
        record.model,
        text(&record.arm),
        record.prediction_id,
        u8::from(record.reason.is_some()),
        u8::from(only_in_log),
        record.endpoint_us,
    );
    line
}

/// The metric of shadow arms that were given up since the answer left.
pub(crate) fn of_dropped_shadows(model: &ModelName, count: usize, now: Timestamp) -> String {
    let mut line = String::with_capacity(256);
    begin(&mut line, now, r#"["model"]"#, &[("shadows_dropped", "Count")]);
    _ = write!(line, r#""model":"{model}","shadows_dropped":{count}}}"#);
    line
}

/// The metric of a request that got no prediction, by reason code.
pub(crate) fn of_refusal(reason: &str, now: Timestamp) -> String {
    let mut line = String::with_capacity(256);
    begin(&mut line, now, r#"[],["reason"]"#, &[("refusals", "Count")]);
    _ = write!(line, r#""reason":{},"refusals":1}}"#, text(reason));
    line
}

/// The declaration; the values follow.
fn begin(line: &mut String, now: Timestamp, dimensions: &str, metrics: &[(&str, &str)]) {
    let at = now.as_millisecond();
    _ = write!(
        line,
        r#"{{"_aws":{{"Timestamp":{at},"CloudWatchMetrics":[{{"Namespace":"{NAMESPACE}","Dimensions":[{dimensions}],"Metrics":["#
    );
    for (index, (name, unit)) in metrics.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        _ = write!(line, r#"{comma}{{"Name":"{name}","Unit":"{unit}"}}"#);
    }
    line.push_str("]}]},");
}

/// A JSON string: names of arms come from outside.
fn text(value: &str) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use domain::{ArmAssignment, Timings};
    use serde_json::Value;

    use super::*;
    use crate::samples::{record, shadow_record};

    fn fallback_record() -> PredictionRecord {
        PredictionRecord {
            assignment: ArmAssignment::only("a \"quoted\" arm"),
            tier: Tier::Fallback,
            tier_reason: Some("endpoint_timeout".into()),
            timings: Timings { transform_us: 20, endpoint_us: 3_000, total_us: 3_500 },
            ..record()
        }
    }

    /// Every metric and dimension that is declared has a value, as the specification demands.
    fn checked(line: &str) -> Value {
        let value: Value = serde_json::from_str(line).unwrap();
        let directive = &value["_aws"]["CloudWatchMetrics"][0];
        for metric in directive["Metrics"].as_array().unwrap() {
            assert!(value[metric["Name"].as_str().unwrap()].is_number(), "{metric}");
        }
        for dimension in directive["Dimensions"].as_array().unwrap().iter().flat_map(|set| set.as_array().unwrap()) {
            assert!(value[dimension.as_str().unwrap()].is_string(), "{dimension}");
        }
        value
    }

    #[test]
    fn lines_are_embedded_metric_format() {
        let value = checked(&of_record(&fallback_record(), true, Timestamp::from_second(5).unwrap()));
        assert_eq!(value["_aws"]["Timestamp"], 5_000);
        assert_eq!((&value["fallbacks"], &value["archive_failures"]), (&1.into(), &1.into()));
        assert_eq!((&value["overhead_us"], &value["arm"]), (&500.into(), &"a \"quoted\" arm".into()));
        assert_eq!(value["tier_reason"], "endpoint_timeout");
        let answered = PredictionRecord { tier_reason: None, ..fallback_record() };
        assert_eq!(checked(&of_record(&answered, false, Timestamp::UNIX_EPOCH))["tier_reason"], Value::Null);
        let shadow = ShadowRecord { reason: Some("endpoint_timeout".to_owned()), ..shadow_record() };
        let value = checked(&of_shadow(&shadow, false, Timestamp::UNIX_EPOCH));
        assert_eq!((&value["shadow"], &value["shadow_failures"]), (&"challenger".into(), &1.into()));
        assert_eq!(checked(&of_dropped_shadows(&shadow.model, 2, Timestamp::UNIX_EPOCH))["shadows_dropped"], 2);
        assert_eq!(checked(&of_refusal("invalid_json", Timestamp::UNIX_EPOCH))["refusals"], 1);
    }
}
