//! Opening files: the format is told by the first bytes, not by the name.

use std::{
    cell::Cell,
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
    rc::Rc,
};

use flate2::bufread::MultiGzDecoder;

use crate::RidesError;

const EXPECTED: &str = "CSV, gzip-compressed CSV or Parquet";

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Text, compressed or not.
    Text,
    /// Apache Parquet.
    Parquet,
}

/// An opened file, at its beginning.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) format: Format,
    pub(crate) file: File,
    pub(crate) bytes_total: u64,
    gzip: bool,
}

pub(crate) fn io_error(path: &Path, source: io::Error) -> RidesError {
    RidesError::Io { file: path.to_owned(), source }
}

pub(crate) fn open(path: &Path) -> Result<Source, RidesError> {
    let failed = |source| io_error(path, source);
    let mut file = File::open(path).map_err(failed)?;
    let bytes_total = file.metadata().map_err(failed)?.len();
    let mut magic = Vec::new();
    file.by_ref().take(6).read_to_end(&mut magic).map_err(failed)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let foreign = |found| Err(RidesError::UnsupportedFormat { file: path.to_owned(), found, expected: EXPECTED });
    let (format, gzip) = match magic.as_slice() {
        [b'P', b'A', b'R', b'1', ..] => (Format::Parquet, false),
        [0x1f, 0x8b, ..] => (Format::Text, true),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => return foreign("Zstandard"),
        [b'P', b'K', 3, 4, ..] => return foreign("ZIP"),
        [b'B', b'Z', b'h', ..] => return foreign("bzip2"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => return foreign("xz"),
        [b'A', b'R', b'R', b'O', b'W', b'1', ..] => return foreign("Arrow"),
        [] => return foreign("empty"),
        _ => (Format::Text, false),
    };
    Ok(Source { format, file, bytes_total, gzip })
}

impl Source {
    /// The text, decompressed, and the bytes of the file that were read for it so far.
    pub(crate) fn text(self) -> (Box<dyn BufRead>, Rc<Cell<u64>>) {
        let read = Rc::new(Cell::new(0));
        let counted = BufReader::with_capacity(1 << 16, Counted { file: self.file, read: Rc::clone(&read) });
        if self.gzip {
            (Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(counted))), read)
        } else {
            (Box::new(counted), read)
        }
    }
}

struct Counted {
    file: File,
    read: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read.set(self.read.get() + count as u64);
        Ok(count)
    }
}

/// A table of text with a header, read record by record.
pub(crate) struct Table {
    reader: csv::Reader<Box<dyn BufRead>>,
    header: Vec<String>,
    record: csv::ByteRecord,
}

impl Table {
    /// Reads the header. A leading byte order mark is dropped. `quoting` says whether quoted fields may hold commas and
    /// line ends; without it one stray quote cannot swallow the records after it.
    pub(crate) fn new(path: &Path, text: Box<dyn BufRead>, quoting: bool) -> Result<Self, RidesError> {
        let mut reader =
            csv::ReaderBuilder::new().flexible(true).quoting(quoting).buffer_capacity(1 << 16).from_reader(text);
        let header = reader.byte_headers().map_err(|error| csv_error(path, error))?;
        let header = header.iter().map(|name| {
            let name = name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name);
            String::from_utf8_lossy(bare(name)).into_owned()
        });
        let header = header.collect();
        Ok(Self { reader, header, record: csv::ByteRecord::new() })
    }

    /// The columns' names.
    pub(crate) fn header(&self) -> &[String] {
        &self.header
    }

    /// The next record and where it begins, or `None` at the end.
    pub(crate) fn next(&mut self, path: &Path) -> Result<Option<(u64, u64, &csv::ByteRecord)>, RidesError> {
        if !self.reader.read_byte_record(&mut self.record).map_err(|error| csv_error(path, error))? {
            return Ok(None);
        }
        let (line, byte) = self.record.position().map_or((0, 0), |position| (position.line(), position.byte()));
        Ok(Some((line, byte, &self.record)))
    }
}

/// A field without spaces and quotes around it.
pub(crate) fn bare(field: &[u8]) -> &[u8] {
    let field = field.trim_ascii();
    field.strip_prefix(b"\"").and_then(|field| field.strip_suffix(b"\"")).unwrap_or(field)
}

/// The column whose name is one of `names`, in any case.
pub(crate) fn find_column<S: AsRef<str>>(header: &[S], names: &[&str]) -> Option<usize> {
    header.iter().position(|column| names.iter().any(|name| column.as_ref().eq_ignore_ascii_case(name)))
}

/// The same, where the column is needed.
pub(crate) fn need_column<S: AsRef<str>>(
    path: &Path,
    header: &[S],
    what: &'static str,
    names: &[&str],
) -> Result<usize, RidesError> {
    find_column(header, names).ok_or_else(|| {
        let found: Vec<&str> = header.iter().map(AsRef::as_ref).collect();
        // A file that is no table at all has one endless "column".
        let found: String = found.join(", ").chars().take(400).collect();
        RidesError::MissingColumn { file: path.to_owned(), what, expected: names.join(" or "), found }
    })
}

/// With flexible records and bytes, only reading itself can fail.
fn csv_error(path: &Path, error: csv::Error) -> RidesError {
    let message = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(source) => io_error(path, source),
        _ => io_error(path, io::Error::other(message)),
    }
}
