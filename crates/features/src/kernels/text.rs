//! Text operators.

use super::{Nulls, invalidate, strict, with_nulls};
use crate::{
    column::{Column, Text, Values, View},
    op::{Affix, Text1},
    pattern::Pattern,
};

/// Longer texts are NULL: each feature could double the one before. (An input has at most 1,024 characters.)
pub(crate) const MAX_TEXT_BYTES: usize = 16 * 1024;

/// Ends the text in the making; one that is too long is dropped, and NULL.
fn end(values: &mut Text, row: usize, nulls: &mut Nulls<'_>) {
    if values.part_len() > MAX_TEXT_BYTES {
        values.drop_part();
        nulls.set(row);
    }
    values.end_text();
}

pub(super) fn text1(function: Text1, x: &View<'_>, rows: usize, result: &mut Column) {
    strict(&[x], result);
    let (values, mut nulls) = with_nulls(result, rows);
    let Values::Text(values) = values else { return };
    for row in 0..rows {
        let text = x.text(row);
        match function {
            Text1::Lower => text.chars().flat_map(char::to_lowercase).for_each(|char| values.push_char(char)),
            Text1::Upper => text.chars().flat_map(char::to_uppercase).for_each(|char| values.push_char(char)),
            Text1::Trim => values.push_part(text.trim()),
        }
        end(values, row, &mut nulls);
    }
}

pub(super) fn length(x: &View<'_>, rows: usize, result: &mut Column) {
    strict(&[x], result);
    let Values::Int(values) = &mut result.values else { return };
    values.extend((0..rows).map(|row| x.text(row).chars().count() as i64));
}

pub(super) fn concat(x: &View<'_>, y: &View<'_>, rows: usize, result: &mut Column) {
    strict(&[x, y], result);
    let (values, mut nulls) = with_nulls(result, rows);
    let Values::Text(values) = values else { return };
    for row in 0..rows {
        values.push_part(x.text(row));
        values.push_part(y.text(row));
        end(values, row, &mut nulls);
    }
}

pub(super) fn affix(affix: Affix, x: &View<'_>, y: &View<'_>, rows: usize, result: &mut Column) {
    strict(&[x, y], result);
    let Values::Bool(values) = &mut result.values else { return };
    values.extend((0..rows).map(|row| match affix {
        Affix::Start => x.text(row).starts_with(y.text(row)),
        Affix::End => x.text(row).ends_with(y.text(row)),
    }));
}

pub(super) fn like(pattern: &Pattern, x: &View<'_>, rows: usize, result: &mut Column) {
    strict(&[x], result);
    let Values::Bool(values) = &mut result.values else { return };
    values.extend((0..rows).map(|row| pattern.matches(x.text(row))));
}

pub(super) fn substring(x: &View<'_>, start: &View<'_>, length: &View<'_>, rows: usize, result: &mut Column) {
    strict(&[x, start, length], result);
    let Values::Text(values) = &mut result.values else { return };
    let (starts, lengths) = (start.ints(), length.ints());
    for row in 0..rows {
        values.push(characters(x.text(row), starts[row], lengths[row]));
    }
    if lengths.iter().any(|length| *length < 0) {
        invalidate(rows, result, |row| lengths[row] < 0);
    }
}

/// At most `length` characters from character `start` on: 1 is the first, -1 the last, 0 counts as 1.
fn characters(text: &str, start: i64, length: i64) -> &str {
    let skipped = if start < 0 {
        let count = text.chars().count() as i64;
        count.saturating_add(start).max(0)
    } else {
        (start - 1).max(0)
    };
    let byte_of = |text: &str, character: i64| {
        let character = usize::try_from(character).unwrap_or_default();
        text.char_indices().nth(character).map_or(text.len(), |(byte, _)| byte)
    };
    let rest = &text[byte_of(text, skipped)..];
    &rest[..byte_of(rest, length)]
}

pub(super) fn replace(x: &View<'_>, from: &View<'_>, to: &View<'_>, rows: usize, result: &mut Column) {
    strict(&[x, from, to], result);
    let (values, mut nulls) = with_nulls(result, rows);
    let Values::Text(values) = values else { return };
    for row in 0..rows {
        let (text, from, to) = (x.text(row), from.text(row), to.text(row));
        if from.is_empty() {
            values.push_part(text);
        } else {
            for (place, part) in text.split(from).enumerate() {
                if place > 0 {
                    values.push_part(to);
                }
                values.push_part(part);
                if values.part_len() > MAX_TEXT_BYTES {
                    break;
                }
            }
        }
        end(values, row, &mut nulls);
    }
}
