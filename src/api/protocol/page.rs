//! The second tutorial's shape: numbered pages, and their count in every answer.

use serde_json::json;

use super::numbered::{End, Numbering};
use super::{QUERY_PATH, Source, body, wire_bounds};
use crate::api::client::Call;
use crate::api::envelope::Envelope;
use crate::error::Result;
use crate::plan::Protocol;
use crate::time::Interval;

pub(super) const NUMBERING: Numbering = Numbering { request, count: |envelope, _| count(envelope), end: End::NotFull };

/// The request for one page.
pub(super) fn request(source: &Source, part: Interval, size: u32, number: u32) -> Result<Call> {
    let settings = &source.settings;
    let (from, to) = wire_bounds(source, part);
    let own = json!({
        "dateFrom": from,
        "dateTo": to,
        "size": size,
        "pageNumber": number,
        "groupBy": settings.wanted.group_by(),
        "metrics": settings.wanted.metrics(Protocol::Page),
    });
    Ok(Call::post(QUERY_PATH, &body(own, settings.wanted.filters.wire(Protocol::Page)?)))
}

/// The pages that there are, by its account.
pub(super) fn count(envelope: &Envelope) -> Option<u64> {
    envelope.paging.and_then(|paging| paging.page_count).or(envelope.page_count)
}
