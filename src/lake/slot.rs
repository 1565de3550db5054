//! What is read back of a Parquet file: its label, its ids, and whether it is what was written.

use std::fs::File;
use std::io::{self, Read};

use arrow::array::AsArray;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::ChunkReader;
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

use super::encode::{Encoded, ID, Label, hex, key};
use super::receipt::id_hash;
use crate::time::parse_timestamp;

/// Bytes that are hashed at a time.
const READ_BYTES: usize = 256 * 1024;

/// Reads the label of a file; `None` when it is a Parquet file that convlake did not write.
///
/// # Errors
/// When it is not a Parquet file.
pub fn read_label(file: &impl ChunkReader) -> Result<Option<Label>, ParquetError> {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(file)?;
    Ok(label_of(&metadata))
}

fn label_of(metadata: &ParquetMetaData) -> Option<Label> {
    let value = |key| metadata_value(metadata, key);
    Some(Label {
        uuid: value(key::UUID)?.parse().ok()?,
        day: value(key::DAY)?.parse().ok()?,
        run: value(key::RUN)?.parse::<Uuid>().ok()?.into(),
        observed_at: parse_timestamp(&value(key::OBSERVED_AT)?)?,
    })
}

/// A value of the footer's key-value metadata.
pub(super) fn metadata_value(metadata: &ParquetMetaData, key: &str) -> Option<String> {
    let entries = metadata.file_metadata().key_value_metadata()?;
    entries.iter().find(|entry| entry.key == key)?.value.clone()
}

/// Whether the bytes in `file` are those that `encoded` and `label` describe: all of them, and readable as Parquet.
///
/// # Errors
/// When the file cannot be read, or is not what was written.
pub fn verify(file: File, label: &Label, encoded: &Encoded) -> io::Result<()> {
    let mut reader = file.try_clone()?;
    let (mut hash, mut bytes) = (Xxh3::new(), 0);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).map_err(io::Error::other)?;
    let rows = u64::try_from(metadata.file_metadata().num_rows()).ok();
    let same = bytes == encoded.bytes
        && hex(hash.digest128()) == encoded.hash
        && rows == Some(encoded.rows)
        && label_of(&metadata).as_ref() == Some(label);
    if same {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "what is read back is not what was written"))
    }
}

/// The hashes of the conversation ids in a file, in its order; `None` when it is not the file `uuid`.
///
/// # Errors
/// When it cannot be read, or has no such column.
pub fn read_ids(file: File, uuid: Uuid) -> Result<Option<Vec<u128>>, ParquetError> {
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
    if label_of(metadata.metadata()).is_none_or(|label| label.uuid != uuid) {
        return Ok(None);
    }
    let column = ProjectionMask::columns(metadata.parquet_schema(), [ID]);
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata).with_projection(column).build()?;
    let mut ids = Vec::new();
    for batch in reader {
        let batch = batch?;
        let texts = batch.columns().first().and_then(|c| c.as_string_opt::<i32>());
        let texts = texts.ok_or_else(|| ParquetError::General(format!("the file has no text column `{ID}`")))?;
        ids.extend(texts.iter().flatten().map(id_hash));
    }
    Ok(Some(ids))
}
