use domain::{CandidateId, PredictionId, UnitId};
use jiff::tz::TimeZone;

use super::{trips::Trip, weather::DailyWeather, zones::Zones};
use crate::{
    Car, MAX_CARS, Requested, Ride, RidesError,
    clock::TIME_ZONE,
    draw::{Draw, Purpose},
};

/// Records name no riders and no cabs: as many are invented. 13,587 is the number of New York's medallions.
const RIDERS: usize = 50_000;
const CABS: usize = 13_587;
/// The other cars start in one of so many zones nearest to the rider.
const NEARBY_ZONES: usize = 40;

/// Makes rides of recorded trips. What records do not have is invented: who rode, and which other cars were near; these
/// start in other zones about the rider, and nobody knows how long they would have taken.
#[derive(Debug)]
pub struct Recording {
    zones: Zones,
    neighbours: Vec<Vec<u16>>,
    weather: DailyWeather,
    seed: u64,
    new_york: TimeZone,
    riders: Vec<UnitId>,
    cabs: Vec<CandidateId>,
}

impl Recording {
    /// `zones` are those that the trips were read with. An empty `weather` is not known.
    pub fn new(zones: Zones, weather: DailyWeather, seed: u64) -> Result<Self, RidesError> {
        let new_york = TimeZone::get(TIME_ZONE).map_err(|_| RidesError::TimeZone(TIME_ZONE))?;
        let riders = (0..RIDERS).map(|number| Ok(format!("rider-{number:05}").parse()?));
        let riders = riders.collect::<Result<_, RidesError>>()?;
        let cabs = (0..CABS).map(|number| Ok(format!("cab-{number:05}").parse()?));
        let cabs = cabs.collect::<Result<_, RidesError>>()?;
        Ok(Self { neighbours: zones.neighbours(NEARBY_ZONES), zones, weather, seed, new_york, riders, cabs })
    }

    /// The trips as rides, in the trips' order, made one by one.
    pub fn rides<'a>(&'a self, trips: &'a [Trip]) -> impl Iterator<Item = Ride> + 'a {
        trips.iter().filter_map(|trip| self.ride(trip))
    }

    /// A trip as a ride: a function of the trip, the tables and the seed alone, wherever the trip was read. `None` where
    /// the trip was read with other zones, and these do not have its own.
    pub fn ride(&self, trip: &Trip) -> Option<Ride> {
        let (from_zone, to_zone) = (self.zones.index_of(trip.from_zone)?, self.zones.index_of(trip.to_zone)?);
        // Two hours have 33 bits of microseconds, zones' numbers usually less than 15.
        let mixed = trip.drive_us.cast_unsigned() ^ (u64::from(trip.from_zone) << 34) ^ (u64::from(trip.to_zone) << 49);
        let mut draw = Draw::new(self.seed, Purpose::Recorded, trip.pickup_us.cast_unsigned(), mixed);
        let requested_at = trip.requested_at();
        let prediction_id = PredictionId::new(requested_at, draw.id_bytes());
        let rider_id = self.riders[draw.below(RIDERS)].clone();
        let centroid = |zone: u16| self.zones.as_slice()[usize::from(zone)].centroid;

        // Distinct zones near the rider, by a partial shuffle (Fisher and Yates).
        let mut nearby = self.neighbours[usize::from(to_zone)].clone();
        nearby.retain(|&zone| zone != from_zone);
        let others = draw.below(MAX_CARS).min(nearby.len());
        for index in 0..others {
            let other = index + draw.below(nearby.len() - index);
            nearby.swap(index, other);
        }
        nearby.truncate(others);
        let driven = draw.below(others + 1);
        nearby.insert(driven, from_zone);

        let mut cabs: Vec<usize> = Vec::with_capacity(nearby.len());
        while cabs.len() < nearby.len() {
            let cab = draw.below(CABS);
            if !cabs.contains(&cab) {
                cabs.push(cab);
            }
        }
        let cars = nearby.iter().zip(cabs).enumerate().map(|(index, (&zone, cab))| Car {
            candidate_id: self.cabs[cab].clone(),
            place: centroid(zone),
            drive_s: (index == driven).then_some(trip.drive_us as f64 / 1e6),
        });
        let day = self.new_york.to_offset(requested_at).to_datetime(requested_at).date();
        Some(Ride {
            prediction_id,
            requested_at,
            rider_id,
            rider: centroid(to_zone),
            weather: self.weather.on(day),
            cars: cars.collect(),
            driven,
            patience: None,
        })
    }
}
