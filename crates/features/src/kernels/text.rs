//! Text operators.

use super::strict;
use crate::{
    column::{Column, Values, View},
    op::Text1,
};

pub(super) fn text1(function: Text1, x: &View<'_>, rows: usize, result: &mut Column) {
    strict(&[x], result);
    let Values::Text(values) = &mut result.values else { return };
    for row in 0..rows {
        let text = x.text(row);
        match function {
            Text1::Lower => text.chars().flat_map(char::to_lowercase).for_each(|char| values.push_char(char)),
            Text1::Upper => text.chars().flat_map(char::to_uppercase).for_each(|char| values.push_char(char)),
            Text1::Trim => values.push_part(text.trim()),
        }
        values.end_text();
    }
}

pub(super) fn length(x: &View<'_>, rows: usize, result: &mut Column) {
    strict(&[x], result);
    let Values::Int(values) = &mut result.values else { return };
    values.extend((0..rows).map(|row| x.text(row).chars().count() as i64));
}

pub(super) fn concat(x: &View<'_>, y: &View<'_>, rows: usize, result: &mut Column) {
    strict(&[x, y], result);
    let Values::Text(values) = &mut result.values else { return };
    for row in 0..rows {
        values.push_part(x.text(row));
        values.push_part(y.text(row));
        values.end_text();
    }
}
