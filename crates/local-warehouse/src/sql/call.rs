//! Function calls: scalar functions; aggregates and windows, dates and times stand in files of their own.

use sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments};

use super::{
    Translator,
    aggregate::sorted_as,
    expression::WHITE_SPACE,
    operators::{as_decimal, compare, conditional, divide, no_signature, numeric_call},
    typed::{Scope, Typed, unify},
    unsupported,
};
use crate::{
    error::{Result, WarehouseError},
    types::{Kind, Type},
};

/// A call's plain arguments.
pub(super) fn arguments(list: &FunctionArgumentList) -> Result<Vec<&Expr>> {
    let one = |argument: &'_ FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(_)) => Ok(()),
        other => Err(unsupported(format_args!("the argument `{other}`"))),
    };
    list.args.iter().try_for_each(one)?;
    let expressions = list.args.iter().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
        _ => None,
    });
    Ok(expressions.collect())
}

impl Translator<'_> {
    pub(super) fn call(&mut self, function: &Function, scope: &Scope<'_>) -> Result<Typed> {
        let name = function.name.to_string().to_uppercase();
        let (unsafe_name, safe) = name.strip_prefix("SAFE.").map_or((name.as_str(), false), |name| (name, true));
        if safe {
            return Err(unsupported("the SAFE. prefix; SAFE_CAST, SAFE_DIVIDE and SAFE_OFFSET are there"));
        }
        let list = match &function.args {
            FunctionArguments::List(list) => list.clone(),
            FunctionArguments::None => {
                FunctionArgumentList { duplicate_treatment: None, args: vec![], clauses: vec![] }
            }
            FunctionArguments::Subquery(query) if name == "ARRAY" => {
                let relation = self.query(query, scope)?;
                let [(column, ty)] = relation.columns.as_slice() else {
                    return Err(WarehouseError::InvalidQuery(
                        "ARRAY subquery cannot have more than one column".to_owned(),
                    ));
                };
                let element = Typed::of(super::typed::quoted(column), ty.clone()).in_json();
                let sql = format!("(SELECT json_group_array({element}) FROM ({}))", relation.sql);
                return Ok(Typed::of(sql, Type { kind: ty.kind.clone(), repeated: true }));
            }
            FunctionArguments::Subquery(_) => return Err(unsupported(format_args!("{name} of a subquery"))),
        };
        if function.filter.is_some() || !function.within_group.is_empty() {
            return Err(unsupported("FILTER and WITHIN GROUP"));
        }
        if let Some(typed) = self.aggregate(unsafe_name, function, &list, scope)? {
            return Ok(typed);
        }
        if function.over.is_some() {
            return Err(unsupported(format_args!("{name} as a window function")));
        }
        self.scalar(unsafe_name, &arguments(&list)?, scope)
    }

    fn scalar(&mut self, name: &str, arguments: &[&Expr], scope: &Scope<'_>) -> Result<Typed> {
        if let Some(typed) = self.time_function(name, arguments, scope)? {
            return Ok(typed);
        }
        if name == "SUBSTR" || name == "SUBSTRING" {
            return self.substring(arguments, scope);
        }
        let all = arguments.iter().map(|value| self.expression(value, scope)).collect::<Result<Vec<_>>>()?;
        let wrong = || no_signature(&format!("function {name}"), &all.iter().collect::<Vec<_>>());
        let kind_of = |index: usize, kind: Kind| -> Result<String> {
            let value = all.get(index).ok_or_else(wrong)?.clone();
            Ok(value.coerced(&kind).ok_or_else(wrong)?.sql)
        };
        let text = |index| kind_of(index, Kind::String);
        let first = || all.first().ok_or_else(wrong);
        let string = |sql: String| Ok(Typed::new(sql, Kind::String));
        let bytes_or_text = |function: &str| -> Result<String> { Ok(format!("{function}({})", first()?.sql)) };
        match (name, all.as_slice()) {
            ("IF", [condition, _, _]) => {
                let condition = condition.clone().coerced(&Kind::Bool).ok_or_else(wrong)?.sql;
                Ok(conditional(&[condition], unify("IF", all[1..].to_vec())?))
            }
            ("COALESCE" | "IFNULL", [_, ..]) => {
                let values = unify(name, all.clone())?;
                let ty = values[0].ty.clone();
                let values: Vec<_> = values.into_iter().map(|value| value.sql).collect();
                Ok(Typed::of(
                    if values.len() == 1 { values[0].clone() } else { format!("COALESCE({})", values.join(", ")) },
                    ty,
                ))
            }
            ("NULLIF", [left, right]) => {
                let same = compare(left.clone(), "=", right.clone())?.sql;
                Ok(Typed::of(format!("(CASE WHEN {same} THEN NULL ELSE {} END)", left.sql), left.ty.clone()))
            }
            ("ISNULL" | "IS_NULL", [value]) => Ok(Typed::new(format!("({} IS NULL)", value.sql), Kind::Bool)),
            ("GREATEST" | "LEAST", [_, ..]) => {
                let values = unify(name, all.clone())?;
                let ty = values[0].ty.clone();
                let function = if name == "GREATEST" { "max" } else { "min" };
                let sorted: Vec<_> = values.iter().map(sorted_as).collect();
                Ok(Typed::of(
                    if sorted.len() == 1 { sorted[0].clone() } else { format!("{function}({})", sorted.join(", ")) },
                    ty,
                ))
            }
            ("SAFE_DIVIDE", [left, right]) => {
                divide("bq_div", left.clone(), Typed { sql: format!("nullif({}, 0)", right.sql), ..right.clone() })
            }
            ("IEEE_DIVIDE", [left, right]) => divide("bq_ieee_divide", left.clone(), right.clone()),
            ("DIV", [_, _]) => Ok(Typed::new(
                format!("bq_integer_div({}, {})", kind_of(0, Kind::Int64)?, kind_of(1, Kind::Int64)?),
                Kind::Int64,
            )),
            ("MOD", [_, _]) => Ok(Typed::new(
                format!("bq_mod({}, {})", kind_of(0, Kind::Int64)?, kind_of(1, Kind::Int64)?),
                Kind::Int64,
            )),
            ("ABS" | "SIGN", [value]) => {
                let sql = format!("{}({})", name.to_lowercase(), value.sql);
                match &value.ty.kind {
                    Kind::Int64 | Kind::Float64 => Ok(Typed::of(sql, value.ty.clone())),
                    kind if kind.is_decimal() => Ok(Typed::new(as_decimal(kind, &sql), kind.clone())),
                    _ => Err(wrong()),
                }
            }
            ("ROUND", [value, rest @ ..]) if rest.len() < 2 => {
                let digits = if rest.is_empty() { "0".to_owned() } else { kind_of(1, Kind::Int64)? };
                let kind = value.ty.kind.clone();
                let sql = format!("bq_round({}, {digits})", kind_of(0, Kind::Float64)?);
                Ok(if kind.is_decimal() {
                    Typed::new(as_decimal(&kind, &sql), kind)
                } else {
                    Typed::new(sql, Kind::Float64)
                })
            }
            ("TRUNC", [value]) => numeric_call("bq_trunc_number", value),
            ("CEIL" | "CEILING", [value]) => numeric_call("bq_ceil", value),
            ("FLOOR", [value]) => numeric_call("bq_floor", value),
            (
                "SQRT" | "EXP" | "LN" | "LOG10" | "SIN" | "COS" | "TAN" | "ASIN" | "ACOS" | "ATAN" | "SINH" | "COSH"
                | "TANH",
                [_],
            ) => Ok(Typed::new(format!("bq_{}({})", name.to_lowercase(), kind_of(0, Kind::Float64)?), Kind::Float64)),
            ("LOG", [_]) => Ok(Typed::new(format!("bq_ln({})", kind_of(0, Kind::Float64)?), Kind::Float64)),
            ("POW" | "POWER" | "ATAN2" | "LOG", [_, _]) => {
                let function = if name == "POWER" { "pow".to_owned() } else { name.to_lowercase() };
                let (left, right) = (kind_of(0, Kind::Float64)?, kind_of(1, Kind::Float64)?);
                Ok(Typed::new(format!("bq_{function}({left}, {right})"), Kind::Float64))
            }
            ("CONCAT", [_, ..]) => concat(all),
            ("LOWER" | "UPPER", [_]) => string(format!("bq_{}({})", name.to_lowercase(), text(0)?)),
            ("LENGTH", [value]) if value.ty.kind == Kind::Bytes => {
                Ok(Typed::new(bytes_or_text("octet_length")?, Kind::Int64))
            }
            ("LENGTH" | "CHAR_LENGTH" | "CHARACTER_LENGTH", [_]) => {
                Ok(Typed::new(format!("length({})", text(0)?), Kind::Int64))
            }
            ("BYTE_LENGTH" | "OCTET_LENGTH", [_]) => Ok(Typed::new(bytes_or_text("octet_length")?, Kind::Int64)),
            ("TRIM" | "LTRIM" | "RTRIM", [_]) => {
                string(format!("{}({}, {WHITE_SPACE})", name.to_lowercase(), text(0)?))
            }
            ("TRIM" | "LTRIM" | "RTRIM", [_, _]) => {
                string(format!("{}({}, {})", name.to_lowercase(), text(0)?, text(1)?))
            }
            ("REPLACE", [_, _, _]) => string(format!("replace({}, {}, {})", text(0)?, text(1)?, text(2)?)),
            ("STARTS_WITH" | "ENDS_WITH", [left, right]) if left.ty == right.ty => {
                Ok(Typed::new(format!("bq_{}({}, {})", name.to_lowercase(), left.sql, right.sql), Kind::Bool))
            }
            ("STRPOS" | "INSTR", [_, _]) => Ok(Typed::new(format!("instr({}, {})", text(0)?, text(1)?), Kind::Int64)),
            ("SPLIT", [_]) => {
                Ok(Typed::of(format!("bq_split({}, ',')", text(0)?), Type { kind: Kind::String, repeated: true }))
            }
            ("SPLIT", [_, _]) => Ok(Typed::of(
                format!("bq_split({}, {})", text(0)?, text(1)?),
                Type { kind: Kind::String, repeated: true },
            )),
            ("TO_BASE64", [_]) => string(format!("bq_base64({})", kind_of(0, Kind::Bytes)?)),
            ("FROM_BASE64", [_]) => Ok(Typed::new(format!("bq_from_base64({})", text(0)?), Kind::Bytes)),
            ("TO_HEX", [_]) => string(format!("lower(hex({}))", kind_of(0, Kind::Bytes)?)),
            ("FROM_HEX", [_]) => Ok(Typed::new(format!("unhex({})", text(0)?), Kind::Bytes)),
            ("SHA256" | "SHA512", [_]) => {
                Ok(Typed::new(bytes_or_text(&format!("bq_{}", name.to_lowercase()))?, Kind::Bytes))
            }
            ("FARM_FINGERPRINT", [_]) => Ok(Typed::new(bytes_or_text("bq_farm_fingerprint")?, Kind::Int64)),
            ("JSON_VALUE" | "JSON_EXTRACT_SCALAR" | "JSON_QUERY" | "JSON_EXTRACT", [document, rest @ ..])
                if rest.len() < 2 =>
            {
                let path = if rest.is_empty() { "'$'".to_owned() } else { text(1)? };
                let value = matches!(name, "JSON_VALUE" | "JSON_EXTRACT_SCALAR");
                let function = if value { "bq_json_value" } else { "bq_json_query" };
                let kind = if value { Kind::String } else { document.ty.kind.clone() };
                Ok(Typed::new(format!("{function}({}, {path})", document.sql), kind))
            }
            ("PARSE_JSON", [_]) => Ok(Typed::new(format!("bq_cast({}, 'STRING', 'JSON', 0)", text(0)?), Kind::Json)),
            ("ARRAY_LENGTH", [array]) if array.ty.repeated => {
                Ok(Typed::new(format!("json_array_length({})", array.sql), Kind::Int64))
            }
            ("GENERATE_ARRAY", [_, _, rest @ ..]) if rest.len() < 2 => {
                let step = if rest.is_empty() { "1".to_owned() } else { kind_of(2, Kind::Int64)? };
                let (from, until) = (kind_of(0, Kind::Int64)?, kind_of(1, Kind::Int64)?);
                let next = format!("SELECT n + {step} FROM s WHERE n + {step} <= {until}");
                let series = format!("WITH RECURSIVE s(n) AS (SELECT {from} WHERE {from} <= {until} UNION ALL {next})");
                let sql = format!("({series} SELECT json_group_array(n) FROM s)");
                Ok(Typed::of(sql, Type { kind: Kind::Int64, repeated: true }))
            }
            ("IS_NAN", [_]) => Ok(Typed::new(format!("({} IS 'NaN')", kind_of(0, Kind::Float64)?), Kind::Bool)),
            _ if all.is_empty() || known_elsewhere(name) => Err(wrong()),
            _ => Err(unsupported(format_args!("the function {name}"))),
        }
    }

    /// A position of 0 is 1, and one before the beginning is the beginning.
    pub(super) fn substring(&mut self, arguments: &[&Expr], scope: &Scope<'_>) -> Result<Typed> {
        let [text, position, rest @ ..] = arguments else { return Err(unsupported("SUBSTR without a position")) };
        let text = self.expression(text, scope)?;
        let position = self.of_kind(position, &Kind::Int64, scope)?.sql;
        let (sql, length) = (&text.sql, format!("length({})", text.sql));
        let position = format!("(CASE WHEN {position} = 0 OR {position} < -{length} THEN 1 ELSE {position} END)");
        let sql = match rest.first() {
            Some(length) => {
                format!("substr({sql}, {position}, max({}, 0))", self.of_kind(length, &Kind::Int64, scope)?.sql)
            }
            None => format!("substr({sql}, {position})"),
        };
        Ok(Typed::of(sql, text.ty))
    }
}

pub(super) fn concat(all: Vec<Typed>) -> Result<Typed> {
    let all = unify("CONCAT", all)?;
    if all[0].ty.repeated || !matches!(all[0].ty.kind, Kind::String | Kind::Bytes) {
        return Err(no_signature("CONCAT", &all.iter().collect::<Vec<_>>()));
    }
    let parts: Vec<_> = all.iter().map(|part| part.sql.as_str()).collect();
    let sql = format!("({})", parts.join(" || "));
    // SQLite concatenates to text whatever the sides are.
    let sql = if all[0].ty.kind == Kind::Bytes { format!("CAST({sql} AS BLOB)") } else { sql };
    Ok(Typed::of(sql, all[0].ty.clone()))
}

/// Functions whose name is known but not with these arguments.
fn known_elsewhere(name: &str) -> bool {
    matches!(
        name,
        "IF" | "NULLIF"
            | "DIV"
            | "MOD"
            | "ROUND"
            | "STARTS_WITH"
            | "ENDS_WITH"
            | "ARRAY_LENGTH"
            | "REPLACE"
            | "SAFE_DIVIDE"
    )
}
