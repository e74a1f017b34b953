//! Functions of numbers.

use super::{Function, FunctionKind, float1};
use crate::op::Float1;

const fn of(
    name: &'static str,
    signature: &'static str,
    gives: &'static str,
    description: &'static str,
    example: &'static str,
    kind: FunctionKind,
) -> Function {
    Function { name, signature, gives, description, example, kind }
}

const fn float(
    name: &'static str,
    signature: &'static str,
    description: &'static str,
    example: &'static str,
    kind: FunctionKind,
) -> Function {
    of(name, signature, "float", description, example, kind)
}

pub(super) const FUNCTIONS: &[Function] = &[
    of(
        "ABS",
        "ABS(x)",
        "int or float",
        "Absolute value; an integer for an integer.",
        "ABS(x)",
        FunctionKind::Numeric(Float1::Abs),
    ),
    float("ACOS", "ACOS(x)", "Arc cosine in radians. NULL outside -1..1.", "ACOS(x / 10)", float1(Float1::Acos)),
    float("ASIN", "ASIN(x)", "Arc sine in radians. NULL outside -1..1.", "ASIN(x / 10)", float1(Float1::Asin)),
    float("ATAN", "ATAN(x)", "Arc tangent in radians.", "ATAN(x)", float1(Float1::Atan)),
    float("ATAN2", "ATAN2(y, x)", "Angle of the point (x, y) in radians, -pi..pi.", "ATAN2(y, x)", FunctionKind::Atan2),
    of(
        "BUCKET",
        "BUCKET(x, b1, b2, ...)",
        "int",
        "How many of the boundaries are not above x: 0 below b1, 1 from b1 on, and so on, as BigQuery's RANGE_BUCKET. \
         The boundaries are constants in ascending order.",
        "BUCKET(x, 1, 2.5, 10)",
        FunctionKind::Bucket,
    ),
    float("CEIL", "CEIL(x)", "Smallest whole number that is not below x.", "CEIL(x)", float1(Float1::Ceil)),
    of(
        "CLIP",
        "CLIP(x, low, high)",
        "int or float",
        "x, or low where x is below it, or high where x is above it; an integer where all are. The bounds are constants, \
         low not above high.",
        "CLIP(x, 0, 100)",
        FunctionKind::Clip,
    ),
    float("COS", "COS(x)", "Cosine; x in radians.", "COS(x)", float1(Float1::Cos)),
    float(
        "DEGREES",
        "DEGREES(x)",
        "Radians to degrees. NULL where it overflows.",
        "DEGREES(x)",
        float1(Float1::Degrees),
    ),
    of(
        "DIV",
        "DIV(a, b)",
        "int",
        "Integer division towards zero. NULL where b is 0 or the result overflows.",
        "DIV(n, 7)",
        FunctionKind::IntegerDivide,
    ),
    float("EXP", "EXP(x)", "e to the power of x. NULL where it overflows.", "EXP(x)", float1(Float1::Exp)),
    float("FLOOR", "FLOOR(x)", "Largest whole number that is not above x.", "FLOOR(x)", float1(Float1::Floor)),
    of(
        "GREATEST",
        "GREATEST(a, b, ...)",
        "int or float",
        "The greatest number; NULL where one is NULL, as in BigQuery.",
        "GREATEST(x, y, 0)",
        FunctionKind::Extreme { greatest: true },
    ),
    of(
        "HASH_BUCKET",
        "HASH_BUCKET(x, n)",
        "int",
        "A bucket 0..n-1 of an int or a text, always the same for the same value: xxHash64 (seed 0) of the text's UTF-8 \
         bytes, or of the integer's 8 bytes (little-endian), modulo n. n is a constant, 1..2147483647.",
        "HASH_BUCKET(name, 32)",
        FunctionKind::HashBucket,
    ),
    of(
        "LEAST",
        "LEAST(a, b, ...)",
        "int or float",
        "The least number; NULL where one is NULL, as in BigQuery.",
        "LEAST(x, y, 100)",
        FunctionKind::Extreme { greatest: false },
    ),
    float("LN", "LN(x)", "Natural logarithm. NULL where x is not above 0.", "LN(x)", float1(Float1::Ln)),
    float(
        "LN1P",
        "LN1P(x)",
        "LN(1 + x), exact for small x. NULL where x is not above -1.",
        "LN1P(x)",
        float1(Float1::Ln1p),
    ),
    float("LOG10", "LOG10(x)", "Logarithm to base 10. NULL where x is not above 0.", "LOG10(x)", float1(Float1::Log10)),
    of(
        "MOD",
        "MOD(a, b)",
        "int or float",
        "Remainder, with the sign of a. NULL where b is 0. Also written a % b.",
        "MOD(n, 7)",
        FunctionKind::Modulo,
    ),
    of(
        "ORDINAL",
        "ORDINAL(x, a, b, ...)",
        "int",
        "The place of x among the constants a, b, ..., which are all texts or all integers: 0 for a, 1 for b, and so on. NULL where x is none \
         of them. A one-hot column is written as a comparison: x = 'a'.",
        "ORDINAL(name, 'low', 'middle', 'high')",
        FunctionKind::Ordinal,
    ),
    float("PI", "PI()", "3.141592653589793.", "PI()", FunctionKind::Pi),
    float(
        "POW",
        "POW(x, y)",
        "x to the power of y. NULL where it is not a finite number.",
        "POW(x, 2)",
        FunctionKind::Power,
    ),
    float("POWER", "POWER(x, y)", "The same as POW.", "POWER(x, 0.5)", FunctionKind::Power),
    float("RADIANS", "RADIANS(x)", "Degrees to radians.", "RADIANS(x)", float1(Float1::Radians)),
    float("ROUND", "ROUND(x)", "Nearest whole number, halves away from zero.", "ROUND(x)", float1(Float1::Round)),
    float(
        "SAFE_DIVIDE",
        "SAFE_DIVIDE(a, b)",
        "a / b. NULL where b is 0, as a / b is.",
        "SAFE_DIVIDE(x, y)",
        FunctionKind::SafeDivide,
    ),
    of(
        "SIGN",
        "SIGN(x)",
        "int or float",
        "-1, 0 or 1; an integer for an integer.",
        "SIGN(n)",
        FunctionKind::Numeric(Float1::Sign),
    ),
    float("SIN", "SIN(x)", "Sine; x in radians.", "SIN(x)", float1(Float1::Sin)),
    float("SQRT", "SQRT(x)", "Square root. NULL where x is below 0.", "SQRT(x)", float1(Float1::Sqrt)),
    float(
        "STANDARDIZE",
        "STANDARDIZE(x, mean, sd)",
        "(x - mean) / sd, where mean and sd are constants and sd is above 0.",
        "STANDARDIZE(x, 12.5, 3)",
        FunctionKind::Standardize,
    ),
    float("TAN", "TAN(x)", "Tangent; x in radians.", "TAN(x)", float1(Float1::Tan)),
    float("TRUNC", "TRUNC(x)", "The whole part.", "TRUNC(x)", float1(Float1::Truncate)),
    of(
        "WINSORIZE",
        "WINSORIZE(x, low, high)",
        "int or float",
        "The same as CLIP.",
        "WINSORIZE(n, -5, 5)",
        FunctionKind::Clip,
    ),
];
