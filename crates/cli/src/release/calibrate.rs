//! `mannen release calibrate`: what the latest outcomes say for the next release.

use std::path::PathBuf;

use clap::Args;
use domain::Hour;
use evaluation::{Figures, Recalibration};
use evaluator::{RecalibrationRun, recalibrate_release};
use releases::{in_force, read_release};

use super::ModelOptions;
use crate::{
    error::CliError,
    evaluations::{hours, now},
    lake::Lake,
    model_folder::{CALIBRATION_FILE, CalibrationFile},
    terminal::{Terminal, good, grouped, strong},
};

#[derive(Debug, Args)]
pub(crate) struct CalibrateOptions {
    #[command(flatten)]
    model: ModelOptions,
    /// The last hours or days of predictions to look at, such as 7d
    #[arg(long, value_name = "TIME", value_parser = hours, default_value = "28d")]
    window: i64,
    /// The last hour to look at, UTC, such as 2018-06-30T23 [default: now]
    #[arg(long, value_name = "HOUR")]
    until: Option<Hour>,
    /// Write calibration.json into this folder of the model, for the next `mannen release publish`
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

pub(super) async fn run(options: &CalibrateOptions, terminal: Terminal) -> Result<(), CliError> {
    let lake = Lake::open(&options.model.lake).await?;
    let name = &options.model.name;
    let current = in_force(&lake.store, name).await?;
    let current = current.ok_or_else(|| releases::ReleasesError::NoRelease(name.clone()))?;
    let release = read_release(&lake.store, name, &current.pointer.release_id).await?;
    let until = options.until.unwrap_or_else(|| Hour::of(now()));
    let from = until.plus(1 - options.window);
    let length = u64::try_from(options.window).unwrap_or(0);
    let step = terminal.counted_step(format!("Read the rides of {name}"), length);
    let run = recalibrate_release(&lake.store, name, &release, (from, until), |_| step.advance(1)).await?;
    step.done(format_args!("{} rides in {} hours", grouped(run.recalibration.rides), run.hours));
    terminal.json(&run);
    tell(&run, terminal);
    let has_promise = release.promise.is_some();
    if !has_promise {
        terminal.note("The release has no promise, so that the calibration is of no use before it gets one.");
    }
    if let Some(folder) = &options.write {
        write(folder, run.recalibration, terminal)?;
    }
    Ok(())
}

fn tell(run: &RecalibrationRun, terminal: Terminal) {
    let found = &run.recalibration;
    let mae = |figures: &Option<Figures>| figures.as_ref().map_or("–".to_owned(), |f| format!("{:.1} s", f.mae_s));
    let rides = found.uncorrected.as_ref().map_or(0, |figures| figures.n);
    terminal.result(format_args!(
        "mean absolute error of {} rides, each predicted before it was learned from:\n  as the model says  {}\n  corrected          {}",
        grouped(rides),
        mae(&found.uncorrected),
        strong(mae(&found.corrected)),
    ));
    match (&found.correction, &found.improvement) {
        (Some(correction), Some(improvement)) => terminal.result(format_args!(
            "  {} The correction has factors of 24 hours and of {} zones.",
            good(format_args!("{:.1} % better.", 100.0 * improvement.share)),
            correction.zones.len()
        )),
        _ => terminal.result("  It is not clearly better: no correction is offered."),
    }
    if let Some(coverage) = &found.coverage {
        terminal.result(format_args!(
            "intervals that follow their own misses held {:.1} % of {} rides, {:.0} s wide on average",
            100.0 * coverage.coverage,
            grouped(coverage.n),
            coverage.mean_width_s
        ));
    }
    for point in &found.calibration {
        terminal.result(format_args!("  residual quantile {:<6} {:>9.1} s", point.probability, point.residual));
    }
}

fn write(folder: &std::path::Path, found: Recalibration, terminal: Terminal) -> Result<(), CliError> {
    let path = folder.join(CALIBRATION_FILE);
    let document = CalibrationFile { calibration: found.calibration, correction: found.correction };
    let mut json = serde_json::to_string_pretty(&document).unwrap_or_default();
    json.push('\n');
    std::fs::write(&path, json).map_err(|error| CliError::io(format!("write {}", path.display()), error))?;
    terminal.note(format_args!("Wrote {}; `mannen release plan` shows what it changes", path.display()));
    Ok(())
}
