//! When requests are due.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Arrivals of a Poisson process of `rate` per second in `seconds`, from its beginning, in order.
pub(crate) fn poisson(rate: f64, seconds: f64, seed: u64) -> Vec<Duration> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut at = 0.0;
    let gaps = std::iter::repeat_with(|| {
        // 1 - [0, 1) is never 0.
        at -= (1.0 - random.random::<f64>()).ln() / rate;
        at
    });
    gaps.take_while(|at| *at < seconds).map(Duration::from_secs_f64).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::poisson;

    proptest! {
        #[test]
        fn arrivals_come_in_order_and_at_their_rate(rate in 1.0..5_000.0_f64, seed: u64) {
            let seconds = 2_000.0 / rate;
            let due = poisson(rate, seconds, seed);
            prop_assert!(due.is_sorted() && due.iter().all(|due| due.as_secs_f64() < seconds));
            // Seven standard deviations.
            prop_assert!((due.len() as f64 - 2_000.0).abs() < 7.0 * 2_000.0_f64.sqrt(), "{}", due.len());
            prop_assert_eq!(due, poisson(rate, seconds, seed));
        }
    }

    #[test]
    fn gaps_are_exponential() {
        let due = poisson(100.0, 200.0, 5);
        let gaps = due.windows(2).map(|pair| pair[1].as_secs_f64() - pair[0].as_secs_f64());
        // A share of e^-1 is longer than the mean.
        let long = gaps.filter(|gap| *gap > 0.01).count() as f64 / due.len() as f64;
        assert!((long - (-1.0_f64).exp()).abs() < 0.02, "{long}");
    }
}
