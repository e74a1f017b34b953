//! Functions of texts.

use super::{Function, FunctionKind, affix, plain};
use crate::{
    Type,
    op::{Affix, Op, Text1},
};

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

pub(super) const FUNCTIONS: &[Function] = &[
    of(
        "CONCAT",
        "CONCAT(a, b, ...)",
        "string",
        "The texts, one after the other. Also written a || b.",
        "CONCAT(name, '-', name)",
        FunctionKind::Concat,
    ),
    of(
        "ENDS_WITH",
        "ENDS_WITH(text, end)",
        "bool",
        "Whether the text ends with the other.",
        "ENDS_WITH(name, 'ing')",
        affix(Affix::End),
    ),
    of(
        "LEFT",
        "LEFT(text, n)",
        "string",
        "The first n characters, or all where there are fewer. NULL where n is below 0.",
        "LEFT(name, 2)",
        FunctionKind::End { right: false },
    ),
    of(
        "LENGTH",
        "LENGTH(text)",
        "int",
        "Number of Unicode characters.",
        "LENGTH(name)",
        plain(Op::TextLength, Type::String, 1),
    ),
    of(
        "LOWER",
        "LOWER(text)",
        "string",
        "In lower case.",
        "LOWER(name)",
        plain(Op::Text1(Text1::Lower), Type::String, 1),
    ),
    of(
        "REPLACE",
        "REPLACE(text, from, to)",
        "string",
        "The text with every `from`, from left to right, replaced by `to`; as it is where `from` is empty.",
        "REPLACE(name, 'a', 'bb')",
        FunctionKind::Replace,
    ),
    of(
        "RIGHT",
        "RIGHT(text, n)",
        "string",
        "The last n characters, or all where there are fewer. NULL where n is below 0.",
        "RIGHT(name, 2)",
        FunctionKind::End { right: true },
    ),
    of(
        "STARTS_WITH",
        "STARTS_WITH(text, start)",
        "bool",
        "Whether the text starts with the other.",
        "STARTS_WITH(name, 'lo')",
        affix(Affix::Start),
    ),
    of(
        "SUBSTR",
        "SUBSTR(text, start[, length])",
        "string",
        "Characters from `start` on (1 is the first; -1 the last; 0 counts as 1), all or at most `length`. NULL where the length \
         is below 0.",
        "SUBSTR(name, 2, 3)",
        FunctionKind::Substring,
    ),
    of(
        "TRIM",
        "TRIM(text)",
        "string",
        "Without white space at both ends.",
        "TRIM(name)",
        plain(Op::Text1(Text1::Trim), Type::String, 1),
    ),
    of(
        "UPPER",
        "UPPER(text)",
        "string",
        "In upper case.",
        "UPPER(name)",
        plain(Op::Text1(Text1::Upper), Type::String, 1),
    ),
];
