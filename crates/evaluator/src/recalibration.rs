//! What the latest outcomes say for a model's next release.

use std::{collections::BTreeSet, sync::Arc};

use cloud::object_store::GetObject;
use domain::{
    Hour, ModelName, Release, Tier,
    lake::{self, Partition, Table},
};
use evaluation::{LandedRide, Recalibration, RecalibrationOptions, recalibrate};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    EvaluatorError,
    handler::{file, unreadable},
    hour_files::{Breakdown, HourContents, evaluate_files},
};

/// The interval and the costs where the release has no promise.
const DEFAULT_INTERVAL: f64 = 0.8;
const DEFAULT_SHOWN: f64 = 0.5;

/// A recalibration, with what it is of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecalibrationRun {
    /// The first hour of predictions, UTC.
    pub from: Hour,
    /// The last hour of predictions, UTC.
    pub until: Hour,
    /// Hours that have predictions.
    pub hours: usize,
    /// What the rides say.
    #[serde(flatten)]
    pub recalibration: Recalibration,
}

struct OwnedRide {
    landed_at_us: i64,
    requested_at_us: i64,
    zone: Arc<str>,
    hour_of_day: u8,
    predicted_s: f64,
    actual_s: f64,
}

/// Recalibrates what the endpoints of `release` said, from the archive's hours `from` to `until`: rides whose car arrived, that a
/// model version of the release's arms answered, as it answered before any correction. `read` is told each hour that was read.
///
/// # Errors
/// A lake that does not answer, a file that cannot be read, or too few rides.
pub async fn recalibrate_release<S: GetObject>(
    store: &S,
    model: &ModelName,
    release: &Release,
    (from, until): (Hour, Hour),
    mut read: impl FnMut(Hour),
) -> Result<RecalibrationRun, EvaluatorError> {
    let arms = release.arms.iter().chain(&release.second);
    let versions: BTreeSet<&str> = arms.map(|arm| arm.model_version.as_str()).collect();
    let breakdown = Breakdown::uncorrected(release);
    let plan = release.evaluation.clone().unwrap_or_default();
    let zone_of_time = plan.zone_of_time().unwrap_or(jiff::tz::TimeZone::UTC);
    let no_zone: Arc<str> = "".into();
    let mut landed: Vec<OwnedRide> = Vec::new();
    let (mut hours, mut hour) = (0, from);
    while hour <= until {
        let partition = |table| lake::hour_file(&Partition { table, hour });
        if let Some(predictions) = file(store, &partition(Table::Predictions(model.clone()))).await? {
            let outcomes = file(store, &partition(Table::Outcomes)).await?.map(|object| object.bytes);
            let contents = HourContents { predictions: Some(predictions.bytes), outcomes, shadows: None };
            let evaluated = evaluate_files(hour, model, &contents, &breakdown, |row, arrival| {
                if row.tier == Tier::Fallback || !versions.contains(row.model_version) {
                    return;
                }
                let at = Timestamp::from_microsecond(row.requested_at_us).unwrap_or_default();
                landed.push(OwnedRide {
                    landed_at_us: arrival.landed_at_us,
                    requested_at_us: row.requested_at_us,
                    // After the spec, which is always told apart.
                    zone: row.values.get(1).unwrap_or(&no_zone).clone(),
                    hour_of_day: zone_of_time.to_datetime(at).hour().unsigned_abs(),
                    predicted_s: row.prediction_s,
                    actual_s: arrival.actual_s,
                });
            });
            evaluated.map_err(|error| unreadable(model, hour, error))?;
            hours += 1;
        }
        read(hour);
        hour = hour.plus(1);
    }
    let rides: Vec<LandedRide<'_>> = landed
        .iter()
        .map(|one| LandedRide {
            landed_at_us: one.landed_at_us,
            requested_at_us: one.requested_at_us,
            zone: &one.zone,
            hour_of_day: one.hour_of_day,
            predicted_s: one.predicted_s,
            actual_s: one.actual_s,
        })
        .collect();
    let promise = release.promise.as_ref();
    let options = RecalibrationOptions {
        time_zone: plan.time_zone.as_deref(),
        zone_input: plan.zone_input.as_deref(),
        interval: promise.map_or(DEFAULT_INTERVAL, |promise| promise.interval),
        shown: promise.map_or(DEFAULT_SHOWN, |promise| promise.late_cost / (promise.late_cost + promise.early_cost)),
        ..RecalibrationOptions::default()
    };
    let recalibration = recalibrate(&rides, &options)?;
    Ok(RecalibrationRun { from, until, hours, recalibration })
}
