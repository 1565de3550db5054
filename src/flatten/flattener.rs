//! One page of records becomes batches by owner day.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::batch::{BadReason, BadRecord, DayBatch, FlatPage, Position, RecordKey};
use super::buffers::Column;
use super::catalog::Catalog;
use super::compile::compile;
use super::cursor::{Cursor, is_too_deep};
use super::day::Taken;
use super::plan::Plan;
use super::reader::{Reader, Stop, is_value, start};
use super::rewrite;
use super::scratch::Scratch;
use crate::error::{Error, Result};
use crate::time::Day;

/// Flattens pages into the tables of a catalog. Compiled once, shared by all threads.
#[derive(Debug)]
pub struct Flattener {
    catalog: Arc<Catalog>,
    plan: Plan,
    /// Where pages have grown before; as many as there were pages at the same time.
    idle: Mutex<Vec<Scratch>>,
}

/// A page of more bytes leaves nothing for the next one: what it took is given back.
const REUSED_MAX: usize = 16 << 20;

/// Of the good records of a page: the day that owns each, and its key.
type Keys = Vec<(Day, RecordKey)>;

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

    /// Flattens the raw `records` of page `page` of chain `chain`. What cannot be read is in [`FlatPage::bad`],
    /// what does not fit a column is in its row's `extra`; neither is an error.
    ///
    /// # Errors
    /// [`crate::error::Kind::Data`] when the records have more than 2 GiB, which no page of the API has;
    /// otherwise [`crate::error::Kind::Bug`] only.
    pub fn flatten(&self, chain: u32, page: u32, records: impl Iterator<Item = Bytes>) -> Result<FlatPage> {
        self.page(chain, page, records, |scratch| {
            let start = self.plan.start.and_then(|column| match &scratch.columns[column] {
                Column::Timestamp(starts) => starts.last(scratch.tables[0].rows - 1),
                _ => None,
            });
            let start = start.ok_or(BadReason::NoStart)?;
            Ok((Day::of_micros(start).ok_or(BadReason::NoStart)?, start))
        })
    }

    /// Flattens the raw `records` of a dimension, which all are rows of its snapshot of `day`.
    ///
    /// # Errors
    /// Like [`Flattener::flatten`].
    pub fn snapshot(&self, day: Day, chain: u32, page: u32, records: impl Iterator<Item = Bytes>) -> Result<FlatPage> {
        let start = day.start().timestamp_micros();
        self.page(chain, page, records, |_| Ok((day, start)))
    }

    /// Flattens records into the days that `owner` gives them to, each with its place in the day's order.
    fn page(
        &self,
        chain: u32,
        page: u32,
        records: impl Iterator<Item = Bytes>,
        owner: impl Fn(&Scratch) -> Result<(Day, i64), BadReason>,
    ) -> Result<FlatPage> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let known = idle().pop();
        let mut scratch = known.unwrap_or_else(|| Scratch::new(&self.plan));
        let mut bytes = 0;
        let (mut keys, mut bad) = (Keys::new(), Vec::new());
        for (index, raw) in (0..).zip(records) {
            bytes += raw.len();
            if bytes > i32::MAX as usize {
                return Err(Error::data("a page has more than 2 GiB").hint("ask for smaller pages"));
            }
            let position = Position { chain, page, index };
            let key = self.read(&raw, &mut scratch).and_then(|()| {
                let id = self.id(&scratch)?;
                let (day, start) = owner(&scratch)?;
                Ok((day, RecordKey { start, id, position }))
            });
            match key {
                Ok(key) => {
                    scratch.keep();
                    keys.push(key);
                }
                Err(reason) => {
                    scratch.forget(&self.plan);
                    bad.push(BadRecord { position, reason, raw });
                }
            }
        }
        let unknown = scratch.unknown.take();
        let days = self.days(keys, &scratch)?;
        if bytes <= REUSED_MAX {
            scratch.clear(&self.plan);
            idle().push(scratch);
        }
        Ok(FlatPage { days, bad, unknown })
    }

    /// Writes the rows of one record behind those of the others.
    fn read(&self, raw: &[u8], scratch: &mut Scratch) -> Result<(), BadReason> {
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

    /// Gives each day its records, in their order.
    fn days(&self, keys: Keys, scratch: &Scratch) -> Result<Vec<DayBatch>> {
        let mut days: BTreeMap<Day, (Vec<RecordKey>, Vec<Range<usize>>)> = BTreeMap::new();
        for (record, (day, key)) in keys.into_iter().enumerate() {
            let (keys, spans) = days.entry(day).or_default();
            keys.push(key);
            match spans.last_mut() {
                Some(span) if span.end == record => span.end += 1,
                _ => spans.push(record..record + 1),
            }
        }
        let batch = |(day, (keys, records)): (Day, (Vec<RecordKey>, Vec<Range<usize>>))| {
            Ok(DayBatch { day, keys, tables: Taken::tables(&self.plan, scratch, &records, &self.catalog)? })
        };
        days.into_iter().map(batch).collect()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
