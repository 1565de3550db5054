//! Days that are older than the lake is to hold go, and stay away.

#![cfg(test)]

mod common;

use std::collections::BTreeSet;

use common::convlake::Convlake;
use common::org::files;
use common::receipts::{ledger, states};
use common::simulate::Simulate;
use common::{TABLES, duckdb, table};
use convlake::lake::State;
use convlake::time::Day;
use serde_json::{Value, json};

fn dates(convlake: &Convlake) -> BTreeSet<String> {
    let of =
        |name: &str| duckdb(&format!("SELECT DISTINCT date::VARCHAR AS date FROM {}", table(&convlake.lake(), name)));
    let dates: BTreeSet<_> =
        TABLES.into_iter().flat_map(of).map(|row| row["date"].as_str().unwrap().to_owned()).collect();
    dates
}

fn set(dates: &[&str]) -> BTreeSet<String> {
    dates.iter().map(|date| (*date).to_owned()).collect()
}

#[test]
fn expired_days_are_gone_from_every_table_and_no_export_fills_them() {
    let simulate = Simulate::with(20, &["--now", "2025-06-01T00:00:00Z"]);
    let convlake = Convlake::of(&simulate);
    let lake = convlake.lake();
    convlake.export("jobs", "2025-03-01", "2025-03-03", &[]);
    convlake.export("jobs", "2025-03-05", "2025-03-07", &[]);
    let before = files(&lake);

    let dry = convlake.succeed(["expire", "lake", "--before", "2025-03-06", "--dry-run"]);
    let told: Value = serde_json::from_str(&dry.stdout).unwrap();
    assert_eq!(
        (&told["conversations"]["days"], &told["conversations"]["files"]),
        (&json!(5), &json!(3 * TABLES.len()))
    );
    assert_eq!(files(&lake), before, "a dry run changes nothing");

    let expired = convlake.succeed(["expire", "lake", "--before", "2025-03-06"]);
    assert_eq!(serde_json::from_str::<Value>(&expired.stdout).unwrap()["conversations"], told["conversations"]);
    assert_eq!(dates(&convlake), set(&["2025-03-06"]));
    let left: Vec<_> = files(&lake).into_keys().filter(|path| path.to_string_lossy().contains("date=")).collect();
    assert_eq!(left.len(), TABLES.len(), "{left:?}");
    assert!(!lake.join("conversations/date=2025-03-01").exists(), "nor is its folder left");
    let days: Vec<Day> =
        states(&lake).into_iter().filter(|(_, state)| *state == State::Expired).map(|(day, _)| day).collect();
    assert_eq!(days.len(), 5, "the two days that were never fetched have expired as well: {days:?}");
    let first: Day = "2025-03-01".parse().unwrap();
    let watermark = ledger(&lake).watermark(first).map(|at| at.to_rfc3339());
    assert_eq!(watermark.as_deref(), Some("2025-03-07T00:00:00+00:00"), "they do not hold it back");

    let report = convlake.export("jobs", "2025-03-01", "2025-03-08", &["--allow-vanished"]);
    assert_eq!(dates(&convlake), set(&["2025-03-06", "2025-03-07"]));
    let kept = report["days"].as_array().unwrap().iter().filter(|day| day["outcome"] == "kept");
    assert!(kept.clone().all(|day| day["reason"].as_str().unwrap().contains("expired")), "{report}");
    assert_eq!(kept.count(), 5);

    let again = convlake.succeed(["expire", "lake", "--before", "2025-03-06"]);
    assert_eq!(serde_json::from_str::<Value>(&again.stdout).unwrap()["conversations"]["days"], 0);
    assert!(again.stderr.contains("nothing before 2025-03-06 is left to expire"), "{}", again.stderr);
}

#[test]
fn what_an_expiry_that_was_stopped_left_behind_goes_with_the_next() {
    let simulate = Simulate::with(10, &["--now", "2025-06-01T00:00:00Z"]);
    let convlake = Convlake::of(&simulate);
    convlake.export("jobs", "2025-03-01", "2025-03-03", &[]);
    let before = files(&convlake.lake());
    convlake.succeed(["expire", "lake", "--before", "2025-03-02"]);
    // As if it had died after the first file: `conversations` goes first.
    let back = |convlake: &Convlake| {
        let old = |path: &std::path::Path| path.to_string_lossy().contains("date=2025-03-01");
        for (path, content) in before.iter().filter(|(path, _)| old(path) && !path.ends_with("conversations.parquet")) {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        assert_eq!(dates(convlake), set(&["2025-03-01", "2025-03-02"]));
    };
    back(&convlake);
    convlake.succeed(["expire", "lake", "--before", "2025-03-02"]);
    assert_eq!(dates(&convlake), set(&["2025-03-02"]));
    back(&convlake);
    convlake.export("jobs", "2025-03-01", "2025-03-03", &[]);
    assert_eq!(dates(&convlake), set(&["2025-03-02"]), "or with the next export");
}

#[test]
fn a_day_that_has_not_begun_cannot_expire() {
    let convlake = Convlake::new();
    for (before, code, said) in [
        ("2999-01-01", 2, "lies in the future"),
        ("-6h", 2, "is not a whole day"),
        ("soon", 2, "is not a time"),
        ("-30d", 78, "is not a lake"),
    ] {
        let run = convlake.run(["expire", "lake", "--before", before]);
        assert_eq!(run.code, Some(code), "{before}: {}", run.stderr);
        assert!(run.stderr.contains(said), "{before}: {}", run.stderr);
    }
}
