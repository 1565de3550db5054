//! The run's memory: what is in flight is counted, and who would hold too much waits or gives way to the disk.
//!
//! Two kinds of bytes count together. *Pages* are read only when there is room for them: they have a share of their
//! own, and whoever reads waits for it. That ends always, because pages become rows without waiting for anything.
//! *Rows* are never refused; when all of it together is beyond the budget, their holders write them out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The part of the budget that pages may fill.
const PAGES_SHARE: usize = 4;
/// The part that is left to what publishing takes beside the rows it publishes.
const PUBLISHING_SHARE: usize = 5;
/// The part that rows never have to give way below, whoever else holds however much: runs of a few rows would cost
/// more than they free.
const ROWS_SHARE: usize = 4;
/// What one permit of the pages' share stands for.
const PERMIT_BYTES: usize = 1024;

/// One budget. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Memory {
    budget: Arc<Budget>,
}

#[derive(Debug)]
struct Budget {
    max: usize,
    held: AtomicUsize,
    /// Who gathers rows at the moment.
    gatherers: AtomicUsize,
    pages: Arc<Semaphore>,
    permits: usize,
}

impl Memory {
    /// A budget of `bytes`.
    pub fn new(bytes: usize) -> Memory {
        let permits = (bytes / PAGES_SHARE / PERMIT_BYTES).clamp(1, u32::MAX as usize >> 4);
        Memory {
            budget: Arc::new(Budget {
                max: bytes - bytes / PUBLISHING_SHARE,
                held: AtomicUsize::new(0),
                gatherers: AtomicUsize::new(0),
                pages: Arc::new(Semaphore::new(permits)),
                permits,
            }),
        }
    }

    /// Bytes that are held at the moment.
    pub fn held(&self) -> usize {
        self.budget.held.load(Ordering::Relaxed)
    }

    /// Waits until there is room for `page`, and keeps it taken as long as anyone holds the page or a part of it. A
    /// page larger than the pages' whole share passes alone.
    pub async fn page(&self, page: Bytes) -> Bytes {
        let permits = page.len().div_ceil(PERMIT_BYTES).clamp(1, self.budget.permits);
        // The semaphore is never closed; without a permit the page would be let through uncounted.
        let room = Arc::clone(&self.budget.pages).acquire_many_owned(permits as u32).await.ok();
        let held = self.rows(page.len());
        Bytes::from_owner(CountedPage { page, _held: held, _room: room })
    }

    /// `bytes` of rows.
    pub fn rows(&self, bytes: usize) -> Held {
        let mut held = Held { budget: Some(Arc::clone(&self.budget)), bytes: 0 };
        held.grow(bytes);
        held
    }

    /// What each of those who gather rows may take of `bytes` that are for all of them.
    pub fn share(&self, bytes: usize) -> usize {
        bytes / self.budget.gatherers.load(Ordering::Relaxed).max(1)
    }

    /// Someone who gathers rows, for as long as it is kept.
    pub fn gatherer(&self) -> Gatherer {
        self.budget.gatherers.fetch_add(1, Ordering::Relaxed);
        Gatherer { budget: Arc::clone(&self.budget) }
    }
}

/// A page that is counted.
struct CountedPage {
    page: Bytes,
    _held: Held,
    _room: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for CountedPage {
    fn as_ref(&self) -> &[u8] {
        &self.page
    }
}

/// Bytes that count until this is dropped. By default nothing, and counted nowhere.
#[derive(Debug, Default)]
pub struct Held {
    budget: Option<Arc<Budget>>,
    bytes: usize,
}

impl Held {
    /// Holds more.
    pub fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        if let Some(budget) = &self.budget {
            budget.held.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Holds what `other` held as well.
    pub fn absorb(&mut self, mut other: Held) {
        if self.budget.is_none() {
            self.budget.clone_from(&other.budget);
        }
        self.grow(other.bytes);
        other.set(0);
    }

    /// Holds `bytes` from here on.
    pub fn set(&mut self, bytes: usize) {
        if let Some(budget) = &self.budget {
            budget.held.fetch_add(bytes, Ordering::Relaxed);
            budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }

    /// The bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Clone for Held {
    /// A copy counts as well.
    fn clone(&self) -> Held {
        let mut copy = Held { budget: self.budget.clone(), bytes: 0 };
        copy.grow(self.bytes);
        copy
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Counted among those who gather rows.
#[derive(Debug)]
pub struct Gatherer {
    budget: Arc<Budget>,
}

impl Gatherer {
    /// Whether rows have to be written out, and it is for the holder of `own` bytes to do so: the run is beyond its
    /// budget, and this is no small part of it. Those who hold little are left alone, as the others will write soon.
    pub fn must_spill(&self, own: usize) -> bool {
        let Budget { max, ref held, ref gatherers, .. } = *self.budget;
        let least = max / ROWS_SHARE / gatherers.load(Ordering::Relaxed).max(1);
        own > 0 && own >= least && held.load(Ordering::Relaxed) > max
    }
}

impl Drop for Gatherer {
    fn drop(&mut self) {
        self.budget.gatherers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn what_is_dropped_is_not_held_any_more() {
        let memory = Memory::new(1000);
        let mut rows = memory.rows(10);
        rows.grow(5);
        let copy = rows.clone();
        assert_eq!(memory.held(), 30);
        rows.set(2);
        assert_eq!((memory.held(), rows.bytes()), (17, 2));
        drop((rows, copy));
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn a_page_waits_for_room_and_one_that_is_too_large_passes_alone() {
        let memory = Memory::new(64 << 10);
        let read = |bytes: usize| memory.page(Bytes::from(vec![0; bytes]));
        let first = read(10 << 10).now_or_never().unwrap();
        let mut second = Box::pin(read(8 << 10));
        assert!(second.as_mut().now_or_never().is_none(), "16 KiB are the pages' share");
        let part = first.slice(3..5);
        drop(first);
        assert!(second.as_mut().now_or_never().is_none(), "a part of the first is still in use");
        drop(part);
        let second = second.now_or_never().unwrap();
        let mut large = Box::pin(read(1 << 20));
        assert!(large.as_mut().now_or_never().is_none());
        drop(second);
        assert_eq!(large.now_or_never().unwrap().len(), 1 << 20);
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn who_holds_much_of_too_much_spills() {
        let memory = Memory::new(100);
        let (one, two) = (memory.gatherer(), memory.gatherer());
        let mut rows = memory.rows(80);
        assert!(!one.must_spill(80), "a fifth is left to publishing");
        rows.grow(1);
        assert_eq!(memory.share(9), 4);
        assert!(one.must_spill(71) && two.must_spill(10) && !two.must_spill(9) && !two.must_spill(0));
        drop(one);
        assert_eq!(memory.share(9), 9);
        assert!(!two.must_spill(19) && two.must_spill(20), "alone it waits for more");
        assert!(!two.must_spill(0));
    }
}
