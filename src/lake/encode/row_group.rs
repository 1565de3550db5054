//! Sorted rows are cut into row groups, and copied together column by column.
//!
//! Where a row group ends depends on what its rows hold alone: not on the pieces that they came in, nor on whether a
//! text stands once or many times. So the same rows make the same row groups.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanBuilder, DictionaryArray, MutableArrayData, PrimitiveBuilder,
    StringArray, StringBuilder, downcast_dictionary_array, make_array, new_empty_array,
};
use arrow::datatypes::{
    ArrowDictionaryKeyType, ArrowNativeType, DataType, Float64Type, Int64Type, SchemaRef, TimeUnit,
    TimestampMicrosecondType, UInt32Type,
};
use arrow::error::ArrowError;

use crate::error::{Error, Result};
use crate::flatten::rows::Rows;

/// Rows of a row group, at most: DuckDB's own vector of work.
pub const ROW_GROUP_ROWS: usize = 122_880;
/// Bytes of text in a row group, at most, unless one row has more. It bounds the memory of readers and of the writer
/// where texts are long or columns many.
pub const ROW_GROUP_TEXT: usize = 20 << 20;
/// Rows from which on a range is copied as a whole: below, setting a copy up costs more than the rows.
const LONG: usize = 8;

/// Consecutive rows of a table, where they are.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The rows among which they are.
    pub rows: Arc<Rows>,
    /// Which of them; never empty.
    pub range: Range<usize>,
}

/// The rows of one row group, in order.
#[derive(Debug, Default)]
pub struct RowGroup {
    /// Each once, however many ranges are of it.
    sources: Vec<Arc<Rows>>,
    /// The number of a source, and which of its rows.
    ranges: Vec<(usize, Range<usize>)>,
    rows: usize,
}

impl RowGroup {
    /// Their number.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The array of column number `column` in each source; `None` is null throughout.
    pub(super) fn arrays(&self, column: usize) -> impl Iterator<Item = Option<&ArrayRef>> {
        self.sources.iter().map(move |rows| rows.columns().get(column).and_then(Option::as_ref))
    }

    /// The number of a source, and which of its rows, in order.
    pub(super) fn ranges(&self) -> &[(usize, Range<usize>)] {
        &self.ranges
    }

    /// All rows of `pieces`, however many.
    pub(in crate::lake) fn of(pieces: impl Iterator<Item = Piece>) -> RowGroup {
        let mut group = RowGroup::default();
        let mut known: HashMap<*const Rows, usize> = HashMap::new();
        for Piece { rows, range } in pieces {
            let source = match group.sources.last() {
                Some(last) if Arc::ptr_eq(last, &rows) => group.sources.len() - 1,
                _ => *known.entry(Arc::as_ptr(&rows)).or_insert_with(|| {
                    group.sources.push(rows);
                    group.sources.len() - 1
                }),
            };
            group.rows += range.len();
            group.ranges.push((source, range));
        }
        group
    }

    /// Its rows, copied together. Texts that stand once do so still.
    ///
    /// # Errors
    /// Like [`RowGroup::column`].
    pub(in crate::lake) fn gather(&self, schema: &SchemaRef) -> Result<Rows> {
        let columns = schema.fields().iter().enumerate().map(|(index, field)| {
            if self.repeats(index) { self.dictionary(index) } else { self.column(index, field.data_type()) }
        });
        Rows::new(Arc::clone(schema), self.rows, columns.collect::<Result<_>>()?)
    }

    /// Whether column number `column` has a dictionary wherever it has values.
    fn repeats(&self, column: usize) -> bool {
        let mut arrays = self.sources.iter().filter_map(|rows| rows.columns().get(column)?.as_ref()).peekable();
        arrays.peek().is_some() && arrays.all(|array| matches!(array.data_type(), DataType::Dictionary(..)))
    }

    /// The texts of column number `column` with a dictionary: one entry a run.
    fn dictionary(&self, column: usize) -> Result<Option<ArrayRef>> {
        let Some(runs) = self.runs(column, usize::MAX)? else { return Ok(None) };
        let mut keys = PrimitiveBuilder::<UInt32Type>::with_capacity(self.rows);
        let texts: StringArray = runs.iter().filter_map(|run| run.text).map(Some).collect();
        let mut key = 0;
        for run in runs {
            match run.text {
                None => keys.append_nulls(run.rows),
                Some(_) => {
                    keys.append_value_n(key, run.rows);
                    key += 1;
                }
            }
        }
        let array = DictionaryArray::try_new(keys.finish(), Arc::new(texts)).map_err(|_| too_long())?;
        Ok(Some(Arc::new(array)))
    }

    /// Column number `column`, of type `kind`, copied together; `None` when it is null in every row.
    ///
    /// # Errors
    /// [`crate::error::Kind::Data`] when its texts are too long for one array.
    pub fn column(&self, column: usize, kind: &DataType) -> Result<Option<ArrayRef>> {
        let of = |rows: &Arc<Rows>| rows.columns().get(column).cloned().flatten();
        let column = Column { sources: self.sources.iter().map(of).collect(), kind, group: self };
        if column.sources.iter().all(Option::is_none) {
            return Ok(None);
        }
        let array = match kind {
            DataType::Utf8 => column.texts()?,
            DataType::Int64 => column.numbers::<Int64Type>()?,
            DataType::Float64 => column.numbers::<Float64Type>()?,
            DataType::Timestamp(TimeUnit::Microsecond, _) => column.numbers::<TimestampMicrosecondType>()?,
            DataType::Boolean => column.booleans()?,
            _ => column.nested()?,
        };
        Ok((array.null_count() < array.len()).then_some(array))
    }

    /// The texts of column number `column` as they repeat, where they are; `None` when they are more than `most` runs,
    /// or all null.
    ///
    /// # Errors
    /// [`crate::error::Kind::Bug`] when it holds something else.
    pub(super) fn runs(&self, column: usize, most: usize) -> Result<Option<Vec<Run<'_>>>> {
        let mut runs = Vec::new();
        for (source, range) in &self.ranges {
            match self.sources[*source].columns().get(column).and_then(Option::as_ref) {
                None => extend(&mut runs, None, range.len()),
                Some(array) => downcast_dictionary_array! {
                    array => repeated(&mut runs, array, range.clone())?,
                    DataType::Utf8 => {
                        let plain = array.as_string::<i32>();
                        let text = |row: usize| plain.is_valid(row).then(|| plain.value(row));
                        range.clone().for_each(|row| extend(&mut runs, text(row), 1));
                    }
                    _ => return Err(other_type()),
                },
            }
            if runs.len() > most {
                return Ok(None);
            }
        }
        Ok(runs.iter().any(|run| run.text.is_some()).then_some(runs))
    }
}

/// A text that consecutive rows have, and the rows before and after them have not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run<'a> {
    /// The text, or null.
    pub(super) text: Option<&'a str>,
    /// The rows; at least one.
    pub(super) rows: usize,
}

/// Appends `rows` rows of `text`.
fn extend<'a>(runs: &mut Vec<Run<'a>>, text: Option<&'a str>, rows: usize) {
    match runs.last_mut() {
        Some(last) if last.text == text => last.rows += rows,
        _ => runs.push(Run { text, rows }),
    }
}

/// Appends the texts that `array` holds once: rows of the same key need not be compared.
fn repeated<'a, K: ArrowDictionaryKeyType>(
    runs: &mut Vec<Run<'a>>,
    array: &'a DictionaryArray<K>,
    range: Range<usize>,
) -> Result<()> {
    let values = array.downcast_dict::<StringArray>().ok_or_else(other_type)?.values();
    let text = |key: usize| values.is_valid(key).then(|| values.value(key));
    if array.keys().null_count() > 0 {
        range.for_each(|row| extend(runs, array.key(row).and_then(text), 1));
        return Ok(());
    }
    for same in array.keys().values()[range].chunk_by(|a, b| a == b) {
        extend(runs, text(same[0].as_usize()), same.len());
    }
    Ok(())
}

/// A column as it is copied together.
struct Column<'a> {
    /// Its array in each source of the row group; `None` is null throughout.
    sources: Vec<Option<ArrayRef>>,
    kind: &'a DataType,
    group: &'a RowGroup,
}

impl Column<'_> {
    /// The ranges in order, each with the array that it is of.
    fn parts(&self) -> impl Iterator<Item = (Option<&ArrayRef>, Range<usize>)> {
        self.group.ranges.iter().map(|(source, range)| (self.sources[*source].as_ref(), range.clone()))
    }

    fn texts(&self) -> Result<ArrayRef> {
        let bytes = self.parts().map(|(array, range)| array.map_or(0, |array| text_bytes(array, range))).sum();
        if i32::try_from(bytes).is_err() {
            return Err(too_long());
        }
        let mut texts = StringBuilder::with_capacity(self.group.rows, bytes);
        for (array, range) in self.parts() {
            let Some(array) = array else {
                texts.append_nulls(range.len());
                continue;
            };
            downcast_dictionary_array! {
                array => repeat(&mut texts, array, range)?,
                DataType::Utf8 => {
                    let plain = array.as_string::<i32>();
                    match range.len() {
                        LONG.. => texts.append_array(&plain.slice(range.start, range.len())).map_err(|_| too_long())?,
                        _ => range.for_each(|row| texts.append_option(plain.is_valid(row).then(|| plain.value(row)))),
                    }
                }
                _ => return Err(other_type()),
            }
        }
        Ok(Arc::new(texts.finish()))
    }

    fn numbers<T: ArrowPrimitiveType>(&self) -> Result<ArrayRef> {
        let mut numbers = PrimitiveBuilder::<T>::with_capacity(self.group.rows).with_data_type(self.kind.clone());
        for (array, range) in self.parts() {
            let Some(array) = array else {
                numbers.append_nulls(range.len());
                continue;
            };
            let array = array.as_primitive_opt::<T>().ok_or_else(other_type)?;
            match range.len() {
                LONG.. => numbers.append_array(&array.slice(range.start, range.len())),
                _ => range.for_each(|row| numbers.append_option(array.is_valid(row).then(|| array.value(row)))),
            }
        }
        Ok(Arc::new(numbers.finish()))
    }

    fn booleans(&self) -> Result<ArrayRef> {
        let mut booleans = BooleanBuilder::with_capacity(self.group.rows);
        for (array, range) in self.parts() {
            let Some(array) = array else {
                booleans.append_nulls(range.len());
                continue;
            };
            let array = array.as_boolean_opt().ok_or_else(other_type)?;
            match range.len() {
                LONG.. => booleans.append_array(&array.slice(range.start, range.len())),
                _ => range.for_each(|row| booleans.append_option(array.is_valid(row).then(|| array.value(row)))),
            }
        }
        Ok(Arc::new(booleans.finish()))
    }

    /// Lists and maps, which are few.
    fn nested(&self) -> Result<ArrayRef> {
        let empty = new_empty_array(self.kind);
        let data: Vec<_> = self.sources.iter().map(|source| source.as_ref().unwrap_or(&empty).to_data()).collect();
        let mut gathered = MutableArrayData::new(data.iter().collect(), true, self.group.rows);
        for (source, range) in &self.group.ranges {
            match self.sources[*source] {
                None => gathered.try_extend_nulls(range.len()),
                Some(_) => gathered.try_extend(*source, range.start, range.end),
            }
            .map_err(|e: ArrowError| too_long().source(e))?;
        }
        Ok(make_array(gathered.freeze()))
    }
}

/// Writes the texts out that `array` holds once.
fn repeat<K: ArrowDictionaryKeyType>(
    texts: &mut StringBuilder,
    array: &DictionaryArray<K>,
    range: Range<usize>,
) -> Result<()> {
    let values = array.downcast_dict::<StringArray>().ok_or_else(other_type)?;
    let present = |row: &usize| array.key(*row).filter(|&key| values.values().is_valid(key));
    range.for_each(|row| texts.append_option(present(&row).map(|key| values.values().value(key))));
    Ok(())
}

fn too_long() -> Error {
    Error::data("a column has too much text for one row group")
}

pub(super) fn other_type() -> Error {
    Error::bug("a column has another type than its field")
}

/// Cuts pieces into row groups.
#[derive(Debug)]
pub struct RowGroups<P> {
    pieces: P,
    /// What of the last piece is not taken yet.
    rest: Option<Piece>,
    /// Rows and bytes of text of a row group.
    limits: (usize, usize),
}

impl<P: Iterator<Item = Result<Piece>>> RowGroups<P> {
    /// The row groups of `pieces`, which come in order.
    pub fn new(pieces: P) -> RowGroups<P> {
        RowGroups { pieces, rest: None, limits: (ROW_GROUP_ROWS, ROW_GROUP_TEXT) }
    }

    fn group(&mut self) -> Result<Option<RowGroup>> {
        let mut taken = Vec::new();
        let (mut rows, mut text) = self.limits;
        while rows > 0 {
            let Some(piece) = self.rest.take().map(Ok).or_else(|| self.pieces.next()).transpose()? else { break };
            let (count, bytes) = fitting(&piece, rows, text, taken.is_empty());
            let middle = piece.range.start + count;
            if middle < piece.range.end {
                self.rest = Some(Piece { rows: Arc::clone(&piece.rows), range: middle..piece.range.end });
            }
            if count == 0 {
                break;
            }
            (rows, text) = (rows - count, text.saturating_sub(bytes));
            taken.push(Piece { range: piece.range.start..middle, rows: piece.rows });
        }
        Ok((!taken.is_empty()).then(|| RowGroup::of(taken.into_iter())))
    }
}

impl<P: Iterator<Item = Result<Piece>>> Iterator for RowGroups<P> {
    type Item = Result<RowGroup>;

    fn next(&mut self) -> Option<Self::Item> {
        self.group().transpose()
    }
}

/// How many of the first rows of `piece` fit into `rows` rows and `text` bytes, and the bytes that they have; at least
/// one row when it is the `first` of its row group.
fn fitting(piece: &Piece, rows: usize, text: usize, first: bool) -> (usize, usize) {
    let from = piece.range.start;
    let bytes = |count: usize| -> usize {
        let columns = piece.rows.columns().iter().flatten();
        columns.map(|column| text_bytes(column, from..from + count)).sum()
    };
    let most = piece.range.len().min(rows);
    let whole = bytes(most);
    if whole <= text {
        return (most, whole);
    }
    let (mut fits, mut over) = (0, most);
    while over - fits > 1 {
        let middle = fits + (over - fits) / 2;
        *(if bytes(middle) <= text { &mut fits } else { &mut over }) = middle;
    }
    let count = fits.max(usize::from(first));
    (count, bytes(count))
}

/// Bytes of the texts in `range` of `array`, each counted as often as it is there; 0 for what holds no text. What is
/// null has none.
fn text_bytes(array: &ArrayRef, range: Range<usize>) -> usize {
    let between = |offsets: &[i32]| offsets[range.start] as usize..offsets[range.end] as usize;
    downcast_dictionary_array! {
        array => match array.values().as_string_opt::<i32>() {
            None => 0,
            Some(values) => range.filter_map(|row| Some(values.value_length(array.key(row)?) as usize)).sum(),
        },
        DataType::Utf8 => between(array.as_string::<i32>().value_offsets()).len(),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            text_bytes(list.values(), between(list.value_offsets()))
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let entries = between(map.value_offsets());
            map.entries().columns().iter().map(|column| text_bytes(column, entries.clone())).sum()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BooleanArray, Int64Array, ListBuilder};
    use arrow::compute::cast;
    use arrow::datatypes::{Field, Schema};
    use proptest::prelude::*;

    /// A text, which also decides what the other columns hold.
    type Row = Option<String>;

    fn list_type() -> DataType {
        DataType::new_list(DataType::Utf8, true)
    }

    fn schema() -> SchemaRef {
        let kinds = [DataType::Utf8, DataType::Int64, DataType::Boolean, list_type()];
        let fields = kinds.into_iter().enumerate().map(|(n, kind)| Field::new(format!("c{n}"), kind, true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    fn columns(rows: &[Row]) -> Vec<ArrayRef> {
        let mut lists = ListBuilder::new(StringBuilder::new());
        for row in rows {
            row.iter().for_each(|text| lists.values().append_value(text));
            lists.append(row.as_ref().is_none_or(|text| !text.is_empty()));
        }
        let length = |row: &Row| row.as_ref().map(|text| text.len() as i64);
        vec![
            Arc::new(rows.iter().map(Option::as_deref).collect::<StringArray>()),
            Arc::new(rows.iter().map(length).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| Some(length(row)? > 3)).collect::<BooleanArray>()),
            Arc::new(lists.finish()),
        ]
    }

    /// The rows with their texts once (as `UInt32` or `Int8` says) or as often as they are there.
    fn source(rows: &[Row], form: usize) -> Arc<Rows> {
        let mut columns = columns(rows);
        if let Some(keys) = [None, Some(DataType::UInt32), Some(DataType::Int8)][form].clone() {
            let dictionary = DataType::Dictionary(Box::new(keys), Box::new(DataType::Utf8));
            columns[0] = cast(&columns[0], &dictionary).unwrap();
        }
        // What is null throughout may be there or not.
        let columns = columns.into_iter().map(|c| (form > 0 || c.null_count() < c.len()).then_some(c)).collect();
        Arc::new(Rows::new(schema(), rows.len(), columns).unwrap())
    }

    /// The definition: a row group ends before the row that does not fit.
    fn ends(rows: &[Row], limits: (usize, usize)) -> Vec<usize> {
        let (mut ends, mut count, mut text) = (Vec::new(), 0, 0);
        for row in rows {
            // Once in the column of texts, once in that of lists.
            let bytes = 2 * row.as_ref().map_or(0, String::len);
            if count == limits.0 || (count > 0 && bytes > limits.1.saturating_sub(text)) {
                ends.push(count);
                (count, text) = (0, 0);
            }
            (count, text) = (count + 1, text + bytes);
        }
        ends.extend((count > 0).then_some(count));
        ends
    }

    proptest! {
        #[test]
        fn the_rows_alone_decide_where_row_groups_end_and_what_they_hold(
            rows in proptest::collection::vec(proptest::option::of("[a-zä]{0,9}"), 0..60),
            cuts in proptest::collection::vec((1usize..25, 0usize..3), 60),
            limits in (1usize..40, 1usize..120),
        ) {
            let (mut pieces, mut at) = (Vec::new(), 0);
            for (length, form) in cuts {
                // A source has rows before and after those of its piece.
                let end = rows.len().min(at + length);
                let (before, after) = (at.saturating_sub(2), rows.len().min(end + 3));
                if at < end {
                    pieces.push(Ok(Piece { rows: source(&rows[before..after], form), range: at - before..end - before }));
                }
                at = end;
            }
            let groups = RowGroups { pieces: pieces.into_iter(), rest: None, limits };
            let groups: Vec<RowGroup> = groups.collect::<Result<_>>().unwrap();
            prop_assert_eq!(groups.iter().map(RowGroup::rows).collect::<Vec<_>>(), ends(&rows, limits));
            let mut from = 0;
            for group in groups {
                let wanted = columns(&rows[from..from + group.rows()]);
                from += group.rows();
                for (index, wanted) in wanted.iter().enumerate() {
                    let found = group.column(index, wanted.data_type()).unwrap();
                    prop_assert_eq!(found.as_ref(), (wanted.null_count() < wanted.len()).then_some(wanted));
                }
            }
        }
    }

    #[test]
    fn a_source_of_many_ranges_is_held_once() {
        let rows: Vec<Row> = (0..6).map(|n| Some(n.to_string())).collect();
        let (a, b) = (source(&rows, 1), source(&rows, 0));
        let piece = |rows: &Arc<Rows>, row: usize| Piece { rows: Arc::clone(rows), range: row..row + 1 };
        let group = RowGroup::of([piece(&a, 5), piece(&b, 1), piece(&a, 0)].into_iter());
        assert_eq!((group.sources.len(), group.rows()), (2, 3));
        let texts = group.column(0, &DataType::Utf8).unwrap().unwrap();
        assert_eq!(texts.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["5", "1", "0"]);
        let list = group.column(3, &list_type()).unwrap().unwrap();
        assert_eq!(list.as_list::<i32>().value(0).as_string::<i32>().value(0), "5");
    }

    #[test]
    fn a_column_of_another_type_is_a_bug() {
        let group = RowGroup::of([Piece { rows: source(&[Some("a".to_owned())], 0), range: 0..1 }].into_iter());
        assert!(group.column(0, &DataType::Int64).is_err() && group.column(1, &DataType::Utf8).is_err());
    }
}
