//! One version of an object as a file that can be read in parts.

use std::fmt;
use std::io::{self, Read};

use bytes::{Buf, Bytes};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::super::layout::LakePath;
use super::{Bucket, Tag, Tail};

/// Bytes that a sequential reader asks for at a time.
const READ_BYTES: u64 = 1 << 20;

/// One version of an object, its end already read. Every later read is of the same version or fails.
#[derive(Clone)]
pub struct RemoteObject {
    bucket: Bucket,
    place: LakePath,
    size: u64,
    tag: Tag,
    tail: Bytes,
}

impl fmt::Debug for RemoteObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteObject").field("place", &self.place).field("size", &self.size).finish_non_exhaustive()
    }
}

impl RemoteObject {
    pub(super) fn new(bucket: Bucket, place: LakePath, tail: Tail) -> RemoteObject {
        RemoteObject { bucket, place, size: tail.size, tag: tail.tag, tail: tail.bytes }
    }

    /// Which version it is.
    pub fn tag(&self) -> &Tag {
        &self.tag
    }

    fn range(&self, from: u64, to: u64) -> Result<Bytes> {
        if from > to || to > self.size {
            return Err(ParquetError::EOF(format!("bytes {from} to {to} of {}", self.size)));
        }
        let tail_from = self.size - self.tail.len() as u64;
        if from >= tail_from {
            return Ok(self.tail.slice((from - tail_from) as usize..(to - tail_from) as usize));
        }
        let bytes = self.bucket.range(&self.place, &self.tag, from, to);
        let bytes = bytes.map_err(|e| ParquetError::External(Box::new(e)))?;
        if bytes.len() as u64 != to - from {
            return Err(ParquetError::EOF(format!("{} bytes came for {}", bytes.len(), to - from)));
        }
        Ok(bytes)
    }
}

impl Length for RemoteObject {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for RemoteObject {
    type T = RemoteReader;

    fn get_read(&self, start: u64) -> Result<RemoteReader> {
        Ok(RemoteReader { object: self.clone(), next: start, buffer: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.range(start, start.saturating_add(length as u64))
    }
}

/// Reads an object from some byte to its end.
#[derive(Debug)]
pub struct RemoteReader {
    object: RemoteObject,
    next: u64,
    buffer: Bytes,
}

impl Read for RemoteReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.buffer.is_empty() && self.next < self.object.size {
            let to = (self.next + READ_BYTES).min(self.object.size);
            self.buffer = self.object.range(self.next, to).map_err(io::Error::other)?;
            self.next = to;
        }
        let count = self.buffer.len().min(into.len());
        self.buffer.split_to(count).copy_to_slice(&mut into[..count]);
        Ok(count)
    }
}
