//! One conversation of a lake, to show what it holds.

use arrow::array::RecordBatch;

use super::Lake;
use super::encode::CONVERSATIONS;
use super::layout::LakePath;
use super::receipt::Receipt;
use super::slot;
use crate::error::{Error, Result};

/// The first conversation of the day that `receipt` is of, with those of `columns` that its file has. `None` when the
/// day has no conversation, or when another run has replaced its file.
///
/// # Errors
/// [`crate::error::Kind::Storage`] when the file cannot be read.
pub fn first_conversation(lake: &Lake, receipt: &Receipt, columns: &[&str]) -> Result<Option<RecordBatch>> {
    let entry = receipt.files.iter().find(|entry| entry.table.as_str() == CONVERSATIONS);
    let Some(entry) = entry else { return Ok(None) };
    let place = LakePath::Part(entry.table.clone(), receipt.day);
    let Some(file) = lake.store.open(&place)? else { return Ok(None) };
    let first = slot::read_first(file, entry.uuid, columns);
    first.map_err(|e| Error::storage(format!("`{place}` cannot be read")).source(e))
}
