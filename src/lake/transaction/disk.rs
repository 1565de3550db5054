//! Days are committed to a disk: together, under one hold of the lake's lock.
//!
//! ```text
//! swap in, day by day ─▶ sync every folder that has a new name ─▶ one record of receipts a month
//! ```
//! A receipt comes when everything that it names is durable, and a record with the receipts of many days is there or
//! not like any other file.

use std::collections::BTreeSet;

use tracing::debug;

use super::{Built, Change, Step, committed, following};
use crate::error::{Error, Result};
use crate::lake::layout::LakePath;
use crate::lake::local::Disk;
use crate::lake::open::Committing;
use crate::lake::present::Present;
use crate::lake::publish::Outcome;
use crate::lake::receipt::{DirtyMark, Receipt};
use crate::lake::run::Run;
use crate::lake::together::together;

/// How often a day is prepared without the lock, and again because another run published it meanwhile. After that it
/// is prepared under the lock: slower for the others, but it ends.
const FREE_ATTEMPTS: usize = 3;

/// A day on its way.
struct Pending<'a> {
    change: Change<'a>,
    outcome: Option<Result<Outcome>>,
}

/// A day that is prepared as it was `present`.
struct Prepared<'d, 'a> {
    pending: &'d mut Pending<'a>,
    present: Present,
    step: Step,
}

/// A day that is committed with its receipt.
struct Commit<'d, 'a> {
    pending: &'d mut Pending<'a>,
    present: Present,
    files: Vec<Built>,
    receipt: Receipt,
    mark: Option<DirtyMark>,
}

impl Run {
    pub(super) fn transact_on_disk(&self, disk: &Disk, changes: Vec<Change<'_>>) -> Vec<Result<Outcome>> {
        let mut days: Vec<_> = changes.into_iter().map(|change| Pending { change, outcome: None }).collect();
        let error = self.try_transact_on_disk(disk, &mut days).err().unwrap_or_else(|| {
            Error::storage("its files change under the lake's lock").hint(
                "something else than convlake writes to the lake, or its file system has no working locks: end it, run again",
            )
        });
        // Another run may have made it another lake since it was opened: then nothing that was found is to be believed.
        if let Err(error) = self.lake.agree() {
            return days.iter().map(|_| Err(error.clone())).collect();
        }
        days.into_iter().map(|day| day.outcome.unwrap_or_else(|| Err(error.clone()))).collect()
    }

    fn try_transact_on_disk(&self, disk: &Disk, days: &mut [Pending<'_>]) -> Result<()> {
        for attempt in 0..=FREE_ATTEMPTS {
            let held = (attempt == FREE_ATTEMPTS).then(|| self.lake.committing()).transpose()?;
            let mut prepared = Vec::new();
            for pending in days.iter_mut().filter(|day| day.outcome.is_none()) {
                let Change { day, prepare, .. } = &mut pending.change;
                let looked = Present::look(self, *day, false);
                match looked.and_then(|present| prepare(&present).map(|step| (present, step))) {
                    Ok((_, Step::End(outcome))) => pending.outcome = Some(Ok(outcome)),
                    Ok((present, step)) => prepared.push(Prepared { pending, present, step }),
                    Err(error) => pending.outcome = Some(Err(error)),
                }
            }
            if prepared.is_empty() {
                break;
            }
            let held = held.map_or_else(|| self.lake.committing(), Ok)?;
            self.commit_on_disk(disk, prepared, &held)?;
        }
        Ok(())
    }

    /// Leaves out days that are not as they were when they were prepared.
    fn commit_on_disk(&self, disk: &Disk, prepared: Vec<Prepared<'_, '_>>, held: &Committing<'_>) -> Result<()> {
        let mut commits = Vec::new();
        for Prepared { pending, present, step } in prepared {
            let day = pending.change.day;
            match (Present::look(self, day, false), step) {
                (Err(error), _) => pending.outcome = Some(Err(error)),
                (Ok(found), _) if found != present => debug!(%day, "another run published the day meanwhile"),
                (Ok(_), Step::End(outcome)) => pending.outcome = Some(Ok(outcome)),
                (Ok(_), Step::Shrunk(verdict)) => pending.outcome = Some(verdict),
                (Ok(_), Step::Commit(files, receipt)) => {
                    let (receipt, mark) = following(&present, receipt);
                    commits.push(Commit { pending, present, files, receipt, mark });
                }
            }
        }
        if !commits.is_empty() {
            self.lake.bind(held)?;
        }
        let mut folders = BTreeSet::new();
        for Commit { files, receipt, .. } in &commits {
            for (_, staged, file) in self.changed(files) {
                let table = LakePath::Table(file.table.clone());
                let partition = LakePath::Partition(file.table.clone(), receipt.day);
                let part = LakePath::Part(file.table.clone(), receipt.day);
                disk.create_folder(&table)?;
                disk.make_folder(&partition)?;
                disk.rename(staged, &part)?;
                debug!(%part, rows = file.rows, "swapped in");
                folders.extend([table, partition]);
            }
        }
        together(&Vec::from_iter(folders), |folder| disk.sync_folder(folder))?;
        self.record(commits.iter().map(|commit| (commit.receipt.clone(), commit.mark.clone())))?;
        for Commit { pending, present, files, receipt, .. } in commits {
            let same = files.iter().all(|file| file.staged.is_none());
            pending.outcome = Some(Ok(committed(&present, same, receipt)));
        }
        Ok(())
    }
}
