use arrow::array::RecordBatch;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::flatten::batch::DayBatch;
use crate::lake::assemble::SortedTable;
use crate::lake::encode::{Known, Label, encode};
use crate::lake::testing::{Rec, assemble, at, batch, day, recs, run_id, specs, whole};
use crate::memory::Memory;
use crate::time::Interval;

const DATE: &str = "2025-01-01";

/// What the day comes to: its counts, and of each file the rows and the hash of all in front of the footer.
type Made = ([u64; 5], Vec<(RecordBatch, String)>);

fn made(rows: &DayRows, covers: &Interval) -> Made {
    let specs = specs(2);
    let day = assemble(&specs, rows, covers).unwrap();
    let observed_at = at("2025-01-02T00:00:00Z");
    let label = Label {
        uuid: uuid::Uuid::nil(),
        day: self::day(DATE),
        order: crate::lake::Order::observed(1, observed_at, run_id(1)),
        observed_at,
        of: None,
    };
    let file = |table: &SortedTable<'_>| {
        let (encoded, _) = encode(Vec::new(), table.spec, table.pieces(), &label, &Known::default()).unwrap();
        (whole(table), encoded.content)
    };
    let counts = [day.records, day.conversations, day.duplicates, day.outside, day.forgotten];
    (counts, day.tables.iter().map(file).collect())
}

/// What is done to a day that arrives.
#[derive(Clone, Debug)]
enum Act {
    /// So many of the records that are left arrive.
    Page(usize),
    /// What is in memory goes to disk.
    Spill,
    /// The slice starts again: this chain and later ones are void.
    Restart(u32),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        24 => (1usize..4).prop_map(Act::Page),
        2 => Just(Act::Spill),
        1 => (1u32..4).prop_map(Act::Restart),
    ]
}

fn spilled(rows: impl IntoIterator<Item = DayBatch>) -> DayRows {
    let temp = tempfile::tempdir().unwrap();
    let spill = Spill::new(temp.path(), &Memory::new(1 << 20)).unwrap();
    let mut day = DayRows::default();
    for batch in rows {
        day.batches.push(batch);
        spill.spill(&mut day).unwrap();
    }
    day
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_was_spilled_makes_the_day_that_it_would_have_made_in_memory(
        recs in recs(day(DATE), 60), acts in vec(act(), 0..60), half: bool,
    ) {
        let (specs, day) = (specs(2), day(DATE));
        let covers = if half { day.interval().halves().unwrap().0 } else { day.interval() };
        let temp = tempfile::tempdir().unwrap();
        let memory = Memory::new(1 << 20);
        let spill = Spill::new(temp.path(), &memory).unwrap();
        let (mut rows, mut arrived, mut left) = (DayRows::default(), Vec::<Rec>::new(), recs.as_slice());
        for act in acts {
            match act {
                Act::Page(records) => {
                    let (page, rest) = left.split_at(records.min(left.len()));
                    left = rest;
                    arrived.extend_from_slice(page);
                    rows.push(batch(day, &specs, page), &memory).unwrap();
                }
                Act::Spill => spill.spill(&mut rows).unwrap(),
                Act::Restart(chain) => {
                    // As in a harvest.
                    spill.spill(&mut rows).unwrap();
                    rows.runs.iter_mut().for_each(|run| run.void(chain));
                    arrived.retain(|rec| rec.position.chain < chain);
                }
            }
        }
        let in_memory = DayRows::from(vec![batch(day, &specs, &arrived)]);
        prop_assert_eq!(made(&rows, &covers), made(&in_memory, &covers));
    }
}

#[test]
fn many_runs_become_few_and_the_day_stays_the_same() {
    let (specs, day) = (specs(2), day(DATE));
    let rec =
        |n: usize| Rec::new(day, &format!("id-{}", n % 1000), (n * 7919 % 86_400) as i64, (0, 1, n as u32), n % 5);
    let all: Vec<Rec> = (0..FAN_IN * 40).map(rec).collect();
    let pages = all.chunks(20).map(|page| batch(day, &specs, page));
    let rows = spilled(pages);
    assert_eq!(all.len() / 20, 2 * FAN_IN);
    assert_eq!(rows.runs.iter().map(SortedRun::level).collect::<Vec<_>>(), [1, 1]);
    let whole = DayRows::from(vec![batch(day, &specs, &all)]);
    assert_eq!(made(&rows, &day.interval()), made(&whole, &day.interval()));
}

#[test]
fn long_runs_are_read_block_by_block() {
    let (specs, day) = (specs(2), day(DATE));
    let rec = |n: usize| Rec::new(day, &format!("id-{n}"), (n % 86_400) as i64, (0, 1, n as u32), n % 3);
    let all: Vec<Rec> = (0..40_000).map(rec).collect();
    let rows = spilled([batch(day, &specs, &all[20_000..]), batch(day, &specs, &all[..20_000])]);
    let whole = DayRows::from(vec![batch(day, &specs, &all)]);
    let specs = &specs;
    let rows_a_piece = |rows: &DayRows| -> Vec<usize> {
        let day = assemble(specs, rows, &day.interval()).unwrap();
        day.tables[1].pieces().map(|piece| piece.unwrap().rows.len()).collect()
    };
    assert!(rows_a_piece(&rows).iter().all(|rows| *rows < 15_000), "a block is a part of its run");
    assert_eq!(made(&rows, &self::day(DATE).interval()), made(&whole, &self::day(DATE).interval()));
}
