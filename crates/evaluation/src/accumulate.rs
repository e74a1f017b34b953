//! One hour, added up one prediction at a time: what is kept does not grow with the number of predictions.

use std::collections::BTreeMap;

use domain::{Hour, ModelName, Tier};
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    bounded::{Dimension, DimensionAccumulator},
    experiment::{ExperimentArm, ExperimentStatistics},
    horizon::{HORIZON_NAMES, HORIZONS, horizon_of},
    hour::{Arrival, HourEvaluation},
    join::{ExperimentRow, PredictionRow, Truth, label},
    maturity::MaturityCounts,
    segment::{Label, Observation, Segment, SegmentAccumulator, SegmentStatistics},
    shadow::{ShadowAccumulator, ShadowRow, ShadowSegment, ShadowStatistics},
    units::{UnitAccumulator, UnitSums, unit_hash},
};

/// The dimension of the predicted duration's class, by [`HORIZON_NAMES`].
pub const HORIZON: &str = "horizon";
/// The dimension of the hour of the day in the model's time zone, `00`–`23`.
pub const HOUR_OF_DAY: &str = "hour_of_day";
/// What stands for a value that is not known.
pub const UNKNOWN: &str = "unknown";

/// What an hour's evaluation tells apart besides model version, arm and tier.
#[derive(Debug, Clone, Default)]
pub struct EvaluationOptions<'a> {
    /// The names of the further dimensions, in the order of [`PredictionRow::values`]. `horizon` and `hour_of_day` are always
    /// there.
    pub dimensions: Vec<String>,
    /// The zone of `hour_of_day`; UTC where absent.
    pub time_zone: Option<TimeZone>,
    /// What shadow arms said, sorted by prediction id.
    pub shadows: &'a [ShadowRow<'a>],
}

/// One hour's evaluation in the making. Predictions come in ascending order of their ids, each once.
#[derive(Debug)]
pub struct HourAccumulator<'a> {
    options: EvaluationOptions<'a>,
    segments: Vec<SegmentSlot>,
    /// The slot of the prediction before: most predictions are of the same one.
    last: usize,
    hours_of_day: HoursOfDay,
    dimensions: Vec<DimensionAccumulator>,
    riders: UnitAccumulator,
    maturity: MaturityCounts,
    shadows: BTreeMap<ShadowSegment, ShadowAccumulator>,
    /// The first of `options.shadows` that may be of a prediction to come.
    next_shadow: usize,
    unmatched_outcomes: u64,
    order: Vec<usize>,
}

/// One combination of what is told apart, and what is kept of it.
#[derive(Debug)]
struct SegmentSlot {
    segment: Segment,
    /// The experiment's id, and whether its predictions are excluded from it.
    experiment: Option<(String, bool)>,
    /// By the predicted duration's class (the last: no number) and the hour of the day: few, since an hour of UTC has
    /// two local ones at most. Horizons, hours and segments are all merged from these.
    cells: Vec<(usize, u8, SegmentAccumulator)>,
    excluded: u64,
    units: UnitAccumulator,
}

impl SegmentSlot {
    fn is_of(&self, row: &PredictionRow<'_>) -> bool {
        self.segment.arm == row.arm
            && self.segment.tier == row.tier
            && self.segment.model_version == row.model_version
            && match (&self.experiment, row.experiment) {
                (None, None) => true,
                (Some((id, excluded)), Some(of)) => *excluded == of.excluded && id == of.id,
                _ => false,
            }
    }

    fn of(row: &PredictionRow<'_>) -> Self {
        Self {
            segment: Segment { model_version: row.model_version.to_owned(), arm: row.arm.to_owned(), tier: row.tier },
            experiment: row.experiment.map(|of| (of.id.to_owned(), of.excluded)),
            cells: Vec::new(),
            excluded: 0,
            units: UnitAccumulator::default(),
        }
    }

    fn cell(&mut self, horizon: usize, hour_of_day: u8) -> Option<&mut SegmentAccumulator> {
        let known = self.cells.iter().position(|&(h, d, _)| (h, d) == (horizon, hour_of_day));
        let place = known.unwrap_or_else(|| {
            self.cells.push((horizon, hour_of_day, SegmentAccumulator::default()));
            self.cells.len() - 1
        });
        self.cells.get_mut(place).map(|(_, _, sums)| sums)
    }
}

/// Hours of the day in one zone. The offset is looked up once per quarter of an hour of event time.
#[derive(Debug)]
struct HoursOfDay {
    zone: TimeZone,
    /// A quarter of an hour since 1970, and its hour of the day.
    known: Option<(i64, u8)>,
}

impl HoursOfDay {
    fn of(&mut self, at_us: i64) -> u8 {
        // Offsets are multiples of a quarter of an hour in all zones of today, and change at such instants.
        const QUARTER_US: i64 = 900_000_000;
        let quarter = at_us.div_euclid(QUARTER_US);
        if let Some((_, hour)) = self.known.filter(|(known, _)| *known == quarter) {
            return hour;
        }
        let at = Timestamp::from_microsecond(at_us).unwrap_or_default();
        let hour = self.zone.to_datetime(at).hour().unsigned_abs();
        self.known = Some((quarter, hour));
        hour
    }
}

impl<'a> HourAccumulator<'a> {
    /// An hour without predictions.
    pub fn new(options: EvaluationOptions<'a>) -> Self {
        let mut dimensions = Vec::new();
        dimensions.resize_with(options.dimensions.len(), DimensionAccumulator::default);
        let zone = options.time_zone.clone().unwrap_or(TimeZone::UTC);
        Self {
            options,
            segments: Vec::new(),
            last: 0,
            hours_of_day: HoursOfDay { zone, known: None },
            dimensions,
            riders: UnitAccumulator::default(),
            maturity: MaturityCounts::default(),
            shadows: BTreeMap::new(),
            next_shadow: 0,
            unmatched_outcomes: 0,
            order: Vec::new(),
        }
    }

    /// Counts an outcome that met no prediction.
    pub fn add_unmatched_outcome(&mut self) {
        self.unmatched_outcomes += 1;
    }

    /// Adds one prediction: all its `rows`, repetitions included, and its truth. Where its dispatched car arrived after a
    /// usable time, that row's place among `rows` and the seconds are returned.
    pub fn add_prediction(&mut self, rows: &[PredictionRow<'_>], truth: Option<&Truth<'_>>) -> Option<Arrival> {
        let labelled = label(rows, truth, &mut self.order)?;
        let row = labelled.row;
        let observation = Observation {
            candidates: labelled.candidates,
            label: labelled.label,
            prediction_s: row.prediction_s,
            interval: row.interval,
        };
        let slot = match self.segments.get(self.last) {
            Some(slot) if slot.is_of(row) => self.last,
            _ => self.segments.iter().position(|slot| slot.is_of(row)).unwrap_or_else(|| {
                self.segments.push(SegmentSlot::of(row));
                self.segments.len() - 1
            }),
        };
        self.last = slot;
        let horizon = horizon_of(row.prediction_s).unwrap_or(HORIZONS);
        let hour_of_day = self.hours_of_day.of(row.requested_at_us);
        let slot = &mut self.segments[slot];
        let error_us = slot.cell(horizon, hour_of_day)?.add(&observation);
        for (place, dimension) in self.dimensions.iter_mut().enumerate() {
            dimension.of_mut(row.values.get(place).map_or(UNKNOWN, |value| value)).add(&observation);
        }
        let landed_at_us = truth.and_then(|truth| truth.landed_at_us);
        self.maturity.add(landed_at_us.map(|landed| landed.saturating_sub(row.requested_at_us)));
        add_units(slot, &mut self.riders, row, labelled.label, error_us);
        self.add_shadows(row, labelled.label, error_us);
        let Label::Arrived { actual_us, .. } = labelled.label else { return None };
        error_us?;
        let landed_at_us = landed_at_us.unwrap_or(row.requested_at_us.saturating_add(actual_us));
        Some(Arrival { row: labelled.place, actual_s: actual_us as f64 / 1e6, landed_at_us })
    }

    fn add_shadows(&mut self, row: &PredictionRow<'_>, label: Label, error_us: Option<i64>) {
        let shadows = self.options.shadows;
        while shadows.get(self.next_shadow).is_some_and(|shadow| shadow.prediction_id < row.prediction_id) {
            self.next_shadow += 1;
        }
        let from = self.next_shadow;
        while shadows.get(self.next_shadow).is_some_and(|shadow| shadow.prediction_id == row.prediction_id) {
            self.next_shadow += 1;
        }
        // One per arm and candidate; of several that differ, the least counts, whatever order they came in.
        let mut said: BTreeMap<(&str, &str), Option<&ShadowRow<'_>>> = BTreeMap::new();
        for shadow in &shadows[from..self.next_shadow] {
            let of_candidate = said.entry((shadow.arm, shadow.model_version)).or_default();
            let is_less = |known: &&ShadowRow<'_>| match (known.prediction_s, shadow.prediction_s) {
                (Some(known), Some(new)) => new.total_cmp(&known).is_lt(),
                (known, _) => known.is_none(),
            };
            if shadow.candidate_id == row.candidate_id && of_candidate.as_ref().is_none_or(is_less) {
                *of_candidate = Some(shadow);
            }
        }
        for ((arm, model_version), shadow) in said {
            let segment = ShadowSegment {
                arm: arm.to_owned(),
                model_version: model_version.to_owned(),
                answering_arm: row.arm.to_owned(),
                tier: row.tier,
            };
            let sums = self.shadows.entry(segment).or_default();
            sums.predictions += 1;
            sums.pending += u64::from(matches!(label, Label::Pending { .. }));
            let shadow_s = shadow.and_then(|shadow| shadow.prediction_s);
            sums.failed += u64::from(shadow_s.is_none());
            if let (Some(shadow_s), Label::Arrived { actual_us, .. }, Some(error_us)) = (shadow_s, label, error_us) {
                sums.add(shadow_s, actual_us + error_us, actual_us);
            }
        }
    }

    /// The hour's evaluation.
    pub fn finish(self, hour: Hour, model: &ModelName) -> HourEvaluation {
        let mut segments: BTreeMap<Segment, SegmentStatistics> = BTreeMap::new();
        let mut experiments: BTreeMap<String, ExperimentStatistics> = BTreeMap::new();
        let mut horizons: BTreeMap<String, SegmentStatistics> = BTreeMap::new();
        let mut hours_of_day: BTreeMap<String, SegmentStatistics> = BTreeMap::new();
        for slot in self.segments {
            let of_segment = segments.entry(slot.segment.clone()).or_default();
            for (horizon, hour_of_day, sums) in slot.cells {
                let sums = sums.finish();
                of_segment.merge(&sums);
                let name = HORIZON_NAMES.get(horizon).copied().unwrap_or(UNKNOWN);
                horizons.entry(name.to_owned()).or_default().merge(&sums);
                hours_of_day.entry(format!("{hour_of_day:02}")).or_default().merge(&sums);
            }
            if let Some((id, _)) = slot.experiment {
                let arm = ExperimentArm { excluded: slot.excluded, units: slot.units.finish() };
                let arms = BTreeMap::from([(slot.segment.arm, arm)]);
                experiments.entry(id).or_default().merge(&ExperimentStatistics { arms });
            }
        }
        let further =
            self.options.dimensions.into_iter().zip(self.dimensions.into_iter().map(DimensionAccumulator::finish));
        let mut dimensions: BTreeMap<String, Dimension> = further.collect();
        dimensions.insert(HORIZON.to_owned(), Dimension::of(horizons));
        dimensions.insert(HOUR_OF_DAY.to_owned(), Dimension::of(hours_of_day));
        let shadows: BTreeMap<ShadowSegment, ShadowStatistics> =
            self.shadows.into_iter().map(|(segment, sums)| (segment, sums.finish())).collect();
        HourEvaluation {
            model: model.clone(),
            hour,
            unmatched_outcomes: self.unmatched_outcomes,
            segments,
            dimensions,
            shadows,
            maturity: self.maturity,
            experiments,
            riders: self.riders.finish(),
            features: BTreeMap::new(),
            model_errors: BTreeMap::new(),
        }
    }
}

/// Adds a prediction to what was randomised and to its rider.
fn add_units(
    slot: &mut SegmentSlot,
    riders: &mut UnitAccumulator,
    row: &PredictionRow<'_>,
    label: Label,
    error_us: Option<i64>,
) {
    if row.experiment.is_none() && row.unit_id.is_none() {
        return;
    }
    let is_by_endpoint = row.tier == Tier::Endpoint;
    let mut unit = UnitSums { predictions: 1, not_by_endpoint: u64::from(!is_by_endpoint), ..UnitSums::default() };
    match label {
        Label::Pending { .. } => unit.pending = 1,
        Label::Cancelled => unit.cancelled = 1,
        Label::UnknownCandidate | Label::Arrived { .. } => {}
    }
    if let Some(error_us) = error_us {
        let abs_us = error_us.unsigned_abs();
        unit.joined = 1;
        unit.within_120_s = u64::from(abs_us <= 120_000_000);
        *(if error_us < 0 { &mut unit.late_us } else { &mut unit.early_us }) = abs_us;
    }
    let rider = row.unit_id.map(|unit| unit_hash(unit.as_bytes()));
    match row.experiment {
        Some(ExperimentRow { excluded: true, .. }) => slot.excluded += 1,
        Some(ExperimentRow { randomised_unit, .. }) => {
            let randomised = randomised_unit.map(|unit| unit_hash(unit.as_bytes())).or(rider);
            // Without a unit each prediction was one.
            slot.units.add(randomised.unwrap_or_else(|| unit_hash(&row.prediction_id)), &unit);
        }
        None => {}
    }
    if let Some(rider) = rider.filter(|&rider| rider != 0) {
        riders.add(rider, &unit);
    }
}
