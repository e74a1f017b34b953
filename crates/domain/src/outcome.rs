use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{CandidateId, DomainError, Hour, PredictionId, digest::sha256_hex, is_archivable};

/// A business metric of a ride: numeric, or binary.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MetricValue {
    /// Yes or no.
    Binary(bool),
    /// A number.
    Numeric(f64),
}

/// What really happened (ground truth), or a part of it: one event of `POST /v1/outcomes`. Several events of one
/// prediction are folded into an [`OutcomeState`]; the last `observed_at` wins, field by field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutcomeEvent {
    /// The prediction that this is the outcome of.
    pub prediction_id: PredictionId,
    /// The candidate that was dispatched: the only one whose prediction meets its truth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate_id: Option<CandidateId>,
    /// When the reporting system learnt of it, UTC. Orders corrections.
    pub observed_at: Timestamp,
    /// When the candidate was dispatched, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispatched_at: Option<Timestamp>,
    /// When it arrived, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrived_at: Option<Timestamp>,
    /// When the ride was cancelled, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_at: Option<Timestamp>,
    /// Free metrics by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, MetricValue>,
}

/// Metrics of one event: what an hour's events take in memory together is bounded by what each may hold.
const MAX_METRICS: usize = 256;
const MAX_METRIC_NAME_BYTES: usize = 16 * 1024;

impl OutcomeEvent {
    /// Checks what the types do not: that it says something, in an order that time allows, in finite numbers.
    pub fn validate(&self) -> Result<(), DomainError> {
        let invalid = |why: &str| Err(DomainError::InvalidOutcome(why.to_owned()));
        if self.dispatched_at.is_none()
            && self.arrived_at.is_none()
            && self.cancelled_at.is_none()
            && self.metrics.is_empty()
        {
            return invalid("an outcome needs at least one of dispatched_at, arrived_at, cancelled_at and metrics");
        }
        let times = [Some(self.observed_at), self.dispatched_at, self.arrived_at, self.cancelled_at];
        if times.into_iter().flatten().any(|time| !is_archivable(time)) {
            return invalid(
                "observed_at, dispatched_at, arrived_at and cancelled_at must lie in the years 1970 to 2199",
            );
        }
        if (self.arrived_at.is_some() || self.dispatched_at.is_some()) && self.candidate_id.is_none() {
            return invalid("candidate_id is needed with dispatched_at or arrived_at: it names the car that drove");
        }
        if self.arrived_at.is_some_and(|arrived| arrived < self.prediction_id.timestamp()) {
            return invalid("arrived_at is before the prediction was asked for");
        }
        let names: usize = self.metrics.keys().map(String::len).sum();
        if self.metrics.len() > MAX_METRICS || names > MAX_METRIC_NAME_BYTES {
            return Err(DomainError::InvalidOutcome(format!(
                "metrics must be at most {MAX_METRICS}, with at most {MAX_METRIC_NAME_BYTES} bytes of names together"
            )));
        }
        if self.metrics.values().any(|value| matches!(value, MetricValue::Numeric(number) if !number.is_finite())) {
            return invalid("metrics must be finite numbers or booleans");
        }
        Ok(())
    }

    /// The hour of the prediction, under which the outcome is archived beside it.
    pub fn hour(&self) -> Hour {
        self.prediction_id.hour()
    }

    /// A content address: the same event sent twice is one object.
    pub fn digest(&self) -> String {
        sha256_hex(&serde_json::to_vec(self).unwrap_or_default())
    }
}

/// The outcome of one prediction as known from all its events.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct OutcomeState {
    /// The dispatched candidate.
    pub candidate_id: Option<CandidateId>,
    /// When it was dispatched, UTC.
    pub dispatched_at: Option<Timestamp>,
    /// When it arrived, UTC.
    pub arrived_at: Option<Timestamp>,
    /// When the ride was cancelled, UTC.
    pub cancelled_at: Option<Timestamp>,
    /// Free metrics by name.
    pub metrics: BTreeMap<String, MetricValue>,
}

impl OutcomeState {
    /// Folds the events of one prediction. Order and repetition of `events` do not matter: they are ordered by
    /// `observed_at`, then by content, and a later event replaces the fields that it has.
    pub fn from_events<'a>(events: impl IntoIterator<Item = &'a OutcomeEvent>) -> Self {
        let mut ordered: Vec<&OutcomeEvent> = events.into_iter().collect();
        // The content decides only between events of the same instant: a digest costs more than the fold.
        ordered.sort_by(|a, b| a.observed_at.cmp(&b.observed_at).then_with(|| a.digest().cmp(&b.digest())));
        let mut state = Self::default();
        for event in ordered {
            let replace = |field: &mut Option<Timestamp>, value: Option<Timestamp>| *field = value.or(*field);
            if event.candidate_id.is_some() {
                state.candidate_id.clone_from(&event.candidate_id);
            }
            replace(&mut state.dispatched_at, event.dispatched_at);
            replace(&mut state.arrived_at, event.arrived_at);
            replace(&mut state.cancelled_at, event.cancelled_at);
            state.metrics.extend(event.metrics.iter().map(|(name, value)| (name.clone(), *value)));
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(observed_s: i64, arrived_s: Option<i64>, cancelled_s: Option<i64>, metric: Option<f64>) -> OutcomeEvent {
        let at = |s: i64| Timestamp::from_second(1_700_000_000 + s).unwrap();
        OutcomeEvent {
            prediction_id: PredictionId::new(at(0), [7; 10]),
            candidate_id: arrived_s.map(|s| format!("car-{s}").parse().unwrap()),
            observed_at: at(observed_s),
            dispatched_at: None,
            arrived_at: arrived_s.map(at),
            cancelled_at: cancelled_s.map(at),
            metrics: metric.map(|value| ("rating".to_owned(), MetricValue::Numeric(value))).into_iter().collect(),
        }
    }

    #[test]
    fn the_last_observation_wins_field_by_field() {
        let state =
            OutcomeState::from_events(&[event(30, Some(300), None, None), event(10, Some(250), Some(200), Some(4.0))]);
        assert_eq!(state.arrived_at, event(0, Some(300), None, None).arrived_at);
        assert_eq!(state.candidate_id.unwrap().as_str(), "car-300");
        assert!(state.cancelled_at.is_some() && state.metrics["rating"] == MetricValue::Numeric(4.0));
    }

    #[test]
    fn refuses_what_says_nothing_or_contradicts_itself() {
        assert!(event(1, None, None, None).validate().is_err());
        assert!(event(1, Some(-5), None, None).validate().is_err());
        assert!(event(1, None, None, Some(f64::NAN)).validate().is_err());
        assert!(OutcomeEvent { candidate_id: None, ..event(1, Some(5), None, None) }.validate().is_err());
        assert!(event(1, Some(5), None, None).validate().is_ok());
        let metrics = |count: usize, length: usize| OutcomeEvent {
            metrics: (0..count).map(|n| (format!("{n:0>length$}"), MetricValue::Binary(true))).collect(),
            ..event(1, Some(5), None, None)
        };
        assert!(metrics(MAX_METRICS, 64).validate().is_ok());
        assert!(metrics(MAX_METRICS + 1, 4).validate().is_err());
        assert!(metrics(1, MAX_METRIC_NAME_BYTES + 1).validate().is_err());
        let far = "9999-12-30T22:00:00.999Z".parse().unwrap();
        assert!(OutcomeEvent { observed_at: far, ..event(1, Some(5), None, None) }.validate().is_err());
    }

    #[test]
    fn reads_numbers_and_booleans() {
        let json = r#"{"prediction_id":"017f22e2-79b0-7cc3-98c4-dc0c0c07398f","observed_at":"2022-02-22T20:00:00Z","metrics":{"rated":true,"fare":12.5}}"#;
        let event: OutcomeEvent = serde_json::from_str(json).unwrap();
        assert_eq!(event.metrics["rated"], MetricValue::Binary(true));
        assert_eq!(event.metrics["fare"], MetricValue::Numeric(12.5));
        assert!(serde_json::from_str::<OutcomeEvent>(&json.replace("metrics", "metric")).is_err());
    }

    proptest! {
        #[test]
        fn order_and_repetition_do_not_matter(
            parts in prop::collection::vec((0i64..4, prop::option::of(0i64..9), prop::option::of(0i64..9), prop::option::of(0f64..9.0)), 1..8),
            seed: u64,
        ) {
            let events: Vec<_> = parts.iter().map(|&(observed, arrived, cancelled, metric)| event(observed, arrived, cancelled, metric)).collect();
            let mut shuffled: Vec<_> = events.iter().chain(&events).cloned().collect();
            let rotation = (seed as usize) % shuffled.len();
            shuffled.rotate_left(rotation);
            shuffled.reverse();
            prop_assert_eq!(OutcomeState::from_events(&events), OutcomeState::from_events(&shuffled));
        }
    }
}
