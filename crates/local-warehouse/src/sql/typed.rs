//! Expressions with their types, and the names that they can see.

use rusqlite::types::Value;

use super::Translator;
use crate::{
    cells::scalar_of_text,
    error::{Result, WarehouseError},
    types::{Kind, Type},
};

/// An expression in SQLite's SQL, of a type.
#[derive(Debug, Clone)]
pub(super) struct Typed {
    /// Binds tightly: a name, a literal, a call, or in parentheses.
    pub(super) sql: String,
    pub(super) ty: Type,
    /// The literal NULL, which is of any type.
    pub(super) null: bool,
    /// A text that is known now and is of any type that it can be read as.
    pub(super) literal: Option<String>,
}

impl Typed {
    pub(super) fn new(sql: impl Into<String>, kind: Kind) -> Self {
        Self::of(sql, Type::of(kind))
    }

    pub(super) fn of(sql: impl Into<String>, ty: Type) -> Self {
        Self { sql: sql.into(), ty, null: false, literal: None }
    }

    pub(super) fn null() -> Self {
        Self { null: true, ..Self::new("NULL", Kind::Int64) }
    }

    pub(super) fn string(text: &str) -> Self {
        Self { literal: Some(text.to_owned()), ..Self::new(text_literal(text), Kind::String) }
    }

    pub(super) fn type_name(&self) -> String {
        let name = self.ty.kind.name();
        if self.ty.repeated { format!("ARRAY<{name}>") } else { name.to_owned() }
    }

    /// The value as an SQL function of ours or JSON's puts it into an array or a struct.
    pub(super) fn in_json(&self) -> String {
        let sql = &self.sql;
        if self.ty.repeated || matches!(self.ty.kind, Kind::Struct(_)) {
            return format!("json({sql})");
        }
        match self.ty.kind {
            Kind::Bool => format!("json(CASE WHEN {sql} THEN 'true' WHEN NOT {sql} THEN 'false' END)"),
            Kind::Bytes => format!("bq_base64({sql})"),
            _ => sql.clone(),
        }
    }

    /// Implicit conversion, where BigQuery has one.
    pub(super) fn coerced(self, kind: &Kind) -> Option<Self> {
        if self.null {
            return Some(Self { ty: Type::of(kind.clone()), ..self });
        }
        if self.ty.repeated {
            return None;
        }
        if self.ty.kind == *kind {
            return Some(self);
        }
        if let Some(text) = &self.literal {
            let textual = matches!(kind, Kind::Date | Kind::DateTime | Kind::Time | Kind::Timestamp | Kind::Interval);
            if textual && self.ty.kind == Kind::String {
                return Some(Self::new(value_literal(&scalar_of_text(kind, text).ok()?), kind.clone()));
            }
        }
        let sql = &self.sql;
        let converted = match (&self.ty.kind, kind) {
            (Kind::Int64 | Kind::Numeric | Kind::BigNumeric, Kind::Float64) => format!("CAST({sql} AS REAL)"),
            (Kind::Int64, Kind::Numeric | Kind::BigNumeric) => format!("CAST({sql} AS TEXT)"),
            (Kind::Numeric, Kind::BigNumeric) | (Kind::DateTime, Kind::Timestamp) => sql.clone(),
            // A literal with a point is a FLOAT64 that becomes a decimal where one is wanted.
            (Kind::Float64, Kind::Numeric | Kind::BigNumeric) if self.literal.is_some() => {
                format!("bq_{}({sql})", kind.name().to_lowercase())
            }
            (Kind::Date, Kind::DateTime | Kind::Timestamp) => format!("({sql} * 86400000000)"),
            _ => return None,
        };
        Some(Self::new(converted, kind.clone()))
    }
}

/// `'…'`.
pub(super) fn text_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A stored value as a literal.
pub(super) fn value_literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(float) if float.is_infinite() => if *float > 0.0 { "9e999" } else { "-9e999" }.to_owned(),
        Value::Real(float) => format!("{float:?}"),
        Value::Text(text) => text_literal(text),
        Value::Blob(bytes) => format!("x'{}'", hex::encode(bytes)),
    }
}

/// `"…"`.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A column that can be named.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) ty: Type,
    pub(super) sql: String,
    /// Which read of a table, and which of its columns.
    pub(super) read: Option<(usize, usize)>,
    /// Another column of a join by USING stands for it.
    pub(super) hidden: bool,
}

/// An item of FROM.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) alias: String,
    pub(super) columns: Vec<Column>,
    /// What the alias alone is: an element of an array.
    pub(super) value: Option<Typed>,
}

/// What names mean at a place.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope<'a> {
    pub(super) sources: Vec<Source>,
    /// The SELECT list's names.
    pub(super) aliases: Vec<(String, Typed)>,
    /// Whether these come before columns: in ORDER BY.
    pub(super) aliases_first: bool,
    pub(super) parent: Option<&'a Scope<'a>>,
}

impl Translator<'_> {
    /// What a name, or a path of names, means.
    pub(super) fn resolve(&mut self, path: &[&str], scope: &Scope<'_>) -> Result<Typed> {
        let mut place = Some(scope);
        while let Some(scope) = place {
            if let Some((found, rest)) = self.find(path, scope)? {
                return rest.iter().try_fold(found, |value, name| field_of(&value, name));
            }
            place = scope.parent;
        }
        Err(WarehouseError::InvalidQuery(format!("Unrecognized name: {}", path.join("."))))
    }

    fn find<'p>(&mut self, path: &'p [&'p str], scope: &Scope<'_>) -> Result<Option<(Typed, &'p [&'p str])>> {
        let Some((first, rest)) = path.split_first() else { return Ok(None) };
        let alias = scope.aliases.iter().find(|(name, _)| name.eq_ignore_ascii_case(first));
        if let (Some((_, typed)), true) = (alias, scope.aliases_first) {
            return Ok(Some((typed.clone(), rest)));
        }
        let of_alias = scope.sources.iter().find(|source| source.alias.eq_ignore_ascii_case(first));
        if let Some(source) = of_alias {
            let column = rest
                .first()
                .and_then(|name| source.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name)));
            if let Some(column) = column {
                return Ok(Some((self.used(column), &rest[1..])));
            }
            if let Some(value) = &source.value {
                return Ok(Some((value.clone(), rest)));
            }
            if let Some(name) = rest.first() {
                return Err(WarehouseError::InvalidQuery(format!("Name {name} not found inside {first}")));
            }
        }
        let mut columns = scope.sources.iter().flat_map(|source| &source.columns);
        let mut fitting = columns.by_ref().filter(|column| !column.hidden && column.name.eq_ignore_ascii_case(first));
        if let Some(column) = fitting.next() {
            if fitting.next().is_some() {
                return Err(WarehouseError::InvalidQuery(format!("Column name {first} is ambiguous")));
            }
            let column = column.clone();
            return Ok(Some((self.used(&column), rest)));
        }
        if of_alias.is_some() {
            return Err(super::unsupported(format_args!("a whole row as a value ({first})")));
        }
        Ok(alias.map(|(_, typed)| (typed.clone(), rest)))
    }

    pub(super) fn used(&mut self, column: &Column) -> Typed {
        if let Some((read, index)) = column.read
            && let Some(read) = self.reads.get_mut(read)
        {
            read.columns.insert(index);
        }
        Typed::of(&column.sql, column.ty.clone())
    }
}

/// A field of a STRUCT.
pub(super) fn field_of(value: &Typed, name: &str) -> Result<Typed> {
    let fields = match &value.ty.kind {
        Kind::Struct(fields) if !value.ty.repeated => fields,
        _ => {
            return Err(WarehouseError::InvalidQuery(format!(
                "Cannot access field {name} on a value with type {}",
                value.type_name()
            )));
        }
    };
    let field = fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
    let field =
        field.ok_or_else(|| WarehouseError::InvalidQuery(format!("Field name {name} does not exist in STRUCT")))?;
    let path = text_literal(&format!("$.\"{}\"", field.name));
    Ok(from_json(format!("json_extract({}, {path})", value.sql), field.ty()))
}

/// What JSON's functions give of an array or a struct, in its stored form.
pub(super) fn from_json(sql: String, ty: Type) -> Typed {
    let sql = if ty.kind == Kind::Bytes && !ty.repeated { format!("bq_from_base64({sql})") } else { sql };
    Typed::of(sql, ty)
}

/// Brings expressions to one type.
pub(super) fn unify(what: &str, all: Vec<Typed>) -> Result<Vec<Typed>> {
    let mismatch = |all: &[Typed]| {
        let types: Vec<_> = all.iter().map(Typed::type_name).collect();
        WarehouseError::InvalidQuery(format!(
            "No matching signature for {what} for argument types: {}",
            types.join(", ")
        ))
    };
    let Some(first) = all.iter().find(|typed| !typed.null) else { return Ok(all) };
    if first.ty.repeated || matches!(first.ty.kind, Kind::Struct(_)) {
        let ty = first.ty.clone();
        if all.iter().any(|typed| !typed.null && typed.ty != ty) {
            return Err(mismatch(&all));
        }
        return Ok(all.into_iter().map(|typed| Typed { ty: ty.clone(), ..typed }).collect());
    }
    let kinds: Vec<_> = all.iter().filter(|typed| !typed.null).map(|typed| typed.ty.kind.clone()).collect();
    let fitting =
        kinds.iter().find_map(|kind| all.iter().map(|typed| typed.clone().coerced(kind)).collect::<Option<Vec<_>>>());
    fitting.ok_or_else(|| mismatch(&all))
}
