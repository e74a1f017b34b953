//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{
    archive_command::ArchiveCommand, backtest::BacktestOptions, challenger::Challenger,
    dataset_command::DatasetCommand, doctor::DoctorOptions, drift::DriftCommand, experiment::ExperimentCommand,
    explain::ExplainOptions, features::FeaturesCommand, init::InitOptions, model_command::ModelCommand,
    release::ReleaseCommand, report::ReportOptions, stats::StatsCommand, status::StatusOptions,
    train_command::TrainOptions, warehouse_command::WarehouseCommand,
};

/// Everything around a model in production: train, release, serve, archive, evaluate.
#[derive(Debug, Parser)]
#[command(name = "mannen", version, about, max_term_width = 100)]
pub(crate) struct Arguments {
    /// Print one JSON object at the end instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress, only the result
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the whole loop on this machine: train, release, serve, archive, evaluate
    ///
    /// Starts the cloud on a laptop, trains the reference model on the earlier part of the rides, releases it, sends the
    /// later part as requests in time order, archives each prediction, lands the outcomes and evaluates. Without --trips
    /// the rides are those of a seeded simulated city. No AWS account is needed.
    Demo(DemoOptions),
    /// Say what is missing on this machine, or in an account, and how to mend it; exits with 1 where something needed is
    Doctor(DoctorOptions),
    /// Make the folder of a new model: features.toml, training.toml, release.toml
    ///
    /// What no flag says is asked on a terminal. The folder that it makes passes `mannen features check`; one with the demo's
    /// inputs can be trained and served at once: `mannen demo --model models/NAME`.
    Init(InitOptions),
    /// Show release, traffic, tiers, labels, archive and alarms on one screen
    Status(StatusOptions),
    /// Start the cloud on a laptop with a released model, and keep it until Ctrl-C
    Up(UpOptions),
    /// Send recorded trips as requests to a running API, and their durations as outcomes
    Replay(ReplayOptions),
    /// Plan, publish, list, compare, roll back and watch releases
    Release {
        #[command(subcommand)]
        command: ReleaseCommand,
    },
    /// Send requests under every fault that an endpoint can have, and print what became of them
    ///
    /// Starts the cloud on a laptop with a small model, tells its endpoint to be slow, to fail, to reset connections and to answer
    /// garbage, without and with a second endpoint, and checks that every request is answered by the right tier within its deadline
    /// and archived. Exits with 1 where one is not.
    FaultMatrix(FaultMatrixOptions),
    /// Look after the archive: compact, verify, redrive, count, query, collect garbage, export
    Archive {
        #[command(subcommand)]
        command: ArchiveCommand,
    },
    /// Make immutable dataset versions from a warehouse, and look after them
    Dataset {
        #[command(subcommand)]
        command: DatasetCommand,
    },
    /// Train a model on a dataset version, with versioned code
    ///
    /// The model's folder becomes a training definition with a code archive, the dataset version a training view, each variant of
    /// training.toml a SageMaker training job; what they make is registered with its lineage and judged against the champion on
    /// held-out rows. Exits with 1 where a version is refused or fails. The same inputs are the same job: nothing is paid for twice.
    Train(TrainOptions),
    /// List, show, compare, approve, deploy and retire model versions
    Model {
        #[command(subcommand)]
        command: ModelCommand,
    },
    /// Check, explain, compare and run a feature spec
    Features {
        #[command(subcommand)]
        command: FeaturesCommand,
    },
    /// Plan an experiment, see what may be concluded of it, end it
    Experiment {
        #[command(subcommand)]
        command: ExperimentCommand,
    },
    /// Tell what drifts, and look after the baselines that it is told against
    Drift {
        #[command(subcommand)]
        command: DriftCommand,
    },
    /// Tell what one prediction was made of, and make it again offline: the decision receipt
    ///
    /// Features and fallback are made again from the archived raw inputs by the release's own spec, the answer by the model's
    /// artefact, and each number is held against the archive bit by bit. With --sample this is done for many archived predictions by
    /// chance. Exits with 1 where a bit differs.
    Explain(ExplainOptions),
    /// Ask a registered model about the archived requests, and compare it with what answered then
    ///
    /// Features are rebuilt from the archived raw inputs by the model's own spec; its artefact is asked on this machine, or an
    /// endpoint that serves it. Only rides whose outcome came count, and only the car that was sent: other candidates have no truth.
    Backtest(Box<BacktestOptions>),
    /// Tell how good the model is: a summary, Markdown, JSON, or a page
    Report(ReportOptions),
    /// Load files into the local cloud's warehouse, and ask it in BigQuery's SQL
    Warehouse {
        #[command(subcommand)]
        command: WarehouseCommand,
    },
    /// Compute statistics of JSON cases on standard input, one result a line: experiments, predictions, drift, assignment
    Stats {
        #[command(subcommand)]
        command: StatsCommand,
    },
}

/// Where rides come from.
#[derive(Debug, Clone, Args)]
pub(crate) struct RideOptions {
    /// Recorded trips in the New York TLC format (CSV, gzip or Parquet) instead of the simulated city
    #[arg(long, value_name = "FILE", requires = "zones")]
    pub(crate) trips: Option<PathBuf>,
    /// Zones of the trips: CSV with location_id, centroid_lon, centroid_lat
    #[arg(long, value_name = "FILE")]
    pub(crate) zones: Option<PathBuf>,
    /// Daily weather of the trips: NOAA daily summaries (CSV, standard units)
    #[arg(long, value_name = "FILE", requires = "trips")]
    pub(crate) weather: Option<PathBuf>,
    /// Seed of everything random: city, riders, decoy candidates
    #[arg(long, default_value_t = 20_180_101)]
    pub(crate) seed: u64,
}

/// The local cloud's options.
#[derive(Debug, Clone, Args)]
pub(crate) struct CloudOptions {
    /// Folder of the model: features.toml, training.toml, release.toml [default: models/pickup-eta, else the copy built in]
    #[arg(long, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,
    /// The SAM template that says which event reaches which function [default: infra/template.yaml, else the copy built in]
    #[arg(long, value_name = "FILE")]
    pub(crate) template: Option<PathBuf>,
    /// Run the functions that `cargo lambda build` left in DIR (such as target/lambda) instead of this program's own
    #[arg(long, value_name = "DIR")]
    pub(crate) functions: Option<PathBuf>,
    /// Folder for objects, logs and reports; emptied at the start, all but the warehouse in it
    #[arg(long, value_name = "DIR", default_value = ".mannen")]
    pub(crate) dir: PathBuf,
    /// Port of the API; 0 takes any free one
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// Refuse requests that are not signed (Signature Version 4), where the template wants IAM authorization
    #[arg(long)]
    pub(crate) check_signatures: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DemoOptions {
    #[command(flatten)]
    pub(crate) rides: RideOptions,
    #[command(flatten)]
    pub(crate) cloud: CloudOptions,
    /// How many requests to send
    #[arg(long, default_value_t = 2_500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) requests: u32,
    /// How many simulated rides to train on
    #[arg(long, default_value_t = 40_000, value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    pub(crate) training_rides: u32,
    /// Requests under way at the same time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) concurrency: u16,
    /// After the first evaluation, let a challenger compete for the traffic: the city changes, a model is trained on newer data,
    /// and evidence decides [default: newer; none with --trips]
    #[arg(long, value_enum, value_name = "WHICH", conflicts_with = "trips")]
    pub(crate) challenger: Option<Challenger>,
    /// Keep serving after the evaluation, until Ctrl-C
    #[arg(long)]
    pub(crate) stay: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct UpOptions {
    #[command(flatten)]
    pub(crate) rides: RideOptions,
    #[command(flatten)]
    pub(crate) cloud: CloudOptions,
    /// How many simulated rides to train on
    #[arg(long, default_value_t = 40_000, value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    pub(crate) training_rides: u32,
    /// Start without a model: nothing is trained or released
    #[arg(long)]
    pub(crate) empty: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ReplayOptions {
    #[command(flatten)]
    pub(crate) rides: RideOptions,
    /// The API to send to, such as http://127.0.0.1:8080
    #[arg(long, value_name = "URL", env = "MANNEN_API")]
    pub(crate) api: String,
    /// How many rides to send; all where absent
    #[arg(long)]
    pub(crate) requests: Option<u32>,
    /// Leave out this share of the trips at the beginning, 0 to 1: what a model was trained on
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub(crate) skip: f64,
    /// Requests under way at the same time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) concurrency: u16,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct FaultMatrixOptions {
    #[command(flatten)]
    pub(crate) cloud: CloudOptions,
    /// How many requests to send under each fault
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) requests: u32,
    /// Each request's deadline, in milliseconds
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) deadline_ms: u32,
    /// How much later than its deadline an answer may reach the client, in milliseconds
    #[arg(long, default_value_t = 10)]
    pub(crate) grace_ms: u32,
    /// How many simulated rides to train on
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    pub(crate) training_rides: u32,
    /// Seed of the simulated city
    #[arg(long, default_value_t = 20_180_101)]
    pub(crate) seed: u64,
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..1.0).contains(&share) { Ok(share) } else { Err("must be at least 0 and below 1".to_owned()) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn trips_need_zones() {
        assert!(Arguments::try_parse_from(["mannen", "demo", "--trips", "x"]).is_err());
        assert!(Arguments::try_parse_from(["mannen", "demo", "--trips", "x", "--zones", "y"]).is_ok());
    }
}
