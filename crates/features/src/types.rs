use std::fmt;

use serde::{Deserialize, Serialize};

/// The types of inputs and expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// IEEE 754 double. Always finite: what would be NaN or infinite is NULL.
    Float,
    /// 64-bit signed integer. What would overflow is NULL.
    Int,
    /// True or false.
    Bool,
    /// UTF-8 text.
    String,
    /// An instant: microseconds since 1970-01-01 UTC.
    Timestamp,
}

impl Type {
    /// With its article, for messages.
    pub(crate) fn named(self) -> &'static str {
        match self {
            Self::Float => "a float",
            Self::Int => "an int",
            Self::Bool => "a bool",
            Self::String => "a string",
            Self::Timestamp => "a timestamp",
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float => "float",
            Self::Int => "int",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Timestamp => "timestamp",
        })
    }
}

/// One value of a [`Type`], or NULL.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value.
    Null(Type),
    /// A float.
    Float(f64),
    /// An integer.
    Int(i64),
    /// A boolean.
    Bool(bool),
    /// A text.
    String(String),
    /// Microseconds since 1970-01-01 UTC.
    Timestamp(i64),
}

impl fmt::Display for Value {
    /// As a literal of the expression language; a timestamp as microseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null(_) => f.write_str("NULL"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Int(value) | Self::Timestamp(value) => write!(f, "{value}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::String(text) => write!(f, "'{}'", text.replace('\'', "''")),
        }
    }
}

impl Value {
    /// The value's type.
    pub fn type_of(&self) -> Type {
        match self {
            Self::Null(of) => *of,
            Self::Float(_) => Type::Float,
            Self::Int(_) => Type::Int,
            Self::Bool(_) => Type::Bool,
            Self::String(_) => Type::String,
            Self::Timestamp(_) => Type::Timestamp,
        }
    }
}
