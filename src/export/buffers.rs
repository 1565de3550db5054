//! Buffers that input is read into go round: a fresh one costs more than reading into it, page by page of memory.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Buffers that wait to be used again, at most.
const WAITING_MAX: usize = 2;
/// What a buffer's size is a multiple of, so that one serves where another did.
const UNIT_BYTES: usize = 1 << 20;
/// A larger one was for an unusual document, and goes.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// Buffers of one input.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers {
    waiting: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A buffer in use.
struct Filled {
    bytes: Vec<u8>,
    home: Buffers,
}

impl Buffers {
    /// An empty buffer with room for `bytes`.
    pub(super) fn take(&self, bytes: usize) -> Vec<u8> {
        let waiting = self.waiting().pop().filter(|buffer| buffer.capacity() >= bytes);
        waiting.unwrap_or_else(|| Vec::with_capacity(bytes.next_multiple_of(UNIT_BYTES)))
    }

    /// What was read; the buffer comes back when nobody holds any of it.
    pub(super) fn filled(&self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Filled { bytes, home: self.clone() })
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut waiting = self.home.waiting();
        if waiting.len() < WAITING_MAX && bytes.capacity() <= KEPT_BYTES_MAX {
            bytes.clear();
            waiting.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_nobody_holds_any_of_it() {
        let buffers = Buffers::default();
        let mut first = buffers.take(100);
        first.extend_from_slice(b"abc");
        let place = first.as_ptr();
        let part = buffers.filled(first).slice(1..2);
        let second = buffers.take(100);
        assert_ne!(second.as_ptr(), place, "it is in use");
        assert_eq!(&part[..], b"b");
        drop(part);
        let again = buffers.take(50);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        drop(buffers.filled(Vec::with_capacity(KEPT_BYTES_MAX + 1)));
        assert!(buffers.waiting().is_empty());
    }
}
