//! What integration tests share: the binary under test, the simulator, DuckDB, the oracle, and the Python parts.

#![allow(dead_code, reason = "every test binary compiles all of this and uses its part")]

pub(crate) mod convlake;
pub(crate) mod days;
pub(crate) mod flaky;
pub(crate) mod image;
pub(crate) mod kept;
pub(crate) mod oracle;
pub(crate) mod org;
pub(crate) mod parts;
#[cfg(unix)]
pub(crate) mod postgres;
pub(crate) mod receipts;
pub(crate) mod running;
pub(crate) mod simulate;
pub(crate) mod through;
pub(crate) mod turns;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

/// Every table of a lake.
pub(crate) const TABLES: [&str; 15] = [
    "conversations",
    "evaluations",
    "surveys",
    "resolutions",
    "participants",
    "participant_attributes",
    "sessions",
    "agent_groups",
    "proposed_agents",
    "media_endpoint_stats",
    "flow_outcomes",
    "metrics",
    "segments",
    "scored_agents",
    "segment_properties",
];

/// A file or directory under `tests/`.
pub(crate) fn tests_dir(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(relative)
}

/// Reads a text file.
pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

/// Writes a text file and the directories above it.
pub(crate) fn write(path: &Path, text: &str) {
    let write = || {
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(path, text)
    };
    write().unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
}

/// Takes everything from the environment that would change what a child does: settings of convlake and of its
/// stores, credentials, and proxies, which must not stand between a test and its loopback server.
pub(crate) fn isolate(command: &mut Command) -> &mut Command {
    const PREFIXES: [&str; 6] = ["CONVLAKE_", "GENESYS", "AWS_", "GOOGLE_", "AZURE_", "RUST_LOG"];
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_ascii_uppercase();
        if text.ends_with("_PROXY") || PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a program that has to succeed.
pub(crate) fn succeed(command: &mut Command) -> Output {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().unwrap_or_else(|e| panic!("cannot start {program}: {e}"));
    assert!(
        output.status.success(),
        "{program} failed with {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Rows of the last statement of `sql` that gives rows; timestamps are in UTC.
pub(crate) fn duckdb(sql: &str) -> Vec<Value> {
    let mut command = Command::new(parts::bin("duckdb"));
    let sql = format!("SET TimeZone = 'UTC'; {sql}");
    let output = succeed(isolate(&mut command).args(["-init", "/dev/null", "-bail", "-json", "-c", &sql]));
    // Every statement that gives rows prints one array.
    let results: Result<Vec<Vec<Value>>, _> =
        serde_json::Deserializer::from_slice(&output.stdout).into_iter().collect();
    results.expect("duckdb prints JSON").pop().unwrap_or_default()
}

/// A table of a lake, to be read in SQL.
pub(crate) fn table(lake: &Path, name: &str) -> String {
    format!("read_parquet('{}/{name}/**/*.parquet', hive_partitioning = true)", lake.display())
}

/// Calls `check` with 0 to `count`, on all processors.
pub(crate) fn each(count: usize, check: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::SeqCst);
            if number >= count {
                return;
            }
            check(number);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
}

/// Lines of a script's output, as a set.
pub(crate) fn lines(output: &Output) -> BTreeSet<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}
