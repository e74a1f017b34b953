//! Operators, and the rules of types that they share with functions.

use std::fmt::Write;

use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value};

use super::{
    Translator,
    call::concat,
    typed::{Scope, Typed, unify},
    unsupported,
};
use crate::{
    error::{Result, WarehouseError},
    types::{Kind, Type},
};

impl Translator<'_> {
    pub(super) fn unary(&mut self, operator: UnaryOperator, operand: &Expr, scope: &Scope<'_>) -> Result<Typed> {
        match operator {
            UnaryOperator::Not => {
                let operand = self.of_kind(operand, &Kind::Bool, scope)?;
                Ok(Typed::new(format!("(NOT {})", operand.sql), Kind::Bool))
            }
            UnaryOperator::Plus => self.expression(operand, scope),
            UnaryOperator::Minus => {
                // The smallest integer has no positive counterpart.
                if let Expr::Value(value) = operand
                    && let Value::Number(text, _) = &value.value
                    && text == "9223372036854775808"
                {
                    return Ok(Typed::new("(-9223372036854775807 - 1)", Kind::Int64));
                }
                let operand = self.expression(operand, scope)?;
                let negated = format!("(- {})", operand.sql);
                match operand.ty.kind {
                    ref kind if kind.is_decimal() => {
                        Ok(Typed::new(as_decimal(kind, &negated), operand.ty.kind.clone()))
                    }
                    Kind::Int64 | Kind::Float64 => {
                        let literal = operand.literal.as_ref().map(|text| format!("-{text}"));
                        Ok(Typed { literal, ..Typed::of(negated, operand.ty) })
                    }
                    _ => Err(no_signature("unary -", &[&operand])),
                }
            }
            UnaryOperator::BitwiseNot => {
                let operand = self.of_kind(operand, &Kind::Int64, scope)?;
                Ok(Typed::new(format!("(~ {})", operand.sql), Kind::Int64))
            }
            other => Err(unsupported(format_args!("the operator {other}"))),
        }
    }

    pub(super) fn binary(
        &mut self,
        left: &Expr,
        operator: &BinaryOperator,
        right: &Expr,
        scope: &Scope<'_>,
    ) -> Result<Typed> {
        let comparison = match operator {
            BinaryOperator::Eq => "=",
            BinaryOperator::NotEq => "<>",
            BinaryOperator::Lt => "<",
            BinaryOperator::LtEq => "<=",
            BinaryOperator::Gt => ">",
            BinaryOperator::GtEq => ">=",
            _ => "",
        };
        if !comparison.is_empty() {
            return self.comparison(left, comparison, right, scope);
        }
        match operator {
            BinaryOperator::And | BinaryOperator::Or => {
                let (left, right) = (self.of_kind(left, &Kind::Bool, scope)?, self.of_kind(right, &Kind::Bool, scope)?);
                Ok(Typed::new(format!("({} {operator} {})", left.sql, right.sql), Kind::Bool))
            }
            BinaryOperator::StringConcat => {
                let all = [left, right].map(|side| self.expression(side, scope));
                let [left, right] = all;
                concat(vec![left?, right?])
            }
            BinaryOperator::BitwiseAnd
            | BinaryOperator::BitwiseOr
            | BinaryOperator::PGBitwiseShiftLeft
            | BinaryOperator::PGBitwiseShiftRight => {
                let (left, right) =
                    (self.of_kind(left, &Kind::Int64, scope)?, self.of_kind(right, &Kind::Int64, scope)?);
                Ok(Typed::new(format!("({} {operator} {})", left.sql, right.sql), Kind::Int64))
            }
            BinaryOperator::BitwiseXor => {
                let (left, right) =
                    (self.of_kind(left, &Kind::Int64, scope)?.sql, self.of_kind(right, &Kind::Int64, scope)?.sql);
                Ok(Typed::new(format!("(({left} | {right}) - ({left} & {right}))"), Kind::Int64))
            }
            BinaryOperator::Plus | BinaryOperator::Minus => {
                let sign = if *operator == BinaryOperator::Minus { -1 } else { 1 };
                if let Expr::Interval(interval) = right {
                    let left = self.expression(left, scope)?;
                    return self.add_interval(left, interval, sign, scope);
                }
                let (left, right) = (self.expression(left, scope)?, self.expression(right, scope)?);
                if left.ty == Type::of(Kind::Date) && right.ty.kind == Kind::Int64 {
                    return Ok(Typed::new(format!("({} {operator} {})", left.sql, right.sql), Kind::Date));
                }
                arithmetic(&operator.to_string(), left, right)
            }
            BinaryOperator::Multiply => arithmetic("*", self.expression(left, scope)?, self.expression(right, scope)?),
            BinaryOperator::Divide => {
                let (left, right) = (self.expression(left, scope)?, self.expression(right, scope)?);
                divide("bq_div", left, right)
            }
            other => Err(unsupported(format_args!("the operator {other}"))),
        }
    }
}

pub(super) fn no_signature(what: &str, all: &[&Typed]) -> WarehouseError {
    let types: Vec<_> = all.iter().map(|typed| typed.type_name()).collect();
    WarehouseError::InvalidQuery(format!("No matching signature for {what} for argument types: {}", types.join(", ")))
}

pub(super) fn negated_if(negated: bool, sql: String) -> Typed {
    Typed::new(if negated { format!("(NOT {sql})") } else { sql }, Kind::Bool)
}

/// The first result whose test holds; one result more than tests is what else there is.
pub(super) fn conditional(tests: &[String], results: Vec<Typed>) -> Typed {
    let mut sql = "(CASE".to_owned();
    for (test, result) in tests.iter().zip(&results) {
        _ = write!(sql, " WHEN {test} THEN {}", result.sql);
    }
    if let Some(otherwise) = results.get(tests.len()) {
        _ = write!(sql, " ELSE {}", otherwise.sql);
    }
    sql.push_str(" END)");
    let null = results.iter().all(|result| result.null);
    let ty = results.into_iter().find(|result| !result.null).map_or(Type::of(Kind::Int64), |result| result.ty);
    Typed { null, ..Typed::of(sql, ty) }
}

pub(super) fn compare(left: Typed, operator: &str, right: Typed) -> Result<Typed> {
    let both = unify(&format!("operator {operator}"), vec![left, right])?;
    let [left, right] = <[Typed; 2]>::try_from(both).map_err(|_| unsupported("this comparison"))?;
    let sql = if left.ty.kind.is_decimal() && !left.null && !right.null && !operator.starts_with('I') {
        format!("(bq_decimal_compare({}, {}) {operator} 0)", left.sql, right.sql)
    } else {
        format!("({} {operator} {})", left.sql, right.sql)
    };
    Ok(Typed::new(sql, Kind::Bool))
}

/// A double as a decimal's stored form.
pub(super) fn as_decimal(kind: &Kind, sql: &str) -> String {
    format!("bq_{}({sql})", kind.name().to_lowercase())
}

pub(super) fn arithmetic(operator: &str, left: Typed, right: Typed) -> Result<Typed> {
    let numeric = |typed: &Typed| {
        typed.null
            || (!typed.ty.repeated
                && matches!(typed.ty.kind, Kind::Int64 | Kind::Float64 | Kind::Numeric | Kind::BigNumeric))
    };
    if !numeric(&left) || !numeric(&right) {
        return Err(no_signature(&format!("operator {operator}"), &[&left, &right]));
    }
    let both = unify(&format!("operator {operator}"), vec![left, right])?;
    let kind = both[0].ty.kind.clone();
    let sql = format!("({} {operator} {})", both[0].sql, both[1].sql);
    Ok(Typed::new(if kind.is_decimal() { as_decimal(&kind, &sql) } else { sql }, kind))
}

/// Division: never of whole numbers.
pub(super) fn divide(function: &str, left: Typed, right: Typed) -> Result<Typed> {
    let decimal = [&left, &right].into_iter().all(|side| side.ty.kind.is_decimal() || side.ty.kind == Kind::Int64)
        && (left.ty.kind.is_decimal() || right.ty.kind.is_decimal());
    let kind = if decimal { Kind::Numeric } else { Kind::Float64 };
    let sides = [left, right].map(|side| {
        let name = side.type_name();
        side.coerced(&Kind::Float64).ok_or(name)
    });
    let [Ok(left), Ok(right)] = sides else {
        return Err(WarehouseError::InvalidQuery(format!("No matching signature for division: {sides:?}")));
    };
    let sql = format!("{function}({}, {})", left.sql, right.sql);
    Ok(Typed::new(if decimal { as_decimal(&kind, &sql) } else { sql }, kind))
}

/// A function of one number that gives FLOAT64, or NUMERIC of NUMERIC.
pub(super) fn numeric_call(function: &str, value: &Typed) -> Result<Typed> {
    let kind = value.ty.kind.clone();
    let float = value
        .clone()
        .coerced(&Kind::Float64)
        .ok_or_else(|| no_signature(function.trim_start_matches("bq_"), &[value]))?;
    let sql = format!("{function}({})", float.sql);
    Ok(if kind.is_decimal() { Typed::new(as_decimal(&kind, &sql), kind) } else { Typed::new(sql, Kind::Float64) })
}

/// A date or time as civil microseconds.
pub(super) fn civil(value: &Typed, zone: &str) -> Result<String> {
    let sql = &value.sql;
    Ok(match value.ty.kind {
        _ if value.ty.repeated => return Err(no_signature("date and time functions", &[value])),
        Kind::Date => format!("({sql} * 86400000000)"),
        Kind::DateTime | Kind::Time => sql.clone(),
        Kind::Timestamp if zone == "'UTC'" => sql.clone(),
        Kind::Timestamp => format!("bq_civil({sql}, {zone})"),
        _ => return Err(no_signature("date and time functions", &[value])),
    })
}

/// Civil microseconds as the day.
pub(super) fn days_of(civil: &str) -> String {
    format!("bq_cast({civil}, 'DATETIME', 'DATE', 0)")
}
