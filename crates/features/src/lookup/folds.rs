//! Values for training rows that leave a row's own fold out, so that it does not see its own label.

use std::sync::Arc;

use domain::digest::sha256_hex;

use super::{LookupError, LookupKeys, LookupTable, LookupValues, MAX_KEYS};

/// The name of the fold's column among the keys. No spec can name it.
pub const FOLD_COLUMN: &str = "_fold";

/// What training rows find instead of a table's own values. [`crate::Plan::evaluate_training`] looks here,
/// [`crate::Plan::evaluate`] never does.
#[derive(Debug, Clone)]
pub struct LookupFolds {
    expression: String,
    table: Arc<LookupTable>,
}

impl LookupFolds {
    /// SQL over the inputs and features: the fold of a training row, an integer. Where it is NULL the row was not built of,
    /// and finds the table's own values.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// For each fold ([`FOLD_COLUMN`], the first key) the values by the rows of all other folds.
    pub fn table(&self) -> &Arc<LookupTable> {
        &self.table
    }
}

impl LookupTable {
    /// The table with values out of fold: columns as its own, with [`FOLD_COLUMN`] before the keys.
    ///
    /// # Errors
    /// Columns that are not those of the table, or as [`LookupTable::from_columns`]; and a table of so many keys that there is no
    /// room for the fold.
    pub fn with_folds(
        mut self,
        expression: String,
        keys: Vec<(String, LookupKeys)>,
        values: Vec<(String, LookupValues)>,
    ) -> Result<Self, LookupError> {
        if self.keys.len() == MAX_KEYS {
            let message = format!("a table with them has at most {} keys, this one has {MAX_KEYS}", MAX_KEYS - 1);
            return Err(LookupError::Folds(message));
        }
        let table = Self::from_columns(keys, values)?;
        let own = std::iter::once((FOLD_COLUMN, super::KeyType::Int));
        let own = own.chain(self.keys.iter().map(|(name, keys)| (name.as_str(), keys.of())));
        let keys_fit = own.eq(table.keys.iter().map(|(name, keys)| (name.as_str(), keys.of())));
        let columns = |table: &Self| -> Vec<_> {
            table.values.iter().map(|(name, values)| (name.clone(), values.of())).collect()
        };
        if !keys_fit || columns(&self) != columns(&table) {
            return Err(LookupError::Folds("they have other columns".to_owned()));
        }
        self.folds = Some(LookupFolds { expression, table: Arc::new(table) });
        self.sha256 = sha256_hex(&self.to_bytes());
        Ok(self)
    }
}
