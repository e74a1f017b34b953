//! Releases in words.

use domain::{PointerMove, Release, ReleaseId, ReleasePointer};
use jiff::Timestamp;
use releases::{CheckReport, Checked, ListedRelease, Moved, Outcome, ReleaseDiff};
use serde::Serialize;
use serde_json::{Value, json};

use crate::terminal::{Terminal, bad, good, strong};

/// The first digits of an id: enough to name it.
pub(super) fn short(id: &ReleaseId) -> &str {
    &id.as_str()[..12]
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[derive(Serialize)]
struct Plan<'a> {
    in_force: Option<&'a ReleasePointer>,
    diff: Option<&'a ReleaseDiff>,
    checks: &'a CheckReport,
}

pub(super) fn plan(
    checked: &Checked,
    in_force: Option<&ReleasePointer>,
    diff: Option<&ReleaseDiff>,
    terminal: Terminal,
) {
    terminal.json(&Plan { in_force, diff, checks: &checked.report });
    match (in_force, diff) {
        (Some(pointer), Some(diff)) => {
            let since = time(pointer.moved_at);
            terminal.result(format_args!("changes to {}, in force since {since}:", strong(short(&pointer.release_id))));
            difference(diff, terminal);
        }
        _ => terminal.result(format_args!("the first release of {}", strong(&checked.release.model))),
    }
    lines_of_checks(&checked.report, terminal);
}

/// Tells what differs; how much it is.
pub(super) fn difference(diff: &ReleaseDiff, terminal: Terminal) -> usize {
    for change in &diff.fields {
        let text = match (&change.before, &change.after) {
            (None, Some(after)) => format!("+ {}: {}", change.field, value(after)),
            (Some(before), None) => format!("- {}: {}", change.field, value(before)),
            (before, after) => format!(
                "~ {}: {} -> {}",
                change.field,
                before.as_ref().map(value).unwrap_or_default(),
                after.as_ref().map(value).unwrap_or_default()
            ),
        };
        terminal.result(format_args!("  {text}"));
    }
    for change in &diff.spec {
        terminal.result(format_args!("  {}", change.to_string().replace('\n', "\n  ")));
    }
    if diff.spec_text_only {
        terminal.result("  ~ the feature spec's layout, comments or descriptions");
    }
    if let Some(problem) = &diff.spec_problem {
        terminal.result(format_args!("  the specs cannot be compared part by part: {problem}"));
    }
    if diff.is_empty() {
        terminal.result("  no difference");
    }
    diff.fields.len() + diff.spec.len() + usize::from(diff.spec_text_only)
}

fn value(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(super) fn checks(report: &CheckReport, terminal: Terminal) {
    terminal.json(report);
    lines_of_checks(report, terminal);
}

fn lines_of_checks(report: &CheckReport, terminal: Terminal) {
    terminal.result("checks:");
    for check in &report.checks {
        let mark = match check.outcome {
            Outcome::Passed => good("✓"),
            Outcome::Failed => bad("✗"),
            Outcome::NotRun => "–".to_owned(),
        };
        let name = check.check.to_string();
        terminal.result(format_args!("  {mark} {name:10} {}: {}", check.subject, check.detail));
    }
}

pub(super) fn moved(moved: &Moved, terminal: Terminal) {
    terminal.json(moved);
    let id = strong(short(&moved.pointer.release_id));
    if !moved.changed {
        terminal.result(format_args!("{id} is in force already, since {}", time(moved.pointer.moved_at)));
        return;
    }
    let before = match &moved.pointer.previous {
        Some(previous) => format!("; `mannen release rollback` goes back to {}", short(previous)),
        None => String::new(),
    };
    terminal.result(format_args!("{id} is in force{before}"));
}

/// "published by mai: deeper trees"
fn how(how: PointerMove, author: Option<&str>, reason: Option<&str>) -> String {
    let how = match how {
        PointerMove::Publish => "published",
        PointerMove::Rollback => "rolled back to",
    };
    let author = author.map(|author| format!(" by {author}")).unwrap_or_default();
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{how}{author}{reason}")
}

pub(super) fn pointer(pointer: &ReleasePointer, terminal: Terminal) {
    terminal.json(pointer);
    terminal.result(format_args!(
        "{}  {}  {}",
        time(pointer.moved_at),
        strong(short(&pointer.release_id)),
        how(pointer.how, pointer.author.as_deref(), pointer.reason.as_deref())
    ));
}

pub(super) fn list(releases: &[ListedRelease], terminal: Terminal) {
    let rows: Vec<Value> = releases
        .iter()
        .map(|listed| {
            let release = listed.release.as_ref().ok();
            json!({
                "id": listed.id,
                "is_in_force": listed.is_in_force(),
                "created_at": release.map(|release| release.created_at),
                "spec_hash": release.map(|release| &release.spec.hash),
                "arms": release.map(|release| &release.arms),
                "experiment": release.and_then(|release| release.experiment.as_ref()).map(|experiment| &experiment.id),
                "in_force": listed.in_force,
                "problem": listed.release.as_ref().err(),
            })
        })
        .collect();
    terminal.json(&rows);
    if releases.is_empty() {
        terminal.result("no release was published yet");
    }
    for listed in releases {
        let mark = if listed.is_in_force() { good("●") } else { " ".to_owned() };
        let what = match &listed.release {
            Ok(release) => format!("made {}, {}", time(release.created_at), arms(release)),
            Err(problem) => bad(problem),
        };
        terminal.result(format_args!("{mark} {}  {what}", strong(short(&listed.id))));
        for times in &listed.in_force {
            let until = times.until.map_or_else(|| "now".to_owned(), time);
            let how = how(times.how, times.author.as_deref(), times.reason.as_deref());
            terminal.result(format_args!("    {} – {until:20}  {how}", time(times.since)));
        }
        if listed.in_force.is_empty() {
            terminal.result("    never in force");
        }
    }
}

fn arms(release: &Release) -> String {
    let arms = release.arms.iter().map(|arm| format!("{}={}", arm.name, arm.model_version));
    let arms = arms.collect::<Vec<_>>().join(", ");
    match &release.experiment {
        Some(experiment) => format!("experiment {}: {arms}", experiment.id),
        None => arms,
    }
}

pub(super) fn release(id: &ReleaseId, release: &Release, terminal: Terminal) {
    terminal.json(&json!({ "id": id, "release": release }));
    // The document as it is, but for the spec's text.
    let mut document = serde_json::to_value(release).unwrap_or_default();
    if let Some(toml) = document.pointer_mut("/spec/toml") {
        *toml = format!("… {} lines; --spec prints them", release.spec.toml.lines().count()).into();
    }
    terminal.result(strong(id));
    terminal.result(serde_json::to_string_pretty(&document).unwrap_or_default());
}
