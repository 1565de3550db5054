//! The rows of one day, wherever they wait: batches as they arrived, in memory, and sorted runs on disk.
//!
//! A record is at a `Place`. Keys are shown as they stand or in order; rows are found for places that come in order,
//! with one block of each run in memory at a time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::sync::Arc;
use std::vec;

use arrow::datatypes::SchemaRef;

use super::compact::compact;
use super::encode::row_group::Piece;
use super::spill::{KeyBlock, RunTable, SortedRun};
use crate::error::Result;
use crate::flatten::batch::{DayBatch, Position};
use crate::memory::{Held, Memory};

/// The rows of one day.
#[derive(Clone, Debug, Default)]
pub struct DayRows {
    /// In memory: records in page order.
    pub batches: Vec<DayBatch>,
    /// On disk: records in order.
    pub runs: Vec<SortedRun>,
    /// What the batches count as.
    pub held: Held,
}

impl From<Vec<DayBatch>> for DayRows {
    fn from(batches: Vec<DayBatch>) -> DayRows {
        DayRows { batches, ..DayRows::default() }
    }
}

/// Where a record is: its batch or its run, batches first, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) source: u32,
    pub(super) record: u32,
}

/// What identifies and orders a record. In order are start and id, as in files, and then positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key<'a> {
    pub(super) start: i64,
    pub(super) id: &'a str,
    pub(super) position: Position,
}

impl DayRows {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.runs.is_empty()
    }

    /// Takes up a batch, which counts in `memory`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Bug`] when it does not fit those that are there.
    pub fn push(&mut self, batch: DayBatch, memory: &Memory) -> Result<()> {
        self.held.absorb(memory.rows(batch.bytes()));
        let before = self.batches.len();
        self.batches.push(batch);
        compact(&mut self.batches)?;
        if self.batches.len() <= before {
            self.held.set(self.batches.iter().map(DayBatch::bytes).sum());
        }
        Ok(())
    }

    /// Takes up the rows of `other`.
    pub fn extend(&mut self, other: DayRows) {
        self.batches.extend(other.batches);
        self.runs.extend(other.runs);
        self.held.absorb(other.held);
    }

    /// How many records there are, void ones included.
    pub fn count(&self) -> usize {
        self.records().sum()
    }

    /// How many records each batch and each run has, void ones included.
    pub(super) fn records(&self) -> impl Iterator<Item = usize> {
        let batches = self.batches.iter().map(|batch| batch.keys.len());
        batches.chain(self.runs.iter().map(|run| run.records() as usize))
    }

    /// The columns of the tables.
    pub(super) fn schemas(&self) -> Vec<SchemaRef> {
        match (self.batches.first(), self.runs.first()) {
            (Some(batch), _) => batch.tables.iter().map(|table| Arc::clone(table.rows.schema())).collect(),
            (None, Some(run)) => run.schemas().cloned().collect(),
            (None, None) => Vec::new(),
        }
    }

    /// Shows every record that is not void, in no particular order.
    pub(super) fn visit(&self, mut show: impl FnMut(Key<'_>, Place)) -> Result<()> {
        self.in_memory().for_each(|(key, place)| show(key, place));
        for mut cursor in self.on_disk() {
            cursor.advance()?;
            while let Some((key, place)) = cursor.get() {
                show(key, place);
                cursor.advance()?;
            }
        }
        Ok(())
    }

    /// Shows every record that is not void, in order.
    pub(super) fn visit_in_order(&self, mut show: impl FnMut(Key<'_>, Place) -> Result<()>) -> Result<()> {
        let mut in_memory: Vec<(Key<'_>, Place)> = self.in_memory().collect();
        in_memory.sort_unstable_by_key(|(key, _)| *key);
        let mut heads = BinaryHeap::with_capacity(1 + self.runs.len());
        heads.push(Reverse(Cursor::Memory(in_memory.into_iter())));
        for mut cursor in self.on_disk() {
            cursor.advance()?;
            heads.push(Reverse(Cursor::Disk(Box::new(cursor))));
        }
        while let Some(mut head) = heads.peek_mut() {
            let Some((key, place)) = head.0.get() else {
                PeekMut::pop(head);
                continue;
            };
            show(key, place)?;
            match &mut head.0 {
                Cursor::Memory(rest) => drop(rest.next()),
                Cursor::Disk(cursor) => cursor.advance()?,
            }
        }
        Ok(())
    }

    /// Finds the rows of table number `table`.
    pub(super) fn finder(&self, table: usize) -> RowFinder<'_> {
        let row_bytes = |batch: &DayBatch| {
            batch.tables.get(table).map_or(0, |table| table.rows.bytes().div_ceil(table.rows.len().max(1)))
        };
        RowFinder {
            table,
            row_bytes: self.batches.iter().map(row_bytes).collect(),
            batches: &self.batches,
            runs: self.runs.iter().map(|run| run.table(table)).collect(),
        }
    }

    fn in_memory(&self) -> impl Iterator<Item = (Key<'_>, Place)> {
        (0..).zip(&self.batches).flat_map(|(source, batch)| {
            (0..).zip(&batch.keys).map(move |(record, key)| {
                (Key { start: key.start, id: &key.id, position: key.position }, Place { source, record })
            })
        })
    }

    fn on_disk(&self) -> impl Iterator<Item = DiskCursor<'_>> {
        (self.batches.len() as u32..).zip(&self.runs).map(|(source, run)| DiskCursor {
            run,
            source,
            blocks: Box::new(run.keys()),
            block: None,
            at: 0,
        })
    }
}

/// A way through records in order, ordered by the next one.
enum Cursor<'a> {
    Memory(vec::IntoIter<(Key<'a>, Place)>),
    Disk(Box<DiskCursor<'a>>),
}

impl Cursor<'_> {
    fn get(&self) -> Option<(Key<'_>, Place)> {
        match self {
            Cursor::Memory(rest) => rest.as_slice().first().copied(),
            Cursor::Disk(cursor) => cursor.get(),
        }
    }

    fn key(&self) -> Option<Key<'_>> {
        self.get().map(|(key, _)| key)
    }
}

impl Ord for Cursor<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Cursor<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Cursor<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Cursor<'_> {}

/// A way through the records of a run that are not void.
struct DiskCursor<'a> {
    run: &'a SortedRun,
    source: u32,
    blocks: Box<dyn Iterator<Item = Result<(u32, KeyBlock)>> + 'a>,
    block: Option<(u32, KeyBlock)>,
    /// The place in the block behind the record where the cursor is.
    at: usize,
}

impl DiskCursor<'_> {
    /// Goes to the next record; at first it is before all of them.
    fn advance(&mut self) -> Result<()> {
        loop {
            match &self.block {
                Some((_, block)) if self.at < block.len() => {
                    self.at += 1;
                    if !self.run.is_void(block.get(self.at - 1).position) {
                        return Ok(());
                    }
                }
                _ => {
                    (self.block, self.at) = (self.blocks.next().transpose()?, 0);
                    if self.block.is_none() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// `None` behind the last record.
    fn get(&self) -> Option<(Key<'_>, Place)> {
        let (from, block) = self.block.as_ref()?;
        let at = self.at.checked_sub(1)?;
        Some((block.get(at), Place { source: self.source, record: from + at as u32 }))
    }
}

/// Finds the rows of one table.
pub(super) struct RowFinder<'a> {
    table: usize,
    batches: &'a [DayBatch],
    row_bytes: Vec<usize>,
    runs: Vec<RunTable<'a>>,
}

impl RowFinder<'_> {
    /// The rows of the record at `place`; places of a run come in order. `None` when it has no rows.
    pub(super) fn find(&mut self, place: Place) -> Result<Option<Piece>> {
        let source = place.source as usize;
        let Some(batch) = self.batches.get(source) else {
            let run = self.runs.get_mut(source - self.batches.len());
            return run.map_or(Ok(None), |run| run.find(place.record));
        };
        let table = &batch.tables[self.table];
        let record = place.record as usize;
        let range = table.offsets[record] as usize..table.offsets[record + 1] as usize;
        Ok((!range.is_empty()).then(|| Piece { rows: Arc::clone(&table.rows), range }))
    }

    /// About how many bytes a row takes there, where rows were just found.
    pub(super) fn row_bytes(&self, place: Place) -> usize {
        let source = place.source as usize;
        match self.row_bytes.get(source) {
            Some(bytes) => *bytes,
            None => self.runs.get(source - self.batches.len()).map_or(0, RunTable::row_bytes),
        }
    }
}

/// Adds `next` to the `last` piece if it stands right behind it; otherwise takes its place, and the last one is returned.
pub(super) fn append(last: &mut Option<Piece>, next: Piece) -> Option<Piece> {
    match last {
        Some(last) if Arc::ptr_eq(&last.rows, &next.rows) && last.range.end == next.range.start => {
            last.range.end = next.range.end;
            None
        }
        last => last.replace(next),
    }
}
