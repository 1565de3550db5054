//! The oracle is checked before anything is compared with it.

#[cfg(test)]
mod common;

#[test]
fn the_oracle_counts_like_plain_python_and_notices_every_damage() {
    let scratch = tempfile::TempDir::new().expect("a temporary directory");
    common::succeed(common::parts::script("oracle/check.py").arg(scratch.path()));
}

#[test]
fn duckdb_answers_in_json_whatever_the_size() {
    assert!(common::duckdb("SELECT 1 AS n WHERE false").is_empty());
    let rows = common::duckdb("SELECT repeat('x', 100) AS text, i FROM range(100000) AS t(i)");
    assert_eq!(rows.len(), 100_000);
    let noon = common::duckdb("SELECT TIMESTAMPTZ '2025-01-01T14:00:00+02:00' AS at");
    assert_eq!(noon[0]["at"], "2025-01-01 12:00:00+00");
}
