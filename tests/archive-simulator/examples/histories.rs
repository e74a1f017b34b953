//! Histories without end: what `tests/histories.rs` does, as often as wanted.
//!
//!     cargo run --release -p archive-simulator --example histories -- [--count N] [--seed N] [--threads N] [--sweeps N]
//!
//! `--seed S --count 1` replays one history. `--sweeps` is the number of small histories that are run again for a crash at
//! every await point. Exit code 1: a history broke the promise; its seed is told.

use std::{
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use archive_simulator::{Counts, Error, every_crash, faulty};

fn main() -> ExitCode {
    let mut numbers = [("--count", 100_000), ("--seed", 0), ("--threads", 2), ("--sweeps", 0)];
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    for pair in arguments.chunks(2) {
        let value = pair.get(1).and_then(|value| value.parse().ok());
        let (Some(known), Some(value)) = (numbers.iter_mut().find(|(name, _)| *name == pair[0]), value) else {
            eprintln!("usage: histories [--count N] [--seed N] [--threads N] [--sweeps N]");
            return ExitCode::from(2);
        };
        known.1 = value;
    }
    let [(_, count), (_, seed), (_, threads), (_, sweeps)] = numbers;
    let began = Instant::now();
    let broken = run(threads, seed, count, &|seed| faulty(seed, None).map(|counts| (1, counts)), "histories")
        | run(threads, seed, sweeps, &every_crash, "histories with a crash at another await point");
    println!("{:.0} s, {threads} threads", began.elapsed().as_secs_f64());
    if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Whether one broke the promise.
fn run(
    threads: u64,
    first: u64,
    count: u64,
    history: &(dyn Fn(u64) -> Result<(u64, Counts), Error> + Sync),
    what: &str,
) -> bool {
    if count == 0 {
        return false;
    }
    let (next, broken) = (AtomicU64::new(0), AtomicU64::new(0));
    let total = Mutex::new((0, Counts::default()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let (mut histories, mut counts) = (0, Counts::default());
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    match history(first + number) {
                        Ok((many, found)) => {
                            histories += many;
                            counts.add(&found);
                        }
                        Err(error) => {
                            println!("--seed {}: {error}", first + number);
                            broken.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
                let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                total.0 += histories;
                total.1.add(&counts);
            });
        }
    });
    let (histories, counts) = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    let broken = broken.into_inner();
    println!("{histories} {what}: seeds {first} to {}, {broken} broken\n{counts}", first + count - 1);
    broken > 0
}
