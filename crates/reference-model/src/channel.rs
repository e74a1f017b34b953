use std::{
    fmt,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use csv::ByteRecord;
use flate2::bufread::MultiGzDecoder;

use crate::{Hyperparameters, ModelError, cell, parquet_rows};

/// The rows of a channel's files, ready to train on or to measure with.
#[derive(Debug)]
pub struct Channel {
    /// One label per row, as in the file.
    pub labels: Vec<f64>,
    /// The features, column after column: `columns[feature * labels.len() + row]`. NaN where missing.
    pub columns: Vec<f64>,
    /// How many features a row has.
    pub feature_count: usize,
    /// The features' names, where a Parquet file told them.
    pub feature_names: Vec<String>,
    /// How many rows were left out.
    pub bad_rows: usize,
}

/// A row that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// The file, relative to its channel's folder.
    pub file: String,
    /// The line, from 1, blank lines counted; the row of a Parquet file.
    pub line: u64,
    /// Where the line begins, in bytes from the file's beginning (of its content, where it is gzipped). None in Parquet.
    pub byte_offset: Option<u64>,
    /// A stable code: `wrong_width`, `not_a_number`, `missing_label` or `label_out_of_range`.
    pub reason: &'static str,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, byte_offset, reason, why } = self;
        match byte_offset {
            Some(byte) => write!(f, "{file}, line {line} (byte {byte}): {why} ({reason})"),
            None => write!(f, "{file}, row {line}: {why} ({reason})"),
        }
    }
}

impl Channel {
    /// Reads every file below `folder` in the order of their paths: headerless CSV, gzipped or not, and Parquet, each label
    /// first. Files and folders whose names begin with `_` or `.` are left out, as SageMaker's own algorithms do. All rows
    /// have the width of the first good one, or `feature_count` features where that is given. Bad rows are reported and left out;
    /// more of them than `max_bad_rows_share` are an error.
    pub fn read(
        folder: &Path,
        feature_count: Option<usize>,
        hyperparameters: &Hyperparameters,
        mut report: impl FnMut(&BadRow),
    ) -> Result<Self, ModelError> {
        let mut reading =
            Reading { feature_count, hyperparameters, labels: Vec::new(), rows: Vec::new(), names: Vec::new() };
        let (mut bad_rows, mut first_bad) = (0, None);
        let mut refuse = |file: &str, (line, byte_offset), (reason, why): Reason| {
            let bad = BadRow { file: file.to_owned(), line, byte_offset, reason, why };
            report(&bad);
            bad_rows += 1;
            first_bad.get_or_insert(bad);
        };
        for path in files_below(folder)? {
            let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
            let file_error = |source| ModelError::File { action: "read", path: path.clone(), source };
            let mut file = BufReader::with_capacity(1 << 16, File::open(&path).map_err(file_error)?);
            if file.fill_buf().map_err(file_error)?.starts_with(b"PAR1") {
                let names = parquet_rows::read(&path, |number, row| {
                    if let Err(reason) = reading.take_numbers(row) {
                        refuse(&name, (number, None), reason);
                    }
                })?;
                reading.take_names(names).map_err(|why| ModelError::Parquet { path: path.clone(), why })?;
                continue;
            }
            let mut reader = cell::rows(decompressed(file).map_err(file_error)?);
            let mut record = ByteRecord::new();
            while reader.read_byte_record(&mut record).map_err(|error| file_error(error.into()))? {
                let Err(reason) = reading.take(&record) else { continue };
                let (line, byte_offset) = record.position().map_or((0, 0), |at| (at.line(), at.byte()));
                refuse(&name, (line, Some(byte_offset)), reason);
            }
        }
        let rows = reading.labels.len() + bad_rows;
        let allowed = (hyperparameters.max_bad_rows_share * rows as f64) as usize;
        if let Some(first) = first_bad.filter(|_| bad_rows > allowed) {
            let channel = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Err(ModelError::TooManyBadRows { channel, bad: bad_rows, rows, allowed, first: Box::new(first) });
        }
        if reading.labels.is_empty() {
            return Err(ModelError::EmptyChannel(folder.to_owned()));
        }
        Ok(reading.finish(bad_rows))
    }

    /// Copies one row's features into `row`.
    pub fn copy_row(&self, index: usize, row: &mut Vec<f64>) {
        row.clear();
        row.extend(self.columns.iter().skip(index).step_by(self.labels.len()));
    }
}

/// Why a row is bad: a stable code, and words.
type Reason = (&'static str, String);

/// Rows so far, one after the other.
struct Reading<'a> {
    feature_count: Option<usize>,
    hyperparameters: &'a Hyperparameters,
    labels: Vec<f64>,
    rows: Vec<f64>,
    names: Vec<String>,
}

impl Reading<'_> {
    fn take(&mut self, record: &ByteRecord) -> Result<(), Reason> {
        self.take_cells(record.len(), record.iter().map(cell::parse))
    }

    fn take_numbers(&mut self, row: &[f64]) -> Result<(), Reason> {
        let finite = |number: &f64| if number.is_infinite() { Err(format!("`{number}`")) } else { Ok(*number) };
        self.take_cells(row.len(), row.iter().map(finite))
    }

    /// A Parquet file's columns must be those of the files before it, in the same order: by place alone, two that have
    /// changed places would be taken for each other.
    fn take_names(&mut self, names: Vec<String>) -> Result<(), String> {
        if self.names.is_empty() {
            self.names = names;
        } else if self.names != names {
            let pairs = self.names.iter().zip(&names).enumerate();
            let other = pairs.filter(|(_, (before, here))| before != here).map(|(index, (before, here))| {
                format!("column {} is `{here}`, and `{before}` in the files before", index + 1)
            });
            let why = other.take(1).next();
            return Err(
                why.unwrap_or_else(|| format!("{} columns, {} in the files before", names.len(), self.names.len()))
            );
        }
        Ok(())
    }

    /// `width` cells, the label first; what is not a number is quoted.
    fn take_cells(&mut self, width: usize, cells: impl Iterator<Item = Result<f64, String>>) -> Result<(), Reason> {
        let found = width.saturating_sub(1);
        match self.feature_count {
            None if found == 0 => return Err(("wrong_width", "it has a label and no feature".to_owned())),
            Some(expected) if found != expected => {
                return Err(("wrong_width", format!("{found} features after the label where {expected} are expected")));
            }
            _ => {}
        }
        let complete = self.rows.len();
        let taken = self.take_row(cells);
        if taken.is_err() {
            self.rows.truncate(complete);
        } else {
            self.feature_count = Some(found);
        }
        taken
    }

    fn take_row(&mut self, cells: impl Iterator<Item = Result<f64, String>>) -> Result<(), Reason> {
        let mut cells = cells.enumerate().map(|(index, cell)| {
            cell.map_err(|text| ("not_a_number", format!("column {}: {text} is not a finite number", index + 1)))
        });
        let label = cells.next().unwrap_or(Ok(f64::NAN))?;
        if label.is_nan() {
            return Err(("missing_label", "column 1, the label, is empty".to_owned()));
        }
        if !self.hyperparameters.target_transform.takes(label) {
            let why = format!("column 1: the target transform is not defined for the label {label}");
            return Err(("label_out_of_range", why));
        }
        for cell in cells {
            self.rows.push(cell?);
        }
        self.labels.push(label);
        Ok(())
    }

    fn finish(self, bad_rows: usize) -> Channel {
        let feature_count = self.feature_count.unwrap_or(0);
        let mut columns = Vec::with_capacity(self.rows.len());
        for feature in 0..feature_count {
            columns.extend(self.rows.iter().skip(feature).step_by(feature_count));
        }
        // Without the label's.
        let feature_names = self.names.into_iter().skip(1).collect();
        Channel { labels: self.labels, columns, feature_count, feature_names, bad_rows }
    }
}

/// The files below `folder`, sorted by path: the order of rows is part of the result.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let file_error = |source| ModelError::File { action: "list", path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(file_error)? {
            let entry = entry.map_err(file_error)?;
            if entry.file_name().as_encoded_bytes().first().is_some_and(|first| b"_.".contains(first)) {
                continue;
            }
            // Follows symbolic links, unlike the entry's own metadata.
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

/// A file's content, decompressed where it begins as gzip does, whatever its name.
fn decompressed(mut file: BufReader<File>) -> io::Result<Box<dyn Read>> {
    if file.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        Ok(Box::new(MultiGzDecoder::new(file)))
    } else {
        Ok(Box::new(file))
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, sync::Arc};

    use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int32Array, RecordBatch};
    use flate2::{Compression, write::GzEncoder};
    use parquet::arrow::ArrowWriter;

    use super::*;
    use crate::TargetTransform;

    fn read(folder: &Path, hyperparameters: &Hyperparameters) -> (Result<Channel, ModelError>, Vec<BadRow>) {
        let mut bad = Vec::new();
        let channel = Channel::read(folder, None, hyperparameters, |row| bad.push(row.clone()));
        (channel, bad)
    }

    fn gzipped(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn reads_all_files_in_order_and_leaves_out_what_is_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("nested")).unwrap();
        fs::create_dir_all(at("_temporary")).unwrap();
        fs::write(at("b.csv"), "3,30,\r\n\r\n4,40,400\r\n").unwrap();
        // Two gzip members, as concatenated uploads have.
        fs::write(at("a.csv.gz"), [gzipped("1,10,100\n"), gzipped("2,20,200\n")].concat()).unwrap();
        fs::write(at("nested/c"), "5,50,500").unwrap();
        for hidden in ["_SUCCESS", ".part.csv", "_temporary/d.csv"] {
            fs::write(at(hidden), "9,90,900\n").unwrap();
        }
        let (channel, bad) = read(folder.path(), &Hyperparameters::default());
        let channel = channel.unwrap();
        assert_eq!(bad, []);
        assert_eq!(channel.labels, [1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(channel.feature_count, 2);
        assert_eq!(channel.columns[..5], [10.0, 20.0, 30.0, 40.0, 50.0]);
        assert!(channel.columns[7].is_nan());
        let mut row = vec![1.0];
        channel.copy_row(3, &mut row);
        assert_eq!(row, [40.0, 400.0]);
    }

    #[test]
    fn reports_bad_rows_with_their_place_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let text = "label,x,y\n1,10,100\n2,20\n3,30,\"300\n,40,400\n-5,50,500\n6,60,600\n";
        fs::write(folder.path().join("a.csv"), text).unwrap();
        let hyperparameters = Hyperparameters {
            max_bad_rows_share: 0.8,
            target_transform: TargetTransform::Log1p,
            ..Hyperparameters::default()
        };
        let (channel, bad) = read(folder.path(), &hyperparameters);
        let channel = channel.unwrap();
        assert_eq!(channel.labels, [1.0, 6.0]);
        assert_eq!(channel.columns, [10.0, 60.0, 100.0, 600.0]);
        assert_eq!(channel.bad_rows, 5);
        let found: Vec<(u64, &str)> = bad.iter().map(|row| (row.line, row.reason)).collect();
        let expected = [
            (1, "not_a_number"),
            (3, "wrong_width"),
            (4, "not_a_number"),
            (5, "missing_label"),
            (6, "label_out_of_range"),
        ];
        assert_eq!(found, expected);
        for row in &bad {
            let line = text.lines().nth(row.line as usize - 1).unwrap();
            assert!(text[row.byte_offset.unwrap() as usize..].starts_with(line), "{row}");
        }
        let (error, _) = read(folder.path(), &Hyperparameters { max_bad_rows_share: 0.7, ..hyperparameters });
        assert_eq!(
            error.unwrap_err().to_string().split("; ").nth(1),
            Some("the first: a.csv, line 1 (byte 0): column 1: `label` is not a finite number (not_a_number)")
        );
    }

    #[test]
    fn says_when_there_is_nothing_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let (error, _) = read(folder.path(), &Hyperparameters::default());
        assert_eq!(error.unwrap_err().reason(), "empty_channel");
        let (error, _) = read(&folder.path().join("absent"), &Hyperparameters::default());
        assert_eq!(error.unwrap_err().reason(), "file_error");
        // A download that was cut off must not pass for the whole.
        let whole = gzipped(&"1,2,3\n".repeat(1000));
        fs::write(folder.path().join("a.csv.gz"), &whole[..whole.len() - 9]).unwrap();
        let (error, _) = read(folder.path(), &Hyperparameters::default());
        assert_eq!(error.unwrap_err().reason(), "file_error");
    }

    fn parquet(path: &Path, names: [&str; 3], label: &[Option<f64>]) {
        let rows = label.len();
        let columns: [ArrayRef; 3] = [
            Arc::new(Float64Array::from(label.to_vec())),
            Arc::new((0..rows).map(|row| (row != 1).then_some(row as i32 * 10)).collect::<Int32Array>()),
            Arc::new((0..rows).map(|row| Some(row % 2 == 0)).collect::<BooleanArray>()),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(
            names.into_iter().zip(columns).map(|(name, column)| (name, column, true)),
        );
        let batch = batch.unwrap();
        let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    #[test]
    fn reads_parquet_beside_csv() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        parquet(&at("a.parquet"), ["label", "x", "y"], &[Some(1.0), Some(2.0), None, Some(f64::INFINITY), Some(5.0)]);
        fs::write(at("b.csv"), "6,60,1\n").unwrap();
        let lenient = Hyperparameters { max_bad_rows_share: 0.5, ..Hyperparameters::default() };
        let (channel, bad) = read(folder.path(), &lenient);
        let channel = channel.unwrap();
        assert_eq!(channel.labels, [1.0, 2.0, 5.0, 6.0]);
        assert_eq!(channel.columns[2..], [40.0, 60.0, 1.0, 0.0, 1.0, 1.0]);
        assert!(channel.columns[1].is_nan());
        assert_eq!(channel.feature_names, ["x", "y"]);
        let told: Vec<String> = bad.iter().map(ToString::to_string).collect();
        let infinite = "a.parquet, row 4: column 1: `inf` is not a finite number (not_a_number)";
        assert_eq!(told, ["a.parquet, row 3: column 1, the label, is empty (missing_label)", infinite]);

        // Columns that have changed places are no small matter.
        parquet(&at("c.parquet"), ["label", "y", "x"], &[Some(1.0)]);
        let error = read(folder.path(), &lenient).0.unwrap_err();
        assert_eq!(error.reason(), "invalid_parquet");
        assert!(error.to_string().ends_with("column 2 is `y`, and `x` in the files before"), "{error}");
    }
}
