//! FROM: tables as they are or were, joins, subqueries, arrays.

use rusqlite::types::Value;
use sqlparser::ast::{
    Expr, Join, JoinConstraint, JoinOperator, ObjectName, TableAlias, TableFactor, TableVersion, TableWithJoins,
};

use super::{
    Read, Translator,
    typed::{Column, Scope, Source, Typed, from_json, quoted},
    unsupported,
};
use crate::{
    catalog::segment_name,
    error::{Result, WarehouseError},
    store::TableRef,
    types::{Kind, Type},
};

impl Translator<'_> {
    /// The FROM clause; what it names is put into `scope`.
    pub(super) fn from(&mut self, from: &[TableWithJoins], scope: &mut Scope<'_>) -> Result<String> {
        let mut sql = String::new();
        for (index, item) in from.iter().enumerate() {
            if index > 0 {
                sql.push_str(" CROSS JOIN ");
            }
            sql.push_str(&self.factor(&item.relation, scope)?);
            for join in &item.joins {
                sql.push_str(&self.join(join, scope)?);
            }
        }
        Ok(sql)
    }

    fn join(&mut self, join: &Join, scope: &mut Scope<'_>) -> Result<String> {
        let (kind, constraint) = match &join.join_operator {
            JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => ("JOIN", constraint),
            JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => ("LEFT JOIN", constraint),
            JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => ("RIGHT JOIN", constraint),
            JoinOperator::FullOuter(constraint) => ("FULL JOIN", constraint),
            JoinOperator::CrossJoin(constraint) => ("CROSS JOIN", constraint),
            _ => return Err(unsupported("this kind of join")),
        };
        let right = self.factor(&join.relation, scope)?;
        let on = match constraint {
            JoinConstraint::None => String::new(),
            JoinConstraint::On(condition) => format!(" ON {}", self.of_kind(condition, &Kind::Bool, scope)?.sql),
            JoinConstraint::Using(columns) => format!(" ON {}", self.using(kind, columns, scope)?),
            _ => return Err(unsupported("NATURAL joins")),
        };
        if on.is_empty() && !matches!(kind, "CROSS JOIN") && !matches!(join.relation, TableFactor::UNNEST { .. }) {
            return Err(WarehouseError::InvalidQuery(format!(
                "{kind} must have an immediately following ON or USING clause"
            )));
        }
        // What an array is joined with stands in the array already.
        let on = if on.is_empty() && kind == "LEFT JOIN" { " ON TRUE".to_owned() } else { on };
        Ok(format!(" {kind} {right}{on}"))
    }

    /// Equality of columns of the last source and those before; one of each pair is hidden.
    fn using(&mut self, kind: &str, columns: &[ObjectName], scope: &mut Scope<'_>) -> Result<String> {
        let mut conditions = Vec::new();
        for name in columns {
            let name = name.to_string().replace('`', "");
            let missing = || WarehouseError::InvalidQuery(format!("Column {name} in USING clause not found"));
            let Some((last, before)) = scope.sources.split_last_mut() else { return Err(missing()) };
            let fits = |column: &&mut Column| !column.hidden && column.name.eq_ignore_ascii_case(&name);
            let right = last.columns.iter_mut().find(fits).ok_or_else(missing)?;
            let left = before.iter_mut().flat_map(|source| &mut source.columns).find(fits).ok_or_else(missing)?;
            conditions.push(format!("{} = {}", left.sql, right.sql));
            let (left_column, right_column) = (left.clone(), right.clone());
            match kind {
                "RIGHT JOIN" => left.hidden = true,
                "FULL JOIN" => {
                    left.sql = format!("COALESCE({}, {})", left_column.sql, right_column.sql);
                    right.hidden = true;
                }
                _ => right.hidden = true,
            }
            self.used(&left_column);
            self.used(&right_column);
        }
        Ok(conditions.join(" AND "))
    }

    fn factor(&mut self, factor: &TableFactor, scope: &mut Scope<'_>) -> Result<String> {
        match factor {
            TableFactor::Table { name, alias, version, args: None, sample: None, .. } => {
                self.table(name, alias.as_ref(), version.as_ref(), scope)
            }
            TableFactor::Derived { subquery, alias, sample: None, .. } => {
                let outer = scope.parent.cloned().unwrap_or_default();
                let relation = self.query(subquery, &outer)?;
                let alias = alias.as_ref().map_or_else(|| self.fresh_name(), |alias| alias.name.value.clone());
                self.add_relation(&alias, relation.columns, scope)?;
                Ok(format!("({}) AS {}", relation.sql, quoted(&alias)))
            }
            TableFactor::UNNEST { alias, array_exprs, with_offset, with_offset_alias, .. } => {
                let [array] = array_exprs.as_slice() else { return Err(unsupported("UNNEST of several arrays")) };
                let array = self.expression(array, scope)?;
                let offset =
                    with_offset.then(|| with_offset_alias.as_ref().map_or("offset", |name| name.value.as_str()));
                self.unnest(&array, alias.as_ref().map(|alias| alias.name.value.as_str()), offset, scope)
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                let inner = self.from(std::slice::from_ref(&**table_with_joins), scope)?;
                Ok(format!("({inner})"))
            }
            other => Err(unsupported(format_args!("`{other}` in FROM"))),
        }
    }

    fn table(
        &mut self,
        name: &ObjectName,
        alias: Option<&TableAlias>,
        version: Option<&TableVersion>,
        scope: &mut Scope<'_>,
    ) -> Result<String> {
        let written = name.to_string().replace('`', "");
        let parts: Vec<_> = written.split('.').collect();
        // An array of a table that stands before it.
        if let Some((first, path)) = parts.split_first()
            && !path.is_empty()
            && scope.sources.iter().any(|source| source.alias.eq_ignore_ascii_case(first))
        {
            let array = self.resolve(&parts, scope)?;
            let alias = alias.map_or(path.last().copied(), |alias| Some(alias.name.value.as_str()));
            return self.unnest(&array, alias, None, scope);
        }
        let shown = alias.map_or_else(|| parts.last().copied().unwrap_or_default(), |alias| alias.name.value.as_str());
        if let [single] = parts.as_slice() {
            let found = self.common.iter().rev().find_map(|(names, columns)| {
                let (known, own) = names.split_once('\0')?;
                known.eq_ignore_ascii_case(single).then(|| (own.to_owned(), columns.clone()))
            });
            if let Some((own, columns)) = found {
                self.add_relation(shown, columns, scope)?;
                return Ok(format!("{} AS {}", quoted(&own), quoted(shown)));
            }
        }
        let table = self.table_ref(&parts, &written)?;
        let as_of = match version {
            None => None,
            Some(TableVersion::ForSystemTimeAsOf(expression)) => Some(self.as_of(expression, scope)?),
            Some(_) => return Err(unsupported("this table version; write FOR SYSTEM_TIME AS OF")),
        };
        let version = self.catalog.table(&table, as_of)?;
        let read = self.reads.len();
        let mut list = Vec::new();
        let mut columns = Vec::new();
        for (index, field) in version.schema.0.iter().enumerate() {
            list.push(format!("c{index} AS {}", quoted(&field.name)));
            columns.push(Column {
                name: field.name.clone(),
                ty: field.ty(),
                sql: format!("{}.{}", quoted(shown), quoted(&field.name)),
                read: Some((read, index)),
                hidden: false,
            });
        }
        if list.is_empty() {
            list.push("NULL".to_owned());
        }
        let (segment, rows) = (segment_name(version.segment), version.rows);
        self.reads.push(Read { table, version, columns: std::collections::BTreeSet::new() });
        self.add_source(Source { alias: shown.to_owned(), columns, value: None }, scope)?;
        Ok(format!("(SELECT {} FROM {segment} WHERE seq <= {rows}) AS {}", list.join(", "), quoted(shown)))
    }

    fn table_ref(&self, parts: &[&str], written: &str) -> Result<TableRef> {
        let own = |project: &str, dataset: &str, table: &str| TableRef {
            project: project.to_owned(),
            dataset: dataset.to_owned(),
            table: table.to_owned(),
        };
        match (parts, &self.setting.default_dataset) {
            ([project, dataset, table], _) => Ok(own(project, dataset, table)),
            ([dataset, table], _) => Ok(own(self.setting.project, dataset, table)),
            ([table], Some((project, dataset))) => Ok(own(project, dataset, table)),
            ([table], None) => Err(WarehouseError::InvalidQuery(format!(
                "Table \"{table}\" must be qualified with a dataset (e.g. dataset.table)."
            ))),
            _ => Err(WarehouseError::InvalidQuery(format!("Invalid table name: `{written}`"))),
        }
    }

    /// A time that is known before the query runs, microseconds since 1970.
    fn as_of(&mut self, expression: &Expr, scope: &Scope<'_>) -> Result<i64> {
        let constant = Scope { parent: scope.parent, ..Scope::default() };
        let time = self.of_kind(expression, &Kind::Timestamp, &constant)?;
        match self.catalog.evaluate(&time.sql, &self.bound)? {
            Value::Integer(us) => Ok(us),
            _ => {
                Err(WarehouseError::InvalidQuery("FOR SYSTEM_TIME AS OF needs a TIMESTAMP that is not NULL".to_owned()))
            }
        }
    }

    /// A row for each element. A struct's fields are columns, any other element is what the alias means.
    fn unnest(
        &mut self,
        array: &Typed,
        alias: Option<&str>,
        offset: Option<&str>,
        scope: &mut Scope<'_>,
    ) -> Result<String> {
        if !array.ty.repeated {
            return Err(WarehouseError::InvalidQuery(format!(
                "Values referenced in UNNEST must be arrays. UNNEST contains expression of type {}",
                array.type_name()
            )));
        }
        let own = self.fresh_name();
        let element = from_json(format!("{}.value", quoted(&own)), Type::of(array.ty.kind.clone()));
        let column = |name: &str, typed: Typed| Column {
            name: name.to_owned(),
            ty: typed.ty,
            sql: typed.sql,
            read: None,
            hidden: false,
        };
        let mut columns = match &array.ty.kind {
            Kind::Struct(fields) => fields
                .iter()
                .map(|field| Ok(column(&field.name, super::typed::field_of(&element, &field.name)?)))
                .collect::<Result<Vec<_>>>()?,
            _ => alias.map(|alias| column(alias, element.clone())).into_iter().collect(),
        };
        if let Some(offset) = offset {
            columns.push(column(offset, Typed::new(format!("{}.key", quoted(&own)), Kind::Int64)));
        }
        let alias = alias.unwrap_or(&own).to_owned();
        self.add_source(Source { alias, columns, value: Some(element) }, scope)?;
        Ok(format!("json_each({}) AS {}", array.sql, quoted(&own)))
    }

    fn add_relation(&mut self, alias: &str, columns: Vec<(String, Type)>, scope: &mut Scope<'_>) -> Result<()> {
        let columns = columns.into_iter().map(|(name, ty)| Column {
            sql: format!("{}.{}", quoted(alias), quoted(&name)),
            name,
            ty,
            read: None,
            hidden: false,
        });
        self.add_source(Source { alias: alias.to_owned(), columns: columns.collect(), value: None }, scope)
    }

    #[allow(clippy::unused_self)]
    fn add_source(&mut self, source: Source, scope: &mut Scope<'_>) -> Result<()> {
        if scope.sources.iter().any(|known| known.alias.eq_ignore_ascii_case(&source.alias)) {
            return Err(WarehouseError::InvalidQuery(format!(
                "Duplicate table alias {} in the same FROM clause",
                source.alias
            )));
        }
        scope.sources.push(source);
        Ok(())
    }
}
