//! The demo's second half: the city changes, a challenger is trained on newer data, and evidence decides.
//!
//! Road works slow every street. A new training window begins with them; its models are judged against the champion on held-out
//! rides; the better one is approved, deployed beside the champion, and gets a rising share of the traffic, step by step, until it
//! answers alone, or is sent back where it was made to be worse.

use clap::ValueEnum;
use dataset_extractor::{parse_definition, put_definition};
use domain::{Hour, ModelVersion, RampPlan, Release, ReleaseId};
use evaluation::experiment::RampDecision;
use evaluator::{EvaluationSummary, EvaluatorEvent, RampMove};
use jiff::Timestamp;
use rides::{City, CityOptions, Drift, Ride, TrainingRow};
use serde::Serialize;
use serde_json::json;
use training::{Approval, DeployAs, KnownVersion, approve, deploy, in_force, next_release, variant_name};
use warehouse::Parameter;

use crate::{
    error::CliError,
    local_cloud::{RELEASE_TTL, RunningCloud},
    model_command::variants_of,
    model_folder::ModelFolder,
    release, replay,
    terminal::{Step, Terminal, grouped},
    train_and_deploy::{deployment, wait_until_judged},
    training_definition::{define, query_of},
    warehouse_rides,
};

/// Which challenger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Challenger {
    /// Trained on newer data: it should win
    Newer,
    /// Made to be worse: the gate should refuse it, and the ramp send it back
    Worse,
    /// None: the demo ends with the first evaluation
    None,
}

/// All streets are so much slower once the road works have begun.
const ROAD_WORKS: f64 = 0.6;
/// Rides under the road works that are trained on.
const TRAINING_RIDES: usize = 4_000;
/// Rides of one round of traffic.
const ROUND_RIDES: usize = 400;
/// The most rounds.
const ROUNDS: usize = 12;
/// Shares of the traffic, larger and fewer than where more riders are.
const STEPS: [f64; 2] = [0.2, 0.5];
const MIN_UNITS: u64 = 40;

/// One round of traffic.
#[derive(Debug, Serialize)]
pub(crate) struct Round {
    /// The challenger's share of the traffic.
    share: f64,
    /// Requests sent.
    requests: u64,
    /// What the evaluator made of it.
    decision: Option<RampDecision>,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ending {
    /// The challenger answers alone.
    Promoted,
    /// The champion answers alone again.
    SentBack,
    /// There was not enough evidence.
    Undecided,
}

/// The result, for `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct ChallengerResult {
    /// The challenger's version.
    pub(crate) version: String,
    /// The dataset version that it was trained on.
    pub(crate) dataset: String,
    /// Whether the gate offered it.
    pub(crate) offered: bool,
    /// Its mean absolute error on held-out rides, seconds.
    pub(crate) held_out_mae_s: Option<f64>,
    /// The champion's on the same rides, seconds.
    pub(crate) champion_mae_s: Option<f64>,
    /// The rounds.
    pub(crate) rounds: Vec<Round>,
    /// How it ended.
    pub(crate) ending: Ending,
    /// The release in force at the end.
    pub(crate) release_id: Option<ReleaseId>,
}

/// Runs it, from the moment that the first half's rides end.
pub(crate) async fn run(
    running: &RunningCloud,
    folder: &ModelFolder,
    seed: u64,
    after: Timestamp,
    concurrency: usize,
    which: Challenger,
    terminal: Terminal,
) -> Result<ChallengerResult, CliError> {
    let drift = Drift { from: after, speed_factor: ROAD_WORKS };
    let city = City::with_options(seed, CityOptions { drifts: vec![drift], ..CityOptions::default() })?;
    let step = terminal.step("Road works begin");
    let mut rides = city.rides(after, TRAINING_RIDES + ROUNDS * ROUND_RIDES);
    let training: Vec<TrainingRow> =
        rides.by_ref().take(TRAINING_RIDES).filter_map(|ride| ride.training_row()).collect();
    let traffic: Vec<Ride> = rides.collect();
    step.done(format_args!("{} rides since then to train on", grouped(training.len() as u64)));

    let mut challengers = ModelFolder::read(folder.place.as_deref())?;
    if which == Challenger::Worse {
        for own in challengers.training.variants.values_mut() {
            own.insert("num_round".to_owned(), 1.into());
        }
    }
    let address = publish(running, &challengers, &training, after, terminal).await?;
    let trained = wait_until_judged(running, &challengers, terminal).await?;
    let (known, registered) = best(&trained)?;
    let all = known.verdict.as_ref().and_then(|verdict| verdict.comparison.as_ref()?.all);
    let offered = known.verdict.as_ref().is_some_and(|verdict| verdict.offered);
    start_ramp(running, &challengers, known, registered, terminal).await?;
    let (rounds, ending) = traffic_by_evidence(running, folder, &traffic, concurrency, terminal).await?;
    let release_id = in_force(&running.lake, &folder.name).await?.map(|(id, _)| id);
    Ok(ChallengerResult {
        version: registered.version.clone(),
        dataset: address,
        offered,
        held_out_mae_s: all.map(|all| all.challenger_mae_s),
        champion_mae_s: all.map(|all| all.reference_mae_s),
        rounds,
        ending,
        release_id,
    })
}

/// A dataset version of the rides since the road works, which training follows.
async fn publish(
    running: &RunningCloud,
    model: &ModelFolder,
    training: &[TrainingRow],
    since: Timestamp,
    terminal: Terminal,
) -> Result<String, CliError> {
    let step = terminal.step("Extracting a dataset version of newer rides");
    warehouse_rides::append_training(running.cloud.warehouse(), training)?;
    let (sql, dataset_toml) = query_of(model)?;
    let mut definition = parse_definition(model.name.clone(), &sql, &dataset_toml)?;
    if let Some(parameter) = definition.parameters.get_mut("since") {
        *parameter = Parameter { of: parameter.of, value: since.to_string() };
    }
    // Another window has another number of rows.
    definition.expect.max_row_change = None;
    put_definition(&running.lake, &definition).await?;
    define(&running.lake, model, Timestamp::now()).await?;
    let event = json!({"extract": {"dataset": model.name, "as_of": Timestamp::now()}});
    let published = running.cloud.invoke("dataset-extractor", &event).await?;
    let address = published["address"].as_str().unwrap_or_default().to_owned();
    let rows = published["rows"].as_u64().unwrap_or_default();
    step.done(format_args!("{}… of {} rows", address.get(..12).unwrap_or_default(), grouped(rows)));
    Ok(address)
}

/// The version with the least error on held-out rides.
fn best(trained: &[KnownVersion]) -> Result<(&KnownVersion, &ModelVersion), CliError> {
    let error = |known: &&KnownVersion| {
        let all = known.verdict.as_ref().and_then(|verdict| verdict.comparison.as_ref()?.all);
        all.map_or(f64::INFINITY, |all| all.challenger_mae_s)
    };
    let best = trained.iter().min_by(|a, b| error(a).total_cmp(&error(b)));
    let best = best.and_then(|known| Some((known, known.registered.as_ref()?)));
    best.ok_or_else(|| CliError::Unexpected("no challenger was trained".to_owned()))
}

async fn start_ramp(
    running: &RunningCloud,
    model: &ModelFolder,
    known: &KnownVersion,
    registered: &ModelVersion,
    terminal: Terminal,
) -> Result<(), CliError> {
    let step = terminal.step(format!("Deploying {}", registered.version));
    let approval = Approval {
        version: registered.version.clone(),
        author: Some("mannen demo".to_owned()),
        reason: Some("the demo's challenger".to_owned()),
        approved_at: Timestamp::now(),
    };
    // One that was made to be worse is refused by the gate, and approved all the same, to see the ramp send it back.
    approve(&running.lake, &model.name, known, &approval, true).await?;
    let Some((_, current)) = in_force(&running.lake, &model.name).await? else {
        return Err(CliError::Unexpected("no release is in force".to_owned()));
    };
    let keep = variants_of(&current, &model.release.endpoint);
    let variant = variant_name(registered);
    deploy(&running.sagemaker, &[(variant.clone(), registered)], &deployment(model, keep)).await?;
    let plan = RampPlan { steps: STEPS.to_vec(), min_units: MIN_UNITS, ..RampPlan::default() };
    let endpoint = &model.release.endpoint;
    let next = next_release(&current, registered, &variant, endpoint, &DeployAs::Ramp(plan))?;
    let next = Release { created_at: Timestamp::now(), ..next };
    let id = release::publish_locally(running, model, next, "the challenger's ramp begins").await?;
    step.done(format_args!("release {}…, {:.0} % of the traffic", &id.as_str()[..12], STEPS[0] * 100.0));
    Ok(())
}

/// Round by round: traffic, archive, evaluation, and what the evaluator does.
async fn traffic_by_evidence(
    running: &RunningCloud,
    folder: &ModelFolder,
    traffic: &[Ride],
    concurrency: usize,
    terminal: Terminal,
) -> Result<(Vec<Round>, Ending), CliError> {
    let (mut rounds, mut share) = (Vec::new(), STEPS[0]);
    let mut since_step = 0;
    for (number, rides) in traffic.chunks(ROUND_RIDES).enumerate() {
        let step =
            terminal.counted_step(format!("Traffic with the challenger at {:.0} %", share * 100.0), rides.len() as u64);
        let sent = send(running, rides, concurrency, &step).await?;
        // Evidence of this step: the hours since it began. The evaluator leaves other releases' predictions out.
        let hours = &traffic[since_step * ROUND_RIDES..number * ROUND_RIDES + rides.len()];
        let found = judge(running, folder, hours).await?;
        let (decision, words) = match &found {
            Some(RampMove { decision, .. }) => (Some(decision.clone()), in_words(decision)),
            None => (None, "no ramp is under way".to_owned()),
        };
        step.done(words);
        rounds.push(Round { share, requests: sent, decision: decision.clone() });
        match (&decision, found) {
            (Some(RampDecision::Advance(_)), Some(moved)) if moved.share >= 1.0 => {
                return Ok((rounds, Ending::Promoted));
            }
            (Some(RampDecision::Advance(_)), Some(moved)) => {
                share = moved.share;
                since_step = number + 1;
            }
            (Some(RampDecision::Back(_)), _) => return Ok((rounds, Ending::SentBack)),
            _ => {}
        }
    }
    Ok((rounds, Ending::Undecided))
}

fn in_words(decision: &RampDecision) -> String {
    match decision {
        RampDecision::Hold(why) => format!("not yet: {why}"),
        RampDecision::Advance(why) => format!("goes on: {why}"),
        RampDecision::Back(why) => format!("goes back: {why}"),
    }
}

async fn send(running: &RunningCloud, rides: &[Ride], concurrency: usize, step: &Step) -> Result<u64, CliError> {
    // Until every warm function has looked for another release: these requests are to meet the step that is in force.
    tokio::time::sleep(RELEASE_TTL).await;
    let sent = replay::replay(&running.cloud.api_url(), rides, concurrency, step, &mut |_| {}).await?;
    running.cloud.wait_until_idle(ARCHIVE_TIMEOUT).await?;
    running.cloud.run_schedule("result-archiver", None).await?;
    Ok(sent.answered)
}

/// How long the archive may take to catch up with the traffic.
const ARCHIVE_TIMEOUT: std::time::Duration = std::time::Duration::from_mins(2);
async fn judge(running: &RunningCloud, folder: &ModelFolder, rides: &[Ride]) -> Result<Option<RampMove>, CliError> {
    let event = EvaluatorEvent {
        model: Some(folder.name.clone()),
        from: rides.first().map(|ride| Hour::of(ride.requested_at)),
        until: rides.last().map(|ride| Hour::of(ride.requested_at)),
        act: true,
    };
    let summary = running.cloud.invoke("evaluator", &serde_json::to_value(&event).unwrap_or_default()).await?;
    let summary: EvaluationSummary = serde_json::from_value(summary)
        .map_err(|error| CliError::Unexpected(format!("the evaluator's summary cannot be read: {error}")))?;
    if let Some(reason) = summary.actions.failed.first() {
        return Err(CliError::Unexpected(format!("the evaluator could not act: {reason}; see logs/evaluator.log")));
    }
    Ok(summary.actions.ramp)
}
