//! The functions that expressions may call, by name, with the signatures that their reference is generated from.

use crate::{
    Type,
    op::{Float1, Geo, Op, Text1},
};

/// A function of the expression language.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// Its name, in upper case. Calls may use any case.
    pub name: &'static str,
    /// How it is called.
    pub signature: &'static str,
    /// What it gives, with units; when it is NULL beyond "an argument is NULL".
    pub description: &'static str,
    pub(crate) kind: FunctionKind,
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

const fn function(
    name: &'static str,
    signature: &'static str,
    description: &'static str,
    kind: FunctionKind,
) -> Function {
    Function { name, signature, description, kind }
}

/// Every function, in alphabetical order.
pub const FUNCTIONS: &[Function] = &[
    function("ABS", "ABS(x)", "Absolute value; an integer for an integer.", FunctionKind::Numeric(Float1::Abs)),
    function("ACOS", "ACOS(x)", "Arc cosine in radians. NULL outside -1..1.", float1(Float1::Acos)),
    function("ASIN", "ASIN(x)", "Arc sine in radians. NULL outside -1..1.", float1(Float1::Asin)),
    function("ATAN", "ATAN(x)", "Arc tangent in radians.", float1(Float1::Atan)),
    function("ATAN2", "ATAN2(y, x)", "Angle of the point (x, y) in radians, -pi..pi.", FunctionKind::Atan2),
    function(
        "BEARING_DEG",
        "BEARING_DEG(lat1, lon1, lat2, lon2)",
        "Initial bearing from the first point to the second, degrees clockwise from north, 0..360. 0 where they coincide.",
        geo(Geo::Bearing),
    ),
    function("CEIL", "CEIL(x)", "Smallest whole number that is not below x.", float1(Float1::Ceil)),
    function("COALESCE", "COALESCE(a, b, ...)", "The first argument that is not NULL.", FunctionKind::Coalesce),
    function("CONCAT", "CONCAT(a, b, ...)", "The texts, one after the other.", FunctionKind::Concat),
    function("COS", "COS(x)", "Cosine; x in radians.", float1(Float1::Cos)),
    function("DEGREES", "DEGREES(x)", "Radians to degrees.", float1(Float1::Degrees)),
    function("DIV", "DIV(a, b)", "Integer division towards zero. NULL where b is 0.", FunctionKind::IntegerDivide),
    function("EXP", "EXP(x)", "e to the power of x. NULL where it overflows.", float1(Float1::Exp)),
    function("FLOOR", "FLOOR(x)", "Largest whole number that is not above x.", float1(Float1::Floor)),
    function(
        "GREATEST",
        "GREATEST(a, b, ...)",
        "The greatest number; NULL where one is NULL, as in BigQuery.",
        FunctionKind::Extreme { greatest: true },
    ),
    function(
        "GREAT_CIRCLE_M",
        "GREAT_CIRCLE_M(lat1, lon1, lat2, lon2)",
        "Great-circle distance in metres between two points in degrees (haversine, Earth radius 6,371,008.8 m).",
        geo(Geo::GreatCircle),
    ),
    function("IF", "IF(condition, a, b)", "a where the condition is true, else b.", FunctionKind::If),
    function("IFNULL", "IFNULL(a, b)", "a, or b where a is NULL.", FunctionKind::Coalesce),
    function(
        "LEAST",
        "LEAST(a, b, ...)",
        "The least number; NULL where one is NULL, as in BigQuery.",
        FunctionKind::Extreme { greatest: false },
    ),
    function("LENGTH", "LENGTH(text)", "Number of Unicode characters.", plain(Op::TextLength, Type::String, 1)),
    function("LN", "LN(x)", "Natural logarithm. NULL where x is not above 0.", float1(Float1::Ln)),
    function("LN1P", "LN1P(x)", "LN(1 + x), exact for small x. NULL where x is not above -1.", float1(Float1::Ln1p)),
    function("LOG10", "LOG10(x)", "Logarithm to base 10. NULL where x is not above 0.", float1(Float1::Log10)),
    function("LOWER", "LOWER(text)", "In lower case.", plain(Op::Text1(Text1::Lower), Type::String, 1)),
    function(
        "MANHATTAN_M",
        "MANHATTAN_M(lat1, lon1, lat2, lon2)",
        "Metres along the meridian plus metres along the parallel of the mean latitude.",
        geo(Geo::Manhattan),
    ),
    function(
        "MOD",
        "MOD(a, b)",
        "Remainder, with the sign of a. NULL where b is 0. Also written a % b.",
        FunctionKind::Modulo,
    ),
    function("NULLIF", "NULLIF(a, b)", "NULL where a = b, else a.", FunctionKind::NullIf),
    function("PI", "PI()", "3.141592653589793.", FunctionKind::Pi),
    function("POW", "POW(x, y)", "x to the power of y. NULL where it is not a finite number.", FunctionKind::Power),
    function("POWER", "POWER(x, y)", "The same as POW.", FunctionKind::Power),
    function("RADIANS", "RADIANS(x)", "Degrees to radians.", float1(Float1::Radians)),
    function("ROUND", "ROUND(x)", "Nearest whole number, halves away from zero.", float1(Float1::Round)),
    function("SAFE_DIVIDE", "SAFE_DIVIDE(a, b)", "a / b. NULL where b is 0, as a / b is.", FunctionKind::SafeDivide),
    function("SIGN", "SIGN(x)", "-1, 0 or 1; an integer for an integer.", FunctionKind::Numeric(Float1::Sign)),
    function("SIN", "SIN(x)", "Sine; x in radians.", float1(Float1::Sin)),
    function("SQRT", "SQRT(x)", "Square root. NULL where x is below 0.", float1(Float1::Sqrt)),
    function("TAN", "TAN(x)", "Tangent; x in radians.", float1(Float1::Tan)),
    function("TRIM", "TRIM(text)", "Without white space at both ends.", plain(Op::Text1(Text1::Trim), Type::String, 1)),
    function("TRUNC", "TRUNC(x)", "The whole part.", float1(Float1::Truncate)),
    function(
        "UNIX_SECONDS",
        "UNIX_SECONDS(timestamp)",
        "Whole seconds since 1970-01-01 UTC, rounded down.",
        FunctionKind::UnixSeconds,
    ),
    function("UPPER", "UPPER(text)", "In upper case.", plain(Op::Text1(Text1::Upper), Type::String, 1)),
];

/// The function of a name, in any case.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_in_order() {
        assert!(FUNCTIONS.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(FUNCTIONS.iter().all(|function| function.signature.starts_with(function.name)));
    }
}
