//! What a table's hash is of: bytes that are the same for the same content, whatever file it came in.
//!
//! Little-endian throughout: the magic `MNLOOKUP1`; the number of rows (u64), of key columns and of value columns (u8 each);
//! per column its name (u32 length, UTF-8) and type (u8: 0 int, 1 bool, 2 string, 3 float); then each column's rows: i64, u8,
//! u32 length and UTF-8, or the double's bits. Rows are in ascending order of their keys. Where there are values out of fold,
//! the text of the fold's expression and the bytes of their table follow.

use super::{LookupKeys, LookupTable, LookupValues};

const MAGIC: &[u8] = b"MNLOOKUP1";
const INT: u8 = 0;
const BOOL: u8 = 1;
const STRING: u8 = 2;
const FLOAT: u8 = 3;

impl LookupTable {
    /// The table's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend((self.rows as u64).to_le_bytes());
        bytes.extend([self.keys.len() as u8, self.values.len() as u8]);
        for (name, keys) in &self.keys {
            push_text(&mut bytes, name);
            bytes.push(match keys {
                LookupKeys::Int(_) => INT,
                LookupKeys::Bool(_) => BOOL,
                LookupKeys::String(_) => STRING,
            });
        }
        for (name, values) in &self.values {
            push_text(&mut bytes, name);
            bytes.push(match values {
                LookupValues::Float(_) => FLOAT,
                LookupValues::Int(_) => INT,
            });
        }
        for (_, keys) in &self.keys {
            match keys {
                LookupKeys::Int(keys) => bytes.extend(keys.iter().flat_map(|key| key.to_le_bytes())),
                LookupKeys::Bool(keys) => bytes.extend(keys.iter().map(|&key| u8::from(key))),
                LookupKeys::String(keys) => keys.iter().for_each(|key| push_text(&mut bytes, key)),
            }
        }
        for (_, values) in &self.values {
            match values {
                LookupValues::Float(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
                LookupValues::Int(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            }
        }
        if let Some(folds) = &self.folds {
            push_text(&mut bytes, folds.expression());
            bytes.extend(folds.table().to_bytes());
        }
        bytes
    }
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
}
