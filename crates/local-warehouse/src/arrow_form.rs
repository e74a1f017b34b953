//! Rows as Arrow record batches and IPC messages.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, ListArray, RecordBatch, RecordBatchOptions, StructArray,
    builder::{
        BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Decimal256Builder, Float64Builder,
        Int64Builder, IntervalMonthDayNanoBuilder, StringBuilder, Time64MicrosecondBuilder,
        TimestampMicrosecondBuilder,
    },
    types::IntervalMonthDayNanoType,
};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer, ScalarBuffer, i256};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Fields, SchemaRef};
use rusqlite::types::{Value, ValueRef};
use serde_json::Value as Json;

use crate::{
    cells::{decimal_of_float, member, parse_float, parse_range, scalar_of_nested},
    error::{Result, WarehouseError},
    text::{Interval, unscaled},
    types::{Field, Kind},
};

/// The Arrow schema of columns.
pub(crate) fn arrow_schema(fields: &[Field]) -> SchemaRef {
    Arc::new(arrow_schema::Schema::new(fields.iter().map(Field::arrow).collect::<Vec<_>>()))
}

/// Collects a column.
enum Column {
    Int64(Int64Builder),
    Float64(Float64Builder),
    Bool(BooleanBuilder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Numeric(Decimal128Builder),
    BigNumeric(Decimal256Builder),
    Date(Date32Builder),
    DateTime(TimestampMicrosecondBuilder),
    Time(Time64MicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    Range { element: Kind, from: Box<Column>, until: Box<Column>, valid: NullBufferBuilder },
    Struct { fields: Vec<Field>, columns: Vec<Column>, valid: NullBufferBuilder, rows: usize },
    List { kind: Kind, items: Box<Column>, offsets: Vec<i32>, rows: i32 },
}

impl Column {
    fn new(kind: &Kind, repeated: bool) -> Self {
        if repeated {
            return Self::List {
                kind: kind.clone(),
                items: Box::new(Self::new(kind, false)),
                offsets: vec![0],
                rows: 0,
            };
        }
        match kind {
            Kind::Int64 => Self::Int64(Int64Builder::new()),
            Kind::Float64 => Self::Float64(Float64Builder::new()),
            Kind::Bool => Self::Bool(BooleanBuilder::new()),
            Kind::String | Kind::Json | Kind::Geography => Self::Text(StringBuilder::new()),
            Kind::Bytes => Self::Bytes(BinaryBuilder::new()),
            Kind::Numeric => Self::Numeric(Decimal128Builder::new().with_data_type(kind.arrow())),
            Kind::BigNumeric => Self::BigNumeric(Decimal256Builder::new().with_data_type(kind.arrow())),
            Kind::Date => Self::Date(Date32Builder::new()),
            Kind::DateTime | Kind::Timestamp => {
                Self::DateTime(TimestampMicrosecondBuilder::new().with_data_type(kind.arrow()))
            }
            Kind::Time => Self::Time(Time64MicrosecondBuilder::new()),
            Kind::Interval => Self::Interval(IntervalMonthDayNanoBuilder::new()),
            Kind::Range(element) => Self::Range {
                element: (**element).clone(),
                from: Box::new(Self::new(element, false)),
                until: Box::new(Self::new(element, false)),
                valid: NullBufferBuilder::new(0),
            },
            Kind::Struct(fields) => Self::Struct {
                columns: fields.iter().map(|field| Self::new(&field.kind, field.repeated())).collect(),
                fields: fields.clone(),
                valid: NullBufferBuilder::new(0),
                rows: 0,
            },
        }
    }

    fn append(&mut self, value: ValueRef<'_>) -> Result<()> {
        match self {
            Self::Int64(builder) => builder.append_option(integer(value)?),
            Self::Float64(builder) => builder.append_option(float(value)?),
            Self::Bool(builder) => builder.append_option(integer(value)?.map(|truth| truth != 0)),
            Self::Date(builder) => builder.append_option(integer(value)?.map(|days| days as i32)),
            Self::DateTime(builder) => builder.append_option(integer(value)?),
            Self::Time(builder) => builder.append_option(integer(value)?),
            Self::Text(builder) => builder.append_option(text(value)?),
            Self::Bytes(builder) => match value {
                ValueRef::Null => builder.append_null(),
                ValueRef::Blob(bytes) | ValueRef::Text(bytes) => builder.append_value(bytes),
                other => return Err(unfit("BYTES", other)),
            },
            Self::Numeric(builder) => {
                let text = decimal(&Kind::Numeric, value)?;
                let number = text.map(|text| unscaled(&text, 9).parse::<i128>().map_err(WarehouseError::internal));
                builder.append_option(number.transpose()?);
            }
            Self::BigNumeric(builder) => {
                let text = decimal(&Kind::BigNumeric, value)?;
                let number = text.map(|text| unscaled(&text, 38).parse::<i256>().map_err(WarehouseError::internal));
                builder.append_option(number.transpose()?);
            }
            Self::Interval(builder) => {
                let interval = text(value)?.and_then(Interval::parse);
                builder.append_option(interval.map(|interval| {
                    IntervalMonthDayNanoType::make_value(
                        interval.months as i32,
                        interval.days as i32,
                        interval.us.saturating_mul(1000),
                    )
                }));
            }
            Self::Range { element, from, until, valid } => {
                let ends = text(value)?.and_then(|text| parse_range(element, text));
                valid.append(ends.is_some());
                let (start, end) = ends.unwrap_or((None, None));
                from.append(start.map_or(ValueRef::Null, ValueRef::Integer))?;
                until.append(end.map_or(ValueRef::Null, ValueRef::Integer))?;
            }
            Self::Struct { .. } | Self::List { .. } => {
                let nested = match text(value)? {
                    Some(text) => serde_json::from_str(text).map_err(WarehouseError::internal)?,
                    None => Json::Null,
                };
                self.append_nested(&nested)?;
            }
        }
        Ok(())
    }

    fn append_nested(&mut self, nested: &Json) -> Result<()> {
        match self {
            Self::Struct { fields, columns, valid, rows } => {
                valid.append(!nested.is_null());
                *rows += 1;
                for (field, column) in fields.iter().zip(columns) {
                    column.append_element(&field.kind, field.repeated(), member(nested, &field.name))?;
                }
            }
            Self::List { kind, items, offsets, rows } => {
                for element in nested.as_array().map(Vec::as_slice).unwrap_or_default() {
                    items.append_element(kind, false, element)?;
                    *rows += 1;
                }
                offsets.push(*rows);
            }
            _ => return Err(WarehouseError::Internal("a scalar column cannot hold a nested value".to_owned())),
        }
        Ok(())
    }

    fn append_element(&mut self, kind: &Kind, repeated: bool, nested: &Json) -> Result<()> {
        if repeated || matches!(kind, Kind::Struct(_)) {
            return self.append_nested(nested);
        }
        let value: Value = scalar_of_nested(kind, nested);
        self.append(ValueRef::from(&value))
    }

    fn finish(self) -> Result<ArrayRef> {
        Ok(match self {
            Self::Int64(mut builder) => Arc::new(builder.finish()),
            Self::Float64(mut builder) => Arc::new(builder.finish()),
            Self::Bool(mut builder) => Arc::new(builder.finish()),
            Self::Text(mut builder) => Arc::new(builder.finish()),
            Self::Bytes(mut builder) => Arc::new(builder.finish()),
            Self::Numeric(mut builder) => Arc::new(builder.finish()),
            Self::BigNumeric(mut builder) => Arc::new(builder.finish()),
            Self::Date(mut builder) => Arc::new(builder.finish()),
            Self::DateTime(mut builder) => Arc::new(builder.finish()),
            Self::Time(mut builder) => Arc::new(builder.finish()),
            Self::Interval(mut builder) => Arc::new(builder.finish()),
            Self::Range { element, from, until, mut valid } => {
                let DataType::Struct(fields) = Kind::Range(Box::new(element)).arrow() else {
                    return Err(WarehouseError::Internal("a RANGE is a struct".to_owned()));
                };
                Arc::new(StructArray::try_new(fields, vec![from.finish()?, until.finish()?], valid.finish())?)
            }
            Self::Struct { fields, columns, mut valid, rows } => {
                let arrow: Fields = fields.iter().map(|field| Arc::new(field.arrow())).collect();
                let columns = columns.into_iter().map(Self::finish).collect::<Result<Vec<_>>>()?;
                let nulls = valid.finish();
                if columns.is_empty() {
                    return Ok(Arc::new(StructArray::new_empty_fields(rows, nulls)));
                }
                Arc::new(StructArray::try_new(arrow, columns, nulls)?)
            }
            Self::List { kind, items, offsets, .. } => {
                let item = Arc::new(arrow_schema::Field::new("item", kind.arrow(), true));
                let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
                Arc::new(ListArray::try_new(item, offsets, items.finish()?, None)?)
            }
        })
    }
}

fn unfit(what: &str, value: ValueRef<'_>) -> WarehouseError {
    WarehouseError::Internal(format!("a stored {:?} is no {what}", value.data_type()))
}

fn integer(value: ValueRef<'_>) -> Result<Option<i64>> {
    match value {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(number) => Ok(Some(number)),
        // A sum beyond 64 bits, or an average that was declared an integer.
        ValueRef::Real(float) if float.fract() == 0.0 && float.abs() < 9.2e18 => Ok(Some(float as i64)),
        other => Err(unfit("integer", other)),
    }
}

fn float(value: ValueRef<'_>) -> Result<Option<f64>> {
    match value {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(number) => Ok(Some(number as f64)),
        ValueRef::Real(float) => Ok(Some(float)),
        ValueRef::Text(text) => match std::str::from_utf8(text).ok().and_then(parse_float) {
            Some(float) => Ok(Some(float)),
            None => Err(unfit("FLOAT64", value)),
        },
        other @ ValueRef::Blob(_) => Err(unfit("FLOAT64", other)),
    }
}

fn text(value: ValueRef<'_>) -> Result<Option<&str>> {
    match value {
        ValueRef::Null => Ok(None),
        ValueRef::Text(text) => std::str::from_utf8(text).map(Some).map_err(WarehouseError::internal),
        other => Err(unfit("text", other)),
    }
}

fn decimal(kind: &Kind, value: ValueRef<'_>) -> Result<Option<String>> {
    match value {
        ValueRef::Integer(number) => Ok(Some(number.to_string())),
        ValueRef::Real(float) => Ok(decimal_of_float(kind, float)),
        other => Ok(text(other)?.map(str::to_owned)),
    }
}

/// Collects rows to a record batch.
pub(crate) struct Batch {
    schema: SchemaRef,
    columns: Vec<Column>,
    rows: usize,
}

impl Batch {
    pub(crate) fn new(fields: &[Field], schema: SchemaRef) -> Self {
        let columns = fields.iter().map(|field| Column::new(&field.kind, field.repeated())).collect();
        Self { schema, columns, rows: 0 }
    }

    /// Appends a row whose columns are in the order of the fields; gives about how many bytes it has.
    pub(crate) fn append(&mut self, row: &rusqlite::Row<'_>) -> Result<usize> {
        let mut bytes = 0;
        for (index, column) in self.columns.iter_mut().enumerate() {
            let value = row.get_ref(index)?;
            bytes += match value {
                ValueRef::Text(text) => text.len() + 4,
                ValueRef::Blob(blob) => blob.len() + 4,
                _ => 8,
            };
            column.append(value)?;
        }
        self.rows += 1;
        Ok(bytes)
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn finish(self) -> Result<RecordBatch> {
        let columns = self.columns.into_iter().map(Column::finish).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        Ok(RecordBatch::try_new_with_options(self.schema, columns, &options)?)
    }
}

/// Writes bare IPC messages, one at a time.
pub(crate) struct Messages(StreamWriter<Vec<u8>>);

impl Messages {
    /// Gives the schema's message too.
    pub(crate) fn new(schema: &SchemaRef) -> Result<(Self, Vec<u8>)> {
        let mut messages = Self(StreamWriter::try_new(Vec::new(), schema)?);
        let schema = std::mem::take(messages.0.get_mut());
        Ok((messages, schema))
    }

    pub(crate) fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>> {
        self.0.write(batch)?;
        Ok(std::mem::take(self.0.get_mut()))
    }
}
