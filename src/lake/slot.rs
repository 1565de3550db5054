//! What is read back of a Parquet file: its label, its ids, and whether it is what was written.

use arrow::array::{AsArray, RecordBatch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::ChunkReader;
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

use super::encode::{Encoded, ID, Label, hex, key};
use super::layout::RunId;
use super::order::Order;
use crate::time::parse_timestamp;

/// Bytes that are read and hashed at a time: large enough that a store is asked a few times a file.
const READ_BYTES: u64 = 8 << 20;

/// Reads the label of a file; `None` when it is a Parquet file that convlake did not write.
///
/// # Errors
/// When it is not a Parquet file.
pub fn read_label(file: &impl ChunkReader) -> Result<Option<Label>, ParquetError> {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(file)?;
    Ok(label_of(&metadata))
}

pub(super) fn label_of(metadata: &ParquetMetaData) -> Option<Label> {
    let value = |key| metadata_value(metadata, key);
    let id = |key| value(key).map(|text| text.parse::<Uuid>().map(RunId::from));
    let number = |key| value(key).map_or(Ok(0), |text| text.parse());
    let (writer, observed_at) = (id(key::RUN)?.ok()?, parse_timestamp(&value(key::OBSERVED_AT)?)?);
    // Files of lakes that know no generations have none of these.
    let (generation, revision) = (number(key::GENERATION).ok()?, number(key::REVISION).ok()?);
    let observer = id(key::OBSERVER).transpose().ok()?.unwrap_or(writer);
    let order = Order::observed(generation, observed_at, observer);
    Some(Label {
        uuid: value(key::UUID)?.parse().ok()?,
        day: value(key::DAY)?.parse().ok()?,
        order: order.as_revision(u32::try_from(revision).ok()?, writer),
        observed_at,
        of: value(key::OF).and_then(|text| text.parse().ok()),
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
pub fn verify(file: &impl ChunkReader, label: &Label, encoded: &Encoded) -> Result<(), ParquetError> {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(file)?;
    let rows = u64::try_from(metadata.file_metadata().num_rows()).ok();
    let same = file.len() == encoded.bytes
        && hash(file)? == encoded.hash
        && rows == Some(encoded.rows)
        && label_of(&metadata).as_ref() == Some(label);
    let other = || ParquetError::General("what is read back is not what was written".to_owned());
    same.then_some(()).ok_or_else(other)
}

/// The hash of all bytes of a file, read piece by piece.
///
/// # Errors
/// When it cannot be read.
pub fn hash(file: &impl ChunkReader) -> Result<String, ParquetError> {
    let (mut hash, mut at, end) = (Xxh3::new(), 0, file.len());
    while at < end {
        let length = READ_BYTES.min(end - at);
        hash.update(&file.get_bytes(at, length as usize)?);
        at += length;
    }
    Ok(hex(hash.digest128()))
}

/// What `of` makes of the conversation ids in a file, in its order; `None` when it is not the file `uuid`.
///
/// # Errors
/// When it cannot be read, or has no such column.
pub fn read_ids<T>(
    file: impl ChunkReader + 'static,
    uuid: Uuid,
    of: impl Fn(&str) -> Option<T>,
) -> Result<Option<Vec<T>>, ParquetError> {
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
        ids.extend(texts.iter().flatten().filter_map(&of));
    }
    Ok(Some(ids))
}

/// The first row of a file, with those of `columns` that it has; `None` when it is not the file `uuid`, or has no row.
///
/// # Errors
/// When it cannot be read.
pub fn read_first(
    file: impl ChunkReader + 'static,
    uuid: Uuid,
    columns: &[&str],
) -> Result<Option<RecordBatch>, ParquetError> {
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
    if label_of(metadata.metadata()).is_none_or(|label| label.uuid != uuid) {
        return Ok(None);
    }
    let columns = ProjectionMask::columns(metadata.parquet_schema(), columns.iter().copied());
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata).with_projection(columns);
    Ok(reader.with_limit(1).build()?.next().transpose()?.filter(|batch| batch.num_rows() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_of_all_bytes_however_many_there_are() {
        for size in [0, 1, READ_BYTES - 1, READ_BYTES, READ_BYTES + 1] {
            let bytes = bytes::Bytes::from(vec![7; size as usize]);
            assert_eq!(hash(&bytes).unwrap(), hex(xxhash_rust::xxh3::xxh3_128(&bytes)), "{size}");
        }
    }
}
