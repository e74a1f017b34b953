//! How long to wait before a retry.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The longest pause before the first retry; it doubles from retry to retry.
const FIRST: Duration = Duration::from_millis(10);
/// The longest pause at all.
const LONGEST: Duration = Duration::from_millis(200);

/// The pause before the `retry`th retry, from 1: "full jitter", evenly between nothing and the longest pause of that retry
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>). `unit` is even on 0..1.
pub(crate) fn full_jitter(retry: u32, unit: f64) -> Duration {
    (FIRST * 2_u32.pow(retry.saturating_sub(1).min(10))).min(LONGEST).mul_f64(unit.clamp(0.0, 1.0))
}

/// Numbers on 0..1 from one seed, by SplitMix64 (<https://doi.org/10.1145/2714064.2660195>).
#[derive(Debug)]
pub(crate) struct Jitter(AtomicU64);

impl Jitter {
    /// From a seed that is random itself.
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// The next number.
    pub(crate) fn unit(&self) -> f64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let longest: Vec<u128> = (1..=7).map(|retry| full_jitter(retry, 1.0).as_millis()).collect();
        assert_eq!(longest, [10, 20, 40, 80, 160, 200, 200]);
        assert_eq!(full_jitter(u32::MAX, 0.5), LONGEST / 2);
        assert_eq!(full_jitter(3, 0.0), Duration::ZERO);
    }

    #[test]
    fn jitter_is_even_and_of_its_seed() {
        let numbers = |seed| {
            let jitter = Jitter::new(seed);
            (0..10_000).map(|_| jitter.unit()).collect::<Vec<f64>>()
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
        let numbers = numbers(7);
        assert!(numbers.iter().all(|unit| (0.0..1.0).contains(unit)));
        for tenth in 0..10 {
            let within = numbers.iter().filter(|unit| (**unit * 10.0) as u32 == tenth).count();
            assert!((850..1150).contains(&within), "{tenth}: {within}");
        }
    }
}
