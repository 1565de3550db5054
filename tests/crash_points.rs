//! A run ends after any of its calls to a store or changes to a disk, or loses one answer, or a write arrives late:
//! what is stored stays readable, and the next run makes of it what an undisturbed one would have made.

#![cfg(test)]

mod common;

use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use chrono::TimeDelta;
use common::days::Tables;
use common::each;
use common::flaky::{Call, Fate, Line, Objects, Verb};
use common::image::{Image, Rows, assert_committed, assert_same, of_folder, remains, rows};
use common::org::at;
use convlake::lake::local::{Disk, FailPoint};
use convlake::lake::receipt::{Counts, Receipt};
use convlake::lake::{Lake, Observation, Store};
use convlake::simulator::{World, WorldSettings};
use convlake::time::{Day, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

const DATES: [&str; 3] = ["2025-01-01", "2025-01-02", "2025-01-03"];
const TABLES: usize = common::TABLES.len();

/// Three days that are exported twice; in between most change and one is emptied. The clock of the second run is far ahead.
struct Story {
    tables: Tables,
    first: Vec<Observation>,
    second: Vec<Observation>,
    /// The second again, seen later, by a clock that says it was earlier than the first.
    again: Vec<Observation>,
}

impl Story {
    fn new() -> Story {
        let tables = Tables::new(None);
        let world = World::new(WorldSettings { seed: 4, conversations_per_day: 20, ..WorldSettings::default() });
        let export =
            |generation, observed_at: &str, as_of: fn(Day) -> Timestamp, emptied: Option<&str>| -> Vec<Observation> {
                let seen = |date: &&str| {
                    let day: Day = date.parse().unwrap();
                    let records = world.conversations(day, as_of(day)).into_iter().filter(|_| emptied != Some(date));
                    tables.seen(day, generation, at(observed_at), records.map(|record| record.json))
                };
                DATES.iter().map(seen).collect()
            };
        let (afternoon, later) = (|day: Day| day.start() + TimeDelta::hours(15), |day: Day| day.plus(60).start());
        Story {
            first: export(1, "2025-01-04", afternoon, None),
            second: export(2, "2099-03-10", later, Some(DATES[1])),
            again: export(3, "2024-03-11", later, Some(DATES[1])),
            tables,
        }
    }
}

/// What two undisturbed exports leave.
struct Wanted {
    old: Rows,
    new: Rows,
    receipts: Vec<Receipt>,
}

impl Wanted {
    fn new(before: &Image, after: &Image, store: impl Into<Store>) -> Wanted {
        let (old, new) = (rows(before), rows(after));
        assert_eq!([old.len(), new.len()], [3 * TABLES; 2]);
        let changed = new.iter().filter(|(path, batch)| old[*path] != **batch).count();
        assert!((2 * TABLES..3 * TABLES).contains(&changed), "{changed} of {} files changed", 3 * TABLES);
        let filled = |table: &&str| {
            old.iter().chain(&new).any(|(path, rows)| path.split('/').next() == Some(table) && rows.num_rows() > 0)
        };
        let empty: Vec<_> = common::TABLES.into_iter().filter(|table| !filled(table)).collect();
        assert_eq!(empty, [""; 0], "tables without rows");
        Wanted { old, new, receipts: receipts(store) }
    }

    /// Every file is there, and is one that an undisturbed export made: the former or the new one. A day's new
    /// conversations come after all that belongs to them.
    fn assert_readable(&self, image: &Image, when: &str) {
        let found = rows(image);
        assert!(found.keys().eq(self.old.keys()), "{when}: other files are there");
        for (path, batch) in &found {
            assert!(*batch == self.old[path] || *batch == self.new[path], "{when}: {path} is of no export");
            let (table, date) = path.split_once("/date=").unwrap();
            let conversations = format!("conversations/date={}/conversations.parquet", &date[..10]);
            let after = found[&conversations] == self.new[&conversations]
                && self.new[&conversations] != self.old[&conversations];
            assert!(!after || *batch == self.new[path], "{when}: {table} comes after its conversations");
        }
    }

    fn assert_complete(&self, image: &Image, store: impl Into<Store>, when: &str) {
        let store = store.into();
        assert_same(&rows(image), &self.new, when);
        assert_committed(image, &Lake::open_existing(store.clone()).unwrap().ledger().unwrap());
        assert_eq!(receipts(store), self.receipts, "{when}");
    }
}

/// The receipts without what differs from run to run. What vanished is told by whoever swaps the file in, and lost
/// with it: the files are right all the same.
fn receipts(store: impl Into<Store>) -> Vec<Receipt> {
    let ledger = Lake::open_existing(store).unwrap().ledger().unwrap();
    let mut receipts = ledger.into_record().receipts;
    for receipt in &mut receipts {
        receipt.run = uuid::Uuid::nil().into();
        (receipt.generation, receipt.observer, receipt.revision) = (0, None, 0);
        (receipt.observed_at, receipt.recorded_at) = (receipt.day.start(), receipt.day.start());
        receipt.counts = Counts { vanished: 0, ..receipt.counts };
        receipt.vanished.clear();
        for file in &mut receipt.files {
            (file.uuid, file.hash) = (uuid::Uuid::nil(), String::new());
        }
    }
    receipts
}

/// A story in buckets.
struct Bucket {
    story: Story,
    before: Arc<Objects>,
    wanted: Wanted,
    /// What an undisturbed second export asks of the store.
    calls: Vec<Call>,
}

impl Bucket {
    fn new() -> Bucket {
        let story = Story::new();
        let before = Arc::new(Objects::default());
        story.tables.export(before.line().bucket(), 1, &story.first).unwrap();
        let undisturbed = before.fork();
        let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
        let log = Arc::clone(&heard);
        let line = undisturbed.line_with(move |call| {
            log.lock().unwrap().push(call.clone());
            Fate::Done
        });
        story.tables.export(line.bucket(), 2, &story.second).unwrap();
        assert_eq!(remains(&undisturbed.image()), [""; 0]);
        let wanted = Wanted::new(&before.image(), &undisturbed.image(), undisturbed.line().bucket());
        let calls = heard.lock().unwrap().clone();
        Bucket { story, before, wanted, calls }
    }

    /// The number of calls for which `choose` is true.
    fn count(&self, choose: impl Fn(&Call) -> bool) -> usize {
        self.calls.iter().filter(|call| choose(call)).count()
    }

    /// The second export under `fates`, then the same again undisturbed.
    fn disturb(&self, when: &str, fates: impl Fn(&Call) -> Fate + Send + Sync + 'static) -> Disturbed {
        let objects = self.before.fork();
        let ended = self.story.tables.export(objects.line_with(fates).bucket(), 2, &self.story.second);
        self.wanted.assert_readable(&objects.image(), when);
        self.story.tables.export(objects.line().bucket(), 3, &self.story.again).unwrap();
        objects.deliver_all();
        let image = objects.image();
        self.wanted.assert_complete(&image, objects.line().bucket(), when);
        let remains = remains(&image).into_iter().map(str::to_owned).collect();
        Disturbed { ended_well: ended.is_ok(), remains }
    }
}

/// What came of a disturbed run.
struct Disturbed {
    ended_well: bool,
    /// What the run after it left that need not be there.
    remains: Vec<String>,
}

/// The run dies at call `cut`, and that call is done or not.
fn cut(cut: usize, applied: bool) -> impl Fn(&Call) -> Fate {
    move |call| match call.number.cmp(&cut) {
        Ordering::Less => Fate::Done,
        Ordering::Equal if applied => Fate::Unanswered,
        Ordering::Equal | Ordering::Greater => Fate::Lost,
    }
}

/// The `number`th call for which `choose` is true becomes `fate`.
fn once(number: usize, choose: impl Fn(&Call) -> bool, fate: Fate) -> impl Fn(&Call) -> Fate {
    let seen = AtomicUsize::new(0);
    move |call| match choose(call) && seen.fetch_add(1, SeqCst) == number {
        true => fate,
        false => Fate::Done,
    }
}

fn is_slot(call: &Call) -> bool {
    call.verb == Verb::WriteIf && call.path.as_ref().ends_with(".parquet")
}

fn is_change(call: &Call) -> bool {
    matches!(call.verb, Verb::Write | Verb::WriteIf | Verb::Remove)
}

#[test]
fn a_run_cut_after_any_call_leaves_a_bucket_that_the_next_run_completes() {
    let bucket = Bucket::new();
    let calls = bucket.calls.len();
    for applied in [false, true] {
        each(calls, |number| {
            let when = format!("cut at call {number}, applied: {applied}");
            let came = bucket.disturb(&when, cut(number, applied));
            // The last call takes back a claim to a day that is committed: nothing is lost with it.
            assert_eq!((came.ended_well, came.remains), (number + 1 == calls, Vec::new()), "{when}");
        });
    }
    let slots = bucket.count(is_slot);
    println!("bucket: {calls} calls, {slots} of them swaps; {} runs cut, as many completed", 2 * calls);
}

#[test]
fn a_lost_answer_or_a_needless_refusal_of_a_swap_is_seen_through() {
    let bucket = Bucket::new();
    let slots = bucket.count(is_slot);
    for fate in [Fate::Unanswered, Fate::Refused] {
        each(slots, |number| {
            let came = bucket.disturb(&format!("{fate:?} swap {number}"), once(number, is_slot, fate));
            assert_eq!((came.ended_well, came.remains), (true, Vec::new()), "{fate:?} swap {number}");
        });
    }
    println!("bucket: {slots} swaps, each once unanswered and once refused: {} runs ended well", 2 * slots);
}

#[test]
fn one_change_that_fails_or_arrives_late_spoils_nothing() {
    const SEED: u64 = 20_250_101;
    let bucket = Bucket::new();
    let changes = bucket.count(is_change);
    each(changes, |number| {
        let came = bucket.disturb(&format!("change {number} fails"), once(number, is_change, Fate::Lost));
        assert_eq!(came.remains, [""; 0], "change {number} fails");
    });
    let is_write = |call: &Call| matches!(call.verb, Verb::Write | Verb::WriteIf);
    let writes = bucket.count(is_write);
    each(2 * writes, |number| {
        let after = ChaCha8Rng::seed_from_u64(SEED + number as u64).random_range(0..2 * bucket.calls.len());
        let when = format!("write {} arrives {after} calls late", number % writes);
        let came = bucket.disturb(&when, once(number % writes, is_write, Fate::Late(after)));
        // A claim of the dead that arrives after all: the next run writes a day that has not changed, no more.
        let is_claim = |path: &String| path.starts_with("_convlake/claims/");
        assert!(came.remains.len() <= 1 && came.remains.iter().all(is_claim), "{when}: {:?}", came.remains);
    });
    println!("bucket: {changes} changes failed once each, {} writes came late (seed {SEED})", 2 * writes);
}

#[test]
fn a_new_lake_cut_after_any_call_is_made_by_the_next_run() {
    let story = Story::new();
    let (first, again) = (&story.first[..1], &story.second[..1]);
    for single_writer in [false, true] {
        let bucket = |line: Line| if single_writer { line.bucket().for_a_single_writer() } else { line.bucket() };
        let objects = Arc::new(Objects::default());
        let line = objects.line();
        story.tables.export(bucket(line.clone()), 1, first).unwrap();
        let (calls, old) = (line.calls(), rows(&objects.image()));
        story.tables.export(bucket(objects.line()), 2, again).unwrap();
        let new = rows(&objects.image());
        each(2 * calls, |number| {
            let when = format!("cut at call {}, applied: {}", number / 2, number % 2 == 1);
            let objects = Arc::new(Objects::default());
            let line = objects.line_with(cut(number / 2, number % 2 == 1));
            // With claims the last call takes one back: nothing is lost with it.
            let ends_well = !single_writer && number / 2 + 1 == calls;
            assert_eq!(story.tables.export(bucket(line), 1, first).is_ok(), ends_well, "{when}");
            let found = rows(&objects.image());
            assert!(found.iter().all(|(path, batch)| old[path] == *batch), "{when}");
            story.tables.export(bucket(objects.line()), 2, again).unwrap();
            let image = objects.image();
            assert_same(&rows(&image), &new, &when);
            assert_committed(&image, &Lake::open_existing(objects.line().bucket()).unwrap().ledger().unwrap());
            assert_eq!(remains(&image), [""; 0], "{when}");
        });
        let cut = 2 * calls;
        println!("bucket, single writer {single_writer}: {calls} calls make a lake; {cut} runs cut, as many completed");
    }
}

fn copy(image: &Image, to: &Path) {
    for (path, bytes) in image {
        let path = to.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

#[test]
fn a_run_cut_after_any_file_operation_leaves_a_folder_that_the_next_run_completes() {
    let story = Story::new();
    let whole = |root: &Path| Disk::new(root, FailPoint::after(u64::MAX));
    let folder_of = |image: &Image| {
        let folder = TempDir::new().unwrap();
        copy(image, folder.path());
        folder
    };
    let undisturbed = TempDir::new().unwrap();
    story.tables.export(whole(undisturbed.path()), 1, &story.first).unwrap();
    let before = of_folder(undisturbed.path());
    story.tables.export(whole(undisturbed.path()), 2, &story.second).unwrap();
    let wanted = Wanted::new(&before, &of_folder(undisturbed.path()), undisturbed.path());

    // How many operations there are is known when a run gets through with as many.
    let (next, operations) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
    let work = || {
        while operations.load(SeqCst) == usize::MAX {
            let cut = next.fetch_add(1, SeqCst);
            let (lake, when) = (folder_of(&before), format!("after {cut} operations"));
            let dying = Disk::new(lake.path(), FailPoint::after(cut as u64));
            if story.tables.export(dying, 2, &story.second).is_ok() {
                operations.fetch_min(cut, SeqCst);
            }
            wanted.assert_readable(&of_folder(lake.path()), &when);
            story.tables.export(whole(lake.path()), 3, &story.again).unwrap();
            let image = of_folder(lake.path());
            wanted.assert_complete(&image, lake.path(), &when);
            assert_eq!(remains(&image), [""; 0], "{when}");
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
    let operations = operations.into_inner();
    assert!(operations > 3 * TABLES, "{operations}");
    println!("disk: {operations} operations; as many runs cut, as many completed");
}
