//! One case of the fuzzer: a spec from somewhere, compiled; where it compiles, rows from somewhere, read and evaluated.

use std::{fmt::Write as _, sync::LazyLock};

use domain::{Candidate, Inputs};
use features::{
    EXAMPLE_PLACE, EXAMPLE_SPEC, FeatureTable, InputTable, LookupKeys, LookupTable, LookupValues, Plan, REQUESTED_AT,
    RawColumn, RawTexts, RawValues, Resources, Scope, Scratch, Type, functions,
};
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::generate::{COLUMNS, KINDS, Random, expression};

/// What the cases were.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) random_bytes: u64,
    pub(crate) mutated_specs: u64,
    pub(crate) generated_specs: u64,
    pub(crate) compiled: u64,
    pub(crate) json_rows: u64,
    pub(crate) cell_rows: u64,
    pub(crate) rejected_rows: u64,
}

impl Counts {
    #[allow(dead_code, reason = "the program counts them, the test does not")]
    pub(crate) fn specs(&self) -> u64 {
        self.random_bytes + self.mutated_specs + self.generated_specs
    }

    pub(crate) fn rows(&self) -> u64 {
        self.json_rows + self.cell_rows
    }

    #[allow(dead_code, reason = "threads are added up by the program")]
    pub(crate) fn add(&mut self, other: &Self) {
        self.random_bytes += other.random_bytes;
        self.mutated_specs += other.mutated_specs;
        self.generated_specs += other.generated_specs;
        self.compiled += other.compiled;
        self.json_rows += other.json_rows;
        self.cell_rows += other.cell_rows;
        self.rejected_rows += other.rejected_rows;
    }
}

static RESOURCES: LazyLock<Resources> = LazyLock::new(|| {
    let keys = vec![
        ("pickup_zone".to_owned(), LookupKeys::Int(vec![1, 1, 2, 3])),
        ("dropoff_zone".to_owned(), LookupKeys::Int(vec![1, 2, 1, 3])),
    ];
    let values = vec![
        ("median_s".to_owned(), LookupValues::Float(vec![110.5, 120.0, 210.0, f64::NAN])),
        ("trips".to_owned(), LookupValues::Int(vec![11, 12, 21, 33])),
    ];
    Resources::default().with_lookup("zone_pair", LookupTable::from_columns(keys, values).unwrap_or_else(|_| panic!()))
});

/// What mutations put in.
const DICTIONARY: &[&str] = &[
    "(",
    ")",
    "((((((((",
    ",",
    "'",
    "''",
    "\"",
    "\n",
    "[features]\n",
    "[",
    "]",
    "=",
    " AND ",
    " OR ",
    "NOT ",
    "NULL",
    "CASE ",
    "WHEN ",
    "THEN ",
    "ELSE ",
    " END",
    "CAST(",
    " AS INT64)",
    " AS STRING)",
    "BETWEEN ",
    " IN (",
    " LIKE '%_\\%'",
    "EXTRACT(HOUR FROM ",
    " AT TIME ZONE 'Asia/Tokyo'",
    "requested_at",
    "0",
    "-1",
    "9223372036854775807",
    "9223372036854775808",
    "1e308",
    "1e-320",
    ".5",
    "0x10",
    "/*",
    "--",
    "\\",
    "東京",
    "\u{0}",
    "||",
    "::",
    "<>",
    "%",
    "- - ",
    "f0",
    "x",
    "n",
    "name",
    "lat",
    "lon",
    "nan",
    "inf",
    "min = 0\n",
    "nullable = true",
    "default = 3",
    "enum = [1, 2]",
    "type = \"string\"",
    "scope = \"training\"",
    "IS NOT NULL",
    "SUBSTR(",
    "REPLACE(",
    "LOOKUP('zone_pair', ",
    "MESH_CODE(",
    "H3_CELL(",
    "GEOHASH(",
    "POW(",
    "DIV(",
    "MOD(",
    "CONCAT(",
    "INTERVAL '1' DAY",
    "SELECT ",
    "EXISTS (",
    "ARRAY[",
    "{",
    "}",
    "TIMESTAMP '2024-01-01T00:00:00Z'",
    "::DOUBLE",
];

/// Runs case `number` of `seed`.
///
/// # Errors
/// What broke a law, with the spec.
pub(crate) fn run(seed: u64, number: u64, counts: &mut Counts, buffers: &mut Buffers) -> Result<(), String> {
    let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let text = match random.below(10) {
        0 => {
            counts.random_bytes += 1;
            bytes(&mut random)
        }
        1..=3 => {
            counts.mutated_specs += 1;
            mutated(&mut random)
        }
        _ => {
            counts.generated_specs += 1;
            generated(&mut random)
        }
    };
    let Ok(plan) = Plan::compile_with("fuzz.toml", &text, &RESOURCES) else { return Ok(()) };
    counts.compiled += 1;
    check(&plan, &mut random, counts, buffers).map_err(|law| format!("{law}\n{text}"))
}

fn bytes(random: &mut Random) -> String {
    let length = random.below(300);
    let bytes: Vec<u8> =
        (0..length).map(|_| if random.one_in(3) { random.next() as u8 } else { 32 + random.below(95) as u8 }).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn mutated(random: &mut Random) -> String {
    let mut text = match random.below(20) {
        0 => include_str!("../../../../models/pickup-eta/features.toml").to_owned(),
        1 => include_str!("../../../../benches/features.toml").to_owned(),
        2..=8 => example(random),
        _ => generated(random),
    };
    for _ in 0..=random.below(3) {
        mutate(random, &mut text);
    }
    text
}

/// A byte, a piece or a word here and there.
fn mutate(random: &mut Random, text: &mut String) {
    let place = |random: &mut Random, text: &str| {
        let mut at = random.below(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let (a, b) = (place(random, text), place(random, text));
    let (from, to) = (a.min(b), a.max(b).min(a.min(b) + 40));
    let to = (from..=to).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(from);
    match random.below(6) {
        0 => text.replace_range(from..to, ""),
        1 => text.insert_str(from, random.pick(DICTIONARY)),
        2 => text.replace_range(from..to, random.pick(DICTIONARY)),
        3 => {
            let piece = text[from..to].repeat(1 + random.below(4));
            text.insert_str(from, &piece);
        }
        4 => text.insert(from, char::from(random.next() as u8)),
        _ => {
            let piece = text[from..to].to_owned();
            let at = place(random, text);
            text.insert_str(at, &piece);
        }
    }
}

/// A function of the catalogue over the catalogue's inputs, and one around it.
fn example(random: &mut Random) -> String {
    let all: Vec<&str> = functions().map(|function| function.example).collect();
    let one = random.pick(&all);
    EXAMPLE_SPEC
        .replace(EXAMPLE_PLACE, one)
        .replace("[\"x\"]", if random.one_in(2) { "[\"x\"]" } else { "[\"x\", \"example\"]" })
}

/// A spec by the grammar: valid, or nearly so.
fn generated(random: &mut Random) -> String {
    let mut text = String::with_capacity(2048);
    text.push_str("name = \"t\"\n[prediction]\nunit = \"s\"\n");
    if random.one_in(4) {
        text.push_str("min = 0\nmax = 7200\n");
    }
    text.push_str("[inputs]\n");
    let is_strict = random.one_in(4);
    for (name, of) in COLUMNS {
        _ = write!(text, "{name} = {{ type = \"{of}\"");
        if random.one_in(3) {
            text.push_str(", scope = \"candidate\"");
        }
        match if is_strict { random.below(6) } else { 5 } {
            0 => {}
            1 if of == "float" => text.push_str(", default = 1.5"),
            1 if of == "int" => text.push_str(", default = 3, nullable = true"),
            1 if of == "string" => text.push_str(", default = \"a\""),
            2 if of == "float" => text.push_str(", min = -100, max = 1e9, nullable = true"),
            2 if of == "int" => text.push_str(", enum = [1, 2, 3, -7], nullable = true"),
            _ => text.push_str(", nullable = true"),
        }
        text.push_str(" }\n");
    }
    text.push_str("[features]\n");
    let count = 1 + random.below(3);
    let mut names = String::new();
    for index in 0..count {
        let (kind, depth) = (random.pick(&KINDS), 1 + random.below(3));
        let mut sql = expression(random, kind, depth).ours;
        let of_text = kind == KINDS[3];
        match if of_text { 6 + random.below(6) } else { random.below(12) } {
            0 if index > 0 => sql = format!("IF({sql} IS NULL, f{}, NULL)", random.below(index)),
            1 => sql = format!("HASH_BUCKET(CONCAT(s, CAST(i AS STRING)), {})", 1 + random.below(1000)),
            2 => sql = format!("BUCKET(x, -1, 0, {})", 1 + random.below(9)),
            3 => sql = format!("H3_CELL(x, y, {})", random.below(16)),
            4 => sql = format!("MESH_CODE(x + 35, y + 139, {})", 1 + random.below(6)),
            5 => sql = format!("GREAT_CIRCLE_M(x, y, {sql}, 1)"),
            // Nearly valid.
            6 => mutate(random, &mut sql),
            _ => {}
        }
        _ = writeln!(text, "f{index} = {}", Json::String(sql));
        // An output that is a text does not compile: told by its length.
        if of_text {
            _ = writeln!(text, "l{index} = \"LENGTH(f{index})\"");
        }
        _ = write!(names, "\"{}{index}\", ", if of_text && !random.one_in(20) { "l" } else { "f" });
    }
    _ = write!(text, "[model]\noutputs = [{names}]\n[fallback]\nexpression = \"COALESCE(x, i)\"\ndefault = 1\n");
    text
}

/// Reused from case to case, as a server reuses them from request to request.
#[derive(Default)]
pub(crate) struct Buffers {
    whole: FeatureTable,
    part: FeatureTable,
    texts: Vec<(String, Vec<i32>)>,
}

fn check(plan: &Plan, random: &mut Random, counts: &mut Counts, buffers: &mut Buffers) -> Result<(), String> {
    let mut scratch = Scratch::default();
    let (mut table, mut single) = (InputTable::new(plan), InputTable::new(plan));
    let at = Timestamp::from_second(random.below(4_000_000_000) as i64).unwrap_or_default();
    // Rows as requests have them; some are refused.
    let count = 1 + random.below(4) * random.below(4);
    let rows: Vec<Inputs> = (0..count).map(|_| row(plan, random)).collect();
    counts.json_rows += count as u64;
    let mut accepted = Vec::with_capacity(count);
    for row in &rows {
        let is_good = plan.read_training_row(at, row, "/0", &mut table).is_ok();
        accepted.push(is_good);
        counts.rejected_rows += u64::from(!is_good);
    }
    plan.evaluate(&table, &mut scratch, &mut buffers.whole);
    // One by one: the same bits.
    let mut place = 0;
    for (row, _) in rows.iter().zip(&accepted).filter(|(_, is_good)| **is_good) {
        single.clear();
        if plan.read_training_row(at, row, "/0", &mut single).is_err() {
            return Err("a row is refused by itself".to_owned());
        }
        plan.evaluate(&single, &mut scratch, &mut buffers.part);
        same(&buffers.whole, place, &buffers.part, 0, "a row by itself has other bits")?;
        place += 1;
    }
    if place != buffers.whole.rows() {
        return Err("rows are lost".to_owned());
    }
    // Through columns of JSON texts: the same rows are refused, and the same bits.
    table.clear();
    let raw = columns(plan, at, &rows, &mut buffers.texts, Json::to_string, "");
    let rejects = plan.read_columns(count, &raw, &mut table).map_err(|error| error.to_string())?;
    for (index, is_good) in accepted.iter().enumerate() {
        let unknown = rows[index].keys().any(|name| plan.inputs().iter().all(|input| input.name != *name));
        if !unknown && *is_good == rejects.iter().any(|reject| reject.row == index) {
            return Err(format!("files and requests differ on {:?}: {rejects:?}", rows[index]));
        }
    }
    plan.evaluate(&table, &mut scratch, &mut buffers.part);
    if accepted.iter().all(|is_good| *is_good) {
        for row in 0..count {
            same(&buffers.whole, row, &buffers.part, row, "a row of a file has other bits")?;
        }
    }
    // As a request with candidates.
    single.clear();
    let split = |wanted: Scope, row: &Inputs| -> Inputs {
        let of = |name: &str| plan.inputs().iter().find(|input| input.name == name).map(|input| input.scope);
        row.iter()
            .filter(|(name, _)| of(name) == Some(wanted))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    if let (Some(first), Ok(id)) = (rows.first(), "c".parse::<domain::CandidateId>()) {
        let candidates: Vec<Candidate> =
            rows.iter().map(|row| Candidate::new(id.clone(), split(Scope::Candidate, row))).collect();
        _ = plan.read_request(at, &split(Scope::Request, first), &candidates, &mut single);
        plan.evaluate(&single, &mut scratch, &mut buffers.part);
    }
    // Cells of a CSV file, of any text at all.
    table.clear();
    counts.cell_rows += count as u64;
    let cell = |value: &Json| match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut raw = columns(plan, at, &rows, &mut buffers.texts, cell, "");
    for column in &mut raw {
        if let RawValues::Json(texts) = column.values {
            column.values = RawValues::Cells(texts);
        }
    }
    let rejects = plan.read_columns(count, &raw, &mut table).map_err(|error| error.to_string())?;
    counts.rejected_rows += (count - table.rows()) as u64;
    if table.rows() + rejects.iter().map(|reject| reject.row).collect::<std::collections::BTreeSet<_>>().len() != count
    {
        return Err("rows are neither accepted nor rejected".to_owned());
    }
    plan.evaluate(&table, &mut scratch, &mut buffers.part);
    let finite = |table: &FeatureTable| {
        table.outputs().iter().flatten().all(|value| !value.is_infinite())
            && table.fallback().iter().all(|value| value.is_finite())
    };
    if finite(&buffers.whole) && finite(&buffers.part) { Ok(()) } else { Err("a value is not finite".to_owned()) }
}

fn same(a: &FeatureTable, row_a: usize, b: &FeatureTable, row_b: usize, law: &str) -> Result<(), String> {
    let columns = a.outputs().iter().zip(b.outputs());
    let all = columns.clone().all(|(a, b)| a[row_a].to_bits() == b[row_b].to_bits());
    if all && a.fallback()[row_a].to_bits() == b.fallback()[row_b].to_bits() {
        return Ok(());
    }
    let values: Vec<(f64, f64)> = columns.map(|(a, b)| (a[row_a], b[row_b])).collect();
    Err(format!("{law}: row {row_a}: {values:?}"))
}

/// The rows as columns of texts.
fn columns<'a>(
    plan: &'a Plan,
    at: Timestamp,
    rows: &[Inputs],
    texts: &'a mut Vec<(String, Vec<i32>)>,
    written: impl Fn(&Json) -> String,
    missing: &str,
) -> Vec<RawColumn<'a>> {
    texts.resize_with(plan.inputs().len(), Default::default);
    let at = written(&json!(at.to_string()));
    for (input, (text, offsets)) in plan.inputs().iter().zip(texts.iter_mut()) {
        text.clear();
        offsets.clear();
        offsets.push(0);
        for row in rows {
            match row.get(&input.name) {
                _ if input.name == REQUESTED_AT => text.push_str(&at),
                Some(value) => text.push_str(&written(value)),
                None => text.push_str(missing),
            }
            offsets.push(text.len() as i32);
        }
    }
    let texts: &'a [(String, Vec<i32>)] = texts;
    let column = |(input, (text, offsets)): (&'a features::Input, &'a (String, Vec<i32>))| RawColumn {
        input: &input.name,
        values: RawValues::Json(RawTexts::new(text, offsets)),
        valid: None,
    };
    plan.inputs().iter().zip(texts).map(column).collect()
}

/// Values for the plan's inputs: mostly what they take, sometimes not.
fn row(plan: &Plan, random: &mut Random) -> Inputs {
    let mut known = crate::generate::row(random);
    let mut row = Inputs::new();
    for input in plan.inputs().iter().skip(1) {
        let value = match random.below(150) {
            0 => continue,
            1 => Json::Null,
            2 => random
                .pick(
                    &[json!("x"), json!(1.5), json!([1]), json!({}), json!(true), json!(1e300), json!(u64::MAX)]
                        .each_ref(),
                )
                .clone(),
            3 => Json::String("é".repeat(random.below(1100))),
            _ => match (known.remove(&input.name), input.of) {
                (Some(value), _) => value,
                (None, Type::Float) => {
                    let (low, high) = (input.min.unwrap_or(-1e3), input.max.unwrap_or(1e3));
                    json!(low + (high - low) * random.below(1001) as f64 / 1000.0)
                }
                (None, Type::Int) => json!(random.below(10)),
                (None, Type::Bool) => json!(random.one_in(2)),
                (None, Type::String) => json!(random.pick(&["low", "Tōkyō", "", "a b"])),
                (None, Type::Timestamp) => json!("2024-03-31T01:30:00.5Z"),
            },
        };
        row.insert(input.name.clone(), value);
    }
    if random.one_in(60) {
        row.insert("unknown".to_owned(), json!(1));
    }
    row
}
