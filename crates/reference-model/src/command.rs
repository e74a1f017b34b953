use std::{
    ffi::OsString,
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

use crate::{Folders, Model, ModelError, serve_on, train};

#[derive(Debug, Parser)]
#[command(
    name = "reference-model",
    version,
    about = "A model container for SageMaker: gradient boosting on CSV and Parquet."
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// What SageMaker starts a container with.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Train on input/data/train and write the model to model/.
    Train(TrainArgs),
    /// Answer GET /ping and POST /invocations from the model in model/.
    Serve(ServeArgs),
}

/// Arguments of `train`.
#[derive(Debug, Clone, Args)]
pub struct TrainArgs {
    /// The folder that holds input/, model/ and output/.
    #[arg(long, env = "SAGEMAKER_BASE_DIR", default_value = "/opt/ml")]
    pub base_dir: PathBuf,
}

/// Arguments of `serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// The folder that holds model/.
    #[arg(long, env = "SAGEMAKER_BASE_DIR", default_value = "/opt/ml")]
    pub base_dir: PathBuf,
    /// The port to listen on; 0 for a free one, which the first line of output names.
    #[arg(long, env = "SAGEMAKER_BIND_TO_PORT", default_value_t = 8080)]
    pub port: u16,
    /// The address to listen on.
    #[arg(long, default_value = "0.0.0.0")]
    pub bind: IpAddr,
}

/// The whole program: `arguments` with the program's name first.
pub fn main_with(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    match CommandLine::try_parse_from(arguments) {
        Ok(line) => run(line.command),
        Err(error) => {
            // `--help` comes this way too, with exit code 0.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}

/// Runs a command to its end. Errors go to stderr and end with exit code 1.
pub fn run(command: Command) -> ExitCode {
    let ended = match command {
        Command::Train(arguments) => run_train(arguments),
        Command::Serve(arguments) => run_serve(&arguments),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{}: {error}", error.reason());
            ExitCode::FAILURE
        }
    }
}

fn run_train(arguments: TrainArgs) -> Result<(), ModelError> {
    train(&Folders::new(arguments.base_dir), &mut io::stdout()).map(|_| ())
}

fn run_serve(arguments: &ServeArgs) -> Result<(), ModelError> {
    let model = Arc::new(Model::load(&Folders::new(&arguments.base_dir).model())?);
    let runtime = Runtime::new().map_err(ModelError::Server)?;
    let served = runtime.block_on(async {
        let listener =
            TcpListener::bind(SocketAddr::new(arguments.bind, arguments.port)).await.map_err(ModelError::Server)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(ModelError::Server)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(ModelError::Server)?;
        let address = listener.local_addr().map_err(ModelError::Server)?;
        let (features, trees) = (model.feature_count(), model.tree_count());
        let _ = writeln!(io::stdout(), "listening on http://{address} ({features} features, {trees} trees)");
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        serve_on(listener, model, stop).await
    });
    // A large request that is still computing must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(50));
    served
}
