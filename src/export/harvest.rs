//! The rows of one slice, by day, within the run's memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::flatten::batch::{BadRecord, DayBatch, FlatPage};
use crate::lake::spill::Spill;
use crate::time::{Day, Timestamp};

/// Bytes of rows that all harvests of a run may hold together; what is beyond it waits on disk.
#[derive(Debug)]
pub(super) struct RowBudget {
    held: AtomicUsize,
    max: usize,
}

impl RowBudget {
    pub(super) fn new(max: usize) -> Arc<RowBudget> {
        Arc::new(RowBudget { held: AtomicUsize::new(0), max })
    }

    fn add(&self, bytes: usize) -> bool {
        self.held.fetch_add(bytes, Ordering::Relaxed) + bytes > self.max
    }

    fn release(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What pages brought beside rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// All records; each became rows, is out of the window, or is bad.
    pub(super) records: u64,
    /// Records of days that the slice does not own.
    pub(super) out_of_window: u64,
    /// Those days, and when something last happened in their conversations.
    pub(super) active: BTreeMap<Day, Timestamp>,
    /// Fields that the schema does not know, by path.
    pub(super) unknown: BTreeMap<String, u64>,
}

/// What a page brought of days that its slice does not own.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    pub(super) records: u64,
    /// By day, when something last happened in its conversations.
    pub(super) active: BTreeMap<Day, Timestamp>,
}

/// Keeps the later moment of each day.
fn later(into: &mut BTreeMap<Day, Timestamp>, from: BTreeMap<Day, Timestamp>) {
    for (day, at) in from {
        into.entry(day).and_modify(|latest| *latest = at.max(*latest)).or_insert(at);
    }
}

/// What the pages of one slice became so far.
#[derive(Debug)]
pub(super) struct Harvest {
    budget: Arc<RowBudget>,
    days: BTreeMap<Day, Vec<DayBatch>>,
    held: usize,
    spill: Option<Spill>,
    /// What was seen beside the rows, by chain.
    seen: BTreeMap<u32, Seen>,
    pub(super) bad: Vec<BadRecord>,
    /// Responses that could not be taken apart, and why.
    pub(super) refused: Vec<(Bytes, String)>,
}

impl Harvest {
    pub(super) fn new(budget: &Arc<RowBudget>) -> Harvest {
        Harvest {
            budget: Arc::clone(budget),
            days: BTreeMap::new(),
            held: 0,
            spill: None,
            seen: BTreeMap::new(),
            bad: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Takes in a flattened page of `chain`, and what was on it of other days. Returns whether the run's rows are
    /// beyond the budget.
    pub(super) fn add(&mut self, chain: u32, page: FlatPage, foreign: Foreign) -> bool {
        let mut beyond = false;
        let seen = self.seen.entry(chain).or_default();
        for batch in page.days {
            seen.records += batch.keys.len() as u64;
            let bytes = batch.bytes();
            self.held += bytes;
            beyond |= self.budget.add(bytes);
            self.days.entry(batch.day).or_default().push(batch);
        }
        seen.records += foreign.records + page.bad.len() as u64;
        seen.out_of_window += foreign.records;
        later(&mut seen.active, foreign.active);
        for (path, count) in page.unknown {
            *seen.unknown.entry(path).or_default() += count;
        }
        self.bad.extend(page.bad);
        beyond
    }

    /// Everything seen, all chains together.
    pub(super) fn seen(&self) -> Seen {
        let mut total = Seen::default();
        for seen in self.seen.values() {
            total.records += seen.records;
            total.out_of_window += seen.out_of_window;
            later(&mut total.active, seen.active.clone());
            for (path, count) in &seen.unknown {
                *total.unknown.entry(path.clone()).or_default() += count;
            }
        }
        total
    }

    /// The first chain ordinal that is free.
    pub(super) fn next_chain(&self) -> u32 {
        self.seen.keys().next_back().map_or(0, |chain| chain + 1)
    }

    /// Moves every row held in memory to disk.
    pub(super) fn spill(&mut self, directory: &Path) -> Result<()> {
        let batches: Vec<DayBatch> = std::mem::take(&mut self.days).into_values().flatten().collect();
        if !batches.is_empty() {
            let spill = match &mut self.spill {
                Some(spill) => spill,
                none => none.insert(Spill::new(directory)?),
            };
            spill.write(batches)?;
        }
        self.budget.release(std::mem::take(&mut self.held));
        Ok(())
    }

    /// Makes every record of `chain` and later chains void: the slice starts again there.
    pub(super) fn forget(&mut self, chain: u32) {
        let void = |batch: &DayBatch| batch.keys.first().is_some_and(|key| key.position.chain >= chain);
        let mut bytes = 0;
        for batches in self.days.values_mut() {
            batches.retain(|batch| {
                let keep = !void(batch);
                if !keep {
                    bytes += batch.bytes();
                }
                keep
            });
        }
        self.held -= bytes;
        self.budget.release(bytes);
        if let Some(spill) = &mut self.spill {
            spill.drop_chains(chain);
        }
        self.bad.retain(|record| record.position.chain < chain);
        self.seen.retain(|seen, _| *seen < chain);
    }

    /// Removes and returns the rows of `day`.
    pub(super) fn take(&mut self, day: Day) -> Result<Vec<DayBatch>> {
        let mut batches = self.days.remove(&day).unwrap_or_default();
        let bytes = batches.iter().map(DayBatch::bytes).sum();
        self.held -= bytes;
        self.budget.release(bytes);
        if let Some(spill) = &mut self.spill {
            batches.extend(spill.read_day(day)?);
            spill.drop_day(day);
        }
        Ok(batches)
    }

    /// Every day with rows.
    pub(super) fn days(&self) -> BTreeSet<Day> {
        let spilled = self.spill.iter().flat_map(Spill::days);
        self.days.keys().copied().chain(spilled).collect()
    }

    /// Refuses a slice of which too much is unreadable.
    ///
    /// # Errors
    /// Data: more than `max_percent` of the records, and at least 10 of them, are bad.
    pub(super) fn check_readable(&self, max_percent: u8) -> Result<()> {
        let (bad, records) = (self.bad.len() as u64, self.seen().records);
        if bad < BAD_RECORDS_MIN || bad * 100 <= records * u64::from(max_percent) {
            return Ok(());
        }
        let mut reasons = BTreeMap::<&str, u64>::new();
        for record in &self.bad {
            *reasons.entry(record.reason.name()).or_default() += 1;
        }
        let reasons: Vec<String> = reasons.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
        Err(Error::data(format!("{bad} of {records} records cannot be read ({})", reasons.join(", ")))
            .hint("the records are under `_convlake/quarantine`; --max-bad sets what is tolerated"))
    }
}

impl Drop for Harvest {
    fn drop(&mut self) {
        self.budget.release(self.held);
    }
}

/// Fewer bad records than this never fail a slice, whatever their share.
const BAD_RECORDS_MIN: u64 = 10;
