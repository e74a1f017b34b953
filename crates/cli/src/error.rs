use std::path::PathBuf;

use ::features::FeatureError;
use cloud::{object_store::StoreError, sagemaker_control::ControlError};
use domain::DomainError;
use local::LocalError;
use releases::ReleasesError;
use rides::RidesError;
use thiserror::Error;

/// Why a command stopped.
#[derive(Debug, Error)]
pub(crate) enum CliError {
    /// A file or another part of the system.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A file of the model's folder.
    #[error("{file}: {detail}")]
    ModelFolder {
        /// The file.
        file: PathBuf,
        /// What is wrong, with its place.
        detail: String,
    },
    /// The feature spec, or rides that are not what it says.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// Rides that cannot be read.
    #[error(transparent)]
    Rides(#[from] RidesError),
    /// The local cloud.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The lake.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A word of the vocabulary.
    #[error(transparent)]
    Domain(#[from] DomainError),
    /// SageMaker's control plane, or what stands for it.
    #[error(transparent)]
    SageMaker(#[from] ControlError),
    /// The API cannot be reached.
    #[error("{url}: {detail}")]
    Api {
        /// Where.
        url: String,
        /// Why.
        detail: String,
    },
    /// The archive.
    #[error(transparent)]
    Archiver(#[from] result_archiver::ArchiverError),
    /// An archive that is not as it should be.
    #[error("{0} things are wrong with the archive")]
    ArchiveTrouble(usize),
    /// Predictions that are not, bit for bit, what is computed again.
    #[error("{0} prediction(s) are not what is computed again from what the archive has of them")]
    NotBitEqual(u64),
    /// Dataset versions.
    #[error(transparent)]
    Datasets(#[from] datasets::DatasetsError),
    /// A dataset's definition, or its extract.
    #[error(transparent)]
    Extractor(#[from] dataset_extractor::ExtractorError),
    /// Training, registering, judging, deploying.
    #[error(transparent)]
    Training(#[from] ::training::TrainingError),
    /// The gate refused models.
    #[error("{0} version(s) were refused or failed; `mannen model show VERSION` tells why")]
    VersionsRefused(usize),
    /// A version that is not as it was published.
    #[error("{0} thing(s) are wrong with the version")]
    DatasetTrouble(usize),
    /// A prediction that nothing is known of.
    #[error(
        "nothing is known of {0}: it is not in archive, segments or landing; `mannen archive stats` tells which hours are there"
    )]
    UnknownPrediction(domain::PredictionId),
    /// A step came to another result than it should.
    #[error("{0}")]
    Unexpected(String),
    /// Files that cannot be transformed.
    #[error(transparent)]
    Batch(#[from] feature_batch::BatchError),
    /// Evaluations that cannot be read.
    #[error(transparent)]
    Evaluations(#[from] evaluator::EvaluatorError),
    /// A plan of an experiment that cannot be made.
    #[error(transparent)]
    Experiments(#[from] experiments::ExperimentsError),
    /// Releases.
    #[error(transparent)]
    Releases(#[from] ReleasesError),
    /// Checks of a plan that failed, as `plan` tells by its exit code.
    #[error("{0} check(s) failed; it would not be published")]
    ChecksFailed(usize),
    /// A declared lookup table has no file.
    #[error(
        "lookup table `{name}` is declared in {}, but there is no {}; build it with `mannen features build-lookup {name}`, bring a \
         file of your own in with `mannen features import-lookup {name}`, or name one with --lookup {name}=FILE",
        spec.display(), file.display()
    )]
    LookupMissing {
        /// The table.
        name: String,
        /// The spec's file.
        spec: PathBuf,
        /// Where the table should lie.
        file: PathBuf,
    },
    /// A lookup table that the spec does not declare.
    #[error("{} declares no lookup table `{name}`; add [lookups.{name}] with its keys and values", spec.display())]
    LookupUndeclared {
        /// The table.
        name: String,
        /// The spec's file.
        spec: PathBuf,
    },
    /// What is asked of a lookup table's build makes no sense.
    #[error("lookup table `{name}`: {detail}")]
    LookupOptions {
        /// The table.
        name: String,
        /// What is wrong, and what to do.
        detail: String,
    },
    /// What `doctor` found.
    #[error("{0} thing(s) that are needed are missing")]
    Unwell(usize),
    /// Two specs or releases that differ, as `diff` tells by its exit code.
    #[error("{0} difference(s)")]
    Differs(usize),
    /// Things that drift, as `drift status` and `drift violations` tell by their exit code.
    #[error("{0} thing(s) drift")]
    Drifts(usize),
    /// The warehouse.
    #[error(transparent)]
    Warehouse(#[from] local_warehouse::WarehouseError),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl CliError {
    pub(crate) fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }

    /// A stable code, for `--json`.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Io { .. } => "io",
            Self::ModelFolder { .. } => "model_folder_invalid",
            Self::Features(error) => error.reason(),
            Self::Rides(error) => error.reason(),
            Self::Local(error) => error.reason(),
            Self::Store(error) => error.reason(),
            Self::Domain(error) => error.reason(),
            Self::SageMaker(error) => error.reason(),
            Self::Api { .. } => "api_unreachable",
            Self::Batch(error) => error.reason(),
            Self::Evaluations(error) => error.reason(),
            Self::Experiments(error) => error.reason(),
            Self::Releases(error) => error.reason(),
            Self::ChecksFailed(_) => "release_checks_failed",
            Self::LookupMissing { .. } => "lookup_missing",
            Self::LookupUndeclared { .. } => "lookup_undeclared",
            Self::LookupOptions { .. } => "lookup_build_invalid",
            Self::Unwell(_) => "unwell",
            Self::Differs(_) => "differs",
            Self::Drifts(_) => "drifts",
            Self::Archiver(error) => error.reason(),
            Self::Datasets(error) => error.reason(),
            Self::Extractor(error) => error.reason(),
            Self::DatasetTrouble(_) => "dataset_trouble",
            Self::Training(error) => error.reason(),
            Self::VersionsRefused(_) => "versions_refused",
            Self::ArchiveTrouble(_) => "archive_trouble",
            Self::NotBitEqual(_) => "not_bit_equal",
            Self::UnknownPrediction(_) => "unknown_prediction",
            Self::Unexpected(_) => "unexpected",
            Self::Warehouse(error) => error.reason(),
            Self::Interrupted => "interrupted",
        }
    }

    /// 130 after Ctrl-C, as shells have it; else 1. Clap exits with 2 by itself.
    pub(crate) fn exit_code(&self) -> u8 {
        if matches!(self, Self::Interrupted) { 130 } else { 1 }
    }
}
