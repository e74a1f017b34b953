//! A program: the operators that some results need, in order, over reused registers.

use std::fmt::Write;

use crate::{
    Type, Value,
    column::{Column, View},
    graph::{Graph, NodeId, NodeKind},
    kernels,
    op::Op,
    tables::Tables,
};

/// Rows are computed in runs of at most this many, so that a run's registers stay in the processor's cache.
const RUN_ROWS: usize = 512;
const MAX_OPERANDS: usize = 4;

/// Where an operand lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Input(usize),
    Constant(usize),
    Register(usize),
}

#[derive(Debug, Clone)]
struct Step {
    op: Op,
    operands: [Slot; MAX_OPERANDS],
    operand_count: usize,
    result: usize,
}

/// The operators behind a list of results.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    steps: Vec<Step>,
    constants: Vec<Value>,
    registers: Vec<Type>,
    results: Vec<Slot>,
    tables: Tables,
}

/// Buffers of one program's evaluation, reused from call to call.
#[derive(Debug, Default)]
pub(crate) struct Registers {
    columns: Vec<Column>,
    constants: Vec<Column>,
    constant_rows: usize,
}

impl Program {
    /// The operators that `results` need, and no others.
    pub(crate) fn new(graph: &Graph, results: &[NodeId]) -> Self {
        let nodes = graph.nodes();
        let mut last_use: Vec<Option<usize>> = vec![None; nodes.len()];
        for &result in results {
            last_use[result] = Some(usize::MAX);
        }
        for id in (0..nodes.len()).rev() {
            if let (Some(_), NodeKind::Operator(_, operands)) = (last_use[id], &nodes[id].kind) {
                for &operand in operands {
                    last_use[operand] = last_use[operand].max(Some(id));
                }
            }
        }
        let mut program = Self {
            steps: Vec::new(),
            constants: Vec::new(),
            registers: Vec::new(),
            results: Vec::new(),
            tables: graph.tables.clone(),
        };
        let mut slots = vec![Slot::Input(0); nodes.len()];
        let mut free: Vec<usize> = Vec::new();
        for (id, node) in nodes.iter().enumerate().filter(|(id, _)| last_use[*id].is_some()) {
            slots[id] = match &node.kind {
                NodeKind::Input(index) => Slot::Input(*index),
                NodeKind::Constant(value) => {
                    program.constants.push(value.clone());
                    Slot::Constant(program.constants.len() - 1)
                }
                NodeKind::Operator(op, operands) => {
                    let mut used = [Slot::Input(0); MAX_OPERANDS];
                    for (slot, &operand) in used.iter_mut().zip(operands) {
                        *slot = slots[operand];
                    }
                    let result = program.take_register(&mut free, node.of);
                    program.steps.push(Step { op: *op, operands: used, operand_count: operands.len(), result });
                    // Only after the result has its register: a kernel reads its operands while it writes.
                    for (position, &operand) in operands.iter().enumerate() {
                        let first_mention = !operands[..position].contains(&operand);
                        if let (Slot::Register(register), true) = (slots[operand], first_mention)
                            && last_use[operand] == Some(id)
                        {
                            free.push(register);
                        }
                    }
                    Slot::Register(result)
                }
            };
        }
        program.results = results.iter().map(|&result| slots[result]).collect();
        program
    }

    fn take_register(&mut self, free: &mut Vec<usize>, of: Type) -> usize {
        // Ints and timestamps share a representation.
        let same =
            |a: Type, b: Type| a == b || matches!((a, b), (Type::Int, Type::Timestamp) | (Type::Timestamp, Type::Int));
        if let Some(position) = free.iter().position(|&register| same(self.registers[register], of)) {
            return free.swap_remove(position);
        }
        self.registers.push(of);
        self.registers.len() - 1
    }

    pub(crate) fn step_count(&self) -> usize {
        self.steps.len()
    }

    /// The operators, in order.
    pub(crate) fn ops(&self) -> impl Iterator<Item = Op> {
        self.steps.iter().map(|step| step.op)
    }

    /// Computes all rows; `emit(result index, first row, values of a run)` is called for each result and run.
    pub(crate) fn evaluate(
        &self,
        inputs: &[Column],
        rows: usize,
        registers: &mut Registers,
        mut emit: impl FnMut(usize, usize, View<'_>),
    ) {
        registers.prepare(self, rows.min(RUN_ROWS));
        let mut start = 0;
        while start < rows {
            let run = (rows - start).min(RUN_ROWS);
            for step in &self.steps {
                let mut result = std::mem::replace(&mut registers.columns[step.result], Column::taken());
                let view = |slot: Slot| match slot {
                    Slot::Input(index) => inputs[index].view(start, run),
                    Slot::Constant(index) => registers.constants[index].view(0, run),
                    Slot::Register(index) => registers.columns[index].view(0, run),
                };
                let first = view(step.operands[0]);
                let mut operands = [first; MAX_OPERANDS];
                for (operand, &slot) in operands.iter_mut().zip(&step.operands[..step.operand_count]).skip(1) {
                    *operand = view(slot);
                }
                kernels::compute(step.op, &operands[..step.operand_count], run, &self.tables, &mut result);
                registers.columns[step.result] = result;
            }
            for (index, &slot) in self.results.iter().enumerate() {
                let view = match slot {
                    Slot::Input(input) => inputs[input].view(start, run),
                    Slot::Constant(constant) => registers.constants[constant].view(0, run),
                    Slot::Register(register) => registers.columns[register].view(0, run),
                };
                emit(index, start, view);
            }
            start += run;
        }
    }

    /// The steps, one a line, for people.
    pub(crate) fn describe(&self, input_names: &[&str]) -> String {
        let name = |slot: &Slot| match slot {
            Slot::Input(index) => input_names.get(*index).map_or_else(String::new, |name| (*name).to_owned()),
            Slot::Constant(index) => format!("{:?}", self.constants[*index]),
            Slot::Register(index) => format!("r{index}"),
        };
        let mut text = String::new();
        for step in &self.steps {
            let operands: Vec<String> = step.operands[..step.operand_count].iter().map(name).collect();
            _ = writeln!(text, "r{} = {:?}({})", step.result, step.op, operands.join(", "));
        }
        text
    }
}

impl Registers {
    fn prepare(&mut self, program: &Program, rows: usize) {
        if self.columns.len() != program.registers.len() || self.constants.len() != program.constants.len() {
            self.columns = program.registers.iter().map(|&of| Column::new(of)).collect();
            self.constants = program.constants.iter().map(|value| Column::new(value.type_of())).collect();
            self.constant_rows = 0;
        }
        if self.constant_rows < rows {
            for (column, value) in self.constants.iter_mut().zip(&program.constants) {
                while column.len() < rows {
                    column.push(value);
                }
            }
            self.constant_rows = rows;
        }
    }
}
