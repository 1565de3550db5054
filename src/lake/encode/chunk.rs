//! One column of a row group becomes its column chunks: one a leaf, so one but for maps. Pure.
//!
//! How a chunk is encoded follows from the kind of its column and from its own values alone:
//!
//! | column | encoding |
//! |---|---|
//! | integers and timestamps | differences, as `numbers` says |
//! | ids of the row or of its ancestors ([`ROW_IDS`]) that rows repeat | as `runs` says |
//! | other such ids, `extra`, texts of more than [`DICTIONARY_BYTES`] that differ | `PLAIN`: they are unique |
//! | other texts | a dictionary, as `texts` says |
//! | doubles, texts in lists and maps | a dictionary, by Parquet's own writer |
//! | a chunk without a value | `PLAIN` |
//!
//! Whether a chunk is compressed is decided in `page`, when it is encoded. None of this depends on whether a text stands
//! once in memory or many times: the same rows make the same bytes.

use std::io;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, PageStoreFactory, compute_leaves};
use parquet::basic::{Encoding, Type as Physical};
use parquet::errors::ParquetError;
use parquet::file::properties::{
    BloomFilterPosition, EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor, Type, TypePtr};

use super::super::assemble::TableSpec;
use super::leaf::PAGE_ROWS;
use super::page::{Chunk, Pages, Zstd};
use super::row_group::RowGroup;
use super::{CONVERSATIONS, DIMENSION_ID, ID, encode_failed};
use super::{gather, leaf, numbers, runs, texts};
use crate::error::Result;

/// Size at which a data page ends. Tables are wide, and readers fetch a page of every column they read.
const DATA_PAGE_BYTES: usize = 512 * 1024;
/// Bytes of distinct texts from which on a dictionary of them is not worth its memory and its indexes.
const DICTIONARY_BYTES: usize = 1 << 20;
/// Wrong answers of the bloom filter on `conversation_id`; about 10 bits an id.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;
/// Ids that name a row or one of its ancestors, so that a dictionary would hold nearly every one of them.
const ROW_IDS: [&str; 7] = [ID, DIMENSION_ID, "participant_id", "session_id", "peer_id", "evaluation_id", "survey_id"];

/// What every chunk of every table has in common.
pub(super) fn common() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_data_page_size_limit(DATA_PAGE_BYTES)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_bloom_filter_position(BloomFilterPosition::AfterRowGroup)
}

/// The schema of a table as Parquet has it.
///
/// # Errors
/// When Parquet has no such type.
pub(super) fn layout(schema: &Schema) -> Result<SchemaDescriptor, ParquetError> {
    // Coerced: lists and maps get the inner names that the Parquet specification wants, whatever Arrow calls them.
    ArrowSchemaConverter::new().with_coerce_types(true).convert(schema)
}

/// A column of a table, ready to be encoded.
///
/// The properties of one row group cannot be given to a file's writer, but a chunk says for itself how it is encoded:
/// so each is made for a file of this one column, which is thrown away, and appended to the one that is kept.
pub(super) struct Column {
    field: FieldRef,
    schema: SchemaRef,
    layout: TypePtr,
    leaves: Vec<ColumnDescPtr>,
    /// Whether conversations are looked up by it.
    searched: bool,
}

impl Column {
    /// The columns of `spec`, whose layout is `layout`.
    ///
    /// # Errors
    /// None that its layout has not had.
    pub(super) fn of(spec: &TableSpec, layout: &SchemaDescriptor) -> Result<Vec<Column>, ParquetError> {
        let roots = spec.schema.fields().iter().zip(layout.root_schema().get_fields());
        let column = |(field, root): (&FieldRef, &TypePtr)| {
            let alone = Type::group_type_builder(layout.name()).with_fields(vec![Arc::clone(root)]).build()?;
            let alone = SchemaDescriptor::new(Arc::new(alone));
            Ok(Column {
                field: Arc::clone(field),
                schema: Arc::new(Schema::new(vec![Arc::clone(field)])),
                leaves: alone.columns().to_vec(),
                layout: alone.root_schema_ptr(),
                searched: spec.name.as_str() == CONVERSATIONS && field.name() == ID,
            })
        };
        roots.map(column).collect()
    }

    /// Encodes column number `index` of `group`.
    ///
    /// # Errors
    /// When its rows cannot be put together, or Parquet cannot hold them.
    pub(super) fn encode(
        &self,
        spec: &TableSpec,
        group: &RowGroup,
        index: usize,
        zstd: &mut Zstd,
    ) -> Result<Vec<Chunk>> {
        let failed = |e| encode_failed(spec, e);
        let may_have_values = group.arrays(index).any(|array| array.is_some());
        if may_have_values && let Some(chunk) = self.encode_flat(group, index, zstd)? {
            return Ok(vec![chunk.map_err(failed)?]);
        }
        match group.column(index, self.field.data_type())? {
            None => self.leaves.iter().map(|leaf| leaf::null(leaf, group.rows(), zstd).map_err(failed)).collect(),
            Some(values) => self.encode_array(&values, zstd).map_err(failed),
        }
    }

    /// Encodes column number `index` of `group`; `None` when it is not of a kind that has an encoder of its own, or has
    /// no value.
    fn encode_flat(
        &self,
        group: &RowGroup,
        index: usize,
        zstd: &mut Zstd,
    ) -> Result<Option<Result<Chunk, ParquetError>>> {
        let [leaf] = self.leaves.as_slice() else { return Ok(None) };
        Ok(match self.field.data_type() {
            DataType::Int64 | DataType::Timestamp(TimeUnit::Microsecond, _) => {
                gather::numbers(group, index)?.map(|numbers| numbers::encode(leaf, &numbers, zstd))
            }
            DataType::Utf8 if self.searched || self.field.name() == "extra" => None,
            // Where every other row has another text, runs are longer than the texts written out.
            DataType::Utf8 if ROW_IDS.contains(&self.field.name().as_str()) => {
                group.runs(index, group.rows() / 2)?.map(|runs| runs::encode(leaf, &runs, zstd))
            }
            DataType::Utf8 => {
                let texts = gather::texts(group, index, DICTIONARY_BYTES)?;
                let is_worth = 1..=DICTIONARY_BYTES;
                is_worth.contains(&texts.bytes()).then(|| texts::encode(leaf, &texts, zstd))
            }
            _ => None,
        })
    }

    /// Encodes `values` with Parquet's own writer.
    fn encode_array(&self, values: &ArrayRef, zstd: &mut Zstd) -> Result<Vec<Chunk>, ParquetError> {
        let properties = Arc::new(self.properties(values.len()));
        let nowhere = SerializedFileWriter::new(io::sink(), Arc::clone(&self.layout), properties)?;
        let pages = Arc::new(Pages::default());
        let factory = ArrowRowGroupWriterFactory::new(&nowhere, Arc::clone(&self.schema))
            .with_page_store_factory(Arc::clone(&pages) as Arc<dyn PageStoreFactory>);
        let leaves = compute_leaves(&self.field, values)?.into_iter();
        let writers = factory.create_column_writers(0)?.into_iter().zip(leaves).enumerate();
        let chunks = writers.map(|(leaf, (mut writer, values))| {
            writer.write(&values)?;
            let close = writer.close()?.close().clone();
            Chunk::new(pages.of(leaf), close, zstd)
        });
        chunks.collect()
    }

    /// The table in the module's text.
    fn properties(&self, rows: usize) -> WriterProperties {
        let mut properties = common();
        for leaf in &self.leaves {
            let plain = match leaf.physical_type() {
                Physical::INT32 | Physical::INT64 => Encoding::DELTA_BINARY_PACKED,
                Physical::BOOLEAN => Encoding::PLAIN,
                _ if *self.field.data_type() == DataType::Utf8 => Encoding::PLAIN,
                _ => continue,
            };
            properties = properties
                .set_column_dictionary_enabled(leaf.path().clone(), false)
                .set_column_encoding(leaf.path().clone(), plain);
        }
        if self.searched {
            properties = properties
                .set_bloom_filter_enabled(true)
                .set_bloom_filter_fpp(BLOOM_FALSE_POSITIVES)
                // Without a bound it is made for a million ids and costs more than all the rest.
                .set_bloom_filter_max_ndv(rows as u64);
        }
        properties.build()
    }
}
