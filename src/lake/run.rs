//! A run: what one command writes to a lake, from its beginning to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::Map;
use tempfile::TempDir;
use tracing::debug;

use super::assemble::TableSpec;
use super::forgotten::Forgotten;
use super::layout::{Dataset, LakePath, Month, RecordName, RunId};
use super::ledger::Record;
use super::local::{Disk, FailPoint, Lock};
use super::open::Lake;
use super::quarantine::Quarantine;
use super::receipt::{Anchor, DirtyMark, Receipt};
use super::records::Records;
use super::store::Store;
use crate::error::{Error, Result};
use crate::time::{Clock, Day, Timestamp};

/// How far the clocks that stamp what happens (phones, edges, agents' desktops) may be behind the one that says up to
/// when everything is known. A day that was active that shortly before it was fetched is fetched once more; then what
/// it knows has moved on.
const CLOCKS_APART: TimeDelta = TimeDelta::hours(1);

/// One run that writes to a lake. Its unfinished files are removed when it is dropped, or, on disk, by the next run
/// if the process dies.
#[derive(Debug)]
pub struct Run {
    pub(super) lake: Arc<Lake>,
    pub(super) id: RunId,
    pub(super) dataset: Dataset,
    pub(super) specs: Arc<[TableSpec]>,
    pub(super) clock: Clock,
    /// Where files are finished before they are swapped in: the lake's own disk, or a folder of this machine's.
    pub(super) scratch: Disk,
    _alive: Lock,
    _folder: Option<TempDir>,
}

impl Run {
    /// The caller holds the right to commit.
    pub(super) fn new(
        lake: Arc<Lake>,
        id: RunId,
        dataset: Dataset,
        specs: Arc<[TableSpec]>,
        clock: Clock,
    ) -> Result<Run> {
        let (scratch, folder) = match &lake.store {
            Store::Disk(disk) => (disk.clone(), None),
            Store::Bucket(_) => {
                let folder = tempfile::Builder::new().prefix("convlake-").tempdir().map_err(|e| {
                    Error::storage("cannot make a folder for unfinished files")
                        .source(e)
                        .hint("TMPDIR names where: it needs room for a few days of the lake")
                })?;
                (Disk::new(folder.path(), FailPoint::default()), Some(folder))
            }
        };
        scratch.create_folder(&LakePath::Staging(id))?;
        let alive = scratch.lock(&LakePath::StagingLock(id))?;
        Ok(Run { lake, id, dataset, specs, clock, scratch, _alive: alive, _folder: folder })
    }

    /// Its id.
    pub fn id(&self) -> RunId {
        self.id
    }

    /// The lake that it writes to.
    pub fn lake(&self) -> &Arc<Lake> {
        &self.lake
    }

    /// What is recorded about its dataset.
    pub(super) fn records(&self) -> &Records {
        self.lake.records(self.dataset)
    }

    /// What must not be in its files by now.
    pub(super) fn forgotten(&self) -> Result<Arc<Forgotten>> {
        match self.dataset {
            Dataset::Conversations => self.lake.forgotten(),
            _ => Ok(Arc::default()),
        }
    }

    /// A folder for files that nobody else looks at.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when a symbolic link is on the way.
    pub fn staging(&self) -> Result<PathBuf> {
        self.scratch.locate(&LakePath::Staging(self.id))
    }

    /// Where this run puts what it cannot read.
    pub fn quarantine(&self) -> Quarantine {
        self.lake.quarantine(self.id)
    }

    /// The generation of an observation of `days` that begins now, see [`Lake::next_generation`].
    ///
    /// # Errors
    /// Those of [`Lake::next_generation`].
    pub fn next_generation(&self, days: Option<&BTreeSet<Day>>) -> Result<u64> {
        self.lake.next_generation(self.dataset, days)
    }

    /// Records that days were seen to have changed, by the latest activity that was seen on each; only those that the
    /// lake holds without that activity, and that this run has not marked yet. Returns how many.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when it cannot be written.
    pub fn mark_dirty(&self, active: impl IntoIterator<Item = (Day, Timestamp)>, seen_at: Timestamp) -> Result<usize> {
        // Two slices may see the same days change at the same moment: the second finds them marked.
        let _committing = self.lake.committing()?;
        let (mut held, now) = (BTreeMap::new(), self.clock.now() + CLOCKS_APART);
        for (day, activity) in active {
            let entry = self.records().day(day)?;
            // What was fetched by a clock that is ahead says nothing about what it knows.
            let is_news = |r: &Receipt| r.asked_at() > now || r.knows_until() - CLOCKS_APART < activity;
            if !entry.is_marked_by(self.id) && entry.receipt.as_ref().is_some_and(is_news) {
                held.insert(day, (entry.era(), entry.generation()));
            }
        }
        self.mark(&held, seen_at)?;
        Ok(held.len())
    }

    /// Records a mark for each of `days`, of which an era and a generation are known. It is one above: an observation that
    /// has begun by now and is not published yet may not have seen what the mark says.
    pub(super) fn mark(&self, days: &BTreeMap<Day, (u32, u64)>, seen_at: Timestamp) -> Result<()> {
        let mut months: BTreeMap<Month, Vec<DirtyMark>> = BTreeMap::new();
        for (&day, &(era, generation)) in days {
            let generation = Some(generation.saturating_add(1));
            let mark = DirtyMark { day, era, generation, seen_at, run: self.id, other: Map::new() };
            months.entry(Month::of(day)).or_default().push(mark);
        }
        for (month, dirty) in months {
            let json = Record { dirty, ..Record::default() }.to_json()?;
            let name = RecordName::dirty(seen_at, self.id, xxhash_rust::xxh3::xxh3_128(&json));
            self.records().append(self.id, month, name, json)?;
        }
        Ok(())
    }

    /// Records that `sync` keeps the lake's days from `day` on; in a lake that nothing was published to, with the first
    /// day that is.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when it cannot be written.
    pub fn set_anchor(&self, day: Day) -> Result<()> {
        self.lake.note_anchor(Anchor { day, set_at: self.clock.now(), run: self.id, other: Map::new() })
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Err(e) = self.scratch.remove_folder(&LakePath::Staging(self.id)) {
            debug!(cause = %e, "left unfinished files to the next run");
        }
    }
}
