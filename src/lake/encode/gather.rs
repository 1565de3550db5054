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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Float64Array, Int64Builder, ListBuilder, RecordBatch, StringBuilder};
    use arrow::datatypes::{Field, Schema};
    use bytes::Bytes;
    use parquet::file::statistics::Statistics;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::flatten::rows::Rows;
    use crate::lake::TableSpec;
    use crate::lake::encode::leaf::PAGE_ROWS;
    use crate::lake::encode::row_group::Piece;
    use crate::lake::encode::{self, Known, Label};
    use crate::lake::layout::{RunId, TableName};
    use crate::lake::order::Order;
    use crate::lake::testing::{at, day, metadata, read};

    /// A list of which items may be null, and what else a row has.
    type Row = (Option<Vec<Option<i64>>>, Option<f64>, Option<bool>);

    fn batch(rows: &[Row]) -> RecordBatch {
        let item = |kind| Arc::new(Field::new("element", kind, true));
        let mut numbers = ListBuilder::new(Int64Builder::new()).with_field(item(DataType::Int64));
        let mut texts = ListBuilder::new(StringBuilder::new()).with_field(item(DataType::Utf8));
        for (list, ..) in rows {
            numbers.append_option(list.clone());
            texts.append_option(list.as_ref().map(|list| list.iter().map(|item| item.map(|item| item.to_string()))));
        }
        let columns: [(&str, ArrayRef); 4] = [
            ("numbers", Arc::new(numbers.finish())),
            ("texts", Arc::new(texts.finish())),
            ("double", Arc::new(rows.iter().map(|row| row.1).collect::<Float64Array>())),
            ("flag", Arc::new(rows.iter().map(|row| row.2).collect::<BooleanArray>())),
        ];
        let field = |(name, array): &(&str, ArrayRef)| Field::new(*name, array.data_type().clone(), true);
        let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
        RecordBatch::try_new(schema.into(), columns.into_iter().map(|(_, array)| array).collect()).unwrap()
    }

    /// The file of `rows`, which come in pieces of `cut` rows.
    fn file(rows: &[Row], cut: usize) -> Bytes {
        let whole = batch(rows);
        let spec = TableSpec { name: TableName::new("metrics").unwrap(), schema: whole.schema(), version: 1 };
        let columns = whole.columns().iter().map(|array| (array.null_count() < array.len()).then(|| Arc::clone(array)));
        let whole = Arc::new(Rows::new(whole.schema(), rows.len(), columns.collect()).unwrap());
        let piece = |from: usize| Piece { range: from..rows.len().min(from + cut), rows: Arc::clone(&whole) };
        let (run, at) = (RunId::from(Uuid::from_u128(1)), at("2025-02-01T00:00:00Z"));
        let order = Order::observed(1, at, run);
        let label = Label { uuid: Uuid::from_u128(1), day: day("2025-01-01"), order, observed_at: at, of: None };
        let pieces = (0..rows.len()).step_by(cut).map(|from| Ok(piece(from)));
        encode::encode(Vec::new(), &spec, pieces, &label, &Known::default()).unwrap().1.into()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn lists_doubles_and_flags_are_read_back(
            runs in proptest::collection::vec(
                (
                    proptest::option::of(proptest::collection::vec(proptest::option::of(0i64..9), 0..4)),
                    proptest::option::of(-3.0..3.0),
                    any::<Option<bool>>(),
                    prop_oneof![8 => 1usize..9, 1 => 10_000usize..30_000],
                ),
                1..20,
            ),
            cut in 1usize..5_000,
        ) {
            let run = |(list, double, flag, times): &(_, _, _, usize)| -> Vec<Row> {
                vec![(Clone::clone(list), *double, *flag); *times]
            };
            let rows: Vec<Row> = runs.iter().flat_map(run).take(100_000).collect();
            let bytes = file(&rows, rows.len());
            let (found, wanted) = (read(&bytes), batch(&rows));
            prop_assert_eq!(found.columns(), wanted.columns());
            prop_assert!(bytes == file(&rows, cut.max(rows.len() / 100)));
            let nulls = metadata(&bytes).row_group(0).column(0).statistics().unwrap().null_count_opt();
            let entries = rows.iter().map(|row| row.0.as_ref().map_or(1, |list| list.len().max(1)));
            let items = rows.iter().flat_map(|row| row.0.iter().flatten()).flatten();
            prop_assert_eq!(nulls, Some((entries.sum::<usize>() - items.count()) as u64));
        }
    }

    #[test]
    fn doubles_are_bounded_by_those_that_can_be_compared() {
        let bounds = |doubles: &[f64]| {
            // More than a page of them.
            let all = doubles.iter().cycle().take(PAGE_ROWS + doubles.len());
            let rows: Vec<Row> = all.map(|&double| (None, Some(double), None)).collect();
            let metadata = metadata(&file(&rows, rows.len()));
            let Some(Statistics::Double(statistics)) = metadata.row_group(0).column(2).statistics().cloned() else {
                panic!("other statistics")
            };
            let index = metadata.page_index_for_row_group(0);
            let bits = |bound: Option<&f64>| bound.map(|bound| bound.to_bits());
            (bits(statistics.min_opt()), bits(statistics.max_opt()), index.column_index(2).is_some())
        };
        let bits = |double: f64| Some(double.to_bits());
        assert_eq!(bounds(&[2.5, f64::NAN, -1.0, -f64::NAN]), (bits(-1.0), bits(2.5), true));
        assert_eq!(bounds(&[0.0]), (bits(-0.0), bits(0.0), true));
        assert_eq!(bounds(&[f64::NAN]), (None, None, false));
    }
}
