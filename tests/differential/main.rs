//! The reader in `src/flatten` against the plain one, on records that mean well and on records that do not: every row,
//! every count and every reason must be the same.
//!
//! `cargo test` tries some thousand pages. To look for longer:
//! `FUZZ_SECONDS=600 cargo test --release --test differential -- --ignored --nocapture`; `FUZZ_SEED` sets where it begins.

#![cfg(test)]

#[path = "../plain/mod.rs"]
mod plain;

mod dice;
mod records;
mod ruin;

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use convlake::api::envelope::Envelope;
use convlake::flatten::batch::{FlatPage, PageRead, Position};
use convlake::flatten::schema::Columns;
use convlake::flatten::{Catalog, Flattener, List, Oddities, Sheet};
use convlake::time::Day;

use dice::Dice;
use plain::Plain;

/// Both readers of one selection, used page after page as in a run.
struct Pair {
    fast: Flattener,
    plain: Plain,
    /// Dimensions are snapshots of a day.
    day: Option<Day>,
}

impl Pair {
    fn new(all: &Catalog, selected: Catalog, day: Option<Day>) -> Pair {
        let selected = Arc::new(selected);
        let plain = Plain::new(all, Arc::clone(&selected)).unwrap();
        Pair { fast: Flattener::new(selected).unwrap(), plain, day }
    }

    /// What differs between the readers' pages.
    fn difference(&self, records: &[Bytes]) -> Option<String> {
        let records = || records.iter().cloned();
        let (fast, plain) = match self.day {
            None => (Ok(self.in_one_sheet(records())), self.plain.flatten(7, 9, records())),
            Some(day) => (self.fast.snapshot(day, 7, 9, records()), self.plain.snapshot(day, 7, 9, records())),
        };
        difference(&fast.unwrap(), &plain.unwrap())
    }

    /// One page, as a list that is read where it stands if that can be.
    fn read(&self, sheet: &mut Sheet, page: u32, records: &[Bytes]) -> PageRead {
        let Some((body, ranges)) = listed(records) else {
            return self.fast.read(sheet, 7, page, records.iter().cloned(), |_| true).unwrap();
        };
        let list = List { body: &body, range: 0..body.len() };
        let (read, found) = self.fast.read_list(sheet, (7, page), list, |_| Ok(ranges.clone()), |_| true).unwrap();
        assert_eq!(found, ranges);
        read
    }

    /// The records as pages of two that are handed out together, with the positions that they have on one page.
    fn in_one_sheet(&self, records: impl Iterator<Item = Bytes>) -> FlatPage {
        let (mut sheet, mut all) = (self.fast.sheet(), FlatPage::default());
        let records: Vec<Bytes> = records.collect();
        for (page, records) in (0..).zip(records.chunks(2)) {
            let read = self.read(&mut sheet, page, records);
            assert_eq!((read.records, read.unwanted.len()), (records.len() as u64, 0));
            all.bad.extend(read.bad);
            all.oddities.add(&read.oddities);
        }
        all.days = self.fast.cut(sheet).unwrap();
        let keys = all.days.iter_mut().flat_map(|day| &mut day.keys).map(|key| &mut key.position);
        for position in keys.chain(all.bad.iter_mut().map(|bad| &mut bad.position)) {
            *position = Position { page: 9, index: 2 * position.page + position.index, ..*position };
        }
        all
    }
}

/// The records as one list, and where in it they stand, if they can be told apart there.
fn listed(records: &[Bytes]) -> Option<(Bytes, Vec<Range<usize>>)> {
    let (mut body, mut ranges) = (b"[".to_vec(), Vec::new());
    for record in records {
        let start = body.len();
        body.extend_from_slice(record);
        ranges.push(start..body.len());
        body.push(b',');
    }
    body.pop();
    body.push(b']');
    let found = Envelope::of_saved(&body).ok()?.records;
    (found == ranges).then(|| (body.into(), ranges))
}

fn difference(fast: &FlatPage, plain: &FlatPage) -> Option<String> {
    let differs = |what: &str, fast: &dyn std::fmt::Debug, plain: &dyn std::fmt::Debug| {
        let (fast, plain) = (format!("{fast:?}"), format!("{plain:?}"));
        (fast != plain).then(|| format!("{what}\n fast: {fast}\nplain: {plain}"))
    };
    let days = |page: &FlatPage| page.days.iter().map(|day| (day.day, day.keys.clone())).collect::<Vec<_>>();
    differs("oddities", &fast.oddities, &plain.oddities)
        .or_else(|| differs("bad", &fast.bad, &plain.bad))
        .or_else(|| differs("days", &days(fast), &days(plain)))
        .or_else(|| {
            let tables = |page: &FlatPage| page.days.iter().flat_map(|day| day.tables.clone()).collect::<Vec<_>>();
            let (fast, plain) = (tables(fast), tables(plain));
            if fast.len() != plain.len() {
                return Some("tables".to_owned());
            }
            fast.iter().zip(&plain).find_map(|(fast, plain)| {
                let batches = (fast.rows.to_batch().unwrap(), plain.rows.to_batch().unwrap());
                differs("offsets", &fast.offsets, &plain.offsets).or_else(|| {
                    let schema = batches.0.schema();
                    let columns = schema.fields().iter().zip(batches.0.columns().iter().zip(batches.1.columns()));
                    let mut columns = columns.filter(|(_, (fast, plain))| fast != plain);
                    let (field, (fast, plain)) = columns.next()?;
                    Some(format!("{}\n fast: {fast:?}\nplain: {plain:?}", field.name()))
                })
            })
        })
}

/// Selections that leave out tables between others, columns that others need, and whole branches.
fn pairs(dice: &mut Dice) -> Vec<Pair> {
    let all = Catalog::builtin().unwrap();
    let tables: Vec<String> = all.tables().iter().map(|table| table.name.clone()).collect();
    let columns: Vec<String> = all
        .tables()
        .iter()
        .flat_map(|table| table.columns.iter().filter(|c| !c.key).map(|c| format!("{}.{}", table.name, c.name)))
        .collect();
    let mut pairs = vec![Pair::new(&all, all.clone(), None)];
    for columns in [Columns::Details, Columns::Early] {
        let some = all.with(columns);
        pairs.push(Pair::new(&some, some.clone(), None));
    }
    for _ in 0..24 {
        let selected: Vec<String> = tables.iter().filter(|_| dice.one_in(3)).cloned().collect();
        let excluded = columns.iter().filter(|column| {
            let table = column.split_once('.').unwrap().0;
            selected.iter().any(|name| name == table) && dice.one_in(4)
        });
        let excluded: Vec<String> = excluded.cloned().collect();
        pairs.push(Pair::new(&all, all.select(Some(&selected), &excluded).unwrap(), None));
    }
    let dimensions = Catalog::dimensions().unwrap();
    for table in dimensions.tables() {
        let alone = dimensions.alone(&table.name).unwrap();
        pairs.push(Pair::new(&alone.clone(), alone, Some("2025-01-31".parse().unwrap())));
    }
    pairs
}

/// Tries pages until `enough`, which is told their number.
fn compare(seed: u64, mut enough: impl FnMut(u64) -> bool) -> u64 {
    let mut dice = Dice::new(seed);
    let samples = records::samples();
    let pairs = pairs(&mut dice);
    let mut pages = 0;
    while !enough(pages) {
        // The page's own seed: a failure can be tried again alone.
        let mut dice = Dice::new(seed.wrapping_add(pages));
        let pair = if dice.one_in(2) { &pairs[0] } else { dice.pick(&pairs) };
        let catalog = pair.fast.catalog();
        let page: Vec<Bytes> = (0..dice.below(5))
            .map(|_| {
                let mut record = match dice.below(4) {
                    0 => dice.pick(&samples).clone(),
                    _ => records::record(catalog, &mut dice),
                };
                if dice.one_in(2) {
                    ruin::ruin(&mut record, &samples, &mut dice);
                }
                Bytes::from(record)
            })
            .collect();
        if let Some(difference) = pair.difference(&page) {
            let texts: Vec<_> = page.iter().map(|record| String::from_utf8_lossy(record)).collect();
            let tables: Vec<_> = catalog.tables().iter().map(|table| &table.name).collect();
            panic!("FUZZ_SEED={seed}, page {pages}, tables {tables:?}\n{}\n{difference}", texts.join("\n\n"));
        }
        pages += 1;
    }
    pages
}

#[test]
fn both_readers_make_the_same_of_any_page() {
    compare(20_250_101, |pages| pages == 3000);
}

#[test]
fn the_pages_have_good_and_bad_records_of_every_reason_and_values_in_every_column() {
    let mut dice = Dice::new(1);
    let samples = records::samples();
    let all = Catalog::builtin().unwrap();
    let pair = Pair::new(&all, all.clone(), None);
    let (mut reasons, mut odd) = (std::collections::BTreeSet::new(), Oddities::default());
    let mut filled: Vec<Vec<bool>> = all.tables().iter().map(|table| vec![false; table.columns.len()]).collect();
    for _ in 0..2500 {
        let mut record = records::record(&all, &mut dice);
        if dice.one_in(2) {
            ruin::ruin(&mut record, &samples, &mut dice);
        }
        let page = pair.fast.flatten(0, 1, std::iter::once(Bytes::from(record))).unwrap();
        reasons.extend(page.bad.iter().map(|bad| bad.reason.name()));
        odd.add(&page.oddities);
        for day in &page.days {
            for (table, filled) in day.tables.iter().zip(&mut filled) {
                for (column, filled) in table.rows.columns().iter().zip(filled) {
                    *filled |= column.is_some();
                }
            }
        }
    }
    assert_eq!(reasons.len(), 5, "{reasons:?}");
    for (counts, least) in [(&odd.unknown, 1000), (&odd.wrong_type, 1000), (&odd.overflowed, 4), (&odd.replaced, 20)] {
        assert!(counts.values().sum::<u64>() > least, "{counts:?}");
    }
    let empty = all.tables().iter().zip(&filled).flat_map(|(table, filled)| {
        let columns = table.columns.iter().zip(filled).filter(|(_, filled)| !**filled);
        columns.map(move |(column, _)| format!("{}.{}", table.name, column.name))
    });
    assert_eq!(empty.collect::<Vec<_>>(), [""; 0]);
}

#[test]
#[ignore = "runs as long as it is told"]
fn fuzz() {
    let of = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let seed = of("FUZZ_SEED").unwrap_or_else(|| std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0));
    let length = Duration::from_secs(of("FUZZ_SECONDS").unwrap_or(60));
    println!("FUZZ_SEED={seed}");
    #[expect(clippy::disallowed_methods, reason = "it is told how long to run")]
    let begun = Instant::now();
    println!("{} pages, no difference", compare(seed, |_| begun.elapsed() > length));
}
