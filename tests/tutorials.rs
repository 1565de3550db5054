//! The two tutorials that this project grew from return the same conversations as convlake does.

#![cfg(test)]

mod common;

use std::collections::BTreeSet;

use common::convlake::Convlake;
use common::simulate::Simulate;
use common::{duckdb, lines, parts, succeed, table};

const FROM: &str = "2025-01-01";
const TO: &str = "2025-01-08";
/// The tutorials' end is the last second that they want, all of it; convlake's is the first instant after.
const LAST_SECOND: &str = "2025-01-07T23:59:59";
/// Enough for several of the tutorials' pages of 100.
const CONVERSATIONS_PER_DAY: u32 = 200;

/// The id that most conversations of the range have at `path`, which DuckDB reads as a list of JSON values.
fn most_frequent(simulate: &Simulate, path: &str) -> String {
    let raw = simulate.fetch("query", FROM, TO);
    let rows = duckdb(&format!(
        "SELECT id FROM (SELECT unnest(list_distinct(json_extract_string(json, '{path}'))) AS id
         FROM read_ndjson_objects('{}')) GROUP BY id ORDER BY count(*) DESC, id LIMIT 1",
        raw.display()
    ));
    rows[0]["id"].as_str().expect("an id").to_owned()
}

/// The ids that a tutorial's script collects.
fn tutorial(simulate: &Simulate, script: &str, end: &str, filter: Option<(&str, &str)>) -> BTreeSet<String> {
    let mut command = parts::script("tutorials/ids.py");
    command.arg(script).envs(simulate.env()).envs(filter);
    command.env("TUTORIAL_START_DATE", format!("{FROM}T00:00:00{}", &end[LAST_SECOND.len()..]));
    lines(&succeed(command.env("TUTORIAL_END_DATE", end)))
}

/// What `convlake export` has for the same question.
fn export(simulate: &Simulate, protocol: &str, filter: &[&str]) -> BTreeSet<String> {
    let convlake = Convlake::of(simulate);
    convlake.export(protocol, FROM, TO, filter);
    let lake = table(&convlake.lake(), "conversations");
    let rows = duckdb(&format!("SELECT conversation_id AS id FROM {lake}"));
    let ids: BTreeSet<_> = rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect();
    assert_eq!(ids.len(), rows.len(), "an id twice");
    ids
}

#[test]
fn the_page_count_tutorial_and_convlake_return_the_same_ids() {
    let simulate = Simulate::start(CONVERSATIONS_PER_DAY);
    let queue = most_frequent(&simulate, "$.participants[*].sessions[*].segments[*].queueId");
    let end = format!("{LAST_SECOND}Z");
    let expected = tutorial(&simulate, "page_count.py", &end, Some(("TUTORIAL_QUEUE_ID", &queue)));
    assert!(expected.len() > 100, "one page proves nothing: {} records", expected.len());
    assert_eq!(export(&simulate, "page", &["--queue", &queue]), expected);
}

#[test]
fn the_cursor_tutorial_and_convlake_return_the_same_ids() {
    let simulate = Simulate::start(CONVERSATIONS_PER_DAY);
    let end = format!("{LAST_SECOND}+00:00");
    let everybody = tutorial(&simulate, "cursor.py", &end, None);
    assert!(everybody.len() > 1000, "{} records", everybody.len());
    assert_eq!(export(&simulate, "cursor", &[]), everybody);

    let user = most_frequent(&simulate, "$.participants[*].userId");
    let one = tutorial(&simulate, "cursor.py", &end, Some(("GENESYS_CLOUD_USER_ID", &user)));
    assert!(!one.is_empty() && one.len() < everybody.len(), "{} records", one.len());
    assert_eq!(export(&simulate, "cursor", &["--user", &user]), one);
}
