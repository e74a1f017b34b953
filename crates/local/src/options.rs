//! How a local cloud is set up.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// Where the functions' programs come from.
#[derive(Debug, Clone)]
pub enum FunctionLauncher {
    /// One program that holds all functions: it is started with `args` and then the function's binary name.
    ReExecute {
        /// The program.
        program: PathBuf,
        /// What comes before the binary name.
        args: Vec<String>,
    },
    /// A folder as `cargo lambda build` leaves it: `FOLDER/<binary>/bootstrap`.
    Directory(PathBuf),
}

/// TCP ports on 127.0.0.1; 0 takes any free one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ports {
    /// HTTP API (API Gateway).
    pub api: u16,
    /// S3.
    pub s3: u16,
    /// Lambda's Invoke API.
    pub lambda: u16,
    /// SQS.
    pub sqs: u16,
    /// EventBridge.
    pub event_bridge: u16,
    /// SageMaker's control plane.
    pub sagemaker: u16,
    /// SageMaker's InvokeEndpoint.
    pub sagemaker_runtime: u16,
    /// The warehouse: BigQuery's REST API and the Storage Read API.
    pub warehouse: u16,
}

/// Objects that the API's port serves read-only.
#[derive(Debug, Clone)]
pub struct StaticRoute {
    /// Path on the API port, such as `/report`.
    pub path_prefix: String,
    /// Bucket; `None` is the template's first.
    pub bucket: Option<String>,
    /// What the rest of the path is appended to, such as `reports/`.
    pub key_prefix: String,
}

/// How a local cloud is set up. [`Options::new`] fills in the defaults.
#[derive(Debug, Clone)]
pub struct Options {
    /// The template's text.
    pub template: String,
    /// Values for the template's parameters in place of their defaults.
    pub parameters: BTreeMap<String, String>,
    /// `AWS::StackName`.
    pub stack_name: String,
    /// `AWS::Region`.
    pub region: String,
    /// `AWS::AccountId`.
    pub account_id: String,
    /// The folder that holds objects, logs and model containers' files.
    pub root: PathBuf,
    /// Where functions come from.
    pub launcher: FunctionLauncher,
    /// Program and arguments that every child is started through; it must call [`crate::run_child`] with the rest of
    /// its arguments. With it children die even if this process is killed.
    pub child_wrapper: Option<Vec<String>>,
    /// Ports.
    pub ports: Ports,
    /// Model and training images: image URI to program and arguments; `serve` or `train` is appended.
    pub images: BTreeMap<String, Vec<String>>,
    /// Python of containers in script mode, which need no image here: a path, or a name to look for in `PATH`.
    pub python: PathBuf,
    /// More environment variables for all functions and containers, such as `RUST_LOG`.
    pub environment: BTreeMap<String, String>,
    /// Most instances of one function, where the template reserves no concurrency.
    pub max_instances: usize,
    /// How long a function may take to ask for its first event. Lambda: 10 s.
    pub init_timeout: Duration,
    /// How long an asynchronous invocation waits before a retry. Lambda: 1 and 2 minutes.
    pub async_retry_delay: Duration,
    /// When messages of a failed batch become visible again; `None`: after the queue's visibility timeout, as SQS does.
    pub queue_retry_delay: Option<Duration>,
    /// A shorter batching window for queues than the template's.
    pub batching_window_limit: Option<Duration>,
    /// Whether schedules fire by themselves.
    pub schedules_enabled: bool,
    /// How long children have between SIGTERM and SIGKILL at shutdown. Lambda: 2 s at most.
    pub shutdown_grace: Duration,
    /// How long a model container may take to answer `/ping`.
    pub container_start_timeout: Duration,
    /// Whether routes for which the template wants IAM authorization refuse what is not signed. Off: a laptop's port is
    /// reached by its user alone, who has nothing to sign with.
    pub check_signatures: bool,
    /// Objects that the API's port serves read-only.
    pub static_routes: Vec<StaticRoute>,
}

impl Options {
    /// The defaults for a template's text, a working folder and a launcher.
    pub fn new(template: impl Into<String>, root: impl Into<PathBuf>, launcher: FunctionLauncher) -> Self {
        Self {
            template: template.into(),
            parameters: BTreeMap::new(),
            stack_name: "mannen".to_owned(),
            region: "us-east-1".to_owned(),
            account_id: "000000000000".to_owned(),
            root: root.into(),
            launcher,
            child_wrapper: None,
            ports: Ports::default(),
            images: BTreeMap::new(),
            python: "python3".into(),
            environment: BTreeMap::new(),
            max_instances: 4,
            init_timeout: Duration::from_secs(10),
            async_retry_delay: Duration::from_secs(1),
            queue_retry_delay: None,
            batching_window_limit: None,
            schedules_enabled: true,
            shutdown_grace: Duration::from_secs(2),
            container_start_timeout: Duration::from_mins(1),
            check_signatures: false,
            static_routes: Vec::new(),
        }
    }
}
