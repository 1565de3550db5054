//! `convlake simulate` as a child process, killed when the tests are over.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{ChildStdout, Command};

use super::kept::Kept;
use super::{isolate, parts, succeed};

/// What the simulator prints when it listens, and what convlake reads from its environment.
pub(crate) const BASE_URL: &str = "CONVLAKE_BASE_URL";
pub(crate) const CLIENT_ID: &str = "GENESYSCLOUD_OAUTHCLIENT_ID";
pub(crate) const CLIENT_SECRET: &str = "GENESYSCLOUD_OAUTHCLIENT_SECRET";

/// A running simulator.
pub(crate) struct Simulate {
    kept: Kept,
    // Held open: a closed pipe would be an error to the simulator.
    stdout: BufReader<ChildStdout>,
    settings: BTreeMap<&'static str, String>,
}

impl Simulate {
    /// Starts a simulator of a seeded world on a free port and waits until it listens.
    pub(crate) fn start(conversations_per_day: u32) -> Simulate {
        Simulate::with(conversations_per_day, &[])
    }

    /// The same with more arguments.
    pub(crate) fn with(conversations_per_day: u32, more: &[&str]) -> Simulate {
        let mut kept = Kept::start(|_| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_convlake"));
            isolate(&mut command)
                .args(["simulate", "--port", "0", "--seed", "7", "--conversations-per-day"])
                .arg(conversations_per_day.to_string())
                .args(more);
            command
        });
        let stdout = BufReader::new(kept.stdout());
        let mut simulate = Simulate { kept, stdout, settings: BTreeMap::new() };
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
        let raw = self.kept.path(&format!("{protocol}-{from}-{to}.ndjson"));
        succeed(parts::script("oracle/fetch.py").envs(self.env()).args([protocol, from, to]).arg(&raw));
        raw
    }
}
