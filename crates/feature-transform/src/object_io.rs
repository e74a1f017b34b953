//! Objects of the store as the batch transform reads and writes them: ranges in, parts out.
//!
//! The transform's threads are not the runtime's: they wait for each call.

use std::{
    collections::VecDeque,
    io::{self, Write},
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Bytes, BytesMut};
use cloud::object_store::{
    ETag, GetRange, MIN_PART_BYTES, MultipartUpload, ObjectHead, PutCondition, PutMultipart, PutObject, RangeOutcome,
    StoreError,
};
use feature_batch::RangeSource;
use tokio::runtime::Handle;

/// What is asked for at once.
const BLOCK_BYTES: u64 = 2 * 1024 * 1024;
/// How many blocks are kept: the columns of a Parquet file are read side by side, each at its own place.
const MAX_BLOCKS: usize = 32;
/// What is put at once. S3 takes 10,000 parts: an object of 80 GB.
const PART_BYTES: usize = 8 * 1024 * 1024;
const _: () = assert!(PART_BYTES >= MIN_PART_BYTES);

/// An object, read by ranges. All of them are of the object as it was first looked at.
pub(crate) struct ObjectSource<S> {
    store: Arc<S>,
    runtime: Handle,
    key: String,
    size_bytes: u64,
    etag: ETag,
    /// The blocks used last, the last one at the end.
    blocks: Mutex<VecDeque<(u64, Bytes)>>,
}

impl<S: GetRange> ObjectSource<S> {
    pub(crate) fn new(store: Arc<S>, runtime: Handle, key: String, head: ObjectHead) -> Self {
        let ObjectHead { size_bytes, etag } = head;
        Self { store, runtime, key, size_bytes, etag, blocks: Mutex::default() }
    }

    fn block(&self, number: u64) -> io::Result<Bytes> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let known = blocks.iter().position(|(known, _)| *known == number).and_then(|at| blocks.remove(at));
        let bytes = match known {
            Some((_, bytes)) => bytes,
            None => {
                let start = number * BLOCK_BYTES;
                let range = start..(start + BLOCK_BYTES).min(self.size_bytes);
                match self.runtime.block_on(self.store.get_range(&self.key, range, &self.etag)).map_err(io_error)? {
                    RangeOutcome::Found(bytes) => bytes,
                    RangeOutcome::Changed | RangeOutcome::Missing => {
                        return Err(io::Error::other("the object was replaced or deleted while it was read"));
                    }
                }
            }
        };
        if blocks.len() >= MAX_BLOCKS {
            blocks.pop_front();
        }
        blocks.push_back((number, bytes.clone()));
        Ok(bytes)
    }
}

fn io_error(error: StoreError) -> io::Error {
    io::Error::other(error)
}

impl<S: GetRange> RangeSource for ObjectSource<S> {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_range(&self, start: u64, length: usize) -> io::Result<Bytes> {
        let end = start + length as u64;
        let mut bytes = BytesMut::new();
        for number in start / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES) {
            let block = self.block(number)?;
            let first = number * BLOCK_BYTES;
            let (from, to) = (start.saturating_sub(first) as usize, (end - first).min(BLOCK_BYTES) as usize);
            if to > block.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if first <= start && end <= first + BLOCK_BYTES {
                return Ok(block.slice(from..to));
            }
            bytes.extend_from_slice(&block[from..to]);
        }
        Ok(bytes.freeze())
    }

    fn block_bytes(&self) -> usize {
        BLOCK_BYTES as usize
    }
}

/// An object in the making: a few MiB in memory, the rest in parts. There is no object until [`ObjectWriter::finish`].
pub(crate) struct ObjectWriter<S> {
    store: Arc<S>,
    runtime: Handle,
    key: String,
    part: Vec<u8>,
    upload: Option<Box<dyn MultipartUpload>>,
}

impl<S: PutObject + PutMultipart> ObjectWriter<S> {
    pub(crate) fn new(store: Arc<S>, runtime: Handle, key: String) -> Self {
        Self { store, runtime, key, part: Vec::new(), upload: None }
    }

    fn put_part(&mut self) -> Result<(), StoreError> {
        let part = Bytes::from(mem::take(&mut self.part));
        self.runtime.block_on(async {
            let upload = match &mut self.upload {
                Some(upload) => upload,
                None => self.upload.insert(self.store.put_multipart(&self.key).await?),
            };
            upload.put_part(part).await
        })
    }

    /// Makes the object, replacing what was under its key. What fits into one part is put as a whole.
    pub(crate) fn finish(&mut self) -> Result<(), StoreError> {
        if self.upload.is_some() && !self.part.is_empty() {
            self.put_part()?;
        }
        let part = Bytes::from(mem::take(&mut self.part));
        self.runtime.block_on(async {
            match self.upload.take() {
                Some(upload) => upload.complete().await.map(drop),
                None => self.store.put_object(&self.key, part, PutCondition::Always).await.map(drop),
            }
        })
    }
}

impl<S> Drop for ObjectWriter<S> {
    /// Parts of an upload that is given up would be paid for until the bucket's lifecycle rule finds them.
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take()
            && let Err(error) = self.runtime.block_on(upload.abort())
        {
            lambda_runtime::tracing::warn!(reason = error.reason(), %error, "parts left behind");
        }
    }
}

impl<S: PutObject + PutMultipart> Write for ObjectWriter<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PART_BYTES - self.part.len());
        if self.part.is_empty() && bytes.len() > 1 << 16 {
            self.part.reserve_exact(PART_BYTES);
        }
        self.part.extend_from_slice(&bytes[..taken]);
        if self.part.len() >= PART_BYTES {
            self.put_part().map_err(io_error)?;
        }
        Ok(taken)
    }

    /// Nothing: a part has a least size.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
