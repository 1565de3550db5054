//! What a fetch delivers: pages, and what to do about pages that were delivered before.

use std::ops::Range;

use bytes::Bytes;

use crate::time::Timestamp;

/// One response of a page chain.
#[derive(Clone, Debug)]
pub struct Page {
    /// Ordinal of the chain within its observation; see [`crate::flatten::batch::Position`].
    pub chain: u32,
    /// Number within the chain, from 1. Parts of pages that were too large are numbered behind all others. Of saved pages
    /// it is the number of the document, or of the first of those that are its records.
    pub number: u32,
    /// The decoded body.
    pub body: Bytes,
    /// Where in `body` each record stands, in order.
    pub records: Vec<Range<usize>>,
    /// Set where nobody has looked for records yet: where in `body` their list seems to stand.
    pub list: Option<Range<usize>>,
}

impl Page {
    /// The raw bytes of each record, sharing the body's memory.
    pub fn records(&self) -> impl ExactSizeIterator<Item = Bytes> + '_ {
        self.records.iter().map(|range| self.body.slice(range.clone()))
    }
}

/// What a fetch of one slice delivers, in order of arrival.
#[derive(Debug)]
pub enum Delivery {
    /// When the source was asked, by its own clock: the pages are as old as that. Comes once, beside the first of them.
    Asked {
        /// The moment.
        at: Timestamp,
    },
    /// A page of the chain that it names.
    Page(Page),
    /// Forget every page delivered for this chain and later ones: the slice starts again there.
    Restart {
        /// First chain to forget.
        chain: u32,
    },
    /// A record that is larger than an answer may be, by reference: it was never received. For quarantine.
    TooLarge {
        /// The chain it belongs to.
        chain: u32,
        /// The page that it alone should have been.
        number: u32,
        /// Its id, when the answer began with it.
        id: Option<String>,
    },
    /// An answer that stayed unreadable however often it was asked for; the fetch fails after it. For quarantine.
    Refused {
        /// The chain it should have belonged to.
        chain: u32,
        /// The page that it should have been, from 1.
        number: u32,
        /// The decoded body of the last try.
        body: Bytes,
        /// What is the matter with it; top-level keys at most, never content.
        reason: String,
    },
}
