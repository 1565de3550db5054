//! The batches of one day become its tables: one version of each conversation, in order. Pure.
//!
//! The result depends on the records and their positions only, not on how they were cut into batches or in which
//! order these arrived. Nothing is copied here: a table is a list of row ranges, and [`SortedTable::batch`] gathers
//! a few thousand rows at a time for the encoder.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{concat_batches, interleave_record_batch};
use arrow::datatypes::SchemaRef;

use super::forgotten::Forgotten;
use super::layout::TableName;
use crate::error::{Error, Result};
use crate::flatten::Catalog;
use crate::flatten::batch::{DayBatch, RecordKey, TableRows};
use crate::time::Interval;

/// Below this mean length, ranges of rows are gathered row by row instead of range by range.
const RANGE_ROWS_MIN: usize = 4;

/// One table as the lake writes it.
#[derive(Clone, Debug)]
pub struct TableSpec {
    /// Its name.
    pub name: TableName,
    /// Its columns, the same in every file.
    pub schema: SchemaRef,
    /// Version of the columns' meaning: it goes up when one is renamed, retyped, moved or removed.
    pub version: u32,
}

impl TableSpec {
    /// The tables of `catalog`, in its order.
    ///
    /// # Errors
    /// [`crate::error::Kind::Bug`] when a table's name cannot be a folder's.
    pub fn of(catalog: &Catalog) -> Result<Arc<[TableSpec]>> {
        let tables = catalog.tables().iter().zip(catalog.schemas());
        let spec = |(table, schema): (&crate::flatten::schema::Table, &SchemaRef)| {
            Ok(TableSpec { name: TableName::new(&table.name)?, schema: Arc::clone(schema), version: table.version })
        };
        tables.map(spec).collect()
    }
}

/// One day, ready to be encoded.
#[derive(Debug)]
pub struct Assembled<'a> {
    /// One entry a table, in the order of the specifications.
    pub tables: Vec<SortedTable<'a>>,
    /// The ids of the conversations in it, in the order of their rows.
    pub ids: Vec<&'a str>,
    /// Records that were given, but for those that are to be forgotten.
    pub records: u64,
    /// Earlier versions that gave way to a later one.
    pub duplicates: u64,
    /// Conversations that start outside of the interval.
    pub outside: u64,
    /// Conversations that were left out because they are to be forgotten.
    pub forgotten: u64,
}

/// The rows of one table by (conversation start, conversation id), those of one conversation in the API's order.
#[derive(Debug)]
pub struct SortedTable<'a> {
    /// The table.
    pub spec: &'a TableSpec,
    sources: Vec<&'a RecordBatch>,
    ranges: Vec<RowRange>,
    /// For each range, the number of rows up to its end.
    ends: Vec<usize>,
}

/// Consecutive rows of one source.
#[derive(Clone, Copy, Debug)]
struct RowRange {
    source: usize,
    from: usize,
    rows: usize,
}

/// Assembles the day that all `batches` belong to; conversations that start outside `covers`, and those that are to be
/// `forgotten`, are left out.
///
/// # Errors
/// [`crate::error::Kind::Bug`] when a batch does not fit the tables.
pub fn assemble<'a>(
    specs: &'a [TableSpec],
    batches: &'a [DayBatch],
    covers: &Interval,
    forgotten: &Forgotten,
) -> Result<Assembled<'a>> {
    batches.iter().try_for_each(|batch| check(specs, batch))?;
    let (from, to) = (covers.from().timestamp_micros(), covers.to().timestamp_micros());

    let mut records = 0;
    let mut left_out: HashSet<&str> = HashSet::new();
    let given = batches.iter().map(|b| b.keys.len()).sum();
    let mut latest: HashMap<&str, Winner<'a>> = HashMap::with_capacity(given);
    for (batch, content) in batches.iter().enumerate() {
        for (record, key) in content.keys.iter().enumerate() {
            if forgotten.contains(&key.id) {
                left_out.insert(&key.id);
                continue;
            }
            records += 1;
            let version = Winner { key, batch, record };
            let winner = latest.entry(&key.id).or_insert(version);
            if winner.key.position < key.position {
                *winner = version;
            }
        }
    }
    let versions = latest.len();
    // The version that won decides whether the conversation starts inside: an earlier one is not the truth any more.
    let mut winners: Vec<Winner<'a>> = latest.into_values().filter(|w| (from..to).contains(&w.key.start)).collect();
    winners.sort_unstable_by_key(|w| (w.key.start, &w.key.id));

    let tables = specs.iter().enumerate().map(|(table, spec)| sort(spec, table, batches, &winners)).collect();
    Ok(Assembled {
        tables,
        ids: winners.iter().map(|w| &*w.key.id).collect(),
        records: records as u64,
        duplicates: (records - versions) as u64,
        outside: (versions - winners.len()) as u64,
        forgotten: left_out.len() as u64,
    })
}

#[derive(Clone, Copy)]
struct Winner<'a> {
    key: &'a RecordKey,
    batch: usize,
    record: usize,
}

fn sort<'a>(spec: &'a TableSpec, table: usize, batches: &'a [DayBatch], winners: &[Winner<'a>]) -> SortedTable<'a> {
    let mut ranges: Vec<RowRange> = Vec::new();
    for winner in winners {
        let offsets = &batches[winner.batch].tables[table].offsets;
        let (from, to) = (offsets[winner.record] as usize, offsets[winner.record + 1] as usize);
        match ranges.last_mut() {
            _ if from == to => {}
            Some(last) if last.source == winner.batch && last.from + last.rows == from => last.rows += to - from,
            _ => ranges.push(RowRange { source: winner.batch, from, rows: to - from }),
        }
    }
    let mut rows = 0;
    let ends = ranges
        .iter()
        .map(|r| {
            rows += r.rows;
            rows
        })
        .collect();
    SortedTable { spec, sources: batches.iter().map(|b| &b.tables[table].rows).collect(), ranges, ends }
}

impl<'a> SortedTable<'a> {
    /// The rows of `sources` as they stand: they are in order.
    pub(super) fn of(spec: &'a TableSpec, sources: &'a [RecordBatch]) -> SortedTable<'a> {
        let mut rows = 0;
        let ends = sources.iter().map(|source| {
            rows += source.num_rows();
            rows
        });
        let ends = ends.collect();
        let range = |(source, batch): (usize, &RecordBatch)| RowRange { source, from: 0, rows: batch.num_rows() };
        SortedTable {
            spec,
            sources: sources.iter().collect(),
            ranges: sources.iter().enumerate().map(range).collect(),
            ends,
        }
    }

    /// Its rows.
    pub fn rows(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Copies the rows in `rows` together.
    ///
    /// # Errors
    /// [`crate::error::Kind::Data`] when their texts are too long for one batch.
    pub fn batch(&self, rows: Range<usize>) -> Result<RecordBatch> {
        let pieces: Vec<RowRange> = self.pieces(&rows).collect();
        let gathered = match pieces.as_slice() {
            [one] => return Ok(self.sources[one.source].slice(one.from, one.rows)),
            many if many.len() * RANGE_ROWS_MIN <= rows.len() => {
                let slices: Vec<_> = many.iter().map(|p| self.sources[p.source].slice(p.from, p.rows)).collect();
                concat_batches(&self.spec.schema, &slices)
            }
            [] => return Ok(RecordBatch::new_empty(SchemaRef::clone(&self.spec.schema))),
            many => {
                let of_piece = |p: &RowRange| (p.from..p.from + p.rows).map(|row| (p.source, row)).collect::<Vec<_>>();
                let rows: Vec<(usize, usize)> = many.iter().flat_map(of_piece).collect();
                interleave_record_batch(&self.sources, &rows)
            }
        };
        gathered.map_err(|e| Error::data(format!("cannot put rows of `{}` in order", self.spec.name)).source(e))
    }

    /// The parts of the ranges that make up `rows`.
    fn pieces(&self, rows: &Range<usize>) -> impl Iterator<Item = RowRange> {
        let first = self.ends.partition_point(|&end| end <= rows.start);
        self.ranges[first..].iter().zip(&self.ends[first..]).map_while(move |(range, &end)| {
            let start = end - range.rows;
            let (from, to) = (start.max(rows.start), end.min(rows.end));
            (from < to).then(|| RowRange { source: range.source, from: range.from + from - start, rows: to - from })
        })
    }
}

/// What every batch must be before it is touched.
fn check(specs: &[TableSpec], batch: &DayBatch) -> Result<()> {
    if batch.tables.len() != specs.len() {
        return Err(Error::bug(format!("a batch has {} tables instead of {}", batch.tables.len(), specs.len())));
    }
    if !batch.keys.iter().all(|key| crate::time::Day::of_micros(key.start) == Some(batch.day)) {
        return Err(Error::bug(format!("a batch of {} has a record of another day", batch.day)));
    }
    for (spec, TableRows { rows, offsets }) in specs.iter().zip(&batch.tables) {
        let fits = offsets.len() == batch.keys.len() + 1
            && offsets.first() == Some(&0)
            && offsets.is_sorted()
            && offsets.last().is_some_and(|&last| last as usize == rows.num_rows());
        if !fits {
            return Err(Error::bug(format!("the offsets of `{}` do not fit its rows", spec.name)));
        }
        if rows.schema_ref() != &spec.schema {
            return Err(Error::bug(format!("a batch of `{}` has other columns", spec.name)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::testing::{Rec, assemble, batch, day, recs, specs};
    use arrow::array::AsArray;
    use proptest::prelude::*;

    /// All tables of the day, each as one batch.
    fn tables(batches: &[DayBatch], covers: &Interval) -> (Vec<RecordBatch>, (u64, u64, u64)) {
        let specs = specs(2);
        let assembled = assemble(&specs, batches, covers).unwrap();
        let rows = assembled.tables.iter().map(|t| t.batch(0..t.rows()).unwrap()).collect();
        (rows, (assembled.records, assembled.duplicates, assembled.outside))
    }

    /// What the rows must be: the definition, without batches.
    fn expected(recs: &[Rec], covers: &Interval) -> (Vec<Rec>, (u64, u64, u64)) {
        let mut latest = std::collections::BTreeMap::new();
        let mut ordered = recs.to_vec();
        ordered.sort_by_key(|r| r.position);
        ordered.into_iter().for_each(|r| drop(latest.insert(r.id.clone(), r)));
        let versions = latest.len();
        let micros = covers.from().timestamp_micros()..covers.to().timestamp_micros();
        let mut inside: Vec<Rec> = latest.into_values().filter(|r| micros.contains(&r.start)).collect();
        inside.sort_by(|a, b| (a.start, &a.id).cmp(&(b.start, &b.id)));
        let counts = (recs.len() as u64, (recs.len() - versions) as u64, (versions - inside.len()) as u64);
        (inside, counts)
    }

    proptest! {
        #[test]
        fn only_records_and_positions_decide(recs in recs(day("2025-01-01"), 40), cuts in proptest::collection::vec(0usize..40, 0..6), turn in 0usize..6, half: bool) {
            let specs = specs(2);
            let day = day("2025-01-01");
            let covers = if half { day.interval().halves().unwrap().0 } else { day.interval() };

            let mut cuts: Vec<usize> = cuts.into_iter().filter(|&c| c < recs.len()).chain([0, recs.len()]).collect();
            cuts.sort_unstable();
            let mut pieces: Vec<DayBatch> = cuts.windows(2).map(|w| batch(day, &specs, &recs[w[0]..w[1]])).collect();
            let turn = turn % pieces.len();
            pieces.rotate_left(turn);

            let (inside, counts) = expected(&recs, &covers);
            let (rows, found) = tables(&pieces, &covers);
            prop_assert_eq!(found, counts);
            prop_assert_eq!(&rows, &tables(&[batch(day, &specs, &recs)], &covers).0);
            let wanted = batch(day, &specs, &inside);
            for (rows, wanted) in rows.iter().zip(&wanted.tables) {
                prop_assert_eq!(rows, &wanted.rows);
            }
        }

        #[test]
        fn chunks_make_up_the_whole(recs in recs(day("2025-01-01"), 30), chunk in 1usize..50) {
            let specs = specs(2);
            let day = day("2025-01-01");
            let batches = [batch(day, &specs, &recs[..recs.len() / 2]), batch(day, &specs, &recs[recs.len() / 2..])];
            let assembled = assemble(&specs, &batches, &day.interval()).unwrap();
            for table in &assembled.tables {
                let whole = table.batch(0..table.rows()).unwrap();
                for from in (0..table.rows()).step_by(chunk) {
                    let to = table.rows().min(from + chunk);
                    prop_assert_eq!(table.batch(from..to).unwrap(), whole.slice(from, to - from));
                }
            }
        }
    }

    #[test]
    fn the_last_version_wins_with_its_children_and_its_start() {
        let specs = specs(1);
        let day = day("2025-01-01");
        let early = Rec::new(day, "a", 10, (0, 1, 0), 3);
        let late = Rec { children: 1, ..Rec::new(day, "a", 60 * 60 * 20, (0, 2, 0), 1) };
        let batches = [batch(day, &specs, &[late]), batch(day, &specs, &[early])];
        let whole = assemble(&specs, &batches, &day.interval()).unwrap();
        assert_eq!((whole.tables[0].rows(), whole.tables[1].rows(), whole.duplicates), (1, 1, 1));
        let morning = assemble(&specs, &batches, &day.interval().halves().unwrap().0).unwrap();
        assert_eq!((morning.ids.len(), morning.duplicates, morning.outside), (0, 1, 1));
    }

    #[test]
    fn a_batch_that_does_not_fit_is_a_bug() {
        let (all, fewer) = (specs(2), specs(1));
        let day = day("2025-01-01");
        let good = batch(day, &all, &[Rec::new(day, "a", 0, (0, 1, 0), 2)]);
        assert!(assemble(&fewer, std::slice::from_ref(&good), &day.interval()).is_err());
        let mut cut = good.clone();
        cut.tables[1].offsets = vec![0, 1];
        assert!(assemble(&all, &[cut], &day.interval()).is_err());
        let mut moved = good.clone();
        moved.day = day.next();
        assert!(assemble(&all, &[moved], &day.interval()).is_err());
        let ids = assemble(&all, &[good], &day.interval()).map(|a| a.tables[0].batch(0..1).unwrap()).unwrap();
        assert_eq!(ids.column(0).as_string::<i32>().value(0), "a");
    }
}
