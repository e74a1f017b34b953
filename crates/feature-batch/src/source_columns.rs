//! Which columns of a source are inputs, and which inputs it lacks.

use std::collections::BTreeSet;

use features::{Input, Plan};

use crate::error::ReadError;

/// The most names of columns without use that are kept.
const MAX_UNUSED: usize = 100;

/// What a source has and lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SourceColumns {
    /// Inputs that no column gives: their default, or NULL, stands in every row.
    pub(crate) missing: Vec<String>,
    /// Columns that are no inputs.
    pub(crate) unused: BTreeSet<String>,
}

impl SourceColumns {
    pub(crate) fn add_unused(&mut self, name: &str) {
        if self.unused.len() < MAX_UNUSED && !self.unused.contains(name) {
            self.unused.insert(name.chars().take(100).collect());
        }
    }

    /// Matches a header: for each column the input that it gives.
    pub(crate) fn of_header<'a>(
        plan: &Plan,
        header: impl Iterator<Item = &'a str>,
    ) -> Result<(Vec<Option<usize>>, Self), ReadError> {
        let (mut inputs, mut columns) = (Vec::new(), Self::default());
        for name in header {
            let input = plan.inputs().iter().position(|input| input.name == name);
            if input.is_some() && inputs.contains(&input) {
                let detail = format!("two columns are named `{name}`; remove or rename one");
                return Err(ReadError::bad(None, "column_twice", detail));
            }
            if input.is_none() {
                columns.add_unused(name);
            }
            inputs.push(input);
        }
        for (index, input) in plan.inputs().iter().enumerate() {
            if inputs.contains(&Some(index)) {
                continue;
            }
            if !(input.nullable || input.default.is_some()) {
                return Err(columns.lacks(input));
            }
            columns.missing.push(input.name.clone());
        }
        Ok((inputs, columns))
    }

    fn lacks(&self, input: &Input) -> ReadError {
        let unused: Vec<&str> = self.unused.iter().map(String::as_str).take(20).collect();
        let others =
            if unused.is_empty() { String::new() } else { format!("; columns without use: {}", unused.join(", ")) };
        let detail = format!("there is no column `{}`, which the spec needs as a {}{others}", input.name, input.of);
        ReadError::bad(None, "column_missing", detail)
    }
}
