use std::sync::Mutex;

use async_trait::async_trait;
use cloud::endpoint::{InvokeError, InvokeErrorKind, ProductionVariant};
use domain::RowFormat;

use super::*;
use crate::samples::release;

/// An endpoint `pickup-eta` with the variants `shallow` and `deep`, and what it answers.
struct Fake {
    answer: Result<&'static str, InvokeErrorKind>,
    invoked_variant: Option<&'static str>,
    status: &'static str,
    is_serverless: bool,
    asked: Mutex<Vec<String>>,
}

impl Fake {
    fn answering(answer: Result<&'static str, InvokeErrorKind>) -> Self {
        Self { answer, invoked_variant: None, status: "InService", is_serverless: false, asked: Mutex::default() }
    }

    async fn check(&self, release: Release) -> CheckReport {
        self.check_with(release, PinnedTables::new()).await
    }

    async fn check_with(&self, release: Release, tables: PinnedTables) -> CheckReport {
        let endpoints = Endpoints { describe: self, invoke: self };
        check(endpoints, release, tables, "2026-01-01T00:00:00Z".parse().unwrap()).await.unwrap().report
    }
}

#[async_trait]
impl DescribeEndpoint for Fake {
    async fn describe_endpoint(&self, endpoint: &str) -> Result<Option<EndpointDescription>, ControlError> {
        let variant = |name: &str| ProductionVariant {
            name: name.to_owned(),
            model: Some(format!("eta-{name}")),
            is_serverless: self.is_serverless,
        };
        Ok((endpoint == "pickup-eta").then(|| EndpointDescription {
            status: self.status.to_owned(),
            variants: vec![variant("shallow"), variant("deep")],
        }))
    }
}

#[async_trait]
impl InvokeEndpoint for Fake {
    async fn invoke_endpoint(&self, invocation: Invocation) -> Result<Answer, InvokeError> {
        let row = String::from_utf8(invocation.body.to_vec()).unwrap();
        self.asked.lock().unwrap().push(format!("{}: {row}", invocation.variant));
        let answer = self.answer.map_err(|kind| InvokeError { kind, detail: "as asked".to_owned() })?;
        let invoked_variant = self.invoked_variant.map_or(invocation.variant, str::to_owned);
        Ok(Answer { invoked_variant: Some(invoked_variant), content_type: None, body: answer.into() })
    }
}

fn failed(report: &CheckReport) -> Vec<Check> {
    report.failures().map(|check| check.check).collect()
}

fn not_run(report: &CheckReport) -> Vec<Check> {
    report.checks.iter().filter(|check| check.outcome == Outcome::NotRun).map(|check| check.check).collect()
}

#[tokio::test]
async fn a_release_that_is_right_passes_all_checks_and_each_variant_is_asked() {
    let fake = Fake::answering(Ok("512.5\n"));
    let mut release = release(1);
    release.arms.push(Arm { name: "treatment".into(), variant: "deep".into(), ..release.arms[0].clone() });
    release.experiment = Some(domain::ExperimentPlan::new("x", vec![0.5, 0.5]));
    let report = fake.check(release).await;
    assert!(report.is_passed(), "{report:#?}");
    assert_eq!(report.checks.len(), 3 + 2 * 4);
    // The middle of the range of `lat`; `car_lat` has none.
    assert_eq!(*fake.asked.lock().unwrap(), ["shallow: -41,41\n", "deep: -41,41\n"]);
}

#[tokio::test]
async fn every_problem_is_told_at_once() {
    let fake = Fake::answering(Ok("1"));
    let mut release = release(1);
    release.arms[0].variant = "deeper".to_owned();
    release.arms.push(Arm { name: "treatment".into(), endpoint: "nowhere".into(), ..release.arms[0].clone() });
    release.calling.max_body_bytes = 3;
    let report = fake.check(release).await;
    assert_eq!(
        failed(&report),
        [Check::Document, Check::Endpoint, Check::Variant, Check::CallSize, Check::CallSize],
        "{report:#?}"
    );
    assert_eq!(not_run(&report), [Check::Probe, Check::Arity, Check::Variant, Check::Probe, Check::Arity]);
    assert!(fake.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_spec_that_does_not_compile_is_told_and_nobody_is_asked() {
    let fake = Fake::answering(Ok("1"));
    let mut broken = release(1);
    broken.spec.toml = broken.spec.toml.replace("car_lat - lat", "car_lat - lon");
    let report = fake.check(broken).await;
    assert_eq!(failed(&report), [Check::Spec]);
    assert_eq!(not_run(&report), [Check::Probe, Check::Arity, Check::CallSize]);
    let mut other_hash = release(1);
    other_hash.spec.hash = "0".repeat(64);
    assert_eq!(failed(&fake.check(other_hash).await), [Check::Spec]);
}

#[tokio::test]
async fn answers_that_do_not_fit_are_refused() {
    for (answer, expected) in [
        (Ok("1,2"), Check::Arity),
        (Ok("NaN"), Check::Arity),
        (Ok(""), Check::Arity),
        (Ok("<html>"), Check::Arity),
        (Err(InvokeErrorKind::Model), Check::Probe),
        (Err(InvokeErrorKind::Timeout), Check::Probe),
    ] {
        let report = Fake::answering(answer).check(release(1)).await;
        assert_eq!(failed(&report), [expected], "{answer:?}: {report:#?}");
    }
    let other = Fake { invoked_variant: Some("deep"), ..Fake::answering(Ok("1")) };
    assert_eq!(failed(&other.check(release(1)).await), [Check::Probe]);
    let creating = Fake { status: "Creating", ..Fake::answering(Ok("1")) };
    assert_eq!(failed(&creating.check(release(1)).await), [Check::Endpoint]);
}

#[tokio::test]
async fn a_serverless_endpoint_takes_smaller_calls() {
    let mut large = release(1);
    // 50 bytes a row.
    large.limits.max_candidates = 100_000;
    let fake = Fake::answering(Ok("1"));
    assert!(fake.check(large.clone()).await.is_passed());
    let serverless = Fake { is_serverless: true, ..Fake::answering(Ok("1")) };
    let report = serverless.check(large.clone()).await;
    assert_eq!(failed(&report), [Check::CallSize]);
    let told = &report.failures().next().unwrap().detail;
    assert!(told.contains("set calling.max_body_bytes to 4194304 at most"), "{told}");
    large.calling.max_body_bytes = MAX_SERVERLESS_CALL_BYTES;
    assert!(serverless.check(large).await.is_passed(), "more rows go in several calls");
}

#[tokio::test]
async fn a_variant_is_asked_in_the_formats_in_which_it_is_called() {
    let mut json = release(1);
    json.calling.content_type = RowFormat::Json;
    json.calling.accept = RowFormat::JsonLines;
    let fake = Fake::answering(Ok("{\"score\": 7}\n"));
    let report = fake.check(json).await;
    assert!(report.is_passed(), "{report:#?}");
    assert_eq!(*fake.asked.lock().unwrap(), ["shallow: {\"instances\":[{\"features\":[-41,41]}]}"]);
    assert_eq!(failed(&fake.check(release(1)).await), [Check::Arity], "that is no CSV");
}

#[tokio::test]
async fn a_lookup_table_must_be_there_with_the_pinned_content() {
    let fake = Fake::answering(Ok("1"));
    let table = |value: f64| {
        let keys = vec![("zone".to_owned(), features::LookupKeys::Int(vec![7]))];
        let values = vec![("mean_s".to_owned(), features::LookupValues::Float(vec![value]))];
        std::sync::Arc::new(features::LookupTable::from_columns(keys, values).unwrap())
    };
    let mut pinning = release(1);
    pinning.lookups.insert("zones".to_owned(), table(1.0).sha256().to_owned());
    let tables = |table: Result<_, String>| PinnedTables::from([("zones".to_owned(), table)]);
    assert!(fake.check_with(pinning.clone(), tables(Ok(table(1.0)))).await.is_passed());
    for tables in [PinnedTables::new(), tables(Ok(table(2.0))), tables(Err("it is not there".to_owned()))] {
        let report = fake.check_with(pinning.clone(), tables).await;
        assert_eq!(failed(&report), [Check::Lookup], "{report:#?}");
        assert_eq!(not_run(&report), [Check::Spec, Check::Probe, Check::Arity, Check::CallSize]);
    }
}
