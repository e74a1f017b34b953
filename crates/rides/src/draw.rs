//! Random numbers that are the same on every machine.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// What numbers are drawn for. Each purpose has its own stream, so that one more draw here moves nothing there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// The streets' speeds.
    Streets = 1,
    /// Where people live, work and go out.
    Demand = 2,
    /// Riders' traits.
    Riders = 3,
    /// Slow waves of rain.
    RainWaves = 4,
    /// Quick showers.
    RainShowers = 5,
    /// Warm and cold spells.
    Temperature = 6,
    /// The stream of rides.
    Rides = 7,
    /// What is invented around a recorded trip.
    Recorded = 8,
}

/// A seeded stream of random numbers.
#[derive(Debug, Clone)]
pub(crate) struct Draw(ChaCha8Rng);

impl Draw {
    /// The stream of a seed, a purpose, and two numbers that tell streams of the same purpose apart.
    pub(crate) fn new(seed: u64, purpose: Purpose, a: u64, b: u64) -> Self {
        let mut key = [0; 32];
        for (slot, word) in key.chunks_exact_mut(8).zip([seed, purpose as u64, a, b]) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Uniform in [0, 1), 53 bits.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in [low, high).
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in 0..count.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.0.next_u64()) * count as u128) >> 64) as usize
    }

    /// True with this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Exponential with mean 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        -libm::log(1.0 - self.unit())
    }

    /// Standard normal (Box and Muller 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (2.0 * self.exponential()).sqrt();
        radius * libm::cos(std::f64::consts::TAU * self.unit())
    }

    /// Failures before the next success in trials of this probability (geometric).
    pub(crate) fn skip(&mut self, probability: f64) -> usize {
        if probability >= 1.0 {
            return 0;
        }
        (self.exponential() / -libm::log(1.0 - probability)) as usize
    }

    /// Log-normal with median 1; `sigma` is the standard deviation of its logarithm.
    pub(crate) fn log_normal(&mut self, sigma: f64) -> f64 {
        libm::exp(sigma * self.normal())
    }

    /// An index drawn by weights, given as their running sums.
    pub(crate) fn weighted(&mut self, running_sums: &[f64]) -> usize {
        let total = running_sums.last().copied().unwrap_or(0.0);
        let drawn = self.unit() * total;
        running_sums.partition_point(|&sum| sum <= drawn).min(running_sums.len().saturating_sub(1))
    }

    /// The random part of a prediction id.
    pub(crate) fn id_bytes(&mut self) -> [u8; 10] {
        let mut bytes = [0; 10];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_apart_and_repeatable() {
        let first = |seed, purpose, a, b| Draw::new(seed, purpose, a, b).unit();
        assert_eq!(first(1, Purpose::Rides, 2, 3), first(1, Purpose::Rides, 2, 3));
        let all = [
            first(1, Purpose::Rides, 2, 3),
            first(2, Purpose::Rides, 2, 3),
            first(1, Purpose::Demand, 2, 3),
            first(1, Purpose::Rides, 3, 3),
            first(1, Purpose::Rides, 2, 4),
        ];
        for (index, value) in all.iter().enumerate() {
            assert!(!all[..index].contains(value));
        }
    }

    #[test]
    fn moments_are_right() {
        let mut draw = Draw::new(5, Purpose::Rides, 0, 0);
        let count = 40_000;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let normal: Vec<f64> = (0..count).map(|_| draw.normal()).collect();
        assert!(mean(&normal).abs() < 0.02);
        assert!((mean(&normal.iter().map(|z| z * z).collect::<Vec<_>>()) - 1.0).abs() < 0.03);
        let exponential: Vec<f64> = (0..count).map(|_| draw.exponential()).collect();
        assert!((mean(&exponential) - 1.0).abs() < 0.02 && exponential.iter().all(|&value| value >= 0.0));
        let skips: Vec<f64> = (0..count).map(|_| draw.skip(0.2) as f64).collect();
        assert!((mean(&skips) - 4.0).abs() < 0.1 && draw.skip(1.0) == 0);
        let mut drawn = [0; 3];
        (0..count).for_each(|_| drawn[draw.weighted(&[1.0, 1.0, 4.0])] += 1);
        assert_eq!(drawn[1], 0);
        assert!((f64::from(drawn[2]) / f64::from(count) - 0.75).abs() < 0.01);
    }
}
