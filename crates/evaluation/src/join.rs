//! Predictions meet their outcomes: a merge join on sorted ids. Hash tables are not needed, since the archive is sorted
//! by id already, and ids may be callers' own, who could choose them to collide.

use std::{cmp::Ordering, collections::HashMap};

use domain::{CandidateId, OutcomeEvent, Tier};
use jiff::Timestamp;

use crate::units::unit_hash;

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
    /// What the fallback expression said, seconds.
    pub fallback_s: f64,
    /// The experiment and what it randomised, where there was one.
    pub experiment: Option<ExperimentRow<'a>>,
    /// The unit (the rider), where the caller named it.
    pub unit_id: Option<&'a str>,
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
}

impl<'a> Truth<'a> {
    /// Folds the events into one truth per prediction, sorted by id: the rule of `OutcomeState::from_events`, without
    /// copies, and with the events' digests only where two were observed at the same instant.
    pub fn from_events(events: &'a [OutcomeEvent]) -> Vec<Self> {
        let mut by_id: Vec<(u128, &OutcomeEvent)> =
            events.iter().map(|event| (u128::from_be_bytes(*event.prediction_id.as_bytes()), event)).collect();
        if !by_id.is_sorted_by_key(|&(id, _)| id) {
            by_id.sort_unstable_by_key(|&(id, _)| id);
        }
        by_id
            .chunk_by_mut(|a, b| a.0 == b.0)
            .map(|of_one| {
                if of_one.len() > 1 {
                    of_one.sort_by(|(_, a), (_, b)| {
                        a.observed_at.cmp(&b.observed_at).then_with(|| a.digest().cmp(&b.digest()))
                    });
                }
                let mut truth = Self {
                    prediction_id: of_one[0].0.to_be_bytes(),
                    candidate_id: None,
                    arrived_at_us: None,
                    cancelled_at_us: None,
                };
                for (_, event) in of_one {
                    truth.candidate_id = event.candidate_id.as_ref().map(CandidateId::as_str).or(truth.candidate_id);
                    truth.arrived_at_us = event.arrived_at.map(Timestamp::as_microsecond).or(truth.arrived_at_us);
                    truth.cancelled_at_us = event.cancelled_at.map(Timestamp::as_microsecond).or(truth.cancelled_at_us);
                }
                truth
            })
            .collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SegmentRef<'a> {
    pub(crate) model_version: &'a str,
    pub(crate) arm: &'a str,
    pub(crate) tier: Tier,
    /// The experiment's id, and whether the prediction is excluded from it.
    pub(crate) experiment: Option<(&'a str, bool)>,
}

/// A [`PredictionRow`] with its segment as a number and its units as hashes: 80 bytes.
#[derive(Debug, Clone, Copy)]
struct Row<'a> {
    id: u128,
    candidate_id: &'a str,
    requested_at_us: i64,
    prediction_s: f64,
    fallback_s: f64,
    /// What was randomised.
    randomised: u64,
    /// The rider; 0 where the caller named none.
    rider: u64,
    segment: u32,
    /// Its place among the rows as they came.
    place: u32,
}

/// What became of one prediction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Label {
    Pending { has_outcome: bool },
    Cancelled,
    UnknownCandidate,
    Arrived { prediction_s: f64, fallback_s: f64, actual_us: i64 },
}

/// One prediction after the join.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Labelled {
    /// Into [`Joiner::segments`].
    pub(crate) segment: usize,
    pub(crate) candidates: u64,
    pub(crate) label: Label,
    /// What was randomised.
    pub(crate) randomised: u64,
    /// The rider; 0 where the caller named none.
    pub(crate) rider: u64,
    /// The place, among the rows as they came, of the row that stands for the prediction.
    pub(crate) row: usize,
}

/// All predictions, sorted by id.
pub(crate) struct Joiner<'a> {
    rows: Vec<Row<'a>>,
    pub(crate) segments: Vec<SegmentRef<'a>>,
}

impl<'a> Joiner<'a> {
    pub(crate) fn new(predictions: impl IntoIterator<Item = PredictionRow<'a>>) -> Self {
        let mut interner = Interner::default();
        let mut rows: Vec<Row<'a>> = predictions
            .into_iter()
            .zip(0_u32..)
            .map(|(row, number)| {
                let rider = row.unit_id.map(|unit| unit_hash(unit.as_bytes()));
                let randomised = match row.experiment {
                    Some(ExperimentRow { randomised_unit: Some(unit), .. }) => unit_hash(unit.as_bytes()),
                    // Without a unit each prediction was one.
                    _ => rider.unwrap_or_else(|| unit_hash(&row.prediction_id)),
                };
                Row {
                    id: u128::from_be_bytes(row.prediction_id),
                    candidate_id: row.candidate_id,
                    requested_at_us: row.requested_at_us,
                    prediction_s: row.prediction_s,
                    fallback_s: row.fallback_s,
                    randomised,
                    rider: rider.unwrap_or(0),
                    segment: interner.intern(SegmentRef {
                        model_version: row.model_version,
                        arm: row.arm,
                        tier: row.tier,
                        experiment: row.experiment.map(|experiment| (experiment.id, experiment.excluded)),
                    }),
                    place: number,
                }
            })
            .collect();
        if !rows.is_sorted_by_key(|row| row.id) {
            rows.sort_unstable_by_key(|row| row.id);
        }
        Self { rows, segments: interner.segments }
    }

    /// Calls `each` once per prediction; returns how many of `truths` (sorted by id, one per id) met no prediction.
    pub(crate) fn join(&mut self, truths: &[Truth<'_>], mut each: impl FnMut(Labelled)) -> u64 {
        let mut truths = truths.iter().peekable();
        let mut unmatched = 0;
        for rows in self.rows.chunk_by_mut(|a, b| a.id == b.id) {
            let id = rows[0].id.to_be_bytes();
            while truths.next_if(|truth| truth.prediction_id < id).is_some() {
                unmatched += 1;
            }
            let truth = truths.next_if(|truth| truth.prediction_id == id);
            each(label(rows, &self.segments, truth));
        }
        unmatched + truths.count() as u64
    }
}

/// `rows` are of one prediction, at least one.
fn label(rows: &mut [Row<'_>], segments: &[SegmentRef<'_>], truth: Option<&Truth<'_>>) -> Labelled {
    let mut candidates = 1;
    let mut first = 0;
    if rows.len() > 1 {
        // Of rows that name the same candidate the first in this order counts, whatever order they came in.
        rows.sort_unstable_by(|a, b| a.candidate_id.cmp(b.candidate_id).then_with(|| by_content(a, b, segments)));
        candidates = rows.chunk_by(|a, b| a.candidate_id == b.candidate_id).count() as u64;
        first = (1..rows.len()).fold(0, |best, other| {
            if by_content(&rows[other], &rows[best], segments) == Ordering::Less { other } else { best }
        });
    }
    let dispatched = truth
        .and_then(|truth| truth.candidate_id)
        .and_then(|candidate_id| rows.iter().find(|row| row.candidate_id == candidate_id));
    let Row { segment, randomised, rider, place, .. } = *dispatched.unwrap_or(&rows[first]);
    let label = match truth {
        None => Label::Pending { has_outcome: false },
        Some(Truth { arrived_at_us: Some(arrived_at_us), .. }) => match dispatched {
            Some(row) => Label::Arrived {
                prediction_s: row.prediction_s,
                fallback_s: row.fallback_s,
                actual_us: arrived_at_us.saturating_sub(row.requested_at_us),
            },
            None => Label::UnknownCandidate,
        },
        Some(Truth { cancelled_at_us: Some(_), .. }) => Label::Cancelled,
        Some(_) => Label::Pending { has_outcome: true },
    };
    Labelled { segment: segment as usize, candidates, label, randomised, rider, row: place as usize }
}

/// An order of rows that knows nothing of the order they came in.
fn by_content(a: &Row<'_>, b: &Row<'_>, segments: &[SegmentRef<'_>]) -> Ordering {
    a.requested_at_us
        .cmp(&b.requested_at_us)
        .then_with(|| segments[a.segment as usize].cmp(&segments[b.segment as usize]))
        .then_with(|| a.prediction_s.total_cmp(&b.prediction_s))
        .then_with(|| a.fallback_s.total_cmp(&b.fallback_s))
        .then_with(|| (a.randomised, a.rider).cmp(&(b.randomised, b.rider)))
}

/// Numbers segments. An hour has a handful: those are found by comparing, the rest by hashing.
#[derive(Default)]
struct Interner<'a> {
    segments: Vec<SegmentRef<'a>>,
    numbers: HashMap<SegmentRef<'a>, u32>,
}

impl<'a> Interner<'a> {
    fn intern(&mut self, segment: SegmentRef<'a>) -> u32 {
        if let Some(number) = self.segments.iter().take(8).position(|known| *known == segment) {
            return number as u32;
        }
        *self.numbers.entry(segment).or_insert_with(|| {
            self.segments.push(segment);
            self.segments.len() as u32 - 1
        })
    }
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
            fallback_s: 400.0,
            experiment: None,
            unit_id: None,
        }
    }

    fn truth(id: u8, candidate_id: Option<&str>, arrived_s: Option<i64>, cancelled_s: Option<i64>) -> Truth<'_> {
        let at = |s: i64| REQUESTED_US + s * 1_000_000;
        Truth {
            prediction_id: [id; 16],
            candidate_id,
            arrived_at_us: arrived_s.map(at),
            cancelled_at_us: cancelled_s.map(at),
        }
    }

    fn joined(rows: &[PredictionRow<'_>], truths: &[Truth<'_>]) -> (Vec<Labelled>, u64) {
        let mut labelled = Vec::new();
        let unmatched = Joiner::new(rows.iter().copied()).join(truths, |one| labelled.push(one));
        (labelled, unmatched)
    }

    #[test]
    fn only_the_dispatched_candidate_meets_its_truth() {
        let other = PredictionRow { prediction_s: 200.0, ..row(2, "b") };
        let (labelled, unmatched) = joined(&[row(2, "a"), other, row(2, "c")], &[truth(2, Some("b"), Some(250), None)]);
        assert_eq!(unmatched, 0);
        let label = Label::Arrived { prediction_s: 200.0, fallback_s: 400.0, actual_us: 250_000_000 };
        let [one] = labelled[..] else { panic!("{labelled:?}") };
        assert_eq!((one.segment, one.candidates, one.label, one.row, one.rider), (0, 3, label, 1, 0));
        assert_eq!(one.randomised, unit_hash(&[2; 16]), "without a unit the prediction is one");
    }

    #[test]
    fn each_kind_of_outcome_is_told_apart() {
        let rows: Vec<_> = (2..8).map(|id| row(id, "a")).collect();
        let truths = [
            truth(1, Some("a"), Some(9), None),
            truth(2, Some("b"), Some(9), None),
            truth(3, None, Some(9), None),
            truth(4, None, None, Some(9)),
            truth(5, Some("a"), None, None),
            truth(6, Some("a"), Some(9), Some(3)),
            truth(8, None, None, Some(9)),
        ];
        let (labelled, unmatched) = joined(&rows, &truths);
        assert_eq!(unmatched, 2);
        let labels: Vec<_> = labelled.iter().map(|one| one.label).collect();
        let arrived = Label::Arrived { prediction_s: 300.0, fallback_s: 400.0, actual_us: 9_000_000 };
        assert_eq!(
            labels,
            [
                Label::UnknownCandidate,
                Label::UnknownCandidate,
                Label::Cancelled,
                Label::Pending { has_outcome: true },
                arrived,
                Label::Pending { has_outcome: false },
            ]
        );
    }

    #[test]
    fn many_segments_keep_their_numbers() {
        let versions: Vec<String> = (0..30).map(|i| i.to_string()).collect();
        let mut interner = Interner::default();
        for _ in 0..2 {
            for (number, version) in versions.iter().enumerate() {
                let segment = SegmentRef { model_version: version, arm: "a", tier: Tier::Fallback, experiment: None };
                assert_eq!(interner.intern(segment) as usize, number);
            }
        }
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
            }
        }
    }
}
