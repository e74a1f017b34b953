use std::fmt;

use domain::ProblemField;
use thiserror::Error;

/// A place in a spec's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// What is wrong with a spec or with inputs.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FeatureError {
    /// The spec cannot be compiled.
    #[error("{location}: {message}{}", expectation(expected.as_ref()))]
    Spec {
        /// Where.
        location: Location,
        /// A stable code.
        reason: &'static str,
        /// What is wrong.
        message: String,
        /// What would be right.
        expected: Option<String>,
    },
    /// Inputs are not what the spec says. All of them that are wrong, in order.
    #[error("{} input(s) are not what the spec says; the first: {}", .0.len(), first(.0))]
    Inputs(Vec<ProblemField>),
}

fn expectation(expected: Option<&String>) -> String {
    expected.map(|expected| format!("; {expected}")).unwrap_or_default()
}

fn first(errors: &[ProblemField]) -> String {
    errors.first().map(|error| format!("{}: {}", error.pointer, error.detail)).unwrap_or_default()
}

impl FeatureError {
    /// A stable code for logs, metrics and problem documents.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Spec { reason, .. } => reason,
            Self::Inputs(_) => "invalid_inputs",
        }
    }

    /// The same in a text of its own, which `file` names: its first character was told as being at `start`.
    pub(crate) fn relative_to(mut self, start: &Location, file: &str) -> Self {
        if let Self::Spec { location, .. } = &mut self {
            if location.line == start.line {
                location.column = (location.column + 1).saturating_sub(start.column).max(1);
            }
            location.line = (location.line + 1).saturating_sub(start.line).max(1);
            file.clone_into(&mut location.file);
        }
        self
    }
}

/// The name nearest to `name`, where one is near enough to be what was meant.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count().max(lower.chars().count()) / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

/// "did you mean …", or what there is to choose from.
pub(crate) fn did_you_mean<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str, IntoIter: Clone>,
    what: &str,
) -> String {
    let candidates = candidates.into_iter();
    if let Some(nearest) = nearest(name, candidates.clone()) {
        return format!("did you mean `{nearest}`?");
    }
    let mut known: Vec<&str> = candidates.collect();
    known.sort_unstable();
    known.truncate(40);
    format!("known {what}: {}", known.join(", "))
}
