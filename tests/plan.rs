//! A year costs the calls that its plan announces, at the pace that the API permits.

#![cfg(test)]

mod common;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use common::org::{at, ids, range};
use common::receipts::ledger;
use common::through;
use convlake::api::transport::{Request as HttpRequest, Response, Transport, TransportError};
use convlake::api::{Api, CALLS_PER_MINUTE};
use convlake::export::{self, Basis, Expectation, Report};
use convlake::plan::{Matching, Protocol, ProtocolChoice, windows};
use convlake::simulator::{Simulator, SimulatorSettings, WorldSettings};
use convlake::time::{Clock, Interval};
use futures::future::BoxFuture;
use tempfile::TempDir;
use tokio::time::Instant;

const DAYS: u64 = 365;
const CONVERSATIONS_PER_DAY: u64 = 200;
/// A table is enough to count conversations; all of them would only write more files.
const TABLE: &str = "conversations";

/// 2025 from a simulator that enforces its limits: the plan's calls, and what the export did.
struct Year {
    simulator: Simulator,
    wire: Arc<Wire>,
    expected: Expectation,
    report: Report,
    lake: TempDir,
}

/// The network, with the times of its calls.
struct Wire {
    simulator: Simulator,
    sent: Mutex<Vec<Instant>>,
}

impl Transport for Wire {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<Response, TransportError>> {
        self.sent.lock().unwrap().push(Instant::now());
        Transport::send(&self.simulator, request)
    }
}

async fn year(protocol: Protocol) -> Year {
    let clock = Clock::starting_at(at("2026-03-01"));
    let world =
        WorldSettings { conversations_per_day: CONVERSATIONS_PER_DAY as u32, brief: true, ..Default::default() };
    let simulator = Simulator::new(SimulatorSettings { world, ..Default::default() }, clock);
    let asked = range("2025-01-01", "2026-01-01");

    let settings = through::settings(&simulator);
    let probing = Api::new(settings.clone(), simulator.transport(), clock);
    let plan = windows(&asked.into(), Matching::Start);
    let terms = through::terms(&probing, ProtocolChoice::One(protocol), None);
    let volume = export::probe(&plan, &terms, &probing).await.unwrap();
    let expected = export::estimate(&plan, &terms, &volume);
    // The probe's calls are in the API's minute; the export's are measured in minutes of their own.
    tokio::time::sleep(Duration::from_secs(600)).await;

    let wire = Arc::new(Wire { simulator: simulator.clone(), sent: Mutex::default() });
    let lake = TempDir::new().unwrap();
    let source: (_, Arc<dyn Transport>) = (settings, Arc::<Wire>::clone(&wire));
    let report = through::export(source, protocol, asked, lake.path(), Some(&[TABLE.to_owned()]), clock).await;
    Year { simulator, wire, expected, report, lake }
}

impl Year {
    /// 13 windows, the plan's calls and no other, every conversation once.
    fn assert_as_planned(&self) {
        let (report, expected) = (&self.report, &self.expected);
        assert_eq!(report.totals.exit, 0, "{:?}", report.errors);
        assert_eq!(report.totals.calls, expected.calls);
        assert_eq!(report.totals.calls, expected.windows.iter().map(|window| window.calls).sum::<u64>());
        assert_eq!(report.totals.retries, 0);
        assert_eq!(self.simulator.counts().with(429), 0);

        let bounds = |from, to| (from, to);
        let done: Vec<_> = report.windows.iter().map(|w| bounds(w.from, w.to)).collect();
        assert_eq!(done, expected.windows.iter().map(|w| bounds(w.from, w.to)).collect::<Vec<_>>());
        let days: Vec<_> = done.iter().map(|(from, to)| (*to - *from).num_days()).collect();
        assert_eq!(days, [vec![30; 12], vec![5]].concat());
        assert!(done.windows(2).all(|pair| pair[0].1 == pair[1].0), "windows meet and do not overlap: {done:?}");
        let slices: Vec<_> = report.windows.iter().map(|window| window.slices).collect();
        assert_eq!(slices, expected.windows.iter().map(|window| window.slices).collect::<Vec<_>>());

        let total = DAYS * CONVERSATIONS_PER_DAY;
        assert_eq!(report.totals.conversations, total);
        assert_eq!(report.totals.duplicates, 0);
        let held = ids(self.lake.path());
        assert_eq!(held.len() as u64, DAYS);
        let distinct: BTreeSet<_> = held.values().flatten().collect();
        assert_eq!((held.values().flatten().count() as u64, distinct.len() as u64), (total, total));
    }

    /// No day is left that another run would fetch again.
    fn assert_not_dirty(&self) {
        let ledger = ledger(self.lake.path());
        let dirty: Vec<_> = ledger.days().filter(|(_, entry)| entry.is_dirty()).map(|(day, _)| *day).collect();
        assert!(dirty.is_empty(), "{dirty:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_year_by_query_is_13_windows_with_the_planned_calls_and_every_permitted_call_used() {
    let year = year(Protocol::Query).await;
    year.assert_as_planned();
    // 4 slices of 7 days and one of 2 in a window of 30, each with an empty page at its end.
    assert_eq!(year.expected.windows[0].calls, 4 * (1_400 / 100 + 1) + (400 / 100 + 1));
    assert_eq!(year.expected.conversations, Some(DAYS * CONVERSATIONS_PER_DAY));
    assert!(year.report.windows.iter().all(|window| window.hits == Some(window.records)), "{:?}", year.report.windows);

    let sent = year.wire.sent.lock().unwrap().clone();
    let minutes = sent.iter().fold(Vec::new(), |mut minutes: Vec<u32>, at| {
        let minute = ((*at - sent[0]).as_secs() / 60) as usize;
        minutes.resize(minutes.len().max(minute + 1), 0);
        minutes[minute] += 1;
        minutes
    });
    // In the last minute there is nothing left to ask for.
    let busy = &minutes[..minutes.len() - 1];
    assert!(busy.len() >= 2, "{minutes:?}");
    assert!(busy.iter().all(|calls| calls * 100 >= CALLS_PER_MINUTE * 98), "{minutes:?}");
    year.assert_not_dirty();
}

#[tokio::test(start_paused = true)]
async fn a_year_by_pages_is_13_windows_with_the_planned_calls() {
    let year = year(Protocol::Page).await;
    year.assert_as_planned();
    assert!(year.report.totals.out_of_window > 0, "an inclusive end brings the first instant of the next window");
    year.assert_not_dirty();
}

/// What an export announced and the calls that it made.
struct Announced {
    expected: Expectation,
    made: u64,
}

impl Announced {
    /// Exports `days` days from 2025-01-01 on into `lake`.
    async fn by(choice: ProtocolChoice, days: i64, simulator: &Simulator, lake: &TempDir, clock: Clock) -> Announced {
        let heard: Arc<Mutex<Option<Expectation>>> = Arc::default();
        let watch = Arc::clone(&heard);
        let watch: export::Watch = Arc::new(move |event| {
            if let export::Event::Expected(expected) = event {
                *watch.lock().unwrap() = Some(expected.clone());
            }
        });
        let source: (_, Arc<dyn Transport>) = (through::settings(simulator), simulator.transport());
        let tables = [TABLE.to_owned()];
        let (asked, watched) = (first_days(days), (clock, watch));
        let report = through::export_watched(choice, source, asked, lake.path(), Some(&tables), watched).await;
        assert_eq!(report.totals.exit, 0, "{:?}", report.errors);
        let expected = heard.lock().unwrap().take().expect("an export announces its calls");
        Announced { expected, made: report.totals.calls }
    }
}

fn first_days(days: i64) -> Interval {
    let from = at("2025-01-01");
    Interval::new(from, from + TimeDelta::days(days)).unwrap()
}

/// Within a fifth of `made`, or one call.
fn assert_close(expected: u64, made: u64, what: &str) {
    assert!(expected.abs_diff(made) * 5 <= made.max(5), "{what}: announced {expected}, made {made}");
}

#[tokio::test(start_paused = true)]
async fn the_calls_that_are_announced_are_made_by_every_protocol_on_every_range() {
    use ProtocolChoice::{Auto, One};
    let clock = Clock::starting_at(at("2025-08-01"));
    for choice in [Auto, One(Protocol::Jobs), One(Protocol::Query), One(Protocol::Cursor), One(Protocol::Page)] {
        for days in [2, 9, 45, 200] {
            let world = WorldSettings { conversations_per_day: 60, brief: true, ..Default::default() };
            let simulator = Simulator::new(SimulatorSettings { world, ..Default::default() }, clock);
            let (lake, place) = (TempDir::new().unwrap(), format!("{choice}, {days} days"));
            let first = Announced::by(choice, days, &simulator, &lake, clock).await;
            assert_eq!(first.expected.basis, Basis::Unknown, "{place}");
            let range = first.expected.calls..=first.expected.calls_max.unwrap();
            assert!(range.contains(&first.made), "{place}: announced {range:?}, made {}", first.made);
            let again = Announced::by(choice, days, &simulator, &lake, clock).await;
            if choice == One(Protocol::Cursor) {
                assert_eq!(again.expected.basis, Basis::Unknown, "{place}: the source chooses the size of its pages");
            } else {
                assert_eq!(again.expected.basis, Basis::History, "{place}");
                assert_close(again.expected.calls, again.made, &format!("{place}, from the lake"));
            }

            // Jobs are counted by query.
            let probed = if choice == One(Protocol::Jobs) { Auto } else { choice };
            let api = Api::new(through::settings(&simulator), simulator.transport(), clock);
            let plan = windows(&first_days(days).into(), Matching::Start);
            let availability = api.availability().await.unwrap();
            let volume = export::probe(&plan, &through::terms(&api, probed, Some(availability)), &api).await.unwrap();
            let expected = export::estimate(&plan, &through::terms(&api, choice, Some(availability)), &volume);
            // An inclusive end counts the first conversation of the next window as well.
            let counted = expected.conversations.unwrap();
            assert!(counted.abs_diff(60 * days as u64) <= plan.len() as u64, "{place}: {counted}");
            assert_close(expected.calls, first.made, &format!("{place}, probed"));
        }
    }
}
