//! A day's rows, encoded before it is decided whether they are published.
//!
//! What a day is depends on its records, on the part of it that is covered and on what is to be forgotten. While these
//! stay the same so does the draft, however often the day is looked at; and a day that its input has left behind
//! can be drafted while the rest is read, so that its rows need no memory.

use std::collections::HashSet;
use std::sync::Arc;

use super::assemble::assemble;
use super::build::Draft;
use super::day_rows::DayRows;
use super::forgotten::Forgotten;
use super::order::Order;
use super::present::table_of_ids;
use super::receipt::{Receipt, id_hash};
use super::run::Run;
use super::slot;
use super::stored::{self, Stored};
use super::versions::Rule;
use crate::error::{Error, Result};
use crate::flatten::batch::DayBatch;
use crate::time::{Day, Interval, Timestamp};

/// A day's tables as files in the run's scratch, and what was counted while they were made.
#[derive(Debug)]
pub struct Drafted {
    pub(super) files: Vec<Draft>,
    /// Records that were given, but for those that are to be forgotten.
    pub(super) records: u64,
    pub(super) conversations: u64,
    pub(super) duplicates: u64,
    pub(super) outside: u64,
    pub(super) forgotten: u64,
    day: Day,
    covers: Interval,
    /// What was left out.
    without: Arc<Forgotten>,
}

impl Drafted {
    /// Counts what was left out of the draft `before`, whose rows are in this one.
    pub(super) fn count_in(&mut self, before: &Drafted) {
        self.records += before.duplicates + before.outside;
        self.duplicates += before.duplicates;
        self.outside += before.outside;
        self.forgotten += before.forgotten;
    }

    /// Whether it holds what `receipt` says that the day does.
    pub(super) fn is_what(&self, receipt: &Receipt) -> bool {
        // A file without rows is as good as none.
        let drafted = self.files.iter().map(|draft| &draft.entry).filter(|file| file.rows > 0);
        let published = receipt.files.iter().filter(|file| file.rows > 0).count();
        self.covers == receipt.covers
            && drafted.clone().count() == published
            && drafted.clone().all(|file| receipt.file(&file.table).is_some_and(|other| other.is_same(file)))
    }

    /// Whether drafting the day again, with a file for a table without rows where `wants_files`, would give the same.
    pub(super) fn holds(&self, covers: &Interval, without: &Forgotten, wants_files: bool) -> bool {
        self.covers == *covers && *self.without == *without && !(wants_files && self.files.is_empty())
    }
}

impl Run {
    /// Encodes all of `day`, to be published later or put back into memory by [`Run::undraft`].
    ///
    /// # Errors
    /// Like [`Run::publish`].
    pub fn draft_day(&self, day: Day, rows: &DayRows, generation: u64, observed_at: Timestamp) -> Result<Drafted> {
        self.drafted(day, rows, day.interval(), self.forgotten()?, (generation, observed_at), false)
    }

    /// Makes the files of a draft durable, long before it is published, and reads them back.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`].
    pub fn secure(&self, mut drafted: Drafted) -> Result<Drafted> {
        self.secure_all(&mut drafted.files)?;
        Ok(drafted)
    }

    /// `wants_files`: also of a day without conversations.
    pub(super) fn drafted(
        &self,
        day: Day,
        rows: &DayRows,
        covers: Interval,
        without: Arc<Forgotten>,
        (generation, observed_at): (u64, Timestamp),
        wants_files: bool,
    ) -> Result<Drafted> {
        let order = Order::observed(generation, observed_at, self.id);
        let assembled = assemble(&self.specs, rows, &covers, &without, Rule::Position)?;
        let tables = if wants_files || assembled.conversations > 0 { assembled.tables.as_slice() } else { &[] };
        Ok(Drafted {
            files: self.draft_all(tables, || self.label(day, order, observed_at))?,
            records: assembled.records,
            conversations: assembled.conversations,
            duplicates: assembled.duplicates,
            outside: assembled.outside,
            forgotten: assembled.forgotten,
            day,
            covers,
            without,
        })
    }

    /// The rows of a draft. A record that is read later stands behind them.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when its files cannot be read.
    pub fn undraft(&self, drafted: &Drafted) -> Result<Vec<DayBatch>> {
        if drafted.files.is_empty() {
            return Ok(Vec::new());
        }
        let read = |draft: &Draft| -> Result<Stored> {
            let spec = self.specs.iter().find(|spec| spec.name == draft.entry.table);
            let spec = spec.ok_or_else(|| Error::bug("a draft of no table"))?;
            let file = self.scratch.open(&draft.staged)?.ok_or_else(|| lost(draft))?;
            let stored = stored::read(file, draft.label.uuid, spec, |_| true).map_err(|e| lost(draft).source(e))?;
            stored.and_then(|stored| stored.fit(spec)).ok_or_else(|| lost(draft))
        };
        let tables = drafted.files.iter().map(read).collect::<Result<Vec<_>>>()?;
        stored::batches(drafted.day, &tables, table_of_ids(&self.specs))
    }

    /// Removes the files of a draft.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`].
    pub fn discard_draft(&self, drafted: &Drafted) -> Result<()> {
        self.discard(&drafted.files)
    }

    /// Hashes of the conversations in a draft.
    pub(super) fn drafted_ids(&self, drafted: &Drafted) -> Result<HashSet<u128>> {
        let Some(draft) = drafted.files.get(table_of_ids(&self.specs)) else { return Ok(HashSet::new()) };
        let file = self.scratch.open(&draft.staged)?.ok_or_else(|| lost(draft))?;
        let ids = slot::read_ids(file, draft.label.uuid, |id| Some(id_hash(id))).map_err(|e| lost(draft).source(e))?;
        Ok(ids.ok_or_else(|| lost(draft))?.into_iter().collect())
    }
}

fn lost(draft: &Draft) -> Error {
    Error::storage(format!("`{}` is not what was written", draft.staged))
}
