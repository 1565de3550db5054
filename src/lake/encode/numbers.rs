//! Whole numbers and times become a column chunk of their differences (`DELTA_BINARY_PACKED`). Pure.
//!
//! After the first value, 128 differences make a block: the least of them, and how much more the others are, 32 at a
//! time in as many bits as the greatest of these needs.

use parquet::basic::Encoding;
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescPtr;

use super::bits::{pack, varint, width};
use super::gather::Gathered;
use super::leaf::{self, PAGE_ROWS};
use super::page::{Chunk, Zstd};

const BLOCK: usize = 128;
const MINI_BLOCK: usize = 32;

/// The chunk of the column `leaf` of these numbers.
///
/// # Errors
/// When Parquet cannot hold it.
pub(super) fn encode(leaf: &ColumnDescPtr, numbers: &Gathered<i64>, zstd: &mut Zstd) -> Result<Chunk, ParquetError> {
    let mut rest = numbers.present.as_slice();
    let pages = numbers.levels.spans(PAGE_ROWS).map(|span| {
        let (values, others) = rest.split_at(span.present);
        rest = others;
        span.page(leaf, leaf::bounds(values.iter().copied()), |to| deltas(to, values))
    });
    let pages = pages.collect();
    leaf::chunk(leaf, None, Encoding::DELTA_BINARY_PACKED, pages, zstd)
}

/// Appends `values`. Differences are taken, as readers add them up, modulo 2^64.
fn deltas(to: &mut Vec<u8>, values: &[i64]) {
    varint(to, BLOCK as u64);
    varint(to, (BLOCK / MINI_BLOCK) as u64);
    varint(to, values.len() as u64);
    zigzag(to, values.first().copied().unwrap_or_default());
    let mut deltas = Vec::with_capacity(BLOCK);
    for from in (1..values.len()).step_by(BLOCK) {
        let end = values.len().min(from + BLOCK);
        deltas.clear();
        deltas.extend(values[from - 1..end].windows(2).map(|pair| pair[1].wrapping_sub(pair[0])));
        let least = deltas.iter().copied().min().unwrap_or_default();
        zigzag(to, least);
        let more = |delta: &i64| delta.wrapping_sub(least) as u64;
        let widths = to.len();
        to.resize(widths + BLOCK / MINI_BLOCK, 0);
        for (index, mini) in deltas.chunks(MINI_BLOCK).enumerate() {
            let bits = width(mini.iter().map(more).fold(0, |all, more| all | more));
            to[widths + index] = bits as u8;
            let end = to.len() + MINI_BLOCK / 8 * bits as usize;
            pack(to, mini.iter().map(more), bits);
            // The last one is as long as the others.
            to.resize(end, 0);
        }
    }
}

/// Appends `value` so that it is short when it is near to zero, on either side.
fn zigzag(to: &mut Vec<u8>, value: i64) {
    varint(to, ((value << 1) ^ (value >> 63)) as u64);
}
