//! Files as people have them: a test for each folder of `tests/cases`, whose README says what each becomes.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::common::convlake::{Convlake, Run};
use crate::common::{duckdb, read, table, tests_dir};
use crate::world::ids_in;

/// The files of a folder, in the order of their names.
fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(tests_dir("cases").join(folder)).expect("a folder");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} is empty");
    files
}

fn convert(convlake: &Convlake, pages: &[PathBuf], more: &[&str]) -> Run {
    let mut args = vec!["convert".to_owned()];
    args.extend(pages.iter().map(|page| page.display().to_string()));
    args.extend(["--out", "lake", "--report", "report.json"].map(str::to_owned));
    args.extend(more.iter().map(|arg| (*arg).to_owned()));
    convlake.run(args)
}

/// A folder's lake, which has so many conversations.
fn converted(folder: &str, count: usize) -> (Convlake, Run) {
    let convlake = Convlake::new();
    let run = convert(&convlake, &files(folder), &[]);
    assert_eq!(run.code, Some(0), "{folder}: {}", run.stderr);
    assert_eq!(ids_in(&convlake.lake()).len(), count, "{folder}: {}", run.stderr);
    (convlake, run)
}

/// A folder of which nothing is taken, with a message that says so.
fn refused(folder: &str, says: &[&str]) {
    let convlake = Convlake::new();
    let run = convert(&convlake, &files(folder), &[]);
    assert_eq!(run.code, Some(65), "{folder}: {}", run.stderr);
    let message = run.stderr.to_lowercase();
    assert!(message.contains("hint: "), "{folder}: {}", run.stderr);
    for part in says {
        assert!(message.contains(part), "{folder}: no {part:?} in: {}", run.stderr);
    }
    assert_eq!(ids_in(&convlake.lake()).len(), 0, "{folder}: {}", run.stderr);
}

fn column(convlake: &Convlake, column: &str) -> Vec<Value> {
    let conversations = table(&convlake.lake(), "conversations");
    let sql = format!("SELECT {column} AS it FROM {conversations} ORDER BY conversation_id");
    duckdb(&sql).iter().map(|row| row["it"].clone()).collect()
}

fn report(convlake: &Convlake) -> Value {
    serde_json::from_str(&read(&convlake.path("report.json"))).expect("JSON")
}

#[test]
fn every_folder_is_described() {
    let readme = read(&tests_dir("cases/README.md"));
    for entry in fs::read_dir(tests_dir("cases")).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(entry.path().is_file() || readme.contains(&format!("`{name}`")), "{name} is not described");
    }
}

#[test]
fn lone_conversation_with_status() {
    let (convlake, _) = converted("lone-conversation-with-status", 2);
    let extra = column(&convlake, "extra");
    assert_eq!(extra[0], Value::Null);
    let kept: Value = serde_json::from_str(extra[1].as_str().expect("a text")).expect("JSON");
    assert_eq!(kept, json!({ "status": "closed" }));
}

/// A conversation is one whatever stands beside its id and start, also what pages and errors have.
#[test]
fn a_lone_conversation_with_anything() {
    let convlake = Convlake::new();
    let beside = [
        ("status", json!("closed")),
        ("status", json!(500)),
        ("cursor", json!("abc")),
        ("nextPageCursor", json!("abc")),
        ("totalHits", json!(0)),
        ("totalRecords", json!(7)),
        ("error", json!("none")),
        ("errors", json!([])),
        ("message", json!("hello")),
        ("code", json!("bad.request")),
        ("entities", json!([])),
        ("conversations", json!([])),
        ("data", json!({})),
        ("body", json!("{}")),
        ("result", json!(null)),
        ("type", json!("RECORD")),
        ("paging", json!({ "pageCount": 0 })),
    ];
    let mut lines = String::new();
    for (number, (key, value)) in beside.iter().enumerate() {
        let mut record = json!({ "conversationId": format!("c{number}"),
            "conversationStart": "2025-03-04T10:00:00.000Z" });
        record[*key] = value.clone();
        lines += &format!("{record}\n");
    }
    let file = convlake.path("lines.ndjson");
    crate::common::write(&file, &lines);
    let run = convert(&convlake, &[file], &[]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(ids_in(&convlake.lake()).len(), beside.len(), "{}", run.stderr);
}

#[test]
fn envelopes() {
    for folder in ["client-library-envelope", "gateway-envelope"] {
        let (_, run) = converted(folder, 1);
        let said = run.stderr.lines().filter(|line| line.contains("`data`") || line.contains("`body`")).count();
        assert_eq!(said, 1, "{folder}: said once: {}", run.stderr);
    }
}

#[test]
fn list_of_pages() {
    converted("list-of-pages", 27);
}

#[test]
fn sdk_snake_case() {
    let (convlake, _) = converted("sdk-snake-case", 1);
    let start = column(&convlake, "epoch_ms(conversation_start)");
    assert_eq!(start, [json!(1_741_082_400_000_u64)]);
    assert_eq!(column(&convlake, "conversation_end"), [Value::Null]);
    assert_eq!(column(&convlake, "extra"), [Value::Null]);
}

#[test]
fn names_of_the_sdk_written_by_hand() {
    converted("all-unreadable", 10);
}

#[test]
fn unreadable_starts() {
    refused("unreadable-starts", &["start"]);
}

#[test]
fn singer_records() {
    let (convlake, _) = converted("singer-records", 1);
    assert_eq!(column(&convlake, "n_connected"), [json!(1)]);
}

#[test]
fn airbyte_raw() {
    let (convlake, _) = converted("airbyte-raw", 3);
    assert_eq!(column(&convlake, "n_connected"), [json!(1), json!(1), json!(1)]);
}

#[test]
fn jobs_files_one_by_one() {
    let pages = files("jobs-files-one-by-one");
    let convlake = Convlake::new();
    let first = convert(&convlake, &pages[..1], &[]);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let second = convert(&convlake, &pages[1..], &[]);
    assert!(matches!(second.code, Some(3 | 65)), "{}", second.stderr);
    assert!(second.stderr.contains("--merge"), "{}", second.stderr);
    assert!(!second.stderr.contains("--allow-vanished"), "{}", second.stderr);
    assert_eq!(on(&convlake, "2025-03-04"), 30, "{}", second.stderr);
    let merged = convert(&convlake, &pages[1..], &["--merge"]);
    assert_eq!(merged.code, Some(0), "{}", merged.stderr);
    assert_eq!((on(&convlake, "2025-03-04"), on(&convlake, "2025-03-05")), (30, 1), "{}", merged.stderr);
    let conversations = table(&convlake.lake(), "conversations");
    let sql = format!("SELECT epoch_ms(conversation_end) AS it FROM {conversations} WHERE conversation_id = 'c0'");
    assert_eq!(duckdb(&sql), [json!({ "it": 1_741_165_200_000_u64 })]);
}

fn on(convlake: &Convlake, day: &str) -> u64 {
    let conversations = table(&convlake.lake(), "conversations");
    let rows = duckdb(&format!("SELECT count(*) AS it FROM {conversations} WHERE date = '{day}'"));
    rows[0]["it"].as_u64().expect("a count")
}

#[test]
fn cut_emoji() {
    let (convlake, _) = converted("cut-emoji", 2);
    assert_eq!(column(&convlake, "external_tag"), [json!("cut \u{fffd}"), Value::Null]);
    let report = report(&convlake).to_string();
    assert!(report.contains("external_tag") || report.contains("externalTag"), "not counted: {report}");
}

#[test]
fn metric_as_float() {
    let (convlake, _) = converted("metric-as-float", 1);
    assert_eq!(column(&convlake, "t_handle_ms"), [json!(1200)]);
    assert_eq!(column(&convlake, "t_talk_ms"), [json!(900)]);
}

#[test]
fn sample_of_replaced_version() {
    let convlake = Convlake::new();
    let run = convert(&convlake, &files("sample-of-replaced-version"), &["--sample"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let ended = column(&convlake, "conversation_end")[0] != Value::Null;
    assert_eq!(run.stderr.contains("not ended"), !ended, "{}", run.stderr);
    assert_eq!(run.stderr.contains("10:05"), ended, "{}", run.stderr);
}

#[test]
fn depth_cut() {
    refused("depth-cut", &["@{", "-depth"]);
    let convlake = Convlake::new();
    let run = convert(&convlake, &files("depth-cut"), &["--max-bad", "100"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let kept = convlake.path("lake/_convlake/quarantine").is_dir();
    assert!(ids_in(&convlake.lake()).len() == 1 || kept, "it is neither in the lake nor kept: {}", run.stderr);
}

#[test]
fn utf16() {
    let (convlake, _) = converted("utf16", 1);
    assert_eq!(column(&convlake, "n_connected"), [json!(1)]);
}

#[test]
fn what_is_no_page() {
    refused("zip", &["zip", "pack"]);
    refused("csv", &["csv", "json"]);
    refused("yaml", &["yaml", "json"]);
    refused("eventbridge", &["eventbridge"]);
}
