//! Aggregates and windows.

use sqlparser::ast::{
    DuplicateTreatment, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList,
    NullTreatment, OrderByExpr, WindowFrameBound, WindowSpec, WindowType,
};

use super::{
    Translator,
    call::arguments,
    operators::{as_decimal, no_signature},
    typed::{Scope, Typed},
    unsupported,
};
use crate::{
    error::{Result, WarehouseError},
    types::{Kind, Type},
};

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
    pub(super) fn aggregate(
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
}

/// Decimals are texts in SQLite and sort as numbers only if told so.
pub(super) fn sorted_as(value: &Typed) -> String {
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
