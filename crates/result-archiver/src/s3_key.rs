use std::fmt;

use percent_encoding::percent_decode_str;

/// An object's key as it is, not as an event writes it.
///
/// S3 notifications write keys form-encoded: `+` is a space, then percent-decoding. EventBridge writes them as they are.
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct S3Key(String);

impl S3Key {
    /// From an S3 notification (direct, through SQS or SNS).
    pub fn from_notification(encoded: &str) -> Self {
        let spaced = encoded.replace('+', " ");
        Self(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
    }

    /// From an EventBridge event, or from a listing.
    pub fn from_plain(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for S3Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notification_keys_are_form_decoded() {
        let pairs = [
            (
                "landing/predictions/pickup-eta/dt%3D2026-01-31/hour%3D12/a.json",
                "landing/predictions/pickup-eta/dt=2026-01-31/hour=12/a.json",
            ),
            ("a+b", "a b"),
            ("a%20b", "a b"),
            ("a%2Bb", "a+b"),
            ("a%252Bb", "a%2Bb"),
            ("%E6%9D%B1%E4%BA%AC%2F%C3%A9.json", "東京/é.json"),
            ("100%", "100%"),
            ("", ""),
        ];
        for (encoded, key) in pairs {
            assert_eq!(S3Key::from_notification(encoded).as_str(), key);
        }
        assert_eq!(S3Key::from_plain("a+b%2B").as_str(), "a+b%2B");
    }
}
