//! How long an endpoint usually takes.

use std::time::Duration;

/// So many recent calls are remembered.
const KEPT: usize = 64;
/// With fewer, nothing is said.
const ENOUGH: usize = 20;

/// The recent calls' durations.
#[derive(Debug, Clone, Default)]
pub(crate) struct RecentLatency {
    durations: Vec<Duration>,
    next: usize,
}

impl RecentLatency {
    /// One more call.
    pub(crate) fn record(&mut self, duration: Duration) {
        if self.durations.len() < KEPT {
            self.durations.push(duration);
        } else {
            self.durations[self.next] = duration;
        }
        self.next = (self.next + 1) % KEPT;
    }

    /// The duration that 95 % of the recent calls stay within (nearest rank), where there were enough.
    pub(crate) fn p95(&self) -> Option<Duration> {
        let count = self.durations.len();
        if count < ENOUGH {
            return None;
        }
        let mut sorted = self.durations.clone();
        let (_, p95, _) = sorted.select_nth_unstable((count * 95).div_ceil(100) - 1);
        Some(*p95)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(durations_ms: impl Iterator<Item = u64>) -> Option<u128> {
        let mut latency = RecentLatency::default();
        durations_ms.for_each(|ms| latency.record(Duration::from_millis(ms)));
        latency.p95().map(|p95| p95.as_millis())
    }

    #[test]
    fn says_nothing_of_few_calls_and_forgets_old_ones() {
        assert_eq!(after(1..=19), None);
        assert_eq!(after(1..=20), Some(19));
        assert_eq!(after((1..=20).rev()), Some(19));
        assert_eq!(after(1..=164), Some(161), "of 101 to 164");
        assert_eq!(after(std::iter::repeat_n(900, 500).chain(std::iter::repeat_n(10, 64))), Some(10));
    }
}
