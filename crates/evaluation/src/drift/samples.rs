//! Two samples of numbers.

use super::{kolmogorov_limit_sf, kolmogorov_sf};

/// The exact p-value is computed up to this many values a side, as scipy does.
const EXACT_MAX: usize = 10_000;

/// The two-sample Kolmogorov–Smirnov test, two-sided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KolmogorovSmirnov {
    /// The largest distance of the two distribution functions.
    pub statistic: f64,
    /// Its p-value: exact up to 10,000 values a side, else asymptotic.
    pub p_value: f64,
    /// By the one-sample distribution for the rounded effective size.
    pub p_value_asymptotic: f64,
    /// By Kolmogorov's limit for infinitely many values.
    pub p_value_limit: f64,
}

pub(crate) fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Calls `at` with each value of both, ascending, and how many of either are at or below it; the next value comes with it.
fn walk(left: &[f64], right: &[f64], mut at: impl FnMut(f64, usize, usize)) {
    let (mut i, mut j) = (0, 0);
    while i < left.len() || j < right.len() {
        let value = match (left.get(i), right.get(j)) {
            (Some(a), Some(b)) => a.min(*b),
            (Some(a), None) => *a,
            (None, Some(b)) => *b,
            (None, None) => break,
        };
        while left.get(i).is_some_and(|other| *other <= value) {
            i += 1;
        }
        while right.get(j).is_some_and(|other| *other <= value) {
            j += 1;
        }
        at(value, i, j);
    }
}

/// The test of `reference` against `current`. `None` where either is empty. Ties are allowed; the exact p-value is then
/// conservative.
pub fn kolmogorov_smirnov(reference: &[f64], current: &[f64]) -> Option<KolmogorovSmirnov> {
    if reference.is_empty() || current.is_empty() {
        return None;
    }
    let (n, m) = (reference.len() as i64, current.len() as i64);
    // The largest |i/n − j/m| in units of 1/(n·m): whole numbers, so that the boundary is no matter of rounding.
    let mut largest = 0;
    walk(&sorted(reference), &sorted(current), |_, i, j| {
        largest = largest.max((i as i64 * m - j as i64 * n).abs());
    });
    let statistic = largest as f64 / (n as f64 * m as f64);
    let effective = n as f64 * m as f64 / (n + m) as f64;
    let p_value_asymptotic = kolmogorov_sf(effective.round_ties_even() as u64, statistic);
    let p_value =
        if reference.len().max(current.len()) <= EXACT_MAX { exact_p_value(n, m, largest) } else { p_value_asymptotic };
    let p_value_limit = kolmogorov_limit_sf(effective.sqrt() * statistic);
    Some(KolmogorovSmirnov { statistic, p_value, p_value_asymptotic, p_value_limit })
}

/// The share of all orders of n and m values in which |i·m − j·n| reaches `largest` somewhere (Hodges 1958): of the orders
/// of the first i and j values, i/(i + j) end with one of the n. Only sums of positive terms, so that tails keep their
/// digits.
fn exact_p_value(n: i64, m: i64, largest: i64) -> f64 {
    if largest == 0 {
        return 1.0;
    }
    let mut reached = vec![0.0_f64; m as usize + 1];
    for i in 0..=n {
        for j in 0..=m {
            let here = if (i * m - j * n).abs() >= largest {
                1.0
            } else if i == 0 {
                if j == 0 { 0.0 } else { reached[j as usize - 1] }
            } else if j == 0 {
                reached[0]
            } else {
                let last_of_n = i as f64 / (i + j) as f64;
                reached[j as usize] * last_of_n + reached[j as usize - 1] * (1.0 - last_of_n)
            };
            reached[j as usize] = here;
        }
    }
    reached[m as usize]
}

/// The first Wasserstein distance (the area between the distribution functions), in the values' unit. `None` where either
/// is empty.
pub fn wasserstein(reference: &[f64], current: &[f64]) -> Option<f64> {
    if reference.is_empty() || current.is_empty() {
        return None;
    }
    let (n, m) = (reference.len() as f64, current.len() as f64);
    let (mut area, mut height, mut before) = (0.0, 0.0, 0.0);
    walk(&sorted(reference), &sorted(current), |value, i, j| {
        area += height * (value - before);
        height = (i as f64 / n - j as f64 / m).abs();
        before = value;
    });
    Some(area)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_samples_by_counting() {
        // Of the 20 orders of 3 and 3 values, 2 separate them completely.
        let test = kolmogorov_smirnov(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]).unwrap();
        assert_eq!(test.statistic, 1.0);
        assert!((test.p_value - 0.1).abs() < 1e-12);
        let same = kolmogorov_smirnov(&[1.0, 2.0], &[2.0, 1.0]).unwrap();
        assert_eq!((same.statistic, same.p_value), (0.0, 1.0));
        assert_eq!(kolmogorov_smirnov(&[], &[1.0]), None);
    }

    proptest! {
        #[test]
        fn a_shift_is_its_distance(values in prop::collection::vec(-100.0..100.0_f64, 1..40), shift in -50.0..50.0_f64) {
            let shifted: Vec<f64> = values.iter().map(|value| value + shift).collect();
            prop_assert!((wasserstein(&values, &shifted).unwrap() - shift.abs()).abs() < 1e-9);
        }

        #[test]
        fn both_sides_may_be_swapped(
            left in prop::collection::vec(0..20_i32, 1..30), right in prop::collection::vec(0..20_i32, 1..30),
        ) {
            let [left, right] = [left, right].map(|side| side.into_iter().map(f64::from).collect::<Vec<f64>>());
            let (one, other) = (kolmogorov_smirnov(&left, &right).unwrap(), kolmogorov_smirnov(&right, &left).unwrap());
            prop_assert!((one.statistic - other.statistic).abs() < 1e-15);
            prop_assert!((one.p_value - other.p_value).abs() < 1e-12);
            prop_assert!((0.0..=1.0 + 1e-12).contains(&one.p_value));
        }
    }
}
