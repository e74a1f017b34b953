//! A landed line in exactly the form that the proxy writes: fields in their order, nothing between the tokens, no
//! escapes. Such a line goes into the columns as it is read. Any other is left to the general reader, which takes every
//! form and tells what is wrong with a bad one; what both take, both take alike (a property test's law).

#![expect(clippy::option_option, reason = "the outer one is of the line's form, the inner one of an optional field")]
#![expect(clippy::inline_always, reason = "each literal's length is then known where it is compared")]

use std::borrow::Cow;

use domain::{AssignmentExclusion, CandidateId, Inputs, ModelName, PredictionId, ReleaseId, RideId, Tier, UnitId};

use super::{
    MAX_INPUTS_BYTES,
    names::{Field, Name},
    rows::{CandidateRow, PredictionRows, RecordRow, Text},
};

/// The most digits that a decimal fraction may have for a double to give all of them back.
const EXACT_DIGITS: usize = 15;

impl PredictionRows {
    /// Adds the record of a line. `false`, and nothing is added, where the line has not the proxy's own form.
    pub(crate) fn push_line(&mut self, model: &ModelName, line: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(line) else { return false };
        let mark = self.mark();
        let record = Line { text, bytes: line, at: 0 }.record(self, model);
        let Some(record) = record else {
            self.cut(mark);
            return false;
        };
        self.records.push(record);
        true
    }
}

/// Inputs as they are kept: `text` itself where it is canonical already.
pub(super) fn canonical_inputs(text: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    let mut line = Line { text, bytes: text.as_bytes(), at: 0 };
    if line.optional("{") && line.object_end().is_some() && line.at == text.len() {
        return Ok(Cow::Borrowed(text));
    }
    let inputs: Inputs = serde_json::from_str(text)?;
    Ok(Cow::Owned(serde_json::to_string(&inputs)?))
}

struct Line<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Line<'a> {
    fn record(mut self, rows: &mut PredictionRows, model: &ModelName) -> Option<RecordRow> {
        self.literal(r#"{"prediction_id":""#)?;
        let id: PredictionId = self.string()?.parse().ok()?;
        self.literal(r#","model":""#)?;
        if self.string()? != model.as_str() {
            return None;
        }
        let model = rows.names.of(Field::Model, model.as_str());
        self.literal(r#","release_id":""#)?;
        let release_id = self.name(rows, Field::ReleaseId, |text| text.parse::<ReleaseId>().is_ok())?;
        self.literal(r#","spec_hash":""#)?;
        let spec_hash = self.name(rows, Field::SpecHash, |_| true)?;
        let unit_id = self.optional_text(rows, r#","unit_id":""#, UnitId::is_valid)?;
        let ride_id = self.optional_text(rows, r#","ride_id":""#, RideId::is_valid)?;
        self.literal(r#","requested_at":""#)?;
        let requested_us = self.micros()?;
        self.literal(r#","answered_at":""#)?;
        let answered_us = self.micros()?;
        self.literal(r#","assignment":{"#)?;
        let experiment_id = self.optional_name(rows, r#""experiment_id":""#, Field::ExperimentId)?;
        if experiment_id.is_some() {
            self.literal(",")?;
        }
        self.literal(r#""arm":""#)?;
        let arm = self.name(rows, Field::Arm, |_| true)?;
        self.literal(r#","probability":"#)?;
        let probability = self.number()?;
        let randomised_unit = self.optional_text(rows, r#","randomised_unit":""#, |_| true)?;
        let excluded = if self.optional(r#","excluded":""#) {
            let text = self.string()?;
            Some(AssignmentExclusion::ALL.into_iter().find(|reason| reason.as_str() == text)?)
        } else {
            None
        };
        self.literal(r#"},"tier":""#)?;
        let tier = self.string()?;
        let tier = Tier::ALL.into_iter().find(|known| known.as_str() == tier)?;
        let tier_reason = self.optional_name(rows, r#","tier_reason":""#, Field::TierReason)?;
        self.literal(r#","endpoint":""#)?;
        let endpoint = self.name(rows, Field::Endpoint, |_| true)?;
        self.literal(r#","variant":""#)?;
        let variant = self.name(rows, Field::Variant, |_| true)?;
        self.literal(r#","model_version":""#)?;
        let model_version = self.name(rows, Field::ModelVersion, |_| true)?;
        self.literal(r#","inputs":{"#)?;
        let inputs = self.inputs(rows)?;
        self.literal(r#","candidates":[{"#)?;
        let candidates = rows.candidates.len();
        loop {
            let candidate = self.candidate(rows)?;
            rows.candidates.push(candidate);
            if !self.optional(",{") {
                break;
            }
        }
        self.literal(r#"],"timings":{"transform_us":"#)?;
        let transform_us = self.duration_us()?;
        self.literal(r#","endpoint_us":"#)?;
        let endpoint_us = self.duration_us()?;
        self.literal(r#","total_us":"#)?;
        let total_us = self.duration_us()?;
        self.literal("}}")?;
        if self.bytes[self.at..].iter().any(|byte| *byte != b'\r') {
            return None;
        }
        Some(RecordRow {
            id,
            requested_us,
            answered_us,
            probability,
            timings_us: [transform_us, endpoint_us, total_us],
            unit_id,
            ride_id,
            randomised_unit,
            inputs,
            model,
            release_id,
            spec_hash,
            experiment_id,
            arm,
            tier_reason,
            endpoint,
            variant,
            model_version,
            tier,
            excluded,
            candidates,
            candidates_end: rows.candidates.len(),
        })
    }

    fn candidate(&mut self, rows: &mut PredictionRows) -> Option<CandidateRow> {
        self.literal(r#""candidate_id":""#)?;
        let id = self.text(rows, CandidateId::is_valid)?;
        self.literal(r#","inputs":{"#)?;
        let inputs = self.inputs(rows)?;
        self.literal(r#","features":["#)?;
        let features = rows.features.len();
        if !self.optional("]") {
            loop {
                let feature = if self.optional("null") { rows.null_feature() } else { self.number()? };
                rows.features.push(feature);
                if !self.optional(",") {
                    break;
                }
            }
            self.literal("]")?;
        }
        self.literal(r#","prediction":"#)?;
        let prediction = self.number()?;
        self.literal(r#","fallback":"#)?;
        let fallback = self.number()?;
        let uncorrected = self.optional_number(r#","uncorrected":"#)?;
        let last_shown = self.optional_number(r#","last_shown":"#)?;
        let shown = self.optional_number(r#","shown":"#)?;
        let lower = self.optional_number(r#","lower":"#)?;
        let upper = self.optional_number(r#","upper":"#)?;
        self.literal("}")?;
        let features_end = rows.features.len();
        Some(CandidateRow {
            id,
            inputs,
            features,
            features_end,
            prediction,
            fallback,
            uncorrected,
            last_shown,
            shown,
            lower,
            upper,
        })
    }

    #[inline(always)]
    fn optional(&mut self, literal: &str) -> bool {
        let found = self.bytes[self.at..].starts_with(literal.as_bytes());
        if found {
            self.at += literal.len();
        }
        found
    }

    #[inline(always)]
    fn literal(&mut self, literal: &str) -> Option<()> {
        self.optional(literal).then_some(())
    }

    /// What is between here and the next quotation mark, which is passed.
    fn string(&mut self) -> Option<&'a str> {
        let start = self.at;
        let length = plain_text(&self.bytes[start..])?;
        self.at += length + 1;
        Some(&self.text[start..start + length])
    }

    fn text(&mut self, rows: &mut PredictionRows, valid: fn(&str) -> bool) -> Option<Text> {
        let text = self.string()?;
        valid(text).then(|| rows.text(text))
    }

    /// `Some(None)` where it is not there.
    fn optional_text(&mut self, rows: &mut PredictionRows, key: &str, valid: fn(&str) -> bool) -> Option<Option<Text>> {
        if self.optional(key) { self.text(rows, valid).map(Some) } else { Some(None) }
    }

    fn name(&mut self, rows: &mut PredictionRows, field: Field, valid: fn(&str) -> bool) -> Option<Name> {
        if let Some((name, length)) = rows.names.prefix_of(field, &self.bytes[self.at..]) {
            self.at += length + 1;
            return Some(name);
        }
        let text = self.string()?;
        valid(text).then(|| rows.names.of(field, text))
    }

    fn optional_name(&mut self, rows: &mut PredictionRows, key: &str, field: Field) -> Option<Option<Name>> {
        if self.optional(key) { self.name(rows, field, |_| true).map(Some) } else { Some(None) }
    }

    fn optional_number(&mut self, key: &str) -> Option<Option<f64>> {
        if self.optional(key) { self.number().map(Some) } else { Some(None) }
    }

    /// A finite number.
    fn number(&mut self) -> Option<f64> {
        let rest = &self.bytes[self.at..];
        let (number, length) = fast_float2::parse_partial::<f64, _>(rest).ok()?;
        // The library's grammar is wider than JSON's.
        let digits = rest.strip_prefix(b"-").unwrap_or(rest);
        let whole = digits.iter().position(|byte| !byte.is_ascii_digit())?;
        let is_json = whole > 0
            && (whole == 1 || digits[0] != b'0')
            && (digits[whole] != b'.' || digits[whole + 1..].first().is_some_and(u8::is_ascii_digit))
            && rest[length - 1].is_ascii_digit();
        self.at += length;
        (is_json && number.is_finite()).then_some(number)
    }

    /// A number by JSON's grammar, whose end is the first byte that cannot be a part of it.
    fn number_token(&mut self) -> Option<NumberToken> {
        let start = self.at;
        self.optional("-");
        let whole = self.at;
        let whole_digits = self.digits()?;
        if whole_digits > 1 && self.bytes[whole] == b'0' {
            return None;
        }
        let point = self.at;
        if self.optional(".") {
            self.digits()?;
        }
        let fraction_end = self.at;
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if !self.optional("-") {
                self.optional("+");
            }
            self.digits()?;
        }
        Some(NumberToken { start, whole, point, fraction_end, end: self.at })
    }

    fn digits(&mut self) -> Option<usize> {
        let count = self.bytes[self.at..].iter().position(|byte| !byte.is_ascii_digit())?;
        self.at += count;
        (count > 0).then_some(count)
    }

    fn duration_us(&mut self) -> Option<i64> {
        let start = self.at;
        let count = self.digits()?;
        // Nineteen digits may not fit.
        if count > 18 || (count > 1 && self.bytes[start] == b'0') {
            return None;
        }
        Some(decimal(&self.bytes[start..self.at]))
    }

    /// `YYYY-MM-DDTHH:MM:SS[.digits]Z"`, 1970 to 2199, in microseconds since 1970; what is below is cut off.
    fn micros(&mut self) -> Option<i64> {
        let text = self.string()?.as_bytes();
        let (time, fraction) = (text.get(..19)?, text.get(19..text.len().checked_sub(1)?)?);
        let shape = time
            .iter()
            .zip(b"0000-00-00T00:00:00")
            .all(|(byte, expected)| if *expected == b'0' { byte.is_ascii_digit() } else { byte == expected });
        if !shape || text.last() != Some(&b'Z') {
            return None;
        }
        let part = |range: std::ops::Range<usize>| decimal(&time[range]);
        let (hour, minute, second) = (part(11..13), part(14..16), part(17..19));
        let (year, month, day) = (part(0..4), part(5..7), part(8..10));
        if !(1970..2200).contains(&year) || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let days = days_since_1970(year, month, day)?;
        let mut micros = 0;
        if !fraction.is_empty() {
            let digits = fraction.strip_prefix(b".")?;
            if !(1..=9).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
            let kept = &digits[..digits.len().min(6)];
            micros = decimal(kept) * 10i64.pow(6 - kept.len() as u32);
        }
        Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + micros)
    }

    /// A JSON object of scalars in canonical form, after its brace: kept as text.
    fn inputs(&mut self, rows: &mut PredictionRows) -> Option<Text> {
        let start = self.at - 1;
        self.object_end()?;
        let text = &self.text[start..self.at];
        (text.len() <= MAX_INPUTS_BYTES).then(|| rows.text(text))
    }

    /// To the end of an object of scalars in canonical form, after its brace.
    fn object_end(&mut self) -> Option<()> {
        let mut last: Option<&str> = None;
        while !self.optional("}") {
            if last.is_some() {
                self.literal(",")?;
            }
            self.literal("\"")?;
            let key = self.string()?;
            // In order, and so none twice.
            if last.is_some_and(|last| last >= key) {
                return None;
            }
            last = Some(key);
            self.literal(":")?;
            self.scalar()?;
        }
        Some(())
    }

    /// A value that would be written just as it stands.
    fn scalar(&mut self) -> Option<()> {
        match self.bytes.get(self.at)? {
            b'"' => {
                self.at += 1;
                self.string().map(drop)
            }
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            _ => {
                let token = self.number_token()?;
                token.is_canonical(self.text).then_some(())
            }
        }
    }
}

/// Where a number's parts begin and end.
struct NumberToken {
    start: usize,
    whole: usize,
    point: usize,
    fraction_end: usize,
    end: usize,
}

impl NumberToken {
    /// Whether reading and writing it would give the same text.
    fn is_canonical(&self, text: &str) -> bool {
        let bytes = text.as_bytes();
        let whole = &bytes[self.whole..self.point];
        if self.point == self.end {
            // A whole number: up to 18 digits fit. `-0` is read as a double.
            return whole.len() <= 18 && !(self.start < self.whole && whole == b"0");
        }
        let is_plain = self.fraction_end == self.end && self.point < self.fraction_end;
        if is_plain {
            let fraction = &bytes[self.point + 1..self.fraction_end];
            let zeros = fraction.iter().take_while(|byte| **byte == b'0').count();
            let ends_well = fraction.last() != Some(&b'0') || fraction == b"0";
            // Fewer digits than a double distinguishes are its shortest form, and not so small that it has an exponent.
            if ends_well && whole.len() + fraction.len() <= EXACT_DIGITS && (zeros < 4 || whole != b"0") {
                return true;
            }
        }
        let token = &text[self.start..self.end];
        token
            .parse::<f64>()
            .is_ok_and(|number| number.is_finite() && zmij::Buffer::new().format_finite(number) == token)
    }
}

fn decimal(digits: &[u8]) -> i64 {
    digits.iter().fold(0, |value, byte| value * 10 + i64::from(byte - b'0'))
}

/// Days from 1970-01-01 in the Gregorian calendar.
fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let month = usize::try_from(month - 1).ok()?;
    if !(1..=*lengths.get(month)?).contains(&day) {
        return None;
    }
    // Leap days of the years before this one.
    let leap_days = |year: i64| year / 4 - year / 100 + year / 400;
    let days_before = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969);
    Some(days_before + lengths[..month].iter().sum::<i64>() + day - 1)
}

/// How many bytes come before the closing quotation mark. `None` where a backslash or a control character comes first.
fn plain_text(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zero_bytes = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut at = 0;
    // Eight at a time: the lowest marked byte is exact, and the lowest is what is asked for.
    while let Some(chunk) = bytes[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let ends = zero_bytes(word ^ (ONES * u64::from(b'"')))
            | zero_bytes(word ^ (ONES * u64::from(b'\\')))
            | (word.wrapping_sub(ONES * 0x20) & !word & HIGHS);
        if ends != 0 {
            at += ends.trailing_zeros() as usize / 8;
            return (bytes[at] == b'"').then_some(at);
        }
        at += 8;
    }
    let end = bytes[at..].iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
    (bytes[at + end] == b'"').then_some(at + end)
}

#[cfg(test)]
mod tests {
    use domain::PredictionRecord;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{landing::prediction, samples};

    fn model() -> ModelName {
        "pickup-eta".parse().unwrap()
    }

    fn fast(line: &[u8]) -> Option<PredictionRecord> {
        let mut rows = PredictionRows::default();
        let before = rows.clone();
        if rows.push_line(&model(), line) {
            return Some(rows.to_records().unwrap().remove(0));
        }
        assert_eq!(rows, before);
        assert!(rows.texts.is_empty() && rows.candidates.is_empty() && rows.features.is_empty());
        None
    }

    /// What the general reader makes of a line, by way of rows.
    fn general(line: &[u8]) -> Option<String> {
        let mut rows = PredictionRows::default();
        rows.push(&prediction(&model(), line).ok()?).ok()?;
        Some(digest(&rows.to_records().unwrap()[0]))
    }

    /// Tells -0.0 from 0.0.
    fn digest(record: &PredictionRecord) -> String {
        serde_json::to_string(record).unwrap()
    }

    #[test]
    fn what_the_proxy_writes_is_read_at_once() {
        let mut record = samples::prediction(7);
        record.inputs = json!({"a": 1, "b": -12.5, "c": "東京 7", "d": true, "e": null, "f": 0.0001, "g": 1e-7, "h": 0.30000000000000004,
            "i": 1.0, "j": 123456789012345678u64, "k": -0.0, "l": 1e300, "m": "", "n": 0})
        .as_object()
        .unwrap()
        .clone();
        record.unit_id = Some("rider é".parse().unwrap());
        let line = serde_json::to_vec(&record).unwrap();
        assert_eq!(digest(&fast(&line).unwrap()), digest(&record));
        assert_eq!(fast(&[&line[..], b"\r"].concat()), Some(record));
    }

    #[test]
    fn other_forms_and_bad_lines_are_left_to_the_general_reader() {
        let line = serde_json::to_string(&samples::prediction(1)).unwrap();
        assert!(fast(line.as_bytes()).is_some());
        for (from, to) in [
            ("300.0", "+300.0"),
            ("300.0", "0300.0"),
            ("300.0", "300."),
            ("300.0", ".5"),
            ("300.0", "1.e5"),
            ("300.0", "1e"),
            ("300.0", "1e999"),
            ("300.0", "inf"),
            ("300.0", "NaN"),
            ("300.0", "-"),
            ("35.6", "35.60"),
            ("35.6", "3.56e1"),
            ("35.6", "-0"),
            ("35.6", "00.5"),
            ("35.6", "[1]"),
            ("\"lat\":35.6,\"vip\":true", "\"vip\":true,\"lat\":35.6"),
            ("\"lat\":35.6,\"vip\":true", "\"lat\":35.6,\"lat\":35.6"),
            ("\"endpoint\":\"e\"", "\"endpoint\":\"\\u0065\""),
            ("\"endpoint\":\"e\"", "\"endpoint\": \"e\""),
            ("\"endpoint\":\"e\"", "\"endpoint\":\"e\u{1}\""),
            ("2026-01-31T12", "2026-02-30T12"),
            ("2026-01-31T12", "2226-01-31T12"),
            ("2026-01-31T12", "2026-01-31T24"),
            ("car-0", ""),
            ("}}", "}} "),
        ] {
            let other = line.replacen(from, to, 1);
            assert!(other != line && fast(other.as_bytes()).is_none(), "{to}");
        }
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for text in ["1970-01-01", "1972-02-29", "1999-12-31", "2000-02-29", "2024-03-01", "2100-03-01", "2199-12-31"] {
            let date: jiff::civil::Date = text.parse().unwrap();
            let midnight: jiff::Timestamp = format!("{text}T00:00:00Z").parse().unwrap();
            let expected = midnight.as_second() / 86_400;
            let found = days_since_1970(date.year().into(), date.month().into(), date.day().into());
            assert_eq!(found, Some(expected), "{text}");
        }
        assert_eq!(days_since_1970(2023, 2, 29), None);
        assert_eq!(days_since_1970(2023, 13, 1), None);
        assert_eq!(days_since_1970(2023, 0, 1), None);
    }

    /// A record's line with a piece of it exchanged for something that JSON or its readers trip over.
    fn line() -> impl Strategy<Value = Vec<u8>> {
        let token = prop::sample::select(vec![
            "0",
            "-0",
            "-0.0",
            "1.0",
            "1.50",
            "1e5",
            "1E5",
            "0.1",
            "00",
            "1.",
            ".1",
            "12345678901234567890",
            "1e999",
            "null",
            "true",
            "\"\"",
            "\"a\"",
            "\\",
            "\"",
            "{",
            "}",
            ",",
            ":",
            " ",
            "\u{7f}",
            "\u{1}",
            "é",
            "[",
            "]",
            "2026-01-31T12:00:00Z",
            "Z",
            "9",
        ]);
        (samples::predictions(), any::<prop::sample::Index>(), 0usize..4, prop::option::of(token)).prop_filter_map(
            "a record",
            |(records, at, length, token)| {
                let mut line = serde_json::to_vec(records.first()?).unwrap();
                if let Some(token) = token {
                    let at = at.index(line.len());
                    let end = (at + length).min(line.len());
                    line.splice(at..end, token.bytes());
                }
                Some(line)
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_both_read_they_read_alike(line in line()) {
            if let Some(record) = fast(&line) {
                prop_assert_eq!(Some(digest(&record)), general(&line));
            }
        }

        #[test]
        fn numbers_are_canonical_just_where_they_are_written_so(
            text in prop_oneof![
                any::<f64>().prop_map(|number| number.to_string()),
                any::<f64>().prop_map(|number| serde_json::to_string(&number).unwrap()),
                any::<i64>().prop_map(|number| number.to_string()),
                "-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,17})?([eE][+-]?[0-9]{1,3})?",
                "-?0\\.0{0,7}[0-9]{1,9}",
            ],
        ) {
            let bytes = [text.as_bytes(), b","].concat();
            let with_end = format!("{text},");
            let token = Line { text: &with_end, bytes: &bytes, at: 0 }.number_token();
            let is_canonical = token.is_some_and(|token| token.end == text.len() && token.is_canonical(&text));
            let again = serde_json::from_str::<serde_json::Value>(&text).ok().map(|value| value.to_string());
            // Long whole numbers are left to the general reader.
            prop_assert!(is_canonical == (again.as_deref() == Some(&*text)) || (!is_canonical && !text.contains('.')), "{}", text);
        }

        #[test]
        fn a_plain_text_ends_at_its_quotation_mark(bytes in prop::collection::vec(any::<u8>(), 0..40), end in any::<bool>()) {
            let bytes = if end { [&bytes[..], b"\""].concat() } else { bytes };
            let first = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            prop_assert_eq!(plain_text(&bytes), first.filter(|&at| bytes[at] == b'"'));
        }
    }
}
