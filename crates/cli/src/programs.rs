//! The other programs that this one is: each Lambda function, the model container, and the wrapper around children.

use std::{future::Future, process::ExitCode};

use lambda_runtime::Error;

/// First argument of a child that is a Lambda function; the function's binary name follows.
pub(crate) const FUNCTION: &str = "__function";
/// First argument of a child that is the model container; `train` or `serve` follows.
pub(crate) const MODEL: &str = "__model";
/// First argument of a child that dies with its parent; the program to become follows.
pub(crate) const CHILD: &str = "__child";

/// Runs as what the first argument says, where it is one of ours.
pub(crate) fn run_as_child() -> Option<ExitCode> {
    let mut arguments = std::env::args_os();
    let program = arguments.next()?;
    let role = arguments.next()?;
    match role.to_str()? {
        CHILD => {
            let error = local::run_child(arguments);
            anstream::eprintln!("error: {error}");
            Some(ExitCode::FAILURE)
        }
        MODEL => Some(reference_model::main_with(std::iter::once(program).chain(arguments))),
        FUNCTION => {
            let name = arguments.next()?;
            Some(run_function(&name.to_string_lossy()))
        }
        _ => None,
    }
}

/// The same entry point as the `main.rs` of each function.
fn run_function(name: &str) -> ExitCode {
    match name {
        "prediction-proxy" => block_on(prediction_proxy::run()),
        "feature-transform" => block_on(feature_transform::run()),
        "outcome-intake" => block_on(outcome_intake::run()),
        "result-archiver" => block_on(result_archiver::run()),
        "dataset-extractor" => block_on(dataset_extractor::run()),
        "evaluator" => block_on(evaluator::run()),
        "training-launcher" => block_on(training_launcher::run()),
        other => {
            anstream::eprintln!("error: this program holds no function `{other}`");
            ExitCode::from(2)
        }
    }
}

fn block_on(function: impl Future<Output = Result<(), Error>>) -> ExitCode {
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::from)
        .and_then(|runtime| runtime.block_on(function));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
