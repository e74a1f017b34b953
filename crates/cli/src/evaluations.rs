//! What the commands over evaluations share: which lake, which model, which hours.

use ::evaluator::{KeptBaselines, read_baselines, read_evaluations, release_in_force};
use clap::Args;
use domain::{Hour, ModelName, Release};
use evaluation::HourEvaluation;
use jiff::Timestamp;

use crate::{
    error::CliError,
    lake::{Lake, LakeOptions},
    terminal::Terminal,
};

/// Which evaluations.
#[derive(Debug, Clone, Args)]
pub(crate) struct EvaluationOptions {
    #[command(flatten)]
    pub(crate) lake: LakeOptions,
    /// The model
    #[arg(long, value_name = "NAME", default_value = "pickup-eta")]
    pub(crate) model: ModelName,
    /// Only the last hours or days that were evaluated, such as 24h or 7d [default: all]
    #[arg(long, value_name = "TIME", value_parser = hours)]
    pub(crate) window: Option<i64>,
}

/// A number of hours: `24h`, `7d`.
pub(crate) fn hours(text: &str) -> Result<i64, String> {
    let of = |number: &str, hours: i64| number.parse::<i64>().ok().and_then(|n| n.checked_mul(hours));
    let hours = match text.strip_suffix('d') {
        Some(days) => of(days, 24),
        None => of(text.strip_suffix('h').unwrap_or_default(), 1),
    };
    hours.filter(|hours| (1..=1_000_000).contains(hours)).ok_or_else(|| "must be like 24h or 7d".to_owned())
}

/// A lake's evaluations of one model.
pub(crate) struct Evaluations {
    pub(crate) hours: Vec<HourEvaluation>,
    pub(crate) release: Option<Release>,
    pub(crate) baselines: KeptBaselines,
}

impl Evaluations {
    /// Reads them.
    ///
    /// # Errors
    /// A lake that is not there or does not answer, or has no evaluation of the model.
    pub(crate) async fn read(options: &EvaluationOptions, terminal: Terminal) -> Result<Self, CliError> {
        let lake = Lake::open(&options.lake).await?;
        let step = terminal.step(format!("Read the evaluations of {}", options.model));
        let mut hours = read_evaluations(&lake.store, &options.model, None, None).await?;
        let release = release_in_force(&lake.store, &options.model).await?;
        let baselines = read_baselines(&lake.store, &options.model, release.as_ref()).await?;
        let Some(last) = hours.last().map(|evaluation| evaluation.hour) else {
            return Err(CliError::Unexpected(format!(
                "the lake has no evaluation of `{}`: invoke the evaluator first (`mannen demo` does), or name another \
                 model with --model",
                options.model
            )));
        };
        if let Some(window) = options.window {
            let first: Hour = last.plus(1 - window);
            hours.retain(|evaluation| evaluation.hour >= first);
        }
        step.done(format_args!("{} hours, the last {last}", hours.len()));
        Ok(Self { hours, release, baselines })
    }
}

/// The machine's clock: the edge of the program is here.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_hours_or_days() {
        assert_eq!([hours("24h"), hours("7d")], [Ok(24), Ok(168)]);
        for text in ["", "d", "7", "0h", "-1d", "99999999999999999999d", "1w"] {
            assert!(hours(text).is_err(), "{text}");
        }
    }
}
