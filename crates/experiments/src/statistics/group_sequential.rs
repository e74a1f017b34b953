//! Group-sequential tests: a few looks, fixed as shares of the final information, that spend α as they go.

use super::special::{normal_cdf, normal_isf, normal_sf};
use crate::ExperimentsError;

/// Looks closer than this are one look.
const LEAST_STEP: f64 = 1e-6;

/// Whether both directions count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sides {
    /// Only a positive effect.
    One,
    /// An effect in either direction; each gets half of α.
    Two,
}

/// How much of α is spent by the time that the share t of the information is there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Spending {
    /// α·t^ρ (Kim and DeMets).
    Power {
        /// ρ > 0.
        rho: f64,
    },
    /// Lan and DeMets' O'Brien–Fleming-like function: next to nothing at first.
    OBrienFleming,
    /// Lan and DeMets' Pocock-like function: about the same bound at each look.
    Pocock,
}

impl Spending {
    fn spent(self, alpha: f64, share: f64) -> f64 {
        match self {
            Self::Power { rho } => alpha * share.powf(rho),
            Self::OBrienFleming => 2.0 * normal_sf(normal_isf(0.5 * alpha) / share.sqrt()),
            Self::Pocock => alpha * ((std::f64::consts::E - 1.0) * share).ln_1p(),
        }
    }
}

/// The bounds of |z| (two sides) or z (one side) at each look, for rising shares of `information` in (0, 1]. They are to
/// some 1e-6 (recursive integration after Armitage, McPherson and Rowe 1969).
pub fn group_sequential_bounds(
    information: &[f64],
    alpha: f64,
    sides: Sides,
    spending: Spending,
) -> Result<Vec<f64>, ExperimentsError> {
    let rising = information.windows(2).all(|pair| pair[1] - pair[0] >= LEAST_STEP);
    let inside = information.iter().all(|share| *share >= LEAST_STEP && *share <= 1.0);
    if information.is_empty() || !rising || !inside {
        return Err(ExperimentsError::invalid(
            "information",
            "must rise from above 0 to at most 1, by a millionth or more",
        ));
    }
    if !(alpha > 0.0 && alpha < 1.0) {
        return Err(ExperimentsError::invalid("alpha", "must lie between 0 and 1"));
    }
    // Two-sided bounds are two one-sided ones of α/2 that share their looks.
    let side_alpha = if sides == Sides::Two { 0.5 * alpha } else { alpha };
    let mut bounds = Vec::with_capacity(information.len());
    let mut undecided = Undecided::at_start();
    let (mut time, mut spent) = (0.0, 0.0);
    for &share in information {
        let spend_until = spending.spent(side_alpha, share);
        let spend = (spend_until - spent).max(f64::MIN_POSITIVE);
        let bound = undecided.bound_spending(spend, share - time);
        bounds.push(bound / share.sqrt());
        undecided = undecided.step(bound, share, share - time, sides);
        (time, spent) = (share, spend_until);
    }
    Ok(bounds)
}

/// The density of the score (z·√t, a Brownian motion) where no bound was crossed yet, as weighted points.
struct Undecided(Vec<(f64, f64)>);

impl Undecided {
    fn at_start() -> Self {
        Self(vec![(0.0, 1.0)])
    }

    /// The score whose crossing has the probability `spend` at the look after `gap` more information.
    fn bound_spending(&self, spend: f64, gap: f64) -> f64 {
        let sd = gap.sqrt();
        let above = |bound: f64| -> f64 { self.0.iter().map(|(at, mass)| mass * normal_sf((bound - at) / sd)).sum() };
        let (mut low, mut high) = (-40.0, 40.0);
        for _ in 0..80 {
            let middle = 0.5 * (low + high);
            if above(middle) > spend { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    }

    /// What is undecided after the look at `time`, by Simpson's rule.
    fn step(&self, bound: f64, time: f64, gap: f64, sides: Sides) -> Self {
        let sd = gap.sqrt();
        let low = if sides == Sides::Two { -bound } else { -9.0 * time.sqrt() };
        let intervals = 2 * ((bound - low) / sd * 6.0).ceil().clamp(32.0, 2_000.0) as usize;
        let width = (bound - low) / intervals as f64;
        let density = |at: f64| -> f64 {
            let normal = |z: f64| (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt() / sd;
            self.0.iter().map(|(from, mass)| mass * normal((at - from) / sd)).sum()
        };
        let point = |index: usize| {
            let at = low + width * index as f64;
            let weight = match index {
                0 => 1.0,
                last if last == intervals => 1.0,
                odd if odd % 2 == 1 => 4.0,
                _ => 2.0,
            };
            (at, weight * width / 3.0 * density(at))
        };
        Self((0..=intervals).map(point).collect())
    }
}

/// The two-sided level that each look would have alone.
pub fn nominal_level(bound: f64) -> f64 {
    2.0 * normal_cdf(-bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_look_is_the_fixed_test() {
        let bounds = group_sequential_bounds(&[1.0], 0.05, Sides::Two, Spending::OBrienFleming).unwrap();
        assert!((bounds[0] - 1.959963984540054).abs() < 1e-9);
        assert!((nominal_level(bounds[0]) - 0.05).abs() < 1e-9);
    }

    #[test]
    fn textbook_bounds_of_five_looks() {
        // Lan and DeMets' two functions at five equal looks, α = 0.05 two-sided (Proschan, Lan and Wittes 2006).
        let looks = [0.2, 0.4, 0.6, 0.8, 1.0];
        for (spending, expected) in [
            (Spending::OBrienFleming, [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]),
            (Spending::Pocock, [2.4380, 2.4268, 2.4101, 2.3966, 2.3859]),
        ] {
            let bounds = group_sequential_bounds(&looks, 0.05, Sides::Two, spending).unwrap();
            for (bound, expected) in bounds.iter().zip(expected) {
                assert!((bound - expected).abs() < 5e-3, "{spending:?}: {bounds:?}");
            }
        }
    }

    #[test]
    fn looks_must_rise() {
        for information in [&[][..], &[0.5, 0.5], &[0.0, 1.0], &[1e-300, 1.0], &[0.5, 1.1], &[f64::NAN]] {
            let error = group_sequential_bounds(information, 0.05, Sides::One, Spending::Pocock).unwrap_err();
            assert_eq!(error.reason(), "invalid_statistic");
        }
    }
}
