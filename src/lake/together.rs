//! Calls that wait for a disk or a store, several at a time. They have threads of their own: rayon's are for work.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};

/// Files and folders that are made durable at the same time: a journal takes them together.
pub(super) const SYNCS: usize = 8;

/// Does `work` for every one of `items`, at most `width` at a time. The first error ends it: what has begun is finished.
///
/// # Errors
/// That error.
pub(super) fn together<T: Sync>(items: &[T], width: usize, work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    if let [only] = items {
        return work(only);
    }
    let next = AtomicUsize::new(0);
    let worker = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = work(item) {
                next.fetch_add(items.len(), Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..width.min(items.len())).map(|_| scope.spawn(worker)).collect();
        let ended = workers.into_iter().map(|worker| worker.join().map_err(|_| Error::bug("a worker died"))?);
        ended.collect::<Vec<_>>().into_iter().collect()
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
        together(&items, 8, note).unwrap();
        together(&[], 8, note).unwrap();
        let mut seen = std::mem::take(&mut *done.lock().unwrap());
        seen.sort_unstable();
        assert_eq!(seen, items);
        let failed = together(&items, 8, |item| if *item == 3 { Err(Error::data("no")) } else { note(item) });
        assert!(failed.is_err() && done.lock().unwrap().len() < items.len());
    }
}
