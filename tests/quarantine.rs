//! Every record that was sent is somewhere: in the lake, in quarantine, or counted as another day's or another version.

#![cfg(test)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use common::convlake::Convlake;
use common::org::{Org, at, files, ids, range};
use common::receipts::ledger;
use common::simulate::Simulate;
use common::{through, write};
use convlake::api::transport::{Request, Response, Transport, TransportError};
use convlake::export::DayOutcome;
use convlake::plan::Protocol;
use convlake::simulator::{Record, Simulator, SimulatorSettings, Ugly, WorldSettings};
use convlake::time::{Clock, Day};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Lines of quarantine.
fn quarantined(lake: &Path) -> Vec<Value> {
    let kept = files(&lake.join("_convlake/quarantine"));
    let lines = kept.values().flat_map(|text| text.split(|byte| *byte == b'\n')).filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// The record as it came.
fn raw(line: &Value) -> Vec<u8> {
    match line["raw"].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => BASE64_STANDARD.decode(line["raw_base64"].as_str().unwrap()).unwrap(),
    }
}

#[cfg(unix)]
fn assert_private(lake: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let folder = lake.join("_convlake/quarantine");
    let kept = files(&folder);
    assert!(!kept.is_empty());
    for path in kept.into_keys().chain([folder]) {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
        assert_eq!(mode & 0o600, 0o600);
    }
}

/// What the lake should make of a record: the id that it states.
fn stated_id(record: &Record) -> String {
    match record.ugly {
        Some(Ugly::OddId) => format!("/../{}/%2e%2e'\"\n", record.id),
        _ => record.id.clone(),
    }
}

#[tokio::test(start_paused = true)]
async fn of_every_kind_of_ugly_record_the_readable_are_in_the_lake_and_the_others_in_quarantine() {
    let (from, to) = ("2025-03-01", "2025-03-21");
    let world = WorldSettings {
        conversations_per_day: 400,
        ugly: true,
        brief: true,
        late_changes: false,
        ..Default::default()
    };
    let org = Org::new(SimulatorSettings { world, ..Default::default() }, "2025-06-01");
    let report = org.export("jobs", from, to).await;
    assert_eq!(report.totals.exit, 0, "{:?}", report.errors);

    let now = org.clock.now();
    let sent: Vec<_> = range(from, to).days().flat_map(|day| org.simulator.world().conversations(day, now)).collect();
    let kinds: BTreeSet<_> = sent.iter().filter_map(|record| record.ugly).collect();
    assert_eq!(kinds, Ugly::ALL.into(), "a world without some kind of ugliness");

    // Readable, and of the day it was made for: these two say that they are of another millennium.
    let elsewhere = |r: &&Record| -> bool { matches!(r.ugly, Some(Ugly::FarFuture | Ugly::FarPast)) };
    let (bad, readable): (Vec<&Record>, Vec<_>) = sent.iter().partition(|r| r.ugly.is_some_and(|u| !u.readable()));
    let (foreign, own): (Vec<&Record>, Vec<_>) = readable.into_iter().partition(elsewhere);
    let mut expected = BTreeMap::<Day, BTreeSet<String>>::new();
    for record in &own {
        expected.entry(Day::of(record.start)).or_default().insert(stated_id(record));
    }
    let held = ids(&org.lake());
    let held_sets: BTreeMap<Day, BTreeSet<String>> =
        held.iter().map(|(day, ids)| (*day, ids.iter().cloned().collect())).collect();
    assert_eq!(held_sets, expected);

    let mut kept: Vec<_> = quarantined(&org.lake()).iter().map(raw).collect();
    let mut refused: Vec<_> = bad.iter().map(|record| record.json.to_vec()).collect();
    kept.sort();
    refused.sort();
    assert!(kept == refused, "quarantine is not, byte for byte, what cannot be read");
    assert!(quarantined(&org.lake()).iter().all(|line| line["reason"].as_str().is_some_and(|r| !r.is_empty())));
    assert_private(&org.lake());

    let totals = &report.totals;
    assert_eq!((totals.quarantined, totals.out_of_window), (bad.len() as u64, foreign.len() as u64));
    assert_eq!(totals.conversations, held.values().flatten().count() as u64);
    assert!(totals.duplicates > 0, "a record that stands twice");
    let records: u64 = report.windows.iter().map(|window| window.records).sum();
    assert_eq!(records, sent.len() as u64);
    assert_eq!(totals.conversations + totals.quarantined + totals.out_of_window + totals.duplicates, records);

    let receipts = ledger(&org.lake()).into_record().receipts;
    let beside: BTreeSet<_> =
        receipts.iter().map(|r| (r.observed_at, r.counts.quarantined, r.counts.out_of_window)).collect();
    let told = beside.iter().fold((0, 0), |sum, (_, bad, foreign)| (sum.0 + bad, sum.1 + foreign));
    assert_eq!(told, (totals.quarantined, totals.out_of_window), "one pair a fetch: {beside:?}");
}

#[test]
fn quarantine_alone_is_success_with_a_warning() {
    let simulate = Simulate::with(60, &["--now", "2025-06-01T00:00:00Z", "--ugly"]);
    let convlake = Convlake::of(&simulate);
    let run = convlake.succeed(
        ["export", "--from", "2025-03-01", "--to", "2025-03-05", "--protocol", "query", "--out", "lake"].iter(),
    );
    let lines = quarantined(&convlake.lake()).len();
    assert!(lines > 0);
    let said = format!("warning: {lines} records could not be read: kept under `_convlake/quarantine`");
    assert!(run.stderr.contains(&said), "{}", run.stderr);
    assert_private(&convlake.lake());
}

/// `good` readable records and `bad` ones without an id.
fn page(good: usize, bad: usize) -> String {
    let good =
        (0..good).map(|n| json!({"conversationId": format!("c{n}"), "conversationStart": "2025-03-01T01:00:00Z"}));
    let bad = (0..bad).map(|n| json!({"conversationStart": "2025-03-01T01:00:00Z", "number": n}));
    json!({"conversations": good.chain(bad).collect::<Vec<_>>()}).to_string()
}

#[test]
fn a_conversion_of_which_more_than_half_is_unreadable_publishes_nothing() {
    // Good and bad records, what is said about it, and the exit code.
    for (good, bad, more, code) in [
        (20, 21, &[][..], 65),
        (20, 20, &[], 0),
        (0, 10, &[], 65),
        // Few records may be broken, but not all that there are.
        (1, 9, &[], 0),
        (0, 9, &[], 65),
        (0, 1, &[], 65),
        (0, 9, &["--max-bad", "100"], 0),
        (20, 21, &["--max-bad", "60"], 0),
        (100, 11, &["--max-bad", "5"], 65),
    ] {
        let convlake = Convlake::new();
        write(&convlake.path("pages.json"), &page(good, bad));
        let run = convlake.run([&["convert", "pages.json", "--out", "lake"], more].concat());
        assert_eq!(run.code, Some(code), "{good} good, {bad} bad, {more:?}: {}", run.stderr);
        assert_eq!(quarantined(&convlake.lake()).len(), bad, "the evidence is kept in any case");
        let published = ids(&convlake.lake()).into_values().flatten().count();
        assert_eq!(published, if code == 0 { good } else { 0 });
        if code == 65 {
            let said = match (good, bad) {
                (0, 1) => "its only record cannot be read".to_owned(),
                (0, bad) => format!("none of its {bad} records can be read"),
                (good, bad) => format!("{bad} of {} records cannot be read", good + bad),
            };
            assert!(run.stderr.contains(&said), "{}", run.stderr);
            assert!(!convlake.lake().join("_convlake/lake.json").exists(), "and it binds nobody");
        }
    }
}

/// A source that sends, for the week that begins with `from`, records without a start.
struct Spoiling {
    simulator: Simulator,
    from: &'static str,
}

impl Transport for Spoiling {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        let asked: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let spoil = asked["interval"].as_str().is_some_and(|interval| interval.starts_with(self.from));
        let answer = Transport::send(&self.simulator, request);
        async move {
            let mut answer = answer.await?;
            if spoil {
                let text = String::from_utf8_lossy(answer.body()).replace("\"conversationStart\"", "\"begun\"");
                *answer.body_mut() = Bytes::from(text);
            }
            Ok(answer)
        }
        .boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_slice_of_which_more_than_half_is_unreadable_fails_and_publishes_nothing() {
    for (to, code, published) in [("2025-03-08", 65, 0), ("2025-03-15", 3, 7)] {
        let clock = Clock::starting_at(at("2025-06-01"));
        let world = WorldSettings { conversations_per_day: 10, ..WorldSettings::default() };
        let simulator = Simulator::new(SimulatorSettings { world, ..Default::default() }, clock);
        let source: Arc<dyn Transport> =
            Arc::new(Spoiling { simulator: simulator.clone(), from: "2025-03-01T00:00:00.000Z/" });
        let lake = TempDir::new().unwrap();
        let source = (through::settings(&simulator), source);
        let asked = range("2025-03-01", to);
        let report = through::export(source, Protocol::Query, asked, lake.path(), None, clock).await;
        assert_eq!(report.totals.exit, code, "{:?}", report.errors);
        assert!(report.errors[0].message.contains("70 of 70 records cannot be read"), "{:?}", report.errors);
        assert_eq!(report.totals.quarantined, 70);
        assert_eq!(quarantined(lake.path()).len(), 70);
        let failed = report.days.iter().filter(|day| day.outcome == DayOutcome::Failed).count();
        assert_eq!((failed, ids(lake.path()).len(), ledger(lake.path()).days().count()), (7, published, published));
    }
}
