//! How fast labels land: the share of predictions whose outcome was known at each age.

use std::collections::BTreeMap;

use domain::Hour;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The ages of the curve, seconds after the request.
pub const MATURITY_AGES_S: [u32; 16] =
    [300, 600, 900, 1200, 1800, 2700, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 259_200, 604_800, 1_209_600];
const AGES: usize = MATURITY_AGES_S.len();

/// When the outcomes of some predictions landed. Merging adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MaturityCounts {
    /// Predictions.
    pub predictions: u64,
    /// Outcomes (arrivals and cancellations) that were first reported up to each age of [`MATURITY_AGES_S`] and above the one
    /// before; the last number has the later ones.
    pub landed: [u64; AGES + 1],
}

impl MaturityCounts {
    /// Adds a prediction; `landed_after_us` is how long after its request its outcome was first reported.
    pub(crate) fn add(&mut self, landed_after_us: Option<i64>) {
        self.predictions += 1;
        if let Some(age_us) = landed_after_us {
            self.landed[MATURITY_AGES_S.partition_point(|&age_s| i64::from(age_s) * 1_000_000 < age_us)] += 1;
        }
    }

    /// Adds the predictions of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.predictions = self.predictions.saturating_add(other.predictions);
        for (count, more) in self.landed.iter_mut().zip(other.landed) {
            *count = count.saturating_add(more);
        }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        let landed = self.landed.iter().fold(0u64, |sum, &count| sum.saturating_add(count));
        if landed > self.predictions {
            return Err(format!("{landed} outcomes landed for {} predictions", self.predictions));
        }
        Ok(())
    }
}

/// One point of the maturity curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MaturityPoint {
    /// The age, seconds after the request.
    pub age_s: u32,
    /// Predictions that are as old as that.
    pub predictions: u64,
    /// The share of them whose outcome was known at that age, 0–1.
    pub share: f64,
}

/// The curve of some hours as of an instant. At each age only hours all of whose predictions are as old as that count:
/// younger ones could not have outcomes yet, and would bend the curve down. An age that no hour has reached is left out.
/// The curve is of when outcomes were *reported* (`observed_at`), by the reporting system's clock.
pub fn maturity_curve(hours: &BTreeMap<Hour, MaturityCounts>, as_of: Timestamp) -> Vec<MaturityPoint> {
    let point = |(index, age_s): (usize, u32)| {
        let (mut predictions, mut landed) = (0u64, 0u64);
        for (hour, counts) in hours {
            let complete_at = hour.plus(1).start() + SignedDuration::from_secs(i64::from(age_s));
            if complete_at <= as_of {
                predictions = predictions.saturating_add(counts.predictions);
                landed = counts.landed[..=index].iter().fold(landed, |sum, &count| sum.saturating_add(count));
            }
        }
        (predictions > 0).then(|| MaturityPoint { age_s, predictions, share: landed as f64 / predictions as f64 })
    };
    MATURITY_AGES_S.into_iter().enumerate().filter_map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_that_an_hour_has_not_reached_does_not_count_against_it() {
        let first: Hour = "2026-01-01T00".parse().unwrap();
        let mut old = MaturityCounts::default();
        for landed in [Some(60), Some(301), Some(3_599), None] {
            old.add(landed.map(|s: i64| s * 1_000_000));
        }
        let mut young = MaturityCounts::default();
        for landed in [Some(100_000_000), None] {
            young.add(landed);
        }
        let hours = BTreeMap::from([(first, old), (first.plus(3), young)]);
        let curve = maturity_curve(&hours, "2026-01-01T04:12:00Z".parse().unwrap());
        let at =
            |age_s: u32| curve.iter().find(|point| point.age_s == age_s).map(|point| (point.predictions, point.share));
        assert_eq!(at(300), Some((6, 2.0 / 6.0)));
        assert_eq!(at(600), Some((6, 3.0 / 6.0)), "ten minutes have passed since 04:00");
        assert_eq!(at(900), Some((4, 0.5)), "fifteen have not");
        assert_eq!(at(3600), Some((4, 0.75)));
        assert_eq!(at(14 * 86_400), None);
    }
}
