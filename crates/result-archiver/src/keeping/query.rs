use archive::{ArchiveError, DecodeLimits, Record, Rows, decode_source, merge};
use cloud::object_store::{GetObject, ListObjects};
use domain::{
    InferenceRecord, ModelName, OutcomeEvent, OutcomeState, PredictionId, PredictionRecord,
    lake::{self, Partition, Table},
};
use serde::Serialize;

use super::records;
use crate::ArchiverError;

/// How far a record has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// In an hour file.
    Archive,
    /// In a segment that is not compacted yet.
    Segment,
    /// In a landing object that is not archived yet.
    Landing,
}

/// All that is known of one prediction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// The id.
    pub prediction_id: PredictionId,
    /// The record; absent where only its outcome is known.
    pub record: Option<PredictionRecord>,
    /// Where the record was found.
    pub place: Option<Place>,
    /// All outcome events, in the order in which they were observed: corrections too.
    pub outcome_events: Vec<OutcomeEvent>,
    /// What the events say together.
    pub outcome: Option<OutcomeState>,
    /// What SageMaker itself recorded under the id.
    pub inferences: Vec<InferenceRecord>,
}

impl Found {
    /// Whether nothing at all is known of the id.
    pub fn is_nothing(&self) -> bool {
        self.record.is_none() && self.outcome_events.is_empty() && self.inferences.is_empty()
    }
}

/// Looks a prediction up: the id tells the hour, so that one hour of each table is read. `models` are those whose records
/// are searched.
///
/// # Errors
/// The store does not answer, or a file of the hour cannot be read.
pub async fn find_prediction<S>(store: &S, id: PredictionId, models: &[ModelName]) -> Result<Found, ArchiverError>
where
    S: GetObject + ListObjects + ?Sized,
{
    let hour = id.hour();
    let mut record: Option<(PredictionRecord, Place)> = None;
    let mut inferences = Vec::new();
    for model in models {
        let table = Table::Predictions(model.clone());
        let landing = lake::landing_prediction(model, id);
        for (place, found) in everywhere::<PredictionRecord, S>(store, &Partition { table, hour }, &landing).await? {
            let found = found.into_iter().find(|record| record.prediction_id == id);
            // The one that the merge will keep.
            match (found, &record) {
                (Some(found), Some((known, _))) if found.wins_over(known) => record = Some((found, place)),
                (Some(found), None) => record = Some((found, place)),
                _ => {}
            }
        }
        let partition = Partition { table: Table::Inferences(model.clone()), hour };
        let read = everywhere::<InferenceRecord, S>(store, &partition, &lake::data_capture_landing(model)).await?;
        let of_this = |record: &InferenceRecord| record.prediction_id() == Some(id);
        inferences.push(read.into_iter().flat_map(|(_, records)| records).filter(of_this).collect());
    }
    let partition = Partition { table: Table::Outcomes, hour };
    let events = everywhere::<OutcomeEvent, S>(store, &partition, &lake::landing_outcomes_of(id)).await?;
    let of_this = |event: &OutcomeEvent| event.prediction_id == id;
    let outcome_events = merge([events.into_iter().flat_map(|(_, events)| events).filter(of_this).collect()]);
    let outcome = (!outcome_events.is_empty()).then(|| OutcomeState::from_events(&outcome_events));
    let (record, place) = record.unzip();
    Ok(Found { prediction_id: id, record, place, outcome_events, outcome, inferences: merge(inferences) })
}

/// A partition's records: of landing objects below a prefix, of segments, of the hour file. In the direction in which
/// records move, so that one that moves meanwhile is seen at least once.
async fn everywhere<R, S>(
    store: &S,
    partition: &Partition,
    landing_prefix: &str,
) -> Result<Vec<(Place, Vec<R>)>, ArchiverError>
where
    R: Record + OfRows,
    S: GetObject + ListObjects + ?Sized,
{
    let mut found = Vec::new();
    for object in store.list_objects(landing_prefix).await? {
        let Ok(source) = lake::landing_source(&object.key) else { continue };
        let key = object.key.as_str();
        let Some(object) = store.get_object(key, None).await?.found() else { continue };
        let landed = decode_source(&source, &object.bytes, DecodeLimits::default());
        let records =
            R::of_rows(landed.rows).map_err(|source| ArchiverError::Archive { key: key.to_owned(), source })?;
        found.push((Place::Landing, records));
    }
    for segment in store.list_objects(&lake::segment_prefix(partition)).await? {
        found.extend(records(store, &segment.key).await?.map(|records| (Place::Segment, records)));
    }
    found.extend(records(store, &lake::hour_file(partition)).await?.map(|records| (Place::Archive, records)));
    Ok(found)
}

/// The rows of one family.
trait OfRows: Sized {
    fn of_rows(rows: Rows) -> Result<Vec<Self>, ArchiveError>;
}

impl OfRows for PredictionRecord {
    fn of_rows(rows: Rows) -> Result<Vec<Self>, ArchiveError> {
        if let Rows::Predictions(rows) = rows { rows.to_records() } else { Ok(Vec::new()) }
    }
}

impl OfRows for OutcomeEvent {
    fn of_rows(rows: Rows) -> Result<Vec<Self>, ArchiveError> {
        Ok(if let Rows::Outcomes(events) = rows { events } else { Vec::new() })
    }
}

impl OfRows for InferenceRecord {
    fn of_rows(rows: Rows) -> Result<Vec<Self>, ArchiveError> {
        Ok(if let Rows::Inferences(records) = rows { records } else { Vec::new() })
    }
}
