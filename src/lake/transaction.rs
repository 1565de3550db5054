//! A day goes from what is stored of it to what was prepared, whole or not at all.
//!
//! ```text
//! look ─▶ prepare ─▶ look again ─▶ swap in, children first ─▶ receipt
//! ```
//! Until the receipt is durable the day is what it was, or *not committed*: a file that is not its receipt's is
//! treated as absent and written again by the next run. That is the whole of recovery.
//!
//! On disk the swap is made of renames under the lake's lock, after a look that finds the day unchanged.
//!
//! A bucket has no locks. There each slot is replaced only if it still holds the version that was looked at, and a
//! run that finds a newer one gives way. One thing would slip through: a file that a newer run *keeps*, because it
//! already holds what was observed, could be replaced by an older run that looked before. So a run lays down a claim
//! before it looks. Whoever sees a newer claim gives way; whoever sees an older one keeps no file, so that the older
//! run finds every slot changed. One of two runs always sees the other: each writes its claim before it lists them.
//!
//! What must be left out of a day may be decided while it is under way: conversations are forgotten, the day expires.
//! That is recorded before anything is removed, and whoever removes looks at every day after that. On disk it is part
//! of the look under the lock. In a bucket a run looks for it once more after its receipt, and prepares the day anew:
//! so either the one that removes saw what was committed, or the one that committed sees what was decided.

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;
use tracing::debug;

use super::bucket::{Bucket, Swap};
use super::layout::{Claim, LakePath, Month, RecordName};
use super::ledger::Record;
use super::local::Disk;
use super::open::Committing;
use super::present::{Present, table_of_ids};
use super::publish::Outcome;
use super::receipt::{FileEntry, Receipt};
use super::run::Run;
use super::store::Store;
use super::together::together;
use crate::error::{Error, Result};
use crate::time::{Day, Timestamp};

/// How often a day is prepared without the lock, and again because another run published it meanwhile. After that it
/// is prepared under the lock: slower for the others, but it ends.
const FREE_ATTEMPTS: usize = 3;
/// How often a day is prepared for a bucket in which other runs change it meanwhile. Each of them is older and makes
/// at most one attempt that this run can lose to.
const BUCKET_ATTEMPTS: usize = 16;
/// Files on their way to a bucket at the same time; each may be in memory whole.
const WRITERS: usize = 4;
/// Files and folders that are made durable at the same time: a journal takes them together.
pub(super) const SYNCS: usize = 8;

/// What preparing a day came to.
pub(super) enum Step {
    /// There is nothing to commit.
    End(Outcome),
    /// Nothing to commit, because the files that were found hold more: if they are not in the middle of another run's
    /// swap.
    Shrunk(Result<Outcome>),
    /// All of these, then this receipt.
    Commit(Vec<Built>, Receipt),
}

impl Step {
    /// The day is as it should be.
    pub(super) fn nothing() -> Step {
        Step::End(Outcome::Kept { reason: "there is nothing to change" })
    }
}

/// One table's finished file.
pub(super) struct Built {
    pub(super) entry: FileEntry,
    /// Where it waits in the run's scratch to be swapped in; `None` when the slot already holds its content.
    pub(super) staged: Option<LakePath>,
}

impl Run {
    /// Prepares `day` as it is found and commits it, again if another run got in between. `observed_at` is when the
    /// source was asked for what is prepared.
    pub(super) fn transact(
        &self,
        day: Day,
        observed_at: Timestamp,
        mut prepare: impl FnMut(&Present) -> Result<Step>,
    ) -> Result<Outcome> {
        match &self.lake.store {
            Store::Disk(disk) => self.transact_on_disk(disk, day, prepare),
            Store::Bucket(bucket) => {
                let claim = Claim { observed_at, run: self.id };
                self.transact_in_bucket(bucket, day, claim, &mut prepare)
            }
        }
    }

    /// Takes rows out of `day` that nobody may have. It is no observation and claims nothing: whoever publishes the day
    /// meanwhile leaves the same rows out, and finds the slots changed.
    pub(super) fn amend(&self, day: Day, mut prepare: impl FnMut(&Present) -> Result<Step>) -> Result<Outcome> {
        let bucket = match &self.lake.store {
            Store::Disk(disk) => return self.transact_on_disk(disk, day, prepare),
            Store::Bucket(bucket) => bucket,
        };
        for _ in 0..BUCKET_ATTEMPTS {
            if let Some(outcome) = self.attempt_in_bucket(bucket, day, None, &mut prepare)? {
                return Ok(outcome);
            }
        }
        Err(contended())
    }

    fn transact_on_disk(
        &self,
        disk: &Disk,
        day: Day,
        mut prepare: impl FnMut(&Present) -> Result<Step>,
    ) -> Result<Outcome> {
        let mut attempt = |held: Option<Committing<'_>>| {
            let present = Present::look(self, day, false)?;
            match prepare(&present)? {
                Step::End(outcome) => Ok(Some(outcome)),
                Step::Shrunk(verdict) => {
                    let _committing = held.map_or_else(|| self.lake.committing(), Ok)?;
                    (Present::look(self, day, false)? == present).then_some(verdict).transpose()
                }
                Step::Commit(files, receipt) => self.commit_on_disk(disk, &present, files, receipt, held),
            }
        };
        for _ in 0..FREE_ATTEMPTS {
            if let Some(outcome) = attempt(None)? {
                return Ok(outcome);
            }
            debug!(%day, "another run published the day meanwhile");
        }
        attempt(Some(self.lake.committing()?))?.ok_or_else(|| {
            Error::storage("its files change under the lake's lock").hint(
                "something else than convlake writes to the lake, or its file system has no working locks: end it, run again",
            )
        })
    }

    /// `None` when the day is not `present` any more.
    fn commit_on_disk(
        &self,
        disk: &Disk,
        present: &Present,
        files: Vec<Built>,
        receipt: Receipt,
        held: Option<Committing<'_>>,
    ) -> Result<Option<Outcome>> {
        let changed = self.changed(&files);
        let partition = |file: &FileEntry| LakePath::Partition(file.table.clone(), receipt.day);

        let _committing = held.map_or_else(|| self.lake.committing(), Ok)?;
        if Present::look(self, receipt.day, false)? != *present {
            return Ok(None);
        }
        for (_, staged, file) in &changed {
            let part = LakePath::Part(file.table.clone(), receipt.day);
            disk.rename(staged, &part)?;
            debug!(%part, rows = file.rows, "swapped in");
        }
        together(&changed, SYNCS, |(_, _, file)| disk.sync_folder(&partition(file)))?;
        self.record(present, changed.is_empty(), receipt).map(Some)
    }

    fn transact_in_bucket(
        &self,
        bucket: &Bucket,
        day: Day,
        claim: Claim,
        prepare: &mut dyn FnMut(&Present) -> Result<Step>,
    ) -> Result<Outcome> {
        if bucket.is_for_a_single_writer() {
            return self.attempt_in_bucket(bucket, day, Some((claim, &[])), prepare)?.ok_or_else(contended);
        }
        let claims = LakePath::Claims(self.dataset, day);
        let own = LakePath::Claim(self.dataset, day, claim);
        bucket.write(&own, b"{}".as_slice().into())?;
        for _ in 0..BUCKET_ATTEMPTS {
            let names = bucket.list(&claims)?;
            let parsed = names.iter().filter_map(|name| LakePath::parse(&format!("{claims}/{name}")));
            let others: Vec<Claim> = parsed
                .filter_map(|place| match place {
                    LakePath::Claim(_, _, other) if other != claim => Some(other),
                    _ => None,
                })
                .collect();
            if let Some(outcome) = self.attempt_in_bucket(bucket, day, Some((claim, &others)), prepare)? {
                // After an error the claim stays: a write whose answer was lost may still arrive.
                let mut done = vec![own];
                if matches!(outcome, Outcome::Published(_) | Outcome::Unchanged(_)) {
                    let older = others.into_iter().filter(|other| *other < claim);
                    done.extend(older.map(|other| LakePath::Claim(self.dataset, day, other)));
                }
                if let Err(e) = bucket.remove_all(&done) {
                    // The day is what it is; claims of the dead cost the next run a rewrite and are removed by it.
                    debug!(%day, cause = %e, "left a claim behind");
                }
                return Ok(outcome);
            }
            debug!(%day, "another run published the day meanwhile");
        }
        Err(contended())
    }

    fn attempt_in_bucket(
        &self,
        bucket: &Bucket,
        day: Day,
        claims: Option<(Claim, &[Claim])>,
        prepare: &mut dyn FnMut(&Present) -> Result<Step>,
    ) -> Result<Option<Outcome>> {
        let (own, others) = claims.unzip();
        let others = others.unwrap_or_default();
        if let Some(newer) = others.iter().max().filter(|other| own.is_some_and(|own| **other > own)) {
            return Ok(Some(Outcome::Superseded { by: newer.run }));
        }
        let present = Present::look(self, day, !others.is_empty())?;
        if let Some(by) = own.and_then(|own| present.overtaken(&own)) {
            return Ok(Some(Outcome::Superseded { by }));
        }
        let (files, receipt) = match prepare(&present)? {
            Step::End(outcome) => return Ok(Some(outcome)),
            // A swap under way would be a newer run's, which has overtaken this one, or an older run's, which loses.
            Step::Shrunk(verdict) => return verdict.map(Some),
            Step::Commit(files, receipt) => (files, receipt),
        };
        let mut changed = self.changed(&files);
        // The table that is looked for first comes last and alone, when all its children are there.
        let last = changed.pop_if(|(table, ..)| *table == table_of_ids(&self.specs));
        for group in [changed.as_slice(), last.as_slice()] {
            if !self.swap_in(bucket, &present, day, group)? {
                return Ok(None);
            }
        }
        let outcome = self.record(&present, changed.is_empty() && last.is_none(), receipt)?;
        Ok((!self.is_overruled(&present, day)?).then_some(outcome))
    }

    /// Whether it was decided since the day was looked at that less of it may stay.
    fn is_overruled(&self, present: &Present, day: Day) -> Result<bool> {
        Ok(self.forgotten()? != present.forgotten || self.records().day(day)?.is_expired())
    }

    /// Swaps files in, some at a time; `false` as soon as one slot is found changed.
    fn swap_in(
        &self,
        bucket: &Bucket,
        present: &Present,
        day: Day,
        files: &[(usize, &LakePath, &FileEntry)],
    ) -> Result<bool> {
        let lost = AtomicBool::new(false);
        together(files, WRITERS, |(table, staged, file)| {
            if lost.load(Ordering::Relaxed) {
                return Ok(());
            }
            let part = LakePath::Part(file.table.clone(), day);
            let from = self.scratch.locate(staged)?;
            match bucket.swap(&from, &part, file.uuid, &present.expected(*table))? {
                Swap::Done => debug!(%part, rows = file.rows, "swapped in"),
                Swap::Lost => lost.store(true, Ordering::Relaxed),
            }
            Ok(())
        })?;
        Ok(!lost.into_inner())
    }

    /// The files to swap in with their tables, the table that is looked for first at the end.
    fn changed<'a>(&self, files: &'a [Built]) -> Vec<(usize, &'a LakePath, &'a FileEntry)> {
        let staged = |built: &'a Built| {
            let table = self.specs.iter().position(|spec| spec.name == built.entry.table)?;
            Some((table, built.staged.as_ref()?, &built.entry))
        };
        let mut changed: Vec<_> = files.iter().filter_map(staged).collect();
        // Stable, so the others keep their order.
        changed.sort_by_key(|(table, ..)| *table == table_of_ids(&self.specs));
        changed
    }

    /// The last step: from here on the day is committed.
    fn record(&self, present: &Present, same: bool, mut receipt: Receipt) -> Result<Outcome> {
        let unchanged = same && present.winner().is_some();
        if let Some(earlier) = present.winner().filter(|winner| winner.order() == receipt.order()) {
            // The same run says the same day once more, perhaps within the clock's grain: the later word counts.
            receipt.recorded_at = receipt.recorded_at.max(earlier.recorded_at + TimeDelta::microseconds(1));
        }
        let (day, observed_at) = (receipt.day, receipt.observed_at);
        let json = Record { receipts: vec![receipt.clone()], ..Record::default() }.to_json()?;
        let name = RecordName::receipt(day, observed_at, self.id, xxhash_rust::xxh3::xxh3_128(&json));
        self.records().append(self.id, Month::of(day), name, json)?;
        debug!(%day, unchanged, "recorded");
        Ok(if unchanged { Outcome::Unchanged(receipt) } else { Outcome::Published(receipt) })
    }
}

fn contended() -> Error {
    Error::later("other runs keep publishing the day").hint("let them end, then run again")
}
