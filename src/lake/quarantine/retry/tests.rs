use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;

use super::*;
use crate::flatten::Catalog;
use crate::flatten::batch::{BadReason, BadRecord, Position};
use crate::lake::assemble::TableSpec;
use crate::lake::bucket::Bucket;
use crate::lake::layout::{Dataset, LakePath};
use crate::lake::open::Lake;
use crate::lake::publish::Observation;
use crate::lake::quarantine::Origin;
use crate::lake::store::Store;
use crate::lake::testing::{at, day, identity};
use crate::plan::Source;
use crate::time::{Clock, Timestamp};

const DATE: &str = "2025-01-01";

struct Lab {
    store: Store,
    flattener: Flattener,
}

impl Lab {
    fn new() -> Lab {
        let bucket = Bucket::new(Arc::new(InMemory::new()), Path::from("lake"), "memory".to_owned()).unwrap();
        Lab { store: bucket.into(), flattener: Flattener::new(Arc::new(Catalog::builtin().unwrap())).unwrap() }
    }

    /// A run that begins at `began`.
    fn run(&self, began: Timestamp) -> Run {
        let specs = TableSpec::of(self.flattener.catalog()).unwrap();
        let lake = Lake::open(self.store.clone(), &identity()).unwrap();
        lake.begin(RunId::at(began), Dataset::Conversations, specs, Clock::starting_at(began)).unwrap()
    }

    /// Publishes the day as holding `ids`, as a run does that finds it so at `observed_at`.
    fn publish(&self, ids: &[&str], observed_at: Timestamp) -> Run {
        let run = self.run(observed_at);
        let page = self.flattener.flatten(0, 1, ids.iter().map(|id| record(id))).unwrap();
        let observation = Observation {
            day: day(DATE),
            rows: page.days.into(),
            drafted: None,
            asked: day(DATE).interval(),
            fetched: day(DATE).interval(),
            source: Source::Jobs,
            availability: None,
            generation: number(observed_at),
            observed_at,
            clock_skew: None,
            settled_before: at("2025-01-25T00:00:00Z"),
            out_of_window: 0,
            quarantined: 0,
            shortage: None,
            refetched: 0,
            moved: Arc::default(),
            confirmed: true,
            force_protocol: false,
            allow_vanished: false,
        };
        assert!(matches!(run.publish(&observation).unwrap(), Outcome::Published(_)));
        run
    }

    fn retry(&self, began: &str) -> Vec<(Fate, u64)> {
        let retried = self.run(at(began)).retry_quarantine(&self.flattener).unwrap();
        assert!(retried.failed.is_empty(), "{:?}", retried.failed);
        retried.fates.into_iter().collect()
    }

    fn receipt(&self) -> Receipt {
        Lake::open_existing(self.store.clone()).unwrap().ledger().unwrap().receipt(day(DATE)).unwrap().clone()
    }
}

fn record(id: &str) -> Bytes {
    format!(
        r#"{{"conversationId":"{id}","conversationStart":"{DATE}T01:00:00Z","participants":[{{"purpose":"agent"}}]}}"#
    )
    .into()
}

/// What is asked for on the nth of the month is of the nth generation, or of the next month's.
fn number(at: Timestamp) -> u64 {
    u64::from(chrono::Datelike::ordinal(&at))
}

/// Puts a record into quarantine that can be read.
fn set_aside(run: &Run, id: &str) {
    let (position, generation) = (Position { chain: 0, page: 1, index: 0 }, number(run.id().began().unwrap()));
    let bad = BadRecord { position, reason: BadReason::NoStart, raw: record(id) };
    run.quarantine().add(|_| Origin { place: "here".into(), day: None, generation }, &[bad]).unwrap();
}

#[test]
fn a_record_found_later_than_the_day_was_observed_is_put_over_it_and_an_earlier_one_is_not() {
    let lab = Lab::new();
    lab.publish(&["a", "b"], at("2025-02-01T00:00:00Z"));
    set_aside(&lab.run(at("2025-01-31T00:00:00Z")), "a");
    assert_eq!(lab.retry("2025-02-03T00:00:00Z"), [(Fate::Superseded, 1)]);
    set_aside(&lab.run(at("2025-02-02T00:00:00Z")), "a");
    assert_eq!(lab.retry("2025-02-03T00:00:00Z"), [(Fate::Joined, 1)]);
    let counts = lab.receipt().counts;
    assert_eq!((counts.records, counts.conversations, counts.duplicates), (3, 2, 1));
    assert_eq!(lab.retry("2025-02-04T00:00:00Z"), [], "nothing is left");
}

#[test]
fn a_run_that_died_earlier_does_not_hold_a_record_up_and_one_that_asked_later_does() {
    let lab = Lab::new();
    let first = lab.publish(&["a"], at("2025-02-01T00:00:00Z"));
    set_aside(&first, "b");
    let claim = |observed_at: &str| {
        let observed_at = at(observed_at);
        let claim = Order::observed(number(observed_at), observed_at, RunId::at(observed_at));
        let place = LakePath::Claim(Dataset::Conversations, day(DATE), claim);
        lab.store.write(first.id(), &place, b"{}".to_vec()).unwrap();
        place
    };
    claim("2025-01-20T00:00:00Z");
    let later = claim("2025-02-02T00:00:00Z");
    assert_eq!(lab.retry("2025-02-03T00:00:00Z"), [(Fate::Later, 1)]);
    assert_eq!(lab.receipt().run, first.id());
    lab.store.remove_all(&[later]).unwrap();
    assert_eq!(lab.retry("2025-02-03T00:00:00Z"), [(Fate::Joined, 1)]);
    assert_eq!((lab.receipt().counts.conversations, lab.receipt().observed_at), (2, at("2025-02-01T00:00:00Z")));
}
