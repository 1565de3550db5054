//! Which rows of a column have values, and which values are of one row: Parquet's levels. Pure.
//!
//! A row of a list is as many entries as the list has, and one where it is null or empty.

use std::iter;
use std::ops::Range;

use arrow::array::{Array, ListArray};
use arrow::buffer::NullBuffer;
use arrow::util::bit_iterator::BitIndexIterator;
use parquet::schema::types::ColumnDescPtr;

use super::bits::{hybrid, width};
use super::leaf::{self, Values};
use crate::error::Result;

/// Levels of what is null, of a list that is empty, and of a null and a value in a list.
const NULL: u8 = 0;
const EMPTY: u8 = 1;
const NULL_ITEM: u8 = 2;
const ITEM: u8 = 3;

/// Whether the column of the one leaf `leaf` is a list that may be null, of items that may be null.
pub(super) fn is_list(leaf: &ColumnDescPtr) -> bool {
    leaf.max_rep_level() == 1 && leaf.max_def_level() == i16::from(ITEM)
}

/// The levels of a column, which is flat or a [list](is_list).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Levels {
    /// 0 for the first entry of each row of lists, 1 for the others.
    repeated: Option<Vec<u8>>,
    /// [`Levels::most`] for each entry that has a value.
    defined: Vec<u8>,
}

impl Levels {
    /// None yet, with room for `rows` rows.
    pub(super) fn new(is_list: bool, rows: usize) -> Levels {
        Levels { repeated: is_list.then(|| Vec::with_capacity(rows)), defined: Vec::with_capacity(rows) }
    }

    /// Their number of rows.
    pub(super) fn rows(&self) -> usize {
        self.repeated.as_ref().map_or(self.defined.len(), |repeated| count(repeated, 0))
    }

    /// Whether every row is null.
    pub(super) fn are_null(&self) -> bool {
        self.defined.iter().all(|&level| level == NULL)
    }

    fn most(&self) -> u8 {
        if self.repeated.is_some() { ITEM } else { 1 }
    }

    fn extend(&mut self, entries: usize, defined: u8) {
        let len = self.defined.len() + entries;
        self.defined.resize(len, defined);
        if let Some(repeated) = &mut self.repeated {
            repeated.resize(len, 0);
        }
    }

    /// Appends `rows` rows that are null.
    pub(super) fn nulls(&mut self, rows: usize) {
        self.extend(rows, NULL);
    }

    /// Appends the rows in `range`, which are null as `nulls` says.
    pub(super) fn append(&mut self, nulls: Option<&NullBuffer>, range: Range<usize>) {
        let start = self.defined.len();
        let most = self.most();
        match nulls {
            None => self.extend(range.len(), most),
            Some(_) => {
                self.extend(range.len(), NULL);
                let defined = &mut self.defined[start..];
                valid(nulls, range.clone()).for_each(|row| defined[row - range.start] = most);
            }
        }
    }

    /// Appends the rows in `range` of `lists`, whose items are null as `nulls` says, and gives `take` the place of the
    /// items of each.
    ///
    /// # Errors
    /// Those of `take`.
    pub(super) fn lists(
        &mut self,
        lists: &ListArray,
        nulls: Option<&NullBuffer>,
        range: Range<usize>,
        mut take: impl FnMut(Range<usize>) -> Result<()>,
    ) -> Result<()> {
        let offsets = lists.value_offsets();
        let mut next = range.start;
        for row in valid(lists.nulls(), range.clone()) {
            self.extend(row - next, NULL);
            next = row + 1;
            let items = offsets[row] as usize..offsets[row + 1] as usize;
            if items.is_empty() {
                self.extend(1, EMPTY);
                continue;
            }
            let level = |item| if nulls.is_none_or(|nulls| nulls.is_valid(item)) { ITEM } else { NULL_ITEM };
            self.defined.extend(items.clone().map(level));
            if let Some(repeated) = &mut self.repeated {
                repeated.push(0);
                repeated.resize(self.defined.len(), 1);
            }
            take(items)?;
        }
        self.extend(range.end - next, NULL);
        Ok(())
    }

    /// Them, as many rows at a time as a page has.
    pub(super) fn spans(&self, rows: usize) -> impl Iterator<Item = Span<'_>> {
        let mut from = 0;
        iter::from_fn(move || {
            let range = from..self.after(from, rows);
            from = range.end;
            (!range.is_empty()).then(|| self.span(range))
        })
    }

    /// The entry after `rows` rows from entry `from`.
    fn after(&self, from: usize, rows: usize) -> usize {
        let all = self.defined.len();
        match &self.repeated {
            None => all.min(from + rows),
            Some(repeated) => {
                let mut starts = (from..all).filter(|&entry| repeated[entry] == 0);
                starts.nth(rows).unwrap_or(all)
            }
        }
    }

    fn span(&self, range: Range<usize>) -> Span<'_> {
        let repeated = self.repeated.as_ref().map(|repeated| &repeated[range.clone()]);
        let defined = &self.defined[range];
        let rows = repeated.map_or(defined.len(), |repeated| count(repeated, 0));
        Span { rows, present: count(defined, self.most()), repeated, defined }
    }
}

fn count(levels: &[u8], wanted: u8) -> usize {
    levels.iter().filter(|&&level| level == wanted).count()
}

/// Which rows of `range` are not null.
pub(super) fn valid(nulls: Option<&NullBuffer>, range: Range<usize>) -> impl Iterator<Item = usize> {
    let start = range.start;
    let (some, all) = match nulls {
        Some(nulls) => (Some(BitIndexIterator::new(nulls.validity(), nulls.offset() + start, range.len())), 0..0),
        None => (None, range),
    };
    some.into_iter().flatten().map(move |row| start + row).chain(all)
}

/// The levels of one page.
pub(super) struct Span<'a> {
    pub(super) rows: usize,
    /// Entries that have a value.
    pub(super) present: usize,
    repeated: Option<&'a [u8]>,
    defined: &'a [u8],
}

impl Span<'_> {
    /// The page of the column `leaf`, whose values are `bounds` and appended by `write`.
    pub(super) fn page<B>(
        self,
        leaf: &ColumnDescPtr,
        bounds: Option<(B, B)>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Values<B> {
        let mut body = Vec::new();
        for (most, levels) in [(leaf.max_rep_level(), self.repeated), (leaf.max_def_level(), Some(self.defined))] {
            if most > 0
                && let Some(levels) = levels
            {
                leaf::levels(&mut body, |to| hybrid(to, levels, width(most as u64)));
            }
        }
        write(&mut body);
        let entries = self.defined.len();
        Values { body, rows: self.rows, entries, nulls: entries - self.present, bounds }
    }
}
