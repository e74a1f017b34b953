//! SageMaker: containers as processes.
//!
//! A container is the program that the options name for its image, started with `serve` or `train`, with
//! `SAGEMAKER_BASE_DIR` in place of `/opt/ml` and `SAGEMAKER_BIND_TO_PORT` in place of 8080.

mod container;
mod control_plane;
mod endpoints;
mod errors;
mod faults;
mod model_container;
mod model_packages;
mod runtime;
mod script_mode;
mod training;
mod transform;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use serde_json::Value;

use self::{
    container::Containers, endpoints::Endpoint, faults::Faults, model_packages::ModelPackages, training::TrainingJob,
    transform::TransformJob,
};
pub(crate) use self::{control_plane::serve as serve_control_plane, runtime::serve as serve_runtime};
pub use self::{
    faults::EndpointFault,
    model_container::{ModelContainer, ModelContainerOptions},
};
use crate::{event_bridge::EventBus, processes::Processes, s3::Store};

/// All of SageMaker's state.
pub(crate) struct SageMaker {
    pub(crate) containers: Containers,
    pub(crate) store: Arc<Store>,
    pub(crate) root: PathBuf,
    pub(crate) region: String,
    pub(crate) account_id: String,
    faults: Faults,
    /// Where changes of state are told.
    bus: OnceLock<Arc<EventBus>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The requests that made them, with `CreationTime`.
    models: BTreeMap<String, Value>,
    endpoint_configs: BTreeMap<String, Value>,
    endpoints: BTreeMap<String, Endpoint>,
    training_jobs: BTreeMap<String, TrainingJob>,
    transform_jobs: BTreeMap<String, TransformJob>,
    model_packages: ModelPackages,
}

/// What [`SageMaker`] is made from.
pub(crate) struct Parts {
    pub(crate) processes: Arc<Processes>,
    pub(crate) store: Arc<Store>,
    pub(crate) images: BTreeMap<String, Vec<String>>,
    pub(crate) python: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) root: PathBuf,
    pub(crate) logs: PathBuf,
    pub(crate) region: String,
    pub(crate) account_id: String,
    pub(crate) start_timeout: Duration,
}

impl SageMaker {
    pub(crate) fn new(parts: Parts) -> Result<Arc<Self>, crate::LocalError> {
        let client = container_client()?;
        let Parts { processes, store, images, python, environment, root, logs, region, account_id, start_timeout } =
            parts;
        Ok(Arc::new(Self {
            containers: Containers { processes, images, python, environment, logs, start_timeout, client },
            store,
            root,
            region,
            account_id,
            faults: Faults::default(),
            bus: OnceLock::new(),
            state: Mutex::default(),
        }))
    }

    /// Tells an endpoint, or one of its variants, to have a fault; `None` heals.
    pub(crate) fn set_fault(&self, endpoint: &str, variant: Option<&str>, fault: Option<EndpointFault>) {
        self.faults.set(endpoint, variant, fault);
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn arn(&self, kind: &str, name: &str) -> String {
        format!("arn:aws:sagemaker:{}:{}:{kind}/{}", self.region, self.account_id, name.to_lowercase())
    }

    /// Changes of state are told there from now on.
    pub(crate) fn tell_changes_to(&self, bus: Arc<EventBus>) {
        _ = self.bus.set(bus);
    }

    /// Tells EventBridge, as SageMaker does: <https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html>.
    fn tell(&self, detail_type: &str, arn: &str, detail: &Value) {
        if let Some(bus) = self.bus.get() {
            bus.publish("aws.sagemaker", detail_type, detail, &Value::from(vec![arn]));
        }
    }

    /// Jobs that run and endpoints that change.
    pub(crate) fn busy(&self) -> usize {
        self.with(|state| {
            let training = state.training_jobs.values().filter(|job| !job.is_over()).count();
            let transform = state.transform_jobs.values().filter(|job| !job.is_over()).count();
            training + transform + state.endpoints.values().filter(|endpoint| endpoint.is_changing()).count()
        })
    }
}

/// A proxy of the host's has no business between here and a container.
fn container_client() -> Result<reqwest::Client, crate::LocalError> {
    Ok(reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?)
}

/// Seconds since 1970, as AWS JSON writes times.
fn now_s() -> f64 {
    jiff::Timestamp::now().as_millisecond() as f64 / 1000.0
}
