//! Pages that are merged make the same lake in whatever order they come, and cost no conversation that they do not
//! mention.

#![cfg(test)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use common::convlake::{Convlake, Run};
use common::org::{at, files, ids};
use common::receipts::{Contents, contents, ledger, states, written};
use convlake::lake::State;
use convlake::simulator::{World, WorldSettings};
use convlake::time::Day;
use rand::SeedableRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

const DAYS: [&str; 3] = ["2025-03-04", "2025-03-05", "2025-03-06"];
/// Moments at which the same conversations were saved, in versions that differ.
const SAVED: [&str; 3] = ["2025-03-05T09:00:00Z", "2025-03-07T00:00:00Z", "2025-06-01T00:00:00Z"];
/// Each order takes a process for every file.
const ORDERS: usize = 8;

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

/// What was saved at `saved` of three days.
fn conversations(saved: &str) -> Vec<Value> {
    let world = World::new(WorldSettings { conversations_per_day: 12, ..WorldSettings::default() });
    let records = DAYS.iter().flat_map(|date| world.conversations(day(date), at(saved)));
    records.map(|record| serde_json::from_slice(&record.json).unwrap()).collect()
}

/// A conversation that starts on `date` and ended at `ended`.
fn conversation(id: &str, date: &str, ended: &str) -> Value {
    json!({"conversationId": id, "conversationStart": format!("{date}T10:00:00.000Z"), "conversationEnd": ended,
        "participants": [{"participantId": "p", "purpose": "customer", "sessions": [{"sessionId": ended}]}]})
}

fn save(convlake: &Convlake, name: &str, conversations: &[Value]) -> PathBuf {
    let path = convlake.path(name);
    fs::write(&path, json!({"conversations": conversations}).to_string()).unwrap();
    path
}

fn run(convlake: &Convlake, lake: &str, args: &[&str]) -> Run {
    convlake.run([&["convert", "--out", lake], args].concat())
}

fn merge(convlake: &Convlake, lake: &str, files: &[&str]) -> Run {
    let run = run(convlake, lake, &[&["--merge"], files].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    run
}

/// The lake that is made when all files are merged at once.
fn at_once(convlake: &Convlake, files: &[&str]) -> Contents {
    merge(convlake, "at-once", files);
    let made = contents(&convlake.path("at-once"));
    fs::remove_dir_all(convlake.path("at-once")).unwrap();
    made
}

fn verified(convlake: &Convlake, lake: &str) {
    let run = convlake.run(["verify", lake]);
    assert_eq!(run.code, Some(0), "{}\n{}", run.stdout, run.stderr);
}

#[test]
fn files_one_by_one_in_any_order_make_the_lake_of_all_at_once() {
    let convlake = Convlake::new();
    let mut rng = ChaCha8Rng::seed_from_u64(10);
    let all: Vec<Value> = SAVED.iter().flat_map(|saved| conversations(saved)).collect();
    let mut names: Vec<String> = (0..6).map(|n| format!("{n}.json")).collect();
    for name in &names {
        let some: Vec<Value> = all.sample(&mut rng, 30).cloned().collect();
        save(&convlake, name, &some);
    }
    // Two conversations whose start moves to the day behind and the day before.
    for (n, date) in [DAYS[0], DAYS[1], DAYS[1]].iter().enumerate() {
        names.push(format!("moved-{n}.json"));
        let ended = |hour: usize| format!("{}T{:02}:00:00.000Z", DAYS[2], 11 + hour);
        save(
            &convlake,
            &names[6 + n],
            &[conversation("moves", date, &ended(n)), conversation("goes-back", date, &ended(5 - n))],
        );
    }
    let files: Vec<&str> = names.iter().map(String::as_str).collect();
    let want = at_once(&convlake, &files);
    assert_eq!(want.len(), DAYS.len());
    for order in 0..ORDERS {
        let (lake, mut files) = (format!("lake-{order}"), files.clone());
        files.shuffle(&mut rng);
        let mut left = files.as_slice();
        while !left.is_empty() {
            // Mostly one at a time, and once in a while two.
            let (together, rest) = left.split_at([1, 1, 2].choose(&mut rng).copied().unwrap_or(1).min(left.len()));
            merge(&convlake, &lake, together);
            left = rest;
        }
        assert_eq!(contents(&convlake.path(&lake)), want, "{files:?}");
        let held = ids(&convlake.path(&lake));
        let of = |date: &str, id: &str| held[&day(date)].iter().filter(|held| *held == id).count();
        assert_eq!(DAYS.map(|date| of(date, "moves")), [0, 1, 0]);
        assert_eq!(DAYS.map(|date| of(date, "goes-back")), [1, 0, 0]);
        verified(&convlake, &lake);
    }
}

/// A job's results saved a day at a time: the second file has one of the first day's conversations again, later.
#[test]
fn a_file_that_repeats_one_of_another_day_costs_none_of_that_day() {
    let convlake = Convlake::new();
    let first: Vec<Value> =
        (0..30).map(|n| conversation(&format!("c{n}"), DAYS[0], "2025-03-04T10:05:00.000Z")).collect();
    let again = conversation("c0", DAYS[0], "2025-03-05T08:00:00.000Z");
    save(&convlake, "first.json", &first);
    save(&convlake, "second.json", &[again.clone(), conversation("d0", DAYS[1], "2025-03-05T10:05:00.000Z")]);
    assert_eq!(run(&convlake, "lake", &["first.json"]).code, Some(0));
    let before = written(&convlake.lake());

    let refused = run(&convlake, "lake", &["second.json"]);
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains("--merge") && !refused.stderr.contains("--allow-vanished"), "{}", refused.stderr);
    assert!(before.iter().all(|(path, time)| written(&convlake.lake())[path] == *time), "the day keeps its files");

    merge(&convlake, "lake", &["second.json"]);
    let held = ids(&convlake.lake());
    assert_eq!((held[&day(DAYS[0])].len(), &held[&day(DAYS[1])]), (30, &vec!["d0".to_owned()]));
    let sessions = |lake: &str| contents(&convlake.path(lake))[&day(DAYS[0])]["sessions"].clone();
    let mut want = first;
    want[0] = again;
    save(&convlake, "want.json", &want);
    assert_eq!(run(&convlake, "want", &["want.json"]).code, Some(0));
    assert_eq!(sessions("lake"), sessions("want"), "the later version, with its children only");
    verified(&convlake, "lake");
}

#[test]
fn a_merged_day_counts_as_whole_only_if_it_did_before() {
    let convlake = Convlake::new();
    let all = conversations(SAVED[2]);
    save(&convlake, "some.json", &all[..6]);
    save(&convlake, "rest.json", &all[6..]);
    save(&convlake, "all.json", &all);
    merge(&convlake, "lake", &["some.json"]);
    merge(&convlake, "lake", &["rest.json"]);
    assert!(states(&convlake.lake()).values().all(|state| *state == State::Partial));
    assert!(ledger(&convlake.lake()).days().all(|(_, entry)| !entry.receipt.as_ref().unwrap().is_whole()));
    verified(&convlake, "lake");
    let merged = contents(&convlake.lake());

    // Somebody says that this is all of these days.
    assert_eq!(run(&convlake, "lake", &["all.json"]).code, Some(0));
    assert_eq!(contents(&convlake.lake()), merged);
    assert!(states(&convlake.lake()).values().all(|state| *state == State::Provisional));
    let (files, receipts) = (written(&convlake.lake()), ledger(&convlake.lake()));
    let report = convlake.path("report.json");
    merge(&convlake, "lake", &["some.json", "--report", report.to_str().unwrap()]);
    assert_eq!((written(&convlake.lake()), ledger(&convlake.lake())), (files, receipts), "nothing is new");
    let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    assert_eq!(report["days"][0]["outcome"], "unchanged");

    save(&convlake, "more.json", &[conversation("more", DAYS[0], "2025-03-04T11:00:00.000Z")]);
    merge(&convlake, "lake", &["more.json"]);
    assert!(states(&convlake.lake()).values().all(|state| *state == State::Provisional));
    assert!(ids(&convlake.lake())[&day(DAYS[0])].contains(&"more".to_owned()));
}

#[test]
fn what_is_forgotten_or_has_expired_does_not_come_back_with_a_merge() {
    let convlake = Convlake::new();
    let all = conversations(SAVED[2]);
    let gone = all[20]["conversationId"].as_str().unwrap();
    assert_eq!(all[20]["conversationStart"].as_str().unwrap()[..10], *DAYS[1]);
    save(&convlake, "all.json", &all);
    fs::write(convlake.path("ids"), gone).unwrap();
    merge(&convlake, "lake", &["all.json"]);
    convlake.succeed(["forget", "lake", "--yes", "--file", "ids"]);
    convlake.succeed(["expire", "lake", "--yes", "--before", DAYS[1]]);
    merge(&convlake, "lake", &["all.json"]);
    let held = ids(&convlake.lake());
    assert_eq!(held.keys().copied().collect::<Vec<_>>(), [day(DAYS[1]), day(DAYS[2])]);
    assert_eq!(held[&day(DAYS[1])].len(), 11);
    assert!(!held[&day(DAYS[1])].contains(&gone.to_owned()));
    verified(&convlake, "lake");
}

#[test]
fn merges_at_the_same_time_lose_nothing() {
    let convlake = Convlake::new();
    let all: Vec<Value> =
        (0..40).map(|n| conversation(&format!("c{n:02}"), DAYS[0], "2025-03-04T10:05:00.000Z")).collect();
    let names: Vec<String> = (0..4).map(|n| format!("{n}.json")).collect();
    for (name, some) in names.iter().zip(all.chunks(10)) {
        save(&convlake, name, some);
    }
    let begin = |name: &String| {
        let mut command = convlake.command(["convert", "--merge", name, "--out", "lake"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let running: Vec<_> = names.iter().map(begin).collect();
    for child in running {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let held: BTreeSet<String> = ids(&convlake.lake()).remove(&day(DAYS[0])).unwrap().into_iter().collect();
    assert_eq!(held.len(), 40);
    verified(&convlake, "lake");
    assert!(files(&convlake.lake().join("_convlake/claims")).is_empty(), "no journal is left");
}
