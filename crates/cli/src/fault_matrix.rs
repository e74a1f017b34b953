//! `mannen fault-matrix`: whatever an endpoint does, every well-formed request is answered in time and archived.

mod faults;
mod table;

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use archive::read_prediction_columns;
use cloud::{
    object_store::{GetObject, ListObjects},
    s3::S3Bucket,
};
use domain::{Arm, EndpointCalling, ModelName, PredictionId, Release, ReleaseId, Tier, lake::Table};
use jiff::Timestamp;
use prediction_proxy::PredictionAnswer;
use reqwest::{Client, StatusCode};
use rides::Ride;
use serde::Serialize;

use self::faults::{Case, Second, cases};
use crate::{
    arguments::{FaultMatrixOptions, RideOptions},
    error::CliError,
    local_cloud::RunningCloud,
    model_folder::ModelFolder,
    release,
    replay::post,
    source,
    terminal::{Step, Terminal, grouped, strong},
    train_and_deploy,
};

/// How long a function may take to see a new release.
const RELEASE_TIMEOUT: Duration = Duration::from_mins(1);
const ARCHIVE_TIMEOUT: Duration = Duration::from_mins(2);
const HTTP_TIMEOUT: Duration = Duration::from_mins(1);

/// What came of one fault, with one kind of second endpoint.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// The arm's endpoint.
    pub(crate) fault: &'static str,
    /// The second endpoint.
    pub(crate) second: &'static str,
    /// Requests sent.
    pub(crate) requests: u64,
    /// Requests answered with 200.
    pub(crate) answered: u64,
    /// The latest answer, in milliseconds after the deadline as the client sees it; negative before it.
    pub(crate) latest_past_deadline_ms: f64,
    /// Answers by tier.
    pub(crate) tiers: BTreeMap<&'static str, u64>,
    /// Answers by reason.
    pub(crate) reasons: BTreeMap<String, u64>,
    /// Answers whose record stands in the archive, with the tier that the answer told.
    pub(crate) archived: u64,
    /// The tier and reason that there should be.
    pub(crate) expected: String,
    /// What does not hold; empty where all does.
    pub(crate) broken: Vec<String>,
    #[serde(skip)]
    ids: Vec<(PredictionId, Tier)>,
}

/// The result, for `--json`.
#[derive(Debug, Serialize)]
struct MatrixResult {
    deadline_ms: u32,
    grace_ms: u32,
    kept: bool,
    rows: Vec<Row>,
}

/// Runs it, and whatever happens leaves no process behind.
pub(crate) async fn run(options: &FaultMatrixOptions, terminal: Terminal) -> Result<(), CliError> {
    let model = ModelFolder::read(options.cloud.model.as_deref())?;
    let city = RideOptions { trips: None, zones: None, weather: None, seed: options.seed };
    let rides = source::rides(&city, options.training_rides as usize, options.requests as usize, terminal)?;
    let step = terminal.step("Starting the cloud on this machine");
    let running = RunningCloud::start(&options.cloud, &model).await?;
    step.done(running.cloud.api_url());
    let outcome = tokio::select! {
        outcome = measure(options, terminal, &running, &model, &rides) => outcome,
        _ = tokio::signal::ctrl_c() => Err(CliError::Interrupted),
    };
    running.cloud.shutdown().await;
    let result = outcome?;
    terminal.result(table::text(&result.rows));
    terminal.json(&result);
    let broken = result.rows.iter().filter(|row| !row.broken.is_empty()).count();
    if broken > 0 {
        return Err(CliError::Unexpected(format!("{broken} of {} rows break a promise", result.rows.len())));
    }
    terminal.result(format_args!(
        "\n{} every request was answered by the right tier within its deadline of {} ms + {} ms, and archived",
        strong("Kept:"),
        options.deadline_ms,
        options.grace_ms
    ));
    Ok(())
}

async fn measure(
    options: &FaultMatrixOptions,
    terminal: Terminal,
    running: &RunningCloud,
    model: &ModelFolder,
    rides: &source::Rides,
) -> Result<MatrixResult, CliError> {
    let versions = train_and_deploy::train_and_deploy(running, model, &rides.training, terminal).await?;
    let released = release::release_of(model, &versions, Timestamp::now());
    let own = released.arms[0].clone();
    let second = versions.iter().find(|(variant, _)| **variant != own.variant).map(|(variant, version)| Arm {
        name: "second".to_owned(),
        endpoint: own.endpoint.clone(),
        variant: variant.clone(),
        model_version: version.clone(),
    });
    let second = second.ok_or_else(|| {
        CliError::Unexpected("training.toml has one variant; the second endpoint needs another".to_owned())
    })?;
    let client = Client::builder().timeout(HTTP_TIMEOUT).no_proxy().build();
    let client = client.map_err(|error| CliError::Unexpected(format!("cannot build the HTTP client: {error}")))?;
    let sender = Sender { client, api: running.cloud.api_url(), deadline_ms: options.deadline_ms };

    let cases = cases(options.deadline_ms);
    let length = (cases.len() * Second::ALL.len()) as u64 * u64::from(options.requests);
    let step = terminal.counted_step("Sending requests under faults", length);
    let mut rows = Vec::new();
    for state in Second::ALL {
        let release = Release {
            arms: vec![own.clone()],
            experiment: None,
            second: (state != Second::None).then(|| second.clone()),
            // What can help is tried again; no breaker, so that each request meets the fault.
            calling: EndpointCalling { max_tries: 2, ..EndpointCalling::default() },
            created_at: Timestamp::now(),
            ..released.clone()
        };
        let id = release::publish_locally(running, model, release, "the fault matrix").await?;
        sender.wait_for_release(&id, &rides.replay[0]).await?;
        for case in &cases {
            let failing = |is_failing: bool| case.fault.filter(|_| is_failing);
            running.cloud.set_endpoint_fault(&own.endpoint, Some(&own.variant), failing(true));
            let second_fails = state == Second::Failing;
            running.cloud.set_endpoint_fault(&second.endpoint, Some(&second.variant), failing(second_fails));
            rows.push(sender.row(case, state, &rides.replay, &step).await?);
        }
        running.cloud.set_endpoint_fault(&own.endpoint, Some(&own.variant), None);
        running.cloud.set_endpoint_fault(&second.endpoint, Some(&second.variant), None);
    }
    step.done(format_args!("{} faults, {} second endpoints", cases.len() - 1, Second::ALL.len()));

    let step = terminal.step("Archiving");
    running.cloud.wait_until_idle(ARCHIVE_TIMEOUT).await?;
    running.cloud.run_schedule("result-archiver", None).await?;
    let archived = archived_tiers(&running.lake, &model.name).await?;
    step.done(format_args!("{} records", grouped(archived.len() as u64)));
    for row in &mut rows {
        row.archived = row.ids.iter().filter(|(id, tier)| archived.get(id) == Some(tier)).count() as u64;
        row.judge(options.grace_ms);
    }
    let kept = rows.iter().all(|row| row.broken.is_empty());
    Ok(MatrixResult { deadline_ms: options.deadline_ms, grace_ms: options.grace_ms, kept, rows })
}

/// The tier of every prediction in the archive.
async fn archived_tiers(lake: &S3Bucket, model: &ModelName) -> Result<HashMap<PredictionId, Tier>, CliError> {
    let mut tiers = HashMap::new();
    for object in lake.list_objects(&Table::Predictions(model.clone()).archive_prefix()).await? {
        let Some(file) = lake.get_object(&object.key, None).await?.found() else { continue };
        let columns = read_prediction_columns(file.bytes)
            .map_err(|error| CliError::Unexpected(format!("`{}`: {error}", object.key)))?;
        tiers.extend(columns.prediction_id.into_iter().zip(columns.tier));
    }
    Ok(tiers)
}

/// Sends requests, one after the other.
struct Sender {
    client: Client,
    api: String,
    deadline_ms: u32,
}

impl Sender {
    /// One request, with an id made by the API: the answer, or the status where it is none, and how long it took.
    async fn send(
        &self,
        ride: &Ride,
        deadline_ms: u32,
    ) -> Result<(Result<PredictionAnswer, StatusCode>, Duration), CliError> {
        let mut request = ride.request();
        request.prediction_id = None;
        request.deadline_ms = Some(deadline_ms);
        let began = Instant::now();
        let (status, body) = post(&self.client, &self.api, "/v1/predictions", &request).await?;
        let latency = began.elapsed();
        if status != StatusCode::OK {
            return Ok((Err(status), latency));
        }
        let answer = serde_json::from_slice(&body);
        let answer = answer
            .map_err(|error| CliError::Unexpected(format!("{} answered what is no prediction: {error}", self.api)))?;
        Ok((Ok(answer), latency))
    }

    /// A warm function sees a new release only after its time to live; a cold one must first start.
    async fn wait_for_release(&self, id: &ReleaseId, ride: &Ride) -> Result<(), CliError> {
        let began = Instant::now();
        loop {
            let (answer, _) = self.send(ride, 2_000).await?;
            if answer.is_ok_and(|answer| answer.release_id == *id) {
                return Ok(());
            }
            if began.elapsed() > RELEASE_TIMEOUT {
                return Err(CliError::Unexpected(format!("release {id} is not served after {RELEASE_TIMEOUT:?}")));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn row(&self, case: &Case, state: Second, rides: &[Ride], step: &Step) -> Result<Row, CliError> {
        let mut row = Row::new(case, state);
        let deadline = Duration::from_millis(u64::from(self.deadline_ms));
        row.latest_past_deadline_ms = -deadline.as_secs_f64() * 1e3;
        for ride in rides {
            let (answer, latency) = self.send(ride, self.deadline_ms).await?;
            row.requests += 1;
            let past_deadline_ms = (latency.as_secs_f64() - deadline.as_secs_f64()) * 1e3;
            row.latest_past_deadline_ms = row.latest_past_deadline_ms.max(past_deadline_ms);
            match answer {
                Ok(answer) => {
                    row.answered += 1;
                    *row.tiers.entry(answer.tier.as_str()).or_default() += 1;
                    if let Some(reason) = answer.tier_reason {
                        *row.reasons.entry(reason).or_default() += 1;
                    }
                    row.ids.push((answer.prediction_id, answer.tier));
                }
                Err(status) => *row.reasons.entry(status.to_string()).or_default() += 1,
            }
            step.advance(1);
        }
        Ok(row)
    }
}

impl Row {
    fn new(case: &Case, state: Second) -> Self {
        let (tier, reason) = case.expected(state);
        Self {
            fault: case.name,
            second: state.name(),
            requests: 0,
            answered: 0,
            latest_past_deadline_ms: 0.0,
            tiers: BTreeMap::new(),
            reasons: BTreeMap::new(),
            archived: 0,
            expected: reason.map_or_else(|| tier.as_str().to_owned(), |reason| format!("{}: {reason}", tier.as_str())),
            broken: Vec::new(),
            ids: Vec::new(),
        }
    }

    /// Fills in what does not hold.
    fn judge(&mut self, grace_ms: u32) {
        let mut expected = self.expected.split(": ");
        let (tier, reason) = (expected.next().unwrap_or_default(), expected.next());
        if self.answered < self.requests {
            self.broken.push(format!("{} requests got no 200", self.requests - self.answered));
        }
        if self.latest_past_deadline_ms > f64::from(grace_ms) {
            self.broken.push(format!("an answer came {:.1} ms after its deadline", self.latest_past_deadline_ms));
        }
        let right_tier = self.tiers.get(tier).copied().unwrap_or_default();
        if right_tier < self.answered {
            self.broken.push(format!("{} answers are not of tier {tier}", self.answered - right_tier));
        }
        let right_reason = reason.map_or(0, |reason| self.reasons.get(reason).copied().unwrap_or_default());
        if right_reason != if reason.is_some() { self.requests } else { 0 } || self.reasons.len() > 1 {
            self.broken.push(format!("reasons are not {}", reason.unwrap_or("none")));
        }
        if self.archived < self.answered {
            self.broken.push(format!("{} answers are not archived", self.answered - self.archived));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(change: impl FnOnce(&mut Row)) -> Vec<String> {
        let case = cases(100).into_iter().find(|case| case.name == "429").unwrap();
        let mut row = Row::new(&case, Second::None);
        row.requests = 2;
        row.answered = 2;
        row.archived = 2;
        row.latest_past_deadline_ms = -50.0;
        row.tiers = BTreeMap::from([("fallback", 2)]);
        row.reasons = BTreeMap::from([("endpoint_model_not_ready".to_owned(), 2)]);
        change(&mut row);
        row.judge(10);
        row.broken
    }

    #[test]
    fn each_promise_can_break() {
        assert_eq!(row(|_| {}), Vec::<String>::new());
        assert_eq!(row(|row| row.latest_past_deadline_ms = 10.5), ["an answer came 10.5 ms after its deadline"]);
        assert_eq!(row(|row| row.archived = 1), ["1 answers are not archived"]);
        let other_tier = row(|row| row.tiers = BTreeMap::from([("fallback", 1), ("endpoint", 1)]));
        assert_eq!(other_tier, ["1 answers are not of tier fallback"]);
        let other_reason = row(|row| _ = row.reasons.insert("endpoint_timeout".to_owned(), 1));
        assert_eq!(other_reason, ["reasons are not endpoint_model_not_ready"]);
        assert!(row(|row| row.requests = 3).contains(&"1 requests got no 200".to_owned()));
    }
}
