use serde::{Deserialize, Serialize};

/// SageMaker's limit on one call's body, bytes.
pub const MAX_CALL_BYTES: usize = 6_291_456;
/// The same for a serverless endpoint, bytes.
pub const MAX_SERVERLESS_CALL_BYTES: usize = 4_194_304;

/// How endpoints are called. The default is one try in CSV, no hedge, no breaker, one call for all rows.
///
/// Retries and hedges draw on one budget per endpoint and variant in each warm process: a tenth of its calls, and ten at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointCalling {
    /// The rows' format in requests.
    pub content_type: RowFormat,
    /// The predictions' format that is asked for.
    pub accept: RowFormat,
    /// A call's body has at most as many bytes; more rows are split into several calls. SageMaker takes 6 MB, a
    /// serverless endpoint 4 MB.
    pub max_body_bytes: usize,
    /// The most tries of one endpoint, the first included. Only what can help is tried again: 429, 500, 503, 530, throttling and
    /// broken connections; after a pause of random length.
    pub max_tries: u32,
    /// A second call of the same endpoint after the P95 of its recent calls; the first answer counts.
    pub hedge: bool,
    /// When an endpoint is no longer asked.
    pub breaker: BreakerPolicy,
}

impl Default for EndpointCalling {
    fn default() -> Self {
        Self {
            content_type: RowFormat::Csv,
            accept: RowFormat::Csv,
            max_body_bytes: MAX_CALL_BYTES,
            max_tries: 1,
            hedge: false,
            breaker: BreakerPolicy::default(),
        }
    }
}

/// The formats of rows and predictions that model containers speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowFormat {
    /// `text/csv`: a line per row, no header; an empty field is NULL.
    Csv,
    /// `application/json`: `{"instances": [{"features": […]}, …]}` and `{"predictions": […]}`.
    Json,
    /// `application/jsonlines`: `{"features": […]}` per line, and a prediction per line.
    JsonLines,
}

impl RowFormat {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv",
            Self::Json => "application/json",
            Self::JsonLines => "application/jsonlines",
        }
    }
}

/// A circuit breaker per endpoint and variant in each warm process, off by default: an endpoint that fails again and again is left
/// alone for a while, then probed by one request at a time. A request counts once, after its retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerPolicy {
    /// As many failures in a row open it; 0 never does.
    pub failures: u32,
    /// As long it stays open before one call probes the endpoint, in milliseconds.
    pub open_ms: u32,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures: 0, open_ms: 1_000 }
    }
}
