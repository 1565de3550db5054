//! The second tutorial's shape: the first answer says how many pages there are, the others are asked for at once.

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde_json::json;

use super::chain::{Chain, Received, Stop};
use super::walk::Walk;
use super::{QUERY_PATH, Source, body};
use crate::api::client::Call;
use crate::api::envelope::Envelope;
use crate::error::{Error, Result};
use crate::plan::Protocol;
use crate::time::{Interval, wire_time};

/// Pages of one slice that are asked for at the same time; bounds the memory of those that wait to be handed on.
const PAGES_IN_FLIGHT_MAX: usize = 8;

/// The request for one page.
pub(super) fn request(source: &Source, part: Interval, size: u32, number: u32) -> Result<Call> {
    let settings = &source.settings;
    let own = json!({
        "dateFrom": wire_time(part.from()),
        "dateTo": wire_time(part.to()),
        "size": size,
        "pageNumber": number,
        "groupBy": settings.wanted.group_by(),
        "metrics": settings.wanted.metrics(Protocol::Page),
    });
    Ok(Call::post(QUERY_PATH, &body(own, settings.wanted.filters.wire(Protocol::Page)?)))
}

pub(super) async fn chain(walk: &mut Walk<'_>) -> Result<(), Stop> {
    let first = ask(walk.chain, 1).await?;
    walk.note(&first);
    let count = page_count(&first.envelope);
    if count == Some(0) && !first.is_empty() {
        tracing::warn!("the API counts no page and sent {} records; they are kept", first.envelope.records.len());
    }
    match count {
        None | Some(0) => one_by_one(walk, first).await,
        Some(count) => {
            let full = is_full(walk.chain, &first);
            walk.deliver(1, first).await?;
            all_at_once(walk, count, full).await
        }
    }
}

/// Without a count a page that is not full is the last.
async fn one_by_one(walk: &mut Walk<'_>, first: Received) -> Result<(), Stop> {
    let chain = walk.chain;
    let (mut number, mut current) = (1, first);
    loop {
        let last = !is_full(chain, &current);
        let body = current.body.clone();
        walk.deliver(number, current).await?;
        if last {
            return Ok(());
        }
        number += 1;
        current = ask(chain, number).await?;
        if current.body == body {
            tracing::warn!("page {number} repeats page {}: the API does not page, and there is no more", number - 1);
            return Ok(());
        }
    }
}

/// The pages behind the first, in any order, up to the largest count that any answer states, and further as long as
/// the last page is full: a count that is too low hides nothing.
async fn all_at_once(walk: &mut Walk<'_>, mut count: u64, first_is_full: bool) -> Result<(), Stop> {
    let chain = walk.chain;
    let mut open = FuturesUnordered::new();
    let (mut next, mut last_filled, mut first_empty) = (2u32, 1u32, None::<u32>);
    let mut last_full = u64::from(first_is_full);
    loop {
        let reach = count.max(last_full + 1);
        // Behind an empty page one more shows whether it was the end.
        let end = first_empty.map_or(reach, |empty| reach.min(u64::from(empty) + 1));
        while u64::from(next) <= end && open.len() < PAGES_IN_FLIGHT_MAX {
            open.push(ask_and_deliver(chain, next, u64::from(next) <= count));
            next += 1;
        }
        let Some(outcome) = open.next().await else { break };
        let Delivered { number, records, full, stated } = outcome?;
        count = count.max(stated);
        if full {
            last_full = last_full.max(u64::from(number));
        }
        if records == 0 {
            first_empty = Some(first_empty.map_or(number, |empty| empty.min(number)));
        } else {
            last_filled = last_filled.max(number);
            walk.count(records);
        }
    }
    if let Some(empty) = first_empty.filter(|empty| u64::from(*empty) <= count) {
        tracing::warn!("the API counts {count} pages, and page {empty} is empty");
    }
    match first_empty.filter(|empty| *empty < last_filled) {
        Some(empty) => {
            Err(Stop::Fail(Error::data(format!("page {empty} is empty, and page {last_filled} behind it is not"))))
        }
        None => Ok(()),
    }
}

/// One of the pages behind the first.
struct Delivered {
    number: u32,
    records: usize,
    full: bool,
    /// The count that it states.
    stated: u64,
}

/// Asks for a page, once more if it is empty although it is `counted`, and hands it on.
async fn ask_and_deliver(chain: Chain<'_>, number: u32, counted: bool) -> Result<Delivered, Stop> {
    let mut received = ask(chain, number).await?;
    if received.is_empty() && counted {
        received = ask(chain, number).await?;
    }
    let records = received.envelope.records.len();
    let (full, stated) = (is_full(chain, &received), page_count(&received.envelope).unwrap_or(0));
    if records > 0 {
        chain.deliver(number, received).await?;
    }
    Ok(Delivered { number, records, full, stated })
}

fn is_full(chain: Chain<'_>, received: &Received) -> bool {
    received.envelope.records.len() >= chain.size as usize
}

async fn ask(chain: Chain<'_>, number: u32) -> Result<Received, Stop> {
    let call = request(chain.source, chain.part, chain.size, number)?;
    let check = |envelope: &Envelope| {
        let echoed = envelope.paging.and_then(|paging| paging.page_number);
        if echoed.is_some_and(|echoed| echoed != u64::from(number)) {
            return Err(format!("asked for page {number}, the answer says that it is another"));
        }
        if number == 1 && envelope.records.is_empty() && page_count(envelope).is_some_and(|count| count > 0) {
            return Err("the first page is empty, and the API counts at least one".to_owned());
        }
        Ok(())
    };
    chain.ask(call, number, check).await
}

fn page_count(envelope: &Envelope) -> Option<u64> {
    envelope.paging?.page_count
}
