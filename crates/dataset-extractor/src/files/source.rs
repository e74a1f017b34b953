//! Bytes by ranges.

use std::{
    io::{self, Read},
    sync::Arc,
};

use bytes::Bytes;
use cloud::object_store::{ETag, GetRange, RangeOutcome};
use feature_batch::RangeSource;
use parquet::{
    errors::ParquetError,
    file::reader::{ChunkReader, Length},
};
use tokio::runtime::Handle;

/// An object of the lake as it was looked at. To be read on a thread that is not the runtime's.
pub struct LakeObject<S> {
    store: S,
    key: String,
    bytes: u64,
    etag: ETag,
    runtime: Handle,
}

impl<S: GetRange> LakeObject<S> {
    /// An object by its key, length and tag.
    pub fn new(store: S, key: String, bytes: u64, etag: ETag, runtime: Handle) -> Self {
        Self { store, key, bytes, etag, runtime }
    }
}

impl<S: GetRange> RangeSource for LakeObject<S> {
    fn size_bytes(&self) -> u64 {
        self.bytes
    }

    fn read_range(&self, start: u64, length: usize) -> io::Result<Bytes> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let range = start..start + length as u64;
        match self.runtime.block_on(self.store.get_range(&self.key, range, &self.etag)).map_err(io::Error::other)? {
            RangeOutcome::Found(bytes) => Ok(bytes),
            RangeOutcome::Changed | RangeOutcome::Missing => {
                Err(io::Error::other("the object was replaced or deleted while it was read"))
            }
        }
    }

    fn block_bytes(&self) -> usize {
        4 * 1024 * 1024
    }
}

/// Ranges as the parquet crate and readers of text take them.
#[derive(Clone)]
pub(super) struct Ranges(pub(super) Arc<dyn RangeSource>);

impl Length for Ranges {
    fn len(&self) -> u64 {
        self.0.size_bytes()
    }
}

impl ChunkReader for Ranges {
    type T = FromPosition;

    fn get_read(&self, start: u64) -> Result<FromPosition, ParquetError> {
        Ok(FromPosition::new(self.clone(), start, 4 * 1024))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if start.saturating_add(length as u64) > self.len() {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} of {}", self.len())));
        }
        self.0.read_range(start, length).map_err(|error| ParquetError::External(Box::new(error)))
    }
}

/// From a position to the end, block by block.
pub(super) struct FromPosition {
    ranges: Ranges,
    position: u64,
    block_bytes: usize,
    block: Bytes,
}

impl FromPosition {
    pub(super) fn new(ranges: Ranges, position: u64, block_bytes: usize) -> Self {
        Self { ranges, position, block_bytes, block: Bytes::new() }
    }
}

impl Read for FromPosition {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.block.is_empty() {
            let left = self.ranges.len().saturating_sub(self.position);
            let length = left.min(self.block_bytes as u64) as usize;
            if length > 0 {
                self.block = self.ranges.0.read_range(self.position, length)?;
                self.position += length as u64;
            }
        }
        let length = buffer.len().min(self.block.len());
        buffer[..length].copy_from_slice(&self.block.split_to(length));
        Ok(length)
    }
}
