//! The kernel of each operator.

use super::{
    Constant, Kernel, Places, fill,
    rows::{
        apart, choose, decide, elementary1, elementary2, float1, float2, ints, partial1, partial2, pick, total1,
        total2, wide,
    },
};
use crate::{
    Type,
    block::Block,
    kernels::{
        calendar::{field_of, fields, local_seconds},
        float::{RADIANS_PER_DEGREE, greatest, least, sign},
        int::{checked1, checked2, remainders},
        rounded_to_int,
    },
    math::{Acos, Asin, Atan, Atan2, Cos, Exp, Ln, Ln1p, Log10, Sin},
    op::{Compared, Comparison, Float1, Float2, Int1, Int2, Op, TimeField},
};

/// The kernel of an operator, or `None` where it is about texts or needs tables other than time zones.
pub(super) fn kernel<const L: usize, const C: usize>(op: Op) -> Option<Kernel<L, C>> {
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
        // About texts or the plan's tables, or made into others by the graph.
        Op::Select(Type::String)
        | Op::Coalesce(Type::String)
        | Op::Geo(_)
        | Op::LocalTime(..)
        | Op::Text1(_)
        | Op::TextLength
        | Op::Concat
        | Op::Affix(_)
        | Op::Substring
        | Op::Replace
        | Op::Like(_)
        | Op::Bucket(_)
        | Op::Ordinal(_)
        | Op::HashBucket(_)
        | Op::Holiday(..)
        | Op::Cell(_)
        | Op::GeohashText(_)
        | Op::ZoneOf(..)
        | Op::InZone(..)
        | Op::LookupRow(_)
        | Op::LookupValue(..) => return None,
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
