//! Recorded payloads through `convlake convert`: every row of every table is pinned, and what the rows add up to is
//! what the payload itself says.
//!
//! `UPDATE_GOLDEN=1 cargo test --test golden` writes `tests/golden` anew; the diff is for a human to read.

#![cfg(test)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::convlake::Convlake;
use common::oracle::Oracle;
use common::{TABLES, duckdb, read, table, tests_dir, write};
use serde_json::Value;

/// A recording, converted into a lake of its own.
struct Converted {
    convlake: Convlake,
    conversations: Vec<Value>,
}

impl Converted {
    fn new(sample: &str) -> Converted {
        let path = tests_dir("fixtures/samples").join(sample).with_extension("json");
        let payload: Value = serde_json::from_str(&read(&path)).expect("a sample is JSON");
        let convlake = Convlake::new();
        // A blueprint is one conversation without the page that it came on.
        let (page, conversations) = match payload.get("conversations") {
            Some(list) => (path, list.clone()),
            None => {
                let page = convlake.path("page.json");
                let list = Value::Array(vec![payload]);
                write(&page, &serde_json::json!({ "conversations": list }).to_string());
                (page, list)
            }
        };
        convlake.convert(&[page]);
        Converted { convlake, conversations: conversations.as_array().expect("a list").clone() }
    }

    fn table(&self, name: &str) -> String {
        table(&self.convlake.lake(), name)
    }

    /// Every row of a table, one JSON object a line, without the columns that are NULL: keys come first in a table,
    /// so the order of all columns is that of the keys.
    fn dump(&self, name: &str) -> String {
        let rows = duckdb(&format!("SELECT * FROM {} ORDER BY ALL", self.table(name)));
        let mut text = String::new();
        for mut row in rows {
            row.as_object_mut().expect("a row").retain(|_, value| !value.is_null());
            text += &format!("{row}\n");
        }
        text
    }

    /// The objects of the payload that become the rows of a table.
    fn objects<'a>(&'a self, name: &'a str) -> Vec<&'a Value> {
        let participants = || children(&self.conversations, "participants");
        let sessions = || participants().flat_map(|p| children_of(p, "sessions"));
        let segments = || sessions().flat_map(|s| children_of(s, "segments"));
        match name {
            "conversations" => self.conversations.iter().collect(),
            "participants" => participants().collect(),
            "participant_attributes" => participants()
                .filter_map(|p| p.get("attributes")?.as_object())
                .flat_map(serde_json::Map::values)
                .collect(),
            "sessions" => sessions().collect(),
            "metrics" => sessions().flat_map(|s| children_of(s, "metrics")).collect(),
            "agent_groups" => sessions().flat_map(|s| children_of(s, "agentGroups")).collect(),
            "proposed_agents" => sessions().flat_map(|s| children_of(s, "proposedAgents")).collect(),
            "media_endpoint_stats" => sessions().flat_map(|s| children_of(s, "mediaEndpointStats")).collect(),
            "flow_outcomes" => {
                sessions().filter_map(|s| s.get("flow")).flat_map(|f| children_of(f, "outcomes")).collect()
            }
            "segments" => segments().collect(),
            "scored_agents" => segments().flat_map(|s| children_of(s, "scoredAgents")).collect(),
            "segment_properties" => segments().flat_map(|s| children_of(s, "properties")).collect(),
            _ => children(&self.conversations, name).collect(),
        }
    }
}

fn children<'a>(parents: &'a [Value], name: &'a str) -> impl Iterator<Item = &'a Value> {
    parents.iter().flat_map(move |parent| children_of(parent, name))
}

fn children_of<'a>(parent: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    parent.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// Compares a table with its pinned rows, or pins them; a table without rows has no file.
fn assert_pinned(path: &Path, found: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        match found {
            "" if path.exists() => std::fs::remove_file(path).expect("tests/golden is writable"),
            "" => {}
            rows => write(path, rows),
        }
        return;
    }
    let pinned = if path.exists() { read(path) } else { String::new() };
    if pinned != found {
        let same = pinned.lines().zip(found.lines()).take_while(|(a, b)| a == b).count();
        let [old, new] = [&*pinned, found].map(|text| text.lines().nth(same).unwrap_or("(no more rows)"));
        panic!("{} differs from line {}:\npinned {old}\nfound  {new}", path.display(), same + 1);
    }
}

fn golden_dir(sample: &str) -> PathBuf {
    tests_dir("golden").join(sample)
}

/// Everything that is checked of one recording.
fn check(sample: &str) {
    let converted = Converted::new(sample);
    for name in TABLES {
        let rows = duckdb(&format!("SELECT count(*) AS n FROM {}", converted.table(name)));
        let objects = converted.objects(name).len();
        assert_eq!(rows[0]["n"].as_u64(), Some(objects as u64), "{sample}: rows of {name}");
        assert_pinned(&golden_dir(sample).join(name).with_extension("jsonl"), &converted.dump(name));
    }
    check_emissions(sample, &converted);
    check_folds(sample, &converted);
    check_oracle(&converted);
}

/// The pinned rows are right, and not only what convlake once said.
fn check_oracle(converted: &Converted) {
    let raw = converted.convlake.path("raw.ndjson");
    write(&raw, &converted.conversations.iter().map(|record| format!("{record}\n")).collect::<String>());
    Oracle::expand(&raw, "2000-01-01", "2100-01-01").assert_equal(&converted.convlake.lake());
}

/// `metrics` adds up, name by name, to the payload.
fn check_emissions(sample: &str, converted: &Converted) {
    let mut expected: BTreeMap<String, (u64, i64)> = BTreeMap::new();
    for metric in converted.objects("metrics") {
        let (count, total) = expected.entry(metric["name"].as_str().expect("a name").to_owned()).or_default();
        *count += 1;
        *total += metric["value"].as_i64().expect("an integer");
    }
    // sum() of INT64 is wider than JSON's integers; these totals are not.
    let sql = "SELECT name, count(*) AS n, sum(value)::BIGINT AS total FROM";
    let found: BTreeMap<String, (u64, i64)> = duckdb(&format!("{sql} {} GROUP BY name", converted.table("metrics")))
        .iter()
        .map(|row| (text(row, "name"), (integer(row, "n") as u64, integer(row, "total"))))
        .collect();
    assert_eq!(found, expected, "{sample}");
}

/// The folded columns agree with the emissions, and with the totals that the platform itself emits.
fn check_folds(sample: &str, converted: &Converted) {
    let [sessions, conversations, metrics] = ["sessions", "conversations", "metrics"].map(|t| converted.table(t));
    for (name, column) in [
        ("tTalk", "t_talk_ms"),
        ("tHeld", "t_held_ms"),
        ("tAcw", "t_acw_ms"),
        ("tAcd", "t_acd_ms"),
        ("tConnected", "t_connected_ms"),
        ("nConnected", "n_connected"),
    ] {
        let row = &duckdb(&format!(
            "SELECT (SELECT sum(value)::BIGINT FROM {metrics} WHERE name = '{name}') AS emitted,
               (SELECT sum({column})::BIGINT FROM {sessions}) AS sessions,
               (SELECT sum({column})::BIGINT FROM {conversations}) AS conversations"
        ))[0];
        assert_eq!(row["emitted"], row["sessions"], "{sample}: {name}");
        assert_eq!(row["emitted"], row["conversations"], "{sample}: {name}");
    }
    for (parts, whole) in [("t_talk_ms", "t_talk_complete_ms"), ("t_held_ms", "t_held_complete_ms")] {
        let wrong =
            duckdb(&format!("FROM {sessions} SELECT session_id WHERE {whole} IS NOT NULL AND {parts} <> {whole}"));
        assert!(wrong.is_empty(), "{sample}: {parts} is not {whole} in {wrong:?}");
    }
    let handled = duckdb(&format!(
        "FROM {sessions} SELECT session_id WHERE t_handle_ms <> coalesce(t_talk_complete_ms, 0)
         + coalesce(t_held_complete_ms, 0) + coalesce(t_acw_ms, 0) + coalesce(t_contacting_ms, 0)
         + coalesce(t_dialing_ms, 0)"
    ));
    assert!(handled.is_empty(), "{sample}: handle time is not the sum of its parts in {handled:?}");
}

fn text(row: &Value, name: &str) -> String {
    row[name].as_str().expect("text").to_owned()
}

fn integer(row: &Value, name: &str) -> i64 {
    row[name].as_i64().expect("an integer")
}

#[test]
fn a_page_of_job_results() {
    check("jobs_results_page_2024");
}

#[test]
fn an_inbound_call() {
    check("voice_inbound_2024");
}

#[test]
fn a_web_messaging_conversation() {
    check("webmessaging_excerpt_2024");
}

#[test]
fn genesys_own_first_example() {
    check("blueprint_sql_conversation1");
}

#[test]
fn genesys_own_second_example() {
    check("blueprint_sql_conversation2");
}
