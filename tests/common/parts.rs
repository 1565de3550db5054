//! Parts that are not crates: Python environments and a folder of npm packages, made once from pinned requirements.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use super::{isolate, succeed, tests_dir};

/// The Python of the environment, with DuckDB's command line, the official SDK and `requests`.
pub(crate) fn python() -> &'static Path {
    static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| environment("requirements.txt").join("bin/python"));
    &PYTHON
}

/// A program that a package of the environment brought.
pub(crate) fn bin(name: &str) -> PathBuf {
    python().with_file_name(name)
}

/// A Python script under `tests/`, about to run.
pub(crate) fn script(relative: &str) -> Command {
    let mut command = Command::new(python());
    isolate(&mut command).arg("-B").arg(tests_dir(relative));
    command
}

/// The environment of readers that are too big for every test.
pub(crate) fn readers() -> &'static Path {
    static READERS: LazyLock<PathBuf> = LazyLock::new(|| environment("requirements-readers.txt"));
    &READERS
}

/// The environment of what loads warehouses.
pub(crate) fn warehouse() -> &'static Path {
    static WAREHOUSE: LazyLock<PathBuf> = LazyLock::new(|| environment("requirements-warehouse.txt"));
    &WAREHOUSE
}

/// The environment of object stores.
pub(crate) fn servers() -> &'static Path {
    static SERVERS: LazyLock<PathBuf> = LazyLock::new(|| environment("requirements-servers.txt"));
    &SERVERS
}

/// Azurite's folder.
pub(crate) fn azurite() -> PathBuf {
    static PACKAGES: LazyLock<PathBuf> = LazyLock::new(|| {
        let pinned = ["npm/package.json", "npm/package-lock.json"].map(tests_dir);
        install(&pinned, |folder| {
            for file in &pinned {
                fs::copy(file, folder.join(file.file_name().unwrap_or_default())).expect("target is writable");
            }
            // No package's own scripts: nothing here needs compiling.
            let quiet = ["ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--loglevel=error"];
            succeed(Command::new("npm").args(quiet).current_dir(folder));
        })
    });
    PACKAGES.join("node_modules/azurite")
}

/// A file of a Python environment, wherever its packages keep it.
pub(crate) fn find(environment: &Path, name: &str) -> PathBuf {
    fn within(folder: &Path, name: &OsStr) -> Option<PathBuf> {
        fs::read_dir(folder).ok()?.flatten().find_map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => within(&entry.path(), name),
            _ => (entry.file_name() == name).then(|| entry.path()),
        })
    }
    let found = within(&environment.join("lib"), name.as_ref());
    found.unwrap_or_else(|| panic!("no package in {} has a file {name}", environment.display()))
}

fn environment(requirements: &str) -> PathBuf {
    let pinned = [tests_dir(requirements)];
    install(&pinned, |folder| {
        succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder));
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--requirement"]);
        succeed(pip.args(&pinned));
    })
}

/// Installs what is `pinned` unless an earlier run did. The folder's name is the hash of the pins, so changing them
/// makes another; a lock keeps two test binaries from making it at once, a stamp written last tells a whole one from
/// the remains of an interrupted installation.
fn install(pinned: &[PathBuf], make: impl FnOnce(&Path)) -> PathBuf {
    let pins: Vec<u8> = pinned.iter().flat_map(|file| fs::read(file).expect("pinned requirements")).collect();
    let hash = xxhash_rust::xxh3::xxh3_64(&pins);
    let parts = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-parts");
    fs::create_dir_all(&parts).expect("target is writable");
    let lock = File::create(parts.join("lock")).expect("target is writable");
    lock.lock().expect("a lock on target/test-parts");

    let folder = parts.join(format!("{hash:016x}"));
    let stamp = folder.join("complete");
    if !stamp.exists() {
        fs::create_dir_all(&folder).expect("target is writable");
        make(&folder);
        File::create(&stamp).expect("target is writable");
    }
    folder
}
