//! Values as they are (`PLAIN`): what nearly never repeats, and what is a bit. Pure.

use std::hash::{Hash, Hasher};

use parquet::basic::Encoding;
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescPtr;

use super::bits::pack;
use super::gather::Gathered;
use super::leaf::{self, Bound, PAGE_ROWS};
use super::page::{Chunk, Zstd};

/// Bytes of the values of a page. Tables are wide, and readers fetch a page of every column they read.
pub(super) const PAGE_BYTES: usize = 512 * 1024;

/// A value as it is written out.
pub(super) trait Plain: Bound {
    /// Bytes of it, at most.
    fn size(self) -> usize;
    /// Appends `values`.
    fn write(to: &mut Vec<u8>, values: impl Iterator<Item = Self>);
}

impl Plain for &str {
    fn size(self) -> usize {
        size_of::<u32>() + self.len()
    }

    fn write(to: &mut Vec<u8>, values: impl Iterator<Item = Self>) {
        for text in values {
            to.extend_from_slice(&(text.len() as u32).to_le_bytes());
            to.extend_from_slice(text.as_bytes());
        }
    }
}

impl Plain for i64 {
    fn size(self) -> usize {
        size_of::<i64>()
    }

    fn write(to: &mut Vec<u8>, values: impl Iterator<Item = Self>) {
        values.for_each(|value| to.extend_from_slice(&value.to_le_bytes()));
    }
}

impl Plain for bool {
    fn size(self) -> usize {
        1
    }

    fn write(to: &mut Vec<u8>, values: impl Iterator<Item = Self>) {
        pack(to, values.map(u64::from), 1);
    }
}

impl Bound for bool {
    fn lower(self) -> (Vec<u8>, bool) {
        (vec![self.into()], true)
    }

    fn upper(self) -> (Vec<u8>, bool) {
        self.lower()
    }
}

/// A number that need not be whole, in the order of all of them: -0 before 0, what is no number at both ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Double(pub(super) f64);

impl Plain for Double {
    fn size(self) -> usize {
        size_of::<f64>()
    }

    fn write(to: &mut Vec<u8>, values: impl Iterator<Item = Self>) {
        values.for_each(|value| to.extend_from_slice(&value.0.to_le_bytes()));
    }
}

impl Bound for Double {
    /// Readers need not tell -0 from 0: either may be there where the other bounds.
    fn lower(self) -> (Vec<u8>, bool) {
        let least = if self.0 == 0.0 { -0.0 } else { self.0 };
        (least.to_le_bytes().to_vec(), true)
    }

    fn upper(self) -> (Vec<u8>, bool) {
        let greatest = if self.0 == 0.0 { 0.0 } else { self.0 };
        (greatest.to_le_bytes().to_vec(), true)
    }

    fn is_ordered(self) -> bool {
        !self.0.is_nan()
    }
}

impl Ord for Double {
    fn cmp(&self, other: &Double) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Double {
    fn partial_cmp(&self, other: &Double) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Double {
    fn eq(&self, other: &Double) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Double {}

impl Hash for Double {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

/// The chunk of the column `leaf` of these values.
///
/// # Errors
/// When Parquet cannot hold it.
pub(super) fn encode<V: Plain>(
    leaf: &ColumnDescPtr,
    gathered: &Gathered<V>,
    zstd: &mut Zstd,
) -> Result<Chunk, ParquetError> {
    let Gathered { levels, present } = gathered;
    let bytes: usize = present.iter().map(|value| value.size()).sum();
    // Of values of one size no page has more; of others, not on average.
    let rows = (levels.rows() * PAGE_BYTES / bytes.max(1)).clamp(1, PAGE_ROWS);
    let mut rest = present.as_slice();
    let pages = levels.spans(rows).map(|span| {
        let (values, others) = rest.split_at(span.present);
        rest = others;
        let texts = leaf::text_bytes(values.iter().copied());
        span.page(leaf, leaf::bounds(values.iter().copied()), texts, |to| {
            to.reserve(values.iter().map(|value| value.size()).sum());
            V::write(to, values.iter().copied());
        })
    });
    let pages = pages.collect();
    leaf::chunk(leaf, None, Encoding::PLAIN, pages, zstd)
}
