//! The reference of the expression language, for people.

use std::fmt::Write;

use super::{Function, GROUPS};

const INTRODUCTION: &str = "\
# Functions of the feature language

Features are SQL scalar expressions over the spec's inputs and other features. Names of functions may be written in any \
case. Types are float, int, bool, string and timestamp; an int is taken where a float is needed.

- Where an argument is NULL, so is the result, unless the function says otherwise.
- A float is always finite: what would be infinite or not a number is NULL. What overflows an int is NULL.
- *Constant* means a literal, or an expression of literals.
- Operators: `+ - * / %`, `= <> < <= > >=`, `AND OR NOT`, `||`, `BETWEEN`, `IN`, `LIKE`, `IS [NOT] NULL/TRUE/FALSE`, \
`CASE`, `CAST(x AS FLOAT64/INT64/BOOL/STRING)`, `EXTRACT(HOUR FROM t AT TIME ZONE 'Asia/Tokyo')`, \
`TIMESTAMP '2026-01-31T09:30:00Z'`.
- `a / b` is a float; `DIV(a, b)` divides integers. A one-hot column is a comparison: `name = 'low'`.
";

/// The reference of all functions as Markdown, by group.
pub fn reference_markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    for (group, functions) in GROUPS {
        _ = writeln!(text, "\n## {group}\n\n{}", group.introduction());
        for Function { signature, gives, description, example, .. } in *functions {
            _ = writeln!(text, "\n### `{signature}`\n\nGives: {gives}. {description}\n\n    {example}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_every_function_once_under_its_group() {
        let text = reference_markdown();
        let mut rest = text.as_str();
        for (group, functions) in GROUPS {
            rest = rest.split_once(&format!("\n## {group}\n")).unwrap().1;
            for function in *functions {
                let heading = format!("\n### `{}`\n", function.signature);
                assert_eq!(text.matches(&heading).count(), 1, "{heading}");
                rest = rest.split_once(&heading).unwrap().1;
                let (body, _) = rest.split_once("\n### ").unwrap_or((rest, ""));
                assert!(body.contains(function.description) && body.contains(function.example), "{heading}");
            }
        }
        assert_eq!(text.matches("\n### ").count(), super::super::functions().count());
    }
}
