//! Which rows of a column have values, and which values are of one row: Parquet's levels. Pure.
//!
//! A row of a list is as many entries as the list has, and one where it is null or empty.

use std::iter;
use std::ops::Range;

use arrow::array::{Array, BooleanBufferBuilder, ListArray};
use arrow::buffer::NullBuffer;
use arrow::util::bit_chunk_iterator::UnalignedBitChunk;
use arrow::util::bit_iterator::BitIndexIterator;
use parquet::schema::types::ColumnDescPtr;

use super::bits::{hybrid, hybrid_bits, width};
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
pub(super) enum Levels {
    /// Which rows have a value.
    Flat(BooleanBufferBuilder),
    /// A level an entry.
    Lists {
        /// 0 for the first entry of each row, 1 for the others.
        repeated: Vec<u8>,
        /// [`ITEM`] for each entry that has a value.
        defined: Vec<u8>,
    },
}

impl Levels {
    /// None yet, with room for `rows` rows.
    pub(super) fn new(is_list: bool, rows: usize) -> Levels {
        match is_list {
            false => Levels::Flat(BooleanBufferBuilder::new(rows)),
            true => Levels::Lists { repeated: Vec::with_capacity(rows), defined: Vec::with_capacity(rows) },
        }
    }

    /// Their number of rows.
    pub(super) fn rows(&self) -> usize {
        match self {
            Levels::Flat(present) => present.len(),
            Levels::Lists { repeated, .. } => count(repeated, 0),
        }
    }

    /// Whether every row is null.
    pub(super) fn are_null(&self) -> bool {
        match self {
            Levels::Flat(present) => present.as_slice().iter().all(|&byte| byte == 0),
            Levels::Lists { defined, .. } => defined.iter().all(|&level| level == NULL),
        }
    }

    /// Appends `rows` rows that are null.
    pub(super) fn nulls(&mut self, rows: usize) {
        match self {
            Levels::Flat(present) => present.append_n(rows, false),
            Levels::Lists { repeated, defined } => {
                repeated.resize(repeated.len() + rows, 0);
                defined.resize(defined.len() + rows, NULL);
            }
        }
    }

    /// Appends the rows in `range` of a flat column, which are null as `nulls` says.
    pub(super) fn append(&mut self, nulls: Option<&NullBuffer>, range: Range<usize>) {
        let Levels::Flat(present) = self else { return };
        match nulls {
            None => present.append_n(range.len(), true),
            Some(nulls) => {
                let start = nulls.offset() + range.start;
                present.append_packed_range(start..start + range.len(), nulls.validity());
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
            self.nulls(row - next);
            next = row + 1;
            let Levels::Lists { repeated, defined } = self else { continue };
            let items = offsets[row] as usize..offsets[row + 1] as usize;
            let level = |item| if nulls.is_none_or(|nulls| nulls.is_valid(item)) { ITEM } else { NULL_ITEM };
            match items.len() {
                0 => defined.push(EMPTY),
                _ => defined.extend(items.clone().map(level)),
            }
            repeated.push(0);
            repeated.resize(defined.len(), 1);
            take(items)?;
        }
        self.nulls(range.end - next);
        Ok(())
    }

    /// Them, as many rows at a time as a page has.
    pub(super) fn spans(&self, rows: usize) -> impl Iterator<Item = Span<'_>> {
        let mut from = 0;
        iter::from_fn(move || {
            let range = from..self.after(from, rows);
            from = range.end;
            (!range.is_empty()).then(|| Span {
                rows: self.starts(&range),
                present: self.present(&range),
                range,
                of: self,
            })
        })
    }

    /// The entry after `rows` rows from entry `from`.
    fn after(&self, from: usize, rows: usize) -> usize {
        match self {
            Levels::Flat(present) => present.len().min(from + rows),
            Levels::Lists { repeated, .. } => {
                let mut starts = (from..repeated.len()).filter(|&entry| repeated[entry] == 0);
                starts.nth(rows).unwrap_or(repeated.len())
            }
        }
    }

    /// How many rows start in `range`.
    fn starts(&self, range: &Range<usize>) -> usize {
        match self {
            Levels::Flat(_) => range.len(),
            Levels::Lists { repeated, .. } => count(&repeated[range.clone()], 0),
        }
    }

    /// How many entries in `range` have a value.
    fn present(&self, range: &Range<usize>) -> usize {
        match self {
            Levels::Flat(present) => UnalignedBitChunk::new(present.as_slice(), range.start, range.len()).count_ones(),
            Levels::Lists { defined, .. } => count(&defined[range.clone()], ITEM),
        }
    }
}

fn count(levels: &[u8], wanted: u8) -> usize {
    levels.iter().filter(|&&level| level == wanted).count()
}

/// The levels of one page.
pub(super) struct Span<'a> {
    pub(super) rows: usize,
    /// Entries that have a value.
    pub(super) present: usize,
    range: Range<usize>,
    of: &'a Levels,
}

impl Span<'_> {
    /// The page of the column `leaf`, whose values have these `bounds` and `text_bytes`, and are appended by `write`.
    pub(super) fn page<B>(
        self,
        leaf: &ColumnDescPtr,
        bounds: Option<(B, B)>,
        text_bytes: Option<usize>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Values<B> {
        let mut body = Vec::new();
        let range = self.range;
        let entries = range.len();
        match self.of {
            Levels::Flat(_) if leaf.max_def_level() == 0 => {}
            Levels::Flat(present) => leaf::levels(&mut body, |to| hybrid_bits(to, present.as_slice(), range)),
            Levels::Lists { repeated, defined } => {
                leaf::levels(&mut body, |to| hybrid(to, &repeated[range.clone()], 1));
                leaf::levels(&mut body, |to| hybrid(to, &defined[range], width(ITEM.into())));
            }
        }
        write(&mut body);
        Values { body, rows: self.rows, entries, nulls: entries - self.present, bounds, text_bytes }
    }
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
