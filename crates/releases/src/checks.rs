//! What must hold before a release is put in force, each check by its name.

use std::{collections::BTreeMap, fmt, time::Duration};

use cloud::{
    endpoint::{Answer, DescribeEndpoint, EndpointDescription, Invocation, InvokeEndpoint},
    sagemaker_control::ControlError,
};
use domain::{Arm, EndpointCalling, MAX_SERVERLESS_CALL_BYTES, Release, ReleaseId};
use endpoint_rows::{AnswerFault, EndpointRows, RowPart};
use features::Transformer;
use futures::future::join_all;
use jiff::Timestamp;
use serde::Serialize;

use crate::{PinnedTables, ReleasesError, probe};

/// How long an endpoint may take to answer a probe. Longer than any deadline: a serverless endpoint may have to start.
const PROBE_TIMEOUT: Duration = Duration::from_secs(30);
/// A number's bytes in a row, its separator included: seventeen digits, sign, point, exponent.
const BYTES_PER_CELL: usize = 25;

/// The checks, in the order in which they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// The document agrees with itself.
    Document,
    /// A lookup table that it pins is there, with the content that its hash says.
    Lookup,
    /// The feature spec compiles, and its hash is the one that the document names.
    Spec,
    /// The endpoint exists and is in service.
    Endpoint,
    /// It has the production variant.
    Variant,
    /// The variant answers a row that the spec makes.
    Probe,
    /// The answer is one finite number for one row.
    Arity,
    /// The rows of as many candidates as a request may have fit calls that the endpoint takes.
    CallSize,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Document => "document",
            Self::Lookup => "lookup",
            Self::Spec => "spec",
            Self::Endpoint => "endpoint",
            Self::Variant => "variant",
            Self::Probe => "probe",
            Self::Arity => "arity",
            Self::CallSize => "call-size",
        })
    }
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not.
    Failed,
    /// It could not be made, because one before it failed.
    NotRun,
}

/// One check, made of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckResult {
    /// Which.
    pub check: Check,
    /// Of what: the release, an endpoint, an arm's `endpoint/variant`.
    pub subject: String,
    /// What it came to.
    pub outcome: Outcome,
    /// What was found, in words.
    pub detail: String,
}

/// All checks of one release.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CheckReport {
    /// In the order in which they were made.
    pub checks: Vec<CheckResult>,
}

impl CheckReport {
    /// Those that failed.
    pub fn failures(&self) -> impl Iterator<Item = &CheckResult> {
        self.checks.iter().filter(|check| check.outcome == Outcome::Failed)
    }

    /// Whether the release can be put in force.
    pub fn is_passed(&self) -> bool {
        self.failures().next().is_none()
    }

    fn add(&mut self, check: Check, subject: &str, result: Result<String, String>) {
        let (outcome, detail) = match result {
            Ok(detail) => (Outcome::Passed, detail),
            Err(detail) => (Outcome::Failed, detail),
        };
        self.checks.push(CheckResult { check, subject: subject.to_owned(), outcome, detail });
    }

    fn not_run(&mut self, check: Check, subject: &str, because: impl fmt::Display) {
        let detail = format!("not made: {because}");
        self.checks.push(CheckResult { check, subject: subject.to_owned(), outcome: Outcome::NotRun, detail });
    }
}

/// A release and what its checks came to.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The release.
    pub release: Release,
    /// Its id.
    pub id: ReleaseId,
    /// The checks.
    pub report: CheckReport,
}

/// A release whose checks all passed.
#[derive(Debug, Clone)]
pub struct ServableRelease {
    release: Release,
    id: ReleaseId,
}

impl ServableRelease {
    /// The release.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// Its id.
    pub fn id(&self) -> &ReleaseId {
        &self.id
    }

    #[cfg(test)]
    pub(crate) fn unchecked(release: Release) -> Self {
        let id = release.id().unwrap();
        Self { release, id }
    }
}

impl Checked {
    /// The release as one that can be put in force.
    ///
    /// # Errors
    /// [`ReleasesError::ChecksFailed`] with all checks, where one failed.
    pub fn servable(self) -> Result<ServableRelease, ReleasesError> {
        if self.report.is_passed() {
            Ok(ServableRelease { release: self.release, id: self.id })
        } else {
            Err(ReleasesError::ChecksFailed(self.report))
        }
    }
}

/// The endpoints' two sides.
#[derive(Clone, Copy)]
pub struct Endpoints<'a> {
    /// What there is.
    pub describe: &'a dyn DescribeEndpoint,
    /// What it answers.
    pub invoke: &'a dyn InvokeEndpoint,
}

impl fmt::Debug for Endpoints<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoints").finish_non_exhaustive()
    }
}

/// Makes all checks of `release` with its lookup `tables`, also where some fail. Each variant is asked once, with one row.
///
/// # Errors
/// The document cannot be written; what is wrong with it is told in the report.
pub async fn check(
    endpoints: Endpoints<'_>,
    release: Release,
    tables: PinnedTables,
    now: Timestamp,
) -> Result<Checked, ReleasesError> {
    let id = release.id()?;
    let mut report = CheckReport::default();
    let document = release.validate().map(|()| "it agrees with itself".to_owned());
    report.add(Check::Document, "release", document.map_err(|error| error.to_string()));
    let transformer = transformer(&release, tables, &mut report);
    let row = transformer.as_ref().map(|transformer| probe::row(transformer, &release.calling, now));
    let described = describe(endpoints.describe, &release, &mut report).await;
    let probed = arms(&release).into_iter().map(async |(role, arm)| {
        let endpoint = described.get(arm.endpoint.as_str()).and_then(Option::as_ref);
        check_arm(endpoints.invoke, &release, &id, role, arm, endpoint, row.as_ref()).await
    });
    for checks in join_all(probed).await {
        report.checks.extend(checks.checks);
    }
    Ok(Checked { release, id, report })
}

/// The release's compiled spec, where its lookup tables are there and it compiles.
fn transformer(release: &Release, mut tables: PinnedTables, report: &mut CheckReport) -> Option<Transformer> {
    let mut usable = BTreeMap::new();
    for (name, pinned) in &release.lookups {
        let found = match tables.remove(name) {
            Some(Ok(table)) if table.sha256() == pinned => Ok(table),
            Some(Ok(table)) => Err(format!("it is pinned to {pinned}, and what is there is {}", table.sha256())),
            Some(Err(problem)) => Err(problem),
            None => Err(format!("it is pinned to {pinned}, which there is not")),
        };
        report.add(Check::Lookup, name, found.as_ref().map(|_| format!("it is {pinned}")).map_err(String::clone));
        usable.extend(found.ok().map(|table| (name.clone(), table)));
    }
    if usable.len() < release.lookups.len() {
        report.not_run(Check::Spec, "release", "a lookup table is missing");
        return None;
    }
    match Transformer::of_release(release, usable) {
        Ok(transformer) => {
            let columns = transformer.plan().output_names().len();
            report.add(Check::Spec, "release", Ok(format!("it compiles to {columns} columns, {}", release.spec.hash)));
            Some(transformer)
        }
        Err(problem) => {
            report.add(Check::Spec, "release", Err(problem));
            None
        }
    }
}

/// All that a release may ask, by what they are in it.
fn arms(release: &Release) -> Vec<(&'static str, &Arm)> {
    let of = |role, arms| std::iter::repeat(role).zip::<std::slice::Iter<'_, Arm>>(arms);
    of("arm", release.arms.iter())
        .chain(release.second.iter().map(|second| ("second", second)))
        .chain(of("shadow", release.shadows.iter()))
        .collect()
}

async fn describe<'a>(
    endpoints: &dyn DescribeEndpoint,
    release: &'a Release,
    report: &mut CheckReport,
) -> BTreeMap<&'a str, Option<EndpointDescription>> {
    let mut names: Vec<&str> = arms(release).into_iter().map(|(_, arm)| arm.endpoint.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let described = join_all(names.iter().map(|name| endpoints.describe_endpoint(name))).await;
    let mut found = BTreeMap::new();
    for (name, description) in names.into_iter().zip(described) {
        let result = in_service(name, &description);
        let is_usable = result.is_ok();
        report.add(Check::Endpoint, name, result);
        found.insert(name, description.ok().flatten().filter(|_| is_usable));
    }
    found
}

fn in_service(name: &str, description: &Result<Option<EndpointDescription>, ControlError>) -> Result<String, String> {
    match description {
        Ok(Some(description)) if description.is_serving() => Ok(format!("it is {}", description.status)),
        Ok(Some(description)) => Err(format!("it is {}, not in service", description.status)),
        Ok(None) => Err(format!("there is no endpoint `{name}` in this account and region")),
        Err(error) => Err(error.to_string()),
    }
}

async fn check_arm(
    endpoints: &dyn InvokeEndpoint,
    release: &Release,
    id: &ReleaseId,
    role: &str,
    arm: &Arm,
    endpoint: Option<&EndpointDescription>,
    row: Option<&Result<EndpointRows, String>>,
) -> CheckReport {
    let mut report = CheckReport::default();
    let subject = format!("{role} {} ({}/{})", arm.name, arm.endpoint, arm.variant);
    let variant = endpoint.and_then(|endpoint| endpoint.variant(&arm.variant));
    match (endpoint, variant) {
        (None, _) => report.not_run(Check::Variant, &subject, "the endpoint is not in service"),
        (Some(_), Some(variant)) => {
            let model = variant.model.as_deref().unwrap_or("no model of its own");
            report.add(Check::Variant, &subject, Ok(format!("it serves {model}")));
        }
        (Some(endpoint), None) => {
            let names: Vec<&str> = endpoint.variants.iter().map(|variant| variant.name.as_str()).collect();
            report.add(Check::Variant, &subject, Err(format!("the endpoint has only: {}", names.join(", "))));
        }
    }
    let checks = [Check::Probe, Check::Arity, Check::CallSize];
    match row {
        None => checks.map(|check| report.not_run(check, &subject, "there is no compiled spec")),
        Some(Err(problem)) => checks.map(|check| report.not_run(check, &subject, problem)),
        Some(Ok(row)) => {
            if let (Some(_), [part]) = (variant, row.parts.as_slice()) {
                let question = Question { id, arm, calling: &release.calling, part };
                question.ask(endpoints, &subject, &mut report).await;
            } else {
                report.not_run(Check::Probe, &subject, "there is no such variant to ask");
                report.not_run(Check::Arity, &subject, "there is no such variant to ask");
            }
            let is_serverless = variant.is_some_and(|variant| variant.is_serverless);
            report.add(Check::CallSize, &subject, call_size(release, row, is_serverless));
            [(), (), ()]
        }
    };
    report
}

/// One row for one arm.
struct Question<'a> {
    id: &'a ReleaseId,
    arm: &'a Arm,
    calling: &'a EndpointCalling,
    part: &'a RowPart,
}

impl Question<'_> {
    async fn ask(&self, endpoints: &dyn InvokeEndpoint, subject: &str, report: &mut CheckReport) {
        let Self { id, arm, calling, part } = self;
        let invocation = Invocation {
            endpoint: arm.endpoint.clone(),
            variant: arm.variant.clone(),
            inference_id: format!("release-probe-{}", &id.as_str()[..12]),
            content_type: calling.content_type.media_type(),
            accept: calling.accept.media_type(),
            body: part.body.clone(),
            timeout: PROBE_TIMEOUT,
        };
        let answer = match endpoints.invoke_endpoint(invocation).await {
            Err(error) => Err(error.to_string()),
            Ok(answer) => match &answer.invoked_variant {
                Some(other) if *other != arm.variant => Err(format!("variant `{other}` answered instead")),
                _ => Ok(answer),
            },
        };
        match answer {
            Err(problem) => {
                let row = String::from_utf8_lossy(&part.body).trim_end().to_owned();
                report.add(Check::Probe, subject, Err(format!("{problem}; asked with: {row}")));
                report.not_run(Check::Arity, subject, "there is no answer to look at");
            }
            Ok(answer) => {
                report.add(Check::Probe, subject, Ok("it answers a row of the spec".to_owned()));
                report.add(Check::Arity, subject, self.one_number(&answer));
            }
        }
    }

    fn one_number(&self, answer: &Answer) -> Result<String, String> {
        let told = |what: &str| {
            let shown: String = String::from_utf8_lossy(&answer.body).chars().take(200).collect();
            let of = answer.content_type.as_deref().unwrap_or("no media type");
            Err(format!("{what}; it answered ({of}): {shown}"))
        };
        match endpoint_rows::read(answer, self.calling.accept, self.part.rows).as_deref() {
            Ok([number]) => Ok(format!("one number for one row: {number}")),
            Ok(_) | Err(AnswerFault::RowCount) => told("there must be one number for one row"),
            Err(AnswerFault::Garbage) => told("there must be a finite number in a format that is read"),
        }
    }
}

/// Whether the rows of a request fit calls: more than fit one go in several.
fn call_size(release: &Release, row: &EndpointRows, is_serverless: bool) -> Result<String, String> {
    let row_bytes = row.parts.iter().map(|part| part.body.len()).sum::<usize>();
    let limit = release.calling.max_body_bytes;
    if row.too_large {
        return Err(format!("a row of {row_bytes} bytes is larger than a call; raise calling.max_body_bytes, {limit}"));
    }
    let cells = row.parts.iter().flat_map(|part| part.body.iter()).filter(|byte| **byte == b',').count() + 1;
    let (rows, most_bytes) = (release.limits.max_candidates, row_bytes.max(cells * BYTES_PER_CELL));
    let bytes = rows.saturating_mul(most_bytes);
    if is_serverless && bytes.min(limit) > MAX_SERVERLESS_CALL_BYTES {
        return Err(format!(
            "{rows} candidates may be a call of {} bytes, and the endpoint is serverless: set calling.max_body_bytes to \
             {MAX_SERVERLESS_CALL_BYTES} at most",
            bytes.min(limit)
        ));
    }
    Ok(format!("{rows} candidates are {bytes} bytes at most, in calls of up to {limit}"))
}

#[cfg(test)]
mod tests;
