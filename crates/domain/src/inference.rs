use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{CandidateId, DomainError, Hour, ModelName, PredictionId, digest::sha256_hex, is_archivable};

/// Who saw an inference, other than the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InferenceSource {
    /// SageMaker Data Capture of an endpoint.
    DataCapture,
    /// The output of a SageMaker batch transform job.
    BatchTransform,
    /// A result of a SageMaker asynchronous endpoint.
    AsyncInference,
}

impl InferenceSource {
    /// All sources.
    pub const ALL: [Self; 3] = [Self::DataCapture, Self::BatchTransform, Self::AsyncInference];

    /// The name in records, keys and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DataCapture => "data-capture",
            Self::BatchTransform => "batch-transform",
            Self::AsyncInference => "async-inference",
        }
    }
}

/// How a payload stands in a text, as SageMaker names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PayloadEncoding {
    /// Comma-separated values, one row a line.
    Csv,
    /// A JSON document.
    Json,
    /// Bytes of any kind.
    Base64,
}

impl PayloadEncoding {
    /// All encodings.
    pub const ALL: [Self; 3] = [Self::Csv, Self::Json, Self::Base64];

    /// The name in records and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::Json => "JSON",
            Self::Base64 => "BASE64",
        }
    }
}

/// What went into a model, or came out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// The media type that was observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// How `data` is written.
    pub encoding: PayloadEncoding,
    /// The payload, in that encoding.
    pub data: String,
}

/// One inference that SageMaker itself has recorded: what the container was asked and what it said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InferenceRecord {
    /// The model, from the object's key.
    pub model: ModelName,
    /// Who saw it.
    pub source: InferenceSource,
    /// The caller's `InferenceId`; where there was none, SageMaker's id of the event.
    pub inference_id: String,
    /// SageMaker's id of the event, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// When the model was asked, UTC.
    pub inference_time: Timestamp,
    /// The endpoint, where the source knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The production variant, where the source knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What the model was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Payload>,
    /// What it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Payload>,
    /// Where the input lies, for sources that name an object (`s3://…`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_location: Option<String>,
    /// Where the output lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_location: Option<String>,
    /// Why the model did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl InferenceRecord {
    /// The prediction that this is the inference of, and its candidate, where the inference id names them. The proxy's further calls
    /// for one prediction have ids of their own: `<id>-2` of a second part, `<id>-h` and `<id>-2-h` of hedges.
    pub fn key(&self) -> Option<InferenceKey> {
        if let Ok(key) = self.inference_id.parse() {
            return Some(key);
        }
        let id = self.inference_id.strip_suffix("-h").unwrap_or(&self.inference_id);
        let is_part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let further = id.get(UUID_LENGTH..).and_then(|rest| rest.strip_prefix('-')).is_some_and(is_part);
        if further { &id[..UUID_LENGTH] } else { id }.parse().ok()
    }

    /// The prediction that this is the inference of, where the inference id names one.
    pub fn prediction_id(&self) -> Option<PredictionId> {
        self.key().map(|key| key.prediction_id)
    }

    /// The hour that it is archived under: the prediction's where it names one, so that both lie beside each other.
    pub fn hour(&self) -> Hour {
        self.prediction_id().map_or_else(|| Hour::of(self.inference_time), PredictionId::hour)
    }

    /// Checks what the types do not.
    pub fn validate(&self) -> Result<(), DomainError> {
        if self.inference_id.is_empty() || self.inference_id.len() > MAX_INFERENCE_ID_BYTES {
            return Err(DomainError::InvalidInference(format!(
                "the inference id must have 1 to {MAX_INFERENCE_ID_BYTES} bytes"
            )));
        }
        if !is_archivable(self.inference_time) {
            return Err(DomainError::InvalidInference(
                "the inference time must lie in the years 1970 to 2199".to_owned(),
            ));
        }
        Ok(())
    }

    /// A content address: the same event delivered twice is one row.
    pub fn digest(&self) -> String {
        sha256_hex(&serde_json::to_vec(self).unwrap_or_default())
    }
}

/// SageMaker takes 64; in files there may be a candidate's name behind a prediction's id.
const MAX_INFERENCE_ID_BYTES: usize = 1024;
/// Bytes of a UUID as text.
const UUID_LENGTH: usize = 36;

/// An inference id of ours: a prediction's id, and in files with one line per candidate `<prediction id>#<candidate id>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct InferenceKey {
    /// The prediction.
    pub prediction_id: PredictionId,
    /// The candidate, where the line is of one of several.
    pub candidate_id: Option<CandidateId>,
}

impl fmt::Display for InferenceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.prediction_id.fmt(f)?;
        match &self.candidate_id {
            Some(candidate) => write!(f, "#{candidate}"),
            None => Ok(()),
        }
    }
}

impl FromStr for InferenceKey {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        let (id, candidate) = match text.split_once('#') {
            Some((id, candidate)) => (id, Some(candidate.parse()?)),
            None => (text, None),
        };
        Ok(Self { prediction_id: id.parse()?, candidate_id: candidate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_calls_are_of_their_prediction() {
        let id = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
        let of = |inference_id: String| {
            let record = InferenceRecord {
                model: "m".parse().unwrap(),
                source: InferenceSource::DataCapture,
                inference_id,
                event_id: None,
                inference_time: Timestamp::UNIX_EPOCH,
                endpoint: None,
                variant: None,
                input: None,
                output: None,
                input_location: None,
                output_location: None,
                failure: None,
            };
            record.key().map(|key| (key.prediction_id.to_string(), key.candidate_id.map(|id| id.to_string())))
        };
        for further in ["", "-h", "-2", "-13-h"] {
            assert_eq!(of(format!("{id}{further}")), Some((id.to_owned(), None)), "{further}");
        }
        // A candidate may be called as it likes.
        assert_eq!(of(format!("{id}#car-2-h")), Some((id.to_owned(), Some("car-2-h".to_owned()))));
        for other in ["-", "-x", "-2-x", "-h-h", "h"] {
            assert_eq!(of(format!("{id}{other}")), None, "{other}");
        }
    }

    #[test]
    fn inference_ids_tell_prediction_and_candidate() {
        let id = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
        for (text, candidate) in [(id.to_owned(), None), (format!("{id}#car 7#東京"), Some("car 7#東京"))] {
            let key: InferenceKey = text.parse().unwrap();
            assert_eq!(key.candidate_id.as_ref().map(CandidateId::as_str), candidate);
            assert_eq!(key.to_string(), text);
        }
        for text in ["", "x", "017f22e2-79b0-7cc3-98c4-dc0c0c07398f#", "f81d4fae-7dec-41d0-a765-00a0c91e6bf6"] {
            assert!(text.parse::<InferenceKey>().is_err(), "{text}");
        }
    }
}
