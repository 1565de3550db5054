//! Clocks that are wrong, the source's or the machine's: no day is kept because of what they said, none is final, and a
//! lake that an earlier version left with the future in it becomes right again.

#![cfg(test)]

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::TimeDelta;
use common::image::{Rows, assert_committed, assert_same, of_folder, rows};
use common::org::{Ask, Keep, Org};
use common::receipts::{ledger, states};
use convlake::export::{ClockReport, DayOutcome, Report};
use convlake::lake::State;
use convlake::simulator::{Action, Endpoint, Faults, RetryAfter, Rules, Scripted, SimulatorSettings, WorldSettings};
use convlake::time::Day;
use serde_json::{Value, json};
use tokio::time::sleep;

const NOW: &str = "2025-03-20T02:00:00Z";
const FROM: &str = "2025-03-14";
const TO: &str = "2025-03-19";
const TABLES: [&str; 3] = ["conversations", "evaluations", "surveys"];
const HOUR: Duration = Duration::from_secs(3_600);

/// How far a clock is ahead: ten minutes, a year, in 2099, and a year behind.
fn lies() -> [TimeDelta; 4] {
    [TimeDelta::minutes(10), TimeDelta::days(365), TimeDelta::days(74 * 365), TimeDelta::days(-365)]
}

fn world() -> SimulatorSettings {
    SimulatorSettings {
        world: WorldSettings { conversations_per_day: 20, deletions: true, brief: true, ..WorldSettings::default() },
        rules: Rules { availability_lag: HOUR, ..Rules::default() },
        ..SimulatorSettings::default()
    }
}

fn ask(org: &Org) -> Ask {
    Ask { tables: Some(&TABLES), ..org.ask("jobs", FROM, TO) }
}

async fn export(org: &Org) -> Report {
    let report = org.run(ask(org)).await;
    assert_eq!(report.totals.exit, 0, "{report:#?}");
    report
}

fn keep(org: &Org) -> Keep {
    Keep { tables: Some(&TABLES), ..org.keep("auto") }
}

async fn sync(org: &Org) -> Report {
    let report = org.sync(keep(org)).await;
    assert_eq!(report.totals.exit, 0, "{report:#?}");
    report
}

/// What a lake holds that is filled from the source now.
async fn source(org: &Org, from: &str, to: &str) -> Rows {
    let mut fresh = Ask { tables: Some(&TABLES), ..org.ask("jobs", from, to) };
    fresh.lake = org.path(&format!("fresh-{}", org.clock.now().timestamp_micros()));
    let lake = fresh.lake.clone();
    assert_eq!(org.run(fresh).await.totals.exit, 0);
    rows(&of_folder(&lake))
}

/// The files of the days between the two that have any row.
fn filled(mut rows: Rows) -> Rows {
    let date = |path: &str| Some(path.split_once("date=")?.1.get(..10)?.to_owned());
    rows.retain(|path, batch| {
        batch.num_rows() > 0 && date(path).is_some_and(|date| (FROM..TO).contains(&date.as_str()))
    });
    rows
}

/// The lake is whole, and is the source as it is now.
async fn assert_is_the_source(org: &Org, when: &str) {
    let image = of_folder(&org.lake());
    assert_committed(&image, &ledger(&org.lake()));
    assert_same(&filled(rows(&image)), &filled(source(org, FROM, TO).await), when);
}

fn remove_a_file(lake: &Path) -> PathBuf {
    let file = lake.join("evaluations/date=2025-03-15/evaluations.parquet");
    std::fs::remove_file(&file).unwrap();
    file
}

#[tokio::test(start_paused = true)]
async fn what_a_run_with_a_wrong_clock_left_is_replaced_by_the_next_export() {
    for lie in lies() {
        for (dates, own) in [(lie, TimeDelta::zero()), (TimeDelta::zero(), lie), (lie, lie)] {
            // A start in the future is refused: for a clock that is behind this range is.
            if own < TimeDelta::zero() {
                continue;
            }
            for damaged in [false, true] {
                let when = format!("dates {dates}, own clock {own}, a file is gone: {damaged}");
                let org = Org::new(world(), NOW);
                let wrong = export(&org.by_clocks(dates, own)).await;
                let skew = (dates - own).num_seconds();
                let told = wrong.clock.map(|clock| clock.skew_seconds);
                assert!(
                    told.is_none_or(|told| (told - skew).abs() < 60) && told.is_some() == (skew != 0),
                    "{when}: {told:?}"
                );
                assert_eq!(org.said("no day is final until the two agree"), usize::from(skew != 0), "{when}");
                if skew != 0 {
                    assert!(!states(&org.lake()).values().any(|state| *state == State::Settled), "{when}");
                }
                sleep(48 * HOUR).await;
                let file = damaged.then(|| remove_a_file(&org.lake()));
                let right = export(&org).await;
                assert!(right.days.iter().all(|day| day.outcome != DayOutcome::Kept), "{when}: {right:#?}");
                assert_eq!(right.clock, None::<ClockReport>, "{when}");
                assert!(file.is_none_or(|file| file.exists()), "{when}");
                assert_is_the_source(&org, &when).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_sync_with_a_wrong_clock_left_is_due_until_a_right_one_has_seen_it() {
    for (dates, own) in
        lies().map(|lie| (lie, 0)).into_iter().chain([(TimeDelta::zero(), 10), (TimeDelta::zero(), -10)])
    {
        let when = format!("dates {dates}, own clock {own} minutes");
        let org = Org::new(world(), NOW);
        sync(&org.by_clocks(dates, TimeDelta::minutes(own))).await;
        for _ in 0..12 {
            sleep(24 * HOUR).await;
            sync(&org).await;
        }
        assert_is_the_source(&org, &when).await;
        let held = states(&org.lake());
        let old = held.iter().filter(|(day, _)| **day < "2025-03-19".parse::<Day>().unwrap());
        assert!(old.clone().count() > 4 && old.clone().all(|(_, state)| *state == State::Settled), "{when}: {held:?}");
    }
}

/// Makes of a lake what an earlier version with a clock in 2099 would have left.
fn poison(lake: &Path) {
    for path in common::org::files(&lake.join("_convlake/ledger")).into_keys() {
        let mut record: Value = serde_json::from_str(&common::read(&path)).unwrap();
        for receipt in record.get_mut("receipts").and_then(Value::as_array_mut).into_iter().flatten() {
            let receipt = receipt.as_object_mut().unwrap();
            for later in ["generation", "observer", "revision", "clock_skew"] {
                receipt.remove(later);
            }
            receipt.insert("version".to_owned(), json!(1));
            receipt.insert("observed_at".to_owned(), json!("2099-01-01T00:00:00Z"));
            receipt.insert("recorded_at".to_owned(), json!("2099-01-01T00:00:01Z"));
        }
        std::fs::write(&path, record.to_string()).unwrap();
    }
    set_format(lake, 1);
}

fn set_format(lake: &Path, format: u32) {
    let path = lake.join("_convlake/lake.json");
    let mut identity: Value = serde_json::from_str(&common::read(&path)).unwrap();
    identity["format"] = json!(format);
    std::fs::write(&path, identity.to_string()).unwrap();
}

fn format(lake: &Path) -> Value {
    serde_json::from_str::<Value>(&common::read(&lake.join("_convlake/lake.json"))).unwrap()["format"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_lake_of_an_earlier_version_that_holds_the_future_becomes_right_with_one_export_or_sync() {
    for by_sync in [false, true] {
        let org = Org::new(world(), NOW);
        if by_sync {
            sync(&org).await
        } else {
            export(&org).await
        };
        poison(&org.lake());
        sleep(48 * HOUR).await;
        remove_a_file(&org.lake());
        let report = if by_sync { sync(&org).await } else { export(&org).await };
        assert!(report.days.iter().all(|day| day.outcome != DayOutcome::Kept), "{report:#?}");
        assert_is_the_source(&org, &format!("by sync: {by_sync}")).await;
        assert_eq!(format(&org.lake()), json!(2), "an earlier version refuses it from now on");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_publishes_nothing_leaves_the_format_of_an_early_lake() {
    let org = Org::new(world(), NOW);
    export(&org).await;
    set_format(&org.lake(), 1);
    let mut held = ask(&org);
    held.request.missing_only = true;
    assert_eq!(org.run(held).await.totals.exit, 0);
    assert_eq!(format(&org.lake()), json!(1));
    export(&org).await;
    assert_eq!(format(&org.lake()), json!(2));
}

/// Both ask at the same time. The one whose id is higher stays, and it asked a source that is behind.
#[tokio::test(start_paused = true)]
async fn a_day_that_lost_a_race_is_fetched_again_by_the_next_sync() {
    let late = Scripted {
        endpoint: Some(Endpoint::Submit),
        first: Some(2),
        ..Scripted::always(Action::RateLimited { retry_after: RetryAfter::Seconds(30) })
    };
    let org = Org::new(world(), NOW);
    sync(&org).await;
    sleep(30 * HOUR).await;
    // Its clock is behind, and so its id is lower.
    let slow = org.turned_into(SimulatorSettings { faults: Faults { script: vec![late], random: None }, ..world() });
    let slow = slow.by_clocks(TimeDelta::zero(), TimeDelta::minutes(-4));
    let stale = org.of_yore(world(), TimeDelta::hours(20));
    let (slow, quick) = futures::join!(slow.run(ask(&slow)), stale.run(ask(&stale)));
    assert_eq!((slow.totals.exit, quick.totals.exit), (0, 0), "{slow:#?} {quick:#?}");
    let kept = slow.days.iter().filter(|day| day.outcome == DayOutcome::Kept).count();
    let dirty = states(&org.lake()).into_values().filter(|state| *state == State::Dirty).count();
    assert!(kept > 0 && dirty > 0, "{kept} days lost, {dirty} are to be fetched again: {slow:#?}");
    let report = sync(&org).await;
    assert!(!report.days.is_empty());
    assert_is_the_source(&org, "after a race").await;
}
