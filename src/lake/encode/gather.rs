//! Columns of a row group as they are encoded, copied out of where their rows are.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, downcast_dictionary_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};

use super::levels::{Levels, valid};
use super::plain::Double;
use super::row_group::{RowGroup, other_type};
use crate::error::Result;

/// The values of a column.
pub(super) struct Gathered<V> {
    pub(super) levels: Levels,
    /// Those that are not null.
    pub(super) present: Vec<V>,
}

/// The values of column number `column`, those of lists one after another; `None` when every row is null.
///
/// # Errors
/// [`crate::error::Kind::Bug`] when it holds something else.
pub(super) fn gather<'a, V: Value<'a>>(
    group: &'a RowGroup,
    column: usize,
    is_list: bool,
) -> Result<Option<Gathered<V>>> {
    let open = |array: Option<&'a ArrayRef>| array.map(|array| Source::open(array, is_list)).transpose();
    let sources = group.arrays(column).map(open).collect::<Result<Vec<_>>>()?;
    let (mut levels, mut present) = (Levels::new(is_list, group.rows()), Vec::with_capacity(group.rows()));
    for (source, range) in group.ranges() {
        match &sources[*source] {
            None => levels.nulls(range.len()),
            Some(source) => source.append(range.clone(), &mut levels, &mut present)?,
        }
    }
    Ok((!levels.are_null()).then_some(Gathered { levels, present }))
}

/// The array of a column in one source.
struct Source<'a> {
    array: &'a ArrayRef,
    /// The values: those of the rows, or of what is in the rows' lists.
    values: &'a ArrayRef,
    /// Which values are null.
    nulls: Option<NullBuffer>,
}

impl<'a> Source<'a> {
    fn open(array: &'a ArrayRef, is_list: bool) -> Result<Source<'a>> {
        let values = if is_list { array.as_list_opt::<i32>().ok_or_else(other_type)?.values() } else { array };
        Ok(Source { array, values, nulls: values.logical_nulls() })
    }

    fn append<V: Value<'a>>(&self, range: Range<usize>, levels: &mut Levels, values: &mut Vec<V>) -> Result<()> {
        let nulls = self.nulls.as_ref();
        match self.array.as_list_opt::<i32>() {
            None => {
                levels.append(nulls, range.clone());
                V::append(values, self.values, nulls, range)
            }
            Some(lists) => levels.lists(lists, nulls, range, |items| V::append(values, self.values, nulls, items)),
        }
    }
}

/// A value of a column.
pub(super) trait Value<'a>: Copy {
    /// Appends those of `array` in `range` that are not null.
    ///
    /// # Errors
    /// [`crate::error::Kind::Bug`] when they are of another type.
    fn append(to: &mut Vec<Self>, array: &'a ArrayRef, nulls: Option<&NullBuffer>, range: Range<usize>) -> Result<()>;
}

impl<'a> Value<'a> for i64 {
    fn append(to: &mut Vec<i64>, array: &'a ArrayRef, nulls: Option<&NullBuffer>, range: Range<usize>) -> Result<()> {
        let values = match array.data_type() {
            DataType::Int64 => array.as_primitive_opt::<Int64Type>().map(|array| array.values()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                array.as_primitive_opt::<TimestampMicrosecondType>().map(|array| array.values())
            }
            _ => None,
        };
        let values = values.ok_or_else(other_type)?;
        match nulls {
            None => to.extend_from_slice(&values[range]),
            Some(_) => valid(nulls, range).for_each(|row| to.push(values[row])),
        }
        Ok(())
    }
}

impl<'a> Value<'a> for Double {
    fn append(to: &mut Vec<Self>, array: &'a ArrayRef, nulls: Option<&NullBuffer>, range: Range<usize>) -> Result<()> {
        let values = array.as_primitive_opt::<Float64Type>().ok_or_else(other_type)?.values();
        valid(nulls, range).for_each(|row| to.push(Double(values[row])));
        Ok(())
    }
}

impl<'a> Value<'a> for bool {
    fn append(to: &mut Vec<Self>, array: &'a ArrayRef, nulls: Option<&NullBuffer>, range: Range<usize>) -> Result<()> {
        let values = array.as_boolean_opt().ok_or_else(other_type)?.values();
        valid(nulls, range).for_each(|row| to.push(values.value(row)));
        Ok(())
    }
}

impl<'a> Value<'a> for &'a str {
    fn append(to: &mut Vec<Self>, array: &'a ArrayRef, nulls: Option<&NullBuffer>, range: Range<usize>) -> Result<()> {
        let rows = valid(nulls, range);
        downcast_dictionary_array! {
            array => {
                let once = array.downcast_dict::<StringArray>().ok_or_else(other_type)?.values();
                rows.filter_map(|row| array.key(row)).for_each(|key| to.push(once.value(key)));
            }
            DataType::Utf8 => {
                let plain = array.as_string::<i32>();
                rows.for_each(|row| to.push(plain.value(row)));
            }
            _ => return Err(other_type()),
        }
        Ok(())
    }
}
