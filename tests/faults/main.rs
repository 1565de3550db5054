//! What goes wrong at the source, one fault at a time and many at random: afterwards the lake holds exactly the
//! conversations of the world, or the run has failed with the code that says so and the lake is what it was.
//!
//! Everything is in process and in virtual time, but for what the command line refuses.

#![cfg(test)]

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod auth;
mod chance;
mod cursor;
mod http;
mod jobs;
mod limits;
mod page;
mod refusals;
mod throttle;
mod totals;

use common::org::{Ask, Org, files};
use convlake::export::{ErrorReport, Report};
use convlake::simulator::{Endpoint, Faults, SimulatorSettings, WorldSettings};

/// When the exports run: months behind the days they ask for.
const NOW: &str = "2025-09-01T12:00:00Z";
/// Two days: one slice of every protocol.
const FROM: &str = "2025-01-01";
const TO: &str = "2025-01-03";
const PROTOCOLS: [&str; 4] = ["query", "jobs", "cursor", "page"];

/// So many conversations a day, and nothing wrong.
fn sound(conversations_per_day: u32) -> SimulatorSettings {
    SimulatorSettings {
        world: WorldSettings { conversations_per_day, ..WorldSettings::default() },
        ..SimulatorSettings::default()
    }
}

/// 12 conversations a day, and what `script` says goes wrong: entries of a fault file.
fn faulty(script: &str) -> SimulatorSettings {
    let faults = Faults::parse(&format!(r#"{{"script": [{script}]}}"#)).unwrap();
    SimulatorSettings { faults, ..sound(12) }
}

/// The endpoint of a protocol's pages, and its name in a fault file.
fn pages_of(protocol: &str) -> (Endpoint, &str) {
    match protocol {
        "query" => (Endpoint::Query, "query"),
        "jobs" => (Endpoint::Results, "results"),
        "cursor" => (Endpoint::Cursor, "cursor"),
        _ => (Endpoint::Page, "page"),
    }
}

/// An export of the two days in pages of 4 records: 6 of them, and one more by cursor and page, whose
/// inclusive end takes in the first conversation of the third day.
fn in_pages(org: &Org, protocol: &str) -> Ask {
    let mut ask = org.ask(protocol, FROM, TO);
    ask.api.wanted.page_size = Some(4);
    ask
}

/// Exports the two days with the faults of `script`, which has to be complete.
async fn survives(protocol: &str, script: &str) -> (Org, Report) {
    let org = Org::new(faulty(script), NOW);
    let report = org.run(in_pages(&org, protocol)).await;
    assert_eq!(report.totals.exit, 0, "{protocol}: {script}: {:?}", report.errors);
    org.assert_complete(&report, FROM, TO);
    (org, report)
}

/// Exports the two days with the faults of `script` over a lake that holds them. The run has to end with `exit` and to leave
/// the lake's tables as they were.
async fn refuses(protocol: &str, script: &str, exit: u8) -> (Org, ErrorReport) {
    let org = Org::new(faulty(script), NOW);
    refuses_as(org, exit, |org| in_pages(org, protocol)).await
}

async fn refuses_as(org: Org, exit: u8, ask: impl Fn(&Org) -> Ask) -> (Org, ErrorReport) {
    let tables = |org: &Org| files(&org.lake().join("conversations"));
    let before = {
        let world = org.simulator.world().settings().clone();
        let sound = org.turned_into(SimulatorSettings { world, ..SimulatorSettings::default() });
        let report = sound.run(ask(&sound)).await;
        sound.assert_complete(&report, FROM, TO);
        tables(&sound)
    };
    let report = org.run(ask(&org)).await;
    assert_eq!(report.totals.exit, exit, "{:?}", report.errors);
    assert!(tables(&org) == before, "the lake was touched");
    let error = report.errors.first().expect("an error").clone();
    (org, error)
}
