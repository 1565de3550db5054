//! Calls that wait for a disk or a store, several at a time.
//!
//! They have threads of their own: rayon's common ones are for work. These are kept, because most waits are shorter than
//! a thread takes to be made and ended.

use std::sync::LazyLock;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use crate::error::{Error, Result};

/// Calls that wait at the same time: a journal takes the syncs of many files together. A file on its way to a bucket
/// may be in memory whole meanwhile.
const WAITING_MAX: usize = 8;

static WAITING: LazyLock<Result<ThreadPool, ThreadPoolBuildError>> =
    LazyLock::new(|| ThreadPoolBuilder::new().num_threads(WAITING_MAX).thread_name(|i| format!("wait-{i}")).build());

/// Does `work` for every one of `items`, some at a time. The first error ends it: what has begun is finished.
///
/// # Errors
/// That error.
pub(super) fn together<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<()> + Sync + Send) -> Result<()> {
    if let [only] = items {
        return work(only);
    }
    match &*WAITING {
        Ok(threads) => threads.install(|| items.par_iter().try_for_each(work)),
        Err(e) => Err(Error::bug(format!("cannot start the threads that wait: {e}"))),
    }
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
