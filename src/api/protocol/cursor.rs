//! The first tutorial's shape: each answer names the cursor of the next.

use serde_json::json;
use url::form_urlencoded::byte_serialize;
use xxhash_rust::xxh3::xxh3_128;

use super::chain::{Received, Stop};
use super::trail::{Step, Trail};
use super::walk::Walk;
use super::{QUERY_PATH, Source, body, wire_bounds};
use crate::api::client::Call;
use crate::error::{Error, Result};
use crate::plan::Protocol;
use crate::time::Interval;

/// What may be wrong when cursors lead nowhere.
const CURSOR_HINT: &str = "--cursor-in body or --cursor-in query says where the API reads the cursor";
/// Empty pages in a row that still lead on; a source that never ends is told from a sparse one here.
const EMPTY_PAGES_MAX: u32 = 100;

/// Pages in a row with the same records, though their cursors differ: a source that does not find the cursor where it is
/// sent begins anew each time.
const SAME_PAGES_MAX: u32 = 2;

/// The request for one page; `size` only when it is not the server's to choose.
pub(super) fn request(source: &Source, part: Interval, size: Option<u32>, cursor: Option<&str>) -> Result<Call> {
    let settings = &source.settings;
    let (from, to) = wire_bounds(source, part);
    let mut own = json!({
        "startTime": from,
        "endTime": to,
        "granularity": settings.wanted.granularity(),
        "metrics": settings.wanted.metrics(Protocol::Cursor),
    });
    if let Some(size) = size {
        own["pageSize"] = size.into();
    }
    let mut path = QUERY_PATH.to_owned();
    if let Some(cursor) = cursor {
        let place = settings.wanted.cursor_in.unwrap_or_default();
        if place.in_body() {
            own["pageCursor"] = cursor.into();
        }
        if place.in_query() {
            path.push_str("?pageCursor=");
            path.extend(byte_serialize(cursor.as_bytes()));
        }
    }
    Ok(Call::post(path, &body(own, settings.wanted.filters.wire(Protocol::Cursor)?)))
}

pub(super) async fn chain(walk: &mut Walk<'_>) -> Result<(), Stop> {
    let chain = walk.chain;
    let settings = &chain.source.settings;
    let size =
        (settings.wanted.page_size.is_some() || chain.size != Protocol::Cursor.page_size()).then_some(chain.size);
    let mut trail = Trail::default();
    let (mut number, mut empty) = (1, 0);
    let (mut last, mut same) = (None, 0);
    loop {
        let call = request(chain.source, chain.part, size, trail.current())?.outlined(chain.size == 1);
        let mut received = chain.ask(call, number).await?;
        let step = trail
            .follow(std::mem::take(&mut received.envelope.next_page_cursor))
            .map_err(|s| s.hint(CURSOR_HINT).context(|| format!("page {number}")))?;
        if step == Step::Again {
            continue;
        }
        let records = hash(&received);
        same = if records.is_some() && records == last { same + 1 } else { 0 };
        if same == SAME_PAGES_MAX {
            let error =
                Error::data(format!("page {number} is the same as the two before it: the cursor leads nowhere"));
            return Err(Stop::Restart(error.hint(CURSOR_HINT)));
        }
        last = records;
        walk.note(&received.said()).await?;
        empty = if received.is_empty() { empty + 1 } else { 0 };
        walk.deliver(number, received).await?;
        if step == Step::End {
            return Ok(());
        }
        if empty > EMPTY_PAGES_MAX {
            return Err(Stop::Fail(Error::data(format!(
                "page {number}: {empty} empty pages in a row, each with a cursor"
            ))));
        }
        number += 1;
    }
}

/// Of a page's records, as they came.
fn hash(received: &Received) -> Option<u128> {
    let first = received.envelope.records.first()?.start;
    let end = received.envelope.records.last()?.end;
    received.body.get(first..end).map(xxh3_128)
}
