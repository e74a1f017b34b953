//! What steps do to blocks of rows: loops that compile to vectors, and the rows that they cannot do.

use super::{Block, Constant, Places};
use crate::{
    kernels::{
        Zone,
        vector::{not_finite_bits, vectorised},
    },
    math::{Cos, Function1, Function2, Sin, sin_cos_fast},
};

/// Runs `work` with vector instructions where there is more than a row.
#[inline(always)]
pub(super) fn wide<const L: usize, R>(work: impl FnOnce() -> R) -> R {
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
pub(super) struct Others<'a, const L: usize, const C: usize> {
    before: &'a [Block<L, C>],
    after: &'a [Block<L, C>],
}

impl<'a, const L: usize, const C: usize> Others<'a, L, C> {
    #[inline(always)]
    pub(super) fn get(&self, place: usize) -> &'a Block<L, C> {
        self.before.get(place).unwrap_or_else(|| &self.after[place - self.before.len() - 1])
    }
}

#[inline(always)]
pub(super) fn apart<const L: usize, const C: usize>(
    blocks: &mut [Block<L, C>],
    result: usize,
) -> (&mut Block<L, C>, Others<'_, L, C>) {
    let (before, rest) = blocks.split_at_mut(result);
    let (result, after) = rest.split_at_mut(1);
    (&mut result[0], Others { before, after })
}

/// The value of a block of one row, and whether it is not NULL.
#[inline(always)]
fn single<const L: usize, const C: usize>(block: &Block<L, C>) -> (u64, bool) {
    (block.bits[0][0], !block.has_nulls | block.valid[0][0])
}

#[inline(always)]
fn set_single<const L: usize, const C: usize>(block: &mut Block<L, C>, value: u64, valid: bool) {
    block.bits[0][0] = value;
    block.valid[0][0] = valid;
    block.has_nulls = !valid;
}

/// Computes a block of one operand; whether no row was bad.
#[inline(always)]
fn map1<const L: usize, const C: usize>(
    blocks: &mut [Block<L, C>],
    at: &Places,
    used: usize,
    function: impl Fn(u64) -> (u64, u64),
) -> bool {
    if L * C == 1 {
        let x = single(&blocks[at.x]);
        let (value, bad) = function(x.0);
        set_single(&mut blocks[at.result], value, x.1);
        return bad == 0;
    }
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
    if L * C == 1 {
        let (x, y) = (single(&blocks[at.x]), single(&blocks[at.y]));
        let (value, bad) = function(x.0, y.0);
        set_single(&mut blocks[at.result], value, x.1 & y.1);
        return bad == 0;
    }
    let (result, others) = apart(blocks, at.result);
    let (x, y) = (others.get(at.x), others.get(at.y));
    match at.constant {
        Constant::First => {
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
        Constant::Second => {
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
        Constant::None => {
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
pub(super) fn float1<const L: usize, const C: usize>(
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
pub(super) fn float2<const L: usize, const C: usize>(
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
pub(super) fn total1<const L: usize, const C: usize>(
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
pub(super) fn total2<const L: usize, const C: usize>(
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
pub(super) fn partial1<const L: usize, const C: usize>(
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
pub(super) fn partial2<const L: usize, const C: usize>(
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
pub(super) fn elementary1<F: Function1, const L: usize, const C: usize>(
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
pub(super) fn elementary2<F: Function2, const L: usize, const C: usize>(
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
pub(super) fn sin_cos<const L: usize, const C: usize>(
    blocks: &mut [Block<L, C>],
    at: &Places,
    used: usize,
    _: &[Zone],
) {
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
pub(super) fn decide<const L: usize, const C: usize>(
    blocks: &mut [Block<L, C>],
    at: &Places,
    used: usize,
    winner: bool,
) {
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
pub(super) fn choose<const L: usize, const C: usize>(
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
pub(super) fn pick(condition: &[u64], x: &[u64], y: &[u64], result: &mut [u64]) {
    for (((result, &condition), &x), &y) in result.iter_mut().zip(condition).zip(x).zip(y) {
        *result = if condition != 0 { x } else { y };
    }
}

/// A function over whole slices of integers whose result is always a value.
pub(super) fn ints<const L: usize, const C: usize>(
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
