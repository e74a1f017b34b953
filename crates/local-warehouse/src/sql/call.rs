//! Function calls: scalar functions, aggregates and windows.

use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList,
    FunctionArguments, NullTreatment, OrderByExpr, WindowFrameBound, WindowSpec, WindowType,
};

use super::{
    Translator,
    expression::{WHITE_SPACE, as_decimal, civil, compare, conditional, days_of, divide, no_signature, numeric_call},
    typed::{Scope, Typed, text_literal, unify},
    unsupported,
};
use crate::{
    calendar::Part,
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

/// What stands in an aggregate's parentheses beside its arguments.
#[derive(Default)]
struct Modifiers<'a> {
    distinct: bool,
    ignore_nulls: bool,
    order_by: &'a [OrderByExpr],
}

fn modifiers<'a>(function: &Function, list: &'a FunctionArgumentList) -> Result<Modifiers<'a>> {
    let mut found =
        Modifiers { distinct: list.duplicate_treatment == Some(DuplicateTreatment::Distinct), ..Modifiers::default() };
    found.ignore_nulls = function.null_treatment == Some(NullTreatment::IgnoreNulls);
    for clause in &list.clauses {
        match clause {
            FunctionArgumentClause::IgnoreOrRespectNulls(treatment) => {
                found.ignore_nulls = *treatment == NullTreatment::IgnoreNulls;
            }
            FunctionArgumentClause::OrderBy(order) => found.order_by = order,
            other => return Err(unsupported(format_args!("`{other}` within a call"))),
        }
    }
    Ok(found)
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

    // ---- Aggregates and windows ------------------------------------------------------------------------------------

    fn aggregate(
        &mut self,
        name: &str,
        function: &Function,
        list: &FunctionArgumentList,
        scope: &Scope<'_>,
    ) -> Result<Option<Typed>> {
        let modifiers = modifiers(function, list)?;
        let distinct = if modifiers.distinct { "DISTINCT " } else { "" };
        if name == "COUNT" && matches!(list.args[..], [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)]) {
            let over = self.over(function, scope)?;
            return Ok(Some(Typed::new(format!("COUNT(*){over}"), Kind::Int64)));
        }
        let known = [
            "COUNT",
            "COUNTIF",
            "SUM",
            "AVG",
            "MIN",
            "MAX",
            "ANY_VALUE",
            "LOGICAL_AND",
            "LOGICAL_OR",
            "STRING_AGG",
            "ARRAY_AGG",
            "APPROX_COUNT_DISTINCT",
            "STDDEV",
            "STDDEV_SAMP",
            "STDDEV_POP",
            "VARIANCE",
            "VAR_SAMP",
            "VAR_POP",
            "ROW_NUMBER",
            "RANK",
            "DENSE_RANK",
            "PERCENT_RANK",
            "CUME_DIST",
            "NTILE",
            "LAG",
            "LEAD",
            "FIRST_VALUE",
            "LAST_VALUE",
            "NTH_VALUE",
        ];
        if !known.contains(&name) {
            return Ok(None);
        }
        let values =
            arguments(list)?.into_iter().map(|value| self.expression(value, scope)).collect::<Result<Vec<_>>>()?;
        let over = self.over(function, scope)?;
        let first = values.first();
        let of_first = |what: &str| {
            first.ok_or_else(|| {
                WarehouseError::InvalidQuery(format!("No matching signature for {what} without arguments"))
            })
        };
        let (sql, ty) = match name {
            "COUNT" => (format!("COUNT({distinct}{}){over}", of_first(name)?.sql), Type::of(Kind::Int64)),
            "APPROX_COUNT_DISTINCT" => {
                (format!("COUNT(DISTINCT {}){over}", of_first(name)?.sql), Type::of(Kind::Int64))
            }
            "COUNTIF" => {
                let sql = &of_first(name)?.sql;
                (format!("COUNT({distinct}CASE WHEN {sql} THEN 1 END){over}"), Type::of(Kind::Int64))
            }
            "SUM" => {
                let value = of_first(name)?;
                let sql = format!("SUM({distinct}{}){over}", value.sql);
                match &value.ty.kind {
                    Kind::Int64 | Kind::Float64 => (sql, value.ty.clone()),
                    kind if kind.is_decimal() => (as_decimal(kind, &sql), value.ty.clone()),
                    _ => return Err(no_signature(name, &[value])),
                }
            }
            "AVG" => {
                let value = of_first(name)?;
                let sql = format!("AVG({distinct}{}){over}", value.sql);
                match &value.ty.kind {
                    Kind::Int64 | Kind::Float64 => (sql, Type::of(Kind::Float64)),
                    kind if kind.is_decimal() => (as_decimal(kind, &sql), value.ty.clone()),
                    _ => return Err(no_signature(name, &[value])),
                }
            }
            "MIN" | "MAX" | "ANY_VALUE" => {
                let value = of_first(name)?;
                let function = if name == "MIN" { "MIN" } else { "MAX" };
                (format!("{function}({}){over}", sorted_as(value)), value.ty.clone())
            }
            "LOGICAL_AND" => (format!("MIN({}){over}", of_first(name)?.sql), Type::of(Kind::Bool)),
            "LOGICAL_OR" => (format!("MAX({}){over}", of_first(name)?.sql), Type::of(Kind::Bool)),
            "STRING_AGG" => {
                let separator = values.get(1).map_or("','", |separator| separator.sql.as_str());
                let order = self.order_within(&modifiers, scope)?;
                let separator =
                    if modifiers.distinct && values.len() < 2 { String::new() } else { format!(", {separator}") };
                (
                    format!("group_concat({distinct}{}{separator}{order}){over}", of_first(name)?.sql),
                    Type::of(Kind::String),
                )
            }
            "ARRAY_AGG" => {
                let value = of_first(name)?;
                let order = self.order_within(&modifiers, scope)?;
                let filter = if modifiers.ignore_nulls {
                    format!(" FILTER (WHERE {} IS NOT NULL)", value.sql)
                } else {
                    String::new()
                };
                let sql = format!("json_group_array({distinct}{}{order}){filter}{over}", value.in_json());
                (sql, Type { kind: value.ty.kind.clone(), repeated: true })
            }
            "STDDEV" | "STDDEV_SAMP" | "STDDEV_POP" | "VARIANCE" | "VAR_SAMP" | "VAR_POP" => {
                if !over.is_empty() {
                    return Err(unsupported(format_args!("{name} as a window function")));
                }
                let value = of_first(name)?.clone();
                let value = value.clone().coerced(&Kind::Float64).ok_or_else(|| no_signature(name, &[&value]))?;
                (format!("bq_variance({}, '{name}')", value.sql), Type::of(Kind::Float64))
            }
            "PERCENT_RANK" | "CUME_DIST" => (format!("{name}(){over}"), Type::of(Kind::Float64)),
            "ROW_NUMBER" | "RANK" | "DENSE_RANK" => (format!("{name}(){over}"), Type::of(Kind::Int64)),
            "NTILE" => (format!("NTILE({}){over}", of_first(name)?.sql), Type::of(Kind::Int64)),
            _ => {
                if modifiers.ignore_nulls {
                    return Err(unsupported(format_args!("{name} … IGNORE NULLS")));
                }
                let ty = of_first(name)?.ty.clone();
                let all: Vec<_> = values.iter().map(|value| value.sql.as_str()).collect();
                (format!("{name}({}){over}", all.join(", ")), ty)
            }
        };
        Ok(Some(Typed::of(sql, ty)))
    }

    fn order_within(&mut self, modifiers: &Modifiers<'_>, scope: &Scope<'_>) -> Result<String> {
        if modifiers.order_by.is_empty() {
            return Ok(String::new());
        }
        Ok(format!(" ORDER BY {}", self.order_terms(modifiers.order_by, scope)?))
    }

    pub(super) fn order_terms(&mut self, terms: &[OrderByExpr], scope: &Scope<'_>) -> Result<String> {
        let mut sorted = Vec::new();
        for term in terms {
            let value = self.expression(&term.expr, scope)?;
            sorted.push(format!("{}{}", sorted_as(&value), direction(term)?));
        }
        Ok(sorted.join(", "))
    }

    fn over(&mut self, function: &Function, scope: &Scope<'_>) -> Result<String> {
        let window = match &function.over {
            None => return Ok(String::new()),
            Some(WindowType::WindowSpec(window)) => window.clone(),
            Some(WindowType::NamedWindow(name)) => {
                let found = self.named_windows.iter().rev().find(|(known, _)| known.eq_ignore_ascii_case(&name.value));
                found
                    .map(|(_, window)| window.clone())
                    .ok_or_else(|| WarehouseError::InvalidQuery(format!("Unrecognized window alias {}", name.value)))?
            }
        };
        self.window(&window, scope)
    }

    fn window(&mut self, window: &WindowSpec, scope: &Scope<'_>) -> Result<String> {
        if window.window_name.is_some() {
            return Err(unsupported("a window that refines another"));
        }
        let mut parts = Vec::new();
        if !window.partition_by.is_empty() {
            let by =
                window.partition_by.iter().map(|by| Ok(self.expression(by, scope)?.sql)).collect::<Result<Vec<_>>>()?;
            parts.push(format!("PARTITION BY {}", by.join(", ")));
        }
        if !window.order_by.is_empty() {
            parts.push(format!("ORDER BY {}", self.order_terms(&window.order_by, scope)?));
        }
        if let Some(frame) = &window.window_frame {
            let start = self.bound(&frame.start_bound, scope)?;
            parts.push(match &frame.end_bound {
                Some(end) => format!("{} BETWEEN {start} AND {}", frame.units, self.bound(end, scope)?),
                None => format!("{} {start}", frame.units),
            });
        }
        Ok(format!(" OVER ({})", parts.join(" ")))
    }

    fn bound(&mut self, bound: &WindowFrameBound, scope: &Scope<'_>) -> Result<String> {
        let (distance, side) = match bound {
            WindowFrameBound::CurrentRow => return Ok("CURRENT ROW".to_owned()),
            WindowFrameBound::Preceding(distance) => (distance, "PRECEDING"),
            WindowFrameBound::Following(distance) => (distance, "FOLLOWING"),
        };
        Ok(match distance {
            None => format!("UNBOUNDED {side}"),
            Some(distance) => format!("{} {side}", self.expression(distance, scope)?.sql),
        })
    }

    // ---- Scalar functions ------------------------------------------------------------------------------------------

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

    // ---- Dates and times -------------------------------------------------------------------------------------------

    fn time_function(&mut self, name: &str, arguments: &[&Expr], scope: &Scope<'_>) -> Result<Option<Typed>> {
        let now = self.setting.now_us;
        let (prefix, suffix) = name.split_once('_').unwrap_or((name, ""));
        let kind = Kind::parse(prefix)
            .filter(|kind| matches!(kind, Kind::Date | Kind::DateTime | Kind::Time | Kind::Timestamp));
        if let (Some(kind), false) = (&kind, arguments.is_empty()) {
            match suffix {
                "" => return self.constructor(kind, arguments, scope).map(Some),
                "ADD" | "SUB" => {
                    return self.add_to(kind, if suffix == "ADD" { 1 } else { -1 }, arguments, scope).map(Some);
                }
                "DIFF" | "TRUNC" => return self.diff_or_trunc(kind, suffix, arguments, scope).map(Some),
                _ => {}
            }
        }
        let of = |translator: &mut Self, index: usize, kind: &Kind| -> Result<String> {
            let argument =
                arguments.get(index).ok_or_else(|| unsupported(format_args!("{name} without its argument")))?;
            Ok(translator.of_kind(argument, kind, scope)?.sql)
        };
        let zone = |translator: &mut Self, index: usize| -> Result<String> {
            arguments
                .get(index)
                .map_or(Ok("'UTC'".to_owned()), |zone| Ok(translator.of_kind(zone, &Kind::String, scope)?.sql))
        };
        Ok(Some(match name {
            "CURRENT_TIMESTAMP" => Typed::new(now.to_string(), Kind::Timestamp),
            "CURRENT_DATETIME" => Typed::new(format!("bq_civil({now}, {})", zone(self, 0)?), Kind::DateTime),
            "CURRENT_DATE" => Typed::new(days_of(&format!("bq_civil({now}, {})", zone(self, 0)?)), Kind::Date),
            "CURRENT_TIME" => {
                Typed::new(format!("bq_cast(bq_civil({now}, {}), 'DATETIME', 'TIME', 0)", zone(self, 0)?), Kind::Time)
            }
            "UNIX_SECONDS" => {
                Typed::new(format!("bq_timestamp_diff({}, 0, 'SECOND')", of(self, 0, &Kind::Timestamp)?), Kind::Int64)
            }
            "UNIX_MILLIS" => Typed::new(
                format!("bq_timestamp_diff({}, 0, 'MILLISECOND')", of(self, 0, &Kind::Timestamp)?),
                Kind::Int64,
            ),
            "UNIX_MICROS" => Typed::new(of(self, 0, &Kind::Timestamp)?, Kind::Int64),
            "UNIX_DATE" => Typed::new(of(self, 0, &Kind::Date)?, Kind::Int64),
            "DATE_FROM_UNIX_DATE" => Typed::new(of(self, 0, &Kind::Int64)?, Kind::Date),
            "TIMESTAMP_SECONDS" => Typed::new(format!("({} * 1000000)", of(self, 0, &Kind::Int64)?), Kind::Timestamp),
            "TIMESTAMP_MILLIS" => Typed::new(format!("({} * 1000)", of(self, 0, &Kind::Int64)?), Kind::Timestamp),
            "TIMESTAMP_MICROS" => Typed::new(of(self, 0, &Kind::Int64)?, Kind::Timestamp),
            "LAST_DAY" if arguments.len() == 1 => {
                let value = self.expression(arguments[0], scope)?;
                let civil = civil(&value, "'UTC'")?;
                let next = format!("bq_add(bq_truncate({civil}, 'MONTH'), 1, 'MONTH')");
                Typed::new(format!("({} - 1)", days_of(&next)), Kind::Date)
            }
            "FORMAT_TIMESTAMP" | "FORMAT_DATE" | "FORMAT_DATETIME" | "FORMAT_TIME" => {
                let kind = Kind::parse(&name[7..]).unwrap_or(Kind::Timestamp);
                let (format, value) = (of(self, 0, &Kind::String)?, of(self, 1, &kind)?);
                let zone = zone(self, 2)?;
                let civil = civil(&Typed::new(value, kind), &zone)?;
                Typed::new(format!("bq_format_time({format}, {civil}, {zone})"), Kind::String)
            }
            "PARSE_TIMESTAMP" | "PARSE_DATE" | "PARSE_DATETIME" | "PARSE_TIME" => {
                let kind = Kind::parse(&name[6..]).unwrap_or(Kind::Timestamp);
                let (format, value) = (of(self, 0, &Kind::String)?, of(self, 1, &Kind::String)?);
                let parsed = format!("bq_parse_time({format}, {value}, {})", zone(self, 2)?);
                Typed::new(if kind == Kind::Date { days_of(&parsed) } else { parsed }, kind)
            }
            _ => return Ok(None),
        }))
    }

    /// `TIMESTAMP(…)`, `DATE(…)`, `DATETIME(…)`, `TIME(…)`.
    fn constructor(&mut self, kind: &Kind, arguments: &[&Expr], scope: &Scope<'_>) -> Result<Typed> {
        let all = arguments.iter().map(|value| self.expression(value, scope)).collect::<Result<Vec<_>>>()?;
        let wrong = || no_signature(&format!("function {}", kind.name()), &all.iter().collect::<Vec<_>>());
        let [first, rest @ ..] = all.as_slice() else { return Err(wrong()) };
        let zone = rest.first().map_or("'UTC'", |zone| zone.sql.as_str());
        let whole = all.iter().all(|part| part.ty.kind == Kind::Int64);
        let parts: Vec<_> = all.iter().map(|part| part.sql.as_str()).collect();
        let sql = match (kind, &first.ty.kind) {
            (Kind::Date, Kind::Int64) if whole && all.len() == 3 => format!("bq_make_date({})", parts.join(", ")),
            (Kind::Time, Kind::Int64) if whole && all.len() == 3 => format!("bq_make_time({})", parts.join(", ")),
            (Kind::DateTime, Kind::Int64) if whole && all.len() == 6 => {
                format!(
                    "(bq_make_date({}) * 86400000000 + bq_make_time({}))",
                    parts[..3].join(", "),
                    parts[3..].join(", ")
                )
            }
            (Kind::DateTime, Kind::Date) if rest.first().is_some_and(|time| time.ty.kind == Kind::Time) => {
                format!("({} * 86400000000 + {})", first.sql, rest[0].sql)
            }
            (Kind::Timestamp, Kind::String) => format!("bq_timestamp({}, {zone})", first.sql),
            (Kind::Timestamp, Kind::Date | Kind::DateTime) => format!("bq_instant({}, {zone})", civil(first, "'UTC'")?),
            (Kind::DateTime, Kind::Timestamp | Kind::Date | Kind::DateTime) => civil(first, zone)?,
            (Kind::Date, Kind::Date) | (Kind::Time, Kind::Time) | (Kind::Timestamp, Kind::Timestamp) => {
                first.sql.clone()
            }
            (Kind::Date, Kind::Timestamp | Kind::DateTime) => days_of(&civil(first, zone)?),
            (Kind::Time, Kind::Timestamp | Kind::DateTime) => {
                format!("bq_cast({}, 'DATETIME', 'TIME', 0)", civil(first, zone)?)
            }
            (_, Kind::String) => format!("bq_cast({}, 'STRING', '{}', 0)", first.sql, kind.name()),
            _ => return Err(wrong()),
        };
        Ok(Typed::new(sql, kind.clone()))
    }

    fn add_to(&mut self, kind: &Kind, sign: i64, arguments: &[&Expr], scope: &Scope<'_>) -> Result<Typed> {
        let [value, Expr::Interval(interval)] = arguments else {
            return Err(WarehouseError::InvalidQuery(format!(
                "{}_ADD and _SUB take a value and an INTERVAL",
                kind.name()
            )));
        };
        let value = self.of_kind(value, kind, scope)?;
        self.add_interval(value, interval, sign, scope)
    }

    fn diff_or_trunc(&mut self, kind: &Kind, what: &str, arguments: &[&Expr], scope: &Scope<'_>) -> Result<Typed> {
        let part_of = |argument: &Expr| {
            let part = argument.to_string().to_uppercase();
            let known = Part::parse(&part).is_some();
            if known {
                Ok(text_literal(&part))
            } else {
                Err(WarehouseError::InvalidQuery(format!("A valid date part name is required but found {part}")))
            }
        };
        match (what, arguments) {
            ("DIFF", [until, from, part]) => {
                let (until, from) = (self.of_kind(until, kind, scope)?, self.of_kind(from, kind, scope)?);
                let function = if *kind == Kind::Timestamp { "bq_timestamp_diff" } else { "bq_boundaries" };
                let (until, from) = (civil(&until, "'UTC'")?, civil(&from, "'UTC'")?);
                Ok(Typed::new(format!("{function}({until}, {from}, {})", part_of(part)?), Kind::Int64))
            }
            ("TRUNC", [value, part, rest @ ..]) if rest.len() < 2 => {
                // DATE_TRUNC and the others take each other's types.
                let value = self.expression(value, scope)?;
                let value = if value.ty.kind == Kind::String {
                    value.coerced(kind).ok_or_else(|| unsupported("this date"))?
                } else {
                    value
                };
                let zone = match rest.first() {
                    Some(zone) => self.of_kind(zone, &Kind::String, scope)?.sql,
                    None => "'UTC'".to_owned(),
                };
                let sql = format!("bq_truncate({}, {})", civil(&value, &zone)?, part_of(part)?);
                let sql = match value.ty.kind {
                    Kind::Date => days_of(&sql),
                    Kind::Timestamp if zone != "'UTC'" => format!("bq_instant({sql}, {zone})"),
                    _ => sql,
                };
                Ok(Typed::of(sql, value.ty))
            }
            _ => Err(WarehouseError::InvalidQuery(format!("{}_{what} has not such arguments", kind.name()))),
        }
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

pub(super) fn add_part(value: Typed, number: &str, part: &str) -> Result<Typed> {
    let valid =
        Part::parse(part).filter(|part| part.us().is_none_or(|_| value.ty.kind != Kind::Date || *part == Part::Day));
    if valid.is_none() {
        return Err(WarehouseError::InvalidQuery(format!("{} has no INTERVAL of {part}", value.type_name())));
    }
    let sum = format!("bq_add({}, {number}, {})", civil(&value, "'UTC'")?, text_literal(part));
    let sql = match value.ty.kind {
        Kind::Date => days_of(&sum),
        Kind::Time => format!("bq_cast({sum}, 'DATETIME', 'TIME', 0)"),
        _ => sum,
    };
    Ok(Typed::of(sql, value.ty))
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

/// Decimals are texts in SQLite and sort as numbers only if told so.
fn sorted_as(value: &Typed) -> String {
    if value.ty.kind.is_decimal() { format!("{} COLLATE bq_decimal", value.sql) } else { value.sql.clone() }
}

/// ` DESC NULLS LAST` and the like.
pub(super) fn direction(term: &OrderByExpr) -> Result<String> {
    use sqlparser::ast::OrderBySort;

    let sort = match &term.options.sort {
        None | Some(OrderBySort::Asc) => "",
        Some(OrderBySort::Desc) => " DESC",
        Some(OrderBySort::Using(_)) => return Err(unsupported("ORDER BY … USING")),
    };
    let nulls = match term.options.nulls_first {
        None => "",
        Some(true) => " NULLS FIRST",
        Some(false) => " NULLS LAST",
    };
    Ok(format!("{sort}{nulls}"))
}
