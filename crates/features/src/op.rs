//! The typed operators that expressions compile to.

use crate::Type;

/// One column operator. Operands are columns; the result is a column of [`Op::result`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Float2(Float2),
    Int2(Int2),
    Float1(Float1),
    Int1(Int1),
    Geo(Geo),
    Compare(Comparison, Compared),
    And,
    Or,
    Not,
    IsNull,
    /// Second operand where the first is true, else (false or NULL) the third.
    Select(Type),
    /// First operand, or the second where it is NULL.
    Coalesce(Type),
    Cast(Type, Type),
    /// A field of the local time in a zone of the plan's table. The graph makes the next two of it.
    LocalTime(TimeField, ZoneIndex),
    /// Whole seconds from 1970-01-01T00:00:00 to the local time in a zone, rounded down.
    LocalSecond(ZoneIndex),
    /// A field of a time told in such seconds.
    FieldOfSecond(TimeField),
    Text1(Text1),
    TextLength,
    Concat,
}

/// Index of a time zone in the plan.
pub(crate) type ZoneIndex = u16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Float2 {
    Add,
    Subtract,
    Multiply,
    /// NULL where the divisor is zero.
    Divide,
    /// Sign of the dividend; NULL where the divisor is zero.
    Modulo,
    Power,
    Atan2,
    Least,
    Greatest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Int2 {
    Add,
    Subtract,
    Multiply,
    /// Towards zero; NULL where the divisor is zero.
    Divide,
    Modulo,
    Least,
    Greatest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Float1 {
    Negate,
    Abs,
    Sign,
    Floor,
    Ceil,
    /// Half away from zero, as BigQuery and DuckDB.
    Round,
    Truncate,
    Sqrt,
    Exp,
    Ln,
    Ln1p,
    Log10,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Radians,
    Degrees,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Int1 {
    Negate,
    Abs,
    Sign,
}

/// Of two points: latitude, longitude, latitude, longitude in degrees. The graph makes arithmetic of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Geo {
    GreatCircle,
    Manhattan,
    Bearing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Compared {
    Float,
    Int,
    Bool,
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TimeField {
    Year,
    Quarter,
    Month,
    Day,
    DayOfYear,
    Hour,
    Minute,
    Second,
    /// Sunday 1 … Saturday 7 (BigQuery's DAYOFWEEK).
    DayOfWeek,
    /// Monday 1 … Sunday 7.
    IsoDayOfWeek,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Text1 {
    Lower,
    Upper,
    Trim,
}

impl Op {
    /// The type of the result.
    pub(crate) fn result(self) -> Type {
        match self {
            Self::Float2(_) | Self::Float1(_) | Self::Geo(_) => Type::Float,
            Self::Int2(_)
            | Self::Int1(_)
            | Self::LocalTime(..)
            | Self::LocalSecond(_)
            | Self::FieldOfSecond(_)
            | Self::TextLength => Type::Int,
            Self::Compare(..) | Self::And | Self::Or | Self::Not | Self::IsNull => Type::Bool,
            Self::Select(of) | Self::Coalesce(of) | Self::Cast(_, of) => of,
            Self::Text1(_) | Self::Concat => Type::String,
        }
    }
}
