//! What all tests here share.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use local::{FunctionLauncher, LocalCloud, Options};

/// The example `local_test_programs`, which `cargo test` builds beside the tests.
pub fn programs() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples/local_test_programs");
    assert!(path.exists(), "{} is missing: run `cargo build -p local --examples` first", path.display());
    path
}

pub fn options(template: &str, root: &tempfile::TempDir) -> Options {
    let program = programs();
    let launcher = FunctionLauncher::ReExecute { program: program.clone(), args: vec!["function".to_owned()] };
    let mut options = Options::new(template, root.path(), launcher);
    let text = program.display().to_string();
    options.child_wrapper = Some(vec![text.clone(), "local-child".to_owned()]);
    options.images = BTreeMap::from([("image:1".to_owned(), vec![text, "image".to_owned()])]);
    options.schedules_enabled = false;
    options.shutdown_grace = Duration::from_millis(500);
    options
}

/// An SDK configuration from nothing but what the cloud says a client needs.
pub fn sdk_config(cloud: &LocalCloud) -> SdkConfig {
    let environment = cloud.environment();
    let credentials = Credentials::new(
        environment["AWS_ACCESS_KEY_ID"].clone(),
        environment["AWS_SECRET_ACCESS_KEY"].clone(),
        None,
        None,
        "test",
    );
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(environment["AWS_REGION"].clone()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

pub fn s3(cloud: &LocalCloud) -> aws_sdk_s3::Client {
    let config = sdk_config(cloud);
    let config = aws_sdk_s3::config::Builder::from(&config).endpoint_url(cloud.s3_url()).build();
    aws_sdk_s3::Client::from_conf(config)
}

/// Whether a process runs (a zombie does not).
pub fn runs(id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = status.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
    state.is_some_and(|state| state != "Z" && state != "X")
}
