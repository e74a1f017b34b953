//! SQS' own API (AWS JSON 1.0), as far as a laptop needs it: send, receive, delete, look.

use std::{sync::Arc, time::Duration};

use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};
use tokio::{
    net::TcpListener,
    time::{Instant, timeout_at},
};

use super::queue::{Message, Queue, Queues};
use crate::{
    hash::md5_hex,
    http_server::{self, Reply, Server, read_body, set, text},
};

/// Of one message: 1 MiB.
const LARGEST_MESSAGE: usize = 1024 * 1024;

pub(crate) fn serve(listener: TcpListener, queues: Arc<Queues>, account_id: String) -> Server {
    let base = listener.local_addr().map_or_else(|_| String::new(), |address| format!("http://{address}"));
    http_server::serve(listener, move |request, _| {
        let (queues, prefix) = (queues.clone(), format!("{base}/{account_id}/"));
        async move {
            match answer(&queues, &prefix, request).await {
                Ok(body) => reply(StatusCode::OK, &body),
                Err((kind, message)) => {
                    let body = json!({ "__type": format!("com.amazonaws.sqs#{kind}"), "message": message });
                    reply(StatusCode::BAD_REQUEST, &body)
                }
            }
        }
    })
}

fn reply(status: StatusCode, body: &Value) -> Reply {
    let mut reply = http_server::json(status, body);
    set(&mut reply, "content-type", "application/x-amz-json-1.0");
    reply
}

type Failure = (&'static str, String);

async fn answer(queues: &Queues, prefix: &str, request: Request<Incoming>) -> Result<Value, Failure> {
    let target = text(request.headers(), "x-amz-target").unwrap_or_default().to_owned();
    let body = read_body(request.into_body(), LARGEST_MESSAGE * 12).await;
    let body = body.map_err(|_| ("InvalidMessageContents", "the request is too large or broke off".to_owned()))?;
    let input: Value = serde_json::from_slice(&body).map_err(|error| ("InvalidMessageContents", error.to_string()))?;
    let missing = || ("QueueDoesNotExist", "The specified queue does not exist.".to_owned());
    let queue = || -> Result<&Arc<Queue>, Failure> {
        let url = input["QueueUrl"].as_str().unwrap_or_default();
        queues.0.get(url.rsplit('/').next().unwrap_or_default()).ok_or_else(missing)
    };
    let seconds = |name: &str| input[name].as_u64().map(Duration::from_secs);
    match target.strip_prefix("AmazonSQS.").unwrap_or_default() {
        "GetQueueUrl" => {
            let name = input["QueueName"].as_str().unwrap_or_default();
            let queue = queues.0.get(name).ok_or_else(missing)?;
            Ok(json!({ "QueueUrl": format!("{prefix}{}", queue.spec.name) }))
        }
        "ListQueues" => {
            let begin = input["QueueNamePrefix"].as_str().unwrap_or_default();
            let names = queues.0.keys().filter(|name| name.starts_with(begin));
            Ok(json!({ "QueueUrls": names.map(|name| format!("{prefix}{name}")).collect::<Vec<_>>() }))
        }
        "SendMessage" => send(queue()?, &input),
        "SendMessageBatch" => {
            let queue = queue()?;
            let (mut successful, mut failed) = (Vec::new(), Vec::new());
            for entry in input["Entries"].as_array().into_iter().flatten() {
                match send(queue, entry) {
                    Ok(mut sent) => {
                        sent["Id"] = entry["Id"].clone();
                        successful.push(sent);
                    }
                    Err((code, message)) => {
                        failed
                            .push(json!({ "Id": entry["Id"], "Code": code, "Message": message, "SenderFault": true }));
                    }
                }
            }
            Ok(json!({ "Successful": successful, "Failed": failed }))
        }
        "ReceiveMessage" => {
            let queue = queue()?;
            let most = input["MaxNumberOfMessages"].as_u64().unwrap_or(1).clamp(1, 10) as usize;
            let until = Instant::now() + seconds("WaitTimeSeconds").unwrap_or_default().min(Duration::from_secs(20));
            loop {
                let messages = queue.receive(most, seconds("VisibilityTimeout"));
                if !messages.is_empty() {
                    return Ok(json!({ "Messages": messages.iter().map(describe).collect::<Vec<_>>() }));
                }
                if timeout_at(until, queue.wait()).await.is_err() {
                    return Ok(json!({}));
                }
            }
        }
        "DeleteMessage" => {
            queue()?.delete(input["ReceiptHandle"].as_str().unwrap_or_default());
            Ok(json!({}))
        }
        "ChangeMessageVisibility" => {
            let receipt = input["ReceiptHandle"].as_str().unwrap_or_default();
            if queue()?.change_visibility(receipt, seconds("VisibilityTimeout").unwrap_or_default()) {
                Ok(json!({}))
            } else {
                Err(("MessageNotInflight", "The message referred to is not in flight.".to_owned()))
            }
        }
        "PurgeQueue" => {
            queue()?.purge();
            Ok(json!({}))
        }
        "GetQueueAttributes" => {
            let queue = queue()?;
            let depth = queue.depth();
            let all = [
                ("QueueArn", queue.arn.clone()),
                ("ApproximateNumberOfMessages", depth.visible.to_string()),
                ("ApproximateNumberOfMessagesNotVisible", depth.in_flight.to_string()),
                ("ApproximateNumberOfMessagesDelayed", depth.delayed.to_string()),
                ("VisibilityTimeout", queue.spec.visibility_timeout.as_secs().to_string()),
            ];
            let names: Vec<&str> =
                input["AttributeNames"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let wanted = all.into_iter().filter(|(name, _)| names.contains(name) || names.contains(&"All"));
            let attributes: Map<_, _> = wanted.map(|(name, value)| (name.to_owned(), Value::String(value))).collect();
            Ok(json!({ "Attributes": attributes }))
        }
        other => Err(("UnsupportedOperation", format!("{other:?} is not emulated"))),
    }
}

fn send(queue: &Queue, input: &Value) -> Result<Value, Failure> {
    let body = input["MessageBody"].as_str().unwrap_or_default();
    if body.is_empty() || body.len() > LARGEST_MESSAGE {
        return Err(("InvalidParameterValue", format!("MessageBody must have 1 to {LARGEST_MESSAGE} bytes")));
    }
    let id = queue.send(body, input["DelaySeconds"].as_u64().map(Duration::from_secs));
    Ok(json!({ "MessageId": id, "MD5OfMessageBody": md5_hex(body.as_bytes()) }))
}

fn describe(message: &Message) -> Value {
    json!({
        "MessageId": message.id,
        "ReceiptHandle": message.receipt,
        "MD5OfBody": message.md5,
        "Body": &*message.body,
        "Attributes": {
            "ApproximateReceiveCount": message.receive_count.to_string(),
            "SentTimestamp": message.sent_ms.to_string(),
        },
    })
}
