//! `mannen doctor`, `mannen init` and `mannen status`, as a user runs them.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

/// Exit code, standard output, standard error.
fn mannen(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mannen"));
    for variable in ["AWS_PROFILE", "LAKE_BUCKET", "PERSONAL_DATA_KEY"] {
        command.env_remove(variable);
    }
    let output =
        command.current_dir(directory).args(arguments).env("NO_COLOR", "1").stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn json(directory: &Path, arguments: &[&str]) -> Value {
    let (code, said, told) = mannen(directory, &[arguments, &["--json"]].concat());
    assert_eq!(code, 0, "{arguments:?}: {said}{told}");
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[test]
fn the_doctor_says_what_is_missing_and_how_to_mend_it() {
    let directory = tempfile::tempdir().unwrap();
    let well = json(directory.path(), &["doctor"]);
    assert_eq!(well["ok"], true, "{well}");
    let names: Vec<&str> =
        well["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
    for name in ["template", "folder", "loopback", "model", "SAM", "arm64"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let (code, said, told) = mannen(directory.path(), &["doctor", "--model", "nowhere", "--template", "neither.yaml"]);
    assert_eq!(code, 1, "{said}{told}");
    assert!(said.contains("✗ model") && said.contains("mannen init") && said.contains("✗ template"), "{said}");
    assert!(told.contains("2 thing(s)"), "{told}");
}

#[test]
fn with_json_there_is_one_document_whatever_was_found() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    json(directory, &["init", "my-eta", "--time-zone", "America/New_York"]);
    let spec = std::fs::read_to_string(directory.join("models/my-eta/features.toml")).unwrap();
    std::fs::write(directory.join("other.toml"), spec.replace("America/New_York", "Asia/Tokyo")).unwrap();
    let (code, said, told) = mannen(directory, &["features", "diff", "models/my-eta", "other.toml", "--json"]);
    assert_eq!(code, 1, "{told}");
    let changes: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert!(changes.get("reason").is_none() && told.starts_with("error:"), "{changes} {told}");
    let (code, said, _) = mannen(directory, &["features", "check", "nowhere", "--json"]);
    let failure: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert!(code != 0 && failure["reason"].is_string(), "{failure}");
}

#[test]
fn a_new_model_is_made_trained_served_and_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let (code, said, told) = mannen(directory, &["status"]);
    assert!(code == 1 && told.contains("mannen up"), "{said}{told}");

    let made = json(directory, &["init", "my-eta", "--time-zone", "America/New_York", "--description", "A \"test\""]);
    assert_eq!(made["folder"], "models/my-eta", "{made}");
    let (code, said, told) = mannen(directory, &["features", "check", "models/my-eta"]);
    assert_eq!(code, 0, "{said}{told}");
    let (code, _, told) = mannen(directory, &["init", "my-eta"]);
    assert!(code == 1 && told.contains("is there already"), "{told}");
    let (code, _, told) = mannen(directory, &["init", "other", "--input", "a:double"]);
    assert!(code == 2 && told.contains("no type of an input"), "{told}");

    // A deadline that a busy machine keeps too.
    let release = directory.join("models/my-eta/release.toml");
    let text = std::fs::read_to_string(&release).unwrap();
    assert!(text.contains("default_deadline_ms = 500"));
    std::fs::write(&release, text.replace("default_deadline_ms = 500", "default_deadline_ms = 10000")).unwrap();
    let demo = ["demo", "--model", "models/my-eta", "--requests", "30", "--training-rides", "800"];
    let demo = json(directory, &[&demo[..], &["--challenger", "none"]].concat());
    assert_eq!((&demo["archived"], &demo["replay"]["tiers"]["endpoint"]), (&30.into(), &30.into()), "{demo}");

    let status = json(directory, &["status", "--model", "my-eta", "--window", "30d"]);
    assert_eq!(status["release"]["arms"][0][0], "main", "{status}");
    assert_eq!((&status["evaluated"]["predictions"], &status["archive"]["landing_objects"]), (&30.into(), &0.into()));
    let on = |name: &str| {
        let alarms = status["alarms"].as_array().unwrap();
        alarms.iter().find(|alarm| alarm["name"] == name).unwrap_or_else(|| panic!("{name}: {status}"))["is_on"].clone()
    };
    assert_eq!([on("archive-lag"), on("fallback"), on("labels-missing")], [false, false, false], "{status}");
    // Each alarm is a section of the runbook.
    let runbook = include_str!("../../../docs/runbook.md");
    for alarm in status["alarms"].as_array().unwrap() {
        assert!(runbook.contains(&format!("\n## {}\n", alarm["name"].as_str().unwrap())), "{alarm}");
    }
    let (code, said, _) = mannen(directory, &["status", "--model", "my-eta"]);
    assert!(code == 0 && said.contains("tiers") && said.contains("endpoint 100.0 %"), "{said}");
}
