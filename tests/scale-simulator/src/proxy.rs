//! Requests through API Gateway to instances of prediction-proxy.

use std::{cmp::Reverse, collections::BinaryHeap};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{Assumptions, limits};

/// What became of a stretch of requests at one rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Served {
    /// Requests that arrived.
    pub requests: u64,
    /// Share that the API's rate limit turned away (429), 0–1.
    pub over_rate: f64,
    /// Share that Lambda turned away for want of concurrency (503), 0–1.
    pub throttled: f64,
    /// Most instances at work at once.
    pub peak_concurrency: usize,
    /// Instances started.
    pub cold_starts: u64,
    /// Median time of an answered request, in milliseconds.
    pub p50_ms: f64,
    /// The 99th percentile of it, in milliseconds.
    pub p99_ms: f64,
    /// Mean time that is paid for, in milliseconds.
    pub mean_ms: f64,
}

/// A time whose logarithm is normal, by median and 99th percentile.
#[derive(Debug, Clone, Copy)]
struct LogNormal {
    median: f64,
    sigma: f64,
}

/// The 99th percentile of the standard normal.
const Z_99: f64 = 2.326_347_874;

impl LogNormal {
    fn new(median: f64, p99: f64) -> Self {
        Self { median, sigma: (p99 / median).max(1.0).ln() / Z_99 }
    }

    fn draw(self, random: &mut ChaCha8Rng) -> f64 {
        // Box and Muller; one of the pair is enough.
        let (u, v): (f64, f64) = (1.0 - random.random::<f64>(), random.random());
        let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        self.median * (self.sigma * normal).exp()
    }
}

/// Simulates `seconds` of requests that arrive at random, `per_s` on average, from no instance on.
pub fn serve(per_s: f64, seconds: f64, assumed: &Assumptions, seed: u64) -> Served {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let endpoint = LogNormal::new(assumed.endpoint_median_ms, assumed.endpoint_p99_ms);
    let s3 = LogNormal::new(assumed.s3_median_ms, assumed.s3_p99_ms);
    // When each busy instance is free again, in nanoseconds, so that times have a total order.
    let mut busy: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
    let (mut idle, mut peak) = (0_usize, 0_usize);
    let (mut requests, mut over_rate, mut throttled, mut cold_starts) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut new_instances = Bucket::new(limits::LAMBDA_NEW_INSTANCES_PER_10_S as f64, 10.0);
    let mut rate = Bucket::new(assumed.api_rate_limit, 1.0);
    let mut latencies = Vec::with_capacity((per_s * seconds) as usize);
    let mut now = 0.0;
    loop {
        now += -(1.0 - random.random::<f64>()).ln() / per_s;
        if now >= seconds {
            break;
        }
        requests += 1;
        if !rate.take(now) {
            over_rate += 1;
            continue;
        }
        let at = (now * 1e9) as u64;
        while busy.peek().is_some_and(|Reverse(free)| *free <= at) {
            busy.pop();
            idle += 1;
        }
        let mut took_ms = limits::OWN_MS + endpoint.draw(&mut random) + s3.draw(&mut random);
        if idle > 0 {
            idle -= 1;
        } else if busy.len() < assumed.concurrency_limit && new_instances.take(now) {
            cold_starts += 1;
            took_ms += limits::COLD_START_MS + limits::FIRST_REQUEST_MS - limits::OWN_MS;
        } else {
            throttled += 1;
            continue;
        }
        busy.push(Reverse(at + (took_ms * 1e6) as u64));
        peak = peak.max(busy.len());
        latencies.push(took_ms);
    }
    latencies.sort_by(f64::total_cmp);
    let quantile = |q: f64| latencies.get((latencies.len() as f64 * q) as usize).copied().unwrap_or_default();
    Served {
        requests,
        over_rate: over_rate as f64 / requests.max(1) as f64,
        throttled: throttled as f64 / requests.max(1) as f64,
        peak_concurrency: peak,
        cold_starts,
        p50_ms: quantile(0.5),
        p99_ms: quantile(0.99),
        mean_ms: latencies.iter().sum::<f64>() / latencies.len().max(1) as f64,
    }
}

/// So many in so long, full at the beginning.
#[derive(Debug)]
struct Bucket {
    size: f64,
    per_s: f64,
    tokens: f64,
    at: f64,
}

impl Bucket {
    fn new(size: f64, seconds: f64) -> Self {
        Self { size, per_s: size / seconds, tokens: size, at: 0.0 }
    }

    fn take(&mut self, now: f64) -> bool {
        self.tokens = self.size.min(self.tokens + (now - self.at) * self.per_s);
        self.at = now;
        let some = self.tokens >= 1.0;
        self.tokens -= f64::from(u8::from(some));
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn littles_law_holds_and_the_seed_decides() {
        let assumed = Assumptions::default();
        let served = serve(200.0, 60.0, &assumed, 7);
        assert_eq!(served, serve(200.0, 60.0, &assumed, 7));
        assert_ne!(served, serve(200.0, 60.0, &assumed, 8));
        // On average as many are at work as arrive in the time that one takes; the most are somewhat more.
        let average = 200.0 * served.mean_ms / 1e3;
        assert!((average..3.0 * average).contains(&(served.peak_concurrency as f64)), "{served:?}");
        assert_eq!((served.over_rate, served.throttled), (0.0, 0.0));
        assert!((served.requests as f64 - 12_000.0).abs() < 4.0 * 12_000_f64.sqrt());
        assert!(served.p50_ms < served.p99_ms && served.mean_ms > served.p50_ms);
    }

    #[test]
    fn each_limit_bites() {
        let assumed = Assumptions { concurrency_limit: 5, ..Assumptions::default() };
        let served = serve(1_000.0, 10.0, &assumed, 7);
        assert!(served.throttled > 0.5 && served.peak_concurrency == 5, "{served:?}");
        let assumed = Assumptions { api_rate_limit: 100.0, ..Assumptions::default() };
        let served = serve(1_000.0, 10.0, &assumed, 7);
        assert!((served.over_rate - 0.89).abs() < 0.03, "a hundred a second, and a hundred at once: {served:?}");
        // Instances of a function come at no more than a thousand in ten seconds.
        let assumed = Assumptions { concurrency_limit: 100_000, api_rate_limit: 1e9, ..Assumptions::default() };
        let served = serve(100_000.0, 2.0, &assumed, 7);
        assert!(served.throttled > 0.1 && served.cold_starts < 1_300, "{served:?}");
    }
}
