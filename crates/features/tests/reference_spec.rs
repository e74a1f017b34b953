//! The reference model's spec, and the laws of evaluation.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use domain::{Candidate, Inputs};
use features::{FeatureError, FeatureTable, InputTable, Plan, Scratch};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

const SPEC: &str = include_str!("../../../models/pickup-eta/features.toml");

fn plan() -> Plan {
    Plan::compile("features.toml", SPEC).unwrap()
}

fn inputs(value: &serde_json::Value) -> Inputs {
    value.as_object().unwrap().clone()
}

fn candidate(id: &str, lat: f64, lon: f64, zone: Option<i64>) -> Candidate {
    Candidate::new(id.parse().unwrap(), inputs(&json!({"car_lat": lat, "car_lon": lon, "car_zone": zone})))
}

fn requested_at() -> Timestamp {
    // A Friday, 18:24 in New York (UTC-4).
    "2018-06-01T22:24:30Z".parse().unwrap()
}

fn shared() -> Inputs {
    inputs(&json!({"rider_lat": 40.75, "rider_lon": -73.98, "rider_zone": 230, "rain_mm": 2.5}))
}

fn rows(table: &FeatureTable) -> Vec<Vec<Option<u64>>> {
    (0..table.rows()).map(|row| table.row(row).map(|value| value.map(f64::to_bits)).collect()).collect()
}

#[test]
fn gives_the_features_of_a_request() {
    let plan = plan();
    let mut table = InputTable::new(&plan);
    let cars = [candidate("a", 40.76, -73.97, Some(237)), candidate("b", 40.75, -73.98, None)];
    plan.read_request(requested_at(), &shared(), &cars, &mut table).unwrap();
    let mut features = FeatureTable::default();
    plan.evaluate(&table, &mut Scratch::default(), &mut features);
    let value = |row: usize, name: &str| {
        let column = plan.output_names().iter().position(|output| output == name).unwrap();
        features.row(row).nth(column).unwrap()
    };
    assert!((value(0, "distance_m").unwrap() - 1394.9636).abs() < 1e-3, "{:?}", value(0, "distance_m"));
    assert_eq!(value(1, "distance_m"), Some(0.0));
    assert_eq!(value(0, "minute_of_day"), Some(18.0 * 60.0 + 24.0));
    assert_eq!(value(0, "local_weekday"), Some(5.0));
    assert_eq!((value(0, "is_weekend"), value(0, "is_rush_hour")), (Some(0.0), Some(1.0)));
    assert_eq!((value(0, "car_zone"), value(1, "car_zone")), (Some(237.0), None));
    assert_eq!((value(0, "rain"), value(0, "snow"), value(0, "temperature_c")), (Some(2.5), Some(0.0), None));
    assert!((features.fallback()[1] - 60.0).abs() < 1e-9);
    assert!(features.label().is_empty());
}

#[test]
fn training_sees_what_serving_sees_and_the_label() {
    let plan = plan();
    let mut serving = InputTable::new(&plan);
    plan.read_request(requested_at(), &shared(), &[candidate("a", 40.8, -73.9, Some(1))], &mut serving).unwrap();
    let mut training = InputTable::new(&plan);
    let mut row = shared();
    row.extend(candidate("a", 40.8, -73.9, Some(1)).inputs);
    row.insert("drive_s".to_owned(), json!(421.5));
    plan.read_training_row(requested_at(), &row, "/0", &mut training).unwrap();
    let (mut scratch, mut a, mut b) = (Scratch::default(), FeatureTable::default(), FeatureTable::default());
    plan.evaluate(&serving, &mut scratch, &mut a);
    plan.evaluate_training(&training, &mut scratch, &mut b);
    assert_eq!(rows(&a), rows(&b));
    assert_eq!(b.label(), [421.5]);
}

#[test]
fn tells_every_wrong_field_with_its_pointer() {
    let plan = plan();
    let mut table = InputTable::new(&plan);
    let mut shared = shared();
    shared.insert("rider_lat".to_owned(), json!(91));
    shared.insert("rain_m".to_owned(), json!(1));
    shared.insert("car_lat".to_owned(), json!(1));
    shared.insert("drive_s".to_owned(), json!(1));
    shared.remove("rider_lon");
    let mut bad = candidate("a", 40.0, -73.0, None);
    bad.inputs.insert("car_lon".to_owned(), json!("east"));
    bad.inputs.insert("car_zone".to_owned(), json!(1.5));
    let Err(FeatureError::Inputs(errors)) = plan.read_request(requested_at(), &shared, &[bad], &mut table) else {
        panic!("accepted")
    };
    let found: Vec<(&str, &str)> = errors.iter().map(|error| (error.pointer.as_str(), error.reason.as_str())).collect();
    for expected in [
        ("/inputs/rider_lat", "out_of_range"),
        ("/inputs/rain_m", "unknown_field"),
        ("/inputs/car_lat", "unknown_field"),
        ("/inputs/drive_s", "unknown_field"),
        ("/inputs/rider_lon", "missing_field"),
        ("/candidates/0/inputs/car_lon", "wrong_type"),
        ("/candidates/0/inputs/car_zone", "wrong_type"),
    ] {
        assert!(found.contains(&expected), "{expected:?} not in {found:?}");
    }
    assert_eq!(errors.len(), 7, "{errors:?}");
    assert!(errors.iter().any(|error| error.detail.contains("did you mean `rain_mm`")), "{errors:?}");
    assert_eq!(table.rows(), 0);
}

/// The spec with one feature replaced, and what is wrong with it.
fn broken(feature: &str, expression: &str) -> FeatureError {
    let line = SPEC.lines().find(|line| line.starts_with(&format!("{feature} = "))).unwrap();
    Plan::compile("features.toml", &SPEC.replace(line, &format!("{feature} = \"{expression}\""))).unwrap_err()
}

#[test]
fn a_bad_spec_is_told_with_file_line_column_and_what_was_expected() {
    let line = 1 + SPEC.lines().position(|line| line.starts_with("rain = ")).unwrap();
    let cases = [
        ("COALESCE(rain_m, 0)", "unknown_name", 18, "did you mean `rain_mm`?"),
        ("COALESC(rain_mm, 0)", "unknown_function", 9, "did you mean `COALESCE`?"),
        ("rain_mm + 'wet'", "type_mismatch", 19, "a float is needed here, this is a string"),
        ("rain_mm +", "syntax", 9, ""),
        ("rain_mm rain_mm", "syntax", 17, "left over"),
        ("rain + 1", "cycle", 8, "defined by itself"),
        ("drive_s + 1", "training_input", 8, "would leak"),
        ("great_circle_m(1, 2, 3)", "argument_count", 9, "GREAT_CIRCLE_M(lat1, lon1, lat2, lon2)"),
        ("EXTRACT(HOUR FROM requested_at AT TIME ZONE 'Mars/Olympus')", "unknown_time_zone", 27, "IANA"),
        ("rain_mm BETWEEN 1 AND 'x'", "type_mismatch", 9, "CAST"),
        ("SUM(rain_mm) OVER ()", "unknown_function", 9, "functions"),
        ("(SELECT 1)", "unsupported", 0, "scalar expressions only"),
    ];
    for (expression, reason, column, text) in cases {
        let error = broken("rain", expression);
        assert_eq!(error.reason(), reason, "{expression}: {error}");
        let FeatureError::Spec { location, .. } = &error else { panic!("{error}") };
        assert_eq!((location.file.as_str(), location.line), ("features.toml", line), "{expression}: {error}");
        assert!(column == 0 || location.column.abs_diff(column) <= 1, "{expression}: {error}");
        assert!(error.to_string().contains(text), "{expression}: {error}");
    }
}

#[test]
fn a_bad_document_is_told_too() {
    let cases = [
        (SPEC.replace("name = \"pickup-eta\"", "nam = \"pickup-eta\""), "spec_not_readable"),
        (
            SPEC.replace("type = \"float\"\nunit = \"deg\"\nmin = -90", "type = \"flot\"\nmin = -90"),
            "spec_not_readable",
        ),
        (SPEC.replace("min = -90", "min = 91"), "bounds_invalid"),
        (SPEC.replace("\"distance_m\", \"log_distance\"", "\"distance_m\", \"distance_m\""), "output_twice"),
        (SPEC.replace("\"distance_m\", \"log_distance\"", "\"distance\", \"log_distance\""), "unknown_name"),
        (SPEC.replace("rain = ", "Rain = "), "name_invalid"),
        (SPEC.replace("rain = ", "rain_mm = "), "name_taken"),
        (SPEC.replace("default = 600", "default = nan"), "default_invalid"),
        (SPEC.replace("[inputs.rain_mm]", "[inputs.requested_at]"), "input_reserved"),
    ];
    for (text, reason) in cases {
        assert_ne!(text, SPEC, "{reason}");
        let error = Plan::compile("features.toml", &text).unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
        assert!(error.to_string().starts_with("features.toml:"), "{error}");
    }
}

#[test]
fn the_hash_is_of_the_meaning() {
    let hash = |text: &str| Plan::compile("f", text).unwrap().hash().to_owned();
    let same = [
        SPEC.replace("COALESCE(rain_mm, 0)", "COALESCE( rain_mm , 0 ) -- none is dry"),
        SPEC.replace("description = \"Air temperature.\"", "description = \"Warm?\""),
        format!("# a comment\n{SPEC}"),
    ];
    for text in same {
        assert_eq!(hash(&text), hash(SPEC));
    }
    assert_ne!(hash(&SPEC.replace("COALESCE(rain_mm, 0)", "COALESCE(rain_mm, 1)")), hash(SPEC));
    assert_ne!(hash(&SPEC.replace("min = 0\nmax = 1000\n", "min = 0\nmax = 1001\n")), hash(SPEC));
}

#[test]
fn long_chains_and_deep_nesting_do_not_overflow_the_stack() {
    let chain = vec!["rain_mm"; 401].join(" + ");
    let long = SPEC.replace("COALESCE(rain_mm, 0)", &chain);
    assert!(Plan::compile("f", &long).is_ok());
    assert_eq!(broken("rain", &format!("{}1{}", "(".repeat(4000), ")".repeat(4000))).reason(), "syntax");
    assert_eq!(broken("rain", &vec!["1"; 402].join(" + ")).reason(), "expression_too_long");
    assert_eq!(broken("rain", &"1 + ".repeat(9000)).reason(), "expression_too_long");
}

/// One expression over a float `x`, an int `i`, a bool `b` and a text `t`, all of which may be NULL.
fn value_of(expression: &str, row: &serde_json::Value) -> Option<f64> {
    let spec = format!(
        "name = \"t\"\n[prediction]\nunit = \"s\"\n[inputs]\nx = {{ type = \"float\", nullable = true }}\ni = {{ type = \"int\", \
         nullable = true }}\nb = {{ type = \"bool\", nullable = true }}\nt = {{ type = \"string\", nullable = true \
         }}\n[features]\nf = '''\n{expression}'''\n[model]\noutputs = [\"f\"]\n[fallback]\nexpression = \"1\"\ndefault = 1\n"
    );
    let plan = Plan::compile("t", &spec).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let mut table = InputTable::new(&plan);
    let only = Candidate::new("c".parse().unwrap(), Inputs::new());
    plan.read_request(requested_at(), &inputs(row), &[only], &mut table).unwrap();
    let mut features = FeatureTable::default();
    plan.evaluate(&table, &mut Scratch::default(), &mut features);
    features.row(0).next().unwrap()
}

#[test]
fn expressions_mean_what_sql_says() {
    let row = json!({"x": 2.5, "i": -7, "b": true, "t": " Ab "});
    let cases = [
        ("x * 2 + i", Some(-2.0)),
        ("i / 2", Some(-3.5)),
        ("DIV(i, 2)", Some(-3.0)),
        ("i % 4", Some(-3.0)),
        ("x / 0", None),
        ("LN(0)", None),
        ("LN(x - 5)", None),
        ("SQRT(-x)", None),
        ("9223372036854775807 + 1", None),
        ("POW(10, 400)", None),
        ("-i", Some(7.0)),
        ("ABS(i) + SIGN(x)", Some(8.0)),
        ("ROUND(x) + FLOOR(x) + CEIL(x) + TRUNC(-x)", Some(3.0 + 2.0 + 3.0 - 2.0)),
        ("CASE WHEN x > 3 THEN 1 WHEN x > 2 THEN 2 ELSE 3 END", Some(2.0)),
        ("CASE i WHEN -7 THEN 1.5 END", Some(1.5)),
        ("CASE WHEN x > 3 THEN 1 END", None),
        ("IF(b, 1, 2)", Some(1.0)),
        ("NULLIF(i, -7)", None),
        ("NULL", None),
        ("NULL + 1", None),
        ("COALESCE(NULL, NULLIF(x, 2.5), i)", Some(-7.0)),
        ("NULL AND FALSE", Some(0.0)),
        ("NULL AND TRUE", None),
        ("NULL OR TRUE", Some(1.0)),
        ("NOT NULL", None),
        ("NULL IS NULL", Some(1.0)),
        ("(NULL > 1) IS TRUE", Some(0.0)),
        ("(NULL > 1) IS NOT TRUE", Some(1.0)),
        ("x BETWEEN 2 AND 3", Some(1.0)),
        ("x NOT BETWEEN 2 AND 3", Some(0.0)),
        ("i IN (1, -7)", Some(1.0)),
        ("i IN (1, NULL)", None),
        ("i NOT IN (1, 2)", Some(1.0)),
        ("CAST(x AS INT64)", Some(3.0)),
        ("CAST(-2.5 AS INT64)", Some(-3.0)),
        ("CAST('12' AS INT64) + CAST('0.5' AS FLOAT64)", Some(12.5)),
        ("CAST('twelve' AS FLOAT64)", None),
        ("CAST(b AS INT64)", Some(1.0)),
        ("LENGTH(TRIM(t))", Some(2.0)),
        ("LOWER(t) = ' ab '", Some(1.0)),
        ("CONCAT(TRIM(t), 'c') = 'Abc'", Some(1.0)),
        ("TRIM(t) || CAST(i AS STRING) = 'Ab-7'", Some(1.0)),
        ("'東京' < '東京都'", Some(1.0)),
        ("LEAST(x, i, 4) + GREATEST(1, 2)", Some(-5.0)),
        ("EXTRACT(YEAR FROM requested_at)", Some(2018.0)),
        ("EXTRACT(HOUR FROM requested_at AT TIME ZONE 'Asia/Tokyo')", Some(7.0)),
        ("EXTRACT(DAYOFWEEK FROM requested_at)", Some(6.0)),
        ("UNIX_SECONDS(TIMESTAMP '1969-12-31T23:59:59.5Z')", Some(-1.0)),
        ("requested_at > TIMESTAMP '2018-06-01 00:00:00Z'", Some(1.0)),
        ("1e3 + .5", Some(1000.5)),
        ("ATAN2(1, 0) * 2 = PI()", Some(1.0)),
    ];
    for (expression, expected) in cases {
        assert_eq!(value_of(expression, &row), expected, "{expression}");
    }
    let nulls = json!({});
    for expression in
        ["x + 1", "i * 2", "NOT b", "LENGTH(t)", "x = x", "CAST(i AS FLOAT64)", "SIN(x)", "GREATEST(1, x)"]
    {
        assert_eq!(value_of(expression, &nulls), None, "{expression}");
    }
    assert_eq!(value_of("COALESCE(x, i, 3)", &nulls), Some(3.0));
    assert_eq!(value_of("CASE WHEN b THEN 1 ELSE 2 END", &nulls), Some(2.0));
}

fn car() -> impl Strategy<Value = (f64, f64, Option<i64>)> {
    (-90.0..=90.0f64, -180.0..=180.0f64, prop::option::of(0i64..=100_000))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// One by one, in any split, or all at once: the same bits.
    #[test]
    fn a_row_is_a_batch_of_one(cars in prop::collection::vec(car(), 1..700), split in 1usize..700, rain in prop::option::of(0.0..100.0f64)) {
        let plan = plan();
        let candidates: Vec<Candidate> =
            cars.iter().enumerate().map(|(index, &(lat, lon, zone))| candidate(&format!("c{index}"), lat, lon, zone)).collect();
        let mut shared = shared();
        shared.insert("rain_mm".to_owned(), json!(rain));
        let mut scratch = Scratch::default();
        let mut transform = |candidates: &[Candidate]| {
            let (mut table, mut features) = (InputTable::new(&plan), FeatureTable::default());
            plan.read_request(requested_at(), &shared, candidates, &mut table).unwrap();
            plan.evaluate(&table, &mut scratch, &mut features);
            let fallback: Vec<u64> = features.fallback().iter().map(|value| value.to_bits()).collect();
            (rows(&features), fallback)
        };
        let whole = transform(&candidates);
        let mut parts = |size: usize| {
            candidates.chunks(size).map(&mut transform).fold((vec![], vec![]), |mut all, part| {
                all.0.extend(part.0);
                all.1.extend(part.1);
                all
            })
        };
        prop_assert_eq!(&parts(1), &whole);
        prop_assert_eq!(&parts(split), &whole);
        prop_assert!(whole.0.iter().flatten().flatten().all(|bits| f64::from_bits(*bits).is_finite()));
    }
}
