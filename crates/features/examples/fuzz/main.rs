//! Specs and inputs made at random: no panic, no unbounded memory, the same bits row by row and in batches.
//!
//!     cargo run --release -p features --example fuzz -- [--count N] [--seed N] [--threads N] [--case N]
//!
//! The same seed gives the same cases on every machine and with any number of threads; `--case` runs one of them again.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cases;
#[path = "../generate/mod.rs"]
mod generate;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use cases::{Buffers, Counts};

/// A case that holds more at once is a failure.
const MAX_CASE_BYTES: u64 = 64 << 20;
const CASES_AT_ONCE: u64 = 1_000;

fn main() {
    let mut numbers = [("--count", 100_000), ("--seed", 1), ("--threads", 2), ("--case", u64::MAX)];
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    for pair in arguments.chunks(2) {
        let (Some(known), Some(Ok(value))) =
            (numbers.iter_mut().find(|(name, _)| *name == pair[0]), pair.get(1).map(|value| value.parse()))
        else {
            eprintln!("usage: fuzz [--count N] [--seed N] [--threads N] [--case N]");
            std::process::exit(2);
        };
        known.1 = value;
    }
    let [(_, count), (_, seed), (_, threads), (_, case)] = numbers;
    if case != u64::MAX {
        println!("{:?}", cases::run(seed, case, &mut Counts::default(), &mut Buffers::default()));
        return;
    }
    std::panic::set_hook(Box::new(|_| {}));
    let (started, next, failed) = (Instant::now(), AtomicU64::new(0), AtomicBool::new(false));
    let (total, most) = (Mutex::new(Counts::default()), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut buffers = Buffers::default();
                loop {
                    {
                        let total = total.lock().unwrap();
                        if total.specs() + total.rows() >= count || failed.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                    let mut counts = Counts::default();
                    let first = next.fetch_add(CASES_AT_ONCE, Ordering::Relaxed);
                    for number in first..first + CASES_AT_ONCE {
                        let mut outcome = Ok(Ok(()));
                        let used = allocation_counter::measure(|| {
                            outcome =
                                catch_unwind(AssertUnwindSafe(|| cases::run(seed, number, &mut counts, &mut buffers)));
                        });
                        most.fetch_max(used.bytes_max, Ordering::Relaxed);
                        let failure = match outcome {
                            Ok(Ok(())) if used.bytes_max <= MAX_CASE_BYTES => continue,
                            Ok(Ok(())) => format!("held {} bytes", used.bytes_max),
                            Ok(Err(law)) => law,
                            Err(_) => "panicked".to_owned(),
                        };
                        println!("--seed {seed} --case {number}: {failure}");
                        failed.store(true, Ordering::Relaxed);
                    }
                    total.lock().unwrap().add(&counts);
                }
            });
        }
    });
    let total = total.into_inner().unwrap();
    println!(
        "{} specs and inputs, seed {seed}: {} specs ({} of random bytes, {} mutated, {} generated; {} compiled) and {} rows \
         ({} of JSON, each also as a request and as a column, {} of CSV cells; {} refused); {:.0} s, {threads} threads; at most \
         {:.1} MiB held by a case, {} MiB by the process",
        total.specs() + total.rows(),
        total.specs(),
        total.random_bytes,
        total.mutated_specs,
        total.generated_specs,
        total.compiled,
        total.rows(),
        total.json_rows,
        total.cell_rows,
        total.rejected_rows,
        started.elapsed().as_secs_f64(),
        most.load(Ordering::Relaxed) as f64 / f64::from(1 << 20),
        peak_rss_mib(),
    );
    if failed.into_inner() {
        std::process::exit(1);
    }
    println!("no panic, no law broken");
}

/// The process's greatest resident size, where the system tells.
fn peak_rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or_default() / 1024
}
