//! A program over blocks of rows: what a plan without texts runs as.
//!
//! A step is a call through a pointer over fixed blocks of eight-byte values. A block has `C` chunks of `L` rows: with
//! L = C = 1 it is the program of a single row, the most frequent request, which must not pay for vectors; with L = 8,
//! the widest vector's doubles, a batch has no left-over rows to compute one by one. A block's unused chunks cost
//! nothing; unused rows of its last chunk repeat a row.

mod kernels;
mod rows;

use kernels::kernel;
use rows::sin_cos;

use crate::{
    Value,
    column::{Column, Values},
    kernels::{
        Zone,
        vector::{each, vectorised},
    },
    op::Op,
    program::{Slot, Step},
};

/// Values of some rows: floats as their bits, integers, booleans as 0 or 1.
#[derive(Debug, Clone)]
struct Block<const L: usize, const C: usize> {
    bits: [[u64; L]; C],
    /// Which rows are not NULL. Meaningful only where `has_nulls`.
    valid: [[bool; L]; C],
    has_nulls: bool,
}

/// Buffers of a [`BlockProgram`], reused from call to call.
#[derive(Debug, Default)]
pub(crate) struct Blocks<const L: usize, const C: usize> {
    blocks: Vec<Block<L, C>>,
}

/// The steps of a program, over blocks of C chunks of L rows.
#[derive(Debug, Clone)]
pub(crate) struct BlockProgram<const L: usize, const C: usize> {
    steps: Vec<BlockStep<L, C>>,
    /// Blocks that never change, and their value; `None` is NULL.
    constants: Vec<(usize, Option<u64>)>,
    /// Inputs and the blocks that they go to.
    inputs: Vec<(usize, usize)>,
    results: Vec<usize>,
    block_count: usize,
}

/// Operands and result among the blocks, how many chunks have rows, the time zones. (All of it fits registers.)
type Kernel<const L: usize, const C: usize> = fn(&mut [Block<L, C>], &Places, usize, &[Zone]);

#[derive(Debug, Clone, Copy)]
struct BlockStep<const L: usize, const C: usize> {
    kernel: Kernel<L, C>,
    places: Places,
}

/// Where a step finds its operands and puts its results.
#[derive(Debug, Clone, Copy)]
struct Places {
    x: usize,
    y: usize,
    z: usize,
    result: usize,
    cosine: usize,
    /// Index of the time zone.
    zone: usize,
    constant: Constant,
}

/// Which operand is a constant that is not NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Constant {
    None,
    First,
    Second,
}

impl<const L: usize, const C: usize> BlockProgram<L, C> {
    /// The program, or `None` where a step is about texts.
    pub(crate) fn new(steps: &[Step], constants: &[Value], registers: usize, results: &[Slot]) -> Option<Self> {
        let mut program = Self {
            steps: Vec::with_capacity(steps.len()),
            constants: Vec::new(),
            inputs: Vec::new(),
            results: Vec::new(),
            block_count: registers,
        };
        for step in steps {
            let mut places = [0; 4];
            for (place, &slot) in places.iter_mut().zip(&step.operands[..step.operand_count]) {
                *place = program.place_of(slot, constants)?;
            }
            let zone = if let Op::LocalSecond(zone) = step.op { usize::from(zone) } else { 0 };
            let [x, y, z, _] = places;
            let is_constant = |operand: usize| match step.operands[operand] {
                Slot::Constant(index) => operand < step.operand_count && !matches!(constants[index], Value::Null(_)),
                _ => false,
            };
            let constant = match (is_constant(0), is_constant(1)) {
                (_, true) => Constant::Second,
                (true, _) => Constant::First,
                _ => Constant::None,
            };
            let kernel = if step.cosine.is_some() { sin_cos } else { kernel(step.op)? };
            let (result, cosine) = (step.result, step.cosine.unwrap_or_default());
            program.steps.push(BlockStep { kernel, places: Places { x, y, z, result, cosine, zone, constant } });
        }
        for &result in results {
            let place = program.place_of(result, constants)?;
            program.results.push(place);
        }
        Some(program)
    }

    /// The block of a slot: registers first, then constants and inputs as they come.
    fn place_of(&mut self, slot: Slot, constants: &[Value]) -> Option<usize> {
        let known = match slot {
            Slot::Register(register) => return Some(register),
            Slot::Input(index) => self.inputs.iter().find(|(input, _)| *input == index).map(|&(_, place)| place),
            Slot::Constant(index) => {
                let value = match &constants[index] {
                    Value::Null(_) => None,
                    Value::Float(value) => Some(value.to_bits()),
                    Value::Int(value) | Value::Timestamp(value) => Some(*value as u64),
                    Value::Bool(value) => Some(u64::from(*value)),
                    Value::String(_) => return None,
                };
                let known = self.constants.iter().find(|(_, known)| *known == value).map(|&(place, _)| place);
                if known.is_none() {
                    self.constants.push((self.block_count, value));
                }
                known
            }
        };
        if known.is_some() {
            return known;
        }
        if let Slot::Input(index) = slot {
            self.inputs.push((index, self.block_count));
        }
        self.block_count += 1;
        Some(self.block_count - 1)
    }

    /// Computes all rows; `emit(result index, values of a run)` is called for each run and result, with NaN for NULL.
    pub(crate) fn evaluate(
        &self,
        inputs: &[Column],
        rows: usize,
        zones: &[Zone],
        blocks: &mut Blocks<L, C>,
        mut emit: impl FnMut(usize, &[u64]),
    ) {
        self.prepare(blocks);
        let blocks = blocks.blocks.as_mut_slice();
        let mut start = 0;
        while start < rows {
            let count = (rows - start).min(L * C);
            for &(input, place) in &self.inputs {
                blocks[place].read(&inputs[input], start, count);
            }
            let used = padded_rows::<L, C>(count) / L;
            for step in &self.steps {
                (step.kernel)(blocks, &step.places, used, zones);
            }
            for (index, &place) in self.results.iter().enumerate() {
                emit(index, blocks[place].with_nan(used, count));
            }
            start += count;
        }
    }

    fn prepare(&self, blocks: &mut Blocks<L, C>) {
        if blocks.blocks.len() == self.block_count {
            return;
        }
        blocks.blocks.clear();
        blocks.blocks.resize(self.block_count, Block::new());
        for &(place, value) in &self.constants {
            let block = &mut blocks.blocks[place];
            block.bits = [[value.unwrap_or_default(); L]; C];
            block.valid = [[value.is_some(); L]; C];
            block.has_nulls = value.is_none();
        }
    }
}

impl<const L: usize, const C: usize> Block<L, C> {
    /// The rows of `used` chunks.
    #[inline(always)]
    fn rows(&self, used: usize) -> &[u64] {
        if C == 1 { self.bits.as_flattened() } else { self.bits[..used].as_flattened() }
    }

    #[inline(always)]
    fn rows_mut(&mut self, used: usize) -> &mut [u64] {
        if C == 1 { self.bits.as_flattened_mut() } else { self.bits[..used].as_flattened_mut() }
    }

    fn new() -> Self {
        Self { bits: [[0; L]; C], valid: [[true; L]; C], has_nulls: false }
    }

    /// `count` rows of a column from `start` on. The last chunk's other rows repeat the last row.
    fn read(&mut self, column: &Column, start: usize, count: usize) {
        let bits = self.bits.as_flattened_mut();
        match &column.values {
            Values::Float(values) => fill(bits, &values[start..start + count], f64::to_bits),
            Values::Int(values) => fill(bits, &values[start..start + count], |value| value as u64),
            Values::Bool(values) => fill(bits, &values[start..start + count], u64::from),
            // No step reads it.
            Values::Text(_) => {}
        }
        self.has_nulls = column.has_nulls;
        if column.has_nulls {
            fill(self.valid.as_flattened_mut(), &column.valid[start..start + count], |valid| valid);
        }
        let padding = padded_rows::<L, C>(count);
        let last = (self.bits.as_flattened()[count - 1], self.valid.as_flattened()[count - 1]);
        self.bits.as_flattened_mut()[count..padding].fill(last.0);
        self.valid.as_flattened_mut()[count..padding].fill(last.1);
    }

    /// The floats' bits, NaN for NULL.
    fn with_nan(&mut self, used: usize, count: usize) -> &[u64] {
        if self.has_nulls {
            for (bits, valid) in self.bits[..used].as_flattened_mut().iter_mut().zip(self.valid.as_flattened()) {
                *bits = if *valid { *bits } else { f64::NAN.to_bits() };
            }
        }
        &self.bits.as_flattened()[..count]
    }

    #[inline(always)]
    fn nulls_of(&mut self, x: &Self) {
        self.has_nulls = x.has_nulls;
        if x.has_nulls {
            self.valid = x.valid;
        }
    }

    /// NULL where either is.
    #[inline(always)]
    fn nulls_of_both(&mut self, x: &Self, y: &Self) {
        self.has_nulls = x.has_nulls | y.has_nulls;
        if self.has_nulls {
            let (x, y) = (x.validity(), y.validity());
            for ((valid, x), y) in self.valid.as_flattened_mut().iter_mut().zip(x.as_flattened()).zip(y.as_flattened())
            {
                *valid = x & y;
            }
        }
    }

    fn validity(&self) -> &[[bool; L]; C] {
        if self.has_nulls { &self.valid } else { const { &[[true; L]; C] } }
    }

    /// Makes rows NULL: those where `is_bad`, told by the row.
    fn invalidate(&mut self, used: usize, is_bad: impl Fn(usize) -> bool) {
        if !self.has_nulls {
            self.has_nulls = true;
            self.valid = [[true; L]; C];
        }
        let rows = self.valid[..used].as_flattened_mut().iter_mut().zip(self.bits[..used].as_flattened_mut());
        for (row, (valid, bits)) in rows.enumerate() {
            if is_bad(row) {
                // Zeroed, so that a NULL's value cannot make a later result slow.
                (*valid, *bits) = (false, 0);
            }
        }
    }

    #[cold]
    fn null_where_not_finite(&mut self, used: usize) {
        let bits = self.bits;
        let bits = bits.as_flattened();
        self.invalidate(used, |row| !f64::from_bits(bits[row]).is_finite());
    }
}

/// So many chunks at once are what compilers unroll a short vector loop to: fewer would be done row by row.
const UNROLLED: usize = 4;

/// The rows that are computed for `count` of them.
#[inline(always)]
fn padded_rows<const L: usize, const C: usize>(count: usize) -> usize {
    if C == 1 { L } else { count.next_multiple_of(L * UNROLLED) }
}

/// `to[i] = as_bits(from[i])`.
pub(crate) fn fill<A: Copy, B>(to: &mut [B], from: &[A], as_bits: impl Fn(A) -> B) {
    if to.len() == 1 {
        return each(from, to, as_bits);
    }
    vectorised(
        #[inline(always)]
        move || each(from, to, as_bits),
    );
}
