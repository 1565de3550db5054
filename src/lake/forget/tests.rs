use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use object_store::memory::InMemory;
use object_store::path::Path;

use super::*;
use crate::lake::bucket::Bucket;
use crate::lake::hooked::Hooked;
use crate::lake::layout::Dataset;
use crate::lake::local::{Disk, FailPoint};
use crate::lake::order::Order;
use crate::lake::publish::Observation;
use crate::lake::receipt::State;
use crate::lake::slot::read_label;
use crate::lake::store::Store;
use crate::lake::testing::{Rec, at, batch, bind, day, generation, identity, run_id, specs};
use crate::plan::Source;
use crate::time::{Clock, Days};

const DATE: &str = "2025-01-01";
const TABLES: [&str; 2] = ["conversations", "child_0"];
/// The conversation to forget: it has two children.
const GONE: &str = "2025-01-01-2";

fn bucket(objects: Arc<dyn object_store::ObjectStore>) -> Store {
    Bucket::new(objects, Path::from("lake"), "memory".to_owned()).unwrap().into()
}

fn begin(store: impl Into<Store>, run: u128) -> Result<Run> {
    let clock = Clock::starting_at(at("2025-03-01T00:00:00Z"));
    Lake::open(store, &identity())?.begin(run_id(run), Dataset::Conversations, specs(1).into(), clock)
}

fn recs(date: &str, count: usize) -> Vec<Rec> {
    let one = |n: usize| Rec::new(day(date), &format!("{date}-{n}"), n as i64 * 60, (0, 1, n as u32), n % 3);
    (0..count).map(one).collect()
}

/// An observation of the whole day by the `hour`th run of an afternoon a month later.
fn seen(date: &str, hour: i64, recs: &[Rec]) -> Observation {
    let day = day(date);
    Observation {
        day,
        rows: vec![batch(day, &specs(1), recs)].into(),
        drafted: None,
        asked: day.interval(),
        fetched: day.interval(),
        source: Source::Jobs,
        availability: None,
        generation: generation(hour),
        observed_at: at("2025-02-01T12:00:00Z") + TimeDelta::hours(hour),
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
    }
}

fn ids(ids: &[&str]) -> HashSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

fn forget(store: impl Into<Store>, run: u128) -> Result<Forgot> {
    begin(store, run)?.forget(&ids(&[GONE]), false)
}

/// The conversation of every row that a reader finds, by table.
fn rows(store: &Store, date: &str) -> Vec<Vec<String>> {
    let rows = |table: &str| {
        let place = LakePath::Part(TableName::new(table).unwrap(), day(date));
        let uuid = |file: &Object| read_label(file).unwrap().unwrap().uuid;
        let Some(uuid) = store.open(&place).unwrap().as_ref().map(uuid) else { return Vec::new() };
        slot::read_ids(store.open(&place).unwrap().unwrap(), uuid, |id| Some(id.to_owned())).unwrap().unwrap()
    };
    TABLES.map(rows).into()
}

fn expected(recs: &[Rec], without: &str) -> Vec<Vec<String>> {
    let staying = || recs.iter().filter(|rec| rec.id != without);
    let children: Vec<String> = staying().flat_map(|rec| vec![rec.id.clone(); rec.children]).collect();
    vec![staying().map(|rec| rec.id.clone()).collect(), children]
}

fn receipt(store: &Store, date: &str) -> Receipt {
    Lake::open_existing(store.clone()).unwrap().ledger().unwrap().receipt(day(date)).unwrap().clone()
}

/// Readers find the day as `recs` say without the forgotten one, and its receipt agrees with its files.
fn assert_forgotten(store: &Store, recs: &[Rec]) {
    assert_eq!(rows(store, DATE), expected(recs, GONE));
    let (run, receipt) = (begin(store.clone(), u128::MAX).unwrap(), receipt(store, DATE));
    assert!(Present::look(&run, day(DATE), false).unwrap().is_committed(&run.specs));
    let counts = receipt.counts;
    assert_eq!(counts.records, counts.conversations + counts.duplicates + counts.outside, "{counts:?}");
    assert_eq!(counts.conversations, recs.len() as u64 - 1);
    assert_eq!(counts.vanished as usize, receipt.vanished.len());
    assert!(!receipt.vanished.contains(&encode::hex(id_hash(GONE))));
}

#[test]
fn a_conversation_goes_with_its_children_and_does_not_come_back() {
    let temp = tempfile::tempdir().unwrap();
    for store in [Store::from(temp.path()), bucket(Arc::new(InMemory::new()))] {
        let publish = |run, hour, count| begin(store.clone(), run)?.publish(&seen(DATE, hour, &recs(DATE, count)));
        publish(1, 0, 9).unwrap();
        let other = begin(store.clone(), 1).unwrap().publish(&seen("2025-01-02", 0, &recs("2025-01-02", 3)));
        let Outcome::Published(other) = other.unwrap() else { panic!("not published") };

        let dry = begin(store.clone(), 2).unwrap().forget(&ids(&[GONE, "unknown"]), true).unwrap();
        assert_eq!((dry.new, dry.conversations, dry.days.len()), (0, 1, 1));
        assert_eq!(rows(&store, DATE), expected(&recs(DATE, 9), ""), "only said");

        let forgot = begin(store.clone(), 3).unwrap().forget(&ids(&[GONE, "unknown"]), false).unwrap();
        assert_eq!((forgot.new, forgot.conversations, forgot.days.len()), (2, 1, 1), "{forgot:?}");
        assert_forgotten(&store, &recs(DATE, 9));
        assert_eq!((receipt(&store, DATE).run, receipt(&store, DATE).counts.forgotten), (run_id(3), 1));
        assert_eq!(receipt(&store, "2025-01-02"), other, "other days stay as they were");

        let again = forget(store.clone(), 4).unwrap();
        assert_eq!((again.new, again.conversations, again.days.len()), (0, 0, 0));
        publish(5, 1, 9).unwrap();
        let again = receipt(&store, DATE);
        assert_eq!((again.run, again.counts.forgotten, again.counts.vanished), (run_id(5), 1, 0));
        publish(6, 2, 12).unwrap();
        assert_forgotten(&store, &recs(DATE, 12));
    }
}

#[test]
fn a_hash_of_what_had_vanished_goes_from_the_whole_ledger() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::from(temp.path());
    let without: Vec<Rec> = recs(DATE, 9).into_iter().filter(|rec| rec.id != GONE).collect();
    begin(temp.path(), 1).unwrap().publish(&seen(DATE, 0, &recs(DATE, 9))).unwrap();
    begin(temp.path(), 2).unwrap().publish(&seen(DATE, 1, &without[1..])).unwrap();
    begin(temp.path(), 3).unwrap().publish(&seen(DATE, 2, &without)).unwrap();
    let hash = encode::hex(id_hash(GONE));
    let ledger = || -> String {
        let month = temp.path().join("_convlake/ledger/2025-01");
        let records = std::fs::read_dir(month).unwrap().map(|entry| entry.unwrap().path());
        records.map(|path| std::fs::read_to_string(path).unwrap()).collect()
    };
    assert!(ledger().contains(&hash), "said by the second receipt, which has lost");
    let before = receipt(&store, DATE);
    forget(temp.path(), 4).unwrap();
    assert!(!ledger().contains(&hash));
    assert_eq!(receipt(&store, DATE), before);

    begin(temp.path(), 5).unwrap().publish(&seen(DATE, 3, &without[1..])).unwrap();
    let listed = receipt(&store, DATE);
    assert_eq!(listed.vanished, [encode::hex(id_hash(&without[0].id))]);
    begin(temp.path(), 6).unwrap().forget(&ids(&[&without[0].id]), false).unwrap();
    let cleaned = receipt(&store, DATE);
    assert_eq!((cleaned.vanished.len(), cleaned.counts.vanished, &cleaned.files), (0, 0, &listed.files));
    assert!(!ledger().contains(&listed.vanished[0]));
}

/// What the other run does with a day that holds nine conversations: changes it, finds it unchanged, or is the first
/// to publish it.
const OTHERS: [(bool, usize); 3] = [(true, 12), (true, 9), (false, 9)];

fn new_lake(held: bool) -> Arc<InMemory> {
    let objects = Arc::new(InMemory::new());
    let run = begin(bucket(Arc::clone(&objects) as _), 1).unwrap();
    bind(run.lake()).unwrap();
    if held {
        run.publish(&seen(DATE, 0, &recs(DATE, 9))).unwrap();
    }
    objects
}

#[test]
fn whenever_it_is_told_while_another_run_publishes_the_day_it_does_not_come_back() {
    for (held, count) in OTHERS {
        for call in 0.. {
            let objects = new_lake(held);
            let (plain, told) = (bucket(Arc::clone(&objects) as _), Arc::new(Mutex::new(false)));
            let hook = {
                let (plain, told) = (plain.clone(), Arc::clone(&told));
                move || {
                    let forgot = forget(plain, 3).unwrap();
                    assert!(forgot.failed.is_empty(), "{forgot:?}");
                    *told.lock().unwrap() = true;
                }
            };
            let run = begin(bucket(Hooked::at(objects, call, hook)), 2);
            run.unwrap().publish(&seen(DATE, 1, &recs(DATE, count))).unwrap();
            if !*told.lock().unwrap() {
                assert!(call > 20, "{call}");
                break;
            }
            assert_forgotten(&plain, &recs(DATE, count));
        }
    }
}

#[test]
fn whenever_another_run_publishes_the_day_while_it_is_forgotten_it_does_not_come_back() {
    for (held, count) in OTHERS {
        for call in 0.. {
            let objects = new_lake(held);
            let (plain, published) = (bucket(Arc::clone(&objects) as _), Arc::new(Mutex::new(false)));
            let hook = {
                let (plain, published) = (plain.clone(), Arc::clone(&published));
                move || {
                    begin(plain, 2).unwrap().publish(&seen(DATE, 1, &recs(DATE, count))).unwrap();
                    *published.lock().unwrap() = true;
                }
            };
            let forgot = forget(bucket(Hooked::at(objects, call, hook)), 3).unwrap();
            assert!(forgot.failed.is_empty(), "at {call}: {forgot:?}");
            if !*published.lock().unwrap() {
                assert!(call > 20, "{call}");
                break;
            }
            assert_forgotten(&plain, &recs(DATE, count));
        }
    }
}

/// What such a run says of the day counts only if it says it after the day came back.
#[test]
fn whenever_a_day_expires_and_comes_back_while_another_run_publishes_it_it_is_whole_or_due() {
    let mut due = 0;
    for call in 0.. {
        let objects = new_lake(true);
        let (plain, told) = (bucket(Arc::clone(&objects) as _), Arc::new(Mutex::new(false)));
        let hook = {
            let (plain, told) = (plain.clone(), Arc::clone(&told));
            move || {
                let (run, days) = (begin(plain, 3).unwrap(), Days { from: None, to: Some(day(DATE).next()) });
                assert_eq!(run.expire(day(DATE).next(), false).unwrap().days, 1);
                assert_eq!(run.restore(&days, false).unwrap(), [day(DATE)].into());
                *told.lock().unwrap() = true;
            }
        };
        begin(bucket(Hooked::at(objects, call, hook)), 2).unwrap().publish(&seen(DATE, 1, &recs(DATE, 12))).unwrap();
        if !*told.lock().unwrap() {
            assert!(call > 20, "{call}");
            break;
        }
        let is_whole = |run: u128| {
            let run = begin(plain.clone(), run).unwrap();
            Present::look(&run, day(DATE), false).unwrap().is_committed(&run.specs)
        };
        match Lake::open_existing(plain.clone()).unwrap().ledger().unwrap().receipt(day(DATE)) {
            Some(receipt) => assert_eq!((receipt.era, is_whole(u128::MAX)), (1, true), "at {call}"),
            None => due += 1,
        }
        begin(plain.clone(), 4).unwrap().publish(&seen(DATE, 2, &recs(DATE, 9))).unwrap();
        assert_eq!((receipt(&plain, DATE).era, rows(&plain, DATE)[0].len(), is_whole(u128::MAX)), (1, 9, true));
    }
    assert!(due < 10, "due after {due} calls");
}

#[test]
fn a_run_that_dies_after_it_brought_one_back_leaves_the_day_marked() {
    let mut brought_back = 0;
    for (held, count) in [OTHERS[0], OTHERS[2]] {
        // Some of the moments, each with every death after it: all of them would take minutes.
        'calls: for call in (0..).step_by(5) {
            for more in 0.. {
                let objects = new_lake(held);
                let (plain, told) = (bucket(Arc::clone(&objects) as _), Arc::new(Mutex::new(false)));
                let hook = {
                    let (plain, told) = (plain.clone(), Arc::clone(&told));
                    move || {
                        forget(plain, 3).unwrap();
                        *told.lock().unwrap() = true;
                    }
                };
                let hooked = Hooked::at(objects, call, hook);
                hooked.die_after(call + more);
                let done = begin(bucket(hooked), 2).and_then(|run| run.publish(&seen(DATE, 1, &recs(DATE, count))));
                if !*told.lock().unwrap() {
                    if done.is_ok() {
                        break 'calls;
                    }
                    continue;
                }
                let back = rows(&plain, DATE).iter().flatten().any(|id| id == GONE);
                if back && Lake::open_existing(plain.clone()).unwrap().ledger().unwrap().receipt(day(DATE)).is_some() {
                    let ledger = Lake::open_existing(plain.clone()).unwrap().ledger().unwrap();
                    let entry = ledger.day(day(DATE)).unwrap().clone();
                    let run = begin(plain.clone(), u128::MAX).unwrap();
                    let whole = Present::look(&run, day(DATE), false).unwrap().is_committed(&run.specs);
                    assert!(entry.is_dirty() || !whole, "{held} {count}: told at {call}, dead after {more} more");
                    brought_back += usize::from(whole);
                }
                begin(plain.clone(), 4).unwrap().publish(&seen(DATE, 2, &recs(DATE, count))).unwrap();
                assert_forgotten(&plain, &recs(DATE, count));
                if done.is_ok() {
                    break;
                }
            }
        }
    }
    assert!(brought_back > 0, "no run died in the gap that the marks are for");
}

#[test]
fn on_disk_a_publish_that_is_under_way_prepares_the_day_anew() {
    for (held, count) in OTHERS {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::from(temp.path());
        if held {
            begin(temp.path(), 1).unwrap().publish(&seen(DATE, 0, &recs(DATE, 9))).unwrap();
        }
        let (run, observation) = (begin(temp.path(), 2).unwrap(), seen(DATE, 1, &recs(DATE, count)));
        let mut prepared = 0;
        run.transact(
            day(DATE),
            Order::observed(observation.generation, observation.observed_at, run.id()),
            |present| {
                prepared += 1;
                let step = run.prepare(&observation, present, &mut None);
                if prepared == 1 {
                    forget(temp.path(), 3).unwrap();
                }
                step
            },
        )
        .unwrap();
        assert_eq!(prepared, 2);
        assert_forgotten(&store, &recs(DATE, count));
    }
}

#[test]
fn stopped_anywhere_it_is_completed_by_the_same_command() {
    for operations in 0.. {
        let temp = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        begin(temp.path(), 1).unwrap().publish(&seen(DATE, 0, &recs(DATE, 9))).unwrap();
        let stopped = forget(Disk::new(temp.path(), FailPoint::after(operations)), 2);
        let done = stopped.is_ok_and(|forgot| forgot.failed.is_empty());
        let forgot = forget(Disk::new(temp.path(), FailPoint::never()), 3).unwrap();
        assert!(forgot.failed.is_empty(), "after {operations}: {forgot:?}");
        assert_forgotten(&Store::from(temp.path()), &recs(DATE, 9));
        if done {
            assert!(operations > 20, "{operations}");
            return;
        }
    }
}

#[test]
fn a_lost_key_or_record_stops_every_run() {
    for lost in ["key", "record"] {
        let temp = tempfile::tempdir().unwrap();
        begin(temp.path(), 1).unwrap().publish(&seen(DATE, 0, &recs(DATE, 9))).unwrap();
        forget(temp.path(), 2).unwrap();
        let folder = temp.path().join("_convlake/forgotten");
        match lost {
            "key" => std::fs::remove_file(folder.join("key")).unwrap(),
            _ => std::fs::write(folder.join(format!("{}.json", run_id(2))), b"{").unwrap(),
        }
        let refused = begin(temp.path(), 3).unwrap().publish(&seen(DATE, 1, &recs(DATE, 9))).unwrap_err();
        assert_eq!(refused.kind(), crate::error::Kind::Storage);
        assert!(refused.to_string().contains("would come back"), "{refused}");
        assert!(rows(&Store::from(temp.path()), DATE).iter().flatten().all(|id| id != GONE));
    }
}

#[cfg(unix)]
#[test]
fn the_records_are_private_and_hold_no_id() {
    use std::os::unix::fs::PermissionsExt;
    let temp = tempfile::tempdir().unwrap();
    forget(temp.path(), 1).unwrap();
    let entries: Vec<_> = std::fs::read_dir(temp.path().join("_convlake/forgotten")).unwrap().collect();
    assert_eq!(entries.len(), 2);
    for path in entries.into_iter().map(|entry| entry.unwrap().path()) {
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o177, 0);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(GONE) && !text.contains(&encode::hex(id_hash(GONE))), "{text}");
    }
}

#[test]
fn a_day_that_expires_while_it_is_published_stays_away() {
    for call in 0.. {
        let objects = new_lake(true);
        let (plain, expired) = (bucket(Arc::clone(&objects) as _), Arc::new(Mutex::new(false)));
        let hook = {
            let (plain, expired) = (plain.clone(), Arc::clone(&expired));
            move || {
                begin(plain, 3).unwrap().expire(day("2025-01-02"), false).unwrap();
                *expired.lock().unwrap() = true;
            }
        };
        begin(bucket(Hooked::at(objects, call, hook)), 2).unwrap().publish(&seen(DATE, 1, &recs(DATE, 12))).unwrap();
        if !*expired.lock().unwrap() {
            assert!(call > 20, "{call}");
            break;
        }
        assert_eq!(receipt(&plain, DATE).state, State::Expired, "at {call}");
        assert_eq!(rows(&plain, DATE), [const { Vec::<String>::new() }; 2], "at {call}");
    }
}
