//! The event that a function gets for a request, payload format 2.0.
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>

use std::{collections::BTreeMap, net::SocketAddr};

use base64::Engine as _;
use http::{HeaderMap, header, request::Parts};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::routes::Found;
use crate::encoding::percent_decode;

/// What the request itself does not say.
pub(crate) struct Caller<'a> {
    pub(crate) request_id: String,
    pub(crate) trace_id: String,
    pub(crate) account_id: &'a str,
    pub(crate) peer: SocketAddr,
    pub(crate) now: Timestamp,
}

pub(crate) fn build(head: &Parts, body: &[u8], found: &Found<'_>, caller: &Caller<'_>) -> Value {
    let mut headers = joined(&head.headers);
    let host = headers.get("host").cloned().unwrap_or_default();
    let domain = host.split(':').next().unwrap_or_default().to_owned();
    let port = host.split(':').nth(1).unwrap_or("80").to_owned();
    let source = caller.peer.ip().to_string();
    let forwarded = match headers.get("x-forwarded-for") {
        Some(before) => format!("{before}, {source}"),
        None => source.clone(),
    };
    headers.insert("x-forwarded-for".to_owned(), forwarded);
    headers.entry("x-forwarded-proto".to_owned()).or_insert_with(|| "http".to_owned());
    headers.entry("x-forwarded-port".to_owned()).or_insert(port);
    headers.insert("x-amzn-trace-id".to_owned(), caller.trace_id.clone());
    // HTTP/1.1 chunks are taken apart on the way.
    headers.remove("transfer-encoding");
    let path = head.uri.path();
    let query = head.uri.query().unwrap_or_default();
    let mut event = json!({
        "version": "2.0",
        "routeKey": found.key,
        "rawPath": percent_decode(path, false),
        "rawQueryString": query,
        "requestContext": {
            "accountId": caller.account_id,
            "apiId": "local",
            "domainName": domain,
            "domainPrefix": domain.split('.').next().unwrap_or_default(),
            "http": {
                "method": head.method.as_str(),
                "path": percent_decode(path, false),
                "protocol": format!("{:?}", head.version),
                "sourceIp": source,
                "userAgent": headers.get("user-agent").cloned().unwrap_or_default(),
            },
            "requestId": caller.request_id,
            "routeKey": found.key,
            "stage": "$default",
            "time": caller.now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": caller.now.as_millisecond(),
        },
        "isBase64Encoded": false,
    });
    let cookies = cookies(&head.headers);
    if !cookies.is_empty() {
        event["cookies"] = cookies.into();
    }
    event["headers"] = text_object(headers);
    let parameters = query_parameters(query);
    if !parameters.is_empty() {
        event["queryStringParameters"] = text_object(parameters);
    }
    if !found.variables.is_empty() {
        event["pathParameters"] = text_object(found.variables.clone());
    }
    if !body.is_empty() {
        match std::str::from_utf8(body).ok().filter(|_| is_text(&head.headers)) {
            Some(text) => event["body"] = text.into(),
            None => {
                event["body"] = base64::engine::general_purpose::STANDARD.encode(body).into();
                event["isBase64Encoded"] = true.into();
            }
        }
    }
    event
}

fn text_object(entries: BTreeMap<String, String>) -> Value {
    Value::Object(entries.into_iter().map(|(name, value)| (name, Value::String(value))).collect::<Map<_, _>>())
}

/// Headers without cookies; values of one name joined by commas.
fn joined(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut joined: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| *name != header::COOKIE) {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        joined
            .entry(name.as_str().to_owned())
            .and_modify(|before| {
                before.push(',');
                before.push_str(&value);
            })
            .or_insert(value);
    }
    joined
}

fn cookies(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    lines
        .flat_map(|line| line.split(';'))
        .map(|cookie| cookie.trim().to_owned())
        .filter(|cookie| !cookie.is_empty())
        .collect()
}

fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let mut parameters: BTreeMap<String, String> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode(value, true);
        parameters
            .entry(percent_decode(name, true))
            .and_modify(|before| {
                before.push(',');
                before.push_str(&value);
            })
            .or_insert(value);
    }
    parameters
}

/// Which bodies reach the function as text; all others are base64.
fn is_text(headers: &HeaderMap) -> bool {
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return false;
    }
    let Some(content_type) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return true;
    };
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let named = ["application/json", "application/javascript", "application/xml", "application/x-www-form-urlencoded"];
    media_type.starts_with("text/")
        || media_type.ends_with("+json")
        || media_type.ends_with("+xml")
        || named.contains(&media_type.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_becomes_the_real_event() {
        let (head, ()) = http::Request::post("http://h/v1/a%20b?x=1&y=%20z&x=2")
            .header("Host", "127.0.0.1:8000")
            .header("X-Two", "one")
            .header("x-two", "two")
            .header("Cookie", "a=1; b=2")
            .header("User-Agent", "test")
            .header("Content-Type", "application/octet-stream")
            .body(())
            .unwrap()
            .into_parts();
        let found = Found {
            key: "POST /v1/{id}",
            function: "f",
            variables: BTreeMap::from([("id".to_owned(), "a b".to_owned())]),
            signed: false,
        };
        let caller = Caller {
            request_id: "r".to_owned(),
            trace_id: "Root=1".to_owned(),
            account_id: "000000000000",
            peer: "127.0.0.1:5".parse().unwrap(),
            now: "2026-02-14T17:25:49.5Z".parse().unwrap(),
        };
        let event = build(&head, &[0xff, 1], &found, &caller);
        assert_eq!(event["headers"]["x-two"], "one,two");
        assert_eq!(event["headers"].get("cookie"), None);
        assert_eq!(event["cookies"], json!(["a=1", "b=2"]));
        assert_eq!(event["queryStringParameters"], json!({"x": "1,2", "y": " z"}));
        assert_eq!(event["rawQueryString"], "x=1&y=%20z&x=2");
        assert_eq!(event["rawPath"], "/v1/a b");
        assert_eq!(event["pathParameters"]["id"], "a b");
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("/wE="), &json!(true)));
        let context = &event["requestContext"];
        assert_eq!(context["time"], "14/Feb/2026:17:25:49 +0000");
        assert_eq!(context["timeEpoch"], 1771089949500_i64);
        assert_eq!(context["http"]["sourceIp"], "127.0.0.1");
        assert_eq!(context["http"]["protocol"], "HTTP/1.1");
        assert_eq!(context["domainName"], "127.0.0.1");
    }
}
