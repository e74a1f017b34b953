//! The archive's promise, *effectively once*, under everything that can go wrong.
//!
//! A history runs the real intake, archiver, compactor and evaluator against an object store and a queue in memory. Every
//! call of the store is an await point: a scheduler chooses which call happens next, what goes wrong with it, and which
//! process dies at it. Time is virtual, and all chance comes from one seed, so that the seed alone gives the same history
//! again. After the faults stop, the queue drains; then the lake must be the one of the same workload without faults, to
//! the byte, with every record once.
//!
//! That it would see a bug is shown by [`Mutant`]s: bugs that are put between the real code and the store.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod check;
mod faults;
mod history;
mod mutants;
mod network;
mod queue;
mod workload;

use std::fmt;

pub use faults::{Counts, Fault};
pub use history::{CallsInFlight, Crash, End, Mode};
pub use mutants::Mutant;

use history::History;

/// Why a history broke the promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// One history with everything that its seed has go wrong, held against the same workload without faults.
///
/// # Errors
/// What was lost, counted twice, or left behind.
pub fn faulty(seed: u64, mutant: Option<Mutant>) -> Result<Counts, Error> {
    let expected = History::new(seed, Mode::FaultFree, false, None)?.run()?;
    check::complete(seed, false, &expected)?;
    let found = History::new(seed, Mode::Faulty, false, mutant)?.run()?;
    check::same(&found, &expected)?;
    Ok(found.counts)
}

/// A small history, again and again: each time one process dies at another of its await points, with each fate of the
/// calls that it has in flight. Returns how many histories that were, and what went wrong in them.
///
/// # Errors
/// The first crash that is not survived.
pub fn every_crash(seed: u64) -> Result<(u64, Counts), Error> {
    let expected = History::new(seed, Mode::FaultFree, true, None)?.run()?;
    check::complete(seed, true, &expected)?;
    let nobody = Crash { process: u64::MAX, polls: 0, calls: CallsInFlight::Lost };
    let whole = History::new(seed, Mode::OneCrash(nobody), true, None)?.run()?;
    check::same(&whole, &expected)?;
    let (mut histories, mut counts) = (0, Counts::default());
    for (process, &polls) in (0..).zip(&whole.polls) {
        for polls in 0..polls {
            for calls in [CallsInFlight::Lost, CallsInFlight::Done, CallsInFlight::Late] {
                let crash = Crash { process, polls, calls };
                let found = History::new(seed, Mode::OneCrash(crash), true, None)?.run();
                let same = found.and_then(|found| check::same(&found, &expected).map(|()| found.counts));
                counts.add(&same.map_err(|error| Error::new(format!("{crash:?}: {error}")))?);
                histories += 1;
            }
        }
    }
    Ok((histories, counts))
}
