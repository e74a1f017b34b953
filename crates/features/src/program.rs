//! A program: the operators that some results need, in order, over reused registers.

use std::{collections::HashMap, fmt::Write};

use crate::{
    Type, Value,
    block::{BlockProgram, Blocks},
    column::{Column, View},
    graph::{Graph, Node, NodeId, NodeKind},
    kernels,
    op::{Float1, Op},
    tables::Tables,
};

/// Rows are computed in runs of at most this many, so that a run's registers stay in the processor's cache.
const RUN_ROWS: usize = 512;
/// Rows of a vector: a block's chunk.
const LANES: usize = 8;
/// Chunks of a block: so many that a step's costs count little, so few that what is at work stays in the cache.
const CHUNKS: usize = 32;
/// Fewer rows are computed one by one: a vector has costs of its own.
const LEAST_VECTOR_ROWS: usize = 4;
const MAX_OPERANDS: usize = 4;

/// Where an operand lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    Input(usize),
    Constant(usize),
    Register(usize),
}

#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) op: Op,
    pub(crate) operands: [Slot; MAX_OPERANDS],
    pub(crate) operand_count: usize,
    pub(crate) result: usize,
    /// Where the cosine goes, where the step is a sine whose cosine is wanted too.
    pub(crate) cosine: Option<usize>,
}

/// The operators behind a list of results.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    steps: Vec<Step>,
    constants: Vec<Value>,
    registers: Vec<Type>,
    results: Vec<Slot>,
    tables: Tables,
    /// The same steps over blocks, for single rows and for many; none where texts or tables are computed with.
    row: Option<BlockProgram<1, 1>>,
    batch: Option<BlockProgram<LANES, CHUNKS>>,
}

/// Buffers of one program's evaluation, reused from call to call.
#[derive(Debug, Default)]
pub(crate) struct Registers {
    columns: Vec<Column>,
    constants: Vec<Column>,
    constant_rows: usize,
    row: Blocks<1, 1>,
    batch: Blocks<LANES, CHUNKS>,
}

impl Program {
    /// The operators that `results` need, and no others.
    pub(crate) fn new(graph: &Graph, results: &[NodeId]) -> Self {
        let nodes = graph.nodes();
        let needed = needed(nodes, results);
        let partner = sines_and_cosines(nodes, &needed);
        let is_done_before = |id: usize| partner[id].is_some_and(|other| other < id);
        let mut last_use: Vec<usize> = vec![0; nodes.len()];
        for (id, node) in nodes.iter().enumerate().filter(|(id, _)| needed[*id] && !is_done_before(*id)) {
            if let NodeKind::Operator(_, operands) = &node.kind {
                for &operand in operands {
                    last_use[operand] = id;
                }
            }
        }
        for &result in results {
            last_use[result] = usize::MAX;
        }

        let mut program = Self {
            steps: Vec::new(),
            constants: Vec::new(),
            registers: Vec::new(),
            results: Vec::new(),
            tables: graph.tables.clone(),
            row: None,
            batch: None,
        };
        let mut slots = vec![Slot::Input(0); nodes.len()];
        let mut free: Vec<usize> = Vec::new();
        for (id, node) in nodes.iter().enumerate().filter(|(id, _)| needed[*id] && !is_done_before(*id)) {
            let (op, operands) = match &node.kind {
                NodeKind::Input(index) => {
                    slots[id] = Slot::Input(*index);
                    continue;
                }
                NodeKind::Constant(value) => {
                    slots[id] = Slot::Constant(program.constants.len());
                    program.constants.push(value.clone());
                    continue;
                }
                NodeKind::Operator(op, operands) => (*op, operands),
            };
            let mut used = [Slot::Input(0); MAX_OPERANDS];
            for (slot, &operand) in used.iter_mut().zip(operands) {
                *slot = slots[operand];
            }
            let mut result = program.take_register(&mut free, node.of);
            slots[id] = Slot::Register(result);
            let (mut op, mut cosine) = (op, None);
            if let Some(other) = partner[id] {
                let second = program.take_register(&mut free, node.of);
                slots[other] = Slot::Register(second);
                (result, cosine) =
                    if op == Op::Float1(Float1::Sin) { (result, Some(second)) } else { (second, Some(result)) };
                op = Op::Float1(Float1::Sin);
            }
            program.steps.push(Step { op, operands: used, operand_count: operands.len(), result, cosine });
            // Only after the result has its register: a kernel reads its operands while it writes.
            for (position, &operand) in operands.iter().enumerate() {
                let first_mention = !operands[..position].contains(&operand);
                if let (Slot::Register(register), true) = (slots[operand], first_mention)
                    && last_use[operand] == id
                {
                    free.push(register);
                }
            }
        }
        program.results = results.iter().map(|&result| slots[result]).collect();
        let (steps, constants, registers) = (&program.steps, &program.constants, program.registers.len());
        program.row = BlockProgram::new(steps, constants, registers, &program.results);
        program.batch = BlockProgram::new(steps, constants, registers, &program.results);
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

    /// Computes all rows; `emit(result index, values of a run, its rows)` is called for each run and result.
    pub(crate) fn evaluate(
        &self,
        inputs: &[Column],
        rows: usize,
        registers: &mut Registers,
        mut emit: impl FnMut(usize, View<'_>, usize),
    ) {
        registers.prepare(self, rows.min(RUN_ROWS));
        let mut start = 0;
        while start < rows {
            let run = (rows - start).min(RUN_ROWS);
            for step in &self.steps {
                self.run_step(step, inputs, start, run, registers);
            }
            for (index, &slot) in self.results.iter().enumerate() {
                emit(index, registers.view(slot, inputs, start, run), run);
            }
            start += run;
        }
    }

    fn run_step(&self, step: &Step, inputs: &[Column], start: usize, run: usize, registers: &mut Registers) {
        let mut result = std::mem::replace(&mut registers.columns[step.result], Column::taken());
        let first = registers.view(step.operands[0], inputs, start, run);
        if let Some(cosine) = step.cosine {
            let mut cosines = std::mem::replace(&mut registers.columns[cosine], Column::taken());
            let x = registers.view(step.operands[0], inputs, start, run);
            kernels::float::sin_cos(&x, run, &mut result, &mut cosines);
            registers.columns[cosine] = cosines;
        } else {
            let mut operands = [first; MAX_OPERANDS];
            for (operand, &slot) in operands.iter_mut().zip(&step.operands[..step.operand_count]).skip(1) {
                *operand = registers.view(slot, inputs, start, run);
            }
            kernels::compute(step.op, &operands[..step.operand_count], run, &self.tables, &mut result);
        }
        registers.columns[step.result] = result;
    }

    /// Computes all rows where no step is about texts; `emit(result index, floats' bits of a run)` is called for each
    /// run and result, with NaN for NULL. Returns whether it did.
    pub(crate) fn evaluate_blocks(
        &self,
        inputs: &[Column],
        rows: usize,
        registers: &mut Registers,
        emit: impl FnMut(usize, &[u64]),
    ) -> bool {
        let zones = &self.tables.time_zones;
        match (&self.row, &self.batch) {
            (Some(row), _) if rows < LEAST_VECTOR_ROWS => {
                row.evaluate(inputs, rows, zones, &mut registers.row, emit);
            }
            (_, Some(batch)) => batch.evaluate(inputs, rows, zones, &mut registers.batch, emit),
            _ => return false,
        }
        true
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
            let operands = operands.join(", ");
            match step.cosine {
                Some(cosine) => _ = writeln!(text, "r{}, r{cosine} = SinCos({operands})", step.result),
                None => _ = writeln!(text, "r{} = {:?}({operands})", step.result, step.op),
            }
        }
        text
    }
}

/// The nodes that the results need.
fn needed(nodes: &[Node], results: &[NodeId]) -> Vec<bool> {
    let mut needed = vec![false; nodes.len()];
    for &result in results {
        needed[result] = true;
    }
    for id in (0..nodes.len()).rev() {
        if let (true, NodeKind::Operator(_, operands)) = (needed[id], &nodes[id].kind) {
            for &operand in operands {
                needed[operand] = true;
            }
        }
    }
    needed
}

/// For each sine whose cosine is needed too, that cosine; and the reverse. They cost little more than one of them.
fn sines_and_cosines(nodes: &[Node], needed: &[bool]) -> Vec<Option<NodeId>> {
    let mut partner = vec![None; nodes.len()];
    let mut of_operand: HashMap<(NodeId, Float1), NodeId> = HashMap::new();
    for (id, node) in nodes.iter().enumerate().filter(|(id, _)| needed[*id]) {
        let NodeKind::Operator(Op::Float1(function @ (Float1::Sin | Float1::Cos)), operands) = &node.kind else {
            continue;
        };
        let other = if *function == Float1::Sin { Float1::Cos } else { Float1::Sin };
        if let Some(&other) = of_operand.get(&(operands[0], other)) {
            (partner[id], partner[other]) = (Some(other), Some(id));
        }
        of_operand.insert((operands[0], *function), id);
    }
    partner
}

impl Registers {
    /// A run of what lies in `slot`.
    fn view<'a>(&'a self, slot: Slot, inputs: &'a [Column], start: usize, run: usize) -> View<'a> {
        match slot {
            Slot::Input(index) => inputs[index].view(start, run),
            Slot::Constant(index) => View { is_constant: true, ..self.constants[index].view(0, run) },
            Slot::Register(index) => self.columns[index].view(0, run),
        }
    }

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
