//! A day goes from what is stored of it to what was prepared, whole or not at all.
//!
//! ```text
//! look ─▶ prepare ─▶ look again ─▶ swap in, children first ─▶ receipt
//! ```
//! Before the first file of the first day, the lake is made what the run takes it for (`binding`).
//!
//! Until the receipt is durable the day is what it was, or *not committed*: a file that is not its receipt's is
//! treated as absent and written again by the next run. That is the whole of recovery.
//!
//! On disk the swap is made of renames under the lake's lock, after a look that finds the day unchanged. Days that are
//! ready at the same time are committed together, each still whole or not at all: what takes time is waiting for the
//! disk, and a disk takes many things at once.
//!
//! A bucket has no locks. There each slot is replaced only if it still holds the version that was looked at, and a
//! run that finds a newer one gives way. One thing would slip through: a file that a newer run *keeps*, because it
//! already holds what was observed, could be replaced by an older run that looked before. So a run lays down a claim
//! before it looks. Whoever sees a newer claim gives way; whoever sees an older one keeps no file, so that the older
//! run finds every slot changed. One of two runs always sees the other: each writes its claim before it lists them.
//! What is newer, the generation of the observation says, never a clock: see [`super::order`].
//!
//! A file alone makes nobody give way. It may be what a dead run left: then its claim was removed by whoever published
//! the day after it, or there is only one writer and no claim. Whoever finds a newer file without a claim or a receipt
//! looks once more. A run that lives has a claim or a receipt by then; if there is none, the file is replaced.
//!
//! What is built on the day's files ([`super::merge`]) cannot be observed anew by whoever finds a half-swapped day. So in
//! a bucket such a run replaces every slot, and one of them first and alone: of several only one gets further.
//!
//! What must be left out of a day may be decided while it is under way: conversations are forgotten, the day expires.
//! That is recorded before anything is removed, and whoever removes looks at every day after that. On disk it is part
//! of the look under the lock. In a bucket a run looks for it once more after its receipt, and prepares the day anew:
//! so either the one that removes saw what was committed, or the one that committed sees what was decided.

mod bucket;
mod disk;

use std::collections::BTreeMap;

use serde_json::Map;
use tracing::debug;

use super::layout::{LakePath, Month, RecordName};
use super::ledger::Record;
use super::order::Order;
use super::present::{Present, table_of_ids};
use super::publish::Outcome;
use super::receipt::{DirtyMark, FileEntry, Receipt};
use super::run::Run;
use super::store::Store;
use crate::error::{Error, Result};
use crate::time::Day;

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

/// Says what is to become of a day, from what is found of it; again if another run got in between.
pub(super) type Prepare<'a> = Box<dyn FnMut(&Present) -> Result<Step> + 'a>;

/// A day that is to be changed.
pub(super) struct Change<'a> {
    pub(super) day: Day,
    /// The state that is prepared. What takes rows out of the day that nobody may have has none of its own: whoever
    /// publishes the day meanwhile leaves the same rows out, and finds its slots changed.
    pub(super) order: Option<Order>,
    /// Whether it is made of what the day's files hold, which must not be lost halfway: in a bucket every slot is
    /// replaced, one of them first and alone. Who does not get that one has touched nothing.
    pub(super) builds_on: bool,
    pub(super) prepare: Prepare<'a>,
}

impl Run {
    /// Prepares days as they are found and commits them. What goes wrong with one of them is its own outcome; what
    /// goes wrong with the store is that of all that are not done.
    pub(super) fn transact_all(&self, changes: Vec<Change<'_>>) -> Vec<Result<Outcome>> {
        match &self.lake.store {
            Store::Disk(disk) => self.transact_on_disk(disk, changes),
            Store::Bucket(bucket) => {
                changes.into_iter().map(|change| self.transact_in_bucket(bucket, change)).collect()
            }
        }
    }

    /// One day.
    pub(super) fn transact(
        &self,
        day: Day,
        order: impl Into<Option<Order>>,
        prepare: impl FnMut(&Present) -> Result<Step>,
    ) -> Result<Outcome> {
        let change = Change { day, order: order.into(), builds_on: false, prepare: Box::new(prepare) };
        self.transact_all(vec![change]).pop().ok_or_else(|| Error::bug("a day has no outcome"))?
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

    /// The last step: from here on the days are committed.
    fn record(&self, receipts: impl IntoIterator<Item = (Receipt, Option<DirtyMark>)>) -> Result<()> {
        let mut months: BTreeMap<Month, Record> = BTreeMap::new();
        for (receipt, mark) in receipts {
            let record = months.entry(Month::of(receipt.day)).or_default();
            record.receipts.push(receipt);
            record.dirty.extend(mark);
        }
        for (month, record) in months {
            let Some(Receipt { day, observed_at, .. }) = record.receipts.first().cloned() else { continue };
            let (days, json) = (record.receipts.len(), record.to_json()?);
            let name = RecordName::receipt(day, observed_at, self.id, xxhash_rust::xxh3::xxh3_128(&json));
            self.records().append(self.id, month, name, json)?;
            debug!(%day, days, "recorded");
        }
        Ok(())
    }
}

/// The receipt that follows what is `present`, and what is to be said with it. A run that repairs a day has an older
/// observation than the one whose files are lost: it takes that one's place, and the day is fetched again.
fn following(present: &Present, mut receipt: Receipt) -> (Receipt, Option<DirtyMark>) {
    receipt.era = present.entry.era();
    let Some(newer) = present.winner().filter(|winner| winner.order() >= receipt.order()) else {
        return (receipt, None);
    };
    let order = present.successor(newer, receipt.run);
    let mark = (!order.is_of_same_observation(&receipt.order())).then(|| DirtyMark {
        day: receipt.day,
        era: receipt.era,
        generation: Some(order.generation().saturating_add(1)),
        seen_at: receipt.recorded_at,
        run: receipt.run,
        other: Map::new(),
    });
    (receipt.ordered(order), mark)
}

/// What a day came to that is recorded; `same` when no file was swapped in.
fn committed(present: &Present, same: bool, receipt: Receipt) -> Outcome {
    if same && present.winner().is_some() { Outcome::Unchanged(receipt) } else { Outcome::Published(receipt) }
}
