//! What could not be read is shown without being told, read again when it can be, and removed by age.

#![cfg(test)]

mod common;

use std::path::Path;

use common::convlake::{Convlake, Run};
use common::org::files;
use common::receipts::ledger;
use common::{duckdb, table, write};
use convlake::lake::State;
use convlake::time::Day;
use serde_json::{Value, json};

const SECRET: &str = "Ada Lovelace \u{1b}[31m";

fn record(id: &str, hour: u32, start: &str) -> Value {
    json!({
        "conversationId": id,
        start: format!("2025-03-01T{hour:02}:00:00Z"),
        "participants": [{"participantId": "p", "participantName": SECRET, "attributes": {"Lovelace": "x"}}],
    })
}

/// A lake of 2025-03-01 with the conversations `id-a` and `id-c`, and in quarantine what `bad` is.
fn lake(bad: &[String]) -> Convlake {
    let convlake = Convlake::new();
    let good = [record("id-a", 1, "conversationStart"), record("id-c", 3, "conversationStart")]
        .map(|record| record.to_string());
    let all: Vec<String> = good.into_iter().chain(bad.iter().cloned()).collect();
    write(&convlake.path("pages.json"), &format!(r#"{{"conversations":[{}]}}"#, all.join(",")));
    convlake.convert(&[convlake.path("pages.json")]);
    convlake
}

fn list(convlake: &Convlake) -> Vec<Value> {
    let run = convlake.succeed(["quarantine", "lake", "list", "--format", "json"]);
    run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn name(convlake: &Convlake) -> String {
    list(convlake)[0]["name"].as_str().unwrap().to_owned()
}

fn line(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {}", run.stdout))
}

/// Writes the records of quarantine as if convlake had not been able to read them: their bytes, repaired.
fn repair(lake: &Path, from: &str, to: &str) {
    for (path, content) in files(&lake.join("_convlake/quarantine")) {
        write(&path, &String::from_utf8(content).unwrap().replace(from, to));
    }
}

fn conversations(convlake: &Convlake) -> Vec<Value> {
    let lake = convlake.lake();
    let (conversations, participants) = (table(&lake, "conversations"), table(&lake, "participants"));
    duckdb(&format!(
        "SELECT c.conversation_id AS id, hour(c.conversation_start) AS hour, count(p.participant_index) AS participants
         FROM {conversations} AS c LEFT JOIN {participants} AS p USING (conversation_id) GROUP BY ALL ORDER BY hour"
    ))
}

#[test]
fn what_is_there_is_listed_by_reason_and_shown_without_a_value() {
    let convlake = lake(&[record("id-b", 2, "begun").to_string(), "7".to_owned(), r#"{"a":NaN}"#.to_owned()]);
    let run = list(&convlake)[0]["run"].as_str().unwrap().to_owned();
    write(&convlake.lake().join(format!("_convlake/quarantine/refused-{run}-4.json")), "<html>\u{1b}]0;x\u{7}</html>");
    let all = list(&convlake);
    assert_eq!(all[0]["reasons"], json!({"no_start": 1, "not_object": 1, "not_json": 1}));
    assert_eq!((&all[0]["name"], &all[0]["records"]), (&json!(format!("{run}-0")), &json!(3)));
    assert_eq!((&all[1]["name"], &all[1]["kind"]), (&json!(format!("refused-{run}-4")), &json!("response")));
    let shown = convlake.succeed(["quarantine", "lake", "list"]).stdout;
    assert!(
        ["no_start", "not_object", "not_json", "refused response"].iter().all(|what| shown.contains(what)),
        "{shown}"
    );

    let show = |more: &[&str]| convlake.run([&["quarantine", "lake", "show"], more].concat());
    let structure = show(&[&format!("{run}-0")]);
    let shape: Value = serde_json::from_str(&structure.stdout).unwrap();
    assert_eq!(shape["conversationId"], "string of 4");
    assert_eq!(shape["participants"][0]["participantName"], format!("string of {}", SECRET.chars().count()));
    let all_said = format!("{}{}", structure.stdout, structure.stderr);
    assert!(!all_said.contains("Lovelace"), "neither values nor the names of attributes: {all_said}");
    assert!(structure.stderr.contains("record 1 of 3"), "{}", structure.stderr);

    let raw = show(&[&format!("{run}-0:1"), "--raw"]);
    assert!(raw.stdout.contains("Ada Lovelace \\u001b[31m") && !raw.stdout.contains('\u{1b}'), "{}", raw.stdout);
    assert!(show(&[&format!("{run}-0:3")]).stdout.contains("no JSON: it breaks at line 1, column 6"));
    let response = show(&[&format!("refused-{run}-4"), "--raw"]).stdout;
    assert_eq!(response.trim_end(), "<html>\\u001b]0;x\\u0007</html>");
    for (bad, said) in [
        (format!("{run}-0:9"), "has no record 9"),
        (format!("{run}-0:0"), "not a number from 1"),
        (format!("{run}-7"), "is not in quarantine"),
        ("../../lake".to_owned(), "no name of a file"),
    ] {
        let run = show(&[&bad]);
        assert_eq!(run.code, Some(2), "{bad}");
        assert!(run.stderr.contains(said), "{bad}: {}", run.stderr);
    }
}

#[test]
fn records_that_can_be_read_now_join_their_day_and_the_others_stay() {
    let elsewhere = record("id-z", 2, "begun").to_string().replace("2025-03-01", "2025-04-01");
    let convlake = lake(&[record("id-b", 2, "begun").to_string(), "7".to_owned(), elsewhere]);
    let nothing = line(&convlake.succeed(["quarantine", "lake", "retry"]));
    assert_eq!((&nothing["records"]["unreadable"], &nothing["days"]), (&json!(3), &json!([])));
    let before = ledger(&convlake.lake()).into_record().receipts;
    assert_eq!((before.len(), before[0].counts.conversations), (1, 2));

    repair(&convlake.lake(), "begun", "conversationStart");
    let retried = convlake.succeed(["quarantine", "lake", "retry"]);
    let told = line(&retried);
    assert_eq!(told["records"]["joined"], 1, "{told}");
    assert_eq!((&told["records"]["unreadable"], &told["records"]["no_day"]), (&json!(1), &json!(1)));
    assert_eq!(told["days"], json!(["2025-03-01"]));
    assert!(!format!("{}{}", retried.stdout, retried.stderr).contains("Lovelace"));
    let wanted =
        [("id-a", 1), ("id-b", 2), ("id-c", 3)].map(|(id, hour)| json!({"id": id, "hour": hour, "participants": 1}));
    assert_eq!(conversations(&convlake), wanted);
    let receipts = ledger(&convlake.lake()).into_record().receipts;
    let (old, new) = (&before[0], &receipts[0]);
    assert_eq!((new.counts.records, new.counts.conversations, new.counts.duplicates), (3, 3, 0));
    assert_eq!((new.source, new.observed_at, new.covers), (old.source, old.observed_at, old.covers));
    assert!(new.run > old.run);
    assert_eq!(list(&convlake)[0]["records"], 2, "it has left quarantine");

    // All records of the same observation at once give the same day, whatever way they came.
    let whole = Convlake::new();
    let all: Vec<String> = [("id-a", 1), ("id-b", 2), ("id-c", 3)]
        .map(|(id, hour)| record(id, hour, "conversationStart").to_string())
        .into();
    write(&whole.path("pages.json"), &all.join("\n"));
    whole.convert(&[whole.path("pages.json")]);
    assert_eq!(common::receipts::contents(&convlake.lake()), common::receipts::contents(&whole.lake()));
}

#[test]
fn what_the_lake_knows_better_or_was_told_to_forget_is_removed() {
    let bad = ["id-a", "id-b", "id-d"].map(|id| record(id, 5, "begun").to_string());
    let convlake = lake(&bad);
    convlake.succeed(["forget", "lake", "--yes", "--conversation", "id-d"]);
    assert_eq!(list(&convlake)[0]["records"], 2, "forgotten before it could be read");
    repair(&convlake.lake(), "begun", "conversationStart");
    repair(&convlake.lake(), "id-b", "id-e");
    let told = line(&convlake.succeed(["quarantine", "lake", "retry"]));
    assert_eq!((&told["records"]["superseded"], &told["records"]["joined"]), (&json!(1), &json!(1)), "{told}");
    let wanted =
        [("id-a", 1), ("id-c", 3), ("id-e", 5)].map(|(id, hour)| json!({"id": id, "hour": hour, "participants": 1}));
    assert_eq!(conversations(&convlake), wanted, "`id-a` was observed after the run began that could not read it");
    assert_eq!(list(&convlake), Vec::<Value>::new(), "a file without records is gone");
}

#[test]
fn records_of_an_expired_day_go_and_those_of_an_empty_one_fill_it() {
    let convlake = lake(&[record("id-b", 2, "begun").to_string()]);
    repair(&convlake.lake(), "begun", "conversationStart");
    convlake.succeed(["forget", "lake", "--yes", "--conversation", "id-a", "--conversation", "id-c"]);
    let told = line(&convlake.succeed(["quarantine", "lake", "retry"]));
    assert_eq!(told["records"]["joined"], 1);
    assert_eq!(conversations(&convlake), [json!({"id": "id-b", "hour": 2, "participants": 1})]);

    let convlake = lake(&[record("id-b", 2, "begun").to_string()]);
    repair(&convlake.lake(), "begun", "conversationStart");
    convlake.succeed(["expire", "lake", "--yes", "--before", "2025-03-02"]);
    let told = line(&convlake.succeed(["quarantine", "lake", "retry"]));
    assert_eq!(told["records"]["expired"], 1);
    assert_eq!(list(&convlake), Vec::<Value>::new());
    let day: Day = "2025-03-01".parse().unwrap();
    assert_eq!(ledger(&convlake.lake()).day(day).and_then(|entry| entry.state()), Some(State::Expired));
}

#[test]
fn what_is_old_is_purged() {
    let convlake = lake(&["7".to_owned()]);
    let name = name(&convlake);
    let told = line(&convlake.succeed(["quarantine", "lake", "purge", "--yes", "--older-than", "30d"]));
    assert_eq!((&told["records"], list(&convlake).len()), (&json!(0), 1));
    // The same file, said to be of a run that began in 2023.
    let (folder, old) = (convlake.lake().join("_convlake/quarantine"), "018bcfe5-6800-7000-8000-000000000000");
    let text = std::fs::read_to_string(folder.join(format!("{name}.jsonl"))).unwrap();
    let run = list(&convlake)[0]["run"].as_str().unwrap().to_owned();
    write(&folder.join(format!("{old}-0.jsonl")), &text.replace(&run, old));
    write(&folder.join(format!("refused-{old}-0.json")), "{");
    let unasked = convlake.run(["quarantine", "lake", "purge", "--older-than", "30d"]);
    assert_eq!(unasked.code, Some(2), "{}", unasked.stderr);
    assert!(unasked.stderr.contains("--yes") && list(&convlake).len() == 3, "{}", unasked.stderr);
    let mut dry = convlake.command(["quarantine", "lake", "purge", "--yes", "--older-than", "30d"]);
    let dry = dry.env("CONVLAKE_DRY_RUN", "yes").output().unwrap();
    let dry: Value = serde_json::from_slice(&dry.stdout).unwrap();
    assert_eq!((&dry["records"], &dry["dry_run"], list(&convlake).len()), (&json!(1), &json!(true), 3));
    let told = line(&convlake.succeed(["quarantine", "purge", "--out", "lake", "--yes", "--older-than", "30d"]));
    assert_eq!((&told["records"], &told["responses"]), (&json!(1), &json!(1)));
    assert_eq!(list(&convlake).into_iter().map(|told| told["name"].clone()).collect::<Vec<_>>(), [json!(name)]);
    let refused = convlake.run(["quarantine", "lake", "purge", "--older-than", "old"]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
}
