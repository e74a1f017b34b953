//! The spec of the speed comparison against the same formulas in plain `f64` code.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use features::{FeatureTable, InputTable, Plan, Scratch};
use jiff::Timestamp;
use serde_json::json;

const SPEC: &str = include_str!("../../../benches/features.toml");
const EARTH_RADIUS_KM: f64 = 6371.0088;

/// The features in the order of the spec, from degrees, Unix seconds and passengers.
fn plain(pickup: (f64, f64), dropoff: (f64, f64), at_s: i64, passengers: i64) -> Vec<f64> {
    use std::f64::consts::TAU;

    let (a1, a2) = (pickup.0.to_radians(), dropoff.0.to_radians());
    let dl = (dropoff.1 - pickup.1).to_radians();
    let (s1, s2) = (((a2 - a1) / 2.0).sin(), (dl / 2.0).sin());
    let km = 2.0 * EARTH_RADIUS_KM * (s1 * s1 + a1.cos() * a2.cos() * s2 * s2).sqrt().asin();
    let manhattan = EARTH_RADIUS_KM * ((a2 - a1).abs() + 2.0 * (a1.cos() * s2).abs().asin());
    let bearing = (dl.sin() * a2.cos()).atan2(a1.cos() * a2.sin() - a1.sin() * a2.cos() * dl.cos());
    let (day, second) = (at_s.div_euclid(86_400), at_s.rem_euclid(86_400));
    let (weekday, hour) = ((day + 3).rem_euclid(7), second / 3600);
    let (day_angle, week_angle) = (TAU * second as f64 / 86_400.0, TAU * weekday as f64 / 7.0);
    let is_rush = weekday < 5 && ((7..10).contains(&hour) || (16..19).contains(&hour));
    let cell = |(lat, lon): (f64, f64)| ((lat - 40.0) * 100.0).floor() * 1000.0 + ((lon + 75.0) * 100.0).floor();
    let near = |(lat, lon): (f64, f64), (airport_lat, airport_lon): (f64, f64)| {
        let north = (lat - airport_lat) * 111.195;
        let east = (lon - airport_lon) * 111.195 * airport_lat.to_radians().cos();
        f64::from(u8::from(north.hypot(east) < 2.0))
    };
    let flag = |is: bool| f64::from(u8::from(is));
    let mut features = vec![km, manhattan, bearing.sin(), bearing.cos(), day_angle.sin(), day_angle.cos()];
    features.extend([
        week_angle.sin(),
        week_angle.cos(),
        flag(weekday >= 5),
        flag(is_rush),
        cell(pickup),
        cell(dropoff),
    ]);
    for airport in [(40.6413, -73.7781), (40.7769, -73.8740), (40.6895, -74.1745)] {
        features.extend([near(pickup, airport), near(dropoff, airport)]);
    }
    features.extend([passengers as f64, km.ln_1p()]);
    features
}

#[test]
fn agree_with_plain_arithmetic() {
    let plan = Plan::compile("benches/features.toml", SPEC).unwrap();
    let mut table = InputTable::new(&plan);
    let mut expected = Vec::new();
    for row in 1..=500u32 {
        // Two numbers that are spread evenly (golden ratio and plastic number), over and around the city.
        let (u, v) = (f64::from(row) * 0.618_033_988_749_895 % 1.0, f64::from(row) * 0.754_877_666_246_693 % 1.0);
        let (pickup, dropoff) = ((40.5 + 0.5 * u, -74.3 + 0.7 * v), (40.5 + 0.5 * v, -74.3 + 0.7 * (u + v) % 0.7));
        let (at_s, passengers) = (1_735_689_600 + 63_017 * i64::from(row), i64::from(row % 7));
        let inputs = json!({
            "pickup_lat": pickup.0, "pickup_lon": pickup.1, "dropoff_lat": dropoff.0, "dropoff_lon": dropoff.1,
            "passengers": passengers,
        });
        let at = Timestamp::from_second(at_s).unwrap();
        plan.read_training_row(at, inputs.as_object().unwrap(), "/0", &mut table).unwrap();
        expected.push(plain(pickup, dropoff, at_s, passengers));
    }
    let mut features = FeatureTable::default();
    plan.evaluate(&table, &mut Scratch::default(), &mut features);
    for (row, expected) in expected.iter().enumerate() {
        let found: Vec<f64> = features.row(row).map(Option::unwrap).collect();
        for ((found, expected), name) in found.iter().zip(expected).zip(plan.output_names()) {
            let error = (found - expected).abs() / expected.abs().max(1.0);
            assert!(error <= 1e-12, "row {row}, {name}: {found} instead of {expected}");
        }
    }
}
