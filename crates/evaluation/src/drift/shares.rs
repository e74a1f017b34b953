//! Distances between two lists of shares of the same bins or categories.

/// The population stability index, Σ(p − q)·ln(p/q). A share of 0 makes it infinite: see [`fill_zeros`].
pub fn psi(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).map(|(p, q)| if p == q { 0.0 } else { (p - q) * (p / q).ln() }).sum()
}

/// The Kullback–Leibler divergence of `p` from `q`, after either is scaled to sum to 1. Not symmetric.
pub fn kullback_leibler(p: &[f64], q: &[f64]) -> f64 {
    let (sum_p, sum_q): (f64, f64) = (p.iter().sum(), q.iter().sum());
    p.iter().zip(q).map(|(p, q)| relative_entropy(p / sum_p, q / sum_q)).sum()
}

/// The Jensen–Shannon *distance*: the root of the divergence, natural logarithm; 0 to √ln 2. Divide by √ln 2 for base 2.
pub fn jensen_shannon_distance(p: &[f64], q: &[f64]) -> f64 {
    let (sum_p, sum_q): (f64, f64) = (p.iter().sum(), q.iter().sum());
    let divergence: f64 = p
        .iter()
        .zip(q)
        .map(|(p, q)| {
            let (p, q) = (p / sum_p, q / sum_q);
            let middle = 0.5 * (p + q);
            relative_entropy(p, middle) + relative_entropy(q, middle)
        })
        .sum();
    // Rounding can leave equal shares a hair below zero.
    (0.5 * divergence).max(0.0).sqrt()
}

/// √(1 − Σ√(p·q)), 0 to 1.
pub fn hellinger(p: &[f64], q: &[f64]) -> f64 {
    let overlap: f64 = p.iter().zip(q).map(|(p, q)| (p * q).sqrt()).sum();
    (1.0 - overlap.clamp(0.0, 1.0)).sqrt()
}

/// Σ|p − q|/2, 0 to 1.
pub fn total_variation(p: &[f64], q: &[f64]) -> f64 {
    0.5 * p.iter().zip(q).map(|(p, q)| (p - q).abs()).sum::<f64>()
}

/// Evidently's way around ln 0: a share of 0 becomes 0.0001, or a millionth of the least positive share where that is
/// 0.0001 or less.
pub fn fill_zeros(shares: &mut [f64]) {
    let least = shares.iter().copied().filter(|share| *share > 0.0).fold(f64::INFINITY, f64::min);
    let fill = if least <= 0.0001 { least / 1e6 } else { 0.0001 };
    for share in shares.iter_mut().filter(|share| **share == 0.0) {
        *share = fill;
    }
}

fn relative_entropy(p: f64, q: f64) -> f64 {
    if p == 0.0 { 0.0 } else { p * (p / q).ln() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn two_shares() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
        prop::collection::vec((0..50_u32, 1..50_u32), 1..8).prop_map(|counts| {
            let share = |counts: Vec<u32>| {
                let sum: u32 = counts.iter().sum::<u32>().max(1);
                counts.into_iter().map(|count| f64::from(count) / f64::from(sum)).collect::<Vec<f64>>()
            };
            let (mut p, q): (Vec<u32>, Vec<u32>) = counts.into_iter().unzip();
            p[0] += 1;
            (share(p), share(q))
        })
    }

    proptest! {
        #[test]
        fn distances_are_symmetric_bounded_and_zero_at_home((p, q) in two_shares()) {
            for (distance, most) in
                [(jensen_shannon_distance as fn(&[f64], &[f64]) -> f64, 0.8326), (hellinger, 1.0), (total_variation, 1.0)]
            {
                let there = distance(&p, &q);
                prop_assert!((0.0..=most).contains(&there));
                prop_assert!((there - distance(&q, &p)).abs() < 1e-9);
                prop_assert!(distance(&p, &p) < 1e-7);
            }
            let mut filled = p.clone();
            fill_zeros(&mut filled);
            prop_assert!(psi(&filled, &q) >= 0.0 && (psi(&filled, &q) - psi(&q, &filled)).abs() < 1e-9);
            prop_assert!(filled.iter().all(|share| *share > 0.0));
        }
    }
}
