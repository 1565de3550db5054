//! A run that was cut short is continued: what it had published is not fetched again.

#![cfg(test)]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::org::{Ask, Org, range};
use common::receipts::{contents, ledger, records};
use convlake::export::{DayOutcome, Report};
use convlake::lake::Lake;
use convlake::simulator::{Rules, SimulatorSettings, WorldSettings};
use convlake::time::Day;
use tokio::time::{sleep, timeout};

const FROM: &str = "2024-01-01";

fn org() -> Org {
    let world = WorldSettings { conversations_per_day: 70, brief: true, late_changes: false, ..Default::default() };
    let rules = Rules { latency: Duration::from_millis(400), ..Rules::default() };
    Org::new(SimulatorSettings { world, rules, ..SimulatorSettings::default() }, "2025-03-20")
}

fn days(report: &Report, outcome: DayOutcome) -> BTreeSet<Day> {
    report.days.iter().filter(|day| day.outcome == outcome).map(|day| day.date).collect()
}

/// Calls for conversations so far.
fn calls(org: &Org) -> usize {
    org.sent().iter().filter(|sent| sent.path.contains("/details/")).count()
}

/// An export of fifty slices and more, killed without a word after more and more of its time: on average, and at the
/// worst moment, what its continuation asks again is little.
async fn killed_anywhere(protocol: &str, to: &str) {
    let org = org();
    let lake = |name: String| Ask { lake: org.path(&name), ..org.ask(protocol, FROM, to) };
    let begun = org.clock.now();
    let uncut = org.run(lake("uncut".to_owned())).await;
    assert_eq!(uncut.totals.exit, 0, "{uncut:#?}");
    let whole = calls(&org);
    let slices: u64 = uncut.windows.iter().map(|window| window.slices).sum();
    assert!(slices >= 50, "{slices} slices");
    let length = (org.clock.now() - begun).to_std().unwrap();
    let mut repeated = Vec::new();
    for cut in 1..10 {
        let before = calls(&org);
        let name = format!("cut-{cut}");
        assert!(timeout(length * cut / 10, org.run(lake(name.clone()))).await.is_err(), "it was over by then");
        let published = ledger(&org.path(&name)).days().count();
        let rest = org.run(lake(name.clone())).await;
        assert_eq!(rest.totals.exit, 0, "{rest:#?}");
        assert_eq!(days(&rest, DayOutcome::Skipped).len(), published);
        assert_eq!((rest.totals.conversations, rest.days.len()), (uncut.totals.conversations, uncut.days.len()));
        assert_eq!(contents(&org.path(&name)), contents(&org.path("uncut")));
        repeated.push((calls(&org) - before) as f64 / whole as f64 - 1.0);
    }
    let worst = repeated.iter().copied().fold(0.0, f64::max);
    let mean = repeated.iter().sum::<f64>() / repeated.len() as f64;
    println!(
        "{protocol}: {slices} slices, {whole} calls; killed at 9 moments: {:.1} % repeated on average, {:.1} % at worst",
        mean * 100.0,
        worst * 100.0
    );
    assert!(worst <= 0.15, "{repeated:?}");
}

#[tokio::test(start_paused = true)]
async fn an_export_by_query_killed_anywhere_repeats_little() {
    killed_anywhere("query", "2024-12-20").await;
}

#[tokio::test(start_paused = true)]
async fn after_a_completed_run_everything_is_asked_for_again() {
    let org = org();
    let ask = |from: &str, to: &str| Ask { ..org.ask("query", from, to) };
    let (from, to) = ("2025-01-01", "2025-02-01");
    let cut = |calls: u64| {
        let mut cut = ask(from, to);
        cut.api.max_calls = Some(calls);
        cut.request.concurrency = 1;
        cut
    };
    let first = org.run(cut(20)).await;
    assert_eq!(first.totals.exit, 75);
    let published = days(&first, DayOutcome::Published);
    assert!(!published.is_empty());
    // Another request knows nothing of it, whatever days it shares.
    let other = org.run(ask(from, "2025-01-11")).await;
    assert_eq!((other.totals.exit, days(&other, DayOutcome::Skipped).len()), (0, 0));
    // Cut short once more: of two runs that were interrupted, what either has published counts, as long as nobody has
    // published it since.
    let second = org.run(cut(9)).await;
    assert_eq!(second.totals.exit, 75, "{second:#?}");
    let third = org.run(ask(from, to)).await;
    assert_eq!(third.totals.exit, 0);
    let skipped = days(&third, DayOutcome::Skipped);
    assert!(skipped.is_superset(&days(&second, DayOutcome::Published)) && !skipped.is_empty());
    let others =
        days(&other, DayOutcome::Unchanged).difference(&days(&second, DayOutcome::Unchanged)).copied().collect();
    assert!(skipped.is_disjoint(&others) && !others.is_empty(), "{skipped:?} and {others:?}");
    let fourth = org.run(ask(from, to)).await;
    assert_eq!((fourth.totals.exit, days(&fourth, DayOutcome::Unchanged).len()), (0, 31));
    let history = Lake::open_existing(&org.lake()).unwrap().history();
    let exits: Vec<_> = history.runs().unwrap().map(|run| run.unwrap().ended.map(|ended| ended.exit)).collect();
    assert_eq!(exits, [Some(0), Some(0), Some(75), Some(0), Some(75)]);
}

#[tokio::test(start_paused = true)]
async fn a_day_that_another_run_may_have_torn_is_fetched_again() {
    let org = org();
    let (from, to) = ("2025-01-01", "2025-02-01");
    let mut cut = org.ask("query", from, to);
    cut.api.max_calls = Some(15);
    cut.request.concurrency = 1;
    assert_eq!(org.run(cut).await.totals.exit, 75);
    assert!(ledger(&org.lake()).days().count() > 0);
    // It dies while it works on the same days; what it left of them is not known.
    let dying = org.run(org.ask("query", from, "2025-01-25"));
    assert!(timeout(Duration::from_secs(1), dying).await.is_err());
    let rest = org.run(org.ask("query", from, to)).await;
    assert_eq!((rest.totals.exit, days(&rest, DayOutcome::Skipped).len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_day_that_covers_less_than_is_asked_is_fetched_again() {
    let org = org();
    let mut cut = org.ask("query", "2025-03-10", "2025-03-20T00:00:00Z");
    cut.api.max_calls = Some(9);
    cut.request.concurrency = 1;
    assert_eq!(org.run(cut).await.totals.exit, 75);
    let held = range("2025-03-10", "2025-03-17").days().collect::<BTreeSet<_>>();
    assert_eq!(ledger(&org.lake()).days().map(|(day, _)| *day).collect::<BTreeSet<_>>(), held);
    sleep(Duration::from_secs(60)).await;
    let rest = org.run(org.ask("query", "2025-03-10", "2025-03-20")).await;
    assert_eq!(days(&rest, DayOutcome::Skipped), held);
}

#[tokio::test(start_paused = true)]
async fn missing_only_asks_for_nothing_that_is_there() {
    let org = org();
    let missing = |from: &str, to: &str| {
        let mut ask = org.ask("query", from, to);
        ask.request.missing_only = true;
        ask
    };
    org.export("query", "2025-01-03", "2025-01-05").await;
    org.export("query", "2025-01-07", "2025-01-07T12:00:00Z").await;
    let report = org.run(missing("2025-01-01", "2025-01-10")).await;
    org.assert_complete(&report, "2025-01-01", "2025-01-10");
    assert_eq!(days(&report, DayOutcome::Skipped), range("2025-01-03", "2025-01-05").days().collect());
    let (before, known) = (calls(&org), records(&org.lake()));
    let again = org.run(missing("2025-01-01", "2025-01-10")).await;
    assert_eq!((again.totals.exit, again.totals.calls, calls(&org)), (0, 0, before));
    assert_eq!(records(&org.lake()), known);
    assert_eq!(again.totals.conversations, report.totals.conversations);
}
