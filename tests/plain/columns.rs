//! Growing columns. They take cells in any order within a row and only ever append: a row that brings nothing to a
//! column costs nothing until the next value, or the end, fills the gap with nulls.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, ListBuilder, MapBuilder, MapFieldNames,
    StringBuilder, TimestampMicrosecondBuilder,
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
    DoubleMap(Box<MapBuilder<StringBuilder, Float64Builder>>),
    StringMap(Box<MapBuilder<StringBuilder, StringBuilder>>),
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
            ColumnType::Int64Map => Values::Int64Map(map(kind, int())),
            ColumnType::DoubleMap => Values::DoubleMap(map(kind, Float64Builder::with_capacity(0))),
            ColumnType::StringMap => Values::StringMap(map(kind, text())),
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
        entries: impl Iterator<Item = (&'m str, Option<Cell<'m>>)>,
    ) -> Result<()> {
        self.fill(row)?;
        for (name, value) in entries {
            match (&mut self.values, value) {
                (Values::Int64Map(map), None) => map.values().append_null(),
                (Values::Int64Map(map), Some(Cell::Int(int))) => map.values().append_value(int),
                (Values::DoubleMap(map), Some(Cell::Double(double))) => map.values().append_value(double),
                (Values::StringMap(map), Some(Cell::Text(text))) => append_text(map.values(), text)?,
                _ => return Err(wrong_type()),
            }
            match &mut self.values {
                Values::Int64Map(map) => append_text(map.keys(), name)?,
                Values::DoubleMap(map) => append_text(map.keys(), name)?,
                Values::StringMap(map) => append_text(map.keys(), name)?,
                _ => return Err(wrong_type()),
            }
        }
        match &mut self.values {
            Values::Int64Map(map) => map.append(true),
            Values::DoubleMap(map) => map.append(true),
            Values::StringMap(map) => map.append(true),
            _ => return Err(wrong_type()),
        }
        .map_err(wrong_shape)?;
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
            Values::DoubleMap(values) => Arc::new(values.finish()),
            Values::StringMap(values) => Arc::new(values.finish()),
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
            Values::DoubleMap(values) => values.append_nulls(missing).map_err(wrong_shape)?,
            Values::StringMap(values) => values.append_nulls(missing).map_err(wrong_shape)?,
        }
        self.rows = row;
        Ok(())
    }
}

/// An empty map with values like those of `values`.
fn map<V: ArrayBuilder>(kind: ColumnType, values: V) -> Box<MapBuilder<StringBuilder, V>> {
    let (key, value) = entry(kind);
    let names = MapFieldNames { entry: "key_value".into(), key: key.name().clone(), value: value.name().clone() };
    let map = MapBuilder::with_capacity(Some(names), StringBuilder::with_capacity(0, 0), values, 0);
    Box::new(map.with_keys_field(key).with_values_field(value))
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
