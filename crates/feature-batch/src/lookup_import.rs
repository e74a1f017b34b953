//! A lookup table of somebody's own file, read as the spec declares it.

use std::fmt::Write as _;

use bytes::Bytes;
use features::{
    KeyType, LookupDeclaration, LookupKeys, LookupTable, LookupValues, Resources, RowColumn, RowExpression,
    RowExpressions, RowValues, Type, ValueType,
};

use crate::{BatchError, Source, rows::evaluate_rows};

/// The declared columns of a file, by the readers that training rows go through. A row that is wrong is an error: a table is
/// whole or it is none.
pub(crate) fn import(file: &str, bytes: Bytes, declaration: &LookupDeclaration) -> Result<LookupTable, BatchError> {
    let spec = spec_of(declaration);
    let keys = declaration.keys.iter().map(|(name, of)| (name, Type::from(*of)));
    let values = declaration.values.iter().map(|(name, of)| (name, Type::from(*of)));
    let expressions: Vec<RowExpression<'_>> =
        keys.chain(values).map(|(name, of)| RowExpression { what: file, sql: name, of }).collect();
    let expressions =
        RowExpressions::compile(file, &spec, &Resources::default(), &expressions).map_err(BatchError::Spec)?;
    let sources = vec![Source { name: file.to_owned(), bytes: Box::new(bytes) }];
    let mut all = expressions.columns();
    let left_out = evaluate_rows(&expressions, sources, &mut |_| {}, |columns| {
        all.iter_mut().zip(columns).for_each(|(all, more)| append(all, more));
    })?;
    if let Some(first) = left_out.first {
        let detail = format!("{} row(s) are wrong, the first: {first}", left_out.rows);
        return Err(BatchError::lookup(&declaration.name, "lookup_rows_wrong", detail));
    }
    let mut values = all.split_off(declaration.keys.len()).into_iter();
    let keys =
        declaration.keys.iter().zip(all).filter_map(|((name, _), column)| Some((name.clone(), keys_of(column)?)));
    let values = declaration.values.iter().zip(&mut values);
    let values = values.filter_map(|((name, _), column)| Some((name.clone(), values_of(column)?)));
    LookupTable::from_columns(keys.collect(), values.collect()).map_err(BatchError::of_table(file))
}

/// A spec whose inputs are the table's columns.
fn spec_of(declaration: &LookupDeclaration) -> String {
    let mut spec = "name = \"lookup\"\n[prediction]\nunit = \"\"\n[inputs]\n".to_owned();
    for (name, of) in &declaration.keys {
        let of = match of {
            KeyType::Int => "int",
            KeyType::Bool => "bool",
            KeyType::String => "string",
        };
        _ = writeln!(spec, "{name} = {{ type = \"{of}\" }}");
    }
    for (name, of) in &declaration.values {
        _ = match of {
            ValueType::Float => writeln!(spec, "{name} = {{ type = \"float\", nullable = true }}"),
            ValueType::Int => writeln!(spec, "{name} = {{ type = \"int\" }}"),
        };
    }
    let output = declaration.keys.first().map_or("", |(name, _)| name);
    _ = write!(spec, "[model]\noutputs = [\"{output}\"]\n[fallback]\nexpression = \"0\"\ndefault = 0\n");
    spec
}

/// Appends the rows of a column of the same type.
pub(crate) fn append(all: &mut RowColumn, more: RowColumn) {
    match (&mut all.values, more.values) {
        (RowValues::Floats(all), RowValues::Floats(more)) => all.extend(more),
        (RowValues::Ints(all), RowValues::Ints(more)) => all.extend(more),
        (RowValues::Bools(all), RowValues::Bools(more)) => all.extend(more),
        (RowValues::Texts(all), RowValues::Texts(more)) => all.extend(more),
        _ => {}
    }
    all.valid.extend(more.valid);
}

/// Keys of rows, none of which is NULL; `None` where they are floats.
pub(crate) fn keys_of(column: RowColumn) -> Option<LookupKeys> {
    match column.values {
        RowValues::Ints(keys) => Some(LookupKeys::Int(keys)),
        RowValues::Bools(keys) => Some(LookupKeys::Bool(keys)),
        RowValues::Texts(keys) => Some(LookupKeys::String(keys)),
        RowValues::Floats(_) => None,
    }
}

fn values_of(column: RowColumn) -> Option<LookupValues> {
    match column.values {
        RowValues::Ints(values) => Some(LookupValues::Int(values)),
        RowValues::Floats(values) => {
            let values = values.into_iter().zip(column.valid);
            Some(LookupValues::Float(values.map(|(value, valid)| if valid { value } else { f64::NAN }).collect()))
        }
        RowValues::Bools(_) | RowValues::Texts(_) => None,
    }
}
