use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{ViewSample, text::SourceFormat};

/// What a transform did. As JSON it is the same for the same sources and spec: times are not written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// SHA-256 of the feature spec in its canonical form.
    pub spec_hash: String,
    /// The view's columns, in order; the first is the label.
    pub columns: Vec<String>,
    /// Rows read: written and rejected ones.
    pub rows: u64,
    /// Rows of the view.
    pub written: u64,
    /// Rows left out, by the reason that is told first for each.
    pub rejected: BTreeMap<String, u64>,
    /// The sources, in order.
    pub sources: Vec<SourceSummary>,
    /// A sample of the view's rows.
    #[serde(skip)]
    pub sample: ViewSample,
    /// How long it took.
    #[serde(skip)]
    pub elapsed: Duration,
}

/// What was found in one source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceSummary {
    /// Its name.
    pub name: String,
    /// What it is.
    pub format: SourceFormat,
    /// Its length in bytes, as it lies there.
    pub size_bytes: u64,
    /// Rows read.
    pub rows: u64,
    /// Rows of the view that came from it.
    pub written: u64,
    /// Inputs that it does not have at all; their default, or NULL, stands for them.
    pub missing_inputs: Vec<String>,
    /// Columns, or fields, that the spec does not know (the first hundred). A misspelt input is among them.
    pub unused_columns: Vec<String>,
}

/// How far a transform is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Rows read.
    pub rows: u64,
    /// Rows left out.
    pub rejected: u64,
    /// Bytes of the sources that are done with.
    pub bytes: u64,
    /// Bytes of all sources.
    pub bytes_total: u64,
}

impl Summary {
    /// Rows left out.
    pub fn rejected_rows(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Rows read per second.
    pub fn rows_per_s(&self) -> f64 {
        self.rows as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}
