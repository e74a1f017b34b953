//! Rows with what is at the edge of each type.

use serde_json::{Map, Value, json};

use super::Random;

/// Name and type of each input, in our words.
pub(crate) const COLUMNS: [(&str, &str); 10] = [
    ("x", "float"),
    ("y", "float"),
    ("i", "int"),
    ("j", "int"),
    ("b", "bool"),
    ("c", "bool"),
    ("s", "string"),
    ("u", "string"),
    ("d", "string"),
    ("t", "timestamp"),
];

const FLOATS: [f64; 24] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    2.5,
    -2.5,
    3.5,
    0.499_999_999_999_999_94,
    1e15,
    4_503_599_627_370_497.5,
    9_007_199_254_740_993.0,
    -9_223_372_036_854_775_808.0,
    9.223_372_036_854_775e18,
    1e300,
    -1e300,
    f64::MAX,
    f64::MIN,
    f64::MIN_POSITIVE,
    5e-324,
    -5e-324,
    709.78,
    -745.0,
    std::f64::consts::FRAC_PI_2,
];
const INTS: [i64; 14] =
    [0, 1, -1, 2, 7, -7, 100, 1 << 31, (1 << 53) + 1, -(1 << 53) - 1, i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1];
const TEXTS: [&str; 14] =
    ["", " ", "a", "A", "ab", "abc", "  padded ", "Tōkyō 東京", "🚕🚖 taxi", "100%", "a\\b", "it's", "ñandú É", "aaaa"];
/// Texts that are numbers or truth values, or nearly.
const DIGITS: [&str; 18] = [
    "",
    "12",
    "-7",
    "+5",
    " 42 ",
    "3.5",
    ".5",
    "5.",
    "1e3",
    "1e400",
    "-0",
    "-0.0",
    "abc",
    "true",
    "False",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
];

/// One row by input. A value in seven is NULL.
pub(crate) fn row(random: &mut Random) -> Map<String, Value> {
    let mut row = Map::new();
    for (name, of) in COLUMNS {
        let value = if random.one_in(7) { Value::Null } else { value(random, name, of) };
        row.insert(name.to_owned(), value);
    }
    row
}

fn value(random: &mut Random, name: &str, of: &str) -> Value {
    match of {
        "float" => json!(match random.below(4) {
            0 => random.pick(&FLOATS),
            1 => random.below(41) as f64 / 4.0 - 5.0,
            2 => (random.next() >> 11) as f64 / (1u64 << 53) as f64 * 20.0 - 10.0,
            _ => ((random.next() >> 11) as f64 / (1u64 << 53) as f64 - 0.5) * 10f64.powi(random.below(40) as i32 - 20),
        }),
        "int" => json!(match random.below(4) {
            0 => random.pick(&INTS),
            1 => random.next() as i64 >> random.below(60),
            _ => random.below(21) as i64 - 10,
        }),
        "bool" => json!(random.one_in(2)),
        "timestamp" => {
            // 1970 to 2037: where everyone's zone rules agree.
            let micros = random.below(2_145_916_800) as i64 * 1_000_000 + random.below(1_000_000) as i64;
            json!(jiff::Timestamp::from_microsecond(micros).unwrap_or_default().to_string())
        }
        _ if name == "d" => json!(random.pick(&DIGITS)),
        _ => json!(random.pick(&TEXTS)),
    }
}
