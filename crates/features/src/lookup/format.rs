//! A table as bytes: short, deterministic, and the same for the same content.
//!
//! Little-endian throughout: the magic `MNLOOKUP1`; the number of rows (u64), of key columns and of value columns (u8 each);
//! per column its name (u32 length, UTF-8) and type (u8: 0 int, 1 bool, 2 string, 3 float); then each column's rows: i64, u8,
//! u32 length and UTF-8, or the double's bits. Rows are in ascending order of their keys.

use super::{LookupError, LookupKeys, LookupTable, LookupValues};

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
        bytes
    }

    /// Reads [`LookupTable::to_bytes`].
    ///
    /// # Errors
    /// Bytes that no table is written as, with the place.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LookupError> {
        let mut reader = Reader { bytes, at: 0 };
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(Reader { bytes, at: 0 }.error("it does not begin with MNLOOKUP1"));
        }
        let rows = u64::from_le_bytes(reader.array()?);
        // Every row has at least a byte of key: a wrong number of rows cannot make us reserve memory.
        let rows = usize::try_from(rows).ok().filter(|&rows| rows <= bytes.len());
        let Some(rows) = rows else { return Err(reader.error("more rows than bytes")) };
        let [key_count, value_count] = reader.array()?;
        let mut heads = Vec::new();
        for _ in 0..u16::from(key_count) + u16::from(value_count) {
            let name = reader.text()?;
            heads.push((name, reader.array::<1>()?[0]));
        }
        let value_heads = heads.split_off(usize::from(key_count));
        let mut keys = Vec::new();
        for (name, of) in heads {
            let column = match of {
                INT => LookupKeys::Int(
                    (0..rows).map(|_| reader.array().map(i64::from_le_bytes)).collect::<Result<_, _>>()?,
                ),
                BOOL => LookupKeys::Bool((0..rows).map(|_| reader.bool()).collect::<Result<_, _>>()?),
                STRING => LookupKeys::String((0..rows).map(|_| reader.text()).collect::<Result<_, _>>()?),
                _ => return Err(reader.error("no such type of key")),
            };
            keys.push((name, column));
        }
        let mut values = Vec::new();
        for (name, of) in value_heads {
            let column = match of {
                INT => LookupValues::Int(
                    (0..rows).map(|_| reader.array().map(i64::from_le_bytes)).collect::<Result<_, _>>()?,
                ),
                FLOAT => LookupValues::Float(
                    (0..rows).map(|_| reader.array().map(f64::from_le_bytes)).collect::<Result<_, _>>()?,
                ),
                _ => return Err(reader.error("no such type of value")),
            };
            values.push((name, column));
        }
        if reader.at != bytes.len() {
            return Err(reader.error("bytes are left over"));
        }
        let table = Self::from_columns(keys, values)?;
        // Whoever wrote the columns in another order wrote another hash.
        if table.to_bytes() != bytes {
            return Err(LookupError::Format { at: 0, message: "rows or columns are not in order".to_owned() });
        }
        Ok(table)
    }
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, message: &str) -> LookupError {
        LookupError::Format { at: self.at, message: message.to_owned() }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], LookupError> {
        let taken = self.at.checked_add(count).and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| self.error("it ends too early"))?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], LookupError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn bool(&mut self) -> Result<bool, LookupError> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(self.error("a boolean is 0 or 1")),
        }
    }

    fn text(&mut self) -> Result<String, LookupError> {
        let length = u32::from_le_bytes(self.array()?);
        let bytes = self.take(length as usize)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| self.error("a text that is not UTF-8"))
    }
}
