//! Lines that are no records, as they are kept.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// A line that is no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Where the line begins, in bytes of the decompressed object.
    pub offset: u64,
    /// A stable reason code.
    pub reason: &'static str,
    /// What was wrong with it.
    pub detail: String,
    /// The line without its line break. Empty where the object itself is to be kept.
    pub original: Vec<u8>,
}

#[derive(Serialize)]
struct QuarantineDocument<'a> {
    landing_key: &'a str,
    offset: u64,
    reason: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    original: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_base64: Option<String>,
}

impl BadLine {
    /// The document to quarantine: JSON with `landing_key`, `offset`, `reason`, `detail`, and the line as `original`, or
    /// as `original_base64` where it is not UTF-8. The same line is the same document.
    pub fn to_document(&self, landing_key: &str) -> Vec<u8> {
        let original = std::str::from_utf8(&self.original).ok();
        let document = QuarantineDocument {
            landing_key,
            offset: self.offset,
            reason: self.reason,
            detail: &self.detail,
            original,
            original_base64: original.is_none().then(|| STANDARD.encode(&self.original)),
        };
        serde_json::to_vec(&document).unwrap_or_default()
    }
}

/// A quarantined line, read back from its document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedLine {
    /// The landed object that it was a line of.
    pub landing_key: String,
    /// Where the line began, in bytes of the decompressed object.
    pub offset: u64,
    /// The reason code.
    pub reason: String,
    /// What was wrong with it.
    pub detail: String,
    /// The line. Empty where the object itself was kept.
    pub original: Vec<u8>,
}

impl QuarantinedLine {
    /// Reads what [`BadLine::to_document`] wrote; `None` where it is no such document.
    pub fn from_document(document: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Document {
            landing_key: String,
            offset: u64,
            reason: String,
            detail: String,
            original: Option<String>,
            original_base64: Option<String>,
        }
        let Document { landing_key, offset, reason, detail, original, original_base64 } =
            serde_json::from_slice(document).ok()?;
        let original = match (original, original_base64) {
            (Some(text), _) => text.into_bytes(),
            (None, Some(encoded)) => STANDARD.decode(encoded).ok()?,
            (None, None) => Vec::new(),
        };
        Some(Self { landing_key, offset, reason, detail, original })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarantine_documents_hold_the_original() {
        let line =
            |original: &[u8]| BadLine { offset: 7, reason: "r", detail: "d".into(), original: original.to_vec() };
        let document =
            |original: &[u8]| serde_json::from_slice::<serde_json::Value>(&line(original).to_document("k")).unwrap();
        assert_eq!(document(b"x")["original"], "x");
        assert_eq!(document(b"\xff")["original_base64"], "/w==");
        assert_eq!((&document(b"x")["landing_key"], &document(b"x")["offset"]), (&"k".into(), &7.into()));
        for original in [&b"x"[..], b"\xff", b""] {
            let read = QuarantinedLine::from_document(&line(original).to_document("k")).unwrap();
            let expected = ("k".to_owned(), 7, "r".to_owned(), "d".to_owned(), original.to_vec());
            assert_eq!((read.landing_key, read.offset, read.reason, read.detail, read.original), expected);
        }
        assert_eq!(QuarantinedLine::from_document(b"{}"), None);
    }
}
