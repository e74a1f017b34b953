//! The `mannen` command.
//!
//! One build serves all on a laptop: the same program is the command, each Lambda function and the model container
//! (`programs`), so that the local cloud can run them as processes of their own without seven links.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod archive_command;
mod archive_counts;
mod archive_text;
mod arguments;
mod backtest;
mod challenger;
mod dataset_command;
mod dataset_text;
mod demo;
mod doctor;
mod drift;
mod error;
mod evaluations;
mod experiment;
mod explain;
mod fault_matrix;
mod features;
mod init;
mod lake;
mod local_cloud;
mod lookup_tables;
mod model_command;
mod model_folder;
mod model_program;
mod model_text;
mod offline_model;
mod programs;
mod release;
mod replay;
mod report;
mod source;
mod stats;
mod status;
mod terminal;
mod train_and_deploy;
mod train_command;
mod training_definition;
mod up;
mod warehouse_command;
mod warehouse_rides;

use std::process::ExitCode;

use arguments::{Arguments, Command};
use clap::Parser;
use error::CliError;
use terminal::Terminal;

fn main() -> ExitCode {
    // Before anything else: a child must not start threads or read arguments that are not for it.
    if let Some(code) = programs::run_as_child() {
        return code;
    }
    let arguments = Arguments::parse();
    if let Command::Stats { command } = arguments.command {
        return stats::run(command);
    }
    let terminal = Terminal::new(arguments.json, arguments.quiet);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return terminal.failed(&CliError::io("start the async runtime", error)),
    };
    let outcome = runtime.block_on(async {
        match arguments.command {
            Command::Demo(options) => Box::pin(demo::run(&options, terminal)).await,
            Command::Doctor(options) => Box::pin(doctor::run(&options, terminal)).await,
            Command::Init(options) => init::run(&options, terminal),
            Command::Status(options) => status::run(&options, terminal).await,
            Command::Up(options) => up::run(&options, terminal).await,
            Command::Replay(options) => replay::run(&options, terminal).await,
            Command::Release { command } => Box::pin(release::run(&command, terminal)).await,
            Command::FaultMatrix(options) => fault_matrix::run(&options, terminal).await,
            Command::Features { command } => features::run(&command, terminal),
            Command::Experiment { command } => experiment::run(&command, terminal).await,
            Command::Drift { command } => drift::run(&command, terminal).await,
            Command::Backtest(options) => Box::pin(backtest::run(&options, terminal)).await,
            Command::Report(options) => report::run(&options, terminal).await,
            Command::Archive { command } => archive_command::run(&command, terminal).await,
            Command::Warehouse { command } => warehouse_command::run(&command, terminal),
            Command::Dataset { command } => Box::pin(dataset_command::run(&command, terminal)).await,
            Command::Explain(options) => Box::pin(explain::run(&options, terminal)).await,
            Command::Train(options) => Box::pin(train_command::run(&options, terminal)).await,
            Command::Model { command } => Box::pin(model_command::run(&command, terminal)).await,
            Command::Stats { .. } => Ok(()),
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => terminal.failed(&error),
    }
}
