//! The events that start the function.

use cloud::s3_event::{Created, SqsMessage, created_objects, sqs_messages};
use domain::ModelName;
use serde::Deserialize;
use serde_json::Value;

use crate::LauncherError;

/// What an event asks for.
#[derive(Debug)]
pub enum Trigger {
    /// Dataset pointers were moved: S3 notifications, direct or through EventBridge.
    Created(Vec<Created>),
    /// The same through SQS: each message succeeds or fails by itself.
    Messages(Vec<SqsMessage>),
    /// A training job of SageMaker has changed its state.
    TrainingJob(String),
    /// A transform job of SageMaker has changed its state. It is known by where its output goes.
    TransformJob(String),
    /// The schedule: look after orders whose events were lost.
    Schedule,
    /// `{"train": {…}}`: by hand, or from a state machine.
    Train(TrainCommand),
    /// `{"reconcile": {…}}`: the schedule, for one model.
    Reconcile(ReconcileCommand),
}

/// An order to train.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainCommand {
    /// The model.
    pub model: ModelName,
    /// The dataset version: its address, its beginning, a pin, or `latest` where absent.
    #[serde(default)]
    pub dataset: Option<String>,
    /// Whether jobs that failed are ordered once more.
    #[serde(default)]
    pub again: bool,
}

/// An order to look after a model's orders.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReconcileCommand {
    /// The model.
    pub model: ModelName,
}

/// Reads an event.
///
/// # Errors
/// It is none of the kinds of [`Trigger`].
pub fn parse_event(event: &Value) -> Result<Trigger, LauncherError> {
    let unknown = |detail: String| LauncherError::UnknownEvent(detail);
    let wrong = |error: serde_json::Error| LauncherError::UnknownEvent(error.to_string());
    if let Some(command) = event.get("train") {
        return TrainCommand::deserialize(command).map(Trigger::Train).map_err(wrong);
    }
    if let Some(command) = event.get("reconcile") {
        return ReconcileCommand::deserialize(command).map(Trigger::Reconcile).map_err(wrong);
    }
    let detail = &event["detail"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match event["detail-type"].as_str() {
        Some("SageMaker Training Job State Change") => {
            let job = text(&detail["TrainingJobName"]);
            return job.map(Trigger::TrainingJob).ok_or_else(|| unknown("a training job without a name".to_owned()));
        }
        Some("SageMaker Transform Job State Change") => {
            let output = text(&detail["TransformOutput"]["S3OutputPath"]);
            return output
                .map(Trigger::TransformJob)
                .ok_or_else(|| unknown("a transform job without an output".to_owned()));
        }
        Some("Scheduled Event") => return Ok(Trigger::Schedule),
        _ => {}
    }
    if let Some(messages) = sqs_messages(event).map_err(|error| unknown(error.to_string()))? {
        return Ok(Trigger::Messages(messages));
    }
    created_objects(event).map(Trigger::Created).map_err(|error| unknown(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample(name: &str) -> Trigger {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events").join(name);
        parse_event(&serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn the_sample_events_are_what_they_say() {
        let Trigger::Messages(messages) = sample("training-launcher-sqs.json") else { panic!() };
        let object = messages[0].objects[0].as_ref().unwrap();
        assert_eq!(object.key.as_str(), "datasets/pickup-eta/latest.json");
        let Trigger::TrainingJob(job) = sample("training-launcher-training-job.json") else { panic!() };
        assert_eq!(job, "pickup-eta-deep-0c1d2e3f4a5b");
        let Trigger::TransformJob(output) = sample("training-launcher-transform-job.json") else { panic!() };
        assert!(output.ends_with("/predictions/pickup-eta-deep-0c1d2e3f4a5b/output/"), "{output}");
        assert!(matches!(sample("training-launcher-schedule.json"), Trigger::Schedule));
        let Trigger::Train(command) = sample("training-launcher.json") else { panic!() };
        assert_eq!(command.model.as_str(), "pickup-eta");
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for event in [json!({}), json!({"train": {"modle": "x"}}), json!([1])] {
            assert!(parse_event(&event).is_err(), "{event}");
        }
    }
}
