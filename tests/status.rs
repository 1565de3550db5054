//! What `status` shows of a lake with every kind of day: a calendar for people, the same as data.

#![cfg(test)]

mod common;

use common::convlake::Convlake;
use common::receipts::trust_the_clock;
use common::simulate::Simulate;
use common::write;
use serde_json::{Value, json};

/// The world begins on the first of these days: those before it are empty.
const BEGINNING: &str = "2020-01-01";

/// Two empty days and two settled ones, a gap of two, a provisional day, one that changed, and a part of one.
fn lake(simulate: &Simulate) -> Convlake {
    let convlake = Convlake::of(simulate);
    convlake.export("jobs", "2019-12-30", "2020-01-03", &["--rate-limit", "100000"]);
    convlake.export("query", "2020-01-05", "2020-01-07T12:00:00Z", &["--rate-limit", "100000"]);
    let mark = json!({"dirty": [{
        "day": "2020-01-06",
        "generation": 2,
        "seen_at": "2020-02-16T00:00:00Z",
        "run": "01936d00-0000-7000-8000-000000000000",
    }]});
    write(&convlake.lake().join("_convlake/ledger/2020-01/dirty-by-hand.json"), &mark.to_string());
    trust_the_clock(&convlake.lake());
    convlake
}

fn simulate() -> Simulate {
    Simulate::with(6, &["--now", "2020-02-15T00:00:00Z", "--rate-limit", "0", "--latency", "0"])
}

#[test]
fn every_state_has_its_cell_and_its_figures() {
    let simulate = simulate();
    let convlake = lake(&simulate);
    let lake = convlake.lake();
    let lake = lake.to_str().unwrap();
    let shown = convlake.succeed(["status", lake]).stdout;
    let calendar = [
        "         1   5    10   15   20   25   30",
        "2019-12                               --",
        "2020-01  ##..o!%",
        "",
        "# settled  o provisional  % partial  ! dirty  - empty  x expired  . missing",
        "",
        "missing: 2020-01-03 to 2020-01-04 (2 days)",
        "",
        "changed at the source since: 2020-01-06",
    ];
    assert!(shown.contains(&calendar.join("\n")), "{shown}");
    assert!(shown.contains("complete from 2019-12-30 until 2020-01-03T00:00:00Z"), "{shown}");
    assert!(shown.is_ascii(), "{shown}");
    let runs = shown.split_once("run begun at").expect("runs").1;
    let runs: Vec<Vec<&str>> = runs.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    assert!(runs.len() == 2 && runs.iter().all(|run| run[0].starts_with("20") && run[1] == "export"), "{shown}");
    assert!(runs[0].join(" ").contains("0 3 published 1"), "the last run is the first: {shown}");
    assert!(runs[1].join(" ").contains("0 4 published 1"), "{shown}");

    let data: Value = serde_json::from_str(&convlake.succeed(["status", lake, "--format", "json"]).stdout).unwrap();
    assert_eq!((&data["first"], &data["last"]), (&json!("2019-12-30"), &json!("2020-01-07")));
    assert_eq!((&data["anchor"], &data["watermark"]), (&json!("2019-12-30"), &json!("2020-01-03T00:00:00Z")));
    assert_eq!(
        data["states"],
        json!({"empty": 2, "settled": 2, "missing": 2, "provisional": 1, "dirty": 1, "partial": 1})
    );
    assert_eq!(data["missing"], json!([{"from": "2020-01-03", "to": "2020-01-05", "days": 2}]));
    assert_eq!(data["dirty"], json!(["2020-01-06"]));
    let days = data["days"].as_array().unwrap();
    let conversations: u64 = days.iter().map(|day| day["conversations"].as_u64().unwrap()).sum();
    assert_eq!(data["conversations"], conversations);
    assert_eq!(data["tables"]["conversations"]["rows"], conversations);
    let begun = |run: &Value| run["begun"]["asked"]["from"].as_str().unwrap()[..10].to_owned();
    let runs = data["runs"].as_array().unwrap();
    assert_eq!(runs.iter().map(begun).collect::<Vec<_>>(), ["2020-01-05", "2019-12-30"]);
    assert!(runs.iter().all(|run| run["ended"]["exit"] == 0), "{runs:?}");
    let whole = days.iter().filter(|day| day["date"].as_str() >= Some(BEGINNING) && day["state"] != "partial");
    assert!(whole.clone().count() == 4 && whole.clone().all(|day| day["conversations"] == 6), "{days:?}");
    assert_eq!(days[6]["covers"], json!({"from": "2020-01-07T00:00:00Z", "to": "2020-01-07T12:00:00Z"}));
    assert_eq!(days.iter().map(|day| day["rows"].as_u64().unwrap()).sum::<u64>(), data["totals"]["rows"]);
}

#[test]
fn a_range_narrows_what_is_shown_and_not_what_is_complete() {
    let simulate = simulate();
    let convlake = lake(&simulate);
    let lake = convlake.lake();
    let args = ["status", lake.to_str().unwrap(), "--from", "2020-01-02", "--to", "2020-01-06", "--format", "json"];
    let data: Value = serde_json::from_str(&convlake.succeed(args).stdout).unwrap();
    assert_eq!(data["states"], json!({"settled": 1, "missing": 2, "provisional": 1}));
    assert_eq!(data["watermark"], "2020-01-03T00:00:00Z");
}

#[test]
fn what_is_no_lake_is_refused() {
    let convlake = Convlake::new();
    let none = convlake.run(["status"]);
    assert_eq!(none.code, Some(2), "{none:?}");
    for command in ["status", "verify", "files"] {
        let elsewhere = convlake.run([command, "nowhere"]);
        assert_eq!(elsewhere.code, Some(78), "{elsewhere:?}");
        assert!(!convlake.path("nowhere").exists(), "looking makes nothing");
    }
}
