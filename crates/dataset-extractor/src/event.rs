//! The events that start the function.

use domain::ModelName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ExtractorError;

/// What an event asks for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// All steps, here.
    Extract(Whole),
    /// The first step: a state machine does the rest.
    Plan(Whole),
    /// Some streams, to their ends or until time is nearly up.
    Streams(SomeStreams),
    /// What is read becomes a version.
    Publish(OneJob),
}

/// An extract by its dataset.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whole {
    /// The dataset, whose definition lies in the lake.
    pub dataset: ModelName,
    /// The state of the source tables, UTC; else the beginning of this hour, so that a repeated event is the same extract.
    #[serde(default)]
    pub as_of: Option<Timestamp>,
}

/// Streams of an extract.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SomeStreams {
    /// The dataset.
    pub dataset: ModelName,
    /// The extract, as the plan called it.
    pub job: String,
    /// The streams' numbers.
    pub streams: Vec<usize>,
}

/// An extract.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneJob {
    /// The dataset.
    pub dataset: ModelName,
    /// The extract, as the plan called it.
    pub job: String,
}

/// What a plan answers: what a state machine's map goes through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanAnswer {
    /// The dataset.
    pub dataset: ModelName,
    /// The extract.
    pub job: String,
    /// One item per worker.
    pub workers: Vec<Worker>,
    /// The version, where the extract has become one already: there are no workers then.
    pub published: Option<String>,
}

/// The streams of one worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Worker {
    /// The streams' numbers.
    pub streams: Vec<usize>,
}

/// Reads an event.
///
/// # Errors
/// It is none of the kinds of [`Trigger`].
pub fn parse_event(event: &Value) -> Result<Trigger, ExtractorError> {
    Trigger::deserialize(event).map_err(|error| ExtractorError::UnknownEvent(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_events_are_events() {
        let read = |text: &str| parse_event(&serde_json::from_str(text).unwrap()).unwrap();
        let whole = read(include_str!("../../../events/dataset-extractor.json"));
        assert!(matches!(whole, Trigger::Extract(Whole { as_of: Some(_), .. })));
        assert!(matches!(read(include_str!("../../../events/dataset-extractor-plan.json")), Trigger::Plan(_)));
        let Trigger::Streams(some) = read(include_str!("../../../events/dataset-extractor-streams.json")) else {
            panic!()
        };
        assert_eq!(some.streams, [0, 1, 2, 3]);
        assert!(matches!(read(include_str!("../../../events/dataset-extractor-publish.json")), Trigger::Publish(_)));
        for wrong in
            [r#"{"extract": {"datasets": "x"}}"#, r#"{"plan": {"dataset": "../x"}}"#, "{}", r#"{"Records": []}"#]
        {
            let error = parse_event(&serde_json::from_str(wrong).unwrap()).unwrap_err();
            assert_eq!(error.reason(), "unknown_event");
        }
    }
}
