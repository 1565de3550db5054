use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use chrono::TimeDelta;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::error::Kind;
use crate::lake::assemble::TableSpec;
use crate::lake::identity::Identity;
use crate::lake::layout::Dataset;
use crate::lake::local::Disk;
use crate::lake::local::FailPoint;
use crate::lake::open::Lake;
use crate::lake::order::Order;
use crate::lake::receipt::State;
use crate::lake::testing::{Rec, at, batch, bind, day, generation, identity, run_id, specs};
use crate::time::Clock;

/// A lake with `conversations` and one child table, in a folder of its own.
struct Lab {
    temp: tempfile::TempDir,
    specs: Arc<[TableSpec]>,
}

const DATE: &str = "2025-01-01";

/// In memory where that is offered: thousands of renames wait for a disk, and no test here is about the disk.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

impl Lab {
    fn new(children: usize) -> Lab {
        Lab { temp: folder(), specs: specs(children).into() }
    }

    fn root(&self) -> &Path {
        self.temp.path()
    }

    fn run(&self, run: u128) -> Run {
        self.run_with(run, FailPoint::never()).unwrap()
    }

    fn run_with(&self, run: u128, faults: FailPoint) -> Result<Run> {
        let clock = Clock::starting_at(at("2025-03-01T00:00:00Z"));
        let disk = Disk::new(self.root(), faults);
        Lake::open(disk, &identity())?.begin(run_id(run), Dataset::Conversations, Arc::clone(&self.specs), clock)
    }

    /// An observation of the whole day, made by the `hour`th run of an afternoon a month later.
    fn seen(&self, date: &str, hour: i64, recs: &[Rec]) -> Observation {
        let day = day(date);
        Observation {
            day,
            rows: vec![batch(day, &self.specs, recs)].into(),
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
            confirmed: false,
            force_protocol: false,
            allow_vanished: false,
        }
    }

    fn publish(&self, run: u128, observation: &Observation) -> Result<Outcome> {
        self.run(run).publish(observation)
    }

    fn published(&self, run: u128, observation: &Observation) -> Receipt {
        match self.publish(run, observation).unwrap() {
            Outcome::Published(receipt) => receipt,
            other => panic!("not published: {other:?}"),
        }
    }

    fn part(&self, table: usize, date: &str) -> std::path::PathBuf {
        self.root().join(LakePath::Part(self.specs[table].name.clone(), day(date)).to_string())
    }

    fn rows(&self, table: usize, date: &str) -> usize {
        let file = std::fs::File::open(self.part(table, date)).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        reader.map(|b| b.unwrap().num_rows()).sum()
    }

    fn is_committed(&self, date: &str) -> bool {
        Present::look(&self.run(u128::MAX), day(date), false).unwrap().is_committed(&self.specs)
    }

    fn receipt(&self, date: &str) -> Option<Receipt> {
        Lake::open_existing(self.root()).unwrap().ledger().unwrap().receipt(day(date)).cloned()
    }

    fn records(&self) -> usize {
        let folder = self.root().join("_convlake/ledger/2025-01");
        std::fs::read_dir(folder).map_or(0, Iterator::count)
    }
}

fn recs(date: &str, count: usize) -> Vec<Rec> {
    let one = |n: usize| Rec::new(day(date), &format!("{date}-{n}"), n as i64 * 60, (0, 1, n as u32), n % 3);
    (0..count).map(one).collect()
}

#[test]
fn a_day_is_published_and_an_unchanged_one_is_not_written_again() {
    let lab = Lab::new(1);
    let first = lab.published(1, &lab.seen(DATE, 0, &recs(DATE, 30)));
    assert_eq!((lab.rows(0, DATE), lab.rows(1, DATE)), (30, 30));
    assert!(lab.is_committed(DATE));
    assert_eq!(lab.receipt(DATE).as_ref(), Some(&first));
    assert_eq!((first.counts.records, first.counts.conversations, first.state), (30, 30, State::Provisional));
    for file in &first.files {
        let bytes = std::fs::read(lab.root().join(&file.path)).unwrap();
        assert_eq!((bytes.len() as u64, hex(xxhash_rust::xxh3::xxh3_128(&bytes))), (file.bytes, file.hash.clone()));
    }

    let before = std::fs::metadata(lab.part(0, DATE)).unwrap().modified().unwrap();
    let Outcome::Unchanged(again) = lab.publish(2, &lab.seen(DATE, 1, &recs(DATE, 30))).unwrap() else {
        panic!("the same records are no change")
    };
    assert_eq!((&again.files, again.counts), (&first.files, first.counts));
    assert!(again.observed_at > first.observed_at, "the receipt tells when the day was last seen");
    assert_eq!(std::fs::metadata(lab.part(0, DATE)).unwrap().modified().unwrap(), before);
    let staging = lab.root().join("_convlake/staging");
    assert_eq!(std::fs::read_dir(staging).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn only_tables_that_changed_are_swapped() {
    let lab = Lab::new(1);
    let mut recs = recs(DATE, 10);
    let first = lab.published(1, &lab.seen(DATE, 0, &recs));
    // The folded metric of a conversation changes, its child rows do not.
    recs[1].position.index = 77;
    let second = lab.published(2, &lab.seen(DATE, 1, &recs));
    assert_ne!(first.files[0].uuid, second.files[0].uuid);
    assert_eq!(first.files[1], second.files[1]);
    assert!(lab.is_committed(DATE));
}

#[test]
fn a_day_settles_without_being_rewritten() {
    let lab = Lab::new(1);
    let mut seen = lab.seen(DATE, 0, &recs(DATE, 3));
    let first = lab.published(1, &seen);
    (seen.availability, seen.observed_at) = (Some(at("2025-01-31T00:00:00Z")), at("2025-02-02T00:00:00Z"));
    let Outcome::Unchanged(settled) = lab.publish(2, &seen).unwrap() else { panic!("the files are the same") };
    assert_eq!((first.state, settled.state), (State::Provisional, State::Settled));
    assert_eq!((&settled.files, lab.records()), (&first.files, 2));
}

#[test]
fn a_dirty_day_is_clean_once_it_is_seen_again() {
    let lab = Lab::new(1);
    lab.published(1, &lab.seen(DATE, 0, &recs(DATE, 3)));
    let run = lab.run(2);
    assert_eq!(run.mark_dirty([(day(DATE), at("2025-02-01T12:30:00Z"))], at("2025-02-01T12:30:00Z")).unwrap(), 1);
    let dirty = |lab: &Lab| run.lake().ledger().unwrap().day(day(DATE)).unwrap().is_dirty() && lab.is_committed(DATE);
    assert!(dirty(&lab));
    // A run that had begun by then may not have seen it.
    assert!(matches!(run.publish(&lab.seen(DATE, 1, &recs(DATE, 3))).unwrap(), Outcome::Unchanged(_)));
    assert!(dirty(&lab));
    assert!(matches!(run.publish(&lab.seen(DATE, 2, &recs(DATE, 3))).unwrap(), Outcome::Unchanged(_)));
    assert!(!dirty(&lab));
}

#[test]
fn parts_of_a_day_grow_into_the_whole() {
    let lab = Lab::new(1);
    let half = |n: i64| {
        Interval::new(day(DATE).start() + TimeDelta::hours(12 * n), day(DATE).start() + TimeDelta::hours(12 * n + 12))
            .unwrap()
    };
    let noon: Vec<Rec> =
        (0..24).map(|n| Rec::new(day(DATE), &format!("c{n}"), n * 3600, (0, 1, n as u32), 1)).collect();
    let morning = lab.published(1, &Observation { asked: half(0), ..lab.seen(DATE, 0, &noon) });
    assert_eq!((morning.state, morning.counts.outside, lab.rows(0, DATE)), (State::Partial, 12, 12));
    let whole = lab.published(2, &Observation { asked: half(1), ..lab.seen(DATE, 1, &noon) });
    assert_eq!((whole.state, whole.counts.outside, lab.rows(0, DATE)), (State::Provisional, 0, 24));
    let again = lab.publish(3, &Observation { asked: half(0), ..lab.seen(DATE, 2, &noon) }).unwrap();
    let Outcome::Unchanged(again) = again else { panic!("a smaller question does not shrink the day") };
    assert_eq!((again.covers, again.files), (whole.covers, whole.files));
}

/// A day that was fetched in part is not published over one that the lake holds more of by now.
#[test]
fn a_part_of_a_day_replaces_no_more_than_it_is() {
    let lab = Lab::new(1);
    let hours = |from: i64, to: i64| {
        let start = day(DATE).start();
        Interval::new(start + TimeDelta::hours(from), start + TimeDelta::hours(to)).unwrap()
    };
    let all: Vec<Rec> = (0..24).map(|n| Rec::new(day(DATE), &format!("c{n}"), n * 3600, (0, 1, n as u32), 1)).collect();
    let of = |run: i64, asked: Interval, fetched: Interval| {
        let inside =
            |rec: &&Rec| (fetched.from().timestamp_micros()..fetched.to().timestamp_micros()).contains(&rec.start);
        let recs: Vec<Rec> = all.iter().filter(inside).cloned().collect();
        Observation { asked, fetched, ..lab.seen(DATE, run, &recs) }
    };
    lab.published(1, &of(0, hours(8, 9), hours(8, 9)));
    let narrow = of(1, hours(10, 11), hours(10, 11));
    assert_eq!(lab.publish(2, &narrow).unwrap(), Outcome::NeedsWhole);
    assert_eq!(lab.rows(0, DATE), 1, "the day keeps its file");
    let grown = lab.published(2, &of(1, hours(10, 11), hours(8, 11)));
    assert_eq!((grown.covers, lab.rows(0, DATE)), (hours(8, 11), 3));
    assert_eq!(lab.publish(3, &of(2, hours(0, 9), hours(0, 9))).unwrap(), Outcome::NeedsWhole);
}

#[test]
fn a_day_fetched_by_jobs_stays_unless_told() {
    let lab = Lab::new(1);
    lab.published(1, &lab.seen(DATE, 0, &recs(DATE, 3)));
    let query = Observation { source: Source::Query, ..lab.seen(DATE, 1, &recs(DATE, 4)) };
    assert!(matches!(lab.publish(2, &query).unwrap(), Outcome::Kept { .. }));
    assert_eq!(lab.rows(0, DATE), 3);
    let forced = lab.published(3, &Observation { force_protocol: true, ..query });
    assert_eq!((forced.source, lab.rows(0, DATE)), (Source::Query, 4));
}

#[test]
fn an_older_observation_never_replaces_a_newer_one() {
    let lab = Lab::new(1);
    lab.published(1, &lab.seen(DATE, 5, &recs(DATE, 3)));
    assert_eq!(
        lab.publish(2, &lab.seen(DATE, 4, &recs(DATE, 9))).unwrap(),
        Outcome::Superseded { by: Order::observed(6, at("2025-02-01T17:00:00Z"), run_id(1)) }
    );
    assert_eq!(lab.rows(0, DATE), 3);
}

#[test]
fn conversations_vanish_only_when_few_and_confirmed_or_told() {
    let lab = Lab::new(1);
    lab.published(1, &lab.seen(DATE, 0, &recs(DATE, 60)));
    let few = lab.seen(DATE, 1, &recs(DATE, 50));
    assert_eq!(lab.publish(2, &few).unwrap(), Outcome::NeedsConfirmation { vanished: 10 });
    let many = Observation { confirmed: true, ..lab.seen(DATE, 1, &recs(DATE, 30)) };
    let refused = lab.publish(2, &many).unwrap_err();
    assert_eq!(refused.kind(), Kind::Data);
    assert!(refused.to_string().starts_with("day 2025-01-01: 30 of 60 conversations are gone"), "{refused}");
    assert_eq!((lab.rows(0, DATE), lab.is_committed(DATE), lab.records()), (60, true, 1), "nothing was touched");

    let receipt = lab.published(3, &Observation { confirmed: true, ..few });
    let gone: Vec<String> = recs(DATE, 60)[50..].iter().map(|r| hex(id_hash(&r.id))).collect();
    assert_eq!(receipt.vanished.iter().collect::<BTreeSet<_>>(), gone.iter().collect());
    assert_eq!((receipt.counts.vanished, lab.rows(0, DATE)), (10, 50));

    let moved = Arc::new(recs(DATE, 50)[30..].iter().map(|r| id_hash(&r.id)).collect());
    let receipt = lab.published(4, &Observation { moved, ..lab.seen(DATE, 2, &recs(DATE, 30)) });
    assert_eq!(receipt.counts.vanished, 0, "what moved to another day did not vanish");
    lab.published(5, &Observation { allow_vanished: true, ..lab.seen(DATE, 3, &recs(DATE, 1)) });
    assert_eq!(lab.rows(0, DATE), 1);
}

#[test]
fn an_empty_day_has_no_files_and_an_emptied_one_has_files_without_rows() {
    let lab = Lab::new(1);
    let empty = lab.published(1, &lab.seen(DATE, 0, &[]));
    assert_eq!((empty.state, empty.files.len(), lab.part(0, DATE).exists()), (State::Empty, 0, false));
    assert!(lab.is_committed(DATE));
    assert!(matches!(lab.publish(2, &lab.seen(DATE, 1, &[])).unwrap(), Outcome::Unchanged(_)));

    lab.published(3, &lab.seen(DATE, 2, &recs(DATE, 5)));
    let emptied = lab.published(4, &Observation { confirmed: true, ..lab.seen(DATE, 3, &[]) });
    assert_eq!((emptied.files.len(), emptied.counts.vanished, emptied.state), (2, 5, State::Provisional));
    assert_eq!((lab.rows(0, DATE), lab.rows(1, DATE), lab.is_committed(DATE)), (0, 0, true));
}

#[test]
fn a_file_that_is_not_ours_stops_the_day() {
    for name in ["other.parquet", "conversations.parquet"] {
        let lab = Lab::new(1);
        let partition = lab.part(0, DATE).with_file_name("");
        bind(lab.run(1).lake()).unwrap();
        std::fs::create_dir_all(&partition).unwrap();
        std::fs::write(partition.join(name), b"not ours").unwrap();
        let refused = lab.publish(1, &lab.seen(DATE, 0, &recs(DATE, 3))).unwrap_err();
        assert_eq!(refused.kind(), Kind::Data);
        assert!(refused.to_string().contains(&format!("conversations/date=2025-01-01/{name}")), "{refused}");
        assert_eq!(std::fs::read(partition.join(name)).unwrap(), b"not ours");
        assert_eq!(lab.receipt(DATE), None);
    }
}

#[test]
fn a_file_that_is_not_its_receipts_is_written_again() {
    type Damage = fn(&Path);
    let damages: [Damage; 3] = [
        |path| std::fs::remove_file(path).unwrap(),
        |path| std::fs::write(path, b"PAR1 torn").unwrap(),
        |path| {
            // A good file of another day: its own label is right, but it is not this receipt's.
            let other = path.parent().unwrap().with_file_name("date=2025-01-02").join(path.file_name().unwrap());
            std::fs::copy(other, path).map(drop).unwrap();
        },
    ];
    for damage in damages {
        for table in 0..2 {
            let lab = Lab::new(1);
            lab.published(1, &lab.seen("2025-01-02", 0, &recs("2025-01-02", 3)));
            let first = lab.published(1, &lab.seen(DATE, 0, &recs(DATE, 30)));
            damage(&lab.part(table, DATE));
            assert!(!lab.is_committed(DATE));
            let repaired = lab.published(2, &lab.seen(DATE, 1, &recs(DATE, 30)));
            assert!(lab.is_committed(DATE));
            assert_eq!((lab.rows(0, DATE), lab.rows(1, DATE)), (30, 30));
            assert_eq!(first.files[1 - table], repaired.files[1 - table], "the sound table stays");
        }
    }
}

#[test]
fn a_table_of_a_later_version_is_not_torn_from_its_day() {
    let (later, older) = (Lab::new(2), specs(1));
    later.published(1, &later.seen(DATE, 0, &recs(DATE, 3)));
    let lab = Lab { temp: later.temp, specs: older.into() };
    let refused = lab.publish(2, &lab.seen(DATE, 1, &recs(DATE, 4))).unwrap_err();
    assert_eq!(refused.kind(), Kind::Config);
    assert!(refused.to_string().contains("`child_1`"), "{refused}");
}

/// What a reader of a day finds, without what differs from run to run.
type DaySnapshot = (State, Interval, Counts, Vec<(String, u64, String)>);

fn snapshot(lab: &Lab, dates: &[&str]) -> Vec<DaySnapshot> {
    let one = |date: &&str| {
        assert!(lab.is_committed(date), "{date}");
        let receipt = lab.receipt(date).unwrap();
        let files = receipt.files.iter().map(|f| (f.path.clone(), f.rows, f.content.clone())).collect();
        (receipt.state, receipt.covers, Counts { vanished: 0, ..receipt.counts }, files)
    };
    dates.iter().map(one).collect()
}

const CRASH_DATES: [&str; 3] = ["2025-01-01", "2025-01-02", "2025-01-03"];

/// A first export of two days and a second one in which a day grows, one is emptied and one is new.
fn two_exports(lab: &Lab) -> [Vec<Observation>; 2] {
    let [a, b, c] = CRASH_DATES;
    let second = |date, recs: &[Rec]| Observation { confirmed: true, ..lab.seen(date, 1, recs) };
    [
        vec![lab.seen(a, 0, &recs(a, 4)), lab.seen(b, 0, &recs(b, 5))],
        vec![second(a, &recs(a, 6)), second(b, &[]), second(c, &recs(c, 3))],
    ]
}

/// Publishes at most `together` days in one call.
fn export(
    lab: &Lab,
    run: u128,
    observations: &[Observation],
    together: usize,
    faults: FailPoint,
) -> Result<Vec<Outcome>> {
    let run = lab.run_with(run, faults)?;
    observations.chunks(together).flat_map(|days| run.publish_all(days)).collect()
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|e| e.unwrap()) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_crash_after_any_file_operation_leaves_a_lake_that_the_next_run_completes() {
    const TABLES: usize = 8;
    let before = Lab::new(TABLES - 1);
    let [first, second] = two_exports(&before);
    export(&before, 1, &first, 1, FailPoint::never()).unwrap();
    let copy = || {
        let lab = Lab { temp: folder(), specs: Arc::clone(&before.specs) };
        copy_folder(before.root(), lab.root());
        lab
    };
    let undisturbed = copy();
    export(&undisturbed, 2, &second, 1, FailPoint::never()).unwrap();
    let wanted = snapshot(&undisturbed, &CRASH_DATES);
    assert_eq!(wanted.iter().map(|day| day.2.conversations).collect::<Vec<_>>(), [6, 0, 3]);

    for together in [1, second.len()] {
        for operations in 0.. {
            let lab = copy();
            let done = export(&lab, 2, &second, together, FailPoint::after(operations)).is_ok();
            // Every file that a reader can see is whole, whatever the day's receipt says by now.
            let parts = CRASH_DATES.iter().flat_map(|date| (0..TABLES).map(move |table| (table, *date)));
            for (table, date) in parts.filter(|(table, date)| lab.part(*table, date).exists()) {
                lab.rows(table, date);
            }
            export(&lab, 3, &second, together, FailPoint::never()).unwrap();
            assert_eq!(snapshot(&lab, &CRASH_DATES), wanted, "{together} days after {operations} operations");
            if done {
                assert!(operations > 3 * TABLES as u64 * 4, "{operations}");
                break;
            }
        }
    }
}

/// A group must not be worth less than its days: what is wrong with one of them is its own.
#[test]
fn days_that_are_published_together_end_each_on_its_own() {
    let lab = Lab::new(1);
    let [a, b, c] = CRASH_DATES;
    export(&lab, 2, &[lab.seen(a, 9, &recs(a, 4)), lab.seen(b, 0, &recs(b, 5))], 2, FailPoint::never()).unwrap();
    let before = lab.records();
    let stranger = lab.part(0, c).with_file_name("other.parquet");
    std::fs::create_dir_all(stranger.parent().unwrap()).unwrap();
    std::fs::write(&stranger, "not ours").unwrap();

    let days = [a, b, c, "2025-01-04", "2025-02-01"].map(|date| lab.seen(date, 1, &recs(date, 6)));
    let ended = lab.run(3).publish_all(&days);
    assert!(matches!(ended[0], Ok(Outcome::Superseded { .. })), "{ended:?}");
    assert_eq!(ended[2].as_ref().unwrap_err().kind(), Kind::Data);
    assert!(ended[2].as_ref().unwrap_err().to_string().contains(c), "{ended:?}");
    for (outcome, date) in [(&ended[1], b), (&ended[3], "2025-01-04"), (&ended[4], "2025-02-01")] {
        let Ok(Outcome::Published(receipt)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(lab.receipt(date).as_ref(), Some(receipt));
        assert!(lab.is_committed(date));
        assert_eq!(lab.rows(0, date), 6);
    }
    assert_eq!((lab.rows(0, a), lab.receipt(c)), (4, None));
    assert_eq!(lab.records() - before, 2, "the receipts of a month are one record, and the mark of a day another");
}

/// Of a group, only the day that somebody published meanwhile is prepared again.
#[test]
fn a_day_of_a_group_that_changes_is_prepared_anew() {
    let lab = Lab::new(1);
    let run = lab.run(3);
    let seen = CRASH_DATES.map(|date| lab.seen(date, 1, &recs(date, 6)));
    let (other, prepared) = (lab.seen(CRASH_DATES[0], 0, &recs(CRASH_DATES[0], 5)), RefCell::new(Vec::new()));
    let mut changes = Vec::new();
    for observation in &seen {
        let prepare = |present: &Present| {
            prepared.borrow_mut().push(observation.day);
            if prepared.borrow().len() == seen.len() {
                lab.published(2, &other);
            }
            run.prepare(observation, present, &mut None)
        };
        let (day, order) = (observation.day, Some(observation.order(&run)));
        changes.push(Change { day, order, builds_on: false, prepare: Box::new(prepare) });
    }
    let outcomes = run.transact_all(changes);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Outcome::Published(_)))), "{outcomes:?}");
    assert_eq!(prepared.take(), [0, 1, 2, 0].map(|n| seen[n].day));
    assert_eq!(CRASH_DATES.map(|date| (lab.rows(0, date), lab.is_committed(date))), [(6, true); 3]);
}

#[test]
fn runs_that_publish_the_same_day_at_once_leave_the_newest() {
    let lab = Lab::new(3);
    lab.run(99);
    let lake = Lake::open(lab.root(), &identity()).unwrap();
    std::thread::scope(|scope| {
        for n in 0..6u8 {
            let (lab, lake) = (&lab, &lake);
            scope.spawn(move || {
                let clock = Clock::starting_at(at("2025-03-01T00:00:00Z"));
                let run =
                    lake.begin(run_id(u128::from(n)), Dataset::Conversations, Arc::clone(&lab.specs), clock).unwrap();
                let seen = lab.seen(DATE, i64::from(n), &recs(DATE, 10 + usize::from(n)));
                match run.publish(&seen).unwrap() {
                    Outcome::Published(_) => {}
                    Outcome::Superseded { .. } if n < 5 => {}
                    other => panic!("{other:?}"),
                }
            });
        }
    });
    assert!(lab.is_committed(DATE));
    assert_eq!((lab.rows(0, DATE), lab.receipt(DATE).unwrap().counts.conversations), (15, 15));
}

/// Whoever looks at a day without the lock may see the files of a run that has not come to its receipt.
#[test]
fn conversations_have_vanished_only_if_the_day_is_at_rest() {
    let lab = Lab::new(3);
    let older = lab.run(1);
    let (seen, mut looks) = (lab.seen(DATE, 1, &recs(DATE, 11)), 0);
    let outcome = older.transact(seen.day, seen.order(&older), |present| {
        looks += 1;
        if looks > 1 {
            return older.prepare(&seen, present, &mut None);
        }
        lab.published(2, &lab.seen(DATE, 2, &recs(DATE, 12)));
        Ok(Step::Shrunk(Ok(Outcome::NeedsConfirmation { vanished: 1 })))
    });
    assert!(matches!(outcome.unwrap(), Outcome::Superseded { .. }));
    assert_eq!(looks, 2);
}

/// Whoever comes second is refused, whichever of the two has seen the day later.
#[test]
fn of_two_first_runs_of_different_sources_the_second_publishes_nothing() {
    for hour in [1, 3] {
        let lab = Lab::new(1);
        let (first, clock) = (lab.run(1), Clock::starting_at(at("2025-03-01T00:00:00Z")));
        let elsewhere = Identity { source: "elsewhere".to_owned(), ..identity() };
        let second = Lake::open(Disk::new(lab.root(), FailPoint::never()), &elsewhere).unwrap();
        let second = second.begin(run_id(2), Dataset::Conversations, Arc::clone(&lab.specs), clock).unwrap();
        let (seen, mut looks) = (lab.seen(DATE, hour, &recs(DATE, 9)), 0);
        let outcome = second.transact(seen.day, seen.order(&second), |present| {
            looks += 1;
            if looks == 1 {
                first.publish(&lab.seen(DATE, 2, &recs(DATE, 12)))?;
            }
            second.prepare(&seen, present, &mut None)
        });
        assert_eq!(outcome.map_err(|error| error.kind()), Err(Kind::Config), "seen at {hour}");
        assert_eq!((lab.rows(0, DATE), lab.is_committed(DATE)), (12, true));
    }
}

#[test]
fn an_observation_of_another_day_is_a_bug() {
    let lab = Lab::new(1);
    let elsewhere = Observation { asked: day("2025-01-02").interval(), ..lab.seen(DATE, 0, &recs(DATE, 1)) };
    assert_eq!(lab.publish(1, &elsewhere).unwrap_err().kind(), Kind::Bug);
}
