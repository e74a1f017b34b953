//! What is to be archived: made from a seed alone, so that a history with faults and one without have the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

use domain::{Hour, MetricValue, ModelName, OutcomeEvent, PredictionId, PredictionRecord, lake};
use flate2::{Compression, write::GzEncoder};
use jiff::{SignedDuration, Timestamp};
use rand::{Rng, RngCore};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::Error;

/// Ten minutes before an hour ends, so that histories lie on both sides of it.
const BEGIN_S: i64 = 1_772_361_000;
const MINUTE_MS: i64 = 60_000;

/// An object that is put into the landing area, and when, in virtual milliseconds.
#[derive(Debug, Clone)]
pub(crate) struct Landing {
    pub(crate) at_ms: i64,
    pub(crate) key: String,
    pub(crate) bytes: Vec<u8>,
    /// The caller brought the id: the object is put only where there is none.
    pub(crate) if_absent: bool,
    /// The same request, sent again once this one is durable: it was answered anew, and later.
    pub(crate) sent_again: Option<Vec<u8>>,
}

/// A request to the outcome intake.
#[derive(Debug, Clone)]
pub(crate) struct Outcomes {
    pub(crate) at_ms: i64,
    pub(crate) events: Vec<OutcomeEvent>,
}

#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) model: ModelName,
    pub(crate) landings: Vec<Landing>,
    pub(crate) outcomes: Vec<Outcomes>,
    /// When the last of it happens.
    pub(crate) ends_ms: i64,
    /// Prediction ids that must stand in the archive, once each.
    pub(crate) predictions: BTreeSet<PredictionId>,
    /// Digests of the events that must.
    pub(crate) events: BTreeSet<String>,
    /// Landing objects that stay, since a part of them cannot be read.
    pub(crate) kept: usize,
    /// Lines that must be in quarantine.
    pub(crate) quarantined: usize,
    /// Records whose clock was wrong.
    pub(crate) skewed: u64,
}

/// The moment of a virtual time.
pub(crate) fn moment(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(BEGIN_S * 1000 + ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The hours that a workload's ids lie in.
pub(crate) fn hours() -> [Hour; 2] {
    let first = Hour::of(moment(0));
    [first, first.plus(1)]
}

fn later(moment: Timestamp, ms: i64) -> Timestamp {
    moment.checked_add(SignedDuration::from_millis(ms)).unwrap_or(moment)
}

impl Workload {
    /// `small`: few objects, for sweeps over all of a history's await points.
    pub(crate) fn new(mut random: ChaCha8Rng, small: bool) -> Result<Self, Error> {
        let mut work = Self {
            model: "pickup-eta".parse().map_err(|_| Error::new("the model's name"))?,
            landings: Vec::new(),
            outcomes: Vec::new(),
            ends_ms: 0,
            predictions: BTreeSet::new(),
            events: BTreeSet::new(),
            kept: 0,
            quarantined: 0,
            skewed: 0,
        };
        let count = if small { 3 } else { random.random_range(2..=7) };
        let mut records = Vec::new();
        for number in 0..count {
            let record = work.record(&mut random, number)?;
            work.land(&mut random, &record)?;
            records.push(record);
        }
        if !small && random.random_bool(0.4) {
            work.file_of_predictions(&mut random, &records)?;
        }
        if !small && random.random_bool(0.25) {
            work.damaged_file(&mut random, &records)?;
        }
        work.report(&mut random, &records, small)?;
        let times = work.landings.iter().map(|landing| landing.at_ms).chain(work.outcomes.iter().map(|o| o.at_ms));
        work.ends_ms = times.max().unwrap_or_default();
        Ok(work)
    }

    fn record(&mut self, random: &mut ChaCha8Rng, number: i64) -> Result<PredictionRecord, Error> {
        let asked_ms = random.random_range(0..20 * MINUTE_MS);
        // The function's clock need not be the caller's.
        let skew_ms = if random.random_bool(0.3) { random.random_range(-10 * MINUTE_MS..10 * MINUTE_MS) } else { 0 };
        self.skewed += u64::from(skew_ms != 0);
        let mut bits = [0; 10];
        random.fill_bytes(&mut bits);
        let id = PredictionId::new(moment(asked_ms), bits);
        self.predictions.insert(id);
        let candidates: Vec<_> = (0..random.random_range(1..=2))
            .map(|car| {
                json!({"candidate_id": format!("car-{car}"), "inputs": {"car_lat": 35.6}, "features": [f64::from(car), null],
                    "prediction": 300.0 + number as f64, "fallback": 280.0})
            })
            .collect();
        let record = json!({
            "prediction_id": id, "model": self.model, "release_id": "0123456789abcdef".repeat(4), "spec_hash": "spec",
            "requested_at": moment(asked_ms), "answered_at": later(moment(asked_ms), skew_ms + 5),
            "assignment": {"arm": if random.random_bool(0.5) { "a" } else { "b" }, "probability": 0.5},
            "tier": "endpoint", "endpoint": "endpoint", "variant": "variant", "model_version": "1",
            "inputs": {"rider_lat": 35.5}, "candidates": candidates,
            "timings": {"transform_us": 20, "endpoint_us": 3000, "total_us": 4000},
        });
        serde_json::from_value(record).map_err(|error| Error::new(format!("the record: {error}")))
    }

    fn land(&mut self, random: &mut ChaCha8Rng, record: &PredictionRecord) -> Result<(), Error> {
        let answered_anew = PredictionRecord {
            answered_at: later(record.answered_at, 30_000),
            model_version: "2".to_owned(),
            ..record.clone()
        };
        let if_absent = random.random_bool(0.5);
        self.landings.push(Landing {
            at_ms: record.requested_at.as_millisecond() - BEGIN_S * 1000,
            key: lake::landing_prediction(&self.model, record.prediction_id),
            bytes: line(record)?,
            if_absent,
            sent_again: if if_absent && random.random_bool(0.3) { Some(line(&answered_anew)?) } else { None },
        });
        Ok(())
    }

    /// A file of many lines, dropped by hand: a record of its own, a record that landed already, another answer of one,
    /// and a line that is none.
    fn file_of_predictions(&mut self, random: &mut ChaCha8Rng, records: &[PredictionRecord]) -> Result<(), Error> {
        let own = self.record(random, 9)?;
        let again = &records[random.random_range(0..records.len())];
        let mut earlier = records[0].clone();
        earlier.answered_at = later(earlier.answered_at, -60_000);
        "c".clone_into(&mut earlier.assignment.arm);
        let mut bytes = Vec::new();
        for record in [&own, again, &earlier, &own] {
            bytes.extend(line(record)?);
        }
        bytes.extend(b"{\"prediction_id\": \"nobody\"}\n");
        self.quarantined += 1;
        let key = format!("landing/predictions/{}/by hand/a+b é.jsonl", self.model);
        self.by_hand(random, key, bytes);
        Ok(())
    }

    /// A compressed file whose end is missing: what can be read is archived, the object stays.
    fn damaged_file(&mut self, random: &mut ChaCha8Rng, records: &[PredictionRecord]) -> Result<(), Error> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
        let whole = encoder.write_all(&line(&records[0])?).and_then(|()| encoder.finish());
        let mut bytes = whole.map_err(|error| Error::new(error.to_string()))?;
        bytes.truncate(bytes.len() - 6);
        self.kept += 1;
        self.quarantined += 1;
        self.by_hand(random, format!("landing/predictions/{}/damaged.jsonl.gz", self.model), bytes);
        Ok(())
    }

    fn by_hand(&mut self, random: &mut ChaCha8Rng, key: String, bytes: Vec<u8>) {
        let at_ms = random.random_range(0..30 * MINUTE_MS);
        self.landings.push(Landing { at_ms, key, bytes, if_absent: false, sent_again: None });
    }

    /// Outcomes: on time and late, in parts, corrected, cancelled, and one of a prediction that nobody knows.
    fn report(&mut self, random: &mut ChaCha8Rng, records: &[PredictionRecord], small: bool) -> Result<(), Error> {
        let mut events = Vec::new();
        for record in records {
            let asked = record.requested_at;
            let arrived = later(asked, random.random_range(2..9) * MINUTE_MS);
            let base = OutcomeEvent {
                prediction_id: record.prediction_id,
                candidate_id: Some(record.candidates[0].candidate_id.clone()),
                observed_at: arrived,
                dispatched_at: None,
                arrived_at: Some(arrived),
                cancelled_at: None,
                metrics: BTreeMap::new(),
            };
            match random.random_range(0..10) {
                0 => {}
                1 => events.push(OutcomeEvent {
                    candidate_id: None,
                    arrived_at: None,
                    cancelled_at: Some(arrived),
                    ..base
                }),
                2..=4 => {
                    let corrected = Some(later(arrived, -MINUTE_MS));
                    // The correction may be sent before what it corrects.
                    events.push(OutcomeEvent {
                        observed_at: later(arrived, MINUTE_MS),
                        arrived_at: corrected,
                        metrics: BTreeMap::from([("rated".to_owned(), MetricValue::Binary(true))]),
                        ..base.clone()
                    });
                    events.push(base);
                }
                _ => events.push(base),
            }
        }
        if !small && random.random_bool(0.2) {
            let mut bits = [0; 10];
            random.fill_bytes(&mut bits);
            let unknown = PredictionId::new(moment(1), bits);
            events.push(OutcomeEvent {
                prediction_id: unknown,
                candidate_id: None,
                observed_at: moment(MINUTE_MS),
                dispatched_at: None,
                arrived_at: None,
                cancelled_at: Some(moment(MINUTE_MS)),
                metrics: BTreeMap::new(),
            });
        }
        self.events = events.iter().map(OutcomeEvent::digest).collect();
        if !small && events.len() > 1 && random.random_bool(0.2) {
            let event = &events[0];
            let bytes = serde_json::to_vec(event).map_err(|error| Error::new(error.to_string()))?;
            self.by_hand(random, "landing/outcomes/by hand/1.jsonl".to_owned(), bytes);
        }
        while !events.is_empty() {
            let taken = random.random_range(1..=3usize.min(events.len()));
            let rest = events.split_off(taken);
            // Some come while the predictions do, some long after.
            let at_ms = random.random_range(0..if small { 20 } else { 90 } * MINUTE_MS);
            self.outcomes.push(Outcomes { at_ms, events });
            events = rest;
        }
        Ok(())
    }
}

fn line(record: &PredictionRecord) -> Result<Vec<u8>, Error> {
    let mut line = serde_json::to_vec(record).map_err(|error| Error::new(error.to_string()))?;
    line.push(b'\n');
    Ok(line)
}
