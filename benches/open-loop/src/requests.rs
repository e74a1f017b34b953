//! Riders who ask for cars in a city.

use jiff::Timestamp;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// How many riders take turns.
const RIDERS: usize = 1024;

#[derive(Debug, Serialize)]
struct Rider {
    unit_id: String,
    inputs: RiderInputs,
    candidates: Vec<Candidate>,
}

#[derive(Debug, Serialize)]
struct RiderInputs {
    rider_lat: f64,
    rider_lon: f64,
    rider_zone: u16,
    rain_mm: f64,
    temperature_c: f64,
}

#[derive(Debug, Serialize)]
struct Candidate {
    candidate_id: String,
    inputs: CarInputs,
}

#[derive(Debug, Serialize)]
struct CarInputs {
    #[serde(rename = "car_lat")]
    lat: f64,
    #[serde(rename = "car_lon")]
    lon: f64,
    #[serde(rename = "car_zone")]
    zone: u16,
}

#[derive(Serialize)]
struct Request<'a> {
    requested_at: Timestamp,
    #[serde(flatten)]
    rider: &'a Rider,
}

pub(crate) struct Riders {
    riders: Vec<Rider>,
    pub(crate) candidates: usize,
}

impl Riders {
    /// Riders of the reference model, each with so many cars within a mile or so.
    pub(crate) fn new(candidates: usize, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let riders = (0..RIDERS).map(|number| rider(number, candidates, &mut random)).collect();
        Self { riders, candidates }
    }

    /// The body of the request of this number, made at this moment.
    pub(crate) fn request(&self, number: usize) -> serde_json::Result<Vec<u8>> {
        let rider = &self.riders[number % self.riders.len()];
        serde_json::to_vec(&Request { requested_at: Timestamp::now(), rider })
    }
}

fn rider(number: usize, candidates: usize, random: &mut ChaCha8Rng) -> Rider {
    let (rider_lat, rider_lon) = (random.random_range(40.70..40.80), random.random_range(-74.01..-73.93));
    let mut car = |number| Candidate {
        candidate_id: format!("car-{number}"),
        inputs: CarInputs {
            lat: rider_lat + random.random_range(-0.01..0.01),
            lon: rider_lon + random.random_range(-0.01..0.01),
            zone: random.random_range(1..264),
        },
    };
    let candidates = (0..candidates).map(&mut car).collect();
    let rider_zone = random.random_range(1..264);
    Rider {
        unit_id: format!("rider-{number}"),
        inputs: RiderInputs { rider_lat, rider_lon, rider_zone, rain_mm: 0.5, temperature_c: 21.5 },
        candidates,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_of_the_reference_model() {
        let body: serde_json::Value = serde_json::from_slice(&Riders::new(20, 3).request(7).unwrap()).unwrap();
        assert_eq!(body["unit_id"], "rider-7");
        assert_eq!(body["candidates"].as_array().unwrap().len(), 20);
        assert!(body["requested_at"].as_str().unwrap().parse::<Timestamp>().is_ok());
        assert!(body["candidates"][19]["inputs"]["car_lat"].is_f64() && body["inputs"]["rider_lon"].is_f64());
    }
}
