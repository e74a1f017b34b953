//! Expressions of any type over rows of training data: what lookup tables are built of.

use crate::{
    FeatureError, InputTable, Plan, Resources, Type,
    bind::{Binder, Rows, dependency_order, mentions},
    column::{View, ViewValues},
    graph::{Graph, NodeId, NodeKind},
    program::{Program, Registers},
    spec::{Source, Spec},
};

/// An expression that does not stand in the spec, over its inputs and features.
#[derive(Debug, Clone, Copy)]
pub struct RowExpression<'a> {
    /// What it is, for errors.
    pub what: &'a str,
    /// SQL. Inputs of scope `training` are allowed.
    pub sql: &'a str,
    /// The type that it must have. Anything numeric becomes a float where a float is wanted.
    pub of: Type,
}

/// Compiled [`RowExpression`]s, with a plan that reads the inputs that they need and no others.
#[derive(Debug)]
pub struct RowExpressions {
    inputs: Plan,
    spec_hash: String,
    program: Program,
    types: Vec<Type>,
}

/// Buffers of [`RowExpressions::evaluate`], reused from call to call.
#[derive(Debug, Default)]
pub struct RowScratch(Registers);

/// The values of one expression, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct RowColumn {
    /// The values. A NULL's value is unspecified.
    pub values: RowValues,
    /// Which rows are not NULL.
    pub valid: Vec<bool>,
}

/// Values of a [`RowColumn`].
#[derive(Debug, Clone, PartialEq)]
pub enum RowValues {
    /// Floats, all of them finite.
    Floats(Vec<f64>),
    /// Integers, and timestamps in microseconds since 1970-01-01 UTC.
    Ints(Vec<i64>),
    /// Booleans.
    Bools(Vec<bool>),
    /// Texts.
    Texts(Vec<String>),
}

impl RowExpressions {
    /// Compiles expressions over the spec `text`. Only the features that they need are looked at, so that a lookup table can be
    /// built for a spec that uses it.
    ///
    /// # Errors
    /// What is wrong with the spec or an expression; `lookup_mismatch` where a table in `resources` is not as declared.
    pub fn compile(
        file: &str,
        text: &str,
        resources: &Resources,
        expressions: &[RowExpression<'_>],
    ) -> Result<Self, FeatureError> {
        let source = Source { file, text };
        let mut spec = Spec::read(&source)?;
        let spec_hash = Plan::of_inputs(spec.clone()).hash().to_owned();
        crate::plan::check_lookups(&source, &spec, resources)?;
        let (graph, results) = bind(&source, &spec, resources, expressions)?;
        let is_used = |input: usize| {
            graph.nodes().iter().any(|node| matches!(node.kind, NodeKind::Input(index) if index == input))
        };
        let used: Vec<bool> = (0..spec.inputs.len()).map(is_used).collect();
        drop((graph, results));
        let mut keep = used.into_iter();
        spec.inputs.retain(|_| keep.next().unwrap_or_default());
        // Inputs are known by their place, so that all is bound anew.
        let (graph, results) = bind(&source, &spec, resources, expressions)?;
        let program = Program::new(&graph, &results);
        let types = results.iter().map(|&result| graph.type_of(result)).collect();
        Ok(Self { program, types, spec_hash, inputs: Plan::of_inputs(spec) })
    }

    /// The plan that reads rows for [`RowExpressions::evaluate`]. It has no outputs and no label.
    pub fn inputs(&self) -> &Plan {
        &self.inputs
    }

    /// SHA-256 of the whole spec's canonical form.
    pub fn spec_hash(&self) -> &str {
        &self.spec_hash
    }

    /// Empty columns, one per expression.
    pub fn columns(&self) -> Vec<RowColumn> {
        let column = |of: &Type| match of {
            Type::Float => RowValues::Floats(Vec::new()),
            Type::Int | Type::Timestamp => RowValues::Ints(Vec::new()),
            Type::Bool => RowValues::Bools(Vec::new()),
            Type::String => RowValues::Texts(Vec::new()),
        };
        self.types.iter().map(|of| RowColumn { values: column(of), valid: Vec::new() }).collect()
    }

    /// Appends the values of all rows to `columns`, which are [`RowExpressions::columns`].
    pub fn evaluate(&self, rows: &InputTable, scratch: &mut RowScratch, columns: &mut [RowColumn]) {
        self.program.evaluate(rows.columns(), rows.rows(), &mut scratch.0, |result, view, run| {
            columns[result].append(&view, run);
        });
    }
}

fn bind(
    source: &Source<'_>,
    spec: &Spec,
    resources: &Resources,
    expressions: &[RowExpression<'_>],
) -> Result<(Graph, Vec<NodeId>), FeatureError> {
    let mut binder = Binder::new(source, spec, resources, Rows::Serving);
    let roots = expressions.iter().flat_map(|expression| mentions(expression.sql));
    for name in dependency_order(&spec.features, roots) {
        let Some(expression) = spec.features.get(name) else { continue };
        binder.output(name, &expression.span())?;
    }
    let bind =
        |expression: &RowExpression<'_>| binder.foreign_expression(expression.sql, expression.what, expression.of);
    let results = expressions.iter().map(bind).collect::<Result<_, _>>()?;
    Ok((binder.graph, results))
}

impl RowColumn {
    fn append(&mut self, view: &View<'_>, run: usize) {
        match (&mut self.values, view.values) {
            (RowValues::Floats(values), ViewValues::Float(more)) => values.extend_from_slice(&more[..run]),
            (RowValues::Ints(values), ViewValues::Int(more)) => values.extend_from_slice(&more[..run]),
            (RowValues::Bools(values), ViewValues::Bool(more)) => values.extend_from_slice(&more[..run]),
            (RowValues::Texts(values), ViewValues::Text(..)) => {
                values.extend((0..run).map(|row| view.text(row).to_owned()));
            }
            // Ruled out by the types.
            _ => {}
        }
        self.valid.extend((0..run).map(|row| view.is_valid(row)));
    }
}

#[cfg(test)]
mod tests {
    use domain::Inputs;
    use jiff::Timestamp;

    use super::*;

    const SPEC: &str = "name = \"t\"\n[prediction]\nunit = \"s\"\n[inputs]\nzone = { type = \"int\" }\nplace = { type = \
                        \"string\", nullable = true }\nunused = { type = \"float\" }\ndrive_s = { type = \"float\", scope = \
                        \"training\" }\n[lookups.drives]\nkeys = { zone = \"int\" }\nvalues = { median_s = \"float\" \
                        }\n[features]\nhour = \"EXTRACT(HOUR FROM requested_at)\"\ndrive = \"LOOKUP('drives', zone, 'median_s', \
                        600)\"\n[model]\noutputs = [\"drive\"]\n[fallback]\nexpression = \"drive\"\ndefault = 1\n";

    fn compile(sql: &str, of: Type) -> Result<RowExpressions, FeatureError> {
        let expressions = [RowExpression { what: "--key", sql, of }];
        RowExpressions::compile("features.toml", SPEC, &Resources::default(), &expressions)
    }

    #[test]
    fn values_of_any_type_without_the_table_that_is_to_be_built() {
        let expression = |sql, of| RowExpression { what: "--key", sql, of };
        let all = [
            expression("hour", Type::Int),
            expression("place", Type::String),
            expression("zone > 1", Type::Bool),
            expression("drive_s / 60", Type::Float),
            expression("requested_at", Type::Timestamp),
        ];
        let rows = RowExpressions::compile("features.toml", SPEC, &Resources::default(), &all).unwrap();
        let names: Vec<&str> = rows.inputs().inputs().iter().map(|input| input.name.as_str()).collect();
        assert_eq!(names, ["requested_at", "drive_s", "place", "zone"], "what is needed, and no more");
        let mut table = InputTable::new(rows.inputs());
        for row in 0..600i64 {
            let place = (row % 2 == 0).then(|| format!("p{row}"));
            let inputs = serde_json::json!({"zone": row % 3, "place": place, "drive_s": 60 * row});
            let inputs: Inputs = inputs.as_object().unwrap().clone();
            let at = Timestamp::from_second(3600 * row).unwrap();
            rows.inputs().read_training_row(at, &inputs, "/0", &mut table).unwrap();
        }
        let mut columns = rows.columns();
        rows.evaluate(&table, &mut RowScratch::default(), &mut columns);
        let RowValues::Ints(hours) = &columns[0].values else { panic!() };
        let RowValues::Texts(places) = &columns[1].values else { panic!() };
        let RowValues::Floats(minutes) = &columns[3].values else { panic!() };
        assert_eq!((hours.len(), hours[25], hours[599]), (600, 1, 23));
        assert_eq!((places[598].as_str(), columns[1].valid[598], columns[1].valid[599]), ("p598", true, false));
        assert_eq!(minutes[599], 599.0);
        assert_eq!(columns[2].values, RowValues::Bools((0..600).map(|row| row % 3 > 1).collect()));
        assert_eq!(columns[4].values, RowValues::Ints((0..600).map(|row| row * 3_600_000_000).collect()));
    }

    #[test]
    fn what_is_wrong_is_told_in_the_expression() {
        let told = |sql, of| compile(sql, of).unwrap_err().to_string();
        assert!(told("zone + hours", Type::Int).starts_with("--key:1:8: "), "{}", told("zone + hours", Type::Int));
        assert!(told("zone", Type::String).contains("int"));
        let circle = told("drive", Type::Float);
        assert!(circle.contains("features.toml:") && circle.contains("there is no table 'drives'"), "{circle}");
    }
}
