//! The same days again: after changes and deletions at the source, in parts of a day, with half an answer.

#![cfg(test)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::org::{Ask, Org, at, ids, range};
use common::receipts::{contents, ledger, records, states, written};
use convlake::export::{DayOutcome, Report};
use convlake::lake::State;
use convlake::simulator::{Action, Endpoint, Faults, RetryAfter, Scripted, SimulatorSettings, WorldSettings};
use convlake::time::{Day, wire_time};

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn world(conversations_per_day: u32) -> SimulatorSettings {
    let world = WorldSettings { conversations_per_day, deletions: true, ..WorldSettings::default() };
    SimulatorSettings { world, ..SimulatorSettings::default() }
}

/// Half of the records are missing from every page of the query, on the first `calls`.
fn halved(conversations_per_day: u32, calls: Option<u64>) -> SimulatorSettings {
    let half =
        Scripted { endpoint: Some(Endpoint::Query), first: calls, ..Scripted::always(Action::DropEvery { nth: 2 }) };
    SimulatorSettings { faults: Faults { script: vec![half], random: None }, ..world(conversations_per_day) }
}

/// An export of all tables.
fn ask(org: &Org, protocol: &str, from: &str, to: &str) -> Ask {
    Ask { tables: None, ..org.ask(protocol, from, to) }
}

/// An export of two tables: enough to see whether the children of a conversation stay with it.
fn some(org: &Org, protocol: &str, from: &str, to: &str) -> Ask {
    Ask { tables: Some(&["conversations", "segments"]), ..org.ask(protocol, from, to) }
}

async fn export(org: &Org, protocol: &str, from: &str, to: &str) -> Report {
    org.run(ask(org, protocol, from, to)).await
}

fn outcomes(report: &Report, outcome: DayOutcome) -> BTreeSet<Day> {
    report.days.iter().filter(|day| day.outcome == outcome).map(|day| day.date).collect()
}

/// Every conversation of every day as the world has it now.
fn told(org: &Org, from: &str, to: &str) -> BTreeMap<Day, BTreeMap<String, Vec<u8>>> {
    let now = org.clock.now();
    let of_day = |day| org.simulator.world().conversations(day, now).into_iter().map(|r| (r.id, r.json.to_vec()));
    range(from, to).days().map(|day| (day, of_day(day).collect())).collect()
}

/// How often exactly this day was asked for.
fn fetches_of(org: &Org, day: Day) -> usize {
    let interval = day.interval().to_string();
    let sent = org.sent();
    sent.iter().filter(|s| s.body["interval"] == interval.as_str() && s.body["paging"]["pageNumber"] == 1).count()
}

#[tokio::test(start_paused = true)]
async fn a_second_run_brings_late_changes_and_deletions_and_leaves_the_other_days_alone() {
    let (from, to) = ("2025-03-01", "2025-03-21");
    let mut settings = world(20);
    // A seed with days that change, days that do not, and deletions after the first run.
    settings.world.seed = 2;
    let org = Org::new(settings, "2025-03-21T01:00:00Z");
    let first = export(&org, "query", from, to).await;
    org.assert_complete(&first, from, to);
    let (before, files_before, records_before) = (told(&org, from, to), written(&org.lake()), records(&org.lake()));

    tokio::time::sleep(30 * DAY).await;
    let second = export(&org, "query", from, to).await;
    org.assert_complete(&second, from, to);
    let after = told(&org, from, to);

    // The world says what has changed, and nothing else has.
    let changed: BTreeSet<Day> = after.iter().filter(|(day, now)| before[day] != **now).map(|(day, _)| *day).collect();
    let same: BTreeSet<Day> = after.keys().copied().filter(|day| !changed.contains(day)).collect();
    assert!(!changed.is_empty() && !same.is_empty(), "a world without changes, or with nothing but: {changed:?}");
    // What only a job shows, participants' attributes, changes no row of the query.
    assert!(outcomes(&second, DayOutcome::Published).is_subset(&changed));
    assert!(outcomes(&second, DayOutcome::Unchanged).is_superset(&same));
    let untouched: Vec<_> = files_before
        .iter()
        .filter(|(path, _)| same.iter().any(|day| path.to_string_lossy().contains(&format!("date={day}"))))
        .collect();
    assert!(!untouched.is_empty());
    let files_now = written(&org.lake());
    assert!(untouched.iter().all(|(path, time)| files_now.get(*path) == Some(time)), "files of unchanged days changed");
    let new: Vec<_> = records(&org.lake()).difference(&records_before).cloned().collect();
    assert_eq!(new.len(), after.len(), "one new receipt a day, changed or only seen again: {new:?}");

    // What vanished was looked for a second time, and is listed.
    let vanished: BTreeMap<Day, usize> = before
        .iter()
        .map(|(day, ids)| (*day, ids.keys().filter(|id| !after[day].contains_key(*id)).count()))
        .filter(|(_, count)| *count > 0)
        .collect();
    assert!(!vanished.is_empty(), "nothing was deleted in this world");
    assert_eq!(second.totals.vanished, vanished.values().sum::<usize>() as u64);
    for day in after.keys() {
        let count = vanished.get(day).copied().unwrap_or(0);
        assert_eq!(ledger(&org.lake()).receipt(*day).unwrap().vanished.len(), count, "{day}");
        assert_eq!(fetches_of(&org, *day), usize::from(count > 0), "{day}");
    }

    // Row for row what a lake that begins now holds.
    let mut fresh = ask(&org, "query", from, to);
    fresh.lake = org.path("fresh");
    assert_eq!(org.run(fresh).await.totals.exit, 0);
    assert_eq!(contents(&org.lake()), contents(&org.path("fresh")));
}

#[tokio::test(start_paused = true)]
async fn a_day_that_settles_gets_a_receipt_and_no_new_file() {
    let (from, to) = ("2025-03-10", "2025-03-12");
    let settings = SimulatorSettings {
        world: WorldSettings {
            conversations_per_day: 10,
            late_changes: false,
            long_lived: false,
            ..Default::default()
        },
        ..SimulatorSettings::default()
    };
    let org = Org::new(settings, "2025-03-14");
    export(&org, "jobs", from, to).await;
    let (files, receipts) = (written(&org.lake()), records(&org.lake()));
    assert!(states(&org.lake()).values().all(|state| *state == State::Provisional));

    tokio::time::sleep(20 * DAY).await;
    let report = export(&org, "jobs", from, to).await;
    assert_eq!(outcomes(&report, DayOutcome::Unchanged).len(), 2, "{report:#?}");
    assert_eq!(written(&org.lake()), files);
    assert!(states(&org.lake()).values().all(|state| *state == State::Settled));
    assert_eq!(records(&org.lake()).len(), receipts.len() + 2);
}

#[tokio::test(start_paused = true)]
async fn half_an_answer_keeps_the_day_until_the_operator_says_that_it_is_meant() {
    let org = Org::new(world(80), "2025-03-12");
    export(&org, "query", "2025-03-10", "2025-03-11").await;
    let (held, files) = (ids(&org.lake()), written(&org.lake()));
    let broken = org.turned_into(halved(80, None));

    let alone = export(&broken, "query", "2025-03-10", "2025-03-11").await;
    assert_eq!(alone.totals.exit, 65, "{alone:#?}");
    assert_eq!(outcomes(&alone, DayOutcome::Failed).len(), 1);
    assert!(alone.errors[0].message.contains("are gone at the source"), "{:?}", alone.errors);
    assert_eq!((ids(&org.lake()), written(&org.lake())), (held.clone(), files));

    let with_another = export(&broken, "query", "2025-03-10", "2025-03-12").await;
    assert_eq!(with_another.totals.exit, 3, "{with_another:#?}");
    let day: Day = "2025-03-10".parse().unwrap();
    assert_eq!(outcomes(&with_another, DayOutcome::Failed), [day].into());
    assert_eq!(ids(&org.lake())[&day], held[&day]);

    let mut meant = ask(&broken, "query", "2025-03-10", "2025-03-11");
    meant.settings.allow_vanished = true;
    let meant = broken.run(meant).await;
    assert_eq!((meant.totals.exit, meant.totals.vanished), (0, 40), "{meant:#?}");
    assert_eq!(ids(&org.lake())[&day].len(), 40);
}

#[tokio::test(start_paused = true)]
async fn what_the_second_fetch_of_a_day_brings_back_has_not_vanished() {
    let org = Org::new(world(80), "2025-03-12");
    export(&org, "query", "2025-03-10", "2025-03-11").await;
    let files = written(&org.lake());
    // The day's one page, and the empty one behind it.
    let org = org.turned_into(halved(80, Some(2)));
    let report = export(&org, "query", "2025-03-10", "2025-03-11").await;
    assert_eq!((report.totals.exit, report.totals.vanished), (0, 0), "{report:#?}");
    assert_eq!(fetches_of(&org, "2025-03-10".parse().unwrap()), 2);
    assert_eq!(written(&org.lake()), files);
}

/// Asks for each hour of a day in its turn; after each but the last the day is partial, then it is what one whole
/// export makes of it.
async fn by_the_hour(protocol: &str, hours: impl IntoIterator<Item = u32>) {
    let org = Org::new(world(24), "2025-04-20");
    let hour = |n: u32| wire_time(at("2025-03-10") + chrono::TimeDelta::hours(n.into()));
    let day: Day = "2025-03-10".parse().unwrap();
    for (done, n) in (1..).zip(hours) {
        let report = org.run(some(&org, protocol, &hour(n), &hour(n + 1))).await;
        assert_eq!(report.totals.exit, 0, "{report:#?}");
        let partial = states(&org.lake())[&day] == State::Partial;
        assert_eq!(partial, done < 24, "after {done} hours, the last of them {n}");
        let covers = ledger(&org.lake()).receipt(day).unwrap().covers;
        let within = |id: &&String| {
            let records = org.simulator.world().conversations(day, org.clock.now());
            records.iter().any(|record| record.id == **id && covers.contains(record.start))
        };
        let held = ids(&org.lake()).remove(&day).unwrap_or_default();
        assert_eq!(held.iter().filter(within).count(), held.len(), "rows outside of {covers}");
    }
    let mut whole = some(&org, protocol, "2025-03-10", "2025-03-11");
    whole.lake = org.path("whole");
    org.run(whole).await;
    assert_eq!(contents(&org.lake()), contents(&org.path("whole")));
    assert_eq!(ids(&org.lake()), org.world("2025-03-10", "2025-03-11"));
}

#[tokio::test(start_paused = true)]
async fn hours_in_order_make_a_whole_day() {
    by_the_hour("query", 0..24).await;
}

#[tokio::test(start_paused = true)]
async fn hours_from_noon_outwards_make_a_whole_day() {
    by_the_hour("jobs", (0..12).flat_map(|n| [12 + n, 11 - n])).await;
}

#[tokio::test(start_paused = true)]
async fn hours_that_are_asked_for_as_they_are_make_a_whole_day() {
    by_the_hour("cursor", 0..24).await;
    by_the_hour("page", (0..12).flat_map(|n| [12 + n, 11 - n])).await;
}

/// The bounds that the source was asked for, in order.
fn bounds(org: &Org) -> Vec<(String, String)> {
    let text = |body: &serde_json::Value, name: &str| body[name].as_str().map(str::to_owned);
    let of = |body| text(body, "startTime").zip(text(body, "endTime"));
    org.sent().iter().filter_map(|sent| of(&sent.body)).collect()
}

/// Of a day nothing is asked for but what the run is to bring, and what the lake holds of it.
#[tokio::test(start_paused = true)]
async fn an_hour_is_asked_for_as_an_hour() {
    let org = Org::new(world(24), "2025-04-20");
    let hour = |n: u32| format!("2025-03-10T{n:02}:00:00.000Z");
    let mut before = 0;
    for (from, to, asked_from, asked_to) in
        [(10, 11, 10, 11), (14, 15, 10, 15), (12, 13, 10, 15), (8, 9, 8, 15), (8, 10, 8, 15)]
    {
        let report = org.run(some(&org, "cursor", &hour(from), &hour(to))).await;
        assert_eq!(report.totals.exit, 0, "{report:#?}");
        let bounds = bounds(&org).split_off(before);
        assert_eq!(bounds, [(hour(asked_from), hour(asked_to))], "{from} to {to}");
        before += bounds.len();
        assert_eq!(ids(&org.lake()), org.world(&hour(asked_from), &hour(asked_to)));
    }
    // Across midnights only the ends are parts of days.
    let (from, to) = ("2025-03-08T22:00:00Z", "2025-03-11T03:00:00Z");
    org.run(some(&org, "cursor", from, to)).await;
    assert_eq!(ids(&org.lake()), org.world(from, to));
    let bounds = bounds(&org).split_off(before);
    assert_eq!(bounds, [("2025-03-08T22:00:00.000Z".to_owned(), "2025-03-11T03:00:00.000Z".to_owned())]);
}

/// Both runs find an empty lake; when the later one publishes, the day holds another hour.
#[tokio::test(start_paused = true)]
async fn an_hour_that_meets_another_runs_hour_is_fetched_as_a_whole_day() {
    let late = Scripted {
        endpoint: Some(Endpoint::Cursor),
        first: Some(1),
        ..Scripted::always(Action::RateLimited { retry_after: RetryAfter::Seconds(5) })
    };
    let slow = SimulatorSettings { faults: Faults { script: vec![late], random: None }, ..world(24) };
    let first = Org::new(slow, "2025-04-20");
    let second = first.turned_into(world(24));
    let hour = |n: u32| format!("2025-03-10T{n:02}:00:00.000Z");
    let (slow, quick) = (some(&first, "cursor", &hour(10), &hour(11)), some(&second, "cursor", &hour(14), &hour(15)));
    let (slow, quick) = futures::join!(first.run(slow), second.run(quick));
    assert_eq!((slow.totals.exit, quick.totals.exit), (0, 0), "{slow:#?} {quick:#?}");
    assert_eq!(bounds(&first).len(), 3, "refused, an hour, the day: {:?}", bounds(&first));
    assert_eq!(ids(&first.lake()), first.world(&hour(10), &hour(15)));
}

#[tokio::test(start_paused = true)]
async fn a_day_exported_hour_by_hour_while_it_goes_on_ends_as_one_whole_day() {
    let org = Org::new(world(24), "2025-03-10T01:00:30Z");
    let (from, to) = ("2025-03-10", "2025-03-11");
    for n in 0..24 {
        let hour = |n| wire_time(at(from) + chrono::TimeDelta::hours(n));
        let report = org.run(some(&org, "query", &hour(n), &hour(n + 1))).await;
        assert_eq!(report.totals.exit, 0, "{report:#?}");
        let conversations = ids(&org.lake()).into_values().flatten().count();
        let started = org.world(&hour(0), &hour(n + 1)).into_values().flatten().count();
        assert_eq!(conversations, started, "after hour {n}");
        if n < 23 {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
        }
    }
    let mut whole = some(&org, "query", from, to);
    whole.lake = org.path("whole");
    org.run(whole).await;
    assert_eq!(contents(&org.lake()), contents(&org.path("whole")));
}

#[tokio::test(start_paused = true)]
async fn another_organisation_is_refused_before_any_conversation_is_asked_for() {
    let org = Org::new(world(5), "2025-03-12");
    export(&org, "query", "2025-03-10", "2025-03-11").await;
    let (held, files) = (ids(&org.lake()), written(&org.lake()));
    let mut settings = world(5);
    settings.world.seed += 1;
    let other = org.turned_into(settings);
    let refused = export(&other, "query", "2025-03-10", "2025-03-11").await;
    assert_eq!(refused.totals.exit, 78, "{refused:#?}");
    let message = &refused.errors[0].message;
    let names = [org.simulator.world().organization_id(), other.simulator.world().organization_id()];
    assert!(names.iter().all(|name| message.contains(name)), "{message}");
    let calls = other.simulator.counts().calls;
    assert!(calls.keys().all(|call| matches!(call, Endpoint::Token | Endpoint::Organization)), "{calls:?}");
    assert_eq!((ids(&org.lake()), written(&org.lake())), (held, files));
}
