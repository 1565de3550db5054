//! A file without a name that only grows, and batches in it as Arrow IPC.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::MetadataVersion;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};

use crate::error::{Error, Result};
use crate::lake::local::failed;
use crate::memory::Memory;

/// Buffers begin at multiples of this many bytes: enough for numbers, and blocks have many small buffers.
const ALIGNMENT: usize = 8;

/// Where something stands in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    from: u64,
    bytes: usize,
}

impl Span {
    pub(super) fn bytes(self) -> usize {
        self.bytes
    }
}

/// The file.
#[derive(Debug)]
pub(super) struct TempFile {
    folder: PathBuf,
    file: Mutex<File>,
    /// What is read back counts there.
    memory: Memory,
}

impl TempFile {
    pub(super) fn new(folder: &Path, memory: &Memory) -> Result<TempFile> {
        let file = tempfile::tempfile_in(folder).map_err(|e| failed("create a temporary file in", folder, e))?;
        Ok(TempFile { folder: folder.to_owned(), file: Mutex::new(file), memory: memory.clone() })
    }

    /// Adds `batch`, and numbers that belong to it.
    pub(super) fn write(&self, batch: &RecordBatch, numbers: &[u32]) -> Result<Span> {
        let mut bytes = encode(batch).map_err(|e| self.failed("write", e))?;
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = file.seek(SeekFrom::End(0)).and_then(|from| file.write_all(&bytes).map(|()| from));
        let from = written.map_err(|e| failed("write the temporary file in", &self.folder, e))?;
        Ok(Span { from, bytes: bytes.len() })
    }

    /// Reads a batch, and the `numbers` numbers that belong to it.
    pub(super) fn read(&self, span: Span, numbers: usize) -> Result<(RecordBatch, Vec<u32>)> {
        let mut bytes = vec![0; span.bytes];
        {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(span.from))
                .and_then(|_| file.read_exact(&mut bytes))
                .map_err(|e| failed("read the temporary file in", &self.folder, e))?;
        }
        let (_, tail) = bytes.split_at(bytes.len().saturating_sub(numbers * size_of::<u32>()));
        let (tail, _) = tail.as_chunks();
        let numbers = tail.iter().map(|number| u32::from_le_bytes(*number)).collect();
        let batch = decode(self.memory.block(bytes).into()).map_err(|e| self.failed("read", e))?;
        Ok((batch, numbers))
    }

    fn failed(&self, verb: &str, cause: ArrowError) -> Error {
        failed(&format!("{verb} the temporary file in"), &self.folder, io::Error::other(cause))
    }
}

fn encode(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?;
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), batch.schema_ref(), options)?;
    writer.write(batch)?;
    writer.into_inner()
}

/// The first batch in `bytes`, which keeps them: nothing is copied.
fn decode(mut bytes: Buffer) -> Result<RecordBatch, ArrowError> {
    StreamDecoder::new().decode(&mut bytes)?.ok_or_else(|| ArrowError::IpcError("a block without a batch".to_owned()))
}
