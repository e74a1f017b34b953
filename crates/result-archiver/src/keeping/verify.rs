use std::collections::{BTreeMap, BTreeSet};

use archive::Record;
use cloud::object_store::{GetObject, ListObjects};
use domain::{
    Hour, InferenceRecord, OutcomeEvent, PredictionId, PredictionRecord, ShadowRecord,
    lake::{self, LANDING, Partition, QUARANTINE, QUARANTINED_OBJECTS, SEGMENTS, Table},
};
use serde::{Deserialize, Serialize};

use super::{for_table, hour_files};
use crate::ArchiverError;

/// What the proxy says that it answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expected {
    /// Answered requests by hour of event time.
    pub by_hour: BTreeMap<Hour, u64>,
    /// Ids of answered requests.
    pub ids: BTreeSet<PredictionId>,
}

impl Expected {
    /// Reads JSON lines: those of the proxy's log that name a `prediction_id`, and `{"hour": "2026-01-31T09", "count": 7}`.
    /// Other lines are passed over; `None` where no line tells anything.
    pub fn from_json_lines(text: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Line {
            prediction_id: Option<PredictionId>,
            hour: Option<Hour>,
            count: Option<u64>,
        }
        let mut expected = Self::default();
        for line in text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok()) {
            expected.ids.extend(line.prediction_id);
            if let (Some(hour), Some(count)) = (line.hour, line.count) {
                *expected.by_hour.entry(hour).or_default() += count;
            }
        }
        (expected != Self::default()).then_some(expected)
    }
}

/// One hour of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HourReport {
    /// The table.
    pub table: String,
    /// The hour.
    pub hour: Hour,
    /// Records in the hour file.
    pub archived: u64,
    /// Records that only segments hold: compaction will take them.
    pub in_segments: u64,
    /// Records that only landing objects hold: the archiver will take them.
    pub in_landing: u64,
    /// Quarantined lines of landing objects of this hour.
    pub quarantined: u64,
    /// Landing objects whose records are archived already: a repeated delivery deletes them.
    pub landed_again: u64,
    /// Predictions that the events are of, and that are not there (yet): outcomes only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without_prediction: Option<u64>,
    /// Answered requests, where they were told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
    /// Answered requests without a record in archive, segments, landing or quarantine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<u64>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// The object or id.
    pub key: String,
    /// A stable reason code: one of a file that cannot be read, `duplicate_id`, `unsorted`, `wrong_hour`, `foreign_key`,
    /// `missing_record`, `missing_records`.
    pub reason: String,
    /// What is wrong.
    pub detail: String,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct VerifyReport {
    /// All hours of all tables.
    pub hours: Vec<HourReport>,
    /// What is wrong. Empty: nothing is lost, nothing twice.
    pub troubles: Vec<Trouble>,
    /// Hours that begin later than now.
    pub hours_ahead: u64,
}

#[derive(Default)]
struct Hours {
    archived: BTreeMap<Partition, BTreeSet<String>>,
    segments: BTreeMap<Partition, BTreeSet<String>>,
    landing: BTreeMap<Partition, BTreeSet<String>>,
    quarantined: BTreeMap<Partition, u64>,
    troubles: Vec<Trouble>,
}

/// Reads every hour file and segment, and holds their ids against each other, against the landing area and against what
/// the proxy says that it answered. `now` tells which hours lie ahead.
///
/// # Errors
/// The store does not answer. What is wrong with the archive itself is in the report.
pub async fn verify<S>(store: &S, expected: &Expected, now: Hour) -> Result<VerifyReport, ArchiverError>
where
    S: GetObject + ListObjects + ?Sized,
{
    let mut hours = Hours::default();
    // In the direction in which records move, so that one that moves meanwhile is seen at least once.
    for object in store.list_objects(LANDING).await? {
        hours.landed(&object.key);
    }
    for segment in store.list_objects(SEGMENTS).await? {
        match lake::segment_partition(&segment.key) {
            Ok(partition) => {
                let found = for_table!(&partition.table, ids, store, &segment.key, &partition, false)?;
                let found = hours_of(found, &mut hours.troubles);
                hours.segments.entry(partition).or_default().extend(found);
            }
            Err(error) => hours.troubles.push(Trouble::new(&segment.key, "foreign_key", error)),
        }
    }
    for (partition, object) in hour_files(store).await? {
        let found = for_table!(&partition.table, ids, store, &object.key, &partition, true)?;
        let found = hours_of(found, &mut hours.troubles);
        hours.archived.insert(partition, found);
    }
    for object in store.list_objects(QUARANTINE).await? {
        if !object.key.starts_with(QUARANTINED_OBJECTS) {
            hours.in_quarantine(&object.key);
        }
    }
    Ok(hours.report(expected, now))
}

fn hours_of((ids, troubles): (BTreeSet<String>, Vec<Trouble>), all: &mut Vec<Trouble>) -> BTreeSet<String> {
    all.extend(troubles);
    ids
}

/// The ids of a file, and what is wrong with it.
async fn ids<R: Record, S: GetObject + ?Sized>(
    store: &S,
    key: &str,
    partition: &Partition,
    ordered: bool,
) -> Result<(BTreeSet<String>, Vec<Trouble>), ArchiverError> {
    let (mut ids, mut troubles) = (BTreeSet::new(), Vec::new());
    let Some(object) = store.get_object(key, None).await?.found() else { return Ok((ids, troubles)) };
    let mut last: Option<R::Key> = None;
    let stream = match R::stream(object.bytes) {
        Ok(stream) => stream,
        Err(error) => return Ok((ids, vec![Trouble::new(key, error.reason(), error)])),
    };
    for record in stream {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                troubles.push(Trouble::new(key, error.reason(), error));
                break;
            }
        };
        let this = record.key();
        if record.hour() != partition.hour {
            troubles.push(Trouble::new(key, "wrong_hour", format!("{} is of hour {}", record.id(), record.hour())));
        }
        match &last {
            Some(last) if *last == this => {
                troubles.push(Trouble::new(key, "duplicate_id", format!("{} is there twice", record.id())));
            }
            Some(last) if ordered && *last > this => {
                troubles.push(Trouble::new(key, "unsorted", format!("{} comes after a later one", record.id())));
            }
            _ => {}
        }
        ids.insert(record.id());
        last = Some(this);
    }
    Ok((ids, troubles))
}

impl Hours {
    fn landed(&mut self, key: &str) {
        let Ok(table) = lake::landing_table(key) else { return };
        // Files that were dropped by hand tell no id; the archiver will read them.
        let Some(id) = lake::landing_prediction_id(key) else { return };
        let ids = self.landing.entry(Partition { table, hour: id.hour() }).or_default();
        ids.insert(id.to_string());
    }

    fn in_quarantine(&mut self, key: &str) {
        let Some(landing_key) = lake::landing_key_of_quarantined_line(key) else { return };
        let Ok(table) = lake::landing_table(landing_key) else { return };
        let Some(hour) = lake::hour_in_path(landing_key) else { return };
        *self.quarantined.entry(Partition { table, hour }).or_default() += 1;
    }

    fn report(mut self, expected: &Expected, now: Hour) -> VerifyReport {
        let none = BTreeSet::new();
        let predictions: BTreeSet<&String> = [&self.archived, &self.segments, &self.landing]
            .into_iter()
            .flatten()
            .filter(|(partition, _)| matches!(partition.table, Table::Predictions(_)))
            .flat_map(|(_, ids)| ids)
            .collect();
        for id in &expected.ids {
            if !predictions.contains(&id.to_string()) {
                let detail = "it was answered, and no record of it is in archive, segments or landing";
                self.troubles.push(Trouble::new(&id.to_string(), "missing_record", detail));
            }
        }
        let partitions: BTreeSet<&Partition> = self
            .archived
            .keys()
            .chain(self.segments.keys())
            .chain(self.landing.keys())
            .chain(self.quarantined.keys())
            .collect();
        let mut hours = Vec::new();
        // Callers' counts know hours, not models.
        let mut found: BTreeMap<Hour, u64> = expected.by_hour.keys().map(|hour| (*hour, 0)).collect();
        for partition in partitions {
            let of = |all: &'_ BTreeMap<Partition, BTreeSet<String>>| all.get(partition).cloned().unwrap_or_default();
            let (archived, segments, landing) = (of(&self.archived), of(&self.segments), of(&self.landing));
            let in_segments = segments.difference(&archived).count() as u64;
            let waiting = landing.iter().filter(|id| !archived.contains(*id) && !segments.contains(*id)).count() as u64;
            let quarantined = self.quarantined.get(partition).copied().unwrap_or_default();
            let is_outcomes = partition.table == Table::Outcomes;
            let without =
                || archived.union(&segments).chain(&none).filter(|id| !predictions.contains(id)).count() as u64;
            if let (Table::Predictions(_), Some(found)) = (&partition.table, found.get_mut(&partition.hour)) {
                *found += archived.len() as u64 + in_segments + waiting + quarantined;
            }
            hours.push(HourReport {
                table: partition.table.to_string(),
                hour: partition.hour,
                archived: archived.len() as u64,
                in_segments,
                in_landing: waiting,
                quarantined,
                landed_again: landing.len() as u64 - waiting,
                without_prediction: is_outcomes.then(without),
                expected: None,
                missing: None,
            });
        }
        let hours_ahead = hours.iter().filter(|report| report.hour > now).count() as u64;
        for (hour, found) in found {
            let expected = expected.by_hour.get(&hour).copied().unwrap_or_default();
            let missing = expected.saturating_sub(found);
            if missing > 0 {
                let detail = format!("{expected} requests were answered, {found} records are there");
                self.troubles.push(Trouble::new(&hour.to_string(), "missing_records", detail));
            }
            let of_hour = |report: &&mut HourReport| report.hour == hour && report.table.starts_with("predictions/");
            if let Some(report) = hours.iter_mut().find(of_hour) {
                (report.expected, report.missing) = (Some(expected), Some(missing));
            }
        }
        VerifyReport { hours, troubles: self.troubles, hours_ahead }
    }
}

impl Trouble {
    fn new(key: &str, reason: &str, detail: impl std::fmt::Display) -> Self {
        Self { key: key.to_owned(), reason: reason.to_owned(), detail: detail.to_string() }
    }
}
