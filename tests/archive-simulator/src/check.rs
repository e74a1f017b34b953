//! What must hold at a history's end.

use std::collections::BTreeSet;

use archive::{read_outcomes, read_predictions};
use domain::{OutcomeEvent, PredictionId, lake};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::{End, Error, workload::Workload};

/// A history without faults has archived its workload: every record once, nothing else, nothing left behind, and the
/// evaluation counts just that. Independent of the comparison with other histories.
pub(crate) fn complete(seed: u64, small: bool, end: &End) -> Result<(), Error> {
    let workload = Workload::new(ChaCha8Rng::seed_from_u64(seed), small)?;
    let unreadable = |error: archive::ArchiveError| Error::new(error.to_string());
    let (mut predictions, mut events, mut kept, mut quarantined) = (Vec::new(), Vec::new(), 0, 0);
    for (key, bytes) in &end.contents {
        if key.starts_with("archive/predictions/") {
            let records = read_predictions(bytes.clone()).map_err(unreadable)?;
            predictions.extend(records.iter().map(|record| record.prediction_id));
        } else if key.starts_with("archive/outcomes/") {
            events.extend(read_outcomes(bytes.clone()).map_err(unreadable)?.iter().map(OutcomeEvent::digest));
        } else if key.starts_with(lake::LANDING) {
            kept += 1;
        } else if key.starts_with(lake::SEGMENTS) {
            return Err(Error::new(format!("`{key}` is left")));
        } else if key.starts_with(lake::QUARANTINE) {
            quarantined += 1;
        }
    }
    once("predictions", &predictions, &workload.predictions)?;
    once("outcome events", &events, &workload.events)?;
    let counted = end.evaluation.figures.counts.predictions;
    if (kept, quarantined) != (workload.kept, workload.quarantined) || counted != workload.predictions.len() as u64 {
        return Err(Error::new(format!(
            "{kept} landing objects kept, {quarantined} lines in quarantine, {counted} predictions evaluated; expected \
             {}, {}, {}",
            workload.kept,
            workload.quarantined,
            workload.predictions.len()
        )));
    }
    Ok(())
}

fn once<T: Ord + Clone>(what: &str, found: &[T], expected: &BTreeSet<T>) -> Result<(), Error> {
    let distinct: BTreeSet<T> = found.iter().cloned().collect();
    let (lost, strange) = (expected.difference(&distinct).count(), distinct.difference(expected).count());
    let twice = found.len() - distinct.len();
    if lost + strange + twice > 0 {
        return Err(Error::new(format!("{what}: {lost} lost, {twice} counted twice, {strange} unknown")));
    }
    Ok(())
}

/// Two lakes are the same, to the byte, and so are the evaluations.
pub(crate) fn same(found: &End, expected: &End) -> Result<(), Error> {
    let ids = |end: &End| -> Vec<PredictionId> {
        let files = end.contents.iter().filter(|(key, _)| key.starts_with("archive/predictions/"));
        let records = files.flat_map(|(_, bytes)| read_predictions(bytes.clone()).unwrap_or_default());
        records.map(|record| record.prediction_id).collect()
    };
    if found.contents != expected.contents {
        once("predictions", &ids(found), &ids(expected).into_iter().collect())?;
        let keys = |end: &End| -> BTreeSet<String> { end.contents.iter().map(|(key, _)| key.clone()).collect() };
        let (found_keys, expected_keys) = (keys(found), keys(expected));
        if let Some(key) = found_keys.symmetric_difference(&expected_keys).next() {
            let only_in = if found_keys.contains(key) { "with" } else { "without" };
            return Err(Error::new(format!("`{key}` is only there {only_in} faults")));
        }
        let differs = found.contents.iter().zip(&expected.contents).find(|(found, expected)| found != expected);
        return Err(Error::new(format!("`{}` has other bytes", differs.map_or("", |((key, _), _)| key))));
    }
    if found.evaluation.figures != expected.evaluation.figures {
        return Err(Error::new("the evaluations differ"));
    }
    Ok(())
}
