//! One column of a row group becomes its column chunks: one a leaf, so one but for maps. Pure.
//!
//! How a chunk is encoded follows from the kind of its column and from its own values alone:
//!
//! | column | encoding |
//! |---|---|
//! | ids of the row or of its ancestors ([`ROW_IDS`]) that rows repeat | as `runs` says |
//! | other such ids, `extra`, booleans | written out, as `plain` says |
//! | other texts, numbers, timestamps | a dictionary, as `dictionary` says, or written out when that is shorter |
//! | maps | the same of keys and values, by Parquet's own writer |
//! | a chunk without a value | `PLAIN` |
//!
//! A list is encoded like its items; `levels` says which of them are of one row. Whether a chunk is compressed is decided
//! in `page`, when it is encoded. None of this depends on whether a text stands once in memory or many times: the same
//! rows make the same bytes.
//!
//! These are the encodings of Parquet 1.0, which every reader has. Later ones save 3 % and cost some readers their
//! correctness, without a word: differences (`DELTA_BINARY_PACKED`) were read wrongly by three that are in use.

use std::io;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, PageStoreFactory, compute_leaves};
use parquet::bloom_filter::Sbbf;
use parquet::errors::ParquetError;
use parquet::file::properties::{
    BloomFilterPosition, EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor, Type, TypePtr};

use super::super::assemble::TableSpec;
use super::dictionary::{Dictionary, Repeating};
use super::gather::{Gathered, Value, gather};
use super::leaf::PAGE_ROWS;
use super::page::{Chunk, Pages, Zstd};
use super::plain::Double;
use super::row_group::RowGroup;
use super::{CONVERSATIONS, DIMENSION_ID, ID, encode_failed};
use super::{leaf, levels, plain, runs};
use crate::error::Result;

/// Wrong answers of the bloom filter on `conversation_id`; about 10 bits an id.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;
/// Ids that name a row or one of its ancestors, so that a dictionary would hold nearly every one of them.
const ROW_IDS: [&str; 7] = [ID, DIMENSION_ID, "participant_id", "session_id", "peer_id", "evaluation_id", "survey_id"];

/// What every chunk of every table has in common.
pub(super) fn common() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_data_page_size_limit(plain::PAGE_BYTES)
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

/// What is in a column, or in its lists.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Numbers,
    Doubles,
    Booleans,
    /// Ids of rows and of their ancestors.
    Ids,
    /// Texts that are not expected to repeat.
    Unique,
    /// The ids that conversations are looked up by.
    Searched,
    Texts,
    /// What only Parquet's own writer knows.
    Other,
}

impl Kind {
    /// The kind of `field` of `spec`, and whether it is a list.
    fn of(spec: &TableSpec, field: &FieldRef, leaves: &[ColumnDescPtr]) -> (Kind, bool) {
        let (values, is_list) = match (field.data_type(), leaves) {
            (DataType::List(item), [leaf]) if levels::is_list(leaf) => (item.data_type(), true),
            (kind, _) => (kind, false),
        };
        let name = field.name().as_str();
        let kind = match values {
            DataType::Int64 | DataType::Timestamp(TimeUnit::Microsecond, _) => Kind::Numbers,
            DataType::Float64 => Kind::Doubles,
            DataType::Boolean => Kind::Booleans,
            DataType::Utf8 if is_list => Kind::Texts,
            DataType::Utf8 if name == ID && spec.name.as_str() == CONVERSATIONS => Kind::Searched,
            DataType::Utf8 if name == "extra" => Kind::Unique,
            DataType::Utf8 if ROW_IDS.contains(&name) => Kind::Ids,
            DataType::Utf8 => Kind::Texts,
            _ => Kind::Other,
        };
        (kind, is_list)
    }
}

/// A column of a table, ready to be encoded.
pub(super) struct Column {
    field: FieldRef,
    layout: TypePtr,
    leaves: Vec<ColumnDescPtr>,
    kind: Kind,
    is_list: bool,
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
            let leaves = alone.columns().to_vec();
            let (kind, is_list) = Kind::of(spec, field, &leaves);
            Ok(Column { field: Arc::clone(field), layout: alone.root_schema_ptr(), leaves, kind, is_list })
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
        let may_have_values = group.arrays(index).any(|array| array.is_some());
        let chunks = if may_have_values { self.encode_values(group, index, zstd)? } else { None };
        let mut null = |leaf| leaf::null(leaf, group.rows(), zstd);
        chunks.unwrap_or_else(|| self.leaves.iter().map(&mut null).collect()).map_err(|e| encode_failed(spec, e))
    }

    /// Encodes column number `index` of `group`; `None` when it has no value.
    fn encode_values(&self, group: &RowGroup, index: usize, zstd: &mut Zstd) -> Result<Option<Chunks>> {
        let [leaf] = self.leaves.as_slice() else { return self.encode_other(group, index, zstd) };
        let chunk = match self.kind {
            Kind::Numbers => self.values::<i64>(group, index)?.map(|values| repeating(leaf, &values, zstd)),
            Kind::Doubles => self.values::<Double>(group, index)?.map(|values| repeating(leaf, &values, zstd)),
            Kind::Booleans => self.values::<bool>(group, index)?.map(|values| plain::encode(leaf, &values, zstd)),
            Kind::Texts => self.values::<&str>(group, index)?.map(|texts| repeating(leaf, &texts, zstd)),
            Kind::Unique => self.values::<&str>(group, index)?.map(|texts| plain::encode(leaf, &texts, zstd)),
            Kind::Searched => self.values(group, index)?.map(|ids| searched(leaf, &ids, zstd)),
            // Where every other row has another text, runs are longer than the texts written out.
            Kind::Ids => match group.runs(index, group.rows() / 2)? {
                Some(runs) => Some(runs::encode(leaf, &runs, zstd)),
                None => self.values::<&str>(group, index)?.map(|texts| plain::encode(leaf, &texts, zstd)),
            },
            Kind::Other => return self.encode_other(group, index, zstd),
        };
        Ok(chunk.map(|chunk| Ok(vec![chunk?])))
    }

    fn values<'a, V: Value<'a>>(&self, group: &'a RowGroup, index: usize) -> Result<Option<Gathered<V>>> {
        gather(group, index, self.is_list)
    }

    /// Encodes with Parquet's own writer.
    fn encode_other(&self, group: &RowGroup, index: usize, zstd: &mut Zstd) -> Result<Option<Chunks>> {
        let array = group.column(index, self.field.data_type())?;
        Ok(array.map(|array| self.encode_array(&array, zstd)))
    }

    /// The properties of one row group cannot be given to a file's writer, but a chunk says for itself how it is
    /// encoded: so it is made for a file of this one column, which is thrown away, and appended to the one that is kept.
    fn encode_array(&self, values: &ArrayRef, zstd: &mut Zstd) -> Chunks {
        let nowhere = SerializedFileWriter::new(io::sink(), Arc::clone(&self.layout), Arc::new(common().build()))?;
        let pages = Arc::new(Pages::default());
        let schema: SchemaRef = Arc::new(Schema::new(vec![Arc::clone(&self.field)]));
        let factory = ArrowRowGroupWriterFactory::new(&nowhere, schema)
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
}

type Chunks = Result<Vec<Chunk>, ParquetError>;

/// The chunk of values that may repeat.
fn repeating<V: Repeating>(leaf: &ColumnDescPtr, values: &Gathered<V>, zstd: &mut Zstd) -> Result<Chunk, ParquetError> {
    match Dictionary::of(&values.present) {
        Some(dictionary) => dictionary.encode(leaf, &values.levels, zstd),
        None => plain::encode(leaf, values, zstd),
    }
}

/// The chunk of ids that are looked up.
fn searched(leaf: &ColumnDescPtr, ids: &Gathered<&str>, zstd: &mut Zstd) -> Result<Chunk, ParquetError> {
    let mut filter = Sbbf::new_with_ndv_fpp(ids.present.len() as u64, BLOOM_FALSE_POSITIVES)?;
    ids.present.iter().for_each(|id| filter.insert(*id));
    filter.fold_to_target_fpp(BLOOM_FALSE_POSITIVES);
    Ok(plain::encode(leaf, ids, zstd)?.with_bloom_filter(filter))
}
