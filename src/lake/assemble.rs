//! The rows of one day become its tables: one version of each conversation, in order.
//!
//! The result depends on the records and their positions only, not on how they were cut into batches or runs or in
//! which order these arrived. Nothing is copied here: a table is a list of places.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::day_rows::{DayRows, Place, append};
use super::encode::row_group::Piece;
use super::forgotten::Forgotten;
use super::layout::TableName;
use super::spill::SortedRun;
use super::versions::{Rule, VERSIONS_MAX, Versions, numbered, versions};
use crate::error::{Error, Result};
use crate::flatten::Catalog;
use crate::flatten::batch::{DayBatch, TableRows};
use crate::flatten::rows::Rows;
use crate::time::Interval;

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
    /// The conversations in it.
    pub conversations: u64,
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
    content: Content<'a>,
}

#[derive(Debug)]
enum Content<'a> {
    /// All of these, as they stand.
    Whole(&'a [Arc<Rows>]),
    /// Table number `table` of the records in `order`.
    Ordered { rows: &'a DayRows, table: usize, order: Arc<[Place]> },
}

/// Assembles the day that all of `rows` belong to, with the version of each conversation that counts by `rule`.
/// Conversations that start outside `covers`, and those that are to be `forgotten`, are left out.
///
/// # Errors
/// [`crate::error::Kind::Bug`] when rows do not fit the tables, [`crate::error::Kind::Storage`] when spilled ones cannot
/// be read.
pub fn assemble<'a>(
    specs: &'a [TableSpec],
    rows: &'a DayRows,
    covers: &Interval,
    forgotten: &Forgotten,
    rule: Rule,
) -> Result<Assembled<'a>> {
    rows.batches.iter().try_for_each(|batch| check(specs, batch))?;
    rows.runs.iter().try_for_each(|run| check_run(specs, run))?;
    let Versions { gone, records, conversations, left_out } = versions(rows, forgotten, rule, VERSIONS_MAX)?;

    let (from, to) = (covers.from().timestamp_micros(), covers.to().timestamp_micros());
    let number = numbered(rows);
    let mut order = Vec::with_capacity(conversations);
    rows.visit_in_order(|key, place| {
        // The version that won decides whether the conversation starts inside: an earlier one is not the truth any more.
        if !gone[number(place)] && (from..to).contains(&key.start) {
            order.push(place);
        }
        Ok(())
    })?;

    let order: Arc<[Place]> = order.into();
    let content = |table| Content::Ordered { rows, table, order: Arc::clone(&order) };
    let tables = specs.iter().enumerate().map(|(table, spec)| SortedTable { spec, content: content(table) });
    Ok(Assembled {
        tables: tables.collect(),
        records: records as u64,
        duplicates: (records - conversations) as u64,
        outside: (conversations - order.len()) as u64,
        forgotten: left_out as u64,
        conversations: order.len() as u64,
    })
}

impl<'a> SortedTable<'a> {
    /// The rows of `sources` as they stand: they are in order.
    pub(super) fn of(spec: &'a TableSpec, sources: &'a [Arc<Rows>]) -> SortedTable<'a> {
        SortedTable { spec, content: Content::Whole(sources) }
    }

    /// Whether some of its rows are to be read back from disk.
    pub(super) fn is_on_disk(&self) -> bool {
        matches!(&self.content, Content::Ordered { rows, .. } if !rows.runs.is_empty())
    }

    /// Where its rows are, in order. Those on disk are read as they are needed.
    pub fn pieces(&self) -> Box<dyn Iterator<Item = Result<Piece>> + '_> {
        match &self.content {
            Content::Whole(sources) => {
                let full = sources.iter().filter(|rows| !rows.is_empty());
                Box::new(full.map(|rows| Ok(Piece { rows: Arc::clone(rows), range: 0..rows.len() })))
            }
            Content::Ordered { rows, table, order } => {
                let mut finder = rows.finder(*table);
                let mut found = order.iter().filter_map(move |place| finder.find(*place).transpose());
                let mut last: Option<Piece> = None;
                Box::new(std::iter::from_fn(move || {
                    for next in found.by_ref() {
                        match next {
                            Ok(next) => {
                                if let Some(done) = append(&mut last, next) {
                                    return Some(Ok(done));
                                }
                            }
                            Err(error) => return Some(Err(error)),
                        }
                    }
                    last.take().map(Ok)
                }))
            }
        }
    }
}

/// What every run must be before it is touched: its rows were checked when they were written.
fn check_run(specs: &[TableSpec], run: &SortedRun) -> Result<()> {
    if !run.schemas().eq(specs.iter().map(|spec| &spec.schema)) {
        return Err(Error::bug("spilled rows are of other tables"));
    }
    Ok(())
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
            && offsets.last().is_some_and(|&last| last as usize == rows.len());
        if !fits {
            return Err(Error::bug(format!("the offsets of `{}` do not fit its rows", spec.name)));
        }
        if rows.schema() != &spec.schema {
            return Err(Error::bug(format!("a batch of `{}` has other columns", spec.name)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::testing::{self, Rec, assemble, batch, day, recs, specs, whole};
    use arrow::array::{AsArray, RecordBatch};
    use proptest::prelude::*;

    /// All tables of the day, each as one batch.
    fn tables(batches: &[DayBatch], covers: &Interval) -> (Vec<RecordBatch>, (u64, u64, u64)) {
        let specs = specs(2);
        let day = batches.to_vec().into();
        let assembled = assemble(&specs, &day, covers).unwrap();
        let rows = assembled.tables.iter().map(whole).collect();
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
                prop_assert_eq!(rows, &wanted.rows.to_batch().unwrap());
            }
        }
    }

    #[test]
    fn the_last_version_wins_with_its_children_and_its_start() {
        let specs = specs(1);
        let day = day("2025-01-01");
        let early = Rec::new(day, "a", 10, (0, 1, 0), 3);
        let late = Rec { children: 1, ..Rec::new(day, "a", 60 * 60 * 20, (0, 2, 0), 1) };
        let batches = vec![batch(day, &specs, &[late]), batch(day, &specs, &[early])].into();
        let whole = assemble(&specs, &batches, &day.interval()).unwrap();
        let rows: Vec<usize> = whole.tables.iter().map(|table| testing::whole(table).num_rows()).collect();
        assert_eq!((rows.as_slice(), whole.duplicates), ([1, 1].as_slice(), 1));
        let morning = assemble(&specs, &batches, &day.interval().halves().unwrap().0).unwrap();
        assert_eq!((morning.conversations, morning.duplicates, morning.outside), (0, 1, 1));
    }

    #[test]
    fn a_batch_that_does_not_fit_is_a_bug() {
        let (all, fewer) = (specs(2), specs(1));
        let day = day("2025-01-01");
        let good = batch(day, &all, &[Rec::new(day, "a", 0, (0, 1, 0), 2)]);
        assert!(assemble(&fewer, &vec![good.clone()].into(), &day.interval()).is_err());
        let mut cut = good.clone();
        cut.tables[1].offsets = vec![0, 1];
        assert!(assemble(&all, &vec![cut].into(), &day.interval()).is_err());
        let mut moved = good.clone();
        moved.day = day.next();
        assert!(assemble(&all, &vec![moved].into(), &day.interval()).is_err());
        let ids = assemble(&all, &vec![good].into(), &day.interval()).map(|a| whole(&a.tables[0])).unwrap();
        assert_eq!(ids.column(0).as_string::<i32>().value(0), "a");
    }
}
