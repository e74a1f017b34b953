//! The AWS clients' shared configuration.

use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};

/// How long one try of a call may take at most. Callers with a deadline set a shorter one per call.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The same for objects of tens of megabytes over a laptop's line.
const LARGE_OBJECT_TIMEOUT: Duration = Duration::from_mins(5);

/// As [`sdk_config`], for those who put and get large objects.
pub async fn sdk_config_for_large_objects() -> SdkConfig {
    let config = sdk_config().await;
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(LARGE_OBJECT_TIMEOUT)
        .build();
    config.into_builder().timeout_config(timeouts).build()
}

/// Region, credentials and endpoints from the environment (`AWS_REGION`, `AWS_ENDPOINT_URL_…`). One HTTP client is
/// shared by all clients built from it.
pub async fn sdk_config() -> SdkConfig {
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .build(),
        )
        .load()
        .await
}
