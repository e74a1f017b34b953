//! `mannen experiment`: planned, watched, ended.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use domain::{Arm, Release};
use evaluation::{
    experiment::{AnalysisMethod, AnalysisOptions, Baseline, ExperimentCard, ExperimentFacts, Metric},
    report::Language,
};
use experiments::statistics::{DEFAULT_TUNING, Look, Plan, Sides, duration_days};
use serde_json::json;

use crate::{
    error::CliError,
    evaluations::{EvaluationOptions, Evaluations, now},
    terminal::{Terminal, grouped, strong},
};

#[derive(Debug, Subcommand)]
pub(crate) enum ExperimentCommand {
    /// How many units an effect needs to be found, and for how many days
    ///
    /// Mean, variance and units per day are those of the lake's evaluations, clustered by rider, unless all three are given.
    Plan(PlanOptions),
    /// What may be concluded by now: sample ratio, effects, guardrails, verdict
    ///
    /// By default one may look at any time: the intervals are confidence sequences.
    Status(StatusOptions),
    /// Print the release that ends the experiment with one arm for everybody
    ///
    /// Nothing is published: the document is for you to read and to publish. It has the arm alone and no experiment, so
    /// that what comes after does not count in the experiment and its sample ratio stays what it was.
    Stop(StopOptions),
}

#[derive(Debug, Args)]
pub(crate) struct PlanOptions {
    #[command(flatten)]
    evaluations: EvaluationOptions,
    /// The metric that decides
    #[arg(long, value_enum, default_value = "mae")]
    metric: MetricName,
    /// The least effect worth finding, as a share of the metric's value: 0.05 is 5 %
    #[arg(long, value_parser = share, default_value = "0.05")]
    effect: f64,
    /// The probability to find it
    #[arg(long, value_parser = share, default_value = "0.8")]
    power: f64,
    /// The probability of a false finding
    #[arg(long, value_parser = share, default_value = "0.05")]
    alpha: f64,
    /// The share of units that get the treatment
    #[arg(long, value_parser = share, default_value = "0.5")]
    share: f64,
    /// The share of units that take part
    #[arg(long, value_parser = share_or_all, default_value = "1")]
    coverage: f64,
    /// One look at the end instead of any number of looks: fewer units, no peeking
    #[arg(long)]
    fixed_horizon: bool,
    /// The metric's value without the experiment
    #[arg(long, requires = "variance", requires = "units_per_day")]
    mean: Option<f64>,
    /// The variance of one unit's contribution
    #[arg(long, requires = "mean", requires = "units_per_day")]
    variance: Option<f64>,
    /// Units per day, before coverage
    #[arg(long, requires = "mean", requires = "variance")]
    units_per_day: Option<f64>,
}

#[derive(Debug, Args)]
pub(crate) struct StatusOptions {
    #[command(flatten)]
    evaluations: EvaluationOptions,
    /// The experiment's id [default: that of the release in force, else all that have predictions]
    #[arg(long, value_name = "ID")]
    experiment: Option<String>,
    /// Intervals of one look at an end that was fixed beforehand; looking earlier voids them
    #[arg(long)]
    fixed_horizon: bool,
    /// The number of units where the confidence sequence is narrowest
    #[arg(long, value_name = "N", default_value_t = DEFAULT_TUNING, value_parser = positive)]
    tuning: f64,
    /// The probability of a false verdict
    #[arg(long, value_parser = share, default_value = "0.05")]
    alpha: f64,
    /// Hold the share of false findings (Benjamini–Hochberg) instead of the probability of any (Holm)
    #[arg(long)]
    false_discovery_rate: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StopOptions {
    #[command(flatten)]
    evaluations: EvaluationOptions,
    /// The arm that everybody is to get
    #[arg(long)]
    arm: String,
    /// Write the document to a file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum MetricName {
    /// Mean absolute error
    Mae,
    /// Cost where a late second costs three early ones
    AsymmetricCost,
    /// Share of rides within two minutes
    Within120S,
    /// Share of settled rides that were cancelled
    Cancelled,
}

impl MetricName {
    fn metric(self) -> Metric {
        match self {
            Self::Mae => Metric::MaeS,
            Self::AsymmetricCost => Metric::AsymmetricCostS,
            Self::Within120S => Metric::ShareWithin120S,
            Self::Cancelled => Metric::CancelledShare,
        }
    }
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "not a number".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let share = number(text)?;
    if share > 0.0 && share < 1.0 { Ok(share) } else { Err("must lie between 0 and 1".to_owned()) }
}

fn share_or_all(text: &str) -> Result<f64, String> {
    if number(text)? == 1.0 { Ok(1.0) } else { share(text) }
}

fn positive(text: &str) -> Result<f64, String> {
    let number = number(text)?;
    if number > 0.0 && number.is_finite() { Ok(number) } else { Err("must be above 0".to_owned()) }
}

pub(crate) async fn run(command: &ExperimentCommand, terminal: Terminal) -> Result<(), CliError> {
    match command {
        ExperimentCommand::Plan(options) => plan(options, terminal).await,
        ExperimentCommand::Status(options) => status(options, terminal).await,
        ExperimentCommand::Stop(options) => stop(options, terminal).await,
    }
}

async fn plan(options: &PlanOptions, terminal: Terminal) -> Result<(), CliError> {
    let metric = options.metric.metric();
    let baseline = match (options.mean, options.variance, options.units_per_day) {
        (Some(mean), Some(variance), Some(units_per_day)) => Baseline { mean, variance, units_per_day, days: 0.0 },
        _ => {
            let found = Evaluations::read(&options.evaluations, terminal).await?;
            Baseline::of(&found.hours, metric).ok_or_else(|| {
                CliError::Unexpected(
                    "the evaluations name no riders, or their figures do not vary: give --mean, --variance and \
                     --units-per-day"
                        .to_owned(),
                )
            })?
        }
    };
    let look = if options.fixed_horizon { Look::Fixed(Sides::Two) } else { Look::AnyTime { tuning: DEFAULT_TUNING } };
    let plan = Plan {
        variance_a: baseline.variance,
        variance_b: baseline.variance,
        share_b: options.share,
        effect: options.effect * baseline.mean,
        alpha: options.alpha,
        look,
    };
    let units = plan.units_for(options.power)?;
    let units_per_day = baseline.units_per_day * options.coverage;
    let days = duration_days(units, units_per_day)?;
    terminal.result(format_args!(
        "{}: {} units in both arms together, {} days at {} units a day\n{} {} (variance of a unit {:.4}); an effect of \
         {:.1} % is found with probability {:.2}, {}",
        strong("plan"),
        grouped(units),
        days,
        grouped(units_per_day as u64),
        metric.title(Language::English),
        metric.value(baseline.mean, Language::English),
        baseline.variance,
        100.0 * options.effect,
        options.power,
        if options.fixed_horizon { "at one look at the end" } else { "looking as often as you like" },
    ));
    terminal.json(&json!({
        "metric": metric,
        "baseline": baseline,
        "effect": options.effect,
        "power": options.power,
        "alpha": options.alpha,
        "method": if options.fixed_horizon { "fixed_horizon" } else { "sequential" },
        "units": units,
        "units_per_day": units_per_day,
        "days": days,
    }));
    Ok(())
}

async fn status(options: &StatusOptions, terminal: Terminal) -> Result<(), CliError> {
    let found = Evaluations::read(&options.evaluations, terminal).await?;
    let planned = found.release.as_ref().and_then(ExperimentFacts::of);
    let mut ids: Vec<String> = match (&options.experiment, &planned) {
        (Some(id), _) => vec![id.clone()],
        (None, Some(planned)) => vec![planned.id.clone()],
        (None, None) => found.hours.iter().flat_map(|hour| hour.experiments().keys().cloned()).collect(),
    };
    ids.sort();
    ids.dedup();
    if ids.is_empty() {
        return Err(CliError::Unexpected(
            "no experiment: the release in force has none, and no prediction was part of one".to_owned(),
        ));
    }
    let method = if options.fixed_horizon {
        AnalysisMethod::FixedHorizon
    } else {
        AnalysisMethod::Sequential { tuning: options.tuning }
    };
    let analysis = AnalysisOptions { method, alpha: options.alpha, false_discovery_rate: options.false_discovery_rate };
    let cards: Vec<ExperimentCard> = ids
        .into_iter()
        .map(|id| {
            let facts = planned.clone().filter(|planned| planned.id == id);
            let facts = facts.unwrap_or_else(|| ExperimentFacts::unknown(id));
            ExperimentCard::new(&facts, &found.hours, analysis)
        })
        .collect();
    let texts: Vec<String> = cards.iter().map(|card| card.to_text(Language::English)).collect();
    terminal.result(texts.join("\n").trim_end());
    terminal.json(&json!({ "experiments": cards }));
    Ok(())
}

async fn stop(options: &StopOptions, terminal: Terminal) -> Result<(), CliError> {
    let found = Evaluations::read(&options.evaluations, terminal).await?;
    let release = found.release.ok_or_else(|| CliError::Unexpected("the model has no release in force".to_owned()))?;
    let next = ended(&release, &options.arm)?;
    let id = next.id()?;
    match &options.out {
        Some(path) => {
            std::fs::write(path, next.to_bytes())
                .map_err(|error| CliError::io(format!("write {}", path.display()), error))?;
            terminal.result(format_args!("{} {id} written to {}", strong("release"), path.display()));
        }
        None => terminal.result(String::from_utf8_lossy(&next.to_bytes())),
    }
    terminal.json(&json!({ "release_id": id, "release": next }));
    Ok(())
}

/// The release with one arm for everybody and no experiment.
fn ended(release: &Release, arm: &str) -> Result<Release, CliError> {
    let Some(experiment) = &release.experiment else {
        return Err(CliError::Unexpected("the release in force has no experiment to end".to_owned()));
    };
    let Some(chosen) = release.arms.iter().find(|known| known.name == arm) else {
        let names: Vec<&str> = release.arms.iter().map(|known: &Arm| known.name.as_str()).collect();
        let (id, names) = (&experiment.id, names.join(", "));
        return Err(CliError::Unexpected(format!("experiment `{id}` has no arm `{arm}`; it has {names}")));
    };
    let next = Release {
        created_at: now(),
        arms: vec![chosen.clone()],
        experiment: None,
        auto_rollback: false,
        ..release.clone()
    };
    next.validate()?;
    Ok(next)
}

#[cfg(test)]
mod tests {
    use domain::{ExperimentPlan, FeatureSpecSource, Limits};

    use super::*;

    #[test]
    fn the_next_release_has_the_chosen_arm_alone() {
        let arm = |name: &str| Arm {
            name: name.to_owned(),
            endpoint: "e".to_owned(),
            variant: name.to_owned(),
            model_version: "1".to_owned(),
        };
        let release = Release {
            experiment: Some(ExperimentPlan::new("x", vec![0.5, 0.5])),
            ..Release::new(
                "m".parse().unwrap(),
                "2026-01-01T00:00:00Z".parse().unwrap(),
                FeatureSpecSource { hash: "0".repeat(64), toml: String::new() },
                vec![arm("control"), arm("treatment")],
                Limits { max_candidates: 9, default_deadline_ms: 100 },
            )
        };
        let next = ended(&release, "treatment").unwrap();
        assert_eq!((next.arms.as_slice(), &next.experiment), (&[arm("treatment")][..], &None));
        assert!(ended(&release, "other").unwrap_err().to_string().contains("control, treatment"));
        assert!(ended(&next, "treatment").unwrap_err().to_string().contains("no experiment"));
    }
}
