//! A conversation lives on the day it started, whatever brought it.

#![cfg(test)]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::org::{Org, at, range};
use common::receipts::{states, written};
use convlake::flatten::last_activity;
use convlake::lake::State;
use convlake::simulator::{Rules, SimulatorSettings, WorldSettings};
use convlake::time::{Day, wire_time};

const BEFORE: &str = "2025-03-01";
const FROM: &str = "2025-03-08";

fn org(now: &str) -> Org {
    let world = WorldSettings { conversations_per_day: 40, ..WorldSettings::default() };
    Org::new(SimulatorSettings { world, ..SimulatorSettings::default() }, now)
}

fn dirty(org: &Org) -> BTreeSet<Day> {
    states(&org.lake()).into_iter().filter(|(_, state)| *state == State::Dirty).map(|(day, _)| day).collect()
}

/// Days before `before` with conversations that something happened in between `from` and now.
fn owners(org: &Org, before: Day, from: &str) -> BTreeSet<Day> {
    let (from, now) = (at(from).timestamp_micros(), org.clock.now());
    let active = |day: &Day| {
        let records = org.simulator.world().conversations(*day, now);
        records.iter().any(|record| last_activity(&record.json, now.timestamp_micros()) >= Some(from))
    };
    (1..=62).map(|back| before.plus(-back)).filter(active).collect()
}

#[tokio::test(start_paused = true)]
async fn conversations_of_earlier_days_are_counted_and_mark_the_days_that_the_lake_holds() {
    let org = org("2025-03-08T12:00:00Z");
    let first = org.export("jobs", BEFORE, FROM).await;
    org.assert_complete(&first, BEFORE, FROM);
    let files = written(&org.lake());
    let seen_until = wire_time(org.clock.now());
    tokio::time::sleep(Duration::from_secs(12 * 24 * 3_600)).await;

    let mut keep = org.keep("auto");
    keep.request.from = Some(FROM.parse().unwrap());
    keep.request.dirty_max = 0;
    let report = org.sync(keep).await;
    assert_eq!(report.totals.exit, 0, "{report:#?}");
    let owners = owners(&org, FROM.parse().unwrap(), &seen_until);
    assert!(report.totals.out_of_window > 0);
    let held: BTreeSet<Day> = range(BEFORE, FROM).days().collect();
    let expected: BTreeSet<Day> = owners.intersection(&held).copied().collect();
    assert!(!expected.is_empty(), "nobody came back: {owners:?}");
    // A late evaluation is no activity: no job shows it.
    let marked = dirty(&org);
    assert!(!marked.is_empty() && marked.is_subset(&expected), "{marked:?} and {expected:?}");
    assert_eq!(report.totals.dirty_left, marked.len() as u64);
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
    let org = org("2025-03-20");
    org.export("jobs", "2025-01-31", "2025-02-01").await;
    let mut keep = org.keep("jobs");
    keep.request.from = Some("2025-02-01".parse().unwrap());
    let report = org.sync(keep).await;
    org.assert_complete(&report, "2025-01-31", "2025-03-19");
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
