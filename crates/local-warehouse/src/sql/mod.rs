//! BigQuery SQL to SQLite's: parsed by sqlparser, typed, and written anew.
//!
//! Every expression gets a type, so that results have BigQuery's schema and not what SQLite happens to hold. What is not
//! known here is refused with `invalidQuery`; nothing is passed through unread.

mod aggregate;
mod call;
mod expression;
mod from;
mod lexer;
mod operators;
mod query;
#[cfg(test)]
mod tests;
mod times;
mod typed;

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::Value;
use serde_json::Value as Json;
use sqlparser::{
    ast::{SetExpr, Statement},
    dialect::BigQueryDialect,
    parser::Parser,
    tokenizer::Token,
};

use self::typed::{Column, Scope, Source};
use crate::{
    cells,
    error::{Result, WarehouseError},
    store::{TableRef, Version},
    types::{Field, Kind, Schema, Type},
};

/// What the translator asks of the warehouse.
pub(crate) trait Catalog {
    /// A table as it is, or was at a time (microseconds since 1970).
    fn table(&self, table: &TableRef, as_of_us: Option<i64>) -> Result<Version>;

    /// The value of an expression in SQLite's SQL.
    fn evaluate(&self, sql: &str, parameters: &[Value]) -> Result<Value>;
}

/// A query's parameters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parameters {
    /// By name, lower case.
    pub(crate) named: BTreeMap<String, (Type, Value)>,
    pub(crate) positional: Vec<(Type, Value)>,
}

impl Parameters {
    /// Reads `queryParameters`.
    pub(crate) fn from_json(parameters: Option<&Json>) -> Result<Self> {
        let mut all = Self::default();
        for parameter in parameters.and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default() {
            let ty = parameter_type(parameter.get("parameterType").unwrap_or(&Json::Null))?;
            let value = plain_value(&ty, parameter.get("parameterValue").unwrap_or(&Json::Null))?;
            let field = Field::of_type(parameter.get("name").and_then(Json::as_str).unwrap_or("parameter"), ty.clone());
            let stored = if value.is_null() { Value::Null } else { cells::store(&field, &value)? };
            match parameter.get("name").and_then(Json::as_str).filter(|name| !name.is_empty()) {
                Some(name) => _ = all.named.insert(name.to_lowercase(), (ty, stored)),
                None => all.positional.push((ty, stored)),
            }
        }
        Ok(all)
    }
}

/// Reads a `QueryParameterType`.
fn parameter_type(json: &Json) -> Result<Type> {
    let name = json.get("type").and_then(Json::as_str).unwrap_or_default();
    match name.to_ascii_uppercase().as_str() {
        "ARRAY" => {
            let element = parameter_type(json.get("arrayType").unwrap_or(&Json::Null))?;
            Ok(Type { kind: element.kind, repeated: true })
        }
        "STRUCT" => {
            let fields = json.get("structTypes").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
            let field = |field: &Json| {
                let ty = parameter_type(field.get("type").unwrap_or(&Json::Null))?;
                Ok(Field::of_type(field.get("name").and_then(Json::as_str).unwrap_or_default(), ty))
            };
            Ok(Type::of(Kind::Struct(fields.iter().map(field).collect::<Result<_>>()?)))
        }
        "RANGE" => {
            let element = parameter_type(json.get("rangeElementType").unwrap_or(&Json::Null))?;
            Ok(Type::of(Kind::Range(Box::new(element.kind))))
        }
        _ => Kind::parse(name)
            .map(Type::of)
            .ok_or_else(|| WarehouseError::Invalid(format!("Invalid query parameter type: \"{name}\""))),
    }
}

/// A `QueryParameterValue` as the JSON that [`cells::store`] reads.
fn plain_value(ty: &Type, json: &Json) -> Result<Json> {
    if ty.repeated {
        let element = Type::of(ty.kind.clone());
        let values = json.get("arrayValues").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        return values.iter().map(|value| plain_value(&element, value)).collect::<Result<Vec<_>>>().map(Json::Array);
    }
    match &ty.kind {
        Kind::Struct(fields) => {
            let values = json.get("structValues").unwrap_or(&Json::Null);
            let field = |field: &Field| {
                Ok((field.name.clone(), plain_value(&field.ty(), values.get(&field.name).unwrap_or(&Json::Null))?))
            };
            Ok(Json::Object(fields.iter().map(field).collect::<Result<_>>()?))
        }
        Kind::Range(_) => {
            let end = |name| json.pointer(&format!("/rangeValue/{name}/value")).cloned().unwrap_or(Json::Null);
            Ok(serde_json::json!({ "start": end("start"), "end": end("end") }))
        }
        _ => Ok(json.get("value").cloned().unwrap_or(Json::Null)),
    }
}

/// A table that a query reads, and the columns of it.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    pub(crate) table: TableRef,
    pub(crate) version: Version,
    pub(crate) columns: BTreeSet<usize>,
}

/// A query in SQLite's SQL.
#[derive(Debug, Clone)]
pub(crate) struct Translation {
    pub(crate) sql: String,
    /// Bound as `?1`, `?2`, ….
    pub(crate) parameters: Vec<Value>,
    pub(crate) schema: Schema,
    pub(crate) reads: Vec<Read>,
}

impl Translation {
    /// The bytes of the columns that are read: what BigQuery bills.
    pub(crate) fn bytes(&self) -> i64 {
        let of_read =
            |read: &Read| read.columns.iter().filter_map(|column| read.version.column_bytes.get(*column)).sum::<i64>();
        self.reads.iter().map(of_read).sum()
    }
}

/// What a query is about.
pub(crate) struct Setting<'a> {
    pub(crate) project: &'a str,
    /// Project and dataset of unqualified tables.
    pub(crate) default_dataset: Option<(String, String)>,
    pub(crate) parameters: &'a Parameters,
    /// CURRENT_TIMESTAMP, microseconds since 1970.
    pub(crate) now_us: i64,
}

struct Translator<'a> {
    catalog: &'a dyn Catalog,
    setting: &'a Setting<'a>,
    bound: Vec<Value>,
    reads: Vec<Read>,
    /// Common table expressions that can be seen, the innermost last.
    common: Vec<(String, Vec<(String, Type)>)>,
    named_windows: Vec<(String, sqlparser::ast::WindowSpec)>,
    names: usize,
}

impl<'a> Translator<'a> {
    fn new(catalog: &'a dyn Catalog, setting: &'a Setting<'a>) -> Self {
        Self {
            catalog,
            setting,
            bound: Vec::new(),
            reads: Vec::new(),
            common: Vec::new(),
            named_windows: Vec::new(),
            names: 0,
        }
    }

    fn bind(&mut self, value: Value) -> String {
        self.bound.push(value);
        format!("?{}", self.bound.len())
    }

    fn fresh_name(&mut self) -> String {
        self.names += 1;
        format!("_{}", self.names)
    }
}

/// Translates one SELECT.
pub(crate) fn translate(sql: &str, catalog: &dyn Catalog, setting: &Setting<'_>) -> Result<Translation> {
    let (tokens, positional) = lexer::tokens(sql)?;
    let statements = Parser::new(&BigQueryDialect)
        .with_recursion_limit(100)
        .with_tokens_with_locations(tokens)
        .parse_statements()
        .map_err(|error| syntax(&error))?;
    let query = match statements.as_slice() {
        [Statement::Query(query)] => query,
        [] => return Err(WarehouseError::InvalidQuery("Syntax error: Unexpected end of statement".to_owned())),
        [_] => {
            return Err(unsupported(
                "statements other than SELECT; write with a destination table, a load job or insertAll",
            ));
        }
        _ => return Err(unsupported("scripts of more than one statement")),
    };
    if !matches!(*query.body, SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::SetOperation { .. }) {
        return Err(unsupported(
            "statements other than SELECT; write with a destination table, a load job or insertAll",
        ));
    }
    let mut translator = Translator::new(catalog, setting);
    let relation = translator.query(query, &Scope::default())?;
    let wanted = setting.parameters.positional.len();
    if positional < wanted {
        let what = format!("Query has {positional} positional parameters, {wanted} were given");
        return Err(WarehouseError::InvalidQuery(what));
    }
    let mut columns = Vec::new();
    let mut schema = Vec::new();
    for (name, ty) in relation.columns {
        if schema.iter().any(|field: &Field| field.name.eq_ignore_ascii_case(&name)) {
            return Err(WarehouseError::InvalidQuery(format!(
                "Duplicate column names in the result are not supported when a destination table is present. Found \
                 duplicate(s): {name}"
            )));
        }
        let column = typed::quoted(&name);
        // An array that is NULL is the empty one, wherever it is stored.
        columns.push(if ty.repeated { format!("COALESCE({column}, '[]')") } else { column });
        schema.push(Field::of_type(name, ty));
    }
    let arrays = schema.iter().any(Field::repeated);
    let sql = if arrays { format!("SELECT {} FROM ({})", columns.join(", "), relation.sql) } else { relation.sql };
    Ok(Translation { sql, parameters: translator.bound, schema: Schema(schema), reads: translator.reads })
}

/// Translates a row restriction over the columns `c0`, `c1`, … of a segment.
pub(crate) fn translate_restriction(text: &str, schema: &Schema, catalog: &dyn Catalog) -> Result<String> {
    let parameters = Parameters::default();
    let setting =
        Setting { project: "", default_dataset: None, parameters: &parameters, now_us: crate::store::now_us() };
    let mut parser =
        Parser::new(&BigQueryDialect).with_recursion_limit(100).try_with_sql(text).map_err(|error| syntax(&error))?;
    let expression = parser.parse_expr().map_err(|error| syntax(&error))?;
    if parser.peek_token().token != Token::EOF {
        return Err(WarehouseError::InvalidQuery(format!("Syntax error: Unexpected {}", parser.peek_token())));
    }
    let columns = schema.0.iter().enumerate().map(|(index, field)| Column {
        name: field.name.clone(),
        ty: field.ty(),
        sql: format!("c{index}"),
        read: None,
        hidden: false,
    });
    let scope = Scope {
        sources: vec![Source { alias: String::new(), columns: columns.collect(), value: None }],
        ..Scope::default()
    };
    let mut translator = Translator::new(catalog, &setting);
    let typed = translator.expression(&expression, &scope)?;
    if typed.ty != Type::of(Kind::Bool) {
        return Err(WarehouseError::InvalidQuery("a row restriction must be a condition".to_owned()));
    }
    if !translator.bound.is_empty() {
        return Err(WarehouseError::InvalidQuery("a row restriction has no parameters".to_owned()));
    }
    Ok(typed.sql)
}

fn syntax(error: &sqlparser::parser::ParserError) -> WarehouseError {
    let text = error.to_string();
    let text = text.strip_prefix("sql parser error: ").unwrap_or(&text);
    WarehouseError::InvalidQuery(format!("Syntax error: {text}"))
}

fn unsupported(what: impl std::fmt::Display) -> WarehouseError {
    WarehouseError::InvalidQuery(format!("The local warehouse does not support {what}"))
}
