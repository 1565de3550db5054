//! Ids that rows repeat become a column chunk as the runs that they stand in. Pure.
//!
//! Every table below the conversations repeats the ids of what its rows are part of, dozens of times each. Written out,
//! that is more text than all other columns hold: to copy, to compare for the statistics, to compress. As runs each id
//! is touched once: the dictionary holds the texts of the runs one after another, and the only data page says how many
//! rows each of them is for.

use parquet::basic::Encoding;
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescPtr;

use super::bits;
use super::dictionary::{self, index_width};
use super::leaf::{self, Values};
use super::page::{Chunk, Zstd};
use super::row_group::Run;

/// The chunk of the column `leaf`, which is not nested and has the texts of `runs`, of which at least one is not null.
///
/// # Errors
/// When Parquet cannot hold them.
pub(super) fn encode(leaf: &ColumnDescPtr, runs: &[Run<'_>], zstd: &mut Zstd) -> Result<Chunk, ParquetError> {
    let texts: Vec<&str> = runs.iter().filter_map(|run| run.text).collect();
    let rows = rows(runs);
    let page = Values {
        body: indexes(runs, leaf.max_def_level() > 0),
        rows,
        entries: rows,
        nulls: runs.iter().filter(|run| run.text.is_none()).map(|run| run.rows).sum(),
        bounds: leaf::bounds(texts.iter().copied()),
    };
    leaf::chunk(leaf, Some(dictionary::page(texts.into_iter())), Encoding::RLE_DICTIONARY, vec![page], zstd)
}

/// Which text of the dictionary each row has, and which rows have one where the column is `nullable`.
fn indexes(runs: &[Run<'_>], nullable: bool) -> Vec<u8> {
    let mut page = Vec::new();
    if nullable {
        leaf::levels(&mut page, |to| {
            for same in runs.chunk_by(|a, b| a.text.is_some() == b.text.is_some()) {
                bits::run(to, rows(same), u64::from(same[0].text.is_some()), 1);
            }
        });
    }
    let present = || runs.iter().filter(|run| run.text.is_some());
    let bits = index_width(present().count());
    page.push(bits as u8);
    for (index, run) in (0..).zip(present()) {
        bits::run(&mut page, run.rows, index, bits);
    }
    page
}

fn rows(runs: &[Run<'_>]) -> usize {
    runs.iter().map(|run| run.rows).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, StringArray};
    use arrow::compute::cast;
    use arrow::datatypes::{DataType, Field, Schema};
    use bytes::Bytes;
    use parquet::file::metadata::ParquetMetaData;
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
            let index = metadata.page_index_for_row_group(0);
            let page = &index.page_locations(0).unwrap()[0];
            let chunk = group.column(0);
            prop_assert_eq!(page.offset, chunk.data_page_offset());
            let end = chunk.byte_range().0 + chunk.byte_range().1;
            prop_assert_eq!(page.offset as u64 + page.compressed_page_size as u64, end);
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
        let runs = [(Some("x"), 200), (None, 3), (Some("y"), 1)].map(|(text, rows)| Run { text, rows });
        assert_eq!(indexes(&runs, false), [1, 0x90, 3, 0, 2, 1]);
        assert_eq!(indexes(&runs, true), [&[7, 0, 0, 0, 0x90, 3, 1, 6, 0, 2, 1][..], &[1, 0x90, 3, 0, 2, 1]].concat());
        let many: Vec<Run<'_>> = (0..257).map(|_| Run { text: Some("x"), rows: 1 }).collect();
        assert_eq!(indexes(&many, false)[..7], [9, 2, 0, 0, 2, 1, 0]);
        assert_eq!(indexes(&many[..256], false)[..5], [8, 2, 0, 2, 1]);
    }
}
