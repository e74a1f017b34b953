//! Recorded trips in the trip-record format of New York's Taxi and Limousine Commission (TLC).
//!
//! A trip becomes a [`Ride`](crate::Ride) like this: the car drives from the pick-up zone's centroid to a rider at the
//! drop-off zone's centroid, and the trip's duration is its drive time. Only what is known *before* the drive becomes an
//! input; distance, fares and rate code of a record are known after it and are never read.
//!
//! [`Trips::read`] reads CSV, gzip-compressed CSV and Parquet into 24 bytes a trip, and [`Recording`] makes rides of them
//! one by one: ten million trips stay well below one GiB.
//!
//! ```no_run
//! use rides::tlc::{DailyWeather, Recording, TripRules, Trips, Zones};
//!
//! let zones = Zones::read("zones.csv".as_ref())?;
//! let trips = Trips::read("trips.parquet".as_ref(), &zones, &TripRules::default(), &mut |_| {})?;
//! println!("{} trips; {}", trips.len(), trips.rejected());
//! let recording = Recording::new(zones, DailyWeather::default(), 42)?;
//! for ride in recording.rides(trips.as_slice()) {
//!     println!("{}", ride.requested_at);
//! }
//! # Ok::<(), rides::RidesError>(())
//! ```

mod clean;
mod csv_file;
mod local_time;
mod parquet_file;
mod recording;
mod rejected;
mod source;
mod trips;
mod weather;
mod zones;

pub use clean::TripRules;
pub use recording::Recording;
pub use rejected::{At, Count, Reason, Rejected};
pub use trips::{Progress, Trip, Trips};
pub use weather::DailyWeather;
pub use zones::{Zone, Zones};
