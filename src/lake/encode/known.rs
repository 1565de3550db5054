//! Dictionaries that are compressed already.
//!
//! The tables below the conversations name the same conversations, participants and sessions. Where a day's rows of
//! each are one row group, these dictionaries have the same bytes, and they are most of what the day's files hold: so they
//! are compressed once. Whether bytes are the same is told by their hash, like whether a file is what was written.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

/// Bytes that are kept, compressed. The dictionaries of a day of several row groups are others in each table, and need
/// not be kept at all.
const KEPT_MAX: usize = 2 << 20;
/// Bytes from which on a dictionary is looked for: others are compressed as fast.
const LONG: usize = 4096;

/// Of the tables of one day.
#[derive(Debug, Default)]
pub struct Known(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    pages: HashMap<u128, Bytes>,
    bytes: usize,
}

impl Known {
    /// What `compress` makes of `page`, or made of the same bytes before.
    ///
    /// # Errors
    /// Those of `compress`.
    pub(super) fn or_compressed<E>(
        &self,
        page: &[u8],
        compress: impl FnOnce(&[u8]) -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        if page.len() < LONG {
            return compress(page);
        }
        let hash = xxh3_128(page);
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compressed) = kept().pages.get(&hash) {
            return Ok(compressed.clone());
        }
        let compressed = compress(page)?;
        let mut kept = kept();
        if kept.bytes + compressed.len() <= KEPT_MAX {
            kept.bytes += compressed.len();
            kept.pages.insert(hash, compressed.clone());
        }
        Ok(compressed)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn the_same_long_bytes_are_compressed_once_while_there_is_room() {
        let (known, made) = (Known::default(), Cell::new(0));
        let compressed = |page: &[u8], size: usize| {
            let compress = |page: &[u8]| {
                made.set(made.get() + 1);
                Ok::<_, Infallible>(vec![page[0]; size].into())
            };
            let compressed = known.or_compressed(page, compress).unwrap();
            (compressed[0], compressed.len(), made.get())
        };
        assert_eq!(compressed(&[1; LONG], 9), (1, 9, 1));
        assert_eq!(compressed(&[1; LONG], 8), (1, 9, 1));
        assert_eq!(compressed(&[2; LONG], KEPT_MAX), (2, KEPT_MAX, 2));
        assert_eq!(compressed(&[2; LONG], 8), (2, 8, 3));
        assert_eq!(compressed(&[2; LONG], 7), (2, 8, 3));
        assert_eq!((compressed(&[3; LONG - 1], 9).2, compressed(&[3; LONG - 1], 9).2), (4, 5));
    }
}
