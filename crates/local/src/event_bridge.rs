//! EventBridge's default bus: takes events, hands them to the functions whose rules fit, and keeps them in a log.
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>

use std::{fs::File, io::Write as _, path::PathBuf, sync::Arc};

use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    http_server::{self, Reply, Server, read_body, set, text},
    lambda::Functions,
    notifications::fits,
    template::RuleSpec,
};

/// Of one call: 1 MB.
const LARGEST_CALL: usize = 1 << 20;
/// Entries of one call.
const MOST_ENTRIES: usize = 10;

/// The bus.
pub(crate) struct EventBus {
    pub(crate) rules: Vec<RuleSpec>,
    pub(crate) functions: Arc<Functions>,
    pub(crate) region: String,
    pub(crate) account_id: String,
    /// JSON lines of what was told.
    pub(crate) log: PathBuf,
}

pub(crate) fn serve(listener: TcpListener, bus: Arc<EventBus>) -> Server {
    http_server::serve(listener, move |request, _| {
        let bus = bus.clone();
        async move {
            match answer(&bus, request).await {
                Ok(body) => reply(StatusCode::OK, &body),
                Err((kind, message)) => {
                    let body = json!({ "__type": format!("com.amazonaws.events#{kind}"), "message": message });
                    reply(StatusCode::BAD_REQUEST, &body)
                }
            }
        }
    })
}

fn reply(status: StatusCode, body: &Value) -> Reply {
    let mut reply = http_server::json(status, body);
    set(&mut reply, "content-type", "application/x-amz-json-1.1");
    reply
}

type Failure = (&'static str, String);

async fn answer(bus: &EventBus, request: Request<Incoming>) -> Result<Value, Failure> {
    let target = text(request.headers(), "x-amz-target").unwrap_or_default().to_owned();
    if target != "AWSEvents.PutEvents" {
        return Err(("UnknownOperationException", format!("only PutEvents is offered here, not {target:?}")));
    }
    let body = read_body(request.into_body(), LARGEST_CALL).await;
    let body = body.map_err(|_| ("ValidationException", "the request is too large or broke off".to_owned()))?;
    let input: Value = serde_json::from_slice(&body).map_err(|error| ("SerializationException", error.to_string()))?;
    let entries = input["Entries"].as_array().filter(|entries| (1..=MOST_ENTRIES).contains(&entries.len()));
    let entries = entries.ok_or_else(|| ("ValidationException", "Entries must have 1 to 10 members".to_owned()))?;
    let taken: Vec<Value> = entries.iter().map(|entry| bus.take(entry)).collect();
    let failed = taken.iter().filter(|taken| taken.get("ErrorCode").is_some()).count();
    Ok(json!({ "FailedEntryCount": failed, "Entries": taken }))
}

impl EventBus {
    /// Takes one entry; its id, or why it is refused.
    fn take(&self, entry: &Value) -> Value {
        let refused = |code: &str, message: &str| json!({ "ErrorCode": code, "ErrorMessage": message });
        let part = |name: &str| entry[name].as_str().filter(|text| !text.is_empty());
        let (Some(source), Some(detail_type)) = (part("Source"), part("DetailType")) else {
            return refused("InvalidArgument", "Source and DetailType are required.");
        };
        let Some(Value::Object(detail)) = part("Detail").and_then(|detail| serde_json::from_str(detail).ok()) else {
            return refused("MalformedDetail", "Detail is malformed.");
        };
        let resources = entry.get("Resources").cloned().unwrap_or_else(|| json!([]));
        json!({ "EventId": self.publish(source, detail_type, &Value::Object(detail), &resources) })
    }

    /// Hands an event to the functions whose rules fit; its id.
    pub(crate) fn publish(&self, source: &str, detail_type: &str, detail: &Value, resources: &Value) -> String {
        let id = uuid::Uuid::now_v7().to_string();
        let event = json!({
            "version": "0",
            "id": id,
            "detail-type": detail_type,
            "source": source,
            "account": self.account_id,
            "time": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "region": self.region,
            "resources": resources,
            "detail": detail,
        });
        // An event that cannot be logged is an event all the same.
        if let Ok(mut log) = File::options().create(true).append(true).open(&self.log) {
            _ = writeln!(log, "{event}");
        }
        for rule in self.rules.iter().filter(|rule| fits(&rule.pattern, &event)) {
            if let Ok(function) = self.functions.get(&rule.function) {
                function.invoke_async(event.to_string().into());
            }
        }
        id
    }
}
