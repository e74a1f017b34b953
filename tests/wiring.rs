//! The local cloud is wired by the template and by nothing else: without a trigger, the demo that needs it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{fs, path::Path, process::Command};

const TEMPLATE: &str = include_str!("../infra/template.yaml");

/// The template without the lines from `first` up to the next line that is indented as little.
fn without(first: &str) -> String {
    let line = format!("\n{first}");
    assert_eq!(TEMPLATE.matches(&line).count(), 1, "{first}");
    let at = TEMPLATE.find(&line).unwrap() + 1;
    let indent = first.len() - first.trim_start().len();
    let mut end = at + first.len();
    for line in TEMPLATE[end..].split_inclusive('\n') {
        if !line.trim().is_empty() && line.len() - line.trim_start().len() <= indent {
            break;
        }
        end += line.len();
    }
    format!("{}{}", &TEMPLATE[..at], &TEMPLATE[end..])
}

/// What the demo says with another template; nothing where it does all that `end_to_end` asks of it.
fn demo(template: &str) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("template.yaml");
    fs::write(&file, template).unwrap();
    // A deadline that a busy machine keeps too.
    let model = directory.path().join("models/pickup-eta");
    fs::create_dir_all(&model).unwrap();
    for name in ["features.toml", "training.toml", "release.toml"] {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/pickup-eta").join(name);
        let text =
            fs::read_to_string(source).unwrap().replace("default_deadline_ms = 500", "default_deadline_ms = 10000");
        fs::write(model.join(name), text).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_mannen"))
        .current_dir(directory.path())
        .args(["demo", "--json", "--requests", "20", "--training-rides", "500", "--challenger", "none"])
        .args([Path::new("--template"), &file, Path::new("--model"), &model])
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let counts = ["\"requests\":20,", "\"archived\":20,", "\"outcomes\":20,"];
    (!output.status.success() || counts.iter().any(|count| !said.contains(count))).then_some(said)
}

#[test]
fn without_a_trigger_what_needs_it_fails() {
    assert_eq!(demo(TEMPLATE), None, "with all of them it succeeds");
    for (trigger, why) in [
        ("        Predict:\n", "was answered"),
        ("        Outcome:\n", "not every outcome was accepted"),
        // S3 tells nobody: nothing is archived.
        (
            "          - Event: s3:ObjectCreated:*\n            Queue: !GetAtt LandingQueue.Arn\n",
            "one record per answer",
        ),
        // A dataset version in use is told to nobody: nothing is trained.
        ("          - Event: s3:ObjectCreated:*\n            Queue: !GetAtt TrainingQueue.Arn\n", "nobody trains"),
        // What ended is told to nobody: nothing is registered; nothing is judged.
        ("        TrainingJobEnded:\n", "nobody goes on"),
        ("        TransformJobEnded:\n", "nobody goes on"),
        // Nobody compacts.
        ("        Compact:\n", "schedule"),
    ] {
        let said = demo(&without(trigger)).unwrap_or_else(|| panic!("it succeeds without {trigger}"));
        assert!(said.contains(why), "{trigger}: {said}");
    }
}

/// The queue is never empty, so that the demo waits for its two minutes, of which it works for a few seconds.
#[test]
fn without_the_queues_mapping_nothing_is_archived() {
    let said = demo(&without("        Landed:\n")).expect("it succeeds without the mapping");
    assert!(said.contains("LandingQueue holds"), "{said}");
}

#[test]
fn every_alarm_leads_to_its_section_of_the_runbook() {
    let runbook = include_str!("../docs/runbook.md");
    let alarms = TEMPLATE.matches("Type: AWS::CloudWatch::Alarm").count();
    let anchors: Vec<&str> =
        TEMPLATE.split("${RunbookUrl}#").skip(1).map(|rest| rest.lines().next().unwrap().trim()).collect();
    assert_eq!(anchors.len(), alarms, "each alarm has a link");
    for anchor in anchors {
        let heading = format!("\n## {anchor}\n");
        assert!(runbook.contains(&heading), "docs/runbook.md has no section `{anchor}`");
    }
    let sections = runbook.lines().filter_map(|line| line.strip_prefix("## "));
    for section in sections.filter(|section| !section.starts_with(char::is_uppercase)) {
        assert!(TEMPLATE.contains(&format!("${{RunbookUrl}}#{section}\n")), "no alarm leads to `{section}`");
    }
}
