//! Ids that rows repeat become a column chunk as the runs that they stand in. Pure.
//!
//! Every table below the conversations repeats the ids of what its rows are part of, dozens of times each. Written out,
//! that is more text than all other columns hold: to copy, to compare for the statistics, to compress. As runs each id
//! is touched once: the dictionary holds the texts of the runs one after another, and the only data page says how many
//! rows each of them is for.
//!
//! In the hybrid encoding of Parquet's levels and indexes a run is its length, doubled, as a varint, and its value in as
//! many whole bytes as the widest value needs. (An odd varint would announce packed values.)

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{BoundaryOrder, Encoding, PageType};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use super::page::{Chunk, Zstd};
use super::row_group::Run;

/// The chunk of the column `leaf`, which is not nested and has the texts of `runs`, of which at least one is not null.
///
/// # Errors
/// When Parquet cannot hold them.
pub(super) fn encode(leaf: &ColumnDescPtr, runs: &[Run<'_>], zstd: &mut Zstd) -> Result<Chunk, ParquetError> {
    let rows = rows(runs);
    let texts = || runs.iter().filter_map(|run| run.text);
    let dictionary = Page::DictionaryPage {
        buf: plain(texts()).into(),
        num_values: texts().count() as u32,
        encoding: Encoding::PLAIN,
        is_sorted: false,
    };
    let indexes = Page::DataPage {
        buf: indexes(runs, leaf.max_def_level() > 0).into(),
        num_values: rows as u32,
        encoding: Encoding::RLE_DICTIONARY,
        def_level_encoding: Encoding::RLE,
        rep_level_encoding: Encoding::RLE,
        statistics: None,
    };
    let stats = |page_type, encoding| PageEncodingStats { page_type, encoding, count: 1 };
    let encodings =
        vec![stats(PageType::DICTIONARY_PAGE, Encoding::PLAIN), stats(PageType::DATA_PAGE, Encoding::RLE_DICTIONARY)];
    let blobs = [blobs(dictionary)?, blobs(indexes)?].concat();
    let bytes: usize = blobs.iter().map(Bytes::len).sum();

    let nulls = runs.iter().filter(|run| run.text.is_none()).map(|run| run.rows).sum::<usize>();
    let bounds = texts().min().zip(texts().max()).filter(|(min, max)| min.len().max(max.len()) <= LONGEST);
    let (min, max) = bounds.unzip();
    let value = |text: &str| ByteArray::from(text.as_bytes().to_vec());
    let statistics = Statistics::byte_array(min.map(value), max.map(value), None, Some(nulls as u64), false);
    let metadata = ColumnChunkMetaData::builder(Arc::clone(leaf))
        .set_encodings(vec![Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY])
        .set_page_encoding_stats(encodings)
        .set_num_values(rows as i64)
        .set_total_uncompressed_size(bytes as i64)
        .set_statistics(statistics);
    let column_index = bounds.map(|(min, max)| {
        let mut index = ColumnIndexBuilder::new(leaf.physical_type());
        index.append(false, min.into(), max.into(), nulls as i64, None);
        index.set_boundary_order(BoundaryOrder::ASCENDING);
        index.build()
    });
    let mut offset_index = OffsetIndexBuilder::new();
    offset_index.append_row_count(rows as i64);
    // Where it is, and how long, is known when it is compressed.
    offset_index.append_offset_and_size(0, 0);
    let close = ColumnCloseResult {
        bytes_written: bytes as u64,
        rows_written: rows as u64,
        metadata: metadata.build()?,
        bloom_filter: None,
        column_index: column_index.transpose()?,
        offset_index: Some(offset_index.build()),
    };
    Chunk::new(blobs, close, zstd)
}

/// Bytes of the longest text that is written as a bound: Parquet's own writer shortens longer ones, here there is none.
const LONGEST: usize = 64;

/// The texts as a dictionary page has them: each after its length.
fn plain<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut page = Vec::new();
    for text in texts {
        page.extend_from_slice(&(text.len() as u32).to_le_bytes());
        page.extend_from_slice(text.as_bytes());
    }
    page
}

/// Which text of the dictionary each row has, and which rows have one where the column is `nullable`.
fn indexes(runs: &[Run<'_>], nullable: bool) -> Vec<u8> {
    let mut page = Vec::new();
    if nullable {
        let mut levels = Vec::new();
        for same in runs.chunk_by(|a, b| a.text.is_some() == b.text.is_some()) {
            run(&mut levels, rows(same), u32::from(same[0].text.is_some()), 1);
        }
        page.extend_from_slice(&(levels.len() as u32).to_le_bytes());
        page.extend_from_slice(&levels);
    }
    let present = || runs.iter().filter(|run| run.text.is_some());
    // One at least: not every reader expects an index without a bit.
    let bits = present().count().saturating_sub(1).max(1).ilog2() + 1;
    page.push(bits as u8);
    for (index, Run { rows, .. }) in (0..).zip(present()) {
        run(&mut page, *rows, index, bits.div_ceil(8) as usize);
    }
    page
}

/// Appends `rows` times `value`, which has `bytes` bytes.
fn run(to: &mut Vec<u8>, rows: usize, value: u32, bytes: usize) {
    let mut length = rows << 1;
    while length >= 0x80 {
        to.push(length as u8 | 0x80);
        length >>= 7;
    }
    to.push(length as u8);
    to.extend_from_slice(&value.to_le_bytes()[..bytes]);
}

fn rows(runs: &[Run<'_>]) -> usize {
    runs.iter().map(|run| run.rows).sum()
}

/// A page as its header, and what it heads.
fn blobs(page: Page) -> Result<[Bytes; 2], ParquetError> {
    let body = page.buffer().clone();
    let mut written = TrackedWrite::new(Vec::new());
    SerializedPageWriter::new(&mut written).write_page(CompressedPage::new(page, body.len()))?;
    let mut header = written.into_inner()?;
    header.truncate(header.len() - body.len());
    Ok([header.into(), body])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
    use arrow::compute::{cast, concat_batches};
    use arrow::datatypes::{DataType, Field, Schema};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::flatten::rows::Rows;
    use crate::lake::TableSpec;
    use crate::lake::encode::row_group::{Piece, ROW_GROUP_ROWS};
    use crate::lake::encode::{self, Label};
    use crate::lake::layout::{RunId, TableName};
    use crate::lake::testing::{at, day};

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
        let label = Label { uuid: Uuid::from_u128(1), day: day("2025-01-01"), run, observed_at: at, of: None };
        let (encoded, bytes) = encode::encode(Vec::new(), &spec, pieces.into_iter(), &label).unwrap();
        (encoded.content, bytes.into())
    }

    fn whole(rows: &[Row]) -> Bytes {
        file(rows, [(rows.len(), 0)].into_iter()).1
    }

    fn read(bytes: &Bytes) -> RecordBatch {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).unwrap().build().unwrap();
        let batches: Vec<_> = reader.map(|batch| batch.unwrap()).collect();
        concat_batches(&batches[0].schema(), &batches).unwrap()
    }

    fn metadata(bytes: &Bytes) -> ParquetMetaData {
        ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required).parse_and_finish(bytes).unwrap()
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
            let short = texts().all(|text| text.len() <= LONGEST);
            if short {
                prop_assert_eq!(statistics.min_bytes_opt(), texts().min().map(|text| text.as_bytes()));
                prop_assert_eq!(statistics.max_bytes_opt(), texts().max().map(|text| text.as_bytes()));
            }
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
