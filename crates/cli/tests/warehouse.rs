//! `mannen warehouse`: files in, rows out.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::process::{Command, Output};

use serde_json::{Value, json};

fn mannen(folder: &tempfile::TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mannen"));
    command.args(arguments).current_dir(folder.path()).output().unwrap()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn files_are_loaded_and_asked() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("trips.csv", "id,at,km,zone\n1,2024-01-01 00:00:00,1.5,001\n2,2024-01-02 00:00:00,,002\n");
    write("more.jsonl", "{\"id\": 3, \"km\": 4.0}\n");
    let loaded = mannen(&folder, &["warehouse", "load", "rides.trips", "trips.csv", "more.jsonl", "--json"]);
    assert_eq!(json_of(&loaded), json!({ "table": "rides.trips", "rows": 3 }));
    let sql = "SELECT id, at, km, zone FROM rides.trips ORDER BY id";
    let found = json_of(&mannen(&folder, &["warehouse", "query", sql, "--limit", "2", "--json"]));
    assert_eq!(
        found["rows"],
        json!([
            { "id": 1, "at": "2024-01-01T00:00:00Z", "km": 1.5, "zone": "001" },
            { "id": 2, "at": "2024-01-02T00:00:00Z", "km": null, "zone": "002" },
        ])
    );
    assert_eq!((&found["more"], &found["columns"][1]["type"]), (&json!(true), &json!("TIMESTAMP")));
    let text = mannen(&folder, &["warehouse", "query", "SELECT SUM(km) AS km FROM trips", "--dataset", "rides"]);
    assert_eq!(String::from_utf8_lossy(&text.stdout), " km\n5.5\n");
    let replaced = mannen(&folder, &["warehouse", "load", "rides.trips", "trips.csv", "--replace", "--json"]);
    assert_eq!(json_of(&replaced)["rows"], 2);
    let tables = json_of(&mannen(&folder, &["warehouse", "tables", "--json"]));
    assert_eq!((&tables["tables"][0]["table"], &tables["tables"][0]["rows"]), (&json!("rides.trips"), &json!(2)));
}

#[test]
fn what_is_wrong_is_told_and_nothing_is_half_done() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bad.csv"), "id\n1\n2\nthree\n").unwrap();
    let load = ["warehouse", "load", "d.t", "bad.csv", "--schema", "id:INT64", "--json"];
    let failed = mannen(&folder, &load);
    assert_eq!(failed.status.code(), Some(1));
    let error = json_of(&failed)["error"].as_str().unwrap().to_owned();
    assert!(error.contains("line 4") && error.contains("three"), "{error}");
    let failed = json_of(&mannen(&folder, &["warehouse", "query", "SELECT * FROM d.t", "--json"]));
    assert_eq!(failed["reason"], "notFound");
    let failed = json_of(&mannen(&folder, &["warehouse", "query", "SELEC 1", "--json"]));
    assert_eq!(failed["reason"], "invalidQuery");
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("precious"), "").unwrap();
    let dir = other.path().to_str().unwrap();
    let failed = mannen(&folder, &["warehouse", "tables", "--dir", dir]);
    assert!(String::from_utf8_lossy(&failed.stderr).contains("--dir"));
}
