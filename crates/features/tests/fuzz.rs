//! A little of the fuzzer (`examples/fuzz`): it runs, and the first cases hold.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../examples/fuzz/cases.rs"]
mod cases;
#[path = "../examples/generate/mod.rs"]
mod generate;

use cases::{Buffers, Counts};

#[test]
fn the_first_cases_hold() {
    let (mut counts, mut buffers) = (Counts::default(), Buffers::default());
    for number in 0..1_500 {
        cases::run(7, number, &mut counts, &mut buffers).unwrap_or_else(|law| panic!("case {number}: {law}"));
    }
    assert!(counts.compiled > 500 && counts.rows() > 2_000 && counts.rejected_rows > 200, "{counts:?}");
}
