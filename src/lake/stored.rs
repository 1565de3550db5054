//! The rows of a published file, as they were when it was encoded: encoded again they give the same content.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{FieldRef, Schema, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::reader::ChunkReader;
use uuid::Uuid;

use super::assemble::{SortedTable, TableSpec};
use super::encode::row_group::{Piece, RowGroup};
use super::encode::{ID, START, key};
use super::slot::{label_of, metadata_value};
use crate::error::{Error, Result};
use crate::flatten::batch::{DayBatch, Position, RecordKey, TableRows};
use crate::flatten::rows::Rows;
use crate::time::Day;

/// Conversations of a stored day that are put into one batch.
const RECORDS_A_BATCH: usize = 4096;

/// The rows of one published file.
pub(super) struct Stored {
    /// The table with the columns that the file has.
    pub(super) spec: TableSpec,
    pub(super) rows: Vec<Arc<Rows>>,
    /// Rows of the file that are not in `rows`.
    pub(super) left_out: u64,
}

/// Whether a file of conversations may hold one of `ids`: `false` is certain.
///
/// # Errors
/// When it cannot be read.
pub(super) fn may_hold(file: impl ChunkReader + 'static, ids: &HashSet<String>) -> Result<bool, ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
    let columns = builder.parquet_schema().columns();
    let Some(column) = columns.iter().position(|column| column.path().string() == ID) else { return Ok(true) };
    for group in 0..builder.metadata().num_row_groups() {
        match builder.get_row_group_column_bloom_filter(group, column)? {
            Some(filter) if !ids.iter().any(|id| filter.check(id.as_str())) => {}
            _ => return Ok(true),
        }
    }
    Ok(false)
}

/// One published file, some rows at a time.
pub(super) struct Reading {
    /// The table with the columns that the file has.
    spec: TableSpec,
    batches: ParquetRecordBatchReader,
}

/// Begins to read a file; `None` when it is not the file `uuid`.
///
/// # Errors
/// When it cannot be read.
pub(super) fn open(
    file: impl ChunkReader + 'static,
    uuid: Uuid,
    spec: &TableSpec,
) -> Result<Option<Reading>, ParquetError> {
    let found = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
    if label_of(found.metadata()).is_none_or(|label| label.uuid != uuid) {
        return Ok(None);
    }
    let spec = own_spec(&found, spec)?;
    let options = ArrowReaderOptions::new().with_schema(Arc::clone(&spec.schema));
    let typed = ArrowReaderMetadata::try_new(Arc::clone(found.metadata()), options)?;
    let batches = ParquetRecordBatchReaderBuilder::new_with_metadata(file, typed).build()?;
    Ok(Some(Reading { spec, batches }))
}

impl Reading {
    /// Whether its rows can be rows of `spec`: then [`fitted`] makes them so.
    pub(super) fn fits(&self, spec: &TableSpec) -> bool {
        fits(&self.spec, spec)
    }
}

impl Iterator for Reading {
    type Item = Result<RecordBatch, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.next().map(|batch| batch.map_err(ParquetError::from))
    }
}

/// Reads the rows of the conversations that `stays` lets stay; `None` when it is not the file `uuid`.
///
/// # Errors
/// When it cannot be read.
pub(super) fn read(
    file: impl ChunkReader + 'static,
    uuid: Uuid,
    spec: &TableSpec,
    stays: impl Fn(&str) -> bool,
) -> Result<Option<Stored>, ParquetError> {
    let Some(reading) = open(file, uuid, spec)? else { return Ok(None) };
    let mut stored = Stored { spec: reading.spec.clone(), rows: Vec::new(), left_out: 0 };
    for batch in reading {
        let batch = batch?;
        let ids = batch.column_by_name(ID).and_then(|column| column.as_string_opt::<i32>());
        let ids = ids.ok_or_else(|| ParquetError::General(format!("the file has no text column `{ID}`")))?;
        let mask: BooleanArray = ids.iter().map(|id| Some(id.is_none_or(&stays))).collect();
        stored.left_out += (mask.len() - mask.true_count()) as u64;
        stored.rows.push(Arc::new(filter_record_batch(&batch, &mask)?.into()));
    }
    Ok(Some(stored))
}

/// The table as the file has it, with the columns and the version of then. What a column of today's is called the same
/// and holds the same type gives its field: Parquet does not keep all of it.
fn own_spec(file: &ArrowReaderMetadata, spec: &TableSpec) -> Result<TableSpec, ParquetError> {
    let said: BTreeMap<String, BTreeMap<String, Vec<String>>> = metadata_value(file.metadata(), key::COLUMNS)
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let field = |found: &FieldRef| -> FieldRef {
        let known = spec.schema.field_with_name(found.name()).ok();
        let known = known.filter(|known| known.data_type() == found.data_type()).cloned();
        let field = known.unwrap_or_else(|| found.as_ref().clone());
        let metadata: HashMap<String, String> = said
            .iter()
            .flat_map(|(key, values)| values.iter().map(move |(value, names)| (key, value, names)))
            .filter(|(_, _, names)| names.contains(found.name()))
            .map(|(key, value, _)| (key.clone(), value.clone()))
            .collect();
        Arc::new(field.with_metadata(metadata))
    };
    let fields: Vec<FieldRef> = file.schema().fields().iter().map(field).collect();
    let version = metadata_value(file.metadata(), key::SCHEMA).and_then(|text| text.parse().ok());
    let version =
        version.ok_or_else(|| ParquetError::General("the file does not say its schema's version".to_owned()))?;
    Ok(TableSpec { name: spec.name.clone(), schema: Arc::new(Schema::new(fields)), version })
}

impl Stored {
    /// The same rows with the columns of `spec`: those that it has more are null. `None` when they do not fit.
    pub(super) fn fit(mut self, spec: &TableSpec) -> Option<Stored> {
        if !fits(&self.spec, spec) {
            return None;
        }
        self.rows = self.rows.iter().map(|rows| fitted(rows, spec).ok()).collect::<Option<_>>()?;
        self.spec = spec.clone();
        Some(self)
    }
}

/// Whether rows with the columns of `own` can be rows of `spec`.
fn fits(own: &TableSpec, spec: &TableSpec) -> bool {
    let known = |name: &str| spec.schema.field_with_name(name).is_ok();
    own.version == spec.version && own.schema.fields().iter().all(|field| known(field.name()))
}

/// The same rows with the columns of `spec`: those that it has more are null.
///
/// # Errors
/// [`crate::error::Kind::Bug`] when they do not fit.
pub(super) fn fitted(rows: &Rows, spec: &TableSpec) -> Result<Arc<Rows>> {
    let columns = spec.schema.fields().iter().map(|field| rows.column(field.name()).cloned()).collect();
    Rows::new(Arc::clone(&spec.schema), rows.len(), columns).map(Arc::new)
}

/// The stored tables of `day`, `conversations` being number `ids` of them, as batches that a day is assembled from. A
/// record that is read later stands behind them.
///
/// # Errors
/// [`crate::error::Kind::Data`] when a row has no conversation.
pub(super) fn batches(day: Day, tables: &[Stored], ids: usize) -> Result<Vec<DayBatch>> {
    let foreign = || Error::data("its tables do not belong together").hint("export the day again");
    let keys: Vec<RecordKey> = tables.get(ids).and_then(keys).ok_or_else(foreign)?;
    let whole = |table: &Stored| {
        let pieces: Vec<Piece> = SortedTable::of(&table.spec, &table.rows).pieces().collect::<Result<_>>()?;
        RowGroup::of(pieces.into_iter()).gather(&table.spec.schema)
    };
    let sorted: Vec<Rows> = tables.iter().map(whole).collect::<Result<_>>()?;
    let ends: Vec<Vec<usize>> =
        tables.iter().map(|table| ends(table, &keys)).collect::<Option<_>>().ok_or_else(foreign)?;
    let mut batches = Vec::new();
    for from in (0..keys.len()).step_by(RECORDS_A_BATCH) {
        let to = keys.len().min(from + RECORDS_A_BATCH);
        let tables = sorted.iter().zip(&ends).map(|(table, ends)| {
            let start = from.checked_sub(1).map_or(0, |before| ends[before]);
            let offsets = std::iter::once(start).chain(ends[from..to].iter().copied());
            Ok(TableRows {
                rows: Arc::new(table.slice(start..ends[to - 1])),
                offsets: offsets
                    .map(|end| u32::try_from(end - start))
                    .collect::<Result<_, _>>()
                    .map_err(|e| foreign().source(e))?,
            })
        });
        batches.push(DayBatch { day, keys: keys[from..to].to_vec(), tables: tables.collect::<Result<_>>()? });
    }
    Ok(batches)
}

/// The keys of a table with one row a conversation.
fn keys(table: &Stored) -> Option<Vec<RecordKey>> {
    let mut keys = Vec::new();
    for batch in table.rows.iter().filter(|rows| !rows.is_empty()) {
        let starts = batch.column(START)?.as_primitive_opt::<TimestampMicrosecondType>()?;
        let ids = batch.column(ID)?.as_string_opt::<i32>()?;
        for (start, id) in starts.iter().zip(ids) {
            let position = Position { chain: 0, page: 0, index: u32::try_from(keys.len()).ok()? };
            keys.push(RecordKey { start: start?, id: id?.into(), position });
        }
    }
    Some(keys)
}

/// For each of `keys` the number of rows up to its last one; `None` when a row is of none of them, or out of order.
fn ends(table: &Stored, keys: &[RecordKey]) -> Option<Vec<usize>> {
    let mut ends = Vec::with_capacity(keys.len());
    let mut rows = 0;
    for batch in table.rows.iter().filter(|rows| !rows.is_empty()) {
        for id in batch.column(ID)?.as_string_opt::<i32>()? {
            while *keys.get(ends.len())?.id != *id? {
                ends.push(rows);
            }
            rows += 1;
        }
    }
    ends.resize(keys.len(), rows);
    Some(ends)
}
