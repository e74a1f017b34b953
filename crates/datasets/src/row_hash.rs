//! A row's own hash, whatever stream, batch or warehouse it came through.
//!
//! A row is encoded value by value, in the schema's order: 0 for NULL; else 1 and the value: a number, date, time or decimal in
//! its Arrow form, little-endian (a double by its bits); a text or bytes as length (u32) and content; an array as length and
//! elements; a struct as its fields. The hash is the SHA-256 of that. Rows are **ordered** by its first 128 bits, and a set of
//! rows is told by the **sum** of all hashes, modulo 2^256: it does not depend on their order, and counts each as often as it
//! is there. (A sum of hashes tells accidents. It is no defence against someone who makes up rows to a given sum.)

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, RecordBatch, StringArray,
    cast::AsArray,
    types::{
        Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int64Type, Time64MicrosecondType,
        TimestampMicrosecondType,
    },
};
use arrow_buffer::{NullBuffer, i256};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The sum of rows' hashes, modulo 2^256: 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RowsDigest([u64; 4]);

impl RowsDigest {
    /// Adds a row's hash, `times` over.
    pub(crate) fn add_row(&mut self, hash: &[u8; 32], times: u32) {
        let mut carry = 0_u128;
        for (limb, bytes) in self.0.iter_mut().zip(hash.chunks_exact(8)) {
            let mut word = [0; 8];
            word.copy_from_slice(bytes);
            let sum = u128::from(*limb) + u128::from(u64::from_le_bytes(word)) * u128::from(times) + carry;
            *limb = sum as u64;
            carry = sum >> 64;
        }
    }

    /// Adds the rows of another set.
    pub(crate) fn add(&mut self, other: &Self) {
        let mut carry = 0_u128;
        for (limb, more) in self.0.iter_mut().zip(other.0) {
            let sum = u128::from(*limb) + u128::from(more) + carry;
            *limb = sum as u64;
            carry = sum >> 64;
        }
    }
}

impl From<RowsDigest> for String {
    fn from(digest: RowsDigest) -> Self {
        let [low, second, third, high] = digest.0;
        format!("{high:016x}{third:016x}{second:016x}{low:016x}")
    }
}

impl TryFrom<String> for RowsDigest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut limbs = [0; 4];
        if text.len() != 64 || !text.is_ascii() {
            return Err("expected 64 hexadecimal digits".to_owned());
        }
        for (limb, at) in limbs.iter_mut().rev().zip((0..64).step_by(16)) {
            *limb = u64::from_str_radix(&text[at..at + 16], 16).map_err(|error| error.to_string())?;
        }
        Ok(Self(limbs))
    }
}

/// The columns of a batch, ready to be read row by row.
pub(crate) struct Rows<'a>(Vec<Column<'a>>);

struct Column<'a> {
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
}

enum Values<'a> {
    Bools(&'a BooleanArray),
    I32(&'a [i32]),
    I64(&'a [i64]),
    F64(&'a [f64]),
    I128(&'a [i128]),
    I256(&'a [i256]),
    Texts(&'a StringArray),
    Bytes(&'a BinaryArray),
    List { offsets: &'a [i32], items: Box<Column<'a>> },
    Struct(Vec<Column<'a>>),
}

impl<'a> Rows<'a> {
    pub(crate) fn of(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        Self::of_columns(batch.columns())
    }

    pub(crate) fn of_columns(columns: &'a [ArrayRef]) -> Result<Self, ArrowError> {
        columns.iter().map(Column::of).collect::<Result<_, _>>().map(Self)
    }

    /// Appends the row's encoding.
    pub(crate) fn encode(&self, row: usize, out: &mut Vec<u8>) {
        for column in &self.0 {
            column.encode(row, out);
        }
    }

    /// The row's hash; `scratch` is left with its encoding.
    pub(crate) fn hash(&self, row: usize, scratch: &mut Vec<u8>) -> [u8; 32] {
        scratch.clear();
        self.encode(row, scratch);
        Sha256::digest(scratch.as_slice()).into()
    }
}

/// What rows are ordered by: the first 128 bits of the hash.
pub(crate) fn order_of(hash: &[u8; 32]) -> u128 {
    let mut first = [0; 16];
    first.copy_from_slice(&hash[..16]);
    u128::from_be_bytes(first)
}

impl<'a> Column<'a> {
    fn of(array: &'a ArrayRef) -> Result<Self, ArrowError> {
        let values = match array.data_type() {
            DataType::Boolean => Values::Bools(array.as_boolean()),
            DataType::Int64 => Values::I64(array.as_primitive::<Int64Type>().values()),
            DataType::Float64 => Values::F64(array.as_primitive::<Float64Type>().values()),
            DataType::Utf8 => Values::Texts(array.as_string()),
            DataType::Binary => Values::Bytes(array.as_binary()),
            DataType::Decimal128(..) => Values::I128(array.as_primitive::<Decimal128Type>().values()),
            DataType::Decimal256(..) => Values::I256(array.as_primitive::<Decimal256Type>().values()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Values::I64(array.as_primitive::<TimestampMicrosecondType>().values())
            }
            DataType::Date32 => Values::I32(array.as_primitive::<Date32Type>().values()),
            DataType::Time64(TimeUnit::Microsecond) => {
                Values::I64(array.as_primitive::<Time64MicrosecondType>().values())
            }
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Values::List { offsets: list.value_offsets(), items: Box::new(Self::of(list.values())?) }
            }
            DataType::Struct(_) => {
                let fields = array.as_struct();
                Values::Struct(fields.columns().iter().map(Self::of).collect::<Result<_, _>>()?)
            }
            other => return Err(ArrowError::SchemaError(format!("datasets have no columns of type {other}"))),
        };
        Ok(Self { nulls: array.nulls(), values })
    }

    fn encode(&self, row: usize, out: &mut Vec<u8>) {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            out.push(0);
            return;
        }
        out.push(1);
        match &self.values {
            Values::Bools(values) => out.push(u8::from(values.value(row))),
            Values::I32(values) => out.extend_from_slice(&values[row].to_le_bytes()),
            Values::I64(values) => out.extend_from_slice(&values[row].to_le_bytes()),
            Values::F64(values) => out.extend_from_slice(&values[row].to_bits().to_le_bytes()),
            Values::I128(values) => out.extend_from_slice(&values[row].to_le_bytes()),
            Values::I256(values) => out.extend_from_slice(&values[row].to_le_bytes()),
            Values::Texts(values) => with_length(values.value(row).as_bytes(), out),
            Values::Bytes(values) => with_length(values.value(row), out),
            Values::List { offsets, items } => {
                let (from, to) = (offsets[row] as usize, offsets[row + 1] as usize);
                out.extend_from_slice(&((to - from) as u32).to_le_bytes());
                (from..to).for_each(|item| items.encode(item, out));
            }
            Values::Struct(fields) => fields.iter().for_each(|field| field.encode(row, out)),
        }
    }
}

fn with_length(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_digest_is_its_text() {
        let mut digest = RowsDigest::default();
        digest.add_row(&[0xab; 32], 3);
        let text = String::from(digest);
        assert_eq!(RowsDigest::try_from(text.clone()).unwrap(), digest);
        assert_eq!(serde_json::from_str::<RowsDigest>(&format!("\"{text}\"")).unwrap(), digest);
        assert!(RowsDigest::try_from("ab".to_owned()).is_err());
    }

    proptest! {
        #[test]
        fn a_sum_does_not_depend_on_order_or_grouping(hashes in prop::collection::vec(any::<[u8; 32]>(), 0..20), cut: prop::sample::Index) {
            let mut once = RowsDigest::default();
            for hash in &hashes {
                once.add_row(hash, 1);
            }
            let (first, second) = hashes.split_at(cut.index(hashes.len() + 1).min(hashes.len()));
            let mut grouped = RowsDigest::default();
            for part in [second, first] {
                let mut of_part = RowsDigest::default();
                for hash in part.iter().rev() {
                    of_part.add_row(hash, 1);
                }
                grouped.add(&of_part);
            }
            prop_assert_eq!(once, grouped);
            let (mut twice, mut times) = (once, RowsDigest::default());
            twice.add(&once);
            for hash in &hashes {
                times.add_row(hash, 2);
            }
            prop_assert_eq!(twice, times);
        }
    }
}
