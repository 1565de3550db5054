//! `convlake simulate` as a child process, killed when the test is over.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use super::{isolate, parts, read, succeed};

/// What the simulator prints when it listens, and what convlake reads from its environment.
pub(crate) const BASE_URL: &str = "CONVLAKE_BASE_URL";
pub(crate) const CLIENT_ID: &str = "GENESYSCLOUD_OAUTHCLIENT_ID";
pub(crate) const CLIENT_SECRET: &str = "GENESYSCLOUD_OAUTHCLIENT_SECRET";

/// A running simulator.
pub(crate) struct Simulate {
    child: Child,
    // Held open: a closed pipe would be an error to the simulator.
    stdout: BufReader<ChildStdout>,
    dir: TempDir,
    settings: BTreeMap<&'static str, String>,
}

impl Simulate {
    /// Starts a simulator of a seeded world on a free port and waits until it listens.
    pub(crate) fn start(conversations_per_day: u32) -> Simulate {
        Simulate::with(conversations_per_day, &[])
    }

    /// The same with more arguments.
    pub(crate) fn with(conversations_per_day: u32, more: &[&str]) -> Simulate {
        let dir = TempDir::new().expect("a temporary directory");
        let log = File::create(dir.path().join("simulate.log")).expect("a log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_convlake"));
        isolate(&mut command)
            .args(["simulate", "--port", "0", "--seed", "7", "--conversations-per-day"])
            .arg(conversations_per_day.to_string())
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command.spawn().expect("convlake starts");
        let stdout = child.stdout.take().expect("a piped stdout");
        // From here on a panic kills the child.
        let mut simulate = Simulate { child, stdout: BufReader::new(stdout), dir, settings: BTreeMap::new() };
        simulate.read_settings();
        simulate
    }

    fn read_settings(&mut self) {
        while self.settings.len() < 3 {
            let mut line = String::new();
            let read = self.stdout.read_line(&mut line).expect("text");
            assert!(read > 0, "the simulator ended before it listened");
            let (name, value) = line.trim_end().split_once('=').unwrap_or_default();
            if let Some(known) = [BASE_URL, CLIENT_ID, CLIENT_SECRET].into_iter().find(|known| *known == name) {
                self.settings.insert(known, value.to_owned());
            }
        }
    }

    /// The environment of a program that talks to this simulator.
    pub(crate) fn env(&self) -> &BTreeMap<&'static str, String> {
        &self.settings
    }

    /// Raw conversations of `[from, to)`, both dates, fetched without convlake: a file with one a line.
    pub(crate) fn fetch(&self, protocol: &str, from: &str, to: &str) -> PathBuf {
        let raw = self.dir.path().join(format!("{protocol}-{from}-{to}.ndjson"));
        succeed(parts::script("oracle/fetch.py").envs(self.env()).args([protocol, from, to]).arg(&raw));
        raw
    }
}

impl Drop for Simulate {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the simulator said:\n{}", read(&self.dir.path().join("simulate.log")));
        }
    }
}
