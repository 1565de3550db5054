//! Genesys' own SDK works against `convlake simulate`: the simulator is the API and not our idea of it.

#![cfg(test)]

mod common;

use std::collections::BTreeSet;

use common::simulate::Simulate;
use common::{parts, read, succeed};
use serde_json::Value;

const FROM: &str = "2025-01-01";
const TO: &str = "2025-01-06";
const CONVERSATIONS: usize = 5 * 50;

#[test]
fn the_official_sdk_reads_the_simulator() {
    let simulate = Simulate::start(50);
    let output = succeed(parts::script("sdk/client.py").envs(simulate.env()).args([FROM, TO]));
    let seen: Value = serde_json::from_slice(&output.stdout).expect("the script prints JSON");

    assert!([400, 401].contains(&seen["wrong_secret"].as_u64().unwrap_or(0)), "{}", seen["wrong_secret"]);
    assert_eq!(seen["no_token"], 401);
    assert_eq!(seen["query_type"], "AnalyticsConversationWithoutAttributes");
    assert_eq!(seen["jobs_type"], "AnalyticsConversation");
    assert!(seen["jobs_attributes"].as_u64() > Some(0), "jobs have attributes");
    assert!(
        seen["states"].as_array().is_some_and(|states| states.len() > 1),
        "a job takes its time: {}",
        seen["states"]
    );
    assert!(seen["pages"].as_u64() > Some(2), "{} pages", seen["pages"]);
    for protocol in ["query", "jobs"] {
        let expected = ids_of(&simulate, protocol);
        assert_eq!(expected.len(), CONVERSATIONS);
        assert_eq!(ids(&seen[protocol]), expected, "{protocol}");
    }
    check_dimensions(&seen["dimensions"]);
}

/// Whether all of every list came, with names.
fn check_dimensions(lists: &Value) {
    let sizes = lists.as_object().expect("dimensions").iter().map(|(name, entities)| {
        let entities = entities.as_object().expect("names by id");
        assert!(entities.values().all(|name| name.as_str().is_some_and(|name| !name.is_empty())), "{name}");
        (name.as_str(), entities.len())
    });
    let expected = [
        ("queues", 12),
        ("users", 60),
        ("wrap_up_codes", 14),
        ("skills", 8),
        ("divisions", 3),
        ("flows", 8),
        ("teams", 5),
    ];
    assert_eq!(sizes.collect::<Vec<_>>(), expected);
}

/// Ids that a plain client gets, of conversations that start in the range.
fn ids_of(simulate: &Simulate, protocol: &str) -> BTreeSet<String> {
    let raw = read(&simulate.fetch(protocol, FROM, TO));
    let records = raw.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let start = |record: &Value| record["conversationStart"].as_str().map(str::to_owned);
    let in_range = records.filter(|record| start(record).is_some_and(|at| *FROM <= *at && *at < *TO));
    in_range.map(|record| record["conversationId"].as_str().expect("an id").to_owned()).collect()
}

fn ids(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().map(|id| id.as_str().expect("an id").to_owned()).collect()
}
