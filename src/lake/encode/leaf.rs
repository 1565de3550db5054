//! The pages of a column that is not nested become its chunk, with what readers skip pages and row groups by. Pure.
//!
//! Parquet's own writer takes a column value by value, through buffers that it sets up for each chunk: most chunks are
//! small, and a column's kind says beforehand all that it would find out.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{BoundaryOrder, Encoding, PageType};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use super::bits;
use super::page::{Chunk, Zstd};

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
    pub(super) nulls: usize,
    /// The least value and the greatest; none when all are null.
    pub(super) bounds: Option<(B, B)>,
}

/// The texts that indexes are of: each after its length.
pub(super) fn dictionary<'a>(texts: impl ExactSizeIterator<Item = &'a str>) -> Page {
    let num_values = texts.len() as u32;
    let mut page = Vec::new();
    for text in texts {
        page.extend_from_slice(&(text.len() as u32).to_le_bytes());
        page.extend_from_slice(text.as_bytes());
    }
    Page::DictionaryPage { buf: page.into(), num_values, encoding: Encoding::PLAIN, is_sorted: false }
}

/// Appends which rows have a value, 1 for each that has, as `levels` writes it without its length.
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
    let page = Values::<i64> { body, rows, nulls: rows, bounds: None };
    chunk(leaf, None, Encoding::PLAIN, vec![page], zstd)
}

/// The chunk of the column `leaf` of these pages.
///
/// # Errors
/// When Parquet cannot hold it.
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

    let (rows, nulls) = pages.iter().fold((0, 0), |(rows, nulls), page| (rows + page.rows, nulls + page.nulls));
    let metadata = ColumnChunkMetaData::builder(Arc::clone(leaf))
        .set_encodings(encodings)
        .set_page_encoding_stats(encoding_stats)
        .set_num_values(rows as i64)
        .set_statistics(statistics(&pages, nulls));
    let column_index = column_index(leaf, &pages)?;
    let mut offset_index = OffsetIndexBuilder::new();
    let mut blobs: Vec<Bytes> = Vec::with_capacity(2 * (pages.len() + 1));
    if let Some(page) = dictionary {
        blobs.extend(headed(page)?);
    }
    for Values { body, rows, .. } in pages {
        offset_index.append_row_count(rows as i64);
        // Where it is, and how long, is known when it is compressed.
        offset_index.append_offset_and_size(0, 0);
        blobs.extend(headed(Page::DataPage {
            buf: body.into(),
            num_values: rows as u32,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        })?);
    }
    let bytes: usize = blobs.iter().map(Bytes::len).sum();
    let close = ColumnCloseResult {
        bytes_written: bytes as u64,
        rows_written: rows as u64,
        metadata: metadata.set_total_uncompressed_size(bytes as i64).build()?,
        bloom_filter: None,
        column_index: Some(column_index),
        offset_index: Some(offset_index.build()),
    };
    Chunk::new(blobs, close, zstd)
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

fn column_index<B: Bound>(leaf: &ColumnDescPtr, pages: &[Values<B>]) -> Result<ColumnIndexMetaData, ParquetError> {
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
    index.build()
}

/// A page as its header, and what it heads.
fn headed(page: Page) -> Result<[Bytes; 2], ParquetError> {
    let body = page.buffer().clone();
    let mut written = TrackedWrite::new(Vec::new());
    SerializedPageWriter::new(&mut written).write_page(CompressedPage::new(page, body.len()))?;
    let mut header = written.into_inner()?;
    header.truncate(header.len() - body.len());
    Ok([header.into(), body])
}
