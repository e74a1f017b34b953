//! Landed objects: JSON lines, plain, gzip or zstd, each line judged by itself.

use std::io::{BufRead, BufReader, Read};

use domain::{
    InferenceRecord, ModelName, OutcomeEvent, PredictionRecord, ShadowRecord, is_archivable, lake::LandingSource,
    truncate_to_micros,
};
use flate2::bufread::MultiGzDecoder;
use serde::de::DeserializeOwned;

use crate::{
    BadLine, PredictionRows, Rejection, outcomes,
    sagemaker::{self, Place},
    shadows,
};

/// How much of one object is taken into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// The most bytes that an object may have once decompressed, whatever it has compressed.
    pub max_decompressed_bytes: u64,
    /// The most bad lines that are kept one by one. Good lines are taken on, however many bad ones there are.
    pub max_bad_lines: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { max_decompressed_bytes: 512 * 1024 * 1024, max_bad_lines: 1000 }
    }
}

/// The good lines of a landed object.
#[derive(Debug, Clone, PartialEq)]
pub enum Rows {
    /// Of `landing/predictions/<model>/`.
    Predictions(Box<PredictionRows>),
    /// Of `landing/shadows/<model>/`.
    Shadows(Vec<ShadowRecord>),
    /// Of `landing/outcomes/` and `landing/ground-truth/`.
    Outcomes(Vec<OutcomeEvent>),
    /// Of the files that SageMaker writes.
    Inferences(Vec<InferenceRecord>),
}

impl Rows {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Predictions(records) => records.len(),
            Self::Shadows(records) => records.len(),
            Self::Outcomes(events) => events.len(),
            Self::Inferences(records) => records.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A landed object, decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Landed {
    /// The good lines, in order.
    pub rows: Rows,
    /// The bad ones, in order.
    pub bad: Vec<BadLine>,
    /// Whether every line is in `rows` or `bad`. Where not (damaged compression, an object over the limit, too many bad
    /// lines), the last of `bad` says why and from where on, and the object itself must be kept.
    pub complete: bool,
    /// How many bytes were read, decompressed: what the object costs in memory.
    pub bytes_read: u64,
}

/// Reads the lines of a landed object. Never fails as a whole: what cannot be read is in `bad`.
///
/// Reason codes of bad lines: `invalid_utf8`, `invalid_json`, `missing_field`, `unknown_field`, `duplicate_field`,
/// `invalid_value`, `invalid_time`, `model_mismatch`, `no_candidates`, `not_finite`, `inputs_too_large`, `invalid_outcome`;
/// of SageMaker's files also `invalid_payload`, `payload_too_large`, `no_inference_id`, `invalid_inference`,
/// `invalid_prediction_id`; and of an object that is not `complete`: `corrupt_compression`, `too_large`,
/// `too_many_bad_lines`.
pub fn decode_source(source: &LandingSource, bytes: &[u8], limits: DecodeLimits) -> Landed {
    match source {
        LandingSource::Predictions(model) => {
            let mut rows = PredictionRows::default();
            // The form that the proxy writes, or else any form, and the reason of a bad line.
            let decode = |line: &[u8]| {
                if rows.push_line(model, line) { Ok(()) } else { rows.push(&prediction(model, line)?) }
            };
            let Lines { bad, complete, bytes_read, .. } = lines(bytes, limits, decode);
            Landed { rows: Rows::Predictions(Box::new(rows)), bad, complete, bytes_read }
        }
        LandingSource::Shadows(model) => landed(lines(bytes, limits, |line| shadow(model, line)), Rows::Shadows),
        LandingSource::Outcomes => landed(lines(bytes, limits, outcome), Rows::Outcomes),
        LandingSource::GroundTruth { collected } => {
            landed(lines(bytes, limits, |line| sagemaker::ground_truth(*collected, line)), Rows::Outcomes)
        }
        LandingSource::Inferences { model, source, endpoint, variant } => {
            let place = Place { model, source: *source, endpoint: endpoint.as_deref(), variant: variant.as_deref() };
            landed(lines(bytes, limits, |line| sagemaker::inference(&place, line)), Rows::Inferences)
        }
    }
}

fn landed<R>(lines: Lines<R>, rows: impl Fn(Vec<R>) -> Rows) -> Landed {
    let Lines { good, bad, complete, bytes_read } = lines;
    Landed { rows: rows(good), bad, complete, bytes_read }
}

/// A record's line in any form.
pub(crate) fn prediction(model: &ModelName, line: &[u8]) -> Result<PredictionRecord, Rejection> {
    let mut record: PredictionRecord = parse(line)?;
    check_model(&record.model, model)?;
    if !is_archivable(record.requested_at) || !is_archivable(record.answered_at) {
        return Err(Rejection::new("invalid_time", "requested_at and answered_at must lie in the years 1970 to 2199"));
    }
    record.requested_at = truncate_to_micros(record.requested_at);
    record.answered_at = truncate_to_micros(record.answered_at);
    Ok(record)
}

fn shadow(model: &ModelName, line: &[u8]) -> Result<ShadowRecord, Rejection> {
    let mut record: ShadowRecord = parse(line)?;
    check_model(&record.model, model)?;
    shadows::check(&record)?;
    if !is_archivable(record.answered_at) {
        return Err(Rejection::new("invalid_time", "answered_at must lie in the years 1970 to 2199"));
    }
    record.answered_at = truncate_to_micros(record.answered_at);
    Ok(record)
}

fn check_model(found: &ModelName, expected: &ModelName) -> Result<(), Rejection> {
    if found == expected {
        return Ok(());
    }
    let detail = format!("the record is of model `{found}`, the object's key of `{expected}`");
    Err(Rejection::new("model_mismatch", detail))
}

fn outcome(line: &[u8]) -> Result<OutcomeEvent, Rejection> {
    let event: OutcomeEvent = parse(line)?;
    event.validate().map_err(|error| Rejection::new(error.reason(), error.to_string()))?;
    Ok(outcomes::to_micros(event))
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, Rejection> {
    let mut unknown: Option<String> = None;
    let value = deserialize(line, |path| {
        unknown.get_or_insert(path);
    })?;
    // A field that is not known would be lost for good once the landed object is gone.
    match unknown {
        None => Ok(value),
        Some(path) => Err(Rejection::new("unknown_field", format!("{path}: unknown field"))),
    }
}

/// A line in a form that others define, who add fields as they like.
pub(crate) fn parse_foreign<T: DeserializeOwned>(line: &[u8]) -> Result<T, Rejection> {
    deserialize(line, |_| {})
}

fn deserialize<T: DeserializeOwned>(line: &[u8], mut unknown: impl FnMut(String)) -> Result<T, Rejection> {
    let text = std::str::from_utf8(line).map_err(|error| {
        Rejection::new("invalid_utf8", format!("byte {} of the line is not UTF-8", error.valid_up_to()))
    })?;
    // Serde would take an array for an object whose fields come in their order.
    if text.trim_start().starts_with('[') {
        return Err(Rejection::new("invalid_value", "expected a JSON object, not an array"));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let value = serde_ignored::deserialize(tracked, |path| unknown(path.to_string()));
    let value: T = value.map_err(|error| Rejection::new(reason_of(&error), format!("{}: {error}", track.path())))?;
    json.end().map_err(|error| Rejection::new("invalid_json", error.to_string()))?;
    Ok(value)
}

fn reason_of(error: &serde_json::Error) -> &'static str {
    if !error.is_data() {
        return "invalid_json";
    }
    let text = error.to_string();
    let reasons = [
        ("missing field", "missing_field"),
        ("unknown field", "unknown_field"),
        ("duplicate field", "duplicate_field"),
    ];
    reasons.iter().find(|(prefix, _)| text.starts_with(prefix)).map_or("invalid_value", |(_, reason)| reason)
}

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// An object's lines, decompressed where its first bytes say so (all members or frames, one after the other).
enum LineReader<'a> {
    Plain(&'a [u8]),
    Packed { reader: std::io::Take<Box<dyn BufRead + 'a>>, line: Vec<u8> },
}

impl<'a> LineReader<'a> {
    /// Reads no more than `limit` bytes of what is compressed.
    fn new(bytes: &'a [u8], limit: u64) -> std::io::Result<Self> {
        let reader: Box<dyn BufRead + '_> = if bytes.starts_with(GZIP) {
            Box::new(BufReader::new(MultiGzDecoder::new(bytes)))
        } else if bytes.starts_with(ZSTD) {
            Box::new(BufReader::new(zstd::stream::read::Decoder::with_buffer(bytes)?))
        } else {
            return Ok(Self::Plain(bytes));
        };
        Ok(Self::Packed { reader: reader.take(limit), line: Vec::new() })
    }

    /// The next line with its line break, empty at the end.
    fn next(&mut self) -> std::io::Result<&[u8]> {
        match self {
            Self::Plain(rest) => {
                let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
                let (line, after) = rest.split_at(end);
                *rest = after;
                Ok(line)
            }
            Self::Packed { reader, line } => {
                line.clear();
                reader.read_until(b'\n', line)?;
                Ok(line)
            }
        }
    }
}

struct Lines<R> {
    good: Vec<R>,
    bad: Vec<BadLine>,
    complete: bool,
    bytes_read: u64,
}

fn lines<R>(bytes: &[u8], limits: DecodeLimits, mut decode: impl FnMut(&[u8]) -> Result<R, Rejection>) -> Lines<R> {
    let limit = limits.max_decompressed_bytes;
    let (mut good, mut bad, mut unlisted) = (Vec::new(), Vec::new(), 0u64);
    let mut offset = 0;
    let damage = |offset, reason, detail| BadLine { offset, reason, detail, original: Vec::new() };
    let corrupt = |offset, error: std::io::Error| damage(offset, "corrupt_compression", error.to_string());
    // One byte more than the limit tells an object that is too large from one that just fits.
    let mut reader = match LineReader::new(bytes, limit.saturating_add(1)) {
        Ok(reader) => reader,
        Err(error) => return Lines { good, bad: vec![corrupt(0, error)], complete: false, bytes_read: 0 },
    };
    let mut end = None;
    loop {
        let line = match reader.next() {
            Ok([]) => break,
            Ok(line) => line,
            Err(error) => {
                end = Some(corrupt(offset, error));
                break;
            }
        };
        let length = line.len() as u64;
        if offset + length > limit {
            let detail = format!("the object has over {limit} bytes once decompressed; split it and land the parts");
            end = Some(damage(offset, "too_large", detail));
            break;
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if !line.iter().all(u8::is_ascii_whitespace) {
            match decode(line) {
                Ok(record) => good.push(record),
                Err(_) if bad.len() >= limits.max_bad_lines => unlisted += 1,
                Err(Rejection { reason, detail }) => {
                    bad.push(BadLine { offset, reason, detail, original: line.to_vec() });
                }
            }
        }
        offset += length;
    }
    if unlisted > 0 {
        let detail = format!("{unlisted} more bad lines follow; the landed object is kept for them");
        // One past the last listed line's first byte: a place that no other quarantined line has.
        let after = bad.last().map_or(0, |line: &BadLine| line.offset + 1);
        bad.push(damage(after, "too_many_bad_lines", detail));
    }
    let complete = end.is_none() && unlisted == 0;
    bad.extend(end);
    Lines { good, bad, complete, bytes_read: offset }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::samples;

    fn predictions_source() -> LandingSource {
        LandingSource::Predictions("pickup-eta".parse().unwrap())
    }

    fn decode(bytes: &[u8]) -> Landed {
        decode_source(&predictions_source(), bytes, DecodeLimits::default())
    }

    fn records_of(landed: &Landed) -> Vec<PredictionRecord> {
        let Rows::Predictions(rows) = &landed.rows else { panic!() };
        rows.to_records().unwrap()
    }

    fn json(record: &PredictionRecord) -> String {
        serde_json::to_string(record).unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).unwrap()
    }

    #[test]
    fn each_bad_line_has_its_reason_and_the_rest_goes_on() {
        let good = samples::prediction(1);
        let line = json(&good);
        let bad: Vec<(&str, Vec<u8>)> = vec![
            ("invalid_utf8", b"{\"a\": \"\xff\"}".to_vec()),
            ("invalid_json", b"{".to_vec()),
            ("invalid_json", format!("{line} {line}").into()),
            ("invalid_json", line.replacen("300.0", "NaN", 1).into()),
            ("invalid_json", line.replacen("300.0", "1e999", 1).into()),
            ("missing_field", line.replacen("\"spec_hash\":\"s\",", "", 1).into()),
            ("unknown_field", line.replacen('{', "{\"surprise\":1,", 1).into()),
            ("unknown_field", line.replacen("\"tier\"", "\"tier_reasom\":\"x\",\"tier\"", 1).into()),
            ("duplicate_field", line.replacen('{', "{\"spec_hash\":\"s\",", 1).into()),
            ("invalid_value", line.replacen("300.0", "\"300\"", 1).into()),
            ("invalid_value", line.replacen("300.0", "null", 1).into()),
            ("model_mismatch", line.replacen("pickup-eta", "other", 1).into()),
            ("no_candidates", json(&PredictionRecord { candidates: Vec::new(), ..good.clone() }).into()),
            ("invalid_value", b"[]".to_vec()),
        ];
        let mut bytes = b"\n \r\n".to_vec();
        let mut offsets = Vec::new();
        for (_, text) in &bad {
            bytes.extend(line.bytes().chain(*b"\r\n"));
            offsets.push(bytes.len() as u64);
            bytes.extend(text.iter().chain(b"\n"));
        }
        bytes.extend(line.bytes()); // without a line break at the end
        let landed = decode(&bytes);
        assert_eq!(records_of(&landed), vec![good; bad.len() + 1]);
        assert!(landed.complete);
        let found: Vec<_> = landed.bad.iter().map(|line| (line.reason, line.original.clone())).collect();
        assert_eq!(found, bad);
        assert_eq!(landed.bad.iter().map(|line| line.offset).collect::<Vec<_>>(), offsets);
        assert!(landed.bad[9].detail.starts_with("candidates[0].fallback: invalid type"), "{:?}", landed.bad[9]);
    }

    #[test]
    fn outcomes_are_validated() {
        let event = samples::outcome(1);
        let line = serde_json::to_string(&event).unwrap();
        let silent =
            format!("{{\"prediction_id\":\"{}\",\"observed_at\":\"2026-01-31T12:00:00Z\"}}", event.prediction_id);
        let bytes = format!("{line}\n{silent}\n{}\n", line.replacen('{', "{\"x\":1,", 1));
        let landed = decode_source(&LandingSource::Outcomes, bytes.as_bytes(), DecodeLimits::default());
        assert_eq!(landed.rows, Rows::Outcomes(vec![event]));
        assert_eq!(landed.bad.iter().map(|line| line.reason).collect::<Vec<_>>(), ["invalid_outcome", "unknown_field"]);
    }

    /// A row that Parquet could hold but no reader would read back must not reach a file: it would cost its neighbours.
    #[test]
    fn times_that_no_file_can_hold_are_bad_lines() {
        let mut record = samples::prediction(1);
        let good = json(&record);
        record.answered_at = "9999-12-30T22:00:00.999Z".parse().unwrap();
        let landed = decode(format!("{good}\n{}\n", json(&record)).as_bytes());
        assert_eq!(landed.bad.iter().map(|line| line.reason).collect::<Vec<_>>(), ["invalid_time"]);
        assert_eq!(landed.bad[0].offset, good.len() as u64 + 1);
    }

    #[test]
    fn nanoseconds_are_dropped_at_the_edge() {
        let record = PredictionRecord {
            answered_at: "2026-01-31T12:00:00.123456789Z".parse().unwrap(),
            ..samples::prediction(1)
        };
        let records = records_of(&decode(json(&record).as_bytes()));
        assert_eq!(records[0].answered_at.to_string(), "2026-01-31T12:00:00.123456Z");
    }

    #[test]
    fn compression_makes_no_difference() {
        let lines = format!("{}\nx\n{}\n", json(&samples::prediction(1)), json(&samples::prediction(2)));
        let (first, rest) = lines.as_bytes().split_at(700);
        let plain = decode(lines.as_bytes());
        assert_eq!((plain.rows.len(), plain.bad.len()), (2, 1));
        assert_eq!(decode(&gzip(lines.as_bytes())), plain);
        assert_eq!(decode(&zstd(lines.as_bytes())), plain);
        assert_eq!(decode(&[gzip(first), gzip(rest)].concat()), plain, "two members");
        assert_eq!(decode(&[zstd(first), zstd(rest)].concat()), plain, "two frames");
    }

    #[test]
    fn damaged_compression_keeps_what_came_before_it() {
        let lines: String = (0..2000).map(|seed| json(&samples::prediction(seed)) + "\n").collect();
        for compressed in [gzip(lines.as_bytes()), zstd(lines.as_bytes())] {
            let landed = decode(&compressed[..compressed.len() - 10]);
            assert!(!landed.complete && landed.rows.len() > 100, "{}", landed.rows.len());
            let [damage] = landed.bad.as_slice() else { panic!("{:?}", landed.bad) };
            assert_eq!(damage.reason, "corrupt_compression");
            let before = &lines.as_bytes()[..damage.offset as usize];
            assert_eq!(before.split_inclusive(|&byte| byte == b'\n').count(), landed.rows.len());
        }
    }

    #[test]
    fn a_bomb_costs_no_more_than_the_limit() {
        let limits = DecodeLimits { max_decompressed_bytes: 100_000, max_bad_lines: 10 };
        let line = json(&samples::prediction(1)) + "\n";
        let mut text = line.clone().into_bytes();
        text.resize(50_000_000, b'\n');
        for bytes in [zstd(&text), gzip(&text), text] {
            let landed = decode_source(&predictions_source(), &bytes, limits);
            assert_eq!((landed.rows.len(), landed.complete, landed.bad[0].reason), (1, false, "too_large"));
            assert_eq!(landed.bad[0].offset, 100_000);
        }
        let fits = vec![b'\n'; 100_000];
        assert!(decode_source(&predictions_source(), &zstd(&fits), limits).complete);

        let garbage = "{}\n".repeat(20) + &line;
        let landed = decode_source(&predictions_source(), garbage.as_bytes(), limits);
        assert_eq!((landed.rows.len(), landed.bad.len(), landed.complete), (1, 11, false));
        assert_eq!((landed.bad[10].reason, landed.bad[10].offset), ("too_many_bad_lines", 28));
    }

    /// Good lines, damaged ones, blank ones and noise.
    fn line() -> impl Strategy<Value = Vec<u8>> {
        let good = json(&samples::prediction(4)).into_bytes();
        let damaged = (0..good.len(), any::<u8>()).prop_map({
            let good = good.clone();
            move |(at, byte)| {
                let mut line = good.clone();
                line[at] = if byte == b'\n' { b' ' } else { byte };
                line
            }
        });
        let noise = prop::collection::vec(any::<u8>().prop_filter("one line", |&byte| byte != b'\n'), 0..20);
        prop_oneof![Just(good), damaged, noise, "[ \t\r]{0,3}".prop_map(String::into_bytes)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn every_line_is_good_or_bad(lines in prop::collection::vec(line(), 0..12), compression in 0..3) {
            let text = lines.join(&b'\n');
            prop_assume!(!text.starts_with(GZIP) && !text.starts_with(ZSTD));
            let bytes = match compression { 0 => text.clone(), 1 => gzip(&text), _ => zstd(&text) };
            let landed = decode(&bytes);
            let expected = text.split(|&byte| byte == b'\n').filter(|line| !line.iter().all(u8::is_ascii_whitespace)).count();
            prop_assert!(landed.complete);
            prop_assert_eq!(landed.rows.len() + landed.bad.len(), expected);
            for bad in &landed.bad {
                let at = bad.offset as usize;
                prop_assert_eq!(&text[at..at + bad.original.len()], bad.original.as_slice());
                prop_assert!(at == 0 || text[at - 1] == b'\n');
            }
            let records = records_of(&landed);
            let Rows::Predictions(rows) = landed.rows else { panic!() };
            let file = crate::write_prediction_rows(&rows, &rows.sorted()).unwrap();
            prop_assert_eq!(file, crate::write_predictions(&crate::merge_predictions([records])).unwrap());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), magic in 0usize..3) {
            let magic: &[u8] = [GZIP, ZSTD, b""][magic];
            let bytes = [magic, bytes.as_slice()].concat();
            for source in [predictions_source(), LandingSource::Outcomes] {
                let landed = decode_source(&source, &bytes, DecodeLimits::default());
                prop_assert!(landed.complete || landed.bad.last().is_some_and(|line| line.original.is_empty()));
            }
        }
    }
}
