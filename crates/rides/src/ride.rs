use domain::{Candidate, CandidateId, Inputs, OutcomeEvent, PredictionId, PredictionRequest, UnitId};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use crate::RidesError;

/// The most candidate cars of one ride.
pub const MAX_CARS: usize = 20;

/// How long a rider looks at a time that is too long before giving up, in seconds.
const GIVE_UP_S: f64 = 15.0;

/// A rider asks for a car: what is known at that moment, and what was known only afterwards.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ride {
    /// The prediction's id: the request's time, and bits that are a function of the ride and the source's seed.
    pub prediction_id: PredictionId,
    /// When the rider asks, UTC, whole microseconds.
    pub requested_at: Timestamp,
    /// The rider: the unit that experiments randomise.
    pub rider_id: UnitId,
    /// Where the rider waits.
    pub rider: Place,
    /// The weather at that time.
    pub weather: Weather,
    /// The candidates, 1 to [`MAX_CARS`], each with an id of its own.
    pub cars: Vec<Car>,
    /// Index in `cars` of the car that was sent: by the recorded dispatcher, or by the simulated city's default policy.
    pub driven: usize,
    /// What decides whether the rider cancels. `None` for recorded rides: those all took place.
    pub patience: Option<Patience>,
}

/// A point of the map.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Place {
    /// Latitude, degrees north.
    pub lat_deg: f64,
    /// Longitude, degrees east.
    pub lon_deg: f64,
    /// The city's number for the zone around it.
    pub zone: Option<u32>,
}

/// The weather of a ride; `None` where it is not known.
///
/// The simulated city has the weather *of the hour*. Recorded trips have that *of the local day*, since that is what
/// is published: strictly, a day's sum is known only at its end, so it stands in for the day's forecast. Amounts of the
/// two sources are not comparable: train and serve on one of them.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Weather {
    /// Rain, mm (a day's includes melted snow).
    pub rain_mm: Option<f64>,
    /// Depth of fresh snow, mm.
    pub snow_mm: Option<f64>,
    /// Air temperature, °C (a day's is the mean of its extremes).
    pub temperature_c: Option<f64>,
}

/// A candidate car.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Car {
    /// The car.
    pub candidate_id: CandidateId,
    /// Where it is when the rider asks.
    pub place: Place,
    /// Seconds that it needs to reach the rider, whole microseconds. Known for every car of the simulated city, and
    /// for the driven car alone in recorded trips.
    pub drive_s: Option<f64>,
}

/// What decides whether a simulated rider cancels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Patience {
    /// The longest shown time that the rider accepts, s.
    pub limit_s: f64,
    /// How much later than shown the car may be, s.
    pub grace_s: f64,
}

impl Patience {
    /// Seconds after the request when the rider cancels a car that was shown to need `shown_s` and really needs
    /// `drive_s`; `None` where it is there in time. Longer shown times lose more riders, and so do broken promises.
    pub fn cancels_after_s(&self, shown_s: f64, drive_s: f64) -> Option<f64> {
        let after_s = if shown_s > self.limit_s { GIVE_UP_S } else { shown_s + self.grace_s };
        (after_s < drive_s).then_some(after_s)
    }
}

/// The car that an app sends after it has seen the times of all candidates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dispatch {
    /// Index in [`Ride::cars`].
    pub car: usize,
    /// The time that the rider is shown, s.
    pub shown_s: f64,
}

/// What a model learns from one ride: the inputs that serving sees, and the label.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainingRow {
    /// Event time, UTC.
    pub requested_at: Timestamp,
    /// The request's inputs, the same as in [`Ride::request`].
    pub inputs: Inputs,
    /// The driven car's inputs, the same as in [`Ride::request`].
    pub candidate_inputs: Inputs,
    /// The label: seconds from the request to the driven car's arrival.
    pub drive_s: f64,
}

impl Ride {
    /// What the app asks before any car is assigned.
    ///
    /// Inputs of the request: `rider_lat`, `rider_lon` (degrees), `rider_zone` (integer or null), `rain_mm`, `snow_mm`,
    /// `temperature_c` (number or null). Inputs of a candidate: `car_lat`, `car_lon`, `car_zone`. Model and deadline are
    /// left to the receiver.
    pub fn request(&self) -> PredictionRequest {
        PredictionRequest {
            prediction_id: Some(self.prediction_id),
            model: None,
            unit_id: Some(self.rider_id.clone()),
            ride_id: None,
            requested_at: Some(self.requested_at),
            deadline_ms: None,
            inputs: self.inputs(),
            candidates: self.cars.iter().map(|car| Candidate::new(car.candidate_id.clone(), car.inputs())).collect(),
        }
    }

    /// What a model learns from the ride, or `None` where nobody knows how long the driven car took.
    pub fn training_row(&self) -> Option<TrainingRow> {
        let driven = self.cars.get(self.driven)?;
        Some(TrainingRow {
            requested_at: self.requested_at,
            inputs: self.inputs(),
            candidate_inputs: driven.inputs(),
            drive_s: driven.drive_s?,
        })
    }

    /// The car that is sent once the times of the candidates, in seconds, are `shown`. Where the truth of every car is
    /// known (the simulated city) the app takes the one shown to be first, the earlier in [`Ride::cars`] where two are
    /// equal; in recorded rides the choice was made long ago.
    pub fn dispatch(&self, shown: &[(CandidateId, f64)]) -> Result<Dispatch, RidesError> {
        let shown_for = |car: &Car| shown.iter().find(|(id, _)| *id == car.candidate_id).map(|&(_, shown_s)| shown_s);
        let offered = self.cars.iter().enumerate().filter(|&(index, _)| self.is_free_choice() || index == self.driven);
        offered
            .filter_map(|(car, place)| shown_for(place).map(|shown_s| Dispatch { car, shown_s }))
            .min_by(|a, b| a.shown_s.total_cmp(&b.shown_s))
            .ok_or_else(|| RidesError::NothingShown {
                prediction_id: self.prediction_id.to_string(),
                wanted: if self.is_free_choice() { "any of its cars".to_owned() } else { self.car_name(self.driven) },
            })
    }

    /// What really happens after `dispatch`: an event for the dispatched car, then one for its arrival (at
    /// `requested_at + drive_s`) or for the rider's cancellation. Each is observed when it happens; the app itself
    /// takes no time.
    pub fn outcome(&self, dispatch: Dispatch) -> Result<Vec<OutcomeEvent>, RidesError> {
        let Dispatch { car, shown_s } = dispatch;
        let prediction_id = self.prediction_id;
        if !shown_s.is_finite() || shown_s < 0.0 {
            return Err(RidesError::InvalidShown { prediction_id: prediction_id.to_string(), shown_s });
        }
        let known = self.cars.get(car).and_then(|sent| Some((sent.candidate_id.clone(), sent.drive_s?)));
        let Some((candidate_id, drive_s)) = known else {
            return Err(RidesError::TruthUnknown { prediction_id: prediction_id.to_string(), car: self.car_name(car) });
        };
        let dispatched = OutcomeEvent {
            prediction_id,
            candidate_id: Some(candidate_id),
            observed_at: self.requested_at,
            dispatched_at: Some(self.requested_at),
            arrived_at: None,
            cancelled_at: None,
            metrics: std::collections::BTreeMap::new(),
        };
        let end = OutcomeEvent { dispatched_at: None, ..dispatched.clone() };
        let end = match self.patience.and_then(|patience| patience.cancels_after_s(shown_s, drive_s)) {
            Some(after_s) => {
                let at = later(self.requested_at, after_s);
                OutcomeEvent { observed_at: at, cancelled_at: Some(at), ..end }
            }
            None => {
                let at = later(self.requested_at, drive_s);
                OutcomeEvent { observed_at: at, arrived_at: Some(at), ..end }
            }
        };
        Ok(vec![dispatched, end])
    }

    fn inputs(&self) -> Inputs {
        let mut inputs = self.rider.inputs("rider");
        let Weather { rain_mm, snow_mm, temperature_c } = self.weather;
        for (name, value) in [("rain_mm", rain_mm), ("snow_mm", snow_mm), ("temperature_c", temperature_c)] {
            inputs.insert(name.to_owned(), value.into());
        }
        inputs
    }

    fn is_free_choice(&self) -> bool {
        self.cars.iter().all(|car| car.drive_s.is_some())
    }

    fn car_name(&self, car: usize) -> String {
        self.cars
            .get(car)
            .map_or_else(|| format!("car {car} of {}", self.cars.len()), |car| car.candidate_id.to_string())
    }
}

impl Car {
    fn inputs(&self) -> Inputs {
        self.place.inputs("car")
    }
}

impl Place {
    fn inputs(&self, whose: &str) -> Inputs {
        let zone = self.zone.map_or(Value::Null, Value::from);
        [("lat", self.lat_deg.into()), ("lon", self.lon_deg.into()), ("zone", zone)]
            .map(|(what, value)| (format!("{whose}_{what}"), value))
            .into_iter()
            .collect()
    }
}

/// Seconds in whole microseconds: what an arrival time can express, so that a label computed from one has the same bits.
pub(crate) fn whole_micros(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

/// `moment` and so many seconds, to the microsecond.
pub(crate) fn later(moment: Timestamp, seconds: f64) -> Timestamp {
    let micros = SignedDuration::from_micros((seconds * 1e6).round() as i64);
    moment.checked_add(micros).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use domain::OutcomeState;

    use super::*;

    fn ride(drives_s: &[Option<f64>], patience: Option<Patience>) -> Ride {
        let requested_at: Timestamp = "2018-06-01T12:00:00.123456Z".parse().unwrap();
        let place = |zone| Place { lat_deg: 40.75, lon_deg: -73.98, zone };
        Ride {
            prediction_id: PredictionId::new(requested_at, [7; 10]),
            requested_at,
            rider_id: "rider-1".parse().unwrap(),
            rider: place(Some(4)),
            weather: Weather { rain_mm: Some(1.5), ..Weather::default() },
            cars: drives_s
                .iter()
                .enumerate()
                .map(|(index, &drive_s)| Car {
                    candidate_id: format!("car-{index}").parse().unwrap(),
                    place: place(None),
                    drive_s,
                })
                .collect(),
            driven: 1,
            patience,
        }
    }

    fn shown(times_s: &[f64]) -> Vec<(CandidateId, f64)> {
        // Answers come in any order.
        let named = times_s.iter().enumerate().map(|(index, &s)| (format!("car-{index}").parse().unwrap(), s));
        named.rev().collect()
    }

    #[test]
    fn training_sees_what_serving_sees() {
        let ride = ride(&[Some(100.0), Some(200.5)], None);
        let request = ride.request();
        let row = ride.training_row().unwrap();
        assert_eq!(row.inputs, request.inputs);
        assert_eq!(row.candidate_inputs, request.candidates[1].inputs);
        assert_eq!(row.drive_s, 200.5);
        assert_eq!(request.prediction_id.unwrap().timestamp().to_string(), "2018-06-01T12:00:00.123Z");
        assert_eq!(
            serde_json::to_value(&request.inputs).unwrap(),
            serde_json::json!({"rider_lat": 40.75, "rider_lon": -73.98, "rider_zone": 4,
                "rain_mm": 1.5, "snow_mm": null, "temperature_c": null})
        );
        assert_eq!(
            serde_json::to_value(&request.candidates[0].inputs).unwrap(),
            serde_json::json!({"car_lat": 40.75, "car_lon": -73.98, "car_zone": null})
        );
    }

    #[test]
    fn the_arrival_is_the_label_to_the_bit() {
        let drive_s = whole_micros(1234.56789012);
        let ride = ride(&[Some(drive_s), Some(1.0)], Some(Patience { limit_s: 2000.0, grace_s: 60.0 }));
        let events = ride.outcome(ride.dispatch(&shown(&[1200.0, 1300.0])).unwrap()).unwrap();
        for event in &events {
            event.validate().unwrap();
        }
        let state = OutcomeState::from_events(&events);
        assert_eq!(state.candidate_id.unwrap().as_str(), "car-0");
        assert_eq!(state.dispatched_at, Some(ride.requested_at));
        let micros = state.arrived_at.unwrap().as_microsecond() - ride.requested_at.as_microsecond();
        assert_eq!(micros as f64 / 1e6, drive_s);
        assert_eq!(state.cancelled_at, None);
    }

    #[test]
    fn riders_cancel_long_times_and_broken_promises() {
        let patience = Some(Patience { limit_s: 600.0, grace_s: 100.0 });
        let ride = ride(&[Some(500.0)], patience);
        let end = |shown_s| ride.outcome(Dispatch { car: 0, shown_s }).unwrap().remove(1);
        let after = |at: Option<Timestamp>| at.map(|at| at.duration_since(ride.requested_at).as_secs_f64());
        assert_eq!((after(end(601.0).cancelled_at), end(601.0).arrived_at), (Some(GIVE_UP_S), None));
        assert_eq!(after(end(399.0).cancelled_at), Some(499.0));
        assert_eq!((after(end(400.0).arrived_at), end(400.0).cancelled_at), (Some(500.0), None));
    }

    #[test]
    fn recorded_rides_dispatch_the_driven_car() {
        let ride = ride(&[None, Some(300.0)], None);
        let dispatch = ride.dispatch(&shown(&[10.0, 400.0])).unwrap();
        assert_eq!(dispatch, Dispatch { car: 1, shown_s: 400.0 });
        assert_eq!(ride.outcome(dispatch).unwrap()[1].cancelled_at, None);
        let unknown = ride.outcome(Dispatch { car: 0, shown_s: 10.0 }).unwrap_err();
        assert_eq!(unknown.reason(), "truth_unknown");
        assert!(unknown.to_string().contains("car-0"), "{unknown}");
        assert_eq!(ride.outcome(Dispatch { car: 9, shown_s: 10.0 }).unwrap_err().reason(), "truth_unknown");
        assert_eq!(ride.dispatch(&shown(&[10.0])).unwrap_err().reason(), "nothing_shown");
        assert_eq!(ride.outcome(Dispatch { car: 1, shown_s: f64::NAN }).unwrap_err().reason(), "invalid_shown");
    }
}
