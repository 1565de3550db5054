//! A conversion with little memory makes what one with much of it makes; of exports, `same_bytes.rs` says the same.

#![cfg(test)]

mod common;

use std::path::Path;

use common::convlake::Convlake;
use common::org::at;
use common::receipts::{contents, ledger};
use common::write;
use convlake::lake::receipt::Counts;
use convlake::simulator::{World, WorldSettings};
use convlake::time::Day;
use serde_json::{Value, json};

/// What is logged of a run that writes rows to disk before their day is complete.
const SPILLED: &str = "rows went to disk";

/// Raw conversations of three days as they were at `as_of`.
fn conversations(as_of: &str) -> impl Iterator<Item = Value> {
    let world = World::new(WorldSettings { conversations_per_day: 120, ..WorldSettings::default() });
    let days = ["2025-03-01", "2025-03-02", "2025-03-03"].map(|day| day.parse::<Day>().unwrap());
    let records: Vec<_> = days.into_iter().flat_map(|day| world.conversations(day, at(as_of))).collect();
    records.into_iter().map(|record| serde_json::from_slice(&record.json).unwrap())
}

/// Pages of conversations in disorder, of which many come in two versions, far apart.
fn shuffled_pages() -> String {
    let versions = conversations("2025-03-03T12:00:00Z").chain(conversations("2025-06-01T00:00:00Z"));
    let mut numbered: Vec<(usize, Value)> = versions.enumerate().collect();
    numbered.sort_by_key(|(n, _)| n * 7919 % 641);
    let shuffled: Vec<Value> = numbered.into_iter().map(|(_, conversation)| conversation).collect();
    shuffled.chunks(9).map(|page| json!({"conversations": page}).to_string() + "\n").collect()
}

fn counts(lake: &Path) -> Vec<Counts> {
    ledger(lake).into_record().receipts.into_iter().map(|receipt| receipt.counts).collect()
}

#[test]
fn shuffled_pages_make_the_same_lake_in_little_memory() {
    let convlake = Convlake::new();
    write(&convlake.path("pages.jsonl"), &shuffled_pages());
    let convert = |memory: &str| {
        let (lake, report) = (convlake.path(memory), convlake.path("report.json"));
        let (lake_arg, report_arg) = (lake.to_str().unwrap(), report.to_str().unwrap());
        let args = ["convert", "pages.jsonl", "--out", lake_arg, "--memory", memory, "--report", report_arg, "-vv"];
        let spilled = convlake.succeed(args).stderr.matches(SPILLED).count();
        let report: Value = serde_json::from_str(&common::read(&report)).unwrap();
        assert_eq!(report["totals"]["peak_rss_bytes"].is_u64(), cfg!(target_os = "linux"), "{report}");
        (spilled, contents(&lake), counts(&lake))
    };
    let (spills, in_little, counts_in_little) = convert("1");
    let (none, in_much, counts_in_much) = convert("512");
    assert!(spills > 9 && none == 0, "{spills} and {none}");
    assert_eq!(in_little, in_much);
    assert_eq!(counts_in_little, counts_in_much);
    assert!(counts_in_much.iter().all(|counts| counts.duplicates >= 40), "{counts_in_much:?}");
}
