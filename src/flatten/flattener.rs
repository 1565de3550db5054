//! Pages of records become batches by owner day.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::batch::{BadReason, DayBatch, FlatPage, PageRead, Position};
use super::buffers::Column;
use super::catalog::Catalog;
use super::compile::compile;
use super::intake::{Intake, List};
use super::plan::Plan;
use super::scratch::Scratch;
use super::sheet::Sheet;
use crate::error::Result;
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
        let mut intake = self.intake(sheet, chain, page, |scratch: &Scratch| self.owner(scratch), wanted);
        intake.all(records)?;
        Ok(intake.done())
    }

    /// Like [`Flattener::read`] of the records in `list`, a list that is read where it stands: its records are told
    /// apart while they become rows. Where it is not plainly JSON, `cut` says where each of its records stands. Returns
    /// that of all of them, too.
    ///
    /// # Errors
    /// Like [`Flattener::read`], and those of `cut`.
    pub fn read_list(
        &self,
        sheet: &mut Sheet,
        (chain, page): (u32, u32),
        list: List<'_>,
        cut: impl FnOnce(&[u8]) -> Result<Vec<Range<usize>>>,
        wanted: impl Fn(Day) -> bool,
    ) -> Result<(PageRead, Vec<Range<usize>>)> {
        let mut intake = self.intake(sheet, chain, page, |scratch: &Scratch| self.owner(scratch), wanted);
        let mut records = Vec::new();
        if !intake.list(&list, &mut records)? {
            let all = cut(list.body)?;
            if !all.starts_with(&records) {
                // It is no list of records but one in a record.
                intake.take_back()?;
                records.clear();
            }
            intake.all(all.iter().skip(records.len()).map(|range| list.body.slice(range.clone())))?;
            records = all;
        }
        Ok((intake.done(), records))
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
        let PageRead { bad, oddities, .. } = self.read(&mut sheet, chain, page, records, |_| true)?;
        Ok(FlatPage { days: self.cut(sheet)?, bad, oddities })
    }

    /// Flattens the raw `records` of a dimension, which all are rows of its snapshot of `day`.
    ///
    /// # Errors
    /// Like [`Flattener::flatten`].
    pub fn snapshot(&self, day: Day, chain: u32, page: u32, records: impl Iterator<Item = Bytes>) -> Result<FlatPage> {
        let start = day.start().timestamp_micros();
        let mut sheet = self.sheet();
        let mut intake = self.intake(&mut sheet, chain, page, |_: &Scratch| Ok((day, start)), |_| true);
        intake.all(records)?;
        let PageRead { bad, oddities, .. } = intake.done();
        Ok(FlatPage { days: self.cut(sheet)?, bad, oddities })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Sheet>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn intake<'i, O, W>(
        &'i self,
        sheet: &'i mut Sheet,
        chain: u32,
        page: u32,
        owner: O,
        wanted: W,
    ) -> Intake<'i, O, W> {
        Intake {
            plan: &self.plan,
            sheet,
            at: Position { chain, page, index: 0 },
            owner,
            wanted,
            read: PageRead::default(),
        }
    }

    /// The day that owns the record read last, and its start.
    fn owner(&self, scratch: &Scratch) -> Result<(Day, i64), BadReason> {
        let start = self.plan.start.and_then(|column| match &scratch.columns[column] {
            Column::Timestamp(starts) => starts.last(scratch.tables[0].rows - 1),
            _ => None,
        });
        let start = start.ok_or(BadReason::NoStart)?;
        Ok((Day::of_micros(start).ok_or(BadReason::NoStart)?, start))
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
