//! Replay: rides as requests in time order, and what became of them as outcomes.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use domain::{CandidateId, OutcomeEvent, Problem};
use futures::{StreamExt, stream};
use prediction_proxy::PredictionAnswer;
use reqwest::{Client, StatusCode};
use rides::Ride;
use serde::Serialize;

use crate::{
    arguments::ReplayOptions,
    error::CliError,
    source,
    terminal::{Step, Terminal, grouped, strong},
};

/// Longer than any deadline that a request can ask for.
const HTTP_TIMEOUT: Duration = Duration::from_mins(1);
/// How many problems are kept to be shown.
const SHOWN_PROBLEMS: usize = 5;

/// What a replay did.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Replayed {
    /// Requests sent.
    pub(crate) requests: u64,
    /// Requests answered with a prediction.
    pub(crate) answered: u64,
    /// Candidates in the answered requests.
    pub(crate) candidates: u64,
    /// Answers by tier.
    pub(crate) tiers: BTreeMap<&'static str, u64>,
    /// Rides whose outcome was accepted.
    pub(crate) outcomes: u64,
    /// Events in those outcomes.
    pub(crate) outcome_events: u64,
    /// The first problems met.
    pub(crate) problems: Vec<String>,
    /// Median time of a request as the client sees it, milliseconds.
    pub(crate) p50_ms: f64,
    /// The 99th percentile of it.
    pub(crate) p99_ms: f64,
    /// From the first request to the last outcome, seconds.
    pub(crate) seconds: f64,
}

/// One ride's part of it.
struct Sent {
    answer: Result<PredictionAnswer, String>,
    /// What the app knows of the ride's end.
    events: Vec<OutcomeEvent>,
    /// Number of events accepted.
    outcome: Result<u64, String>,
    latency: Duration,
}

/// Sends `rides` in order, `concurrency` at a time, each followed by its outcome, which `keep` is given too: the app has records
/// of its own.
pub(crate) async fn replay(
    api: &str,
    rides: &[Ride],
    concurrency: usize,
    step: &Step,
    keep: &mut dyn FnMut(Vec<OutcomeEvent>),
) -> Result<Replayed, CliError> {
    let client = Client::builder()
        .timeout(HTTP_TIMEOUT)
        // A proxy of the machine must not stand between this program and its own loopback addresses.
        .no_proxy()
        .build()
        .map_err(|error| CliError::Api { url: api.to_owned(), detail: error.to_string() })?;
    let began = Instant::now();
    let mut replayed = Replayed::default();
    let mut latencies_us = Vec::with_capacity(rides.len());
    let mut sent = stream::iter(rides).map(|ride| send_ride(&client, api, ride)).buffered(concurrency);
    while let Some(sent) = sent.next().await {
        let sent = sent?;
        replayed.requests += 1;
        match sent.answer {
            Ok(answer) => {
                replayed.answered += 1;
                replayed.candidates += answer.predictions.len() as u64;
                *replayed.tiers.entry(answer.tier.as_str()).or_default() += 1;
                latencies_us.push(u64::try_from(sent.latency.as_micros()).unwrap_or(u64::MAX));
            }
            Err(problem) => note(&mut replayed.problems, problem),
        }
        match sent.outcome {
            Ok(0) => {}
            Ok(events) => {
                replayed.outcomes += 1;
                replayed.outcome_events += events;
            }
            Err(problem) => note(&mut replayed.problems, problem),
        }
        keep(sent.events);
        step.advance(1);
    }
    latencies_us.sort_unstable();
    let quantile = |q: f64| {
        let index = ((latencies_us.len() as f64 * q) as usize).min(latencies_us.len().saturating_sub(1));
        latencies_us.get(index).map_or(0.0, |&us| us as f64 / 1e3)
    };
    (replayed.p50_ms, replayed.p99_ms) = (quantile(0.5), quantile(0.99));
    replayed.seconds = began.elapsed().as_secs_f64();
    Ok(replayed)
}

fn note(problems: &mut Vec<String>, problem: String) {
    if problems.len() < SHOWN_PROBLEMS {
        problems.push(problem);
    }
}

async fn send_ride(client: &Client, api: &str, ride: &Ride) -> Result<Sent, CliError> {
    let began = Instant::now();
    let (status, body) = post(client, api, "/v1/predictions", &ride.request()).await?;
    let latency = began.elapsed();
    if status != StatusCode::OK {
        return Ok(Sent { answer: Err(problem_text(status, &body)), events: Vec::new(), outcome: Ok(0), latency });
    }
    let answer: PredictionAnswer = serde_json::from_slice(&body)
        .map_err(|error| CliError::Unexpected(format!("{api} answered what is no prediction: {error}")))?;
    let shown: Vec<(CandidateId, f64)> =
        answer.predictions.iter().map(|prediction| (prediction.candidate_id.clone(), prediction.value)).collect();
    let events = ride.outcome(ride.dispatch(&shown)?)?;
    let outcome = send_outcome(client, api, &events).await?;
    Ok(Sent { answer: Ok(answer), events, outcome, latency })
}

async fn send_outcome(client: &Client, api: &str, events: &[OutcomeEvent]) -> Result<Result<u64, String>, CliError> {
    #[derive(Serialize)]
    struct Batch<'a> {
        outcomes: &'a [OutcomeEvent],
    }
    let (status, body) = post(client, api, "/v1/outcomes", &Batch { outcomes: events }).await?;
    Ok(if status.is_success() { Ok(events.len() as u64) } else { Err(problem_text(status, &body)) })
}

/// Posts JSON to the API; the status and the body.
pub(crate) async fn post<T: Serialize>(
    client: &Client,
    api: &str,
    path: &str,
    body: &T,
) -> Result<(StatusCode, bytes::Bytes), CliError> {
    let url = format!("{}{path}", api.trim_end_matches('/'));
    let failed = |error: reqwest::Error| {
        let hint = if error.is_connect() { "; is the local cloud running? `mannen up` starts it" } else { "" };
        CliError::Api { url: url.clone(), detail: format!("{}{hint}", chain(&error)) }
    };
    let response = client.post(&url).json(body).send().await.map_err(failed)?;
    let status = response.status();
    Ok((status, response.bytes().await.map_err(failed)?))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn problem_text(status: StatusCode, body: &[u8]) -> String {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => {
            let fields: Vec<String> =
                problem.errors.iter().map(|field| format!("{}: {}", field.pointer, field.detail)).collect();
            format!("{status}: {} {}", problem.detail, fields.join("; "))
        }
        Err(_) => format!("{status}: {}", String::from_utf8_lossy(&body[..body.len().min(200)])),
    }
}

/// `mannen replay`.
pub(crate) async fn run(options: &ReplayOptions, terminal: Terminal) -> Result<(), CliError> {
    let requests = options.requests.map(|requests| requests as usize);
    let rides = source::replay_only(&options.rides, options.skip, requests, terminal)?;
    let step = terminal.counted_step("Replaying", rides.len() as u64);
    let mut ignore = |_| {};
    let replayed = tokio::select! {
        replayed = replay(&options.api, &rides, usize::from(options.concurrency), &step, &mut ignore) => replayed?,
        _ = tokio::signal::ctrl_c() => return Err(CliError::Interrupted),
    };
    step.done(replayed.summary());
    replayed.tell_problems(terminal);
    terminal.result(format_args!(
        "{} requests, {} answered, {} outcomes",
        strong(grouped(replayed.requests)),
        strong(grouped(replayed.answered)),
        strong(grouped(replayed.outcomes))
    ));
    terminal.json(&replayed);
    if replayed.answered < replayed.requests {
        let failed = replayed.requests - replayed.answered;
        return Err(CliError::Unexpected(format!("{failed} requests got no prediction")));
    }
    if replayed.outcomes < replayed.answered {
        let failed = replayed.answered - replayed.outcomes;
        return Err(CliError::Unexpected(format!("the outcomes of {failed} rides were not accepted")));
    }
    Ok(())
}

impl Replayed {
    pub(crate) fn summary(&self) -> String {
        format!(
            "{} answered in {:.1} s ({:.0} requests/s, P50 {:.1} ms, P99 {:.1} ms)",
            grouped(self.answered),
            self.seconds,
            self.requests as f64 / self.seconds.max(1e-9),
            self.p50_ms,
            self.p99_ms
        )
    }

    pub(crate) fn tell_problems(&self, terminal: Terminal) {
        for problem in &self.problems {
            terminal.note(format_args!("  problem: {problem}"));
        }
    }
}
