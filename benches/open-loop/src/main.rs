//! Prediction requests in an open loop: each is sent when it is due, whatever became of those before it, and its time is
//! counted from when it was due. A service that falls behind is seen to fall behind; a loop that waits for answers would send less.
//!
//! ```text
//! open-loop --url http://127.0.0.1:8080 --rate 300 --candidates 20
//! ```
//!
//! Arrivals are a Poisson process, seeded. Connections are kept and there are as many as needed. One JSON object is printed.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod arrivals;
mod connections;
mod figures;
mod requests;

use std::{
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use hyper::Uri;
use tokio::sync::mpsc;

use crate::{
    connections::{Connections, Failure},
    figures::{Ending, Figures, One},
    requests::Riders,
};

/// Send prediction requests at a rate, whatever the answers do, and print how long they took
#[derive(Debug, Parser)]
#[command(name = "open-loop", version)]
struct Options {
    /// The API, such as http://127.0.0.1:8080
    #[arg(long)]
    url: Uri,
    /// Requests per second
    #[arg(long, value_parser = positive)]
    rate: f64,
    /// How long to count, in seconds
    #[arg(long, default_value_t = 6.0, value_parser = positive)]
    seconds: f64,
    /// How long to send at the rate before that
    #[arg(long, default_value_t = 1.0)]
    warm_seconds: f64,
    /// Candidates of a request
    #[arg(long, default_value_t = 1)]
    candidates: usize,
    /// Send no more once so many requests wait for their answers: the service has fallen behind
    #[arg(long, default_value_t = 800)]
    most_waiting: usize,
    /// How long to wait for answers after the last request, in seconds
    #[arg(long, default_value_t = 5.0)]
    patience: f64,
    /// Seed of arrivals and riders
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number > 0.0 && number.is_finite() { Ok(number) } else { Err("must be above 0".to_owned()) }
}

/// What all requests under way share.
struct Run {
    connections: Connections,
    riders: Riders,
    waiting: AtomicUsize,
    ended: Mutex<Vec<One>>,
}

impl Run {
    async fn ask(&self, number: usize, due: Instant, counts: bool) {
        let sent = Instant::now();
        let ending = match self.connections.ask(self.riders.request(number)).await {
            Ok(answer) => Ending::of(&answer, self.riders.candidates),
            Err(failure) => Ending::Failed(failure),
        };
        let one = One { took: due.elapsed(), late: sent.duration_since(due), ending };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        if counts {
            self.ended.lock().unwrap_or_else(PoisonError::into_inner).push(one);
        }
    }
}

/// Tells each request's number when it is due. A thread of its own: a runtime's timers are good to a millisecond only.
fn pace(begin: Instant, due: &[Duration], tell: &mpsc::UnboundedSender<usize>) {
    for (number, due) in due.iter().enumerate() {
        if let Some(left) = (begin + *due).checked_duration_since(Instant::now()) {
            std::thread::sleep(left);
        }
        if tell.send(number).is_err() {
            return;
        }
    }
}

async fn run(options: &Options) -> Result<Figures, Failure> {
    let due = arrivals::poisson(options.rate, options.warm_seconds + options.seconds, options.seed);
    let warm = Duration::from_secs_f64(options.warm_seconds);
    let run = Arc::new(Run {
        connections: Connections::to(&options.url)?,
        riders: Riders::new(options.candidates, options.seed),
        waiting: AtomicUsize::new(0),
        ended: Mutex::default(),
    });
    let begin = Instant::now();
    let (tell, mut told) = mpsc::unbounded_channel();
    let pacing = std::thread::spawn({
        let due = due.clone();
        move || pace(begin, &due, &tell)
    });
    let (mut counted, mut gave_up) = (0, false);
    while let Some(number) = told.recv().await {
        if run.waiting.fetch_add(1, Ordering::Relaxed) >= options.most_waiting {
            gave_up = true;
            break;
        }
        let counts = due[number] >= warm;
        counted += usize::from(counts);
        let (run, due) = (run.clone(), begin + due[number]);
        tokio::spawn(async move { run.ask(number, due, counts).await });
    }
    drop(told);
    // It ends when it next has something to tell.
    let _ = pacing.join();
    let left_behind = run.waiting.load(Ordering::Relaxed);
    let patience = Instant::now() + Duration::from_secs_f64(options.patience);
    while ended(&run) < counted && Instant::now() < patience && !gave_up {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ended = std::mem::take(&mut *run.ended.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Figures::of(ended, counted, left_behind, gave_up, run.connections.opened()))
}

fn ended(run: &Run) -> usize {
    run.ended.lock().unwrap_or_else(PoisonError::into_inner).len()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options).await.map(|figures| figures.to_json(options.rate, options.candidates)) {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}
