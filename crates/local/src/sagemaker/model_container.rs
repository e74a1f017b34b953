use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::{
    container::{Containers, ServeOrder, Serving, unpack},
    container_client,
};
use crate::{LocalError, processes::Processes};

/// How a [`ModelContainer`] is started.
#[derive(Debug, Clone)]
pub struct ModelContainerOptions {
    /// Image URI to program and arguments; `serve` is appended.
    pub images: BTreeMap<String, Vec<String>>,
    /// As [`crate::Options::child_wrapper`].
    pub child_wrapper: Option<Vec<String>>,
    /// As [`crate::Options::python`].
    pub python: PathBuf,
    /// A folder for the model's files and the container's log. Its owner removes it.
    pub folder: PathBuf,
    /// How long the container may take to answer `/ping`.
    pub start_timeout: Duration,
}

/// A model's container by itself, started from an artefact as an endpoint's is: what asks a model where no endpoint serves it.
#[derive(Debug)]
pub struct ModelContainer {
    serving: Serving,
    client: reqwest::Client,
    // Children end with it.
    _processes: std::sync::Arc<Processes>,
}

impl ModelContainer {
    /// Unpacks `artefact` (and the script's folder, `code`, for a model in script mode) and waits until the container serves.
    ///
    /// `environment` is the model's: for script mode it has `SAGEMAKER_PROGRAM`.
    ///
    /// # Errors
    /// [`LocalError::Container`]: the archives cannot be unpacked, no program is known for the image, or it does not serve.
    pub async fn start(
        options: ModelContainerOptions,
        image: &str,
        environment: BTreeMap<String, String>,
        artefact: Vec<u8>,
        code: Option<Vec<u8>>,
    ) -> Result<Self, LocalError> {
        let ModelContainerOptions { images, child_wrapper, python, folder, start_timeout } = options;
        let processes = Processes::new(child_wrapper)?;
        let client = container_client()?;
        let containers = Containers {
            processes: processes.clone(),
            images,
            python,
            environment: BTreeMap::new(),
            logs: folder.clone(),
            start_timeout,
            client: client.clone(),
        };
        let base = folder.join("model-container");
        let unpacked = base.clone();
        let unpack = move || {
            unpack(artefact.as_slice(), &unpacked.join("model"), "the artefact")?;
            code.map_or(Ok(()), |code| unpack(code.as_slice(), &unpacked.join("code"), "the script's folder"))
        };
        let failed = |why: String| LocalError::Container { image: image.to_owned(), why };
        let unpacked = tokio::task::spawn_blocking(unpack).await;
        unpacked.map_err(|error| failed(error.to_string()))?.map_err(failed)?;
        let order = ServeOrder {
            image: image.to_owned(),
            base,
            environment,
            log: "model-container".to_owned(),
            shown: "it".to_owned(),
        };
        let serving = containers.serve(order).await.map_err(failed)?;
        Ok(Self { serving, client, _processes: processes })
    }

    /// Asks for predictions: the answer's content type and body.
    ///
    /// # Errors
    /// [`LocalError::Invocation`]: it does not answer, or not with 200.
    pub async fn invoke(
        &self,
        content_type: &str,
        accept: &str,
        body: Vec<u8>,
    ) -> Result<(Option<String>, Vec<u8>), LocalError> {
        let failed = |why: String| LocalError::Invocation { why };
        let request = self.client.post(format!("{}/invocations", self.serving.url)).body(body);
        let answer = request.header("content-type", content_type).header("accept", accept).send().await;
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        let (status, kind) = (answer.status(), answer.headers().get("content-type").cloned());
        let body = answer.bytes().await.map_err(|error| failed(error.to_string()))?;
        if !status.is_success() {
            let shown: String = String::from_utf8_lossy(&body).chars().take(500).collect();
            return Err(failed(format!("{status}: {shown}")));
        }
        Ok((kind.and_then(|kind| Some(kind.to_str().ok()?.to_owned())), body.to_vec()))
    }

    /// Ends the process and removes its files.
    pub async fn stop(self) {
        self.serving.end(Duration::from_secs(2)).await;
    }
}
