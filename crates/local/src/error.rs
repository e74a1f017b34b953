//! What can go wrong here, with a stable code for each.

use std::{io, path::PathBuf};

/// An error of the local cloud.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The template cannot be read as YAML.
    #[error("the template is not valid YAML: {0}")]
    TemplateSyntax(#[from] serde_yaml_ng::Error),
    /// A part of the template is not what it must be.
    #[error("template: {place}: {problem}; expected {expected}")]
    Template {
        /// Resource and property, such as `Resources.Lake.Properties.BucketName`.
        place: String,
        /// What is wrong.
        problem: String,
        /// What would be right.
        expected: String,
    },
    /// A file or folder could not be used.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was tried, such as `read`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A port could not be opened.
    #[error("cannot listen on 127.0.0.1:{port} for {service}: {source}; choose another port, or 0 for any free one")]
    Listen {
        /// What would have listened there.
        service: &'static str,
        /// The port.
        port: u16,
        /// The system's answer.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The template has no such function or schedule.
    #[error("there is no {kind} {name}; the template has: {known}")]
    Unknown {
        /// `function`, `schedule` or `queue`.
        kind: &'static str,
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The function answered with an error.
    #[error("function {function} failed with {error_type}: {message}")]
    Function {
        /// The function's name.
        function: String,
        /// `errorType`, such as `Runtime.ExitError`.
        error_type: String,
        /// `errorMessage`.
        message: String,
    },
    /// All instances that the function's reserved concurrency allows are busy.
    #[error("function {function} is throttled: its reserved concurrency is used up")]
    Throttled {
        /// The function's name.
        function: String,
    },
    /// The function's answer is not JSON.
    #[error("function {function} answered something that is not JSON: {source}")]
    Answer {
        /// The function's name.
        function: String,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// Work was still going on when the time was up.
    #[error("still busy after {seconds:.1} s: {busy}")]
    StillBusy {
        /// How long was waited, in seconds.
        seconds: f64,
        /// What is not at rest.
        busy: String,
    },
    /// The warehouse could not be opened or served.
    #[error("the warehouse in {folder}: {source}")]
    Warehouse {
        /// The folder of its files.
        folder: PathBuf,
        /// What is wrong.
        source: local_warehouse::WarehouseError,
    },
    /// A model's container could not be started.
    #[error("the container of the image {image} cannot be started: {why}")]
    Container {
        /// The image.
        image: String,
        /// Why not.
        why: String,
    },
    /// A model's container gave no predictions.
    #[error("the model's container does not answer: {why}")]
    Invocation {
        /// What happened.
        why: String,
    },
    /// The HTTP client could not be built.
    #[error("cannot build the HTTP client: {0}")]
    HttpClient(#[from] reqwest::Error),
}

impl LocalError {
    /// A stable code for this error.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TemplateSyntax(_) => "template_syntax",
            Self::Template { .. } => "template",
            Self::File { .. } => "file",
            Self::Listen { .. } => "listen",
            Self::Start { .. } => "start",
            Self::Unknown { .. } => "unknown_name",
            Self::Function { .. } => "function_error",
            Self::Throttled { .. } => "throttled",
            Self::Answer { .. } => "function_answer",
            Self::StillBusy { .. } => "still_busy",
            Self::Warehouse { .. } => "warehouse",
            Self::Container { .. } => "container",
            Self::Invocation { .. } => "invocation",
            Self::HttpClient(_) => "http_client",
        }
    }

    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    pub(crate) fn template(place: impl Into<String>, problem: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Template { place: place.into(), problem: problem.into(), expected: expected.into() }
    }
}
