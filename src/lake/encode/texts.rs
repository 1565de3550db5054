//! Texts that repeat become a column chunk of the distinct ones and of which each row has. Pure.
//!
//! The dictionary has them as they come first in the rows. Copied, compared and bounded are the distinct ones alone.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use parquet::basic::Encoding;
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescPtr;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::bits::{hybrid, width};
use super::leaf::{self, PAGE_ROWS, Values};
use super::page::{Chunk, Zstd};

/// Texts of a column, row by row, of which each stands once.
#[derive(Debug)]
pub(super) struct Texts<'a> {
    /// 1 for each row that has one, 0 for each that is null.
    levels: Vec<u8>,
    /// Which text each row has that is not null.
    indexes: Vec<u32>,
    /// In the order of their first rows.
    texts: Vec<&'a str>,
    known: HashMap<&'a str, u32, Seed>,
    bytes: usize,
}

impl<'a> Texts<'a> {
    /// None yet, with room for `rows` rows.
    pub(super) fn new(rows: usize) -> Texts<'a> {
        let known = HashMap::with_hasher(Seed(RandomState::new().build_hasher().finish()));
        let (levels, indexes) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        Texts { levels, indexes, texts: Vec::new(), known, bytes: 0 }
    }

    /// Appends `rows` rows without a text.
    pub(super) fn push_nulls(&mut self, rows: usize) {
        self.levels.resize(self.levels.len() + rows, 0);
    }

    /// Appends a row that has the text of `index`.
    pub(super) fn push(&mut self, index: u32) {
        self.levels.push(1);
        self.indexes.push(index);
    }

    /// The index of `text`.
    pub(super) fn index(&mut self, text: &'a str) -> u32 {
        let next = self.texts.len() as u32;
        let index = *self.known.entry(text).or_insert(next);
        if index == next {
            self.texts.push(text);
            self.bytes += text.len() + size_of::<u32>();
        }
        index
    }

    /// Bytes of a dictionary of them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The chunk of the column `leaf`, which is not nested; of `texts` there is one at least.
///
/// # Errors
/// When Parquet cannot hold it.
pub(super) fn encode(leaf: &ColumnDescPtr, texts: &Texts<'_>, zstd: &mut Zstd) -> Result<Chunk, ParquetError> {
    let bits = index_width(texts.texts.len());
    let mut rest = texts.indexes.as_slice();
    let mut seen = vec![false; texts.texts.len()];
    let pages = texts.levels.chunks(PAGE_ROWS).map(|levels| {
        let present = levels.iter().map(|&level| usize::from(level)).sum();
        let (indexes, others) = rest.split_at(present);
        rest = others;
        let mut body = Vec::new();
        if leaf.max_def_level() > 0 {
            leaf::levels(&mut body, |to| hybrid(to, levels, 1));
        }
        body.push(bits as u8);
        hybrid(&mut body, indexes, bits);
        seen.fill(false);
        indexes.iter().for_each(|&index| seen[index as usize] = true);
        let here = || texts.texts.iter().zip(&seen).filter(|(_, seen)| **seen).map(|(text, _)| *text);
        Values { body, rows: levels.len(), nulls: levels.len() - present, bounds: here().min().zip(here().max()) }
    });
    let pages = pages.collect();
    leaf::chunk(leaf, Some(leaf::dictionary(texts.texts.iter().copied())), Encoding::RLE_DICTIONARY, pages, zstd)
}

/// Bits of an index among `count`. One at least: not every reader expects an index without a bit.
pub(super) fn index_width(count: usize) -> u32 {
    width(count.saturating_sub(1) as u64).max(1)
}

/// Makes hashes that nobody can foresee, so that nobody can choose texts whose hashes are the same.
#[derive(Debug)]
struct Seed(u64);

impl BuildHasher for Seed {
    type Hasher = Xxh3;

    fn build_hasher(&self) -> Xxh3 {
        Xxh3(self.0)
    }
}

/// The hash of one text, before it the seed; the end mark that follows it adds nothing.
struct Xxh3(u64);

impl Hasher for Xxh3 {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_u8(&mut self, _: u8) {}

    fn finish(&self) -> u64 {
        self.0
    }
}
