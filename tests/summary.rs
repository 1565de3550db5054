//! What a run says at its end is true: the lake and what it holds, what is left undone, the next command, and a
//! conversation that is in the lake.

#![cfg(test)]

mod common;

use std::fs;

use common::convlake::{Convlake, Run};
use common::{duckdb, table};
use serde_json::{Value, json};

/// A conversation of 2025-03-04, with more in it.
fn conversation(id: &str, more: &Value) -> Value {
    let mut conversation = json!({"conversationId": id, "conversationStart": "2025-03-04T10:00:00.000Z"});
    conversation.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    conversation
}

/// Converts one file for each of `pages`, with more arguments.
fn convert(convlake: &Convlake, pages: &[Vec<Value>], more: &[&str]) -> Run {
    let names: Vec<String> = (1..=pages.len()).map(|n| format!("{n}.json")).collect();
    for (name, conversations) in names.iter().zip(pages) {
        fs::write(convlake.path(name), json!({"conversations": conversations}).to_string()).unwrap();
    }
    let args = ["convert", "--out", "lake", "--report", "report.json"];
    let names = names.iter().map(String::as_str);
    convlake.succeed(args.into_iter().chain(names).chain(more.iter().copied()))
}

#[test]
fn the_conversation_that_is_shown_is_the_version_in_the_lake_and_has_an_id_only_on_demand() {
    let convlake = Convlake::new();
    let ended = conversation("c1", &json!({"conversationEnd": "2025-03-04T10:05:00.000Z"}));
    let pages = [vec![ended], vec![conversation("c1", &json!({}))]];
    let run = convert(&convlake, &pages, &["--sample"]);
    let rows =
        duckdb(&format!("SELECT conversation_id, conversation_end FROM {}", table(&convlake.lake(), "conversations")));
    assert_eq!(rows, [json!({"conversation_id": "c1", "conversation_end": null})]);
    assert!(run.stderr.contains("for example c1: started 2025-03-04T10:00:00Z, not ended"), "{}", run.stderr);
    let report: Value = serde_json::from_slice(&fs::read(convlake.path("report.json")).unwrap()).unwrap();
    assert_eq!(report["sample"]["conversation_end"], Value::Null);
    assert_eq!(report["sample"]["conversation_id"], "c1");

    let silent = convert(&convlake, &pages, &[]);
    assert!(!silent.stderr.contains("c1"), "{}", silent.stderr);
}

#[test]
fn the_summary_names_the_lake_its_days_and_bytes_and_the_next_command_but_no_memory() {
    let convlake = Convlake::new();
    let run = convert(&convlake, &[vec![conversation("c1", &json!({}))]], &[]);
    assert!(run.stderr.contains("the lake `lake` holds 1 day, 2025-03-04 to 2025-03-04, in "), "{}", run.stderr);
    assert!(run.stderr.contains("next: convlake status lake\n"), "{}", run.stderr);
    assert!(!run.stderr.contains("memory"), "{}", run.stderr);
    convlake.succeed(["status", "lake"]);

    let verbose = convert(&convlake, &[vec![conversation("c1", &json!({}))]], &["-v"]);
    assert!(verbose.stderr.contains("MiB of memory"), "{}", verbose.stderr);
}
