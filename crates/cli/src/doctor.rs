//! `mannen doctor`: what is missing on this laptop or in an account, and how to mend it.

mod account;
mod laptop;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::{
    error::CliError,
    terminal::{Terminal, bad, good, strong},
};

#[derive(Debug, Args)]
pub(crate) struct DoctorOptions {
    /// Look at an account too: the lake, its release, its endpoints
    #[arg(long, value_name = "BUCKET", env = "LAKE_BUCKET")]
    lake: Option<String>,
    /// Folder of the model [default: models/pickup-eta, else the copy built in]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// The SAM template [default: infra/template.yaml, else the copy built in]
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// Folder of the cloud on this machine
    #[arg(long, value_name = "DIR", default_value = ".mannen")]
    dir: PathBuf,
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// It is there, and as it should be.
    Ok,
    /// It is missing, and only wanted for what the check's group names.
    Optional,
    /// It is missing or wrong.
    Missing,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    /// What it is needed for: `laptop`, `deploying`, `account`.
    group: &'static str,
    name: String,
    outcome: Outcome,
    detail: String,
    /// What to do, where something is to be done.
    mend: Option<String>,
}

impl Check {
    fn ok(group: &'static str, name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { group, name: name.into(), outcome: Outcome::Ok, detail: detail.into(), mend: None }
    }

    fn not(
        outcome: Outcome,
        group: &'static str,
        name: impl Into<String>,
        detail: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { group, name: name.into(), outcome, detail: detail.into(), mend: Some(mend.into()) }
    }
}

#[derive(Debug, Serialize)]
struct Diagnosis {
    ok: bool,
    checks: Vec<Check>,
}

/// Exits with 1 where something that is needed is missing.
pub(crate) async fn run(options: &DoctorOptions, terminal: Terminal) -> Result<(), CliError> {
    let mut checks = laptop::checks(options);
    if let Some(bucket) = &options.lake {
        checks.extend(account::checks(bucket, options).await);
    }
    let missing = checks.iter().filter(|check| check.outcome == Outcome::Missing).count();
    let diagnosis = Diagnosis { ok: missing == 0, checks };
    terminal.json(&diagnosis);
    let mut group = "";
    for check in &diagnosis.checks {
        if check.group != group {
            group = check.group;
            terminal.result(strong(group));
        }
        let mark = match check.outcome {
            Outcome::Ok => good("✓"),
            Outcome::Optional => "·".to_owned(),
            Outcome::Missing => bad("✗"),
        };
        terminal.result(format_args!("  {mark} {:18} {}", check.name, check.detail));
        if let Some(mend) = &check.mend {
            terminal.result(format_args!("    {:18} → {mend}", ""));
        }
    }
    if options.lake.is_none() {
        terminal.result("\nWith --lake BUCKET the account is looked at too.");
    }
    if missing == 0 { Ok(()) } else { Err(CliError::Unwell(missing)) }
}
