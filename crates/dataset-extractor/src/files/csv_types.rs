//! The types of CSV columns: declared, or else told from every value that there is.

use std::{collections::BTreeMap, sync::Arc};

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use csv::StringRecord;
use jiff::{Timestamp, civil};
use warehouse::WarehouseError;

use super::{OpenFile, csv_rows::open_csv, unreadable};

/// More digits than a double surely has.
const EXACT_DIGITS: usize = 15;

/// The columns of CSV files that have the same header.
///
/// A column that `declared` does not name has the first of these types that all its values in all the files are of: INT64, FLOAT64,
/// BOOL (`true`, `false`), DATE, DATETIME, TIMESTAMP (with an offset, `Z` or `UTC`); else STRING. Numbers with a plus sign or
/// leading zeros are texts (telephone numbers, postcodes), and so are those with more digits than a double has. An empty cell is NULL,
/// and says nothing; a column of nothing else is STRING.
pub(super) fn csv_schema(
    files: &[&OpenFile],
    declared: &BTreeMap<String, String>,
) -> Result<Option<SchemaRef>, WarehouseError> {
    let Some(first) = files.first() else { return Ok(None) };
    let header = open_csv(first)?.headers().map_err(|error| unreadable(&first.input, error))?.clone();
    if let Some(unknown) = declared.keys().find(|name| !header.iter().any(|column| column == name.as_str())) {
        let why = format!("it has no column `{unknown}`, which dataset.toml has a type for");
        return Err(unreadable(&first.input, why));
    }
    let columns = header.iter().map(|name| declared.get(name).map(|of| declared_type(name, of)).transpose());
    let columns: Vec<Option<DataType>> = columns.collect::<Result<_, WarehouseError>>()?;
    let mut told: Vec<Told> = header.iter().map(|_| Told::default()).collect();
    for file in files {
        let mut rows = open_csv(file)?;
        if *rows.headers().map_err(|error| unreadable(&file.input, error))? != header {
            return Err(unreadable(&file.input, "its columns are not those of the first file"));
        }
        if columns.iter().all(Option::is_some) {
            continue;
        }
        let mut record = StringRecord::new();
        while rows.read_record(&mut record).map_err(|error| unreadable(&file.input, error))? {
            for ((told, cell), declared) in told.iter_mut().zip(&record).zip(&columns) {
                if declared.is_none() {
                    told.see(cell);
                }
            }
        }
    }
    let fields = header.iter().zip(columns).zip(told);
    let fields = fields.map(|((name, declared), told)| Field::new(name, declared.unwrap_or_else(|| told.of()), true));
    Ok(Some(Arc::new(Schema::new(fields.collect::<Vec<_>>()))))
}

fn declared_type(column: &str, name: &str) -> Result<DataType, WarehouseError> {
    let of = match name.to_ascii_uppercase().as_str() {
        "INT64" => DataType::Int64,
        "FLOAT64" => DataType::Float64,
        "BOOL" => DataType::Boolean,
        "STRING" => DataType::Utf8,
        "TIMESTAMP" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "DATETIME" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "DATE" => DataType::Date32,
        _ => {
            let of = format!("{name} (of CSV: INT64, FLOAT64, BOOL, STRING, TIMESTAMP, DATETIME, DATE)");
            return Err(WarehouseError::UnsupportedType { column: column.to_owned(), of });
        }
    };
    Ok(of)
}

/// The types that may still be, in the order in which they are preferred.
const TYPES: [fn(&str) -> bool; 6] = [is_int, is_float, is_bool, is_date, is_datetime, is_timestamp];

/// What a column's values say of its type.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    /// How many of `TYPES` were found not to be: a value decides once for all types before the one that it is of.
    not: [bool; TYPES.len()],
    seen: bool,
}

impl Told {
    fn see(&mut self, cell: &str) {
        if cell.is_empty() {
            return;
        }
        self.seen = true;
        for (not, fits) in self.not.iter_mut().zip(TYPES) {
            *not = *not || !fits(cell);
        }
    }

    fn of(self) -> DataType {
        match self.not.iter().position(|not| !not).filter(|_| self.seen) {
            Some(0) => DataType::Int64,
            Some(1) => DataType::Float64,
            Some(2) => DataType::Boolean,
            Some(3) => DataType::Date32,
            Some(4) => DataType::Timestamp(TimeUnit::Microsecond, None),
            Some(5) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            _ => DataType::Utf8,
        }
    }
}

fn is_int(cell: &str) -> bool {
    let digits = cell.trim();
    let digits = digits.strip_prefix('-').unwrap_or(digits);
    let plain = digits == "0" || !digits.starts_with('0');
    plain
        && !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && cell.trim().parse::<i64>().is_ok()
}

fn is_float(cell: &str) -> bool {
    let number = cell.trim();
    let number = number.strip_prefix('-').unwrap_or(number);
    let whole = number.split(['.', 'e', 'E']).next().unwrap_or_default();
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    let begins = number.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    let written = number.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    begins && written && !leading_zero && whole.len() <= EXACT_DIGITS && number.parse::<f64>().is_ok_and(f64::is_finite)
}

fn is_bool(cell: &str) -> bool {
    matches!(cell, "true" | "True" | "TRUE" | "false" | "False" | "FALSE")
}

fn is_date(cell: &str) -> bool {
    cell.len() == 10 && cell.parse::<civil::Date>().is_ok()
}

fn is_datetime(cell: &str) -> bool {
    // jiff would take an offset, and leave it out.
    let zoned = cell.get(10..).is_none_or(|time| time.is_empty() || time.contains(['Z', 'z', '+', '-', '[', 'U']));
    !zoned && cell.parse::<civil::DateTime>().is_ok()
}

fn is_timestamp(cell: &str) -> bool {
    cell.len() > 10 && parse_timestamp(cell).is_some()
}

/// An instant, with an offset, `Z`, or ` UTC` as BigQuery writes it.
pub(super) fn parse_timestamp(cell: &str) -> Option<Timestamp> {
    match cell.strip_suffix(" UTC") {
        Some(civil) => format!("{civil}Z").parse().ok(),
        None => cell.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use datasets::FileInput;

    use super::*;

    fn file(name: &str, text: &str) -> OpenFile {
        let bytes = Bytes::from(text.to_owned());
        let input = FileInput { name: name.to_owned(), bytes: bytes.len() as u64, tag: String::new() };
        OpenFile { input, bytes: Arc::new(bytes) }
    }

    fn types(texts: &[&str], declared: &[(&str, &str)]) -> Result<Vec<String>, WarehouseError> {
        let files: Vec<OpenFile> =
            texts.iter().enumerate().map(|(number, text)| file(&format!("{number}.csv"), text)).collect();
        let declared = declared.iter().map(|(name, of)| ((*name).to_owned(), (*of).to_owned())).collect();
        let schema = csv_schema(&files.iter().collect::<Vec<_>>(), &declared)?.unwrap();
        Ok(schema.fields().iter().map(|field| warehouse::column_type(field).unwrap()).collect())
    }

    fn type_of(values: &[&str]) -> String {
        types(
            &[&format!("x,y\n{}\n", values.iter().map(|value| format!("{value},1")).collect::<Vec<_>>().join("\n"))],
            &[],
        )
        .unwrap()
        .remove(0)
    }

    #[test]
    fn a_column_is_what_all_its_values_are() {
        for (values, of) in [
            (&["1", "-20", "0", ""][..], "INT64"),
            (&["1", "2.5", "-.5", "1e-3"], "FLOAT64"),
            (&["007", "12"], "STRING"),
            (&["00.5"], "STRING"),
            (&["+81", "5"], "STRING"),
            (&["12345678901234567890"], "STRING"),
            (&["1234567890123456", "0.5"], "STRING"),
            (&["NaN", "1.5"], "STRING"),
            (&["1", "true"], "STRING"),
            (&["true", "False", ""], "BOOL"),
            (&["2018-01-01", "2018-02-28"], "DATE"),
            (&["2018-02-30"], "STRING"),
            (&["2018-01-01 00:21:05", "2018-01-01T00:21:05.25"], "DATETIME"),
            (&["2018-01-01", "2018-01-01 00:21:05"], "STRING"),
            (&["2018-01-01T00:21:05Z", "2018-01-01 00:21:05+09:00", "2018-01-01 00:21:05 UTC"], "TIMESTAMP"),
            (&["2018-01-01 00:21:05", "2018-01-01T00:21:05Z"], "STRING"),
            (&["", ""], "STRING"),
            (&["-"], "STRING"),
        ] {
            assert_eq!(type_of(values), of, "{values:?}");
        }
    }

    #[test]
    fn files_are_told_together_and_what_is_declared_holds() {
        assert_eq!(types(&["a,b\n1,x\n", "a,b\n2.5,\n"], &[]).unwrap(), ["FLOAT64", "STRING"]);
        assert_eq!(types(&["a,b\n1,2\n"], &[("b", "string")]).unwrap(), ["INT64", "STRING"]);
        let told = |texts: &[&str], declared: &[(&str, &str)]| types(texts, declared).unwrap_err().to_string();
        assert!(told(&["a\n1\n", "b\n1\n"], &[]).contains("`1.csv`: its columns are not those of the first file"));
        assert!(told(&["a\n1\n"], &[("c", "INT64")]).contains("no column `c`"));
        assert!(told(&["a\n1\n"], &[("a", "BYTES")]).contains("column `a`"));
    }
}
