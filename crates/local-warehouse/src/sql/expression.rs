//! Scalar expressions.

use rusqlite::types::Value as Stored;
use sqlparser::ast::{
    AccessExpr, ArrayElemTypeDef, CaseWhen, CastKind, DataType, DateTimeField, Expr, FunctionArguments, InTarget,
    Interval, Subscript, Value,
};

use super::{
    Translator,
    call::arguments,
    lexer::unescape,
    operators::{civil, compare, conditional, days_of, negated_if, numeric_call},
    typed::{Scope, Typed, from_json, text_literal, unify, value_literal},
    unsupported,
};
use crate::{
    cells::scalar_of_text,
    error::{Result, WarehouseError},
    types::{Field, Kind, Type},
};

impl Translator<'_> {
    pub(super) fn expression(&mut self, expression: &Expr, scope: &Scope<'_>) -> Result<Typed> {
        match expression {
            // The tokenizer takes `@name` for a word.
            Expr::Identifier(name) if name.value.starts_with('@') => self.parameter(&name.value),
            Expr::Identifier(name) => self.resolve(&[&name.value], scope),
            Expr::CompoundIdentifier(path) => {
                let path: Vec<_> = path.iter().map(|name| name.value.as_str()).collect();
                match path.split_first() {
                    // A field of a parameter.
                    Some((first, rest)) if first.starts_with('@') => {
                        let parameter = self.parameter(first)?;
                        rest.iter().try_fold(parameter, |value, name| super::typed::field_of(&value, name))
                    }
                    _ => self.resolve(&path, scope),
                }
            }
            Expr::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain, scope),
            Expr::Nested(inner) => self.expression(inner, scope),
            Expr::Value(value) => self.literal(&value.value),
            Expr::TypedString(typed) => {
                let kind = kind_of(&typed.data_type)?.kind;
                let text = string_of(&typed.value.value)?.unwrap_or_default();
                let stored = scalar_of_text(&kind, &text);
                let stored = stored.map_err(|_| {
                    WarehouseError::InvalidQuery(format!("Invalid {} literal: \"{text}\"", kind.name()))
                })?;
                Ok(Typed::new(value_literal(&stored), kind))
            }
            Expr::Interval(_) => Err(unsupported("INTERVAL other than as an argument of …_ADD, …_SUB, + and -")),
            Expr::UnaryOp { op, expr } => self.unary(*op, expr, scope),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right, scope),
            Expr::IsNull(inner) => self.is(inner, "IS NULL", scope),
            Expr::IsNotNull(inner) => self.is(inner, "IS NOT NULL", scope),
            Expr::IsTrue(inner) => self.is(inner, "IS TRUE", scope),
            Expr::IsNotTrue(inner) => self.is(inner, "IS NOT TRUE", scope),
            Expr::IsFalse(inner) => self.is(inner, "IS FALSE", scope),
            Expr::IsNotFalse(inner) => self.is(inner, "IS NOT FALSE", scope),
            Expr::IsDistinctFrom(left, right) => self.comparison(left, "IS NOT", right, scope),
            Expr::IsNotDistinctFrom(left, right) => self.comparison(left, "IS", right, scope),
            Expr::Between { expr, negated, low, high } => {
                let low = self.comparison(expr, ">=", low, scope)?.sql;
                let high = self.comparison(expr, "<=", high, scope)?.sql;
                Ok(negated_if(*negated, format!("({low} AND {high})")))
            }
            Expr::In { expr, target, negated, .. } => self.is_in(expr, target, *negated, scope),
            Expr::Like { negated, any: false, expr, pattern, escape_char: None } => {
                let (text, pattern) =
                    (self.of_kind(expr, &Kind::String, scope)?, self.of_kind(pattern, &Kind::String, scope)?);
                Ok(negated_if(*negated, format!("({} LIKE {} ESCAPE '\\')", text.sql, pattern.sql)))
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), scope)
            }
            Expr::Cast { kind, expr, data_type, format: None } => {
                self.cast(expr, data_type, !matches!(kind, CastKind::Cast), scope)
            }
            Expr::Extract { field, expr, .. } => self.extract(field, expr, scope),
            Expr::Ceil { expr, .. } => self.rounding("bq_ceil", expr, scope),
            Expr::Floor { expr, .. } => self.rounding("bq_floor", expr, scope),
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                let all: Vec<&Expr> =
                    std::iter::once(&**expr).chain(substring_from.as_deref()).chain(substring_for.as_deref()).collect();
                self.substring(&all, scope)
            }
            Expr::Trim { trim_where: None, trim_what: None, expr, trim_characters } => {
                let text = self.of_kind(expr, &Kind::String, scope)?.sql;
                match trim_characters.as_deref() {
                    None | Some([]) => Ok(Typed::new(format!("trim({text}, {WHITE_SPACE})"), Kind::String)),
                    Some([characters, ..]) => {
                        let characters = self.of_kind(characters, &Kind::String, scope)?.sql;
                        Ok(Typed::new(format!("trim({text}, {characters})"), Kind::String))
                    }
                }
            }
            Expr::Exists { subquery, negated } => {
                let sql = self.query(subquery, scope)?.sql;
                Ok(negated_if(*negated, format!("EXISTS ({sql})")))
            }
            Expr::Subquery(query) => {
                let relation = self.query(query, scope)?;
                let [(_, ty)] = relation.columns.as_slice() else {
                    return Err(WarehouseError::InvalidQuery(
                        "Scalar subquery cannot have more than one column".to_owned(),
                    ));
                };
                Ok(Typed::of(format!("({})", relation.sql), ty.clone()))
            }
            Expr::Struct { values, fields } => self.structure(values, fields, scope),
            Expr::Tuple(values) => self.structure(values, &[], scope),
            Expr::Array(array) => {
                let elements =
                    array.elem.iter().map(|element| self.expression(element, scope)).collect::<Result<Vec<_>>>()?;
                let elements = unify("ARRAY", elements)?;
                let kind = elements.first().map_or(Kind::Int64, |element| element.ty.kind.clone());
                let elements: Vec<_> = elements.iter().map(Typed::in_json).collect();
                Ok(Typed::of(format!("json_array({})", elements.join(", ")), Type { kind, repeated: true }))
            }
            Expr::Function(function) => self.call(function, scope),
            other => Err(unsupported(format_args!("`{other}`"))),
        }
    }

    /// An expression that must be of a kind, or be converted to it.
    pub(super) fn of_kind(&mut self, expression: &Expr, kind: &Kind, scope: &Scope<'_>) -> Result<Typed> {
        let typed = self.expression(expression, scope)?;
        let found = typed.type_name();
        typed.coerced(kind).ok_or_else(|| {
            WarehouseError::InvalidQuery(format!("Expected {} but found {found} in `{expression}`", kind.name()))
        })
    }

    fn literal(&mut self, value: &Value) -> Result<Typed> {
        if let Some(text) = string_of(value)? {
            return Ok(Typed::string(&text));
        }
        match value {
            Value::Null => Ok(Typed::null()),
            Value::Boolean(truth) => Ok(Typed::new(i64::from(*truth).to_string(), Kind::Bool)),
            Value::Number(text, _) => {
                if let Ok(number) = text.parse::<i64>() {
                    return Ok(Typed::new(number.to_string(), Kind::Int64));
                }
                let float = text.parse::<f64>();
                let float = float.map_err(|_| WarehouseError::InvalidQuery(format!("Invalid number: {text}")))?;
                let typed = Typed::new(value_literal(&Stored::Real(float)), Kind::Float64);
                Ok(Typed { literal: Some(text.clone()), ..typed })
            }
            Value::HexStringLiteral(digits) => match i64::from_str_radix(digits, 16) {
                Ok(number) => Ok(Typed::new(number.to_string(), Kind::Int64)),
                Err(_) => Err(WarehouseError::InvalidQuery(format!("Invalid number: 0x{digits}"))),
            },
            Value::SingleQuotedByteStringLiteral(text)
            | Value::DoubleQuotedByteStringLiteral(text)
            | Value::TripleSingleQuotedByteStringLiteral(text)
            | Value::TripleDoubleQuotedByteStringLiteral(text) => {
                Ok(Typed::new(format!("x'{}'", hex::encode(unescape(text, true)?)), Kind::Bytes))
            }
            Value::Placeholder(mark) => self.parameter(mark),
            other => Err(unsupported(format_args!("the literal {other}"))),
        }
    }

    fn parameter(&mut self, mark: &str) -> Result<Typed> {
        let found = if let Some(name) = mark.strip_prefix('@') {
            let found = self.setting.parameters.named.get(&name.to_lowercase());
            found.ok_or_else(|| WarehouseError::InvalidQuery(format!("Query parameter '{name}' not found")))?
        } else {
            let number: usize = mark.trim_start_matches('?').parse().unwrap_or_default();
            let found = self.setting.parameters.positional.get(number.wrapping_sub(1));
            found.ok_or_else(|| WarehouseError::InvalidQuery(format!("Query parameter number {number} not found")))?
        };
        let (ty, value) = found.clone();
        let literal = match &value {
            Stored::Text(text) if ty == Type::of(Kind::String) => Some(text.clone()),
            _ => None,
        };
        let sql = self.bind(value);
        // A bare parameter has no affinity; decimals are texts that must be compared as numbers all the same.
        Ok(Typed { literal, ..Typed::of(sql, ty) })
    }

    pub(super) fn comparison(&mut self, left: &Expr, operator: &str, right: &Expr, scope: &Scope<'_>) -> Result<Typed> {
        let (left, right) = (self.expression(left, scope)?, self.expression(right, scope)?);
        compare(left, operator, right)
    }

    fn is(&mut self, inner: &Expr, test: &str, scope: &Scope<'_>) -> Result<Typed> {
        let inner = self.expression(inner, scope)?;
        Ok(Typed::new(format!("({} {test})", inner.sql), Kind::Bool))
    }

    fn is_in(&mut self, expression: &Expr, target: &InTarget, negated: bool, scope: &Scope<'_>) -> Result<Typed> {
        let value = self.expression(expression, scope)?;
        match target {
            InTarget::List(list) => {
                let mut any = Vec::new();
                for element in list {
                    let element = self.expression(element, scope)?;
                    any.push(compare(value.clone(), "=", element)?.sql);
                }
                Ok(negated_if(negated, format!("({})", any.join(" OR "))))
            }
            InTarget::Subquery(query) => {
                let relation = self.query(query, scope)?;
                Ok(negated_if(negated, format!("({} IN ({}))", value.sql, relation.sql)))
            }
            InTarget::Unnest(array) => {
                let array = self.expression(array, scope)?;
                let element = from_json("value".to_owned(), Type::of(array.ty.kind.clone()));
                let found = value.type_name();
                let value = value.coerced(&array.ty.kind).ok_or_else(|| {
                    WarehouseError::InvalidQuery(format!(
                        "No matching signature for IN UNNEST of {} and {found}",
                        array.type_name()
                    ))
                })?;
                let value = value.sql;
                Ok(negated_if(negated, format!("({value} IN (SELECT {} FROM json_each({})))", element.sql, array.sql)))
            }
            InTarget::Table { .. } => Err(unsupported("IN a table; write IN (SELECT …)")),
        }
    }

    fn case(
        &mut self,
        operand: Option<&Expr>,
        conditions: &[CaseWhen],
        otherwise: Option<&Expr>,
        scope: &Scope<'_>,
    ) -> Result<Typed> {
        let (mut tests, mut results) = (Vec::new(), Vec::new());
        for when in conditions {
            tests.push(match operand {
                Some(operand) => self.comparison(operand, "=", &when.condition, scope)?.sql,
                None => self.of_kind(&when.condition, &Kind::Bool, scope)?.sql,
            });
            results.push(self.expression(&when.result, scope)?);
        }
        if let Some(otherwise) = otherwise {
            results.push(self.expression(otherwise, scope)?);
        }
        Ok(conditional(&tests, unify("CASE", results)?))
    }

    fn cast(&mut self, expression: &Expr, to: &DataType, safe: bool, scope: &Scope<'_>) -> Result<Typed> {
        let (value, to) = (self.expression(expression, scope)?, kind_of(to)?);
        if value.null {
            return Ok(Typed { ty: to, ..value });
        }
        if value.ty == to {
            return Ok(Typed { literal: None, ..value });
        }
        let nested = |ty: &Type| ty.repeated || matches!(ty.kind, Kind::Struct(_) | Kind::Range(_));
        if nested(&value.ty) || nested(&to) {
            return Err(WarehouseError::InvalidQuery(format!(
                "Invalid cast from {} to {}",
                value.type_name(),
                to.kind.name()
            )));
        }
        let (from, safe) = (value.ty.kind.name(), i64::from(safe));
        let sql = match (&value.ty.kind, &to.kind) {
            (Kind::Int64, Kind::String) => format!("CAST({} AS TEXT)", value.sql),
            (Kind::Int64, Kind::Float64) => format!("CAST({} AS REAL)", value.sql),
            (_, kind) => format!("bq_cast({}, '{from}', '{}', {safe})", value.sql, kind.name()),
        };
        Ok(Typed::of(sql, to))
    }

    fn extract(&mut self, field: &DateTimeField, expression: &Expr, scope: &Scope<'_>) -> Result<Typed> {
        let (value, zone) = match expression {
            Expr::AtTimeZone { timestamp, time_zone } => {
                (self.of_kind(timestamp, &Kind::Timestamp, scope)?, self.of_kind(time_zone, &Kind::String, scope)?.sql)
            }
            other => (self.expression(other, scope)?, "'UTC'".to_owned()),
        };
        let part = field.to_string().to_uppercase();
        let civil = civil(&value, &zone)?;
        Ok(match part.as_str() {
            "DATE" => Typed::new(days_of(&civil), Kind::Date),
            "DATETIME" => Typed::new(civil, Kind::DateTime),
            "TIME" => Typed::new(format!("bq_cast({civil}, 'DATETIME', 'TIME', 0)"), Kind::Time),
            part => {
                if crate::calendar::Part::parse(part).is_none() {
                    return Err(WarehouseError::InvalidQuery(format!(
                        "A valid date part name is required but found {part}"
                    )));
                }
                Typed::new(format!("bq_extract({civil}, {})", text_literal(part)), Kind::Int64)
            }
        })
    }

    fn rounding(&mut self, function: &str, expression: &Expr, scope: &Scope<'_>) -> Result<Typed> {
        let value = self.expression(expression, scope)?;
        numeric_call(function, &value)
    }

    fn access(&mut self, root: &Expr, chain: &[AccessExpr], scope: &Scope<'_>) -> Result<Typed> {
        let mut value = self.expression(root, scope)?;
        for access in chain {
            value = match access {
                AccessExpr::Dot(Expr::Identifier(name)) => super::typed::field_of(&value, &name.value)?,
                AccessExpr::Subscript(Subscript::Index { index }) if value.ty.repeated => {
                    let (index, from) = match index {
                        Expr::Function(function) => {
                            let from = match function.name.to_string().to_uppercase().as_str() {
                                "OFFSET" | "SAFE_OFFSET" => 0,
                                "ORDINAL" | "SAFE_ORDINAL" => 1,
                                other => return Err(unsupported(format_args!("{other} as a subscript"))),
                            };
                            let FunctionArguments::List(list) = &function.args else {
                                return Err(unsupported("this subscript"));
                            };
                            let [index] = arguments(list)?[..] else { return Err(unsupported("this subscript")) };
                            (index, from)
                        }
                        index => (index, 0),
                    };
                    let index = self.of_kind(index, &Kind::Int64, scope)?.sql;
                    let path = format!("'$[' || ({index} - {from}) || ']'");
                    from_json(format!("json_extract({}, {path})", value.sql), Type::of(value.ty.kind))
                }
                _ => return Err(unsupported("this kind of access")),
            };
        }
        Ok(value)
    }

    fn structure(
        &mut self,
        values: &[Expr],
        declared: &[sqlparser::ast::StructField],
        scope: &Scope<'_>,
    ) -> Result<Typed> {
        let (mut fields, mut parts) = (Vec::new(), Vec::new());
        for (index, value) in values.iter().enumerate() {
            let (name, value) = match value {
                Expr::Named { expr, name } => (name.value.clone(), &**expr),
                Expr::Identifier(name) => (name.value.clone(), value),
                Expr::CompoundIdentifier(path) => {
                    (path.last().map(|name| name.value.clone()).unwrap_or_default(), value)
                }
                other => (format!("_field_{}", index + 1), other),
            };
            let mut typed = self.expression(value, scope)?;
            let mut field_name = name;
            if let Some(field) = declared.get(index) {
                let ty = kind_of(&field.field_type)?;
                typed =
                    typed.coerced(&ty.kind).ok_or_else(|| unsupported("a STRUCT whose values are not of its types"))?;
                if let Some(name) = &field.field_name {
                    field_name.clone_from(&name.value);
                }
            }
            parts.push(format!("{}, {}", text_literal(&field_name), typed.in_json()));
            fields.push(Field::of_type(field_name, typed.ty));
        }
        Ok(Typed::new(format!("json_object({})", parts.join(", ")), Kind::Struct(fields)))
    }

    pub(super) fn add_interval(
        &mut self,
        value: Typed,
        interval: &Interval,
        sign: i64,
        scope: &Scope<'_>,
    ) -> Result<Typed> {
        let part = interval.leading_field.as_ref().map(ToString::to_string).unwrap_or_default();
        let number = self.expression(&interval.value, scope)?;
        let number = match number.literal.as_deref().map(str::parse::<i64>) {
            Some(Ok(number)) => number.to_string(),
            _ => number.coerced(&Kind::Int64).ok_or_else(|| unsupported("INTERVAL of other than whole numbers"))?.sql,
        };
        super::times::add_part(value, &format!("({sign} * {number})"), &part)
    }
}

/// Characters that TRIM takes away.
pub(super) const WHITE_SPACE: &str = "' ' || char(9, 10, 11, 12, 13)";

/// A literal's text, where it is one of STRING.
fn string_of(value: &Value) -> Result<Option<String>> {
    match value {
        Value::SingleQuotedString(text)
        | Value::DoubleQuotedString(text)
        | Value::TripleSingleQuotedString(text)
        | Value::TripleDoubleQuotedString(text) => {
            String::from_utf8(unescape(text, false)?).map(Some).map_err(WarehouseError::internal)
        }
        Value::SingleQuotedRawStringLiteral(text)
        | Value::DoubleQuotedRawStringLiteral(text)
        | Value::TripleSingleQuotedRawStringLiteral(text)
        | Value::TripleDoubleQuotedRawStringLiteral(text) => Ok(Some(text.clone())),
        _ => Ok(None),
    }
}

/// A type as SQL writes it.
pub(super) fn kind_of(data_type: &DataType) -> Result<Type> {
    Ok(Type::of(match data_type {
        DataType::Array(ArrayElemTypeDef::AngleBracket(element)) => {
            return Ok(Type { kind: kind_of(element)?.kind, repeated: true });
        }
        DataType::Struct(fields, _) => {
            let field = |(index, field): (usize, &sqlparser::ast::StructField)| {
                let name = field
                    .field_name
                    .as_ref()
                    .map_or_else(|| format!("_field_{}", index + 1), |name| name.value.clone());
                Ok(Field::of_type(name, kind_of(&field.field_type)?))
            };
            Kind::Struct(fields.iter().enumerate().map(field).collect::<Result<_>>()?)
        }
        other => {
            // Without length or precision.
            let name = other.to_string();
            let name = name.split(['(', ' ']).next().unwrap_or_default();
            Kind::parse(name).ok_or_else(|| WarehouseError::InvalidQuery(format!("Type not found: {other}")))?
        }
    }))
}
