//! `mannen explain`: a prediction's decision receipt, and whether it can be made again offline, bit by bit.

mod receipt;
pub(crate) mod text;

use std::{collections::BTreeMap, path::PathBuf};

use ::features::Transformer;
use clap::Args;
use cloud::{
    object_store::{GetObject, ListObjects},
    s3::S3Bucket,
};
use domain::{Hour, ModelName, ModelVersion, PredictionId, PredictionRecord, Release, Tier, lake as layout};
use evaluator::{AuditPlan, RELEASE_UNUSABLE, ServedReleases, recompute_served, sample_records};
use recompute::{Audit, personal_results, recompute_answer};
use result_archiver::keeping::find_prediction;
use serde::Serialize;

use self::receipt::{Data, Features, Rebuilt, Receipt};
use crate::{
    archive_command::models,
    error::CliError,
    lake::{Lake, LakeOptions},
    model_program::ModelProgram,
    terminal::Terminal,
};

#[derive(Debug, Args)]
pub(crate) struct ExplainOptions {
    #[command(flatten)]
    lake: LakeOptions,
    /// The prediction
    #[arg(required_unless_present = "sample")]
    id: Option<PredictionId>,
    /// Instead of one, so many archived predictions by chance, with one summary
    #[arg(long, value_name = "COUNT", conflicts_with = "id", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sample: Option<u32>,
    /// What chance is made of: the same seed takes the same predictions
    #[arg(long, default_value_t = 1, requires = "sample")]
    seed: u64,
    /// The model [default: of one prediction, any; of a sample, pickup-eta]
    #[arg(long, value_name = "NAME")]
    model: Option<ModelName>,
    /// Make features by this features.toml instead of each release's own: what would it change?
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// The program that serves the model's artefact, and its arguments, where the model is not the reference model
    #[arg(long, value_name = "PROGRAM", num_args = 1.., value_terminator = ";")]
    program: Vec<String>,
    /// Make features only: the model is not asked
    #[arg(long)]
    no_answers: bool,
}

/// What a sample came to.
#[derive(Debug, Default, Serialize)]
struct Summary {
    predictions: u64,
    /// Predictions whose features, fallback and answer are all the same bits.
    bit_equal: u64,
    features: Audit,
    answers: Audit,
}

/// Everything that answers are made again with.
struct Maker<'a> {
    lake: &'a S3Bucket,
    releases: ServedReleases,
    program: &'a [String],
    asks: bool,
    /// By model version; or why it cannot be asked.
    models: BTreeMap<String, Result<ModelProgram, String>>,
}

pub(crate) async fn run(options: &ExplainOptions, terminal: Terminal) -> Result<(), CliError> {
    let lake = Lake::open(&options.lake).await?;
    let releases = match &options.spec {
        None => ServedReleases::default(),
        Some(file) => {
            let text = std::fs::read_to_string(file);
            ServedReleases::with_spec(text.map_err(|error| CliError::io(format!("read `{}`", file.display()), error))?)
        }
    };
    let (program, asks) = (options.program.as_slice(), !options.no_answers);
    let mut maker = Maker { lake: &lake.store, releases, program, asks, models: BTreeMap::new() };
    match (options.id, options.sample) {
        (Some(id), _) => explain_one(&mut maker, id, options.model.as_ref(), terminal).await,
        (None, sample) => explain_sample(&mut maker, sample.unwrap_or(1), options, terminal).await,
    }
}

async fn explain_one(
    maker: &mut Maker<'_>,
    id: PredictionId,
    model: Option<&ModelName>,
    terminal: Terminal,
) -> Result<(), CliError> {
    let lake = maker.lake;
    let models = match model {
        Some(model) => vec![model.clone()],
        None => models(lake, id.hour()).await?,
    };
    let mut found = find_prediction(lake, id, &models).await?;
    let record = found.record.take().ok_or(CliError::UnknownPrediction(id))?;
    let served = maker.releases.get(lake, &record.model, &record.release_id).await?;
    let (features, answer) = match served.as_ref() {
        Ok(served) => {
            let features = Features {
                spec_hash: record.spec_hash.clone(),
                lookups: served.0.lookups.clone(),
                personal: personal_results(served.1.plan()).into_iter().map(str::to_owned).collect(),
                rebuilt: Rebuilt::of(recompute_served(&record, served)),
            };
            (features, Rebuilt::of(maker.answer(&record, served).await))
        }
        Err(why) => {
            let no = Rebuilt::No { why: format!("the release: {why}") };
            let (spec_hash, lookups) = (record.spec_hash.clone(), BTreeMap::new());
            (Features { spec_hash, lookups, personal: Vec::new(), rebuilt: no.clone() }, no)
        }
    };
    let release = served.as_ref().as_ref().ok().map(|(release, _)| release);
    let mut receipt = Receipt::of(found, record, release, features, answer);
    receipt.model_version = registered(lake, &receipt.model, &receipt.decision.model_version).await?;
    if let Some(version) = &receipt.model_version {
        let dataset = &version.lineage.dataset;
        receipt.data = datasets::read_manifest(lake, &dataset.name, &dataset.address).await.ok().map(Data::of);
    }
    terminal.json(&receipt);
    terminal.result(text::receipt(&receipt));
    let differs = receipt.features.rebuilt.differs() || receipt.answer.differs();
    if differs { Err(CliError::NotBitEqual(1)) } else { Ok(()) }
}

async fn explain_sample(
    maker: &mut Maker<'_>,
    sample: u32,
    options: &ExplainOptions,
    terminal: Terminal,
) -> Result<(), CliError> {
    let model = match &options.model {
        Some(model) => model.clone(),
        None => "pickup-eta".parse()?,
    };
    let window = archived_window(maker.lake, &model).await?;
    let plan = AuditPlan { records: sample as usize, hours: usize::MAX, seed: options.seed };
    let step = terminal.step("Taking a sample of the archive");
    let records = sample_records(maker.lake, &model, window, plan).await?;
    step.done(format_args!("{} predictions", records.len()));
    let step = terminal.counted_step("Making them again", records.len() as u64);
    let mut summary = Summary::default();
    for record in &records {
        summary.predictions += 1;
        let served = maker.releases.get(maker.lake, &model, &record.release_id).await?;
        let Ok(served) = served.as_ref() else {
            summary.features.add_failure(RELEASE_UNUSABLE);
            continue;
        };
        let features = recompute_served(record, served);
        summary.features.add(record, &features);
        summary.features.personal.extend(personal_results(served.1.plan()).into_iter().map(str::to_owned));
        let is_equal = features.is_ok_and(|differences| differences.is_empty());
        step.advance(1);
        if !maker.asks {
            summary.bit_equal += u64::from(is_equal);
            continue;
        }
        match maker.answer(record, served).await {
            Ok(differences) => {
                summary.bit_equal += u64::from(is_equal && differences.is_empty());
                summary.answers.add(record, &Ok(differences));
            }
            Err(why) => summary.answers.add_failure(&why),
        }
    }
    step.done(format_args!("{} of {} bit-equal", summary.bit_equal, summary.predictions));
    terminal.json(&summary);
    terminal.result(text::summary(&summary));
    let features = summary.features.records - summary.features.equal;
    let answers = summary.answers.records - summary.answers.equal;
    match features.max(answers) {
        0 => Ok(()),
        differing => Err(CliError::NotBitEqual(differing)),
    }
}

/// From the first hour to the last that the archive has.
pub(crate) async fn archived_window(lake: &S3Bucket, model: &ModelName) -> Result<(Hour, Hour), CliError> {
    let listed = lake.list_objects(&layout::hour_files_of(&layout::Table::Predictions(model.clone()))).await?;
    let hours: Vec<Hour> = listed.iter().filter_map(|object| layout::hour_of_hour_file(&object.key)).collect();
    match (hours.iter().min(), hours.iter().max()) {
        (Some(first), Some(last)) => Ok((*first, *last)),
        _ => Err(CliError::Unexpected(format!(
            "the archive has no hour of `{model}`: compact it first (`mannen archive compact`), or name another model with --model"
        ))),
    }
}

/// What a model version was made of, where it is registered.
async fn registered(lake: &S3Bucket, model: &ModelName, version: &str) -> Result<Option<ModelVersion>, CliError> {
    let Some(object) = lake.get_object(&layout::model_version(model, version), None).await?.found() else {
        return Ok(None);
    };
    serde_json::from_slice(&object.bytes)
        .map(Some)
        .map_err(|error| CliError::Unexpected(format!("`{}`: {error}", layout::model_version(model, version))))
}

impl Maker<'_> {
    /// The answer made again: what is not the same, or in words why it cannot be made.
    async fn answer(
        &mut self,
        record: &PredictionRecord,
        (release, transformer): &(Release, Transformer),
    ) -> Result<Vec<recompute::Difference>, String> {
        let said = match record.tier {
            Tier::Fallback => Vec::new(),
            _ if !self.asks => return Err("the model was not asked (--no-answers)".to_owned()),
            _ => {
                let version = &record.model_version;
                let is_known = self.models.contains_key(version);
                if !is_known {
                    let started = self.start(&record.model, version).await;
                    self.models.insert(version.clone(), started);
                }
                match self.models.get(version) {
                    Some(Ok(program)) => program.ask(record, &release.calling).await?,
                    Some(Err(why)) => return Err(why.clone()),
                    None => return Err("the model was not started".to_owned()),
                }
            }
        };
        recompute_answer(record, &said, release, transformer.plan()).map_err(|error| error.to_string())
    }

    async fn start(&self, model: &ModelName, version: &str) -> Result<ModelProgram, String> {
        let registered = registered(self.lake, model, version).await.map_err(|error| error.to_string())?;
        let prefix = format!("s3://{}/", self.lake.name());
        let key = match &registered {
            Some(registered) => match registered.artefact.strip_prefix(&prefix) {
                Some(key) => key.to_owned(),
                None => return Err(format!("the artefact lies elsewhere: {}", registered.artefact)),
            },
            // As SageMaker writes it: the version is the training job's name.
            None => format!("{}{version}/output/model.tar.gz", layout::model_artifacts_prefix(model)),
        };
        let object = self.lake.get_object(&key, None).await.map_err(|error| error.to_string())?;
        let object = object.found().ok_or_else(|| format!("the artefact is gone: `{key}` is not in the lake"))?;
        ModelProgram::start(object.bytes, self.program).await
    }
}
