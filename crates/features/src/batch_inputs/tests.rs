use domain::Inputs;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::FeatureError;

const SPEC: &str = r#"
name = "t"
[prediction]
unit = "s"
[inputs]
f = { type = "float", min = -10, max = 10, nullable = true }
g = { type = "float", default = 2.5 }
i = { type = "int", min = -5, max = 1000 }
e = { type = "int", enum = [1, 2, 3], nullable = true }
b = { type = "bool", default = true }
s = { type = "string", enum = ["wet", "d\"ry"] }
t = { type = "string", default = "none", scope = "training" }
u = { type = "timestamp", nullable = true, scope = "candidate" }
[features]
x = "f"
[model]
outputs = ["x"]
[fallback]
expression = "1"
default = 1
"#;

fn plan() -> Plan {
    Plan::compile("t", SPEC).unwrap()
}

/// A column of any kind, whatever the input's type: `None` is NULL.
#[derive(Debug, Clone)]
enum Kind {
    Floats(Vec<Option<f64>>),
    Ints(Vec<Option<i64>>),
    Bools(Vec<Option<bool>>),
    Timestamps(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
}

fn kind(rows: usize) -> impl Strategy<Value = Kind> {
    fn column<T: std::fmt::Debug + Clone + 'static>(
        value: impl Strategy<Value = T> + 'static,
        rows: usize,
    ) -> BoxedStrategy<Vec<Option<T>>> {
        prop::collection::vec(prop::option::weighted(0.8, value), rows).boxed()
    }
    let float = prop_oneof![-12.0..12.0f64, (-7i32..7).prop_map(f64::from), Just(-0.0), Just(1e17), Just(f64::MIN)];
    let int = prop_oneof![-7i64..7, 900i64..1100, any::<i64>()];
    let text = prop_oneof![
        Just("wet".to_owned()),
        Just("d\"ry".to_owned()),
        Just("2026-01-31T09:30:00.1234567+09:00".to_owned()),
        Just("1960-01-01T00:00:00.0000001Z".to_owned()),
        Just("é".repeat(513)),
        "[a-z\\\\\"東]{1,4}",
    ];
    prop_oneof![
        column(float, rows).prop_map(Kind::Floats),
        column(int, rows).prop_map(Kind::Ints),
        column(any::<bool>(), rows).prop_map(Kind::Bools),
        column(prop_oneof![-4_000_000_000_000_000i64..4_000_000_000_000_000, any::<i64>()], rows)
            .prop_map(Kind::Timestamps),
        column(text, rows).prop_map(Kind::Texts),
    ]
}

/// The buffers behind a [`RawColumn`].
struct Buffers {
    floats: Vec<f64>,
    ints: Vec<i64>,
    bools: Vec<bool>,
    text: String,
    offsets: Vec<i32>,
    valid: Vec<bool>,
}

impl Buffers {
    fn texts<'a>(texts: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        let (mut text, mut offsets, mut valid) = (String::new(), vec![0], Vec::new());
        for one in texts {
            text.push_str(one.unwrap_or(""));
            offsets.push(text.len() as i32);
            valid.push(one.is_some());
        }
        Self { floats: vec![], ints: vec![], bools: vec![], text, offsets, valid }
    }

    fn of(kind: &Kind) -> Self {
        let mut buffers = Self::texts([]);
        match kind {
            Kind::Floats(values) => {
                buffers.valid = values.iter().map(Option::is_some).collect();
                buffers.floats = values.iter().map(|value| value.unwrap_or(f64::NAN)).collect();
            }
            Kind::Ints(values) | Kind::Timestamps(values) => {
                buffers.valid = values.iter().map(Option::is_some).collect();
                buffers.ints = values.iter().map(|value| value.unwrap_or(i64::MIN)).collect();
            }
            Kind::Bools(values) => {
                buffers.valid = values.iter().map(Option::is_some).collect();
                buffers.bools = values.iter().map(|value| value.unwrap_or(false)).collect();
            }
            Kind::Texts(values) => buffers = Self::texts(values.iter().map(Option::as_deref)),
        }
        buffers
    }

    fn json_column<'a>(&'a self, input: &'a str) -> RawColumn<'a> {
        RawColumn { input, values: RawValues::Json(RawTexts::new(&self.text, &self.offsets)), valid: None }
    }

    fn column<'a>(&'a self, input: &'a str, kind: &Kind) -> RawColumn<'a> {
        let texts = RawTexts::new(&self.text, &self.offsets);
        let values = match kind {
            Kind::Floats(_) => RawValues::Floats(&self.floats),
            Kind::Ints(_) => RawValues::Ints(&self.ints),
            Kind::Timestamps(_) => RawValues::Timestamps(&self.ints),
            Kind::Bools(_) => RawValues::Bools(&self.bools),
            Kind::Texts(_) => RawValues::Texts(texts),
        };
        RawColumn { input, values, valid: Some(&self.valid) }
    }
}

/// The value as JSON. An instant that no text can say is `None`.
fn json(kind: &Kind, row: usize) -> Json {
    match kind {
        Kind::Floats(values) => values[row].map_or(Json::Null, |value| json!(value)),
        Kind::Ints(values) => json!(values[row]),
        Kind::Bools(values) => json!(values[row]),
        Kind::Timestamps(values) => values[row].map_or(Json::Null, |us| {
            Timestamp::from_microsecond(us).map_or_else(|_| json!(format!("{us} µs")), |at| json!(at.to_string()))
        }),
        Kind::Texts(values) => json!(values[row]),
    }
}

fn at() -> Timestamp {
    "2018-06-01T22:24:30Z".parse().unwrap()
}

type Rejects = Vec<(usize, String, String, String)>;

/// What requests would make of the rows: the accepted ones and the rejects.
fn by_json(plan: &Plan, rows: &[Inputs]) -> (InputTable, Rejects) {
    let (mut table, mut rejects) = (InputTable::new(plan), Vec::new());
    for (row, inputs) in rows.iter().enumerate() {
        if let Err(FeatureError::Inputs(errors)) = plan.read_training_row(at(), inputs, "", &mut table) {
            rejects.extend(
                errors.into_iter().map(|error| (row, error.pointer[1..].to_owned(), error.reason, error.detail)),
            );
        }
    }
    (table, rejects)
}

fn values(plan: &Plan, table: &InputTable) -> Vec<Vec<String>> {
    let value = |(column, input): (&Column, &Input), row| match column.value(row, input.of) {
        Value::Float(value) => format!("{:016x}", value.to_bits()),
        value => format!("{value:?}"),
    };
    (0..table.rows())
        .map(|row| table.columns.iter().zip(plan.inputs()).map(|pair| value(pair, row)).collect())
        .collect()
}

fn tuples(rejects: Vec<Reject>) -> Rejects {
    rejects.into_iter().map(|Reject { row, input, reason, detail }| (row, input, reason.to_owned(), detail)).collect()
}

const NAMES: [&str; 8] = ["b", "e", "f", "g", "i", "s", "t", "u"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever the columns' types: the same rows are taken, with the same bits, and the others refused in the same
    /// words, as if each row were a request; from typed columns and from JSON values as written.
    #[test]
    fn columns_are_read_as_requests_are(
        (rows, kinds) in (1usize..24).prop_flat_map(|rows| (Just(rows), prop::collection::vec(prop::option::weighted(0.9, kind(rows)), 8))),
        split in 0usize..24,
    ) {
        let plan = plan();
        // JSON has no instants but texts; a column of instants is no column of texts.
        let kinds: Vec<_> = kinds
            .into_iter()
            .zip(NAMES)
            .map(|(kind, name)| kind.filter(|kind| !(matches!(kind, Kind::Timestamps(_)) && matches!(name, "s" | "t"))))
            .collect();
        let inputs: Vec<Inputs> = (0..rows)
            .map(|row| {
                let fields = NAMES.iter().zip(&kinds).filter_map(|(name, kind)| Some((*name, json(kind.as_ref()?, row))));
                fields.map(|(name, value)| (name.to_owned(), value)).collect()
            })
            .collect();
        let (expected, expected_rejects) = by_json(&plan, &inputs);

        let at_us = vec![at().as_microsecond(); rows];
        let requested_at = RawColumn { input: "requested_at", values: RawValues::Timestamps(&at_us), valid: None };
        let buffers: Vec<_> = kinds.iter().map(|kind| kind.as_ref().map(Buffers::of)).collect();
        let mut columns = vec![requested_at];
        for ((name, kind), buffers) in NAMES.iter().zip(&kinds).zip(&buffers) {
            columns.extend(kind.as_ref().zip(buffers.as_ref()).map(|(kind, buffers)| buffers.column(name, kind)));
        }
        let mut table = InputTable::new(&plan);
        let rejects = plan.read_columns(rows, &columns, &mut table).unwrap();
        prop_assert_eq!(tuples(rejects), expected_rejects.clone());
        prop_assert_eq!(values(&plan, &table), values(&plan, &expected));

        // As written in JSON lines, in two calls into one table, where a field may be left out.
        let (mut table, mut rejects) = (InputTable::new(&plan), Vec::new());
        let split = split.min(rows);
        for part in [0..split, split..rows] {
            let written: Vec<Vec<String>> = NAMES.iter().zip(&kinds).map(|(_, kind)| {
                part.clone().map(|row| kind.as_ref().map_or_else(String::new, |kind| json(kind, row).to_string())).collect()
            }).collect();
            let buffers: Vec<Buffers> = written.iter().map(|texts| Buffers::texts(texts.iter().map(|text| Some(text.as_str())))).collect();
            let at_text = vec![format!("\"{}\"", at()); part.len()];
            let at_buffers = Buffers::texts(at_text.iter().map(|text| Some(text.as_str())));
            let mut columns = vec![at_buffers.json_column("requested_at")];
            columns.extend(NAMES.iter().zip(&buffers).map(|(name, buffers)| buffers.json_column(name)));
            let found = tuples(plan.read_columns(part.len(), &columns, &mut table).unwrap());
            rejects.extend(found.into_iter().map(|(row, input, reason, detail)| (row + part.start, input, reason, detail)));
        }
        prop_assert_eq!(rejects, expected_rejects);
        prop_assert_eq!(values(&plan, &table), values(&plan, &expected));
    }
}

/// One input's cells as CSV has them: the value of each, or the reason why not.
fn cells(input: &str, cells: &[&str]) -> Vec<String> {
    let plan = plan();
    cells
        .iter()
        .map(|cell| {
            let mut table = InputTable::new(&plan);
            let filled = [("i", "7"), ("s", "wet"), ("requested_at", "2018-06-01T22:24:30Z")];
            let mut all: Vec<(&str, &str)> = filled.into_iter().filter(|(name, _)| *name != input).collect();
            all.push((input, cell));
            let buffers: Vec<Buffers> = all.iter().map(|(_, cell)| Buffers::texts([Some(*cell)])).collect();
            let columns: Vec<RawColumn<'_>> = all
                .iter()
                .zip(&buffers)
                .map(|((input, _), buffers)| RawColumn {
                    input,
                    values: RawValues::Cells(RawTexts::new(&buffers.text, &buffers.offsets)),
                    valid: None,
                })
                .collect();
            let rejects = plan.read_columns(1, &columns, &mut table).unwrap();
            let index = plan.inputs().iter().position(|known| known.name == input).unwrap();
            match rejects.as_slice() {
                [] => format!("{:?}", table.columns[index].value(0, plan.inputs()[index].of)),
                [reject] if reject.input == input => reject.reason.to_owned(),
                other => panic!("{other:?}"),
            }
        })
        .collect()
}

#[test]
fn cells_are_read_as_the_inputs_type() {
    assert_eq!(
        cells("f", &["1.5", " -2 ", "1e1", "-0.0", "", "11", "nan", "inf", "east", "1e400", "1,5", "0x1"]),
        [
            "Float(1.5)",
            "Float(-2.0)",
            "Float(10.0)",
            "Float(-0.0)",
            "Null(Float)",
            "out_of_range",
            "wrong_type",
            "wrong_type",
            "wrong_type",
            "wrong_type",
            "wrong_type",
            "wrong_type"
        ]
    );
    assert_eq!(
        cells("i", &["7", "7.0", "7e2", "7.5", "", "9223372036854775808", "-6"]),
        ["Int(7)", "Int(7)", "Int(700)", "wrong_type", "null_not_allowed", "wrong_type", "out_of_range"]
    );
    assert_eq!(cells("e", &["3", "4", ""]), ["Int(3)", "not_in_enum", "Null(Int)"]);
    assert_eq!(
        cells("b", &["true", "False", "TRUE", "1", "yes", ""]),
        ["Bool(true)", "Bool(false)", "Bool(true)", "wrong_type", "wrong_type", "Bool(true)"]
    );
    assert_eq!(cells("s", &["wet", " wet", ""]), ["String(\"wet\")", "not_in_enum", "null_not_allowed"]);
    assert_eq!(cells("t", &["x", "", &"x".repeat(1025)]), ["String(\"x\")", "String(\"none\")", "text_too_long"]);
    assert_eq!(
        cells("u", &["1970-01-01T00:00:01Z", "1970-01-01 00:00:01 UTC", "1970-01-01 00:00:01", "1", ""]),
        ["Timestamp(1000000)", "Timestamp(1000000)", "wrong_type", "wrong_type", "Null(Timestamp)"]
    );
    assert_eq!(cells("requested_at", &["", "now"]), ["null_not_allowed", "wrong_type"]);
}

#[test]
fn floats_that_are_none_are_refused() {
    let plan = plan();
    let (floats, ones) = ([1.0, f64::NAN, f64::INFINITY], [1, 1, 1]);
    let wet = Buffers::texts([Some("wet"); 3]);
    let columns = [
        RawColumn { input: "g", values: RawValues::Floats(&floats), valid: None },
        RawColumn { input: "i", values: RawValues::Ints(&ones), valid: None },
        RawColumn { input: "requested_at", values: RawValues::Timestamps(&ones), valid: None },
        RawColumn { input: "s", values: RawValues::Texts(RawTexts::new(&wet.text, &wet.offsets)), valid: None },
    ];
    let mut table = InputTable::new(&plan);
    let rejects = tuples(plan.read_columns(3, &columns, &mut table).unwrap());
    assert_eq!(table.rows(), 1);
    assert_eq!(rejects.len(), 2);
    assert_eq!(rejects[0], (1, "g".into(), "wrong_type".into(), "`g` must be a number, not \"NaN\"".into()));
}

#[test]
fn columns_that_are_no_inputs_are_refused_as_a_whole() {
    let plan = plan();
    let column = |input| RawColumn { input, values: RawValues::Ints(&[1, 2]), valid: None };
    let mut table = InputTable::new(&plan);
    let Err(FeatureError::Inputs(errors)) =
        plan.read_columns(2, &[column("i"), column("requestedat"), column("i")], &mut table)
    else {
        panic!("accepted")
    };
    let reasons: Vec<_> = errors.iter().map(|error| (error.pointer.as_str(), error.reason.as_str())).collect();
    assert_eq!(reasons, [("/requestedat", "unknown_field"), ("/i", "duplicate_field")]);
    assert!(plan.read_columns(3, &[column("i")], &mut table).is_err());
    assert_eq!(table.rows(), 0);
}
