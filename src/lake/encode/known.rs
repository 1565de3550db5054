//! Dictionaries that are compressed already.
//!
//! The tables below the conversations name the same conversations, participants and sessions. Where a day's rows of
//! each are one row group, these dictionaries have the same bytes, and they are most of what the day's files hold: so they
//! are compressed once.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// Bytes of dictionaries that are kept. Those of a day of several row groups are others in each table, and need not be
/// kept at all.
const KEPT_MAX: usize = 4 << 20;
/// Bytes from which on a dictionary is looked for: others are compressed as fast.
const LONG: usize = 4096;

/// Of the tables of one day.
#[derive(Debug, Default)]
pub struct Known(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// As they are, and compressed. They differ in their lengths or early: finding one is as fast as reading it.
    pages: Vec<(Bytes, Bytes)>,
    /// Of what they are, uncompressed.
    bytes: usize,
}

impl Known {
    /// What `compress` makes of `page`, or made of the same bytes before.
    ///
    /// # Errors
    /// Those of `compress`.
    pub(super) fn or_compressed<E>(
        &self,
        page: &Bytes,
        compress: impl FnOnce(&[u8]) -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        if page.len() < LONG {
            return compress(page);
        }
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, compressed)) = kept().pages.iter().find(|(known, _)| known == page) {
            return Ok(compressed.clone());
        }
        let compressed = compress(page)?;
        let mut kept = kept();
        if kept.bytes + page.len() <= KEPT_MAX {
            kept.bytes += page.len();
            kept.pages.push((page.clone(), compressed.clone()));
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
        let compressed = |byte: u8, size: usize| {
            let compress = |page: &[u8]| {
                made.set(made.get() + 1);
                Ok::<_, Infallible>(Bytes::copy_from_slice(&page[..1]))
            };
            let compressed = known.or_compressed(&vec![byte; size].into(), compress).unwrap();
            assert_eq!(compressed, [byte].as_slice());
            made.get()
        };
        assert_eq!([compressed(1, LONG), compressed(1, LONG)], [1, 1]);
        assert_eq!([compressed(2, LONG), compressed(1, LONG + 1)], [2, 3]);
        assert_eq!([compressed(3, LONG - 1), compressed(3, LONG - 1)], [4, 5]);
        assert_eq!([compressed(4, KEPT_MAX), compressed(4, KEPT_MAX)], [6, 7]);
        assert_eq!([compressed(5, LONG), compressed(5, LONG), compressed(2, LONG)], [8, 8, 8]);
    }
}
