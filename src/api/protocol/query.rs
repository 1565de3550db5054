//! The real API's query: numbered pages, until one is empty.

use serde_json::{Value, json};

use super::numbered::{End, Numbering};
use super::{QUERY_PATH, Source, body};
use crate::api::client::Call;
use crate::error::Result;
use crate::plan::Protocol;
use crate::time::Interval;

pub(super) const NUMBERING: Numbering = Numbering {
    request,
    count: |envelope, size| Some(envelope.total_hits.unwrap_or(0).div_ceil(u64::from(size))),
    end: End::Empty,
};

/// The request for one page.
pub(super) fn request(source: &Source, part: Interval, size: u32, number: u32) -> Result<Call> {
    let own = json!({
        "interval": part.to_string(),
        "order": "asc",
        "orderBy": "conversationStart",
        "paging": {"pageSize": size, "pageNumber": number},
    });
    let body: Value = body(own, source.settings.wanted.filters.wire(Protocol::Query)?);
    Ok(Call::post(QUERY_PATH, &body))
}
