//! Where bytes come from: anything that gives ranges of itself.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use parquet::{
    errors::ParquetError,
    file::reader::{ChunkReader, Length},
};

use crate::error::ReadError;

/// Something that gives ranges of its bytes: a file, an object, memory.
pub trait RangeSource: Send + Sync {
    /// The length in bytes.
    fn size_bytes(&self) -> u64;

    /// Exactly `length` bytes from `start`; the caller stays inside [`RangeSource::size_bytes`].
    ///
    /// # Errors
    /// The bytes could not be had.
    fn read_range(&self, start: u64, length: usize) -> io::Result<Bytes>;

    /// How many bytes are best asked for at once when reading from beginning to end.
    fn block_bytes(&self) -> usize {
        256 * 1024
    }
}

impl RangeSource for Bytes {
    fn size_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_range(&self, start: u64, length: usize) -> io::Result<Bytes> {
        let start =
            usize::try_from(start).ok().filter(|start| start.checked_add(length).is_some_and(|end| end <= self.len()));
        start.map(|start| self.slice(start..start + length)).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// A file of a disk.
#[derive(Debug)]
pub struct FileSource {
    file: Mutex<File>,
    size_bytes: u64,
}

impl FileSource {
    /// Opens the file.
    ///
    /// # Errors
    /// It is not there, or may not be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size_bytes = file.metadata()?.len();
        Ok(Self { file: Mutex::new(file), size_bytes })
    }
}

impl RangeSource for FileSource {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_range(&self, start: u64, length: usize) -> io::Result<Bytes> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::with_capacity(length);
        if (&mut *file).take(length as u64).read_to_end(&mut bytes)? < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes.into())
    }
}

/// Named bytes, to be transformed.
pub struct Source {
    /// The name: a path or key. It stands in rejects and errors.
    pub name: String,
    /// The bytes.
    pub bytes: Box<dyn RangeSource>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A [`RangeSource`] in several hands. Readers wrap its errors in theirs; here they are kept apart from what the bytes
/// themselves are to blame for.
#[derive(Clone)]
pub(crate) struct Shared {
    source: Arc<dyn RangeSource>,
    failure: Arc<Mutex<Option<io::Error>>>,
}

impl Shared {
    pub(crate) fn new(source: Box<dyn RangeSource>) -> Self {
        Self { source: source.into(), failure: Arc::default() }
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.source.size_bytes()
    }

    pub(crate) fn block_bytes(&self) -> usize {
        self.source.block_bytes()
    }

    pub(crate) fn read_range(&self, start: u64, length: usize) -> io::Result<Bytes> {
        self.source.read_range(start, length).map_err(|error| {
            let told = io::Error::new(error.kind(), error.to_string());
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            told
        })
    }

    /// The error of the source itself that stopped a reader, or else what the reader found wrong with the bytes.
    pub(crate) fn blame(&self, offset: Option<u64>, reason: &'static str, detail: impl Into<String>) -> ReadError {
        match self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => ReadError::Io(error),
            None => ReadError::bad(offset, reason, detail),
        }
    }
}

/// The bytes from `position` on, block by block.
pub(crate) struct Sequential {
    source: Shared,
    position: u64,
    block_bytes: usize,
    block: Bytes,
}

impl Sequential {
    pub(crate) fn new(source: Shared, position: u64, block_bytes: usize) -> Self {
        Self { source, position, block_bytes, block: Bytes::new() }
    }
}

impl Read for Sequential {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.block.is_empty() {
            let left = self.source.size_bytes().saturating_sub(self.position);
            let length = left.min(self.block_bytes as u64) as usize;
            if length > 0 {
                self.block = self.source.read_range(self.position, length)?;
                self.position += length as u64;
            }
        }
        let length = buffer.len().min(self.block.len());
        buffer[..length].copy_from_slice(&self.block.split_to(length));
        Ok(length)
    }
}

impl Length for Shared {
    fn len(&self) -> u64 {
        self.size_bytes()
    }
}

impl ChunkReader for Shared {
    type T = Sequential;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        // Page headers are read through this: a few dozen bytes each.
        Ok(Sequential::new(self.clone(), start, 4 * 1024))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if start.saturating_add(length as u64) > self.size_bytes() {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} of {}", self.size_bytes())));
        }
        self.read_range(start, length).map_err(|error| ParquetError::External(Box::new(error)))
    }
}
