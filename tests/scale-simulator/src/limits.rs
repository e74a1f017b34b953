//! Limits of AWS as it documents them, for an account that has asked for no more, and what was measured of ours.

/// Concurrent executions of all functions of an account in a region.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub const LAMBDA_CONCURRENCY: usize = 1_000;
/// New instances of one function in ten seconds.
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html#scaling-rate>
pub const LAMBDA_NEW_INSTANCES_PER_10_S: usize = 1_000;
/// Requests per second of an account's APIs.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html>
pub const API_REQUESTS_PER_S: f64 = 10_000.0;
/// PUTs per second of one partition of a prefix. S3 makes more partitions by itself under steady load, over minutes to hours; keys
/// that begin with the time of their id all fall into the last one.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html>
pub const S3_PUTS_PER_S_AND_PARTITION: f64 = 3_500.0;
/// How many more invocations a queue's mapping starts each minute.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html>
pub const SQS_NEW_INVOCATIONS_PER_MIN: f64 = 300.0;
/// Invocations that a mapping begins with.
pub const SQS_FIRST_INVOCATIONS: f64 = 5.0;

/// Our own time of a request with 20 candidates, median, in milliseconds (`benches/README.md`, A request).
pub const OWN_MS: f64 = 0.56;
/// From a cold start to the first question for an event, in milliseconds, without what Lambda adds (the same table).
pub const COLD_START_MS: f64 = 8.9;
/// The first request's own time, in milliseconds (the same table).
pub const FIRST_REQUEST_MS: f64 = 1.6;
/// Processor time to archive a landed record, in microseconds (the same file, Landed records to Parquet).
pub const ARCHIVE_US: f64 = 9.7;
/// Processor time to compact a record, in microseconds (the same).
pub const COMPACT_US: f64 = 19.8;
/// Objects that the archiver reads and deletes at a time (`result-archiver/src/archive_batch.rs`).
pub const ARCHIVER_PARALLEL_CALLS: f64 = 16.0;
/// The template's `BatchSize` of the landing queue.
pub const ARCHIVER_BATCH: f64 = 500.0;
/// The hour file is written anew by each run of its hour, the last of them with all its records.
pub const RECORDS_OF_AN_HOUR_PER_REQUEST_PER_S: f64 = 3_600.0;
