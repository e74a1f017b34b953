//! Predictions meet their outcomes: a merge join on sorted ids. Hash tables are not needed, since the archive is sorted
//! by id already, and ids may be callers' own, who could choose them to collide.

use std::{cmp::Ordering, sync::Arc};

use domain::{CandidateId, OutcomeEvent, Tier};
use jiff::Timestamp;

use crate::segment::Label;

/// One candidate of one prediction, borrowed from wherever it was read. Durations in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PredictionRow<'a> {
    /// The 16 bytes of the prediction's id (`PredictionId::as_bytes`).
    pub prediction_id: [u8; 16],
    /// The candidate.
    pub candidate_id: &'a str,
    /// The version of the model that answered, or that was asked where none did.
    pub model_version: &'a str,
    /// The arm.
    pub arm: &'a str,
    /// The tier that answered.
    pub tier: Tier,
    /// Event time, microseconds since 1970-01-01 UTC.
    pub requested_at_us: i64,
    /// The answer: seconds from the request until the candidate arrives.
    pub prediction_s: f64,
    /// What the endpoint itself had said, where the release's correction changed that; seconds.
    pub uncorrected_s: Option<f64>,
    /// What the fallback expression said, seconds.
    pub fallback_s: f64,
    /// The lower and the upper end of the answered interval, where there was one; seconds.
    pub interval: Option<[f64; 2]>,
    /// The experiment and what it randomised, where there was one.
    pub experiment: Option<ExperimentRow<'a>>,
    /// The unit (the rider), where the caller named it.
    pub unit_id: Option<&'a str>,
    /// The value of each further dimension, in the order of `EvaluationOptions::dimensions`. What is missing is unknown.
    pub values: &'a [Arc<str>],
}

/// How a prediction came to its arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExperimentRow<'a> {
    /// The experiment's id.
    pub id: &'a str,
    /// What was randomised, where that is not the unit: a zone in a time slot.
    pub randomised_unit: Option<&'a str>,
    /// The record does not count in the experiment: its arm was forced, or it lies in a slot's carry-over.
    pub excluded: bool,
}

/// One outcome event, borrowed. Times in microseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutcomeRow<'a> {
    /// The 16 bytes of the prediction's id.
    pub prediction_id: [u8; 16],
    /// The dispatched candidate.
    pub candidate_id: Option<&'a str>,
    /// When the reporting system learnt of it.
    pub observed_at_us: i64,
    /// When the candidate arrived.
    pub arrived_at_us: Option<i64>,
    /// When the ride was cancelled.
    pub cancelled_at_us: Option<i64>,
}

/// All that is known of one prediction's outcome, from all its events, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Truth<'a> {
    /// The 16 bytes of the prediction's id.
    pub prediction_id: [u8; 16],
    /// The dispatched candidate.
    pub candidate_id: Option<&'a str>,
    /// When it arrived, microseconds since 1970-01-01 UTC.
    pub arrived_at_us: Option<i64>,
    /// When the ride was cancelled, microseconds since 1970-01-01 UTC.
    pub cancelled_at_us: Option<i64>,
    /// When an arrival or a cancellation was first reported (`observed_at`), microseconds since 1970-01-01 UTC.
    pub landed_at_us: Option<i64>,
}

impl<'a> Truth<'a> {
    fn unknown(prediction_id: [u8; 16]) -> Self {
        Self { prediction_id, candidate_id: None, arrived_at_us: None, cancelled_at_us: None, landed_at_us: None }
    }

    /// Takes a later event of the same prediction: the fields that it has replace those that were known.
    fn fold(&mut self, event: &OutcomeRow<'a>) {
        self.candidate_id = event.candidate_id.or(self.candidate_id);
        self.arrived_at_us = event.arrived_at_us.or(self.arrived_at_us);
        self.cancelled_at_us = event.cancelled_at_us.or(self.cancelled_at_us);
        if event.arrived_at_us.is_some() || event.cancelled_at_us.is_some() {
            let landed = self.landed_at_us.unwrap_or(event.observed_at_us);
            self.landed_at_us = Some(landed.min(event.observed_at_us));
        }
    }

    /// Folds the events of one prediction, at least one, in the archive's order (`observed_at`, then the event's digest).
    pub fn of_rows(events: impl IntoIterator<Item = OutcomeRow<'a>>) -> Option<Self> {
        let mut events = events.into_iter();
        let first = events.next()?;
        let mut truth = Self::unknown(first.prediction_id);
        truth.fold(&first);
        events.for_each(|event| truth.fold(&event));
        Some(truth)
    }

    /// Folds the events into one truth per prediction, sorted by id: the rule of `OutcomeState::from_events`, without
    /// copies, and with the events' digests only where two were observed at the same instant.
    pub fn from_events(events: &'a [OutcomeEvent]) -> Vec<Self> {
        let mut by_id: Vec<(u128, &OutcomeEvent)> =
            events.iter().map(|event| (u128::from_be_bytes(*event.prediction_id.as_bytes()), event)).collect();
        if !by_id.is_sorted_by_key(|&(id, _)| id) {
            by_id.sort_unstable_by_key(|&(id, _)| id);
        }
        let row = |event: &'a OutcomeEvent| OutcomeRow {
            prediction_id: *event.prediction_id.as_bytes(),
            candidate_id: event.candidate_id.as_ref().map(CandidateId::as_str),
            observed_at_us: event.observed_at.as_microsecond(),
            arrived_at_us: event.arrived_at.map(Timestamp::as_microsecond),
            cancelled_at_us: event.cancelled_at.map(Timestamp::as_microsecond),
        };
        by_id
            .chunk_by_mut(|a, b| a.0 == b.0)
            .filter_map(|of_one| {
                if of_one.len() > 1 {
                    of_one.sort_by(|(_, a), (_, b)| {
                        a.observed_at.cmp(&b.observed_at).then_with(|| a.digest().cmp(&b.digest()))
                    });
                }
                Self::of_rows(of_one.iter().map(|(_, event)| row(event)))
            })
            .collect()
    }
}

/// What became of one prediction, and the row that stands for it: the dispatched candidate's where that is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Labelled<'r, 'a> {
    pub(crate) row: &'r PredictionRow<'a>,
    /// Its place among `rows`.
    pub(crate) place: usize,
    /// Distinct candidates.
    pub(crate) candidates: u64,
    pub(crate) label: Label,
}

/// `rows` are of one prediction. `order` is a buffer. `None` where there is no row.
pub(crate) fn label<'r, 'a>(
    rows: &'r [PredictionRow<'a>],
    truth: Option<&Truth<'_>>,
    order: &mut Vec<usize>,
) -> Option<Labelled<'r, 'a>> {
    let mut candidates = 1;
    let mut first = 0;
    if rows.len() > 1 {
        // Of rows that name the same candidate the first in this order counts, whatever order they came in.
        order.clear();
        order.extend(0..rows.len());
        order.sort_unstable_by(|&a, &b| {
            let (a, b) = (&rows[a], &rows[b]);
            a.candidate_id.cmp(b.candidate_id).then_with(|| by_content(a, b))
        });
        candidates = order.chunk_by(|&a, &b| rows[a].candidate_id == rows[b].candidate_id).count() as u64;
        first = order.iter().copied().fold(order[0], |best, other| {
            if by_content(&rows[other], &rows[best]) == Ordering::Less { other } else { best }
        });
    }
    let dispatched = truth.and_then(|truth| truth.candidate_id).and_then(|candidate_id| match rows {
        [only] => (only.candidate_id == candidate_id).then_some(0),
        _ => order.iter().copied().find(|&place| rows[place].candidate_id == candidate_id),
    });
    let place = dispatched.unwrap_or(first);
    let row = rows.get(place)?;
    let label = match truth {
        None => Label::Pending { has_outcome: false },
        Some(Truth { arrived_at_us: Some(arrived_at_us), .. }) => match dispatched {
            Some(_) => Label::Arrived {
                prediction_s: row.prediction_s,
                fallback_s: row.fallback_s,
                actual_us: arrived_at_us.saturating_sub(row.requested_at_us),
            },
            None => Label::UnknownCandidate,
        },
        Some(Truth { cancelled_at_us: Some(_), .. }) => Label::Cancelled,
        Some(_) => Label::Pending { has_outcome: true },
    };
    Some(Labelled { row, place, candidates, label })
}

/// An order of rows that knows nothing of the order they came in.
fn by_content<'a>(a: &PredictionRow<'a>, b: &PredictionRow<'a>) -> Ordering {
    let experiment = |row: &PredictionRow<'a>| row.experiment.map(|one| (one.id, one.excluded));
    let units = |row: &PredictionRow<'a>| (row.experiment.and_then(|one| one.randomised_unit), row.unit_id);
    let interval = |row: &PredictionRow<'_>| row.interval.map(|ends| ends.map(f64::to_bits));
    let uncorrected = |row: &PredictionRow<'_>| row.uncorrected_s.map(f64::to_bits);
    a.requested_at_us
        .cmp(&b.requested_at_us)
        .then_with(|| (a.model_version, a.arm, a.tier).cmp(&(b.model_version, b.arm, b.tier)))
        .then_with(|| experiment(a).cmp(&experiment(b)))
        .then_with(|| a.prediction_s.total_cmp(&b.prediction_s))
        .then_with(|| a.fallback_s.total_cmp(&b.fallback_s))
        .then_with(|| uncorrected(a).cmp(&uncorrected(b)))
        .then_with(|| units(a).cmp(&units(b)))
        .then_with(|| interval(a).cmp(&interval(b)))
        .then_with(|| a.values.cmp(b.values))
}

#[cfg(test)]
mod tests {
    use domain::{OutcomeState, PredictionId};
    use proptest::prelude::*;

    use super::*;

    const REQUESTED_US: i64 = 1_700_000_000_000_000;

    fn row(id: u8, candidate_id: &str) -> PredictionRow<'_> {
        PredictionRow {
            prediction_id: [id; 16],
            candidate_id,
            model_version: "1",
            arm: "control",
            tier: Tier::Endpoint,
            requested_at_us: REQUESTED_US,
            prediction_s: 300.0,
            uncorrected_s: None,
            fallback_s: 400.0,
            interval: None,
            experiment: None,
            unit_id: None,
            values: &[],
        }
    }

    fn truth(id: u8, candidate_id: Option<&str>, arrived_s: Option<i64>, cancelled_s: Option<i64>) -> Truth<'_> {
        let at = |s: i64| REQUESTED_US + s * 1_000_000;
        Truth {
            prediction_id: [id; 16],
            candidate_id,
            arrived_at_us: arrived_s.map(at),
            cancelled_at_us: cancelled_s.map(at),
            landed_at_us: arrived_s.or(cancelled_s).map(at),
        }
    }

    fn labelled<'r, 'a>(rows: &'r [PredictionRow<'a>], truth: Option<&Truth<'_>>) -> Labelled<'r, 'a> {
        label(rows, truth, &mut Vec::new()).unwrap()
    }

    #[test]
    fn only_the_dispatched_candidate_meets_its_truth() {
        let rows = [row(2, "a"), PredictionRow { prediction_s: 200.0, ..row(2, "b") }, row(2, "c")];
        let one = labelled(&rows, Some(&truth(2, Some("b"), Some(250), None)));
        let label = Label::Arrived { prediction_s: 200.0, fallback_s: 400.0, actual_us: 250_000_000 };
        assert_eq!((one.candidates, one.label, one.place), (3, label, 1));
    }

    #[test]
    fn each_kind_of_outcome_is_told_apart() {
        let rows = [row(2, "a")];
        let label = |truth: Option<Truth<'_>>| labelled(&rows, truth.as_ref()).label;
        assert_eq!(label(Some(truth(2, Some("b"), Some(9), None))), Label::UnknownCandidate);
        assert_eq!(label(Some(truth(2, None, Some(9), None))), Label::UnknownCandidate);
        assert_eq!(label(Some(truth(2, None, None, Some(9)))), Label::Cancelled);
        assert_eq!(label(Some(truth(2, Some("a"), None, None))), Label::Pending { has_outcome: true });
        let arrived = Label::Arrived { prediction_s: 300.0, fallback_s: 400.0, actual_us: 9_000_000 };
        assert_eq!(label(Some(truth(2, Some("a"), Some(9), Some(3)))), arrived);
        assert_eq!(label(None), Label::Pending { has_outcome: false });
    }

    fn event() -> impl Strategy<Value = OutcomeEvent> {
        (0u8..4, 0i64..3, prop::option::of(0u8..3), prop::option::of(0i64..9), prop::option::of(0i64..9)).prop_map(
            |(id, observed_s, candidate, arrived_s, cancelled_s)| {
                let at = |s: i64| Timestamp::from_microsecond(REQUESTED_US + s * 1_000_000).unwrap();
                OutcomeEvent {
                    prediction_id: PredictionId::new(at(0), [id; 10]),
                    candidate_id: candidate.map(|c| format!("car-{c}").parse().unwrap()),
                    observed_at: at(observed_s),
                    dispatched_at: None,
                    arrived_at: arrived_s.map(at),
                    cancelled_at: cancelled_s.map(at),
                    metrics: std::collections::BTreeMap::new(),
                }
            },
        )
    }

    proptest! {
        #[test]
        fn folds_as_the_vocabulary_says(events in prop::collection::vec(event(), 0..12)) {
            let truths = Truth::from_events(&events);
            prop_assert!(truths.is_sorted_by(|a, b| a.prediction_id < b.prediction_id));
            for truth in truths {
                let of_one = events.iter().filter(|event| *event.prediction_id.as_bytes() == truth.prediction_id);
                let state = OutcomeState::from_events(of_one);
                prop_assert_eq!(truth.candidate_id, state.candidate_id.as_ref().map(CandidateId::as_str));
                prop_assert_eq!(truth.arrived_at_us, state.arrived_at.map(Timestamp::as_microsecond));
                prop_assert_eq!(truth.cancelled_at_us, state.cancelled_at.map(Timestamp::as_microsecond));
                let landed = events
                    .iter()
                    .filter(|event| *event.prediction_id.as_bytes() == truth.prediction_id)
                    .filter(|event| event.arrived_at.is_some() || event.cancelled_at.is_some());
                prop_assert_eq!(truth.landed_at_us, landed.map(|event| event.observed_at.as_microsecond()).min());
            }
        }
    }
}
