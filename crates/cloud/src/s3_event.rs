//! Events about objects that were made, in every way that they are delivered: S3 notifications, direct or through SQS,
//! and EventBridge. Only the fields that are used are decoded, so that what other implementations of S3 send is taken too.
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>,
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>.

use std::fmt;

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

/// An object's key as it is, not as an event writes it.
///
/// S3 notifications write keys form-encoded: `+` is a space, then percent-decoding. EventBridge writes them as they are.
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct S3Key(String);

impl S3Key {
    /// From an S3 notification (direct, through SQS or SNS).
    pub fn from_notification(encoded: &str) -> Self {
        let spaced = encoded.replace('+', " ");
        Self(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
    }

    /// From an EventBridge event, or from a listing.
    pub fn from_plain(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for S3Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An object that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedObject {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: S3Key,
    /// Its content's length in bytes, where the event says it: S3's do.
    pub size_bytes: Option<u64>,
}

/// What is no event about objects.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct UnknownEvent(pub String);

/// An object of an event, or why a record of it is none.
pub type Created = Result<CreatedObject, UnknownEvent>;

/// A message of SQS: it succeeds or fails by itself.
#[derive(Debug)]
pub struct SqsMessage {
    /// Its id, which a failure is reported under.
    pub id: String,
    /// Its body, as it came.
    pub body: String,
    /// The objects that it names.
    pub objects: Vec<Created>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SqsRecord {
    #[serde(default)]
    message_id: String,
    #[serde(default)]
    body: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct S3Record {
    event_name: String,
    s3: ObjectOfBucket,
}

#[derive(Deserialize)]
struct ObjectOfBucket {
    bucket: Bucket,
    object: Object,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
struct Object {
    key: String,
    size: Option<u64>,
}

/// The messages of an SQS event; `None` where it is none.
///
/// # Errors
/// A record of it has no body or id that are texts.
pub fn sqs_messages(event: &Value) -> Result<Option<Vec<SqsMessage>>, UnknownEvent> {
    let records = event["Records"].as_array();
    if !records.is_some_and(|records| records.iter().any(|record| record["eventSource"] == "aws:sqs")) {
        return Ok(None);
    }
    let records: Vec<SqsRecord> = decode(&event["Records"], "an SQS event")?;
    Ok(Some(records.into_iter().map(message).collect()))
}

fn message(record: SqsRecord) -> SqsMessage {
    let SqsRecord { message_id: id, body } = record;
    let objects = serde_json::from_str(&body)
        .map_err(|error| UnknownEvent(format!("the message's body is not JSON: {error}")))
        .and_then(|event: Value| created_objects(&event))
        .unwrap_or_else(|error| vec![Err(error)]);
    SqsMessage { id, body, objects }
}

/// The objects that an S3 notification or an EventBridge event names. Deletions are passed over.
///
/// # Errors
/// It is neither.
pub fn created_objects(event: &Value) -> Result<Vec<Created>, UnknownEvent> {
    // S3 sends it when the notification is set up.
    if event["Event"] == "s3:TestEvent" {
        return Ok(Vec::new());
    }
    if event["source"] == "aws.s3" && event["detail-type"] == "Object Created" {
        let ObjectOfBucket { bucket, object } = decode(&event["detail"], "an EventBridge event")?;
        let key = S3Key::from_plain(object.key);
        return Ok(vec![Ok(CreatedObject { bucket: bucket.name, key, size_bytes: object.size })]);
    }
    let Some(records) = event["Records"].as_array() else {
        return Err(UnknownEvent(event.to_string().chars().take(200).collect()));
    };
    let created = records.iter().filter_map(|record| match decode::<S3Record>(record, "an S3 record") {
        Ok(record) if !record.event_name.trim_start_matches("s3:").starts_with("ObjectCreated:") => None,
        Ok(S3Record { s3: ObjectOfBucket { bucket, object }, .. }) => {
            let key = S3Key::from_notification(&object.key);
            Some(Ok(CreatedObject { bucket: bucket.name, key, size_bytes: object.size }))
        }
        Err(error) => Some(Err(error)),
    });
    Ok(created.collect())
}

fn decode<T: for<'de> Deserialize<'de>>(value: &Value, what: &str) -> Result<T, UnknownEvent> {
    T::deserialize(value).map_err(|error| UnknownEvent(format!("{what}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notification_keys_are_form_decoded() {
        let pairs = [
            (
                "landing/predictions/pickup-eta/dt%3D2026-01-31/hour%3D12/a.json",
                "landing/predictions/pickup-eta/dt=2026-01-31/hour=12/a.json",
            ),
            ("a+b", "a b"),
            ("a%20b", "a b"),
            ("a%2Bb", "a+b"),
            ("a%252Bb", "a%2Bb"),
            ("%E6%9D%B1%E4%BA%AC%2F%C3%A9.json", "東京/é.json"),
            ("100%", "100%"),
            ("", ""),
        ];
        for (encoded, key) in pairs {
            assert_eq!(S3Key::from_notification(encoded).as_str(), key);
        }
        assert_eq!(S3Key::from_plain("a+b%2B").as_str(), "a+b%2B");
    }
}
