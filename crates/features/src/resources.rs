//! What a plan needs beside its spec.

use std::{collections::BTreeMap, sync::Arc};

use crate::lookup::LookupTable;

/// Lookup tables by name. What a spec declares and a release brings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resources {
    lookups: BTreeMap<String, Arc<LookupTable>>,
}

impl Resources {
    /// The same, with `table` as the lookup table `name`.
    #[must_use]
    pub fn with_lookup(mut self, name: impl Into<String>, table: impl Into<Arc<LookupTable>>) -> Self {
        self.lookups.insert(name.into(), table.into());
        self
    }

    /// The lookup table of a name.
    pub fn lookup(&self, name: &str) -> Option<&Arc<LookupTable>> {
        self.lookups.get(name)
    }

    pub(crate) fn lookup_names(&self) -> impl Iterator<Item = &str> + Clone {
        self.lookups.keys().map(String::as_str)
    }
}

impl FromIterator<(String, Arc<LookupTable>)> for Resources {
    fn from_iter<I: IntoIterator<Item = (String, Arc<LookupTable>)>>(tables: I) -> Self {
        Self { lookups: tables.into_iter().collect() }
    }
}
