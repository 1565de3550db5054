//! The file operations of a lake on local disk: every byte that reaches it passes here.
//!
//! Durable means: the file is synced, then renamed into place, then its folder is synced. A failed sync is never
//! tried again: the kernel may have dropped the pages and would call the second one a success.
//!
//! Invariant: below the root nothing is followed through a symbolic link. The lake's folders belong to whoever runs
//! the export (mode 0750, `_convlake` 0700), so what was checked stays true until it is used.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use uuid::Uuid;

use super::layout::{LakePath, RunId};
use crate::error::{Error, Result};

/// Mode of data files and of their folders: the group may read.
const DATA_MODES: Modes = Modes { file: 0o640, folder: 0o750 };
/// Mode of everything below `_convlake`: raw records may be there.
const CONTROL_MODES: Modes = Modes { file: 0o600, folder: 0o700 };
/// How long another process may hold the lake's lock; a commit takes milliseconds.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(300);

#[derive(Clone, Copy)]
struct Modes {
    file: u32,
    folder: u32,
}

impl Modes {
    fn of(place: &str) -> Modes {
        if place.starts_with('_') { CONTROL_MODES } else { DATA_MODES }
    }
}

/// Stops the world after a number of file operations, as a crash would: every later one fails too. Off by default.
/// While it is on, syncs are counted but not done: the kernel outlives the crash of a process.
#[derive(Clone, Debug, Default)]
pub struct FailPoint(Option<Arc<AtomicU64>>);

impl FailPoint {
    /// Lets `operations` mutating operations through.
    pub fn after(operations: u64) -> FailPoint {
        FailPoint(Some(Arc::new(AtomicU64::new(operations))))
    }

    /// Lets every operation through, without syncs.
    #[cfg(test)]
    pub(super) fn never() -> FailPoint {
        FailPoint::after(u64::MAX)
    }

    fn step(&self) -> io::Result<()> {
        let Some(left) = &self.0 else { return Ok(()) };
        match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)) {
            Ok(_) => Ok(()),
            Err(_) => Err(io::Error::other("stopped by a fail point")),
        }
    }
}

/// A lake's root folder.
#[derive(Clone, Debug)]
pub struct Disk {
    root: PathBuf,
    faults: FailPoint,
}

impl Disk {
    /// The folder `root`, which may itself be a symbolic link and need not exist.
    pub fn new(root: &Path, faults: FailPoint) -> Disk {
        Disk { root: root.to_owned(), faults }
    }

    /// The root folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where `place` is, after making sure that no symbolic link is on the way.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when there is one.
    pub fn locate(&self, place: &LakePath) -> Result<PathBuf> {
        let mut path = self.root.clone();
        for component in place.to_string().split('/') {
            path.push(component);
            match fs::symlink_metadata(&path) {
                Ok(found) if found.file_type().is_symlink() => {
                    return Err(Error::storage(format!("`{}` is a symbolic link", path.display()))
                        .hint("a lake holds no links below its root: replace it by the real folder or file"));
                }
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(failed("look at", &path, e)),
            }
        }
        Ok(path)
    }

    /// Makes the root folder and whatever is missing above it.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`], as for every operation here.
    pub fn create_root(&self) -> Result<()> {
        if self.root.is_dir() {
            return Ok(());
        }
        self.change("create", &self.root, || {
            let mut missing: Vec<&Path> = self.root.ancestors().take_while(|p| !p.exists()).collect();
            missing.retain(|p| !p.as_os_str().is_empty());
            for folder in missing.into_iter().rev() {
                make_folder(folder, DATA_MODES.folder)?;
                sync_parent(folder)?;
            }
            Ok(())
        })
    }

    /// Makes a folder and those above it, each durable in its parent.
    pub fn create_folder(&self, place: &LakePath) -> Result<()> {
        let target = self.locate(place)?;
        let name = place.to_string();
        let mode = Modes::of(&name).folder;
        let depth = name.split('/').count();
        for folder in target.ancestors().take(depth).collect::<Vec<_>>().into_iter().rev() {
            if folder.is_dir() {
                continue;
            }
            self.change("create", folder, || make_folder(folder, mode))?;
            self.sync_with("sync the parent of", folder, || sync_parent(folder))?;
        }
        Ok(())
    }

    /// Makes a folder in one that is there. Durable after [`Disk::sync_folder`] of that one.
    pub fn make_folder(&self, place: &LakePath) -> Result<()> {
        let path = self.locate(place)?;
        if path.is_dir() {
            return Ok(());
        }
        let mode = Modes::of(&place.to_string()).folder;
        self.change("create", &path, || make_folder(&path, mode))
    }

    /// Opens a new, empty file for writing in an existing folder; what was there under this name is gone.
    pub fn create(&self, place: &LakePath) -> Result<File> {
        let path = self.locate(place)?;
        let mode = Modes::of(&place.to_string()).file;
        self.change("create", &path, || {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            platform::options(mode).write(true).create_new(true).open(&path)
        })
    }

    /// Opens a file for appending, making it if it is missing.
    pub fn append(&self, place: &LakePath) -> Result<File> {
        let path = self.locate(place)?;
        let mode = Modes::of(&place.to_string()).file;
        self.change("open", &path, || platform::options(mode).append(true).create(true).open(&path))
    }

    /// Makes what was written to `file` durable.
    pub fn sync(&self, file: &File, place: &LakePath) -> Result<()> {
        self.sync_with("sync", &self.root.join(place.to_string()), || file.sync_all())
    }

    /// Writes a whole durable file under a name that no reader looks at.
    pub fn write(&self, place: &LakePath, bytes: &[u8]) -> Result<()> {
        let mut file = self.create(place)?;
        self.change("write", &self.root.join(place.to_string()), || file.write_all(bytes))?;
        self.sync(&file, place)
    }

    /// Writes a whole durable file and then gives it its name, so that no reader sees a part of it. `run` is alive: its
    /// folder of unfinished files is there.
    pub fn place(&self, run: RunId, place: &LakePath, bytes: &[u8]) -> Result<()> {
        let folder = place.folder().ok_or_else(|| Error::bug(format!("`{place}` is in no folder")))?;
        let staged = LakePath::StagedFile(run, Uuid::new_v4());
        self.create_folder(&folder)?;
        self.write(&staged, bytes)?;
        self.rename(&staged, place)?;
        self.sync_folder(&folder)
    }

    /// Puts the file `from` in the place of `to`. Durable after [`Disk::sync_folder`] of the target's folder.
    pub fn rename(&self, from: &LakePath, to: &LakePath) -> Result<()> {
        let (from, to) = (self.locate(from)?, self.locate(to)?);
        self.change("publish", &to, || fs::rename(&from, &to))
    }

    /// Makes the names in a folder durable.
    pub fn sync_folder(&self, place: &LakePath) -> Result<()> {
        let path = self.locate(place)?;
        self.sync_with("sync", &path, || platform::sync_folder(&path))
    }

    /// Removes a file; one that is not there is removed.
    pub fn remove(&self, place: &LakePath) -> Result<()> {
        let path = self.locate(place)?;
        self.change("remove", &path, || absent_is_fine(fs::remove_file(&path)))
    }

    /// Removes a folder if nothing is in it.
    pub fn remove_empty_folder(&self, place: &LakePath) -> Result<()> {
        let path = self.locate(place)?;
        self.change("remove", &path, || match fs::remove_dir(&path) {
            Err(e) if e.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
            removed => absent_is_fine(removed),
        })
    }

    /// Removes a folder with everything in it; links in it are removed, not followed.
    pub fn remove_folder(&self, place: &LakePath) -> Result<()> {
        let path = self.locate(place)?;
        self.change("remove", &path, || absent_is_fine(fs::remove_dir_all(&path)))
    }

    /// Opens a file for reading; `None` when it is not there.
    pub fn open(&self, place: &LakePath) -> Result<Option<File>> {
        let path = self.locate(place)?;
        match fs::metadata(&path) {
            Ok(found) if found.is_file() => {}
            Ok(_) => return Err(Error::storage(format!("`{}` is not a file", path.display()))),
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed("look at", &path, e)),
        }
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed("open", &path, e)),
        }
    }

    /// Reads a file whole; `None` when it is not there.
    pub fn read(&self, place: &LakePath) -> Result<Option<Vec<u8>>> {
        let Some(mut file) = self.open(place)? else { return Ok(None) };
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut file, &mut bytes)
            .map_err(|e| failed("read", &self.root.join(place.to_string()), e))?;
        Ok(Some(bytes))
    }

    /// The names in a folder, sorted; none when it is not there.
    pub fn list(&self, place: &LakePath) -> Result<Vec<String>> {
        list(&self.locate(place)?)
    }

    /// The names in the root folder, sorted; none when it is not there.
    pub fn list_root(&self) -> Result<Vec<String>> {
        list(&self.root)
    }

    /// Takes the lock in `place`, whose folder exists, and waits at most a few minutes for another holder.
    ///
    /// # Errors
    /// [`crate::error::Kind::Later`] when another process keeps it: a stopped process cannot be told from a slow one.
    pub fn lock(&self, place: &LakePath) -> Result<Lock> {
        let path = self.locate(place)?;
        let file = self.append(place)?;
        match file.try_lock() {
            Ok(()) => return Ok(Lock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => {}
            Err(fs::TryLockError::Error(e)) => return Err(failed("lock", &path, e)),
        }
        // Waiting for a lock cannot be given a limit, so a thread waits and this one stops listening in time. A lock
        // that comes too late is dropped, and with it released, by the thread's failed send.
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            let locked = file.lock().map(|()| file);
            drop(send.send(locked));
        });
        match receive.recv_timeout(LOCK_WAIT_MAX) {
            Ok(Ok(file)) => Ok(Lock { _file: file }),
            Ok(Err(e)) => Err(failed("lock", &path, e)),
            Err(_) => Err(Error::later(format!("`{}` is held by another process", path.display()))
                .hint("another export is publishing, or was stopped while it did: let it end, then run again")),
        }
    }

    /// Whether a living process holds the lock in `place`; the kernel frees the locks of the dead.
    pub fn is_locked(&self, place: &LakePath) -> Result<bool> {
        let Some(file) = self.open(place)? else { return Ok(false) };
        match file.try_lock() {
            Ok(()) => Ok(false),
            Err(fs::TryLockError::WouldBlock) => Ok(true),
            Err(fs::TryLockError::Error(e)) => Err(failed("lock", &self.root.join(place.to_string()), e)),
        }
    }

    fn sync_with(&self, verb: &str, path: &Path, sync: impl FnOnce() -> io::Result<()>) -> Result<()> {
        self.change(verb, path, || if self.faults.0.is_some() { Ok(()) } else { sync() })
    }

    /// One change to the disk, behind the fail point and with its path in the error.
    fn change<T>(&self, verb: &str, path: &Path, operation: impl FnOnce() -> io::Result<T>) -> Result<T> {
        self.faults.step().and_then(|()| operation()).map_err(|e| failed(verb, path, e))
    }
}

/// Holds a file's lock until it is dropped, or the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

fn list(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed("list", folder, e)),
    };
    let mut names = entries
        // A name that is not UTF-8 is not ours; lossy, it still shows up as foreign.
        .map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(|e| failed("list", folder, e))?;
    names.sort_unstable();
    Ok(names)
}

fn absent_is_fine(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes a folder; another run may have made it meanwhile.
fn make_folder(folder: &Path, mode: u32) -> io::Result<()> {
    match platform::create_folder(folder, mode) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        made => made,
    }
}

fn sync_parent(folder: &Path) -> io::Result<()> {
    match folder.parent() {
        Some(parent) if parent.as_os_str().is_empty() => platform::sync_folder(Path::new(".")),
        Some(parent) => platform::sync_folder(parent),
        None => Ok(()),
    }
}

/// A storage error with its path and, where the cause is a known one, what to do.
pub(super) fn failed(verb: &str, path: &Path, cause: io::Error) -> Error {
    let hint = match cause.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            "free some space and run again: what is published is untouched"
        }
        ErrorKind::PermissionDenied => "the user that runs this needs to read and write the lake's folders",
        ErrorKind::ReadOnlyFilesystem => "the lake is on a read-only file system",
        ErrorKind::Unsupported => "the lake needs a file system with locks and atomic renames",
        _ => "what is published is untouched: repair the storage and run again",
    };
    Error::storage(format!("cannot {verb} `{}`", path.display())).source(cause).hint(hint)
}

#[cfg(unix)]
mod platform {
    use std::fs::{DirBuilder, File, OpenOptions};
    use std::io;
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    use std::path::Path;

    pub(super) fn options(mode: u32) -> OpenOptions {
        let mut options = OpenOptions::new();
        options.mode(mode);
        options
    }

    pub(super) fn create_folder(path: &Path, mode: u32) -> io::Result<()> {
        DirBuilder::new().mode(mode).create(path)
    }

    pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

/// Without modes and without folders that can be synced: what the standard library offers everywhere.
#[cfg(not(unix))]
mod platform {
    use std::fs::{self, OpenOptions};
    use std::io;
    use std::path::Path;

    pub(super) fn options(_mode: u32) -> OpenOptions {
        OpenOptions::new()
    }

    pub(super) fn create_folder(path: &Path, _mode: u32) -> io::Result<()> {
        fs::create_dir(path)
    }

    pub(super) fn sync_folder(_path: &Path) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::lake::layout::TableName;

    fn part() -> LakePath {
        LakePath::Part(TableName::new("sessions").unwrap(), "2025-01-01".parse().unwrap())
    }

    fn partition() -> LakePath {
        LakePath::Partition(TableName::new("sessions").unwrap(), "2025-01-01".parse().unwrap())
    }

    #[test]
    fn a_file_is_made_renamed_read_and_removed() {
        let temp = tempfile::tempdir().unwrap();
        let disk = Disk::new(&temp.path().join("deep/lake"), FailPoint::default());
        disk.create_root().unwrap();
        disk.create_folder(&partition()).unwrap();
        disk.create_folder(&LakePath::Control).unwrap();
        disk.write(&LakePath::StagedIdentity, b"x").unwrap();
        disk.rename(&LakePath::StagedIdentity, &part()).unwrap();
        disk.sync_folder(&partition()).unwrap();
        assert_eq!(disk.read(&part()).unwrap().as_deref(), Some(b"x".as_slice()));
        assert_eq!(disk.read(&LakePath::StagedIdentity).unwrap(), None);
        assert_eq!(disk.list(&partition()).unwrap(), ["sessions.parquet"]);
        disk.remove(&part()).unwrap();
        disk.remove(&part()).unwrap();
        assert_eq!(disk.list(&partition()).unwrap(), Vec::<String>::new());
    }

    #[cfg(unix)]
    #[test]
    fn modes_keep_raw_records_private() {
        use std::os::unix::fs::PermissionsExt;
        let temp = tempfile::tempdir().unwrap();
        let disk = Disk::new(temp.path(), FailPoint::default());
        disk.create_folder(&LakePath::QuarantineFolder).unwrap();
        disk.create_folder(&partition()).unwrap();
        disk.write(&LakePath::Lock, b"").unwrap();
        disk.write(&part(), b"").unwrap();
        let mode = |p: &LakePath| fs::metadata(disk.locate(p).unwrap()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&LakePath::Control) & 0o077, 0);
        assert_eq!(mode(&LakePath::QuarantineFolder) & 0o077, 0);
        assert_eq!(mode(&LakePath::Lock) & 0o177, 0);
        assert_eq!(mode(&partition()) & 0o027, 0);
        assert_eq!(mode(&part()) & 0o137, 0);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_below_the_root_is_refused_at_every_level() {
        let temp = tempfile::tempdir().unwrap();
        let (real, linked) = (temp.path().join("real"), temp.path().join("linked"));
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &linked).unwrap();
        let disk = Disk::new(&linked, FailPoint::default());
        disk.create_folder(&LakePath::Control).unwrap();
        std::os::unix::fs::symlink(temp.path(), real.join("sessions")).unwrap();
        let refused = disk.create_folder(&partition()).unwrap_err();
        assert_eq!(refused.kind(), Kind::Storage);
        assert!(refused.to_string().contains("sessions` is a symbolic link"), "{refused}");
    }

    #[test]
    fn what_is_in_the_way_is_an_error_not_data() {
        let temp = tempfile::tempdir().unwrap();
        let disk = Disk::new(temp.path(), FailPoint::default());
        fs::create_dir_all(disk.locate(&part()).unwrap()).unwrap();
        assert_eq!(disk.read(&part()).unwrap_err().kind(), Kind::Storage);
    }

    #[test]
    fn a_lock_is_seen_until_it_is_dropped() {
        let temp = tempfile::tempdir().unwrap();
        let disk = Disk::new(temp.path(), FailPoint::default());
        disk.create_folder(&LakePath::Control).unwrap();
        assert!(!disk.is_locked(&LakePath::Lock).unwrap());
        let held = disk.lock(&LakePath::Lock).unwrap();
        assert!(disk.is_locked(&LakePath::Lock).unwrap());
        let (waiting, place) = (disk.clone(), LakePath::Lock);
        let waiter = std::thread::spawn(move || waiting.lock(&place).map(drop));
        drop(held);
        waiter.join().unwrap().unwrap();
        assert!(!disk.is_locked(&LakePath::Lock).unwrap());
    }

    #[test]
    fn a_fail_point_stops_the_world() {
        let temp = tempfile::tempdir().unwrap();
        let disk = Disk::new(temp.path(), FailPoint::after(2));
        let stopped = disk.create_folder(&partition()).unwrap_err();
        assert_eq!(stopped.kind(), Kind::Storage);
        assert!(disk.remove(&part()).is_err());
        assert_eq!(disk.list_root().unwrap(), ["sessions"]);
    }
}
