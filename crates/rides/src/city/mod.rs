//! A simulated city: seeded, and the same on every machine.
//!
//! It lies about New York's centre and keeps its local time. Drive times follow from a map of zones (`streets.rs`), the
//! hour, the weekday and the weather, and from luck that no model can learn (about a fifth of the time). A fleet drives
//! through the day, idles where demand is, and offers the nearest idle cars.
//!
//! The stream assumes that every ride takes place as the default policy sent it; whether a rider really cancels
//! depends on the time that is shown, and comes out in [`Ride::outcome`].

mod demand;
mod fleet;
mod sky;
mod streets;

use domain::{CandidateId, PredictionId, UnitId};
use jiff::Timestamp;

use self::{
    demand::Demand,
    fleet::Fleet,
    streets::{Point, Streets},
};
use crate::{
    Car, MAX_CARS, Patience, Ride, RidesError, Weather,
    clock::{Clock, LocalTime},
    draw::{Draw, Purpose},
    ride::whole_micros,
};

/// How a city differs from the usual one.
#[derive(Debug, Clone, PartialEq)]
pub struct CityOptions {
    /// Rides asked for per hour, mean of a dry week; more than 0, at most 20,000. The fleet grows with it.
    pub rides_per_hour: f64,
    /// People who take rides, 1 to 10,000,000; some take many.
    pub riders: usize,
    /// Changes of all streets' speed, each from its moment until the next: a model trained before meets drift.
    pub drifts: Vec<Drift>,
}

/// From `from` on all speeds are multiplied by `speed_factor` (0.1–10).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    /// The moment, UTC.
    pub from: Timestamp,
    /// 1 is the usual speed.
    pub speed_factor: f64,
}

impl Default for CityOptions {
    fn default() -> Self {
        Self { rides_per_hour: 200.0, riders: 20_000, drifts: Vec::new() }
    }
}

/// The part of rides for which the default policy sends the car that seems nearest; else any of the candidates, as
/// when drivers decline.
const SENDS_NEAREST: f64 = 0.75;

/// A simulated city.
#[derive(Debug, Clone)]
pub struct City {
    seed: u64,
    options: CityOptions,
    clock: Clock,
    streets: Streets,
    demand: Demand,
    riders: Vec<Rider>,
    car_ids: Vec<CandidateId>,
}

#[derive(Debug, Clone)]
struct Rider {
    id: UnitId,
    /// Multiplies how long the rider is willing to wait; 1 is the median.
    patience: f64,
}

impl City {
    /// The usual city of a seed.
    pub fn new(seed: u64) -> Result<Self, RidesError> {
        Self::with_options(seed, CityOptions::default())
    }

    /// A city with options of its own. Fails where one is outside its range.
    pub fn with_options(seed: u64, mut options: CityOptions) -> Result<Self, RidesError> {
        check(&options)?;
        options.drifts.sort_by_key(|drift| drift.from);
        let riders = (0..options.riders).map(|number| {
            let patience = Draw::new(seed, Purpose::Riders, number as u64, 0).log_normal(0.3);
            Ok(Rider { id: format!("rider-{number:05}").parse()?, patience })
        });
        let riders = riders.collect::<Result<_, RidesError>>()?;
        // A ride keeps its car busy for about half an hour, and evenings ask for more than twice the mean.
        let cars = (2.5 * options.rides_per_hour).max(300.0) as usize;
        let car_ids = (0..cars).map(|number| Ok(format!("car-{number:04}").parse()?));
        let car_ids = car_ids.collect::<Result<_, RidesError>>()?;
        let (streets, demand) = (Streets::new(seed), Demand::new(seed));
        Ok(Self { seed, options, clock: Clock::new()?, streets, demand, riders, car_ids })
    }

    /// The first `count` rides from `from` on, in time order. A function of seed, options and `from`: asking for more
    /// rides changes none of the first, and rides from another moment draw other luck under the same sky. `from` should
    /// lie in 1970–9000.
    pub fn rides(&self, from: Timestamp, count: usize) -> impl Iterator<Item = Ride> + '_ {
        Stream::new(self, from).take(count)
    }

    fn drift_factor(&self, unix_us: i64) -> f64 {
        let begun = self.options.drifts.iter().take_while(|drift| drift.from.as_microsecond() <= unix_us);
        begun.last().map_or(1.0, |drift| drift.speed_factor)
    }
}

fn check(options: &CityOptions) -> Result<(), RidesError> {
    let out = |option, value: String, expected| Err(RidesError::InvalidOption { option, value, expected });
    if !(options.rides_per_hour > 0.0 && options.rides_per_hour <= 20_000.0) {
        return out("rides_per_hour", options.rides_per_hour.to_string(), "more than 0, at most 20,000");
    }
    if !(1..=10_000_000).contains(&options.riders) {
        return out("riders", options.riders.to_string(), "1 to 10,000,000");
    }
    for drift in &options.drifts {
        if !(0.1..=10.0).contains(&drift.speed_factor) {
            return out("speed_factor", drift.speed_factor.to_string(), "0.1 to 10");
        }
    }
    Ok(())
}

/// The city at work.
struct Stream<'a> {
    city: &'a City,
    draw: Draw,
    clock: Clock,
    fleet: Fleet,
    now_us: i64,
    /// The hour since 1970 that `weather` is of.
    weather_hour: i64,
    weather: Weather,
}

/// What slows all streets down at one moment.
#[derive(Clone, Copy)]
struct Traffic {
    rush: f64,
    speed_factor: f64,
}

impl<'a> Stream<'a> {
    fn new(city: &'a City, from: Timestamp) -> Self {
        let now_us = from.as_microsecond();
        let mut draw = Draw::new(city.seed, Purpose::Rides, now_us.cast_unsigned(), 0);
        let mut clock = city.clock.clone();
        let local = clock.local(now_us);
        let fleet =
            Fleet::new(city.car_ids.len(), |draw| Point::within(city.demand.origin(local, draw), draw), &mut draw);
        let weather_hour = now_us.div_euclid(HOUR_US);
        Self { city, draw, clock, fleet, now_us, weather_hour, weather: sky::weather(city.seed, weather_hour) }
    }

    /// Moves on to the next rider: a Poisson process whose rate follows the week and the weather, by thinning (Lewis and
    /// Shedler 1979). `None` at the end of time.
    fn next_rider(&mut self) -> Option<LocalTime> {
        let mean_us = HOUR_US as f64 / (self.city.options.rides_per_hour * demand::MAX_INTENSITY);
        loop {
            self.now_us = self.now_us.checked_add((self.draw.exponential() * mean_us).ceil() as i64)?;
            Timestamp::from_microsecond(self.now_us).ok()?;
            let hour = self.now_us.div_euclid(HOUR_US);
            if hour != self.weather_hour {
                (self.weather_hour, self.weather) = (hour, sky::weather(self.city.seed, hour));
            }
            let local = self.clock.local(self.now_us);
            if self.draw.chance(demand::intensity(local, self.weather) / demand::MAX_INTENSITY) {
                return Some(local);
            }
        }
    }

    fn drive_s(&mut self, from: Point, to: Point, traffic: Traffic) -> f64 {
        let route = self.city.streets.route(from, to, traffic.rush, traffic.speed_factor);
        whole_micros(Streets::drive_s(route, &mut self.draw))
    }

    /// Sends a car on its way with the rider, and from there to where the next riders are.
    fn send(&mut self, car: usize, drive_s: f64, rider: Point, local: LocalTime, traffic: Traffic) {
        let demand = &self.city.demand;
        let goal = Point::within(demand.destination(local, &mut self.draw), &mut self.draw);
        let mut busy_s = drive_s + self.drive_s(rider, goal, traffic);
        let mut idles_at = goal;
        if self.draw.chance(0.5) {
            idles_at = Point::within(demand.origin(local, &mut self.draw), &mut self.draw);
            busy_s += self.drive_s(goal, idles_at, traffic);
        }
        self.fleet.send(car, idles_at, self.now_us + (busy_s * 1e6) as i64);
    }
}

const HOUR_US: i64 = 3_600_000_000;

impl Iterator for Stream<'_> {
    type Item = Ride;

    fn next(&mut self) -> Option<Ride> {
        let city = self.city;
        loop {
            let local = self.next_rider()?;
            let at = Point::within(city.demand.origin(local, &mut self.draw), &mut self.draw);
            // The square makes some people frequent riders.
            let skewed = self.draw.unit() * self.draw.unit();
            let rider = &city.riders[((skewed * city.riders.len() as f64) as usize).min(city.riders.len() - 1)];
            let wanted = 1 + self.draw.below(MAX_CARS);
            let offered = self.fleet.offer(at, self.now_us, wanted, &mut self.draw);
            if offered.is_empty() {
                // Nobody to ask about: no prediction is asked for.
                continue;
            }
            let traffic = Traffic {
                rush: streets::rush(local),
                speed_factor: sky::speed_factor(self.weather) * city.drift_factor(self.now_us),
            };
            let mut cars = Vec::with_capacity(offered.len());
            for &car in &offered {
                let place = self.fleet.place(car);
                let drive_s = Some(self.drive_s(place, at, traffic));
                cars.push(Car { candidate_id: city.car_ids[car].clone(), place: place.place(), drive_s });
            }
            let driven = if self.draw.chance(SENDS_NEAREST) { 0 } else { self.draw.below(cars.len()) };
            let patience = Patience {
                limit_s: 1500.0 * rider.patience * self.draw.log_normal(0.5),
                grace_s: 420.0 * rider.patience * self.draw.log_normal(0.6),
            };
            let requested_at = Timestamp::from_microsecond(self.now_us).ok()?;
            let prediction_id = PredictionId::new(requested_at, self.draw.id_bytes());
            let driven_s = cars[driven].drive_s.unwrap_or_default();
            self.send(offered[driven], driven_s, at, local, traffic);
            return Some(Ride {
                prediction_id,
                requested_at,
                rider_id: rider.id.clone(),
                rider: at.place(),
                weather: self.weather,
                cars,
                driven,
                patience: Some(patience),
            });
        }
    }
}

#[cfg(test)]
mod tests;
