//! Numbers and texts in classes: buckets, ordinals, hashes.

use twox_hash::XxHash64;

use super::{strict, with_nulls};
use crate::{
    column::{Column, Values, View, ViewValues},
    tables::Ordinals,
};

pub(super) fn bucket(boundaries: &[f64], x: &View<'_>, result: &mut Column) {
    strict(&[x], result);
    let Values::Int(values) = &mut result.values else { return };
    values.extend(x.floats().iter().map(|x| boundaries.partition_point(|boundary| boundary <= x) as i64));
}

pub(super) fn ordinal(ordinals: &Ordinals, x: &View<'_>, rows: usize, result: &mut Column) {
    strict(&[x], result);
    let (values, mut nulls) = with_nulls(result, rows);
    let Values::Int(values) = values else { return };
    values.extend((0..rows).map(|row| {
        let found = match ordinals {
            Ordinals::Ints(known) => {
                let value = x.ints()[row];
                known.binary_search_by_key(&value, |(value, _)| *value).ok().map(|place| known[place].1)
            }
            Ordinals::Texts(known) => {
                let text = x.text(row);
                known.binary_search_by(|(known, _)| known.as_str().cmp(text)).ok().map(|place| known[place].1)
            }
        };
        if found.is_none() {
            nulls.set(row);
        }
        found.unwrap_or(0)
    }));
}

pub(super) fn hash_bucket(buckets: u32, x: &View<'_>, rows: usize, result: &mut Column) {
    strict(&[x], result);
    let Values::Int(values) = &mut result.values else { return };
    values.extend((0..rows).map(|row| {
        let hash = match x.values {
            ViewValues::Int(x) => hash(&x[row].to_le_bytes()),
            _ => hash(x.text(row).as_bytes()),
        };
        (hash % u64::from(buckets.max(1))) as i64
    }));
}

/// xxHash64 with seed 0.
fn hash(bytes: &[u8]) -> u64 {
    XxHash64::oneshot(0, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the xxHash specification's own tests and of its ports.
    #[test]
    fn the_hash_is_xxhash64() {
        assert_eq!(hash(b""), 0xef46_db37_51d8_e999);
        assert_eq!(hash(b"a"), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(hash(b"abc"), 0x44bc_2cf5_ad77_0999);
        assert_eq!(hash(b"Nobody inspects the spammish repetition"), 0xfbce_a83c_8a37_8bf1);
    }
}
