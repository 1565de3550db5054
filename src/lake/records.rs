//! The ledger's files: read, written under unique names, and merged when a month has many.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Mutex, PoisonError};

use tracing::{info, warn};

use super::layout::{Dataset, LakePath, Month, RecordName, RunId};
use super::ledger::{DayEntry, Ledger, Record};
use super::store::Store;
use crate::error::{Error, Result};
use crate::time::Day;

/// A month with more records than this is merged into one.
pub const MONTH_RECORDS_MAX: usize = 200;
/// How often a listing is repeated because a record in it was merged away meanwhile.
const LISTINGS_MAX: usize = 16;

/// The ledger's folder. Records are immutable, so what was read once is kept.
#[derive(Debug)]
pub struct Records {
    store: Store,
    dataset: Dataset,
    months: Mutex<BTreeMap<Month, Read>>,
}

/// What was read of a month so far.
#[derive(Clone, Debug, Default)]
struct Read {
    names: BTreeSet<RecordName>,
    ledger: Ledger,
}

impl Records {
    /// The records about `dataset` in `store`.
    pub fn new(store: impl Into<Store>, dataset: Dataset) -> Records {
        Records { store: store.into(), dataset, months: Mutex::default() }
    }

    /// All that is recorded by now.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when a folder or file cannot be read, as in every method here. What is not a
    /// record is no error: it is reported and ignored, and its days count as never published.
    pub fn all(&self) -> Result<Ledger> {
        let mut all = Ledger::default();
        for month in self.months()? {
            all.merge(self.month(month, |ledger| ledger.clone())?);
        }
        Ok(all)
    }

    /// All that is recorded about `days` by now, and about others of their months.
    pub fn about(&self, days: impl Iterator<Item = Day>) -> Result<Ledger> {
        let months: BTreeSet<Month> = days.map(Month::of).collect();
        let mut all = Ledger::default();
        for month in months {
            all.merge(self.month(month, |ledger| ledger.clone())?);
        }
        Ok(all)
    }

    /// What is recorded about `day` by now.
    pub fn day(&self, day: Day) -> Result<DayEntry> {
        self.month(Month::of(day), |ledger| ledger.day(day).cloned().unwrap_or_default())
    }

    /// Adds a record, durably. Its name is unique, so repeating it after a crash does no harm.
    pub fn append(&self, run: RunId, month: Month, name: RecordName, json: Vec<u8>) -> Result<()> {
        self.store.write(run, &LakePath::Record(self.dataset, month, name), json)
    }

    /// Merges the months that have more than [`MONTH_RECORDS_MAX`] records.
    ///
    /// The merged record is durable before the first of the old ones goes, and saying a thing twice changes nothing:
    /// whoever reads or merges meanwhile, and whoever comes after a crash, finds the same ledger.
    pub fn merge_long_months(&self, run: RunId) -> Result<()> {
        for month in self.months()? {
            if self.names(month)?.len() > MONTH_RECORDS_MAX {
                self.merge(run, month)?;
            }
        }
        Ok(())
    }

    /// Merges the months in which any record lists one of `hashes` as vanished. What wins does not list them any more;
    /// what has lost goes.
    pub(super) fn forget(&self, run: RunId, hashes: &HashSet<String>) -> Result<()> {
        for month in self.months()? {
            let records = self.read(month, &self.names(month)?)?;
            let mut receipts = records.iter().flatten().flat_map(|(record, _)| &record.receipts);
            if receipts.any(|receipt| receipt.vanished.iter().any(|hash| hashes.contains(hash))) {
                self.merge(run, month)?;
            }
        }
        Ok(())
    }

    /// Merges what is understood of a month into one record.
    pub(super) fn merge(&self, run: RunId, month: Month) -> Result<()> {
        let mut ledger = Ledger::default();
        let mut replaced = Vec::new();
        let names = self.names(month)?;
        for (name, read) in names.iter().zip(self.read(month, &names)?) {
            // Only what is understood whole may be said in other words.
            if let Some((record, true)) = read {
                ledger.absorb(record);
                replaced.push(name.clone());
            }
        }
        if replaced.len() < 2 {
            return Ok(());
        }
        let json = ledger.into_record().to_json()?;
        let merged = RecordName::merged(xxhash_rust::xxh3::xxh3_128(&json));
        self.append(run, month, merged.clone(), json)?;
        replaced.retain(|name| *name != merged);
        info!(%month, records = replaced.len(), "merged the ledger's records");
        let old: Vec<LakePath> = replaced.into_iter().map(|name| self.place(month, name)).collect();
        self.store.remove_all(&old)
    }

    /// Looks at the ledger of one month after reading what is new.
    fn month<T>(&self, month: Month, look: impl FnOnce(&Ledger) -> T) -> Result<T> {
        // A panic in `look` leaves nothing half done, so a poisoned lock is as good as another.
        let mut months = self.months.lock().unwrap_or_else(PoisonError::into_inner);
        let read = months.entry(month).or_default();
        for _ in 0..LISTINGS_MAX {
            if self.catch_up(month, read)? {
                return Ok(look(&read.ledger));
            }
        }
        Err(Error::later(format!("the ledger of {month} keeps changing")).hint("let the other exports end"))
    }

    /// Reads the records that are new; `false` when one of them went away between the listing and the reading.
    fn catch_up(&self, month: Month, read: &mut Read) -> Result<bool> {
        let mut names = self.names(month)?;
        names.retain(|name| !read.names.contains(name));
        for (name, found) in names.iter().zip(self.read(month, &names)?) {
            let Some((record, _)) = found else { return Ok(false) };
            read.ledger.absorb(record);
            read.names.insert(name.clone());
        }
        Ok(true)
    }

    /// Records, and whether all of each is understood; `None` for one that is gone.
    fn read(&self, month: Month, names: &[RecordName]) -> Result<Vec<Option<(Record, bool)>>> {
        let places: Vec<LakePath> = names.iter().map(|name| self.place(month, name.clone())).collect();
        let found = self.store.read_all(&places)?;
        Ok(found.into_iter().zip(&places).map(|(bytes, place)| Some(understand(month, place, &bytes?))).collect())
    }

    fn place(&self, month: Month, name: RecordName) -> LakePath {
        LakePath::Record(self.dataset, month, name)
    }

    fn months(&self) -> Result<Vec<Month>> {
        Ok(self.store.list(&LakePath::Ledger(self.dataset))?.iter().filter_map(|name| Month::parse(name)).collect())
    }

    fn names(&self, month: Month) -> Result<Vec<RecordName>> {
        let files = self.store.list(&LakePath::LedgerMonth(self.dataset, month))?;
        Ok(files.iter().filter_map(|file| RecordName::of_file(file)).collect())
    }
}

/// A record of `month`, and whether all of it is understood.
fn understand(month: Month, place: &LakePath, bytes: &[u8]) -> (Record, bool) {
    let (mut record, unknown) = match Record::from_json(bytes) {
        Ok(read) => read,
        Err(e) => {
            warn!(record = %place, cause = %e, "ignored what is not a ledger record");
            return (Record::default(), false);
        }
    };
    let entries = record.entries();
    record.receipts.retain(|r| Month::of(r.day) == month);
    record.dirty.retain(|m| Month::of(m.day) == month);
    record.anchors.retain(|a| Month::of(a.day) == month);
    record.restored.retain(|r| Month::of(r.day) == month);
    let misplaced = entries - record.entries();
    if unknown.entries + misplaced > 0 {
        warn!(record = %place, unreadable = unknown.entries, misplaced, "ignored entries of a ledger record");
    }
    (record, unknown.is_none() && misplaced == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::local::{Disk, FailPoint};
    use crate::lake::testing::{day, receipt};

    struct Lab {
        _temp: tempfile::TempDir,
        disk: Disk,
        run: RunId,
    }

    impl Lab {
        fn new() -> Lab {
            let temp = tempfile::tempdir().unwrap();
            let disk = Disk::new(temp.path(), FailPoint::never());
            let run = RunId::from(uuid::Uuid::from_u128(5));
            disk.create_folder(&LakePath::Staging(run)).unwrap();
            Lab { _temp: temp, disk, run }
        }

        /// `count` receipts for the days of January, later ones newer.
        fn fill(&self, count: usize) -> Records {
            let records = Records::new(self.disk.clone(), Dataset::Conversations);
            for n in 0..count {
                let date = format!("2025-01-{:02}", n % 28 + 1);
                let seen = format!("2025-02-01T{:02}:{:02}:00Z", n / 60, n % 60);
                let receipt = receipt(&date, &seen, n as u128);
                let name = RecordName::receipt(receipt.day, receipt.observed_at, receipt.run, n as u128);
                let json = Record { receipts: vec![receipt], ..Record::default() }.to_json().unwrap();
                records.append(self.run, month(), name, json).unwrap();
            }
            records
        }
    }

    fn month() -> Month {
        Month::parse("2025-01").unwrap()
    }

    #[test]
    fn a_long_month_is_merged_and_says_the_same() {
        let lab = Lab::new();
        let records = lab.fill(MONTH_RECORDS_MAX);
        records.merge_long_months(lab.run).unwrap();
        assert_eq!(records.names(month()).unwrap().len(), MONTH_RECORDS_MAX);
        let one_more = lab.fill(MONTH_RECORDS_MAX + 1);
        let before = one_more.all().unwrap();
        one_more.merge_long_months(lab.run).unwrap();
        assert_eq!(one_more.names(month()).unwrap().len(), 1);
        assert_eq!(Records::new(lab.disk.clone(), Dataset::Conversations).all().unwrap(), before);
        assert_eq!(one_more.all().unwrap(), before, "a reader that was there before sees the same");
        assert_eq!(before.days().count(), 28);
    }

    #[test]
    fn a_merge_stopped_anywhere_changes_nothing() {
        for operations in 0.. {
            let lab = Lab::new();
            let before = lab.fill(12).all().unwrap();
            let dying = Records::new(Disk::new(lab.disk.root(), FailPoint::after(operations)), Dataset::Conversations);
            let done = dying.merge(lab.run, month()).is_ok();
            assert_eq!(
                Records::new(lab.disk.clone(), Dataset::Conversations).all().unwrap(),
                before,
                "after {operations} operations"
            );
            if done {
                assert!(operations > 12);
                return;
            }
        }
    }

    #[test]
    fn what_is_not_a_record_is_ignored_and_stays() {
        let lab = Lab::new();
        let records = lab.fill(3);
        let before = records.all().unwrap();
        let folder = lab.disk.locate(&LakePath::LedgerMonth(Dataset::Conversations, month())).unwrap();
        let elsewhere =
            Record { receipts: vec![receipt("2025-03-01", "2025-04-01T00:00:00Z", 1)], ..Record::default() };
        std::fs::write(folder.join("truncated.json"), b"{\"receipts\": [{\"ver").unwrap();
        std::fs::write(folder.join("later.json"), b"{\"leases\": [1]}").unwrap();
        std::fs::write(folder.join("misplaced.json"), elsewhere.to_json().unwrap()).unwrap();
        std::fs::write(folder.join("notes.txt"), b"").unwrap();
        assert_eq!(records.all().unwrap(), before);
        records.merge(lab.run, month()).unwrap();
        let left: Vec<_> = records.names(month()).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(left.len(), 4, "{left:?}");
        assert_eq!(records.day(day("2025-03-01")).unwrap(), DayEntry::default());
        assert_eq!(Records::new(lab.disk.clone(), Dataset::Conversations).all().unwrap(), before);
    }

    #[test]
    fn a_new_record_is_seen_at_once() {
        let lab = Lab::new();
        let (reader, writer) = (Records::new(lab.disk.clone(), Dataset::Conversations), lab.fill(1));
        let first = reader.day(day("2025-01-01")).unwrap().receipt.unwrap();
        lab.fill(29);
        let second = reader.day(day("2025-01-01")).unwrap().receipt.unwrap();
        assert!(second.observed_at > first.observed_at);
        assert_eq!(writer.day(day("2025-01-01")).unwrap().receipt, Some(second));
    }
}
