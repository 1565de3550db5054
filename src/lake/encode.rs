//! A sorted table becomes one Parquet file. Pure over [`Write`].
//!
//! The same rows give the same bytes up to the footer, whatever batches they came in and whatever thread encodes
//! them: where row groups end follows from the rows (`row_group`), and every choice below from the rows of one alone.
//! Run, observation and the file's UUID are only in the footer. The *content* hash covers everything in front of the
//! page index (which follows from the pages): equal content is what makes a day unchanged. The *file* hash covers
//! all bytes and finds damage.
//!
//! How the columns are encoded is said in `chunk` (`dictionary`, `runs`, `plain`: kinds of columns;
//! `gather`, `levels`: what is in them; `leaf`: their pages; `page`, `known`: compression). They are encoded one by
//! one, on as many threads as there are, and wait encoded until their row group is whole. So beside the sources of
//! the rows, encoding takes the encoded row group (less than [`ROW_GROUP_TEXT`], and 1 MB a column without text), 6
//! MB that are `known`, and a thread what it has of one column: the rows' values or where their texts are (2 MB),
//! the distinct texts' index (a few MB), or twice the text where that is written out; which in all threads is not
//! more than twice [`ROW_GROUP_TEXT`], as the text of a row group is in all its columns.

mod bits;
mod chunk;
mod dictionary;
mod gather;
mod known;
mod leaf;
mod levels;
mod page;
mod plain;
pub mod row_group;
mod runs;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::SchemaDescriptor;
use rayon::prelude::*;
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

use self::chunk::Column;
pub use self::known::Known;
use self::page::{Chunk, Zstd};
#[cfg(doc)]
use self::row_group::ROW_GROUP_TEXT;
use self::row_group::{Piece, RowGroup, RowGroups};
use super::assemble::TableSpec;
use super::order::Order;
use crate::error::{Error, Result};
use crate::time::{Day, Timestamp};

/// Rows from which on a row group is worth more than one thread.
const PARALLEL_ROWS: usize = 4_096;
/// The column that all files of conversations are sorted by first.
pub(super) const START: &str = "conversation_start";
/// The column that all files of conversations are sorted by next.
pub(super) const ID: &str = "conversation_id";
/// The column that the files of dimensions are sorted by.
pub(super) const DIMENSION_ID: &str = "id";
/// The table with one row a conversation: published last, and the one that is searched by id.
pub const CONVERSATIONS: &str = "conversations";
/// What the footer says beside the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// This file's own id.
    pub uuid: Uuid,
    /// The day of its rows.
    pub day: Day,
    /// The state of the day that it is of.
    pub order: Order,
    /// When the source was asked.
    pub observed_at: Timestamp,
    /// The published file that it was made of by leaving rows out.
    pub of: Option<Uuid>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// Hash of everything in front of the page index, hexadecimal.
    pub content: String,
    /// Hash of all bytes, hexadecimal.
    pub hash: String,
}

/// Names in the footer's key-value metadata.
pub(super) mod key {
    pub(crate) const UUID: &str = "convlake.uuid";
    pub(crate) const DAY: &str = "convlake.day";
    pub(crate) const RUN: &str = "convlake.run";
    pub(crate) const GENERATION: &str = "convlake.generation";
    pub(crate) const OBSERVER: &str = "convlake.observer";
    pub(crate) const REVISION: &str = "convlake.revision";
    pub(crate) const OBSERVED_AT: &str = "convlake.observed_at";
    pub(crate) const OF: &str = "convlake.of";
    pub(crate) const ROWS: &str = "convlake.rows";
    pub(crate) const CONTENT: &str = "convlake.content";
    pub(crate) const SCHEMA: &str = "convlake.schema_version";
    pub(crate) const TOOL: &str = "convlake.tool";
    pub(crate) const COLUMNS: &str = "convlake.columns";
}

/// Writes the rows of `pieces`, which come in order, to `to`, which is returned. What is `known` of the day's other tables
/// makes it faster and does not show.
///
/// # Errors
/// [`crate::error::Kind::Storage`] when `to` cannot be written, [`crate::error::Kind::Data`] when rows cannot be put
/// together, [`crate::error::Kind::Bug`] when the schema is not one that Parquet can hold.
pub fn encode<W: Write + Send>(
    to: W,
    spec: &TableSpec,
    pieces: impl Iterator<Item = Result<Piece>>,
    label: &Label,
    known: &Known,
) -> Result<(Encoded, W)> {
    let place = |e: ParquetError| encode_failed(spec, e);
    let layout = chunk::layout(&spec.schema).map_err(place)?;
    let columns = Column::of(spec, &layout).map_err(place)?;
    let properties = chunk::common()
        .set_created_by(format!("{} version {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")))
        .set_sorting_columns(Some(sorting(&layout)))
        .set_key_value_metadata(Some(metadata(spec, label)?));
    let properties = Arc::new(properties.build());
    let mut to = Hashing::new(to);
    let mut writer = SerializedFileWriter::new(&mut to, layout.root_schema_ptr(), properties).map_err(place)?;
    let mut rows = 0;
    for group in RowGroups::new(pieces) {
        let group = group?;
        let chunks = chunks(spec, &columns, &group, known)?;
        let mut row_group = writer.next_row_group().map_err(place)?;
        for chunk in chunks.into_iter().flatten() {
            chunk.append(&mut row_group).map_err(place)?;
        }
        row_group.close().map_err(place)?;
        rows += group.rows() as u64;
    }
    writer.append_key_value_metadata(KeyValue::new(key::ROWS.to_owned(), rows.to_string()));
    writer.flush().map_err(|e| place(e.into()))?;
    let content = writer.inner().hex();
    writer.append_key_value_metadata(KeyValue::new(key::CONTENT.to_owned(), content.clone()));
    // Not `into_inner`, which turns a failed write of the last bytes into a text: a full disk would look like a bug.
    writer.finish().map_err(place)?;
    drop(writer);
    Ok((Encoded { rows, bytes: to.bytes, content, hash: to.hex() }, to.inner))
}

/// The chunks of every column of `group`, in order.
fn chunks(spec: &TableSpec, columns: &[Column], group: &RowGroup, known: &Known) -> Result<Vec<Vec<Chunk>>> {
    let encode = |(index, column): (usize, &Column)| Zstd::with(known, |zstd| column.encode(spec, group, index, zstd));
    match group.rows() {
        PARALLEL_ROWS.. => columns.par_iter().enumerate().map(encode).collect(),
        _ => columns.iter().enumerate().map(encode).collect(),
    }
}

fn metadata(spec: &TableSpec, label: &Label) -> Result<Vec<KeyValue>> {
    let entries = [
        (key::UUID, label.uuid.to_string()),
        (key::DAY, label.day.to_string()),
        (key::RUN, label.order.writer().to_string()),
        (key::GENERATION, label.order.generation().to_string()),
        (key::OBSERVER, label.order.observer().to_string()),
        (key::REVISION, label.order.revision().to_string()),
        (key::OBSERVED_AT, label.observed_at.to_rfc3339()),
        (key::SCHEMA, spec.version.to_string()),
        (key::TOOL, super::TOOL.to_owned()),
        (key::COLUMNS, columns(spec)?),
    ];
    let of = label.of.map(|uuid| (key::OF, uuid.to_string()));
    Ok(entries.into_iter().chain(of).map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect())
}

/// What the schema says of its columns beside their types, as `{"unit": {"ms": ["t_talk_ms", …]}, …}`.
///
/// The serialised Arrow schema would hold it too, at 200 bytes a column in every file of every day: more than the
/// data of a small one. Its types follow from Parquet's own.
fn columns(spec: &TableSpec) -> Result<String> {
    let mut said: BTreeMap<&str, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
    for field in spec.schema.fields() {
        for (key, value) in field.metadata() {
            said.entry(key).or_default().entry(value).or_default().push(field.name());
        }
    }
    serde_json::to_string(&said).map_err(|e| Error::bug("cannot write the columns' metadata").source(e))
}

/// The columns that rows are sorted by.
fn sorting(layout: &SchemaDescriptor) -> Vec<SortingColumn> {
    let sorted = [START, ID, DIMENSION_ID].into_iter().filter_map(|name| {
        let column_idx = layout.columns().iter().position(|c| c.path().string() == name)? as i32;
        Some(SortingColumn { column_idx, descending: false, nulls_first: false })
    });
    sorted.collect()
}

fn encode_failed(spec: &TableSpec, cause: ParquetError) -> Error {
    match cause {
        ParquetError::External(cause) if cause.is::<io::Error>() => {
            Error::storage(format!("cannot write a file of `{}`: {cause}", spec.name))
                .hint("free some space or repair the storage, and run again: what is published is untouched")
        }
        cause => Error::bug(format!("cannot encode `{}`", spec.name)).source(cause),
    }
}

/// Hashes and counts what passes.
struct Hashing<W> {
    inner: W,
    hash: Box<Xxh3>,
    bytes: u64,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Hashing<W> {
        Hashing { inner, hash: Box::default(), bytes: 0 }
    }

    fn hex(&self) -> String {
        hex(self.hash.digest128())
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A hash as it is written everywhere.
pub(super) fn hex(hash: u128) -> String {
    format!("{hash:032x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flatten::batch::DayBatch;
    use crate::lake::assemble::SortedTable;
    use crate::lake::encode::row_group::ROW_GROUP_ROWS;
    use crate::lake::slot;
    use crate::lake::testing::{Rec, assemble, at, batch, day, recs, specs, whole};
    use arrow::array::RecordBatch;
    use arrow::compute::concat_batches;
    use arrow::datatypes::Schema;
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::basic::{Compression, Encoding, PageType};
    use parquet::column::page::Page;
    use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use proptest::prelude::*;

    fn label(run: u128) -> Label {
        Label {
            uuid: Uuid::from_u128(run),
            day: day("2025-01-01"),
            order: Order::observed(1, at("2025-02-01T00:00:00Z"), Uuid::from_u128(run).into()),
            observed_at: at("2025-02-01T00:00:00Z"),
            of: None,
        }
    }

    fn encode_all(batches: &[DayBatch], specs: &[TableSpec], run: u128) -> Vec<(Encoded, Bytes)> {
        let rows = batches.to_vec().into();
        let assembled = assemble(specs, &rows, &day("2025-01-01").interval()).unwrap();
        let known = Known::default();
        let encode =
            |table: &SortedTable<'_>| encode(Vec::new(), table.spec, table.pieces(), &label(run), &known).unwrap();
        let encoded = assembled.tables.iter().map(encode);
        encoded.map(|(encoded, bytes)| (encoded, bytes.into())).collect()
    }

    /// Takes so many bytes, then the disk is full.
    struct Full {
        left: usize,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = self.left.min(bytes.len());
            if taken == 0 && !bytes.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.left -= taken;
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_disk_that_is_full_at_any_byte_is_a_storage_error() {
        let specs = specs(1);
        let batches = [batch(day("2025-01-01"), &specs, &many(40))];
        let rows = batches.to_vec().into();
        let assembled = assemble(&specs, &rows, &day("2025-01-01").interval()).unwrap();
        let table = &assembled.tables[0];
        let write = |left| {
            encode(Full { left }, table.spec, table.pieces(), &label(1), &Known::default()).map(|(done, _)| done)
        };
        let bytes = encode_all(&batches, &specs, 1)[0].1.len();
        for left in (0..bytes).step_by(7).chain([bytes - 1]) {
            let error = write(left).unwrap_err();
            assert_eq!(error.kind(), crate::error::Kind::Storage, "after {left} of {bytes} bytes: {error}");
        }
        assert_eq!(write(bytes).unwrap().bytes, bytes as u64);
    }

    fn parse(bytes: &Bytes) -> ParquetMetaData {
        ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional).parse_and_finish(bytes).unwrap()
    }

    /// Everything in front of the Thrift footer, page index included.
    fn before_footer(bytes: &Bytes) -> Bytes {
        let tail: [u8; 4] = bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap();
        bytes.slice(..bytes.len() - 8 - u32::from_le_bytes(tail) as usize)
    }

    fn many(count: usize) -> Vec<Rec> {
        let day = day("2025-01-01");
        let one = |n: usize| Rec::new(day, &format!("id-{n:06}"), (n % 86_400) as i64, (0, 1, n as u32), n % 4);
        (0..count).map(one).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn the_same_records_give_the_same_bytes_before_the_footer(recs in recs(day("2025-01-01"), 40), cut in 0usize..40) {
            let specs = specs(1);
            let day = day("2025-01-01");
            let cut = cut.min(recs.len());
            let whole = encode_all(&[batch(day, &specs, &recs)], &specs, 1);
            let pieces = [batch(day, &specs, &recs[cut..]), batch(day, &specs, &recs[..cut])];
            for ((a, a_bytes), (b, b_bytes)) in whole.iter().zip(&encode_all(&pieces, &specs, 2)) {
                prop_assert_eq!(&a.content, &b.content);
                prop_assert_ne!(&a.hash, &b.hash);
                prop_assert_eq!(before_footer(a_bytes), before_footer(b_bytes));
                prop_assert_eq!((a.rows, a.bytes), (b.rows, b.bytes));
            }
        }

        #[test]
        fn what_is_read_back_is_what_was_assembled(recs in recs(day("2025-01-01"), 60)) {
            let specs = specs(1);
            let day = day("2025-01-01");
            let rows = vec![batch(day, &specs, &recs)].into();
            let assembled = assemble(&specs, &rows, &day.interval()).unwrap();
            for table in &assembled.tables {
                let (_, bytes) = encode(Vec::new(), table.spec, table.pieces(), &label(1), &Known::default()).unwrap();
                let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).unwrap().build().unwrap();
                let read: Vec<RecordBatch> = reader.map(|b| b.unwrap()).collect();
                let wanted = whole(table);
                let rows = read.iter().map(RecordBatch::num_rows).sum::<usize>();
                prop_assert_eq!(rows, wanted.num_rows());
                if let Some(first) = read.first() {
                    let read = concat_batches(first.schema_ref(), &read).unwrap();
                    prop_assert_eq!(read.columns(), wanted.columns());
                }
            }
        }
    }

    #[test]
    fn other_rows_have_another_content() {
        let (specs, day) = (specs(1), day("2025-01-01"));
        let mut recs = many(10);
        let before = encode_all(&[batch(day, &specs, &recs)], &specs, 1);
        recs[3].start += 1;
        let after = encode_all(&[batch(day, &specs, &recs)], &specs, 1);
        assert!(before.iter().zip(&after).all(|(a, b)| a.0.content != b.0.content));
    }

    #[test]
    fn row_groups_are_cut_at_fixed_rows_and_sorted() {
        let (specs, day) = (specs(1), day("2025-01-01"));
        let recs = many(ROW_GROUP_ROWS + 10);
        let batches: Vec<_> = recs.chunks(50_000).map(|piece| batch(day, &specs, piece)).collect();
        let (encoded, bytes) = &encode_all(&batches, &specs, 1)[0];
        let metadata = parse(bytes);
        let rows: Vec<_> = metadata.row_groups().iter().map(|g| g.num_rows()).collect();
        assert_eq!(rows, [ROW_GROUP_ROWS as i64, 10]);
        assert_eq!(encoded.rows, recs.len() as u64);
        let sorted = metadata.row_group(0).sorting_columns().unwrap();
        assert_eq!(sorted.iter().map(|s| s.column_idx).collect::<Vec<_>>(), [1, 0]);
        let first =
            |group: usize| metadata.row_group(group).column(1).statistics().unwrap().min_bytes_opt().unwrap().to_vec();
        assert!(i64::from_le_bytes(first(0).try_into().unwrap()) < i64::from_le_bytes(first(1).try_into().unwrap()));
    }

    #[test]
    fn columns_are_encoded_by_what_they_hold() {
        let (specs, day) = (specs(1), day("2025-01-01"));
        let all = encode_all(&[batch(day, &specs, &many(5_000))], &specs, 1);
        let metadata = parse(&all[0].1);
        let group = metadata.row_group(0);
        let encodings = |column: usize| group.column(column).encodings().collect::<Vec<_>>();
        let dictionary = |column: usize| group.column(column).dictionary_page_offset().is_some();
        let is_zstd = |column: usize| matches!(group.column(column).compression(), Compression::ZSTD(_));
        let [id, start, talk, origin, never] = [0, 1, 2, 3, 4];
        assert!(!dictionary(id) && encodings(id).contains(&Encoding::PLAIN) && is_zstd(id));
        assert!(encodings(start).contains(&Encoding::PLAIN) && !dictionary(start), "they all differ");
        assert!(encodings(talk).contains(&Encoding::PLAIN));
        assert!(dictionary(origin));
        assert!(!dictionary(never) && !is_zstd(never));
        assert!(group.column(id).bloom_filter_offset().is_some());
        assert!(parse(&all[1].1).row_group(0).column(0).bloom_filter_offset().is_none());
        let small = parse(&encode_all(&[batch(day, &specs, &many(3))], &specs, 1)[0].1);
        assert!(small.row_group(0).columns().iter().all(|c| c.compression() == Compression::UNCOMPRESSED));
    }

    /// The encodings that every reader has had since Parquet 1.0, and pages that readers can check.
    #[test]
    fn files_are_for_every_reader() {
        let (specs, day) = (specs(3), day("2025-01-01"));
        for (_, bytes) in encode_all(&[batch(day, &specs, &many(50_000))], &specs, 1) {
            let file = SerializedFileReader::new(bytes.clone()).unwrap();
            for group in 0..file.num_row_groups() {
                let (group, said) = (file.get_row_group(group).unwrap(), file.metadata().row_group(group));
                for (column, chunk) in said.columns().iter().enumerate() {
                    let old = |encoding| matches!(encoding, Encoding::PLAIN | Encoding::RLE | Encoding::RLE_DICTIONARY);
                    assert!(
                        chunk.encodings().all(old),
                        "{}: {:?}",
                        chunk.column_path(),
                        chunk.encodings().collect::<Vec<_>>()
                    );
                    let pages: Vec<Page> = group.get_column_page_reader(column).unwrap().map(Result::unwrap).collect();
                    let data = pages.iter().filter(|page| page.page_type() == PageType::DATA_PAGE).count();
                    assert_eq!(
                        chunk.offset_index_offset().is_some(),
                        data > 1,
                        "{} has {data} pages",
                        chunk.column_path()
                    );
                    let bodies: usize = pages.iter().map(|page| page.buffer().len()).sum();
                    let sizes = [chunk.uncompressed_size(), chunk.compressed_size()].map(|size| size as usize);
                    assert!(bodies < sizes[0] && sizes[0] <= bodies + 64 * pages.len(), "{bodies} and {sizes:?}");
                    let (start, length) = chunk.byte_range();
                    assert_eq!(sizes[1], length as usize);
                    // The last byte of a chunk is one of a page's body.
                    let mut spoilt = bytes.to_vec();
                    spoilt[(start + length) as usize - 1] ^= 1;
                    let spoilt = SerializedFileReader::new(Bytes::from(spoilt)).unwrap();
                    let read: Result<Vec<Page>, _> =
                        spoilt.get_row_group(0).unwrap().get_column_page_reader(column).unwrap().collect();
                    assert!(read.is_err() || file.num_row_groups() > 1, "{}", chunk.column_path());
                }
                assert_eq!(
                    said.total_byte_size(),
                    said.columns().iter().map(|chunk| chunk.uncompressed_size()).sum::<i64>()
                );
                assert_eq!(
                    said.compressed_size(),
                    said.columns().iter().map(|chunk| chunk.compressed_size()).sum::<i64>()
                );
            }
        }
    }

    #[test]
    fn a_table_without_rows_is_a_file_with_its_columns() {
        let specs = specs(1);
        for ((encoded, bytes), spec) in encode_all(&[], &specs, 1).iter().zip(&specs) {
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).unwrap();
            assert_eq!((encoded.rows, reader.metadata().file_metadata().num_rows()), (0, 0));
            let types = |schema: &Schema| -> Vec<_> {
                schema.fields().iter().map(|f| (f.name().clone(), f.data_type().clone(), f.is_nullable())).collect()
            };
            assert_eq!(types(reader.schema()), types(&spec.schema));
        }
    }

    #[test]
    fn the_footer_labels_the_file() {
        let specs = specs(1);
        let (encoded, bytes) = &encode_all(&[batch(day("2025-01-01"), &specs, &many(3))], &specs, 9)[0];
        assert_eq!(slot::read_label(bytes).unwrap(), Some(label(9)));
        let content = slot::metadata_value(&parse(bytes), key::CONTENT);
        assert_eq!(content.as_deref(), Some(encoded.content.as_str()));
        let columns = slot::metadata_value(&parse(bytes), key::COLUMNS);
        assert_eq!(columns.as_deref(), Some(r#"{"unit":{"ms":["t_talk_ms"]}}"#));
        assert_eq!(encoded.hash, hex(xxhash_rust::xxh3::xxh3_128(bytes)));
        assert_eq!(encoded.bytes, bytes.len() as u64);
    }

    #[test]
    fn a_full_disk_is_a_storage_error() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let specs = specs(1);
        let rows = vec![batch(day("2025-01-01"), &specs, &many(3))].into();
        let assembled = assemble(&specs, &rows, &day("2025-01-01").interval()).unwrap();
        let refused =
            encode(Full, assembled.tables[0].spec, assembled.tables[0].pieces(), &label(1), &Known::default())
                .map(|(encoded, _)| encoded)
                .unwrap_err();
        assert_eq!(refused.kind(), crate::error::Kind::Storage);
    }
}
