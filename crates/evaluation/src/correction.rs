//! A multiplicative correction per zone and hour of the day, learned from rides whose truth has landed: recalibration without
//! retraining.
//!
//! A factor is Σ actual / Σ predicted of its rides, each ride halved in weight every [`CorrectionOptions::half_life_h`], and shrunk
//! towards its parent as by [`CorrectionOptions::shrinkage_rides`] rides of average length: zone and hour together towards (zone ×
//! hour ÷ all), zone and hour each towards all, all towards 1. A ride counts as at most three times as long or short as predicted,
//! so that no single one moves a cell.

use std::collections::BTreeMap;

use domain::{Correction, CorrectionBasis, Hour};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

const HOURS: usize = 24;
/// A ride counts as within this factor of its prediction.
const CLIP: f64 = 3.0;
/// A zone without this share of difference to the hours of all is not worth its place in a document.
const NOTABLE: f64 = 0.01;

/// How a correction is learned.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CorrectionOptions {
    /// After this many hours a ride counts half.
    pub half_life_h: f64,
    /// How many rides the parent's factor counts for.
    pub shrinkage_rides: f64,
}

impl Default for CorrectionOptions {
    fn default() -> Self {
        Self { half_life_h: 168.0, shrinkage_rides: 50.0 }
    }
}

/// A ride whose truth has landed, to learn from and to test on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LandedRide<'a> {
    /// When its outcome was first reported, microseconds since 1970-01-01 UTC.
    pub landed_at_us: i64,
    /// Event time, microseconds since 1970-01-01 UTC.
    pub requested_at_us: i64,
    /// The zone, where there are zones.
    pub zone: &'a str,
    /// The hour of the day in the model's time zone, 0–23.
    pub hour_of_day: u8,
    /// What the endpoint had said, before any correction; seconds, above 0.
    pub predicted_s: f64,
    /// Seconds from the request until the car arrived.
    pub actual_s: f64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    actual_s: f64,
    predicted_s: f64,
    rides: f64,
}

impl Sums {
    fn add(&mut self, actual_s: f64, predicted_s: f64, weight: f64) {
        self.actual_s += weight * actual_s;
        self.predicted_s += weight * predicted_s;
        self.rides += weight;
    }

    /// The sums' ratio with `extra_s` predicted seconds at the parent's.
    fn ratio(&self, extra_s: f64, parent: f64) -> f64 {
        let predicted_s = self.predicted_s + extra_s;
        if predicted_s > 0.0 { (self.actual_s + extra_s * parent) / predicted_s } else { parent }
    }

    fn scale(&mut self, by: f64) {
        self.actual_s *= by;
        self.predicted_s *= by;
        self.rides *= by;
    }
}

/// Learns a correction, ride by ride as their outcomes land.
#[derive(Debug, Clone)]
pub(crate) struct Learner<'a> {
    options: CorrectionOptions,
    all: Sums,
    hours: [Sums; HOURS],
    zones: BTreeMap<&'a str, (Sums, [Sums; HOURS])>,
    /// The instant of weight 1; older rides weigh less.
    since_us: i64,
    seen: Option<(i64, i64, u64)>,
}

impl<'a> Learner<'a> {
    pub(crate) fn new(options: CorrectionOptions) -> Self {
        Self {
            options,
            all: Sums::default(),
            hours: [Sums::default(); HOURS],
            zones: BTreeMap::new(),
            since_us: 0,
            seen: None,
        }
    }

    pub(crate) fn add(&mut self, ride: &LandedRide<'a>) {
        let hour = usize::from(ride.hour_of_day) % HOURS;
        let weight = self.weight(ride.landed_at_us);
        let actual_s = ride.actual_s.clamp(ride.predicted_s / CLIP, ride.predicted_s * CLIP);
        let zone = self.zones.entry(ride.zone).or_default();
        for sums in [&mut self.all, &mut self.hours[hour], &mut zone.0, &mut zone.1[hour]] {
            sums.add(actual_s, ride.predicted_s, weight);
        }
        let at = ride.requested_at_us;
        let (first, last, rides) = self.seen.unwrap_or((at, at, 0));
        self.seen = Some((first.min(at), last.max(at), rides + 1));
    }

    /// Weights double every half-life instead of old ones halving; before they grow too large, all sums are scaled.
    fn weight(&mut self, at_us: i64) -> f64 {
        let half_lives = |since_us: i64, half_life_h: f64| (at_us - since_us) as f64 / 3.6e9 / half_life_h;
        if self.seen.is_none() {
            self.since_us = at_us;
        }
        let passed = half_lives(self.since_us, self.options.half_life_h);
        if passed > 20.0 {
            let by = (-passed).exp2();
            self.all.scale(by);
            let zones = self.zones.values_mut().flat_map(|(all, hours)| hours.iter_mut().chain([all]));
            for sums in self.hours.iter_mut().chain(zones) {
                sums.scale(by);
            }
            self.since_us = at_us;
            return 1.0;
        }
        passed.exp2()
    }

    /// The factor of a zone and hour, and of the hour in all zones.
    fn factors(&self, zone: &str, hour: usize, latest_us: i64) -> (f64, f64) {
        // In today's rides: a ride that weighs w in the sums is one of weight w/today.
        let today = ((latest_us - self.since_us) as f64 / 3.6e9 / self.options.half_life_h).exp2();
        let mean_s = if self.all.rides > 0.0 { self.all.predicted_s / self.all.rides } else { 0.0 };
        let extra_s = self.options.shrinkage_rides * mean_s * today;
        let all = self.all.ratio(extra_s, 1.0);
        let of_hour = self.hours[hour].ratio(extra_s, all);
        let clamped = |factor: f64| factor.clamp(*Correction::FACTORS.start(), *Correction::FACTORS.end());
        let of_cell = self.zones.get(zone).map_or(of_hour, |(zone, hours)| {
            let of_zone = zone.ratio(extra_s, all);
            hours[hour].ratio(extra_s, of_zone * of_hour / all)
        });
        (clamped(of_cell), clamped(of_hour))
    }

    /// The factors as of `at_us`, as a release has them.
    pub(crate) fn correction(&self, at_us: i64, time_zone: Option<&str>, zone_input: Option<&str>) -> Correction {
        let rounded = |factor: f64| (factor * 1e4).round() / 1e4;
        let hours: Vec<f64> = (0..HOURS).map(|hour| rounded(self.factors("", hour, at_us).1)).collect();
        let mut zones = BTreeMap::new();
        for zone in self.zones.keys().filter(|_| zone_input.is_some()) {
            let own: Vec<f64> = (0..HOURS).map(|hour| rounded(self.factors(zone, hour, at_us).0)).collect();
            if own.iter().zip(&hours).any(|(own, all)| (own / all - 1.0).abs() > NOTABLE) {
                zones.insert((*zone).to_owned(), own);
            }
        }
        let hour = |us: i64| Hour::of(Timestamp::from_microsecond(us).unwrap_or_default());
        Correction {
            time_zone: time_zone.map(str::to_owned),
            zone_input: zone_input.map(str::to_owned),
            hours,
            zones,
            learned_from: self.seen.map(|(from, until, rides)| CorrectionBasis {
                from: hour(from),
                until: hour(until),
                rides,
            }),
        }
    }
}

/// The factor that a correction has for a ride.
pub(crate) fn factor_of(correction: &Correction, ride: &LandedRide<'_>) -> f64 {
    let factors = correction.zones.get(ride.zone).unwrap_or(&correction.hours);
    factors.get(usize::from(ride.hour_of_day)).copied().unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ride(at_h: i64, zone: &str, hour_of_day: u8, ratio: f64) -> LandedRide<'_> {
        let at_us = at_h * 3_600_000_000;
        LandedRide {
            landed_at_us: at_us,
            requested_at_us: at_us - 600_000_000,
            zone,
            hour_of_day,
            predicted_s: 400.0,
            actual_s: 400.0 * ratio,
        }
    }

    fn learned<'a>(rides: impl IntoIterator<Item = LandedRide<'a>>, options: CorrectionOptions) -> Correction {
        let mut learner = Learner::new(options);
        let mut last = 0;
        for ride in rides {
            learner.add(&ride);
            last = ride.landed_at_us;
        }
        learner.correction(last, None, Some("zone"))
    }

    #[test]
    fn many_rides_speak_for_themselves_and_few_lean_on_the_rest() {
        let rides = |zone, hour, ratio, n: usize| std::iter::repeat_n(ride(9, zone, hour, ratio), n);
        let all = rides("43", 8, 0.5, 5000).chain(rides("43", 20, 1.0, 5000)).chain(rides("7", 8, 2.0, 2));
        let correction = learned(all, CorrectionOptions::default());
        assert!(!correction.zones.contains_key("43"), "it is as the hours of all, which it makes");
        let [at_8, at_20] = [correction.hours[8], correction.hours[20]];
        assert!((at_8 - 0.5).abs() < 0.01 && (at_20 - 1.0).abs() < 0.01, "{at_8} {at_20}");
        assert!((0.5..0.62).contains(&correction.zones["7"][8]), "two rides move it a little: {correction:?}");
        assert!((correction.hours[3] - 0.75).abs() < 0.01, "an hour without rides is as all hours");
        assert_eq!(correction.learned_from.unwrap().rides, 10_002);
    }

    #[test]
    fn old_rides_fade_and_one_wild_ride_does_not_count() {
        let options = CorrectionOptions { half_life_h: 10.0, ..CorrectionOptions::default() };
        let old = (0..1000).map(|_| ride(0, "a", 8, 2.0));
        let new = (0..1000).map(|n| ride(300 + n / 100, "a", 8, 0.8));
        assert!((learned(old.chain(new), options).hours[8] - 0.8).abs() < 0.02, "thirty half-lives later");
        let wild = std::iter::repeat_n(ride(0, "a", 8, 1.0), 500).chain([ride(0, "a", 8, 1000.0)]);
        assert!((learned(wild, options).hours[8] - 1.0).abs() < 0.01);
        assert_eq!(learned([], options).hours, vec![1.0; 24]);
    }
}
