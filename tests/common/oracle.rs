//! The independent expansion of raw conversations (`tests/oracle`), and the comparison of a lake with it.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use tempfile::TempDir;

use super::{parts, succeed};

/// Raw conversations, expanded into tables by DuckDB SQL that knows nothing of convlake.
pub(crate) struct Oracle {
    dir: TempDir,
}

/// What a comparison found.
#[derive(Debug, Deserialize)]
pub(crate) struct Comparison {
    /// Rows of the oracle, by table.
    pub(crate) rows: std::collections::BTreeMap<String, u64>,
    /// One line each; empty when the lake is what the oracle says.
    pub(crate) differences: Vec<String>,
    /// Columns (`table.column`) without any value: what the comparison says nothing about.
    pub(crate) unfilled: Vec<String>,
}

impl Oracle {
    /// Expands the records in `raw`, one a line, that start in `[from, to)`.
    pub(crate) fn expand(raw: &Path, from: &str, to: &str) -> Oracle {
        let oracle = Oracle { dir: TempDir::new().expect("a temporary directory") };
        let mut script = parts::script("oracle/compare.py");
        script.arg("expand").arg(raw).args([from, to].map(|date| format!("{date}T00:00:00Z")));
        succeed(script.arg(oracle.database()));
        oracle
    }

    /// A DuckDB database with one table for each of the lake's.
    pub(crate) fn database(&self) -> PathBuf {
        self.dir.path().join("oracle.duckdb")
    }

    /// Compares every row and column of `lake` with the expansion.
    pub(crate) fn compare(&self, lake: &Path) -> Comparison {
        let mut script = parts::script("oracle/compare.py");
        let output = succeed(script.arg("compare").arg(self.database()).arg(lake));
        serde_json::from_slice(&output.stdout).expect("the comparison is JSON")
    }

    /// Compares, and fails with everything that is different.
    pub(crate) fn assert_equal(&self, lake: &Path) -> Comparison {
        let comparison = self.compare(lake);
        let differences = &comparison.differences;
        assert!(differences.is_empty(), "lake and oracle differ:\n{}", differences.join("\n"));
        comparison
    }
}
