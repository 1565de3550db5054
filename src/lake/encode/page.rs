//! The pages of an encoded column chunk are compressed, where that pays. Pure.
//!
//! Parquet's own writer sets a compression context up for every chunk, before it knows whether there is anything to
//! compress. Tables are wide and days are small: most chunks hold a few hundred bytes, and setting up took longer than
//! all the rest. So chunks are encoded uncompressed, and one context compresses the pages of one chunk after another.
//!
//! | a chunk whose pages have | is |
//! |---|---|
//! | less than [`SMALL`] bytes | not compressed |
//! | more, and zstd saves at least an eighth, of the largest page and of all | compressed |
//! | more, and zstd saves less | not compressed, so that readers need not undo what was not worth doing |

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::arrow::arrow_writer::{PageKey, PageStore, PageStoreArgs, PageStoreFactory};
use parquet::basic::{Compression, ZstdLevel};
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::writer::{SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite};
use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, ParamSwitch};

use super::bits::varint;
use super::known::Known;
use crate::error::{Error, Result};

/// Bytes of encoded pages below which compression is not tried: most chunks of a small day are smaller, and all that
/// could be saved of them is less than a hundredth of it.
const SMALL: usize = 1024;
/// zstd's fastest level: higher ones are slower and not smaller on these columns.
const LEVEL: i32 = 1;
/// Logarithm of the entries of zstd's table of what it has seen: at 16 kB it stays in the processor's nearest cache, and
/// pages are not so long that they would fill a larger one with what is found again.
const HASH_LOG: u32 = 12;
/// Bytes of the shortest match: ids are random, and shorter ones of them cost more to say than to write out.
const MIN_MATCH: u32 = 6;
/// Bytes between the places where a match is looked for, less one. Most of what is compressed are random ids, in which
/// there is little to find: a third less time than with zstd's own 1, for files that are 0.6 % larger.
const STEP: u32 = 3;

thread_local! {
    static ZSTD: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

/// A compression context; what it compressed before does not show in what it compresses next.
pub(super) struct Zstd<'k> {
    compressor: Compressor<'static>,
    known: &'k Known,
}

impl<'k> Zstd<'k> {
    /// Gives `compress` this thread's context: setting one up takes longer than most of what it is for. What is `known`
    /// is not compressed again.
    ///
    /// # Errors
    /// When there is no memory for one, and those of `compress`.
    pub(super) fn with<T>(known: &'k Known, compress: impl FnOnce(&mut Zstd<'k>) -> Result<T>) -> Result<T> {
        // `compress` may wait for other threads, and this one do their work meanwhile: with another context.
        let kept = ZSTD.take();
        let compressor =
            kept.map_or_else(context, Ok).map_err(|e| Error::storage(format!("cannot set zstd up: {e}")))?;
        let mut zstd = Zstd { compressor, known };
        let done = compress(&mut zstd);
        ZSTD.set(Some(zstd.compressor));
        done
    }
}

fn context() -> io::Result<Compressor<'static>> {
    let mut compressor = Compressor::new(LEVEL)?;
    compressor.set_parameter(CParameter::HashLog(HASH_LOG))?;
    compressor.set_parameter(CParameter::MinMatch(MIN_MATCH))?;
    compressor.set_parameter(CParameter::TargetLength(STEP))?;
    // Else a step switches that off, and what is not found again is most of an id.
    compressor.set_parameter(CParameter::LiteralCompressionMode(ParamSwitch::Enable))?;
    Ok(compressor)
}

/// The pages of the leaves of a column as the writer hands them over: a header, then what it heads.
#[derive(Debug, Default)]
pub(super) struct Pages(Mutex<Vec<Arc<Mutex<Vec<Bytes>>>>>);

impl Pages {
    /// What was written for the leaf of this number.
    pub(super) fn of(&self, leaf: usize) -> Vec<EncodedPage> {
        let leaves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let blobs =
            leaves.get(leaf).map(|blobs| std::mem::take(&mut *blobs.lock().unwrap_or_else(PoisonError::into_inner)));
        let (pairs, _) = blobs.as_deref().unwrap_or_default().as_chunks::<2>();
        let page =
            |[header, body]: &[Bytes; 2]| EncodedPage { header: header.to_vec(), raw: body.len(), body: body.clone() };
        // The dictionary comes first, though it is known only after the pages that use it.
        let (first, others): (Vec<_>, Vec<_>) = pairs.iter().map(page).partition(EncodedPage::is_dictionary);
        first.into_iter().chain(others).collect()
    }
}

impl PageStoreFactory for Pages {
    fn create(&self, _: &PageStoreArgs<'_>) -> Result<Box<dyn PageStore>, ParquetError> {
        let store = Store(Arc::default());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&store.0));
        Ok(Box::new(store))
    }
}

struct Store(Arc<Mutex<Vec<Bytes>>>);

impl PageStore for Store {
    fn put(&mut self, value: Bytes) -> Result<PageKey, ParquetError> {
        let mut blobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        blobs.push(value);
        Ok(PageKey::new(blobs.len() as u64))
    }

    fn take(&mut self, _: PageKey) -> Result<Bytes, ParquetError> {
        Err(ParquetError::General("pages are taken all at once".to_owned()))
    }
}

/// A page: its header, and what it heads.
pub(super) struct EncodedPage {
    /// As it is before the size and the checksum of what it heads are known.
    header: Vec<u8>,
    /// Bytes of the body before it was compressed.
    raw: usize,
    body: Bytes,
}

impl EncodedPage {
    /// `page` with its header.
    ///
    /// # Errors
    /// When Parquet has no such page.
    pub(super) fn new(mut page: Page) -> Result<EncodedPage, ParquetError> {
        let (Page::DataPage { buf, .. } | Page::DataPageV2 { buf, .. } | Page::DictionaryPage { buf, .. }) = &mut page;
        let body = std::mem::take(buf);
        let mut header = TrackedWrite::new(Vec::new());
        SerializedPageWriter::new(&mut header).write_page(CompressedPage::new(page, body.len()))?;
        Ok(EncodedPage { header: header.into_inner()?, raw: body.len(), body })
    }

    /// Bytes of it.
    pub(super) fn len(&self) -> usize {
        self.header.len() + self.body.len()
    }

    /// Its header with the size and the checksum of its body.
    fn headed(&self) -> Result<Vec<u8>, ParquetError> {
        let header = headed(&self.header, self.body.len(), crc32fast::hash(&self.body));
        header.ok_or_else(|| ParquetError::General("a page's header cannot be read".to_owned()))
    }

    /// Whether it holds the dictionary of the others. The header is in Thrift's compact protocol: its first field is
    /// the page's type.
    fn is_dictionary(&self) -> bool {
        const DICTIONARY: u8 = 2 << 1;
        self.header.get(1) == Some(&DICTIONARY)
    }

    fn compressed(&self, zstd: &mut Zstd) -> Result<EncodedPage, ParquetError> {
        let mut compress = |page: &[u8]| zstd.compressor.compress(page).map(Bytes::from);
        let body = match self.is_dictionary() {
            true => zstd.known.or_compressed(&self.body, compress),
            false => compress(&self.body),
        };
        Ok(EncodedPage { header: self.header.clone(), raw: self.raw, body: body? })
    }
}

/// An encoded column chunk.
pub(super) struct Chunk {
    /// The headers and bodies of its pages.
    parts: Parts,
    close: ColumnCloseResult,
}

impl Chunk {
    /// The chunk of `pages`, the dictionary first, which the writer closed with `close`.
    ///
    /// # Errors
    /// When they are not pages.
    pub(super) fn new(
        mut pages: Vec<EncodedPage>,
        close: ColumnCloseResult,
        zstd: &mut Zstd,
    ) -> Result<Chunk, ParquetError> {
        let mut codec = Compression::UNCOMPRESSED;
        if let Some(compressed) = compressed(&pages, zstd)? {
            (pages, codec) = (compressed, Compression::ZSTD(ZstdLevel::try_new(LEVEL)?));
        }
        let (mut bytes, mut raw, mut dictionary) = (0, 0, None);
        let (mut places, mut parts) = (Vec::with_capacity(pages.len()), VecDeque::with_capacity(2 * pages.len()));
        for page in pages {
            let header = page.headed()?;
            let length = header.len() + page.body.len();
            match page.is_dictionary() {
                true => dictionary = Some(bytes as i64),
                false => places.push((bytes as i64, length as i32)),
            }
            bytes += length;
            raw += header.len() + page.raw;
            parts.extend([header.into(), page.body]);
        }
        let ColumnCloseResult { metadata, mut column_index, mut offset_index, .. } = close;
        let mut metadata = metadata.into_builder();
        if places.len() < 2 {
            // All of it is said of the chunk: readers have nothing to skip.
            (column_index, offset_index) = (None, None);
            metadata = metadata
                .set_unencoded_byte_array_data_bytes(None)
                .set_repetition_level_histogram(None)
                .set_definition_level_histogram(None);
        }
        let metadata = metadata
            .set_compression(codec)
            .set_total_compressed_size(bytes as i64)
            .set_total_uncompressed_size(raw as i64)
            .set_dictionary_page_offset(dictionary)
            .set_data_page_offset(places.first().map_or(0, |place| place.0));
        if let Some(index) = &mut offset_index {
            for (location, (at, length)) in index.page_locations.iter_mut().zip(places) {
                (location.offset, location.compressed_page_size) = (at, length);
            }
        }
        let close = ColumnCloseResult {
            metadata: metadata.build()?,
            column_index,
            offset_index,
            bytes_written: bytes as u64,
            bloom_filter: close.bloom_filter,
            rows_written: close.rows_written,
        };
        Ok(Chunk { parts: Parts(parts), close })
    }

    /// The same, looked up with `filter`.
    pub(super) fn with_bloom_filter(mut self, filter: Sbbf) -> Chunk {
        self.close.bloom_filter = Some(filter);
        self
    }

    /// Appends it to a row group.
    ///
    /// # Errors
    /// When it cannot be written, or is not the chunk of the next column.
    pub(super) fn append<W: Write + Send>(
        self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        group.append_column(&self.parts, self.close)
    }
}

/// Bytes one after another, which need not be copied together to be written.
#[derive(Clone)]
struct Parts(VecDeque<Bytes>);

impl Read for Parts {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(part) = self.0.front_mut() {
            let some = part.split_to(part.len().min(to.len() - filled));
            to[filled..filled + some.len()].copy_from_slice(&some);
            filled += some.len();
            if !part.is_empty() {
                break;
            }
            self.0.pop_front();
        }
        Ok(filled)
    }
}

impl Length for Parts {
    fn len(&self) -> u64 {
        self.0.iter().map(|part| part.len() as u64).sum()
    }
}

impl ChunkReader for Parts {
    type T = Parts;

    fn get_read(&self, start: u64) -> Result<Parts, ParquetError> {
        let mut rest = self.clone();
        io::copy(&mut rest.by_ref().take(start), &mut io::sink())?;
        Ok(rest)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let mut bytes = Vec::with_capacity(length);
        self.get_read(start)?.take(length as u64).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// The `pages` compressed, where that pays. The largest goes first: when it does not shrink, the rest need not be tried.
fn compressed(pages: &[EncodedPage], zstd: &mut Zstd) -> Result<Option<Vec<EncodedPage>>, ParquetError> {
    let raw = size(pages);
    let pays = |raw: usize, compressed: usize| compressed <= raw - raw / 8;
    let Some(largest) = pages.iter().max_by_key(|page| page.len()).filter(|_| raw >= SMALL) else { return Ok(None) };
    let first = largest.compressed(zstd)?;
    if !pays(largest.len(), first.len()) {
        return Ok(None);
    }
    let mut first = Some(first);
    let each = |page: &EncodedPage| match first.take_if(|_| std::ptr::eq(page, largest)) {
        Some(first) => Ok(first),
        None => page.compressed(zstd),
    };
    let compressed = pages.iter().map(each).collect::<Result<Vec<_>, _>>()?;
    Ok(pays(raw, size(&compressed)).then_some(compressed))
}

fn size(pages: &[EncodedPage]) -> usize {
    pages.iter().map(EncodedPage::len).sum()
}

/// A page's `header` for a body of `size` bytes with the checksum `crc`. It begins with three integers: the type, the size
/// uncompressed and the size compressed, each a mark (one field on, 32 bits) and a zigzag varint. The checksum is the next
/// field, and nobody has written it yet: the mark of the one that follows says how many fields on that is.
fn headed(header: &[u8], size: usize, crc: u32) -> Option<Vec<u8>> {
    const INTEGER: u8 = 0x15;
    const ONE_FIELD: u8 = 0x10;
    let after = |from: usize| -> Option<usize> {
        (header.get(from) == Some(&INTEGER)).then_some(())?;
        Some(from + 2 + header.get(from + 1..)?.iter().position(|byte| byte & 0x80 == 0)?)
    };
    let start = after(after(0)?)?;
    let (next, rest) = header.get(after(start)?..)?.split_first()?;
    let next = next.checked_sub(ONE_FIELD).filter(|next| *next >= ONE_FIELD)?;
    let mut headed = Vec::with_capacity(header.len() + 10);
    headed.extend_from_slice(&header[..=start]);
    varint(&mut headed, (size as u64) << 1);
    headed.push(INTEGER);
    let crc = crc.cast_signed();
    varint(&mut headed, u64::from(((crc << 1) ^ (crc >> 31)).cast_unsigned()));
    headed.push(next);
    headed.extend_from_slice(rest);
    Some(headed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_a_context_did_before_does_not_show(
            texts in proptest::collection::vec(("[a-f0-9-]{1,40}", 1usize..2_000), 1..12),
        ) {
            let mut used = context().unwrap();
            for (text, times) in texts {
                let bytes = text.repeat(times).into_bytes();
                let fresh = context().unwrap().compress(&bytes).unwrap();
                prop_assert_eq!(used.compress(&bytes).unwrap(), fresh);
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for header in
            [&[][..], &[0x15], &[0x15, 0, 0x15, 0x80], &[0x15, 0, 0x15, 1, 0x25, 1], &[0x15, 0, 0x15, 0, 0x15, 0, 0x1c]]
        {
            assert_eq!(headed(header, 1, 1), None);
        }
    }
}
