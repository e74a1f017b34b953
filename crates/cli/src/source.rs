//! Rides to train on and rides to send, from the simulated city or from recorded trips.

use std::path::Path;

use jiff::Timestamp;
use rides::{
    City, Ride, TrainingRow, split_by_time,
    tlc::{DailyWeather, Recording, Trip, TripRules, Trips, Zones},
};

use crate::{
    arguments::RideOptions,
    error::CliError,
    terminal::{Terminal, grouped},
};

/// The share of recorded trips, the earliest, that is trained on.
const TRAINING_SHARE: f64 = 0.8;
/// Where the simulated city's time begins: a Monday in New York.
const CITY_EPOCH: &str = "2018-01-01T05:00:00Z";

/// Rides in time order: the earlier part to train on, the later to send.
pub(crate) struct Rides {
    pub(crate) training: Vec<TrainingRow>,
    pub(crate) replay: Vec<Ride>,
}

/// Reads or simulates. `training_rides` counts for the simulated city; recorded trips are split by time.
pub(crate) fn rides(
    options: &RideOptions,
    training_rides: usize,
    requests: usize,
    terminal: Terminal,
) -> Result<Rides, CliError> {
    let Some(trips) = &options.trips else { return simulated(options.seed, training_rides, requests, terminal) };
    let (recording, trips) = recorded(options, trips, terminal)?;
    let step = terminal.step("Splitting by time");
    let (earlier, later) = split_by_time(trips, TRAINING_SHARE);
    let training: Vec<TrainingRow> = recording.rides(&earlier).filter_map(|ride| ride.training_row()).collect();
    let later = &later[..later.len().min(requests)];
    let replay: Vec<Ride> = recording.rides(later).collect();
    step.done(split_text(&training, &replay));
    Ok(Rides { training, replay })
}

/// All recorded trips but the first share `skip`, at most `requests`; or as many simulated rides.
pub(crate) fn replay_only(
    options: &RideOptions,
    skip: f64,
    requests: Option<usize>,
    terminal: Terminal,
) -> Result<Vec<Ride>, CliError> {
    let Some(trips) = &options.trips else {
        let city = City::new(options.seed)?;
        return Ok(city.rides(city_epoch(), requests.unwrap_or(1_000)).collect());
    };
    let (recording, trips) = recorded(options, trips, terminal)?;
    let (_, later) = split_by_time(trips, skip);
    let later = &later[..later.len().min(requests.unwrap_or(usize::MAX))];
    Ok(recording.rides(later).collect())
}

fn simulated(seed: u64, training_rides: usize, requests: usize, terminal: Terminal) -> Result<Rides, CliError> {
    let step = terminal.step("Simulating a city");
    let city = City::new(seed)?;
    let mut rides = city.rides(city_epoch(), training_rides + requests);
    let training: Vec<TrainingRow> =
        rides.by_ref().take(training_rides).filter_map(|ride| ride.training_row()).collect();
    let replay: Vec<Ride> = rides.collect();
    step.done(split_text(&training, &replay));
    Ok(Rides { training, replay })
}

fn city_epoch() -> Timestamp {
    CITY_EPOCH.parse().unwrap_or_default()
}

fn recorded(options: &RideOptions, trips: &Path, terminal: Terminal) -> Result<(Recording, Vec<Trip>), CliError> {
    let zones = options.zones.as_deref().unwrap_or(Path::new(""));
    let zones = Zones::read(zones)?;
    let weather = match &options.weather {
        Some(weather) => DailyWeather::read(weather)?,
        None => DailyWeather::default(),
    };
    let step = terminal.counted_step(format!("Reading {}", trips.display()), 0);
    let read = Trips::read(trips, &zones, &TripRules::default(), &mut |progress| {
        step.set(progress.bytes, progress.bytes_total);
    })?;
    step.done(format_args!("{} trips kept; {}", grouped(read.len() as u64), read.rejected()));
    if read.is_empty() {
        return Err(CliError::Unexpected(format!("`{}` has no usable trip", trips.display())));
    }
    Ok((Recording::new(zones, weather, options.seed)?, read.into_vec()))
}

fn split_text(training: &[TrainingRow], replay: &[Ride]) -> String {
    let span = |times: &mut dyn Iterator<Item = Timestamp>| {
        let day = |time: Option<Timestamp>| time.map_or_else(String::new, |time| time.strftime("%Y-%m-%d").to_string());
        let first = times.next();
        let last = times.last().or(first);
        format!("{}…{}", day(first), day(last))
    };
    format!(
        "{} rides to train on ({}), {} to send ({})",
        grouped(training.len() as u64),
        span(&mut training.iter().map(|row| row.requested_at)),
        grouped(replay.len() as u64),
        span(&mut replay.iter().map(|ride| ride.requested_at)),
    )
}
