//! Growing columns. They take cells in any order within a row and only ever append: a row that brings nothing to a
//! column costs nothing until the next value, or the end, fills the gap with nulls.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, ListBuilder, MapBuilder, MapFieldNames, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, FieldRef};

use super::cell::Cell;
use convlake::error::{Error, Result};
use convlake::flatten::schema::ColumnType;

/// One column of a table that grows row by row.
#[derive(Debug)]
pub(crate) struct ColumnBuilder {
    values: Values,
    /// Rows that have been appended, nulls included.
    rows: usize,
}

#[derive(Debug)]
enum Values {
    Timestamp(TimestampMicrosecondBuilder),
    Int64(Int64Builder),
    Double(Float64Builder),
    Boolean(BooleanBuilder),
    String(StringBuilder),
    StringList(ListBuilder<StringBuilder>),
    Int64List(ListBuilder<Int64Builder>),
    Int64Map(Box<MapBuilder<StringBuilder, Int64Builder>>),
}

impl ColumnBuilder {
    /// An empty column; it allocates with its first value.
    pub(crate) fn new(kind: ColumnType) -> ColumnBuilder {
        let text = || StringBuilder::with_capacity(0, 0);
        let int = || Int64Builder::with_capacity(0);
        let values = match kind {
            ColumnType::Timestamp => {
                Values::Timestamp(TimestampMicrosecondBuilder::with_capacity(0).with_data_type(kind.data_type()))
            }
            ColumnType::Int64 => Values::Int64(int()),
            ColumnType::Double => Values::Double(Float64Builder::with_capacity(0)),
            ColumnType::Boolean => Values::Boolean(BooleanBuilder::with_capacity(0)),
            ColumnType::String => Values::String(text()),
            ColumnType::StringList => Values::StringList(ListBuilder::with_capacity(text(), 0).with_field(item(kind))),
            ColumnType::Int64List => Values::Int64List(ListBuilder::with_capacity(int(), 0).with_field(item(kind))),
            ColumnType::Int64Map => {
                let (key, value) = entry(kind);
                let names =
                    MapFieldNames { entry: "key_value".into(), key: key.name().clone(), value: value.name().clone() };
                let map = MapBuilder::with_capacity(Some(names), text(), int(), 0);
                Values::Int64Map(Box::new(map.with_keys_field(key).with_values_field(value)))
            }
        };
        ColumnBuilder { values, rows: 0 }
    }

    /// Puts `cell` into row `row`; rows come in ascending order.
    ///
    /// # Errors
    /// [`crate::error::Kind::Bug`] when the row has a value already, or the cell is not of the column's type;
    /// [`crate::error::Kind::Data`] when the column's text would exceed what Arrow can address.
    pub(crate) fn put(&mut self, row: usize, cell: &Cell<'_>) -> Result<()> {
        self.fill(row)?;
        match (&mut self.values, cell) {
            (Values::Timestamp(values), Cell::Micros(micros)) => values.append_value(*micros),
            (Values::Int64(values), Cell::Int(int)) => values.append_value(*int),
            (Values::Double(values), Cell::Double(double)) => values.append_value(*double),
            (Values::Boolean(values), Cell::Boolean(boolean)) => values.append_value(*boolean),
            (Values::String(values), Cell::Text(text)) => append_text(values, text)?,
            (Values::StringList(values), Cell::List(items)) => {
                for item in items {
                    match item {
                        Some(Cell::Text(text)) => append_text(values.values(), text)?,
                        None => values.values().append_null(),
                        Some(_) => return Err(wrong_type()),
                    }
                }
                values.append(true);
            }
            (Values::Int64List(values), Cell::List(items)) => {
                for item in items {
                    match item {
                        Some(Cell::Int(int)) => values.values().append_value(*int),
                        None => values.values().append_null(),
                        Some(_) => return Err(wrong_type()),
                    }
                }
                values.append(true);
            }
            _ => return Err(wrong_type()),
        }
        self.rows += 1;
        Ok(())
    }

    /// Puts a map into row `row`; names are distinct.
    ///
    /// # Errors
    /// Like [`ColumnBuilder::put`].
    pub(crate) fn put_map<'m>(
        &mut self,
        row: usize,
        entries: impl Iterator<Item = (&'m str, Option<i64>)>,
    ) -> Result<()> {
        self.fill(row)?;
        let Values::Int64Map(values) = &mut self.values else { return Err(wrong_type()) };
        for (name, value) in entries {
            append_text(values.keys(), name)?;
            values.values().append_option(value);
        }
        values.append(true).map_err(wrong_shape)?;
        self.rows += 1;
        Ok(())
    }

    /// The array of the first `rows` rows.
    pub(crate) fn finish(mut self, rows: usize) -> Result<ArrayRef> {
        self.fill(rows)?;
        Ok(match &mut self.values {
            Values::Timestamp(values) => Arc::new(values.finish()),
            Values::Int64(values) => Arc::new(values.finish()),
            Values::Double(values) => Arc::new(values.finish()),
            Values::Boolean(values) => Arc::new(values.finish()),
            Values::String(values) => Arc::new(values.finish()),
            Values::StringList(values) => Arc::new(values.finish()),
            Values::Int64List(values) => Arc::new(values.finish()),
            Values::Int64Map(values) => Arc::new(values.finish()),
        })
    }

    /// Appends nulls until row `row` is the next one.
    fn fill(&mut self, row: usize) -> Result<()> {
        let missing =
            row.checked_sub(self.rows).ok_or_else(|| Error::bug("a column got two values for the same row"))?;
        if missing == 0 {
            return Ok(());
        }
        match &mut self.values {
            Values::Timestamp(values) => values.append_nulls(missing),
            Values::Int64(values) => values.append_nulls(missing),
            Values::Double(values) => values.append_nulls(missing),
            Values::Boolean(values) => values.append_nulls(missing),
            Values::String(values) => values.append_nulls(missing),
            Values::StringList(values) => values.append_nulls(missing),
            Values::Int64List(values) => values.append_nulls(missing),
            Values::Int64Map(values) => values.append_nulls(missing).map_err(wrong_shape)?,
        }
        self.rows = row;
        Ok(())
    }
}

/// Appends `text` if the column can hold it: Arrow's offsets have 31 bits, and its builders panic beyond.
fn append_text(values: &mut StringBuilder, text: &str) -> Result<()> {
    const BYTES_MAX: usize = i32::MAX as usize;
    if values.values_slice().len().saturating_add(text.len()) > BYTES_MAX {
        return Err(Error::data("a column of one page and day has more than 2 GiB of text")
            .hint("ask for smaller pages; ids of absurd length, repeated in every row, can cause this too"));
    }
    values.append_value(text);
    Ok(())
}

fn wrong_type() -> Error {
    Error::bug("a column got a value of another type")
}

fn wrong_shape(e: arrow::error::ArrowError) -> Error {
    Error::bug("a map column is out of step").source(e)
}

/// The field of a list's items.
fn item(list: ColumnType) -> FieldRef {
    match list.data_type() {
        DataType::List(item) => item,
        other => panic!("{other} is no list"),
    }
}

/// The fields of a map's entries.
fn entry(map: ColumnType) -> (FieldRef, FieldRef) {
    match map.data_type() {
        DataType::Map(entry, _) => match entry.data_type() {
            DataType::Struct(fields) => (Arc::clone(&fields[0]), Arc::clone(&fields[1])),
            other => panic!("{other} is no entry"),
        },
        other => panic!("{other} is no map"),
    }
}
