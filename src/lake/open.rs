//! A lake, opened.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::{debug, info};
use uuid::Uuid;

use super::assemble::TableSpec;
use super::binding::{Binding, read_identity};
use super::forgotten::{Forgetting, Forgotten};
use super::history::History;
use super::identity::{Identity, LakeFile};
use super::layout::{Dataset, LakePath, RunId};
use super::ledger::Ledger;
use super::local::{Disk, Lock};
use super::quarantine::Quarantine;
use super::records::Records;
use super::run::Run;
use super::store::Store;
use crate::error::{Error, Result};
use crate::flatten::schema::Columns;
use crate::time::{Clock, Day};

/// Names that may stand beside a new lake: what file systems and desktops leave in every folder begins with a dot.
const NOT_FOREIGN: [&str; 2] = ["_convlake", "lost+found"];

/// An open lake.
#[derive(Debug)]
pub struct Lake {
    pub(super) store: Store,
    /// One a dataset, in the order of [`Dataset::ALL`].
    records: [Records; Dataset::ALL.len()],
    pub(super) forgetting: Forgetting,
    /// What `lake.json` says, or is to say.
    file: LakeFile,
    pub(super) binding: Mutex<Binding>,
    /// Orders the commits of this process; the lock file orders those of all processes on a disk.
    committing: Mutex<()>,
}

/// Holds the right to commit; in a bucket only among the threads of this process.
pub(super) struct Committing<'a> {
    _process: MutexGuard<'a, ()>,
    _lock: Option<Lock>,
}

impl Lake {
    /// Opens the lake in `store` for writing. One that is not there yet is made with the first thing that stays in it.
    /// Blocks.
    ///
    /// # Errors
    /// [`crate::error::Kind::Config`] when the lake has another identity or a later format, when there are other
    /// things than a lake, or when the store cannot do what concurrent runs need;
    /// [`crate::error::Kind::Storage`] when it cannot be written.
    pub fn open(store: impl Into<Store>, identity: &Identity) -> Result<Arc<Lake>> {
        let store = store.into();
        // Whatever is refused is refused before the first byte is written.
        match read_identity(&store)? {
            Some((file, _)) => identity.check(&file.identity)?,
            None => refuse_foreign(&store)?,
        }
        match &store {
            Store::Disk(disk) => open_disk(disk)?,
            Store::Bucket(bucket) => bucket.probe()?,
        }
        // Another run may have made the lake meanwhile.
        let found = read_identity(&store)?.map(|(file, _)| file);
        found.iter().try_for_each(|file| identity.check(&file.identity))?;
        let format = found.as_ref().map(|file| file.format);
        Ok(Lake::new(store, found.unwrap_or_else(|| LakeFile::new(identity.clone())), format))
    }

    /// Opens the lake in `store` to change what it holds, whatever its identity. Blocks.
    ///
    /// # Errors
    /// Those of [`Lake::open`], and [`crate::error::Kind::Config`] when there is no lake.
    pub fn open_to_change(store: impl Into<Store>) -> Result<Arc<Lake>> {
        let store = store.into();
        let identity = existing(&store)?.identity;
        Lake::open(store, &identity)
    }

    /// Opens the lake in `store` for reading; nothing is written. Blocks.
    ///
    /// # Errors
    /// [`crate::error::Kind::Config`] when there is no lake, or one of a later format.
    pub fn open_existing(store: impl Into<Store>) -> Result<Arc<Lake>> {
        let store = store.into();
        Lake::find(store.clone())?.ok_or_else(|| no_lake(&store))
    }

    /// Like [`Lake::open_existing`]; `None` when there is no lake.
    ///
    /// # Errors
    /// [`crate::error::Kind::Config`] when it is of a later format; [`crate::error::Kind::Storage`].
    pub fn find(store: impl Into<Store>) -> Result<Option<Arc<Lake>>> {
        let store = store.into();
        let found = read_identity(&store)?;
        let open = |file: LakeFile| {
            let format = Some(file.format);
            Lake::new(store, file, format)
        };
        Ok(found.map(|(file, _)| open(file)))
    }

    fn new(store: Store, file: LakeFile, format: Option<u32>) -> Arc<Lake> {
        Arc::new(Lake {
            records: Dataset::ALL.map(|dataset| Records::new(store.clone(), dataset)),
            forgetting: Forgetting::new(store.clone()),
            store,
            file,
            binding: Mutex::new(Binding::new(format)),
            committing: Mutex::default(),
        })
    }

    /// Where its bytes are.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The lake's own id.
    pub fn id(&self) -> Uuid {
        self.file.lake
    }

    /// What the lake holds, or is to hold.
    pub fn identity(&self) -> &Identity {
        &self.file.identity
    }

    /// The columns of its files.
    pub fn columns(&self) -> Columns {
        self.file.columns()
    }

    /// What `lake.json` says, or is to say.
    pub(super) fn file(&self) -> &LakeFile {
        &self.file
    }

    /// All that is recorded about conversations by now.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when it cannot be read.
    pub fn ledger(&self) -> Result<Ledger> {
        self.ledger_of(Dataset::Conversations)
    }

    /// What is recorded about conversations of `days` by now: it takes fewer calls than all of it.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when it cannot be read.
    pub fn ledger_about(&self, days: impl Iterator<Item = Day>) -> Result<Ledger> {
        self.records(Dataset::Conversations).about(days)
    }

    /// All that is recorded about `dataset` by now.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when it cannot be read.
    pub fn ledger_of(&self, dataset: Dataset) -> Result<Ledger> {
        self.records(dataset).all()
    }

    /// What runs did to it.
    pub fn history(&self) -> History {
        History::new(self.store.clone())
    }

    /// The conversations that must not come back, as far as they are known by now.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when they cannot be read, [`crate::error::Kind::Config`] when a later version
    /// wrote them.
    pub fn forgotten(&self) -> Result<Arc<Forgotten>> {
        self.forgetting.known()
    }

    /// The records about `dataset`.
    pub(super) fn records(&self, dataset: Dataset) -> &Records {
        &self.records[dataset as usize]
    }

    /// Begins to write the tables `specs` of `dataset` as `id`, which no other run ever used.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when the run's folder of unfinished files cannot be made.
    pub fn begin(self: &Arc<Self>, id: RunId, dataset: Dataset, specs: Arc<[TableSpec]>, clock: Clock) -> Result<Run> {
        // Under the lock nobody collects the folder between its making and the taking of its lock.
        let committing = self.committing()?;
        let run = Run::new(Arc::clone(self), id, dataset, specs, clock)?;
        self.records(dataset).merge_long_months(id)?;
        drop(committing);
        debug!(run = %id, lake = %self.id(), "begun");
        Ok(run)
    }

    /// Where `run` puts what it cannot read, while it is alive.
    pub fn quarantine(self: &Arc<Self>, run: RunId) -> Quarantine {
        Quarantine::new(Arc::clone(self), run)
    }

    /// Waits for the right to commit.
    pub(super) fn committing(&self) -> Result<Committing<'_>> {
        // Whoever panicked while holding it left at most what a crash leaves, and that is always repaired.
        let process = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = match &self.store {
            Store::Disk(disk) => Some(disk.lock(&LakePath::Lock)?),
            Store::Bucket(_) => None,
        };
        Ok(Committing { _process: process, _lock: lock })
    }
}

fn open_disk(disk: &Disk) -> Result<()> {
    disk.create_root()?;
    disk.create_folder(&LakePath::StagingFolder)?;
    let _lock = disk.lock(&LakePath::Lock)?;
    test_writing(disk)?;
    collect_dead_runs(disk)
}

fn existing(store: &Store) -> Result<LakeFile> {
    read_identity(store)?.map(|(file, _)| file).ok_or_else(|| no_lake(store))
}

/// There is no `lake.json`.
fn no_lake(store: &Store) -> Error {
    match store.list(&LakePath::Control) {
        Ok(begun) if !begun.is_empty() => {
            Error::config(format!("`{store}` is not a lake yet: no run has published anything to it"))
                .hint("export to it again: the run that publishes its first day makes it a lake")
        }
        Ok(_) => Error::config(format!("`{store}` is not a lake"))
            .hint("name the folder or prefix that an export wrote to: it holds `_convlake/lake.json`"),
        Err(error) => error,
    }
}

/// Finds a full or read-only disk before the first call to the source.
fn test_writing(disk: &Disk) -> Result<()> {
    disk.write(&LakePath::StagedIdentity, b"{}\n")?;
    disk.remove(&LakePath::StagedIdentity)
}

fn refuse_foreign(store: &Store) -> Result<()> {
    let names = store.list_root()?;
    let Some(foreign) = names.iter().find(|name| !name.starts_with('.') && !NOT_FOREIGN.contains(&name.as_str()))
    else {
        return Ok(());
    };
    // The tables of a lake that another run has made meanwhile.
    if read_identity(store)?.is_some() {
        return Ok(());
    }
    Err(Error::config(format!("`{store}` is not a lake and not empty: it holds `{foreign}`"))
        .hint("export to an empty folder or prefix, or to one that does not exist yet"))
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
    use crate::lake::layout::{Month, RecordName};
    use crate::lake::ledger::Record;
    use crate::lake::local::FailPoint;
    use crate::lake::testing::{at, bind, day, identity, run_id, specs};

    fn begin(lake: &Arc<Lake>, run: u128) -> Run {
        lake.begin(run_id(run), Dataset::Conversations, specs(1).into(), Clock::starting_at(at("2025-02-01T00:00:00Z")))
            .unwrap()
    }

    #[test]
    fn a_lake_is_made_once_and_found_again() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("new/lake");
        let made = Lake::open(root.as_path(), &identity()).unwrap();
        let early = Lake::open_existing(root.as_path()).unwrap_err();
        assert!(early.to_string().contains("is not a lake yet"), "{early}");
        bind(&made).unwrap();
        assert_eq!(Lake::open(root.as_path(), &identity()).unwrap().id(), made.id());
        let read = Lake::open_existing(root.as_path()).unwrap();
        assert_eq!((read.id(), read.identity()), (made.id(), &identity()));
        assert_eq!(read.ledger().unwrap(), Ledger::default());
    }

    #[test]
    fn another_identity_and_a_folder_with_other_things_are_refused_untouched() {
        let temp = tempfile::tempdir().unwrap();
        let other = Identity { source: "elsewhere".to_owned(), ..identity() };
        bind(&Lake::open(temp.path().join("lake").as_path(), &identity()).unwrap()).unwrap();
        let refused = Lake::open(temp.path().join("lake").as_path(), &other).unwrap_err();
        assert_eq!(refused.kind(), Kind::Config);
        let refused = Lake::open(temp.path(), &identity()).unwrap_err();
        assert_eq!(refused.kind(), Kind::Config);
        assert!(refused.to_string().contains("it holds `lake`"), "{refused}");
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);
        assert_eq!(Lake::open_existing(temp.path()).unwrap_err().kind(), Kind::Config);
    }

    #[cfg(unix)]
    #[test]
    fn a_dead_run_is_collected_and_a_living_one_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let lake = Lake::open(temp.path(), &identity()).unwrap();
        let (dead, alive) = (LakePath::Staging(run_id(1)), begin(&lake, 2));
        let disk = Disk::new(temp.path(), FailPoint::default());
        disk.create_folder(&dead).unwrap();
        disk.write(&LakePath::StagingLock(run_id(1)), b"").unwrap();
        Lake::open(temp.path(), &identity()).unwrap();
        assert_eq!(disk.list(&LakePath::StagingFolder).unwrap(), [run_id(2).to_string()]);
        drop(alive);
        assert!(disk.list(&LakePath::StagingFolder).unwrap().is_empty());
    }

    #[test]
    fn a_day_that_two_threads_mark_at_once_is_marked_once() {
        let temp = tempfile::tempdir().unwrap();
        let lake = Lake::open(temp.path(), &identity()).unwrap();
        let run = begin(&lake, 2);
        let receipt = crate::lake::testing::receipt("2025-01-01", "2025-01-02T00:00:00Z", 1);
        let json = Record { receipts: vec![receipt], ..Record::default() }.to_json().unwrap();
        lake.records(Dataset::Conversations)
            .append(run.id(), Month::of(day("2025-01-01")), RecordName::merged(1), json)
            .unwrap();
        let active = [(day("2025-01-01"), at("2025-01-02T12:00:00Z"))];
        let mark = || run.mark_dirty(active, at("2025-01-03T00:00:00Z")).unwrap();
        let marked: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(mark)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(marked, 1);
    }

    #[test]
    fn the_anchor_only_moves_back() {
        let temp = tempfile::tempdir().unwrap();
        let lake = Lake::open(temp.path(), &identity()).unwrap();
        bind(&lake).unwrap();
        let run = begin(&lake, 2);
        for (set, counts) in [("2025-03-05", "2025-03-05"), ("2025-02-20", "2025-02-20"), ("2025-04-01", "2025-02-20")]
        {
            run.set_anchor(day(set)).unwrap();
            let again = Lake::open_existing(temp.path()).unwrap();
            assert_eq!(again.ledger().unwrap().anchor(), Some(day(counts)));
        }
    }

    #[test]
    fn only_days_that_the_lake_holds_are_marked_and_only_once() {
        let temp = tempfile::tempdir().unwrap();
        let lake = Lake::open(temp.path(), &identity()).unwrap();
        bind(&lake).unwrap();
        let run = begin(&lake, 2);
        let receipt = crate::lake::testing::receipt("2025-01-01", "2025-01-02T00:00:00Z", 1);
        let json = Record { receipts: vec![receipt], ..Record::default() }.to_json().unwrap();
        let (month, name) = (Month::of(day("2025-01-01")), RecordName::merged(1));
        lake.records(Dataset::Conversations).append(run.id(), month, name, json).unwrap();
        let days = ["2025-01-01", "2025-01-05"].map(|date| (day(date), at("2025-01-02T01:00:00Z")));
        let known = [(day("2025-01-01"), at("2025-01-01T23:00:00Z"))];
        assert_eq!(run.mark_dirty(known, at("2025-01-03T00:00:00Z")).unwrap(), 0, "what it holds already");
        assert_eq!(run.mark_dirty(days, at("2025-01-03T00:00:00Z")).unwrap(), 1);
        assert_eq!(run.mark_dirty(days, at("2025-01-04T00:00:00Z")).unwrap(), 0);
        assert!(Lake::open_existing(temp.path()).unwrap().ledger().unwrap().day(day("2025-01-01")).unwrap().is_dirty());
    }
}
