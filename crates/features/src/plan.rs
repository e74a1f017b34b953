//! The compiled plan, and its evaluation.

use domain::digest::sha256_hex;

use crate::{
    FeatureError, InputTable,
    bind::{self, Binder},
    block::fill,
    column::View,
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
    /// Compiles the text of a `features.toml`. `file` is named in errors.
    ///
    /// # Errors
    /// [`FeatureError::Spec`] with the line and column of the first thing that is wrong.
    pub fn compile(file: &str, text: &str) -> Result<Self, FeatureError> {
        let source = Source { file, text };
        let spec = Spec::read(&source)?;
        let mut binder = Binder::new(&source, &spec);
        // Every feature is checked, also one that no output needs.
        for (name, expression) in &spec.features {
            binder.output(name, &expression.span())?;
        }
        let mut results = Vec::with_capacity(spec.outputs.len() + 2);
        for output in &spec.outputs {
            let what = format!("output `{}`", output.get_ref());
            binder.output(output.get_ref(), &output.span())?;
            results.push(binder.float_expression(output.get_ref(), &output.span(), &what, false)?);
        }
        let fallback = &spec.fallback;
        results.push(binder.float_expression(fallback.get_ref(), &fallback.span(), "the fallback", false)?);
        let serving = Program::new(&binder.graph, &results);
        let training = match &spec.label {
            None => None,
            Some(label) => {
                results.push(binder.float_expression(label.get_ref(), &label.span(), "the label", true)?);
                Some(Program::new(&binder.graph, &results))
            }
        };
        drop(binder);
        let hash = sha256_hex(canonical_form(&spec).as_bytes());
        Ok(Self {
            hash,
            name: spec.name,
            description: spec.description,
            prediction: spec.prediction,
            inputs: spec.inputs,
            output_names: spec.outputs.into_iter().map(toml::Spanned::into_inner).collect(),
            fallback_default: spec.fallback_default,
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
            program.evaluate(inputs.columns(), rows, registers, |result, view| {
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

/// What decides the bits of a transform, one item a line.
fn canonical_form(spec: &Spec) -> String {
    use std::fmt::Write;

    let mut form = String::from("mannen feature spec 1\n");
    _ = writeln!(form, "prediction {:?}", spec.prediction);
    for input in &spec.inputs {
        let Input { name, scope, of, unit, nullable, default, min, max, allowed, description: _ } = input;
        _ = writeln!(form, "input {name} {scope:?} {of} {unit:?} {nullable} {default:?} {min:?} {max:?} {allowed:?}");
    }
    for (name, expression) in &spec.features {
        _ = writeln!(form, "feature {name} = {}", bind::canonical(expression.get_ref()));
    }
    for output in &spec.outputs {
        _ = writeln!(form, "output {}", output.get_ref());
    }
    if let Some(label) = &spec.label {
        _ = writeln!(form, "label = {}", bind::canonical(label.get_ref()));
    }
    _ = writeln!(form, "fallback = {} or {:?}", bind::canonical(spec.fallback.get_ref()), spec.fallback_default);
    form
}
