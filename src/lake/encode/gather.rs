//! Columns of a row group as they are encoded, copied out of where their rows are.

use std::ops::Range;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, DictionaryArray, PrimitiveArray, StringArray,
    downcast_dictionary_array,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{ArrowDictionaryKeyType, DataType, Int64Type, TimeUnit, TimestampMicrosecondType};

use super::numbers::Numbers;
use super::row_group::{RowGroup, other_type};
use super::texts::Texts;
use crate::error::Result;

/// The whole numbers or times of column number `column`; `None` when it is null in every row.
///
/// # Errors
/// [`crate::error::Kind::Bug`] when it holds something else.
pub(super) fn numbers(group: &RowGroup, column: usize) -> Result<Option<Numbers>> {
    let sources = group.arrays(column).map(|array| array.map(primitive).transpose()).collect::<Result<Vec<_>>>()?;
    let mut numbers = Numbers { levels: Vec::with_capacity(group.rows()), values: Vec::with_capacity(group.rows()) };
    let Numbers { levels, values } = &mut numbers;
    for (source, range) in group.ranges() {
        match sources[*source] {
            None => levels.resize(levels.len() + range.len(), 0),
            Some((array, None)) => {
                levels.resize(levels.len() + range.len(), 1);
                values.extend_from_slice(&array[range.clone()]);
            }
            Some((array, Some(nulls))) => {
                levels.extend(range.clone().map(|row| u8::from(nulls.is_valid(row))));
                values.extend(range.clone().filter(|&row| nulls.is_valid(row)).map(|row| array[row]));
            }
        }
    }
    Ok((!numbers.values.is_empty()).then_some(numbers))
}

/// The values of an array, and which of them are null.
fn primitive(array: &ArrayRef) -> Result<(&[i64], Option<&NullBuffer>)> {
    fn parts<T: ArrowPrimitiveType<Native = i64>>(array: &PrimitiveArray<T>) -> (&[i64], Option<&NullBuffer>) {
        (array.values(), array.nulls())
    }
    match array.data_type() {
        DataType::Int64 => array.as_primitive_opt::<Int64Type>().map(parts),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            array.as_primitive_opt::<TimestampMicrosecondType>().map(parts)
        }
        _ => None,
    }
    .ok_or_else(other_type)
}

/// The texts of column number `column`, each once; no further when they have more than `most` bytes.
///
/// # Errors
/// [`crate::error::Kind::Bug`] when it holds something else.
pub(super) fn texts(group: &RowGroup, column: usize, most: usize) -> Result<Texts<'_>> {
    let arrays: Vec<Option<&ArrayRef>> = group.arrays(column).collect();
    let mut known = vec![Vec::new(); arrays.len()];
    let mut texts = Texts::new(group.rows());
    for (source, range) in group.ranges() {
        match arrays[*source] {
            None => texts.push_nulls(range.len()),
            Some(array) => downcast_dictionary_array! {
                array => translated(&mut texts, array, range.clone(), &mut known[*source])?,
                DataType::Utf8 => {
                    let plain = array.as_string::<i32>();
                    for row in range.clone() {
                        match plain.is_valid(row).then(|| texts.index(plain.value(row))) {
                            Some(index) => texts.push(index),
                            None => texts.push_nulls(1),
                        }
                    }
                }
                _ => return Err(other_type()),
            },
        }
        if texts.bytes() > most {
            break;
        }
    }
    Ok(texts)
}

/// Appends the texts of an array that has each once: which of its keys is which index is `known`, once asked.
fn translated<'a, K: ArrowDictionaryKeyType>(
    texts: &mut Texts<'a>,
    array: &'a DictionaryArray<K>,
    range: Range<usize>,
    known: &mut Vec<u32>,
) -> Result<()> {
    const UNKNOWN: u32 = u32::MAX;
    let values = array.downcast_dict::<StringArray>().ok_or_else(other_type)?.values();
    known.resize(values.len(), UNKNOWN);
    for row in range {
        let Some(key) = array.key(row).filter(|&key| values.is_valid(key)) else {
            texts.push_nulls(1);
            continue;
        };
        if known[key] == UNKNOWN {
            known[key] = texts.index(values.value(key));
        }
        texts.push(known[key]);
    }
    Ok(())
}
