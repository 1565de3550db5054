//! The real API's query: numbered pages, until one is empty.

use serde_json::{Value, json};

use super::chain::Stop;
use super::walk::{Walk, can_split};
use super::{QUERY_PATH, Source, body};
use crate::api::client::Call;
use crate::api::limits::Objection;
use crate::error::{Error, Result};
use crate::plan::Protocol;
use crate::time::Interval;

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

pub(super) async fn chain(walk: &mut Walk<'_>) -> Result<(), Stop> {
    let chain = walk.chain;
    let too_many = |reachable: u64| {
        let error = Error::data(format!("more than the {reachable} results that the API pages through"));
        Stop::Object(Objection::Results(None), error)
    };
    for number in 1.. {
        let reachable = chain.source.limits.of(Protocol::Query).results.unwrap_or(u64::MAX);
        if u64::from(number) * u64::from(chain.size) > reachable {
            return Err(too_many(reachable));
        }
        let call = request(chain.source, chain.part, chain.size, number)?;
        let received = chain.ask(call, number, |_| Ok(())).await?;
        // A part that cannot be split is paged as far as it goes: the total is only a hint.
        if number == 1 && received.envelope.total_hits.is_some_and(|hits| hits > reachable) && can_split(chain.part) {
            return Err(too_many(reachable));
        }
        walk.note(&received);
        if received.is_empty() {
            break;
        }
        walk.deliver(number, received).await?;
    }
    Ok(())
}
