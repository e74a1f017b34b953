//! What changed between two specs.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::{Plan, canonical::PartKind};

/// One difference between two specs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What changed.
    pub kind: PartKind,
    /// Its name. Empty where there is only one of its kind.
    pub name: String,
    /// What it was; `None` where it is new.
    pub before: Option<String>,
    /// What it is; `None` where it is gone.
    pub after: Option<String>,
}

/// What changed from `before` to `after`: empty exactly where their hashes are the same. Lookup tables' contents are not
/// compared ([`Plan::lookups`] has their hashes), nor are descriptions.
pub fn diff(before: &Plan, after: &Plan) -> Vec<Change> {
    let by_name = |plan: &Plan| -> BTreeMap<(PartKind, String), String> {
        plan.parts().iter().map(|part| ((part.kind, part.name.clone()), part.text.clone())).collect()
    };
    let (before, after) = (by_name(before), by_name(after));
    let mut all: Vec<_> = before.keys().chain(after.keys()).cloned().collect();
    all.sort_unstable();
    all.dedup();
    let change = |part: (PartKind, String)| {
        let (before, after) = (before.get(&part).cloned(), after.get(&part).cloned());
        (before != after).then_some(Change { kind: part.0, name: part.1, before, after })
    };
    all.into_iter().filter_map(change).collect()
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.name.is_empty() { self.kind.to_string() } else { format!("{} `{}`", self.kind, self.name) };
        match (&self.before, &self.after) {
            (None, Some(after)) => write!(f, "+ {what}: {after}"),
            (Some(before), None) => write!(f, "- {what}: {before}"),
            (Some(before), Some(after)) => write!(f, "~ {what}: {before}\n  -> {after}"),
            (None, None) => Ok(()),
        }
    }
}
