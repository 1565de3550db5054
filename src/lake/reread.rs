//! A published day, read back as rows that a day is assembled from: some rows at a time, and what is too much for the
//! memory waits on disk.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use uuid::Uuid;

use super::assemble::TableSpec;
use super::day_rows::{DayRows, append};
use super::encode::row_group::{Piece, RowGroup};
use super::encode::{ID, START};
use super::forget::{replaced, unreadable};
use super::layout::LakePath;
use super::present::table_of_ids;
use super::receipt::id_hash;
use super::run::Run;
use super::spill::Spill;
use super::stored::{self, Reading, fitted};
use crate::error::{Error, Result};
use crate::flatten::batch::{DayBatch, Position, RecordKey, TableRows};
use crate::flatten::rows::Rows;
use crate::memory::Memory;
use crate::time::Day;

impl Run {
    /// The rows of the files of `day` whose ids `file` tells by the table, but for the conversations whose hash is not to
    /// stay: about `room` bytes of them in memory, the rest on disk. A record of any page stands behind them.
    ///
    /// # Errors
    /// [`crate::error::Kind::Data`] when the files have other columns than today's; [`crate::error::Kind::Later`] when
    /// one was replaced meanwhile; [`crate::error::Kind::Storage`].
    pub(super) fn reread(
        &self,
        day: Day,
        file: impl Fn(usize, &TableSpec) -> Option<Uuid>,
        stays: impl Fn(u128) -> bool,
        room: usize,
    ) -> Result<DayRows> {
        let memory = Memory::new(room);
        let mut rows = DayRows::default();
        let spill = Spill::new(&self.staging()?, &memory)?;
        let tables = self.specs.iter().enumerate().map(|(table, spec)| {
            let uuid = file(table, spec).ok_or_else(apart)?;
            self.open_table(day, spec, uuid, &stays)
        });
        let mut tables: Vec<Table<'_>> = tables.collect::<Result<_>>()?;
        let mut next = 0;
        while let Some(keys) = tables[table_of_ids(&self.specs)].keys(&mut next)? {
            let tables = tables.iter_mut().map(|table| table.take(&keys)).collect::<Result<_>>()?;
            rows.push(DayBatch { day, keys, tables }, &memory)?;
            if rows.held.bytes() > room {
                spill.spill(&mut rows)?;
            }
        }
        for table in &mut tables {
            if table.fill()? {
                return Err(apart());
            }
        }
        Ok(rows)
    }

    fn open_table<'a>(
        &self,
        day: Day,
        spec: &'a TableSpec,
        uuid: Uuid,
        stays: &'a dyn Fn(u128) -> bool,
    ) -> Result<Table<'a>> {
        let place = LakePath::Part(spec.name.clone(), day);
        let reading = stored::open(self.lake.part(&spec.name, day)?, uuid, spec);
        let reading = reading.map_err(|e| unreadable(&place).source(e))?.ok_or_else(|| replaced(&place))?;
        if !reading.fits(spec) {
            return Err(Error::data(format!("`{place}` has columns of another version"))
                .hint("write the whole day anew: export it, or convert all its pages without `--merge`"));
        }
        Ok(Table { place, spec, stays, reading, batch: None })
    }
}

/// A table as it is read.
struct Table<'a> {
    place: LakePath,
    spec: &'a TableSpec,
    stays: &'a dyn Fn(u128) -> bool,
    reading: Reading,
    batch: Option<Batch>,
}

/// Rows that were read.
struct Batch {
    rows: Arc<Rows>,
    /// The ids of their conversations.
    ids: StringArray,
    /// The first of them that was not taken.
    at: usize,
}

impl Batch {
    /// The first of its rows that was not taken and is of `id`, to the last.
    fn take(&mut self, id: &str) -> Range<usize> {
        let from = self.at;
        while self.at < self.rows.len() && self.ids.value(self.at) == id {
            self.at += 1;
        }
        from..self.at
    }
}

impl Table<'_> {
    /// Reads on when all rows are taken; `false` when there are no more.
    fn fill(&mut self) -> Result<bool> {
        while self.batch.as_ref().is_none_or(|batch| batch.at == batch.rows.len()) {
            let Some(batch) = self.reading.next() else { return Ok(false) };
            let batch = batch.map_err(|e| unreadable(&self.place).source(e))?;
            let ids = |batch: &RecordBatch| batch.column_by_name(ID)?.as_string_opt::<i32>().cloned();
            let staying: BooleanArray =
                ids(&batch).ok_or_else(apart)?.iter().map(|id| id.map(|id| (self.stays)(id_hash(id)))).collect();
            let batch = filter_record_batch(&batch, &staying).map_err(|e| unreadable(&self.place).source(e))?;
            let ids = ids(&batch).ok_or_else(apart)?;
            self.batch = Some(Batch { rows: fitted(&batch.into(), self.spec)?, ids, at: 0 });
        }
        Ok(true)
    }

    /// The conversations that were read, when this is the table with one row of each. `next` numbers them.
    fn keys(&mut self, next: &mut u32) -> Result<Option<Vec<RecordKey>>> {
        if !self.fill()? {
            return Ok(None);
        }
        let Some(Batch { rows, ids, at }) = &self.batch else { return Ok(None) };
        let starts = rows.column(START).and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        let starts = starts.ok_or_else(apart)?;
        let keys = (*at..rows.len()).map(|row| {
            let position = Position { chain: 0, page: 0, index: *next };
            *next += 1;
            RecordKey { start: starts.value(row), id: ids.value(row).into(), position }
        });
        Ok(Some(keys.collect()))
    }

    /// Takes the rows of `keys`, the next conversations.
    fn take(&mut self, keys: &[RecordKey]) -> Result<TableRows> {
        let (mut pieces, mut last, mut offsets, mut end) = (Vec::new(), None, vec![0], 0);
        for key in keys {
            while self.fill()?
                && let Some(batch) = &mut self.batch
            {
                let range = batch.take(&key.id);
                if range.is_empty() {
                    break;
                }
                end += range.len() as u32;
                pieces.extend(append(&mut last, Piece { rows: Arc::clone(&batch.rows), range }));
            }
            offsets.push(end);
        }
        pieces.extend(last);
        let rows = RowGroup::of(pieces.into_iter()).gather(&self.spec.schema)?;
        Ok(TableRows { rows: Arc::new(rows), offsets })
    }
}

fn apart() -> Error {
    Error::data("its tables do not belong together")
        .hint("write the whole day anew: export it, or convert all its pages without `--merge`")
}
