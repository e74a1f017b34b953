//! Lookup tables: values by keys, immutable, known by the hash of their content.

mod build;
mod content;
mod folds;
mod index;

use std::fmt;

use domain::digest::sha256_hex;
use serde::Deserialize;
use thiserror::Error;

use self::index::Index;
pub use self::{
    build::{LookupBuild, OutOfFold, Statistic},
    folds::{FOLD_COLUMN, LookupFolds},
};

/// A table has at most as many key columns.
pub(crate) const MAX_KEYS: usize = 4;
/// More rows are refused: a table is held in a function's memory.
const MAX_ROWS: usize = 1 << 26;

/// The type of a key column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyType {
    /// Integers.
    Int,
    /// Booleans.
    Bool,
    /// Texts, compared byte by byte.
    String,
}

/// The type of a value column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueType {
    /// Floats, or NULL.
    Float,
    /// Integers.
    Int,
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::Type::from(*self).fmt(f)
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::Type::from(*self).fmt(f)
    }
}

impl From<KeyType> for crate::Type {
    fn from(of: KeyType) -> Self {
        match of {
            KeyType::Int => Self::Int,
            KeyType::Bool => Self::Bool,
            KeyType::String => Self::String,
        }
    }
}

impl From<ValueType> for crate::Type {
    fn from(of: ValueType) -> Self {
        match of {
            ValueType::Float => Self::Float,
            ValueType::Int => Self::Int,
        }
    }
}

/// A column of keys, one per row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookupKeys {
    /// Integers.
    Int(Vec<i64>),
    /// Booleans.
    Bool(Vec<bool>),
    /// Texts.
    String(Vec<String>),
}

impl LookupKeys {
    /// The column's type.
    pub fn of(&self) -> KeyType {
        match self {
            Self::Int(_) => KeyType::Int,
            Self::Bool(_) => KeyType::Bool,
            Self::String(_) => KeyType::String,
        }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Int(keys) => keys.len(),
            Self::Bool(keys) => keys.len(),
            Self::String(keys) => keys.len(),
        }
    }

    /// Appends keys of the same type; others are left alone.
    fn append(&mut self, more: Self) {
        match (self, more) {
            (Self::Int(keys), Self::Int(more)) => keys.extend(more),
            (Self::Bool(keys), Self::Bool(more)) => keys.extend(more),
            (Self::String(keys), Self::String(more)) => keys.extend(more),
            _ => {}
        }
    }

    fn compare(&self, a: usize, b: usize) -> std::cmp::Ordering {
        match self {
            Self::Int(keys) => keys[a].cmp(&keys[b]),
            Self::Bool(keys) => keys[a].cmp(&keys[b]),
            Self::String(keys) => keys[a].cmp(&keys[b]),
        }
    }

    /// The rows in the order of `rows`.
    fn taken(&self, rows: &[usize]) -> Self {
        match self {
            Self::Int(keys) => Self::Int(rows.iter().map(|&row| keys[row]).collect()),
            Self::Bool(keys) => Self::Bool(rows.iter().map(|&row| keys[row]).collect()),
            Self::String(keys) => Self::String(rows.iter().map(|&row| keys[row].clone()).collect()),
        }
    }
}

/// A column of values, one per row.
#[derive(Debug, Clone, PartialEq)]
pub enum LookupValues {
    /// Finite floats; NaN is NULL.
    Float(Vec<f64>),
    /// Integers.
    Int(Vec<i64>),
}

impl LookupValues {
    /// The column's type.
    pub fn of(&self) -> ValueType {
        match self {
            Self::Float(_) => ValueType::Float,
            Self::Int(_) => ValueType::Int,
        }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Float(values) => values.len(),
            Self::Int(values) => values.len(),
        }
    }

    /// Appends values of the same type; others are left alone.
    fn append(&mut self, more: Self) {
        match (self, more) {
            (Self::Float(values), Self::Float(more)) => values.extend(more),
            (Self::Int(values), Self::Int(more)) => values.extend(more),
            _ => {}
        }
    }

    fn taken(&self, rows: &[usize]) -> Self {
        match self {
            // One NaN for all: the hash is of what is read, not of how NULL came to be.
            Self::Float(values) => {
                Self::Float(rows.iter().map(|&row| if values[row].is_nan() { f64::NAN } else { values[row] }).collect())
            }
            Self::Int(values) => Self::Int(rows.iter().map(|&row| values[row]).collect()),
        }
    }
}

/// What is wrong with a lookup table's data.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LookupError {
    /// A table without keys, with too many, without values, or with a name twice.
    #[error(
        "a lookup table has 1 to {MAX_KEYS} key columns and at least one value column, each with a name of its own: {0}"
    )]
    Columns(String),
    /// Columns of different lengths.
    #[error("column `{column}` has {rows} rows, the first one has {expected}")]
    Rows {
        /// The column.
        column: String,
        /// Its rows.
        rows: usize,
        /// The first column's rows.
        expected: usize,
    },
    /// Too many rows.
    #[error("{0} rows; a lookup table has at most {MAX_ROWS}")]
    TooManyRows(usize),
    /// The same keys in two rows.
    #[error("rows {0} and {1} have the same keys")]
    DuplicateKeys(usize, usize),
    /// A value that is infinite.
    #[error("column `{column}`, row {row}: an infinite value; leave the row out, or use NaN for NULL")]
    Infinite {
        /// The column.
        column: String,
        /// The row, from 0.
        row: usize,
    },
    /// A setting of a build that makes no sense.
    #[error("{0}")]
    Build(String),
    /// Values out of fold that are not of the table.
    #[error("the values out of fold do not fit the table: {0}")]
    Folds(String),
}

impl LookupError {
    /// A stable code.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Columns(_) => "lookup_columns_invalid",
            Self::Rows { .. } => "lookup_rows_differ",
            Self::TooManyRows(_) => "lookup_too_large",
            Self::DuplicateKeys(..) => "lookup_keys_twice",
            Self::Infinite { .. } => "lookup_value_infinite",
            Self::Build(_) => "lookup_build_invalid",
            Self::Folds(_) => "lookup_folds_invalid",
        }
    }
}

/// An immutable table of values by 1 to 4 keys. Rows are in the order of their keys, value columns in the order of their
/// names, so that equal content has equal bytes ([`LookupTable::to_bytes`]) and an equal hash. It may bring values for
/// training rows that leave a row's own fold out ([`LookupFolds`]).
#[derive(Debug, Clone)]
pub struct LookupTable {
    keys: Vec<(String, LookupKeys)>,
    values: Vec<(String, LookupValues)>,
    rows: usize,
    sha256: String,
    index: Index,
    folds: Option<LookupFolds>,
}

impl PartialEq for LookupTable {
    fn eq(&self, other: &Self) -> bool {
        self.sha256 == other.sha256
    }
}

impl LookupTable {
    /// A table of these columns, in any order of rows.
    ///
    /// # Errors
    /// Columns that do not fit together, keys that are there twice, infinite values.
    pub fn from_columns(
        keys: Vec<(String, LookupKeys)>,
        mut values: Vec<(String, LookupValues)>,
    ) -> Result<Self, LookupError> {
        values.sort_by(|a, b| a.0.cmp(&b.0));
        let rows = check_columns(&keys, &values)?;
        let compare = |a: usize, b: usize| {
            keys.iter()
                .map(|(_, keys)| keys.compare(a, b))
                .find(|order| order.is_ne())
                .unwrap_or(std::cmp::Ordering::Equal)
        };
        let mut order: Vec<usize> = (0..rows).collect();
        order.sort_by(|&a, &b| compare(a, b));
        if let Some(pair) = order.windows(2).find(|pair| compare(pair[0], pair[1]).is_eq()) {
            return Err(LookupError::DuplicateKeys(pair[0], pair[1]));
        }
        let keys: Vec<_> = keys.into_iter().map(|(name, keys)| (name, keys.taken(&order))).collect();
        let values: Vec<_> = values.into_iter().map(|(name, values)| (name, values.taken(&order))).collect();
        let index = Index::new(&keys.iter().map(|(_, keys)| keys).collect::<Vec<_>>(), rows);
        let mut table = Self { keys, values, rows, sha256: String::new(), index, folds: None };
        table.sha256 = sha256_hex(&table.to_bytes());
        Ok(table)
    }

    /// The SHA-256 of the content: of [`LookupTable::to_bytes`].
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The key columns by name, in the order in which keys are given.
    pub fn keys(&self) -> &[(String, LookupKeys)] {
        &self.keys
    }

    /// The value columns, in the order of their names.
    pub fn values(&self) -> &[(String, LookupValues)] {
        &self.values
    }

    /// What training rows find instead, where the table has it.
    pub fn folds(&self) -> Option<&LookupFolds> {
        self.folds.as_ref()
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }
}

fn check_columns(keys: &[(String, LookupKeys)], values: &[(String, LookupValues)]) -> Result<usize, LookupError> {
    if keys.is_empty() || keys.len() > MAX_KEYS || values.is_empty() {
        return Err(LookupError::Columns(format!("there are {} and {}", keys.len(), values.len())));
    }
    let columns = || {
        let keys = keys.iter().map(|(name, keys)| (name, keys.rows()));
        keys.chain(values.iter().map(|(name, values)| (name, values.rows())))
    };
    for (place, (name, _)) in columns().enumerate() {
        if columns().take(place).any(|(other, _)| other == name) {
            return Err(LookupError::Columns(format!("`{name}` is there twice")));
        }
    }
    let expected = keys[0].1.rows();
    if let Some((column, rows)) = columns().find(|(_, rows)| *rows != expected) {
        return Err(LookupError::Rows { column: column.clone(), rows, expected });
    }
    if expected > MAX_ROWS {
        return Err(LookupError::TooManyRows(expected));
    }
    for (column, values) in values {
        if let LookupValues::Float(values) = values
            && let Some(row) = values.iter().position(|value| value.is_infinite())
        {
            return Err(LookupError::Infinite { column: column.clone(), row });
        }
    }
    Ok(expected)
}

/// What a spec says of a table that its release must bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupDeclaration {
    /// The table's name.
    pub name: String,
    /// The key columns in order.
    pub keys: Vec<(String, KeyType)>,
    /// The value columns by name.
    pub values: Vec<(String, ValueType)>,
}

impl fmt::Display for LookupDeclaration {
    /// In words: "pickup_zone (int), dropoff_zone (int) -> median_s (float)".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", shown(&self.keys), shown(&self.values))
    }
}

fn shown(columns: &[(String, impl fmt::Display)]) -> String {
    columns.iter().map(|(name, of)| format!("{name} ({of})")).collect::<Vec<_>>().join(", ")
}

impl LookupDeclaration {
    /// Why a table is not what is declared; `None` where it is. A table may have more value columns.
    pub fn mismatch(&self, table: &LookupTable) -> Option<String> {
        let keys: Vec<_> = table.keys.iter().map(|(name, keys)| (name.clone(), keys.of())).collect();
        if keys != self.keys {
            return Some(format!("its keys are {}, declared are {}", shown(&keys), shown(&self.keys)));
        }
        self.values.iter().find_map(|(name, of)| match table.values.iter().find(|(other, _)| other == name) {
            None => Some(format!("it has no column `{name}`")),
            Some((_, values)) if values.of() != *of => {
                Some(format!("its column `{name}` is {}, declared is {of}", values.of()))
            }
            Some(_) => None,
        })
    }
}

#[cfg(test)]
mod tests;
