//! Records from S3 through the queue to the archiver, and compaction: second by second.

use crate::{ArchiverSize, Assumptions, limits};

/// What became of the records of a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Archived {
    /// Share of the puts that S3 answers with 503 at first, 0–1.
    pub slowed_down: f64,
    /// Most invocations of the archiver at once.
    pub invocations: f64,
    /// Invocations that the rate needs in the long run.
    pub needed: f64,
    /// Records that wait at the end.
    pub backlog: f64,
    /// How long a record waits at the end, in seconds.
    pub lag_s: f64,
    /// How long the last compaction of a full hour takes, in seconds of one invocation.
    pub compaction_s: f64,
}

/// How long a full batch takes, in seconds: calls of S3, then our own work.
pub fn batch_s(assumed: &Assumptions) -> f64 {
    let calls = limits::ARCHIVER_BATCH / limits::ARCHIVER_PARALLEL_CALLS;
    // Each object is got and deleted; a segment is put for each hour, mostly one.
    let waiting = (2.0 * calls + 1.0) * assumed.s3_median_ms / 1e3;
    waiting + limits::ARCHIVER_BATCH * limits::ARCHIVE_US / 1e6 / assumed.archiver.processors()
}

/// `seconds` at `per_s` records.
pub fn archive(per_s: f64, seconds: u32, assumed: &Assumptions) -> Archived {
    let puts_limit = limits::S3_PUTS_PER_S_AND_PARTITION * f64::from(assumed.landing_partitions);
    let per_invocation = limits::ARCHIVER_BATCH / batch_s(assumed);
    let most = assumed.archiver_max_concurrency as f64;
    let (mut backlog, mut running, mut peak) = (0.0_f64, limits::SQS_FIRST_INVOCATIONS.min(most), 0.0_f64);
    for _ in 0..seconds {
        backlog += per_s.min(puts_limit);
        // A mapping adds invocations while there is more than those at work take.
        if backlog > running * per_invocation {
            running = (running + limits::SQS_NEW_INVOCATIONS_PER_MIN / 60.0).min(most);
        }
        peak = peak.max(running.min((backlog / per_invocation).ceil()));
        backlog = (backlog - running * per_invocation).max(0.0);
    }
    let landed = per_s.min(puts_limit);
    let compacted = per_s * limits::RECORDS_OF_AN_HOUR_PER_REQUEST_PER_S;
    Archived {
        slowed_down: 1.0 - landed / per_s,
        invocations: peak,
        needed: landed / per_invocation,
        backlog,
        lag_s: backlog / (running * per_invocation),
        compaction_s: compacted * limits::COMPACT_US / 1e6 / assumed.archiver.processors(),
    }
}

/// The rate at which the last compaction of an hour no longer fits into one invocation, in requests per second.
pub fn compaction_bites_at(archiver: ArchiverSize) -> f64 {
    let per_request = limits::RECORDS_OF_AN_HOUR_PER_REQUEST_PER_S * limits::COMPACT_US / 1e6;
    archiver.compaction_budget_s() * archiver.processors() / per_request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backlog_grows_where_the_rate_needs_more_than_may_run() {
        let assumed = Assumptions::default();
        let calm = archive(100.0, 600, &assumed);
        assert_eq!((calm.backlog, calm.slowed_down), (0.0, 0.0), "{calm:?}");
        let few = archive(3_000.0, 600, &Assumptions { archiver_max_concurrency: 2, ..assumed });
        assert!(few.needed > 2.0 && few.backlog > 100_000.0 && few.lag_s > 60.0, "{few:?}");
        let hot = archive(7_000.0, 600, &assumed);
        assert_eq!(hot.slowed_down, 0.5, "one partition takes half of it");
        let split = archive(7_000.0, 600, &Assumptions { landing_partitions: 2, ..assumed });
        assert_eq!(split.slowed_down, 0.0);
        for archiver in [ArchiverSize::Small, ArchiverSize::Large] {
            let compaction_s =
                archive(compaction_bites_at(archiver), 1, &Assumptions { archiver, ..assumed }).compaction_s;
            assert!((compaction_s - archiver.compaction_budget_s()).abs() < 1e-9);
        }
    }
}
