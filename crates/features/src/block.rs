//! A program over blocks of rows: what a plan without texts runs as.
//!
//! A step is a call through a pointer over fixed blocks of eight-byte values. A block has `C` chunks of `L` rows: with
//! L = C = 1 it is the program of a single row, the most frequent request, which must not pay for vectors; with L = 8,
//! the widest vector's doubles, a batch has no left-over rows to compute one by one. A block's unused chunks cost
//! nothing; unused rows of its last chunk repeat a row.

use crate::{
    Type, Value,
    column::{Column, Values},
    kernels::{
        Zone,
        calendar::{field_of, fields, local_seconds},
        float::{RADIANS_PER_DEGREE, greatest, least, sign},
        int::{checked1, checked2, remainders},
        rounded_to_int,
        vector::{each, not_finite_bits, vectorised},
    },
    math::{Acos, Asin, Atan, Atan2, Cos, Exp, Function1, Function2, Ln, Ln1p, Log10, Sin, sin_cos_fast},
    op::{Compared, Comparison, Float1, Float2, Int1, Int2, Op, TimeField},
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
            for ((valid, x), y) in self.valid.as_flattened_mut().iter_mut().zip(x.as_flattened()).zip(y.as_flattened()) {
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

/// Runs `work` with vector instructions where there is more than a row.
#[inline(always)]
fn wide<const L: usize, R>(work: impl FnOnce() -> R) -> R {
    if L == 1 { work() } else { vectorised(work) }
}

/// `result = function(x)` of every row; whether nothing that `function` says of a row has a bit set.
#[inline(always)]
fn rows1(x: &[u64], result: &mut [u64], function: impl Fn(u64) -> (u64, u64)) -> bool {
    let mut seen = 0;
    for (result, &x) in result.iter_mut().zip(x) {
        let (value, bad) = function(x);
        *result = value;
        seen |= bad;
    }
    seen == 0
}

/// As [`rows1`], of two operands.
#[inline(always)]
fn rows2(x: &[u64], y: &[u64], result: &mut [u64], function: impl Fn(u64, u64) -> (u64, u64)) -> bool {
    let mut seen = 0;
    for ((result, &x), &y) in result.iter_mut().zip(x).zip(y) {
        let (value, bad) = function(x, y);
        *result = value;
        seen |= bad;
    }
    seen == 0
}

/// The blocks that are not a step's result. (A result is never one of its operands.)
struct Others<'a, const L: usize, const C: usize> {
    before: &'a [Block<L, C>],
    after: &'a [Block<L, C>],
}

impl<'a, const L: usize, const C: usize> Others<'a, L, C> {
    #[inline(always)]
    fn get(&self, place: usize) -> &'a Block<L, C> {
        self.before.get(place).unwrap_or_else(|| &self.after[place - self.before.len() - 1])
    }
}

#[inline(always)]
fn apart<const L: usize, const C: usize>(
    blocks: &mut [Block<L, C>],
    result: usize,
) -> (&mut Block<L, C>, Others<'_, L, C>) {
    let (before, rest) = blocks.split_at_mut(result);
    let (result, after) = rest.split_at_mut(1);
    (&mut result[0], Others { before, after })
}

/// Computes a block of one operand; whether no row was bad.
#[inline(always)]
fn map1<const L: usize, const C: usize>(
    blocks: &mut [Block<L, C>],
    at: &Places,
    used: usize,
    function: impl Fn(u64) -> (u64, u64),
) -> bool {
    let (result, others) = apart(blocks, at.result);
    let x = others.get(at.x);
    result.nulls_of(x);
    let (x, out) = (x.rows(used), result.rows_mut(used));
    wide::<L, _>(
        #[inline(always)]
        move || rows1(x, out, function),
    )
}

/// Computes a block of two operands; whether no row was bad. A constant is kept in a register, not read row by row.
#[inline(always)]
fn map2<const L: usize, const C: usize>(
    blocks: &mut [Block<L, C>],
    at: &Places,
    used: usize,
    function: impl Fn(u64, u64) -> (u64, u64),
) -> bool {
    let (result, others) = apart(blocks, at.result);
    let (x, y) = (others.get(at.x), others.get(at.y));
    match at.constant {
        Constant::First if L > 1 => {
            result.nulls_of(y);
            let (x, y, out) = (x.bits[0][0], y.rows(used), result.rows_mut(used));
            wide::<L, _>(
                #[inline(always)]
                move || {
                    rows1(
                        y,
                        out,
                        #[inline(always)]
                        move |y| function(x, y),
                    )
                },
            )
        }
        Constant::Second if L > 1 => {
            result.nulls_of(x);
            let (x, y, out) = (x.rows(used), y.bits[0][0], result.rows_mut(used));
            wide::<L, _>(
                #[inline(always)]
                move || {
                    rows1(
                        x,
                        out,
                        #[inline(always)]
                        move |x| function(x, y),
                    )
                },
            )
        }
        _ => {
            result.nulls_of_both(x, y);
            let (x, y, out) = (x.rows(used), y.rows(used), result.rows_mut(used));
            wide::<L, _>(
                #[inline(always)]
                move || rows2(x, y, out, function),
            )
        }
    }
}

#[inline(always)]
fn checked(value: f64) -> (u64, u64) {
    (value.to_bits(), not_finite_bits(value))
}

#[inline(always)]
fn float1<const L: usize, const C: usize>(
    blocks: &mut [Block<L, C>],
    at: &Places,
    used: usize,
    function: impl Fn(f64) -> f64,
) {
    let finite = map1(
        blocks,
        at,
        used,
        #[inline(always)]
        move |x| checked(function(f64::from_bits(x))),
    );
    if !finite {
        blocks[at.result].null_where_not_finite(used);
    }
}

#[inline(always)]
fn float2<const L: usize, const C: usize>(
    blocks: &mut [Block<L, C>],
    at: &Places,
    used: usize,
    function: impl Fn(f64, f64) -> f64,
) {
    let finite = map2(
        blocks,
        at,
        used,
        #[inline(always)]
        move |x, y| checked(function(f64::from_bits(x), f64::from_bits(y))),
    );
    if !finite {
        blocks[at.result].null_where_not_finite(used);
    }
}

/// A function of one value whose result is always a value.
#[inline(always)]
fn total1<const L: usize, const C: usize>(
    blocks: &mut [Block<L, C>],
    at: &Places,
    used: usize,
    function: impl Fn(u64) -> u64,
) {
    map1(
        blocks,
        at,
        used,
        #[inline(always)]
        move |x| (function(x), 0),
    );
}

/// A function of two values whose result is always a value.
#[inline(always)]
fn total2<const L: usize, const C: usize>(
    blocks: &mut [Block<L, C>],
    at: &Places,
    used: usize,
    function: impl Fn(u64, u64) -> u64,
) {
    map2(
        blocks,
        at,
        used,
        #[inline(always)]
        move |x, y| (function(x, y), 0),
    );
}

/// A function of one value; `None` is NULL.
#[inline(always)]
fn partial1<const L: usize, const C: usize>(
    blocks: &mut [Block<L, C>],
    at: &Places,
    used: usize,
    function: impl Fn(u64) -> Option<i64> + Copy,
) {
    let all = map1(
        blocks,
        at,
        used,
        #[inline(always)]
        move |x| match function(x) {
            Some(value) => (value as u64, 0),
            None => (0, 1),
        },
    );
    if !all {
        let (result, others) = apart(blocks, at.result);
        let x = others.get(at.x).bits.as_flattened();
        result.invalidate(used, |row| function(x[row]).is_none());
    }
}

/// A function of two integers; `None` is NULL.
#[inline(always)]
fn partial2<const L: usize, const C: usize>(
    blocks: &mut [Block<L, C>],
    at: &Places,
    used: usize,
    function: impl Fn(i64, i64) -> Option<i64> + Copy,
) {
    let all = map2(
        blocks,
        at,
        used,
        #[inline(always)]
        move |x, y| match function(x as i64, y as i64) {
            Some(value) => (value as u64, 0),
            None => (0, 1),
        },
    );
    if !all {
        let (result, others) = apart(blocks, at.result);
        let (x, y) = (others.get(at.x).bits.as_flattened(), others.get(at.y).bits.as_flattened());
        result.invalidate(used, |row| function(x[row] as i64, y[row] as i64).is_none());
    }
}

/// An elementary function: the fast part of all rows, then the rest of those that it does not cover.
fn elementary1<F: Function1, const L: usize, const C: usize>(
    blocks: &mut [Block<L, C>],
    at: &Places,
    used: usize,
    _: &[Zone],
) {
    if L == 1 {
        return float1(blocks, at, used, F::at);
    }
    let (result, others) = apart(blocks, at.result);
    let x = others.get(at.x);
    result.nulls_of(x);
    let (x, out) = (x.rows(used), result.rows_mut(used));
    let all = vectorised(
        #[inline(always)]
        move || {
            rows1(
                x,
                out,
                #[inline(always)]
                move |x| {
                    let x = f64::from_bits(x);
                    let value = F::fast(x);
                    (value.to_bits(), not_finite_bits(value) | u64::from(!F::covers(x)))
                },
            )
        },
    );
    if !all {
        patch(blocks, at.result, at.x, used, F::covers, F::rare);
        blocks[at.result].null_where_not_finite(used);
    }
}

/// As [`elementary1`], of two numbers.
fn elementary2<F: Function2, const L: usize, const C: usize>(
    blocks: &mut [Block<L, C>],
    at: &Places,
    used: usize,
    _: &[Zone],
) {
    if L == 1 {
        return float2(blocks, at, used, F::at);
    }
    let (result, others) = apart(blocks, at.result);
    let (x, y) = (others.get(at.x), others.get(at.y));
    result.nulls_of_both(x, y);
    let (x, y, out) = (x.rows(used), y.rows(used), result.rows_mut(used));
    let all = vectorised(
        #[inline(always)]
        move || {
            rows2(
                x,
                y,
                out,
                #[inline(always)]
                move |x, y| {
                    let (x, y) = (f64::from_bits(x), f64::from_bits(y));
                    let value = F::fast(x, y);
                    (value.to_bits(), not_finite_bits(value) | u64::from(!F::covers(x, y)))
                },
            )
        },
    );
    if !all {
        let (result, others) = apart(blocks, at.result);
        let (x, y) = (others.get(at.x).bits.as_flattened(), others.get(at.y).bits.as_flattened());
        for (row, bits) in result.bits[..used].as_flattened_mut().iter_mut().enumerate() {
            let (x, y) = (f64::from_bits(x[row]), f64::from_bits(y[row]));
            if !F::covers(x, y) {
                *bits = F::rare(x, y).to_bits();
            }
        }
        result.null_where_not_finite(used);
    }
}

#[cold]
fn patch<const L: usize, const C: usize>(
    blocks: &mut [Block<L, C>],
    result: usize,
    x: usize,
    used: usize,
    covers: impl Fn(f64) -> bool,
    rare: impl Fn(f64) -> f64,
) {
    let (result, others) = apart(blocks, result);
    let x = others.get(x).bits.as_flattened();
    for (bits, &x) in result.bits[..used].as_flattened_mut().iter_mut().zip(x) {
        let x = f64::from_bits(x);
        if !covers(x) {
            *bits = rare(x).to_bits();
        }
    }
}

/// Sine and cosine of the same operand, at the price of little more than one.
fn sin_cos<const L: usize, const C: usize>(blocks: &mut [Block<L, C>], at: &Places, used: usize, _: &[Zone]) {
    let Ok([sin, cos, x]) = blocks.get_disjoint_mut([at.result, at.cosine, at.x]) else { return };
    sin.nulls_of(x);
    cos.nulls_of(x);
    let (x_rows, sin_rows, cos_rows) = (x.rows(used), sin.rows_mut(used), cos.rows_mut(used));
    let covered = wide::<L, _>(
        #[inline(always)]
        move || sin_cos_rows(x_rows, sin_rows, cos_rows),
    );
    if !covered {
        patch(blocks, at.result, at.x, used, Sin::covers, Sin::rare);
        patch(blocks, at.cosine, at.x, used, Cos::covers, Cos::rare);
    }
}

#[inline(always)]
fn sin_cos_rows(x: &[u64], sin: &mut [u64], cos: &mut [u64]) -> bool {
    let mut missed = 0;
    for ((sin, cos), &x) in sin.iter_mut().zip(cos).zip(x) {
        let x = f64::from_bits(x);
        let (s, c) = sin_cos_fast(x);
        (*sin, *cos) = (s.to_bits(), c.to_bits());
        missed |= u64::from(!Sin::covers(x));
    }
    missed == 0
}

/// AND and OR: `winner` wins over NULL.
#[inline(always)]
fn decide<const L: usize, const C: usize>(blocks: &mut [Block<L, C>], at: &Places, used: usize, winner: bool) {
    total2(
        blocks,
        at,
        used,
        #[inline(always)]
        move |x, y| if winner { x | y } else { x & y },
    );
    let (result, others) = apart(blocks, at.result);
    let (x, y) = (others.get(at.x), others.get(at.y));
    if x.has_nulls | y.has_nulls {
        result.has_nulls = true;
        let (x_valid, y_valid) = (x.validity().as_flattened(), y.validity().as_flattened());
        let (x, y) = (x.bits.as_flattened(), y.bits.as_flattened());
        let rows = result.valid[..used].as_flattened_mut().iter_mut();
        for (row, (valid, bits)) in rows.zip(result.bits.as_flattened_mut()).enumerate() {
            let wins = |valid: bool, bits: u64| valid & ((bits != 0) == winner);
            let won = wins(x_valid[row], x[row]) | wins(y_valid[row], y[row]);
            (*valid, *bits) = (won | (x_valid[row] & y_valid[row]), u64::from(won == winner));
        }
    }
}

/// `chosen(row)` decides between two blocks.
#[inline(always)]
fn choose<const L: usize, const C: usize>(
    result: &mut Block<L, C>,
    x: &Block<L, C>,
    y: &Block<L, C>,
    used: usize,
    is_x: impl Fn(usize) -> bool,
) {
    let (x_bits, y_bits) = (x.rows(used), y.rows(used));
    for (row, bits) in result.rows_mut(used).iter_mut().enumerate() {
        *bits = if is_x(row) { x_bits[row] } else { y_bits[row] };
    }
    result.has_nulls = false;
    if x.has_nulls | y.has_nulls {
        let (x, y) = (x.validity().as_flattened(), y.validity().as_flattened());
        for (row, valid) in result.valid[..used].as_flattened_mut().iter_mut().enumerate() {
            *valid = if is_x(row) { x[row] } else { y[row] };
            result.has_nulls |= !*valid;
        }
    }
}

/// The first where the condition holds, else the second.
#[inline(always)]
fn pick(condition: &[u64], x: &[u64], y: &[u64], result: &mut [u64]) {
    for (((result, &condition), &x), &y) in result.iter_mut().zip(condition).zip(x).zip(y) {
        *result = if condition != 0 { x } else { y };
    }
}

/// A function over whole slices of integers whose result is always a value.
fn ints<const L: usize, const C: usize>(
    blocks: &mut [Block<L, C>],
    at: &Places,
    used: usize,
    function: impl Fn(&[u64], &mut [u64]),
) {
    let (result, others) = apart(blocks, at.result);
    let x = others.get(at.x);
    result.nulls_of(x);
    function(x.rows(used), result.rows_mut(used));
}

/// The kernel of an operator, or `None` where it is about texts.
fn kernel<const L: usize, const C: usize>(op: Op) -> Option<Kernel<L, C>> {
    Some(match op {
        Op::Float1(function) => float1_kernel(function),
        Op::Float2(function) => float2_kernel(function),
        Op::Int1(function) => match function {
            Int1::Negate => |b, at, used, _| partial1(b, at, used, |x| checked1(Int1::Negate, x as i64)),
            Int1::Abs => |b, at, used, _| partial1(b, at, used, |x| checked1(Int1::Abs, x as i64)),
            Int1::Sign => |b, at, used, _| partial1(b, at, used, |x| checked1(Int1::Sign, x as i64)),
        },
        Op::Int2(function) => int2_kernel(function),
        Op::Compare(comparison, compared) => compare_kernel(comparison, compared)?,
        Op::And => |b, at, used, _| decide(b, at, used, false),
        Op::Or => |b, at, used, _| decide(b, at, used, true),
        Op::Not => |b, at, used, _| total1(b, at, used, |x| x ^ 1),
        Op::IsNull => |b, at, used, _| {
            let (result, others) = apart(b, at.result);
            let x = others.get(at.x);
            fill(result.bits[..used].as_flattened_mut(), x.validity().as_flattened(), |valid| u64::from(!valid));
            result.has_nulls = false;
        },
        Op::Select(Type::String) | Op::Coalesce(Type::String) | Op::Geo(_) | Op::LocalTime(..) => return None,
        Op::Select(_) => |b, at, used, _| {
            let (result, others) = apart(b, at.result);
            let (condition, x, y) = (others.get(at.x), others.get(at.y), others.get(at.z));
            let chosen = condition.bits.as_flattened();
            if condition.has_nulls {
                let valid = condition.valid.as_flattened();
                choose(result, x, y, used, |row| valid[row] & (chosen[row] != 0));
            } else if x.has_nulls | y.has_nulls {
                choose(result, x, y, used, |row| chosen[row] != 0);
            } else {
                result.has_nulls = false;
                wide::<L, _>(
                    #[inline(always)]
                    move || pick(condition.rows(used), x.rows(used), y.rows(used), result.rows_mut(used)),
                );
            }
        },
        Op::Coalesce(_) => |b, at, used, _| {
            let (result, others) = apart(b, at.result);
            let (x, y) = (others.get(at.x), others.get(at.y));
            let valid = x.validity().as_flattened();
            choose(result, x, y, used, |row| valid[row]);
        },
        Op::Cast(from, to) => cast_kernel(from, to)?,
        Op::LocalSecond(_) => |b, at, used, zones| {
            if let Some(zone) = zones.get(at.zone) {
                if L == 1 {
                    total1(b, at, used, |micros| zone.local_second(micros as i64) as u64);
                } else {
                    ints(b, at, used, |x, result| local_seconds(zone, x, result));
                }
            }
        },
        Op::FieldOfSecond(field) => field_kernel(field),
        Op::Text1(_) | Op::TextLength | Op::Concat => return None,
    })
}

fn float1_kernel<const L: usize, const C: usize>(function: Float1) -> Kernel<L, C> {
    match function {
        Float1::Negate => |b, at, used, _| float1(b, at, used, |x| -x),
        Float1::Abs => |b, at, used, _| float1(b, at, used, f64::abs),
        Float1::Sign => |b, at, used, _| float1(b, at, used, sign),
        Float1::Floor => |b, at, used, _| float1(b, at, used, f64::floor),
        Float1::Ceil => |b, at, used, _| float1(b, at, used, f64::ceil),
        Float1::Round => |b, at, used, _| float1(b, at, used, f64::round),
        Float1::Truncate => |b, at, used, _| float1(b, at, used, f64::trunc),
        Float1::Sqrt => |b, at, used, _| float1(b, at, used, f64::sqrt),
        Float1::Exp => elementary1::<Exp, L, C>,
        Float1::Ln => elementary1::<Ln, L, C>,
        Float1::Ln1p => elementary1::<Ln1p, L, C>,
        Float1::Log10 => elementary1::<Log10, L, C>,
        Float1::Sin => elementary1::<Sin, L, C>,
        Float1::Cos => elementary1::<Cos, L, C>,
        Float1::Tan => |b, at, used, _| float1(b, at, used, libm::tan),
        Float1::Asin => elementary1::<Asin, L, C>,
        Float1::Acos => elementary1::<Acos, L, C>,
        Float1::Atan => elementary1::<Atan, L, C>,
        Float1::Radians => |b, at, used, _| float1(b, at, used, |x| x * RADIANS_PER_DEGREE),
        Float1::Degrees => |b, at, used, _| float1(b, at, used, |x| x / RADIANS_PER_DEGREE),
    }
}

fn float2_kernel<const L: usize, const C: usize>(function: Float2) -> Kernel<L, C> {
    match function {
        Float2::Add => |b, at, used, _| float2(b, at, used, |x, y| x + y),
        Float2::Subtract => |b, at, used, _| float2(b, at, used, |x, y| x - y),
        Float2::Multiply => |b, at, used, _| float2(b, at, used, |x, y| x * y),
        Float2::Divide => |b, at, used, _| float2(b, at, used, |x, y| x / y),
        Float2::Modulo => |b, at, used, _| float2(b, at, used, libm::fmod),
        Float2::Power => |b, at, used, _| float2(b, at, used, libm::pow),
        Float2::Atan2 => elementary2::<Atan2, L, C>,
        Float2::Least => |b, at, used, _| float2(b, at, used, least),
        Float2::Greatest => |b, at, used, _| float2(b, at, used, greatest),
    }
}

fn int2_kernel<const L: usize, const C: usize>(function: Int2) -> Kernel<L, C> {
    match function {
        Int2::Add => |b, at, used, _| partial2(b, at, used, |x, y| checked2(Int2::Add, x, y)),
        Int2::Subtract => |b, at, used, _| partial2(b, at, used, |x, y| checked2(Int2::Subtract, x, y)),
        Int2::Multiply => |b, at, used, _| partial2(b, at, used, |x, y| checked2(Int2::Multiply, x, y)),
        Int2::Divide => |b, at, used, _| partial2(b, at, used, |x, y| checked2(Int2::Divide, x, y)),
        Int2::Modulo => |b, at, used, _| {
            let divisor = b[at.y].bits[0][0] as i64;
            if L > 1 && at.constant == Constant::Second && divisor > 0 {
                ints(b, at, used, |x, result| remainders(x, divisor, result));
            } else {
                partial2(b, at, used, |x, y| checked2(Int2::Modulo, x, y));
            }
        },
        Int2::Least => |b, at, used, _| partial2(b, at, used, |x, y| checked2(Int2::Least, x, y)),
        Int2::Greatest => |b, at, used, _| partial2(b, at, used, |x, y| checked2(Int2::Greatest, x, y)),
    }
}

fn compare_kernel<const L: usize, const C: usize>(comparison: Comparison, compared: Compared) -> Option<Kernel<L, C>> {
    let float = compared == Compared::Float;
    Some(match comparison {
        _ if compared == Compared::Text => return None,
        Comparison::Equal if float => {
            |b, at, used, _| total2(b, at, used, |x, y| u64::from(f64::from_bits(x) == f64::from_bits(y)))
        }
        Comparison::NotEqual if float => {
            |b, at, used, _| total2(b, at, used, |x, y| u64::from(f64::from_bits(x) != f64::from_bits(y)))
        }
        Comparison::Less if float => {
            |b, at, used, _| total2(b, at, used, |x, y| u64::from(f64::from_bits(x) < f64::from_bits(y)))
        }
        Comparison::LessOrEqual if float => {
            |b, at, used, _| total2(b, at, used, |x, y| u64::from(f64::from_bits(x) <= f64::from_bits(y)))
        }
        Comparison::Equal => |b, at, used, _| total2(b, at, used, |x, y| u64::from(x == y)),
        Comparison::NotEqual => |b, at, used, _| total2(b, at, used, |x, y| u64::from(x != y)),
        Comparison::Less => |b, at, used, _| total2(b, at, used, |x, y| u64::from((x as i64) < y as i64)),
        Comparison::LessOrEqual => |b, at, used, _| total2(b, at, used, |x, y| u64::from(x as i64 <= y as i64)),
    })
}

fn cast_kernel<const L: usize, const C: usize>(from: Type, to: Type) -> Option<Kernel<L, C>> {
    Some(match (from, to) {
        (Type::String, _) | (_, Type::String) => return None,
        (Type::Int | Type::Timestamp, Type::Float) => {
            |b, at, used, _| total1(b, at, used, |x| (x as i64 as f64).to_bits())
        }
        (Type::Bool, Type::Float) => |b, at, used, _| total1(b, at, used, |x| if x != 0 { 1f64.to_bits() } else { 0 }),
        (Type::Float, Type::Int | Type::Timestamp) => {
            |b, at, used, _| partial1(b, at, used, |x| rounded_to_int(f64::from_bits(x)))
        }
        (Type::Float, Type::Bool) => |b, at, used, _| total1(b, at, used, |x| u64::from(f64::from_bits(x) != 0.0)),
        (Type::Int | Type::Timestamp, Type::Bool) => |b, at, used, _| total1(b, at, used, |x| u64::from(x != 0)),
        (Type::Float, Type::Float)
        | (Type::Bool, Type::Bool | Type::Int | Type::Timestamp)
        | (Type::Int | Type::Timestamp, Type::Int | Type::Timestamp) => |b, at, used, _| total1(b, at, used, |x| x),
    })
}

fn field_kernel<const L: usize, const C: usize>(field: TimeField) -> Kernel<L, C> {
    match field {
        TimeField::Year => |b, at, used, _| fields_of(b, at, used, TimeField::Year),
        TimeField::Quarter => |b, at, used, _| fields_of(b, at, used, TimeField::Quarter),
        TimeField::Month => |b, at, used, _| fields_of(b, at, used, TimeField::Month),
        TimeField::Day => |b, at, used, _| fields_of(b, at, used, TimeField::Day),
        TimeField::DayOfYear => |b, at, used, _| fields_of(b, at, used, TimeField::DayOfYear),
        TimeField::Hour => |b, at, used, _| fields_of(b, at, used, TimeField::Hour),
        TimeField::Minute => |b, at, used, _| fields_of(b, at, used, TimeField::Minute),
        TimeField::Second => |b, at, used, _| fields_of(b, at, used, TimeField::Second),
        TimeField::DayOfWeek => |b, at, used, _| fields_of(b, at, used, TimeField::DayOfWeek),
        TimeField::IsoDayOfWeek => |b, at, used, _| fields_of(b, at, used, TimeField::IsoDayOfWeek),
    }
}

#[inline(always)]
fn fields_of<const L: usize, const C: usize>(blocks: &mut [Block<L, C>], at: &Places, used: usize, field: TimeField) {
    if L == 1 {
        total1(blocks, at, used, |second| field_of(field, second as i64) as u64);
    } else {
        ints(blocks, at, used, |x, result| fields(field, x, result));
    }
}
