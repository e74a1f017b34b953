//! The join over batches that are sorted by prediction id, as the archive's hour files are: a few batches are in memory at a
//! time, whatever the hour has.

use std::collections::VecDeque;

use crate::{
    accumulate::HourAccumulator,
    hour::Arrival,
    join::{OutcomeRow, PredictionRow, Truth},
};

/// Some rows of an hour's predictions.
pub trait PredictionBatch {
    /// How many rows.
    fn rows(&self) -> usize;
    /// The id of a row.
    fn id(&self, row: usize) -> [u8; 16];
    /// A row.
    fn row(&self, row: usize) -> PredictionRow<'_>;
}

/// Some rows of an hour's outcomes.
pub trait OutcomeBatch {
    /// How many rows.
    fn rows(&self) -> usize;
    /// The id of a row.
    fn id(&self, row: usize) -> [u8; 16];
    /// A row.
    fn row(&self, row: usize) -> OutcomeRow<'_>;
}

/// Why the batches could not be joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError<E> {
    /// They could not be read.
    #[error(transparent)]
    Source(E),
    /// They are not in ascending order of the prediction ids.
    #[error("the {what} are not sorted by prediction_id")]
    Unsorted {
        /// Which: `predictions` or `outcomes`.
        what: &'static str,
        /// The id that comes after a later or equal one.
        id: [u8; 16],
    },
}

/// Adds all predictions to `hour`, each with the outcome that names it. Both come in ascending order of the prediction ids, the
/// outcomes of one prediction in the archive's order. `arrived` is told the dispatched cars that arrived, in the order of the
/// rows.
///
/// # Errors
/// A batch that cannot be read, or ids that do not ascend.
pub fn join_batches<P: PredictionBatch, O: OutcomeBatch, E>(
    hour: &mut HourAccumulator<'_>,
    predictions: impl IntoIterator<Item = Result<P, E>>,
    outcomes: impl IntoIterator<Item = Result<O, E>>,
    mut arrived: impl FnMut(&PredictionRow<'_>, Arrival),
) -> Result<(), JoinError<E>> {
    let mut truths = Truths::new(outcomes.into_iter())?;
    let mut predictions = predictions.into_iter();
    // Batches whose rows, from `from` in the first one, are not all known of their prediction yet.
    let (mut held, mut from): (Vec<P>, usize) = (Vec::new(), 0);
    let (mut place, mut before) = (0, None);
    loop {
        let next = predictions.next().transpose().map_err(JoinError::Source)?;
        let is_last = next.is_none();
        held.extend(next);
        let rows_of = |number: usize| if number == 0 { from } else { 0 }..held[number].rows();
        let places = || (0..held.len()).flat_map(|number| rows_of(number).map(move |row| (number, row)));
        // The last prediction may go on in the next batch.
        let last = held.iter().rev().find(|batch| batch.rows() > 0).map(|batch| batch.id(batch.rows() - 1));
        let mut open = 0;
        if !is_last {
            let backwards =
                (0..held.len()).rev().flat_map(|number| rows_of(number).rev().map(move |row| (number, row)));
            open = backwards.take_while(|&(number, row)| Some(held[number].id(row)) == last).count();
        }
        let closed = (0..held.len()).map(|number| rows_of(number).len()).sum::<usize>() - open;
        // One prediction's rows at a time: a batch of them would not stay in the cache.
        let mut group: Vec<PredictionRow<'_>> = Vec::new();
        let mut places = places().take(closed).peekable();
        while let Some((number, row)) = places.next() {
            let id = held[number].id(row);
            group.clear();
            group.push(held[number].row(row));
            while let Some((number, row)) = places.next_if(|&(number, row)| held[number].id(row) == id) {
                group.push(held[number].row(row));
            }
            if before.replace(id).is_some_and(|before| before >= id) {
                return Err(JoinError::Unsorted { what: "predictions", id });
            }
            while truths.id.is_some_and(|truth| truth < id) {
                truths.skip()?;
                hour.add_unmatched_outcome();
            }
            let arrival = if truths.id == Some(id) {
                let arrival = hour.add_prediction(&group, truths.truth().as_ref());
                truths.skip()?;
                arrival
            } else {
                hour.add_prediction(&group, None)
            };
            if let Some(arrival) = arrival {
                arrived(&group[arrival.row], Arrival { row: place + arrival.row, ..arrival });
            }
            place += group.len();
        }
        drop(places);
        drop(group);
        let mut first = held.len();
        let mut new_from = 0;
        while open > 0 && first > 0 {
            first -= 1;
            let rows = rows_of(first);
            new_from = rows.end - open.min(rows.len());
            open -= open.min(rows.len());
        }
        held.drain(..first);
        from = new_from;
        if is_last {
            break;
        }
    }
    while truths.id.is_some() {
        truths.skip()?;
        hour.add_unmatched_outcome();
    }
    Ok(())
}

/// The outcomes, one prediction's events at a time.
struct Truths<O, I> {
    batches: I,
    held: VecDeque<O>,
    /// The first event of the prediction at hand, in the first batch.
    row: usize,
    /// Its id; `None` at the end, or before [`Truths::fill`].
    id: Option<[u8; 16]>,
    /// How many events it has.
    events: usize,
}

impl<O: OutcomeBatch, E, I: Iterator<Item = Result<O, E>>> Truths<O, I> {
    fn new(batches: I) -> Result<Self, JoinError<E>> {
        let mut truths = Self { batches, held: VecDeque::new(), row: 0, id: None, events: 0 };
        truths.fill()?;
        Ok(truths)
    }

    /// Finds the prediction at hand and all its events, whose batches are held then.
    fn fill(&mut self) -> Result<(), JoinError<E>> {
        let before = self.id;
        let id = loop {
            match self.held.front() {
                Some(batch) if self.row < batch.rows() => break batch.id(self.row),
                Some(batch) => {
                    self.row -= batch.rows();
                    self.held.pop_front();
                }
                None => match self.batches.next() {
                    Some(batch) => self.held.push_back(batch.map_err(JoinError::Source)?),
                    None => {
                        (self.id, self.events) = (None, 0);
                        return Ok(());
                    }
                },
            }
        };
        if before.is_some_and(|before| before >= id) {
            return Err(JoinError::Unsorted { what: "outcomes", id });
        }
        self.id = Some(id);
        self.events = 1;
        let (mut number, mut row) = (0, self.row + 1);
        loop {
            let Some(batch) = self.held.get(number) else {
                match self.batches.next() {
                    Some(batch) => self.held.push_back(batch.map_err(JoinError::Source)?),
                    None => return Ok(()),
                }
                continue;
            };
            while row < batch.rows() {
                if batch.id(row) != id {
                    return Ok(());
                }
                self.events += 1;
                row += 1;
            }
            (number, row) = (number + 1, 0);
        }
    }

    /// What is known of the prediction at hand.
    fn truth(&self) -> Option<Truth<'_>> {
        let first = self.row;
        let rows = self.held.iter().enumerate().flat_map(|(number, batch)| {
            (if number == 0 { first } else { 0 }..batch.rows()).map(move |row| batch.row(row))
        });
        match self.held.front() {
            Some(batch) if self.events == 1 => Truth::of_rows([batch.row(first)]),
            _ => Truth::of_rows(rows.take(self.events)),
        }
    }

    /// Goes on to the next prediction.
    fn skip(&mut self) -> Result<(), JoinError<E>> {
        self.row += self.events;
        self.fill()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use domain::Tier;
    use proptest::prelude::*;

    use super::*;
    use crate::{EvaluationOptions, HourEvaluation};

    struct Predictions(Vec<(u8, u8)>);

    impl PredictionBatch for Predictions {
        fn rows(&self) -> usize {
            self.0.len()
        }

        fn id(&self, row: usize) -> [u8; 16] {
            [self.0[row].0; 16]
        }

        fn row(&self, row: usize) -> PredictionRow<'_> {
            PredictionRow {
                prediction_id: self.id(row),
                candidate_id: ["a", "b", "c", "d"][usize::from(self.0[row].1)],
                model_version: "1",
                arm: "only",
                tier: Tier::Endpoint,
                requested_at_us: 0,
                prediction_s: f64::from(self.0[row].1) * 100.0,
                uncorrected_s: None,
                fallback_s: 300.0,
                interval: None,
                experiment: None,
                unit_id: None,
                values: &[],
            }
        }
    }

    struct Outcomes(Vec<(u8, u8, Option<u8>)>);

    impl OutcomeBatch for Outcomes {
        fn rows(&self) -> usize {
            self.0.len()
        }

        fn id(&self, row: usize) -> [u8; 16] {
            [self.0[row].0; 16]
        }

        fn row(&self, row: usize) -> OutcomeRow<'_> {
            let (_, at, car) = self.0[row];
            OutcomeRow {
                prediction_id: self.id(row),
                candidate_id: car.map(|car| ["a", "b", "c", "d"][usize::from(car)]),
                observed_at_us: i64::from(at),
                arrived_at_us: car.map(|_| i64::from(at) * 1_000_000),
                cancelled_at_us: car.is_none().then_some(1),
            }
        }
    }

    fn hour() -> domain::Hour {
        "1970-01-01T00".parse().unwrap()
    }

    fn joined(
        predictions: Vec<Vec<(u8, u8)>>,
        outcomes: Vec<Vec<(u8, u8, Option<u8>)>>,
    ) -> Result<(HourEvaluation, Vec<Arrival>), JoinError<Infallible>> {
        let mut accumulator = HourAccumulator::new(EvaluationOptions::default());
        let predictions = predictions.into_iter().map(|rows| Ok(Predictions(rows)));
        let outcomes = outcomes.into_iter().map(|rows| Ok(Outcomes(rows)));
        let mut arrivals = Vec::new();
        join_batches(&mut accumulator, predictions, outcomes, |_, arrival| arrivals.push(arrival))?;
        Ok((accumulator.finish(hour(), &"m".parse().unwrap()), arrivals))
    }

    fn cut<T: Clone>(rows: &[T], lengths: &[usize]) -> Vec<Vec<T>> {
        let mut parts = Vec::new();
        let mut rest = rows;
        for &length in lengths.iter().chain([&rows.len()]) {
            let (part, more) = rest.split_at(length.min(rest.len()));
            parts.push(part.to_vec());
            rest = more;
        }
        parts
    }

    #[test]
    fn what_is_not_sorted_is_refused() {
        let error = joined(vec![vec![(2, 0), (1, 0)]], vec![]).unwrap_err();
        assert_eq!(error.to_string(), "the predictions are not sorted by prediction_id");
        let apart = joined(vec![vec![(1, 0), (2, 0), (1, 1)]], vec![]);
        assert!(matches!(apart, Err(JoinError::Unsorted { what: "predictions", id }) if id == [1; 16]));
        let outcomes = vec![vec![(2, 0, None)], vec![(1, 0, None)]];
        assert!(matches!(joined(vec![], outcomes), Err(JoinError::Unsorted { what: "outcomes", .. })));
    }

    proptest! {
        #[test]
        fn batches_may_end_anywhere(
            mut predictions in prop::collection::vec((0u8..12, 0u8..4), 0..40),
            mut outcomes in prop::collection::vec((0u8..14, 0u8..200, prop::option::of(0u8..4)), 0..30),
            lengths in prop::collection::vec(0usize..9, 0..8), other in prop::collection::vec(0usize..9, 0..8),
        ) {
            predictions.sort_unstable();
            outcomes.sort_unstable();
            let (whole, arrivals) = joined(vec![predictions.clone()], vec![outcomes.clone()]).unwrap();
            let (split, split_arrivals) = joined(cut(&predictions, &lengths), cut(&outcomes, &other)).unwrap();
            prop_assert_eq!(&split, &whole);
            prop_assert_eq!(&split_arrivals, &arrivals);
            let batch = Predictions(predictions.clone());
            let truths: Vec<Truth<'_>> = outcomes
                .chunk_by(|a, b| a.0 == b.0)
                .map(|of_one| Outcomes(of_one.to_vec()))
                .filter_map(|of_one| {
                    let truth = Truth::of_rows((0..of_one.rows()).map(|row| of_one.row(row)))?;
                    Some(Truth { candidate_id: truth.candidate_id.map(|car| ["a", "b", "c", "d"].into_iter().find(|c| *c == car).unwrap()), ..truth })
                })
                .collect();
            let rows = (0..batch.rows()).map(|row| batch.row(row));
            let all = crate::evaluate_truths(hour(), &"m".parse().unwrap(), rows, truths);
            prop_assert_eq!(&all, &whole);
            prop_assert!(arrivals.iter().all(|arrival| arrival.row < predictions.len()));
        }
    }
}
