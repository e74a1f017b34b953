use serde::{Deserialize, Serialize};

/// A problem document (RFC 9457, `application/problem+json`): what was wrong with a request, where, and a stable code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A URI reference that names the kind of problem: `/problems/<reason>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short summary of the kind.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was wrong this time, and what to do.
    pub detail: String,
    /// A stable reason code.
    pub reason: String,
    /// The fields that were wrong. Empty where no single field is to blame.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ProblemField>,
}

/// One field that was wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemField {
    /// A JSON pointer (RFC 6901) into the request's body.
    pub pointer: String,
    /// A stable reason code.
    pub reason: String,
    /// What was wrong, and what is expected.
    pub detail: String,
}

impl Problem {
    /// The media type.
    pub const CONTENT_TYPE: &'static str = "application/problem+json";

    /// A problem of kind `reason`, with no field to blame.
    pub fn new(status: u16, reason: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/problems/{}", reason.replace('_', "-")),
            title: title.to_owned(),
            status,
            detail: detail.into(),
            reason: reason.to_owned(),
            errors: Vec::new(),
        }
    }

    /// The same, with the fields to blame.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<ProblemField>) -> Self {
        self.errors = errors;
        self
    }

    /// A request that is one, but whose `fields` are not what is expected (422).
    pub fn invalid_fields(fields: Vec<ProblemField>) -> Self {
        // The one reason where there is one, so that a client can switch on it.
        let reason = match fields.as_slice() {
            [only] => only.reason.clone(),
            _ => "invalid_inputs".to_owned(),
        };
        let detail = format!("{} field(s) are not what is expected; see errors", fields.len());
        Self::new(422, &reason, "Invalid request", detail).with_errors(fields)
    }

    /// The document's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl ProblemField {
    /// A field at `pointer`.
    pub fn new(pointer: impl Into<String>, reason: &str, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), reason: reason.to_owned(), detail: detail.into() }
    }

    /// One step of a JSON pointer, escaped (RFC 6901: `~` as `~0`, `/` as `~1`).
    pub fn escape(step: &str) -> String {
        step.replace('~', "~0").replace('/', "~1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_rfc_9457_says() {
        let problem = Problem::new(422, "invalid_input", "Invalid input", "one field is wrong").with_errors(vec![
            ProblemField::new(format!("/inputs/{}", ProblemField::escape("a/b~c")), "unknown_field", "?"),
        ]);
        let json: serde_json::Value = serde_json::from_slice(&problem.to_bytes()).unwrap();
        assert_eq!(json["type"], "/problems/invalid-input");
        assert_eq!(json["status"], 422);
        assert_eq!(json["errors"][0]["pointer"], "/inputs/a~1b~0c");
    }
}
