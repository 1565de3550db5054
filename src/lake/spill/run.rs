//! A sorted run: how it is written, and read again.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, StringArray, UInt32Array};
use arrow::array::{Int64Builder, StringBuilder, UInt32Builder};
use arrow::datatypes::{Field, Int64Type, Schema, SchemaRef, UInt32Type};

use super::file::{Span, TempFile};
use crate::error::{Error, Result};
use crate::flatten::batch::{Position, TableRows};
use crate::flatten::rows::Rows;
use crate::lake::day_rows::{DayRows, Key, Place, RowFinder, append};
use crate::lake::encode::row_group::{Piece, RowGroup};

/// About how many bytes the rows of a block take. Blocks of one run are read one after another, of many runs side by
/// side: larger ones take memory, smaller ones time.
const BLOCK_BYTES: usize = 256 << 10;
/// Records whose keys are in one block.
const KEYS_A_BLOCK: usize = 4096;

/// The records of a day in a file, in order.
#[derive(Clone, Debug)]
pub struct SortedRun {
    file: Arc<TempFile>,
    records: u32,
    keys: Vec<Block>,
    tables: Vec<(SchemaRef, Vec<Block>)>,
    /// How often its records were merged.
    level: u32,
    /// Records of this chain and later ones are void.
    void_from: Option<u32>,
}

/// Consecutive records.
#[derive(Clone, Copy, Debug)]
struct Block {
    from: u32,
    records: u32,
    span: Span,
}

impl SortedRun {
    /// Writes all records of `rows` that are not void; `None` when there is none.
    pub(super) fn write(file: &Arc<TempFile>, rows: &DayRows, level: u32) -> Result<Option<SortedRun>> {
        let mut order = Vec::new();
        let mut keys = KeyWriter { file, from: 0, block: KeyBuilders::default(), blocks: Vec::new() };
        rows.visit_in_order(|key, place| {
            order.push(place);
            keys.add(key)
        })?;
        if order.is_empty() {
            return Ok(None);
        }
        let records = u32::try_from(order.len()).map_err(|e| Error::data("too many records for one day").source(e))?;
        let tables = rows.schemas().into_iter().enumerate();
        let tables = tables.map(|(table, schema)| {
            let blocks = write_table(file, &schema, rows.finder(table), &order)?;
            Ok((schema, blocks))
        });
        let tables = tables.collect::<Result<_>>()?;
        Ok(Some(SortedRun { file: Arc::clone(file), records, keys: keys.finish()?, tables, level, void_from: None }))
    }

    /// Its records, void ones included.
    pub(in crate::lake) fn records(&self) -> u32 {
        self.records
    }

    /// The columns of its tables.
    pub(in crate::lake) fn schemas(&self) -> impl Iterator<Item = &SchemaRef> {
        self.tables.iter().map(|(schema, _)| schema)
    }

    pub(super) fn level(&self) -> u32 {
        self.level
    }

    /// Makes every record of the chain `first` and of later ones void.
    pub fn void(&mut self, first: u32) {
        self.void_from = Some(self.void_from.map_or(first, |earlier| earlier.min(first)));
    }

    pub(in crate::lake) fn is_void(&self, position: Position) -> bool {
        self.void_from.is_some_and(|first| position.chain >= first)
    }

    /// The keys of all its records in order, block by block, each with the number of its first record.
    pub(in crate::lake) fn keys(&self) -> impl Iterator<Item = Result<(u32, KeyBlock)>> {
        self.keys.iter().map(|block| {
            let (batch, _) = self.file.read(block.span, 0)?;
            Ok((block.from, KeyBlock::of(&batch)))
        })
    }

    /// The rows of table number `table`.
    pub(in crate::lake) fn table(&self, table: usize) -> RunTable<'_> {
        let blocks = self.tables.get(table).map_or(&[][..], |(_, blocks)| blocks);
        RunTable { run: self, table, blocks, loaded: None }
    }
}

/// Cuts the rows of one table into blocks.
fn write_table(file: &TempFile, schema: &SchemaRef, mut finder: RowFinder<'_>, order: &[Place]) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let (mut pieces, mut last, mut offsets, mut bytes) = (Vec::new(), None, vec![0], 0);
    for (n, place) in order.iter().enumerate() {
        let mut rows = offsets.last().copied().unwrap_or_default();
        if let Some(found) = finder.find(*place)? {
            bytes += found.range.len() * finder.row_bytes(*place);
            rows += found.range.len() as u32;
            pieces.extend(append(&mut last, found));
        }
        offsets.push(rows);
        let is_last = n + 1 == order.len();
        if bytes >= BLOCK_BYTES || is_last {
            pieces.extend(last.take());
            if pieces.is_empty() {
                break;
            }
            let rows = RowGroup::of(std::mem::take(&mut pieces).into_iter()).gather(schema)?;
            let records = offsets.len() as u32 - 1;
            let span = file.write(&to_batch(&rows)?, &offsets)?;
            blocks.push(Block { from: n as u32 + 1 - records, records, span });
            (offsets, bytes) = (vec![0], 0);
        }
    }
    Ok(blocks)
}

/// The columns that have values, named by their number.
fn to_batch(rows: &Rows) -> Result<RecordBatch> {
    let columns = rows.columns().iter().enumerate();
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = columns
        .filter_map(|(n, column)| {
            let column = column.as_ref()?;
            Some((Field::new(n.to_string(), column.data_type().clone(), true), Arc::clone(column)))
        })
        .unzip();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(|e| Error::bug("rows are not a batch").source(e))
}

/// The rows of one table of a run, from the first to the last.
#[derive(Debug)]
pub(in crate::lake) struct RunTable<'a> {
    run: &'a SortedRun,
    table: usize,
    /// The blocks that are not read yet.
    blocks: &'a [Block],
    loaded: Option<(Block, TableRows)>,
}

impl RunTable<'_> {
    /// The rows of `record`, which stands behind those that were asked for before.
    pub(in crate::lake) fn find(&mut self, record: u32) -> Result<Option<Piece>> {
        let before = self.blocks.partition_point(|block| block.from <= record);
        let (passed, left) = self.blocks.split_at(before);
        if let Some(block) = passed.last() {
            self.blocks = left;
            // Given back before the next one is read.
            self.loaded = None;
            self.loaded = Some((*block, self.load(block)?));
        }
        let Some((block, TableRows { rows, offsets })) = &self.loaded else { return Ok(None) };
        let at = (record - block.from) as usize;
        Ok(match offsets.get(at..at + 2) {
            Some(&[from, to]) if from < to => Some(Piece { rows: Arc::clone(rows), range: from as usize..to as usize }),
            _ => None,
        })
    }

    /// About how many bytes a row takes where the last one was found.
    pub(in crate::lake) fn row_bytes(&self) -> usize {
        self.loaded.as_ref().map_or(0, |(block, rows)| block.span.bytes() / rows.rows.len().max(1))
    }

    fn load(&self, block: &Block) -> Result<TableRows> {
        let (batch, offsets) = self.run.file.read(block.span, block.records as usize + 1)?;
        let (schema, _) = &self.run.tables[self.table];
        let mut columns = vec![None; schema.fields().len()];
        let len = batch.num_rows();
        let (found, read, _) = batch.into_parts();
        for (field, column) in found.fields().iter().zip(read) {
            let number: Option<usize> = field.name().parse().ok();
            if let Some(place) = number.and_then(|number| columns.get_mut(number)) {
                *place = Some(column);
            }
        }
        Ok(TableRows { rows: Arc::new(Rows::new(Arc::clone(schema), len, columns)?), offsets })
    }
}

/// Keys of consecutive records of a run.
#[derive(Debug)]
pub(in crate::lake) struct KeyBlock {
    start: Int64Array,
    id: StringArray,
    position: [UInt32Array; 3],
}

impl KeyBlock {
    fn of(batch: &RecordBatch) -> KeyBlock {
        let number = |column: usize| batch.column(column).as_primitive::<UInt32Type>().clone();
        KeyBlock {
            start: batch.column(0).as_primitive::<Int64Type>().clone(),
            id: batch.column(1).as_string().clone(),
            position: [number(2), number(3), number(4)],
        }
    }

    /// Their number.
    pub(in crate::lake) fn len(&self) -> usize {
        self.start.len()
    }

    /// Number `n` of them.
    pub(in crate::lake) fn get(&self, n: usize) -> Key<'_> {
        let [chain, page, index] = self.position.each_ref().map(|numbers| numbers.value(n));
        Key { start: self.start.value(n), id: self.id.value(n), position: Position { chain, page, index } }
    }
}

#[derive(Default)]
struct KeyBuilders {
    start: Int64Builder,
    id: StringBuilder,
    position: [UInt32Builder; 3],
}

/// Cuts keys into blocks.
struct KeyWriter<'a> {
    file: &'a TempFile,
    /// The first record of the block in the making.
    from: u32,
    block: KeyBuilders,
    blocks: Vec<Block>,
}

impl KeyWriter<'_> {
    fn add(&mut self, key: Key<'_>) -> Result<()> {
        let KeyBuilders { start, id, position: [chain, page, index] } = &mut self.block;
        start.append_value(key.start);
        id.append_value(key.id);
        chain.append_value(key.position.chain);
        page.append_value(key.position.page);
        index.append_value(key.position.index);
        if self.block.start.values_slice().len() < KEYS_A_BLOCK { Ok(()) } else { self.cut() }
    }

    fn cut(&mut self) -> Result<()> {
        let KeyBuilders { mut start, mut id, position } = std::mem::take(&mut self.block);
        let numbers = position.map(|mut numbers| Arc::new(numbers.finish()) as ArrayRef);
        let records = start.values_slice().len() as u32;
        let columns = [Arc::new(start.finish()) as ArrayRef, Arc::new(id.finish())].into_iter().chain(numbers);
        let batch = RecordBatch::try_from_iter(["start", "id", "chain", "page", "index"].into_iter().zip(columns));
        let batch = batch.map_err(|e| Error::bug("keys are not a batch").source(e))?;
        self.blocks.push(Block { from: self.from, records, span: self.file.write(&batch, &[])? });
        self.from += records;
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Block>> {
        if !self.block.start.values_slice().is_empty() {
            self.cut()?;
        }
        Ok(self.blocks)
    }
}
