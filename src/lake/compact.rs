//! Small batches become larger ones. Records in disorder bring a few to each of many days with every page, and tables
//! are wide: a column of three values takes ten times their room.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::{cast, concat};
use arrow::datatypes::DataType;

use crate::error::{Error, Result};
use crate::flatten::batch::{DayBatch, TableRows};
use crate::flatten::rows::Rows;

/// A batch of fewer records is small.
const SMALL: usize = 64;
/// So many small batches become one: each record is copied a few times at most.
const TOGETHER: usize = 16;

/// Makes one batch of the last ones, if these are small. Which batch a record is in makes no difference to its day.
///
/// # Errors
/// [`crate::error::Kind::Bug`] when the batches do not fit together.
pub(super) fn compact(batches: &mut Vec<DayBatch>) -> Result<()> {
    let small = batches.iter().rev().take_while(|batch| batch.keys.len() < SMALL).count();
    if small >= TOGETHER {
        let joined = join(batches.split_off(batches.len() - small))?;
        batches.extend(joined);
    }
    Ok(())
}

fn join(batches: Vec<DayBatch>) -> Result<Option<DayBatch>> {
    let Some(first) = batches.first() else { return Ok(None) };
    let tables = (0..first.tables.len()).map(|table| {
        let parts: Option<Vec<&TableRows>> = batches.iter().map(|batch| batch.tables.get(table)).collect();
        join_rows(&parts.ok_or_else(|| Error::bug("batches have not the same tables"))?)
    });
    let (day, tables) = (first.day, tables.collect::<Result<_>>()?);
    Ok(Some(DayBatch { day, keys: batches.into_iter().flat_map(|batch| batch.keys).collect(), tables }))
}

fn join_rows(parts: &[&TableRows]) -> Result<TableRows> {
    let (mut offsets, mut len) = (vec![0], 0);
    for part in parts {
        offsets.extend(part.offsets.iter().skip(1).map(|offset| len as u32 + offset));
        len += part.rows.len();
    }
    let schema = parts.first().map(|part| Arc::clone(part.rows.schema()));
    let schema = schema.ok_or_else(|| Error::bug("no rows to put together"))?;
    let columns = schema.fields().iter().enumerate().map(|(column, field)| {
        let found = || parts.iter().map(|part| part.rows.columns().get(column).cloned().flatten());
        join_column(found, parts.iter().map(|part| part.rows.len()), field.data_type())
    });
    let columns = columns.collect::<Result<_>>()?;
    Ok(TableRows { rows: Arc::new(Rows::new(schema, len, columns)?), offsets })
}

/// One column of all parts: with a dictionary where each of them has one.
fn join_column<I: Iterator<Item = Option<ArrayRef>>>(
    parts: impl Fn() -> I,
    lengths: impl Iterator<Item = usize>,
    plain: &DataType,
) -> Result<Option<ArrayRef>> {
    let mut kinds = parts().flatten().map(|array| array.data_type().clone());
    let Some(first) = kinds.next() else { return Ok(None) };
    let kind = if kinds.all(|kind| kind == first) { &first } else { plain };
    let whole = |(part, len): (Option<ArrayRef>, usize)| match part {
        None => Ok(new_null_array(kind, len)),
        Some(array) if array.data_type() == kind => Ok(array),
        Some(array) => cast(&array, kind),
    };
    let whole = parts().zip(lengths).map(whole).collect::<Result<Vec<_>, _>>();
    whole
        .and_then(|arrays| concat(&arrays.iter().map(|array| array.as_ref()).collect::<Vec<&dyn Array>>()))
        .map(Some)
        .map_err(|e| Error::bug("columns cannot be put together").source(e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::testing::{Rec, batch, day, specs};
    use arrow::array::{AsArray, DictionaryArray};
    use arrow::datatypes::UInt32Type;

    #[test]
    fn many_small_batches_become_one_with_the_same_records() {
        let (specs, day) = (specs(2), day("2025-01-01"));
        let rec = |n: usize| Rec::new(day, &format!("id-{n}"), n as i64, (n as u32 / 7, 1, n as u32), n % 4);
        let all: Vec<Rec> = (0..TOGETHER * 3).map(rec).collect();
        let mut batches = vec![batch(day, &specs, &all[..3])];
        for page in all.chunks(3).skip(1) {
            assert_eq!(batches.len(), page[0].position.index as usize / 3, "not yet");
            batches.push(batch(day, &specs, page));
            compact(&mut batches).unwrap();
        }
        assert_eq!(batches.len(), 1);
        let whole = batch(day, &specs, &all);
        assert_eq!(batches[0].keys, whole.keys);
        for (table, wanted) in batches[0].tables.iter().zip(&whole.tables) {
            assert_eq!(table.offsets, wanted.offsets);
            assert_eq!(table.rows.to_batch().unwrap(), wanted.rows.to_batch().unwrap());
        }
        let large: Vec<Rec> = (0..SMALL).map(rec).collect();
        let mut batches = vec![batch(day, &specs, &large); TOGETHER];
        compact(&mut batches).unwrap();
        assert_eq!(batches.len(), TOGETHER);
    }

    #[test]
    fn texts_that_stand_once_do_so_still() {
        let part = |texts: &[&str]| -> Option<ArrayRef> {
            Some(Arc::new(texts.iter().copied().collect::<DictionaryArray<UInt32Type>>()))
        };
        let parts = [part(&["a", "a", "b"]), None, part(&["b", "c"])];
        let joined = join_column(|| parts.iter().cloned(), [3, 2, 2].into_iter(), &DataType::Utf8).unwrap().unwrap();
        assert!(joined.as_dictionary_opt::<UInt32Type>().is_some());
        let texts = cast(&joined, &DataType::Utf8).unwrap();
        let texts: Vec<_> = texts.as_string::<i32>().iter().collect();
        assert_eq!(texts, [Some("a"), Some("a"), Some("b"), None, None, Some("b"), Some("c")]);
    }
}
