//! The archive's promise, as far as every test run can afford it; `examples/histories.rs` goes on by night.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::thread::{self, available_parallelism};

use archive_simulator::{Counts, Fault, Mutant, every_crash, faulty};

/// Where `HISTORIES` does not say so: `.ci/run` takes 2,000.
const HISTORIES: u64 = 200;
/// Small histories, each run again for a crash at every await point.
const SWEEPS: u64 = 2;
/// Histories in which a mutant must be caught.
const TRIES: u64 = 1_000;

/// `run` for each of `seeds`, on all processors.
fn in_parallel<T: Send>(seeds: std::ops::Range<u64>, run: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let threads = available_parallelism().map_or(2, usize::from) as u64;
    thread::scope(|scope| {
        let started: Vec<_> = (0..threads)
            .map(|thread| {
                let (run, seeds) = (&run, seeds.clone());
                scope.spawn(move || seeds.filter(|seed| seed % threads == thread).map(run).collect::<Vec<T>>())
            })
            .collect();
        started.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn replay(seed: u64) -> String {
    format!("cargo run --release -p archive-simulator --example histories -- --seed {seed} --count 1")
}

#[test]
fn nothing_is_lost_and_nothing_counted_twice() {
    let histories = std::env::var("HISTORIES").map_or(HISTORIES, |count| count.parse().unwrap());
    let mut counts = Counts::default();
    for (seed, result) in in_parallel(0..histories, |seed| (seed, faulty(seed, None))) {
        counts.add(&result.unwrap_or_else(|error| panic!("seed {seed}: {error}\n{}", replay(seed))));
    }
    println!("{histories} histories\n{counts}");
    for &fault in Fault::ALL {
        assert!(histories < HISTORIES || counts.of(fault) > 0, "never tried: {}", fault.as_str());
    }
}

#[test]
fn every_await_point_is_survived() {
    let mut counts = Counts::default();
    let mut histories = 0;
    for (seed, result) in in_parallel(0..SWEEPS, |seed| (seed, every_crash(seed))) {
        let (tried, found) = result.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        histories += tried;
        counts.add(&found);
    }
    println!("{histories} crashes, each at another await point or with another fate of the calls in flight\n{counts}");
    assert_eq!(counts.of(Fault::Crash), histories);
}

#[test]
fn the_same_seed_is_the_same_history() {
    for seed in 0..5 {
        assert_eq!(faulty(seed, None), faulty(seed, None));
    }
}

#[test]
fn every_mutant_is_caught() {
    assert!(Mutant::ALL.len() >= 20);
    let caught = |number: u64| {
        let mutant = Mutant::ALL[number as usize];
        let first = (0..TRIES).find_map(|seed| faulty(seed, Some(mutant)).err().map(|error| (seed, error)));
        (mutant, first)
    };
    let mut survivors = Vec::new();
    for (mutant, first) in in_parallel(0..Mutant::ALL.len() as u64, caught) {
        match first {
            Some((seed, error)) => println!("{mutant:?} ({}): history {}: {error}", mutant.as_str(), seed + 1),
            None => survivors.push(mutant),
        }
    }
    assert!(survivors.is_empty(), "not caught in {TRIES} histories: {survivors:?}");
}
