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
use super::plain::{Double, Plain};

/// Bytes of distinct values from which on a dictionary of them is not worth its memory and its indexes.
const MOST_BYTES: usize = 1 << 20;
/// Distinct values from which on it is seen whether values repeat at all: of fewer, more rows may yet have the same.
const MANY: usize = 8_192;
/// Places of values that came lately. Few are distinct in most columns: they are found without a hash of all their bytes.
const LATELY: usize = 512;

/// A value that may repeat.
pub(super) trait Repeating: Plain + Hash {
    /// Bits of it, the highest of which likely differ when it does. More than likely is not needed.
    fn mixed(self) -> u64;
}

impl Repeating for &str {
    fn mixed(self) -> u64 {
        let bytes = self.as_bytes();
        let ends = match (bytes.first_chunk(), bytes.last_chunk(), bytes.first_chunk(), bytes.last_chunk()) {
            (Some(first), Some(last), ..) => [u64::from_le_bytes(*first), u64::from_le_bytes(*last)],
            (_, _, Some(first), Some(last)) => [u32::from_le_bytes(*first), u32::from_le_bytes(*last)].map(u64::from),
            _ => [bytes.first(), bytes.last()].map(|byte| byte.copied().map_or(0, u64::from)),
        };
        mix(ends[0] ^ ends[1].rotate_left(29) ^ bytes.len() as u64)
    }
}

impl Repeating for i64 {
    fn mixed(self) -> u64 {
        mix(self as u64)
    }
}

impl Repeating for Double {
    fn mixed(self) -> u64 {
        mix(self.0.to_bits())
    }
}

fn mix(bits: u64) -> u64 {
    // 2^64 over the golden ratio: all bits have a say in the highest.
    (bits ^ (bits >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Values of a column, of which each stands once.
#[derive(Debug)]
pub(super) struct Dictionary<V> {
    /// Which value each entry has that is not null.
    indexes: Vec<u32>,
    /// In the order of their first rows.
    values: Vec<V>,
}

impl<V: Repeating> Dictionary<V> {
    /// That of `all`; `None` when it would not be shorter than they are, or too long.
    pub(super) fn of(all: &[V]) -> Option<Dictionary<V>> {
        let mut known: HashMap<V, u32, Seed> = HashMap::with_hasher(Seed::new());
        let (mut indexes, mut values, mut bytes) = (Vec::with_capacity(all.len()), Vec::new(), 0);
        let mut lately = [0_u32; LATELY];
        for &value in all {
            let last = &mut lately[(value.mixed() >> (u64::BITS - LATELY.ilog2())) as usize];
            if values.get(*last as usize) == Some(&value) {
                indexes.push(*last);
                continue;
            }
            let next = values.len() as u32;
            *last = *known.entry(value).or_insert(next);
            indexes.push(*last);
            if *last == next {
                values.push(value);
                bytes += value.size();
                if bytes > MOST_BYTES || (values.len() >= MANY && differ(values.len(), indexes.len())) {
                    return None;
                }
            }
        }
        let written_out = || all.iter().map(|value| value.size()).sum::<usize>();
        let indexed = bytes + (all.len() * index_width(values.len()) as usize).div_ceil(8);
        (!differ(values.len(), all.len()) && indexed < written_out()).then_some(Dictionary { indexes, values })
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
            let texts = leaf::text_bytes(indexes.iter().map(|&index| self.values[index as usize]));
            span.page(leaf, leaf::bounds(here), texts, |to| {
                to.push(bits as u8);
                hybrid(to, indexes, bits);
            })
        });
        let pages = pages.collect();
        leaf::chunk(leaf, Some(page(self.values.iter().copied())), Encoding::RLE_DICTIONARY, pages, zstd)
    }
}

/// Each of `all` once, in the order in which they come first, and the places there of all.
pub(super) fn distinct<V: Repeating>(all: impl Iterator<Item = V>) -> (Vec<V>, Vec<u32>) {
    let mut known: HashMap<V, u32, Seed> = HashMap::with_hasher(Seed::new());
    let mut values = Vec::new();
    let place = |value| {
        *known.entry(value).or_insert_with(|| {
            values.push(value);
            values.len() as u32 - 1
        })
    };
    let places = all.map(place).collect();
    (values, places)
}

/// The page of the values that indexes are of.
pub(super) fn page<V: Plain>(values: impl ExactSizeIterator<Item = V> + Clone) -> Page {
    let num_values = values.len() as u32;
    let mut page = Vec::with_capacity(values.clone().map(V::size).sum());
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

impl Seed {
    fn new() -> Seed {
        Seed(RandomState::new().build_hasher().finish())
    }
}

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

    fn write_i64(&mut self, value: i64) {
        self.0 = mix(self.0 ^ value as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
