use std::collections::BTreeSet;

use domain::digest::sha256_hex;
use proptest::prelude::*;

use super::*;
use crate::MAX_CARS;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn digest(rides: impl Iterator<Item = Ride>) -> String {
    let lines: Vec<String> = rides.map(|ride| serde_json::to_string(&ride).unwrap()).collect();
    sha256_hex(lines.join("\n").as_bytes())
}

/// Every bit of the first 1,000 rides. If this fails without a change to the city, this machine computes differently.
#[test]
fn the_same_rides_on_every_machine() {
    let city = City::new(20260101).unwrap();
    assert_eq!(
        digest(city.rides(at("2026-01-01T00:00:00Z"), 1000)),
        "172c116008e406659534ed4abcc10f3ba7d07493efa349d15199c311c8f01a94"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_ride_is_valid_and_repeatable(seed: u64, from_s in 0i64..4_000_000_000, per_hour in 1.0..3000.0) {
        let options = CityOptions { rides_per_hour: per_hour, riders: 50, ..CityOptions::default() };
        let city = City::with_options(seed, options.clone()).unwrap();
        let from = Timestamp::from_second(from_s).unwrap();
        let rides: Vec<Ride> = city.rides(from, 40).collect();
        prop_assert_eq!(rides.len(), 40);
        let again: Vec<Ride> = City::with_options(seed, options).unwrap().rides(from, 15).collect();
        prop_assert_eq!(&again[..], &rides[..15]);
        prop_assert!(rides[0].requested_at >= from);
        prop_assert!(rides.windows(2).all(|pair| pair[0].requested_at < pair[1].requested_at));
        let ids: BTreeSet<_> = rides.iter().map(|ride| ride.prediction_id).collect();
        prop_assert_eq!(ids.len(), 40);
        for ride in &rides {
            prop_assert_eq!(ride.prediction_id.timestamp().as_millisecond(), ride.requested_at.as_millisecond());
            prop_assert!((1..=MAX_CARS).contains(&ride.cars.len()) && ride.driven < ride.cars.len());
            let ids: BTreeSet<_> = ride.cars.iter().map(|car| &car.candidate_id).collect();
            prop_assert_eq!(ids.len(), ride.cars.len());
            for car in &ride.cars {
                let drive_s = car.drive_s.unwrap();
                prop_assert!((30.0..40_000.0).contains(&drive_s), "{drive_s}");
                prop_assert!(car.place.zone.is_some_and(|zone| (1..=120).contains(&zone)));
                prop_assert!((car.place.lat_deg - 40.75).abs() < 0.07 && (car.place.lon_deg + 73.98).abs() < 0.08);
            }
            let shown: Vec<_> = ride.cars.iter().map(|car| (car.candidate_id.clone(), car.drive_s.unwrap())).collect();
            for event in ride.outcome(ride.dispatch(&shown).unwrap()).unwrap() {
                event.validate().unwrap();
            }
        }
    }
}

#[test]
fn streams_from_other_moments_share_the_sky_and_nothing_else() {
    let city = City::new(1).unwrap();
    let early: Vec<Ride> = city.rides(at("2026-03-02T12:00:00Z"), 300).collect();
    let late: Vec<Ride> = city.rides(at("2026-03-02T12:01:00Z"), 300).collect();
    let of_hour = |rides: &[Ride]| {
        let in_hour = rides.iter().find(|ride| ride.requested_at >= at("2026-03-02T12:30:00Z")).unwrap();
        in_hour.weather
    };
    assert_eq!(of_hour(&early), of_hour(&late));
    let drives =
        |rides: &[Ride]| rides.iter().map(|ride| ride.cars[0].drive_s.unwrap().to_bits()).collect::<BTreeSet<_>>();
    assert!(drives(&early).is_disjoint(&drives(&late)));
    assert_ne!(digest(City::new(2).unwrap().rides(at("2026-03-02T12:00:00Z"), 10)), digest(early.into_iter().take(10)));
}

#[test]
fn drift_slows_everything_from_its_moment_on() {
    let from = at("2026-03-02T15:00:00Z");
    let drift = Drift { from: at("2026-03-02T17:00:00Z"), speed_factor: 0.5 };
    let city = |drifts| City::with_options(5, CityOptions { drifts, ..CityOptions::default() }).unwrap();
    let until_then =
        |city: &City| city.rides(from, 2000).take_while(|ride| ride.requested_at < drift.from).collect::<Vec<_>>();
    assert_eq!(until_then(&city(vec![])), until_then(&city(vec![drift])));
    let pace = |city: &City| {
        let later = city.rides(from, 1200).filter(|ride| ride.requested_at >= drift.from);
        let rows: Vec<(f64, f64)> = later.map(|ride| (blocks_m(&ride, 0), ride.cars[0].drive_s.unwrap())).collect();
        rows.iter().map(|row| row.1).sum::<f64>() / rows.iter().map(|row| row.0).sum::<f64>()
    };
    let ratio = pace(&city(vec![drift])) / pace(&city(vec![]));
    assert!((1.3..2.1).contains(&ratio), "{ratio}");
}

#[test]
fn refuses_options_that_make_no_city() {
    let refuse = |options: CityOptions| City::with_options(1, options).unwrap_err();
    let usual = CityOptions::default;
    assert!(refuse(CityOptions { riders: 0, ..usual() }).to_string().contains("`riders` is 0"));
    assert_eq!(refuse(CityOptions { rides_per_hour: f64::NAN, ..usual() }).reason(), "invalid_option");
    let drifts = vec![Drift { from: Timestamp::UNIX_EPOCH, speed_factor: 0.0 }];
    assert_eq!(refuse(CityOptions { drifts, ..usual() }).reason(), "invalid_option");
}

#[test]
fn longer_shown_times_lose_more_riders() {
    let rides: Vec<Ride> = City::new(9).unwrap().rides(at("2026-05-04T10:00:00Z"), 1500).collect();
    let cancelled = |shown_of: &dyn Fn(f64) -> f64| {
        let outcomes = rides.iter().map(|ride| {
            let shown_s = shown_of(ride.cars[ride.driven].drive_s.unwrap());
            ride.outcome(crate::Dispatch { car: ride.driven, shown_s }).unwrap()
        });
        outcomes.filter(|events| events[1].cancelled_at.is_some()).count() as f64 / rides.len() as f64
    };
    let (honest, long, short) = (cancelled(&|s| s), cancelled(&|s| 2.0 * s), cancelled(&|s| 0.3 * s));
    println!("cancelled: honest {honest}, twice as long {long}, a third {short}");
    assert!((0.003..0.12).contains(&honest), "{honest}");
    assert!(long > 1.5 * honest, "{honest} {long}");
    assert!(short > honest, "{honest} {short}");
}

fn blocks_m(ride: &Ride, car: usize) -> f64 {
    let car = ride.cars[car].place;
    (car.lat_deg - ride.rider.lat_deg).abs() * 111_195.0 + (car.lon_deg - ride.rider.lon_deg).abs() * 84_239.0
}

struct Row {
    distance_m: f64,
    drive_s: f64,
    group: usize,
}

/// The city must be worth a model: hour and zones explain what distance does not, luck remains.
#[test]
fn hour_and_zone_explain_what_distance_does_not() {
    let city = City::with_options(11, CityOptions { rides_per_hour: 20.0, ..CityOptions::default() }).unwrap();
    // Eight weeks.
    let rides: Vec<Ride> = city.rides(at("2026-01-05T05:00:00Z"), 20 * 24 * 56).collect();
    let mut clock = Clock::new().unwrap();
    let rows: Vec<Row> = rides
        .iter()
        .map(|ride| {
            let local = clock.local(ride.requested_at.as_microsecond());
            let car = &ride.cars[ride.driven];
            let (from, to) = (car.place.zone.unwrap() as usize - 1, ride.rider.zone.unwrap() as usize - 1);
            let ring = (streets::centrality(to) * 3.999) as usize;
            let crosses = (from % streets::COLUMNS < 7) != (to % streets::COLUMNS < 7);
            let group =
                ((usize::from(local.is_weekend()) * 24 + local.hour as usize) * 4 + ring) * 2 + usize::from(crosses);
            Row { distance_m: blocks_m(ride, ride.driven), drive_s: car.drive_s.unwrap(), group }
        })
        .collect();
    // Learn on the first half, judge on the second.
    let (train, test) = rows.split_at(rows.len() / 2);
    let (slope, intercept) = line(train.iter().map(|row| (row.distance_m, row.drive_s)));
    // Within a group: a line of its own through enough rows, else the common one.
    let lines: Vec<(f64, f64)> = (0..2 * 24 * 4 * 2)
        .map(|group| {
            let own: Vec<_> =
                train.iter().filter(|row| row.group == group).map(|row| (row.distance_m, row.drive_s)).collect();
            if own.len() < 30 { (slope, intercept) } else { line(own.into_iter()) }
        })
        .collect();
    let error = |predict: &dyn Fn(&Row) -> f64| {
        let squares: f64 = test.iter().map(|row| (row.drive_s - predict(row)).powi(2)).sum();
        let absolute: f64 = test.iter().map(|row| (row.drive_s - predict(row)).abs()).sum();
        (squares / test.len() as f64, absolute / test.len() as f64)
    };
    let mean_speed =
        train.iter().map(|row| row.distance_m).sum::<f64>() / train.iter().map(|row| row.drive_s).sum::<f64>();
    let naive = error(&|row| row.distance_m / mean_speed);
    let by_distance = error(&|row| intercept + slope * row.distance_m);
    let by_group = error(&|row| lines[row.group].1 + lines[row.group].0 * row.distance_m);
    let mean_s = test.iter().map(|row| row.drive_s).sum::<f64>() / test.len() as f64;
    println!(
        "mean {mean_s:.0} s; MAE naive {:.0}, distance {:.0}, + hour and zone {:.0}",
        naive.1, by_distance.1, by_group.1
    );
    println!("MSE distance {:.0}, + hour and zone {:.0}", by_distance.0, by_group.0);
    assert!(by_group.0 < 0.85 * by_distance.0);
    assert!(by_group.1 < 0.8 * naive.1);
    assert!((150.0..900.0).contains(&mean_s), "{mean_s}");
}

/// Even who knows the streets, the rush and the weather errs by about a fifth.
#[test]
fn luck_remains() {
    let streets = Streets::new(1);
    let mut draw = Draw::new(1, Purpose::Rides, 0, 0);
    let mut relative = Vec::new();
    for _ in 0..400 {
        let (from, to) = (Point::within(draw.below(120), &mut draw), Point::within(draw.below(120), &mut draw));
        if from.blocks_m(to) > 4000.0 {
            continue;
        }
        let route = streets.route(from, to, 0.5, 1.0);
        let drives: Vec<f64> = (0..60).map(|_| Streets::drive_s(route, &mut draw)).collect();
        let mean = drives.iter().sum::<f64>() / 60.0;
        relative.push((drives.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 60.0).sqrt() / mean);
    }
    let spread = relative.iter().sum::<f64>() / relative.len() as f64;
    println!("relative spread {spread:.3}");
    assert!((0.13..0.25).contains(&spread), "{spread}");
}

/// Least squares: slope and intercept.
fn line(points: impl Iterator<Item = (f64, f64)> + Clone) -> (f64, f64) {
    let n = points.clone().count() as f64;
    let (mean_x, mean_y) = points.clone().fold((0.0, 0.0), |sum, (x, y)| (sum.0 + x / n, sum.1 + y / n));
    let (xx, xy) =
        points.fold((0.0, 0.0), |sum, (x, y)| (sum.0 + (x - mean_x).powi(2), sum.1 + (x - mean_x) * (y - mean_y)));
    (xy / xx, mean_y - xy / xx * mean_x)
}
