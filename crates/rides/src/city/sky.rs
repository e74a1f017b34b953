//! The weather: a function of the seed and the hour, so that every stream of rides sees the same sky.

use crate::{
    Weather,
    draw::{Draw, Purpose},
};

/// How often waves of rain, showers and warm or cold spells turn, hours.
const RAIN_WAVE_H: i64 = 31;
const SHOWER_H: i64 = 5;
const SPELL_H: i64 = 67;

/// The weather of the hour that begins `hour` hours after 1970-01-01T00 UTC. Rain and snow are that hour's amounts.
pub(crate) fn weather(seed: u64, hour: i64) -> Weather {
    let wet = 0.6 * noise(seed, Purpose::RainWaves, hour, RAIN_WAVE_H)
        + 0.4 * noise(seed, Purpose::RainShowers, hour, SHOWER_H);
    let water_mm = ((wet - 0.66) * 16.0).max(0.0);
    // New York's seasons: coldest in late January, warmest in late July; coldest at 5 in the morning.
    let year = (hour as f64 / 24.0 / 365.2425).fract();
    let season_c = 12.8 - 12.2 * libm::cos(std::f64::consts::TAU * (year - 0.06));
    let day = (hour - 10).rem_euclid(24) as f64 / 24.0;
    let temperature_c = season_c - 3.0 * libm::cos(std::f64::consts::TAU * day)
        + 14.0 * (noise(seed, Purpose::Temperature, hour, SPELL_H) - 0.5);
    let tenth = |value: f64| (value * 10.0).round() / 10.0;
    // Fresh snow is about ten times as deep as the water in it.
    let (rain_mm, snow_mm) = if temperature_c < 0.5 { (0.0, tenth(water_mm * 10.0)) } else { (tenth(water_mm), 0.0) };
    Weather { rain_mm: Some(rain_mm), snow_mm: Some(snow_mm), temperature_c: Some(tenth(temperature_c)) }
}

/// What the weather leaves of the streets' speed: 1 when dry.
pub(crate) fn speed_factor(weather: Weather) -> f64 {
    1.0 / (1.0 + 0.08 * weather.rain_mm.unwrap_or(0.0) + 0.012 * weather.snow_mm.unwrap_or(0.0))
}

/// Smooth noise in [0, 1): a random number every `period_h` hours, and a smooth step in between.
fn noise(seed: u64, purpose: Purpose, hour: i64, period_h: i64) -> f64 {
    let node = |index: i64| Draw::new(seed, purpose, index.cast_unsigned(), 0).unit();
    let index = hour.div_euclid(period_h);
    let part = hour.rem_euclid(period_h) as f64 / period_h as f64;
    let step = part * part * (3.0 - 2.0 * part);
    node(index) * (1.0 - step) + node(index + 1) * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_is_new_yorks() {
        // 2025-01-01T00 UTC.
        let first = 482_136;
        let year: Vec<Weather> = (first..first + 365 * 24).map(|hour| weather(3, hour)).collect();
        let mean = |range: std::ops::Range<usize>| {
            let temperatures: Vec<f64> = year[range].iter().map(|w| w.temperature_c.unwrap()).collect();
            temperatures.iter().sum::<f64>() / temperatures.len() as f64
        };
        let (january, july) = (mean(0..31 * 24), mean(181 * 24..212 * 24));
        assert!((-5.0..5.0).contains(&january) && (21.0..29.0).contains(&july), "{january} {july}");
        let wet = year.iter().filter(|w| w.rain_mm > Some(0.0) || w.snow_mm > Some(0.0)).count();
        assert!((500..2500).contains(&wet), "{wet} wet hours");
        assert!(year.iter().any(|w| w.snow_mm > Some(1.0)) && year.iter().any(|w| w.rain_mm > Some(2.0)));
        assert!(year.iter().all(|w| w.rain_mm == Some(0.0) || w.snow_mm == Some(0.0)));
        // No jumps: an hour's change stays small.
        assert!(year.windows(2).all(|w| (w[0].temperature_c.unwrap() - w[1].temperature_c.unwrap()).abs() < 2.0));
    }
}
