//! The independent expansion of raw conversations (`tests/oracle`), and the comparison of a lake with it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{parts, succeed};

/// Raw conversations, expanded into tables by DuckDB SQL that knows nothing of convlake.
pub(crate) struct Oracle {
    database: PathBuf,
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
    /// Expands the records in `raw`, one a line, that start in `[from, to)`, into a file beside it: a DuckDB database
    /// with one table for each of the lake's.
    pub(crate) fn expand(raw: &Path, from: &str, to: &str) -> Oracle {
        Oracle::expand_into("details", raw, from, to)
    }

    /// The same with the columns of a lake of the tutorials' records.
    pub(crate) fn expand_tutorials(raw: &Path, from: &str, to: &str) -> Oracle {
        Oracle::expand_into("tutorials", raw, from, to)
    }

    fn expand_into(columns: &str, raw: &Path, from: &str, to: &str) -> Oracle {
        let database = raw.with_extension(format!("{columns}-{from}-{to}.duckdb"));
        let mut script = parts::script("oracle/compare.py");
        script.arg("expand").arg(raw).args([from, to].map(|date| format!("{date}T00:00:00Z")));
        succeed(script.arg(&database).arg(columns));
        Oracle { database }
    }

    /// Compares every row and column of `lake` with the expansion.
    pub(crate) fn compare(&self, lake: &Path) -> Comparison {
        self.compare_through(lake.as_os_str(), Path::new("/dev/null"))
    }

    /// The same with a lake that is anywhere: `setup` is SQL that lets DuckDB read it.
    pub(crate) fn compare_through(&self, lake: &OsStr, setup: &Path) -> Comparison {
        let mut script = parts::script("oracle/compare.py");
        let output = succeed(script.arg("compare").arg(&self.database).arg(lake).env("DUCKDB_INIT", setup));
        serde_json::from_slice(&output.stdout).expect("the comparison is JSON")
    }

    /// Compares, and fails with everything that is different.
    pub(crate) fn assert_equal(&self, lake: &Path) -> Comparison {
        let comparison = self.compare(lake);
        comparison.assert_equal();
        comparison
    }
}

impl Comparison {
    /// Fails with everything that is different.
    pub(crate) fn assert_equal(&self) {
        assert!(self.differences.is_empty(), "lake and oracle differ:\n{}", self.differences.join("\n"));
    }
}
