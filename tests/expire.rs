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

/// The calls of an export of the two days that have not expired into a lake of its own.
fn convlake_calls(simulate: &Simulate) -> Value {
    let convlake = Convlake::of(simulate);
    convlake.export("jobs", "2025-03-06", "2025-03-08", &[])["totals"]["calls"].clone()
}

#[test]
fn expired_days_are_gone_from_every_table_and_no_export_fills_them() {
    let simulate = Simulate::with(20, &["--now", "2025-06-01T00:00:00Z"]);
    let convlake = Convlake::of(&simulate);
    let lake = convlake.lake();
    convlake.export("jobs", "2025-03-01", "2025-03-03", &[]);
    convlake.export("jobs", "2025-03-05", "2025-03-07", &[]);
    let before = files(&lake);

    let mut dry = convlake.command(["expire", "lake", "--yes", "--before", "2025-03-06"]);
    let by_variable = dry.env("CONVLAKE_DRY_RUN", "1").output().unwrap();
    assert!(by_variable.status.success());
    let dry = convlake.succeed(["expire", "lake", "--before", "2025-03-06", "--dry-run"]);
    let without_run = |line: &[u8]| {
        let mut line: Value = serde_json::from_slice(line).unwrap();
        line["run"].take();
        line
    };
    assert_eq!(without_run(&by_variable.stdout), without_run(dry.stdout.as_bytes()));
    let told: Value = serde_json::from_str(&dry.stdout).unwrap();
    assert_eq!(
        (&told["conversations"]["days"], &told["conversations"]["files"]),
        (&json!(5), &json!(3 * TABLES.len()))
    );
    assert_eq!(files(&lake), before, "a dry run changes nothing");

    let unasked = convlake.run(["expire", "lake", "--before", "2025-03-06"]);
    assert_eq!(unasked.code, Some(2), "{}", unasked.stderr);
    assert!(unasked.stderr.contains("--yes") && unasked.stderr.contains("--dry-run"), "{}", unasked.stderr);
    assert_eq!(files(&lake), before, "without consent nothing goes");

    let expired = convlake.succeed(["expire", "lake", "--yes", "--before", "2025-03-06"]);
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
    // Two days by jobs: the expired ones cost nothing.
    let two = convlake_calls(&simulate);
    assert_eq!(report["totals"]["calls"], two, "{report}");
    let kept = report["days"].as_array().unwrap().iter().filter(|day| day["outcome"] == "kept");
    assert!(kept.clone().all(|day| day["reason"].as_str().unwrap().contains("expired")), "{report}");
    assert_eq!(kept.count(), 5);

    let again = convlake.succeed(["expire", "--out", "lake", "--yes", "--before", "2025-03-06"]);
    assert_eq!(serde_json::from_str::<Value>(&again.stdout).unwrap()["conversations"]["days"], 0);
    assert!(again.stderr.contains("nothing before 2025-03-06 is left to expire"), "{}", again.stderr);
}

#[test]
fn what_an_expiry_that_was_stopped_left_behind_goes_with_the_next() {
    let simulate = Simulate::with(10, &["--now", "2025-06-01T00:00:00Z"]);
    let convlake = Convlake::of(&simulate);
    convlake.export("jobs", "2025-03-01", "2025-03-03", &[]);
    let before = files(&convlake.lake());
    convlake.succeed(["expire", "lake", "--yes", "--before", "2025-03-02"]);
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
    convlake.succeed(["expire", "lake", "--yes", "--before", "2025-03-02"]);
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
        let run = convlake.run(["expire", "lake", "--yes", "--before", before]);
        assert_eq!(run.code, Some(code), "{before}: {}", run.stderr);
        assert!(run.stderr.contains(said), "{before}: {}", run.stderr);
    }
}

fn at_once(args: &[&str], convlake: &Convlake) -> Value {
    serde_json::from_str(&convlake.succeed(args).stdout).unwrap()
}

#[test]
fn a_range_that_has_expired_is_told_before_any_call_and_costs_none() {
    let simulate = Simulate::with(10, &["--now", "2025-06-01T00:00:00Z"]);
    let convlake = Convlake::of(&simulate);
    convlake.export("jobs", "2025-03-01", "2025-03-04", &[]);
    convlake.succeed(["expire", "lake", "--yes", "--before", "2025-03-03"]);
    let before = files(&convlake.lake());
    // A source where nobody answers.
    let range = ["export", "--from", "2025-03-01", "--to", "2025-03-03", "--out", "lake"];
    let args = [&range[..], &["--protocol", "jobs", "--report", "report.json"]].concat();
    let run = convlake.command(&args).env("CONVLAKE_BASE_URL", "http://127.0.0.1:9").output().unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(0), "{said}");
    let undo = "`convlake expire --undo --since 2025-03-01 --before 2025-03-03 --out lake` makes them due again";
    assert!(said.contains("2 days from 2025-03-01 to 2025-03-02 expired") && said.contains(undo), "{said}");
    assert!(!said.contains("check the range"), "{said}");
    let report: Value = serde_json::from_str(&common::read(&convlake.path("report.json"))).unwrap();
    assert_eq!(report["totals"]["calls"], 0);
    let outcomes = |report: &Value| -> Vec<String> {
        let days = report["days"].as_array().unwrap().iter();
        days.map(|day| format!("{} {}", day["outcome"].as_str().unwrap(), day["state"].as_str().unwrap())).collect()
    };
    assert_eq!(outcomes(&report), ["kept expired", "kept expired"]);
    let parts = |files: std::collections::BTreeMap<std::path::PathBuf, Vec<u8>>| -> Vec<_> {
        files.into_iter().filter(|(path, _)| path.to_string_lossy().contains("date=")).collect()
    };
    assert_eq!(parts(files(&convlake.lake())), parts(before));
    // What is planned is what would be asked.
    for args in [vec!["plan", "lake", "--from", "2025-03-01", "--to", "2025-03-04"], {
        let mut args = range.to_vec();
        (args[4], args[0]) = ("2025-03-04", "export");
        args.push("--dry-run");
        args
    }] {
        let plan = convlake.succeed(&args);
        assert!(plan.stdout.contains("2025-03-03  2025-03-04") && plan.stdout.starts_with("1 day,"), "{plan:?}");
        assert!(plan.stderr.contains("2 days from 2025-03-01 to 2025-03-02 expired"), "{plan:?}");
    }
}

#[test]
fn what_expired_by_mistake_comes_back_with_an_export() {
    let simulate = Simulate::with(10, &["--now", "2025-06-01T00:00:00Z"]);
    let convlake = Convlake::of(&simulate);
    let lake = convlake.lake();
    let export = || convlake.export("jobs", "2025-03-01", "2025-03-06", &[]);
    export();
    let whole = common::receipts::contents(&lake);
    convlake.succeed(["expire", "lake", "--yes", "--before", "2025-03-05"]);
    assert_eq!(dates(&convlake), set(&["2025-03-05"]));

    let undo = ["expire", "lake", "--undo", "--before", "2025-03-05", "--since", "2025-03-02"];
    let dry = at_once(&[&undo[..], &["--dry-run"]].concat(), &convlake);
    let days = json!(["2025-03-02", "2025-03-03", "2025-03-04"]);
    assert_eq!((&dry["days"], &dry["dry_run"]), (&days, &json!(true)));
    let expired = || states(&lake).values().filter(|state| **state == State::Expired).count();
    assert_eq!(expired(), 4, "a dry run changes nothing");
    assert_eq!(at_once(&undo, &convlake)["days"], days);
    assert_eq!(expired(), 1);
    assert_eq!(at_once(&undo, &convlake)["days"], json!([]), "it is taken back once");
    let watermark = ledger(&lake).watermark("2025-03-01".parse().unwrap()).map(|at| at.to_rfc3339());
    assert_eq!(watermark.as_deref(), Some("2025-03-02T00:00:00+00:00"), "what is missing is missing");
    convlake.succeed(["verify", "lake"]);

    let report = export();
    let count =
        |outcome: &str| report["days"].as_array().unwrap().iter().filter(|day| day["outcome"] == outcome).count();
    assert_eq!((count("published"), count("unchanged"), count("kept")), (3, 1, 1), "{report}");
    let mut back = whole.clone();
    back.pop_first();
    let mut held = common::receipts::contents(&lake);
    assert!(held.pop_first().unwrap().1.is_empty());
    assert_eq!(held, back, "what stays expired stays away");
    convlake.succeed(["verify", "lake"]);

    // And it may expire anew, and come back whole.
    convlake.succeed(["expire", "lake", "--yes", "--before", "2025-03-05"]);
    assert_eq!(expired(), 4);
    convlake.succeed(["expire", "lake", "--undo", "--before", "2025-03-05"]);
    export();
    assert_eq!(common::receipts::contents(&lake), whole);
    convlake.succeed(["verify", "lake"]);

    let range = convlake.run(["expire", "lake", "--undo", "--before", "2025-03-05", "--since", "2025-03-05"]);
    assert_eq!(range.code, Some(2), "{}", range.stderr);
    let alone = convlake.run(["expire", "lake", "--yes", "--before", "2025-03-05", "--since", "2025-03-01"]);
    assert_eq!(alone.code, Some(2), "an expiry has no beginning: {}", alone.stderr);
}
