use arrow_array::{cast::AsArray, types::Float64Type};
use bytes::Bytes;

use crate::{
    ArchiveError, parquet_file,
    schema::{Column, PREDICTIONS},
};

/// Calls `each` with the spec's hash and the model's input row of the rows whose places are in `wanted` (ascending, from
/// 0, as in [`PredictionColumns`](crate::PredictionColumns)), batch by batch: all features of an hour need not be in
/// memory.
///
/// # Errors
/// As [`read_predictions`](crate::read_predictions).
pub fn read_features(
    bytes: Bytes,
    wanted: &[usize],
    mut each: impl FnMut(usize, &str, &mut dyn Iterator<Item = Option<f64>>),
) -> Result<(), ArchiveError> {
    let columns: Vec<&'static Column> =
        PREDICTIONS.iter().filter(|column| ["spec_hash", "features"].contains(&column.name)).collect();
    let mut wanted = wanted.iter().copied().peekable();
    let mut first = 0;
    for batch in parquet_file::read(bytes, &columns)? {
        let batch = batch?;
        let (hashes, lists) = (batch.text("spec_hash")?, batch.lists("features")?);
        while let Some(place) = wanted.next_if(|place| *place < first + batch.len()) {
            let row = place - first;
            let features = lists.value(row);
            let features = features.as_primitive_opt::<Float64Type>().ok_or(ArchiveError::MissingColumn("features"))?;
            each(place, hashes.value(row), &mut features.iter());
        }
        first += batch.len();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{read_predictions, samples, write_predictions};

    #[test]
    fn the_wanted_rows_are_those_of_the_records() {
        let records: Vec<_> = (0..3000).map(samples::prediction).collect();
        let bytes = write_predictions(&records).unwrap();
        let rows: Vec<_> = read_predictions(bytes.clone())
            .unwrap()
            .into_iter()
            .flat_map(|record| record.candidates.into_iter().map(move |one| (record.spec_hash.clone(), one.features)))
            .collect();
        let wanted: Vec<usize> = (0..rows.len()).filter(|row| row % 7 == 3).collect();
        let mut found = Vec::new();
        read_features(bytes, &wanted, |place, hash, features| {
            found.push(place);
            assert_eq!((hash.to_owned(), features.collect::<Vec<_>>()), rows[place]);
        })
        .unwrap();
        assert_eq!(found, wanted);
        assert!(rows.len() > 2048, "more than one batch");
    }
}
