//! API Gateway HTTP API events (payload format 2.0), and answers to them.
//!
//! Only the fields that the functions read are decoded: the event is parsed on every request.
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{MAX_BODY_BYTES, Problem};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

/// A request as API Gateway hands it to a function.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpEvent {
    /// The path, percent-encoded as it came.
    pub raw_path: String,
    /// The query string, percent-encoded as it came, without the `?`.
    #[serde(default)]
    pub raw_query_string: String,
    /// Headers, names in lower case, repeated ones joined by commas.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body, or its base64 where `is_base64_encoded`.
    #[serde(default)]
    pub body: Option<String>,
    /// Whether the body was taken for binary.
    #[serde(default)]
    pub is_base64_encoded: bool,
    /// Method and ids.
    pub request_context: RequestContext,
}

/// The part of a request that API Gateway adds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestContext {
    /// API Gateway's own id of the request.
    #[serde(default)]
    pub request_id: String,
    /// The HTTP request line.
    pub http: RequestLine,
}

/// The HTTP request line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RequestLine {
    /// The method, in upper case.
    pub method: String,
}

/// An answer as API Gateway takes it from a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpAnswer {
    /// The HTTP status.
    pub status_code: u16,
    /// Headers.
    pub headers: BTreeMap<String, String>,
    /// The body, UTF-8.
    pub body: String,
    /// Always false: our bodies are text.
    pub is_base64_encoded: bool,
}

impl HttpEvent {
    /// A header's value, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// A parameter of the query string, decoded.
    pub fn query_parameter(&self, name: &str) -> Option<String> {
        let pairs = self.raw_query_string.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let (_, value) = pairs.into_iter().find(|(key, _)| decoded(key) == name)?;
        Some(decoded(value))
    }

    /// Checks method and media type, and returns the body's bytes: what every JSON `POST` route of ours needs.
    ///
    /// # Errors
    /// 405 another method, 415 another media type, 413 a body over [`MAX_BODY_BYTES`], 400 no body or invalid base64.
    pub fn json_post_body(&self) -> Result<Cow<'_, [u8]>, Box<Problem>> {
        let method = self.request_context.http.method.as_str();
        if method != "POST" {
            return Err(Box::new(Problem::new(
                405,
                "method_not_allowed",
                "Method not allowed",
                format!("{} takes POST, not {method}", self.raw_path),
            )));
        }
        if let Some(content_type) = self.header("content-type") {
            let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            if media_type != "application/json" && !media_type.ends_with("+json") {
                return Err(Box::new(Problem::new(
                    415,
                    "unsupported_media_type",
                    "Unsupported media type",
                    format!("the body must be application/json, not `{media_type}`"),
                )));
            }
        }
        let body = self.body_bytes()?;
        if body.is_empty() {
            return Err(Box::new(Problem::new(400, "empty_body", "Empty body", "the body must be a JSON object")));
        }
        if body.len() > MAX_BODY_BYTES {
            return Err(Box::new(Problem::new(
                413,
                "body_too_large",
                "Body too large",
                format!("the body has {} bytes; at most {MAX_BODY_BYTES} are taken", body.len()),
            )));
        }
        Ok(body)
    }

    fn body_bytes(&self) -> Result<Cow<'_, [u8]>, Box<Problem>> {
        let text = self.body.as_deref().unwrap_or_default();
        if !self.is_base64_encoded {
            return Ok(Cow::Borrowed(text.as_bytes()));
        }
        STANDARD.decode(text).map(Cow::Owned).map_err(|error| {
            Box::new(Problem::new(400, "invalid_base64", "Invalid base64", format!("the body is not base64: {error}")))
        })
    }
}

impl HttpAnswer {
    /// A JSON answer. `body` is JSON already.
    pub fn json(status_code: u16, body: String) -> Self {
        Self::with_type(status_code, "application/json", body)
    }

    /// An answer of another media type.
    pub fn with_type(status_code: u16, content_type: &str, body: String) -> Self {
        let headers = BTreeMap::from([("content-type".to_owned(), content_type.to_owned())]);
        Self { status_code, headers, body, is_base64_encoded: false }
    }

    /// The same, with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.insert(name.to_owned(), value.into());
        self
    }
}

impl From<Problem> for HttpAnswer {
    fn from(problem: Problem) -> Self {
        let body = String::from_utf8(problem.to_bytes()).unwrap_or_default();
        Self::with_type(problem.status, Problem::CONTENT_TYPE, body)
    }
}

impl From<Box<Problem>> for HttpAnswer {
    fn from(problem: Box<Problem>) -> Self {
        Self::from(*problem)
    }
}

/// A part of a query string: `+` is a space, the rest is percent-encoded.
fn decoded(part: &str) -> String {
    percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// The problem for a body that is not the JSON that was expected: 400 where it is no JSON at all, 422 where it is JSON
/// of another shape. `pointer` is where the reader stopped.
pub fn json_problem(error: &serde_json::Error, pointer: Option<String>) -> Problem {
    if error.is_data() {
        let detail = error.to_string();
        let reason = if detail.starts_with("unknown field") {
            "unknown_field"
        } else if detail.starts_with("missing field") {
            "missing_field"
        } else {
            "invalid_value"
        };
        let field = domain::ProblemField::new(pointer.unwrap_or_default(), reason, detail);
        Problem::new(422, reason, "Invalid request", "the body is JSON, but not of the expected shape")
            .with_errors(vec![field])
    } else {
        Problem::new(400, "invalid_json", "Invalid JSON", format!("the body is not JSON: {error}"))
    }
}

/// Reads JSON into `T`, and on failure says where in the document (a JSON pointer) and what was wrong.
///
/// # Errors
/// The problem of [`json_problem`], boxed since it is large and rare.
pub fn parse_json<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, Box<Problem>> {
    // Serde would take an array for a struct, field by field.
    if body.trim_ascii_start().first() == Some(&b'[') {
        let problem =
            Problem::new(422, "invalid_value", "Invalid request", "the body must be a JSON object, not an array");
        return Err(Box::new(problem));
    }
    // Keeping the path costs a copy of each key: it is kept in a second reading, where something is wrong.
    if let Ok(value) = serde_json::from_slice(body) {
        return Ok(value);
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = match serde_path_to_error::deserialize(&mut reader) {
        Ok(value) => value,
        Err(error) => {
            let pointer = json_pointer_of(error.path());
            return Err(Box::new(json_problem(error.inner(), Some(pointer))));
        }
    };
    reader.end().map_err(|error| Box::new(json_problem(&error, None)))?;
    Ok(value)
}

/// A path as a JSON pointer (RFC 6901).
fn json_pointer_of(path: &serde_path_to_error::Path) -> String {
    use std::fmt::Write;

    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |mut pointer, segment| {
        match segment {
            Segment::Seq { index } => _ = write!(pointer, "/{index}"),
            Segment::Map { key } => _ = write!(pointer, "/{}", domain::ProblemField::escape(key)),
            Segment::Enum { variant } => _ = write!(pointer, "/{}", domain::ProblemField::escape(variant)),
            Segment::Unknown => {}
        }
        pointer
    })
}

#[cfg(test)]
mod tests {
    use domain::PredictionRequest;

    use super::*;

    fn event(body: &str) -> HttpEvent {
        serde_json::from_value(serde_json::json!({
            "version": "2.0", "routeKey": "POST /v1/predictions", "rawPath": "/v1/predictions",
            "headers": {"content-type": "application/json; charset=utf-8"},
            "requestContext": {"requestId": "r", "http": {"method": "POST", "path": "/v1/predictions"}},
            "body": body, "isBase64Encoded": false,
        }))
        .unwrap()
    }

    #[test]
    fn takes_text_and_base64_bodies() {
        assert_eq!(&*event("{}").json_post_body().unwrap(), b"{}");
        let encoded = HttpEvent { is_base64_encoded: true, ..event("e30=") };
        assert_eq!(&*encoded.json_post_body().unwrap(), b"{}");
        let broken = HttpEvent { is_base64_encoded: true, ..event("?") };
        assert_eq!(broken.json_post_body().unwrap_err().reason, "invalid_base64");
    }

    #[test]
    fn refuses_other_methods_types_and_sizes() {
        let mut get = event("{}");
        get.request_context.http.method = "GET".to_owned();
        assert_eq!(get.json_post_body().unwrap_err().status, 405);
        let mut text = event("{}");
        text.headers.insert("content-type".to_owned(), "text/plain".to_owned());
        assert_eq!(text.json_post_body().unwrap_err().status, 415);
        assert_eq!(event("").json_post_body().unwrap_err().status, 400);
        assert_eq!(event(&" ".repeat(MAX_BODY_BYTES + 1)).json_post_body().unwrap_err().status, 413);
    }

    #[test]
    fn query_parameters_are_decoded() {
        let asked = |query: &str| HttpEvent { raw_query_string: query.to_owned(), ..event("") };
        assert_eq!(asked("a=1&model=pickup%2Deta+2").query_parameter("model").as_deref(), Some("pickup-eta 2"));
        assert_eq!(asked("model").query_parameter("model").as_deref(), Some(""));
        assert_eq!(asked("").query_parameter("model"), None);
    }

    #[test]
    fn points_at_the_field_that_is_wrong() {
        let problem = |body: &str| *parse_json::<PredictionRequest>(body.as_bytes()).unwrap_err();
        let wrong_type = problem(r#"{"candidates": [{"candidate_id": "a"}, {"candidate_id": 7}]}"#);
        assert_eq!((wrong_type.status, wrong_type.errors[0].pointer.as_str()), (422, "/candidates/1/candidate_id"));
        let unknown = problem(r#"{"candidates": [], "input": {}}"#);
        assert_eq!((unknown.reason.as_str(), unknown.errors[0].pointer.as_str()), ("unknown_field", "/input"));
        assert_eq!(problem("{}").reason, "missing_field");
        assert_eq!(problem("[null, null, null, null, null, {}, []]").reason, "invalid_value");
        assert_eq!(problem("{\"candidates\": [NaN]}").status, 400);
        assert_eq!(problem("{\"candidates\": []} x").status, 400);
    }
}
