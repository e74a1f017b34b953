use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::ModelError;

/// The folders of SageMaker's container contract, below one base folder (`/opt/ml` in a container).
/// <https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html>
#[derive(Debug, Clone)]
pub struct Folders {
    base: PathBuf,
}

impl Folders {
    /// The folders below `base`.
    pub fn new(base: impl Into<PathBuf>) -> Self {
        Self { base: base.into() }
    }

    /// `input/config/hyperparameters.json`
    pub fn hyperparameters(&self) -> PathBuf {
        self.base.join("input/config/hyperparameters.json")
    }

    /// `input/data/<channel>`
    pub fn channel(&self, channel: &str) -> PathBuf {
        self.base.join("input/data").join(channel)
    }

    /// `model`: SageMaker packs it as `model.tar.gz` after training, and unpacks that here before serving.
    pub fn model(&self) -> PathBuf {
        self.base.join("model")
    }

    /// `output/data`: what SageMaker packs as `output.tar.gz` beside the model.
    pub fn output_data(&self) -> PathBuf {
        self.base.join("output/data")
    }

    /// `output/failure`: why training failed. SageMaker shows its beginning as the job's `FailureReason`.
    pub fn failure(&self) -> PathBuf {
        self.base.join("output/failure")
    }
}

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    fs::read(path).map_err(|source| ModelError::File { action: "read", path: path.to_owned(), source })
}

/// Writes a whole file, and its folder where that is missing.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    path.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(path, bytes))
        .map_err(|source| ModelError::File { action: "write", path: path.to_owned(), source })
}
