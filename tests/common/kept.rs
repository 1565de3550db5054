//! A program with a directory of its own, neither of which outlives the tests.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use super::tests_dir;

/// A running program. It is killed and its directory removed when this is dropped, and also when the process of the
/// tests ends without dropping it, as it does with what is static, or is killed itself.
pub(crate) struct Kept {
    keeper: Child,
    dir: TempDir,
}

impl Kept {
    /// Starts what `command` makes of the new directory; what it writes to stderr is its log.
    pub(crate) fn start(command: impl FnOnce(&Path) -> Command) -> Kept {
        let dir = TempDir::new().expect("a temporary directory");
        let log = File::create(dir.path().join("log")).expect("a log");
        let command = command(dir.path());
        let mut keeper = Command::new("sh");
        keeper.arg(tests_dir("common/keep.sh")).arg(dir.path()).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => keeper.env(name, value),
                None => keeper.env_remove(name),
            };
        }
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        Kept { keeper: keeper.spawn().expect("sh starts"), dir }
    }

    /// The directory of its own.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// What it prints, once.
    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.keeper.stdout.take().expect("nobody took it before")
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.keeper.try_wait().expect("a child").is_some()
    }

    /// What it wrote to stderr so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what the test had started said:\n{}", self.log());
        }
        drop(self.keeper.stdin.take());
        // Already gone is as good as killed.
        let _ = self.keeper.wait();
    }
}
