//! The binary under test.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::simulate::Simulate;
use super::{isolate, read};

/// convlake with a directory of its own and nothing from the environment.
pub(crate) struct Convlake {
    dir: TempDir,
    env: BTreeMap<&'static str, String>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Convlake {
    /// Without a source.
    pub(crate) fn new() -> Convlake {
        Convlake { dir: TempDir::new().expect("a temporary directory"), env: BTreeMap::new() }
    }

    /// With a simulator as its source.
    pub(crate) fn of(simulate: &Simulate) -> Convlake {
        Convlake { env: simulate.env().clone(), ..Convlake::new() }
    }

    /// With more in its environment.
    pub(crate) fn with(mut self, env: BTreeMap<&'static str, String>) -> Convlake {
        self.env.extend(env);
        self
    }

    /// A path in the directory of its own, which is also where it runs.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// A lake in the directory of its own.
    pub(crate) fn lake(&self) -> PathBuf {
        self.path("lake")
    }

    /// About to run.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_convlake"));
        isolate(&mut command).current_dir(self.dir.path()).envs(&self.env).args(args);
        command
    }

    /// Runs it to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        let output = self.command(args).output().expect("convlake starts");
        Run {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs it to an end that has to be exit code 0.
    pub(crate) fn succeed<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        let run = self.run(args);
        assert_eq!(run.code, Some(0), "{}\n{}", run.stdout, run.stderr);
        run
    }

    /// Exports `[from, to)` into [`Convlake::lake`] and returns the report.
    pub(crate) fn export(&self, protocol: &str, from: &str, to: &str, more: &[&str]) -> Value {
        let (lake, report) = (self.lake(), self.path("report.json"));
        let mut args: Vec<&OsStr> =
            ["export", "--from", from, "--to", to, "--protocol", protocol].map(OsStr::new).to_vec();
        args.extend([OsStr::new("--out"), lake.as_os_str(), OsStr::new("--report"), report.as_os_str()]);
        args.extend(more.iter().map(OsStr::new));
        self.succeed(args);
        parse(&report)
    }

    /// Converts saved pages into [`Convlake::lake`].
    pub(crate) fn convert(&self, pages: &[PathBuf]) -> Run {
        let lake = self.lake();
        let mut args = vec![OsStr::new("convert")];
        args.extend(pages.iter().map(|page| page.as_os_str()));
        args.extend([OsStr::new("--out"), lake.as_os_str()]);
        self.succeed(args)
    }
}

fn parse(path: &Path) -> Value {
    serde_json::from_str(&read(path)).unwrap_or_else(|e| panic!("{} is not JSON: {e}", path.display()))
}
