//! Pages of records become batches by owner day.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::batch::{BadReason, BadRecord, DayBatch, FlatPage, PageRead, Position, RecordKey};
use super::buffers::Column;
use super::catalog::Catalog;
use super::compile::compile;
use super::cursor::{Cursor, is_too_deep};
use super::plan::Plan;
use super::reader::{Reader, Stop, is_value, start};
use super::rewrite;
use super::scratch::Scratch;
use super::sheet::Sheet;
use crate::error::{Error, Result};
use crate::time::Day;

/// Flattens pages into the tables of a catalog. Compiled once, shared by all threads.
#[derive(Debug)]
pub struct Flattener {
    catalog: Arc<Catalog>,
    plan: Plan,
    /// Where records have grown before; as many as were open at the same time.
    idle: Mutex<Vec<Sheet>>,
}

/// A sheet of more text is not used again: what it took is given back.
const REUSED_MAX: usize = 64 << 20;

impl Flattener {
    /// A flattener into the selected tables of `catalog`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Bug`] when the schemas contradict each other.
    pub fn new(catalog: Arc<Catalog>) -> Result<Flattener> {
        let plan = compile(&catalog)?;
        Ok(Flattener { catalog, plan, idle: Mutex::default() })
    }

    /// The tables that it writes.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// A sheet without records.
    pub fn sheet(&self) -> Sheet {
        self.idle().pop().unwrap_or_else(|| Sheet::new(&self.plan))
    }

    /// Reads the raw `records` of page `page` of chain `chain` into `sheet`, but for those of days that are not
    /// `wanted`. What cannot be read is in [`PageRead::bad`], what does not fit a column is in its row's `extra`;
    /// neither is an error. After one the sheet is of no use.
    ///
    /// # Errors
    /// [`crate::error::Kind::Data`] when the records of the sheet have more than 2 GiB.
    pub fn read(
        &self,
        sheet: &mut Sheet,
        chain: u32,
        page: u32,
        records: impl Iterator<Item = Bytes>,
        wanted: impl Fn(Day) -> bool,
    ) -> Result<PageRead> {
        let owner = |scratch: &Scratch| {
            let start = self.plan.start.and_then(|column| match &scratch.columns[column] {
                Column::Timestamp(starts) => starts.last(scratch.tables[0].rows - 1),
                _ => None,
            });
            let start = start.ok_or(BadReason::NoStart)?;
            Ok((Day::of_micros(start).ok_or(BadReason::NoStart)?, start))
        };
        self.page(sheet, chain, page, records, owner, wanted)
    }

    /// Hands out the records of `sheet`, by day.
    ///
    /// # Errors
    /// [`crate::error::Kind::Bug`] only.
    pub fn cut(&self, mut sheet: Sheet) -> Result<Vec<DayBatch>> {
        let usual = sheet.text <= REUSED_MAX;
        let days = sheet.days(&self.plan, &self.catalog)?;
        if usual {
            sheet.clear(&self.plan);
            self.idle().push(sheet);
        }
        Ok(days)
    }

    /// Reads one page and hands out its records.
    ///
    /// # Errors
    /// Like [`Flattener::read`] and [`Flattener::cut`].
    pub fn flatten(&self, chain: u32, page: u32, records: impl Iterator<Item = Bytes>) -> Result<FlatPage> {
        let mut sheet = self.sheet();
        let PageRead { bad, unknown, .. } = self.read(&mut sheet, chain, page, records, |_| true)?;
        Ok(FlatPage { days: self.cut(sheet)?, bad, unknown })
    }

    /// Flattens the raw `records` of a dimension, which all are rows of its snapshot of `day`.
    ///
    /// # Errors
    /// Like [`Flattener::flatten`].
    pub fn snapshot(&self, day: Day, chain: u32, page: u32, records: impl Iterator<Item = Bytes>) -> Result<FlatPage> {
        let start = day.start().timestamp_micros();
        let mut sheet = self.sheet();
        let owner = |_: &Scratch| Ok((day, start));
        let PageRead { bad, unknown, .. } = self.page(&mut sheet, chain, page, records, owner, |_| true)?;
        Ok(FlatPage { days: self.cut(sheet)?, bad, unknown })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Sheet>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads records into `sheet`, each with the day that `owner` gives it to and its place in the day's order.
    fn page(
        &self,
        sheet: &mut Sheet,
        chain: u32,
        page: u32,
        records: impl Iterator<Item = Bytes>,
        owner: impl Fn(&Scratch) -> Result<(Day, i64), BadReason>,
        wanted: impl Fn(Day) -> bool,
    ) -> Result<PageRead> {
        let Sheet { scratch, keys, text } = sheet;
        let mut read = PageRead::default();
        for (index, raw) in (0..).zip(records) {
            *text += raw.len();
            if *text > i32::MAX as usize {
                return Err(Error::data("pages have more than 2 GiB").hint("ask for smaller pages"));
            }
            let position = Position { chain, page, index };
            let key = self.record(&raw, scratch).and_then(|()| {
                let id = self.id(scratch)?;
                let (day, start) = owner(scratch)?;
                Ok((day, RecordKey { start, id, position }))
            });
            match key {
                Ok((day, key)) if wanted(day) => {
                    scratch.keep();
                    read.days.insert(day);
                    keys.push((day, key));
                }
                Ok((day, _)) => {
                    scratch.pass(&self.plan);
                    read.unwanted.push((day, index));
                }
                Err(reason) => {
                    scratch.forget(&self.plan);
                    read.bad.push(BadRecord { position, reason, raw });
                }
            }
            read.records += 1;
        }
        read.unknown = scratch.unknown.take();
        Ok(read)
    }

    /// Writes the rows of one record behind those of the others.
    fn record(&self, raw: &[u8], scratch: &mut Scratch) -> Result<(), BadReason> {
        let text = start(raw);
        let broken = |text| if is_too_deep(text) { BadReason::TooDeep } else { BadReason::NotJson };
        if simdutf8::basic::from_utf8(text).is_err() {
            return Err(broken(text));
        }
        let mut cursor = Cursor::new(text);
        if cursor.space() != b'{' {
            return Err(if is_value(text) { BadReason::NotObject } else { broken(text) });
        }
        let stop = match Reader::record(&self.plan, cursor, scratch) {
            Err(Stop::Twins) => {
                scratch.forget(&self.plan);
                let mut once = Vec::with_capacity(text.len());
                rewrite::value(&mut cursor, &mut once)
                    .and_then(|()| cursor.end())
                    .map_err(Stop::from)
                    .and_then(|()| Reader::record(&self.plan, Cursor::new(&once), scratch))
            }
            read => read,
        };
        stop.map_err(|_| broken(text))
    }

    fn id(&self, scratch: &Scratch) -> Result<Box<str>, BadReason> {
        let id = match &scratch.columns[self.plan.id] {
            Column::String(ids) => ids.last().filter(|&(row, id)| row + 1 == scratch.tables[0].rows && !id.is_empty()),
            _ => None,
        };
        id.and_then(|(_, id)| std::str::from_utf8(id).ok()).map(Into::into).ok_or(BadReason::NoId)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
