//! A conversation lives on the day it started, whatever brought it.

#![cfg(test)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::org::{Ask, Org, ids};
use common::receipts::{states, written};
use convlake::lake::State;
use convlake::simulator::{Rules, SimulatorSettings, WorldSettings};
use convlake::time::Day;

const BEFORE: &str = "2025-03-01";
const FROM: &str = "2025-03-08";
const TO: &str = "2025-03-11";

fn org() -> Org {
    let world = WorldSettings { conversations_per_day: 40, ..WorldSettings::default() };
    Org::new(SimulatorSettings { world, ..SimulatorSettings::default() }, "2025-03-20")
}

/// Jobs that bring whatever was active in their interval.
fn by_activity(org: &Org, from: &str, to: &str) -> Ask {
    let mut ask = org.ask("jobs", from, to);
    ask.api.start_of_day_matching = false;
    ask
}

fn dirty(org: &Org) -> BTreeSet<Day> {
    states(&org.lake()).into_iter().filter(|(_, state)| *state == State::Dirty).map(|(day, _)| day).collect()
}

/// The days that conversations in `pages` of jobs started on.
fn owners(org: &Org, before: &Day) -> BTreeMap<Day, usize> {
    // Whoever lived longer than to the window's start is in a job that begins there.
    let start = FROM.parse::<Day>().unwrap().start();
    let mut owners = BTreeMap::new();
    for back in 1..=62 {
        let day = before.plus(-back);
        let alive = org.simulator.world().conversations(day, org.clock.now()).into_iter().filter(|record| {
            let record: serde_json::Value = serde_json::from_slice(&record.json).unwrap();
            let end = record["conversationEnd"].as_str().map(|end| convlake::time::parse_timestamp(end).unwrap());
            end.is_some_and(|end| end >= start)
        });
        let count = alive.count();
        if count > 0 {
            owners.insert(day, count);
        }
    }
    owners
}

#[tokio::test(start_paused = true)]
async fn conversations_of_earlier_days_are_counted_and_mark_the_days_that_the_lake_holds() {
    let org = org();
    let first = org.export("jobs", BEFORE, FROM).await;
    org.assert_complete(&first, BEFORE, FROM);
    let files = written(&org.lake());

    let report = org.run(by_activity(&org, FROM, TO)).await;
    org.assert_complete(&report, BEFORE, TO);
    // Conversations without an end are active for as long as nobody says otherwise; the ended ones are certain.
    let owners = owners(&org, &FROM.parse().unwrap());
    assert!(report.totals.out_of_window >= owners.values().sum::<usize>() as u64, "{owners:?}");
    let held: BTreeSet<Day> = ids(&org.lake()).into_keys().collect();
    let expected: BTreeSet<Day> = owners.keys().copied().filter(|day| held.contains(day)).collect();
    let marked = dirty(&org);
    assert!(!expected.is_empty() && marked.is_superset(&expected), "{marked:?} and {expected:?}");
    assert!(owners.keys().any(|day| !held.contains(day)), "none of a day that the lake does not hold");
    let early: BTreeSet<Day> = marked.iter().copied().filter(|day| *day < FROM.parse().unwrap()).collect();
    assert_eq!(marked, early, "days of the window itself are fresh");
    let now = written(&org.lake());
    assert!(files.iter().all(|(path, time)| now.get(path) == Some(time)), "a marked day keeps its files");

    let again = org.export("jobs", BEFORE, FROM).await;
    assert_eq!(again.totals.exit, 0);
    assert!(dirty(&org).is_empty(), "a day that was fetched again is not dirty any more");
}

/// The slices of one run are fetched at the same time: what a later one brings of an earlier one's days was just
/// fetched and is no news.
#[tokio::test(start_paused = true)]
async fn slices_of_one_run_do_not_mark_each_others_days() {
    let org = org();
    let report = org.run(by_activity(&org, "2025-02-01", TO)).await;
    org.assert_complete(&report, "2025-02-01", TO);
    assert!(report.totals.out_of_window > 0);
    assert!(report.windows.iter().map(|window| window.slices).sum::<u64>() > 1);
    assert_eq!(dirty(&org), BTreeSet::new());
}

/// The bounds of some sources are wider than what was asked for: their neighbours are no news either.
#[tokio::test(start_paused = true)]
async fn a_neighbour_that_an_inclusive_end_brings_marks_no_day() {
    for protocol in ["cursor", "page", "query"] {
        let world = WorldSettings { conversations_per_day: 20, ..WorldSettings::default() };
        let rules = Rules { end_touches_day: true, ..Rules::default() };
        let org = Org::new(SimulatorSettings { world, rules, ..SimulatorSettings::default() }, "2025-03-20");
        // One conversation starts at the first instant of the 4th.
        org.export(protocol, "2025-03-04", "2025-03-05").await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let report = org.export(protocol, "2025-03-03", "2025-03-04").await;
        assert_eq!(report.totals.exit, 0, "{report:#?}");
        assert!(report.totals.out_of_window > 0, "{protocol}");
        assert_eq!(dirty(&org), BTreeSet::new(), "{protocol}");
    }
}
