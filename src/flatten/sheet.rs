//! Where the records of several pages grow together, so that a day is handed out many of them at a time: a batch of
//! three records has as many arrays as one of a thousand.

use std::collections::BTreeMap;
use std::ops::Range;

use super::batch::{DayBatch, RecordKey};
use super::buffers::Grows;
use super::catalog::Catalog;
use super::day::Taken;
use super::plan::Plan;
use super::scratch::Scratch;
use crate::error::Result;
use crate::time::Day;

/// Records that have been read and not handed out yet.
#[derive(Debug)]
pub struct Sheet {
    pub(super) scratch: Scratch,
    /// Of each record: the day that owns it, and its key.
    pub(super) keys: Vec<(Day, RecordKey)>,
    /// Bytes of text that were read into it.
    pub(super) text: usize,
}

impl Sheet {
    pub(super) fn new(plan: &Plan) -> Sheet {
        Sheet { scratch: Scratch::new(plan), keys: Vec::new(), text: 0 }
    }

    /// The number of records.
    pub fn records(&self) -> usize {
        self.keys.len()
    }

    /// Memory held by the records, in bytes. Room for more that was there before is not counted.
    pub fn bytes(&self) -> usize {
        let columns: usize = self.scratch.columns.iter().map(Grows::bytes).sum();
        let rows: usize = self.scratch.tables.iter().map(|table| table.parents.len() * 8 + table.ends.len() * 4).sum();
        let keys: usize = self.keys.iter().map(|(_, key)| key.id.len() + size_of::<(Day, RecordKey)>()).sum();
        columns + rows + keys
    }

    /// Gives each day its records, in the order in which they were read.
    pub(super) fn days(&mut self, plan: &Plan, catalog: &Catalog) -> Result<Vec<DayBatch>> {
        let mut days: BTreeMap<Day, (Vec<RecordKey>, Vec<Range<usize>>)> = BTreeMap::new();
        for (record, (day, key)) in self.keys.drain(..).enumerate() {
            let (keys, spans) = days.entry(day).or_default();
            keys.push(key);
            match spans.last_mut() {
                Some(span) if span.end == record => span.end += 1,
                _ => spans.push(record..record + 1),
            }
        }
        let batch = |(day, (keys, records)): (Day, (Vec<RecordKey>, Vec<Range<usize>>))| {
            Ok(DayBatch { day, keys, tables: Taken::tables(plan, &self.scratch, &records, catalog)? })
        };
        days.into_iter().map(batch).collect()
    }

    /// Ready for other records.
    pub(super) fn clear(&mut self, plan: &Plan) {
        self.scratch.clear(plan);
        self.keys.clear();
        self.text = 0;
    }
}
