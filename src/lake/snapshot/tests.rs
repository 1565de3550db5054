use std::sync::Arc;

use chrono::TimeDelta;
use object_store::memory::InMemory;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::flatten::{Catalog, Flattener};
use crate::lake::assemble::TableSpec;
use crate::lake::bucket::Bucket;
use crate::lake::layout::{Dataset, LakePath, TableName};
use crate::lake::local::{Disk, FailPoint};
use crate::lake::open::Lake;
use crate::lake::order::Order;
use crate::lake::store::Store;
use crate::lake::testing::{at, day, generation, identity, run_id};
use crate::time::Clock;

const DATE: &str = "2025-01-31";

fn flattener() -> Flattener {
    Flattener::new(Arc::new(Catalog::dimensions().unwrap().alone("queues").unwrap())).unwrap()
}

fn table() -> TableName {
    TableName::new("queues").unwrap()
}

/// A run of its own, as another process would begin it.
fn run(store: Store, number: u128) -> Result<Run> {
    let schema = Arc::clone(&flattener().catalog().schemas()[0]);
    let spec = TableSpec { name: table(), schema, version: 1 };
    let clock = Clock::starting_at(at("2025-03-01T00:00:00Z"));
    Lake::open(store, &identity())?.begin(run_id(number), Dataset::Queues, [spec].into(), clock)
}

/// Queues with these names, listed in this hour of the day.
fn listed(names: &[&str], hour: i64) -> Snapshot {
    let day = day(DATE);
    let queue = |(n, name): (usize, &&str)| format!(r#"{{"id": "q{n}", "name": "{name}"}}"#).into();
    let page = flattener().snapshot(day, 0, 1, names.iter().enumerate().map(queue)).unwrap();
    let observed_at = day.start() + TimeDelta::hours(hour);
    Snapshot {
        day,
        rows: page.days.into(),
        generation: generation(hour),
        observed_at,
        clock_skew: None,
        quarantined: 0,
    }
}

fn rows(store: &Store) -> Option<usize> {
    let file = store.open(&LakePath::Part(table(), day(DATE))).unwrap()?;
    Some(ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().map(|b| b.unwrap().num_rows()).sum())
}

/// What is recorded: when the newest snapshot was taken, and of how many rows.
fn recorded(store: &Store) -> Option<(Timestamp, u64)> {
    let ledger = Lake::open_existing(store.clone()).unwrap().ledger_of(Dataset::Queues).unwrap();
    ledger.receipt(day(DATE)).map(|receipt| (receipt.observed_at, receipt.files[0].rows))
}

fn bucket() -> Store {
    let objects = Arc::new(InMemory::new());
    Bucket::new(objects, object_store::path::Path::default(), "s3://bucket".to_owned()).unwrap().into()
}

#[test]
fn the_later_snapshot_stays_on_disk_and_in_a_bucket() {
    let folder = tempfile::tempdir().unwrap();
    for store in [folder.path().into(), bucket()] {
        let publish = |number, snapshot: &Snapshot| run(store.clone(), number).unwrap().snapshot(snapshot).unwrap();
        assert!(matches!(publish(1, &listed(&[], 1)), Outcome::Published(_)));
        assert_eq!(rows(&store), Some(0), "an empty list is a file without rows");
        let Outcome::Published(receipt) = publish(2, &listed(&["a", "b"], 9)) else { panic!("it is new") };
        assert_eq!((receipt.state, receipt.is_promised()), (State::Provisional, false));
        let Outcome::Unchanged(receipt) = publish(3, &listed(&["a", "b"], 30)) else { panic!("it is the same") };
        assert_eq!((receipt.state, receipt.is_promised(), receipt.source), (State::Settled, true, Source::List));
        assert_eq!(
            publish(4, &listed(&["a"], 20)),
            Outcome::Superseded { by: Order::observed(31, listed(&[], 30).observed_at, run_id(3)) }
        );
        assert_eq!((rows(&store), recorded(&store)), (Some(2), Some((listed(&[], 30).observed_at, 2))));
        let Outcome::Published(receipt) = publish(5, &listed(&["a"], 31)) else { panic!("what is gone is gone") };
        assert_eq!((rows(&store), receipt.files[0].rows), (Some(1), 1));
        let lake = Lake::open_existing(store.clone()).unwrap();
        for dataset in Dataset::ALL {
            assert_eq!(lake.ledger_of(dataset).unwrap().days().count(), usize::from(dataset == Dataset::Queues));
        }
    }
}

#[test]
fn a_run_cut_off_anywhere_leaves_one_snapshot_or_the_other() {
    for operations in 0.. {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let store: Store = folder.path().into();
        run(store.clone(), 1).unwrap().snapshot(&listed(&["a"], 1)).unwrap();
        let dying = Disk::new(folder.path(), FailPoint::after(operations));
        let done = run(dying.into(), 2).and_then(|run| run.snapshot(&listed(&["a", "b"], 2))).is_ok();
        assert!(matches!(rows(&store), Some(1 | 2)), "after {operations} operations");
        run(store.clone(), 3).unwrap().snapshot(&listed(&["a", "b"], 3)).unwrap();
        assert_eq!((rows(&store), recorded(&store).map(|(_, rows)| rows)), (Some(2), Some(2)));
        if done {
            assert!(operations > 10);
            return;
        }
    }
}
