use std::fmt::Debug;

use bytes::Bytes;
use domain::{Hour, InferenceRecord, OutcomeEvent, PredictionId, PredictionRecord, ShadowRecord, digest::sha256_hex};
use jiff::Timestamp;
use serde::Serialize;

use crate::{ArchiveError, inferences, outcomes, predictions, shadows};

/// Records of a file, one after the other.
pub type RecordStream<R> = Box<dyn Iterator<Item = Result<R, ArchiveError>>>;

/// A row family of the archive, for code that treats all alike.
pub trait Record: Clone + Debug + PartialEq + Send + Sync + Sized + 'static {
    /// What makes two records the same one, in the archive's order.
    type Key: Ord + Clone + Debug;

    /// The record's key.
    fn key(&self) -> Self::Key;

    /// The id that files are sorted and searched by.
    fn id(&self) -> String;

    /// The hour that it is archived under: that of the id, where the id tells one.
    fn hour(&self) -> Hour;

    /// Whether this record, and not `other` of the same key, is archived: a total order on content.
    fn wins_over(&self, other: &Self) -> bool;

    /// Records that come in the order of their keys, as a Parquet file.
    ///
    /// # Errors
    /// An error of `records`, or a record that the format cannot hold.
    fn write_sorted(records: impl Iterator<Item = Result<Self, ArchiveError>>) -> Result<Bytes, ArchiveError>;

    /// The records of a Parquet file, in its order, a batch in memory at a time.
    ///
    /// # Errors
    /// A file that is damaged, or has other columns.
    fn stream(bytes: Bytes) -> Result<RecordStream<Self>, ArchiveError>;

    /// The records of a Parquet file, in its order.
    ///
    /// # Errors
    /// A file that is damaged, or has other columns.
    fn read(bytes: Bytes) -> Result<Vec<Self>, ArchiveError> {
        Self::stream(bytes)?.collect()
    }
}

fn digest(record: &impl Serialize) -> String {
    sha256_hex(&serde_json::to_vec(record).unwrap_or_default())
}

impl Record for PredictionRecord {
    type Key = PredictionId;

    fn key(&self) -> PredictionId {
        self.prediction_id
    }

    fn id(&self) -> String {
        self.prediction_id.to_string()
    }

    fn hour(&self) -> Hour {
        self.prediction_id.hour()
    }

    /// The earlier answer is the one that the caller may have acted on; between equal times the smaller digest.
    fn wins_over(&self, other: &Self) -> bool {
        // The digests even where the two are equal: equality takes -0.0 for 0.0.
        self.answered_at.cmp(&other.answered_at).then_with(|| digest(self).cmp(&digest(other))).is_lt()
    }

    fn write_sorted(records: impl Iterator<Item = Result<Self, ArchiveError>>) -> Result<Bytes, ArchiveError> {
        predictions::write_sorted(records)
    }

    fn stream(bytes: Bytes) -> Result<RecordStream<Self>, ArchiveError> {
        Ok(Box::new(predictions::stream_predictions(bytes)?))
    }
}

impl Record for ShadowRecord {
    type Key = (PredictionId, String);

    fn key(&self) -> Self::Key {
        (self.prediction_id, self.arm.clone())
    }

    fn id(&self) -> String {
        self.prediction_id.to_string()
    }

    fn hour(&self) -> Hour {
        self.prediction_id.hour()
    }

    /// The earlier one, as of the predictions that they are shadows of.
    fn wins_over(&self, other: &Self) -> bool {
        self.answered_at.cmp(&other.answered_at).then_with(|| digest(self).cmp(&digest(other))).is_lt()
    }

    fn write_sorted(records: impl Iterator<Item = Result<Self, ArchiveError>>) -> Result<Bytes, ArchiveError> {
        shadows::write_sorted(records)
    }

    fn stream(bytes: Bytes) -> Result<RecordStream<Self>, ArchiveError> {
        Ok(Box::new(shadows::stream_shadows(bytes)?))
    }
}

impl Record for OutcomeEvent {
    type Key = (PredictionId, Timestamp, String);

    fn key(&self) -> Self::Key {
        (self.prediction_id, self.observed_at, self.digest())
    }

    fn id(&self) -> String {
        self.prediction_id.to_string()
    }

    fn hour(&self) -> Hour {
        self.prediction_id.hour()
    }

    /// The key holds the content.
    fn wins_over(&self, _: &Self) -> bool {
        false
    }

    fn write_sorted(events: impl Iterator<Item = Result<Self, ArchiveError>>) -> Result<Bytes, ArchiveError> {
        outcomes::write_sorted(events)
    }

    fn stream(bytes: Bytes) -> Result<RecordStream<Self>, ArchiveError> {
        Ok(Box::new(outcomes::stream_outcomes(bytes)?))
    }
}

impl Record for InferenceRecord {
    type Key = (String, String);

    fn key(&self) -> Self::Key {
        (self.inference_id.clone(), self.digest())
    }

    fn id(&self) -> String {
        self.inference_id.clone()
    }

    fn hour(&self) -> Hour {
        Self::hour(self)
    }

    /// The key holds the content.
    fn wins_over(&self, _: &Self) -> bool {
        false
    }

    fn write_sorted(records: impl Iterator<Item = Result<Self, ArchiveError>>) -> Result<Bytes, ArchiveError> {
        inferences::write_sorted(records)
    }

    fn stream(bytes: Bytes) -> Result<RecordStream<Self>, ArchiveError> {
        Ok(Box::new(inferences::stream_inferences(bytes)?))
    }
}
