//! The pages of a column that is not nested become its chunk, with what readers skip pages and row groups by. Pure.
//!
//! Parquet's own writer takes a column value by value, through buffers that it sets up for each chunk: most chunks are
//! small, and a column's kind says beforehand all that it would find out.

use std::sync::Arc;

use parquet::basic::{BoundaryOrder, Encoding, PageType};
use parquet::column::page::Page;
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::schema::types::ColumnDescPtr;

use super::bits;
use super::page::{Chunk, EncodedPage, Zstd};

/// Rows of a page, at most: what readers skip at a time.
pub(super) const PAGE_ROWS: usize = 20_000;
/// Bytes of a text that is a bound, at most.
const BOUND_BYTES: usize = 64;

/// A value that others are compared with.
pub(super) trait Bound: Copy + Ord {
    /// As a lower bound, and whether it is the value itself.
    fn lower(self) -> (Vec<u8>, bool);
    /// As an upper bound, and whether it is the value itself.
    fn upper(self) -> (Vec<u8>, bool);
    /// A number that is not greater when the value is less: most values are told apart by it.
    fn rank(self) -> u64 {
        0
    }
    /// Bytes of it as a text; `None` when it is none.
    fn text_bytes(self) -> Option<usize> {
        None
    }
    /// Whether it can be compared: no page is bounded by what cannot.
    fn is_ordered(self) -> bool {
        true
    }
}

impl Bound for i64 {
    fn lower(self) -> (Vec<u8>, bool) {
        (self.to_le_bytes().to_vec(), true)
    }

    fn upper(self) -> (Vec<u8>, bool) {
        self.lower()
    }
}

impl Bound for &str {
    fn text_bytes(self) -> Option<usize> {
        Some(self.len())
    }

    fn rank(self) -> u64 {
        let bytes = self.as_bytes();
        let head = bytes.first_chunk().copied().unwrap_or_else(|| {
            let mut head = [0; size_of::<u64>()];
            head[..bytes.len()].copy_from_slice(bytes);
            head
        });
        u64::from_be_bytes(head)
    }

    fn lower(self) -> (Vec<u8>, bool) {
        let short = &self[..self.floor_char_boundary(BOUND_BYTES)];
        (short.into(), short.len() == self.len())
    }

    /// What is cut off is less than one more in the last character that can be more.
    fn upper(self) -> (Vec<u8>, bool) {
        let (short, exact) = self.lower();
        if exact {
            return (short, true);
        }
        let mut cut = self[..short.len()].to_owned();
        while let Some(last) = cut.pop() {
            if let Some(next) = char::from_u32(last as u32 + 1) {
                cut.push(next);
                return (cut.into(), false);
            }
        }
        (self.into(), true)
    }
}

/// One page of a chunk.
pub(super) struct Values<B> {
    /// Levels, then values.
    pub(super) body: Vec<u8>,
    pub(super) rows: usize,
    /// As many as rows where nothing is nested.
    pub(super) entries: usize,
    /// Entries without a value.
    pub(super) nulls: usize,
    /// The least value and the greatest; none when all are null, or none can be compared.
    pub(super) bounds: Option<(B, B)>,
    /// Bytes of all its texts; `None` when it has none.
    pub(super) text_bytes: Option<usize>,
}

/// Bytes of all `values`, if they are texts.
pub(super) fn text_bytes<B: Bound>(values: impl Iterator<Item = B>) -> Option<usize> {
    values.map(B::text_bytes).sum()
}

/// The least and the greatest of `values` that can be compared.
pub(super) fn bounds<B: Bound>(values: impl Iterator<Item = B>) -> Option<(B, B)> {
    let mut ranked = values.filter(|value| value.is_ordered()).map(|value| (value.rank(), value));
    let first = ranked.next()?;
    let (min, max) = ranked.fold((first, first), |(min, max), value| (min.min(value), max.max(value)));
    Some((min.1, max.1))
}

/// Appends levels (of which rows have a value: 1 for each that has) as `write` appends them, behind their length.
pub(super) fn levels(to: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = to.len();
    to.extend_from_slice(&[0; 4]);
    write(to);
    let length = (to.len() - start - 4) as u32;
    to[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// The chunk of the column `leaf` when none of its `rows` rows has a value.
///
/// # Errors
/// When Parquet cannot hold it.
pub(super) fn null(leaf: &ColumnDescPtr, rows: usize, zstd: &mut Zstd) -> Result<Chunk, ParquetError> {
    let mut body = Vec::new();
    for most in [leaf.max_rep_level(), leaf.max_def_level()] {
        if most > 0 {
            levels(&mut body, |to| bits::run(to, rows, 0, bits::width(most as u64)));
        }
    }
    let page = Values::<i64> { body, rows, entries: rows, nulls: rows, bounds: None, text_bytes: None };
    chunk(leaf, None, Encoding::PLAIN, vec![page], zstd)
}

/// The chunk of the column `leaf` of these pages.
///
/// # Errors
/// When Parquet cannot hold it, or a row is null where none may be.
pub(super) fn chunk<B: Bound>(
    leaf: &ColumnDescPtr,
    dictionary: Option<Page>,
    encoding: Encoding,
    pages: Vec<Values<B>>,
    zstd: &mut Zstd,
) -> Result<Chunk, ParquetError> {
    let stats = |page_type, encoding, count| PageEncodingStats { page_type, encoding, count };
    let encoding_stats = dictionary.iter().map(|_| stats(PageType::DICTIONARY_PAGE, Encoding::PLAIN, 1));
    let encoding_stats = encoding_stats.chain([stats(PageType::DATA_PAGE, encoding, pages.len() as i32)]).collect();
    let encodings = dictionary.iter().map(|_| Encoding::PLAIN).chain([Encoding::RLE, encoding]).collect();

    let sum = |of: fn(&Values<B>) -> usize| pages.iter().map(of).sum::<usize>();
    let (rows, entries, nulls) = (sum(|page| page.rows), sum(|page| page.entries), sum(|page| page.nulls));
    if nulls > 0 && leaf.max_def_level() == 0 {
        return Err(ParquetError::General(format!("`{}` is null where it must not be", leaf.name())));
    }
    let metadata = ColumnChunkMetaData::builder(Arc::clone(leaf))
        .set_encodings(encodings)
        .set_page_encoding_stats(encoding_stats)
        .set_num_values(entries as i64)
        .set_unencoded_byte_array_data_bytes(pages.iter().map(text_size).sum())
        .set_statistics(statistics(&pages, nulls));
    let column_index = column_index(leaf, &pages)?;
    let mut offset_index = OffsetIndexBuilder::new();
    let mut encoded = Vec::with_capacity(1 + pages.len());
    if let Some(page) = dictionary {
        encoded.push(EncodedPage::new(page)?);
    }
    for page in pages {
        let texts = text_size(&page);
        let Values { body, rows, entries, .. } = page;
        offset_index.append_unencoded_byte_array_data_bytes(texts);
        offset_index.append_row_count(rows as i64);
        // Where it is, and how long, is known when it is compressed.
        offset_index.append_offset_and_size(0, 0);
        encoded.push(EncodedPage::new(Page::DataPage {
            buf: body.into(),
            num_values: entries as u32,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        })?);
    }
    let close = ColumnCloseResult {
        // How many bytes that is, is known when it is compressed.
        bytes_written: 0,
        rows_written: rows as u64,
        metadata: metadata.build()?,
        bloom_filter: None,
        column_index,
        offset_index: Some(offset_index.build()),
    };
    Chunk::new(encoded, close, zstd)
}

fn text_size<B>(page: &Values<B>) -> Option<i64> {
    page.text_bytes.map(|bytes| bytes as i64)
}

fn statistics<B: Bound>(pages: &[Values<B>], nulls: usize) -> Statistics {
    let bounds = || pages.iter().filter_map(|page| page.bounds);
    let (min, exact_min) = bounds().map(|(min, _)| min).min().map(B::lower).unzip();
    let (max, exact_max) = bounds().map(|(_, max)| max).max().map(B::upper).unzip();
    let bytes = |bound: Option<Vec<u8>>| bound.map(ByteArray::from);
    let statistics = ValueStatistics::new(bytes(min), bytes(max), None, Some(nulls as u64), false);
    // Bounds are bytes in the footer, whatever the type of the column.
    Statistics::ByteArray(
        statistics.with_min_is_exact(exact_min.unwrap_or(false)).with_max_is_exact(exact_max.unwrap_or(false)),
    )
}

/// The bounds of each page; none when there is a page with values that has no bounds.
fn column_index<B: Bound>(
    leaf: &ColumnDescPtr,
    pages: &[Values<B>],
) -> Result<Option<ColumnIndexMetaData>, ParquetError> {
    if pages.iter().any(|page| page.bounds.is_none() && page.nulls < page.entries) {
        return Ok(None);
    }
    let mut index = ColumnIndexBuilder::new(leaf.physical_type());
    for page in pages {
        let (min, max) = page.bounds.map(|(min, max)| (min.lower().0, max.upper().0)).unwrap_or_default();
        index.append(page.bounds.is_none(), min, max, page.nulls as i64, None);
    }
    let bounds: Vec<(B, B)> = pages.iter().filter_map(|page| page.bounds).collect();
    let ascends = bounds.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1);
    let descends = || bounds.is_sorted_by(|a, b| a.0 >= b.0 && a.1 >= b.1);
    index.set_boundary_order(match ascends {
        true => BoundaryOrder::ASCENDING,
        false if descends() => BoundaryOrder::DESCENDING,
        false => BoundaryOrder::UNORDERED,
    });
    index.build().map(Some)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
    use arrow::compute::cast;
    use arrow::datatypes::{DataType, Field, Schema};
    use bytes::Bytes;
    use parquet::file::metadata::page_index::RowGroupPageIndex;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::flatten::rows::Rows;
    use crate::lake::TableSpec;
    use crate::lake::encode::row_group::Piece;
    use crate::lake::encode::{self, Known, Label};
    use crate::lake::layout::{RunId, TableName};
    use crate::lake::order::Order;
    use crate::lake::testing::{at, day, metadata, read};

    type Row = (Option<i64>, Option<String>);

    /// Numbers and texts, each in a column that may be null and in one that is not.
    fn batch(rows: &[Row]) -> RecordBatch {
        let texts: StringArray = rows.iter().map(|row| row.1.as_deref()).collect();
        let all_texts: StringArray = rows.iter().map(|row| Some(row.1.as_deref().unwrap_or_default())).collect();
        let columns: [(&str, ArrayRef, bool); 4] = [
            ("number", Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()), true),
            ("every_number", Arc::new(rows.iter().map(|row| row.0.or(Some(0))).collect::<Int64Array>()), false),
            ("text", Arc::new(texts), true),
            ("every_text", Arc::new(all_texts), false),
        ];
        let field = |(name, array, nullable): &(&str, ArrayRef, bool)| {
            Arc::new(Field::new(*name, array.data_type().clone(), *nullable))
        };
        let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
        RecordBatch::try_new(schema.into(), columns.into_iter().map(|(_, array, _)| array).collect()).unwrap()
    }

    /// The file of `rows`, cut after every `cut`, every other time with the texts in dictionaries.
    fn file(rows: &[Row], cut: usize) -> Bytes {
        let whole = batch(rows);
        let spec = TableSpec { name: TableName::new("metrics").unwrap(), schema: whole.schema(), version: 1 };
        let dictionary = DataType::Dictionary(DataType::UInt32.into(), DataType::Utf8.into());
        let piece = |from: usize| {
            let part = whole.slice(from, cut.min(rows.len() - from));
            let form = |array: &ArrayRef| match (from / cut) % 2 {
                1 if *array.data_type() == DataType::Utf8 => cast(array, &dictionary).unwrap(),
                _ => Arc::clone(array),
            };
            let columns = part.columns().iter().map(|array| (array.null_count() < array.len()).then(|| form(array)));
            let rows = Arc::new(Rows::new(part.schema(), part.num_rows(), columns.collect()).unwrap());
            Ok(Piece { range: 0..rows.len(), rows })
        };
        let run = RunId::from(Uuid::from_u128(1));
        let at = at("2025-02-01T00:00:00Z");
        let label = Label {
            uuid: Uuid::from_u128(1),
            day: day("2025-01-01"),
            order: Order::observed(1, at, run),
            observed_at: at,
            of: None,
        };
        let pieces = (0..rows.len()).step_by(cut).map(piece);
        encode::encode(Vec::new(), &spec, pieces, &label, &Known::default()).unwrap().1.into()
    }

    /// The least and the greatest of a chunk and of each of its pages, as the file says.
    fn bounds<T>(
        statistics: &Statistics,
        index: &RowGroupPageIndex,
        column: usize,
        value: impl Fn(&[u8]) -> T,
    ) -> Vec<Option<(T, T)>> {
        let of = |min: Option<&[u8]>, max: Option<&[u8]>| min.map(&value).zip(max.map(&value));
        let bytes = |number: Option<&i64>| number.map(|number| number.to_le_bytes());
        let Some(pages) = index.column_index(column) else {
            return vec![of(statistics.min_bytes_opt(), statistics.max_bytes_opt())];
        };
        let pages = match pages {
            ColumnIndexMetaData::INT64(index) => (0..index.num_pages() as usize)
                .map(|page| {
                    let (min, max) = (bytes(index.min_value(page)), bytes(index.max_value(page)));
                    of(min.as_ref().map(|min| &min[..]), max.as_ref().map(|max| &max[..]))
                })
                .collect::<Vec<_>>(),
            ColumnIndexMetaData::BYTE_ARRAY(index) => {
                (0..index.num_pages() as usize).map(|page| of(index.min_value(page), index.max_value(page))).collect()
            }
            other => panic!("{other:?}"),
        };
        [of(statistics.min_bytes_opt(), statistics.max_bytes_opt())].into_iter().chain(pages).collect()
    }

    /// All rows, then those of each page, where there are several; there is one page when all rows are null.
    fn spans(rows: &[Row], is_null: impl Fn(&Row) -> bool) -> impl Iterator<Item = &[Row]> {
        let page = if rows.iter().all(is_null) { rows.len() } else { PAGE_ROWS };
        std::iter::once(rows).chain(rows.chunks(page).filter(move |part| part.len() < rows.len()))
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let number = prop_oneof![Just(i64::MIN), Just(i64::MAX), any::<i64>(), 0i64..1_000];
        let text = prop_oneof!["[a-c]{0,2}", "\\PC{20,70}", "[a-z]{60,70}"];
        let some = (proptest::option::of(number), proptest::option::of(text));
        let times = prop_oneof![8 => 1usize..20, 1 => 10_000usize..30_000];
        let runs = proptest::collection::vec((some, times, 0i64..3), 1..30);
        // A run counts up, or stays. All are of one row group.
        runs.prop_map(|runs| {
            let rows = runs.into_iter().flat_map(|((number, text), times, step)| {
                let row = move |n: i64| (number.map(|number| number.wrapping_add(n * step)), text.clone());
                (0..times as i64).map(row)
            });
            rows.take(5 * PAGE_ROWS).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn what_is_written_is_read_back_however_it_came(rows in rows(), cut in 1usize..5_000) {
            let bytes = file(&rows, rows.len());
            let (found, wanted) = (read(&bytes), batch(&rows));
            prop_assert_eq!(found.columns(), wanted.columns());
            prop_assert!(bytes == file(&rows, cut.max(rows.len() / 100)));
        }

        #[test]
        fn chunks_and_pages_are_bounded_by_their_values(rows in rows()) {
            let metadata = metadata(&file(&rows, rows.len()));
            let index = metadata.page_index_for_row_group(0);
            let statistics = |column: usize| metadata.row_group(0).column(column).statistics().unwrap();
            let number = |bytes: &[u8]| i64::from_le_bytes(bytes.try_into().unwrap());
            let spans = || self::spans(&rows, |row| row.0.is_none());
            let numbers = bounds(statistics(0), &index, 0, number);
            prop_assert_eq!(numbers.len(), spans().count());
            for (found, rows) in numbers.into_iter().zip(spans()) {
                let numbers = || rows.iter().filter_map(|row| row.0);
                prop_assert_eq!(found, numbers().min().zip(numbers().max()));
            }
            let spans = || self::spans(&rows, |row| row.1.is_none());
            let sizes = index.offset_index(2).map(|pages| pages.unencoded_byte_array_data_bytes().unwrap().iter().sum());
            let size = metadata.row_group(0).column(2).unencoded_byte_array_data_bytes();
            let written: usize = rows.iter().filter_map(|row| row.1.as_ref()).map(String::len).sum();
            prop_assert!(size.is_none_or(|size| size == written as i64) && size == sizes);
            let texts = bounds(statistics(2), &index, 2, |bytes| String::from_utf8(bytes.to_vec()).unwrap());
            prop_assert_eq!(texts.len(), spans().count());
            for (found, rows) in texts.into_iter().zip(spans()) {
                let texts = || rows.iter().filter_map(|row| row.1.as_deref());
                let wanted = texts().min().zip(texts().max());
                prop_assert_eq!(found.is_some(), wanted.is_some());
                let Some(((low, high), (min, max))) = found.zip(wanted) else { continue };
                let (cut_min, cut_max) = (min.len() > BOUND_BYTES, max.len() > BOUND_BYTES);
                prop_assert!(low.as_str() <= min && min.starts_with(&low) && (low != min) == cut_min);
                prop_assert!(high.as_str() >= max && (high != max) == cut_max);
            }
            for (column, nulls) in [(0, rows.iter().filter(|row| row.0.is_none()).count()), (1, 0)] {
                prop_assert_eq!(statistics(column).null_count_opt(), Some(nulls as u64));
                let pages = index.column_index(column).map(|pages| pages.null_counts().unwrap().iter().sum::<i64>());
                prop_assert!(pages.is_none_or(|pages| pages == nulls as i64));
            }
        }
    }

    #[test]
    fn pages_in_order_are_said_to_be() {
        let rows = |number: fn(i64) -> i64| -> Vec<Row> {
            (0..3 * PAGE_ROWS as i64).map(|row| (Some(number(row)), None)).collect()
        };
        let order = |rows: &[Row]| {
            let metadata = metadata(&file(rows, rows.len()));
            let index = metadata.page_index_for_row_group(0);
            index.column_index(0).unwrap().get_boundary_order()
        };
        assert_eq!(order(&rows(|row| row)), Some(BoundaryOrder::ASCENDING));
        assert_eq!(order(&rows(|row| -row)), Some(BoundaryOrder::DESCENDING));
        assert_eq!(order(&rows(|row| (row - 30_000).abs())), Some(BoundaryOrder::UNORDERED));
    }

    #[test]
    fn texts_that_nearly_all_differ_are_not_in_a_dictionary() {
        let rows: Vec<Row> = (0..40_000).map(|row| (None, Some(format!("{row:040}")))).collect();
        let bytes = file(&rows, 999);
        assert_eq!(metadata(&bytes).row_group(0).column(2).dictionary_page_offset(), None);
        assert_eq!(read(&bytes).columns(), batch(&rows).columns());
    }

    #[test]
    fn a_column_that_must_not_be_null_is_refused() {
        let layout = |nullable| encode::chunk::layout(&Schema::new(vec![Field::new("n", DataType::Int64, nullable)]));
        let refused = |nullable| {
            let layout = layout(nullable).unwrap();
            Zstd::with(&Known::default(), |zstd| Ok(null(&layout.columns()[0], 3, zstd).is_err())).unwrap()
        };
        assert!(refused(false) && !refused(true));
    }

    #[test]
    fn a_text_that_cannot_be_exceeded_bounds_itself() {
        let greatest = char::MAX.to_string().repeat(20);
        assert_eq!(greatest.as_str().upper(), (greatest.clone().into_bytes(), true));
        let long = "a".repeat(63) + &greatest;
        assert_eq!(long.as_str().upper(), (("a".repeat(62) + "b").into_bytes(), false));
    }
}
