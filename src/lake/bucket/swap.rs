//! Compare and swap: a finished local file takes the place of the version of an object that was looked at.

use std::fs::File;
use std::io::Read;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use object_store::{ObjectStoreExt, PutMode, WriteMultipart};
use tracing::debug;
use uuid::Uuid;

use super::super::layout::LakePath;
use super::super::slot::read_label;
use super::{Bucket, Tag, is_refusal};
use crate::error::{Error, Result};

/// The largest file that is written by one conditional request, which takes it into memory. A larger one is streamed
/// in parts, which no store's interface here can make depend on a condition, and read back.
const CONDITIONAL_BYTES_MAX: u64 = 256 << 20;
/// Bytes of one part of a streamed file: 10,000 of them, the most that S3 takes, make 160 GB.
const PART_BYTES: usize = 16 << 20;
/// Parts of one file on their way at the same time.
const PARTS_IN_FLIGHT: usize = 4;
/// How often a write is tried that leaves no trace.
const ATTEMPTS: usize = 3;

/// What a slot has to hold for it to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::lake) enum Expected {
    /// No object.
    Nothing,
    /// This version.
    Version(Tag),
}

/// How a swap ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lake) enum Swap {
    /// The file is in the slot, or was for a moment.
    Done,
    /// Somebody else changed the slot.
    Lost,
}

impl Bucket {
    /// Puts the file `from`, whose footer says `uuid`, into the slot `to` that holds `expected`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when the store keeps failing; whether the file is in the slot is then unknown.
    pub(in crate::lake) fn swap(
        &self,
        from: &FilePath,
        to: &LakePath,
        uuid: Uuid,
        expected: &Expected,
    ) -> Result<Swap> {
        let size = from.metadata().map_err(|e| unreadable(from, e))?.len();
        for attempt in 1.. {
            let written = if size > CONDITIONAL_BYTES_MAX {
                self.stream(from.to_owned(), to)?
            } else {
                let mode = match expected {
                    _ if self.is_for_a_single_writer() => PutMode::Overwrite,
                    Expected::Nothing => PutMode::Create,
                    Expected::Version(tag) => PutMode::Update(tag.clone()),
                };
                let bytes = std::fs::read(from).map_err(|e| unreadable(from, e))?;
                self.put(to, bytes.into(), mode)?.map(drop)
            };
            let Err(error) = written else {
                if size <= CONDITIONAL_BYTES_MAX {
                    return Ok(Swap::Done);
                }
                return Ok(if self.holds(to, uuid)?.is_some() { Swap::Done } else { Swap::Lost });
            };
            // Refused or failed, it may have arrived: only what stands in the slot tells.
            let now = self.open(to)?;
            let found = now.as_ref().map_or(Expected::Nothing, |object| Expected::Version(object.tag().clone()));
            if now.is_some_and(|object| read_label(&object).is_ok_and(|label| label.is_some_and(|l| l.uuid == uuid))) {
                return Ok(Swap::Done);
            }
            if found != *expected {
                return Ok(Swap::Lost);
            }
            if attempt == ATTEMPTS || !is_refusal(&error) {
                return Err(self.failed("write", &to.to_string(), error));
            }
            debug!(%to, cause = %super::cause(&error, &self.0.secrets), "refused although nothing changed: once more");
        }
        Ok(Swap::Lost)
    }

    /// The version of the object `place` if its footer says `uuid`.
    fn holds(&self, place: &LakePath, uuid: Uuid) -> Result<Option<Tag>> {
        let Some(object) = self.open(place)? else { return Ok(None) };
        let label = read_label(&object).ok().flatten();
        Ok(label.filter(|label| label.uuid == uuid).map(|_| object.tag().clone()))
    }

    fn stream(&self, from: PathBuf, to: &LakePath) -> Result<object_store::Result<()>> {
        let (objects, key) = (Arc::clone(&self.0.objects), self.key(to)?);
        self.wait(async move {
            let mut file = File::open(&from).map_err(|e| unreadable(&from, e))?;
            let mut upload = match objects.put_multipart(&key).await {
                Ok(upload) => WriteMultipart::new_with_chunk_size(upload, PART_BYTES),
                Err(e) => return Ok(Err(e)),
            };
            loop {
                let mut part = Vec::with_capacity(PART_BYTES);
                let read = Read::by_ref(&mut file).take(PART_BYTES as u64).read_to_end(&mut part);
                if read.map_err(|e| unreadable(&from, e))? == 0 {
                    break;
                }
                if let Err(e) = upload.wait_for_capacity(PARTS_IN_FLIGHT).await {
                    // Parts that nobody completes are never visible; removing them only saves their price.
                    drop(upload.abort().await);
                    return Ok(Err(e));
                }
                upload.put(Bytes::from(part));
            }
            Ok(upload.finish().await.map(drop))
        })?
    }
}

fn unreadable(path: &FilePath, cause: std::io::Error) -> Error {
    super::super::local::failed("read", path, cause)
}
