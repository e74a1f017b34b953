//! The segments of an evaluation: values of expressions over archived inputs, as texts.

use std::{collections::HashSet, sync::Arc};

use domain::{EvaluationPlan, Inputs, zone_text};
use jiff::Timestamp;

use crate::{
    InputTable, Resources, RowColumn, RowExpression, RowExpressions, RowScratch, RowValues, Type,
    spec::{REQUESTED_AT, Scope},
};

/// What stands for NULL, and for a row whose inputs the spec does not take.
const UNKNOWN: &str = "unknown";

/// One archived row.
#[derive(Debug, Clone, Copy)]
pub struct SegmentRow<'a> {
    /// Event time.
    pub requested_at: Timestamp,
    /// JSON object: the inputs that all candidates share.
    pub inputs: &'a str,
    /// JSON object: the inputs of this candidate.
    pub candidate_inputs: &'a str,
}

/// Compiled segments, with buffers that are reused.
#[derive(Debug)]
pub struct Segments {
    names: Vec<String>,
    zone_input: Option<String>,
    bins: Vec<Option<Bins>>,
    expressions: Option<RowExpressions>,
    /// Whether a value can differ between the candidates of a request.
    by_candidate: bool,
    scratch: RowScratch,
    texts: HashSet<Arc<str>>,
}

/// Bins and their names.
#[derive(Debug)]
struct Bins {
    edges: Vec<f64>,
    names: Vec<String>,
}

impl Bins {
    fn new(edges: &[f64]) -> Self {
        let mut names: Vec<String> = edges.windows(2).map(|pair| format!("{} to {}", pair[0], pair[1])).collect();
        names.insert(0, format!("below {}", edges.first().copied().unwrap_or_default()));
        names.push(format!("from {}", edges.last().copied().unwrap_or_default()));
        Self { edges: edges.to_vec(), names }
    }

    fn of(&self, value: f64) -> &str {
        &self.names[self.edges.partition_point(|&edge| edge <= value)]
    }
}

impl Segments {
    /// Compiles the plan's segments over the spec `text`: by zone first, where the plan has a `zone_input`, then the named ones
    /// in order.
    ///
    /// # Errors
    /// An expression that does not compile, or needs what is only known in training.
    pub fn compile(text: &str, resources: &Resources, plan: &EvaluationPlan) -> Result<Self, String> {
        let mut expressions = Vec::new();
        for (name, segment) in &plan.segments {
            let types: &[Type] = if segment.bins.is_some() {
                &[Type::Float]
            } else {
                &[Type::Int, Type::Bool, Type::String, Type::Float]
            };
            let expression = |of: Type| RowExpression { what: name, sql: &segment.by, of };
            let compiles =
                |of: Type| RowExpressions::compile("the release's feature spec", text, resources, &[expression(of)]);
            let mut problem = None;
            let found = types.iter().find(|&&of| match compiles(of) {
                Ok(_) => true,
                Err(error) => {
                    problem = Some(error.to_string());
                    false
                }
            });
            let Some(&of) = found else {
                return Err(format!("evaluation.segments.{name}: {}", problem.unwrap_or_default()));
            };
            expressions.push(expression(of));
        }
        let expressions = (!expressions.is_empty())
            .then(|| RowExpressions::compile("the release's feature spec", text, resources, &expressions))
            .transpose()
            .map_err(|error| error.to_string())?;
        let inputs = expressions.iter().flat_map(|expressions| expressions.inputs().inputs());
        let mut by_candidate = false;
        for input in inputs {
            by_candidate |= input.scope == Scope::Candidate;
            if input.scope == Scope::Training {
                return Err(format!("evaluation.segments: `{}` is only known in training", input.name));
            }
        }
        let zone = plan.zone_input.as_ref().map(|_| "zone".to_owned());
        Ok(Self {
            names: zone.into_iter().chain(plan.segments.keys().cloned()).collect(),
            zone_input: plan.zone_input.clone(),
            bins: plan.segments.values().map(|segment| segment.bins.as_deref().map(Bins::new)).collect(),
            expressions,
            by_candidate,
            scratch: RowScratch::default(),
            texts: HashSet::new(),
        })
    }

    /// The segments' names, in the order of the values.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Appends each row's values, one after the other. Equal values share one text.
    pub fn evaluate<'a>(&mut self, rows: impl IntoIterator<Item = SegmentRow<'a>>, values: &mut Vec<Arc<str>>) {
        if self.names.is_empty() {
            return;
        }
        let mut table = self.expressions.as_ref().map(|expressions| InputTable::new(expressions.inputs()));
        // By row of the archive: its zone, and its row in the table.
        let mut found: Vec<(Arc<str>, Option<usize>)> = Vec::new();
        let mut before: Option<SegmentRow<'_>> = None;
        for row in rows {
            let is_same = before.is_some_and(|before| {
                before.requested_at == row.requested_at
                    && before.inputs == row.inputs
                    && (!self.by_candidate || before.candidate_inputs == row.candidate_inputs)
            });
            if let Some(last) = found.last().filter(|_| is_same) {
                found.push(last.clone());
                continue;
            }
            before = Some(row);
            let inputs: Inputs = serde_json::from_str(row.inputs).unwrap_or_default();
            let zone = self.zone_input.as_ref().and_then(|name| inputs.get(name)).and_then(zone_text);
            let zone = shared(&mut self.texts, zone.as_deref().unwrap_or(UNKNOWN));
            let place = self.expressions.as_ref().zip(table.as_mut()).and_then(|(expressions, table)| {
                let mut inputs = inputs;
                if self.by_candidate {
                    inputs.extend(serde_json::from_str::<Inputs>(row.candidate_inputs).unwrap_or_default());
                }
                // The plan reads what the expressions need, and takes nothing else.
                let known = expressions.inputs().inputs();
                inputs.retain(|name, _| known.iter().any(|input| input.name == *name && name != REQUESTED_AT));
                let place = table.rows();
                expressions.inputs().read_training_row(row.requested_at, &inputs, "", table).ok().map(|()| place)
            });
            found.push((zone, place));
        }
        let mut columns = Vec::new();
        if let (Some(expressions), Some(table)) = (&self.expressions, &table) {
            columns = expressions.columns();
            expressions.evaluate(table, &mut self.scratch, &mut columns);
        }
        for (zone, place) in found {
            values.extend(self.zone_input.as_ref().map(|_| zone));
            for (column, bins) in columns.iter().zip(&self.bins) {
                values.push(match place.filter(|&place| column.valid[place]) {
                    Some(place) => shared(&mut self.texts, &text(column, place, bins.as_ref())),
                    None => shared(&mut self.texts, UNKNOWN),
                });
            }
        }
        // Values that never come again must not pile up.
        if self.texts.len() > 100_000 {
            self.texts.clear();
        }
    }
}

fn shared(texts: &mut HashSet<Arc<str>>, text: &str) -> Arc<str> {
    if let Some(known) = texts.get(text) {
        return known.clone();
    }
    let new: Arc<str> = text.into();
    texts.insert(new.clone());
    new
}

fn text(column: &RowColumn, row: usize, bins: Option<&Bins>) -> String {
    match (&column.values, bins) {
        (RowValues::Floats(values), Some(bins)) => bins.of(values[row]).to_owned(),
        (RowValues::Floats(values), None) => values[row].to_string(),
        (RowValues::Ints(values), _) => values[row].to_string(),
        (RowValues::Bools(values), _) => values[row].to_string(),
        (RowValues::Texts(values), _) => values[row].clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "name = \"t\"\n[prediction]\nunit = \"s\"\n[inputs]\nzone = { type = \"int\" }\nplace = { type = \
                        \"string\", nullable = true }\ncar_m = { type = \"float\", scope = \"candidate\", min = 0 }\ndrive_s = { \
                        type = \"float\", scope = \"training\" }\n[features]\nkm = \"car_m / 1000\"\n[model]\noutputs = \
                        [\"km\"]\n[fallback]\nexpression = \"km\"\ndefault = 1\n";

    fn compile(plan: serde_json::Value) -> Result<Segments, String> {
        Segments::compile(SPEC, &Resources::default(), &serde_json::from_value(plan).unwrap())
    }

    #[test]
    fn values_bins_and_what_is_not_known() {
        let mut segments = compile(serde_json::json!({"zone_input": "zone", "segments": {
            "distance": {"by": "km", "bins": [0.5, 2]}, "is_far": {"by": "car_m > 1000"},
            "place": {"by": "UPPER(place)"}, "week_day": {"by": "EXTRACT(ISODOW FROM requested_at)"},
        }}))
        .unwrap();
        assert_eq!(segments.names(), ["zone", "distance", "is_far", "place", "week_day"]);
        let row =
            |inputs, candidate_inputs| SegmentRow { requested_at: Timestamp::UNIX_EPOCH, inputs, candidate_inputs };
        let rows = [
            row(r#"{"zone": 7, "place": "ginza"}"#, r#"{"car_m": 500}"#),
            row(r#"{"zone": 7, "place": "ginza"}"#, r#"{"car_m": 2500.5}"#),
            row(r#"{"zone": 8, "place": null, "added_later": 1}"#, r#"{"car_m": 1}"#),
            row(r#"{"zone": 8}"#, r#"{"car_m": -1}"#),
            row("no JSON", "{}"),
        ];
        let mut values = Vec::new();
        segments.evaluate(rows, &mut values);
        let told: Vec<Vec<&str>> = values.chunks(5).map(|row| row.iter().map(AsRef::as_ref).collect()).collect();
        assert_eq!(told[0], ["7", "0.5 to 2", "false", "GINZA", "4"]);
        assert_eq!(told[1], ["7", "from 2", "true", "GINZA", "4"]);
        assert_eq!(told[2], ["8", "below 0.5", "false", "unknown", "4"]);
        assert_eq!(told[3], ["8", "unknown", "unknown", "unknown", "unknown"], "a car cannot be nearer than 0");
        assert_eq!(told[4], ["unknown"; 5]);
    }

    #[test]
    fn what_cannot_be_told_of_a_request_is_refused() {
        let by = |by: &str| serde_json::json!({"segments": {"s": {"by": by}}});
        assert!(compile(by("kms")).unwrap_err().starts_with("evaluation.segments.s: "));
        assert!(compile(by("drive_s > 60")).unwrap_err().contains("only known in training"));
        assert!(compile(by("requested_at")).is_err());
        assert_eq!(compile(serde_json::json!({})).unwrap().names(), Vec::<String>::new());
    }
}
