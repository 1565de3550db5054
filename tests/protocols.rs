//! For each protocol, an export from the loopback simulator is, row for row, what an independent expansion of the
//! simulator's own JSON says.

#![cfg(test)]

mod common;

use common::convlake::Convlake;
use common::oracle::{Comparison, Oracle};
use common::simulate::Simulate;
use common::{TABLES, duckdb, table};

const FROM: &str = "2025-01-01";
const TO: &str = "2025-01-08";
const DAYS: u64 = 7;
/// So many that a week has every field of the API's model somewhere.
const CONVERSATIONS_PER_DAY: u32 = 300;

/// Exports a week by `protocol` and compares it with the oracle.
fn compare(protocol: &str) -> (Convlake, Comparison) {
    let simulate = Simulate::start(CONVERSATIONS_PER_DAY);
    let raw = simulate.fetch(protocol, FROM, TO);
    let oracle = match protocol {
        "cursor" | "page" => Oracle::expand_tutorials(&raw, FROM, TO),
        _ => Oracle::expand(&raw, FROM, TO),
    };
    let convlake = Convlake::of(&simulate);
    let report = convlake.export(protocol, FROM, TO, &[]);
    let comparison = oracle.assert_equal(&convlake.lake());

    let conversations = DAYS * u64::from(CONVERSATIONS_PER_DAY);
    assert_eq!(comparison.rows["conversations"], conversations, "the world is not what the test thinks");
    assert_eq!(report["totals"]["conversations"].as_u64(), Some(conversations), "{report}");
    for (name, rows) in &comparison.rows {
        assert_eq!(report["totals"]["rows"][name].as_u64().unwrap_or(0), *rows, "rows of {name} in the report");
    }
    (convlake, comparison)
}

/// Columns of the real API that no record filled. Not every metric has to occur; what is not known to the model must
/// not.
fn unfilled_fields(comparison: &Comparison) -> Vec<&String> {
    let is_field = |name: &&String| {
        let column = name.rsplit('.').next().unwrap_or_default();
        let metric = ["t_", "n_", "o_"].iter().any(|prefix| column.starts_with(prefix));
        !metric && !["extra", "metrics_other"].contains(&column)
    };
    comparison.unfilled.iter().filter(is_field).collect()
}

#[test]
fn query_equals_the_oracle() {
    let (_, comparison) = compare("query");
    assert_eq!(comparison.rows["participant_attributes"], 0, "the query has no attributes");
    let unfilled = unfilled_fields(&comparison);
    let attributes = |name: &&String| name.starts_with("participant_attributes.");
    assert!(unfilled.iter().all(attributes), "the comparison says nothing about {unfilled:?}");
}

#[test]
fn jobs_equal_the_oracle() {
    let (_, comparison) = compare("jobs");
    let unfilled = unfilled_fields(&comparison);
    assert!(unfilled.is_empty(), "the comparison says nothing about {unfilled:?}");
    assert!(comparison.rows.values().all(|rows| *rows > 0), "{:?}", comparison.rows);
}

#[test]
fn cursor_equals_the_oracle() {
    let (convlake, comparison) = compare("cursor");
    assert_only_conversations(&comparison);
    let lake = table(&convlake.lake(), "conversations");
    let filled =
        duckdb(&format!("SELECT count(handle_duration_ms) AS n, count(conversation_end) AS ended FROM {lake}"));
    assert!(filled[0]["n"].as_u64() > Some(0) && filled[0]["ended"].as_u64() > Some(0), "{filled:?}");
}

#[test]
fn page_equals_the_oracle() {
    let (convlake, comparison) = compare("page");
    assert_only_conversations(&comparison);
    let lake = table(&convlake.lake(), "conversations");
    let filled = duckdb(&format!(
        "SELECT count(offer_rate) AS n, count(talk_rate) AS talk, count(queue_id) AS queue FROM {lake}"
    ));
    assert!(["n", "talk", "queue"].iter().all(|column| filled[0][column].as_u64() > Some(0)), "{filled:?}");
}

#[test]
fn auto_equals_the_oracle() {
    let (_, comparison) = compare("auto");
    assert!(comparison.rows["participant_attributes"] > 0, "old days come from jobs, which have attributes");
}

/// Days before and after the jobs' availability in one export: the former with attributes, the latter by query.
#[test]
fn auto_is_stitched_by_day() {
    // A data lake that lags so far behind that the days on both sides of its end have long stopped changing.
    let lag_days = 400;
    let simulate = Simulate::with(50, &["--availability-lag", &format!("{lag_days}d")]);
    let range =
        &duckdb(&format!("SELECT (today() - {lag_days} - 5)::VARCHAR AS a, (today() - {lag_days} + 5)::VARCHAR AS b"))
            [0];
    let [from, to] = ["a", "b"].map(|name| range[name].as_str().expect("a date"));

    let oracle = Oracle::expand(&simulate.fetch("auto", from, to), from, to);
    let convlake = Convlake::of(&simulate);
    convlake.export("auto", from, to, &[]);
    oracle.assert_equal(&convlake.lake());
    let attributes = table(&convlake.lake(), "participant_attributes");
    let days = duckdb(&format!("SELECT count(DISTINCT date) AS days FROM {attributes}"))[0]["days"].as_u64();
    assert!(days > Some(0) && days < Some(10), "{days:?} of 10 days come from jobs, the others from the query");
}

fn assert_only_conversations(comparison: &Comparison) {
    for name in &TABLES[1..] {
        assert_eq!(comparison.rows[*name], 0, "records of a paging dialect have no {name}");
    }
}
