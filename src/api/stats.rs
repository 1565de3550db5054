//! What a run has asked of the source.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Totals at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stats {
    /// Requests sent to analytics endpoints, retries included.
    pub calls: u64,
    /// Those of them that repeated a failed one.
    pub retries: u64,
    /// Requests sent to the login.
    pub token_requests: u64,
    /// Answers 429.
    pub throttled: u64,
    /// Decoded bytes of all answers.
    pub bytes: u64,
}

/// Totals in the making.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    calls: AtomicU64,
    retries: AtomicU64,
    token_requests: AtomicU64,
    throttled: AtomicU64,
    bytes: AtomicU64,
}

impl Counters {
    /// Takes the number of one more call, unless `max` calls were sent already.
    pub(crate) fn call(&self, max: Option<u64>) -> bool {
        let max = max.unwrap_or(u64::MAX);
        self.calls.fetch_update(Relaxed, Relaxed, |calls| (calls < max).then_some(calls + 1)).is_ok()
    }

    pub(crate) fn retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(crate) fn token_request(&self) {
        self.token_requests.fetch_add(1, Relaxed);
    }

    pub(crate) fn throttled(&self) {
        self.throttled.fetch_add(1, Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn totals(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        Stats {
            calls: read(&self.calls),
            retries: read(&self.retries),
            token_requests: read(&self.token_requests),
            throttled: read(&self.throttled),
            bytes: read(&self.bytes),
        }
    }
}
