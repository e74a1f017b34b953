//! A warm plan allocates nothing, neither for a candidate nor for a batch nor where values turn NULL.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use domain::{Candidate, Inputs};
use features::{FeatureTable, InputTable, LookupBuild, LookupKeys, Plan, Resources, Scratch, Statistic, functions};
use jiff::Timestamp;
use serde_json::json;

mod common;
use common::{compile, example_expressions};

const SPEC: &str = include_str!("../../../models/pickup-eta/features.toml");

/// Rows of the reference model, some of them with NULLs.
fn rows(plan: &Plan, count: usize) -> InputTable {
    let mut table = InputTable::new(plan);
    for row in 0..count {
        let shared = json!({"rider_lat": 40.7, "rider_lon": -73.9, "rain_mm": (row % 3 > 0).then_some(1.5)});
        let own =
            json!({"car_lat": 40.7 + row as f64 * 1e-3, "car_lon": -74.0, "car_zone": (row % 2 > 0).then_some(row)});
        let candidate = Candidate::new("c".parse().unwrap(), own.as_object().unwrap().clone());
        let shared: Inputs = shared.as_object().unwrap().clone();
        let at = Timestamp::from_second(1_700_000_000 + 3_600_000 * row as i64).unwrap();
        plan.read_request(at, &shared, &[candidate], &mut table).unwrap();
    }
    table
}

fn allocations_when_warm(spec: &str, count: usize) -> u64 {
    let plan = Plan::compile("features.toml", spec).unwrap();
    let (table, mut scratch, mut features) = (rows(&plan, count), Scratch::default(), FeatureTable::default());
    plan.evaluate(&table, &mut scratch, &mut features);
    allocation_counter::measure(|| plan.evaluate(&table, &mut scratch, &mut features)).count_total
}

#[test]
fn a_warm_plan_allocates_nothing() {
    // With an output about texts, which runs over columns, and one that is NULL in the middle of a batch.
    let texts = SPEC
        .replace("[features]", "[features]\nzone_text = \"LENGTH(TRIM(CONCAT('z', CAST(car_zone AS STRING))))\"")
        .replace("[model]", "never = \"LN(car_zone - 3) + 1 / (car_zone - 5)\"\n[model]")
        .replace("\"temperature_c\",\n]", "\"temperature_c\", \"never\", \"zone_text\",\n]");
    assert_ne!(texts, SPEC);
    for spec in [SPEC, &texts] {
        for count in [1, 2, 20, 1_000] {
            assert_eq!(allocations_when_warm(spec, count), 0, "{count} rows");
        }
    }
}

/// Texts, cells, zones, holidays, lookup tables: the plans that run over columns. Also where values are NULL, outside of
/// everything or unknown.
#[test]
fn no_function_allocates_when_warm() {
    let rows = [
        json!({"x": 2.5, "y": -1.5, "n": 7, "flag": true, "name": "Tōkyō 東京", "lat": 35.55, "lon": 139.78, "lat2": 35.6,
               "lon2": 139.8, "pickup_zone": 1, "dropoff_zone": 2}),
        json!({"x": -1e300, "y": 0.0, "n": -7, "name": "", "lat": -91.0, "lon": 200.0, "lat2": 91.0, "lon2": 0.0, "pickup_zone": 9,
               "dropoff_zone": 9}),
        json!({}),
    ];
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    for function in functions() {
        let expressions = example_expressions(function);
        let plan = compile(&expressions.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        for count in [1, 2, 3] {
            let (mut table, mut scratch, mut features) =
                (InputTable::new(&plan), Scratch::default(), FeatureTable::default());
            for row in rows.iter().rev().take(count).rev() {
                plan.read_training_row(at, row.as_object().unwrap(), "/0", &mut table).unwrap();
            }
            plan.evaluate(&table, &mut scratch, &mut features);
            let again = allocation_counter::measure(|| plan.evaluate(&table, &mut scratch, &mut features));
            assert_eq!(again.count_total, 0, "{}, the last {count} rows", function.name);
        }
    }
}

/// Also where training rows look at values out of fold.
#[test]
fn lookups_allocate_nothing_when_warm() {
    let spec = "name = \"t\"\n[prediction]\nunit = \"s\"\n[inputs]\nplace = { type = \"string\", nullable = true }\nhour = { type = \
                \"int\" }\ndrive_s = { type = \"float\", scope = \"training\" }\n[lookups.drives]\nkeys = { place = \"string\", hour = \
                \"int\" }\nvalues = { mean_s = \"float\" }\n[features]\ndrive = \"LOOKUP('drives', place, hour, 'mean_s', \
                600)\"\n[model]\noutputs = [\"drive\"]\n[label]\nexpression = \"drive_s\"\n[fallback]\nexpression = \
                \"drive\"\ndefault = 1\n";
    let rows = 0..40u32;
    let keys = [
        ("place".to_owned(), LookupKeys::String(rows.clone().map(|row| format!("p{}", row % 4)).collect())),
        ("hour".to_owned(), LookupKeys::Int(rows.clone().map(|row| i64::from(row % 3)).collect())),
    ];
    let labels: Vec<f64> = rows.clone().map(f64::from).collect();
    let folds: Vec<u32> = rows.map(|row| row % 5).collect();
    let columns = vec![("mean_s".to_owned(), Statistic::Mean)];
    let build = LookupBuild { columns, smoothing_rows: 2.0, parent_keys: 1 };
    let table = build.build_out_of_fold(&keys, &labels, &folds).unwrap();
    let table = table.into_table("HASH_BUCKET(place, 5)".to_owned()).unwrap();
    let plan = Plan::compile_with("t", spec, &Resources::default().with_lookup("drives", table)).unwrap();
    for count in [1, 2, 600] {
        let (mut inputs, mut scratch, mut features) =
            (InputTable::new(&plan), Scratch::default(), FeatureTable::default());
        for row in 0..count {
            let place = (row % 7 > 0).then(|| format!("p{}", row % 6));
            let row = json!({"place": place, "hour": row % 4, "drive_s": 1.0});
            plan.read_training_row(Timestamp::UNIX_EPOCH, row.as_object().unwrap(), "/0", &mut inputs).unwrap();
        }
        plan.evaluate(&inputs, &mut scratch, &mut features);
        plan.evaluate_training(&inputs, &mut scratch, &mut features);
        let serving = allocation_counter::measure(|| plan.evaluate(&inputs, &mut scratch, &mut features));
        let training = allocation_counter::measure(|| plan.evaluate_training(&inputs, &mut scratch, &mut features));
        assert_eq!((serving.count_total, training.count_total), (0, 0), "{count} rows");
    }
}

#[test]
fn the_counter_counts() {
    assert!(allocation_counter::measure(|| drop(std::hint::black_box(vec![1u8; 100]))).count_total > 0);
}
