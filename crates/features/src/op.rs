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
    Affix(Affix),
    /// Text, first character (from 1; from the end where negative), number of characters.
    Substring,
    /// Text, what to replace, by what.
    Replace,
    /// Against a pattern of the plan's tables.
    Like(TableIndex),
    /// Among boundaries of the plan's tables.
    Bucket(TableIndex),
    /// Among texts or integers of the plan's tables.
    Ordinal(TableIndex),
    /// xxHash64 of a text or integer, modulo a number.
    HashBucket(u32),
    /// The local date in a zone, in a calendar of the plan's tables.
    Holiday(ZoneIndex, TableIndex),
    /// The cell of a point: latitude, longitude in degrees.
    Cell(Cell),
    GeohashText(u8),
    /// The id of the zone that has a point, in zones of the plan's tables.
    ZoneOf(TableIndex, Type),
    /// Whether the zone of this place among the ids has a point.
    InZone(TableIndex, u32),
    /// The row of a lookup table that has the keys, by its number.
    LookupRow(TableIndex),
    /// A column's value in the row of that number.
    LookupValue(TableIndex, u16, Type),
}

/// Index of a time zone in the plan.
pub(crate) type ZoneIndex = u16;

/// Index of one of the plan's tables of its kind.
pub(crate) type TableIndex = u16;

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
pub(crate) enum Cell {
    /// JIS X 0410, level 1 to 6.
    Mesh(u8),
    /// Resolution 0 to 15.
    H3(u8),
    /// Precision 1 to 12.
    Geohash(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Affix {
    Start,
    End,
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
            | Self::TextLength
            | Self::Bucket(_)
            | Self::Ordinal(_)
            | Self::HashBucket(_)
            | Self::Cell(_)
            | Self::LookupRow(_) => Type::Int,
            Self::Compare(..)
            | Self::And
            | Self::Or
            | Self::Not
            | Self::IsNull
            | Self::Affix(_)
            | Self::Like(_)
            | Self::Holiday(..)
            | Self::InZone(..) => Type::Bool,
            Self::Select(of)
            | Self::Coalesce(of)
            | Self::Cast(_, of)
            | Self::ZoneOf(_, of)
            | Self::LookupValue(_, _, of) => of,
            Self::Text1(_) | Self::Concat | Self::Substring | Self::Replace | Self::GeohashText(_) => Type::String,
        }
    }

    /// Roughly how many nanoseconds a row costs in a long batch, for people who look for what is dear.
    pub(crate) fn cost_ns(self) -> u32 {
        match self {
            Self::Float1(
                Float1::Exp | Float1::Ln | Float1::Ln1p | Float1::Log10 | Float1::Sin | Float1::Cos | Float1::Tan,
            )
            | Self::LocalSecond(_)
            | Self::FieldOfSecond(_)
            | Self::Holiday(..)
            | Self::Bucket(_)
            | Self::Cell(Cell::Mesh(_) | Cell::Geohash(_)) => 10,
            Self::Float1(Float1::Asin | Float1::Acos | Float1::Atan) | Self::Float2(Float2::Modulo) => 20,
            Self::Float2(Float2::Power | Float2::Atan2)
            | Self::Compare(_, Compared::Text)
            | Self::Text1(_)
            | Self::TextLength
            | Self::Concat
            | Self::Affix(_)
            | Self::Substring
            | Self::Replace
            | Self::Like(_)
            | Self::GeohashText(_)
            | Self::Ordinal(_)
            | Self::HashBucket(_)
            | Self::LookupRow(_) => 40,
            Self::Cast(Type::String, _) | Self::Cast(_, Type::String) => 90,
            Self::Cell(Cell::H3(_)) => 300,
            Self::ZoneOf(..) | Self::InZone(..) => 500,
            _ => 1,
        }
    }
}
