//! Columns become Arrow arrays of exactly their size. Of the rows that grew, some spans are taken: those of a day.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BooleanArray, ListArray, MapArray, PrimitiveArray, StringArray, StructArray,
    new_null_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};

use super::buffers::{Column, Entries, Fixed, Lists, Texts};
use super::schema::{ColumnType, list_field};
use crate::error::{Error, Result};

/// Rows that follow each other.
pub(super) type Rows = Range<u32>;

/// Some of a column's values, and the rows of an array that they come to stand in.
struct Placed<'c> {
    rows: &'c [u32],
    /// Values, and what is to be added to their rows.
    parts: Vec<(Range<usize>, u32)>,
    /// How many rows the array has.
    len: usize,
    values: usize,
}

impl<'c> Placed<'c> {
    fn new(rows: &'c [u32], spans: &[Rows]) -> Placed<'c> {
        let (mut len, mut values, mut at) = (0_u32, 0, 0);
        // A row has one value at most: if the last one stands in its own place, so do all of them.
        let full = rows.last().is_none_or(|&last| last as usize + 1 == rows.len());
        let mut before = |row: u32| {
            at = if full { rows.len().min(row as usize) } else { before(rows, at, row) };
            at
        };
        let part = |span: &Rows| {
            let part = before(span.start)..before(span.end);
            let shift = len.wrapping_sub(span.start);
            len += span.end - span.start;
            values += part.len();
            (part, shift)
        };
        let parts = spans.iter().map(part).collect();
        Placed { rows, parts, len: len as usize, values }
    }

    /// Whether every row has a value.
    fn is_full(&self) -> bool {
        self.values == self.len
    }

    /// Each of the taken ones of `values` with the row that it comes to stand in.
    #[inline(always)]
    fn each<T: Copy>(&self, values: &[T], mut to: impl FnMut(usize, T)) {
        for (part, shift) in &self.parts {
            for (row, value) in self.rows[part.clone()].iter().zip(&values[part.clone()]) {
                to(row.wrapping_add(*shift) as usize, *value);
            }
        }
    }

    fn nulls(&self) -> Option<NullBuffer> {
        if self.is_full() {
            return None;
        }
        let mut bits = vec![0_u8; self.len.div_ceil(8)];
        self.each(self.rows, |row, _| bits[row / 8] |= 1 << (row % 8));
        Some(NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(bits), 0, self.len)))
    }

    fn fixed<T: Copy + Default>(&self, values: &[T]) -> Vec<T> {
        if self.is_full() {
            let mut taken = Vec::with_capacity(self.len);
            self.parts.iter().for_each(|(part, _)| taken.extend_from_slice(&values[part.clone()]));
            return taken;
        }
        let mut taken = vec![T::default(); self.len];
        self.each(values, |row, value| taken[row] = value);
        taken
    }

    /// Where each row's part of what lies behind each other begins and ends; `ends` are the ends of all values' parts.
    /// And which spans of that are taken.
    fn offsets<E: Copy + Into<i64>>(&self, ends: &[E]) -> Result<(OffsetBuffer<i32>, Vec<Rows>)> {
        let end = |values: usize| values.checked_sub(1).map_or(0, |last| ends[last].into());
        let narrow = |offset: i64| i32::try_from(offset).map_err(|e| Error::bug("a sheet grew too large").source(e));
        let (mut offsets, mut taken) = (Vec::with_capacity(self.len + 1), Vec::with_capacity(self.parts.len()));
        let mut total = 0;
        offsets.push(0);
        for (part, shift) in &self.parts {
            let start = end(part.start);
            let shifted = total - start;
            // What comes last is checked below, and the others are less.
            let offset = |&end: &E| end.into().wrapping_add(shifted) as i32;
            if self.is_full() {
                offsets.extend(ends[part.clone()].iter().map(offset));
            } else {
                for (row, end) in self.rows[part.clone()].iter().zip(&ends[part.clone()]) {
                    let row = row.wrapping_add(*shift) as usize;
                    if offsets.len() <= row {
                        let before = offsets[offsets.len() - 1];
                        offsets.resize(row + 1, before);
                    }
                    offsets.push(offset(end));
                }
            }
            total = end(part.end) + shifted;
            taken.push(narrow(start)? as u32..narrow(end(part.end))? as u32);
        }
        offsets.resize(self.len + 1, narrow(total)?);
        Ok((OffsetBuffer::new(offsets.into()), taken))
    }
}

/// How many of `rows` are before `row`, at least `from`: likely not many more.
fn before(rows: &[u32], from: usize, row: u32) -> usize {
    let (mut from, mut step) = (from, 1);
    while rows.get(from + step).is_some_and(|&at| at < row) {
        from += step;
        step *= 2;
    }
    let near = &rows[from..rows.len().min(from + step)];
    from + near.partition_point(|&at| at < row)
}

/// The array of the rows in `spans`, which ascend; `None` when none of them has a value.
pub(super) fn array(column: &Column, spans: &[Rows]) -> Result<Option<ArrayRef>> {
    let placed = Placed::new(column.rows(), spans);
    if placed.values == 0 {
        return Ok(None);
    }
    let array: ArrayRef = match column {
        Column::Timestamp(column) => Arc::new(
            primitive::<TimestampMicrosecondType>(&placed, column).with_data_type(ColumnType::Timestamp.data_type()),
        ),
        Column::Int64(column) => Arc::new(primitive::<Int64Type>(&placed, column)),
        Column::Double(column) => Arc::new(primitive::<Float64Type>(&placed, column)),
        Column::Boolean(column) => {
            let values = BooleanBuffer::from(placed.fixed(&column.values));
            Arc::new(BooleanArray::new(values, placed.nulls()))
        }
        Column::String(column) => texts(&placed, column)?,
        Column::StringList(lists) => {
            let (offsets, items) = placed.offsets(&lists.ends)?;
            let items = whole(array_of_texts(&lists.items, &items)?, &DataType::Utf8, &items);
            Arc::new(ListArray::try_new(list_field(DataType::Utf8), offsets, items, placed.nulls()).map_err(broken)?)
        }
        Column::Int64List(lists) => {
            let (offsets, items) = placed.offsets(&lists.ends)?;
            let inner = Placed::new(&lists.items.rows, &items);
            let items = Arc::new(primitive::<Int64Type>(&inner, &lists.items));
            Arc::new(ListArray::try_new(list_field(DataType::Int64), offsets, items, placed.nulls()).map_err(broken)?)
        }
        Column::Int64Map(lists) => map(&placed, ColumnType::Int64Map, lists, inner::<Int64Type>)?,
        Column::DoubleMap(lists) => map(&placed, ColumnType::DoubleMap, lists, inner::<Float64Type>)?,
        Column::StringMap(lists) => map(&placed, ColumnType::StringMap, lists, |values, items| {
            Ok(whole(array_of_texts(values, items)?, &DataType::Utf8, items))
        })?,
    };
    Ok(Some(array))
}

fn map<V>(
    placed: &Placed<'_>,
    kind: ColumnType,
    lists: &Lists<Entries<V>>,
    values: impl FnOnce(&V, &[Rows]) -> Result<ArrayRef>,
) -> Result<ArrayRef> {
    let (offsets, items) = placed.offsets(&lists.ends)?;
    let names = whole(array_of_texts(&lists.items.names, &items)?, &DataType::Utf8, &items);
    let values = values(&lists.items.values, &items)?;
    if let DataType::Map(field, sorted) = kind.data_type()
        && let DataType::Struct(fields) = field.data_type()
    {
        let entries = StructArray::try_new(fields.clone(), vec![names, values], None).map_err(broken)?;
        return Ok(Arc::new(MapArray::try_new(field, offsets, entries, placed.nulls(), sorted).map_err(broken)?));
    }
    Err(Error::bug("a map has another type"))
}

fn inner<T: ArrowPrimitiveType>(values: &Fixed<T::Native>, items: &[Rows]) -> Result<ArrayRef> {
    Ok(Arc::new(primitive::<T>(&Placed::new(&values.rows, items), values)))
}

fn primitive<T: ArrowPrimitiveType>(placed: &Placed<'_>, column: &Fixed<T::Native>) -> PrimitiveArray<T> {
    PrimitiveArray::new(ScalarBuffer::from(placed.fixed(&column.values)), placed.nulls())
}

fn texts(placed: &Placed<'_>, column: &Texts) -> Result<ArrayRef> {
    let (offsets, taken) = placed.offsets(&column.ends)?;
    let mut bytes = Vec::with_capacity(taken.iter().map(ExactSizeIterator::len).sum());
    taken.iter().for_each(|span| bytes.extend_from_slice(&column.bytes[span.start as usize..span.end as usize]));
    Ok(Arc::new(StringArray::try_new(offsets, Buffer::from_vec(bytes), placed.nulls()).map_err(broken)?))
}

fn array_of_texts(column: &Texts, spans: &[Rows]) -> Result<Option<ArrayRef>> {
    let placed = Placed::new(&column.rows, spans);
    if placed.values == 0 { Ok(None) } else { texts(&placed, column).map(Some) }
}

fn whole(array: Option<ArrayRef>, kind: &DataType, spans: &[Rows]) -> ArrayRef {
    array.unwrap_or_else(|| new_null_array(kind, spans.iter().map(ExactSizeIterator::len).sum()))
}

fn broken(e: arrow::error::ArrowError) -> Error {
    Error::bug("columns do not make an array").source(e)
}
