//! Where each object lies in the lake. No other file spells a key.
//!
//! ```text
//! landing/predictions/<model>/dt=YYYY-MM-DD/hour=HH/<prediction id>.json   one per request, by the proxy
//! landing/shadows/<model>/dt=…/hour=…/<prediction id>.<arm digest>.json    one per request and shadow arm, by the proxy
//! landing/outcomes/dt=…/hour=…/<prediction id>.<event digest>.json         one per event, by the intake
//! segments/predictions/<model>/dt=…/hour=…/<digest>.parquet                one per archived batch
//! segments/shadows/<model>/dt=…/hour=…/<digest>.parquet
//! segments/outcomes/dt=…/hour=…/<digest>.parquet
//! archive/predictions/model=<model>/dt=…/hour=…/part-00.parquet            one per hour, de-duplicated
//! archive/shadows/model=<model>/dt=…/hour=…/part-00.parquet
//! archive/outcomes/dt=…/hour=…/part-00.parquet
//! quarantine/<landing key>/<offset>.json                                   one per bad line
//! releases/<model>/<release id>.json  releases/<model>/current.json        immutable; the pointer
//! raw/<model>/…                                                            raw training rows: Parquet, CSV, JSON lines
//! datasets/<model>/features/<spec hash>/<format>/<digest>.<format>         training view of one raw object, label first
//! datasets/<model>/rejects/<spec hash>/<digest>.jsonl                      its rows that were left out, with reasons
//! datasets/<model>/runs/<spec hash>/<format>/<digest>.json                 its summary: written last
//! datasets/<model>/specs/….toml                                            feature specs that are tried out
//! training/<model>/<dataset digest>/train.csv                              training view, label first
//! models/<model>/<training job>/output/model.tar.gz                        as SageMaker writes it
//! evaluations/<model>/dt=…/hour=….json                                     mergeable, one per hour
//! reports/<model>/index.html  reports/<model>/report.json
//! ```
//!
//! Hours are event time, UTC, and come from the prediction id. Landing objects go when a durable segment holds them,
//! segments when a durable hour file does. Raw objects are write-once: their digest is of key and entity tag, so one that
//! is replaced has a second view beside its first. `archive/` is Hive-partitioned for Athena, DuckDB, Spark and pandas.

use std::fmt;

use crate::{DomainError, Hour, ModelName, PredictionId, ReleaseId, digest::sha256_hex};

/// What the proxy and the intake write, and what the archiver's trigger is bound to.
pub const LANDING: &str = "landing/";

/// A family of records in the lake.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Prediction records of one model.
    Predictions(ModelName),
    /// What shadow arms said to requests to one model.
    Shadows(ModelName),
    /// Outcome events. They know their prediction, not its model.
    Outcomes,
}

/// One hour of one table: the unit of archiving, compaction and evaluation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// The table.
    pub table: Table,
    /// The hour of event time, UTC.
    pub hour: Hour,
}

impl Table {
    fn plain(&self) -> String {
        match self {
            Self::Predictions(model) => format!("predictions/{model}"),
            Self::Shadows(model) => format!("shadows/{model}"),
            Self::Outcomes => "outcomes".to_owned(),
        }
    }

    fn hive(&self) -> String {
        match self {
            Self::Predictions(model) => format!("predictions/model={model}"),
            Self::Shadows(model) => format!("shadows/model={model}"),
            Self::Outcomes => "outcomes".to_owned(),
        }
    }

    /// All hour files of the table.
    pub fn archive_prefix(&self) -> String {
        format!("archive/{}/", self.hive())
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.table.plain(), self.hour)
    }
}

fn hour_path(hour: Hour) -> String {
    format!("dt={}/hour={:02}", hour.date(), hour.hour_of_day())
}

/// The landing object of a prediction record. One key per id: a retried request writes the same object.
pub fn landing_prediction(model: &ModelName, id: PredictionId) -> String {
    format!("{LANDING}predictions/{model}/{}/{id}.json", hour_path(id.hour()))
}

/// The landing object of a shadow record. One key per id and arm: a retried request writes the same object.
pub fn landing_shadow(model: &ModelName, id: PredictionId, arm: &str) -> String {
    let mut digest = sha256_hex(arm.as_bytes());
    digest.truncate(16);
    format!("{LANDING}shadows/{model}/{}/{id}.{digest}.json", hour_path(id.hour()))
}

/// The landing object of an outcome event. One key per content: an event sent twice is one object.
pub fn landing_outcome(id: PredictionId, event_digest: &str) -> String {
    format!("{LANDING}outcomes/{}/{id}.{}.json", hour_path(id.hour()), event_digest.get(..16).unwrap_or(event_digest))
}

/// Which table a landed object's lines belong to, from its key alone. Everything below the table's prefix is taken,
/// whatever its name, so that files can also be dropped there by hand.
pub fn landing_table(key: &str) -> Result<Table, DomainError> {
    let invalid = || DomainError::InvalidKey {
        key: key.to_owned(),
        expected: "landing/predictions/<model>/…, landing/shadows/<model>/… or landing/outcomes/…",
    };
    let below = key.strip_prefix(LANDING).ok_or_else(invalid)?;
    match below.split_once('/').ok_or_else(invalid)? {
        (table @ ("predictions" | "shadows"), rest) => {
            let (model, _) = rest.split_once('/').ok_or_else(invalid)?;
            let model = model.parse().map_err(|_| invalid())?;
            Ok(if table == "shadows" { Table::Shadows(model) } else { Table::Predictions(model) })
        }
        ("outcomes", _) => Ok(Table::Outcomes),
        _ => Err(invalid()),
    }
}

/// All segments, of every table and hour: what is not yet compacted.
pub const SEGMENTS: &str = "segments/";

/// One archived batch. The digest is of the content: the same batch twice is one object.
pub fn segment(partition: &Partition, digest: &str) -> String {
    format!("{}{digest}.parquet", segment_prefix(partition))
}

/// All segments of one partition.
pub fn segment_prefix(partition: &Partition) -> String {
    format!("{SEGMENTS}{}/{}/", partition.table.plain(), hour_path(partition.hour))
}

/// Which partition a segment belongs to.
pub fn segment_partition(key: &str) -> Result<Partition, DomainError> {
    let invalid = || DomainError::InvalidKey { key: key.to_owned(), expected: "segments/<table>/dt=…/hour=…/…" };
    let parts: Vec<&str> = key.strip_prefix(SEGMENTS).ok_or_else(invalid)?.split('/').collect();
    match parts.as_slice() {
        ["predictions", model, date, hour, _] => Ok(Partition {
            table: Table::Predictions(model.parse().map_err(|_| invalid())?),
            hour: parse_hour(date, hour).ok_or_else(invalid)?,
        }),
        ["shadows", model, date, hour, _] => Ok(Partition {
            table: Table::Shadows(model.parse().map_err(|_| invalid())?),
            hour: parse_hour(date, hour).ok_or_else(invalid)?,
        }),
        ["outcomes", date, hour, _] => {
            Ok(Partition { table: Table::Outcomes, hour: parse_hour(date, hour).ok_or_else(invalid)? })
        }
        _ => Err(invalid()),
    }
}

fn parse_hour(date: &str, hour: &str) -> Option<Hour> {
    let hour = hour.strip_prefix("hour=").filter(|hour| hour.len() == 2)?;
    Hour::from_parts(date.strip_prefix("dt=")?, hour.parse().ok()?).ok()
}

/// The hour file: every record of the partition once, sorted by id.
pub fn hour_file(partition: &Partition) -> String {
    format!("{}{}/part-00.parquet", partition.table.archive_prefix(), hour_path(partition.hour))
}

/// All hour files of a table's UTC day `date` (`2026-01-31`).
pub fn hour_files_of_day(table: &Table, date: &str) -> String {
    format!("{}dt={date}/", table.archive_prefix())
}

/// The hour of an hour file, or `None` where the key is not one.
pub fn hour_of_hour_file(key: &str) -> Option<Hour> {
    let mut steps = key.rsplit('/');
    steps.next()?;
    let hour = steps.next()?;
    parse_hour(steps.next()?, hour)
}

/// One bad line of a landed object, with its reason, byte offset and original bytes.
pub fn quarantine(landing_key: &str, offset: u64) -> String {
    format!("quarantine/{landing_key}/{offset:012}.json")
}

/// All quarantined lines.
pub const QUARANTINE: &str = "quarantine/";

/// An immutable release document.
pub fn release(model: &ModelName, id: &ReleaseId) -> String {
    format!("releases/{model}/{id}.json")
}

/// The pointer to the release in force.
pub fn release_pointer(model: &ModelName) -> String {
    format!("releases/{model}/current.json")
}

/// Raw training rows, and what the batch transform's trigger is bound to. It is apart from what the transform writes, so
/// that no output starts another transform.
pub const RAW: &str = "raw/";

/// The model that a raw object is for, from its key alone. Everything below `raw/<model>/` is taken, whatever its name.
pub fn raw_model(key: &str) -> Result<ModelName, DomainError> {
    let invalid = || DomainError::InvalidKey { key: key.to_owned(), expected: "raw/<model>/…" };
    let (model, name) = key.strip_prefix(RAW).and_then(|below| below.split_once('/')).ok_or_else(invalid)?;
    if name.is_empty() || name.ends_with('/') {
        return Err(invalid());
    }
    model.parse().map_err(|_| invalid())
}

/// The name of what is made of one raw object: of its key and content (as its entity tag tells it), so that an event that
/// is delivered twice writes the same objects.
pub fn raw_object_digest(key: &str, etag: &str) -> String {
    let mut digest = sha256_hex(format!("{key}\n{etag}").as_bytes());
    digest.truncate(32);
    digest
}

/// The training views of all raw objects by one spec: a SageMaker channel. `format` is `csv` or `parquet`.
pub fn feature_view_prefix(model: &ModelName, spec_hash: &str, format: &str) -> String {
    format!("datasets/{model}/features/{spec_hash}/{format}/")
}

/// The training view of one raw object.
pub fn feature_view(model: &ModelName, spec_hash: &str, format: &str, digest: &str) -> String {
    format!("{}{digest}.{format}", feature_view_prefix(model, spec_hash, format))
}

/// The rows of one raw object that were left out.
pub fn feature_rejects(model: &ModelName, spec_hash: &str, digest: &str) -> String {
    format!("datasets/{model}/rejects/{spec_hash}/{digest}.jsonl")
}

/// The summary of one raw object's transform.
pub fn feature_run(model: &ModelName, spec_hash: &str, format: &str, digest: &str) -> String {
    format!("datasets/{model}/runs/{spec_hash}/{format}/{digest}.json")
}

/// Feature specs of a model that are tried out before they are released.
pub fn trial_spec_prefix(model: &ModelName) -> String {
    format!("datasets/{model}/specs/")
}

/// The folder of one training view (the SageMaker `train` channel), by the digest of its content.
pub fn training_view_prefix(model: &ModelName, digest: &str) -> String {
    format!("training/{model}/{digest}/")
}

/// The folder that training jobs of a model write their `<job>/output/model.tar.gz` below.
pub fn model_artifacts_prefix(model: &ModelName) -> String {
    format!("models/{model}/")
}

/// One hour's evaluation.
pub fn evaluation(model: &ModelName, hour: Hour) -> String {
    format!("evaluations/{model}/{}.json", hour_path(hour))
}

/// All evaluations of a model.
pub fn evaluation_prefix(model: &ModelName) -> String {
    format!("evaluations/{model}/")
}

/// The report's page.
pub fn report_page(model: &ModelName) -> String {
    format!("reports/{model}/index.html")
}

/// The report's figures.
pub fn report_json(model: &ModelName) -> String {
    format!("reports/{model}/report.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> ModelName {
        "pickup-eta".parse().unwrap()
    }

    #[test]
    fn landing_keys_tell_their_table() {
        let id: PredictionId = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f".parse().unwrap();
        let key = landing_prediction(&model(), id);
        assert_eq!(
            key,
            "landing/predictions/pickup-eta/dt=2022-02-22/hour=19/017f22e2-79b0-7cc3-98c4-dc0c0c07398f.json"
        );
        assert_eq!(landing_table(&key).unwrap(), Table::Predictions(model()));
        let shadow = landing_shadow(&model(), id, "an arm / of any name");
        assert_eq!(landing_table(&shadow).unwrap(), Table::Shadows(model()));
        assert_ne!(shadow, landing_shadow(&model(), id, "another"));
        assert_eq!(landing_table(&landing_outcome(id, "0123456789abcdefff")).unwrap(), Table::Outcomes);
        for key in [
            "",
            "landing/",
            "landing/predictions/x.json",
            "landing/predictions/../x/y",
            "landing/shadows/x.json",
            "other/outcomes/x",
            "landing/other/x",
        ] {
            assert!(landing_table(key).is_err(), "{key}");
        }
    }

    #[test]
    fn raw_keys_tell_their_model() {
        assert_eq!(raw_model("raw/pickup-eta/2026/trips.csv.gz").unwrap(), model());
        for key in ["raw/", "raw/x.csv", "raw/pickup-eta/", "raw/pickup-eta/a/", "raw/../x", "datasets/pickup-eta/x"] {
            assert!(raw_model(key).is_err(), "{key}");
        }
        let digest = raw_object_digest("raw/pickup-eta/a.csv", "\"e\"");
        assert_ne!(digest, raw_object_digest("raw/pickup-eta/a.csv", "\"f\""));
        let view = feature_view(&model(), "h", "csv", &digest);
        assert_eq!(view, format!("datasets/pickup-eta/features/h/csv/{digest}.csv"));
        assert!(raw_model(&view).is_err(), "an output is no input");
    }

    #[test]
    fn segment_and_hour_keys_tell_their_partition() {
        for table in [Table::Predictions(model()), Table::Shadows(model()), Table::Outcomes] {
            let partition = Partition { table, hour: "2026-01-31T07".parse().unwrap() };
            let key = segment(&partition, "abc");
            assert!(key.starts_with(&segment_prefix(&partition)));
            assert_eq!(segment_partition(&key).unwrap(), partition);
            let key = hour_file(&partition);
            assert!(key.starts_with(&hour_files_of_day(&partition.table, "2026-01-31")));
            assert_eq!(hour_of_hour_file(&key), Some(partition.hour));
        }
        for key in
            ["segments/outcomes/dt=2026-01-31/hour=7/x", "segments/outcomes/dt=2026-01-31/x", "segments/a/b/c/d/e"]
        {
            assert!(segment_partition(key).is_err(), "{key}");
        }
    }
}
