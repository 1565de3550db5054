//! A lake on local disk, opened; and a run that writes to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Map;
use tracing::{debug, info};
use uuid::Uuid;

use super::assemble::TableSpec;
use super::identity::{Identity, LakeFile};
use super::layout::{LakePath, Month, RecordName, RunId};
use super::ledger::{Ledger, Record};
use super::local::{Disk, FailPoint, Lock};
use super::quarantine::Quarantine;
use super::receipt::DirtyMark;
use super::records::Records;
use crate::error::{Error, Result};
use crate::time::{Clock, Day, Timestamp};

/// Names that may stand beside a new lake: what file systems and desktops leave in every folder begins with a dot.
const NOT_FOREIGN: [&str; 2] = ["_convlake", "lost+found"];

/// An open lake.
#[derive(Debug)]
pub struct Lake {
    pub(super) disk: Disk,
    pub(super) records: Records,
    file: LakeFile,
    /// Orders the commits of this process; the lock file orders those of all processes.
    committing: Mutex<()>,
}

/// Holds the right to commit.
pub(super) struct Committing<'a> {
    _process: MutexGuard<'a, ()>,
    _lock: Lock,
}

impl Lake {
    /// Opens the lake in `root` for writing, or makes one there.
    ///
    /// # Errors
    /// [`crate::error::Kind::Config`] when the lake has another identity or a later format, or when the folder holds
    /// other things than a lake; [`crate::error::Kind::Storage`] when it cannot be written.
    pub fn open(root: &Path, identity: &Identity) -> Result<Arc<Lake>> {
        Lake::open_with(root, identity, FailPoint::default())
    }

    /// Like [`Lake::open`], with a fail point for tests of crashes.
    pub(super) fn open_with(root: &Path, identity: &Identity, faults: FailPoint) -> Result<Arc<Lake>> {
        let disk = Disk::new(root, faults);
        // Whatever is refused is refused before the first byte is written.
        match read_identity(&disk)? {
            Some(file) => identity.check(&file.identity)?,
            None => refuse_foreign(&disk)?,
        }
        disk.create_root()?;
        disk.create_folder(&LakePath::StagingFolder)?;
        let lock = disk.lock(&LakePath::Lock)?;
        let file = match read_identity(&disk)? {
            Some(file) => {
                // Another run may have made the lake meanwhile.
                identity.check(&file.identity)?;
                test_writing(&disk)?;
                file
            }
            None => create_identity(&disk, identity)?,
        };
        collect_dead_runs(&disk)?;
        drop(lock);
        Ok(Arc::new(Lake { records: Records::new(disk.clone()), disk, file, committing: Mutex::default() }))
    }

    /// Opens the lake in `root` for reading; nothing is written.
    ///
    /// # Errors
    /// [`crate::error::Kind::Config`] when there is no lake, or one of a later format.
    pub fn open_existing(root: &Path) -> Result<Arc<Lake>> {
        let disk = Disk::new(root, FailPoint::default());
        let file = read_identity(&disk)?.ok_or_else(|| {
            Error::config(format!("`{}` is not a lake", root.display()))
                .hint("name the folder that an export wrote to: it holds `_convlake/lake.json`")
        })?;
        Ok(Arc::new(Lake { records: Records::new(disk.clone()), disk, file, committing: Mutex::default() }))
    }

    /// The folder of the lake.
    pub fn root(&self) -> &Path {
        self.disk.root()
    }

    /// The lake's own id.
    pub fn id(&self) -> Uuid {
        self.file.lake
    }

    /// What the lake holds.
    pub fn identity(&self) -> &Identity {
        &self.file.identity
    }

    /// Checks the organization that the source says it is against the lake's, and notes it there the first time.
    ///
    /// # Errors
    /// [`crate::error::Kind::Config`] when the lake is of another one; [`crate::error::Kind::Storage`].
    pub fn identify(&self, organization: &str) -> Result<()> {
        let _committing = self.committing()?;
        let mut file = read_identity(&self.disk)?.unwrap_or_else(|| self.file.clone());
        let known = Identity { organization: Some(organization.to_owned()), ..file.identity.clone() };
        known.check(&file.identity)?;
        if file.identity.organization.is_none() {
            file.identity = known;
            write_identity(&self.disk, &file)?;
        }
        Ok(())
    }

    /// All that is recorded by now.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when it cannot be read.
    pub fn ledger(&self) -> Result<Ledger> {
        self.records.all()
    }

    /// Where the file of one day of a table is, or would be.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when a symbolic link is on the way.
    pub fn path(&self, place: &LakePath) -> Result<PathBuf> {
        self.disk.locate(place)
    }

    /// Begins to write `specs` as `id`, which no other run ever used.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when the run's folder cannot be made.
    pub fn begin(self: &Arc<Self>, id: RunId, specs: Arc<[TableSpec]>, clock: Clock) -> Result<Run> {
        // Under the lock nobody collects the folder between its making and the taking of its lock.
        let committing = self.committing()?;
        self.disk.create_folder(&LakePath::Staging(id))?;
        let alive = self.disk.lock(&LakePath::StagingLock(id))?;
        self.records.merge_long_months(id)?;
        drop(committing);
        debug!(run = %id, lake = %self.id(), "begun");
        Ok(Run { lake: Arc::clone(self), id, specs, clock, _alive: alive })
    }

    /// Waits for the right to commit.
    pub(super) fn committing(&self) -> Result<Committing<'_>> {
        // Whoever panicked while holding it left at most what a crash leaves, and that is always repaired.
        let process = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Committing { _process: process, _lock: self.disk.lock(&LakePath::Lock)? })
    }
}

/// One run that writes to a lake. Its unfinished files are removed when it is dropped, or by the next run if the
/// process dies.
#[derive(Debug)]
pub struct Run {
    pub(super) lake: Arc<Lake>,
    pub(super) id: RunId,
    pub(super) specs: Arc<[TableSpec]>,
    pub(super) clock: Clock,
    _alive: Lock,
}

impl Run {
    /// Its id.
    pub fn id(&self) -> RunId {
        self.id
    }

    /// The lake that it writes to.
    pub fn lake(&self) -> &Arc<Lake> {
        &self.lake
    }

    /// A folder for files that nobody else looks at, on the lake's file system.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when a symbolic link is on the way.
    pub fn staging(&self) -> Result<PathBuf> {
        self.lake.disk.locate(&LakePath::Staging(self.id))
    }

    /// Where this run puts what it cannot read.
    pub fn quarantine(&self) -> Quarantine {
        Quarantine::new(self.lake.disk.clone(), self.id)
    }

    /// Records that `days` were seen to have changed; only those that the lake holds, and that are not marked yet.
    /// Returns how many.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when it cannot be written.
    pub fn mark_dirty(&self, days: impl IntoIterator<Item = Day>, seen_at: Timestamp) -> Result<usize> {
        // Two slices may see the same days change at the same moment: the second finds them marked.
        let _committing = self.lake.committing()?;
        let mut months: BTreeMap<Month, Vec<DirtyMark>> = BTreeMap::new();
        for day in days {
            let entry = self.lake.records.day(day)?;
            if !entry.is_dirty() && entry.receipt.is_some_and(|r| r.observed_at < seen_at) {
                let mark = DirtyMark { day, seen_at, run: self.id, other: Map::new() };
                months.entry(Month::of(day)).or_default().push(mark);
            }
        }
        let mut count = 0;
        for (month, mut dirty) in months {
            dirty.sort_by_key(|mark| mark.day);
            dirty.dedup_by_key(|mark| mark.day);
            count += dirty.len();
            let json = Record { receipts: Vec::new(), dirty }.to_json()?;
            let name = RecordName::dirty(seen_at, self.id, xxhash_rust::xxh3::xxh3_128(&json));
            self.lake.records.append(self.id, month, name, &json)?;
        }
        Ok(count)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Err(e) = self.lake.disk.remove_folder(&LakePath::Staging(self.id)) {
            debug!(cause = %e, "left unfinished files to the next run");
        }
    }
}

fn read_identity(disk: &Disk) -> Result<Option<LakeFile>> {
    disk.read(&LakePath::Identity)?.map(|text| LakeFile::from_json(&text)).transpose()
}

fn create_identity(disk: &Disk, identity: &Identity) -> Result<LakeFile> {
    let file = LakeFile::new(identity.clone());
    write_identity(disk, &file)?;
    info!(lake = %file.lake, root = %disk.root().display(), "made a lake");
    Ok(file)
}

fn write_identity(disk: &Disk, file: &LakeFile) -> Result<()> {
    disk.write(&LakePath::StagedIdentity, &file.to_json()?)?;
    disk.rename(&LakePath::StagedIdentity, &LakePath::Identity)?;
    disk.sync_folder(&LakePath::Control)
}

/// Finds a full or read-only disk before the first call to the source.
fn test_writing(disk: &Disk) -> Result<()> {
    disk.write(&LakePath::StagedIdentity, b"{}\n")?;
    disk.remove(&LakePath::StagedIdentity)
}

fn refuse_foreign(disk: &Disk) -> Result<()> {
    let names = disk.list_root()?;
    let Some(foreign) = names.iter().find(|name| !name.starts_with('.') && !NOT_FOREIGN.contains(&name.as_str()))
    else {
        return Ok(());
    };
    Err(Error::config(format!("`{}` is not a lake and not empty: it holds `{foreign}`", disk.root().display()))
        .hint("export to an empty folder or to one that does not exist yet"))
}

/// Removes the unfinished files of runs that no longer live. The caller holds the lake's lock.
fn collect_dead_runs(disk: &Disk) -> Result<()> {
    for name in disk.list(&LakePath::StagingFolder)? {
        let Some(run) = RunId::parse(&name) else { continue };
        if !disk.is_locked(&LakePath::StagingLock(run))? {
            info!(%run, "removed the unfinished files of a run that ended early");
            disk.remove_folder(&LakePath::Staging(run))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::lake::testing::{at, day, identity, run_id, specs};

    fn begin(lake: &Arc<Lake>, run: u128) -> Run {
        lake.begin(run_id(run), specs(1).into(), Clock::starting_at(at("2025-02-01T00:00:00Z"))).unwrap()
    }

    #[test]
    fn a_lake_is_made_once_and_found_again() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("new/lake");
        let made = Lake::open(&root, &identity()).unwrap();
        assert_eq!(Lake::open(&root, &identity()).unwrap().id(), made.id());
        let read = Lake::open_existing(&root).unwrap();
        assert_eq!((read.id(), read.identity()), (made.id(), &identity()));
        assert_eq!(read.ledger().unwrap(), Ledger::default());
    }

    #[test]
    fn another_identity_and_a_folder_with_other_things_are_refused_untouched() {
        let temp = tempfile::tempdir().unwrap();
        let other = Identity { source: "elsewhere".to_owned(), ..identity() };
        Lake::open(&temp.path().join("lake"), &identity()).unwrap();
        let refused = Lake::open(&temp.path().join("lake"), &other).unwrap_err();
        assert_eq!(refused.kind(), Kind::Config);
        let refused = Lake::open(temp.path(), &identity()).unwrap_err();
        assert_eq!(refused.kind(), Kind::Config);
        assert!(refused.to_string().contains("it holds `lake`"), "{refused}");
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);
        assert_eq!(Lake::open_existing(temp.path()).unwrap_err().kind(), Kind::Config);
    }

    #[test]
    fn the_organization_is_noted_once_and_then_has_to_be_the_same() {
        let temp = tempfile::tempdir().unwrap();
        let lake = Lake::open(temp.path(), &identity()).unwrap();
        lake.identify("a").unwrap();
        lake.identify("a").unwrap();
        let again = Lake::open(temp.path(), &identity()).unwrap();
        assert_eq!(again.identity().organization.as_deref(), Some("a"));
        let refused = again.identify("b").unwrap_err();
        assert_eq!(refused.kind(), Kind::Config);
        assert!(refused.to_string().contains("\"a\"") && refused.to_string().contains("\"b\""), "{refused}");
    }

    #[test]
    fn a_lake_that_was_hardly_begun_is_made() {
        for operations in 0.. {
            let temp = tempfile::tempdir().unwrap();
            let root = temp.path().join("lake");
            let done = Lake::open_with(&root, &identity(), FailPoint::after(operations)).is_ok();
            Lake::open(&root, &identity()).unwrap();
            if done {
                assert!(operations > 5);
                return;
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_dead_run_is_collected_and_a_living_one_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let lake = Lake::open(temp.path(), &identity()).unwrap();
        let (dead, alive) = (LakePath::Staging(run_id(1)), begin(&lake, 2));
        lake.disk.create_folder(&dead).unwrap();
        lake.disk.write(&LakePath::StagingLock(run_id(1)), b"").unwrap();
        Lake::open(temp.path(), &identity()).unwrap();
        assert_eq!(lake.disk.list(&LakePath::StagingFolder).unwrap(), [run_id(2).to_string()]);
        drop(alive);
        assert!(lake.disk.list(&LakePath::StagingFolder).unwrap().is_empty());
    }

    #[test]
    fn a_day_that_two_threads_mark_at_once_is_marked_once() {
        let temp = tempfile::tempdir().unwrap();
        let lake = Lake::open(temp.path(), &identity()).unwrap();
        let run = begin(&lake, 2);
        let receipt = crate::lake::testing::receipt("2025-01-01", "2025-01-02T00:00:00Z", 1);
        let json = Record { receipts: vec![receipt], dirty: Vec::new() }.to_json().unwrap();
        lake.records.append(run.id(), Month::of(day("2025-01-01")), RecordName::merged(1), &json).unwrap();
        let mark = || run.mark_dirty([day("2025-01-01")], at("2025-01-03T00:00:00Z")).unwrap();
        let marked: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(mark)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(marked, 1);
    }

    #[test]
    fn only_days_that_the_lake_holds_are_marked_and_only_once() {
        let temp = tempfile::tempdir().unwrap();
        let lake = Lake::open(temp.path(), &identity()).unwrap();
        let run = begin(&lake, 2);
        let receipt = crate::lake::testing::receipt("2025-01-01", "2025-01-02T00:00:00Z", 1);
        let json = Record { receipts: vec![receipt], dirty: Vec::new() }.to_json().unwrap();
        let (month, name) = (Month::of(day("2025-01-01")), RecordName::merged(1));
        lake.records.append(run.id(), month, name, &json).unwrap();
        let days = [day("2025-01-01"), day("2025-01-05")];
        assert_eq!(run.mark_dirty(days, at("2025-01-01T00:00:00Z")).unwrap(), 0, "seen before it was fetched");
        assert_eq!(run.mark_dirty(days, at("2025-01-03T00:00:00Z")).unwrap(), 1);
        assert_eq!(run.mark_dirty(days, at("2025-01-04T00:00:00Z")).unwrap(), 0);
        assert!(Lake::open_existing(temp.path()).unwrap().ledger().unwrap().day(day("2025-01-01")).unwrap().is_dirty());
    }
}
