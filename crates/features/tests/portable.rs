//! The same bits on every machine: what the functions give, against what they gave on x86-64.
//!
//! On another kind of machine, or through an emulator of one:
//! `CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
//! CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
//! cargo test -p features --test portable --target aarch64-unknown-linux-gnu`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use domain::{Inputs, digest::sha256_hex};
use features::GROUPS;
use jiff::Timestamp;
use serde_json::json;

mod common;
use common::{compile, evaluate, example_expressions};

/// The digests of 2,000 rows of each group's examples. One changes with a group's functions, or when one of them gives
/// other bits: models that were trained before then see other features.
const DIGESTS: [(&str, &str); 6] = [
    ("Numbers", "ae4ea356eabbe727"),
    ("Choice and NULL", "7e3fdcddfa1031ed"),
    ("Text", "61ca0ac25886966b"),
    ("Calendar", "b7e6a0ed79c6dabe"),
    ("Geography", "519c4f1019371acc"),
    ("Lookup tables", "d0f626b902dd55c3"),
];

/// Whole numbers below a bound, by a linear congruence (Knuth's MMIX): no float decides on a row.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// Of `count` steps of a thousandth from `start` thousandths on.
    fn thousandths(&mut self, start: i64, count: u64) -> f64 {
        (start + self.below(count) as i64) as f64 / 1000.0
    }
}

fn row(numbers: &mut Numbers) -> Inputs {
    let names = ["low", "lowing", "Tōkyō 東京", "", "a b a", "high"];
    let row = json!({
        "x": numbers.thousandths(-20_000, 40_000),
        "y": numbers.thousandths(-20_000, 40_000),
        "n": numbers.below(1_000) as i64 - 500,
        "flag": numbers.below(2) == 0,
        "name": names[numbers.below(6) as usize],
        "lat": numbers.thousandths(35_500, 400),
        "lon": numbers.thousandths(139_500, 1_200),
        "lat2": numbers.thousandths(-90_000, 180_001),
        "lon2": numbers.thousandths(-180_000, 360_001),
        "pickup_zone": numbers.below(4),
        "dropoff_zone": numbers.below(4),
    });
    row.as_object().unwrap().clone()
}

#[test]
fn every_group_gives_the_same_bits() {
    let mut numbers = Numbers(42);
    // Ten moments of 2018 to 2025, 200 rows each.
    let batches: Vec<(Timestamp, Vec<Inputs>)> = (0..10)
        .map(|_| {
            let second = 1_514_764_800 + numbers.below(220_000_000) as i64;
            (Timestamp::from_second(second).unwrap(), (0..200).map(|_| row(&mut numbers)).collect())
        })
        .collect();
    let mut found = BTreeMap::new();
    for (group, functions) in GROUPS {
        let expressions: Vec<String> = functions.iter().flat_map(example_expressions).collect();
        let plan = compile(&expressions.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        let mut bytes = Vec::new();
        for (requested_at, rows) in &batches {
            for value in evaluate(&plan, *requested_at, rows).into_iter().flatten() {
                bytes.extend(value.map_or([0xff; 8], f64::to_le_bytes));
            }
        }
        found.insert(group.to_string(), sha256_hex(&bytes)[..16].to_owned());
    }
    let expected: BTreeMap<String, String> =
        DIGESTS.iter().map(|(group, digest)| ((*group).to_owned(), (*digest).to_owned())).collect();
    assert_eq!(found, expected);
}
