//! `sync`: whatever the schedule, the lake comes to hold what the source does, and no call is made twice for nothing.

#![cfg(test)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::TimeDelta;
use common::convlake::Convlake;
use common::org::{Keep, Org, at, ids, range};
use common::receipts::{contents, ledger, states};
use common::simulate::Simulate;
use convlake::export::{DayOutcome, Report};
use convlake::lake::State;
use convlake::plan::Source;
use convlake::plan::due::Reason;
use convlake::simulator::{Endpoint, Faults, Rules, SimulatorSettings, WorldSettings};
use convlake::time::{Day, Timestamp, wire_time};
use serde_json::Value;
use tokio::time::sleep;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// Whatever day it is, the syncs of these tests run at two.
const NOW: &str = "2025-03-20T02:00:00Z";

/// A small world in which conversations are little more than ids, with everything that makes days change.
fn world(conversations_per_day: u32, availability_lag: Duration) -> SimulatorSettings {
    SimulatorSettings {
        world: WorldSettings { conversations_per_day, deletions: true, brief: true, ..WorldSettings::default() },
        rules: Rules { availability_lag, ..Rules::default() },
        ..SimulatorSettings::default()
    }
}

fn org() -> Org {
    org_of(20)
}

fn org_of(conversations_per_day: u32) -> Org {
    Org::new(world(conversations_per_day, HOUR), NOW)
}

/// A day and some minutes, or a day less some.
fn about_a_day(minutes: i64) -> Duration {
    (TimeDelta::days(1) + TimeDelta::minutes(minutes)).to_std().unwrap()
}

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

/// The tables that late changes reach in a world like that.
fn keep(org: &Org, protocol: &str) -> Keep {
    Keep { tables: Some(&["conversations", "evaluations", "surveys"]), ..org.keep(protocol) }
}

async fn sync(org: &Org) -> Report {
    let report = org.sync(keep(org, "auto")).await;
    assert_eq!(report.totals.exit, 0, "{report:#?}");
    report
}

fn due(report: &Report, reason: Reason) -> BTreeSet<Day> {
    report.days.iter().filter(|day| day.due == Some(reason)).map(|day| day.date).collect()
}

/// Days by reason, as a line to compare.
fn reasons(report: &Report) -> String {
    let counts = Reason::ALL.map(|reason| (reason.name(), due(report, reason).len()));
    counts.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>().join(", ")
}

fn days_by(report: &Report, outcome: DayOutcome) -> BTreeSet<Day> {
    report.days.iter().filter(|day| day.outcome == outcome).map(|day| day.date).collect()
}

/// What another lake holds that is filled from the source in one go, at this moment.
async fn fresh(org: &Org, protocol: &str, from: &str, to: &str) -> BTreeMap<Day, BTreeMap<String, String>> {
    let mut ask = org.ask(protocol, from, to);
    ask.tables = keep(org, protocol).tables;
    ask.lake = org.path(&format!("fresh-{}", org.clock.now().timestamp_millis()));
    let lake = ask.lake.clone();
    assert_eq!(org.run(ask).await.totals.exit, 0);
    contents(&lake)
}

#[tokio::test(start_paused = true)]
async fn an_empty_lake_begins_a_week_ago_and_holds_everything_up_to_a_quarter_of_an_hour_ago() {
    let org = Org::new(world(20, HOUR), "2025-03-20T14:00:00Z");
    let report = sync(&org).await;
    assert_eq!(reasons(&report), "new 7, fresh 1");
    assert_eq!(report.totals.watermark, Some(at("2025-03-20")));
    assert_eq!(ids(&org.lake()), org.world("2025-03-13", "2025-03-20T13:45:00Z"));
    assert_eq!(ledger(&org.lake()).anchor(), Some(day("2025-03-13")));
    let today = ledger(&org.lake()).receipt(day("2025-03-20")).cloned().unwrap();
    assert_eq!((today.source, today.state), (Source::Query, State::Partial));
    assert_eq!(today.covers.to().timestamp(), at("2025-03-20T13:45:00Z").timestamp());
}

#[tokio::test(start_paused = true)]
async fn a_second_sync_right_away_only_asks_what_is_promised() {
    let org = org();
    let first = sync(&org).await;
    let files = common::receipts::written(&org.lake());
    let second = sync(&org).await;
    assert_eq!((second.totals.calls, second.days.len()), (1, 0), "{second:#?}");
    assert_eq!(second.totals.watermark, first.totals.watermark);
    assert_eq!(common::receipts::written(&org.lake()), files);
    // An hour later only the present has more to tell.
    sleep(HOUR).await;
    assert_eq!(reasons(&sync(&org).await), "fresh 1");
}

#[tokio::test(start_paused = true)]
async fn days_that_may_change_are_looked_at_once_a_day_and_then_rest() {
    let org = org();
    let mut told = BTreeMap::<Day, Vec<Reason>>::new();
    // A scheduler is never on time.
    for minutes in [0, -3, 5, -20, 0, 9, -1, 2, 30, -30, 0, 0] {
        for day in &sync(&org).await.days {
            told.entry(day.date).or_default().extend(day.due);
        }
        sleep(about_a_day(minutes)).await;
    }
    let first = &told[&day("2025-03-20")];
    let lookback = first.iter().filter(|reason| **reason == Reason::Lookback).count();
    assert_eq!((first[0], first[1], lookback, first.last()), (Reason::Fresh, Reason::New, 6, Some(&Reason::Unsettled)));
    assert_eq!(states(&org.lake())[&day("2025-03-20")], State::Settled);
    let final_days = range("2025-03-13", "2025-03-24");
    let held: Vec<_> = states(&org.lake()).into_iter().filter(|(day, _)| final_days.covers(&day.interval())).collect();
    assert!(held.iter().all(|(_, state)| *state == State::Settled), "{held:?}");
}

#[tokio::test(start_paused = true)]
async fn a_month_that_was_missed_is_filled() {
    let org = org();
    sync(&org).await;
    sleep(31 * DAY).await;
    let report = sync(&org).await;
    // The day that was going on when the machine went off is among them.
    assert_eq!(due(&report, Reason::New).len(), 31, "{}", reasons(&report));
    assert_eq!(report.totals.watermark, Some(at("2025-04-20")));
    let days: Vec<Day> = range("2025-03-13", "2025-04-20").days().collect();
    assert!(days.iter().all(|day| ledger(&org.lake()).receipt(*day).is_some_and(|receipt| receipt.is_whole())));
    let to = "2025-04-20";
    assert_eq!(contents(&org.lake()).range(..day(to)).count(), days.len());
    let held = ids(&org.lake());
    assert!(org.world("2025-03-20", to).iter().all(|(day, ids)| held.get(day) == Some(ids)));
}

#[tokio::test(start_paused = true)]
async fn a_day_that_changed_after_weeks_is_found_and_fetched_in_the_same_run() {
    let org = org_of(80);
    // An export of old days, and a sync that begins behind them.
    let (from, to) = ("2025-01-20", "2025-03-13");
    let mut ask = org.ask("jobs", from, to);
    ask.tables = keep(&org, "jobs").tables;
    assert_eq!(org.run(ask).await.totals.exit, 0);
    let mut first = keep(&org, "auto");
    first.request.from = Some(day(to));
    assert_eq!(org.sync(first).await.totals.exit, 0);
    let mut changed = BTreeSet::new();
    for _ in 0..10 {
        sleep(DAY).await;
        let report = sync(&org).await;
        let dirty = due(&report, Reason::Dirty);
        assert!(states(&org.lake()).values().all(|state| *state != State::Dirty), "{report:#?}");
        changed.extend(dirty);
    }
    assert!(changed.iter().filter(|day| **day < "2025-03-06".parse().unwrap()).count() > 1, "{changed:?}");
    // Whoever was active in these ten days is as the source has it; what changed in silence is not promised.
    let truth = fresh(&org, "jobs", from, to).await;
    let held = contents(&org.lake());
    for day in &changed {
        assert_eq!(held[day], truth.get(day).cloned().unwrap_or_else(|| held[day].clone()), "{day}");
    }
}

#[tokio::test(start_paused = true)]
async fn more_changed_days_than_a_run_may_fetch_wait_for_the_next_and_are_reported() {
    let org = org_of(80);
    let mut first = keep(&org, "auto");
    first.request.from = Some(day("2025-01-20"));
    org.sync(first).await;
    sleep(6 * DAY).await;
    let limited = |max: usize| {
        let mut keep = keep(&org, "auto");
        keep.request.dirty_max = max;
        keep
    };
    let report = org.sync(limited(1)).await;
    let left = report.totals.dirty_left as usize;
    assert!(left > 1, "{report:#?}");
    let dirty: Vec<Day> = states(&org.lake()).into_iter().filter(|(_, s)| *s == State::Dirty).map(|(d, _)| d).collect();
    assert_eq!(dirty.len(), left);
    let fetched = due(&report, Reason::Dirty);
    assert!(fetched.len() == 1 && fetched.iter().all(|day| dirty.iter().all(|other| day < other)));
    let rest = org.sync(limited(62)).await;
    assert_eq!((due(&rest, Reason::Dirty).len(), rest.totals.dirty_left), (left, 0));
}

#[tokio::test(start_paused = true)]
async fn days_that_expired_by_mistake_are_due_again_once_that_is_taken_back() {
    let org = org();
    sync(&org).await;
    let lake = org.lake();
    let held = || contents(&lake).into_iter().filter(|(_, files)| !files.is_empty()).map(|(day, _)| day);
    let whole: BTreeSet<Day> = held().collect();
    let expire = |more: &[&str]| {
        let convlake = Convlake::new();
        convlake.succeed([&["expire", lake.to_str().unwrap(), "--before", "2025-03-16"][..], more].concat());
    };
    expire(&["--yes"]);
    assert_eq!(held().count() + 3, whole.len());
    sleep(HOUR).await;
    assert_eq!(due(&sync(&org).await, Reason::New), BTreeSet::new(), "nobody fills them");
    expire(&["--undo", "--since", "2025-03-14"]);
    sleep(HOUR).await;
    let back = sync(&org).await;
    assert_eq!(due(&back, Reason::New), ["2025-03-14", "2025-03-15"].map(day).into(), "{}", reasons(&back));
    let away: BTreeSet<Day> = whole.difference(&held().collect()).copied().collect();
    assert_eq!(away, [day("2025-03-13")].into(), "what stays expired stays away");
    assert!(states(&lake)[&day("2025-03-13")] == State::Expired);
}

/// What a first sync notes that then fails binds no later one.
#[tokio::test(start_paused = true)]
async fn a_first_sync_that_fails_leaves_its_beginning_to_the_next() {
    let org = org();
    let failing = || {
        let mut keep = keep(&org, "auto");
        (keep.request.from, keep.api.max_calls) = (Some(day("2024-01-01")), Some(2));
        keep
    };
    let failed = org.sync(failing()).await;
    assert_eq!((failed.totals.exit, failed.days.len()), (75, 0), "{failed:#?}");
    assert!(!org.lake().join("_convlake/lake.json").exists());
    let report = sync(&org).await;
    assert_eq!(report.days[0].date, day("2025-03-13"), "{}", reasons(&report));
    assert_eq!(ledger(&org.lake()).anchor(), Some(day("2025-03-13")));
}

#[tokio::test(start_paused = true)]
async fn settled_only_publishes_a_day_when_it_no_longer_changes() {
    let org = org();
    let settled = || {
        let mut keep = keep(&org, "auto");
        keep.request.from = Some(day("2025-03-01"));
        keep.request.settled_only = true;
        keep
    };
    let report = org.sync(settled()).await;
    assert_eq!((report.totals.exit, reasons(&report).as_str()), (0, "new 12"));
    sleep(2 * DAY).await;
    let report = org.sync(settled()).await;
    assert_eq!(due(&report, Reason::New), [day("2025-03-13"), day("2025-03-14")].into());
    assert!(states(&org.lake()).values().all(|state| *state == State::Settled));
    assert_eq!(report.totals.watermark, Some(at("2025-03-15")));
}

#[tokio::test(start_paused = true)]
async fn a_sync_that_dies_is_continued_by_the_next() {
    let from = "2025-01-01";
    let begin = |org: &Org, calls: Option<u64>| {
        let mut keep = keep(org, "auto");
        keep.request.from = Some(day(from));
        keep.api.max_calls = calls;
        keep.request.concurrency = 2;
        keep
    };
    let org = org();
    let whole = Keep { lake: org.path("uncut"), ..begin(&org, None) };
    let uncut = org.sync(whole).await;
    let mut spent = 0;
    for cut in 1.. {
        let report = org.sync(begin(&org, Some(16))).await;
        spent += report.totals.calls;
        if report.totals.exit == 0 {
            assert!(cut > 2, "nothing was cut");
            break;
        }
        assert_eq!(report.totals.exit, 75, "{report:#?}");
    }
    assert_eq!(contents(&org.lake()), contents(&org.path("uncut")));
    println!("a sync of {} calls in pieces of 16: {spent} calls", uncut.totals.calls);
    // Each piece asks what is promised, and loses the slices in flight.
    assert!(spent < 3 * uncut.totals.calls, "{spent} calls instead of {}", uncut.totals.calls);

    // Killed without a word.
    sleep(20 * DAY).await;
    for seconds in [1, 4, 9] {
        let killed = tokio::time::timeout(Duration::from_secs(seconds), org.sync(begin(&org, None))).await;
        assert!(killed.is_err(), "it was over by then");
    }
    assert_eq!(org.sync(begin(&org, None)).await.totals.exit, 0);
    let mut again = begin(&org, None);
    again.lake = org.path("uncut");
    org.sync(again).await;
    let settled = |lake: &std::path::Path| -> BTreeMap<_, _> { contents(lake).into_iter().collect() };
    assert_eq!(settled(&org.lake()), settled(&org.path("uncut")));
}

#[tokio::test(start_paused = true)]
async fn what_query_brought_is_fetched_by_jobs_as_soon_as_they_reach_it() {
    let org = Org::new(world(20, 60 * HOUR), NOW);
    let report = sync(&org).await;
    assert_eq!(report.totals.watermark, Some(at("2025-03-17")));
    let by = |date: &str| ledger(&org.lake()).receipt(day(date)).map(|r| (r.source, r.state));
    assert_eq!(by("2025-03-18"), Some((Source::Query, State::Provisional)));
    // The source catches up. No time has passed, and still they are due.
    let org = org.turned_into(world(20, HOUR));
    let report = sync(&org).await;
    assert_eq!(reasons(&report), "new 3");
    assert_eq!(by("2025-03-18"), Some((Source::Jobs, State::Provisional)));
    assert_eq!(report.totals.watermark, Some(at("2025-03-20")));
    // It falls behind again: what it promised once stays, and is not asked for.
    let org = org.turned_into(world(20, 60 * HOUR));
    sleep(DAY).await;
    let report = sync(&org).await;
    assert_eq!(report.totals.watermark, Some(at("2025-03-20")));
    assert!(report.days.iter().all(|d| d.date < day("2025-03-18") || d.date > day("2025-03-19")), "{report:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_backfill_does_not_move_the_watermark_past_a_hole() {
    let org = org();
    sync(&org).await;
    sleep(10 * DAY).await;
    let export = async |from: &str, to: &str| {
        let mut ask = org.ask("auto", from, to);
        ask.tables = keep(&org, "auto").tables;
        org.run(ask).await
    };
    let report = export("2025-03-24", "2025-03-28").await;
    assert_eq!((report.totals.exit, report.totals.watermark), (0, Some(at("2025-03-20"))), "a hole from the 20th on");
    let report = export("2025-03-20", "2025-03-22").await;
    assert_eq!(report.totals.watermark, Some(at("2025-03-22")));
    let report = sync(&org).await;
    assert_eq!(
        due(&report, Reason::New),
        range("2025-03-22", "2025-03-24").days().chain(range("2025-03-28", "2025-03-30").days()).collect()
    );
    assert_eq!(report.totals.watermark, Some(at("2025-03-30")));
}

#[tokio::test(start_paused = true)]
async fn a_lake_that_was_exported_is_kept_from_where_its_latest_days_begin() {
    let org = org();
    for (from, to) in [("2025-01-01", "2025-01-05"), ("2025-03-01", "2025-03-09")] {
        let mut ask = org.ask("jobs", from, to);
        ask.tables = keep(&org, "jobs").tables;
        org.run(ask).await;
    }
    let report = sync(&org).await;
    assert_eq!(ledger(&org.lake()).anchor(), Some(day("2025-03-01")));
    assert_eq!(report.totals.watermark, Some(at("2025-03-20")));
    // The anchor moves back when it is told to, and never forward.
    let mut later = keep(&org, "auto");
    later.request.from = Some(day("2025-03-15"));
    assert_eq!(org.sync(later).await.totals.calls, 1);
    let mut earlier = keep(&org, "auto");
    earlier.request.from = Some(day("2025-02-20"));
    let report = org.sync(earlier).await;
    assert_eq!(reasons(&report), "new 9");
    assert_eq!(ledger(&org.lake()).anchor(), Some(day("2025-02-20")));
}

#[tokio::test(start_paused = true)]
async fn protocols_that_promise_nothing_are_kept_up_without_a_watermark() {
    for protocol in ["query", "cursor", "page"] {
        let org = org();
        let report = org.sync(keep(&org, protocol)).await;
        assert_eq!((report.totals.exit, report.totals.watermark), (0, None), "{protocol}: {report:#?}");
        assert_eq!(reasons(&report), "new 7, fresh 1", "{protocol}");
        assert_eq!(ids(&org.lake()), org.world("2025-03-13", "2025-03-20T01:45:00Z"));
        assert_eq!(org.sync(keep(&org, protocol)).await.totals.calls, 0);
        sleep(DAY).await;
        let report = org.sync(keep(&org, protocol)).await;
        assert_eq!(reasons(&report), "new 1, fresh 1, lookback 6, unsettled 1", "{protocol}");
        assert_eq!(ids(&org.lake()), org.world("2025-03-13", "2025-03-21T01:45:00Z"));
        assert!(states(&org.lake()).values().all(|state| *state != State::Settled));
    }
}

#[tokio::test(start_paused = true)]
async fn jobs_alone_make_no_query() {
    let org = org();
    let report = org.sync(keep(&org, "jobs")).await;
    assert_eq!((report.totals.exit, reasons(&report).as_str()), (0, "new 7"));
    assert_eq!(org.simulator.counts().of(Endpoint::Query), 0);
}

#[tokio::test(start_paused = true)]
async fn the_outlook_says_what_the_sync_does_and_touches_nothing() {
    let org = org();
    let outlook = org.outlook(keep(&org, "auto")).await;
    assert!(!org.lake().exists());
    assert_eq!((outlook.days.len(), outlook.anchor), (8, day("2025-03-13")));
    let report = sync(&org).await;
    let worked: Vec<Day> = report.days.iter().map(|day| day.date).collect();
    assert_eq!(outlook.days.iter().map(|due| due.date).collect::<Vec<_>>(), worked);

    sleep(DAY).await;
    let (before, records) = (org.sent().len(), common::receipts::records(&org.lake()));
    let outlook = org.outlook(keep(&org, "auto")).await;
    let asked: Vec<String> = org.sent()[before..].iter().map(|sent| sent.path.clone()).collect();
    assert_eq!(asked.len(), 2, "a token and the availability: {asked:?}");
    assert_eq!(common::receipts::records(&org.lake()), records);
    let report = sync(&org).await;
    let calls = report.totals.calls;
    assert!(outlook.expected.calls.abs_diff(calls) <= calls / 3, "{} expected, {calls} made", outlook.expected.calls);
    let told: Vec<_> = outlook.days.iter().map(|due| (due.date, Some(due.reason))).collect();
    assert_eq!(told, report.days.iter().map(|day| (day.date, day.due)).collect::<Vec<_>>());
}

#[test]
fn the_command_keeps_a_lake_and_says_so() {
    let simulate = Simulate::with(5, &["--rate-limit", "0"]);
    let convlake = Convlake::of(&simulate);
    let lake = convlake.lake();
    let lake = lake.to_str().unwrap();
    let plan = convlake.succeed(["sync", "--dry-run", "--format", "json", "--out", lake]);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(plan["watermark"], Value::Null);
    assert!(!convlake.lake().exists(), "a dry run makes no lake");

    let first = convlake.succeed(["sync", "--out", lake]);
    let line: Value = serde_json::from_str(&first.stdout).unwrap();
    assert_eq!(first.stdout.lines().count(), 1);
    let days = plan["days"].as_array().unwrap().len() as u64;
    assert_eq!(line["days"]["published"], days, "{}", first.stderr);
    assert!(line["totals"]["watermark"].is_string() && first.stderr.contains("due were"), "{}", first.stderr);

    let second = convlake.succeed(["sync", "--out", lake]);
    let line: Value = serde_json::from_str(&second.stdout).unwrap();
    assert_eq!((&line["totals"]["calls"], &line["days"]["published"]), (&Value::from(1), &Value::from(0)));
    assert!(second.stderr.contains("nothing is due"), "{}", second.stderr);
    let table = convlake.succeed(["sync", "--dry-run", "--out", lake]);
    assert!(table.stdout.starts_with("nothing is due: complete from"), "{}", table.stdout);
    let table = convlake.succeed(["sync", "--dry-run", "--recheck-every", "0s", "--out", lake]);
    assert!(table.stdout.contains("lookback"), "{}", table.stdout);

    for wrong in [
        &["--settled-only", "--protocol", "query"][..],
        &["--from", "2999-01-01"],
        &["--recheck-every", "often"],
        &["--lookback", "-1"],
    ] {
        let refused = convlake.run([&["sync", "--out", lake], wrong].concat());
        assert_eq!(refused.code, Some(2), "{wrong:?}: {}", refused.stderr);
    }
    let other = convlake.run(["sync", "--dry-run", "--queue", "a", "--out", lake]);
    assert_eq!(other.code, Some(78), "another selection: {}", other.stderr);
}

/// What a year of daily syncs did.
#[derive(Default)]
struct Tally {
    syncs: u64,
    calls: u64,
    needed: u64,
    looked_at: usize,
    changed: usize,
    dirty: usize,
    vanished: u64,
}

impl Tally {
    fn add(&mut self, report: &Report) {
        let changed = days_by(report, DayOutcome::Published);
        self.syncs += 1;
        self.calls += report.totals.calls;
        self.looked_at += report.days.len();
        self.changed += changed.len();
        self.dirty += due(report, Reason::Dirty).len();
        self.vanished += report.totals.vanished;
        // Who knew which days have changed would still ask what is promised, run a job of at least five calls for
        // each stretch of them, and read the present by query in two.
        let jobs: BTreeSet<Day> = changed.iter().filter(|d| !due(report, Reason::Fresh).contains(d)).copied().collect();
        let stretches = jobs.iter().filter(|day| !jobs.contains(&day.plus(-1))).count() as u64;
        self.needed += 1 + 5 * stretches + 2 * u64::from(jobs.len() < changed.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_year_of_daily_syncs_ends_with_what_the_source_holds() {
    // Silent changes and deletions come within 20 days of a conversation's start; whatever shows activity may come
    // two months later.
    const LOOKBACK: i64 = 21;
    let anchor = day("2024-03-01");
    let mut org = Org::new(world(12, 6 * HOUR), "2024-03-03T02:00:00Z");
    let mut tally = Tally::default();
    let mut late = 0;
    for n in 0..365 + 10 {
        // The source falls behind for some days, twice, and the machine is off for ten.
        match n {
            90 | 250 => org = org.turned_into(world(12, 75 * HOUR)),
            95 | 251 => org = org.turned_into(world(12, 6 * HOUR)),
            _ => {}
        }
        if !(180..190).contains(&n) {
            let mut keep = keep(&org, "auto");
            keep.request.from = Some(anchor);
            keep.request.lookback = TimeDelta::days(LOOKBACK);
            keep.request.recheck_every = TimeDelta::days(3);
            let report = org.sync_quietly(keep).await;
            assert_eq!(report.totals.exit, 0, "{report:#?}");
            late += due(&report, Reason::Dirty).iter().filter(|d| d.plus(40) < Day::of(org.clock.now())).count();
            tally.add(&report);
        }
        sleep(about_a_day(n % 7 - 3)).await;
    }
    let mut keep = keep(&org, "auto");
    keep.request.lookback = TimeDelta::days(LOOKBACK);
    let last = org.sync_quietly(keep).await;
    tally.add(&last);

    let until = last.totals.watermark.unwrap();
    let promised = last.totals.availability_date.unwrap();
    assert_eq!(until, Day::of(promised).start(), "complete up to the last midnight that is promised");
    let resting: Timestamp = until - TimeDelta::days(LOOKBACK);
    let (from, to) = (wire_time(anchor.start()), wire_time(resting));
    let held: BTreeMap<_, _> = ids(&org.lake()).into_iter().filter(|(day, _)| day.start() < resting).collect();
    assert_eq!(held, org.world(&from, &to), "the lake and the source hold other conversations");
    let held: BTreeMap<_, _> = contents(&org.lake()).into_iter().filter(|(day, _)| day.start() < resting).collect();
    assert_eq!(held, fresh(&org, "jobs", &from, &to).await, "the lake and the source say other things");
    let unsettled: Vec<_> = states(&org.lake()).into_iter().filter(|(_, s)| *s == State::Dirty).collect();
    assert!(unsettled.is_empty(), "{unsettled:?}");

    println!(
        "{} syncs: {} calls made, {} needed; {} days looked at, {} had changed, {} of them found by activity ({late} after more than 40 days); {} conversations vanished",
        tally.syncs, tally.calls, tally.needed, tally.looked_at, tally.changed, tally.dirty, tally.vanished
    );
    assert!(tally.dirty > 20 && late > 5 && tally.vanished > 5, "a year without surprises");
}

#[tokio::test(start_paused = true)]
async fn days_that_stay_short_are_due_again_only_when_their_numbers_change() {
    let short_by = |by: u64| {
        let lie = format!(r#"{{"script": [{{"endpoint": "query", "action": {{"total_off": {{"by": {by}}}}}}}]}}"#);
        SimulatorSettings { faults: Faults::parse(&lie).unwrap(), ..world(20, HOUR) }
    };
    let org = Org::new(short_by(1), NOW);
    let report = org.sync(keep(&org, "query")).await;
    assert_eq!(report.totals.exit, 0, "{report:#?}");
    let mut filled = report.days.iter().filter(|day| day.conversations > 0);
    assert!(report.totals.missing > 0 && filled.all(|day| day.state == Some("dirty")), "{report:#?}");
    let again = org.sync(keep(&org, "query")).await;
    assert_eq!((again.totals.calls, reasons(&again)), (0, String::new()), "the numbers are known");

    // One of the days comes by with other numbers.
    let changed = org.turned_into(short_by(2));
    let mut ask = changed.ask("query", "2025-03-15", "2025-03-16");
    ask.tables = keep(&changed, "query").tables;
    assert_eq!(changed.run(ask).await.totals.exit, 0);
    let looked = changed.sync(keep(&changed, "query")).await;
    assert_eq!(due(&looked, Reason::Dirty), BTreeSet::from([day("2025-03-15")]), "{}", reasons(&looked));
    let again = changed.sync(keep(&changed, "query")).await;
    assert_eq!((again.totals.calls, reasons(&again)), (0, String::new()), "the new numbers are known");
    // Without a shortage it is a day like any other.
    let sound = org.turned_into(world(20, HOUR));
    let mut ask = sound.ask("query", "2025-03-15", "2025-03-16");
    ask.tables = keep(&sound, "query").tables;
    let report = sound.run(ask).await;
    assert_eq!((report.totals.exit, report.days[0].state), (0, Some("provisional")));
}
