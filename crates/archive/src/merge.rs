//! Union without duplicates. The merges are associative, commutative and idempotent: the result depends on which
//! records there are, not on how often or in which order they came.

use std::collections::{BTreeMap, btree_map::Entry};

use bytes::Bytes;
use domain::{OutcomeEvent, PredictionRecord};

use crate::{ArchiveError, Record};

/// The union of sets: each key once, in the archive's order.
pub fn merge<R: Record>(sets: impl IntoIterator<Item = Vec<R>>) -> Vec<R> {
    let mut winners: BTreeMap<R::Key, R> = BTreeMap::new();
    for record in sets.into_iter().flatten() {
        match winners.entry(record.key()) {
            Entry::Vacant(vacant) => {
                vacant.insert(record);
            }
            Entry::Occupied(mut winner) => {
                if record.wins_over(winner.get()) {
                    winner.insert(record);
                }
            }
        }
    }
    winners.into_values().collect()
}

/// One record per prediction id, sorted by id. Where two records of one id differ (a retried request was answered
/// twice), the earlier answer wins, since it is the one that the caller may have acted on; between equal times the
/// smaller content digest.
pub fn merge_predictions(sets: impl IntoIterator<Item = Vec<PredictionRecord>>) -> Vec<PredictionRecord> {
    merge(sets)
}

/// Each event once, by its content, sorted by prediction id, `observed_at` and digest.
pub fn merge_outcomes(sets: impl IntoIterator<Item = Vec<OutcomeEvent>>) -> Vec<OutcomeEvent> {
    merge(sets)
}

/// A file that holds the union of another one and more records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergedFile {
    /// The file.
    pub bytes: Bytes,
    /// How many records it holds.
    pub records: u64,
    /// How many of them the other file did not hold.
    pub added: u64,
}

/// The union of a file and `additions`, to the byte what [`merge`] and a write would give, but without holding the
/// file's records in memory.
///
/// # Errors
/// `existing` cannot be read, or an addition cannot be written.
pub fn merge_into_file<R: Record>(existing: Option<&Bytes>, additions: &[R]) -> Result<MergedFile, ArchiveError> {
    let Some(existing) = existing else {
        let merged = merge([additions.to_vec()]);
        let records = merged.len() as u64;
        let bytes = R::write_sorted(merged.into_iter().map(Ok))?;
        return Ok(MergedFile { bytes, records, added: records });
    };
    match merge_sorted(existing, additions) {
        // Another tool has rewritten the file in another order: its records are all the same taken.
        Err(ArchiveError::Unsorted(_)) => {
            let old = merge([R::read(existing.clone())?]);
            let (old_count, merged) = (old.len() as u64, merge([old, additions.to_vec()]));
            let records = merged.len() as u64;
            let bytes = R::write_sorted(merged.into_iter().map(Ok))?;
            Ok(MergedFile { bytes, records, added: records - old_count })
        }
        result => result,
    }
}

fn merge_sorted<R: Record>(existing: &Bytes, additions: &[R]) -> Result<MergedFile, ArchiveError> {
    let mut last: Option<R::Key> = None;
    let mut old = R::stream(existing.clone())?
        .map(move |record| {
            let record = record?;
            let key = record.key();
            if last.as_ref().is_some_and(|last| *last >= key) {
                return Err(ArchiveError::Unsorted(record.id()));
            }
            last = Some(key.clone());
            Ok((key, record))
        })
        .peekable();
    let mut new = merge([additions.to_vec()]).into_iter().map(|record| (record.key(), record)).peekable();
    let (mut records, mut added) = (0, 0);
    let union = std::iter::from_fn(|| {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return None,
            (Some(Err(_)), _) | (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(Ok((old, _))), Some((new, _))) => old.cmp(new),
        };
        records += 1;
        if order.is_gt() {
            added += 1;
            return new.next().map(|(_, record)| Ok(record));
        }
        let kept = old.next()?.map(|(_, record)| record);
        if order.is_lt() {
            return Some(kept);
        }
        let (_, challenger) = new.next()?;
        Some(kept.map(|kept| if challenger.wins_over(&kept) { challenger } else { kept }))
    });
    let bytes = R::write_sorted(union)?;
    Ok(MergedFile { bytes, records, added })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::samples::{inferences, outcomes, predictions, shadows};

    #[test]
    fn a_tie_is_broken_by_content_even_where_values_are_equal() {
        let (mut plus, mut minus) = (crate::samples::prediction(1), crate::samples::prediction(1));
        plus.candidates[0].prediction = 0.0;
        minus.candidates[0].prediction = -0.0;
        laws(&[plus.clone()], &[minus.clone()], &[plus, minus]);
    }

    #[test]
    fn the_earlier_answer_wins() {
        let early = crate::samples::prediction(1);
        let late = PredictionRecord { answered_at: early.answered_at + jiff::Span::new().seconds(1), ..early.clone() };
        let expected = vec![early.clone()];
        assert_eq!(merge_predictions([vec![late.clone()], vec![early.clone()]]), expected);
        assert_eq!(merge_predictions([vec![early, late]]), expected);
    }

    /// The laws of a semilattice, to the byte.
    fn laws<R: crate::Record>(a: &[R], b: &[R], c: &[R]) {
        let merge = |sets: &[&[R]]| super::merge(sets.iter().map(|set| set.to_vec()));
        let write = |records: &[R]| R::write_sorted(records.iter().cloned().map(Ok)).unwrap();
        let same = |left: Vec<R>, right: Vec<R>, law: &str| {
            assert_eq!(write(&left), write(&right), "{law}");
            assert_eq!(left, right, "{law}");
        };
        same(merge(&[a, b]), merge(&[b, a]), "commutative");
        same(merge(&[&merge(&[a, b]), c]), merge(&[a, &merge(&[b, c])]), "associative");
        let once = merge(&[a, b]);
        same(merge(&[&once, &once, a]), once.clone(), "idempotent");
        let reversed: Vec<R> = a.iter().rev().chain(b).cloned().collect();
        same(merge(&[&reversed]), once.clone(), "order within a set");

        let existing = merge(&[a]);
        let file = merge_into_file(Some(&write(&existing)), b).unwrap();
        assert_eq!(file.bytes, write(&once), "merging into a file");
        assert_eq!((file.records, file.added), (once.len() as u64, (once.len() - existing.len()) as u64));
        assert_eq!(merge_into_file(None, a).unwrap().bytes, write(&existing), "into no file");
        let unsorted: Vec<R> = existing.iter().rev().chain(&existing).cloned().collect();
        assert_eq!(merge_into_file(Some(&write(&unsorted)), b).unwrap(), file, "into a file in another order");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn merging_predictions_is_a_semilattice(a in predictions(), b in predictions(), c in predictions()) {
            laws(&a, &b, &c);
        }

        #[test]
        fn rows_merge_as_their_records_do(a in predictions(), b in predictions(), sorted: bool) {
            let mut additions = crate::PredictionRows::default();
            for record in &b {
                additions.push(record).unwrap();
            }
            prop_assert_eq!(additions.merge_into_file(None).unwrap(), merge_into_file(None, &b).unwrap());
            let existing = merge_predictions([a]);
            let existing: Vec<_> = if sorted { existing } else { existing.into_iter().rev().collect() };
            let file = PredictionRecord::write_sorted(existing.into_iter().map(Ok)).unwrap();
            let merged = additions.merge_into_file(Some(&file)).unwrap();
            prop_assert_eq!(&merged, &merge_into_file(Some(&file), &b).unwrap());
            let mut read = crate::PredictionRows::default();
            prop_assert_eq!(read.push_file(merged.bytes.clone()).unwrap() as u64, merged.records);
            prop_assert_eq!(read.to_records().unwrap(), crate::read_predictions(merged.bytes).unwrap());
        }

        #[test]
        fn merging_shadows_is_a_semilattice(a in shadows(), b in shadows(), c in shadows()) {
            laws(&a, &b, &c);
        }

        #[test]
        fn merging_outcomes_is_a_semilattice(a in outcomes(), b in outcomes(), c in outcomes()) {
            laws(&a, &b, &c);
        }

        #[test]
        fn merging_inferences_is_a_semilattice(a in inferences(), b in inferences(), c in inferences()) {
            laws(&a, &b, &c);
        }

        #[test]
        fn nothing_is_lost_and_nothing_twice(a in predictions(), b in predictions()) {
            let ids: std::collections::BTreeSet<_> = a.iter().chain(&b).map(|record| record.prediction_id).collect();
            let merged = merge_predictions([a.clone(), b.clone()]);
            prop_assert!(merged.iter().map(|record| record.prediction_id).eq(ids));
            prop_assert!(merged.iter().all(|record| a.contains(record) || b.contains(record)));
        }
    }
}
