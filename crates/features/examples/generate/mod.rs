//! Specs and rows made at random, the same for the same seed: for the agreement with DuckDB and for the fuzzer.
//!
//! An expression is written twice: as our spec has it, and as DuckDB needs it to mean the same. The second differs only
//! by the rules that are listed as differences (`agreement/differences.rs`): `fin(…)` is NULL where a float is not
//! finite, `TRY(…)` where an integer overflows, and `our_…` are macros of `tests/agree_with_duckdb.py`.
#![allow(dead_code, reason = "each program uses its part")]

mod rows;

pub(crate) use rows::{COLUMNS, row};

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound.max(1)
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// One expression: ours, and DuckDB's.
#[derive(Debug, Clone)]
pub(crate) struct Sql {
    pub(crate) ours: String,
    pub(crate) theirs: String,
}

/// The types of expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Float,
    Int,
    Bool,
    Text,
    Timestamp,
}

pub(crate) const KINDS: [Kind; 4] = [Kind::Float, Kind::Int, Kind::Bool, Kind::Text];

const ZONES: [&str; 5] = ["UTC", "Asia/Tokyo", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"];
const TEXTS: [&str; 8] = ["", "a", "ab", "Ōsaka 東京", "B%", "it''s", " a ", "🚕x"];
const PATTERNS: [&str; 9] = ["", "%", "a%", "%a", "_", "%東_", "a_c%", "%\\%%", "_%b%_"];
const FLOATS: [&str; 12] = [
    "0e0",
    "(-0e0)",
    "1e0",
    "5e-1",
    "2.5e0",
    "(-1.5e0)",
    "1e15",
    "1e300",
    "1e-300",
    "3.25e2",
    "1e-3",
    "9.007199254740993e15",
];
const INTS: [&str; 9] = ["0", "1", "(-1)", "2", "3", "7", "60", "9223372036854775807", "1000000007"];

/// Functions whose last bits are their library's: only around expressions that both compute to the last bit.
const ELEMENTARY: [(&str, &str); 12] = [
    ("SIN", "sin"),
    ("COS", "cos"),
    ("TAN", "tan"),
    ("ASIN", "asin"),
    ("ACOS", "acos"),
    ("ATAN", "atan"),
    ("EXP", "exp"),
    ("LN", "ln"),
    ("LOG10", "log10"),
    ("RADIANS", "radians"),
    ("DEGREES", "degrees"),
    ("SQRT", "sqrt"),
];

fn same(text: impl Into<String>) -> Sql {
    let text = text.into();
    Sql { ours: text.clone(), theirs: text }
}

/// Fills `$1`, `$2` … of both templates.
fn of(ours: &str, theirs: &str, arguments: &[Sql]) -> Sql {
    let fill = |template: &str, side: fn(&Sql) -> &str| {
        let mut text = String::with_capacity(template.len() + 32 * arguments.len());
        let mut parts = template.split('$');
        text.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let place = usize::from(part.as_bytes()[0] - b'1');
            text.push_str(side(&arguments[place]));
            text.push_str(&part[1..]);
        }
        text
    };
    Sql { ours: fill(ours, |sql| &sql.ours), theirs: fill(theirs, |sql| &sql.theirs) }
}

/// The same text on both sides.
fn both(template: &str, arguments: &[Sql]) -> Sql {
    of(template, template, arguments)
}

/// An expression of a kind; at its root a float may be of an elementary function.
pub(crate) fn expression(random: &mut Random, kind: Kind, depth: usize) -> Sql {
    if kind == Kind::Float && random.one_in(3) {
        return rounded(random, depth);
    }
    exact(random, kind, depth)
}

fn rounded(random: &mut Random, depth: usize) -> Sql {
    let inner = number(random, depth.saturating_sub(1));
    match random.below(8) {
        0 => of("POW($1, $2)", "fin(pow(CAST($1 AS DOUBLE), $2))", &[inner, number(random, depth.saturating_sub(1))]),
        1 => of(
            "ATAN2($1, $2)",
            "fin(atan2(CAST($1 AS DOUBLE), CAST($2 AS DOUBLE)))",
            &[inner, number(random, depth.saturating_sub(1))],
        ),
        2 => both("COALESCE($1, $2)", &[rounded(random, depth.saturating_sub(1)), inner]),
        _ => {
            let (ours, theirs) = random.pick(&ELEMENTARY);
            of(&format!("{ours}($1)"), &format!("fin({theirs}(CAST($1 AS DOUBLE)))"), &[inner])
        }
    }
}

/// A float or an integer.
fn number(random: &mut Random, depth: usize) -> Sql {
    let kind = if random.one_in(3) { Kind::Int } else { Kind::Float };
    exact(random, kind, depth)
}

/// An expression that both sides compute to the last bit.
fn exact(random: &mut Random, kind: Kind, depth: usize) -> Sql {
    if depth == 0 || random.one_in(8) {
        return leaf(random, kind);
    }
    if kind != Kind::Timestamp && random.one_in(5) {
        return choice(random, kind, depth - 1);
    }
    match kind {
        Kind::Float => float(random, depth - 1),
        Kind::Int => int(random, depth - 1),
        Kind::Bool => boolean(random, depth - 1),
        Kind::Text => text(random, depth - 1),
        Kind::Timestamp => leaf(random, kind),
    }
}

fn leaf(random: &mut Random, kind: Kind) -> Sql {
    let is_literal = random.one_in(3);
    match kind {
        Kind::Float if is_literal => same(random.pick(&FLOATS)),
        Kind::Float => same(random.pick(&["x", "y"])),
        Kind::Int if random.one_in(40) => of("(-9223372036854775808)", "CAST(-9223372036854775808 AS BIGINT)", &[]),
        Kind::Int if is_literal => same(random.pick(&INTS)),
        Kind::Int => same(random.pick(&["i", "j"])),
        Kind::Bool if is_literal => same(random.pick(&["TRUE", "FALSE"])),
        Kind::Bool => same(random.pick(&["b", "c"])),
        Kind::Text if is_literal => same(format!("'{}'", random.pick(&TEXTS))),
        Kind::Text => same(random.pick(&["s", "u"])),
        Kind::Timestamp if is_literal => {
            of("TIMESTAMP '2024-02-29T23:59:59.5Z'", "TIMESTAMPTZ '2024-02-29 23:59:59.5+00'", &[])
        }
        Kind::Timestamp => same("t"),
    }
}

/// What can be of any type.
fn choice(random: &mut Random, kind: Kind, depth: usize) -> Sql {
    let first = exact(random, kind, depth);
    // Integers among floats become floats.
    let other = if kind == Kind::Float && random.one_in(3) { Kind::Int } else { kind };
    let second = exact(random, other, depth);
    match random.below(7) {
        0 => both("COALESCE($1, $2)", &[first, second]),
        1 => both("NULLIF($1, $2)", &[first, second]),
        2 => both("IF($3, $1, $2)", &[first, second, exact(random, Kind::Bool, depth)]),
        3 => both(
            "CASE WHEN $3 THEN $1 WHEN $4 THEN $2 END",
            &[first, second, exact(random, Kind::Bool, depth), exact(random, Kind::Bool, depth)],
        ),
        4 => {
            let of = random.pick(&[Kind::Int, Kind::Text, Kind::Bool]);
            let (operand, one, two) = (exact(random, of, depth), leaf(random, of), leaf(random, of));
            both("CASE $3 WHEN $4 THEN $1 WHEN $5 THEN NULL ELSE $2 END", &[first, second, operand, one, two])
        }
        5 => both("CASE WHEN $2 THEN NULL ELSE $1 END", &[first, exact(random, Kind::Bool, depth)]),
        _ => both("COALESCE(NULL, $1, $2)", &[first, second]),
    }
}

fn float(random: &mut Random, depth: usize) -> Sql {
    let a = exact(random, Kind::Float, depth);
    match random.below(16) {
        operator @ 0..=5 => {
            let b = number(random, depth);
            let (a, b) = if random.one_in(2) { (a, b) } else { (b, a) };
            let operator = ["+", "-", "*", "/", "%", "*"][operator];
            let template = format!("($1 {operator} $2)");
            of(&template, &format!("fin{template}"), &[a, b])
        }
        // Of two integers too.
        6 => of("($1 / $2)", "fin($1 / $2)", &[exact(random, Kind::Int, depth), exact(random, Kind::Int, depth)]),
        7 => both("(-$1)", &[a]),
        8 => both("ABS($1)", &[a]),
        9 => of("SIGN($1)", "CAST(sign($1) AS DOUBLE)", &[a]),
        10 => {
            let function = random.pick(&["FLOOR", "CEIL", "ROUND", "TRUNC"]);
            both(&format!("{function}($1)"), &[a])
        }
        11 => of("SQRT($1)", "fin(sqrt($1))", &[a]),
        12 => {
            let function = random.pick(&["LEAST", "GREATEST"]);
            of(&format!("{function}($1, $2)"), &format!("our_{function}($1, $2)"), &[a, number(random, depth)])
        }
        13 => both("CAST($1 AS DOUBLE)", &[exact(random, Kind::Int, depth)]),
        14 => of("CAST(d AS DOUBLE)", "fin(TRY_CAST(d AS DOUBLE))", &[]),
        _ => of("SAFE_DIVIDE($1, $2)", "fin($1 / $2)", &[a, number(random, depth)]),
    }
}

fn int(random: &mut Random, depth: usize) -> Sql {
    let a = exact(random, Kind::Int, depth);
    match random.below(17) {
        operator @ 0..=3 => {
            let operator = ["+", "-", "*", "%"][operator];
            let ours = format!("($1 {operator} $2)");
            of(&ours, &format!("TRY(CAST($1 AS BIGINT) {operator} $2)"), &[a, exact(random, Kind::Int, depth)])
        }
        4 | 5 => of("DIV($1, $2)", "TRY(CAST($1 AS BIGINT) // $2)", &[a, exact(random, Kind::Int, depth)]),
        6 => of("MOD($1, $2)", "TRY(mod(CAST($1 AS BIGINT), $2))", &[a, exact(random, Kind::Int, depth)]),
        // DuckDB widens the negative of the least integer where it is a literal.
        7 => of("(-$1)", "TRY(0 - CAST($1 AS BIGINT))", &[a]),
        8 => of("ABS($1)", "TRY(abs(CAST($1 AS BIGINT)))", &[a]),
        9 => of("SIGN($1)", "CAST(sign($1) AS BIGINT)", &[a]),
        10 => {
            let function = random.pick(&["LEAST", "GREATEST"]);
            of(
                &format!("{function}($1, $2)"),
                &format!("our_{function}($1, $2)"),
                &[a, exact(random, Kind::Int, depth)],
            )
        }
        11 => both("LENGTH($1)", &[exact(random, Kind::Text, depth)]),
        12 | 13 => extract(random),
        14 => of("CAST($1 AS BIGINT)", "TRY_CAST(round($1) AS BIGINT)", &[exact(random, Kind::Float, depth)]),
        15 => both("CAST($1 AS BIGINT)", &[exact(random, Kind::Bool, depth)]),
        _ => of("CAST(d AS BIGINT)", "our_int(d)", &[]),
    }
}

fn extract(random: &mut Random) -> Sql {
    let instant = leaf(random, Kind::Timestamp);
    if random.one_in(6) {
        return of("UNIX_SECONDS($1)", "our_unix_seconds($1)", &[instant]);
    }
    let field =
        random.pick(&["YEAR", "QUARTER", "MONTH", "DAY", "DOY", "HOUR", "MINUTE", "SECOND", "ISODOW", "DAYOFWEEK"]);
    let zone = random.pick(&ZONES);
    let ours = format!("EXTRACT({field} FROM $1 AT TIME ZONE '{zone}')");
    match field {
        "DAYOFWEEK" => of(&ours, &format!("(EXTRACT(DOW FROM ($1 AT TIME ZONE '{zone}')) + 1)"), &[instant]),
        _ => of(&ours, &format!("EXTRACT({field} FROM ($1 AT TIME ZONE '{zone}'))"), &[instant]),
    }
}

fn boolean(random: &mut Random, depth: usize) -> Sql {
    let a = exact(random, Kind::Bool, depth);
    let compared =
        |random: &mut Random| random.pick(&[Kind::Float, Kind::Int, Kind::Text, Kind::Bool, Kind::Timestamp]);
    match random.below(16) {
        0 | 1 => both("($1 AND $2)", &[a, exact(random, Kind::Bool, depth)]),
        2 | 3 => both("($1 OR $2)", &[a, exact(random, Kind::Bool, depth)]),
        4 => both("(NOT $1)", &[a]),
        5 => {
            let kind = compared(random);
            let test = random.pick(&["NULL", "NOT NULL"]);
            both(&format!("($1 IS {test})"), &[exact(random, kind, depth)])
        }
        6 => {
            let test = random.pick(&["TRUE", "NOT TRUE", "FALSE", "NOT FALSE"]);
            both(&format!("($1 IS {test})"), &[a])
        }
        7..=9 => {
            let kind = compared(random);
            let operator = random.pick(&["=", "<>", "<", "<=", ">", ">="]);
            both(&format!("($1 {operator} $2)"), &[exact(random, kind, depth), exact(random, kind, depth)])
        }
        10 => {
            let operator = random.pick(&["=", "<>", "<", "<=", ">", ">="]);
            both(&format!("($1 {operator} $2)"), &[number(random, depth), number(random, depth)])
        }
        11 => {
            let (kind, not) = (compared(random), random.pick(&["", "NOT "]));
            let operands = [exact(random, kind, depth), leaf(random, kind), exact(random, kind, depth)];
            both(&format!("($1 {not}BETWEEN $2 AND $3)"), &operands)
        }
        12 => {
            let (kind, not) = (compared(random), random.pick(&["", "NOT "]));
            let last = if random.one_in(3) { same("NULL") } else { leaf(random, kind) };
            let operands = [exact(random, kind, depth), leaf(random, kind), exact(random, kind, depth), last];
            both(&format!("($1 {not}IN ($2, $3, $4))"), &operands)
        }
        13 => {
            let (pattern, not) = (random.pick(&PATTERNS), random.pick(&["", "NOT "]));
            let ours = format!("($1 {not}LIKE '{pattern}')");
            of(&ours, &format!("($1 {not}LIKE '{pattern}' ESCAPE '\\')"), &[exact(random, Kind::Text, depth)])
        }
        14 => {
            let function = random.pick(&["STARTS_WITH", "ENDS_WITH"]);
            both(&format!("{function}($1, $2)"), &[exact(random, Kind::Text, depth), exact(random, Kind::Text, depth)])
        }
        _ => match random.below(3) {
            0 => both("CAST($1 AS BOOLEAN)", &[exact(random, Kind::Int, depth)]),
            1 => both("CAST($1 AS BOOLEAN)", &[exact(random, Kind::Float, depth)]),
            _ => of("CAST(d AS BOOLEAN)", "our_bool(d)", &[]),
        },
    }
}

fn text(random: &mut Random, depth: usize) -> Sql {
    let a = exact(random, Kind::Text, depth);
    let small = |random: &mut Random| match random.below(3) {
        0 => of("($1 % 5)", "($1 % 5)", &[leaf(random, Kind::Int)]),
        _ => same(random.pick(&["0", "1", "2", "3", "(-1)", "(-2)", "9"])),
    };
    match random.below(11) {
        0 | 1 => both("($1 || $2)", &[a, exact(random, Kind::Text, depth)]),
        2 => of("CONCAT($1, $2)", "($1 || $2)", &[a, exact(random, Kind::Text, depth)]),
        3 => {
            let function = random.pick(&["LOWER", "UPPER"]);
            both(&format!("{function}($1)"), &[a])
        }
        4 => both("TRIM($1)", &[a]),
        5 => of("SUBSTR($1, $2, $3)", "our_substr($1, $2, $3)", &[a, small(random), small(random)]),
        6 => of("SUBSTR($1, $2)", "our_substr($1, $2, 99999)", &[a, small(random)]),
        7 => {
            let function = random.pick(&["LEFT", "RIGHT"]);
            of(&format!("{function}($1, $2)"), &format!("our_{function}($1, $2)"), &[a, small(random)])
        }
        8 => both("REPLACE($1, $2, $3)", &[a, leaf(random, Kind::Text), leaf(random, Kind::Text)]),
        9 => both("CAST($1 AS VARCHAR)", &[exact(random, Kind::Int, depth)]),
        _ => both("CAST($1 AS VARCHAR)", &[exact(random, Kind::Bool, depth)]),
    }
}
