use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::zone_text;
use crate::{Hour, Inputs};

/// Recalibration without retraining: what endpoints predict, times a factor of the request's zone and local hour. It is applied
/// to what an endpoint said, before the promise; the fallback's answer is left alone. The record keeps what was said before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Correction {
    /// The IANA time zone of the hours. UTC where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The request's input that names the zone, where there are factors by zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_input: Option<String>,
    /// The factor of each hour of the day, 24 of them: for zones without factors of their own.
    pub hours: Vec<f64>,
    /// The factors of a zone by hour of the day, 24 of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub zones: BTreeMap<String, Vec<f64>>,
    /// What it was learned from, where it was learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned_from: Option<CorrectionBasis>,
}

/// An endpoint's number as an answer: what is answered, and what the endpoint had said where the correction's `factor` made the
/// answer of it. `bounded` keeps a number within the spec's bounds, or says that it is none; then the fallback answers.
pub fn answered(
    said: f64,
    factor: Option<f64>,
    fallback: f64,
    bounded: impl Fn(f64) -> Option<f64>,
) -> (f64, Option<f64>) {
    let said = bounded(said);
    let corrected = said.zip(factor).and_then(|(said, factor)| bounded(said * factor));
    (corrected.or(said).unwrap_or(fallback), corrected.and(said))
}

/// What a correction was learned from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorrectionBasis {
    /// The first hour of the predictions, UTC.
    pub from: Hour,
    /// The last hour, UTC.
    pub until: Hour,
    /// Rides whose car arrived.
    pub rides: u64,
}

const HOURS_PER_DAY: usize = 24;
/// A document is read by every cold start: zones that matter fit.
const MAX_ZONES: usize = 1024;

impl Correction {
    /// Factors beyond these are a broken model, not a correction.
    pub const FACTORS: std::ops::RangeInclusive<f64> = 0.2..=5.0;

    /// The factor for a request. 1 where the time zone's rules are not known, which publishing refuses.
    pub fn factor(&self, inputs: &Inputs, requested_at: Timestamp) -> f64 {
        let zone = self.zone_input.as_ref().and_then(|name| inputs.get(name)).and_then(zone_text);
        let Some(hour) = self.hour_of_day(requested_at) else { return 1.0 };
        let of_zone = zone.and_then(|zone| self.zones.get(&zone));
        of_zone.unwrap_or(&self.hours).get(hour).copied().unwrap_or(1.0)
    }

    fn hour_of_day(&self, at: Timestamp) -> Option<usize> {
        let zone = self.time_zone.as_ref().map_or(Some(TimeZone::UTC), |name| TimeZone::get(name).ok())?;
        usize::try_from(zone.to_datetime(at).hour()).ok()
    }

    /// What is wrong with it.
    pub(super) fn problem(&self) -> Option<String> {
        if self.hour_of_day(Timestamp::UNIX_EPOCH).is_none() {
            let name = self.time_zone.as_deref().unwrap_or_default();
            return Some(format!("correction.time_zone `{name}` is not an IANA time zone"));
        }
        if !self.zones.is_empty() && self.zone_input.is_none() {
            return Some("the correction has factors by zone, and no zone_input that names the zone".to_owned());
        }
        if self.zones.len() > MAX_ZONES {
            return Some(format!("the correction has {} zones; at most {MAX_ZONES} fit", self.zones.len()));
        }
        let all = self.zones.iter().map(|(zone, factors)| (zone.as_str(), factors));
        all.chain([("hours", &self.hours)]).find_map(|(of, factors)| {
            (factors.len() != HOURS_PER_DAY || factors.iter().any(|factor| !Self::FACTORS.contains(factor)))
                .then(|| format!("the correction of `{of}` must be 24 factors within 0.2 and 5"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn correction() -> Correction {
        let mut hours = vec![1.0; 24];
        hours[18] = 1.5;
        Correction {
            time_zone: Some("America/New_York".to_owned()),
            zone_input: Some("rider_zone".to_owned()),
            hours,
            zones: BTreeMap::from([("43".to_owned(), vec![0.8; 24])]),
            learned_from: None,
        }
    }

    #[test]
    fn a_zone_wins_over_the_hour_of_all() {
        let factor = |zone: serde_json::Value, at: &str| {
            let inputs = serde_json::json!({"rider_zone": zone});
            correction().factor(inputs.as_object().unwrap(), at.parse().unwrap())
        };
        // 22:30 UTC is 18:30 in New York's summer.
        assert_eq!(factor(43.into(), "2018-06-01T22:30:00Z"), 0.8);
        assert_eq!(factor(43.0.into(), "2018-06-01T22:30:00Z"), 0.8);
        assert_eq!(factor(44.into(), "2018-06-01T22:30:00Z"), 1.5);
        assert_eq!(factor(serde_json::Value::Null, "2018-06-01T22:30:00Z"), 1.5);
        assert_eq!(factor(44.into(), "2018-12-01T22:30:00Z"), 1.0);
        assert_eq!(correction().factor(&Inputs::new(), "2018-12-01T23:00:00Z".parse().unwrap()), 1.5);
    }

    #[test]
    fn what_would_break_answers_is_refused() {
        assert_eq!(correction().problem(), None);
        assert!(Correction { hours: vec![1.0; 23], ..correction() }.problem().unwrap().contains("`hours`"));
        let zones = |factor: f64| BTreeMap::from([("43".to_owned(), vec![factor; 24])]);
        assert!(Correction { zones: zones(0.0), ..correction() }.problem().unwrap().contains("`43`"));
        assert!(Correction { zones: zones(f64::NAN), ..correction() }.problem().is_some());
        assert!(Correction { zone_input: None, ..correction() }.problem().is_some());
        assert!(Correction { time_zone: Some("Mars".to_owned()), ..correction() }.problem().is_some());
    }
}
