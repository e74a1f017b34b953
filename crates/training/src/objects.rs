//! JSON documents of the lake.

use bytes::Bytes;
use cloud::object_store::{GetObject, PutCondition, PutObject};
use serde::{Serialize, de::DeserializeOwned};

use crate::{TrainingError, error::made};

pub(crate) async fn read_json<T: DeserializeOwned, S: GetObject>(
    lake: &S,
    key: &str,
) -> Result<Option<T>, TrainingError> {
    let Some(object) = lake.get_object(key, None).await?.found() else { return Ok(None) };
    serde_json::from_slice(&object.bytes).map(Some).map_err(|error| TrainingError::unusable(key, error))
}

/// Writes a document that is written once; whether this was the time.
pub(crate) async fn put_once<S: PutObject>(
    lake: &S,
    key: &str,
    document: &(impl Serialize + Sync),
) -> Result<bool, TrainingError> {
    Ok(made(&lake.put_object(key, to_json(document), PutCondition::IfAbsent).await?))
}

pub(crate) fn to_json(document: &impl Serialize) -> Bytes {
    serde_json::to_vec_pretty(document).unwrap_or_default().into()
}
