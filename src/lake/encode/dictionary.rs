//! Values that repeat become a column chunk of the distinct ones and of which each row has. Pure.
//!
//! The dictionary has them as they come first in the rows. Copied, compared and bounded are the distinct ones alone.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use parquet::basic::Encoding;
use parquet::column::page::Page;
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescPtr;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::bits::{hybrid, width};
use super::leaf::{self, PAGE_ROWS};
use super::levels::Levels;
use super::page::{Chunk, Zstd};
use super::plain::Plain;

/// Bytes of distinct values from which on a dictionary of them is not worth its memory and its indexes.
const MOST_BYTES: usize = 1 << 20;
/// Distinct values from which on it is seen whether values repeat at all: of fewer, more rows may yet have the same.
const MANY: usize = 8_192;

/// Values of a column, of which each stands once.
#[derive(Debug)]
pub(super) struct Dictionary<V> {
    /// Which value each entry has that is not null.
    indexes: Vec<u32>,
    /// In the order of their first rows.
    values: Vec<V>,
}

impl<V: Plain + Hash> Dictionary<V> {
    /// That of `all`; `None` when it would not be shorter than they are, or too long.
    pub(super) fn of(all: &[V]) -> Option<Dictionary<V>> {
        let mut known: HashMap<V, u32, Seed> = HashMap::with_hasher(Seed(RandomState::new().build_hasher().finish()));
        let (mut indexes, mut values, mut bytes) = (Vec::with_capacity(all.len()), Vec::new(), 0);
        for &value in all {
            let next = values.len() as u32;
            let index = *known.entry(value).or_insert(next);
            indexes.push(index);
            if index == next {
                values.push(value);
                bytes += value.size();
                if bytes > MOST_BYTES || (values.len() >= MANY && differ(values.len(), indexes.len())) {
                    return None;
                }
            }
        }
        (!differ(values.len(), all.len())).then_some(Dictionary { indexes, values })
    }

    /// The chunk of the column `leaf`; there is one value at least.
    ///
    /// # Errors
    /// When Parquet cannot hold it.
    pub(super) fn encode(&self, leaf: &ColumnDescPtr, levels: &Levels, zstd: &mut Zstd) -> Result<Chunk, ParquetError> {
        let bits = index_width(self.values.len());
        let mut rest = self.indexes.as_slice();
        let mut seen = vec![false; self.values.len()];
        let pages = levels.spans(PAGE_ROWS).map(|span| {
            let (indexes, others) = rest.split_at(span.present);
            rest = others;
            seen.fill(false);
            indexes.iter().for_each(|&index| seen[index as usize] = true);
            let here = self.values.iter().zip(&seen).filter(|(_, seen)| **seen).map(|(value, _)| *value);
            span.page(leaf, leaf::bounds(here), |to| {
                to.push(bits as u8);
                hybrid(to, indexes, bits);
            })
        });
        let pages = pages.collect();
        leaf::chunk(leaf, Some(page(self.values.iter().copied())), Encoding::RLE_DICTIONARY, pages, zstd)
    }
}

/// The page of the values that indexes are of.
pub(super) fn page<V: Plain>(values: impl ExactSizeIterator<Item = V>) -> Page {
    let num_values = values.len() as u32;
    let mut page = Vec::new();
    V::write(&mut page, values);
    Page::DictionaryPage { buf: page.into(), num_values, encoding: Encoding::PLAIN, is_sorted: false }
}

/// Whether `distinct` of `all` values are so many that their indexes take what is saved.
fn differ(distinct: usize, all: usize) -> bool {
    distinct >= all - all / 8
}

/// Bits of an index among `count`. One at least: not every reader expects an index without a bit.
pub(super) fn index_width(count: usize) -> u32 {
    width(count.saturating_sub(1) as u64).max(1)
}

/// Makes hashes that nobody can foresee, so that nobody can choose values whose hashes are the same.
#[derive(Debug)]
struct Seed(u64);

impl BuildHasher for Seed {
    type Hasher = Xxh3;

    fn build_hasher(&self) -> Xxh3 {
        Xxh3(self.0)
    }
}

/// The hash of one value, before it the seed; the end mark that follows a text adds nothing.
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
