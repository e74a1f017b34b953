//! SELECT, set operations, WITH, ORDER BY and LIMIT.

use std::fmt::Write;

use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Ident, LimitClause, NamedWindowExpr, OrderBy, OrderByExpr, OrderByKind, Query, Select,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier, Value, WildcardAdditionalOptions,
};

use super::{
    Translator,
    aggregate::direction,
    operators::no_signature,
    typed::{Column, Scope, Source, Typed, quoted, unify},
    unsupported,
};
use crate::{
    error::{Result, WarehouseError},
    types::{Kind, Type},
};

/// A SELECT in SQLite's SQL, and its columns.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    pub(super) sql: String,
    pub(super) columns: Vec<(String, Type)>,
}

impl Translator<'_> {
    pub(super) fn query(&mut self, query: &Query, outer: &Scope<'_>) -> Result<Relation> {
        if query.fetch.is_some() || !query.pipe_operators.is_empty() || query.for_clause.is_some() {
            return Err(unsupported("FETCH, FOR and pipe operators"));
        }
        let (known, mut with) = (self.common.len(), Vec::new());
        if let Some(clause) = &query.with {
            if clause.recursive {
                return Err(unsupported("WITH RECURSIVE"));
            }
            for common in &clause.cte_tables {
                let relation = self.query(&common.query, outer)?;
                // A name of our own: in SQLite it would also stand for a table of that name within itself.
                let name = format!("{}{}", common.alias.name.value, self.fresh_name());
                with.push(format!("{} AS ({})", quoted(&name), relation.sql));
                self.common.push((format!("{}\0{name}", common.alias.name.value), relation.columns));
            }
        }
        let relation = self.body(query, outer);
        self.common.truncate(known);
        let relation = relation?;
        let with = if with.is_empty() { String::new() } else { format!("WITH {} ", with.join(", ")) };
        Ok(Relation { sql: format!("{with}{}", relation.sql), columns: relation.columns })
    }

    fn body(&mut self, query: &Query, outer: &Scope<'_>) -> Result<Relation> {
        let order = match &query.order_by {
            None => &[][..],
            Some(OrderBy { kind: OrderByKind::Expressions(terms), .. }) => terms,
            Some(_) => return Err(unsupported("ORDER BY ALL")),
        };
        let mut relation = match &*query.body {
            SetExpr::Select(select) => self.select(select, order, outer)?,
            body => {
                let mut relation = self.set(body, outer)?;
                if !order.is_empty() {
                    let scope = output_scope(&relation.columns);
                    let mut terms = Vec::new();
                    for term in order {
                        let typed = self.order_expression(term, &relation.columns, &scope)?;
                        terms.push(typed);
                    }
                    relation.sql = format!("SELECT * FROM ({}) ORDER BY {}", relation.sql, terms.join(", "));
                }
                relation
            }
        };
        match &query.limit_clause {
            None => {}
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
                let limit = match limit {
                    Some(limit) => self.of_kind(limit, &Kind::Int64, outer)?.sql,
                    None => "-1".to_owned(),
                };
                _ = write!(relation.sql, " LIMIT {limit}");
                if let Some(offset) = offset {
                    let offset = self.of_kind(&offset.value, &Kind::Int64, outer)?.sql;
                    _ = write!(relation.sql, " OFFSET {offset}");
                }
            }
            Some(_) => return Err(unsupported("this LIMIT")),
        }
        Ok(relation)
    }

    fn set(&mut self, body: &SetExpr, outer: &Scope<'_>) -> Result<Relation> {
        match body {
            SetExpr::Select(select) => self.select(select, &[], outer),
            SetExpr::Query(query) => {
                let relation = self.query(query, outer)?;
                Ok(Relation { sql: format!("SELECT * FROM ({})", relation.sql), columns: relation.columns })
            }
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let operator = match (op, set_quantifier) {
                    (SetOperator::Union, SetQuantifier::All) => "UNION ALL",
                    (SetOperator::Union, SetQuantifier::Distinct) => "UNION",
                    (SetOperator::Except, SetQuantifier::Distinct) => "EXCEPT",
                    (SetOperator::Intersect, SetQuantifier::Distinct) => "INTERSECT",
                    (op, _) => {
                        return Err(WarehouseError::InvalidQuery(format!(
                            "Syntax error: Expected ALL or DISTINCT after {op}"
                        )));
                    }
                };
                let (left, right) = (self.set(left, outer)?, self.set(right, outer)?);
                let (left, right) = same_columns(left, right)?;
                let sql = format!("SELECT * FROM ({}) {operator} SELECT * FROM ({})", left.sql, right.sql);
                Ok(Relation { sql, columns: left.columns })
            }
            _ => Err(unsupported("VALUES and statements within a query")),
        }
    }

    fn select(&mut self, select: &Select, order: &[OrderByExpr], outer: &Scope<'_>) -> Result<Relation> {
        if select.top.is_some()
            || select.into.is_some()
            || !select.lateral_views.is_empty()
            || select.prewhere.is_some()
            || !select.connect_by.is_empty()
            || select.value_table_mode.is_some()
            || select.exclude.is_some()
        {
            return Err(unsupported("this SELECT"));
        }
        let windows = self.named_windows.len();
        for window in &select.named_window {
            match &window.1 {
                NamedWindowExpr::WindowSpec(spec) => self.named_windows.push((window.0.value.clone(), spec.clone())),
                NamedWindowExpr::NamedWindow(_) => return Err(unsupported("a window that is another's name")),
            }
        }
        let relation = self.select_within(select, order, outer);
        self.named_windows.truncate(windows);
        relation
    }

    fn select_within(&mut self, select: &Select, order: &[OrderByExpr], outer: &Scope<'_>) -> Result<Relation> {
        let mut scope = Scope { parent: Some(outer), ..Scope::default() };
        let from = self.from(&select.from, &mut scope)?;
        let items = self.projection(&select.projection, &scope)?;
        scope.aliases.clone_from(&items);

        let mut sql = String::new();
        if !from.is_empty() {
            _ = write!(sql, " FROM {from}");
        }
        // WHERE does not see the names of the SELECT list.
        if let Some(condition) = &select.selection {
            let aliases = std::mem::take(&mut scope.aliases);
            let condition = self.of_kind(condition, &Kind::Bool, &scope)?;
            scope.aliases = aliases;
            _ = write!(sql, " WHERE {}", condition.sql);
        }
        match &select.group_by {
            GroupByExpr::Expressions(expressions, modifiers) if modifiers.is_empty() => {
                let by =
                    expressions.iter().map(|by| self.group_term(by, &items, &scope)).collect::<Result<Vec<_>>>()?;
                if !by.is_empty() {
                    _ = write!(sql, " GROUP BY {}", by.join(", "));
                }
            }
            _ => return Err(unsupported("GROUP BY ALL, ROLLUP and CUBE")),
        }
        if let Some(condition) = &select.having {
            let condition = self.of_kind(condition, &Kind::Bool, &scope)?;
            _ = write!(sql, " HAVING {}", condition.sql);
        }
        let distinct = match &select.distinct {
            None | Some(Distinct::All) => "",
            Some(Distinct::Distinct) => "DISTINCT ",
            Some(Distinct::On(_)) => return Err(unsupported("DISTINCT ON")),
        };
        let mut columns: Vec<_> =
            items.iter().map(|(name, item)| format!("{} AS {}", item.sql, quoted(name))).collect();
        if let Some(condition) = &select.qualify {
            let condition = self.of_kind(condition, &Kind::Bool, &scope)?;
            columns.push(format!("{} AS \"_qualify\"", condition.sql));
        }
        scope.aliases_first = true;
        let output: Vec<_> = items.iter().map(|(name, item)| (name.clone(), item.ty.clone())).collect();
        let terms =
            order.iter().map(|term| self.order_expression(term, &output, &scope)).collect::<Result<Vec<_>>>()?;
        let order = if terms.is_empty() { String::new() } else { format!(" ORDER BY {}", terms.join(", ")) };
        if select.qualify.is_none() {
            let sql = format!("SELECT {distinct}{}{sql}{order}", columns.join(", "));
            return Ok(Relation { sql, columns: output });
        }
        // The terms may be of columns that the outer SELECT has not.
        let sorting: Vec<_> = terms.iter().enumerate().map(|(index, term)| sort_key(term, index)).collect();
        columns.extend(sorting.iter().map(|(column, _)| column.clone()));
        let outer_order: Vec<_> = sorting.into_iter().map(|(_, order)| order).collect();
        let order = if terms.is_empty() { String::new() } else { format!(" ORDER BY {}", outer_order.join(", ")) };
        let names: Vec<_> = output.iter().map(|(name, _)| quoted(name)).collect();
        let (names, columns) = (names.join(", "), columns.join(", "));
        let sql = format!("SELECT {distinct}{names} FROM (SELECT {columns}{sql}) WHERE \"_qualify\"{order}");
        Ok(Relation { sql, columns: output })
    }

    fn projection(&mut self, items: &[SelectItem], scope: &Scope<'_>) -> Result<Vec<(String, Typed)>> {
        let mut all: Vec<(String, Typed)> = Vec::new();
        for item in items {
            match item {
                SelectItem::UnnamedExpr(expression) => {
                    let name = match expression {
                        Expr::Identifier(name) if !name.value.starts_with('@') => Some(name.value.clone()),
                        Expr::CompoundIdentifier(path) => path.last().map(|name| name.value.clone()),
                        Expr::CompoundFieldAccess { access_chain, .. } => match access_chain.last() {
                            Some(sqlparser::ast::AccessExpr::Dot(Expr::Identifier(name))) => Some(name.value.clone()),
                            _ => None,
                        },
                        _ => None,
                    };
                    let typed = self.expression(expression, scope)?;
                    let unnamed = all.iter().filter(|(name, _)| is_generated(name)).count();
                    all.push((name.unwrap_or_else(|| format!("f{unnamed}_")), typed));
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    all.push((alias.value.clone(), self.expression(expr, scope)?));
                }
                SelectItem::Wildcard(options) => {
                    let columns: Vec<Column> = scope
                        .sources
                        .iter()
                        .flat_map(|source| source.columns.clone())
                        .filter(|column| !column.hidden)
                        .collect();
                    if scope.sources.is_empty() {
                        return Err(WarehouseError::InvalidQuery("SELECT * must have a FROM clause".to_owned()));
                    }
                    self.wildcard(columns, options, scope, &mut all)?;
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    let alias = name.to_string().replace('`', "");
                    let source = scope.sources.iter().find(|source| source.alias.eq_ignore_ascii_case(&alias));
                    let source =
                        source.ok_or_else(|| WarehouseError::InvalidQuery(format!("Unrecognized name: {alias}")))?;
                    self.wildcard(source.columns.clone(), options, scope, &mut all)?;
                }
                other => return Err(unsupported(format_args!("`{other}` in a SELECT list"))),
            }
        }
        Ok(all)
    }

    fn wildcard(
        &mut self,
        columns: Vec<Column>,
        options: &WildcardAdditionalOptions,
        scope: &Scope<'_>,
        all: &mut Vec<(String, Typed)>,
    ) -> Result<()> {
        let except: Vec<&Ident> = options
            .opt_except
            .iter()
            .flat_map(|except| std::iter::once(&except.first_element).chain(&except.additional_elements))
            .collect();
        let missing =
            except.iter().find(|name| !columns.iter().any(|column| column.name.eq_ignore_ascii_case(&name.value)));
        if let Some(name) = missing {
            let what = format!("Column {} in SELECT * EXCEPT list does not exist", name.value);
            return Err(WarehouseError::InvalidQuery(what));
        }
        for column in columns {
            if except.iter().any(|name| name.value.eq_ignore_ascii_case(&column.name)) {
                continue;
            }
            let replaced = options.opt_replace.iter().flat_map(|replace| &replace.items);
            let replaced = replaced.into_iter().find(|item| item.column_name.value.eq_ignore_ascii_case(&column.name));
            let typed = match replaced {
                Some(item) => self.expression(&item.expr, scope)?,
                None => self.used(&column),
            };
            all.push((column.name, typed));
        }
        Ok(())
    }

    /// A position, a name of the SELECT list, or an expression.
    fn group_term(&mut self, by: &Expr, items: &[(String, Typed)], scope: &Scope<'_>) -> Result<String> {
        if let Some(position) = position(by) {
            let item = position.checked_sub(1).and_then(|index| items.get(index));
            let item = item.ok_or_else(|| {
                WarehouseError::InvalidQuery(format!("GROUP BY is out of SELECT column number range: {position}"))
            })?;
            return Ok(item.1.sql.clone());
        }
        let typed = self.expression(by, scope)?;
        if typed.ty.repeated || matches!(typed.ty.kind, Kind::Json | Kind::Geography) {
            return Err(no_signature("GROUP BY", &[&typed]));
        }
        Ok(typed.sql)
    }

    fn order_expression(&mut self, term: &OrderByExpr, output: &[(String, Type)], scope: &Scope<'_>) -> Result<String> {
        let Some(position) = position(&term.expr) else {
            return self.order_terms(std::slice::from_ref(term), scope);
        };
        let column = position.checked_sub(1).and_then(|index| output.get(index)).ok_or_else(|| {
            WarehouseError::InvalidQuery(format!("ORDER BY is out of SELECT column number range: {position}"))
        })?;
        let collation = if column.1.kind.is_decimal() { " COLLATE bq_decimal" } else { "" };
        Ok(format!("{}{collation}{}", quoted(&column.0), direction(term)?))
    }
}

/// `f0_`, `f1_`, …
fn is_generated(name: &str) -> bool {
    name.strip_prefix('f').and_then(|rest| rest.strip_suffix('_')).is_some_and(|digits| digits.parse::<u32>().is_ok())
}

fn position(expression: &Expr) -> Option<usize> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => text.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// A sort term as a column of its own, and the term that names it.
fn sort_key(term: &str, index: usize) -> (String, String) {
    let mut expression = term;
    let mut suffixes = Vec::new();
    for suffix in [" NULLS FIRST", " NULLS LAST", " DESC", " COLLATE bq_decimal"] {
        if let Some(rest) = expression.strip_suffix(suffix) {
            expression = rest;
            suffixes.insert(0, suffix);
        }
    }
    (format!("{expression} AS \"_sort{index}\""), format!("\"_sort{index}\"{}", suffixes.concat()))
}

/// The columns of a set operation, for its ORDER BY.
fn output_scope(columns: &[(String, Type)]) -> Scope<'static> {
    let columns = columns.iter().map(|(name, ty)| Column {
        name: name.clone(),
        ty: ty.clone(),
        sql: quoted(name),
        read: None,
        hidden: false,
    });
    Scope {
        sources: vec![Source { alias: String::new(), columns: columns.collect(), value: None }],
        ..Scope::default()
    }
}

/// Brings the sides of a set operation to the same types; the names are the left side's.
fn same_columns(left: Relation, right: Relation) -> Result<(Relation, Relation)> {
    if left.columns.len() != right.columns.len() {
        return Err(WarehouseError::InvalidQuery(format!(
            "Queries in set operation have mismatched column count: {} and {}",
            left.columns.len(),
            right.columns.len()
        )));
    }
    let (mut left_sql, mut right_sql, mut columns) = (Vec::new(), Vec::new(), Vec::new());
    for ((name, left_type), (right_name, right_type)) in left.columns.iter().zip(&right.columns) {
        let both = vec![Typed::of(quoted(name), left_type.clone()), Typed::of(quoted(right_name), right_type.clone())];
        let both = unify("set operation", both)?;
        left_sql.push(format!("{} AS {}", both[0].sql, quoted(name)));
        right_sql.push(format!("{} AS {}", both[1].sql, quoted(name)));
        columns.push((name.clone(), both[0].ty.clone()));
    }
    let side = |relation: Relation, list: Vec<String>| Relation {
        sql: format!("SELECT {} FROM ({})", list.join(", "), relation.sql),
        columns: columns.clone(),
    };
    Ok((side(left, left_sql), side(right, right_sql)))
}
