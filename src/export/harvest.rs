//! The rows of one slice, by day, within the run's memory.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use bytes::Bytes;
use serde_json::json;

use crate::error::{Error, Result};
use crate::flatten::Oddities;
use crate::flatten::batch::{BadReason, BadRecord, DayBatch, PageRead, Position};
use crate::lake::day_rows::DayRows;
use crate::lake::spill::Spill;
use crate::memory::{Gatherer, Memory};
use crate::time::{Day, Timestamp};

/// What pages brought beside rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// All records; each became rows, is out of the window, or is bad.
    pub(super) records: u64,
    /// Records of days that the slice does not own.
    pub(super) out_of_window: u64,
    /// Those days, and when something last happened in their conversations.
    pub(super) active: BTreeMap<Day, Timestamp>,
    /// Values that are not where they were meant to be, or not as they came.
    pub(super) oddities: Oddities,
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
    memory: Memory,
    gatherer: Gatherer,
    days: BTreeMap<Day, DayRows>,
    spill: Option<Spill>,
    /// What was seen beside the rows, by chain.
    seen: BTreeMap<u32, Seen>,
    pub(super) bad: Vec<BadRecord>,
    /// Responses that could not be taken apart, and why.
    pub(super) refused: Vec<(Bytes, String)>,
}

impl Harvest {
    pub(super) fn new(memory: &Memory) -> Harvest {
        Harvest {
            memory: memory.clone(),
            gatherer: memory.gatherer(),
            days: BTreeMap::new(),
            spill: None,
            seen: BTreeMap::new(),
            bad: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Takes in what was on a page of `chain` beside the rows of its days.
    pub(super) fn saw(&mut self, chain: u32, page: PageRead, foreign: Foreign) {
        let seen = self.seen.entry(chain).or_default();
        seen.records += page.records;
        seen.out_of_window += foreign.records;
        later(&mut seen.active, foreign.active);
        seen.oddities.add(&page.oddities);
        self.bad.extend(page.bad);
    }

    /// Takes in rows.
    pub(super) fn add(&mut self, days: Vec<DayBatch>) -> Result<()> {
        days.into_iter().try_for_each(|batch| self.days.entry(batch.day).or_default().push(batch, &self.memory))
    }

    /// Takes in a record that was never received: what is kept is where it stood, and its id where that is known.
    pub(super) fn set_aside(&mut self, chain: u32, page: u32, id: Option<String>) {
        let raw = id.map(|id| Bytes::from(json!({"conversationId": id}).to_string())).unwrap_or_default();
        let position = Position { chain, page, index: 0 };
        self.seen.entry(chain).or_default().records += 1;
        self.bad.push(BadRecord { position, reason: BadReason::TooLarge, raw });
    }

    /// Takes in what a second fetch of the same slice brought, whose chains are behind these. What was seen beside the
    /// rows is the second fetch's: the first saw most of it as well.
    pub(super) fn join(&mut self, again: Harvest) {
        for (day, rows) in again.days {
            self.days.entry(day).or_default().extend(rows);
        }
        let known: HashSet<Bytes> = again.bad.iter().map(|record| record.raw.clone()).collect();
        self.bad.retain(|record| !known.contains(&record.raw));
        self.bad.extend(again.bad);
        self.refused.extend(again.refused);
        self.seen = again.seen;
    }

    /// Everything seen, all chains together.
    pub(super) fn seen(&self) -> Seen {
        let mut total = Seen::default();
        for seen in self.seen.values() {
            total.records += seen.records;
            total.out_of_window += seen.out_of_window;
            later(&mut total.active, seen.active.clone());
            total.oddities.add(&seen.oddities);
        }
        total
    }

    /// The first chain ordinal that is free.
    pub(super) fn next_chain(&self) -> u32 {
        self.seen.keys().next_back().map_or(0, |chain| chain + 1)
    }

    /// Whether the run's memory is full and the rows that are held here have to go to disk, with `more` bytes of the
    /// same slice.
    pub(super) fn must_spill(&self, more: usize) -> bool {
        self.gatherer.must_spill(more + self.days.values().map(|rows| rows.held.bytes()).sum::<usize>())
    }

    /// Whether some of the rows are on disk.
    pub(super) fn has_spilled(&self) -> bool {
        self.spill.is_some()
    }

    /// Whether rows of `day` are on disk.
    pub(super) fn has_runs(&self, day: Day) -> bool {
        self.days.get(&day).is_some_and(|rows| !rows.runs.is_empty())
    }

    /// Moves every row held in memory to disk.
    pub(super) fn spill(&mut self, directory: &Path) -> Result<()> {
        let spill = match &self.spill {
            Some(spill) => spill,
            None => self.spill.insert(Spill::new(directory, &self.memory)?),
        };
        self.days.values_mut().filter(|rows| !rows.batches.is_empty()).try_for_each(|rows| spill.spill(rows))
    }

    /// Makes every record of `chain` and later chains void: the slice starts again there. All rows are on disk, where
    /// records can be void one by one; that a slice starts again is rare.
    pub(super) fn forget(&mut self, chain: u32) {
        self.days.values_mut().flat_map(|rows| &mut rows.runs).for_each(|run| run.void(chain));
        self.bad.retain(|record| record.position.chain < chain);
        self.seen.retain(|seen, _| *seen < chain);
    }

    /// Removes and returns the rows of `day`.
    pub(super) fn take(&mut self, day: Day) -> DayRows {
        self.days.remove(&day).unwrap_or_default()
    }

    /// How many records each day has.
    pub(super) fn records_by_day(&self) -> BTreeMap<Day, u64> {
        self.days.iter().map(|(day, rows)| (*day, rows.count() as u64)).collect()
    }

    /// Every day with rows.
    pub(super) fn days(&self) -> Vec<Day> {
        self.days.keys().copied().collect()
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
        let reasons = Harvest::reasons(&self.bad);
        Err(Error::data(format!("{bad} of {records} records cannot be read ({reasons})"))
            .hint("the records are under `_convlake/quarantine`; --max-bad sets what is tolerated"))
    }

    /// Why these records are bad, with numbers.
    pub(super) fn reasons<'b>(bad: impl IntoIterator<Item = &'b BadRecord>) -> String {
        let mut reasons = BTreeMap::<&str, u64>::new();
        for record in bad {
            *reasons.entry(record.reason.name()).or_default() += 1;
        }
        let reasons: Vec<String> = reasons.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
        reasons.join(", ")
    }

    /// The chains that brought records of which none can be read, and those records.
    pub(super) fn unreadable_chains(&self) -> BTreeMap<u32, Vec<&BadRecord>> {
        let mut chains = BTreeMap::<u32, Vec<&BadRecord>>::new();
        for record in &self.bad {
            chains.entry(record.position.chain).or_default().push(record);
        }
        chains.retain(|chain, bad| self.seen.get(chain).is_some_and(|seen| seen.records == bad.len() as u64));
        chains
    }
}

/// Fewer bad records than this never fail a slice, whatever their share.
const BAD_RECORDS_MIN: u64 = 10;
