//! `mannen demo`: the whole loop on this machine.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use domain::{Hour, lake};
use evaluation::report::{Language, PageOptions, ReportData, render_html};
use evaluator::{EvaluationSummary, EvaluatorEvent};
use rides::Ride;
use serde::Serialize;

use crate::{
    archive_counts::{self, ArchiveCounts},
    arguments::DemoOptions,
    challenger::{self, Challenger, ChallengerResult, Ending},
    error::CliError,
    local_cloud::RunningCloud,
    model_folder::ModelFolder,
    release,
    replay::{self, Replayed},
    source,
    terminal::{Terminal, grouped, is_interactive, strong},
    train_and_deploy, up, warehouse_rides,
};

/// How long the archive may take to catch up with the traffic.
const ARCHIVE_TIMEOUT: Duration = Duration::from_mins(2);

/// The result, for `--json`.
#[derive(Debug, Serialize)]
struct DemoResult {
    /// Requests sent.
    requests: u64,
    /// Prediction records in the archive, each id once.
    archived: u64,
    /// Rows in the archive: one per candidate.
    archived_candidates: u64,
    /// Rides whose outcome landed.
    outcomes: u64,
    /// Predictions joined with an arrival.
    joined: u64,
    /// Rides cancelled before the car came.
    cancelled: u64,
    /// Mean absolute error of the answers, seconds.
    model_mae_s: Option<f64>,
    /// Mean absolute error of the naive estimate on the same rides, seconds.
    fallback_mae_s: Option<f64>,
    /// The report's page, a file.
    report: PathBuf,
    /// The whole run, seconds.
    seconds: f64,
    /// Hours evaluated.
    hours: usize,
    /// Counts of the archive.
    archive: ArchiveCounts,
    /// The traffic.
    replay: Replayed,
    /// What became of the challenger, where there was one.
    challenger: Option<ChallengerResult>,
}

/// Runs it, and whatever happens leaves no process behind.
pub(crate) async fn run(options: &DemoOptions, terminal: Terminal) -> Result<(), CliError> {
    let began = Instant::now();
    let model = ModelFolder::read(options.cloud.model.as_deref())?;
    let (training_rides, requests) = (options.training_rides as usize, options.requests as usize);
    let rides = source::rides(&options.rides, training_rides, requests, terminal)?;
    let step = terminal.step("Starting the cloud on this machine");
    let running = RunningCloud::start(&options.cloud, &model).await?;
    step.done(running.cloud.api_url());
    let done = AtomicBool::new(false);
    let outcome = tokio::select! {
        outcome = run_loop(options, terminal, &running, &model, &rides, began, &done) => outcome,
        // After the result, with --stay, Ctrl-C is the way to end it.
        _ = tokio::signal::ctrl_c() => if done.load(Ordering::Relaxed) { Ok(()) } else { Err(CliError::Interrupted) },
    };
    running.cloud.shutdown().await;
    outcome
}

async fn run_loop(
    options: &DemoOptions,
    terminal: Terminal,
    running: &RunningCloud,
    model: &ModelFolder,
    rides: &source::Rides,
    began: Instant,
    done: &AtomicBool,
) -> Result<(), CliError> {
    let warehouse = running.cloud.warehouse();
    let versions = train_and_deploy::train_and_deploy(running, model, &rides.training, terminal).await?;
    let step = terminal.step("Publishing the release");
    let release_id = release::publish_trained(running, model, &versions).await?;
    step.done(format_args!("{}…", &release_id.as_str()[..12]));

    let step = terminal.counted_step("Sending requests and outcomes", rides.replay.len() as u64);
    let api = running.cloud.api_url();
    let mut outcomes = Vec::new();
    let mut keep = |events| outcomes.extend(events);
    let replayed = replay::replay(&api, &rides.replay, usize::from(options.concurrency), &step, &mut keep).await?;
    step.done(replayed.summary());
    replayed.tell_problems(terminal);
    warehouse_rides::write_outcomes(warehouse, &outcomes)?;

    let step = terminal.step("Archiving");
    running.cloud.wait_until_idle(ARCHIVE_TIMEOUT).await?;
    running.cloud.run_schedule("result-archiver", None).await?;
    let archive = archive_counts::count(&running.lake, &model.name).await?;
    step.done(format_args!(
        "{} records of {} candidates and {} outcomes in {} Parquet files",
        grouped(archive.predictions),
        grouped(archive.candidates),
        grouped(archive.outcome_events),
        grouped(archive.files)
    ));

    let step = terminal.step("Evaluating");
    let evaluation = evaluate(running, model, &rides.replay).await?;
    step.done(format_args!("{} hours", evaluation.hours_evaluated));

    let report = copy_report(running, &options.cloud.dir, &evaluation).await?;
    let mut result = DemoResult {
        requests: replayed.requests,
        archived: archive.predictions,
        archived_candidates: archive.candidates,
        outcomes: archive.outcomes,
        joined: evaluation.figures.counts.joined,
        cancelled: evaluation.figures.counts.cancelled,
        model_mae_s: evaluation.figures.answer.map(|figures| figures.mae_s),
        fallback_mae_s: evaluation.figures.fallback.map(|figures| figures.mae_s),
        report,
        seconds: began.elapsed().as_secs_f64(),
        hours: evaluation.hours_evaluated,
        archive,
        replay: replayed,
        challenger: None,
    };
    check(&result)?;
    if let (Some(which), Some(last)) = (challenger_of(options), rides.replay.last()) {
        let (seed, after) = (options.rides.seed, last.requested_at);
        let concurrency = usize::from(options.concurrency);
        let found = challenger::run(running, model, seed, after, concurrency, which, terminal).await?;
        result.challenger = Some(found);
        result.seconds = began.elapsed().as_secs_f64();
    }
    tell(&result, terminal, options, &api, &rides.replay);
    check_challenger(options, &result)?;
    done.store(true, Ordering::Relaxed);
    if options.stay {
        up::stay(&api, terminal).await;
    }
    Ok(())
}

/// Invokes the evaluator for the hours of the rides.
async fn evaluate(running: &RunningCloud, model: &ModelFolder, rides: &[Ride]) -> Result<EvaluationSummary, CliError> {
    let event = EvaluatorEvent {
        model: Some(model.name.clone()),
        from: rides.first().map(|ride| Hour::of(ride.requested_at)),
        until: rides.last().map(|ride| Hour::of(ride.requested_at)),
        act: false,
    };
    let event = serde_json::to_value(&event).unwrap_or_default();
    let summary = running.cloud.invoke("evaluator", &event).await?;
    serde_json::from_value(summary)
        .map_err(|error| CliError::Unexpected(format!("the evaluator's summary cannot be read: {error}")))
}

/// The report as a file that can be opened after the cloud is gone.
async fn copy_report(
    running: &RunningCloud,
    folder: &Path,
    evaluation: &EvaluationSummary,
) -> Result<PathBuf, CliError> {
    use cloud::object_store::GetObject;

    let key = lake::report_json(&evaluation.model);
    let figures = running.lake.get_object(&key, None).await?.found();
    let figures = figures.and_then(|object| serde_json::from_slice::<ReportData>(&object.bytes).ok());
    let figures = figures.ok_or_else(|| CliError::Unexpected(format!("`{key}` is missing or unreadable")))?;
    let names = [(Language::English, "report.html"), (Language::Japanese, "report.ja.html")];
    for (language, name) in names {
        let others: Vec<_> = names.into_iter().filter(|(other, _)| *other != language).collect();
        let page = render_html(&figures, &PageOptions { language, others: &others, lake_root: None });
        let path = folder.join(name);
        std::fs::write(&path, page).map_err(|error| CliError::io(format!("write `{}`", path.display()), error))?;
    }
    let path = folder.join("report.html");
    path.canonicalize().map_err(|error| CliError::io(format!("find `{}`", path.display()), error))
}

fn tell(result: &DemoResult, terminal: Terminal, options: &DemoOptions, api: &str, rides: &[Ride]) {
    terminal.json(result);
    let seconds = |mae: Option<f64>| mae.map_or_else(|| "–".to_owned(), |mae| format!("{mae:.1} s"));
    let counts = [
        ("requests sent", result.requests),
        ("answered", result.replay.answered),
        ("records in the archive", result.archived),
        ("rides with an outcome", result.outcomes),
        ("joined with their arrival", result.joined),
        ("cancelled by the rider", result.cancelled),
    ];
    terminal.result("");
    for (what, count) in counts {
        terminal.result(format_args!("  {what:28}{:>10}", grouped(count)));
    }
    terminal.result(format_args!(
        "\n  mean absolute error of the model {}, of the naive estimate {}",
        strong(seconds(result.model_mae_s)),
        seconds(result.fallback_mae_s)
    ));
    if let Some(challenger) = &result.challenger {
        let ending = match challenger.ending {
            Ending::Promoted => "answers alone now",
            Ending::SentBack => "was sent back",
            Ending::Undecided => "is not decided on yet",
        };
        terminal.result(format_args!(
            "  after the road works {} on held-out rides against the champion's {}; the challenger {}",
            strong(seconds(challenger.held_out_mae_s)),
            seconds(challenger.champion_mae_s),
            strong(ending)
        ));
    }
    terminal.result(format_args!("  report  {}", result.report.display()));
    terminal.result(format_args!("  done in {:.1} s", result.seconds));
    let curl = rides.first().map(|ride| up::curl(api, ride));
    if options.stay {
        if let Some(curl) = curl {
            terminal.result(format_args!("\nTry it:\n{curl}"));
        }
    } else {
        let again = if is_interactive() { strong("mannen demo --stay") } else { "mannen demo --stay".to_owned() };
        terminal.result(format_args!("\nWith {again} it keeps serving. Then try:"));
        if let Some(curl) = curl {
            terminal.result(curl);
        }
    }
}

/// The challenger that is wanted: recorded trips have no road works, and so none, unless it is asked for.
fn challenger_of(options: &DemoOptions) -> Option<Challenger> {
    let default = if options.rides.trips.is_some() { Challenger::None } else { Challenger::Newer };
    Some(options.challenger.unwrap_or(default)).filter(|which| *which != Challenger::None)
}

/// A challenger that is worse must not stay.
fn check_challenger(options: &DemoOptions, result: &DemoResult) -> Result<(), CliError> {
    let promoted = result.challenger.as_ref().is_some_and(|found| found.ending == Ending::Promoted);
    if promoted && options.challenger == Some(Challenger::Worse) {
        return Err(CliError::Unexpected("the challenger that was made to be worse was promoted".to_owned()));
    }
    Ok(())
}

/// The demo's promises: each request answered, each answer in the archive once.
fn check(result: &DemoResult) -> Result<(), CliError> {
    let replay = &result.replay;
    let failures = [
        (replay.requests == 0, "there was no ride to send"),
        (replay.answered != replay.requests, "not every request was answered"),
        (replay.outcomes != replay.answered, "not every outcome was accepted"),
        (result.archived != replay.answered, "the archive does not have one record per answer"),
        (result.archived_candidates != replay.candidates, "the archive does not have one row per candidate"),
        (result.archive.duplicates > 0, "the archive has a record twice"),
        (result.archive.outcome_events != replay.outcome_events, "the archive does not have every outcome event"),
        (result.archive.quarantined > 0, "records were quarantined"),
        (result.archive.pending_objects > 0, "objects are left that are not in an hour file"),
    ];
    match failures.iter().find(|(failed, _)| *failed) {
        Some((_, what)) => Err(CliError::Unexpected(format!("{what}; the logs are in the folder given by --dir"))),
        None => Ok(()),
    }
}
