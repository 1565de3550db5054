//! Conversations go, on purpose and for good: out of every day that holds them, with all their children, and out of
//! quarantine; and they do not come back.
//!
//! What is to be forgotten is recorded first, then every day is looked at. Whoever publishes a day at that time leaves
//! the conversations out, as `transaction` tells. One gap is left in a bucket, where a run may die between its
//! receipt and its last look: so days that a run is about to publish are marked, and fetched again.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, PoisonError};

use tracing::info;
use uuid::Uuid;

use super::assemble::{SortedTable, TableSpec};
use super::encode::Label;
use super::forgotten::mentions;
use super::layout::{LakePath, TableName};
use super::open::Lake;
use super::order::Order;
use super::present::{Present, table_of_ids};
use super::publish::Outcome;
use super::quarantine::kept::{Kept, records};
use super::receipt::{FileEntry, Receipt, id_hash};
use super::run::Run;
use super::store::{Object, Store};
use super::stored::{self, Stored};
use super::transaction::{Built, Step};
use super::{encode, slot};
use crate::error::{Context, Error, Result};
use crate::time::Day;

/// Days that are worked on at the same time; each may have one table in memory whole.
const WORKERS: usize = 4;
/// How often a day is tried: another run that was publishing it may be done when all the others are.
const PASSES: usize = 2;

/// What was forgotten, in numbers only.
#[derive(Debug, Default)]
pub struct Forgot {
    /// Ids that the lake was not told before.
    pub new: u64,
    /// Conversations that were in the lake.
    pub conversations: u64,
    /// The days that were written anew.
    pub days: BTreeSet<Day>,
    /// Records of quarantine.
    pub records: u64,
    /// Refused responses.
    pub responses: u64,
    /// Days that other runs were publishing at the time, marked to be fetched again.
    pub marked: u64,
    /// Why days could not be written anew, or not be looked at.
    pub failed: Vec<Error>,
}

/// What is looked for.
struct Search<'a> {
    run: &'a Run,
    ids: &'a HashSet<String>,
    /// As receipts list what vanished.
    hashes: HashSet<String>,
    /// Days that some run has a claim to.
    claimed: BTreeSet<Day>,
    dry_run: bool,
}

impl Run {
    /// Forgets the conversations `ids`. Repeating it after a crash completes it. Blocks; not on one of rayon's threads.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`], [`crate::error::Kind::Later`]. What concerns one day is in [`Forgot::failed`].
    pub fn forget(&self, ids: &HashSet<String>, dry_run: bool) -> Result<Forgot> {
        let mut done = Forgot::default();
        if !dry_run {
            let _committing = self.lake.committing()?;
            done.new = self.lake.forgetting.add(self.id, self.clock.now(), ids.iter().map(String::as_str))? as u64;
        }
        // Who is not seen here begins to publish later, and knows what to leave out.
        let claimed = match self.lake.store {
            // There runs have a lock. What a merge left that died is no claim.
            Store::Disk(_) => BTreeSet::new(),
            Store::Bucket(_) => self.lake.claimed(self.dataset)?,
        };
        if !dry_run {
            let marks = claimed.iter().map(|day| {
                let entry = self.records().day(*day)?;
                let claims = self.lake.claims(self.dataset, *day)?;
                let generation = claims.iter().map(Order::generation).fold(entry.generation(), u64::max);
                Ok((*day, (entry.era(), generation)))
            });
            self.mark(&marks.collect::<Result<_>>()?, self.clock.now())?;
            done.marked = claimed.len() as u64;
        }
        let hashes = ids.iter().map(|id| encode::hex(id_hash(id))).collect();
        let search = Search { run: self, ids, hashes, claimed, dry_run };
        let mut days = self.days()?;
        for _ in 0..PASSES {
            done.failed.clear();
            let mut failed = Vec::new();
            for (day, outcome) in search.days(&days)? {
                match outcome.context(|| format!("day {day}")) {
                    Ok(None) => {}
                    Ok(Some(conversations)) => {
                        done.conversations += conversations;
                        done.days.insert(day);
                    }
                    Err(error) => {
                        failed.push(day);
                        done.failed.push(error);
                    }
                }
            }
            days = failed;
        }
        (done.records, done.responses) = search.quarantine()?;
        if !dry_run {
            self.records().forget(self.id, &search.hashes)?;
            let now = self.clock.now();
            self.mark_dirty(days.into_iter().map(|day| (day, now)), now)?;
        }
        Ok(done)
    }

    /// Every day of which anything may be stored.
    fn days(&self) -> Result<Vec<Day>> {
        let mut days: BTreeSet<Day> = self.records().all()?.days().map(|(day, _)| *day).collect();
        for spec in self.specs.iter() {
            let names = self.lake.store.list(&LakePath::Table(spec.name.clone()))?;
            days.extend(names.iter().filter_map(|name| match LakePath::parse(&format!("{}/{name}", spec.name)) {
                Some(LakePath::Partition(_, day)) => Some(day),
                _ => None,
            }));
        }
        Ok(days.into_iter().collect())
    }

    /// The receipt of a day that is what `winner` said, but for `files`, which are of the state `order`.
    pub(super) fn amended(&self, winner: &Receipt, order: Order, files: &[Built]) -> Receipt {
        let files = files.iter().map(|file| file.entry.clone()).collect();
        Receipt { recorded_at: self.clock.now(), files, ..winner.clone() }.ordered(order)
    }

    /// Reads the file `uuid` of a table, but for the conversations that may not stay.
    pub(super) fn read_stored(
        &self,
        day: Day,
        uuid: Uuid,
        spec: &TableSpec,
        stays: impl Fn(&str) -> bool,
    ) -> Result<Stored> {
        let place = LakePath::Part(spec.name.clone(), day);
        let read = stored::read(self.lake.part(&spec.name, day)?, uuid, spec, stays);
        read.map_err(|e| unreadable(&place).source(e))?.ok_or_else(|| replaced(&place))
    }
}

impl Lake {
    /// Opens the file of a day that was there a moment ago.
    pub(super) fn part(&self, table: &TableName, day: Day) -> Result<Object> {
        let place = LakePath::Part(table.clone(), day);
        self.store.open(&place)?.ok_or_else(|| replaced(&place))
    }
}

impl Search<'_> {
    /// Looks through days, some at a time.
    fn days(&self, days: &[Day]) -> Result<Vec<(Day, Result<Option<u64>>)>> {
        let waiting = Mutex::new(days.iter().copied());
        let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || std::iter::from_fn(next).map(|day| (day, self.day(day))).collect::<Vec<_>>();
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..WORKERS.min(days.len())).map(|_| scope.spawn(work)).collect();
            let done: Result<Vec<_>> =
                workers.into_iter().map(|worker| worker.join().map_err(|_| Error::bug("a worker died"))).collect();
            Ok(done?.into_iter().flatten().collect())
        })
    }

    /// Takes the conversations out of a day; how many that were, or `None` when it knows of none.
    fn day(&self, day: Day) -> Result<Option<u64>> {
        let mut found = None;
        let outcome = self.run.transact(day, None, |present| {
            let (step, conversations) = self.prepare(day, present)?;
            found = conversations;
            Ok(step)
        })?;
        if let Outcome::Published(_) | Outcome::Unchanged(_) = outcome {
            info!(%day, conversations = found, "forgotten");
        }
        Ok(found)
    }

    fn prepare(&self, day: Day, present: &Present) -> Result<(Step, Option<u64>)> {
        let specs = &self.run.specs;
        let Some(winner) = present.winner().filter(|_| present.is_amended(specs)) else {
            return self.refuse_uncommitted(day, present);
        };
        let ids = table_of_ids(specs);
        let held = match present.label(ids) {
            Some(label) => self.held(day, &specs[ids].name, label.uuid)?,
            None => 0,
        };
        let listed = winner.vanished.iter().filter(|hash| self.hashes.contains(*hash)).count() as u64;
        let same = held == 0 && present.is_committed(specs);
        if same && listed == 0 {
            return Ok((Step::nothing(), None));
        }
        if self.dry_run {
            return Ok((Step::nothing(), Some(held)));
        }
        let order = present.successor(winner, self.run.id);
        let (mut files, mut gone) = (Vec::new(), 0);
        for (table, spec) in specs.iter().enumerate() {
            let Some((entry, label)) = present.origin(table, spec) else { continue };
            let file = if same { kept(entry) } else { self.rewritten(present, table, order, (entry, label))? };
            gone += if table == ids { entry.rows.saturating_sub(file.entry.rows) } else { 0 };
            files.push(file);
        }
        let mut receipt = self.run.amended(winner, order, &files);
        receipt.vanished.retain(|hash| !self.hashes.contains(hash));
        let counts = &mut receipt.counts;
        counts.vanished = counts.vanished.saturating_sub(listed);
        counts.records = counts.records.saturating_sub(gone);
        counts.conversations = counts.conversations.saturating_sub(gone);
        counts.forgotten += gone;
        Ok((Step::Commit(files, receipt), Some(gone)))
    }

    /// A day that is not what its receipt says is absent to the lake, yet a reader sees its files.
    fn refuse_uncommitted(&self, day: Day, present: &Present) -> Result<(Step, Option<u64>)> {
        if present.winner().is_some_and(Receipt::is_expired) {
            if !self.dry_run {
                self.run.clear(day, present)?;
            }
            return Ok((Step::nothing(), None));
        }
        if self.claimed.contains(&day) {
            // Whoever publishes it finds out what to leave out; if nobody lives, the day is fetched again.
            return Ok((Step::nothing(), None));
        }
        for (table, spec) in self.run.specs.iter().enumerate() {
            if let Some(label) = present.label(table)
                && self.held(day, &spec.name, label.uuid)? > 0
            {
                return Err(Error::data("its files are of a run that did not end, and hold such a conversation")
                    .hint("export the day again: that leaves the conversation out"));
            }
        }
        Ok((Step::nothing(), None))
    }

    /// How many rows of the file `uuid` are of the conversations.
    fn held(&self, day: Day, table: &TableName, uuid: Uuid) -> Result<u64> {
        let place = LakePath::Part(table.clone(), day);
        let open = || self.run.lake.part(table, day);
        if !stored::may_hold(open()?, self.ids).map_err(|e| unreadable(&place).source(e))? {
            return Ok(0);
        }
        let wanted = |id: &str| self.ids.contains(id).then_some(());
        let found = slot::read_ids(open()?, uuid, wanted).map_err(|e| unreadable(&place).source(e))?;
        Ok(found.ok_or_else(|| replaced(&place))?.len() as u64)
    }

    /// One table without the conversations; the file of the receipt when that holds none.
    fn rewritten(
        &self,
        present: &Present,
        table: usize,
        order: Order,
        (entry, found): (&FileEntry, &Label),
    ) -> Result<Built> {
        let run = self.run;
        let stays = |id: &str| !self.ids.contains(id) && !present.forgotten.contains(id);
        let stored = run.read_stored(found.day, found.uuid, &run.specs[table], stays)?;
        if stored.left_out == 0 && found.uuid == entry.uuid {
            return Ok(kept(entry));
        }
        let label = Label { of: Some(entry.uuid), ..run.label(found.day, order, found.observed_at) };
        run.build(present, table, &SortedTable::of(&stored.spec, &stored.rows), label)
    }

    /// Takes out of quarantine what names the conversations: records, and responses.
    fn quarantine(&self) -> Result<(u64, u64)> {
        let lake = &self.run.lake;
        let forgotten = lake.forgotten()?;
        let is_one = |piece: &[u8]| std::str::from_utf8(piece).is_ok_and(|id| self.ids.contains(id));
        let names_one = |raw: &[u8]| mentions(raw, is_one) || forgotten.mentioned_in(raw);
        let (mut lost, mut responses) = (0, 0);
        let quarantine = self.run.quarantine();
        for file in lake.quarantined()? {
            let Some(content) = lake.store.read(&file.place())? else { continue };
            match file {
                Kept::Records(..) => {
                    let (going, staying): (Vec<_>, Vec<_>) = records(&content).into_iter().partition(|record| {
                        let raw = record.said.as_ref().and_then(|said| said.raw());
                        names_one(&record.line) || raw.is_some_and(|raw| names_one(&raw))
                    });
                    lost += going.len() as u64;
                    if !going.is_empty() && !self.dry_run {
                        let lines = staying.iter().flat_map(|record| record.line.iter().copied().chain([b'\n']));
                        quarantine.replace(&file.place(), lines.collect())?;
                    }
                }
                Kept::Response(..) if names_one(&content) => {
                    responses += 1;
                    if !self.dry_run {
                        lake.store.remove_all(&[file.place()])?;
                    }
                }
                Kept::Response(..) => {}
            }
        }
        Ok((lost, responses))
    }
}

/// The file that is there.
fn kept(entry: &FileEntry) -> Built {
    Built { entry: entry.clone(), staged: None }
}

/// The error of a published file that cannot be read.
pub(super) fn unreadable(place: &LakePath) -> Error {
    Error::storage(format!("cannot read `{place}`")).hint("export the day again: that writes its files anew")
}

/// The error of a published file that is another one by now.
pub(super) fn replaced(place: &LakePath) -> Error {
    Error::later(format!("`{place}` was replaced meanwhile")).hint("run again")
}

#[cfg(test)]
mod tests;
