//! The ways of paging, and how they are chosen.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a page chain is asked for and continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The real API's paged query: fresh data, page numbers, no participant attributes.
    Query,
    /// The real API's asynchronous jobs: bulk data up to the availability date, with attributes.
    Jobs,
    /// The first tutorial's shape: `nextPageCursor`.
    Cursor,
    /// The second tutorial's shape: `paging.pageCount`.
    Page,
}

impl Protocol {
    /// Its name on the command line, in receipts and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Query => "query",
            Protocol::Jobs => "jobs",
            Protocol::Cursor => "cursor",
            Protocol::Page => "page",
        }
    }

    /// Whether it says up to when it is complete.
    pub const fn promises(self) -> bool {
        matches!(self, Protocol::Jobs)
    }

    /// Whether it can be asked for a part of a day. The real API's ways take the whole of each day that they are asked for a
    /// part of.
    pub const fn brings_parts(self) -> bool {
        matches!(self, Protocol::Cursor | Protocol::Page)
    }

    /// Records asked for in one call when nothing else is said.
    pub const fn page_size(self) -> u32 {
        match self {
            Protocol::Query => 100,
            Protocol::Jobs | Protocol::Page | Protocol::Cursor => 1000,
        }
    }
}

impl fmt::Display for ProtocolChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProtocolChoice::Auto => f.write_str("auto"),
            ProtocolChoice::One(protocol) => protocol.fmt(f),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where the records of an observation came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Paged query.
    Query,
    /// Asynchronous jobs.
    Jobs,
    /// Cursor pages.
    Cursor,
    /// Counted pages.
    Page,
    /// Pages that were saved.
    Files,
    /// The list of a dimension.
    List,
}

impl From<Protocol> for Source {
    fn from(protocol: Protocol) -> Source {
        match protocol {
            Protocol::Query => Source::Query,
            Protocol::Jobs => Source::Jobs,
            Protocol::Cursor => Source::Cursor,
            Protocol::Page => Source::Page,
        }
    }
}

/// One protocol for all days, or the real API's two stitched by day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolChoice {
    /// Jobs for the days that the source promises complete, query for the fresh ones after them.
    Auto,
    /// This one and no other.
    One(Protocol),
}

impl ProtocolChoice {
    /// Whether this is the real API rather than a tutorial's shape of it.
    pub fn is_real(self) -> bool {
        matches!(self, ProtocolChoice::Auto | ProtocolChoice::One(Protocol::Query | Protocol::Jobs))
    }

    /// Every protocol that may be used.
    pub fn protocols(self) -> &'static [Protocol] {
        match self {
            ProtocolChoice::Auto => &[Protocol::Jobs, Protocol::Query],
            ProtocolChoice::One(Protocol::Query) => &[Protocol::Query],
            ProtocolChoice::One(Protocol::Jobs) => &[Protocol::Jobs],
            ProtocolChoice::One(Protocol::Cursor) => &[Protocol::Cursor],
            ProtocolChoice::One(Protocol::Page) => &[Protocol::Page],
        }
    }
}
