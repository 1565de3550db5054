//! Where the rows of pages grow. It is used again when they have been handed out, so that a page allocates next to
//! nothing.

use super::buffers::{Column, Grows};
use super::cursor::Span;
use super::dates::Dates;
use super::folds::Folds;
use super::leftovers::Left;
use super::oddities::Noted;
use super::plan::Plan;
use crate::error::{Error, Result};

/// All that grows while pages are read.
#[derive(Debug)]
pub(super) struct Scratch {
    /// The columns of all tables.
    pub(super) columns: Vec<Column>,
    pub(super) tables: Vec<Grown>,
    /// The open row of each table with metrics.
    pub(super) folds: Vec<Folds>,
    pub(super) noted: Noted,
    /// The fields that were seen last behind each field of each object, the very last first.
    pub(super) guesses: Vec<[u16; 2]>,
    pub(super) dates: Dates,
    /// Of the open rows: what found no column.
    pub(super) left: Vec<Left>,
    /// Of the open rows: what may be the value of a column with several paths.
    pub(super) candidates: Vec<Candidate>,
    /// Of the open objects: the places of names that no bit is there for.
    pub(super) names: Vec<usize>,
    /// Of the open record: whether a text stands where a tool found an object too deep to write.
    pub(super) cut: bool,
}

/// The rows of a table.
#[derive(Debug, Default)]
pub(super) struct Grown {
    pub(super) rows: u32,
    /// Of each row: the row that it is part of, in the table above.
    pub(super) parents: Vec<u32>,
    /// Of each row: its place among the elements or entries.
    pub(super) ordinals: Vec<u32>,
    /// How many rows there were at the end of each record.
    pub(super) ends: Vec<u32>,
}

/// A value that belongs into a column if no path before its own has a fitting one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) choice: usize,
    pub(super) rank: usize,
    pub(super) node: usize,
    pub(super) field: usize,
    pub(super) value: Span,
    /// Where it stands among what is left; `None`: it need not be kept.
    pub(super) left: Option<usize>,
    /// Whether it is noted if it does not get into the column.
    pub(super) noted: bool,
}

impl Scratch {
    pub(super) fn new(plan: &Plan) -> Scratch {
        let guesses = plan.nodes.iter().map(|node| 1 + node.fields.len()).sum();
        Scratch {
            columns: plan.columns.iter().map(|&kind| Column::new(kind)).collect(),
            tables: plan.tables.iter().map(|_| Grown::default()).collect(),
            folds: plan.tables.iter().map(|table| Folds::new(table.metrics.as_ref())).collect(),
            noted: Noted::default(),
            guesses: vec![[0; 2]; guesses],
            dates: Dates::default(),
            left: Vec::new(),
            candidates: Vec::new(),
            names: Vec::new(),
            cut: false,
        }
    }

    /// The record is good: all rows since the last one are its own.
    pub(super) fn keep(&mut self) {
        for table in &mut self.tables {
            table.ends.push(table.rows);
        }
        self.noted.keep();
    }

    /// The record is good, but its rows are not wanted.
    pub(super) fn pass(&mut self, plan: &Plan) {
        self.noted.keep();
        self.forget(plan);
    }

    /// The record is bad: everything is as it was before it.
    pub(super) fn forget(&mut self, plan: &Plan) {
        for (plan, table) in plan.tables.iter().zip(&mut self.tables) {
            let rows = table.ends.last().copied().unwrap_or_default();
            table.rows = rows;
            table.parents.truncate(rows as usize);
            table.ordinals.truncate(rows as usize);
            for &column in &plan.columns {
                self.columns[column].cut(rows);
            }
        }
        self.folds.iter_mut().for_each(Folds::clear);
        self.noted.forget();
        self.left.clear();
        self.candidates.clear();
        self.names.clear();
        self.cut = false;
    }

    /// Ready for other records.
    pub(super) fn clear(&mut self, plan: &Plan) {
        for table in &mut self.tables {
            table.ends.clear();
        }
        self.forget(plan);
    }

    /// Where the rows of `records` are in `table`.
    pub(super) fn rows_of(&self, table: usize, records: &std::ops::Range<usize>) -> Result<std::ops::Range<u32>> {
        let ends = &self.tables[table].ends;
        let end = |records: usize| match records.checked_sub(1) {
            None => Some(0),
            Some(last) => ends.get(last).copied(),
        };
        let rows = || Some(end(records.start)?..end(records.end)?);
        rows().ok_or_else(|| Error::bug("a record has no rows"))
    }
}
