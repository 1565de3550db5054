//! Days end: what is older than the lake is to hold goes, and does not come back.
//!
//! First the day's receipt says that it has expired, which wins against every other; then its files go,
//! `conversations` before its children, so that a conversation that is seen always has them. Stopped anywhere, a day is
//! either what it was, or expired with some files left: those go with the next expiry, or with the next run that would
//! have published the day.
//!
//! Days in between that were never published expire too, so that nobody fills them.
//!
//! An expiry can be taken back. That brings no file back, but the day counts as never published, and is due again.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Map;
use tracing::info;

use super::encode::CONVERSATIONS;
use super::layout::{LakePath, Month, RecordName, TableName};
use super::ledger::{DayEntry, Ledger, Record};
use super::order::Order;
use super::present::Present;
use super::receipt::{Counts, Receipt, Restored, State, VERSION};
use super::run::Run;
use crate::error::Result;
use crate::plan::Source;
use crate::time::{Day, Days};

/// Why a day that has expired is not published.
pub const EXPIRED: &str = "it has expired: what is older than the lake is to hold does not come back";

/// What an expiry did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expiry {
    /// Days that expired.
    pub days: u64,
    /// Conversations of those days, or rows of a snapshot's tables.
    pub conversations: u64,
    /// Their files.
    pub files: u64,
    /// Bytes of these.
    pub bytes: u64,
}

impl std::ops::Add for Expiry {
    type Output = Expiry;

    fn add(self, other: Expiry) -> Expiry {
        Expiry {
            days: self.days + other.days,
            conversations: self.conversations + other.conversations,
            files: self.files + other.files,
            bytes: self.bytes + other.bytes,
        }
    }
}

impl Run {
    /// Lets every day of the dataset before `before` expire. Blocks.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`]; what was done is done, and the next expiry does the rest.
    pub fn expire(&self, before: Day, dry_run: bool) -> Result<Expiry> {
        let committing = self.lake.committing()?;
        let ledger = self.records().all()?;
        let due = due(&ledger, before);
        let named = |day: &Day| ledger.receipt(*day).map_or(&[][..], |receipt| &receipt.files);
        let done = Expiry {
            days: due.len() as u64,
            conversations: due.iter().filter_map(|day| ledger.receipt(*day)).map(|r| r.counts.conversations).sum(),
            files: due.iter().map(|day| named(day).len() as u64).sum(),
            bytes: due.iter().flat_map(named).map(|file| file.bytes).sum(),
        };
        if dry_run {
            return Ok(done);
        }
        let months = self.record_expired(&ledger, &due)?;
        drop(committing);
        let expired: BTreeSet<Day> =
            ledger.days().filter(|(_, entry)| entry.is_expired()).map(|(day, _)| *day).chain(due).collect();
        self.sweep(&ledger, &expired)?;
        // What was said of the days before has lost, and goes with them.
        months.into_iter().try_for_each(|month| self.records().merge(self.id, month))?;
        Ok(done)
    }

    /// Removes what an expiry that was stopped left of `days`, as far as they have expired. Blocks.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`].
    pub fn clear_expired(&self, days: &BTreeSet<Day>) -> Result<()> {
        if days.is_empty() {
            return Ok(());
        }
        let _committing = self.lake.committing()?;
        let ledger = self.records().all()?;
        let expired = days.iter().copied().filter(|day| ledger.day(*day).is_some_and(DayEntry::is_expired));
        self.sweep(&ledger, &expired.collect())
    }

    fn sweep(&self, ledger: &Ledger, expired: &BTreeSet<Day>) -> Result<()> {
        for (day, tables) in self.partitions(ledger, expired)? {
            self.remove_day(day, tables)?;
        }
        Ok(())
    }

    /// Takes back the expiry of the dataset's `days`: they count as never published. Returns which of them had expired.
    /// Blocks.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`]; what was done is done, and the next undoing does the rest.
    pub fn restore(&self, days: &Days, dry_run: bool) -> Result<BTreeSet<Day>> {
        let _committing = self.lake.committing()?;
        let ledger = self.records().all()?;
        let expired = ledger.days().filter(|(day, entry)| days.contains(**day) && entry.is_expired());
        let mut months: BTreeMap<Month, Vec<Restored>> = BTreeMap::new();
        let restored_at = self.clock.now();
        for (day, entry) in expired {
            let (day, era) = (*day, entry.era().saturating_add(1));
            let restored = Restored { day, era, restored_at, run: self.id, other: Map::new() };
            months.entry(Month::of(day)).or_default().push(restored);
        }
        let found = months.values().flatten().map(|restored| restored.day).collect();
        if dry_run {
            return Ok(found);
        }
        for (month, restored) in months {
            info!(%month, days = restored.len(), "restored");
            let json = Record { restored, ..Record::default() }.to_json()?;
            let name = RecordName::restored(restored_at, self.id, xxhash_rust::xxh3::xxh3_128(&json));
            self.records().append(self.id, month, name, json)?;
        }
        Ok(found)
    }

    /// Removes what stands in the slots of a day that has expired.
    pub(super) fn clear(&self, day: Day, present: &Present) -> Result<()> {
        let tables = self.specs.iter().enumerate().filter(|(table, _)| present.is_taken(*table));
        self.remove_day(day, tables.map(|(_, spec)| spec.name.clone()).collect())
    }

    /// Says of every day of `due` that it has expired: from here on nobody publishes it. Returns their months.
    fn record_expired(&self, ledger: &Ledger, due: &BTreeSet<Day>) -> Result<BTreeSet<Month>> {
        // A day that was never fetched came from nowhere; its neighbours say at least how the lake is fed.
        let mut source =
            ledger.days().find_map(|(_, entry)| Some(entry.receipt.as_ref()?.source)).unwrap_or(Source::Files);
        let mut months: BTreeMap<Month, Vec<Receipt>> = BTreeMap::new();
        let now = self.clock.now();
        for day in due.iter().copied() {
            let winner = ledger.receipt(day);
            source = winner.map_or(source, |receipt| receipt.source);
            let order = winner.map_or(Order::observed(0, now, self.id), |winner| winner.order().revised(self.id));
            let receipt = Receipt {
                version: VERSION,
                day,
                era: ledger.day(day).map_or(0, DayEntry::era),
                run: self.id,
                generation: 0,
                observer: None,
                revision: 0,
                clock_skew: winner.and_then(|receipt| receipt.clock_skew),
                observed_at: winner.map_or(now, |receipt| receipt.observed_at),
                recorded_at: now,
                covers: winner.map_or(day.interval(), |receipt| receipt.covers),
                state: State::Expired,
                source,
                availability: winner.and_then(|receipt| receipt.availability),
                counts: Counts::default(),
                vanished: Vec::new(),
                files: Vec::new(),
                merged: false,
                other: Map::new(),
            };
            months.entry(Month::of(day)).or_default().push(receipt.ordered(order));
        }
        let affected = months.keys().copied().collect();
        for (month, receipts) in months {
            info!(%month, days = receipts.len(), "expired");
            let json = Record { receipts, ..Record::default() }.to_json()?;
            let name = RecordName::expired(now, self.id, xxhash_rust::xxh3::xxh3_128(&json));
            self.records().append(self.id, month, name, json)?;
        }
        Ok(affected)
    }

    /// The tables of the dataset that have a file for one of `days`.
    fn partitions(&self, ledger: &Ledger, days: &BTreeSet<Day>) -> Result<BTreeMap<Day, Vec<TableName>>> {
        let receipts = ledger.days().filter_map(|(_, entry)| entry.receipt.as_ref());
        let named = receipts.flat_map(|receipt| &receipt.files).map(|file| &file.table);
        let tables: BTreeSet<&TableName> = self.specs.iter().map(|spec| &spec.name).chain(named).collect();
        let mut found: BTreeMap<Day, Vec<TableName>> = BTreeMap::new();
        for table in tables {
            for name in self.lake.store.list(&LakePath::Table(table.clone()))? {
                if let Some(LakePath::Partition(_, day)) = LakePath::parse(&format!("{table}/{name}"))
                    && days.contains(&day)
                {
                    found.entry(day).or_default().push(table.clone());
                }
            }
        }
        Ok(found)
    }

    fn remove_day(&self, day: Day, tables: Vec<TableName>) -> Result<()> {
        let (first, others): (Vec<_>, Vec<_>) = tables.into_iter().partition(|table| table.as_str() == CONVERSATIONS);
        self.lake.store.remove_day(&first, day)?;
        self.lake.store.remove_day(&others, day)
    }
}

/// The days before `before`, from the lake's first on, that have not expired.
fn due(ledger: &Ledger, before: Day) -> BTreeSet<Day> {
    let first = ledger.days().next().map_or(before, |(day, _)| *day);
    let days = std::iter::successors(Some(first), |day| Some(day.next())).take_while(|day| *day < before);
    days.filter(|day| !ledger.day(*day).is_some_and(|entry| entry.is_expired())).collect()
}
