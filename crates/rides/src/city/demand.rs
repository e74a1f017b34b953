//! Who wants to go where, and when.

use super::streets;
use crate::{
    Weather,
    clock::LocalTime,
    draw::{Draw, Purpose},
};

/// Rides per hour relative to the mean of a dry week.
pub(crate) fn intensity(local: LocalTime, weather: Weather) -> f64 {
    let hill = |at_h: f64, width_h: f64| {
        // Around midnight both sides count.
        let off = [local.hour - at_h - 24.0, local.hour - at_h, local.hour - at_h + 24.0];
        off.map(|off| libm::exp(-0.5 * (off / width_h) * (off / width_h))).iter().sum::<f64>()
    };
    let dry = if local.is_weekend() {
        0.45 + 0.8 * hill(14.0, 4.0) + 0.9 * hill(22.0, 3.0)
    } else {
        0.3 + 1.0 * hill(8.5, 1.5) + 0.5 * hill(13.0, 3.0) + 1.2 * hill(18.3, 2.2) + 0.4 * hill(22.0, 2.0)
    };
    let wet = 1.0 + (0.08 * weather.rain_mm.unwrap_or(0.0)).min(0.3);
    dry * wet
}

/// Never exceeded by [`intensity`].
pub(crate) const MAX_INTENSITY: f64 = 2.5;

/// Weights of the zones as running sums, one table per kind of day and hour.
#[derive(Debug, Clone)]
pub(crate) struct Demand {
    /// Where riders wait: `[weekend * 24 + hour][zone]`.
    origins: Vec<Vec<f64>>,
    /// Where they go.
    destinations: Vec<Vec<f64>>,
}

impl Demand {
    pub(crate) fn new(seed: u64) -> Self {
        let mut draw = Draw::new(seed, Purpose::Demand, 0, 0);
        // Shares of zones in homes, work and nights out.
        let mut shares = |weight: &dyn Fn(f64) -> f64, sigma: f64| -> Vec<f64> {
            let raw: Vec<f64> =
                (0..streets::ZONES).map(|zone| weight(streets::centrality(zone)) * draw.log_normal(sigma)).collect();
            let total: f64 = raw.iter().sum();
            raw.into_iter().map(|weight| weight / total).collect()
        };
        let homes = shares(&|centrality| 0.5 + centrality * (1.0 - centrality) * 2.0, 0.5);
        let work = shares(&|centrality| centrality * centrality, 0.3);
        let nights = shares(&|centrality| centrality, 1.0);
        let table = |mix: &dyn Fn(bool, usize) -> [f64; 3]| {
            let kinds = [false, true].into_iter().flat_map(|weekend| (0..24).map(move |hour| (weekend, hour)));
            kinds
                .map(|(weekend, hour)| {
                    let [at_home, at_work, out] = mix(weekend, hour);
                    let weights = (0..streets::ZONES)
                        .map(|zone| at_home * homes[zone] + at_work * work[zone] + out * nights[zone]);
                    weights
                        .scan(0.0, |sum, weight| {
                            *sum += weight;
                            Some(*sum)
                        })
                        .collect()
                })
                .collect()
        };
        Self { origins: table(&origin_mix), destinations: table(&destination_mix) }
    }

    /// A zone where a rider waits.
    pub(crate) fn origin(&self, local: LocalTime, draw: &mut Draw) -> usize {
        draw.weighted(&self.origins[table_index(local)])
    }

    /// A zone where a rider goes.
    pub(crate) fn destination(&self, local: LocalTime, draw: &mut Draw) -> usize {
        draw.weighted(&self.destinations[table_index(local)])
    }
}

fn table_index(local: LocalTime) -> usize {
    usize::from(local.is_weekend()) * 24 + (local.hour as usize).min(23)
}

/// How riders' starts are split over homes, work and nights out.
fn origin_mix(weekend: bool, hour: usize) -> [f64; 3] {
    match (weekend, hour) {
        (_, 0..=4) => [0.25, 0.1, 0.65],
        (false, 5..=10) => [0.75, 0.2, 0.05],
        (false, 11..=15) => [0.35, 0.55, 0.1],
        (false, 16..=19) => [0.2, 0.65, 0.15],
        (true, 5..=15) => [0.65, 0.2, 0.15],
        (true, 16..=19) => [0.4, 0.25, 0.35],
        _ => [0.25, 0.2, 0.55],
    }
}

/// How riders' ends are split.
fn destination_mix(weekend: bool, hour: usize) -> [f64; 3] {
    match (weekend, hour) {
        (_, 0..=4) => [0.85, 0.05, 0.1],
        (false, 5..=10) => [0.15, 0.8, 0.05],
        (false, 11..=15) => [0.35, 0.5, 0.15],
        (false, 16..=19) => [0.6, 0.1, 0.3],
        (true, 5..=19) => [0.35, 0.25, 0.4],
        _ => [0.5, 0.05, 0.45],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_week_has_its_mean_and_maximum() {
        let dry = Weather::default();
        let wet = Weather { rain_mm: Some(50.0), ..dry };
        let moments: Vec<LocalTime> =
            (0..7 * 240).map(|step| LocalTime { weekday: step / 240, hour: (step % 240) as f64 / 10.0 }).collect();
        let mean = moments.iter().map(|&local| intensity(local, dry)).sum::<f64>() / moments.len() as f64;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert!(moments.iter().all(|&local| intensity(local, wet) < MAX_INTENSITY));
        let at = |weekday, hour| intensity(LocalTime { weekday, hour }, dry);
        assert!(at(1, 18.0) > 3.0 * at(1, 3.0));
    }

    #[test]
    fn mornings_lead_from_homes_to_work() {
        let demand = Demand::new(1);
        let local = LocalTime { weekday: 2, hour: 8.5 };
        let mut draw = Draw::new(1, Purpose::Rides, 0, 0);
        let mut mean = |place: &dyn Fn(&mut Draw) -> usize| {
            (0..4000).map(|_| streets::centrality(place(&mut draw))).sum::<f64>() / 4000.0
        };
        let from = mean(&|draw| demand.origin(local, draw));
        let to = mean(&|draw| demand.destination(local, draw));
        assert!(to > from + 0.1, "{from} {to}");
    }
}
