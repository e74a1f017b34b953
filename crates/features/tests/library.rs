//! The function library: what each function means, and the laws that hold for all of them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use domain::Inputs;
use features::{
    EXAMPLE_PLACE, EXAMPLE_SPEC, FeatureError, LookupKeys, LookupTable, LookupValues, Plan, Resources, functions,
};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

mod common;
use common::{compile, evaluate, example_expressions, resources, spec, zone_pair};

fn requested_at() -> Timestamp {
    // A Friday: 07:24:30 on Saturday in Tokyo, 18:24:30 in New York.
    "2018-06-01T22:24:30Z".parse().unwrap()
}

fn value_at(expression: &str, at: &str, row: &Value) -> Option<f64> {
    let plan = compile(&[expression]).unwrap_or_else(|error| panic!("{expression}: {error}"));
    evaluate(&plan, at.parse().unwrap(), &[row.as_object().unwrap().clone()])[0][0]
}

fn value(expression: &str, row: &Value) -> Option<f64> {
    value_at(expression, &requested_at().to_string(), row)
}

#[test]
fn functions_mean_what_the_reference_says() {
    let row = json!({"x": 2.5, "n": -7, "name": "Tōkyō 東京", "lat": 35.55, "lon": 139.78, "pickup_zone": 1, "dropoff_zone": 2});
    let cases = [
        ("-9223372036854775808 + 9223372036854775807", Some(-1.0)),
        ("-(-9223372036854775808)", None),
        ("BUCKET(x, 1, 2.5, 10)", Some(2.0)),
        ("BUCKET(n, 1, 2.5, 10)", Some(0.0)),
        ("BUCKET(1e9, 1, 2.5, 10)", Some(3.0)),
        ("CLIP(x, 0, 2)", Some(2.0)),
        ("CLIP(n, -5, 5)", Some(-5.0)),
        ("WINSORIZE(x, 0, 100)", Some(2.5)),
        ("STANDARDIZE(x, 0.5, 4)", Some(0.5)),
        ("ORDINAL('b', 'c', 'b', 'a')", Some(1.0)),
        ("ORDINAL(name, 'c', 'b', 'a')", None),
        ("ORDINAL(n, 5, -7, 9)", Some(1.0)),
        ("ORDINAL(n, 5, 9)", None),
        // xxhash.xxh64_intdigest(b"abc") % 1000 and xxhash.xxh64_intdigest((-7).to_bytes(8, "little", signed=True)) % 1000
        ("HASH_BUCKET('abc', 1000)", Some((0x44bc_2cf5_ad77_0999_u64 % 1000) as f64)),
        ("HASH_BUCKET(n, 1000)", Some(930.0)),
        ("HASH_BUCKET(n, 1)", Some(0.0)),
        ("LENGTH(LEFT(name, 5))", Some(5.0)),
        ("LEFT(name, 2) = 'Tō'", Some(1.0)),
        ("LEFT(name, 0) = ''", Some(1.0)),
        ("LEFT(name, 99) = name", Some(1.0)),
        ("LEFT(name, n) IS NULL", Some(1.0)),
        ("RIGHT(name, 2) = '東京'", Some(1.0)),
        ("RIGHT(name, 0) = ''", Some(1.0)),
        ("RIGHT(name, 99) = name", Some(1.0)),
        ("RIGHT(name, n) IS NULL", Some(1.0)),
        ("SUBSTR(name, 2, 2) = 'ōk'", Some(1.0)),
        ("SUBSTRING(name, 7) = '東京'", Some(1.0)),
        ("SUBSTR(name, -2) = '東京'", Some(1.0)),
        ("SUBSTR(name, -99, 1) = 'T'", Some(1.0)),
        ("SUBSTR(name, 0, 1) = 'T'", Some(1.0)),
        ("SUBSTR(name, 99) = ''", Some(1.0)),
        ("SUBSTR(name, 1, -1) IS NULL", Some(1.0)),
        ("STARTS_WITH(name, 'Tō')", Some(1.0)),
        ("ENDS_WITH(name, 'Tō')", Some(0.0)),
        ("ENDS_WITH(name, '')", Some(1.0)),
        ("REPLACE('aaa', 'aa', 'b') = 'ba'", Some(1.0)),
        ("REPLACE(name, '', 'b') = name", Some(1.0)),
        ("name LIKE 'T%東_'", Some(1.0)),
        ("name NOT LIKE '%Q%'", Some(1.0)),
        ("'50%' LIKE '50\\%' AND NOT '500' LIKE '50\\%'", Some(1.0)),
        ("MINUTE_OF_WEEK(requested_at, 'Asia/Tokyo')", Some(5.0 * 1440.0 + 7.0 * 60.0 + 24.0)),
        ("SECONDS_OF_DAY(requested_at, 'America/New_York')", Some(18.0 * 3600.0 + 24.0 * 60.0 + 30.0)),
        ("CYCLE_SIN(6, 24)", Some(1.0)),
        ("CYCLE_COS(24.0, 24)", Some(1.0)),
        ("PROJECT_X_M(lat, lon, lat, lon)", Some(0.0)),
        ("PROJECT_Y_M(lat, lon, lat, lon)", Some(0.0)),
        ("ROUND(PROJECT_X_M(0, -179.5, 0, 179.5))", Some(111_195.0)),
        ("ROUND(PROJECT_X_M(0, 179.5, 0, -179.5))", Some(-111_195.0)),
        ("ROUND(PROJECT_Y_M(36, 140, 35, 140))", Some(111_195.0)),
        ("MESH_CODE(35.681236, 139.767125, 3)", Some(53_394_611.0)),
        ("MESH_CODE(-35, 139, 3)", None),
        ("H3_CELL(37.3615593, -122.0553238, 5) = 599686042433355775", Some(1.0)),
        ("GEOHASH(57.64911, 10.40744, 11) = 'u4pruydqqvj'", Some(1.0)),
        ("GEOHASH_INT(57.64911, 10.40744, 1)", Some(26.0)),
        ("GEOHASH(91, 0, 3) IS NULL", Some(1.0)),
        ("ZONE_OF(lat, lon, 'airports') = 'HND'", Some(1.0)),
        ("ZONE_OF(0, 0, 'airports') IS NULL", Some(1.0)),
        ("IN_ZONE(lat, lon, 'airports', 'HND')", Some(1.0)),
        ("IN_ZONE(lat, lon, 'airports', 'NRT')", Some(0.0)),
        ("LOOKUP('zone_pair', pickup_zone, dropoff_zone, 'median_s', 600)", Some(120.0)),
        ("LOOKUP('zone_pair', dropoff_zone, pickup_zone, 'trips', 0)", Some(21.0)),
        ("LOOKUP('zone_pair', 9, 9, 'median_s', 600)", Some(600.0)),
        ("LOOKUP('zone_pair', 3, 3, 'median_s', 600)", Some(600.0)),
        ("LOOKUP('zone_pair', NULL, 3, 'median_s', NULL)", None),
        ("LOOKUP('zone_pair', 9, 9, 'median_s', LOOKUP('zone_pair', 1, 1, 'median_s', 0))", Some(110.5)),
    ];
    for (expression, expected) in cases {
        let found = value(expression, &row);
        let is_near = found.zip(expected).is_some_and(|(found, expected)| (found - expected).abs() < 1e-12);
        assert!(found == expected || is_near, "{expression}: {found:?}");
    }
}

#[test]
fn holidays_are_of_the_local_date() {
    let cases = [
        ("IS_HOLIDAY(requested_at, 'Asia/Tokyo', 'JP')", "2025-12-31T15:00:00Z", Some(1.0)),
        ("IS_HOLIDAY(requested_at, 'UTC', 'JP')", "2025-12-31T15:00:00Z", Some(0.0)),
        ("IS_HOLIDAY(requested_at, 'Asia/Tokyo', 'JP')", "2026-05-06T03:00:00Z", Some(1.0)),
        ("IS_HOLIDAY(requested_at, 'Asia/Tokyo', 'JP')", "1954-05-06T03:00:00Z", None),
        ("IS_HOLIDAY(requested_at, 'America/New_York', 'US')", "2026-07-03T12:00:00Z", Some(1.0)),
        ("IS_HOLIDAY(requested_at, 'Asia/Tokyo', 'company')", "2026-08-13T12:00:00Z", Some(1.0)),
        ("IS_HOLIDAY(requested_at, 'Asia/Tokyo', 'company')", "1926-08-13T12:00:00Z", Some(0.0)),
    ];
    for (expression, at, expected) in cases {
        assert_eq!(value_at(expression, at, &json!({})), expected, "{expression} {at}");
    }
}

#[test]
fn a_bad_call_is_told_with_its_place_and_what_would_be_right() {
    let cases = [
        ("BUCKET(x, 2, 1)", "argument_invalid", 14, "must ascend"),
        ("BUCKET(x, y)", "argument_invalid", 11, "must be a constant"),
        ("CLIP(x, 2, 1)", "argument_invalid", 9, "above the upper one"),
        ("CLIP(x, NULL, 1)", "argument_invalid", 9, "must be a constant"),
        ("STANDARDIZE(x, 1, 0)", "argument_invalid", 19, "sd must be above 0"),
        ("CYCLE_SIN(x, 0)", "argument_invalid", 14, "the period must be above 0"),
        ("HASH_BUCKET(name, 0)", "argument_invalid", 19, "1 to 2147483647"),
        ("HASH_BUCKET(x, 3)", "type_mismatch", 13, "an int or a string is needed"),
        ("ORDINAL(name, 'a', 1)", "argument_invalid", 20, "all be texts or all be whole numbers"),
        ("ORDINAL(name, 'a', 'a')", "argument_invalid", 9, "twice"),
        ("ORDINAL(x, 'a', 'b')", "type_mismatch", 9, "a string is needed"),
        ("LEFT(name)", "argument_count", 1, "LEFT(text, n)"),
        ("name LIKE name", "argument_invalid", 11, "must be a constant"),
        ("name LIKE 'a\\'", "argument_invalid", 11, "backslash"),
        ("MINUTE_OF_WEEK(requested_at, 'Mars')", "unknown_time_zone", 30, "IANA"),
        ("IS_HOLIDAY(requested_at, 'UTC', 'J')", "unknown_name", 33, "did you mean `JP`?"),
        ("IS_HOLIDAY(requested_at, 'UTC', 'compani')", "unknown_name", 33, "did you mean `company`?"),
        ("MESH_CODE(lat, lon, 7)", "argument_invalid", 21, "1 to 6"),
        ("H3_CELL(lat, lon, n)", "argument_invalid", 19, "must be a constant"),
        ("GEOHASH(lat, lon, 0)", "argument_invalid", 19, "1 to 12"),
        ("ZONE_OF(lat, lon, 'airport')", "unknown_name", 19, "did you mean `airports`?"),
        ("IN_ZONE(lat, lon, 'airports', 'HNA')", "unknown_name", 31, "did you mean `HND`?"),
        ("IN_ZONE(lat, lon, 'airports', 7)", "argument_invalid", 31, "are texts"),
        ("LOOKUP('zone_pairs', n, n, 'trips', 0)", "unknown_name", 8, "did you mean `zone_pair`?"),
        ("LOOKUP('zone_pair', n, n, 'trip', 0)", "unknown_name", 27, "did you mean `trips`?"),
        (
            "LOOKUP('zone_pair', n, 'trips', 0)",
            "argument_count",
            1,
            "LOOKUP('zone_pair', pickup_zone, dropoff_zone, column",
        ),
        ("LOOKUP('zone_pair', n, x, 'trips', 0)", "type_mismatch", 24, "an int is needed"),
        ("LOOKUP('zone_pair', n, n, 'trips', 0.5)", "type_mismatch", 36, "an int is needed"),
        ("H3CELL(lat, lon, 9)", "unknown_function", 1, "did you mean `H3_CELL`?"),
    ];
    let line = 1 + spec(&["x"]).lines().position(|line| line.starts_with("f0 = ")).unwrap();
    for (expression, reason, column, text) in cases {
        let error = compile(&[expression]).expect_err(expression);
        assert_eq!(error.reason(), reason, "{expression}: {error}");
        let FeatureError::Spec { location, .. } = &error else { panic!("{error}") };
        let expected = "f0 = '''".len() + column;
        assert_eq!((location.line, location.column), (line, expected), "{expression}: {error}");
        assert!(error.to_string().contains(text), "{expression}: {error}");
    }
}

#[test]
fn a_bad_declaration_is_told() {
    let cases = [
        ("id = \"code\"", "id = \"kode\"", "zones_invalid", "property `kode`"),
        ("[[139.74, 35.52]", "[[139.74, 135.52]", "zones_invalid", "-180..180 and -90..90"),
        ("\"features\": [", "\"features\": [,", "zones_invalid", "cannot be read"),
        ("\"2026-08-13\"", "\"2026-08-32\"", "date_invalid", "\"2026-08-32\" is not a date; write it as"),
        ("[holidays.company]", "[holidays.US]", "name_invalid", "a-z"),
        ("keys = { pickup_zone", "keys = { median_s", "lookup_columns_invalid", "both a key and a value"),
        (
            "keys = { pickup_zone = \"int\", dropoff_zone = \"int\" }",
            "keys = {}",
            "lookup_columns_invalid",
            "1 to 4 keys",
        ),
        ("pickup_zone = \"int\", d", "pickup_zone = \"float\", d", "spec_not_readable", "float"),
        (
            "keys = { pickup_zone = \"int\", dropoff_zone = \"int\" }",
            "keys = { dropoff_zone = \"int\", pickup_zone = \"int\" }",
            "lookup_mismatch",
            "its keys are pickup_zone (int), dropoff_zone (int)",
        ),
        ("trips = \"int\"", "trip = \"int\"", "lookup_mismatch", "no column `trip`"),
        ("trips = \"int\"", "trips = \"float\"", "lookup_mismatch", "is int, declared is float"),
        ("[lookups.zone_pair]", "[lookups.zone_pairs]", "lookup_missing", "did you mean `zone_pair`?"),
    ];
    for (from, to, reason, text) in cases {
        let good = spec(&["x"]);
        assert!(good.contains(from), "{from}");
        let error = Plan::compile_with("features.toml", &good.replacen(from, to, 1), &resources()).expect_err(to);
        assert_eq!(error.reason(), reason, "{to}: {error}");
        assert!(error.to_string().contains(text), "{to}: {error}");
        let FeatureError::Spec { location, .. } = &error else { panic!("{error}") };
        assert!(location.line > 10, "{error}");
    }
    let error = Plan::compile("features.toml", &spec(&["x"])).unwrap_err();
    assert_eq!(error.reason(), "lookup_missing");
    assert!(error.to_string().contains("mannen features build-lookup"), "{error}");
}

#[test]
fn the_hash_covers_declarations_and_not_tables() {
    let hash = |text: &str| Plan::compile_with("f", text, &resources()).unwrap().hash().to_owned();
    let good = spec(&["x"]);
    for (from, to) in
        [("139.74", "139.75"), ("\"NRT\"", "\"NRX\""), ("2026-08-14", "2026-08-15"), (", trips = \"int\"", "")]
    {
        assert_ne!(hash(&good.replace(from, to)), hash(&good), "{from}");
    }
    for (from, to) in [
        ("[[139.74, 35.52]", "[ [ 139.740 ,35.52]"),
        ("\"2026-08-13\", \"2026-08-14\"", "\"2026-08-14\", \"2026-08-13\""),
    ] {
        assert_eq!(hash(&good.replace(from, to)), hash(&good), "{from}");
    }
    let keys =
        vec![("pickup_zone".to_owned(), LookupKeys::Int(vec![])), ("dropoff_zone".to_owned(), LookupKeys::Int(vec![]))];
    let values =
        vec![("median_s".to_owned(), LookupValues::Float(vec![])), ("trips".to_owned(), LookupValues::Int(vec![]))];
    let empty = Resources::default().with_lookup("zone_pair", LookupTable::from_columns(keys, values).unwrap());
    let (a, b) = (compile(&["x"]).unwrap(), Plan::compile_with("f", &good, &empty).unwrap());
    assert_eq!(a.hash(), b.hash());
    assert_ne!(a.lookups().collect::<Vec<_>>(), b.lookups().collect::<Vec<_>>());
    assert_eq!(a.lookups().collect::<Vec<_>>(), [("zone_pair", zone_pair().sha256())]);
    let declared = features::lookup_declarations("f", &good).unwrap();
    assert_eq!(declared[0].to_string(), "pickup_zone (int), dropoff_zone (int) -> median_s (float), trips (int)");
}

/// Two columns of one table by the same keys: the row is looked for once.
#[test]
fn a_row_is_looked_for_once() {
    let plan = compile(&[
        "LOOKUP('zone_pair', pickup_zone, dropoff_zone, 'median_s', 600)",
        "LOOKUP('zone_pair', pickup_zone, dropoff_zone, 'trips', 0)",
    ]);
    assert_eq!(plan.unwrap().describe().matches("LookupRow").count(), 1);
}

#[test]
fn texts_and_booleans_can_be_keys() {
    let keys = vec![
        ("name".to_owned(), LookupKeys::String(vec!["b".to_owned(), "a".to_owned(), "a".to_owned()])),
        ("flag".to_owned(), LookupKeys::Bool(vec![true, true, false])),
    ];
    let values = vec![("v".to_owned(), LookupValues::Float(vec![1.0, 2.0, 3.0]))];
    let resources = resources().with_lookup("named", LookupTable::from_columns(keys, values).unwrap());
    let declaration =
        "[lookups.named]\nkeys = { name = \"string\", flag = \"bool\" }\nvalues = { v = \"float\" }\n\n[features]";
    let text = spec(&["LOOKUP('named', name, flag, 'v', -1)"]).replace("[features]", declaration);
    let plan = Plan::compile_with("f", &text, &resources).unwrap();
    let rows: Vec<Inputs> = [("a", true), ("a", false), ("b", false), ("c", true), ("b", true)]
        .map(|(name, flag)| json!({"name": name, "flag": flag}).as_object().unwrap().clone())
        .to_vec();
    let found: Vec<_> = evaluate(&plan, requested_at(), &rows).into_iter().map(|row| row[0].unwrap()).collect();
    assert_eq!(found, [2.0, 3.0, -1.0, -1.0, 1.0]);
}

/// Every function's example, and what the examples leave out.
fn every_expression() -> Vec<String> {
    let more =
        ["name LIKE '%a_'", "HASH_BUCKET(n, 97)", "LOOKUP('zone_pair', n, n, 'trips', NULL)"].map(ToOwned::to_owned);
    functions().flat_map(example_expressions).chain(more).collect()
}

/// One by one, in any split, or all at once: the same bits.
fn check_batches(plan: &Plan, requested_at: Timestamp, rows: &[Inputs], split: usize) -> Result<(), TestCaseError> {
    let bits = |rows: &[Inputs]| -> Vec<Vec<Option<u64>>> {
        let rows = evaluate(plan, requested_at, rows);
        rows.into_iter().map(|row| row.into_iter().map(|value| value.map(f64::to_bits)).collect()).collect()
    };
    let whole = bits(rows);
    let parts = |size: usize| rows.chunks(size).flat_map(bits).collect::<Vec<_>>();
    prop_assert_eq!(&parts(1), &whole);
    prop_assert_eq!(&parts(split), &whole);
    prop_assert!(whole.iter().flatten().flatten().all(|bits| f64::from_bits(*bits).is_finite()));
    Ok(())
}

#[test]
fn every_function_has_an_example_that_compiles_and_gives_its_type() {
    for function in functions() {
        let text = EXAMPLE_SPEC.replace(EXAMPLE_PLACE, function.example);
        let plan = Plan::compile_with("f", &text, &resources()).unwrap_or_else(|error| panic!("{error}"));
        let of = plan.feature_type("example").unwrap().to_string();
        if ["float", "int", "bool", "string"].contains(&function.gives) {
            assert_eq!(of, function.gives, "{}", function.name);
        }
    }
}

fn row() -> impl Strategy<Value = Inputs> {
    let number = || prop::option::weighted(0.9, prop_oneof![-20.0..20.0f64, Just(0.0), Just(1e300)]);
    let int = || prop::option::weighted(0.9, prop_oneof![-5i64..5, Just(i64::MIN), Just(i64::MAX)]);
    let degrees = |west: f64, east: f64| prop::option::weighted(0.95, prop_oneof![west..east, -200.0..200.0f64]);
    (
        (number(), number(), int(), prop::option::of(any::<bool>())),
        prop::option::weighted(0.9, "[a-cō東%_ ]{0,6}"),
        (degrees(35.5, 35.6), degrees(139.7, 139.9), degrees(35.0, 36.0), degrees(139.0, 141.0)),
        (prop::option::of(0i64..4), prop::option::of(0i64..4)),
    )
        .prop_map(|((x, y, n, flag), name, (lat, lon, lat2, lon2), (pickup_zone, dropoff_zone))| {
            let row = json!({
                "x": x, "y": y, "n": n, "flag": flag, "name": name, "lat": lat, "lon": lon, "lat2": lat2, "lon2": lon2,
                "pickup_zone": pickup_zone, "dropoff_zone": dropoff_zone,
            });
            row.as_object().unwrap().clone()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Every function in one plan.
    #[test]
    fn a_row_is_a_batch_of_one(rows in prop::collection::vec(row(), 1..600), split in 1usize..600, second in 0i64..4_000_000_000) {
        let expressions = every_expression();
        let plan = compile(&expressions.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        check_batches(&plan, Timestamp::from_second(second).unwrap(), &rows, split)?;
    }

    /// Each function in a plan of its own, which may be computed in another way.
    #[test]
    fn a_row_is_a_batch_of_one_for_each_function(rows in prop::collection::vec(row(), 1..20), split in 1usize..20, second in 0i64..4_000_000_000) {
        for expression in every_expression() {
            let plan = compile(&[&expression]).unwrap();
            check_batches(&plan, Timestamp::from_second(second).unwrap(), &rows, split)?;
        }
    }
}

proptest! {
    /// A whole period more is the same place on the circle, bit for bit.
    #[test]
    fn cycles_come_round(x in 0i64..100_000, period in 1i64..20_000, turns in 0i64..50) {
        let expressions = [format!("CYCLE_SIN(n, {period})"), format!("CYCLE_COS(n, {period})")];
        let plan = compile(&expressions.each_ref().map(String::as_str)).unwrap();
        let row = |n: i64| json!({"n": n}).as_object().unwrap().clone();
        let rows = evaluate(&plan, requested_at(), &[row(x), row(x + turns * period)]);
        prop_assert_eq!(&rows[0], &rows[1]);
        let (sin, cos) = (rows[0][0].unwrap(), rows[0][1].unwrap());
        prop_assert!((sin * sin + cos * cos - 1.0).abs() < 1e-12);
    }

    /// Against jiff's own calendar.
    #[test]
    fn clocks_are_those_on_the_wall(second in 0i64..4_000_000_000, zone in 0usize..4) {
        let zone = ["America/New_York", "Asia/Tokyo", "Asia/Kathmandu", "Australia/Lord_Howe"][zone];
        let expressions =
            [format!("MINUTE_OF_WEEK(requested_at, '{zone}')"), format!("SECONDS_OF_DAY(requested_at, '{zone}')")];
        let plan = compile(&expressions.each_ref().map(String::as_str)).unwrap();
        let at = Timestamp::from_second(second).unwrap();
        let local = at.to_zoned_datetime(jiff::tz::TimeZone::get(zone).unwrap());
        let minute = i64::from(local.hour()) * 60 + i64::from(local.minute());
        let day = i64::from(local.weekday().to_monday_zero_offset());
        let found = &evaluate(&plan, at, &[Inputs::new()])[0];
        prop_assert_eq!(found[0], Some((day * 1440 + minute) as f64));
        prop_assert_eq!(found[1], Some((minute * 60 + i64::from(local.second())) as f64));
    }

    /// Near the origin the projection's Pythagoras is the great circle, its axes point east and north, and whole turns of the
    /// longitude do not matter.
    #[test]
    fn the_projection_is_true_near_its_origin(
        lat0 in -60.0..60.0f64,
        lon0 in -180.0..180.0f64,
        north in -0.05..0.05f64,
        east in -0.05..0.05f64,
    ) {
        let plan = compile(&[
            "PROJECT_X_M(lat, lon, lat2, lon2)", "PROJECT_Y_M(lat, lon, lat2, lon2)", "GREAT_CIRCLE_M(lat, lon, lat2, lon2)",
        ]).unwrap();
        let row = |turns: f64| {
            let (lat, lon) = (lat0 + north, lon0 + east + turns * 360.0);
            json!({"lat": lat, "lon": lon, "lat2": lat0, "lon2": lon0}).as_object().unwrap().clone()
        };
        let rows = evaluate(&plan, requested_at(), &[row(0.0), row(1.0), row(-1.0)]);
        let [x, y, distance] = [0, 1, 2].map(|column| rows[0][column].unwrap());
        prop_assert!((x.hypot(y) - distance).abs() < 20.0 + 1e-3 * distance, "{} {} {}", x, y, distance);
        prop_assert!(x * east >= 0.0 && y * north >= 0.0);
        for other in &rows[1..] {
            prop_assert!((other[0].unwrap() - x).abs() < 1e-3 && other[1] == rows[0][1]);
        }
    }

    #[test]
    fn buckets_are_between_their_boundaries(x in -20.0..20.0f64) {
        let plan = compile(&["BUCKET(x, -10, -2.5, 0, 7)"]).unwrap();
        let row = json!({"x": x}).as_object().unwrap().clone();
        let bucket = evaluate(&plan, requested_at(), &[row])[0][0].unwrap() as usize;
        let edges = [f64::NEG_INFINITY, -10.0, -2.5, 0.0, 7.0, f64::INFINITY];
        prop_assert!(edges[bucket] <= x && x < edges[bucket + 1]);
    }
}
