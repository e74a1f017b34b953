use std::fmt::Debug;

use bytes::Bytes;
use domain::{Hour, OutcomeEvent, PredictionId, PredictionRecord, ShadowRecord, digest::sha256_hex};
use jiff::Timestamp;
use serde::Serialize;

use crate::{ArchiveError, outcomes, predictions, shadows};

/// Records of a file, one after the other.
pub type RecordStream<R> = Box<dyn Iterator<Item = Result<R, ArchiveError>>>;

/// A row family of the archive, for code that treats all alike.
pub trait Record: Clone + Debug + PartialEq + Send + Sync + Sized + 'static {
    /// What makes two records the same one, in the archive's order.
    type Key: Ord + Clone + Debug;

    /// The record's key.
    fn key(&self) -> Self::Key;

    /// The prediction that it belongs to.
    fn prediction_id(&self) -> PredictionId;

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

    /// The hour of event time that it is archived under.
    fn hour(&self) -> Hour {
        self.prediction_id().hour()
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

    fn prediction_id(&self) -> PredictionId {
        self.prediction_id
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

    fn prediction_id(&self) -> PredictionId {
        self.prediction_id
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

    fn prediction_id(&self) -> PredictionId {
        self.prediction_id
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
