//! Where each object lies in the lake. No other file spells a key.
//!
//! ```text
//! landing/predictions/<model>/dt=YYYY-MM-DD/hour=HH/<prediction id>.json   one per request, by the proxy
//! landing/shadows/<model>/dt=…/hour=…/<prediction id>.<arm digest>.json    one per request and shadow arm, by the proxy
//! landing/outcomes/dt=…/hour=…/<prediction id>.<event digest>.json         one per event, by the intake
//! landing/data-capture/<model>/<endpoint>/<variant>/yyyy/mm/dd/hh/….jsonl  SageMaker Data Capture, as SageMaker writes it
//! landing/batch-transform/<model>/….out                                   outputs of SageMaker batch transform jobs
//! landing/async-inference/<model>/…                                       notifications of SageMaker asynchronous endpoints
//! landing/ground-truth/<model>/yyyy/mm/dd/hh/….jsonl                       SageMaker ground truth, by hour of collection
//! segments/predictions/<model>/dt=…/hour=…/<digest>.parquet                one per archived batch
//! segments/shadows/<model>/dt=…/hour=…/<digest>.parquet
//! segments/outcomes/dt=…/hour=…/<digest>.parquet
//! segments/inferences/<model>/dt=…/hour=…/<digest>.parquet
//! archive/predictions/model=<model>/dt=…/hour=…/part-00.parquet            one per hour, de-duplicated
//! archive/shadows/model=<model>/dt=…/hour=…/part-00.parquet
//! archive/outcomes/dt=…/hour=…/part-00.parquet
//! archive/inferences/model=<model>/dt=…/hour=…/part-00.parquet             what SageMaker itself recorded
//! quarantine/<landing key>/<offset>.json                                   one per bad line
//! quarantine/outcomes.sql/<dataset>/<row digest>/<offset>.json             one per row of a warehouse that is no outcome
//! quarantine/objects/<digest>/<landing key>                                landed objects that no table is known for
//! releases/<model>/<release id>.json  releases/<model>/current.json        immutable; the pointer
//! releases/<model>/history/<moved at>-<release id>.json                    the pointer as it was, once per move
//! lookups/<table>/<SHA-256 of the content>.parquet                         lookup tables, pinned by releases; immutable
//! raw/<model>/…                                                            raw training rows: Parquet, CSV, JSON lines
//! datasets/<model>/features/<spec hash>/<format>/<digest>.<format>         training view of one raw object, label first
//! datasets/<model>/rejects/<spec hash>/<digest>.jsonl                      its rows that were left out, with reasons
//! datasets/<model>/runs/<spec hash>/<format>/<digest>.json                 its summary: written last
//! datasets/<model>/baselines/<spec hash>/<digest>.json                     its distributions
//! datasets/<model>/specs/….toml                                            feature specs that are tried out
//! datasets/<name>/data/<address>/part-NNNN.parquet                         rows of one dataset version; immutable
//! datasets/<name>/manifests/<address>.json  ….sagemaker.json               what it is: written last; SageMaker's ManifestFile
//! datasets/<name>/latest.json  datasets/<name>/history/….json              the pointer; as it was, once per move
//! datasets/<name>/pins/<pin>.json                                          versions that garbage collection keeps
//! datasets/<name>/definition.json                                          what the extractor's schedule extracts
//! datasets/<name>/jobs/<job>.json                                          which version an extract became
//! datasets/<name>/staging/<job>/…                                          an extract under way
//! training/<model>/definition.json                                         what is trained when a dataset version is put in use
//! training/<model>/code/<SHA-256>.tar.gz                                   training code; immutable
//! training/<model>/views/<view>/{train,validation,held-out}/part-NNNN.…    a dataset version by one spec, split by time
//! training/<model>/views/<view>/predictions/<version>/….out                what a version says to the held-out rows
//! training/<model>/orders/<version>.json                                   a training job that was ordered
//! baselines/<model>/<spec hash>.json                                       its distributions, that drift is told against
//! baselines/<model>/models/<model version>.json                            its answers and errors on held-out rows
//! models/<model>/<training job>/output/model.tar.gz                        as SageMaker writes it
//! models/<model>/versions/<version>.json                                   a finished model with its lineage; immutable
//! models/<model>/{failures,gates,approvals,retirements}/<version>.json     what became of it
//! evaluations/<model>/dt=…/hour=….json                                     mergeable, one per hour
//! reports/<model>/index.html  reports/<model>/index.ja.html  reports/<model>/report.json
//! reports/<model>/retraining/<release id>-<reason>.json                    that training was asked for
//! ```
//!
//! Hours are event time, UTC, and come from the prediction id. Landing objects go when a durable segment holds them,
//! segments when a durable hour file does. Where a spec has lookup tables, its hash below `datasets/` is of them too. Raw objects are write-once: their digest is of key and entity tag, so one that
//! is replaced has a second view beside its first. `archive/` is Hive-partitioned for Athena, DuckDB, Spark and pandas.

use std::fmt;

use crate::{
    DomainError, Hour, InferenceSource, ModelName, PredictionId, ReleaseId, ReleasePointer, digest::sha256_hex,
};

mod datasets;
mod models;

pub use datasets::*;
pub use models::*;

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
    /// Inferences of one model that SageMaker itself has recorded.
    Inferences(ModelName),
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
            Self::Inferences(model) => format!("inferences/{model}"),
        }
    }

    fn hive(&self) -> String {
        match self {
            Self::Predictions(model) => format!("predictions/model={model}"),
            Self::Shadows(model) => format!("shadows/model={model}"),
            Self::Outcomes => "outcomes".to_owned(),
            Self::Inferences(model) => format!("inferences/model={model}"),
        }
    }

    /// All hour files of the table.
    pub fn archive_prefix(&self) -> String {
        format!("archive/{}/", self.hive())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plain())
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

/// What a landed object's lines are, from its key alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LandingSource {
    /// Prediction records of the proxy.
    Predictions(ModelName),
    /// What shadow arms said.
    Shadows(ModelName),
    /// Outcome events.
    Outcomes,
    /// What SageMaker has recorded. Endpoint and variant where the key has them.
    Inferences {
        /// The model.
        model: ModelName,
        /// The kind of file.
        source: InferenceSource,
        /// The endpoint (Data Capture).
        endpoint: Option<String>,
        /// The production variant (Data Capture).
        variant: Option<String>,
    },
    /// Labels in SageMaker's ground-truth form.
    GroundTruth {
        /// The hour in which they were collected: the time of an observation that has none of its own.
        collected: Hour,
    },
}

impl LandingSource {
    /// Where its rows go.
    pub fn table(&self) -> Table {
        match self {
            Self::Predictions(model) => Table::Predictions(model.clone()),
            Self::Shadows(model) => Table::Shadows(model.clone()),
            Self::Inferences { model, .. } => Table::Inferences(model.clone()),
            Self::Outcomes | Self::GroundTruth { .. } => Table::Outcomes,
        }
    }
}

const GROUND_TRUTH: &str = "ground-truth";

/// What a landed object holds, from its key alone. Everything below a source's prefix is taken, whatever its name, so
/// that files can also be dropped there by hand.
pub fn landing_source(key: &str) -> Result<LandingSource, DomainError> {
    let invalid = || DomainError::InvalidKey {
        key: key.to_owned(),
        expected: "landing/predictions/<model>/…, landing/shadows/<model>/…, landing/outcomes/…, landing/data-capture/<model>/…, \
                   landing/batch-transform/<model>/…, landing/async-inference/<model>/… or \
                   landing/ground-truth/<model>/yyyy/mm/dd/hh/…",
    };
    let below = key.strip_prefix(LANDING).ok_or_else(invalid)?;
    let (family, rest) = below.split_once('/').ok_or_else(invalid)?;
    if family == "outcomes" {
        return Ok(LandingSource::Outcomes);
    }
    let (model, rest) = rest.split_once('/').ok_or_else(invalid)?;
    let model: ModelName = model.parse().map_err(|_| invalid())?;
    if family == "predictions" {
        return Ok(LandingSource::Predictions(model));
    }
    if family == "shadows" {
        return Ok(LandingSource::Shadows(model));
    }
    if family == GROUND_TRUTH {
        let parts: Vec<&str> = rest.split('/').collect();
        let collected = plain_hour(&parts).ok_or_else(invalid)?;
        return Ok(LandingSource::GroundTruth { collected });
    }
    let source = InferenceSource::ALL.into_iter().find(|source| source.as_str() == family).ok_or_else(invalid)?;
    let parts: Vec<&str> = rest.split('/').collect();
    let (endpoint, variant) = match (source, parts.as_slice()) {
        (InferenceSource::DataCapture, [endpoint, variant, hour @ ..]) if plain_hour(hour).is_some() => {
            (Some((*endpoint).to_owned()), Some((*variant).to_owned()))
        }
        _ => (None, None),
    };
    Ok(LandingSource::Inferences { model, source, endpoint, variant })
}

/// The hour of SageMaker's `yyyy/mm/dd/hh/<file>`.
fn plain_hour(parts: &[&str]) -> Option<Hour> {
    let [year, month, day, hour, _file] = parts else { return None };
    let hour = Some(hour).filter(|hour| hour.len() == 2)?;
    Hour::from_parts(&format!("{year}-{month}-{day}"), hour.parse().ok()?).ok()
}

fn plain_hour_path(hour: Hour) -> String {
    format!("{}/{:02}", hour.date().replace('-', "/"), hour.hour_of_day())
}

/// A Data Capture file of ours, below a destination: `<endpoint>/<variant>/yyyy/mm/dd/hh/<name>.jsonl`, as SageMaker has it.
pub fn data_capture_file(endpoint: &str, variant: &str, hour: Hour, name: &str) -> String {
    format!("{endpoint}/{variant}/{}/{name}.jsonl", plain_hour_path(hour))
}

/// A ground-truth file of ours, below a prefix: `yyyy/mm/dd/hh/<name>.jsonl` of label collection, as SageMaker has it.
pub fn ground_truth_file(collected: Hour, name: &str) -> String {
    format!("{}/{name}.jsonl", plain_hour_path(collected))
}

/// Where a model's Data Capture files land.
pub fn data_capture_landing(model: &ModelName) -> String {
    format!("{LANDING}{}/{model}/", InferenceSource::DataCapture.as_str())
}

/// Where a model's ground-truth files land.
pub fn ground_truth_landing(model: &ModelName) -> String {
    format!("{LANDING}{GROUND_TRUTH}/{model}/")
}

/// The outcome events of one prediction in the landing area begin with this.
pub fn landing_outcomes_of(id: PredictionId) -> String {
    format!("{LANDING}outcomes/{}/{id}.", hour_path(id.hour()))
}

/// The prediction that a landing object of the proxy or the intake is of, and the hour in its path; `None` for other files.
pub fn landing_prediction_id(key: &str) -> Option<PredictionId> {
    landing_source(key).ok()?;
    key.rsplit('/').next()?.split('.').next()?.parse().ok()
}

/// Which table a landed object's lines belong to, from its key alone.
pub fn landing_table(key: &str) -> Result<Table, DomainError> {
    landing_source(key).map(|source| source.table())
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
        ["inferences", model, date, hour, _] => Ok(Partition {
            table: Table::Inferences(model.parse().map_err(|_| invalid())?),
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

/// All hour files of a table.
pub fn hour_files_of(table: &Table) -> String {
    table.archive_prefix()
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

/// All hour files, of every table.
pub const ARCHIVE: &str = "archive/";

/// The table and hour of an hour file, or `None` where the key is not one.
pub fn hour_file_partition(key: &str) -> Option<Partition> {
    let parts: Vec<&str> = key.strip_prefix(ARCHIVE)?.split('/').collect();
    let model = |text: &str| text.strip_prefix("model=")?.parse().ok();
    let (table, date, hour) = match parts.as_slice() {
        ["predictions", name, date, hour, _] => (Table::Predictions(model(name)?), date, hour),
        ["shadows", name, date, hour, _] => (Table::Shadows(model(name)?), date, hour),
        ["inferences", name, date, hour, _] => (Table::Inferences(model(name)?), date, hour),
        ["outcomes", date, hour, _] => (Table::Outcomes, date, hour),
        _ => return None,
    };
    Some(Partition { table, hour: parse_hour(date, hour)? })
}

/// The hour that a key's path tells (`dt=…/hour=…`), whatever it is a key of.
pub fn hour_in_path(key: &str) -> Option<Hour> {
    let parts: Vec<&str> = key.split('/').collect();
    parts.windows(2).find_map(|pair| parse_hour(pair[0], pair[1].split('.').next()?))
}

/// One bad line of a landed object, with its reason, byte offset and original bytes.
pub fn quarantine(landing_key: &str, offset: u64) -> String {
    format!("quarantine/{landing_key}/{offset:012}.json")
}

/// The landing key of a quarantined line, from its own key.
pub fn landing_key_of_quarantined_line(key: &str) -> Option<&str> {
    let (landing_key, _offset) = key.strip_prefix(QUARANTINE)?.rsplit_once('/')?;
    landing_key.starts_with(LANDING).then_some(landing_key)
}

const REDRIVEN: &str = "redriven-";

/// A landing object of lines that were taken out of quarantine, beside the object that they came from. The digest must be of that
/// object's key too: lines that come back to quarantine and are redriven again then lie elsewhere than before.
pub fn redriven(landing_key: &str, digest: &str) -> Option<String> {
    let (folder, _) = landing_key.rsplit_once('/')?;
    Some(format!("{folder}/{REDRIVEN}{}.jsonl", digest.get(..16).unwrap_or(digest)))
}

/// The same for a whole object: its name stays the end of the new one.
pub fn redriven_object(landing_key: &str, digest: &str) -> Option<String> {
    let (folder, name) = landing_key.rsplit_once('/')?;
    let name = name.strip_prefix(REDRIVEN).and_then(|rest| rest.split_once('-')).map_or(name, |(_, name)| name);
    Some(format!("{folder}/{REDRIVEN}{}-{name}", digest.get(..16).unwrap_or(digest)))
}

/// A landed object that no table is known for, as it was. The digest is of its content: another object that lands under
/// the same key does not replace it.
pub fn quarantined_object(landing_key: &str, digest: &str) -> String {
    format!("{QUARANTINED_OBJECTS}{}/{landing_key}", digest.get(..16).unwrap_or(digest))
}

/// All such objects.
pub const QUARANTINED_OBJECTS: &str = "quarantine/objects/";

/// The landing key of such an object.
pub fn landing_key_of_quarantined(key: &str) -> Option<&str> {
    key.strip_prefix(QUARANTINED_OBJECTS)?.split_once('/').map(|(_, landing_key)| landing_key)
}

/// All quarantined lines.
pub const QUARANTINE: &str = "quarantine/";

/// All releases and pointers.
pub const RELEASES: &str = "releases/";

/// All evaluations.
pub const EVALUATIONS: &str = "evaluations/";

/// The id of an immutable release document, or `None` where the key is none.
pub fn release_id_of(key: &str) -> Option<ReleaseId> {
    let (_model, name) = key.strip_prefix(RELEASES)?.split_once('/')?;
    name.strip_suffix(".json")?.parse().ok()
}

/// An immutable release document.
pub fn release(model: &ModelName, id: &ReleaseId) -> String {
    format!("releases/{model}/{id}.json")
}

/// The pointer to the release in force.
pub fn release_pointer(model: &ModelName) -> String {
    format!("releases/{model}/current.json")
}

/// All releases of a model, its pointer and their history.
pub fn release_prefix(model: &ModelName) -> String {
    format!("releases/{model}/")
}

/// The id of a release document, or `None` where the key is not one of `model`'s.
pub fn release_id_of_key(model: &ModelName, key: &str) -> Option<ReleaseId> {
    key.strip_prefix(&release_prefix(model))?.strip_suffix(".json")?.parse().ok()
}

/// The pointer as it was after one move, kept for good. In key order they are in order of time.
pub fn release_move(model: &ModelName, pointer: &ReleasePointer) -> String {
    let moved_at = pointer.moved_at.strftime("%Y%m%dT%H%M%S.%6fZ");
    format!("{}{moved_at}-{}.json", release_history_prefix(model), pointer.release_id)
}

/// All moves of a model's pointer.
pub fn release_history_prefix(model: &ModelName) -> String {
    format!("{}history/", release_prefix(model))
}

/// An immutable lookup table, by the SHA-256 of its content (not of the file's bytes, which depend on its writer).
pub fn lookup_table(name: &str, sha256: &str) -> String {
    format!("lookups/{name}/{sha256}.parquet")
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

/// The distributions of one raw object's training view.
pub fn view_baseline(model: &ModelName, spec_hash: &str, digest: &str) -> String {
    format!("datasets/{model}/baselines/{spec_hash}/{digest}.json")
}

/// Feature specs of a model that are tried out before they are released.
pub fn trial_spec_prefix(model: &ModelName) -> String {
    format!("datasets/{model}/specs/")
}

/// The distributions of the training view that a model with this feature spec was last trained on: what later hours are
/// compared with.
pub fn training_baseline(model: &ModelName, spec_hash: &str) -> String {
    format!("baselines/{model}/{spec_hash}.json")
}

/// What a model version said of held-out rows, and how far off it was.
pub fn model_baseline(model: &ModelName, model_version: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !model_version.is_empty() && model_version.bytes().all(plain) {
        format!("baselines/{model}/models/{model_version}.json")
    } else {
        format!("baselines/{model}/models/{}.json", sha256_hex(model_version.as_bytes()))
    }
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

/// The hour of an evaluation, or `None` where the key is not one.
pub fn hour_of_evaluation(key: &str) -> Option<Hour> {
    let mut steps = key.strip_suffix(".json")?.rsplit('/');
    let hour = steps.next()?;
    parse_hour(steps.next()?, hour)
}

/// The report's page.
pub fn report_page(model: &ModelName) -> String {
    format!("reports/{model}/index.html")
}

/// The report's page in another language than English, by its code.
pub fn report_page_in(model: &ModelName, language: &str) -> String {
    format!("reports/{model}/index.{language}.html")
}

/// The way from a report's folder to the lake's root.
pub const REPORT_TO_ROOT: &str = "../../";

/// Marks that a model's training was asked for, once per release and reason.
pub fn retraining_mark(model: &ModelName, release: &ReleaseId, reason: &str) -> String {
    format!("reports/{model}/retraining/{release}-{reason}.json")
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
    fn landing_keys_tell_their_source() {
        let capture = LandingSource::Inferences {
            model: model(),
            source: InferenceSource::DataCapture,
            endpoint: Some("e".to_owned()),
            variant: Some("v".to_owned()),
        };
        let hour: Hour = "2026-02-14T07".parse().unwrap();
        let key = data_capture_landing(&model()) + &data_capture_file("e", "v", hour, "x");
        assert_eq!(key, "landing/data-capture/pickup-eta/e/v/2026/02/14/07/x.jsonl");
        assert_eq!(landing_source(&key).unwrap(), capture);
        assert_eq!(landing_table(&key).unwrap(), Table::Inferences(model()));
        let key = ground_truth_landing(&model()) + &ground_truth_file(hour, "x");
        assert_eq!(key, "landing/ground-truth/pickup-eta/2026/02/14/07/x.jsonl");
        assert_eq!(landing_source(&key).unwrap(), LandingSource::GroundTruth { collected: hour });
        for key in ["landing/batch-transform/pickup-eta/job/a.csv.out", "landing/async-inference/pickup-eta/a.json"] {
            assert_eq!(landing_table(key).unwrap(), Table::Inferences(model()), "{key}");
        }
        for key in [
            "landing/ground-truth/pickup-eta/x.jsonl",
            "landing/ground-truth/pickup-eta/2026/2/14/7/x",
            "landing/batch-transform/x",
        ] {
            assert!(landing_source(key).is_err(), "{key}");
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
    fn dataset_keys_tell_what_they_are() {
        let (name, address) = (model(), "a".repeat(64));
        let part = dataset_part(&name, &address, 7);
        assert_eq!(part, format!("datasets/pickup-eta/data/{address}/part-0007.parquet"));
        assert_eq!(dataset_address_of_data(&name, &part), Some(address.clone()));
        assert_eq!(dataset_address_of_manifest(&name, &dataset_manifest(&name, &address)), Some(address.clone()));
        assert_eq!(dataset_address_of_manifest(&name, &dataset_sagemaker_manifest(&name, &address)), None);
        let chunk = dataset_chunk(&name, "ds-1", "s", 3, 10, 25);
        assert_eq!(dataset_chunk_rows(&chunk), Some((10, 25)));
        assert_eq!(dataset_chunk_rows(&dataset_stream_end(&name, "ds-1", "s", 3, 25)), Some((25, 25)));
        assert_eq!(dataset_job_of_staging(&name, &chunk), Some("ds-1".to_owned()));
        assert_eq!(dataset_of_pointer(&dataset_pointer(&name)), Some(name.clone()));
        // None of them is what another function's trigger is bound to.
        for key in [part, chunk, dataset_layout(&name, "ds-1", "s")] {
            assert!(!key.starts_with(RAW) && !key.starts_with(LANDING), "{key}");
        }
    }

    #[test]
    fn release_keys_tell_their_id_and_moves_are_in_order() {
        let id: ReleaseId = "a".repeat(64).parse().unwrap();
        assert_eq!(release_id_of_key(&model(), &release(&model(), &id)), Some(id.clone()));
        let moved = |at: &str| release_move(&model(), &ReleasePointer::new(id.clone(), None, at.parse().unwrap()));
        let key = moved("2026-01-31T07:08:09.000001Z");
        assert_eq!(key, format!("releases/pickup-eta/history/20260131T070809.000001Z-{id}.json"));
        assert!(key < moved("2026-01-31T07:08:09.1Z"));
        for key in [release_pointer(&model()), key, "releases/other/x.json".to_owned()] {
            assert_eq!(release_id_of_key(&model(), &key), None, "{key}");
        }
    }

    #[test]
    fn segment_and_hour_keys_tell_their_partition() {
        for table in [Table::Predictions(model()), Table::Shadows(model()), Table::Outcomes, Table::Inferences(model())]
        {
            let partition = Partition { table, hour: "2026-01-31T07".parse().unwrap() };
            let key = segment(&partition, "abc");
            assert!(key.starts_with(&segment_prefix(&partition)));
            assert_eq!(segment_partition(&key).unwrap(), partition);
            let key = hour_file(&partition);
            assert!(key.starts_with(&hour_files_of_day(&partition.table, "2026-01-31")));
            assert_eq!(hour_of_hour_file(&key), Some(partition.hour));
            assert_eq!(hour_of_evaluation(&evaluation(&model(), partition.hour)), Some(partition.hour));
            assert_eq!(hour_of_evaluation(&key), None);
            assert_eq!(hour_file_partition(&key), Some(partition.clone()));
            assert_eq!(hour_in_path(&key), Some(partition.hour));
            assert_eq!(hour_in_path(&segment(&partition, "abc")), Some(partition.hour));
        }
        for key in
            ["segments/outcomes/dt=2026-01-31/hour=7/x", "segments/outcomes/dt=2026-01-31/x", "segments/a/b/c/d/e"]
        {
            assert!(segment_partition(key).is_err(), "{key}");
        }
    }
}
