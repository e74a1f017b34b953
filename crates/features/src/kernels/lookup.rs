//! Rows of lookup tables, and their values.

use super::{strict, with_nulls};
use crate::{
    column::{Column, Values, View, ViewValues},
    lookup::{LookupTable, LookupValues, MAX_KEYS},
};

/// The row that has the keys; NULL where there is none.
pub(super) fn row(table: &LookupTable, keys: &[View<'_>], rows: usize, result: &mut Column) {
    let mut operands = [&keys[0]; MAX_KEYS];
    for (operand, key) in operands.iter_mut().zip(keys) {
        *operand = key;
    }
    strict(&operands[..keys.len()], result);
    let index = table.index();
    let (values, mut nulls) = with_nulls(result, rows);
    let Values::Int(values) = values else { return };
    values.extend((0..rows).map(|row| {
        let mut words = [0; MAX_KEYS];
        let mut is_known = true;
        for (place, (word, key)) in words.iter_mut().zip(keys).enumerate() {
            *word = match key.values {
                ViewValues::Int(keys) => keys[row] as u64,
                ViewValues::Bool(keys) => u64::from(keys[row]),
                ViewValues::Text(..) => index.text_word(place, key.text(row)).unwrap_or_else(|| {
                    is_known = false;
                    0
                }),
                ViewValues::Float(_) => 0,
            };
        }
        let found = is_known.then(|| index.find(&words[..keys.len()])).flatten();
        if found.is_none() {
            nulls.set(row);
        }
        found.unwrap_or(0) as i64
    }));
}

/// A column's value in each of the rows; NULL where the row or the value is.
pub(super) fn value(table: &LookupTable, column: usize, x: &View<'_>, result: &mut Column) {
    strict(&[x], result);
    let rows = x.ints();
    let Some((_, source)) = table.values().get(column) else { return };
    let (values, mut nulls) = with_nulls(result, rows.len());
    match (values, source) {
        // A NULL's row is 0, which an empty table does not have.
        (Values::Int(values), LookupValues::Int(source)) => {
            values.extend(rows.iter().map(|&row| source.get(row as usize).copied().unwrap_or(0)));
        }
        (Values::Float(values), LookupValues::Float(source)) => {
            values.extend(rows.iter().enumerate().map(|(row, &of)| match source.get(of as usize) {
                Some(value) if !value.is_nan() => *value,
                _ => {
                    nulls.set(row);
                    0.0
                }
            }));
        }
        _ => {}
    }
}
