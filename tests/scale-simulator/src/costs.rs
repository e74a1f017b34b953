//! What a million predictions cost, by component. List prices of us-east-1 in US dollars, without tax and free tiers, for arm64;
//! prices change: <https://aws.amazon.com/pricing/>. The model's endpoint is not among them: it is paid by the hour.

use crate::{Assumptions, limits};

/// One component's cost for a million predictions, US dollars.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// What is paid for.
    pub component: &'static str,
    /// The formula.
    pub formula: &'static str,
    /// US dollars.
    pub usd: f64,
}

const LAMBDA_GB_S: f64 = 0.000_013_333_4;
const LAMBDA_REQUEST: f64 = 0.20e-6;
const API_REQUEST: f64 = 1.00e-6;
const S3_PUT: f64 = 5e-6;
const S3_GET: f64 = 0.4e-6;
const S3_GB_MONTH: f64 = 0.023;
const SQS_REQUEST: f64 = 0.40e-6;
const LOG_GB: f64 = 0.50;
/// What prediction-proxy logs of a request, in bytes: 221,577 of 300 requests of a demo. Lambda's own lines come on top.
pub const PROXY_LOG_BYTES: f64 = 221_577.0 / 300.0;
/// What outcome-intake logs of a request, in bytes: 120,600 of the same 300.
pub const INTAKE_LOG_BYTES: f64 = 120_600.0 / 300.0;
/// A prediction of eleven candidates and its two outcome events in the hour files, in bytes, of the same demo.
pub const ARCHIVED_BYTES: f64 = (265_485.0 + 39_061.0) / 300.0;

/// Costs of a million predictions whose requests take `mean_ms`.
pub fn per_million(mean_ms: f64, assumed: &Assumptions) -> Vec<Cost> {
    let million = 1e6;
    let archiver_s = million / limits::ARCHIVER_BATCH * crate::archive::batch_s(assumed);
    let cost = |component, formula, usd| Cost { component, formula, usd };
    vec![
        cost("API Gateway, HTTP API", "1 request", million * API_REQUEST),
        cost("prediction-proxy, requests", "1 invocation", million * LAMBDA_REQUEST),
        cost("prediction-proxy, time", "mean s × 0.5 GB", million * mean_ms / 1e3 * 0.5 * LAMBDA_GB_S),
        cost("S3, landing", "1 PUT, 1 GET; deletes are free", million * (S3_PUT + S3_GET)),
        cost("SQS", "1 send, and 2 of 10 to receive and delete", million * (1.0 + 0.2) * SQS_REQUEST),
        cost("result-archiver", "s of a batch of 500 × its GB, and an invocation", {
            archiver_s * assumed.archiver.memory_gb() * LAMBDA_GB_S + million / limits::ARCHIVER_BATCH * LAMBDA_REQUEST
        }),
        cost("CloudWatch Logs", "739 bytes", million * PROXY_LOG_BYTES / 1e9 * LOG_GB),
        cost("outcome-intake, one event", "API, invocation, S3's time × 0.5 GB, PUT, GET, SQS, 402 bytes of log", {
            let intake_s = assumed.s3_median_ms / 1e3;
            let calls = API_REQUEST + LAMBDA_REQUEST + S3_PUT + S3_GET + 1.2 * SQS_REQUEST;
            million * (calls + intake_s * 0.5 * LAMBDA_GB_S + INTAKE_LOG_BYTES / 1e9 * LOG_GB)
        }),
        cost("S3, the archive for a month", "1,015 bytes", million * ARCHIVED_BYTES / 1e9 * S3_GB_MONTH),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn landing_objects_cost_what_the_benchmark_counted() {
        let costs = per_million(40.0, &Assumptions::default());
        let landing = costs.iter().find(|cost| cost.component == "S3, landing").unwrap();
        // `benches/README.md`: 1.00 put and 1.00 get a record, 5.41 USD a million with what compaction calls.
        assert!((5.39..5.42).contains(&landing.usd), "{landing:?}");
        assert!(costs.iter().all(|cost| cost.usd > 0.0));
    }
}
