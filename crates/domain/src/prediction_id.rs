use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{DomainError, Hour, is_archivable};

/// A prediction's id: a UUIDv7 (RFC 9562), whose first 48 bits are the request's time in Unix milliseconds. The id alone
/// tells the hour, so an outcome finds its prediction's partition without an index. Text order is time order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PredictionId(Uuid);

impl PredictionId {
    /// An id for a request made at `requested_at`, with the caller's randomness. The first 12 and the next 62 free bits
    /// are taken from `random`.
    pub fn new(requested_at: Timestamp, random: [u8; 10]) -> Self {
        let millis = u64::try_from(requested_at.as_millisecond()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// The time in the id, UTC, to the millisecond.
    pub fn timestamp(self) -> Timestamp {
        let bytes = self.0.as_bytes();
        let millis = bytes[..6].iter().fold(0i64, |millis, &byte| (millis << 8) | i64::from(byte));
        // 48 bits reach the year 10889, jiff's clock the year 9999.
        Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
    }

    /// The hour of event time that this prediction is archived under.
    pub fn hour(self) -> Hour {
        Hour::of(self.timestamp())
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

/// The values of hexadecimal digits by their characters; 255 for any other.
const HEX_DIGITS: [u8; 256] = {
    let mut values = [255; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    values
};
/// Where the bytes of a hyphenated UUID begin.
const BYTE_PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
/// 2200-01-01T00:00:00Z in Unix milliseconds: later times are not archivable.
const END_MS: u64 = 7_258_118_400_000;

/// An id as this crate writes it: archives have millions of them. `None` for any other text, which may be an id all the same.
fn as_written(text: &[u8]) -> Option<Uuid> {
    let text: &[u8; 36] = text.try_into().ok()?;
    let mut bytes = [0_u8; 16];
    let mut seen = 0;
    for (byte, place) in bytes.iter_mut().zip(BYTE_PLACES) {
        let (high, low) = (HEX_DIGITS[usize::from(text[place])], HEX_DIGITS[usize::from(text[place + 1])]);
        seen |= high | low;
        *byte = high << 4 | low;
    }
    let hyphens = [text[8], text[13], text[18], text[23]] == [b'-'; 4];
    let ms = bytes[..6].iter().fold(0_u64, |ms, &byte| ms << 8 | u64::from(byte));
    let is_id = seen < 16 && hyphens && bytes[6] >> 4 == 7 && bytes[8] >> 6 == 0b10 && ms < END_MS;
    is_id.then(|| Uuid::from_bytes(bytes))
}

impl FromStr for PredictionId {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        if let Some(uuid) = as_written(text.as_bytes()) {
            return Ok(Self(uuid));
        }
        let invalid = |why: String| DomainError::InvalidPredictionId { value: text.to_owned(), why };
        let uuid = Uuid::try_parse(text).map_err(|error| invalid(error.to_string()))?;
        if uuid.get_version_num() != 7 || uuid.get_variant() != uuid::Variant::RFC4122 {
            return Err(invalid(format!("its version is {}, not 7", uuid.get_version_num())));
        }
        let id = Self(uuid);
        if !is_archivable(id.timestamp()) {
            return Err(invalid("its time is after the year 2199".to_owned()));
        }
        Ok(id)
    }
}

impl TryFrom<String> for PredictionId {
    type Error = DomainError;

    fn try_from(text: String) -> Result<Self, DomainError> {
        text.parse()
    }
}

impl From<PredictionId> for String {
    fn from(id: PredictionId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for PredictionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tells_its_hour() {
        let id: PredictionId = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f".parse().unwrap();
        // The example of RFC 9562, appendix A.6.
        assert_eq!(id.timestamp().to_string(), "2022-02-22T19:22:22Z");
        assert_eq!(id.hour().to_string(), "2022-02-22T19");
    }

    #[test]
    fn refuses_other_versions() {
        let error = "f81d4fae-7dec-41d0-a765-00a0c91e6bf6".parse::<PredictionId>().unwrap_err();
        assert_eq!(error.reason(), "invalid_prediction_id");
        assert!(error.to_string().contains("version is 4"), "{error}");
        assert!("not an id".parse::<PredictionId>().is_err());
        assert!(
            "ffffffff-ffff-7cc3-98c4-dc0c0c07398f".parse::<PredictionId>().is_err(),
            "a time that no file can hold"
        );
    }

    #[test]
    fn what_is_written_otherwise_is_read_the_long_way() {
        let id: PredictionId = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f".parse().unwrap();
        for text in ["017F22E2-79B0-7CC3-98C4-DC0C0C07398F", "017f22e279b07cc398c4dc0c0c07398f"] {
            assert!(as_written(text.as_bytes()).is_none());
            assert_eq!(text.parse::<PredictionId>().unwrap(), id);
        }
        let end: Timestamp = "2200-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(end.as_millisecond(), END_MS as i64);
        let last = PredictionId::new(Timestamp::from_millisecond(END_MS as i64 - 1).unwrap(), [9; 10]);
        assert_eq!(last.to_string().parse::<PredictionId>(), Ok(last));
        assert!(PredictionId::new(end, [9; 10]).to_string().parse::<PredictionId>().is_err());
    }

    proptest! {
        #[test]
        fn one_changed_character_is_judged_as_before(place in 0usize..36, with in "[ -~]", millis in 0i64..9_000_000_000_000) {
            let mut text = PredictionId::new(Timestamp::from_millisecond(millis).unwrap(), [0x5a; 10]).to_string();
            text.replace_range(place..=place, &with);
            if let Some(uuid) = as_written(text.as_bytes()) {
                prop_assert_eq!(Uuid::try_parse(&text).unwrap(), uuid);
                prop_assert!(uuid.get_version_num() == 7 && uuid.get_variant() == uuid::Variant::RFC4122);
                prop_assert!(is_archivable(PredictionId(uuid).timestamp()));
            }
        }

        #[test]
        fn keeps_its_time_and_order(a in 0i64..4_102_444_800_000, b in 0i64..4_102_444_800_000, random: [u8; 10]) {
            let id = |millis| PredictionId::new(Timestamp::from_millisecond(millis).unwrap(), random);
            prop_assert_eq!(id(a).timestamp().as_millisecond(), a);
            prop_assert_eq!(id(a).to_string().parse::<PredictionId>().unwrap(), id(a));
            prop_assert_eq!(id(a).to_string().cmp(&id(b).to_string()), a.cmp(&b));
        }
    }
}
