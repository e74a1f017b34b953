//! The functions that expressions may call, by group, with what their reference is generated from.

mod calendar;
mod geography;
mod logic;
mod lookup;
mod numbers;
mod reference;
mod text;

use std::fmt;

pub use reference::reference_markdown;

use crate::{
    Type,
    op::{Affix, Float1, Geo, Op},
};

/// A function of the expression language.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// Its name, in upper case. Calls may use any case.
    pub name: &'static str,
    /// How it is called.
    pub signature: &'static str,
    /// The type of what it gives: a type's name, or what it depends on.
    pub gives: &'static str,
    /// What it gives, with units; when it is NULL beyond "an argument is NULL".
    pub description: &'static str,
    /// A call that compiles against [`EXAMPLE_SPEC`].
    pub example: &'static str,
    pub(crate) kind: FunctionKind,
}

/// What a function is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Arithmetic, functions of numbers, numbers in classes.
    Numbers,
    /// Choice and NULL.
    Logic,
    /// Texts.
    Text,
    /// Local time, holidays, cycles.
    Calendar,
    /// Distances, projections, cells, zones.
    Geography,
    /// Tables that a release brings.
    Lookup,
}

impl Group {
    /// What holds for all of its functions.
    pub fn introduction(self) -> &'static str {
        match self {
            Self::Numbers => "An int is taken as a float, except where the function gives an int for ints.",
            Self::Logic => "Arguments have one type, or are ints and floats, which are then floats.",
            Self::Text => {
                "Positions and lengths are in Unicode characters. A text of more than 16,384 bytes is NULL. `text LIKE 'a%_'` compares with a constant pattern: `%` is any \
                 characters, `_` is one, `\\` takes the next as it is."
            }
            Self::Calendar => {
                "Time zones are constants, names of the IANA database such as 'Asia/Tokyo'. Other fields of the local time are \
                 written `EXTRACT(HOUR FROM requested_at AT TIME ZONE 'Asia/Tokyo')`: YEAR, QUARTER, MONTH, DAY, DAYOFYEAR, \
                 HOUR, MINUTE, SECOND, DAYOFWEEK (Sunday 1) and ISODOW (Monday 1). A spec declares holidays of its own as \
                 `[holidays.company]` with `dates = [\"2026-01-31\"]`."
            }
            Self::Geography => {
                "Latitudes and longitudes are in degrees (WGS 84, north and east positive). The same bits on every machine. A spec declares \
                 zones as `[zones.airports]` with `geojson`, a FeatureCollection of polygons and multipolygons (RFC 7946), and `id`, \
                 the property of each feature that is its id: all texts or all whole numbers."
            }
            Self::Lookup => {
                "A spec declares a table as `[lookups.zone_pair]` with `keys = { pickup_zone = \"int\", dropoff_zone = \"int\" }` (1 to 4 \
                 of int, bool, string, in the order of a call's arguments) and `values = { median_s = \"float\" }` (float or int). \
                 Its content comes with the release, which pins the content's hash."
            }
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Numbers => "Numbers",
            Self::Logic => "Choice and NULL",
            Self::Text => "Text",
            Self::Calendar => "Calendar",
            Self::Geography => "Geography",
            Self::Lookup => "Lookup tables",
        })
    }
}

/// How a call becomes operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FunctionKind {
    /// Operator over arguments of one type.
    Plain {
        op: Op,
        argument: Type,
        count: usize,
    },
    /// `ABS`, `SIGN`: integer for integers, else float.
    Numeric(Float1),
    /// `LEAST`, `GREATEST`: any number of numbers.
    Extreme {
        greatest: bool,
    },
    Modulo,
    IntegerDivide,
    SafeDivide,
    Power,
    Atan2,
    Pi,
    Coalesce,
    NullIf,
    If,
    UnixSeconds,
    Concat,
    Bucket,
    Clip,
    Standardize,
    HashBucket,
    Ordinal,
    Substring,
    /// The first or the last characters.
    End {
        right: bool,
    },
    Replace,
    MinuteOfWeek,
    SecondsOfDay,
    /// A place on a circle.
    Cycle {
        cosine: bool,
    },
    /// Metres east or north of an origin.
    Project {
        east: bool,
    },
    IsHoliday,
    Cell(CellSystem),
    ZoneOf,
    InZone,
    Lookup,
}

/// A system of cells on the Earth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CellSystem {
    Mesh,
    H3,
    GeohashText,
    GeohashInt,
}

impl FunctionKind {
    /// The least and the greatest number of arguments.
    pub(crate) fn arguments(self) -> (usize, usize) {
        match self {
            Self::Plain { count, .. } => (count, count),
            Self::Pi => (0, 0),
            Self::Numeric(_) | Self::UnixSeconds => (1, 1),
            Self::Modulo
            | Self::IntegerDivide
            | Self::SafeDivide
            | Self::Power
            | Self::Atan2
            | Self::NullIf
            | Self::HashBucket
            | Self::End { .. }
            | Self::MinuteOfWeek
            | Self::SecondsOfDay
            | Self::Cycle { .. } => (2, 2),
            Self::Substring => (2, 3),
            Self::If
            | Self::Clip
            | Self::Standardize
            | Self::Replace
            | Self::IsHoliday
            | Self::Cell(_)
            | Self::ZoneOf => (3, 3),
            Self::InZone | Self::Project { .. } => (4, 4),
            Self::Extreme { .. } | Self::Coalesce | Self::Concat => (1, usize::MAX),
            Self::Bucket | Self::Ordinal => (2, usize::MAX),
            Self::Lookup => (4, 3 + crate::lookup::MAX_KEYS),
        }
    }
}

const fn plain(op: Op, argument: Type, count: usize) -> FunctionKind {
    FunctionKind::Plain { op, argument, count }
}

const fn float1(function: Float1) -> FunctionKind {
    plain(Op::Float1(function), Type::Float, 1)
}

const fn geo(function: Geo) -> FunctionKind {
    plain(Op::Geo(function), Type::Float, 4)
}

const fn affix(affix: Affix) -> FunctionKind {
    plain(Op::Affix(affix), Type::String, 2)
}

/// Every group with its functions in alphabetical order.
pub const GROUPS: &[(Group, &[Function])] = &[
    (Group::Numbers, numbers::FUNCTIONS),
    (Group::Logic, logic::FUNCTIONS),
    (Group::Text, text::FUNCTIONS),
    (Group::Calendar, calendar::FUNCTIONS),
    (Group::Geography, geography::FUNCTIONS),
    (Group::Lookup, lookup::FUNCTIONS),
];

/// Every function.
pub fn functions() -> impl Iterator<Item = &'static Function> + Clone {
    GROUPS.iter().flat_map(|(_, functions)| functions.iter())
}

/// The function of a name, in any case.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    functions().find(|function| function.name.eq_ignore_ascii_case(name))
}

/// A spec without outputs of its own, against which every function's example compiles: put the expression in place of
/// [`EXAMPLE_PLACE`]. It needs a table for `zone_pair`.
pub const EXAMPLE_SPEC: &str = include_str!("catalogue/example.toml");

/// What stands in [`EXAMPLE_SPEC`] for an expression.
pub const EXAMPLE_PLACE: &str = "@EXPRESSION@";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_in_order() {
        let mut names: Vec<_> = functions().map(|function| function.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]));
        for (_, functions) in GROUPS {
            assert!(functions.windows(2).all(|pair| pair[0].name < pair[1].name));
            for Function { name, signature, description, example, .. } in *functions {
                assert!(signature.starts_with(&format!("{name}(")), "{name}");
                assert!(example.contains(&format!("{name}(")), "{name}");
                assert!(description.ends_with('.'), "{name}");
            }
        }
    }
}
