//! A function's answer as an HTTP response, payload format 2.0.

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;

use crate::http_server::{self, Reply};

/// An object with `statusCode` is a response; any other valid JSON is the body of a 200.
pub(crate) fn build(payload: &[u8]) -> Result<Reply, &'static str> {
    let value: Value = serde_json::from_slice(payload).map_err(|_| "it is not JSON")?;
    let Some(status) = value.get("statusCode") else {
        let body = match value {
            Value::String(text) => Bytes::from(text),
            other => other.to_string().into(),
        };
        return Ok(http_server::bytes(StatusCode::OK, "application/json", body));
    };
    let status = status.as_u64().or_else(|| status.as_str()?.parse().ok());
    let status =
        status.and_then(|status| u16::try_from(status).ok()).and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.ok_or("statusCode is no HTTP status")?;
    let body = match value.get("body") {
        None | Some(Value::Null) => Bytes::new(),
        Some(Value::String(text)) if value["isBase64Encoded"] == true => base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(|_| "isBase64Encoded is true but body is not base64")?
            .into(),
        Some(Value::String(text)) => Bytes::from(text.clone()),
        Some(_) => return Err("body is no text"),
    };
    let mut reply = http_server::bytes(status, "text/plain;charset=UTF-8", body);
    for (name, value) in value.get("headers").and_then(Value::as_object).into_iter().flatten() {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => return Err("a header's value is no text"),
        };
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "a header's name is not allowed")?;
        let value = HeaderValue::from_str(&text).map_err(|_| "a header's value is not allowed")?;
        // Framing is the server's business.
        if name != header::CONTENT_LENGTH && name != header::TRANSFER_ENCODING && name != header::CONNECTION {
            reply.headers_mut().insert(name, value);
        }
    }
    for cookie in value.get("cookies").and_then(Value::as_array).into_iter().flatten() {
        let cookie =
            cookie.as_str().and_then(|cookie| HeaderValue::from_str(cookie).ok()).ok_or("a cookie is no text")?;
        reply.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use serde_json::json;

    use super::*;

    async fn body(reply: Reply) -> Bytes {
        reply.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn both_forms_are_understood() {
        let reply = build(
            json!({"statusCode": 201, "headers": {"Content-Type": "text/csv", "X-N": 3}, "cookies": ["a=1", "b=2"],
                   "body": "aGk=", "isBase64Encoded": true})
            .to_string()
            .as_bytes(),
        )
        .unwrap();
        assert_eq!(reply.status(), 201);
        assert_eq!(reply.headers()["content-type"], "text/csv");
        assert_eq!(reply.headers()["x-n"], "3");
        assert_eq!(reply.headers().get_all("set-cookie").iter().count(), 2);
        assert_eq!(body(reply).await, "hi");
        let reply = build(br#"{"eta_s": 61}"#).unwrap();
        assert_eq!(
            (reply.status().as_u16(), &reply.headers()["content-type"]),
            (200, &"application/json".parse().unwrap())
        );
        assert_eq!(body(reply).await, r#"{"eta_s":61}"#);
        assert_eq!(body(build(br#""text""#).unwrap()).await, "text");
        for bad in ["nonsense", r#"{"statusCode":"x"}"#, r#"{"statusCode":200,"body":{}}"#] {
            assert!(build(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
