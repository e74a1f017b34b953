//! A seeded queueing simulation of the deployed stack: requests arrive at random, instances of prediction-proxy start and stay
//! warm, records go to S3 and through the queue to the archiver. It tells which documented limit of AWS bites first, and what a
//! million predictions cost. The same seed gives the same figures.
//!
//! What is measured (our own time per request and per record) comes from `benches/README.md`; what is AWS's (limits, list prices)
//! has its source beside it; what belongs to the user (how long the endpoint and S3 take) is a parameter and is told as such.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod archive;
pub mod costs;
pub mod limits;
pub mod proxy;
pub mod tables;

/// What the template's `ArchiverSize` gives to result-archiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiverSize {
    /// 1,024 MB, a minute.
    Small,
    /// 1,769 MB, a quarter of an hour.
    Large,
}

impl ArchiverSize {
    /// Gigabytes, as they are paid for.
    pub fn memory_gb(self) -> f64 {
        match self {
            Self::Small => 1.0,
            Self::Large => 1_769.0 / 1_024.0,
        }
    }

    /// Processors: one comes with 1,769 MB.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>
    pub fn processors(self) -> f64 {
        self.memory_gb() * 1_024.0 / 1_769.0
    }

    /// The timeout less the ten seconds in which no new round of compaction begins.
    pub fn compaction_budget_s(self) -> f64 {
        match self {
            Self::Small => 50.0,
            Self::Large => 890.0,
        }
    }
}

/// What the user knows better than this repository.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Assumptions {
    /// How long the model's endpoint takes, median, in milliseconds.
    pub endpoint_median_ms: f64,
    /// Its 99th percentile, in milliseconds.
    pub endpoint_p99_ms: f64,
    /// How long S3 takes to put or get a small object, median, in milliseconds.
    pub s3_median_ms: f64,
    /// Its 99th percentile, in milliseconds.
    pub s3_p99_ms: f64,
    /// The account's concurrent executions.
    pub concurrency_limit: usize,
    /// Requests per second that the API lets through.
    pub api_rate_limit: f64,
    /// `ArchiverMaxConcurrency` of the template.
    pub archiver_max_concurrency: usize,
    /// How many partitions S3 has made of the landing prefix.
    pub landing_partitions: u32,
    /// `ArchiverSize` of the template.
    pub archiver: ArchiverSize,
}

impl Default for Assumptions {
    /// Limits as a new account has them, the template's defaults, and times that want measuring.
    fn default() -> Self {
        Self {
            endpoint_median_ms: 20.0,
            endpoint_p99_ms: 60.0,
            s3_median_ms: 15.0,
            s3_p99_ms: 60.0,
            concurrency_limit: limits::LAMBDA_CONCURRENCY,
            api_rate_limit: limits::API_REQUESTS_PER_S,
            archiver_max_concurrency: 20,
            landing_partitions: 1,
            archiver: ArchiverSize::Small,
        }
    }
}
