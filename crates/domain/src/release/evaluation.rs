use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What evaluations of the model tell apart, besides model version, spec, arm, tier and predicted duration.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationPlan {
    /// The IANA time zone of "hour of the day", such as `America/New_York`. UTC where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The request's input that names the zone. No figures by zone where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_input: Option<String>,
    /// Further segments by name: of a-z, 0-9 and `_`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub segments: BTreeMap<String, SegmentPlan>,
}

/// One further segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentPlan {
    /// An expression of the feature spec: an input, a feature, or any SQL over them.
    pub by: String,
    /// Where bins of its number begin, ascending; below the first is one more. By value where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bins: Option<Vec<f64>>,
}

/// Segments cost memory and space in every hour's evaluation.
const MAX_SEGMENTS: usize = 12;
const MAX_BINS: usize = 100;
/// Names that evaluations use themselves.
const RESERVED: [&str; 4] = ["horizon", "hour_of_day", "spec", "zone"];

impl EvaluationPlan {
    /// The zone of "hour of the day"; `None` where there is none of that name.
    pub fn zone_of_time(&self) -> Option<TimeZone> {
        self.time_zone.as_ref().map_or(Some(TimeZone::UTC), |name| TimeZone::get(name).ok())
    }

    /// What is wrong with it.
    pub(super) fn problem(&self) -> Option<String> {
        if self.zone_of_time().is_none() {
            let name = self.time_zone.as_deref().unwrap_or_default();
            return Some(format!("evaluation.time_zone `{name}` is not an IANA time zone"));
        }
        if self.segments.len() > MAX_SEGMENTS {
            return Some(format!("evaluation has {} segments; at most {MAX_SEGMENTS} are kept", self.segments.len()));
        }
        self.segments.iter().find_map(|(name, segment)| {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            if name.is_empty() || !name.bytes().all(plain) || RESERVED.contains(&name.as_str()) {
                return Some(format!(
                    "`{name}` cannot be the name of a segment: it needs a-z, 0-9 and `_`, and cannot be one of {}",
                    RESERVED.join(", ")
                ));
            }
            let bins = segment.bins.as_ref()?;
            let rise = bins.windows(2).all(|pair| pair[0] < pair[1]) && bins.iter().all(|edge| edge.is_finite());
            (bins.is_empty() || bins.len() > MAX_BINS || !rise)
                .then(|| format!("the bins of segment `{name}` must be 1 to {MAX_BINS} rising finite numbers"))
        })
    }
}

/// The text of a zone, as requests name it: 7 and 7.0 are one zone. `None` where there is none.
pub fn zone_text(zone: &Value) -> Option<String> {
    match zone {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => {
            let whole = number.as_f64().filter(|value| value.fract() == 0.0 && value.abs() < 9e15 && !number.is_i64());
            Some(whole.map_or_else(|| number.to_string(), |value| (value as i64).to_string()))
        }
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_told_apart_is_refused() {
        let plan = |text: serde_json::Value| serde_json::from_value::<EvaluationPlan>(text).unwrap().problem();
        let bins =
            |bins: serde_json::Value| serde_json::json!({"segments": {"far": {"by": "distance_m", "bins": bins}}});
        assert_eq!(plan(bins(serde_json::json!([500, 2000]))), None);
        assert!(plan(bins(serde_json::json!([500, 500]))).unwrap().contains("rising"));
        assert!(plan(bins(serde_json::json!([]))).is_some());
        assert!(plan(serde_json::json!({"segments": {"zone": {"by": "rider_zone"}}})).unwrap().contains("`zone`"));
        assert!(plan(serde_json::json!({"time_zone": "Mars/Olympus"})).unwrap().contains("IANA"));
        assert_eq!(plan(serde_json::json!({"time_zone": "Asia/Tokyo", "zone_input": "rider_zone"})), None);
    }

    #[test]
    fn seven_is_one_zone_however_it_is_written() {
        assert_eq!(zone_text(&serde_json::json!(7)).as_deref(), Some("7"));
        assert_eq!(zone_text(&serde_json::json!(7.0)).as_deref(), Some("7"));
        assert_eq!(zone_text(&serde_json::json!("ginza")).as_deref(), Some("ginza"));
        assert_eq!(zone_text(&Value::Null), None);
    }
}
