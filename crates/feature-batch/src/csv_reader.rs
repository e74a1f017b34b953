//! CSV with a header (RFC 4180), into cells.

use std::sync::atomic::Ordering;

use csv_core::{ReadRecordResult, Reader};
use features::Plan;

use crate::{
    batch::{BATCH_BYTES, BATCH_ROWS, Batch, Places, Raw, Texts, Unreadable},
    error::ReadError,
    source_columns::SourceColumns,
    text::{BytesRead, MAX_LINE_BYTES, MAX_ORIGINAL_BYTES, Text},
};

/// More columns than any file of rows has.
const MAX_COLUMNS: usize = 16_384;

pub(crate) struct CsvReader {
    text: Text,
    record: Record,
    bytes_read: BytesRead,
    /// For each column of the file: the input that it gives.
    inputs: Vec<Option<usize>>,
    pub(crate) columns: SourceColumns,
    row: u64,
}

/// One record, its fields end to end.
struct Record {
    reader: Reader,
    fields: Vec<u8>,
    ends: Vec<usize>,
    field_count: usize,
}

enum Found {
    Record {
        offset: u64,
    },
    /// Longer than [`MAX_LINE_BYTES`], or of more than [`MAX_COLUMNS`]: passed over.
    TooLong {
        offset: u64,
    },
    End,
}

impl Record {
    fn field(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.fields[start..self.ends[index]]
    }

    fn read(&mut self, text: &mut Text) -> Result<Found, ReadError> {
        skip_line_breaks(text)?;
        let offset = text.offset;
        let (mut written, mut ended, mut too_long) = (0, 0, false);
        loop {
            let input = text.fill_buf()?;
            let (result, taken, wrote, ends) =
                self.reader.read_record(input, &mut self.fields[written..], &mut self.ends[ended..]);
            text.consume(taken);
            written += wrote;
            ended += ends;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.fields.len() < MAX_LINE_BYTES => {
                    self.fields.resize((self.fields.len() * 2).min(MAX_LINE_BYTES), 0);
                }
                ReadRecordResult::OutputEndsFull if self.ends.len() < MAX_COLUMNS => {
                    self.ends.resize((self.ends.len() * 2).min(MAX_COLUMNS), 0);
                }
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    // The rest of the record is read over, to find where the next one begins.
                    too_long = true;
                    (written, ended) = (0, 0);
                }
                ReadRecordResult::Record if too_long => return Ok(Found::TooLong { offset }),
                ReadRecordResult::Record => {
                    self.field_count = ended;
                    return Ok(Found::Record { offset });
                }
                ReadRecordResult::End => return Ok(Found::End),
            }
        }
    }
}

/// What lies before a record is none of it: the second byte of a line break, and empty lines, which are no records.
fn skip_line_breaks(text: &mut Text) -> Result<(), ReadError> {
    loop {
        let input = text.fill_buf()?;
        let breaks = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let goes_on = breaks > 0 && breaks == input.len();
        text.consume(breaks);
        if !goes_on {
            return Ok(());
        }
    }
}

impl CsvReader {
    pub(crate) fn new(plan: &Plan, mut text: Text, bytes_read: BytesRead) -> Result<Self, ReadError> {
        let mut record = Record { reader: Reader::new(), fields: vec![0; 4096], ends: vec![0; 64], field_count: 0 };
        match record.read(&mut text)? {
            Found::Record { .. } => {}
            Found::End => {
                return Err(ReadError::bad(
                    Some(0),
                    "header_missing",
                    "the file is empty; a CSV file begins with its columns' names",
                ));
            }
            Found::TooLong { offset } => {
                let detail = format!("the header is longer than {MAX_LINE_BYTES} bytes or {MAX_COLUMNS} columns");
                return Err(ReadError::bad(Some(offset), "header_too_long", detail));
            }
        }
        let header: Vec<String> = (0..record.field_count)
            .map(|field| String::from_utf8_lossy(record.field(field).trim_ascii()).into_owned())
            .collect();
        let (inputs, columns) = SourceColumns::of_header(plan, header.iter().map(String::as_str))?;
        Ok(Self { text, record, bytes_read, inputs, columns, row: 0 })
    }

    /// Up to [`BATCH_ROWS`] rows; `None` at the end.
    pub(crate) fn next_batch(&mut self) -> Result<Option<Batch>, ReadError> {
        let mut columns: Vec<(usize, usize, Texts)> = self
            .inputs
            .iter()
            .enumerate()
            .filter_map(|(field, input)| input.map(|input| (field, input, Texts::default())))
            .collect();
        let (mut places, mut unreadable, mut bytes) = (Vec::new(), Vec::new(), 0);
        while places.len() < BATCH_ROWS && unreadable.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            let found = self.record.read(&mut self.text)?;
            let row = self.row;
            let wrong = match found {
                Found::End => break,
                Found::TooLong { offset } => {
                    let detail = format!(
                        "the record is longer than {MAX_LINE_BYTES} bytes or {MAX_COLUMNS} columns; is a quote never closed?"
                    );
                    Some((offset, "record_too_long", detail, Vec::new()))
                }
                Found::Record { offset } => {
                    self.judge().map(|(reason, detail)| (offset, reason, detail, self.original()))
                }
            };
            self.row += 1;
            if let Some((offset, reason, detail, original)) = wrong {
                unreadable.push(Unreadable { row, offset, reason, detail, original });
                continue;
            }
            let Found::Record { offset } = found else { continue };
            for (field, _, texts) in &mut columns {
                // Judged to be UTF-8.
                let cell = std::str::from_utf8(self.record.field(*field)).unwrap_or_default();
                bytes += cell.len();
                texts.push(cell);
            }
            places.push((row, offset));
        }
        if places.is_empty() && unreadable.is_empty() {
            return Ok(None);
        }
        Ok(Some(Batch {
            source: 0,
            rows: places.len(),
            places: Places::Listed(places),
            columns: columns.into_iter().map(|(_, input, texts)| (input, Raw::Cells(texts))).collect(),
            unreadable,
            bytes_done: self.bytes_read.load(Ordering::Relaxed),
        }))
    }

    /// What is wrong with the record as a whole.
    fn judge(&self) -> Option<(&'static str, String)> {
        let (found, expected) = (self.record.field_count, self.inputs.len());
        if found != expected {
            return Some(("wrong_field_count", format!("{found} fields, the header has {expected}")));
        }
        let used = self.inputs.iter().enumerate().filter(|(_, input)| input.is_some());
        used.map(|(field, _)| field)
            .find(|&field| std::str::from_utf8(self.record.field(field)).is_err())
            .map(|field| ("invalid_utf8", format!("field {} is not UTF-8", field + 1)))
    }

    fn original(&self) -> Vec<u8> {
        let mut original = Vec::new();
        for field in 0..self.record.field_count {
            if field > 0 {
                original.push(b',');
            }
            original.extend_from_slice(self.record.field(field));
            if original.len() > MAX_ORIGINAL_BYTES {
                original.truncate(MAX_ORIGINAL_BYTES);
                break;
            }
        }
        original
    }
}
