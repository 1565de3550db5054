//! Hands for pages: how much may be asked for before what came is handed on.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::api::pace::CALLS_IN_FLIGHT_MAX;
use crate::error::{Error, Result};

/// What all pages that are asked for or wait to be handed on may have together, in KiB.
const ROOM: u32 = 64 * 1024;

/// Room for pages, all slices together. What a page will take is not known before it is here: it is taken to be like
/// the largest of late.
pub(crate) struct Hands {
    room: Semaphore,
    /// In KiB.
    expected: AtomicU32,
}

impl Hands {
    pub(super) fn new() -> Hands {
        // Until a page has come, none keeps a call from being made.
        let expected = ROOM / CALLS_IN_FLIGHT_MAX as u32;
        Hands { room: Semaphore::new(ROOM as usize), expected: AtomicU32::new(expected) }
    }

    /// Waits for room for one page.
    pub(super) async fn free(&self) -> Result<SemaphorePermit<'_>> {
        let room = self.room.acquire_many(self.expected.load(Relaxed)).await;
        room.map_err(|e| Error::bug("the hands were closed").source(e))
    }

    /// A page of so many bytes has come.
    pub(super) fn came(&self, bytes: usize) {
        let came = u32::try_from(bytes / 1024 + 1).unwrap_or(ROOM);
        let before = self.expected.load(Relaxed);
        self.expected.store(came.max(before - before / 8).min(ROOM), Relaxed);
    }

    /// Pages that there is room for at the same time.
    pub(crate) fn pages(&self) -> usize {
        (ROOM / self.expected.load(Relaxed)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pages_in_hand_are_as_many_as_have_room() {
        let hands = Hands::new();
        assert_eq!(hands.pages(), CALLS_IN_FLIGHT_MAX);
        hands.came(22 << 20);
        assert_eq!(hands.pages(), 2);
        let held = [hands.free().await.unwrap(), hands.free().await.unwrap()];
        let third = tokio::time::timeout(std::time::Duration::ZERO, hands.free());
        assert!(third.await.is_err());
        drop(held);
        // Small pages are believed after a while, and one is always asked for.
        (0..40).for_each(|_| hands.came(1 << 10));
        assert!(hands.pages() > 32);
        hands.came(usize::MAX);
        assert_eq!(hands.pages(), 1);
        drop(hands.free().await.unwrap());
    }
}
