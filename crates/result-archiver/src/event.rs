//! The events that start the function.

use cloud::s3_event::{Created, CreatedObject, SqsMessage, created_objects, sqs_messages};
use serde::Deserialize;
use serde_json::Value;

use crate::{ArchiverError, LandingObject};

/// What an event asks for.
#[derive(Debug)]
pub enum Trigger {
    /// Objects have landed: an S3 notification, direct or through EventBridge.
    Landed(Vec<Delivery>),
    /// The same through SQS: each message succeeds or fails by itself.
    Messages(Vec<Message>),
    /// Merge the segments into hour files: the schedule, or `{"compact": {}}`.
    Compact,
    /// Archive what lies in the landing area, below a prefix: `{"archive": {"prefix": "landing/…"}}`. For objects whose
    /// notification was lost, or that were there before the notification was set up.
    Sweep {
        /// Keys begin with it.
        prefix: String,
    },
}

/// One object of an event, or why it is none of ours.
pub type Delivery = Result<LandingObject, ArchiverError>;

/// An SQS message.
#[derive(Debug)]
pub struct Message {
    /// Its id, which a failure is reported under.
    pub id: String,
    /// Its body, as it came.
    pub body: String,
    /// The objects that it names.
    pub deliveries: Vec<Delivery>,
}

#[derive(Deserialize)]
struct Sweep {
    #[serde(default = "landing")]
    prefix: String,
}

fn landing() -> String {
    domain::lake::LANDING.to_owned()
}

/// Reads an event. `bucket` is the lake's.
///
/// # Errors
/// The event is none of the kinds of [`Trigger`].
pub fn parse_event(event: &Value, bucket: &str) -> Result<Trigger, ArchiverError> {
    if let Some(messages) = sqs_messages(event)? {
        let ours = |SqsMessage { id, body, objects }| Message { id, body, deliveries: deliveries(objects, bucket) };
        return Ok(Trigger::Messages(messages.into_iter().map(ours).collect()));
    }
    if event["detail-type"] == "Scheduled Event" || event["source"] == "aws.scheduler" || !event["compact"].is_null() {
        return Ok(Trigger::Compact);
    }
    if !event["archive"].is_null() {
        let Sweep { prefix } = Sweep::deserialize(&event["archive"])
            .map_err(|error| ArchiverError::UnknownEvent(format!("`archive`: {error}")))?;
        if !prefix.starts_with(domain::lake::LANDING) {
            return Err(ArchiverError::UnknownEvent(format!("prefix `{prefix}` is not below landing/")));
        }
        return Ok(Trigger::Sweep { prefix });
    }
    Ok(Trigger::Landed(deliveries(created_objects(event)?, bucket)))
}

fn deliveries(objects: Vec<Created>, bucket: &str) -> Vec<Delivery> {
    objects.into_iter().map(|object| ours(object?, bucket)).collect()
}

fn ours(CreatedObject { bucket: found, key, size_bytes }: CreatedObject, bucket: &str) -> Delivery {
    if found != bucket {
        return Err(ArchiverError::ForeignBucket { found, expected: bucket.to_owned() });
    }
    // What lands where no table is known is taken too, and moved to quarantine.
    if !key.as_str().starts_with(domain::lake::LANDING) {
        domain::lake::landing_table(key.as_str())?;
    }
    Ok(LandingObject { key, size_bytes })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample(name: &str) -> String {
        let path = format!("{}/../../events/{name}.json", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn parsed(name: &str) -> Trigger {
        parse_event(&serde_json::from_str(&sample(name)).unwrap(), "mannen-lake-123456789012").unwrap()
    }

    const KEY: &str = "landing/predictions/pickup-eta/dt=2026-01-31/hour=12/019c13ec-9e00-7000-8000-00000000000a.json";

    #[test]
    fn the_sample_events_are_what_aws_sends() {
        use aws_lambda_events::{eventbridge::EventBridgeEvent, s3::S3Event, sqs::SqsEvent};
        let sqs: SqsEvent = serde_json::from_str(&sample("result-archiver-sqs")).unwrap();
        for message in sqs.records.iter().take(2) {
            serde_json::from_str::<S3Event>(message.body.as_ref().unwrap()).unwrap();
        }
        serde_json::from_str::<S3Event>(&sample("result-archiver-s3")).unwrap();
        serde_json::from_str::<EventBridgeEvent>(&sample("result-archiver-eventbridge")).unwrap();
        serde_json::from_str::<EventBridgeEvent>(&sample("result-archiver-schedule")).unwrap();
    }

    #[test]
    fn every_way_of_delivery_names_the_same_key() {
        let key = |deliveries: &[Delivery]| {
            let LandingObject { key, size_bytes } = deliveries[0].as_ref().unwrap();
            assert!(size_bytes.is_some_and(|size| size > 0));
            key.to_string()
        };
        let Trigger::Landed(deliveries) = parsed("result-archiver-s3") else { panic!() };
        assert_eq!(key(&deliveries), KEY);
        let Trigger::Landed(deliveries) = parsed("result-archiver-eventbridge") else { panic!() };
        assert_eq!(key(&deliveries), KEY);
        let Trigger::Messages(messages) = parsed("result-archiver-sqs") else { panic!() };
        assert_eq!(key(&messages[0].deliveries), KEY);
        assert_eq!(messages[0].id, "059f36b4-87a3-44ab-83d2-661975830a7d");
        assert!(key(&messages[1].deliveries).starts_with("landing/outcomes/"));
        assert!(messages[2].deliveries.is_empty(), "s3:TestEvent");
        assert!(matches!(parsed("result-archiver-schedule"), Trigger::Compact));
    }

    fn parse(event: &Value) -> Result<Trigger, ArchiverError> {
        parse_event(event, "lake")
    }

    #[test]
    fn takes_direct_commands_and_refuses_the_rest() {
        assert!(matches!(parse(&json!({"compact": {}})).unwrap(), Trigger::Compact));
        assert!(matches!(parse(&json!({"archive": {}})).unwrap(), Trigger::Sweep { prefix } if prefix == "landing/"));
        assert!(matches!(parse(&json!({"archive": {"prefix": "landing/outcomes/"}})).unwrap(), Trigger::Sweep { .. }));
        assert!(matches!(parse(&json!({"Event": "s3:TestEvent"})).unwrap(), Trigger::Landed(keys) if keys.is_empty()));
        for event in [json!({}), json!(null), json!([1]), json!("x"), json!({"archive": {"prefix": "releases/"}})] {
            assert_eq!(parse(&event).unwrap_err().reason(), "unknown_event", "{event}");
        }
    }

    #[test]
    fn one_record_that_is_not_ours_does_not_hide_the_others() {
        let record = |name: &str, bucket: &str, key: &str| json!({"eventSource": "aws:s3", "eventName": name, "s3": {"bucket": {"name": bucket}, "object": {"key": key}}});
        let event = json!({"Records": [
            record("ObjectCreated:Put", "lake", "landing/outcomes/a+b%2B.json"),
            record("ObjectRemoved:Delete", "lake", "landing/outcomes/gone.json"),
            record("ObjectCreated:Put", "other", "landing/outcomes/c.json"),
            record("s3:ObjectCreated:Put", "lake", "segments/c.parquet"),
            {"eventSource": "aws:s3"},
        ]});
        let Trigger::Landed(deliveries) = parse(&event).unwrap() else { panic!() };
        let outcomes: Vec<_> = deliveries
            .iter()
            .map(|delivery| match delivery {
                Ok(object) => object.key.as_str(),
                Err(error) => error.reason(),
            })
            .collect();
        assert_eq!(outcomes, ["landing/outcomes/a b+.json", "foreign_bucket", "invalid_key", "unknown_event"]);
    }
}
