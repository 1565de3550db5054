//! The process dies or is told to stop, at any moment: the lake stays readable, and the next run completes it.

#![cfg(test)]
#![cfg(unix)]

mod common;

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use common::convlake::Convlake;
use common::oracle::Oracle;
use common::receipts::{ledger, unfinished};
use common::running::Running;
use common::simulate::Simulate;
use common::{TABLES, duckdb, read, succeed, table};
use serde_json::Value;
use tokio::time::Instant;

const FROM: &str = "2025-01-01";
const TO: &str = "2025-02-10";
const DAYS: usize = 40;

fn args<'a>(lake: &'a str, from: &'a str, to: &'a str) -> Vec<&'a str> {
    vec!["export", "-vv", "--from", from, "--to", to, "--protocol", "query", "--rate-limit", "100000", "--out", lake]
}

fn simulate(more: &[&str]) -> Simulate {
    Simulate::with(8, &[&["--now", "2025-06-01T00:00:00Z", "--rate-limit", "0"], more].concat())
}

/// DuckDB reads every Parquet file there is, and of each committed day the rows that its receipt promises.
/// Returns the number of those days.
fn assert_readable(lake: &Path) -> usize {
    let receipts = ledger(lake).into_record().receipts;
    let mut counts = Vec::new();
    for name in TABLES.iter().filter(|name| has_files(&lake.join(name))) {
        counts.push(format!(
            "SELECT '{name}' AS name, date::VARCHAR AS date, count(*) AS n FROM {} GROUP BY ALL",
            table(lake, name)
        ));
    }
    let rows = if counts.is_empty() { Vec::new() } else { duckdb(&counts.join(" UNION ALL ")) };
    for receipt in &receipts {
        for file in &receipt.files {
            let (name, date) = (file.table.to_string(), receipt.day.to_string());
            let found = rows.iter().find(|row| row["name"] == name.as_str() && row["date"] == date.as_str());
            assert_eq!(found.map_or(0, |row| row["n"].as_u64().unwrap()), file.rows, "{name} of {date}");
        }
    }
    receipts.len()
}

fn has_files(table: &Path) -> bool {
    common::org::files(table).into_keys().any(|path| path.extension().is_some_and(|e| e == "parquet"))
}

#[test]
fn a_run_killed_at_ten_moments_leaves_a_readable_lake_that_the_next_run_completes() {
    let simulate = simulate(&[]);
    let oracle = Oracle::expand(&simulate.fetch("query", FROM, TO), FROM, TO);
    let convlake = Convlake::of(&simulate);
    let lake = convlake.lake();
    // All in the same lake: a run also finds what several dead ones left behind.
    let moments = [
        ("begun", 1),
        ("details/query", 1),
        ("swapped in", 1),
        ("swapped in", 9),
        ("swapped in", 15),
        ("recorded", 1),
        ("swapped in", 22),
        ("recorded", 2),
        ("swapped in", 44),
        ("recorded", 3),
    ];
    let mut committed = 0;
    for (what, times) in moments {
        let mut running = Running::start(&mut convlake.command(args("lake", FROM, TO)));
        running.wait_for(what, times);
        let status = running.signal("KILL");
        assert_eq!(status.code(), None, "it ended before it was killed");
        let now = assert_readable(&lake);
        assert!(now >= committed, "{committed} days were committed, now {now}");
        committed = now;
    }
    assert!(committed > 2 && committed < DAYS, "{committed} days after ten deaths");

    convlake.succeed(args("lake", FROM, TO));
    assert_eq!(assert_readable(&lake), DAYS);
    oracle.assert_equal(&lake);
    assert_eq!(unfinished(&lake), [""; 0]);
}

#[test]
fn a_run_killed_while_it_replaces_days_loses_and_doubles_nothing() {
    let early = Simulate::with(20, &["--now", "2025-02-11T00:00:00Z", "--rate-limit", "0", "--late-changes"]);
    let late = Simulate::with(20, &["--now", "2025-06-01T00:00:00Z", "--rate-limit", "0", "--late-changes"]);
    let oracle = Oracle::expand(&late.fetch("query", FROM, TO), FROM, TO);
    let convlake = Convlake::of(&early);
    convlake.succeed(args("lake", FROM, TO));
    let lake = convlake.lake();
    let mut killed = 0;
    for (what, times) in [("swapped in", 1), ("swapped in", 3), ("swapped in", 2), ("recorded", 1)] {
        let mut command = convlake.command(args("lake", FROM, TO));
        let mut running = Running::start(command.envs(late.env()));
        // Few days have changed: on a busy machine a run may get through them before it dies.
        killed += usize::from(running.reaches(what, times) && running.signal("KILL").code().is_none());
        // Whatever the receipts say: a reader sees each conversation once, and of each table every file.
        let seen = "count(*) AS n, count(DISTINCT conversation_id) AS ids, count(DISTINCT date) AS days";
        let seen = &duckdb(&format!("SELECT {seen} FROM {}", table(&lake, "conversations")))[0];
        assert_eq!([&seen["n"], &seen["ids"], &seen["days"]], [DAYS * 20, DAYS * 20, DAYS]);
        for name in TABLES {
            duckdb(&format!("SELECT count(*), max(conversation_start) FROM {}", table(&lake, name)));
        }
    }
    assert!(killed > 1);
    let mut command = convlake.command(args("lake", FROM, TO));
    succeed(command.envs(late.env()));
    assert_eq!(assert_readable(&lake), DAYS);
    oracle.assert_equal(&lake);
    assert_eq!(unfinished(&lake), [""; 0]);
}

#[test]
fn a_run_that_is_told_to_stop_says_so_and_the_next_run_completes_the_lake() {
    let simulate = simulate(&[]);
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let convlake = Convlake::of(&simulate);
        let (lake, report) = (convlake.lake(), convlake.path("report.json"));
        let mut running =
            Running::start(convlake.command(args("lake", FROM, TO)).args(["--report", report.to_str().unwrap()]));
        running.wait_for("recorded", 2);
        assert_eq!(running.signal(signal).code(), Some(code));
        let told: Value = serde_json::from_str(&read(&report)).unwrap();
        assert_eq!(told["totals"]["exit"], code, "{told}");
        assert!(told["errors"][0]["hint"].as_str().unwrap().contains("again"), "{told}");
        let committed = assert_readable(&lake);
        assert!((2..DAYS).contains(&committed), "{committed}");
        assert_eq!(told["days"].as_array().unwrap().len(), committed, "every day that was published is in the report");
        assert_eq!(unfinished(&lake), [""; 0]);

        let rerun = convlake.export("query", FROM, TO, &["--rate-limit", "100000"]);
        assert_eq!(assert_readable(&lake), DAYS);
        assert_eq!(rerun["totals"]["conversations"], DAYS * 8);
    }
}

#[test]
fn a_run_that_waits_for_the_source_stops_at_once() {
    let simulate = simulate(&["--latency", "60000"]);
    let convlake = Convlake::of(&simulate);
    let mut running = Running::start(&mut convlake.command(args("lake", FROM, TO)));
    running.wait_for("begun", 1);
    assert_stops(running);
}

#[test]
fn a_conversion_that_waits_for_its_input_stops_at_once() {
    let convlake = Convlake::new();
    let mut command = convlake.command(["convert", "-vv", "-", "--out", "lake"]);
    let mut running = Running::start(command.stdin(Stdio::piped()));
    // Held open: waiting for a child would close it.
    let mut stdin = running.child.stdin.take().unwrap();
    stdin.write_all(b"{\"conversations\":[").unwrap();
    running.wait_for("begun", 1);
    assert_stops(running);
    drop(stdin);
}

fn assert_stops(running: Running) {
    let before = Instant::now();
    assert_eq!(running.signal("TERM").code(), Some(143));
    assert!(before.elapsed() < Duration::from_secs(20), "{:?}", before.elapsed());
}
