use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::DomainError;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $expected:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether `text` can be one.
            pub fn is_valid(text: &str) -> bool {
                let valid: fn(&str) -> bool = $valid;
                valid(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = DomainError;

            fn try_from(value: String) -> Result<Self, DomainError> {
                if Self::is_valid(&value) {
                    Ok(Self(value))
                } else {
                    Err(DomainError::InvalidName { what: $what, value, expected: $expected })
                }
            }
        }

        impl FromStr for $name {
            type Err = DomainError;

            fn from_str(value: &str) -> Result<Self, DomainError> {
                Self::try_from(value.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A model's name: the folder `models/<name>/` and a part of S3 keys, so its alphabet is narrow.
    ModelName,
    "model name",
    "1 to 63 characters of a-z, 0-9 and `-`, beginning with a letter",
    |text| {
        (1..=63).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    }
);

name!(
    /// One candidate of a request (a car): the caller's own name, unique within the request.
    CandidateId,
    "candidate id",
    "1 to 128 characters, no control characters",
    |text| (1..=128).contains(&text.len()) && !text.chars().any(char::is_control)
);

name!(
    /// What an experiment randomises: usually the rider.
    UnitId,
    "unit id",
    "1 to 128 characters, no control characters",
    |text| (1..=128).contains(&text.len()) && !text.chars().any(char::is_control)
);

name!(
    /// One ride: what several requests of one rider, refreshed until the car is there, have in common.
    RideId,
    "ride id",
    "1 to 128 characters, no control characters",
    |text| (1..=128).contains(&text.len()) && !text.chars().any(char::is_control)
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_names_cannot_leave_their_prefix() {
        assert!("pickup-eta".parse::<ModelName>().is_ok());
        for text in ["", "..", "a/b", "A", "1a", "a_b", "a.b", "é", &"a".repeat(64)] {
            assert!(text.parse::<ModelName>().is_err(), "{text}");
        }
    }

    #[test]
    fn candidate_ids_are_the_callers_words_but_no_control_characters() {
        assert!("car 7/東京".parse::<CandidateId>().is_ok());
        assert!("car\n7".parse::<CandidateId>().is_err());
        assert!("".parse::<CandidateId>().is_err());
    }
}
