//! The run's memory: what is in flight is counted, and who would hold too much waits or gives way to the disk.
//!
//! Two kinds of bytes count together. *Pages* are asked for only when there is room for them: they have a share of
//! their own, and whoever reads or calls waits for it. That ends always, because pages become rows without waiting for
//! anything. *Rows* are never refused; when all of it together is beyond the budget, their holders write them out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// The part of the budget that pages may fill.
const PAGES_SHARE: usize = 4;
/// Percent that are left to what is not counted: rows that grow while a page is read, and what encoding takes beside
/// the rows it encodes.
const UNCOUNTED_PERCENT: usize = 40;
/// The part that rows never have to give way below, whoever else holds however much: runs of a few rows would cost
/// more than they free.
const ROWS_SHARE: usize = 2;
/// What one permit of the pages' share stands for.
const PERMIT_BYTES: usize = 1024;
/// Pages that there is room for before any has come.
const PAGES_AT_FIRST: usize = 32;

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
    /// Permits that the next page is taken to need.
    expected: AtomicUsize,
    /// Parts of what is held that are on their way out.
    leaving: watch::Sender<usize>,
}

impl Memory {
    /// A budget of `bytes`.
    pub fn new(bytes: usize) -> Memory {
        let permits = (bytes / PAGES_SHARE / PERMIT_BYTES).clamp(1, u32::MAX as usize >> 4);
        Memory {
            budget: Arc::new(Budget {
                max: bytes / 100 * (100 - UNCOUNTED_PERCENT),
                held: AtomicUsize::new(0),
                gatherers: AtomicUsize::new(0),
                pages: Arc::new(Semaphore::new(permits)),
                permits,
                expected: AtomicUsize::new(permits.div_ceil(PAGES_AT_FIRST)),
                leaving: watch::Sender::new(0),
            }),
        }
    }

    /// Whether more is held than there should be.
    pub fn is_full(&self) -> bool {
        self.held() > self.budget.max
    }

    /// Bytes that are held at the moment.
    pub fn held(&self) -> usize {
        self.budget.held.load(Ordering::Relaxed)
    }

    /// Waits until there is room for `page`, and keeps it taken as long as anyone holds the page or a part of it. A
    /// page larger than the pages' whole share passes alone.
    pub async fn page(&self, page: Bytes) -> Bytes {
        self.room_of(page.len().div_ceil(PERMIT_BYTES)).await.fill(page)
    }

    /// Waits until there is room for a page that is to be asked for. What it will take is not known before it is here:
    /// it is taken to be like the largest of late.
    pub async fn room(&self) -> Room {
        self.room_of(self.budget.expected.load(Ordering::Relaxed)).await
    }

    /// Pages that there is room for at the same time.
    pub fn pages(&self) -> usize {
        self.budget.permits / self.budget.expected.load(Ordering::Relaxed)
    }

    async fn room_of(&self, permits: usize) -> Room {
        let permits = permits.clamp(1, self.budget.permits) as u32;
        // The semaphore is never closed; without a permit the page would be let through uncounted.
        let permit = Arc::clone(&self.budget.pages).acquire_many_owned(permits).await.ok();
        Room { memory: self.clone(), permit }
    }

    /// Rows that are read back from disk, as they stand there: they count as long as anyone holds a part of them.
    pub fn block(&self, bytes: Vec<u8>) -> Bytes {
        let held = self.rows(bytes.len());
        Bytes::from_owner(Counted { bytes, _held: held, _room: None })
    }

    /// `bytes` of rows.
    pub fn rows(&self, bytes: usize) -> Held {
        let mut held = Held { budget: Some(Arc::clone(&self.budget)), bytes: 0 };
        held.grow(bytes);
        held
    }

    /// Rows that will soon be held no more, whatever becomes of others: as long as this is kept they are waited for
    /// before any go to disk.
    pub fn leaving(&self) -> Leaving {
        self.budget.leaving.send_modify(|parts| *parts += 1);
        Leaving { budget: Arc::clone(&self.budget) }
    }

    /// Waits while too much is held of which a part is leaving.
    pub async fn relief(&self) {
        let mut leaving = self.budget.leaving.subscribe();
        // The sender is in this budget: it cannot be gone.
        while self.is_full() && *leaving.borrow_and_update() > 0 && leaving.changed().await.is_ok() {}
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

/// Room for one page.
#[derive(Debug)]
pub struct Room {
    memory: Memory,
    permit: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// The page has come: its room is taken as long as anyone holds the page or a part of it.
    pub fn fill(self, page: Bytes) -> Bytes {
        let Budget { permits, ref expected, .. } = *self.memory.budget;
        let (came, before) = (page.len().div_ceil(PERMIT_BYTES), expected.load(Ordering::Relaxed));
        expected.store(came.max(before - before / 8).clamp(1, permits), Ordering::Relaxed);
        let held = self.memory.rows(page.len());
        // What it did not need is there for others at once.
        let room = self.permit.and_then(|mut taken| taken.split(taken.num_permits().min(came)));
        Bytes::from_owner(Counted { bytes: page, _held: held, _room: room })
    }
}

/// Bytes that are counted.
struct Counted<B> {
    bytes: B,
    _held: Held,
    _room: Option<OwnedSemaphorePermit>,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Counted<B> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
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

/// Rows on their way out.
#[derive(Debug)]
pub struct Leaving {
    budget: Arc<Budget>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.budget.leaving.send_modify(|parts| *parts -= 1);
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
        let block = memory.block(vec![0; 7]).slice(2..3);
        drop((rows, copy));
        assert_eq!(memory.held(), 7);
        drop(block);
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
    fn pages_that_are_asked_for_are_as_many_as_have_room() {
        let memory = Memory::new(256 << 20);
        assert_eq!(memory.pages(), PAGES_AT_FIRST);
        let room = || memory.room().now_or_never();
        drop(room().unwrap().fill(Bytes::from(vec![0; 22 << 20])));
        assert_eq!(memory.pages(), 2);
        let asked = [room().unwrap(), room().unwrap()];
        assert!(room().is_none());
        let came = asked.map(|room| room.fill(Bytes::from(vec![0; 22 << 20])));
        assert!(room().is_none(), "pages that have come are there still");
        drop(came);
        let small = room().unwrap().fill(Bytes::from_static(b"small"));
        assert!(memory.budget.pages.available_permits() == memory.budget.permits - 1, "and take what they need");
        drop(small);
        // Small pages are believed after a while, and one is always asked for.
        (0..40).for_each(|_| drop(room().unwrap().fill(Bytes::from_static(b"small"))));
        assert!(memory.pages() > 32);
        drop(room().unwrap().fill(Bytes::from(vec![0; 65 << 20])));
        assert_eq!(memory.pages(), 1);
        assert!(room().is_some());
    }

    #[test]
    fn what_is_leaving_is_waited_for() {
        let memory = Memory::new(100);
        assert!(memory.relief().now_or_never().is_some());
        let (kept, gone) = (memory.rows(30), memory.rows(50));
        assert!(memory.relief().now_or_never().is_some(), "nothing will go by itself");
        let leaving = [memory.leaving(), memory.leaving()];
        let mut relief = Box::pin(memory.relief());
        assert!(relief.as_mut().now_or_never().is_none());
        let [first, second] = leaving;
        drop(first);
        assert!(relief.as_mut().now_or_never().is_none(), "it is still too much");
        drop((gone, second));
        assert!(relief.now_or_never().is_some());
        drop(kept);
    }

    #[test]
    fn who_holds_much_of_too_much_spills() {
        let memory = Memory::new(100);
        let (one, two) = (memory.gatherer(), memory.gatherer());
        let mut rows = memory.rows(60);
        assert!(!memory.is_full() && !one.must_spill(60), "a part is left");
        rows.grow(1);
        assert_eq!(memory.share(9), 4);
        assert!(
            memory.is_full() && one.must_spill(46) && two.must_spill(15) && !two.must_spill(14) && !two.must_spill(0)
        );
        drop(one);
        assert_eq!(memory.share(9), 9);
        assert!(!two.must_spill(29) && two.must_spill(30), "alone it waits for more");
        assert!(!two.must_spill(0));
    }
}
