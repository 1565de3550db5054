//! Ids that rows repeat become a column chunk as the runs that they stand in. Pure.
//!
//! Every table below the conversations repeats the ids of what its rows are part of, dozens of times each. Written out,
//! that is more text than all other columns hold: to copy, to compare for the statistics, to compress. As runs each id
//! is touched once: the dictionary holds each of them, and a page says how many rows in a row have which.

use parquet::basic::Encoding;
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescPtr;

use super::bits;
use super::dictionary::{self, index_width};
use super::leaf::{self, PAGE_ROWS, Values};
use super::page::{Chunk, Zstd};
use super::row_group::Run;

/// The chunk of the column `leaf`, which is not nested and has the texts of `runs`, of which at least one is not null.
///
/// # Errors
/// When Parquet cannot hold them.
pub(super) fn encode(leaf: &ColumnDescPtr, runs: &[Run<'_>], zstd: &mut Zstd) -> Result<Chunk, ParquetError> {
    // A text that comes back has the place that it had: readers take equal places for equal texts, and others for others.
    let (texts, places) = dictionary::distinct(runs.iter().filter_map(|run| run.text));
    let bits = index_width(texts.len());
    let mut places = places.into_iter();
    let placed = runs.iter().map(|run| Placed { run: *run, place: run.text.and_then(|_| places.next()) });
    let pages = pages(placed).into_iter().map(|page| Values {
        body: body(&page, bits, leaf.max_def_level() > 0),
        rows: rows(&page),
        entries: rows(&page),
        nulls: page.iter().filter(|part| part.place.is_none()).map(|part| part.run.rows).sum(),
        bounds: leaf::bounds(page.iter().filter_map(|part| part.run.text)),
        text_bytes: Some(page.iter().map(|part| part.run.rows * part.run.text.map_or(0, str::len)).sum()),
    });
    let pages = pages.collect();
    leaf::chunk(leaf, Some(dictionary::page(texts.into_iter())), Encoding::RLE_DICTIONARY, pages, zstd)
}

/// Rows of the same text, and its place in the dictionary; none where they are null.
#[derive(Clone, Copy)]
struct Placed<'a> {
    run: Run<'a>,
    place: Option<u32>,
}

/// The runs of each page. One that is longer than what is left of its page goes on in the next.
fn pages<'a>(runs: impl Iterator<Item = Placed<'a>>) -> Vec<Vec<Placed<'a>>> {
    let (mut pages, mut room) = (Vec::new(), 0);
    for Placed { run, place } in runs {
        let mut left = run.rows;
        while left > 0 {
            if room == 0 {
                pages.push(Vec::new());
                room = PAGE_ROWS;
            }
            let rows = left.min(room);
            if let Some(page) = pages.last_mut() {
                page.push(Placed { run: Run { rows, ..run }, place });
            }
            (left, room) = (left - rows, room - rows);
        }
    }
    pages
}

/// Which text of the dictionary each row has, in `bits` bits, and which rows have one where the column is `nullable`.
fn body(runs: &[Placed<'_>], bits: u32, nullable: bool) -> Vec<u8> {
    let mut page = Vec::new();
    if nullable {
        leaf::levels(&mut page, |to| {
            for same in runs.chunk_by(|a, b| a.place.is_some() == b.place.is_some()) {
                bits::run(to, rows(same), u64::from(same[0].place.is_some()), 1);
            }
        });
    }
    page.push(bits as u8);
    for Placed { run, place } in runs {
        if let Some(place) = place {
            bits::run(&mut page, run.rows, u64::from(*place), bits);
        }
    }
    page
}

fn rows(runs: &[Placed<'_>]) -> usize {
    runs.iter().map(|part| part.run.rows).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, StringArray};
    use arrow::compute::cast;
    use arrow::datatypes::{DataType, Field, Schema};
    use bytes::Bytes;
    use parquet::column::page::Page;
    use parquet::file::metadata::ParquetMetaData;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::flatten::rows::Rows;
    use crate::lake::TableSpec;
    use crate::lake::encode::row_group::{Piece, ROW_GROUP_ROWS};
    use crate::lake::encode::{self, Known, Label};
    use crate::lake::layout::{RunId, TableName};
    use crate::lake::order::Order;
    use crate::lake::testing::{at, day, metadata, read};

    type Row = Option<String>;

    fn spec() -> TableSpec {
        let field = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
        let schema = Schema::new(vec![field("conversation_id", false), field("session_id", true)]);
        TableSpec { name: TableName::new("metrics").unwrap(), schema: Arc::new(schema), version: 1 }
    }

    /// A column that is never null, and one that may be.
    fn columns(rows: &[Row]) -> Vec<ArrayRef> {
        let never: StringArray = rows.iter().map(|row| Some(row.as_deref().unwrap_or_default())).collect();
        vec![Arc::new(never), Arc::new(rows.iter().map(Option::as_deref).collect::<StringArray>())]
    }

    /// The file of `rows`, which come in pieces as long as `cuts` say, their texts in the forms that these say.
    fn file(rows: &[Row], cuts: impl Iterator<Item = (usize, usize)>) -> (String, Bytes) {
        let spec = spec();
        let (mut pieces, mut from) = (Vec::new(), 0);
        for (length, form) in cuts {
            let end = rows.len().min(from + length);
            if from < end {
                let keys = [None, Some(DataType::UInt32), Some(DataType::UInt16)][form].clone();
                let kind = keys.map_or(DataType::Utf8, |keys| DataType::Dictionary(keys.into(), DataType::Utf8.into()));
                let columns =
                    columns(&rows[from..end]).iter().map(|column| Some(cast(column, &kind).unwrap())).collect();
                let piece = Arc::new(Rows::new(Arc::clone(&spec.schema), end - from, columns).unwrap());
                pieces.push(Ok(Piece { rows: piece, range: 0..end - from }));
            }
            from = end;
        }
        let run = RunId::from(Uuid::from_u128(1));
        let at = at("2025-02-01T00:00:00Z");
        let label = Label {
            uuid: Uuid::from_u128(1),
            day: day("2025-01-01"),
            order: Order::observed(1, at, run),
            observed_at: at,
            of: None,
        };
        let (encoded, bytes) =
            encode::encode(Vec::new(), &spec, pieces.into_iter(), &label, &Known::default()).unwrap();
        (encoded.content, bytes.into())
    }

    /// What the dictionary of a column has, and the rows of its pages.
    fn chunk(bytes: &Bytes, column: usize) -> (Vec<Vec<u8>>, Vec<usize>) {
        let file = SerializedFileReader::new(bytes.clone()).unwrap();
        let (mut texts, mut pages) = (Vec::new(), Vec::new());
        for page in file.get_row_group(0).unwrap().get_column_page_reader(column).unwrap() {
            match page.unwrap() {
                Page::DictionaryPage { buf, .. } => {
                    let mut rest = &buf[..];
                    while let Some((length, others)) = rest.split_first_chunk::<4>() {
                        let (text, others) = others.split_at(u32::from_le_bytes(*length) as usize);
                        texts.push(text.to_vec());
                        rest = others;
                    }
                }
                page => pages.push(page.num_values() as usize),
            }
        }
        (texts, pages)
    }

    fn whole(rows: &[Row]) -> Bytes {
        file(rows, [(rows.len(), 0)].into_iter()).1
    }

    fn is_dictionary(metadata: &ParquetMetaData, group: usize) -> [bool; 2] {
        let columns = metadata.row_group(group).columns();
        [0, 1].map(|column| columns[column].dictionary_page_offset().is_some())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn the_rows_are_read_back_and_their_form_does_not_show(
            runs in proptest::collection::vec((proptest::option::of("[a-cä]{0,2}|[a-z]{60,70}"), prop_oneof![1usize..5, 100usize..400]), 1..40),
            cuts in proptest::collection::vec((1usize..500, 0usize..3), 1..9),
        ) {
            let rows: Vec<Row> = runs.iter().flat_map(|(text, times)| vec![text.clone(); *times]).collect();
            let (content, bytes) = file(&rows, [(rows.len(), 0)].into_iter());
            let found = read(&bytes);
            prop_assert_eq!(found.columns(), columns(&rows));
            let (other, pieces) = file(&rows, cuts.into_iter().cycle().take(rows.len()));
            prop_assert_eq!(content, other);
            prop_assert_eq!(bytes, pieces);
        }

        #[test]
        fn a_dictionary_has_a_text_once_and_a_page_few_rows(
            runs in proptest::collection::vec((proptest::option::of("[a-c]{0,1}"), prop_oneof![2usize..5, 10_000usize..40_000]), 1..12),
        ) {
            let rows: Vec<Row> = runs.iter().flat_map(|(text, times)| vec![text.clone(); *times]).collect();
            let bytes = whole(&rows);
            let found = read(&bytes);
            prop_assert_eq!(found.columns(), columns(&rows));
            for column in 0..2 {
                let (texts, pages) = chunk(&bytes, column);
                prop_assert_eq!(texts.iter().collect::<BTreeSet<_>>().len(), texts.len(), "{:?}", texts);
                prop_assert!(texts.is_empty() || pages.iter().all(|rows| *rows <= PAGE_ROWS), "{:?}", pages);
            }
        }

        #[test]
        fn the_bounds_are_those_of_the_texts(
            runs in proptest::collection::vec((proptest::option::of("[a-z]{0,3}|[a-z]{60,70}"), 2usize..9), 1..20),
        ) {
            let rows: Vec<Row> = runs.iter().flat_map(|(text, times)| vec![text.clone(); *times]).collect();
            let metadata = metadata(&whole(&rows));
            let group = metadata.row_group(0);
            let texts = || rows.iter().flatten();
            prop_assert_eq!(is_dictionary(&metadata, 0), [true, texts().next().is_some()]);
            let statistics = group.column(1).statistics().unwrap();
            prop_assert_eq!(statistics.null_count_opt(), Some(rows.iter().filter(|row| row.is_none()).count() as u64));
            let (min, max) = (texts().min().map(|text| text.as_bytes()), texts().max().map(|text| text.as_bytes()));
            prop_assert!(statistics.min_bytes_opt() <= min && statistics.max_bytes_opt() >= max);
            prop_assert!(statistics.min_bytes_opt().is_none_or(|bound| bound.len() <= 64));
            prop_assert_eq!(statistics.min_is_exact(), min.is_some_and(|min| min.len() <= 64));
            prop_assert_eq!(statistics.max_is_exact(), max.is_some_and(|max| max.len() <= 64));
            prop_assert_eq!(statistics.max_is_exact(), max.is_some() && statistics.max_bytes_opt() == max);
        }
    }

    #[test]
    fn a_run_goes_on_in_the_next_row_group() {
        let rows = vec![Some("a".to_owned()); ROW_GROUP_ROWS + 2];
        let bytes = whole(&rows);
        let metadata = metadata(&bytes);
        assert_eq!([0, 1].map(|group| is_dictionary(&metadata, group)), [[true; 2]; 2]);
        assert!(read(&bytes).columns().iter().all(|c| c.as_string::<i32>().iter().all(|text| text == Some("a"))));
        assert!(bytes.len() < 4096, "{} bytes", bytes.len());
    }

    #[test]
    fn texts_that_do_not_repeat_are_written_out() {
        let rows: Vec<Row> = (0..100).map(|n| Some(format!("{n}"))).collect();
        assert_eq!(is_dictionary(&metadata(&whole(&rows)), 0), [false; 2]);
        assert_eq!(is_dictionary(&metadata(&whole(&vec![None; 9])), 0), [true, false]);
    }

    #[test]
    fn a_run_is_its_length_and_its_value() {
        let placed = |place: Option<u32>, rows| Placed { run: Run { text: place.map(|_| "x"), rows }, place };
        let runs = [placed(Some(0), 200), placed(None, 3), placed(Some(1), 1)];
        assert_eq!(body(&runs, 1, false), [1, 0x90, 3, 0, 2, 1]);
        assert_eq!(body(&runs, 1, true), [&[7, 0, 0, 0, 0x90, 3, 1, 6, 0, 2, 1][..], &[1, 0x90, 3, 0, 2, 1]].concat());
        assert_eq!(body(&[placed(Some(0), 1), placed(Some(1), 1)], 9, false), [9, 2, 0, 0, 2, 1, 0]);
    }
}
