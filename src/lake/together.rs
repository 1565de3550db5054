//! Calls that wait for a disk or a store, several at a time.
//!
//! They have threads of their own, and not those of a pool: a call waits as long as others need, and what a pool holds back
//! behind it would wait with it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::error::{Error, Result};

/// Calls that wait at the same time: a journal takes the syncs of many files together. A file on its way to a bucket
/// may be in memory whole meanwhile.
const WAITING_MAX: usize = 8;

/// Does `work` for every one of `items`, some at a time. The first error ends it: what has begun is finished.
///
/// # Errors
/// That error.
pub(super) fn together<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let some = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if failed.load(Ordering::Relaxed) {
                break;
            }
            work(item).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..items.len().min(WAITING_MAX)).map(|_| scope.spawn(some)).collect();
        let own = some();
        let join = |thread: thread::ScopedJoinHandle<'_, Result<()>>| {
            thread.join().unwrap_or_else(|_| Err(Error::bug("a thread that waits for the storage died")))
        };
        others.into_iter().map(join).fold(own, |first, other| first.and(other))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn every_item_is_done_once_until_one_fails() {
        let done = Mutex::new(Vec::new());
        let items: Vec<usize> = (0..100).collect();
        let note = |item: &usize| {
            done.lock().unwrap().push(*item);
            Ok(())
        };
        together(&items, note).unwrap();
        together(&[], note).unwrap();
        let mut seen = std::mem::take(&mut *done.lock().unwrap());
        seen.sort_unstable();
        assert_eq!(seen, items);
        let failed = together(&items, |item| if *item == 3 { Err(Error::data("no")) } else { note(item) });
        assert!(failed.is_err() && done.lock().unwrap().len() < items.len());
    }
}
