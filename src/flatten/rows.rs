//! The rows of one table, column by column, as they wait to be written.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};

use crate::error::{Error, Result};

/// Rows of one table.
///
/// Tables are wide and most fields are rare, so a column without a value takes no room; and a text that rows repeat
/// from the object above them (its id) may stand once, in a dictionary.
#[derive(Clone, Debug)]
pub struct Rows {
    schema: SchemaRef,
    len: usize,
    columns: Vec<Option<ArrayRef>>,
}

impl Rows {
    /// `len` rows with the columns of `schema`, in its order. `None` is a column that is null in every row. An array
    /// has the type of its field, or is a dictionary with values of that type.
    ///
    /// # Errors
    /// [`crate::error::Kind::Bug`] when a column has another length or type, or is null where its field is not.
    pub fn new(schema: SchemaRef, len: usize, columns: Vec<Option<ArrayRef>>) -> Result<Rows> {
        let fits = columns.len() == schema.fields().len()
            && schema.fields().iter().zip(&columns).all(|(field, column)| match column {
                None => field.is_nullable() || len == 0,
                Some(array) => array.len() == len && plain(array.data_type()) == field.data_type(),
            });
        if !fits {
            return Err(Error::bug("the columns do not match their schema"));
        }
        Ok(Rows { schema, len, columns })
    }

    /// Their number.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The columns' names and types.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The columns in schema order; `None` is null in every row.
    pub fn columns(&self) -> &[Option<ArrayRef>] {
        &self.columns
    }

    /// The column of this name; `None` when there is none, or it is null in every row.
    pub fn column(&self, name: &str) -> Option<&ArrayRef> {
        let (index, _) = self.schema.column_with_name(name)?;
        self.columns.get(index)?.as_ref()
    }

    /// The rows in `range`, sharing this memory.
    pub fn slice(&self, range: Range<usize>) -> Rows {
        let of = |column: &Option<ArrayRef>| column.as_ref().map(|array| array.slice(range.start, range.len()));
        Rows { schema: Arc::clone(&self.schema), len: range.len(), columns: self.columns.iter().map(of).collect() }
    }

    /// The same rows with every column written out.
    ///
    /// # Errors
    /// [`crate::error::Kind::Bug`] only.
    pub fn to_batch(&self) -> Result<RecordBatch> {
        let broken = |e| Error::bug("rows are not a batch").source(e);
        let whole = |(field, column): (&Arc<arrow::datatypes::Field>, &Option<ArrayRef>)| match column {
            None => Ok(new_null_array(field.data_type(), self.len)),
            Some(array) if array.data_type() == field.data_type() => Ok(Arc::clone(array)),
            Some(array) => cast(array, field.data_type()).map_err(broken),
        };
        let columns = self.schema.fields().iter().zip(&self.columns).map(whole).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.len));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(broken)
    }

    /// Memory held by the columns, in bytes. Texts that stand in a dictionary are held by the table they come from.
    pub fn bytes(&self) -> usize {
        let held = |array: &ArrayRef| match array.as_any_dictionary_opt() {
            Some(dictionary) => dictionary.keys().get_array_memory_size(),
            None => array.get_array_memory_size(),
        };
        let columns: usize = self.columns.iter().flatten().map(held).sum();
        columns + size_of_val(self.columns.as_slice())
    }
}

/// The type of a dictionary's values, or the type itself.
fn plain(kind: &DataType) -> &DataType {
    match kind {
        DataType::Dictionary(_, values) => values,
        plain => plain,
    }
}

impl From<RecordBatch> for Rows {
    fn from(batch: RecordBatch) -> Rows {
        let (schema, columns, len) = batch.into_parts();
        let columns = columns.into_iter().map(|array| (array.null_count() < len).then_some(array)).collect();
        Rows { schema, len, columns }
    }
}
