//! BigQuery's types, and schemas as the REST API writes them.

use std::sync::Arc;

use arrow_schema::{DataType, IntervalUnit, TimeUnit};
use serde_json::{Value as Json, json};

use crate::error::{Result, WarehouseError};

/// A type without its mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// 64 bits, signed.
    Int64,
    /// A double.
    Float64,
    /// True or false.
    Bool,
    /// Text.
    String,
    /// Bytes.
    Bytes,
    /// 38 digits, 9 of them after the point.
    Numeric,
    /// 76 digits, 38 of them after the point.
    BigNumeric,
    /// A calendar day.
    Date,
    /// A calendar day and a time of day, without a zone; microseconds.
    DateTime,
    /// A time of day; microseconds.
    Time,
    /// A point in time; microseconds, UTC.
    Timestamp,
    /// A JSON document.
    Json,
    /// Well-known text.
    Geography,
    /// Months, days and microseconds.
    Interval,
    /// From and until of a [`Kind::Date`], [`Kind::DateTime`] or [`Kind::Timestamp`].
    Range(Box<Kind>),
    /// Fields in their order.
    Struct(Vec<Field>),
}

/// A type with its mode: an element, or an array of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Type {
    pub(crate) kind: Kind,
    pub(crate) repeated: bool,
}

impl Type {
    pub(crate) fn of(kind: Kind) -> Self {
        Self { kind, repeated: false }
    }
}

/// Whether a column may be absent, or is an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// May be NULL.
    Nullable,
    /// Never NULL.
    Required,
    /// An array; NULL is the empty one.
    Repeated,
}

/// A column, or a field of a STRUCT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// As it was declared; compared without case.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// Its mode.
    pub mode: Mode,
    /// What it means.
    pub description: Option<String>,
}

impl Kind {
    /// A type by any of its names: that of the REST API or that of SQL. STRUCT has no fields then.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "INT64" | "INTEGER" | "INT" | "SMALLINT" | "BIGINT" | "TINYINT" | "BYTEINT" => Self::Int64,
            "FLOAT64" | "FLOAT" => Self::Float64,
            "BOOL" | "BOOLEAN" => Self::Bool,
            "STRING" => Self::String,
            "BYTES" => Self::Bytes,
            "NUMERIC" | "DECIMAL" => Self::Numeric,
            "BIGNUMERIC" | "BIGDECIMAL" => Self::BigNumeric,
            "DATE" => Self::Date,
            "DATETIME" => Self::DateTime,
            "TIME" => Self::Time,
            "TIMESTAMP" => Self::Timestamp,
            "JSON" => Self::Json,
            "GEOGRAPHY" => Self::Geography,
            "INTERVAL" => Self::Interval,
            "RECORD" | "STRUCT" => Self::Struct(Vec::new()),
            _ => return None,
        })
    }

    /// The name in a schema.
    pub fn legacy_name(&self) -> &'static str {
        match self {
            Self::Int64 => "INTEGER",
            Self::Float64 => "FLOAT",
            Self::Bool => "BOOLEAN",
            Self::Struct(_) => "RECORD",
            _ => self.name(),
        }
    }

    /// The name in SQL.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Int64 => "INT64",
            Self::Float64 => "FLOAT64",
            Self::Bool => "BOOL",
            Self::String => "STRING",
            Self::Bytes => "BYTES",
            Self::Numeric => "NUMERIC",
            Self::BigNumeric => "BIGNUMERIC",
            Self::Date => "DATE",
            Self::DateTime => "DATETIME",
            Self::Time => "TIME",
            Self::Timestamp => "TIMESTAMP",
            Self::Json => "JSON",
            Self::Geography => "GEOGRAPHY",
            Self::Interval => "INTERVAL",
            Self::Range(_) => "RANGE",
            Self::Struct(_) => "STRUCT",
        }
    }

    pub(crate) fn is_decimal(&self) -> bool {
        matches!(self, Self::Numeric | Self::BigNumeric)
    }

    /// The type of a column in SQLite: what decides its affinity, and how decimals are compared.
    pub(crate) fn sqlite_column(&self, repeated: bool) -> &'static str {
        match self {
            _ if repeated => "TEXT",
            Self::Int64 | Self::Bool | Self::Date | Self::DateTime | Self::Time | Self::Timestamp => "INTEGER",
            Self::Float64 => "REAL",
            Self::Bytes => "BLOB",
            Self::Numeric | Self::BigNumeric => "TEXT COLLATE bq_decimal",
            _ => "TEXT",
        }
    }

    /// The Arrow form of the Read API.
    /// <https://cloud.google.com/bigquery/docs/reference/storage#arrow_schema_details>
    pub(crate) fn arrow(&self) -> DataType {
        match self {
            Self::Int64 => DataType::Int64,
            Self::Float64 => DataType::Float64,
            Self::Bool => DataType::Boolean,
            Self::Bytes => DataType::Binary,
            Self::Numeric => DataType::Decimal128(38, 9),
            Self::BigNumeric => DataType::Decimal256(76, 38),
            Self::Date => DataType::Date32,
            Self::DateTime => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::String | Self::Json | Self::Geography => DataType::Utf8,
            Self::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Self::Range(element) => {
                let end = |name: &str| Arc::new(arrow_schema::Field::new(name, element.arrow(), true));
                DataType::Struct(vec![end("start"), end("end")].into())
            }
            Self::Struct(fields) => DataType::Struct(fields.iter().map(|field| Arc::new(field.arrow())).collect()),
        }
    }
}

impl Field {
    /// A nullable column.
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self { name: name.into(), kind, mode: Mode::Nullable, description: None }
    }

    pub(crate) fn of_type(name: impl Into<String>, ty: Type) -> Self {
        let mode = if ty.repeated { Mode::Repeated } else { Mode::Nullable };
        Self { name: name.into(), kind: ty.kind, mode, description: None }
    }

    pub(crate) fn repeated(&self) -> bool {
        self.mode == Mode::Repeated
    }

    pub(crate) fn ty(&self) -> Type {
        Type { kind: self.kind.clone(), repeated: self.repeated() }
    }

    pub(crate) fn arrow(&self) -> arrow_schema::Field {
        if self.repeated() {
            let item = Arc::new(arrow_schema::Field::new("item", self.kind.arrow(), true));
            return arrow_schema::Field::new(&self.name, DataType::List(item), false);
        }
        arrow_schema::Field::new(&self.name, self.kind.arrow(), self.mode == Mode::Nullable)
    }

    /// `TableFieldSchema`.
    pub(crate) fn to_json(&self) -> Json {
        let mode = match self.mode {
            Mode::Nullable => "NULLABLE",
            Mode::Required => "REQUIRED",
            Mode::Repeated => "REPEATED",
        };
        let mut field = json!({ "name": self.name, "type": self.kind.legacy_name(), "mode": mode });
        if let Some(description) = &self.description {
            field["description"] = description.as_str().into();
        }
        match &self.kind {
            Kind::Struct(fields) => field["fields"] = fields.iter().map(Self::to_json).collect(),
            Kind::Range(element) => field["rangeElementType"] = json!({ "type": element.name() }),
            _ => {}
        }
        field
    }

    fn from_json(field: &Json) -> Result<Self> {
        let text = |key: &str| field.get(key).and_then(Json::as_str);
        let name = text("name").unwrap_or_default().to_owned();
        check_name(&name)?;
        let type_name = text("type").unwrap_or_default();
        let kind = if type_name.eq_ignore_ascii_case("RANGE") {
            let element = field.pointer("/rangeElementType/type").and_then(Json::as_str).and_then(Kind::parse);
            match element {
                Some(element @ (Kind::Date | Kind::DateTime | Kind::Timestamp)) => Kind::Range(Box::new(element)),
                _ => {
                    return Err(WarehouseError::Invalid(format!("Field {name} is a RANGE without a rangeElementType")));
                }
            }
        } else {
            match Kind::parse(type_name) {
                Some(Kind::Struct(_)) => Kind::Struct(fields_from_json(field.get("fields"))?),
                Some(kind) => kind,
                None => {
                    return Err(WarehouseError::Invalid(format!(
                        "Invalid value for type: {type_name} of field {name}"
                    )));
                }
            }
        };
        if matches!(&kind, Kind::Struct(fields) if fields.is_empty()) {
            return Err(WarehouseError::Invalid(format!("Field {name} is type RECORD but has no schema")));
        }
        let mode = match text("mode").unwrap_or("NULLABLE").to_ascii_uppercase().as_str() {
            "NULLABLE" | "" => Mode::Nullable,
            "REQUIRED" => Mode::Required,
            "REPEATED" => Mode::Repeated,
            other => return Err(WarehouseError::Invalid(format!("Invalid mode {other} of field {name}"))),
        };
        Ok(Self { name, kind, mode, description: text("description").map(str::to_owned) })
    }
}

fn check_name(name: &str) -> Result<()> {
    let first = name.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_');
    let rest = name.chars().all(|char| char.is_alphanumeric() || "_-%=+:'<>#| ".contains(char));
    if first && rest && name.len() <= 300 {
        return Ok(());
    }
    Err(WarehouseError::Invalid(format!(
        "Invalid field name \"{name}\". Fields must start with a letter or an underscore and hold at most 300 letters, \
         digits and underscores."
    )))
}

/// A table's columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schema(pub Vec<Field>);

impl Schema {
    /// `TableSchema`.
    pub(crate) fn to_json(&self) -> Json {
        json!({ "fields": self.0.iter().map(Field::to_json).collect::<Vec<_>>() })
    }

    /// Reads a `TableSchema`; absent is no column.
    pub(crate) fn from_json(schema: Option<&Json>) -> Result<Self> {
        Ok(Self(fields_from_json(schema.and_then(|schema| schema.get("fields")))?))
    }

    pub(crate) fn index_of(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// Reads `name:TYPE,name:TYPE`, as the `bq` command has it.
    ///
    /// # Errors
    /// [`WarehouseError::Invalid`].
    pub fn parse(text: &str) -> Result<Self> {
        let mut fields = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, type_name) = part.split_once(':').unwrap_or((part, "STRING"));
            check_name(name)?;
            let kind = Kind::parse(type_name.trim()).filter(|kind| !matches!(kind, Kind::Struct(_)));
            let kind = kind.ok_or_else(|| WarehouseError::Invalid(format!("`{part}`: no such type; say name:TYPE")))?;
            fields.push(Field::new(name, kind));
        }
        unique(fields).map(Self)
    }
}

fn fields_from_json(fields: Option<&Json>) -> Result<Vec<Field>> {
    let fields = fields.and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    unique(fields.iter().map(Field::from_json).collect::<Result<_>>()?)
}

fn unique(fields: Vec<Field>) -> Result<Vec<Field>> {
    let mut names: Vec<_> = fields.iter().map(|field| field.name.to_lowercase()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(WarehouseError::Invalid(format!("Duplicate field name: {}", pair[0]))),
        None => Ok(fields),
    }
}
