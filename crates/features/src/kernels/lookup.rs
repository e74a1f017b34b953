//! Rows of lookup tables, and their values.

use super::{invalidate, strict};
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
    let mut missing = Vec::new();
    let Values::Int(values) = &mut result.values else { return };
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
            missing.push(row);
        }
        found.unwrap_or(0) as i64
    }));
    if !missing.is_empty() {
        invalidate(rows, result, |row| missing.binary_search(&row).is_ok());
    }
}

/// A column's value in each of the rows; NULL where the row or the value is.
pub(super) fn value(table: &LookupTable, column: usize, x: &View<'_>, result: &mut Column) {
    strict(&[x], result);
    let rows = x.ints();
    let Some((_, source)) = table.values().get(column) else { return };
    match (&mut result.values, source) {
        // A NULL's row is 0, which an empty table does not have.
        (Values::Int(values), LookupValues::Int(source)) => {
            values.extend(rows.iter().map(|&row| source.get(row as usize).copied().unwrap_or(0)));
        }
        (Values::Float(values), LookupValues::Float(source)) => {
            let mut nulls = Vec::new();
            values.extend(rows.iter().enumerate().map(|(row, &of)| match source.get(of as usize) {
                Some(value) if !value.is_nan() => *value,
                _ => {
                    nulls.push(row);
                    0.0
                }
            }));
            if !nulls.is_empty() {
                invalidate(rows.len(), result, |row| nulls.binary_search(&row).is_ok());
            }
        }
        _ => {}
    }
}
