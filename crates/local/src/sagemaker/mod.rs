//! SageMaker: containers as processes.
//!
//! A container is the program that the options name for its image, started with `serve` or `train`, with
//! `SAGEMAKER_BASE_DIR` in place of `/opt/ml` and `SAGEMAKER_BIND_TO_PORT` in place of 8080.

mod container;
mod control_plane;
mod endpoints;
mod errors;
mod faults;
mod model_packages;
mod runtime;
mod training;
mod transform;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use serde_json::Value;

pub use self::faults::EndpointFault;
pub(crate) use self::{control_plane::serve as serve_control_plane, runtime::serve as serve_runtime};
use self::{
    endpoints::Endpoint, faults::Faults, model_packages::ModelPackages, training::TrainingJob, transform::TransformJob,
};
use crate::{event_bridge::EventBus, processes::Processes, s3::Store};

/// All of SageMaker's state.
pub(crate) struct SageMaker {
    pub(crate) processes: Arc<Processes>,
    pub(crate) store: Arc<Store>,
    pub(crate) images: BTreeMap<String, Vec<String>>,
    /// Region, credentials and endpoints.
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) root: PathBuf,
    pub(crate) logs: PathBuf,
    pub(crate) region: String,
    pub(crate) account_id: String,
    pub(crate) start_timeout: Duration,
    pub(crate) client: reqwest::Client,
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
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) root: PathBuf,
    pub(crate) logs: PathBuf,
    pub(crate) region: String,
    pub(crate) account_id: String,
    pub(crate) start_timeout: Duration,
}

impl SageMaker {
    pub(crate) fn new(parts: Parts) -> Result<Arc<Self>, crate::LocalError> {
        // A proxy of the host's has no business between here and a container.
        let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?;
        let Parts { processes, store, images, environment, root, logs, region, account_id, start_timeout } = parts;
        Ok(Arc::new(Self {
            processes,
            store,
            images,
            environment,
            root,
            logs,
            region,
            account_id,
            start_timeout,
            client,
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

/// Seconds since 1970, as AWS JSON writes times.
fn now_s() -> f64 {
    jiff::Timestamp::now().as_millisecond() as f64 / 1000.0
}
