//! A program for one row: the same arithmetic as the kernels' loops, without their costs per step.
//!
//! A single candidate is the most frequent request. Its steps are calls through pointers over an array of cells.

use crate::{
    Type, Value,
    column::{Column, Values},
    kernels::{
        Zone,
        calendar::field_of,
        float::{RADIANS_PER_DEGREE, greatest, least, sign},
        int::{checked1, checked2},
    },
    math::{Acos, Asin, Atan, Atan2, Cos, Exp, Function1, Function2, Ln, Ln1p, Log10, Sin, sin_cos_fast},
    op::{Compared, Comparison, Float1, Float2, Int1, Int2, Op, TimeField},
    program::{Slot, Step},
};

/// A value: a float's bits, an integer, or a boolean as 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Cell {
    bits: u64,
    /// Whether it is not NULL. A NULL's bits are unspecified.
    valid: bool,
}

/// Buffers of a [`RowProgram`], reused from row to row.
#[derive(Debug, Default)]
pub(crate) struct RowRegisters {
    cells: Vec<Cell>,
}

/// The steps of a program, for one row.
#[derive(Debug, Clone)]
pub(crate) struct RowProgram {
    steps: Vec<RowStep>,
    /// Cells that never change.
    constants: Vec<(usize, Cell)>,
    /// Inputs and the cells that they go to.
    inputs: Vec<(usize, usize)>,
    results: Vec<usize>,
    cell_count: usize,
}

type Kernel = fn(&mut [Cell], &Places, &[Zone]);

#[derive(Debug, Clone, Copy)]
struct RowStep {
    kernel: Kernel,
    places: Places,
}

/// Where a step finds its operands and puts its results.
#[derive(Debug, Clone, Copy)]
struct Places {
    x: u32,
    y: u32,
    z: u32,
    result: u32,
    cosine: u32,
    /// Index of the time zone.
    zone: u16,
}

impl RowProgram {
    /// The program, or `None` where a step is about texts.
    pub(crate) fn new(steps: &[Step], constants: &[Value], registers: &[Type], results: &[Slot]) -> Option<Self> {
        let mut program = Self {
            steps: Vec::with_capacity(steps.len()),
            constants: Vec::new(),
            inputs: Vec::new(),
            results: Vec::new(),
            cell_count: registers.len(),
        };
        for step in steps {
            let mut cells = [0u32; 4];
            for (cell, &slot) in cells.iter_mut().zip(&step.operands[..step.operand_count]) {
                *cell = u32::try_from(program.cell_of(slot, constants)?).ok()?;
            }
            let zone = if let Op::LocalSecond(zone) = step.op { zone } else { 0 };
            let [x, y, z, _] = cells;
            let (result, cosine) = (step.result as u32, step.cosine.unwrap_or_default() as u32);
            let kernel = if step.cosine.is_some() { Places::sin_cos } else { kernel(step.op)? };
            program.steps.push(RowStep { kernel, places: Places { x, y, z, result, cosine, zone } });
        }
        for &result in results {
            let cell = program.cell_of(result, constants)?;
            program.results.push(cell);
        }
        Some(program)
    }

    /// The cell of a slot: registers first, then constants and inputs as they come.
    fn cell_of(&mut self, slot: Slot, constants: &[Value]) -> Option<usize> {
        match slot {
            Slot::Register(register) => Some(register),
            Slot::Constant(index) => {
                let cell = match &constants[index] {
                    Value::Null(_) => Cell::default(),
                    Value::Float(value) => Cell { bits: value.to_bits(), valid: true },
                    Value::Int(value) | Value::Timestamp(value) => Cell { bits: *value as u64, valid: true },
                    Value::Bool(value) => Cell { bits: u64::from(*value), valid: true },
                    Value::String(_) => return None,
                };
                let known = self.constants.iter().find(|(_, known)| *known == cell);
                if let Some(&(place, _)) = known {
                    return Some(place);
                }
                self.cell_count += 1;
                self.constants.push((self.cell_count - 1, cell));
                Some(self.cell_count - 1)
            }
            Slot::Input(index) => {
                if let Some(&(_, cell)) = self.inputs.iter().find(|(input, _)| *input == index) {
                    return Some(cell);
                }
                self.cell_count += 1;
                self.inputs.push((index, self.cell_count - 1));
                Some(self.cell_count - 1)
            }
        }
    }

    /// Computes row `row` of the inputs; `emit(result index, value)` gets NaN for NULL.
    pub(crate) fn evaluate(
        &self,
        inputs: &[Column],
        row: usize,
        zones: &[Zone],
        registers: &mut RowRegisters,
        emit: &mut impl FnMut(usize, f64),
    ) {
        if registers.cells.len() != self.cell_count {
            registers.cells.resize(self.cell_count, Cell::default());
            for &(place, cell) in &self.constants {
                registers.cells[place] = cell;
            }
        }
        let cells = registers.cells.as_mut_slice();
        for &(input, cell) in &self.inputs {
            let column = &inputs[input];
            let bits = match &column.values {
                Values::Float(values) => values[row].to_bits(),
                Values::Int(values) => values[row] as u64,
                Values::Bool(values) => u64::from(values[row]),
                // No step reads it.
                Values::Text(_) => 0,
            };
            cells[cell] = Cell { bits, valid: column.is_valid(row) };
        }
        for step in &self.steps {
            (step.kernel)(cells, &step.places, zones);
        }
        for (index, &result) in self.results.iter().enumerate() {
            let Cell { bits, valid } = cells[result];
            emit(index, if valid { f64::from_bits(bits) } else { f64::NAN });
        }
    }
}

impl Places {
    #[inline(always)]
    fn float1(&self, cells: &mut [Cell], function: impl Fn(f64) -> f64) {
        let x = cells[self.x as usize];
        let value = function(f64::from_bits(x.bits));
        cells[self.result as usize] = Cell { bits: value.to_bits(), valid: x.valid & value.is_finite() };
    }

    #[inline(always)]
    fn float2(&self, cells: &mut [Cell], function: impl Fn(f64, f64) -> f64) {
        let (x, y) = (cells[self.x as usize], cells[self.y as usize]);
        let value = function(f64::from_bits(x.bits), f64::from_bits(y.bits));
        cells[self.result as usize] = Cell { bits: value.to_bits(), valid: x.valid & y.valid & value.is_finite() };
    }

    #[inline(always)]
    fn int1(&self, cells: &mut [Cell], function: impl Fn(i64) -> Option<i64>) {
        let x = cells[self.x as usize];
        let value = function(x.bits as i64);
        cells[self.result as usize] =
            Cell { bits: value.unwrap_or_default() as u64, valid: x.valid & value.is_some() };
    }

    #[inline(always)]
    fn int2(&self, cells: &mut [Cell], function: impl Fn(i64, i64) -> Option<i64>) {
        let (x, y) = (cells[self.x as usize], cells[self.y as usize]);
        let value = function(x.bits as i64, y.bits as i64);
        cells[self.result as usize] =
            Cell { bits: value.unwrap_or_default() as u64, valid: x.valid & y.valid & value.is_some() };
    }

    #[inline(always)]
    fn compare(&self, cells: &mut [Cell], holds: impl Fn(u64, u64) -> bool) {
        let (x, y) = (cells[self.x as usize], cells[self.y as usize]);
        cells[self.result as usize] = Cell { bits: u64::from(holds(x.bits, y.bits)), valid: x.valid & y.valid };
    }

    /// Any function of one value that is not NULL.
    #[inline(always)]
    fn map(&self, cells: &mut [Cell], function: impl Fn(u64) -> Option<u64>) {
        let x = cells[self.x as usize];
        let value = function(x.bits);
        cells[self.result as usize] = Cell { bits: value.unwrap_or_default(), valid: x.valid & value.is_some() };
    }

    fn sin_cos(cells: &mut [Cell], places: &Self, _: &[Zone]) {
        let Cell { bits, valid } = cells[places.x as usize];
        let x = f64::from_bits(bits);
        let (sin, cos) = if Sin::covers(x) { sin_cos_fast(x) } else { (Sin::rare(x), Cos::rare(x)) };
        cells[places.result as usize] = Cell { bits: sin.to_bits(), valid };
        cells[places.cosine as usize] = Cell { bits: cos.to_bits(), valid };
    }

    /// AND and OR: `winner` wins over NULL.
    #[inline(always)]
    fn decide(&self, cells: &mut [Cell], winner: bool) {
        let (x, y) = (cells[self.x as usize], cells[self.y as usize]);
        let wins = |cell: Cell| cell.valid & ((cell.bits != 0) == winner);
        let won = wins(x) | wins(y);
        cells[self.result as usize] = Cell { bits: u64::from(won == winner), valid: won | (x.valid & y.valid) };
    }
}

/// The kernel of an operator, or `None` where it is about texts.
fn kernel(op: Op) -> Option<Kernel> {
    Some(match op {
        Op::Float1(function) => float1(function),
        Op::Float2(function) => float2(function),
        Op::Int1(function) => match function {
            Int1::Negate => |cells, at, _| at.int1(cells, |x| checked1(Int1::Negate, x)),
            Int1::Abs => |cells, at, _| at.int1(cells, |x| checked1(Int1::Abs, x)),
            Int1::Sign => |cells, at, _| at.int1(cells, |x| checked1(Int1::Sign, x)),
        },
        Op::Int2(function) => int2(function),
        Op::Compare(comparison, compared) => compare(comparison, compared)?,
        Op::And => |cells, at, _| at.decide(cells, false),
        Op::Or => |cells, at, _| at.decide(cells, true),
        Op::Not => |cells, at, _| at.map(cells, |x| Some(x ^ 1)),
        Op::IsNull => |cells, at, _| {
            let is_null = !cells[at.x as usize].valid;
            cells[at.result as usize] = Cell { bits: u64::from(is_null), valid: true };
        },
        Op::Select(Type::String) | Op::Coalesce(Type::String) | Op::Geo(_) | Op::LocalTime(..) => return None,
        Op::Select(_) => |cells, at, _| {
            let condition = cells[at.x as usize];
            let chosen = if condition.valid & (condition.bits != 0) { at.y } else { at.z };
            cells[at.result as usize] = cells[chosen as usize];
        },
        Op::Coalesce(_) => |cells, at, _| {
            let chosen = if cells[at.x as usize].valid { at.x } else { at.y };
            cells[at.result as usize] = cells[chosen as usize];
        },
        Op::Cast(from, to) => cast(from, to)?,
        Op::LocalSecond(_) => |cells, at, zones| {
            let zone = zones.get(usize::from(at.zone));
            at.int1(cells, |micros| zone.map(|zone| zone.local_second(micros)));
        },
        Op::FieldOfSecond(field) => time_field(field),
        Op::Text1(_) | Op::TextLength | Op::Concat => return None,
    })
}

fn float1(function: Float1) -> Kernel {
    match function {
        Float1::Negate => |cells, at, _| at.float1(cells, |x| -x),
        Float1::Abs => |cells, at, _| at.float1(cells, f64::abs),
        Float1::Sign => |cells, at, _| at.float1(cells, sign),
        Float1::Floor => |cells, at, _| at.float1(cells, f64::floor),
        Float1::Ceil => |cells, at, _| at.float1(cells, f64::ceil),
        Float1::Round => |cells, at, _| at.float1(cells, f64::round),
        Float1::Truncate => |cells, at, _| at.float1(cells, f64::trunc),
        Float1::Sqrt => |cells, at, _| at.float1(cells, f64::sqrt),
        Float1::Exp => |cells, at, _| at.float1(cells, Exp::at),
        Float1::Ln => |cells, at, _| at.float1(cells, Ln::at),
        Float1::Ln1p => |cells, at, _| at.float1(cells, Ln1p::at),
        Float1::Log10 => |cells, at, _| at.float1(cells, Log10::at),
        Float1::Sin => |cells, at, _| at.float1(cells, Sin::at),
        Float1::Cos => |cells, at, _| at.float1(cells, Cos::at),
        Float1::Tan => |cells, at, _| at.float1(cells, libm::tan),
        Float1::Asin => |cells, at, _| at.float1(cells, Asin::at),
        Float1::Acos => |cells, at, _| at.float1(cells, Acos::at),
        Float1::Atan => |cells, at, _| at.float1(cells, Atan::at),
        Float1::Radians => |cells, at, _| at.float1(cells, |x| x * RADIANS_PER_DEGREE),
        Float1::Degrees => |cells, at, _| at.float1(cells, |x| x / RADIANS_PER_DEGREE),
    }
}

fn float2(function: Float2) -> Kernel {
    match function {
        Float2::Add => |cells, at, _| at.float2(cells, |x, y| x + y),
        Float2::Subtract => |cells, at, _| at.float2(cells, |x, y| x - y),
        Float2::Multiply => |cells, at, _| at.float2(cells, |x, y| x * y),
        Float2::Divide => |cells, at, _| at.float2(cells, |x, y| x / y),
        Float2::Modulo => |cells, at, _| at.float2(cells, libm::fmod),
        Float2::Power => |cells, at, _| at.float2(cells, libm::pow),
        Float2::Atan2 => |cells, at, _| at.float2(cells, Atan2::at),
        Float2::Least => |cells, at, _| at.float2(cells, least),
        Float2::Greatest => |cells, at, _| at.float2(cells, greatest),
    }
}

fn int2(function: Int2) -> Kernel {
    match function {
        Int2::Add => |cells, at, _| at.int2(cells, |x, y| checked2(Int2::Add, x, y)),
        Int2::Subtract => |cells, at, _| at.int2(cells, |x, y| checked2(Int2::Subtract, x, y)),
        Int2::Multiply => |cells, at, _| at.int2(cells, |x, y| checked2(Int2::Multiply, x, y)),
        Int2::Divide => |cells, at, _| at.int2(cells, |x, y| checked2(Int2::Divide, x, y)),
        Int2::Modulo => |cells, at, _| at.int2(cells, |x, y| checked2(Int2::Modulo, x, y)),
        Int2::Least => |cells, at, _| at.int2(cells, |x, y| checked2(Int2::Least, x, y)),
        Int2::Greatest => |cells, at, _| at.int2(cells, |x, y| checked2(Int2::Greatest, x, y)),
    }
}

fn compare(comparison: Comparison, compared: Compared) -> Option<Kernel> {
    Some(match (compared, comparison) {
        (Compared::Float, Comparison::Equal) => {
            |cells, at, _| at.compare(cells, |x, y| f64::from_bits(x) == f64::from_bits(y))
        }
        (Compared::Float, Comparison::NotEqual) => {
            |cells, at, _| at.compare(cells, |x, y| f64::from_bits(x) != f64::from_bits(y))
        }
        (Compared::Float, Comparison::Less) => {
            |cells, at, _| at.compare(cells, |x, y| f64::from_bits(x) < f64::from_bits(y))
        }
        (Compared::Float, Comparison::LessOrEqual) => {
            |cells, at, _| at.compare(cells, |x, y| f64::from_bits(x) <= f64::from_bits(y))
        }
        (Compared::Int | Compared::Bool, Comparison::Equal) => |cells, at, _| at.compare(cells, |x, y| x == y),
        (Compared::Int | Compared::Bool, Comparison::NotEqual) => |cells, at, _| at.compare(cells, |x, y| x != y),
        (Compared::Int | Compared::Bool, Comparison::Less) => {
            |cells, at, _| at.compare(cells, |x, y| (x as i64) < y as i64)
        }
        (Compared::Int | Compared::Bool, Comparison::LessOrEqual) => {
            |cells, at, _| at.compare(cells, |x, y| x as i64 <= y as i64)
        }
        (Compared::Text, _) => return None,
    })
}

fn cast(from: Type, to: Type) -> Option<Kernel> {
    Some(match (from, to) {
        (Type::String, _) | (_, Type::String) => return None,
        (Type::Int | Type::Timestamp, Type::Float) => {
            |cells, at, _| at.map(cells, |x| Some((x as i64 as f64).to_bits()))
        }
        (Type::Bool, Type::Float) => |cells, at, _| at.map(cells, |x| Some((x as f64).to_bits())),
        (Type::Float, Type::Int | Type::Timestamp) => |cells, at, _| {
            at.map(cells, |x| crate::kernels::rounded_to_int(f64::from_bits(x)).map(|x| x as u64));
        },
        (Type::Float, Type::Bool) => |cells, at, _| at.map(cells, |x| Some(u64::from(f64::from_bits(x) != 0.0))),
        (Type::Int | Type::Timestamp, Type::Bool) => |cells, at, _| at.map(cells, |x| Some(u64::from(x != 0))),
        (Type::Float, Type::Float)
        | (Type::Bool, Type::Bool | Type::Int | Type::Timestamp)
        | (Type::Int | Type::Timestamp, Type::Int | Type::Timestamp) => |cells, at, _| at.map(cells, Some),
    })
}

fn time_field(field: TimeField) -> Kernel {
    match field {
        TimeField::Year => |cells, at, _| at.int1(cells, |second| Some(field_of(TimeField::Year, second))),
        TimeField::Quarter => |cells, at, _| at.int1(cells, |second| Some(field_of(TimeField::Quarter, second))),
        TimeField::Month => |cells, at, _| at.int1(cells, |second| Some(field_of(TimeField::Month, second))),
        TimeField::Day => |cells, at, _| at.int1(cells, |second| Some(field_of(TimeField::Day, second))),
        TimeField::DayOfYear => |cells, at, _| at.int1(cells, |second| Some(field_of(TimeField::DayOfYear, second))),
        TimeField::Hour => |cells, at, _| at.int1(cells, |second| Some(field_of(TimeField::Hour, second))),
        TimeField::Minute => |cells, at, _| at.int1(cells, |second| Some(field_of(TimeField::Minute, second))),
        TimeField::Second => |cells, at, _| at.int1(cells, |second| Some(field_of(TimeField::Second, second))),
        TimeField::DayOfWeek => |cells, at, _| at.int1(cells, |second| Some(field_of(TimeField::DayOfWeek, second))),
        TimeField::IsoDayOfWeek => {
            |cells, at, _| at.int1(cells, |second| Some(field_of(TimeField::IsoDayOfWeek, second)))
        }
    }
}
