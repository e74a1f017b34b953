//! What a bucket tells of its objects, and whom: queues, functions, EventBridge rules.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    encoding::form_encode_key,
    lambda::Functions,
    s3::Change,
    sqs::Queues,
    template::{BucketSpec, NotificationSpec, RuleSpec, Target},
};

/// Brings changes to those who asked for them.
pub(crate) struct Notifier {
    pub(crate) rules: Vec<NotificationSpec>,
    pub(crate) event_rules: Vec<RuleSpec>,
    pub(crate) buckets: Vec<BucketSpec>,
    pub(crate) queues: Arc<Queues>,
    pub(crate) functions: Arc<Functions>,
    pub(crate) region: String,
    pub(crate) account_id: String,
}

impl Notifier {
    pub(crate) fn tell(&self, change: &Change) {
        for (index, rule) in self.rules.iter().enumerate().filter(|(_, rule)| applies(rule, change)) {
            let event = self.event(change, index).to_string();
            match &rule.target {
                Target::Queue(name) => {
                    if let Some(queue) = self.queues.0.get(name) {
                        queue.send(event, None);
                    }
                }
                Target::Function(name) => {
                    if let Ok(function) = self.functions.get(name) {
                        function.invoke_async(event.into());
                    }
                }
            }
        }
        let told = self.buckets.iter().any(|bucket| bucket.event_bridge && bucket.name == change.bucket);
        if told && !self.event_rules.is_empty() {
            let event = self.bridge_event(change);
            for rule in self.event_rules.iter().filter(|rule| fits(&rule.pattern, &event)) {
                if let Ok(function) = self.functions.get(&rule.function) {
                    function.invoke_async(event.to_string().into());
                }
            }
        }
    }

    /// The S3 event message, version 2.1.
    fn event(&self, change: &Change, rule: usize) -> Value {
        let info = &change.info;
        let mut object = json!({
            "key": form_encode_key(&info.key),
            "sequencer": format!("{:016X}", change.sequence),
        });
        if change.event.starts_with("ObjectCreated") {
            object["size"] = info.size.into();
            object["eTag"] = info.etag.clone().into();
        }
        json!({ "Records": [{
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": self.region,
            "eventTime": now("%Y-%m-%dT%H:%M:%S.%3fZ"),
            "eventName": change.event,
            "userIdentity": { "principalId": format!("AWS:{}", self.account_id) },
            "requestParameters": { "sourceIPAddress": "127.0.0.1" },
            "responseElements": { "x-amz-request-id": format!("{:016X}", change.sequence), "x-amz-id-2": "local" },
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": format!("rule-{rule}"),
                "bucket": {
                    "name": change.bucket,
                    "ownerIdentity": { "principalId": self.account_id },
                    "arn": format!("arn:aws:s3:::{}", change.bucket),
                },
                "object": object,
            },
        }] })
    }

    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>; the key is not encoded there.
    fn bridge_event(&self, change: &Change) -> Value {
        let created = change.event.starts_with("ObjectCreated");
        let info = &change.info;
        let mut object = json!({ "key": info.key, "sequencer": format!("{:016X}", change.sequence) });
        if created {
            object["size"] = info.size.into();
            object["etag"] = info.etag.clone().into();
        }
        let reason = match change.event.split_once(':').map(|(_, how)| how) {
            Some("Copy") => "CopyObject",
            Some("CompleteMultipartUpload") => "CompleteMultipartUpload",
            Some("Delete") => "DeleteObject",
            _ => "PutObject",
        };
        json!({
            "version": "0",
            "id": uuid::Uuid::now_v7().to_string(),
            "detail-type": if created { "Object Created" } else { "Object Deleted" },
            "source": "aws.s3",
            "account": self.account_id,
            "time": now("%Y-%m-%dT%H:%M:%SZ"),
            "region": self.region,
            "resources": [format!("arn:aws:s3:::{}", change.bucket)],
            "detail": {
                "version": "0",
                "bucket": { "name": change.bucket },
                "object": object,
                "request-id": format!("{:016X}", change.sequence),
                "requester": self.account_id,
                "source-ip-address": "127.0.0.1",
                "reason": reason,
            },
        })
    }
}

fn now(format: &str) -> String {
    jiff::Timestamp::now().strftime(format).to_string()
}

fn applies(rule: &NotificationSpec, change: &Change) -> bool {
    let key = &change.info.key;
    let name = format!("s3:{}", change.event);
    rule.bucket == change.bucket
        && key.starts_with(&rule.prefix)
        && key.ends_with(&rule.suffix)
        && rule.events.iter().any(|wanted| match wanted.strip_suffix('*') {
            Some(begin) => name.starts_with(begin),
            None => name == *wanted,
        })
}

/// Whether an event fits an EventBridge pattern: exact values, `prefix`, `suffix`, `anything-but`, `exists`,
/// `equals-ignore-case`. A matcher that is not among these fits nothing.
pub(crate) fn fits(pattern: &Value, event: &Value) -> bool {
    let Value::Object(fields) = pattern else { return false };
    fields.iter().all(|(name, wanted)| {
        let found = event.get(name);
        match wanted {
            Value::Object(_) => found.is_some_and(|found| fits(wanted, found)),
            Value::Array(choices) => match found {
                Some(Value::Array(values)) => {
                    choices.iter().any(|choice| values.iter().any(|value| choice_fits(choice, Some(value))))
                }
                found => choices.iter().any(|choice| choice_fits(choice, found)),
            },
            _ => false,
        }
    })
}

fn choice_fits(choice: &Value, found: Option<&Value>) -> bool {
    let Value::Object(matcher) = choice else { return found == Some(choice) };
    let text = found.and_then(Value::as_str);
    matcher.iter().all(|(name, argument)| match (name.as_str(), argument) {
        ("exists", Value::Bool(wanted)) => found.is_some() == *wanted,
        ("prefix", Value::String(begin)) => text.is_some_and(|text| text.starts_with(begin.as_str())),
        ("suffix", Value::String(end)) => text.is_some_and(|text| text.ends_with(end.as_str())),
        ("equals-ignore-case", Value::String(same)) => text.is_some_and(|text| text.eq_ignore_ascii_case(same)),
        ("anything-but", Value::Array(not)) => found.is_some_and(|found| !not.contains(found)),
        ("anything-but", not @ Value::Object(_)) => found.is_some() && !choice_fits(not, found),
        ("anything-but", not) => found.is_some_and(|found| found != not),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_event_bridge_fits_them() {
        let event = json!({"source": "aws.s3", "detail": {"object": {"key": "a/b.json", "size": 3}}});
        let key = |matcher: Value| json!({"detail": {"object": {"key": [matcher]}}});
        assert!(fits(&json!({"source": ["aws.ec2", "aws.s3"]}), &event));
        assert!(fits(&key(json!({"prefix": "a/"})), &event));
        assert!(fits(&key(json!({"suffix": ".json"})), &event));
        assert!(fits(&key(json!({"anything-but": {"prefix": "b/"}})), &event));
        assert!(fits(&json!({"detail": {"x": [{"exists": false}]}}), &event));
        assert!(!fits(&key(json!({"prefix": "b/"})), &event));
        assert!(!fits(&key(json!({"anything-but": ["a/b.json"]})), &event));
        assert!(!fits(&key(json!({"wildcard": "a/*"})), &event), "an unknown matcher fits nothing");
        assert!(!fits(&json!({"detail": {"other": ["x"]}}), &event));
    }
}
