//! Choice and NULL.

use super::{Function, FunctionKind};

const fn of(
    name: &'static str,
    signature: &'static str,
    description: &'static str,
    example: &'static str,
    kind: FunctionKind,
) -> Function {
    Function { name, signature, gives: "the arguments' type", description, example, kind }
}

pub(super) const FUNCTIONS: &[Function] = &[
    of(
        "COALESCE",
        "COALESCE(a, b, ...)",
        "The first argument that is not NULL; NULL where all are.",
        "COALESCE(x, n, 0)",
        FunctionKind::Coalesce,
    ),
    of(
        "IF",
        "IF(condition, a, b)",
        "a where the condition is true, else (false or NULL) b.",
        "IF(flag, x, 0)",
        FunctionKind::If,
    ),
    of("IFNULL", "IFNULL(a, b)", "a, or b where a is NULL.", "IFNULL(x, 0)", FunctionKind::Coalesce),
    of("NULLIF", "NULLIF(a, b)", "NULL where a = b, else a.", "NULLIF(n, 264)", FunctionKind::NullIf),
];
