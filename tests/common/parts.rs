//! Parts that are not crates: a Python environment made once from `tests/requirements.txt`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::{isolate, succeed, tests_dir};

/// The Python of the environment, with DuckDB's command line, the official SDK and `requests`.
pub(crate) fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| environment().join("bin/python"))
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

/// Makes the environment unless an earlier run did. Its name is the hash of the requirements, so changing them makes
/// another; a lock keeps two test binaries from making it at once, a stamp written last tells a whole one from the
/// remains of an interrupted installation.
fn environment() -> PathBuf {
    let requirements = tests_dir("requirements.txt");
    let hash = xxhash_rust::xxh3::xxh3_64(&fs::read(&requirements).expect("requirements"));
    let parts = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-parts");
    fs::create_dir_all(&parts).expect("target is writable");
    let lock = File::create(parts.join("lock")).expect("target is writable");
    lock.lock().expect("a lock on target/test-parts");

    let environment = parts.join(format!("{hash:016x}"));
    let stamp = environment.join("complete");
    if !stamp.exists() {
        succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment));
        let mut install = Command::new(environment.join("bin/python"));
        install.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--requirement"]);
        succeed(install.arg(&requirements));
        File::create(&stamp).expect("target is writable");
    }
    environment
}
