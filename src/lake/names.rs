//! What the latest snapshot of a dimension says its ids are called.

use arrow::array::AsArray;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use super::layout::{Dataset, LakePath};
use super::open::Lake;
use super::store::Object;
use crate::error::{Error, Result};
use crate::time::Day;

/// An id and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// The id.
    pub id: String,
    /// What it is called.
    pub name: String,
}

/// The names of one dimension on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The day of the snapshot.
    pub day: Day,
    /// In the order of its rows.
    pub all: Vec<Named>,
}

impl Lake {
    /// The names of a dimension's latest snapshot; `None` without a snapshot, or when the lake leaves its names out.
    /// Blocks.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when the snapshot cannot be read.
    pub fn names(&self, dimension: &str) -> Result<Option<Names>> {
        let dataset =
            Dataset::of_dimension(dimension).ok_or_else(|| Error::bug(format!("`{dimension}` is not a dimension")))?;
        let ledger = self.ledger_of(dataset)?;
        let mut receipts = ledger.days().rev().filter_map(|(_, entry)| entry.receipt.as_ref());
        let Some((day, file)) = receipts.find_map(|receipt| Some((receipt.day, receipt.files.first()?))) else {
            return Ok(None);
        };
        let place = LakePath::Part(file.table.clone(), day);
        let unreadable = || {
            Error::storage(format!("the names in `{place}` cannot be read"))
                .hint("take a new snapshot with `convlake dimensions`, or give ids")
        };
        let file = self.store.open(&place)?.ok_or_else(unreadable)?;
        let all = read(file).map_err(|e| unreadable().source(e))?;
        Ok(all.map(|all| Names { day, all }))
    }
}

/// The rows that have a name; `None` without a column of names.
fn read(file: Object) -> Result<Option<Vec<Named>>, ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
    if builder.schema().column_with_name("name").is_none() {
        return Ok(None);
    }
    let columns = ProjectionMask::columns(builder.parquet_schema(), ["id", "name"]);
    let mut all = Vec::new();
    for batch in builder.with_projection(columns).build()? {
        let batch = batch?;
        let text = |name: &str| {
            let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
            column.ok_or_else(|| ParquetError::General(format!("there is no text column `{name}`")))
        };
        let (ids, names) = (text("id")?, text("name")?);
        for (id, name) in ids.iter().zip(names.iter()) {
            if let (Some(id), Some(name)) = (id, name) {
                all.push(Named { id: id.to_owned(), name: name.to_owned() });
            }
        }
    }
    Ok(Some(all))
}
