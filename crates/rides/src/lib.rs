//! Rides to train on and to replay.
//!
//! Two sources of one type, [`Ride`]: a seeded [simulated city](city::City), in which the truth of every candidate car
//! is known and riders lose patience, and [recorded trips](tlc::Trips) in the New York TLC's trip-record format, in which
//! only the car that was driven has a truth.
//!
//! [`Ride::request`], [`Ride::training_row`] and [`Ride::outcome`] are what training, replay and load tests use, so
//! that training sees exactly what serving sees.
//!
//! Everything is a function of its seed: the same rides on every machine. Transcendental functions come from `libm`,
//! random numbers from ChaCha.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod city;
mod clock;
mod draw;
mod error;
mod ride;
mod split;
pub mod tlc;

pub use city::{City, CityOptions, Drift};
pub use error::RidesError;
pub use ride::{Car, Dispatch, MAX_CARS, Patience, Place, Ride, TrainingRow, Weather};
pub use split::{Requested, split_by_time};
