//! One slice, paged to its end.
//!
//! A protocol pages one part of the slice as one chain of pages and says how it ended ([`chain`], [`ending`]); [`walk`] decides
//! what follows: the next part, the same part again, the same with smaller pages, or its halves. [`cursor`],
//! [`jobs`], [`page`] and [`query`] know what to send and how an answer leads on, and nothing else; [`numbered`] asks
//! for pages that have numbers at the same time.

mod chain;
mod cursor;
mod ending;
mod jobs;
mod numbered;
mod page;
mod query;
mod trail;
mod walk;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use chrono::{SubsecRound, TimeDelta};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use super::client::{Call, Client};
use super::limits::Limits;
use super::settings::{ApiSettings, RangeEnd};
use crate::error::{Error, Result};
use crate::plan::{Protocol, Slice};
use crate::time::{Interval, wire_time};

pub(super) use chain::read_page;
pub use walk::Fetched;
pub(super) use walk::fetch;

/// Where details are asked for, whatever the shape.
const QUERY_PATH: &str = "/api/v2/analytics/conversations/details/query";
/// Where jobs live.
pub(super) const JOBS_PATH: &str = "/api/v2/analytics/conversations/details/jobs";
/// Jobs that are prepared at the same time; what the API allows is not documented. Those whose results are read no
/// longer run.
pub(super) const JOBS_MAX: usize = 3;

/// What all fetches from one source share.
pub(crate) struct Source {
    pub(crate) client: Arc<Client>,
    pub(crate) settings: Arc<ApiSettings>,
    pub(crate) limits: Limits,
    /// Room for jobs that are being prepared.
    pub(crate) jobs: Semaphore,
    /// The turn of a chain of many numbered pages: it alone asks for them until few are left. Several at a time would not
    /// be faster, and would keep the days of all of them open.
    pub(crate) turn: Semaphore,
}

impl Source {
    pub(crate) fn new(client: Arc<Client>, settings: Arc<ApiSettings>) -> Source {
        Source { client, settings, limits: Limits::default(), jobs: Semaphore::new(JOBS_MAX), turn: Semaphore::new(1) }
    }
}

/// A request whose answer says how much the slice holds, the smallest where the size of a page is ours to choose; none
/// for a slice that has not begun.
pub(super) fn probe(source: &Source, slice: &Slice) -> Result<Option<Call>> {
    let Some(part) = walk::wire_interval(source, slice) else { return Ok(None) };
    let call = match slice.protocol {
        Protocol::Query => query::request(source, part, 1, 1),
        Protocol::Cursor => cursor::request(source, part, source.settings.wanted.page_size, None),
        Protocol::Page => page::request(source, part, 1, 1),
        Protocol::Jobs => {
            Err(Error::usage("--probe does not fit --protocol jobs: a job cannot be counted without being run"))
        }
    };
    call.map(Some)
}

/// The bounds of `part` as a tutorial's protocol writes them, in whole milliseconds.
///
/// Nothing may fall between two parts. A bound within a millisecond is widened to its edge: what comes twice counts once,
/// and what belongs to another day is left out. To an inclusive end the last millisecond before the bound is sent. A start
/// between that one and the bound would be asked for by nobody; there is none where times are written with three digits,
/// as the API writes all of them. For a source with finer ones the end is exclusive ([`RangeEnd`]): whatever the source
/// means, that is asked too far rather than too near.
fn wire_bounds(source: &Source, part: Interval) -> (String, String) {
    let before = (part.to() - TimeDelta::microseconds(1)).trunc_subsecs(3);
    let to = match source.settings.wanted.end() {
        RangeEnd::Inclusive => before,
        RangeEnd::Exclusive => before + TimeDelta::milliseconds(1),
    };
    (wire_time(part.from().trunc_subsecs(3)), wire_time(to))
}

/// The members of a request's body: the protocol's own and the selection's.
fn body(own: Value, filters: Map<String, Value>) -> Value {
    match own {
        Value::Object(mut members) => {
            members.extend(filters);
            Value::Object(members)
        }
        other => other,
    }
}
