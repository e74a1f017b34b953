//! Archived requests that met their outcomes, with features rebuilt from their raw inputs.

use std::{collections::BTreeMap, sync::Arc};

use ::features::{FeatureTable, InputTable, Plan, Resources, Scratch, SegmentRow, Segments};
use archive::{read_outcomes, read_predictions};
use cloud::{
    object_store::{GetObject, ListObjects},
    s3::S3Bucket,
};
use domain::{
    EvaluationPlan, Hour, ModelName, PredictionRecord, Release,
    lake::{self, Partition, Table},
};
use evaluation::Truth;
use jiff::tz::TimeZone;
use releases::tables;
use serde::Serialize;

use crate::error::CliError;

/// Segments that every backtest tells apart, before the release's own.
const OWN_SEGMENTS: [&str; 3] = ["tier", "model_version", "hour_of_day"];

/// Rides that the model is not asked about, and what was noticed.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Left {
    /// Their car has not arrived, or nobody knows which it was.
    pub(super) without_arrival: u64,
    /// Their archived inputs are not what the model's spec takes, by reason: a field that is new, for one.
    pub(super) not_rebuilt: BTreeMap<String, u64>,
    /// Rows of the model's own spec whose features came out with other bits than those that were archived.
    pub(super) features_differ: u64,
}

/// What became of one ride.
pub(super) struct Ride {
    /// The answer of then.
    pub(super) then_s: f64,
    /// The truth.
    pub(super) actual_s: f64,
    /// Its value in each segment.
    pub(super) segments: Vec<Arc<str>>,
}

/// Rides of an hour, and the model's rows for them.
pub(super) struct Rides {
    rides: Vec<Ride>,
    features: FeatureTable,
}

impl Rides {
    pub(super) fn len(&self) -> usize {
        self.rides.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Ride> {
        self.rides.iter()
    }

    pub(super) fn features(&self) -> &FeatureTable {
        &self.features
    }
}

/// The archive of one model.
pub(super) struct ArchivedRides {
    model: ModelName,
    hours: Vec<Hour>,
    segments: Option<Segments>,
    names: Vec<String>,
    time_zone: TimeZone,
}

impl ArchivedRides {
    /// Lists the hours of the last `window` hours, and compiles the segments of the release in force.
    pub(super) async fn open(store: &S3Bucket, model: &ModelName, window: Option<i64>) -> Result<Self, CliError> {
        let listed = store.list_objects(&Table::Predictions(model.clone()).archive_prefix()).await?;
        let mut hours: Vec<Hour> = listed.iter().filter_map(|object| lake::hour_of_hour_file(&object.key)).collect();
        hours.sort_unstable();
        hours.dedup();
        let Some(last) = hours.last().copied() else {
            return Err(CliError::Unexpected(format!("the archive has no hour of `{model}`")));
        };
        if let Some(window) = window {
            hours.retain(|hour| *hour >= last.plus(1 - window));
        }
        let release = evaluator::release_in_force(store, model).await?;
        let plan = release.as_ref().and_then(|release| release.evaluation.clone()).unwrap_or_default();
        let segments = match &release {
            Some(release) => segments(store, release, &plan).await?,
            None => None,
        };
        let own = OWN_SEGMENTS.iter().map(|name| (*name).to_owned());
        let names = own.chain(segments.iter().flat_map(|segments| segments.names().to_vec())).collect();
        let time_zone = plan.zone_of_time().unwrap_or(TimeZone::UTC);
        Ok(Self { model: model.clone(), hours, segments, names, time_zone })
    }

    pub(super) fn hours(&self) -> &[Hour] {
        &self.hours
    }

    /// The segments' names, in the order of the rides' values.
    pub(super) fn segment_names(&self) -> &[String] {
        &self.names
    }

    /// An hour's rides, with features by `plan`.
    pub(super) async fn read(
        &mut self,
        store: &S3Bucket,
        hour: Hour,
        plan: &Plan,
        left: &mut Left,
    ) -> Result<Rides, CliError> {
        let key = |table| lake::hour_file(&Partition { table, hour });
        let object = async |key: String| -> Result<_, CliError> {
            Ok(store.get_object(&key, None).await?.found().map(|object| object.bytes))
        };
        let damaged =
            |error: archive::ArchiveError| CliError::Unexpected(format!("the archive's hour {hour}: {error}"));
        let predictions = object(key(Table::Predictions(self.model.clone()))).await?;
        let predictions = predictions.map_or(Ok(Vec::new()), read_predictions).map_err(damaged)?;
        let outcomes = object(key(Table::Outcomes)).await?;
        let outcomes = outcomes.map_or(Ok(Vec::new()), read_outcomes).map_err(damaged)?;
        let truths = Truth::from_events(&outcomes);
        let (mut inputs, mut features) = (InputTable::new(plan), FeatureTable::default());
        let (mut rides, mut archived, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for record in &predictions {
            let Some((candidate, actual_s)) = arrival(record, &truths) else {
                left.without_arrival += 1;
                continue;
            };
            let sent = &record.candidates[candidate];
            let asked = [domain::Candidate::new(sent.candidate_id.clone(), sent.inputs.clone())];
            if let Err(error) = plan.read_archived(record.requested_at, &record.inputs, &asked, &mut inputs) {
                *left.not_rebuilt.entry(error.reason().to_owned()).or_default() += 1;
                continue;
            }
            archived.push((record.spec_hash == plan.hash()).then_some(&sent.features));
            texts.push((record.requested_at, json(&record.inputs), json(&sent.inputs)));
            rides.push(Ride { then_s: sent.prediction, actual_s, segments: self.own_segments(record) });
        }
        plan.evaluate(&inputs, &mut Scratch::default(), &mut features);
        for (row, archived) in archived.iter().enumerate().filter_map(|(row, of)| Some((row, (*of)?))) {
            let bits = |value: Option<f64>| value.map(f64::to_bits);
            let same = features.row(row).map(bits).eq(archived.iter().copied().map(bits));
            left.features_differ += u64::from(!same);
        }
        if let Some(segments) = &mut self.segments {
            let mut values = Vec::new();
            let rows = texts.iter().map(|(requested_at, inputs, candidate_inputs)| SegmentRow {
                requested_at: *requested_at,
                inputs,
                candidate_inputs,
            });
            segments.evaluate(rows, &mut values);
            for (ride, values) in rides.iter_mut().zip(values.chunks(segments.names().len())) {
                ride.segments.extend_from_slice(values);
            }
        }
        Ok(Rides { rides, features })
    }

    fn own_segments(&self, record: &PredictionRecord) -> Vec<Arc<str>> {
        let hour = self.time_zone.to_datetime(record.requested_at).hour();
        [record.tier.as_str().to_owned(), record.model_version.clone(), format!("{hour:02}")].map(Arc::from).to_vec()
    }
}

/// The dispatched candidate's place, and the seconds that it took.
fn arrival(record: &PredictionRecord, truths: &[Truth<'_>]) -> Option<(usize, f64)> {
    let id = *record.prediction_id.as_bytes();
    let truth = &truths[truths.binary_search_by_key(&id, |truth| truth.prediction_id).ok()?];
    let candidate_id = truth.candidate_id?;
    let candidate = record.candidates.iter().position(|candidate| candidate.candidate_id.as_str() == candidate_id)?;
    let drive_us = truth.arrived_at_us? - record.requested_at.as_microsecond();
    Some((candidate, drive_us as f64 / 1e6))
}

fn json(inputs: &domain::Inputs) -> String {
    serde_json::to_string(inputs).unwrap_or_default()
}

async fn segments(store: &S3Bucket, release: &Release, plan: &EvaluationPlan) -> Result<Option<Segments>, CliError> {
    let tables = tables(store, &release.lookups).await?;
    // One that cannot be had is an expression that does not compile.
    let resources: Resources = tables.into_iter().filter_map(|(name, table)| Some((name, table.ok()?))).collect();
    let compiled = Segments::compile(&release.spec.toml, &resources, plan);
    let compiled = compiled.map_err(|why| CliError::Unexpected(format!("the release's segments: {why}")))?;
    Ok(Some(compiled).filter(|segments| !segments.names().is_empty()))
}
