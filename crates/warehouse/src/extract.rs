use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A named query parameter: `@name` in the SQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// Its type.
    #[serde(rename = "type")]
    pub of: ParameterType,
    /// Its value as BigQuery's REST API has it: text, whatever the type.
    pub value: String,
}

/// The types that a parameter may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ParameterType {
    /// Text.
    String,
    /// A whole number.
    Int64,
    /// A double.
    Float64,
    /// `true` or `false`.
    Bool,
    /// An instant, RFC 3339.
    Timestamp,
    /// A civil date and time.
    Datetime,
    /// A civil date.
    Date,
    /// An exact decimal.
    Numeric,
}

impl ParameterType {
    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "STRING",
            Self::Int64 => "INT64",
            Self::Float64 => "FLOAT64",
            Self::Bool => "BOOL",
            Self::Timestamp => "TIMESTAMP",
            Self::Datetime => "DATETIME",
            Self::Date => "DATE",
            Self::Numeric => "NUMERIC",
        }
    }
}

/// What an extract may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The most bytes that the query may read (and be billed for).
    pub max_bytes_billed: u64,
    /// How long the query may run in the warehouse, seconds.
    pub job_timeout_s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes_billed: 100_000_000_000, job_timeout_s: 3_600 }
    }
}

/// An order to extract: what names the rows, whoever asks and however often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extract {
    /// One SELECT; or, for files, nothing.
    pub sql: String,
    /// Its parameters by name. `as_of` is added where the extract has one.
    pub parameters: BTreeMap<String, Parameter>,
    /// The state of the source tables, UTC: `@as_of` in the SQL, for `FOR SYSTEM_TIME AS OF @as_of`.
    pub as_of: Option<Timestamp>,
    /// The order's own name: the same order has the same. It is also the job's id.
    pub job: String,
    /// Words for the warehouse's bill.
    pub labels: BTreeMap<String, String>,
    /// What it may cost.
    pub limits: Limits,
}

/// Whether a query asks for the state at `@as_of`.
pub fn names_as_of(sql: &str) -> bool {
    sql.contains("@as_of")
}

impl Extract {
    /// The parameters, `as_of` among them where the query names it.
    pub fn bound_parameters(&self) -> BTreeMap<String, Parameter> {
        let mut parameters = self.parameters.clone();
        if let Some(as_of) = self.as_of.filter(|_| names_as_of(&self.sql)) {
            let value = as_of.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
            parameters.insert("as_of".to_owned(), Parameter { of: ParameterType::Timestamp, value });
        }
        parameters
    }
}
