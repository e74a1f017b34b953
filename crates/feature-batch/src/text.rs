//! Text sources: plain, gzip or zstd, told by their first bytes; and lines of a bounded length.

use std::{
    io::{self, BufRead, BufReader, Cursor, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::bufread::MultiGzDecoder;
use serde::Serialize;

use crate::{
    error::ReadError,
    source::{RangeSource, Sequential, Shared},
};

/// A longer line, or CSV record, is rejected: a quote that is never closed would otherwise take the rest of the file
/// into memory.
pub const MAX_LINE_BYTES: usize = 1024 * 1024;
/// How much of a row that cannot be read is kept for the rejects.
pub(crate) const MAX_ORIGINAL_BYTES: usize = 4 * 1024;

/// What a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceFormat {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values with a header (RFC 4180).
    Csv,
    /// One JSON object per line.
    JsonLines,
}

const PARQUET: &[u8] = b"PAR1";
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Bytes read so far, as they lie in the source.
pub(crate) type BytesRead = Arc<AtomicU64>;

/// A source's text, decompressed, without a byte order mark.
pub(crate) struct Text {
    source: Shared,
    reader: Box<dyn BufRead + Send>,
    /// Where the next byte lies in the decompressed text.
    pub(crate) offset: u64,
}

/// A source, by its first bytes.
pub(crate) enum Opened {
    Parquet(Shared),
    Text(SourceFormat, Text, BytesRead),
}

/// Looks at the first bytes: Parquet's magic, or text that begins with `{` (JSON lines) or not (CSV).
pub(crate) fn open(source: Box<dyn RangeSource>) -> Result<Opened, ReadError> {
    let source = Shared::new(source);
    let head_bytes = source.size_bytes().min(4) as usize;
    let head = source.read_range(0, head_bytes).map_err(ReadError::Io)?;
    if head.starts_with(PARQUET) {
        return Ok(Opened::Parquet(source));
    }
    let bytes_read = BytesRead::default();
    let sequential = Sequential::new(source.clone(), 0, source.block_bytes());
    let counted = Counted { inner: sequential, bytes_read: Arc::clone(&bytes_read) };
    let raw = BufReader::with_capacity(64 * 1024, counted);
    let reader: Box<dyn BufRead + Send> = if head.starts_with(GZIP) {
        Box::new(BufReader::with_capacity(64 * 1024, MultiGzDecoder::new(raw)))
    } else if head.starts_with(ZSTD) {
        Box::new(BufReader::with_capacity(
            64 * 1024,
            zstd::stream::read::Decoder::with_buffer(raw).map_err(ReadError::Io)?,
        ))
    } else {
        Box::new(raw)
    };
    let mut text = Text { source, reader, offset: 0 };
    // The first bytes are read one by one, since a decoder may give any number of them at once.
    let mut first = Vec::new();
    while first.len() < 3 && text.read_byte_into(&mut first)? {}
    if first.starts_with(BYTE_ORDER_MARK) {
        first.clear();
    } else {
        text.offset = 0;
    }
    while first.iter().all(u8::is_ascii_whitespace)
        && first.len() < MAX_LINE_BYTES
        && text.peek_byte_into(&mut first)?
    {}
    let format = if first.trim_ascii_start().starts_with(b"{") { SourceFormat::JsonLines } else { SourceFormat::Csv };
    text.reader = Box::new(Cursor::new(first).chain(std::mem::replace(&mut text.reader, Box::new(io::empty()))));
    Ok(Opened::Text(format, text, bytes_read))
}

impl Text {
    fn read_byte_into(&mut self, bytes: &mut Vec<u8>) -> Result<bool, ReadError> {
        let found = self.peek_byte_into(bytes)?;
        self.offset += u64::from(found);
        Ok(found)
    }

    fn peek_byte_into(&mut self, bytes: &mut Vec<u8>) -> Result<bool, ReadError> {
        let byte = self.fill_buf()?.first().copied();
        bytes.extend(byte);
        self.reader.consume(usize::from(byte.is_some()));
        Ok(byte.is_some())
    }

    /// What lies ready, at least one byte unless the text is at its end.
    pub(crate) fn fill_buf(&mut self) -> Result<&[u8], ReadError> {
        let offset = self.offset;
        let Self { source, reader, .. } = self;
        reader.fill_buf().map_err(|error| {
            let detail = format!("the compressed text is damaged or cut off: {error}; write the file again");
            source.blame(Some(offset), "corrupt_compression", detail)
        })
    }

    pub(crate) fn consume(&mut self, bytes: usize) {
        self.reader.consume(bytes);
        self.offset += bytes as u64;
    }

    /// The next line without its line break, or `None` at the end. `Err(length)` where it is longer than
    /// [`MAX_LINE_BYTES`]: its first bytes are then in `line`, and the next line is next.
    pub(crate) fn read_line(&mut self, line: &mut Vec<u8>) -> Result<Option<Result<(), usize>>, ReadError> {
        line.clear();
        let mut length = 0;
        loop {
            let bytes = self.fill_buf()?;
            if bytes.is_empty() {
                break;
            }
            let end = bytes.iter().position(|&byte| byte == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            length += part.len();
            let room = MAX_LINE_BYTES.saturating_sub(line.len());
            line.extend_from_slice(&part[..part.len().min(room)]);
            let taken = part.len() + usize::from(end.is_some());
            self.consume(taken);
            if end.is_some() {
                return Ok(Some(if length > MAX_LINE_BYTES { Err(length) } else { Ok(()) }));
            }
        }
        Ok((length > 0).then_some(if length > MAX_LINE_BYTES { Err(length) } else { Ok(()) }))
    }
}

struct Counted<R> {
    inner: R,
    bytes_read: BytesRead,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes_read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
