//! The compiled plan, and its evaluation.

use std::collections::BTreeMap;

use domain::digest::sha256_hex;

use crate::{
    FeatureError, InputTable, Resources, Type,
    bind::{Binder, Rows, dependency_order},
    block::fill,
    canonical::{self, Part},
    column::View,
    error::did_you_mean,
    graph::{Graph, NodeId},
    lookup::{LookupDeclaration, LookupTable},
    program::{Program, Registers},
    spec::{Input, Prediction, Source, Spec},
};

/// A compiled feature spec. Immutable; share it, and give each thread a [`Scratch`] of its own.
#[derive(Debug, Clone)]
pub struct Plan {
    name: String,
    description: String,
    hash: String,
    prediction: Prediction,
    inputs: Vec<Input>,
    output_names: Vec<String>,
    fallback_default: f64,
    parts: Vec<Part>,
    feature_types: BTreeMap<String, Type>,
    /// Name and content hash of each declared table.
    lookups: Vec<(String, String)>,
    /// Which outputs, then whether the fallback, need a personal input, which is not stored as it came.
    personal: Vec<bool>,
    /// Outputs, then the fallback.
    serving: Program,
    /// Outputs, then the fallback, then the label.
    training: Option<Program>,
}

/// Buffers of a plan's evaluation, reused from call to call. Serves one plan.
#[derive(Debug, Default)]
pub struct Scratch {
    serving: Registers,
    training: Registers,
}

/// What a plan makes of rows of inputs: columns of doubles, where NaN stands for NULL (the engine has no other NaN).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FeatureTable {
    rows: usize,
    /// One column per output, in the spec's order.
    outputs: Vec<Vec<f64>>,
    fallback: Vec<f64>,
    label: Vec<f64>,
}

impl FeatureTable {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns, one per output in the spec's order; NaN is NULL.
    pub fn outputs(&self) -> &[Vec<f64>] {
        &self.outputs
    }

    /// One row of the model's input, in the spec's order; `None` is NULL.
    pub fn row(&self, row: usize) -> impl Iterator<Item = Option<f64>> + '_ {
        self.outputs.iter().map(move |column| Some(column[row]).filter(|value| !value.is_nan()))
    }

    /// The fallback's answers. Never NaN.
    pub fn fallback(&self) -> &[f64] {
        &self.fallback
    }

    /// The labels; NaN is NULL. Empty after [`Plan::evaluate`], which is for serving.
    pub fn label(&self) -> &[f64] {
        &self.label
    }
}

impl Plan {
    /// Compiles the text of a `features.toml` that declares no lookup tables. `file` is named in errors.
    ///
    /// # Errors
    /// [`FeatureError::Spec`] with the line and column of the first thing that is wrong.
    pub fn compile(file: &str, text: &str) -> Result<Self, FeatureError> {
        Self::compile_with(file, text, &Resources::default())
    }

    /// Compiles the text of a `features.toml`, with the lookup tables that it declares. Tables that it does not declare are
    /// left alone.
    ///
    /// # Errors
    /// [`FeatureError::Spec`] with the line and column of the first thing that is wrong; `lookup_missing` and
    /// `lookup_mismatch` where a declared table is not there or is not as declared.
    pub fn compile_with(file: &str, text: &str, resources: &Resources) -> Result<Self, FeatureError> {
        let source = Source { file, text };
        let spec = Spec::read(&source)?;
        let lookups = bind_lookups(&source, &spec, resources)?;
        let mut binder = Binder::new(&source, &spec, resources, Rows::Serving);
        // Every feature is checked, also one that no output needs.
        let mut feature_types = BTreeMap::new();
        for name in dependency_order(&spec.features, spec.features.keys().map(String::as_str)) {
            let Some(expression) = spec.features.get(name) else { continue };
            let node = binder.output(name, &expression.span())?;
            feature_types.insert(name.to_owned(), binder.graph.type_of(node));
        }
        let mut results = serving_results(&mut binder, &spec)?;
        let serving = Program::new(&binder.graph, &results);
        let personal = binder.graph.need(&results, |input| spec.inputs[input].personal.is_some());
        let training = match &spec.label {
            None => None,
            Some(label) => {
                // Rows to learn from look elsewhere, where a table says so; else what is bound is bound.
                let looks_elsewhere =
                    |(name, _): &(String, String)| resources.lookup(name).is_some_and(|table| table.folds().is_some());
                if lookups.iter().any(looks_elsewhere) {
                    binder = Binder::new(&source, &spec, resources, Rows::Training);
                    for name in dependency_order(&spec.features, spec.features.keys().map(String::as_str)) {
                        binder.output(name, &label.span())?;
                    }
                    results = serving_results(&mut binder, &spec)?;
                }
                results.push(binder.float_expression(label.get_ref(), &label.span(), "the label", true)?);
                Some(Program::new(&binder.graph, &results))
            }
        };
        drop(binder);
        let parts = canonical::parts(&spec);
        Ok(Self {
            hash: canonical::hash(&parts),
            parts,
            feature_types,
            lookups,
            name: spec.name,
            description: spec.description,
            prediction: spec.prediction,
            inputs: spec.inputs,
            output_names: spec.outputs.into_iter().map(toml::Spanned::into_inner).collect(),
            fallback_default: spec.fallback_default,
            personal,
            serving,
            training,
        })
    }

    /// The spec's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The spec's description.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// SHA-256 of the spec's canonical form: the same for any layout, comments, descriptions and order of tables.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// What the model predicts.
    pub fn prediction(&self) -> &Prediction {
        &self.prediction
    }

    /// The inputs: `requested_at` first, then by name.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// The names of the model's columns, in order.
    pub fn output_names(&self) -> &[String] {
        &self.output_names
    }

    /// The lookup tables that the plan is bound to: name and the SHA-256 of the content, which a release pins.
    pub fn lookups(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lookups.iter().map(|(name, sha256)| (name.as_str(), sha256.as_str()))
    }

    /// What the transform of training rows depends on beside the rows: the spec's hash; where it has lookup tables, a hash of
    /// it and theirs.
    pub fn transform_hash(&self) -> String {
        if self.lookups.is_empty() {
            return self.hash.clone();
        }
        let tables = self.lookups.iter().map(|(name, sha256)| format!("\n{name} {sha256}"));
        sha256_hex(tables.fold(self.hash.clone(), |all, table| all + &table).as_bytes())
    }

    /// Whether an output, by its place, is computed from personal inputs: from the archive it cannot be computed again.
    pub fn output_is_personal(&self, output: usize) -> bool {
        output < self.output_names.len() && self.personal.get(output).is_some_and(|needs| *needs)
    }

    /// Whether the fallback is computed from personal inputs.
    pub fn fallback_is_personal(&self) -> bool {
        self.personal.get(self.output_names.len()).is_some_and(|needs| *needs)
    }

    /// The type of a feature; `None` where there is no such feature.
    pub fn feature_type(&self, name: &str) -> Option<Type> {
        self.feature_types.get(name).copied()
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// A plan that reads rows of a spec's inputs, and makes nothing of them.
    pub(crate) fn of_inputs(spec: Spec) -> Self {
        let parts = canonical::parts(&spec);
        Self {
            hash: canonical::hash(&parts),
            parts,
            feature_types: BTreeMap::new(),
            lookups: Vec::new(),
            name: spec.name,
            description: spec.description,
            prediction: spec.prediction,
            inputs: spec.inputs,
            output_names: Vec::new(),
            fallback_default: spec.fallback_default,
            personal: Vec::new(),
            serving: Program::new(&Graph::default(), &[]),
            training: None,
        }
    }

    /// Roughly what each step of a serving row costs.
    pub(crate) fn step_costs_ns(&self) -> Vec<u32> {
        self.serving.ops().map(crate::op::Op::cost_ns).collect()
    }

    /// Whether the spec says what is to be learnt.
    pub fn has_label(&self) -> bool {
        self.training.is_some()
    }

    /// How many operators a serving row goes through.
    pub fn serving_steps(&self) -> usize {
        self.serving.step_count()
    }

    /// The serving program, one operator a line.
    pub fn describe(&self) -> String {
        let names: Vec<&str> = self.inputs.iter().map(|input| input.name.as_str()).collect();
        self.serving.describe(&names)
    }

    /// Outputs and fallback of every row, into `table`, whose buffers are reused.
    pub fn evaluate(&self, inputs: &InputTable, scratch: &mut Scratch, table: &mut FeatureTable) {
        table.label.clear();
        self.run(&self.serving, inputs, &mut scratch.serving, table);
    }

    /// Outputs, fallback and label of every row. Labels are empty where the spec has none.
    pub fn evaluate_training(&self, inputs: &InputTable, scratch: &mut Scratch, table: &mut FeatureTable) {
        match &self.training {
            Some(program) => self.run(program, inputs, &mut scratch.training, table),
            None => self.evaluate(inputs, scratch, table),
        }
    }

    fn run(&self, program: &Program, inputs: &InputTable, registers: &mut Registers, table: &mut FeatureTable) {
        let (rows, outputs) = (inputs.rows(), self.output_names.len());
        table.rows = rows;
        table.outputs.resize_with(outputs, Vec::new);
        table.outputs.iter_mut().for_each(Vec::clear);
        table.fallback.clear();
        table.label.clear();
        table.outputs.iter_mut().chain([&mut table.fallback]).for_each(|column| column.reserve(rows));
        let mut columns = Sinks { outputs: &mut table.outputs, fallback: &mut table.fallback, label: &mut table.label };
        let done = program.evaluate_blocks(inputs.columns(), rows, registers, |result, bits| {
            append(columns.of(result), bits);
        });
        if !done {
            program.evaluate(inputs.columns(), rows, registers, |result, view, _| {
                push_with_nan(columns.of(result), &view);
            });
        }
        for value in &mut table.fallback {
            let known = if value.is_nan() { self.fallback_default } else { *value };
            *value = self.bounded(known).unwrap_or(self.fallback_default);
        }
    }

    /// A model's number as an answer: within the prediction's bounds, or `None` where it is not a finite number.
    pub fn bounded(&self, value: f64) -> Option<f64> {
        let (min, max) = (self.prediction.min.unwrap_or(f64::MIN), self.prediction.max.unwrap_or(f64::MAX));
        value.is_finite().then(|| value.clamp(min, max))
    }
}

/// The columns that a program's results go to.
struct Sinks<'a> {
    outputs: &'a mut [Vec<f64>],
    fallback: &'a mut Vec<f64>,
    label: &'a mut Vec<f64>,
}

impl Sinks<'_> {
    fn of(&mut self, result: usize) -> &mut Vec<f64> {
        match result.checked_sub(self.outputs.len()) {
            None => &mut self.outputs[result],
            Some(0) => self.fallback,
            Some(_) => self.label,
        }
    }
}

/// Appends floats by their bits.
fn append(column: &mut Vec<f64>, bits: &[u64]) {
    let before = column.len();
    column.resize(before + bits.len(), 0.0);
    fill(&mut column[before..], bits, f64::from_bits);
}

fn push_with_nan(column: &mut Vec<f64>, view: &View<'_>) {
    let values = view.floats();
    match view.valid {
        None => column.extend_from_slice(values),
        Some(valid) => {
            column.extend(values.iter().zip(valid).map(|(&value, &valid)| if valid { value } else { f64::NAN }));
        }
    }
}

/// The outputs, then the fallback.
fn serving_results(binder: &mut Binder<'_>, spec: &Spec) -> Result<Vec<NodeId>, FeatureError> {
    let mut results = Vec::with_capacity(spec.outputs.len() + 2);
    for output in &spec.outputs {
        let what = format!("output `{}`", output.get_ref());
        binder.output(output.get_ref(), &output.span())?;
        results.push(binder.float_expression(output.get_ref(), &output.span(), &what, false)?);
    }
    let fallback = &spec.fallback;
    results.push(binder.float_expression(fallback.get_ref(), &fallback.span(), "the fallback", false)?);
    Ok(results)
}

/// The lookup tables that a spec declares, in the order of their names: what is to be loaded before
/// [`Plan::compile_with`].
///
/// # Errors
/// [`FeatureError::Spec`] where the document cannot be read.
pub fn lookup_declarations(file: &str, text: &str) -> Result<Vec<LookupDeclaration>, FeatureError> {
    let spec = Spec::read(&Source { file, text })?;
    Ok(spec.lookups.into_iter().map(|(_, declaration)| declaration).collect())
}

/// Checks the declared tables that are there.
pub(crate) fn check_lookups(source: &Source<'_>, spec: &Spec, resources: &Resources) -> Result<(), FeatureError> {
    spec.lookups.iter().try_for_each(|(start, declaration)| match resources.lookup(&declaration.name) {
        Some(table) => check_lookup(source, *start, declaration, table),
        None => Ok(()),
    })
}

fn check_lookup(
    source: &Source<'_>,
    start: usize,
    declaration: &LookupDeclaration,
    table: &LookupTable,
) -> Result<(), FeatureError> {
    let Some(why) = declaration.mismatch(table) else { return Ok(()) };
    let message = format!("lookup table `{}` is not as declared: {why}", declaration.name);
    Err(source.error(start, "lookup_mismatch", message, None))
}

/// The text of a spec's label expression; `None` where it has no label.
///
/// # Errors
/// [`FeatureError::Spec`] where the document cannot be read.
pub fn label_expression(file: &str, text: &str) -> Result<Option<String>, FeatureError> {
    Ok(Spec::read(&Source { file, text })?.label.map(toml::Spanned::into_inner))
}

/// Name and hash of each declared table, which must be there and be as declared.
fn bind_lookups(
    source: &Source<'_>,
    spec: &Spec,
    resources: &Resources,
) -> Result<Vec<(String, String)>, FeatureError> {
    let mut lookups = Vec::with_capacity(spec.lookups.len());
    for (start, declaration) in &spec.lookups {
        let name = &declaration.name;
        let Some(table) = resources.lookup(name) else {
            let message = format!("lookup table `{name}` is declared, but there is no table of this name");
            let expected = if resources.lookup_names().next().is_none() {
                "build it with `mannen features build-lookup`, or bring it in with `mannen features import-lookup`"
                    .to_owned()
            } else {
                did_you_mean(name, resources.lookup_names(), "tables")
            };
            return Err(source.error(*start, "lookup_missing", message, Some(expected)));
        };
        check_lookup(source, *start, declaration, table)?;
        lookups.push((name.clone(), table.sha256().to_owned()));
    }
    Ok(lookups)
}
